//! Tally on two loops, one a core, and one port. Each has its own counters: is that what we want?
#![expect(clippy::print_stdout, reason = "a program")]

// ANCHOR: program
#[path = "tally/counters.rs"]
mod counters;
#[path = "tally/service.rs"]
mod service;

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use sockeye::event_loop::{ShardOptions, Shards, Spread};

use service::Tally;

fn main() -> Result<(), Box<dyn Error>> {
    let options = ShardOptions {
        count: 2,
        // One thread accepts and deals out in turn; the kernel's own way is
        // `ReusePort`.
        spread: Spread::RoundRobin,
        ..ShardOptions::default()
    };
    let shards = Shards::serve(&["127.0.0.1:0".parse()?], &options, |_| Tally::over_lines())?;
    for _ in 0..4 {
        let answer = ask(shards.local_addrs()[0], "salmon 1\n")?;
        print!("{answer}");
    }
    shards.drain(Duration::from_secs(5))?;
    Ok(())
}

/// One request on a connection of its own.
fn ask(at: SocketAddr, request: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(at)?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(answer)
}
// ANCHOR_END: program
