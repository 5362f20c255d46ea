//! Tally over UDP that counts a request once, however often it is sent: `ID NAME NUMBER`. `ch04_ex1_once [ADDRESS]`.
#![expect(clippy::print_stdout, reason = "a program")]

#[path = "tally/counters.rs"]
mod counters;

// ANCHOR: once
use std::collections::VecDeque;
use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use counters::{Counters, MAX_LINE};
use sockeye::udp::UdpSocket;

/// How many answers are kept. An older request that comes again is counted again.
const KEPT: usize = 1_000;

fn main() -> Result<(), Box<dyn Error>> {
    let at = std::env::args().nth(1).unwrap_or("127.0.0.1:7007".to_owned());
    let socket = UdpSocket::bind(at.parse()?)?;
    println!("listening on {}", socket.local_addr()?);
    let mut counters = Counters::default();
    let mut given: VecDeque<(SocketAddr, Vec<u8>, String)> = VecDeque::new();
    let mut buffer = [0; MAX_LINE];
    loop {
        socket.wait_readable(Duration::MAX)?;
        let (length, client) = socket.recv_from(&mut buffer)?;
        let (id, request) = split(&buffer[..length]);
        let known = given
            .iter()
            .find(|(peer, known, _)| *peer == client && known == id);
        let answer = match known {
            Some((.., answer)) => answer.clone(), // said before, and lost on the way
            None => {
                let answer = format!("{} {}", String::from_utf8_lossy(id), counters.answer(request));
                given.push_back((client, id.to_vec(), answer.clone()));
                given.drain(..given.len().saturating_sub(KEPT));
                answer
            }
        };
        socket.send_to(answer.as_bytes(), client)?;
    }
}

fn split(datagram: &[u8]) -> (&[u8], &[u8]) {
    let blank = datagram
        .iter()
        .position(|byte| *byte == b' ')
        .unwrap_or(datagram.len());
    let (id, request) = datagram.split_at(blank);
    (id, request.trim_ascii_start())
}
// ANCHOR_END: once
