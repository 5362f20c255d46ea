//! Chapter 8, exercise 2: tally and a client of it in one loop, without any socket.
#![expect(clippy::print_stdout, reason = "a program")]

#[path = "tally/counters.rs"]
mod counters;
#[path = "tally/service.rs"]
mod service;

// ANCHOR: program
use std::error::Error;

use sockeye::event_loop::{
    CloseReason, Context, EventLoop, PairOptions, Stream, StreamId, StreamOptions, StreamService,
};

use service::Tally;

/// Sends two requests, and prints what comes back.
struct Asks;

impl StreamService for Asks {
    type Conn = ();

    fn on_open(&mut self, stream: &mut Stream<'_>) {
        let _ = stream.write(b"salmon 3\nsalmon 2\n");
        stream.shutdown_write();
    }

    fn on_data(&mut self, _: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        print!("{}", String::from_utf8_lossy(data));
        data.len()
    }

    fn on_close(&mut self, context: &mut Context<'_>, _: StreamId, (): (), reason: CloseReason) {
        println!("{reason}");
        context.stop();
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut events = EventLoop::new()?;
    let tally = events.add_stream_service(Tally::over_lines(), StreamOptions::default());
    let asks = events.add_stream_service(Asks, StreamOptions::default());
    events.pair(asks, tally, &PairOptions::default())?;
    Ok(events.run()?)
}
// ANCHOR_END: program
