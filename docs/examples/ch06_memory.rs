//! What a loop keeps in memory for one client that never reads: with watermarks, and with none to speak of.
//! `ch06_memory [csv]`.
#![expect(clippy::print_stdout, reason = "a program")]

#[path = "tally/counters.rs"]
mod counters;
#[path = "tally/service.rs"]
mod service;

use std::error::Error;
use std::io::{ErrorKind, Write};
use std::time::Duration;

use sockeye::event_loop::{EventLoop, ListenOptions, StreamOptions, Watermarks};
use sockeye::tcp::TcpStream;

use service::Tally;

const ROUNDS: usize = 100;

fn main() -> Result<(), Box<dyn Error>> {
    let bounded = measure(64 * 1024)?;
    let unbounded = measure(usize::MAX)?;
    if std::env::args().nth(1).is_some_and(|word| word == "csv") {
        println!("# cargo run -p sockeye-docs --example ch06_memory -- csv");
        println!("round,bounded_kib,unbounded_kib");
        for (round, (bounded, unbounded)) in bounded.iter().zip(&unbounded).enumerate() {
            println!("{},{},{}", round + 1, bounded / 1024, unbounded / 1024);
        }
        return Ok(());
    }
    let most = |kept: &[u64]| kept.iter().max().map_or(0, |most| most / 1024);
    println!("high watermark of 64 KiB: at most {} KiB kept", most(&bounded));
    println!("no watermark:             at most {} KiB kept", most(&unbounded));
    Ok(())
}

// ANCHOR: measure
/// The bytes that the loop keeps after each round, in which a client offers 64 KiB of
/// requests and reads nothing.
fn measure(high: usize) -> Result<Vec<u64>, Box<dyn Error>> {
    let watermarks = Watermarks {
        high,
        low: high / 4,
        ..Watermarks::default()
    };
    let options = StreamOptions {
        watermarks,
        ..StreamOptions::default()
    };
    let mut events = EventLoop::new()?;
    let tally = events.add_stream_service(Tally::over_lines(), options);
    let listener = events.listen(tally, "127.0.0.1:0".parse()?, &ListenOptions::default())?;
    let mut client = TcpStream::options().connect(events.local_addr(listener)?, Duration::from_secs(10))?;
    let requests = "salmon 1\n".repeat(64 * 1024 / 9);
    let mut at = 0; // within a request, so that a short write does not cut one in two
    let mut kept = Vec::new();
    for _ in 0..ROUNDS {
        match client.write(&requests.as_bytes()[at..]) {
            Ok(len) => at = (at + len) % 9,
            // The loop does not read from us.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        events.turn(Some(Duration::ZERO))?;
        kept.push(events.stats().memory);
    }
    Ok(kept)
}
// ANCHOR_END: measure
