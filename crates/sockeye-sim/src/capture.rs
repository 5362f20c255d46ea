//! What went over the simulated links, as packets for a pcapng file.

use std::net::SocketAddr;

use sockeye_packet::{TcpBuilder, TcpFlags};

use crate::world::{Header, World};

/// The flags of segments without data.
pub(crate) mod flag {
    use sockeye_packet::TcpFlags;

    pub(crate) const SYN: TcpFlags = TcpFlags::SYN;
    pub(crate) const ACK: TcpFlags = TcpFlags::ACK;
    pub(crate) const SYN_ACK: TcpFlags = TcpFlags::SYN.union(TcpFlags::ACK);
    pub(crate) const FIN_ACK: TcpFlags = TcpFlags::FIN.union(TcpFlags::ACK);
    pub(crate) const RST_ACK: TcpFlags = TcpFlags::RST.union(TcpFlags::ACK);
}

/// Packets in the order in which they were sent.
#[derive(Debug, Default)]
pub(crate) struct Capture {
    /// Nanoseconds since the simulation began, and the packet from its IP header on.
    pub(crate) packets: Vec<(u64, Vec<u8>)>,
}

/// The most payload that one captured segment has: an IPv4 packet holds no more.
const MOST: usize = 60_000;
const WINDOW: u16 = 65_535;

fn segment(
    from: SocketAddr,
    to: SocketAddr,
    (sent, received): (u32, u32),
    flags: TcpFlags,
    data: &[u8],
) -> Vec<u8> {
    let header = Header {
        source: from.ip(),
        destination: to.ip(),
        protocol: 6,
        hop_limit: 64,
        class: 0,
    };
    let tcp = TcpBuilder::new(from.port(), to.port(), data)
        .sequence(sent)
        .acknowledgment(received)
        .flags(flags)
        .window(WINDOW);
    header.packet(&tcp)
}

impl World {
    /// Records a segment without data, where a capture was asked for.
    #[inline]
    pub(crate) fn capture_flags(&mut self, stream: u32, flags: TcpFlags) {
        if self.capture.is_some() {
            self.record_segment(stream, flags, &[]);
        }
    }

    #[cold]
    pub(crate) fn capture_data(&mut self, stream: u32, data: &[u8]) {
        for chunk in data.chunks(MOST) {
            self.record_segment(stream, TcpFlags::PSH.union(TcpFlags::ACK), chunk);
        }
    }

    #[cold]
    fn record_segment(&mut self, stream: u32, flags: TcpFlags, data: &[u8]) {
        let peer = self.peer_of(stream);
        let slot = &mut self.streams[stream as usize];
        // The handshake and the end take a number each.
        let starts = flags.contains(TcpFlags::SYN);
        let sent = if starts { 0 } else { slot.sent };
        let acknowledged = if flags.contains(TcpFlags::ACK) {
            slot.received
        } else {
            0
        };
        let packet = segment(slot.local, slot.remote, (sent, acknowledged), flags, data);
        let len = u32::try_from(data.len()).unwrap_or(0);
        let taken = len + u32::from(flags.contains(TcpFlags::FIN));
        slot.sent = slot.sent.wrapping_add(taken);
        if let Some(peer) = peer {
            let far = &mut self.streams[peer as usize];
            far.received = far.received.wrapping_add(taken);
        }
        let now = self.now;
        if let Some(capture) = &mut self.capture {
            capture.packets.push((now, packet));
        }
    }

    /// Records a datagram or packet, where a capture was asked for.
    #[inline]
    pub(crate) fn capture_flight(&mut self, flight: u32) {
        if self.capture.is_some() {
            let packet = self.wire(flight);
            let now = self.now;
            if let Some(capture) = &mut self.capture {
                capture.packets.push((now, packet));
            }
        }
    }
}
