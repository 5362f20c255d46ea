//! A port that greets who says nothing, and is tally for all. `ch09_ex2_silent [ADDRESS]`.
#![expect(clippy::print_stdout, reason = "a program")]

#[path = "tally/counters.rs"]
mod counters;
#[path = "tally/service.rs"]
mod service;

use std::error::Error;
use std::time::Duration;

use sockeye::event_loop::codec::{Framed, Lines};
use sockeye::event_loop::{EventLoop, ListenOptions, ServiceHandle, Stream, StreamOptions, StreamService};
use sockeye::relay::mux::{Mux, MuxOptions};

use service::Tally;

// ANCHOR: greeter
/// Says what this port is for, and gives the connection to tally as soon as the client speaks.
struct Greeter(ServiceHandle<Framed<Lines, Tally>>);

impl StreamService for Greeter {
    type Conn = ();

    fn on_open(&mut self, stream: &mut Stream<'_>) {
        let _ = stream.write(b"send NAME NUMBER\n");
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), _: &mut [u8]) -> usize {
        if stream.switch_to(self.0).is_err() {
            stream.abort();
        }
        0 // Nothing is consumed: tally reads every byte itself.
    }
}
// ANCHOR_END: greeter

fn main() -> Result<(), Box<dyn Error>> {
    let at = std::env::args()
        .nth(1)
        .unwrap_or("127.0.0.1:7007".to_owned())
        .parse()?;
    let mut events = EventLoop::new()?;
    let tally = events.add_stream_service(Tally::over_lines(), StreamOptions::default());
    let greeter = events.add_stream_service(Greeter(tally), StreamOptions::default());
    let mux = Mux::new(MuxOptions::default())
        .when_silent(Duration::from_millis(200), greeter)
        .otherwise(tally);
    let mux = events.add_stream_service(mux, StreamOptions::default());
    let listener = events.listen(mux, at, &ListenOptions::default())?;
    println!("listening on {}", events.local_addr(listener)?);
    Ok(events.run()?)
}
