//! The cases that the kernel's own tests of these features check, as tables: segmentation limits, control messages,
//! receive timestamps, steering; each over IPv4 and IPv6, connected and not.
//!
//! Facts from `tools/testing/selftests/net` of Linux: `udpgso.c`, `cmsg_sender.c`, `rxtimestamp.c`, `reuseport_bpf.c`.

#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

mod udp_common;

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use sockeye::socket::options;
use sockeye::udp::filter::{Compare, Program, Width};
use sockeye::udp::{Dscp, Ecn, Fault, Metadata, Outgoing, PathMtu, SendBatch, UdpOptions, UdpSocket};
use sockeye_tests::netns;
use sockeye_tests::skip::{self, Need};
use udp_common::{Path, assert_empty, recv, recv_datagrams};

const MTU: usize = 1500;

/// The four ways each case is tried.
fn ways() -> impl Iterator<Item = (Path, bool)> {
    [Path::V4, Path::V6]
        .into_iter()
        .flat_map(|path| [(path, false), (path, true)])
}

fn message<'a>(connected: bool, to: SocketAddr, payload: &'a [u8]) -> Outgoing<'a> {
    if connected {
        Outgoing::connected(payload)
    } else {
        Outgoing::to(to, payload)
    }
}

fn prepared(
    path: Path,
    connected: bool,
    receiver: &UdpOptions,
    sender: &UdpOptions,
) -> (UdpSocket, UdpSocket, SocketAddr) {
    let (receiver, sender, to) = path.pair(receiver, sender);
    if connected {
        sender.connect(to).unwrap();
    }
    (receiver, sender, to)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    /// So many datagrams, the last of so many bytes.
    Datagrams(usize, usize),
    TooBig,
    Invalid,
}

/// Payload bytes, segment size (0 for none), outcome; `mss` is what fits one packet.
fn segmentation_cases(mss: usize, max_segments: usize, max_payload: usize) -> Vec<(usize, usize, Outcome)> {
    use Outcome::{Datagrams, Invalid, TooBig};
    let whole = max_payload / mss;
    vec![
        (1, 0, Datagrams(1, 1)),
        (mss, 0, Datagrams(1, mss)),
        (mss + 1, 0, TooBig),
        (1, mss, Datagrams(1, 1)),
        (mss, mss, Datagrams(1, mss)),
        (mss, mss - 2, Datagrams(2, 2)),
        (mss + 1, mss, Datagrams(2, 1)),
        (mss + 1, mss + 2, TooBig),
        (mss + 1, mss + 1, TooBig),
        (mss * 2, mss, Datagrams(2, mss)),
        (mss * 2 + 1, mss, Datagrams(3, 1)),
        (mss * whole, mss, Datagrams(whole, mss)),
        (
            max_payload,
            mss,
            Datagrams(max_payload.div_ceil(mss), max_payload - mss * whole),
        ),
        (max_payload + 1, mss, TooBig),
        (1, 1, Datagrams(1, 1)),
        (2, 1, Datagrams(2, 1)),
        (5, 2, Datagrams(3, 1)),
        (max_segments, 1, Datagrams(max_segments, 1)),
        (max_segments + 1, 1, Invalid),
        (max_segments * 2, 2, Datagrams(max_segments, 2)),
        (max_segments * 2 + 1, 2, Invalid),
    ]
}

