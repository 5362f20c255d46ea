//! Speaks VRRP (protocol 112, group 224.0.0.18) on one interface: advertises itself and prints whom it hears.
//!
//! ```text
//! cargo run -p sockeye-raw-ip --example vrrp -- eth0 [ROUTER-ID [ADVERTISEMENTS]]
//! ```
//!
//! What a routing protocol needs of a raw socket is all here: a group joined on one interface, advertisements that leave by it
//! with TTL 255, and nothing taken from farther than the link (RFC 5082).
#![expect(clippy::print_stdout, reason = "a program")]

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use sockeye_packet::{Checksum, Pseudo, protocol};
use sockeye_raw_ip::{Family, IncomingPacket, IpOptions, Metadata};
use sockeye_socket::os::{interface_index, interfaces};

const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
const INTERVAL: Duration = Duration::from_millis(500);

/// A VRRP version 3 advertisement of `router` for one address (RFC 9568 section 5.1).
fn advertisement(router: u8, source: Ipv4Addr) -> [u8; 12] {
    let mut packet = [0x31, router, 100, 1, 0, 50, 0, 0, 0, 0, 0, 0];
    packet[8..].copy_from_slice(&source.octets());
    let mut sum = Checksum::pseudo(
        Pseudo::V4 {
            source,
            destination: GROUP,
        },
        protocol::VRRP,
        12,
    );
    sum.add(&packet);
    packet[6..8].copy_from_slice(&sum.finish().to_be_bytes());
    packet
}

/// The router that a packet advertises, if it is an advertisement with a right checksum.
fn heard(packet: &IncomingPacket<'_>) -> Option<u8> {
    let mut sum = Checksum::pseudo(
        packet.header?.pseudo(),
        protocol::VRRP,
        u32::try_from(packet.len).ok()?,
    );
    sum.add(packet.payload);
    match packet.payload {
        [0x31, router, _, _, _, _, _, _, ..] if sum.finish() == 0 => Some(*router),
        _ => None,
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().ok_or("which interface?")?;
    let router = arguments.next().map_or(Ok(1), |id| id.parse())?;
    let mut left: u32 = arguments.next().map_or(Ok(u32::MAX), |count| count.parse())?;

    let index = interface_index(&name)?;
    let source = interfaces()?
        .into_iter()
        .filter(|interface| interface.index == index)
        .flat_map(|interface| interface.addresses)
        .find_map(|(address, _)| match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        })
        .ok_or("the interface has no IPv4 address")?;

    let socket = IpOptions::new()
        .device(&name)
        .min_hops(255)
        .metadata(Metadata::DESTINATION)
        .bind(Family::V4.unspecified(), protocol::VRRP)?;
    socket.join_group(GROUP.into(), index)?;
    socket.set_multicast_interface(index)?;
    socket.set_multicast_hops(255)?;
    socket.set_multicast_loop(false)?;

    let packet = advertisement(router, source);
    let mut buffer = [0; 1500];
    let mut next = Instant::now();
    while left > 0 {
        if Instant::now() >= next {
            socket.send_to(&packet, SocketAddr::new(GROUP.into(), 0))?;
            next += INTERVAL;
            left -= 1;
        }
        let wait = next.saturating_duration_since(Instant::now());
        if socket.wait_readable(wait)? {
            let packet = socket.recv_msg(&mut buffer)?;
            if let Some(router) = heard(&packet) {
                println!(
                    "router {router} at {} to {:?}",
                    packet.source.ip(),
                    packet.meta.destination
                );
            }
        }
    }
    Ok(())
}
