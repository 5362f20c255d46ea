//! Chapter 6, exercise 2: each client gets a line every tenth of a second, five times.
#![expect(clippy::print_stdout, reason = "a program")]

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::time::Duration;

use sockeye::event_loop::{EventLoop, ListenOptions, Stream, StreamOptions, StreamService};

// ANCHOR: program
struct Ticker;

/// The number of a timer: a service with several kinds of them tells them apart by it.
const TICK: u64 = 1;

impl StreamService for Ticker {
    type Conn = u32; // ticks so far: each connection has its own

    fn on_open(&mut self, stream: &mut Stream<'_>) -> u32 {
        stream.set_timer(Duration::from_millis(100), TICK);
        0
    }

    fn on_data(&mut self, _: &mut Stream<'_>, _: &mut u32, data: &mut [u8]) -> usize {
        data.len() // whatever it says
    }

    fn on_timer(&mut self, stream: &mut Stream<'_>, ticks: &mut u32, _: u64) {
        *ticks += 1;
        let _ = stream.write(format!("tick {ticks}\n").as_bytes());
        if *ticks < 5 {
            stream.set_timer(Duration::from_millis(100), TICK); // a timer fires once
        } else {
            stream.close();
        }
    }
}
// ANCHOR_END: program

fn main() -> Result<(), Box<dyn Error>> {
    let mut events = EventLoop::new()?;
    let ticker = events.add_stream_service(Ticker, StreamOptions::default());
    let listener = events.listen(ticker, "127.0.0.1:0".parse()?, &ListenOptions::default())?;
    let at = events.local_addr(listener)?;
    let remote = events.remote();
    let client = std::thread::spawn(move || -> std::io::Result<()> {
        for line in BufReader::new(TcpStream::connect(at)?).lines() {
            println!("{}", line?);
        }
        remote.stop().map_err(std::io::Error::other)
    });
    events.run()?;
    client.join().map_err(|_| "the client panicked")??;
    Ok(())
}