#[test]
fn udpgso_limits_of_segmentation() {
    let name = "udpgso_limits_of_segmentation";
    if !skip::require(&[Need::Namespaces, Need::Ipv6])
        || !netns::enter(name, |ns| drop(ns.ip(&format!("link set lo mtu {MTU}"))))
    {
        return;
    }
    for (path, connected) in ways() {
        let (headers, max_payload) = if path.is_v6() {
            (48, 65_535 - 8)
        } else {
            (28, 65_535 - 28)
        };
        // As the kernel's test does: what does not fit is refused, not cut.
        let large = UdpOptions::new().recv_buffer(4 << 20);
        let (receiver, sender, to) = prepared(
            path,
            connected,
            &large,
            &UdpOptions::new().path_mtu(PathMtu::Refuse),
        );
        let max_segments = sender.capabilities().unwrap().max_segments;
        for (len, segment, outcome) in segmentation_cases(MTU - headers, max_segments, max_payload) {
            // Segments by control message, and by the socket's own option.
            for by_option in [false, true] {
                let payload: Vec<u8> = (0..=250).cycle().take(len).collect();
                let mut message = message(connected, to, &payload);
                let size = u16::try_from(segment).unwrap();
                sender
                    .socket()
                    .set(options::UDP_SEGMENT, if by_option { u32::from(size) } else { 0 })
                    .unwrap();
                if segment != 0 && !by_option {
                    message = message.segment_size(size);
                }
                let case = format!("{path:?} connected {connected} option {by_option}: {len} by {segment}");
                match (sender.send_msg(&message).map_err(|error| error.fault()), outcome) {
                    (Ok(sent), Outcome::Datagrams(count, last)) => {
                        assert_eq!(sent, len, "{case}");
                        let received = recv_datagrams(&receiver, count);
                        assert_eq!(
                            (received.len(), received[count - 1].len()),
                            (count, last),
                            "{case}"
                        );
                        assert!(received.concat() == payload, "{case}");
                    }
                    (Err(Fault::TooBig { .. }), Outcome::TooBig)
                    | (Err(Fault::Invalid), Outcome::Invalid) => {}
                    (result, _) => panic!("{case}: {result:?}, not {outcome:?}"),
                }
                assert_empty(&receiver);
            }
        }
    }
}

#[test]
fn udpgso_a_batch_sends_every_size_that_fits_alone() {
    let name = "udpgso_a_batch_sends_every_size_that_fits_alone";
    if !skip::require(&[Need::Namespaces, Need::Ipv6])
        || !netns::enter(name, |ns| drop(ns.ip(&format!("link set lo mtu {MTU}"))))
    {
        return;
    }
    for (path, connected) in ways() {
        let mss = MTU - if path.is_v6() { 48 } else { 28 };
        let options = UdpOptions::new().path_mtu(PathMtu::Refuse);
        let (receiver, sender, to) =
            prepared(path, connected, &UdpOptions::new().recv_buffer(8 << 20), &options);
        for size in [1, 2, mss - 1, mss] {
            for count in [1, 2, 45, 64, 65, 128, 129, 300] {
                let payload = vec![5; size];
                let report =
                    SendBatch::new(16).send_with(&sender, 0..count, |_| message(connected, to, &payload));
                assert_eq!(
                    (report.count, report.error),
                    (count, None),
                    "{path:?} {size} x {count}"
                );
                assert!(
                    recv_datagrams(&receiver, count)
                        .iter()
                        .all(|datagram| *datagram == payload)
                );
            }
        }
        let payload = vec![5; mss + 1];
        let report = SendBatch::new(16).send_with(&sender, 0..5, |_| message(connected, to, &payload));
        assert!(report.count == 0 && matches!(report.error.unwrap().fault(), Fault::TooBig { .. }));
    }
}

