//! Sends one datagram that claims to come from somebody else. Needs CAP_NET_RAW. `ch04_forge [FROM [TO [TEXT]]]`.
#![expect(clippy::print_stdout, reason = "a program")]

// ANCHOR: program
use std::error::Error;
use std::net::SocketAddrV4;

use sockeye::packet::{Ipv4Builder, UdpBuilder};
use sockeye::raw::{Family, HeaderSocket};

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let from: SocketAddrV4 = words.next().unwrap_or("127.0.0.1:7008".to_owned()).parse()?;
    let to: SocketAddrV4 = words.next().unwrap_or("127.0.0.1:7007".to_owned()).parse()?;
    let text = words.next().unwrap_or("salmon 1".to_owned());

    let datagram = UdpBuilder::new(from.port(), to.port(), text.as_bytes());
    let mut packet = [0; 1500];
    let length = Ipv4Builder::new(*from.ip(), *to.ip()).write(&mut packet, &datagram)?;
    HeaderSocket::open(Family::V4)?.send_to(&packet[..length], to.into())?;
    println!("{to} believes that {from} has said: {text}");
    Ok(())
}
// ANCHOR_END: program
