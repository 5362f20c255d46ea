//! What control messages mean: metadata read from received ones, and the extras of an outgoing message written.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::time::{Duration, SystemTime};

use super::cmsg::{self, ControlMessage, ControlWriter};
use super::{abi, address, option};
use crate::message::{Dscp, Ecn, Extras, Meta, Outgoing, present};

/// Fills `meta` from the received control messages in `control` and returns GRO's segment size, if there is one.
#[inline]
pub(crate) fn read(control: &[u8], meta: &mut Meta) -> Option<usize> {
    let mut segment_size = None;
    for message in cmsg::messages(control) {
        if (message.level, message.kind) == (libc::SOL_UDP, libc::UDP_GRO) {
            segment_size = message.as_i32().and_then(|size| usize::try_from(size).ok());
        } else {
            read_one(&message, meta);
        }
    }
    segment_size
}

fn read_one(message: &ControlMessage<'_>, meta: &mut Meta) {
    match (message.level, message.kind) {
        (libc::SOL_IP, libc::IP_PKTINFO) => read_pktinfo_v4(message, meta),
        (libc::SOL_IPV6, libc::IPV6_PKTINFO) => read_pktinfo_v6(message, meta),
        (libc::SOL_IP, libc::IP_TOS) | (libc::SOL_IPV6, libc::IPV6_TCLASS) => {
            if let Some(octet) = octet(message) {
                meta.ecn = Some(Ecn::from_class(octet));
                meta.dscp = Some(Dscp::from_class(octet));
            }
        }
        (libc::SOL_IP, libc::IP_TTL) | (libc::SOL_IPV6, libc::IPV6_HOPLIMIT) => {
            meta.hop_limit = octet(message)
        }
        (libc::SOL_SOCKET, abi::SO_TIMESTAMPNS_NEW) => meta.timestamp = timestamp(message, 0),
        (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => meta.drops = message.u32_at(0),
        (libc::SOL_IP, libc::IP_ORIGDSTADDR) | (libc::SOL_IPV6, abi::IPV6_ORIGDSTADDR) => {
            meta.original_destination = address::decode(message.data);
        }
        _ => {}
    }
}

fn octet(message: &ControlMessage<'_>) -> Option<u8> {
    message.as_i32().and_then(|value| u8::try_from(value).ok())
}

/// `in_pktinfo`: index, the own address for a reply, the address in the header.
fn read_pktinfo_v4(message: &ControlMessage<'_>, meta: &mut Meta) {
    let Some([i0, i1, i2, i3, l0, l1, l2, l3, d0, d1, d2, d3]) = message.data.first_chunk().copied() else {
        return;
    };
    meta.interface = Some(u32::from_ne_bytes([i0, i1, i2, i3]));
    meta.local = Some(IpAddr::V4(Ipv4Addr::new(l0, l1, l2, l3)));
    meta.destination = Some(IpAddr::V4(Ipv4Addr::new(d0, d1, d2, d3)));
}

/// `in6_pktinfo`: the address in the header, index. A v4 packet on a v6 socket brings both kinds.
fn read_pktinfo_v6(message: &ControlMessage<'_>, meta: &mut Meta) {
    let (Some(octets), Some(index)) = (message.data.first_chunk::<16>(), message.u32_at(16)) else {
        return;
    };
    let destination = Ipv6Addr::from(*octets).to_canonical();
    meta.interface = Some(index);
    meta.destination = Some(destination);
    // A group is no source. For v4 the kernel's own choice in IP_PKTINFO is the better one.
    if meta.local.is_none() && !destination.is_multicast() {
        meta.local = Some(destination);
    }
}

/// A `timespec` of two 64-bit words at `at`, seconds since 1970 and nanoseconds.
pub(crate) fn timestamp(message: &ControlMessage<'_>, at: usize) -> Option<SystemTime> {
    let seconds = u64::try_from(message.i64_at(at)?).ok()?;
    let nanos = u32::try_from(message.i64_at(at.checked_add(8)?)?)
        .ok()
        .filter(|nanos| *nanos < 1_000_000_000)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanos))
}

/// The socket's own traffic class octets, asked for at most once a call and only where a message sets half of one.
#[derive(Debug, Default)]
pub(crate) struct SocketClass {
    v4: Option<u8>,
    v6: Option<u8>,
}