#[test]
fn cmsg_sender_each_control_message_has_its_effect_and_only_once() {
    let wanted = UdpOptions::new().metadata(Metadata::TRAFFIC_CLASS | Metadata::HOP_LIMIT);
    for (path, connected) in ways() {
        let (receiver, sender, to) = prepared(path, connected, &wanted, &UdpOptions::new());
        let plain = message(connected, to, b"x");
        let table: [(&str, Outgoing<'_>, (u8, u8, u8)); 7] = [
            ("nothing", plain, (0, 0, 64)),
            ("class", plain.dscp(Dscp::EF).ecn(Ecn::Ce), (46, 3, 64)),
            ("hop limit 1", plain.hop_limit(1), (0, 0, 1)),
            ("hop limit 255", plain.hop_limit(255), (0, 0, 255)),
            (
                "both",
                plain.dscp(Dscp::CS1).ecn(Ecn::NotEct).hop_limit(7),
                (8, 0, 7),
            ),
            ("source", plain.source(to.ip()), (0, 0, 64)),
            ("flow label", plain.flow_label(0xabcde), (0, 0, 64)),
        ];
        for (what, message, (dscp, ecn, hops)) in table {
            for (message, expected) in [(message, (dscp, ecn, hops)), (plain, (0, 0, 64))] {
                sender.send_msg(&message).unwrap();
                let meta = recv(&receiver, &mut [0; 8]).meta;
                let seen = (
                    meta.dscp.unwrap().value(),
                    meta.ecn.unwrap().bits(),
                    meta.hop_limit.unwrap(),
                );
                assert_eq!(seen, expected, "{path:?} connected {connected}: {what}");
            }
        }
    }
}

#[test]
fn cmsg_sender_departure_and_timestamp_need_their_socket_option() {
    for (path, connected) in ways() {
        let (receiver, sender, to) = prepared(path, connected, &UdpOptions::new(), &UdpOptions::new());
        let plain = message(connected, to, b"x");
        assert_eq!(
            sender.send_msg(&plain.departure_ns(1)).unwrap_err().fault(),
            Fault::Invalid
        );
        sender
            .set_departure_clock(sockeye::udp::DepartureClock::Monotonic)
            .unwrap();
        assert!(sender.capabilities().unwrap().departure_time);
        sender.send_msg(&plain.departure_ns(1)).unwrap();
        assert_eq!(
            sender.send_msg(&plain.timestamp_id(1)).unwrap_err().fault(),
            Fault::Invalid
        );
        assert_eq!(recv_datagrams(&receiver, 1).len(), 1);
        assert_empty(&receiver);
    }
}

#[test]
fn rxtimestamp_only_where_asked_and_close_to_now() {
    for (path, connected) in ways() {
        for (wanted, expected) in [
            (Metadata::NONE, false),
            (Metadata::TIMESTAMP, true),
            (Metadata::HOP_LIMIT, false),
        ] {
            let (receiver, sender, to) = prepared(
                path,
                connected,
                &UdpOptions::new().metadata(wanted),
                &UdpOptions::new(),
            );
            // The kernel switches its stamping on in its own time: the first packets may lack theirs in the header,
            // and are stamped when they are read.
            let before = SystemTime::now();
            sender.send_msg(&message(connected, to, b"x")).unwrap();
            let stamp = recv(&receiver, &mut [0; 8]).meta.timestamp;
            assert_eq!(stamp.is_some(), expected, "{path:?} {wanted:?}");
            if let Some(stamp) = stamp {
                let slack = Duration::from_secs(1);
                assert!(stamp + slack > before && stamp < SystemTime::now() + slack);
            }
        }
    }
}

#[test]
fn reuseport_bpf_steers_by_payload_and_falls_back_for_numbers_nobody_has() {
    for path in [Path::V4, Path::V6] {
        let options = UdpOptions::new().reuse_port(true);
        let first = options.bind(path.loopback(0)).unwrap();
        let to = first.local_addr().unwrap();
        let sockets: Vec<_> = std::iter::once(first)
            .chain((1..10).map(|_| options.bind(to).unwrap()))
            .collect();
        let sender = UdpSocket::bind(path.loopback(0)).unwrap();
        // By a 32-bit number at the front of the payload, and then another program that replaces it.
        for modulus in [10u32, 5] {
            let program = Program::new().load(Width::Word, 0).modulo(modulus);
            program
                .accept_by_accumulator()
                .attach_reuse_port(&sockets[0])
                .unwrap();
            for number in 0..modulus * 2 {
                sender.send_to(&number.to_be_bytes(), to).unwrap();
                let expected = usize::try_from(number % modulus).unwrap();
                assert_eq!(recv_datagrams(&sockets[expected], 1), [number.to_be_bytes()]);
            }
            sockets.iter().for_each(assert_empty);
        }
        // A number beyond the group: somebody gets it all the same.
        let program = Program::new()
            .load(Width::Word, 0)
            .require(Compare::GreaterOrEqual, 0);
        program
            .accept_by_accumulator()
            .attach_reuse_port(&sockets[0])
            .unwrap();
        sender.send_to(&1_000_000u32.to_be_bytes(), to).unwrap();
        let received = sockets
            .iter()
            .filter(|socket| socket.recv(&mut [0; 8]).is_ok())
            .count();
        assert_eq!(received, 1);
        // Not sharing a port, there is nothing to steer.
        let alone = UdpSocket::bind(path.loopback(0)).unwrap();
        assert!(
            Program::new()
                .load_len()
                .accept_by_accumulator()
                .attach_reuse_port(&alone)
                .is_err()
        );
    }
}
