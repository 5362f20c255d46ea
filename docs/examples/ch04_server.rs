//! Tally over UDP that survives its clients. `ch04_server [ADDRESS]`.
#![expect(clippy::print_stdout, reason = "a program")]

// ANCHOR: program
#[path = "tally/counters.rs"]
mod counters;

use std::error::Error;
use std::io;
use std::time::{Duration, Instant};

use counters::{Counters, MAX_LINE};
use sockeye::udp::{Incoming, Metadata, UdpOptions, UdpSocket};

/// The most answers a second, to all clients together.
const ANSWERS_A_SECOND: u32 = 1_000;

fn main() -> Result<(), Box<dyn Error>> {
    let at = std::env::args().nth(1).unwrap_or("127.0.0.1:7007".to_owned());
    // DESTINATION: each datagram tells which of our addresses was asked.
    let socket = UdpOptions::new()
        .metadata(Metadata::DESTINATION)
        .bind(at.parse()?)?;
    println!("listening on {}", socket.local_addr()?);
    let mut counters = Counters::default();
    let mut budget = Budget::full();
    let mut buffer = [0; MAX_LINE];
    loop {
        socket.wait_readable(Duration::MAX)?;
        match socket.recv_msg(&mut buffer) {
            Ok(request) => answer(&socket, &mut counters, &mut budget, &request),
            // Nothing was there after all, or there is news of an older answer: neither ends a server.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => println!("receive: {error}"),
        }
    }
}

// ANCHOR: answer
fn answer(socket: &UdpSocket, counters: &mut Counters, budget: &mut Budget, request: &Incoming<'_>) {
    if request.source.port() < 1024 {
        return; // a service asks us? Somebody has forged this, to have us talk to it
    }
    if request.truncated {
        return; // half a request is no request
    }
    if !budget.take() {
        return; // over UDP, silence is an answer too
    }
    let answer = counters.answer(request.payload.trim_ascii_end());
    // `reply` leaves from the address that was asked. A lost answer is the client's business: it asks again.
    if let Err(error) = socket.send_msg(&request.reply(answer.as_bytes())) {
        println!("{}: {error}", request.source);
    }
}

/// So many answers in each second.
struct Budget {
    left: u32,
    until: Instant,
}

impl Budget {
    fn full() -> Self {
        Self {
            left: ANSWERS_A_SECOND,
            until: Instant::now() + Duration::from_secs(1),
        }
    }

    fn take(&mut self) -> bool {
        if Instant::now() >= self.until {
            *self = Self::full();
        }
        let is_left = self.left > 0;
        self.left = self.left.saturating_sub(1);
        is_left
    }
}
// ANCHOR_END: answer
// ANCHOR_END: program