impl SocketClass {
    /// The octet for `extras`: what it does not set stays as the socket has it.
    fn octet(&mut self, fd: BorrowedFd<'_>, extras: &Extras, v6: bool) -> u8 {
        let own = if extras.has(present::ECN) && extras.has(present::DSCP) {
            0
        } else {
            let (known, level, name) = if v6 {
                (&mut self.v6, libc::SOL_IPV6, libc::IPV6_TCLASS)
            } else {
                (&mut self.v4, libc::SOL_IP, libc::IP_TOS)
            };
            *known.get_or_insert_with(|| {
                option::get::<i32>(fd, level, name)
                    .ok()
                    .and_then(|octet| u8::try_from(octet).ok())
                    .unwrap_or(0)
            })
        };
        let ecn = if extras.has(present::ECN) {
            extras.ecn
        } else {
            own & 0b11
        };
        let dscp = if extras.has(present::DSCP) {
            extras.dscp
        } else {
            own >> 2
        };
        dscp << 2 | ecn
    }
}

/// Writes the control messages that `message` asks for, UDP_SEGMENT excepted.
///
/// The kernel reads those of the family that the packet has and passes over the others: a mapped IPv4 destination
/// takes the `IP_*` ones and ignores `IPV6_TCLASS` and `IPV6_HOPLIMIT` in silence. Without a destination the family
/// is the connected peer's, which is not known here, so both are written.
#[cold]
pub(crate) fn write(
    writer: &mut ControlWriter<'_>,
    fd: BorrowedFd<'_>,
    message: &Outgoing<'_>,
    class: &mut SocketClass,
) {
    let extras = &message.extras;
    let family = message.destination.map(|destination| match destination {
        SocketAddr::V4(_) => libc::AF_INET,
        SocketAddr::V6(v6) if v6.ip().to_ipv4_mapped().is_some() => libc::AF_INET,
        SocketAddr::V6(_) => libc::AF_INET6,
    });
    let (v4, v6) = (family != Some(libc::AF_INET6), family != Some(libc::AF_INET));

    write_pktinfo(writer, extras, v4, v6);
    if extras.has(present::ECN | present::DSCP) {
        if v4 {
            let octet = class.octet(fd, extras, false);
            writer.push(libc::SOL_IP, libc::IP_TOS, i32::from(octet).to_ne_bytes());
        }
        if v6 {
            let octet = class.octet(fd, extras, true);
            writer.push(libc::SOL_IPV6, libc::IPV6_TCLASS, i32::from(octet).to_ne_bytes());
        }
    }
    if extras.has(present::HOP_LIMIT) {
        let hops = i32::from(extras.hop_limit).to_ne_bytes();
        if v4 {
            writer.push(libc::SOL_IP, libc::IP_TTL, hops);
        }
        if v6 {
            writer.push(libc::SOL_IPV6, libc::IPV6_HOPLIMIT, hops);
        }
    }
    if extras.has(present::FLOW_LABEL) && v6 {
        writer.push(
            libc::SOL_IPV6,
            libc::IPV6_FLOWINFO,
            extras.flow_label.to_be_bytes(),
        );
    }
    if extras.has(present::DEPARTURE) {
        writer.push(
            libc::SOL_SOCKET,
            libc::SCM_TXTIME,
            extras.departure_ns.to_ne_bytes(),
        );
    }
    if extras.has(present::TIMESTAMP_ID) {
        writer.push(
            libc::SOL_SOCKET,
            abi::SO_TIMESTAMPING_NEW,
            abi::STAMP_TX_SOFTWARE.to_ne_bytes(),
        );
        writer.push(
            libc::SOL_SOCKET,
            abi::SCM_TS_OPT_ID,
            extras.timestamp_id.to_ne_bytes(),
        );
    }
}

fn write_pktinfo(writer: &mut ControlWriter<'_>, extras: &Extras, v4: bool, v6: bool) {
    if !extras.has(present::SOURCE | present::INTERFACE) {
        return;
    }
    let source = extras.has(present::SOURCE).then(|| extras.source.to_canonical());
    if v4 && !matches!(source, Some(IpAddr::V6(_))) {
        let octets = match source {
            Some(IpAddr::V4(address)) => address.octets(),
            _ => [0; 4],
        };
        let mut info = [0; 12];
        info[..4].copy_from_slice(&extras.interface.to_ne_bytes());
        info[4..8].copy_from_slice(&octets);
        writer.push(libc::SOL_IP, libc::IP_PKTINFO, info);
    }
    if v6 && !matches!(source, Some(IpAddr::V4(_))) {
        let octets = match source {
            Some(IpAddr::V6(address)) => address.octets(),
            _ => [0; 16],
        };
        let mut info = [0; 20];
        info[..16].copy_from_slice(&octets);
        info[16..].copy_from_slice(&extras.interface.to_ne_bytes());
        writer.push(libc::SOL_IPV6, libc::IPV6_PKTINFO, info);
    }
}

