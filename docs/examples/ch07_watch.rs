//! Prints the UDP datagrams that arrive at this host, with their IP headers, whoever they are for. Needs CAP_NET_RAW.
//! `ch07_watch [COUNT]`.
#![expect(clippy::print_stdout, reason = "a program")]

// ANCHOR: program
use std::error::Error;
use std::time::Duration;

use sockeye::packet::{Udp, protocol};
use sockeye::raw::{Family, IpSocket};

fn main() -> Result<(), Box<dyn Error>> {
    let count: u32 = std::env::args()
        .nth(1)
        .map_or(Ok(u32::MAX), |text| text.parse())?;
    let opened = IpSocket::bind(Family::V4.unspecified(), protocol::UDP);
    let socket = opened.map_err(|error| error.to_string())?;
    println!("watching UDP");
    let mut buffer = vec![0; 65_535];
    for _ in 0..count {
        socket.wait_readable(Duration::MAX)?;
        let packet = socket.recv_msg(&mut buffer)?;
        let (Some(ip), Ok(udp)) = (packet.header, Udp::new(packet.payload)) else {
            continue;
        };
        println!(
            "{}:{} > {}:{}  ttl {}, header {} bytes, payload {:?}",
            ip.source(),
            udp.source_port(),
            ip.destination(),
            udp.destination_port(),
            ip.ttl(),
            ip.header_len(),
            String::from_utf8_lossy(udp.payload()),
        );
    }
    Ok(())
}
// ANCHOR_END: program
