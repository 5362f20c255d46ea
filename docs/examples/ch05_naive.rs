//! Tally over TCP, wrong: it takes each read for a request. `ch05_naive [ADDRESS]`.
#![expect(clippy::print_stdout, reason = "a program")]

#[path = "tally/counters.rs"]
mod counters;

use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpListener;

use counters::{Counters, MAX_LINE};

fn main() -> Result<(), Box<dyn Error>> {
    let at = std::env::args().nth(1).unwrap_or("127.0.0.1:7007".to_owned());
    let listener = TcpListener::bind(at)?;
    println!("listening on {}", listener.local_addr()?);
    let mut counters = Counters::default();
    loop {
        let (mut stream, _) = listener.accept()?;
        // ANCHOR: wrong
        let mut buffer = [0; MAX_LINE];
        loop {
            let len = stream.read(&mut buffer)?;
            if len == 0 {
                break;
            }
            // Wrong: nothing says that these bytes are one line.
            let answer = counters.answer(buffer[..len].trim_ascii_end()) + "\n";
            stream.write_all(answer.as_bytes())?;
        }
        // ANCHOR_END: wrong
    }
}
