//! Sends a request to tally with an IP header of our own: source, TTL and all. Needs CAP_NET_RAW.
//! `ch07_header [SOURCE [DESTINATION:PORT [TTL]]]`.
#![expect(clippy::print_stdout, reason = "a program")]

// ANCHOR: program
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddrV4};

use sockeye::packet::{Ipv4Builder, UdpBuilder};
use sockeye::raw::{Family, HeaderSocket};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let source: Ipv4Addr = arguments.next().unwrap_or("127.9.9.9".to_owned()).parse()?;
    let to: SocketAddrV4 = arguments.next().unwrap_or("127.0.0.1:7007".to_owned()).parse()?;
    let ttl: u8 = arguments.next().map_or(Ok(64), |text| text.parse())?;

    let mut packet = [0; 100];
    let udp = UdpBuilder::new(4007, to.port(), b"salmon 3\n");
    let len = Ipv4Builder::new(source, *to.ip())
        .ttl(ttl)
        .write(&mut packet, &udp)?;
    println!("IP header:  {:02x?}", &packet[..20]);
    println!("UDP header: {:02x?}", &packet[20..28]);
    HeaderSocket::open(Family::V4)?.send(&packet[..len])?;
    Ok(())
}
// ANCHOR_END: program
