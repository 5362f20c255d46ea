//! Source NAT for IPv4 (RFC 3022, RFC 4787, RFC 5508): many hosts behind one address. A host's port keeps its outer port
//! whomever it speaks to. Checksums are adapted, not computed anew (RFC 1624).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use sockeye_packet::{Icmpv4, Ipv4, Tcp, TcpFlags, Udp, protocol};

/// The ports that are given out; also how many conversations there may be for each protocol.
const FIRST_PORT: u16 = 20_000;
const LAST_PORT: u16 = 60_000;
/// How long a mapping lives without a packet.
const TCP_LIVES: Duration = Duration::from_secs(7440);
const TCP_ENDING: Duration = Duration::from_secs(240);
const UDP_LIVES: Duration = Duration::from_secs(300);
const ICMP_LIVES: Duration = Duration::from_secs(60);

/// Protocol, address, and port or identifier.
type Flow = (u8, Ipv4Addr, u16);

#[derive(Debug)]
struct Mapping {
    outer: u16,
    until: Duration,
}

/// The table of one outer address.
#[derive(Debug)]
pub(crate) struct Nat {
    pub(crate) outer: Ipv4Addr,
    by_inner: HashMap<Flow, Mapping>,
    by_outer: HashMap<(u8, u16), (Ipv4Addr, u16)>,
    next: u16,
}

/// The port or identifier of a transport header, and whether the conversation ends with this packet.
fn port_of(ip: &Ipv4<&[u8]>, source: bool) -> Option<(u16, bool)> {
    if ip.is_fragment() {
        return None;
    }
    match ip.protocol() {
        protocol::TCP => {
            let tcp = Tcp::new(ip.body()).ok()?;
            let ends = tcp.flags().bits() & (TcpFlags::FIN.bits() | TcpFlags::RST.bits()) != 0;
            Some((
                if source {
                    tcp.source_port()
                } else {
                    tcp.destination_port()
                },
                ends,
            ))
        }
        protocol::UDP => {
            let udp = Udp::new(ip.body()).ok()?;
            Some((
                if source {
                    udp.source_port()
                } else {
                    udp.destination_port()
                },
                false,
            ))
        }
        protocol::ICMPV4 => {
            let icmp = Icmpv4::new(ip.body()).ok()?;
            // Requests leave and replies come back.
            (icmp.message_type() == if source { 8 } else { 0 }).then(|| (icmp.id(), false))
        }
        _ => None,
    }
}

const fn lives(protocol: u8, ends: bool) -> Duration {
    match protocol {
        protocol::TCP if ends => TCP_ENDING,
        protocol::TCP => TCP_LIVES,
        protocol::UDP => UDP_LIVES,
        _ => ICMP_LIVES,
    }
}

impl Nat {
    pub(crate) fn new(outer: Ipv4Addr) -> Self {
        Self {
            outer,
            by_inner: HashMap::new(),
            by_outer: HashMap::new(),
            next: FIRST_PORT,
        }
    }

    /// Gives a packet that leaves the outer address. `false` where it cannot: a fragment, another protocol, no port left.
    pub(crate) fn outwards(&mut self, packet: &mut [u8], now: Duration) -> bool {
        let Ok(ip) = Ipv4::new(&*packet) else { return false };
        let Some((port, ends)) = port_of(&ip, true) else {
            return false;
        };
        let (number, source) = (ip.protocol(), ip.source());
        let Some(outer) = self.port_for((number, source, port), ends, now) else {
            return false;
        };
        rewrite(packet, self.outer, outer, true)
    }

    /// Gives a packet that comes back its inner address. `false` where it belongs to no conversation.
    pub(crate) fn inwards(&mut self, packet: &mut [u8], now: Duration) -> bool {
        let Ok(ip) = Ipv4::new(&*packet) else { return false };
        let number = ip.protocol();
        if number == protocol::ICMPV4 && Icmpv4::new(ip.body()).is_ok_and(|icmp| icmp.is_error()) {
            return self.error_inwards(packet);
        }
        let Some((outer, ends)) = port_of(&ip, false) else {
            return false;
        };
        let Some(&(address, port)) = self.by_outer.get(&(number, outer)) else {
            return false;
        };
        if let Some(mapping) = self.by_inner.get_mut(&(number, address, port)) {
            mapping.until = now + lives(number, ends);
        }
        rewrite(packet, address, port, false)
    }

