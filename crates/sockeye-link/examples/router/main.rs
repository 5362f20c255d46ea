//! A router in user space: IPv4 and IPv6 between two or more interfaces.
//!
//! ```text
//! router r0,192.0.2.1/24,2001:db8:1::1/64 r1,198.51.100.1/24,mtu=1400 \
//!        --route 203.0.113.0/24=198.51.100.2 --nat r1 --seconds 60
//! ```
//!
//! It speaks ARP and neighbour discovery, finds the longest prefix, counts hops down, sends ICMP errors, fragments IPv4, and
//! with `--nat` hides IPv4 hosts behind the address of an interface. The interfaces need no address of the kernel's, whose own
//! forwarding is to be off. A line on stdout says that it is ready; its counters follow at the end.
//!
//! What it leaves out is what a router for more than an example needs: VLAN tags, packets that the interface was to cut into
//! segments (`ip link set DEV gso_max_segs 1` on hosts beside a veth pair), fragments under NAT, router advertisements.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a program")]

mod interface;
mod ipv4;
mod ipv6;
mod nat;
mod neighbours;
mod router;

use std::error::Error;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use sockeye_endpoint::Network;
use sockeye_link::{ChecksumStatus, FrameRecvBatch, FrameSendBatch, IncomingFrame, LinkSocket};
use sockeye_packet::{Icmpv6, Ipv4, Ipv6, Tcp, Udp, protocol};
use sockeye_socket::os::{PollFd, poll};

use interface::Interface;
use nat::Nat;
use router::Router;

/// Frames a call; the longest is a whole packet of 64 KiB with its header.
const BATCH: usize = 64;
const LONGEST: usize = 65_550;

/// What the command line asks for.
#[derive(Default)]
struct Wanted {
    interfaces: Vec<String>,
    routes: Vec<(Network, IpAddr)>,
    nat: Option<String>,
    seconds: Option<u64>,
}

fn wanted(mut words: impl Iterator<Item = String>) -> Result<Wanted, Box<dyn Error>> {
    let mut wanted = Wanted::default();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} wants a value"));
        match word.as_str() {
            "--route" => {
                let value = value()?;
                let (network, gateway) = value.split_once('=').ok_or("--route NETWORK=GATEWAY")?;
                wanted.routes.push((network.parse()?, gateway.parse()?));
            }
            "--nat" => wanted.nat = Some(value()?),
            "--seconds" => wanted.seconds = Some(value()?.parse()?),
            _ => wanted.interfaces.push(word),
        }
    }
    Ok(wanted)
}

fn main() -> Result<(), Box<dyn Error>> {
    let wanted = wanted(std::env::args().skip(1))?;
    let (mut interfaces, mut sockets) = (Vec::new(), Vec::new());
    for words in &wanted.interfaces {
        let (interface, socket) = interface::open(words)?;
        interfaces.push(interface);
        sockets.push(socket);
    }
    let mut router = Router::new(interfaces);
    for (network, gateway) in wanted.routes {
        if !router.add_route(network, gateway) {
            return Err(format!("the gateway {gateway} is on no link").into());
        }
    }
    if let Some(name) = wanted.nat {
        router.nat = Some(nat_on(&router.interfaces, &name).ok_or("--nat wants an interface with IPv4")?);
    }
    println!("ready");
    let until = wanted.seconds.map(Duration::from_secs);
    run(&mut router, &sockets, until)?;
    for socket in &sockets {
        router.counters.overflowed += u64::from(socket.take_statistics()?.drops);
    }
    println!("{:?}", router.counters);
    Ok(())
}

fn nat_on(interfaces: &[Interface], name: &str) -> Option<(usize, Nat)> {
    let index = interfaces.iter().position(|interface| interface.name == name)?;
    match interfaces[index].address_like(IpAddr::V4([0, 0, 0, 0].into()))? {
        IpAddr::V4(outer) => Some((index, Nat::new(outer))),
        IpAddr::V6(_) => None,
    }
}

