//! Chapter 7, exercise 2: who is the first router? An echo request with TTL 1. `ch07_ex2_ttl [IPV4-ADDRESS [TTL]]`.
#![expect(clippy::print_stdout, reason = "a program")]

// ANCHOR: program
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use sockeye::packet::{Icmpv4, icmpv4};
use sockeye::raw::{Access, Family, IcmpSocket};

const PATIENCE: Duration = Duration::from_secs(5);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let host: Ipv4Addr = arguments
        .next()
        .map_or(Ok(Ipv4Addr::LOCALHOST), |text| text.parse())?;
    let ttl: u8 = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let socket = IcmpSocket::open(Family::V4, Access::Raw)?;
    socket.set_hop_limit(ttl)?;
    let mut request = [0; 64];
    let len = socket.write_echo(&mut request, 1, b"salmon")?;
    socket.send_to(&request[..len], SocketAddr::new(IpAddr::V4(host), 0))?;
    let begin = Instant::now();
    let mut buffer = [0; 1500];
    while begin.elapsed() < PATIENCE && socket.wait_readable(PATIENCE)? {
        let (len, from) = socket.recv_from(&mut buffer)?;
        let Ok(message) = Icmpv4::new(&buffer[..len]) else {
            continue; // too short for a message: not ours
        };
        match message.message_type() {
            icmpv4::ECHO_REPLY => println!("{} is the host itself", from.ip()),
            // The error quotes the packet that it is about: only so do we know that it
            // is ours.
            icmpv4::TIME_EXCEEDED => match message.quoted() {
                Some(Ok(quote)) if quote.destination == IpAddr::V4(host) => {
                    println!("{} is a router on the way", from.ip())
                }
                _ => continue,
            },
            _ => continue,
        }
        return Ok(());
    }
    println!("no answer");
    Ok(())
}
// ANCHOR_END: program