    /// An ICMP error speaks of a packet that has left: it gets its inner address again, and so does the quotation.
    fn error_inwards(&self, packet: &mut [u8]) -> bool {
        let Ok(mut ip) = Ipv4::new(packet) else {
            return false;
        };
        let Some((&mut [number], at)) = quoted_flow(ip.payload_mut()) else {
            return false;
        };
        let quote = ip.payload_mut();
        let outer = u16::from_be_bytes([quote[at], quote[at + 1]]);
        let Some(&(address, port)) = self.by_outer.get(&(number, outer)) else {
            return false;
        };
        quote[at..at + 2].copy_from_slice(&port.to_be_bytes());
        if let Ok(mut quoted) = Ipv4::lax(&mut quote[8..]) {
            quoted.view.set_source(address);
        }
        if let Ok(mut icmp) = Icmpv4::new(ip.payload_mut()) {
            icmp.fill_checksum();
        }
        ip.set_destination(address);
        true
    }

    fn port_for(&mut self, flow: Flow, ends: bool, now: Duration) -> Option<u16> {
        let until = now + lives(flow.0, ends);
        if let Some(mapping) = self.by_inner.get_mut(&flow) {
            mapping.until = until;
            return Some(mapping.outer);
        }
        // Each port is tried once at most.
        for _ in FIRST_PORT..=LAST_PORT {
            let outer = self.next;
            self.next = if outer >= LAST_PORT { FIRST_PORT } else { outer + 1 };
            if let std::collections::hash_map::Entry::Vacant(free) = self.by_outer.entry((flow.0, outer)) {
                free.insert((flow.1, flow.2));
                self.by_inner.insert(flow, Mapping { outer, until });
                return Some(outer);
            }
        }
        None
    }

    /// Forgets what has not been used for its time.
    pub(crate) fn expire(&mut self, now: Duration) {
        let by_outer = &mut self.by_outer;
        self.by_inner.retain(|flow, mapping| {
            let lives = mapping.until > now;
            if !lives {
                by_outer.remove(&(flow.0, mapping.outer));
            }
            lives
        });
    }
}

/// Protocol of the packet that an error quotes, and where in the error its source port or identifier stands.
fn quoted_flow(error: &mut [u8]) -> Option<(&mut [u8; 1], usize)> {
    let header_len = usize::from(*error.get(8)? & 0xf) * 4;
    let number = *error.get(8 + 9)?;
    let port = 8 + header_len + if number == protocol::ICMPV4 { 4 } else { 0 };
    error.get(port..port + 2)?;
    let number = error.get_mut(17..18)?.first_chunk_mut()?;
    (header_len >= 20).then_some((number, port))
}

/// Writes address and port or identifier of one end.
fn rewrite(packet: &mut [u8], address: Ipv4Addr, port: u16, source: bool) -> bool {
    let Ok(mut ip) = Ipv4::new(packet) else {
        return false;
    };
    let old = if source { ip.source() } else { ip.destination() };
    let (old, new) = (IpAddr::V4(old), IpAddr::V4(address));
    match ip.protocol() {
        protocol::TCP => {
            let Ok(mut tcp) = Tcp::new(ip.payload_mut()) else {
                return false;
            };
            tcp.readdress(old, new);
            if source {
                tcp.set_source_port(port)
            } else {
                tcp.set_destination_port(port)
            }
        }
        protocol::UDP => {
            let Ok(mut udp) = Udp::new(ip.payload_mut()) else {
                return false;
            };
            udp.readdress(old, new);
            if source {
                udp.set_source_port(port)
            } else {
                udp.set_destination_port(port)
            }
        }
        _ => {
            let Ok(mut icmp) = Icmpv4::new(ip.payload_mut()) else {
                return false;
            };
            icmp.set_id(port);
        }
    }
    if source {
        ip.set_source(address)
    } else {
        ip.set_destination(address)
    }
    true
}
