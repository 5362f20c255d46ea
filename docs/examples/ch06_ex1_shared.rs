//! Chapter 6, exercise 1: two loops that count together.
#![expect(clippy::print_stdout, reason = "a program")]

#[path = "tally/counters.rs"]
mod counters;

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sockeye::event_loop::codec::{FrameService, FrameStream, Framed, Lines};
use sockeye::event_loop::{ShardOptions, Shards, Spread};

use counters::{Counters, MAX_LINE};

// ANCHOR: program
/// Tally whose counters belong to several loops. The lock is held for one request, and
/// never while we wait for a peer.
#[derive(Clone, Default)]
struct SharedTally {
    counters: Arc<Mutex<Counters>>,
}

impl FrameService for SharedTally {
    type Conn = ();

    fn on_open(&mut self, _: &mut FrameStream<'_, '_>) {}

    fn on_frame(&mut self, stream: &mut FrameStream<'_, '_>, (): &mut (), line: &mut [u8]) {
        let answer = self
            .counters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .answer(line);
        let _ = stream.send(answer.as_bytes());
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = ShardOptions {
        count: 2,
        spread: Spread::RoundRobin,
        ..ShardOptions::default()
    };
    let tally = SharedTally::default();
    let shards = Shards::serve(&["127.0.0.1:0".parse()?], &options, move |_| {
        Framed::new(Lines::new(MAX_LINE), tally.clone())
    })?;
    for _ in 0..4 {
        let answer = ask(shards.local_addrs()[0], "salmon 1\n")?;
        print!("{answer}");
    }
    shards.drain(Duration::from_secs(5))?;
    Ok(())
}
// ANCHOR_END: program

/// One request on a connection of its own.
fn ask(at: SocketAddr, request: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(at)?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(answer)
}
