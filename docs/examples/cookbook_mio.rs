//! A loop of mio with a socket of Sockeye: UDP echo. `cookbook_mio [ADDRESS]`.
#![expect(clippy::print_stdout, reason = "a program")]

// ANCHOR: program
use std::error::Error;

use mio::{Events, Interest, Poll, Token};
use sockeye::udp::UdpSocket; // was: mio::net::UdpSocket

fn main() -> Result<(), Box<dyn Error>> {
    let at = std::env::args().nth(1).unwrap_or("127.0.0.1:7007".to_owned());
    let mut socket = UdpSocket::bind(at.parse()?)?;
    println!("listening on {}", socket.local_addr()?);
    let mut poll = Poll::new()?;
    poll.registry()
        .register(&mut socket, Token(0), Interest::READABLE)?;
    let mut events = Events::with_capacity(16);
    let mut buffer = [0; 2048];
    loop {
        poll.poll(&mut events, None)?;
        // Edge-triggered: there is no second event for what we leave. So read until nothing is there.
        while let Ok(datagram) = socket.recv_msg(&mut buffer) {
            if !datagram.truncated {
                // A datagram may be lost, so this one may be too.
                let _ = socket.send_msg(&datagram.reply(datagram.payload));
            }
        }
    }
}
// ANCHOR_END: program