/// Writes the segment size of a message that is several datagrams.
#[inline]
pub(crate) fn write_segment(writer: &mut ControlWriter<'_>, bytes: u16) {
    writer.push(libc::SOL_UDP, libc::UDP_SEGMENT, bytes.to_ne_bytes());
}

/// Writes what the kernel would have written for a message received with `meta`: the inverse of [`read`].
pub(crate) fn write_received(writer: &mut ControlWriter<'_>, meta: &Meta, segment_size: Option<usize>) {
    let index = meta.interface.unwrap_or(0).to_ne_bytes();
    match meta.destination {
        Some(IpAddr::V4(destination)) => {
            let local = match meta.local {
                Some(IpAddr::V4(local)) => local,
                _ => destination,
            };
            let mut info = [0; 12];
            info[..4].copy_from_slice(&index);
            info[4..8].copy_from_slice(&local.octets());
            info[8..].copy_from_slice(&destination.octets());
            writer.push(libc::SOL_IP, libc::IP_PKTINFO, info);
        }
        Some(IpAddr::V6(destination)) => {
            let mut info = [0; 20];
            info[..16].copy_from_slice(&destination.octets());
            info[16..].copy_from_slice(&index);
            writer.push(libc::SOL_IPV6, libc::IPV6_PKTINFO, info);
        }
        None => {}
    }
    if let (Some(dscp), Some(ecn)) = (meta.dscp, meta.ecn) {
        writer.push(libc::SOL_IP, libc::IP_TOS, [dscp.value() << 2 | ecn.bits()]);
    }
    if let Some(hops) = meta.hop_limit {
        writer.push(libc::SOL_IP, libc::IP_TTL, i32::from(hops).to_ne_bytes());
    }
    if let Some(since) = meta
        .timestamp
        .and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok())
    {
        let mut spec = [0; 16];
        spec[..8].copy_from_slice(&since.as_secs().to_ne_bytes());
        spec[8..].copy_from_slice(&u64::from(since.subsec_nanos()).to_ne_bytes());
        writer.push(libc::SOL_SOCKET, abi::SO_TIMESTAMPNS_NEW, spec);
    }
    if let Some(drops) = meta.drops {
        writer.push(libc::SOL_SOCKET, libc::SO_RXQ_OVFL, drops.to_ne_bytes());
    }
    if let Some(destination) = meta.original_destination {
        let mut raw = address::RawAddress::EMPTY;
        raw.set(&destination);
        writer.push(libc::SOL_IP, libc::IP_ORIGDSTADDR, raw.bytes());
    }
    if let Some(size) = segment_size.and_then(|size| i32::try_from(size).ok()) {
        writer.push(libc::SOL_UDP, libc::UDP_GRO, size.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn room_for_every_control_message_at_once() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let message = Outgoing::connected(b"")
            .source("127.0.0.1".parse().unwrap())
            .interface(1)
            .ecn(Ecn::Ect0)
            .dscp(Dscp::EF)
            .hop_limit(1)
            .flow_label(5)
            .departure_ns(1)
            .timestamp_id(1);
        // `push` asserts that it fits; both families are written because there is no destination.
        let mut buffer = [0u8; cmsg::SEND_CONTROL_LEN];
        let mut writer = ControlWriter::new(&mut buffer);
        write(&mut writer, socket.as_fd(), &message, &mut SocketClass::default());
        write_segment(&mut writer, 1200);
        assert!(writer.len() <= cmsg::SEND_CONTROL_LEN);
        let kinds: Vec<_> = cmsg::messages(&buffer).map(|m| (m.level, m.kind)).collect();
        assert!(
            kinds.contains(&(libc::SOL_IP, libc::IP_TOS))
                && kinds.contains(&(libc::SOL_IPV6, libc::IPV6_TCLASS))
        );
    }

    #[test]
    fn a_mapped_destination_takes_the_v4_options() {
        let socket = std::net::UdpSocket::bind("[::]:0").unwrap();
        let mapped = "[::ffff:127.0.0.1]:9".parse().unwrap();
        let mut buffer = [0u8; cmsg::SEND_CONTROL_LEN];
        let mut writer = ControlWriter::new(&mut buffer);
        let message = Outgoing::to(mapped, b"").dscp(Dscp::EF).hop_limit(9);
        write(&mut writer, socket.as_fd(), &message, &mut SocketClass::default());
        let len = writer.len();
        assert!(cmsg::messages(&buffer[..len]).all(|m| m.level == libc::SOL_IP));
    }

    #[test]
    fn an_absent_value_is_none_never_a_guessed_zero() {
        let mut meta = Meta::NONE;
        assert_eq!(read(&[], &mut meta), None);
        assert_eq!(meta, Meta::NONE);
        // Too short for what they claim to be.
        let mut buffer = [0u8; 256];
        let mut writer = ControlWriter::new(&mut buffer);
        writer.push(libc::SOL_IP, libc::IP_PKTINFO, [1u8; 11]);
        writer.push(libc::SOL_IPV6, libc::IPV6_PKTINFO, [1u8; 19]);
        writer.push(libc::SOL_IP, libc::IP_TTL, [1u8; 3]);
        writer.push(libc::SOL_SOCKET, abi::SO_TIMESTAMPNS_NEW, [1u8; 15]);
        writer.push(libc::SOL_IP, libc::IP_ORIGDSTADDR, [1u8; 2]);
        let len = writer.len();
        assert_eq!(read(&buffer[..len], &mut meta), None);
        assert_eq!(meta, Meta::NONE);
    }

    #[test]
    fn written_metadata_reads_back() {
        let mut meta = Meta::NONE;
        meta.destination = Some("224.0.0.9".parse().unwrap());
        meta.local = Some("192.0.2.1".parse().unwrap());
        meta.interface = Some(7);
        (meta.ecn, meta.dscp, meta.hop_limit) = (Some(Ecn::Ce), Some(Dscp::EF), Some(3));
        meta.timestamp = Some(SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 999_999_999));
        meta.drops = Some(5);
        meta.original_destination = Some("[2001:db8::1]:53".parse().unwrap());
        for destination in ["224.0.0.9", "2001:db8::9"] {
            meta.destination = Some(destination.parse().unwrap());
            meta.local = meta
                .local
                .filter(|_| destination.contains('.'))
                .or(meta.destination);
            let mut buffer = [0u8; cmsg::RECV_CONTROL_LEN];
            let mut writer = ControlWriter::new(&mut buffer);
            write_received(&mut writer, &meta, Some(1200));
            let len = writer.len();
            let mut read_back = Meta::NONE;
            assert_eq!(read(&buffer[..len], &mut read_back), Some(1200));
            assert_eq!(read_back, meta);
        }
    }

    proptest! {
        #[test]
        fn prop_hostile_control_messages_never_panic(
            entries in proptest::collection::vec(
                (
                    prop::sample::select(vec![libc::SOL_IP, libc::SOL_IPV6, libc::SOL_SOCKET, libc::SOL_UDP]),
                    prop::sample::select(vec![
                        libc::IP_PKTINFO, libc::IPV6_PKTINFO, libc::IP_TOS, libc::IPV6_TCLASS, libc::IP_TTL,
                        libc::IPV6_HOPLIMIT, abi::SO_TIMESTAMPNS_NEW, libc::SO_RXQ_OVFL, libc::IP_ORIGDSTADDR,
                        abi::IPV6_ORIGDSTADDR, libc::UDP_GRO,
                    ]),
                    proptest::collection::vec(any::<u8>(), 0..40),
                ),
                0..8,
            ),
        ) {
            let mut buffer = Vec::new();
            for (level, kind, data) in &entries {
                buffer.extend_from_slice(&(cmsg::HEADER_LEN + data.len()).to_ne_bytes());
                buffer.extend_from_slice(&level.to_ne_bytes());
                buffer.extend_from_slice(&kind.to_ne_bytes());
                buffer.extend_from_slice(data);
                buffer.resize(buffer.len().next_multiple_of(size_of::<usize>()), 0xee);
            }
            let mut meta = Meta::NONE;
            let _ = read(&buffer, &mut meta);
        }
    }
}