/// Receives, forwards and sends until the time is over, or whoever has started it closes its stdin.
fn run(router: &mut Router, sockets: &[LinkSocket], until: Option<Duration>) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let stdin = std::io::stdin();
    let mut batch = FrameRecvBatch::new(BATCH, LONGEST);
    let mut sending = FrameSendBatch::new(BATCH);
    let mut frame = Vec::new();
    let mut next_tick = Duration::ZERO;
    loop {
        let now = start.elapsed();
        if until.is_some_and(|until| now >= until) {
            return Ok(());
        }
        if now >= next_tick {
            router.tick(now);
            next_tick = now + Duration::from_millis(250);
        }
        for (index, socket) in sockets.iter().enumerate() {
            match socket.recv_batch(&mut batch) {
                Ok(_) => {
                    for incoming in batch.iter().filter(|incoming| !incoming.truncated()) {
                        frame.clear();
                        frame.extend_from_slice(incoming.bytes);
                        finish_checksum(&incoming, &mut frame);
                        router.on_frame(index, &mut frame, now);
                    }
                }
                // An interface that is down comes back.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NetworkDown) => {}
                Err(error) => return Err(error.into()),
            }
        }
        send(router, sockets, &mut sending);
        let mut ready = vec![PollFd::new(stdin.as_fd(), until.is_none(), false)];
        ready.extend(
            sockets
                .iter()
                .map(|socket| PollFd::new(socket.as_fd(), true, false)),
        );
        let wait = next_tick.saturating_sub(start.elapsed());
        match poll(&mut ready, Some(wait)) {
            Ok(_) if until.is_none() && ready[0].is_readable() => return Ok(()),
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
    }
}

/// Sends what the router has put out, the frames of each interface in their order. What does not go is lost, as in any router
/// whose queue is full.
fn send(router: &mut Router, sockets: &[LinkSocket], sending: &mut FrameSendBatch) {
    let out = std::mem::take(&mut router.out);
    for (index, socket) in sockets.iter().enumerate() {
        let frames: Vec<_> = out.iter().filter(|(to, _)| *to == index).collect();
        let mut next = 0;
        while next < frames.len() {
            let rest = frames[next..].iter().map(|(_, frame)| (&frame[..], None));
            // One that is refused must not hold up those behind it.
            next += socket.send_batch(sending, rest).unwrap_or(1).max(1);
        }
    }
}

/// A host beside a veth pair leaves the transport checksum to an interface that is none: here it is filled in.
fn finish_checksum(incoming: &IncomingFrame<'_>, frame: &mut [u8]) {
    if incoming.meta.checksum != ChecksumStatus::NotReady {
        return;
    }
    let packet = frame.get_mut(14..).unwrap_or_default();
    match packet.first().map(|first| first >> 4) {
        Some(4) => {
            if let Ok(mut ip) = Ipv4::new(packet) {
                let (under, number) = (ip.pseudo(), ip.protocol());
                fill(number, ip.payload_mut(), under);
            }
        }
        Some(6) => {
            if let Ok(mut ip) = Ipv6::new(packet) {
                let (under, number) = (ip.pseudo(), ip.next_header());
                fill(number, ip.payload_mut(), under);
            }
        }
        _ => {}
    }
}

fn fill(number: u8, payload: &mut [u8], under: sockeye_packet::Pseudo) {
    match number {
        protocol::TCP => {
            if let Ok(mut tcp) = Tcp::new(payload) {
                tcp.fill_checksum(under);
            }
        }
        protocol::UDP => {
            if let Ok(mut udp) = Udp::new(payload) {
                udp.fill_checksum(under);
            }
        }
        protocol::ICMPV6 => {
            if let Ok(mut icmp) = Icmpv6::new(payload) {
                icmp.fill_checksum(under);
            }
        }
        _ => {}
    }
}
