//! Tally over UDP as one writes it first. `ch04_tally [ADDRESS]`.
#![expect(clippy::print_stdout, reason = "a program")]

// ANCHOR: program
#[path = "tally/counters.rs"]
mod counters;

use std::error::Error;
use std::time::Duration;

use counters::Counters;
use sockeye::udp::UdpSocket;

fn main() -> Result<(), Box<dyn Error>> {
    let at = std::env::args().nth(1).unwrap_or("127.0.0.1:7007".to_owned());
    let socket = UdpSocket::bind(at.parse()?)?;
    println!("listening on {}", socket.local_addr()?);
    let mut counters = Counters::default();
    let mut buffer = [0; 16];
    loop {
        socket.wait_readable(Duration::MAX)?; // sleeps until a datagram is there
        let (length, client) = socket.recv_from(&mut buffer)?;
        let answer = counters.answer(&buffer[..length]);
        socket.send_to(answer.as_bytes(), client)?;
    }
}
// ANCHOR_END: program
