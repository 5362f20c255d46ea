//! Ping by hand: every byte of the ICMP message is ours. `ch07_ping [IPV4-ADDRESS [COUNT]]`.
#![expect(clippy::print_stdout, reason = "a program")]

// ANCHOR: program
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use sockeye::raw::{Access, Family, IcmpSocket};

const PATIENCE: Duration = Duration::from_secs(5);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let host: Ipv4Addr = arguments
        .next()
        .map_or(Ok(Ipv4Addr::LOCALHOST), |text| text.parse())?;
    let count: u16 = arguments.next().map_or(Ok(3), |text| text.parse())?;

    let opened = IcmpSocket::open(Family::V4, Access::Auto);
    let socket = opened.map_err(|error| error.to_string())?;
    for sequence in 1..=count {
        let request = echo_request(socket.identifier(), sequence, b"salmon");
        let begin = Instant::now();
        // Port 0: ICMP has no ports.
        socket.send_to(&request, SocketAddr::new(IpAddr::V4(host), 0))?;
        match reply_to(&socket, &request)? {
            Some(from) => println!("reply {sequence} from {from} in {:.2?}", begin.elapsed()),
            None => println!("no reply to {sequence}"),
        }
    }
    Ok(())
}

/// An echo request (RFC 792): type, code, checksum, identifier, sequence number, and
/// any data.
fn echo_request(identifier: u16, sequence: u16, data: &[u8]) -> Vec<u8> {
    let mut message = vec![8, 0, 0, 0]; // type 8 "echo request", code 0, a checksum of 0 for now
    message.extend_from_slice(&identifier.to_be_bytes());
    message.extend_from_slice(&sequence.to_be_bytes());
    message.extend_from_slice(data);
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

/// The Internet checksum (RFC 1071): the sum of all 16-bit words, carries added back
/// in, inverted.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0u64;
    for pair in bytes.chunks(2) {
        // An odd byte is followed by a 0.
        let word = [pair[0], pair.get(1).copied().unwrap_or(0)];
        sum += u64::from(u16::from_be_bytes(word));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let [.., high, low] = sum.to_be_bytes();
    !u16::from_be_bytes([high, low])
}

/// Waits for the reply to `request`, and says who sent it.
fn reply_to(socket: &IcmpSocket, request: &[u8]) -> Result<Option<IpAddr>, Box<dyn Error>> {
    let begin = Instant::now();
    let mut buffer = [0; 1500];
    // Only so long in all, however much comes that is not ours.
    while begin.elapsed() < PATIENCE && socket.wait_readable(PATIENCE)? {
        let (len, from) = socket.recv_from(&mut buffer)?;
        let message = &buffer[..len];
        // A raw socket hears everybody's ICMP. Ours is: a reply (type 0), with our
        // identifier, number and data.
        let is_reply = message.first() == Some(&0) && checksum(message) == 0;
        if is_reply && message.get(4..) == request.get(4..) {
            return Ok(Some(from.ip()));
        }
    }
    Ok(None)
}
// ANCHOR_END: program
