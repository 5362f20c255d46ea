//! Faults: each has its own typed outcome, concerns the datagram it belongs to, and leaves the socket as it was.

mod udp_common;

use std::time::{Duration, SystemTime};

use sockeye::socket::{ZeroCopyBuffer, options};
use sockeye::udp::{Cause, Fault, Outgoing, PathMtu, QueueEntry, SendBatch, UdpOptions};
use sockeye_tests::netns;
use sockeye_tests::skip::{self, Need};
use sockeye_tests::wait;
use udp_common::{
    PATIENCE, Path, addr, assert_empty, bind, close_to_others, closed_port, ip, recv_datagrams, recv_entry,
    recv_error, recv_payload, v4_pair,
};

fn with_error_queue() -> UdpOptions {
    UdpOptions::new().error_queue(true)
}

/// Runs the body in a namespace of its own; see `netns::enter`.
fn alone(name: &str, needs: &[Need], prepare: impl FnOnce(&netns::Namespace)) -> bool {
    let needs: Vec<_> = needs.iter().copied().chain([Need::Namespaces]).collect();
    skip::require(&needs) && netns::enter(name, prepare)
}

#[test]
fn a_refusal_never_surfaces_on_an_unconnected_socket_without_the_queue() {
    let (receiver, sender, to) = v4_pair();
    for _ in 0..3 {
        sender.send_msg(&Outgoing::to(closed_port(), b"lost")).unwrap();
    }
    sender.send_msg(&Outgoing::to(to, b"arrives")).unwrap();
    assert_eq!(recv_payload(&receiver), b"arrives");
    assert!(sender.recv_error().unwrap().is_none());
    assert!(sender.take_error().unwrap().is_none());
}

#[test]
fn a_refusal_on_a_connected_socket_is_told_once_and_not_of_the_datagram_at_hand() {
    let sender = bind("127.0.0.1:0").unwrap();
    let peer = bind("127.0.0.1:0").unwrap();
    let to = peer.local_addr().unwrap();
    sender.connect(to).unwrap();
    close_to_others(&peer);
    sender.send_msg(&Outgoing::connected(b"refused")).unwrap();
    let error = sender.send_msg(&Outgoing::connected(b"not sent")).unwrap_err();
    assert_eq!(error.fault(), Fault::Refused);
    assert!(!error.concerns_this_datagram());

    // The peer is back: the datagram at hand is as good as before, and sending it again succeeds.
    peer.connect(sender.local_addr().unwrap()).unwrap();
    sender.send_msg(&Outgoing::connected(b"sent again")).unwrap();
    assert_eq!(recv_payload(&peer), b"sent again");
    assert_empty(&peer);
}

#[test]
fn a_batch_stops_at_a_refusal_and_goes_on_from_the_same_datagram() {
    let sender = bind("127.0.0.1:0").unwrap();
    let peer = bind("127.0.0.1:0").unwrap();
    let to = peer.local_addr().unwrap();
    sender.connect(to).unwrap();
    close_to_others(&peer);
    sender.send(b"refused").unwrap();
    let payloads: Vec<_> = (0..10u8).map(|i| vec![i; 10]).collect();
    let mut batch = SendBatch::new(16);
    peer.connect(sender.local_addr().unwrap()).unwrap();
    let report = batch.send_with(&sender, 0..10, |i| Outgoing::connected(&payloads[i]));
    assert_eq!((report.count, report.error.unwrap().fault()), (0, Fault::Refused));
    assert_eq!(
        batch
            .send_with(&sender, 0..10, |i| Outgoing::connected(&payloads[i]))
            .count,
        10
    );
    assert_eq!(recv_datagrams(&peer, 10), payloads);
}

#[test]
fn the_error_queue_says_which_destination_refused() {
    for path in Path::ALL {
        let sender = path.bind(&with_error_queue());
        let to = path.loopback(closed_port().port());
        sender.send_msg(&Outgoing::to(to, b"anybody?")).unwrap();
        let error = recv_error(&sender);
        assert_eq!(error.destination, Some(to), "{path:?}");
        assert_eq!(error.errno, libc::ECONNREFUSED);
        assert_eq!(
            error.offender,
            Some(path.loopback(0).ip().to_canonical()),
            "{path:?}"
        );
        let expected = if path.is_v6() {
            Cause::Icmpv6 { kind: 1, code: 4 }
        } else {
            Cause::Icmpv4 { kind: 3, code: 3 }
        };
        assert_eq!(error.cause, expected);
        assert_eq!(&*error.quoted, b"anybody?");
        assert!(sender.recv_error().unwrap().is_none());
    }
}

#[test]
fn with_the_queue_a_send_to_an_innocent_peer_is_not_lost() {
    let receiver = bind("127.0.0.1:0").unwrap();
    let to = receiver.local_addr().unwrap();
    let sender = Path::V4.bind(&with_error_queue());
    let closed = closed_port();
    sender.send_msg(&Outgoing::to(closed, b"refused")).unwrap();
    // The kernel fails this one for the other's sake: it says so, and it is good to go again.
    let error = sender.send_msg(&Outgoing::to(to, b"innocent")).unwrap_err();
    assert!(error.fault() == Fault::Refused && !error.concerns_this_datagram());
    sender.send_msg(&Outgoing::to(to, b"innocent")).unwrap();
    assert_eq!(recv_payload(&receiver), b"innocent");
    assert_eq!(recv_error(&sender).destination, Some(closed));
}

#[test]
fn sendmmsg_swallows_a_refusal_and_the_queue_keeps_it() {
    let (receiver, _, to) = v4_pair();
    let sender = Path::V4.bind(&with_error_queue());
    let closed = closed_port();
    let make = |i: usize| Outgoing::to(if i == 1 { closed } else { to }, b"each alone");
    let mut batch = SendBatch::new(16);
    batch.set_coalescing(false);
    let (mut next, mut refusals) = (0, 0);
    while next < 6 {
        let report = batch.send_with(&sender, next..6, make);
        next += report.count;
        if let Some(error) = report.error {
            assert!(error.fault() == Fault::Refused && !error.concerns_this_datagram());
            refusals += 1;
        }
    }
    assert!(refusals <= 1);
    assert_eq!(recv_datagrams(&receiver, 5).len(), 5);
    assert_empty(&receiver);
    assert_eq!(recv_error(&sender).destination, Some(closed));
}

#[test]
fn an_error_queue_wake_is_not_closed() {
    let mut poll = mio::Poll::new().unwrap();
    let mut sender = Path::V4.bind(&with_error_queue());
    poll.registry()
        .register(&mut sender, mio::Token(0), mio::Interest::READABLE)
        .unwrap();
    sender.send_to(b"x", closed_port()).unwrap();
    let mut events = mio::Events::with_capacity(4);
    poll.poll(&mut events, Some(PATIENCE)).unwrap();
    let event = events.iter().next().unwrap();
    assert!(event.is_error() && !event.is_read_closed());
    recv_error(&sender);
    let (receiver, _, to) = v4_pair();
    let _ = sender.take_error();
    sender.send_to(b"alive", to).unwrap();
    assert_eq!(recv_payload(&receiver), b"alive");
}

#[test]
fn bad_arguments_are_invalid_and_leave_the_socket_as_it_was() {
    for path in Path::ALL {
        let (receiver, sender, to) = path.pair(&UdpOptions::new(), &UdpOptions::new());
        let non_local = if path.is_v6() {
            ip("2001:db8::77")
        } else {
            ip("192.0.2.77")
        };
        let nobody = path.loopback(0);
        let mut bad = vec![
            Outgoing::to(nobody, b"port 0"),
            Outgoing::to(to, b"source").source(non_local),
        ];
        if !path.is_v6() {
            bad.push(Outgoing::to(to, b"TTL 0").hop_limit(0));
        }
        for message in bad {
            let error = sender.send_msg(&message).unwrap_err();
            assert!(
                matches!(error.fault(), Fault::Invalid | Fault::Unreachable),
                "{path:?} {message:?}: {error}"
            );
            assert!(error.concerns_this_datagram());
            sender.send_msg(&Outgoing::to(to, b"good")).unwrap();
            assert_eq!(recv_payload(&receiver), b"good");
            assert_empty(&receiver);
        }
    }
}

#[test]
fn routes_that_refuse_have_their_own_faults() {
    let prepare = |ns: &netns::Namespace| {
        for (kind, network) in [("blackhole", 1), ("prohibit", 2), ("unreachable", 3)] {
            ns.ip(&format!("route add {kind} 198.51.100.{network}/32"));
        }
    };
    if !alone("routes_that_refuse_have_their_own_faults", &[], prepare) {
        return;
    }
    let expected = [
        ("198.51.100.1:9", Fault::Invalid, libc::EINVAL),
        ("198.51.100.2:9", Fault::Filtered, libc::EACCES),
        ("198.51.100.3:9", Fault::Unreachable, libc::EHOSTUNREACH),
        ("203.0.113.9:9", Fault::Unreachable, libc::ENETUNREACH),
    ];
    let (receiver, sender, to) = v4_pair();
    let mut batch = SendBatch::new(16);
    for (destination, fault, errno) in expected {
        let destination = addr(destination);
        let error = sender.send_msg(&Outgoing::to(destination, b"x")).unwrap_err();
        assert_eq!(
            (error.fault(), error.errno(), error.concerns_this_datagram()),
            (fault, errno, true)
        );
        // In a batch it stops at its own datagram, also where a whole run of them is refused together.
        let make = |i: usize| Outgoing::to(if i < 3 { to } else { destination }, b"run");
        let report = batch.send_with(&sender, 0..6, make);
        assert_eq!(
            (report.count, report.error.map(|error| error.errno())),
            (3, Some(errno))
        );
        assert!(batch.is_coalescing());
        assert_eq!(recv_datagrams(&receiver, 3).len(), 3);
        // Connecting says the same at once, with the operation and both ends.
        let failed = UdpOptions::new().connect(None, destination).unwrap_err();
        assert_eq!(failed.raw_os_error(), Some(errno));
        assert!(
            failed
                .to_string()
                .starts_with(&format!("connect udp://{destination}: ")),
            "{failed}"
        );
    }
}

#[test]
fn a_firewall_is_loss_and_not_the_sockets_end() {
    let prepare = |ns: &netns::Namespace| {
        ns.run(
            "nft",
            &[
                "add table inet t; add chain inet t out { type filter hook output priority 0; }; \
            add rule inet t out udp dport 9 drop",
            ],
        );
    };
    if !alone(
        "a_firewall_is_loss_and_not_the_sockets_end",
        &[Need::program("nft")],
        prepare,
    ) {
        return;
    }
    let (receiver, sender, to) = v4_pair();
    let error = sender
        .send_msg(&Outgoing::to(addr("127.0.0.1:9"), b"x"))
        .unwrap_err();
    assert_eq!((error.fault(), error.errno()), (Fault::Filtered, libc::EPERM));
    sender.send_msg(&Outgoing::to(to, b"through")).unwrap();
    assert_eq!(recv_payload(&receiver), b"through");
}

/// A veth pair with 192.0.2.1 on `a` and 192.0.2.2 in another namespace, which the caller keeps.
fn veth(ns: &netns::Namespace, other: &netns::Namespace) {
    ns.veth(
        "veth0",
        &["192.0.2.1/24", "2001:db8::1/64"],
        other,
        "veth1",
        &["192.0.2.2/24", "2001:db8::2/64"],
    );
}

#[test]
fn a_full_send_buffer_is_would_block_with_nothing_skipped() {
    // A slow link: what is not sent yet counts against the socket's send buffer.
    let prepare = |ns: &netns::Namespace| {
        ns.ip("link add lan0 type veth peer name lan1");
        ns.ip("address add 192.0.2.1/24 dev lan0");
        ns.ip("link set lan0 up");
        ns.ip("link set lan1 up");
        ns.ip("neighbour add 192.0.2.9 lladdr 02:00:00:00:00:09 dev lan0");
        ns.run(
            "tc",
            &[
                "qdisc", "add", "dev", "lan0", "root", "tbf", "rate", "8kbit", "burst", "2000", "limit",
                "10000000",
            ],
        );
    };
    if !alone(
        "a_full_send_buffer_is_would_block_with_nothing_skipped",
        &[Need::program("tc")],
        prepare,
    ) {
        return;
    }
    let sender = UdpOptions::new()
        .send_buffer(20_000)
        .bind(addr("192.0.2.1:0"))
        .unwrap();
    let to = addr("192.0.2.9:9");
    let payload = [0; 1000];
    let mut asked = Vec::new();
    let mut batch = SendBatch::new(8);
    batch.set_coalescing(false);
    let report = batch.send_with(&sender, 0..200, |i| {
        asked.push(i);
        Outgoing::to(to, &payload)
    });
    let error = report.error.unwrap();
    assert!(error.would_block() && !error.concerns_this_datagram());
    assert!(report.count > 0 && report.count < 200);
    let error = sender.send_msg(&Outgoing::to(to, &payload)).unwrap_err();
    assert!(error.would_block());
    assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::WouldBlock);
    assert!(
        asked
            .windows(2)
            .all(|pair| pair[1] == pair[0] + 1 || pair[1] <= pair[0]),
        "in rising order"
    );
}

#[test]
fn a_full_device_queue_is_congestion_only_with_the_error_queue() {
    let prepare = |ns: &netns::Namespace| {
        ns.ip("link add lan0 type veth peer name lan1");
        ns.ip("address add 192.0.2.1/24 dev lan0");
        ns.ip("link set lan0 up");
        ns.ip("link set lan1 up");
        ns.ip("neighbour add 192.0.2.9 lladdr 02:00:00:00:00:09 dev lan0");
        ns.run(
            "tc",
            &[
                "qdisc", "add", "dev", "lan0", "root", "tbf", "rate", "8kbit", "burst", "2000", "limit",
                "3000",
            ],
        );
    };
    if !alone(
        "a_full_device_queue_is_congestion_only_with_the_error_queue",
        &[Need::program("tc")],
        prepare,
    ) {
        return;
    }
    let to = addr("192.0.2.9:9");
    let payload = [0; 1000];
    for (options, fault) in [
        (UdpOptions::new(), None),
        (with_error_queue(), Some(Fault::Congested)),
    ] {
        let sender = options.bind(addr("192.0.2.1:0")).unwrap();
        let first = (0..20).find_map(|_| sender.send_msg(&Outgoing::to(to, &payload)).err());
        assert_eq!(first.map(|error| error.fault()), fault);
        assert!(first.is_none_or(|error| !error.would_block() && !error.concerns_this_datagram()));
    }
}

/// The payloads of the datagrams to port 9 that a device carries, as a capture sees them.
#[track_caller]
fn captured(capture: &socket2::Socket, count: usize) -> Vec<Vec<u8>> {
    const HEADERS: usize = 14 + 20 + 8;
    let mut payloads = Vec::new();
    let mut frame = vec![0; 65_536];
    while payloads.len() < count {
        let len = match std::io::Read::read(&mut &*capture, &mut frame) {
            Ok(len) => len,
            Err(error) => panic!("{} of {count} datagrams came: {error}", payloads.len()),
        };
        // IPv4, UDP, to port 9.
        let is_ours = frame[12..14] == [8, 0] && frame[23] == 17 && frame[36..38] == [0, 9];
        if len >= HEADERS && is_ours {
            payloads.push(frame[HEADERS..len].to_vec());
        }
    }
    payloads
}

#[test]
fn what_waits_in_a_device_outlives_its_socket_and_its_buffer() {
    const COUNT: usize = 12;
    let prepare = |ns: &netns::Namespace| {
        ns.ip("link add lan0 type veth peer name lan1");
        ns.ip("address add 192.0.2.1/24 dev lan0");
        ns.ip("link set lan0 up");
        ns.ip("link set lan1 up");
        ns.ip("neighbour add 192.0.2.9 lladdr 02:00:00:00:00:09 dev lan0");
        ns.run(
            "tc",
            &[
                "qdisc", "add", "dev", "lan0", "root", "tbf", "rate", "200kbit", "burst", "2000", "limit",
                "10000000",
            ],
        );
    };
    if !alone(
        "what_waits_in_a_device_outlives_its_socket_and_its_buffer",
        &[Need::program("tc"), Need::NetRaw],
        prepare,
    ) {
        return;
    }
    let every_frame = socket2::Protocol::from(i32::from(3_u16.to_be()));
    let capture =
        socket2::Socket::new(socket2::Domain::PACKET, socket2::Type::RAW, Some(every_frame)).unwrap();
    capture.set_read_timeout(Some(PATIENCE)).unwrap();

    let sender = bind("192.0.2.1:0").unwrap();
    sender.connect(addr("192.0.2.9:9")).unwrap();
    let socket = sender.socket();
    socket.set(options::SO_ZEROCOPY, true).unwrap();
    let letters = |letter| ZeroCopyBuffer::with(COUNT * 1000, |bytes| bytes.fill(letter)).unwrap();
    let buffer = letters(b'A');
    for number in 0..COUNT {
        let range = number * 1000..(number + 1) * 1000;
        assert_eq!(socket.send_zerocopy(&buffer, range).unwrap(), 1000);
    }
    // One has left, the others wait for half a second, and nobody waits for them.
    drop((sender, buffer));
    let secrets: Vec<_> = (0..64)
        .map(|_| (letters(b'S'), vec![b'S'; COUNT * 1000]))
        .collect();
    // Each is captured twice: as it leaves by one end and as it comes in by the other.
    for payload in captured(&capture, 2 * COUNT) {
        assert_eq!(payload, [b'A'; 1000]);
    }
    drop(secrets);
}

#[test]
fn an_interface_that_is_gone_is_unreachable() {
    if !alone("an_interface_that_is_gone_is_unreachable", &[], |_| {}) {
        return;
    }
    let command = |words: &str| {
        let status = std::process::Command::new("ip")
            .args(words.split_whitespace())
            .status()
            .unwrap();
        assert!(status.success(), "ip {words}");
    };
    command("link add lan0 type veth peer name lan1");
    command("address add 192.0.2.1/24 dev lan0");
    command("link set lan0 up");
    command("link set lan1 up");
    let sender = UdpOptions::new().device("lan0").bind(addr("0.0.0.0:0")).unwrap();
    let index = sockeye::socket::os::interface_index("lan0").unwrap();
    let message = Outgoing::to(addr("192.0.2.9:9"), b"x");
    sender.send_msg(&message).unwrap();
    command("link delete lan0");
    let error = sender.send_msg(&message).unwrap_err();
    assert_eq!(error.fault(), Fault::Unreachable, "{error}");
    let unbound = bind("0.0.0.0:0").unwrap();
    let error = unbound.send_msg(&message.interface(index)).unwrap_err();
    assert_eq!(error.fault(), Fault::Unreachable, "{error}");
    assert!(sockeye::socket::os::interface_name(index).is_err());
    // The socket lives: nothing was received, and that is all it says.
    assert_empty(&sender);
}

#[test]
fn the_path_mtu_is_told_by_the_error_and_by_the_queue() {
    let name = "the_path_mtu_is_told_by_the_error_and_by_the_queue";
    if !skip::require(&[Need::Namespaces, Need::Ipv6]) {
        return;
    }
    let prepare = |ns: &netns::Namespace| {
        ns.ip("link add lan0 type veth peer name lan1");
        ns.ip("address add 192.0.2.1/24 dev lan0");
        ns.ip("address add 2001:db8::1/64 dev lan0 nodad");
        ns.ip("link set lan0 up");
        ns.ip("link set lan1 up");
        ns.ip("route add 198.51.100.0/24 dev lan0 mtu 1300");
        ns.ip("route add 2001:db8:1::/64 dev lan0 mtu 1300");
    };
    if !netns::enter(name, prepare) {
        return;
    }
    for (local, peer, headers) in [
        ("0.0.0.0:0", "198.51.100.9:9", 28),
        ("[::]:0", "[2001:db8:1::9]:9", 48),
    ] {
        let options = with_error_queue().path_mtu(PathMtu::Refuse);
        let sender = options.connect(Some(addr(local)), addr(peer)).unwrap();
        assert_eq!(sender.path_mtu_mode().unwrap(), PathMtu::Refuse);
        assert_eq!(sender.path_mtu().unwrap(), 1300, "{peer}");
        let most = 1300 - headers;
        sender.send_msg(&Outgoing::connected(&vec![0; most])).unwrap();
        let error = sender
            .send_msg(&Outgoing::connected(&vec![0; most + 1]))
            .unwrap_err();
        assert_eq!(error.fault(), Fault::TooBig { mtu: Some(1300) }, "{peer}");
        let queued = recv_error(&sender);
        assert_eq!(
            (queued.cause, queued.errno, queued.mtu),
            (Cause::Local, libc::EMSGSIZE, Some(1300))
        );
        assert_eq!(queued.destination, Some(addr(peer)));
        // Probing ignores what is known of the path, up to the interface's own MTU.
        sender.set_path_mtu_mode(PathMtu::Probe).unwrap();
        sender.send_msg(&Outgoing::connected(&vec![0; most + 1])).unwrap();
        // And with fragments allowed anything goes.
        sender.set_path_mtu_mode(PathMtu::Fragment).unwrap();
        sender.send_msg(&Outgoing::connected(&vec![0; 4000])).unwrap();
    }
}

#[test]
fn a_router_that_reports_too_big_is_the_offender() {
    if !skip::require(&[Need::Namespaces]) {
        return;
    }
    // sender 192.0.2.1 -- 192.0.2.2 router, whose next link takes 1280 bytes.
    let name = "a_router_that_reports_too_big_is_the_offender";
    let mut kept = None;
    let inside = netns::enter(name, |ns| {
        let world = netns::World::new();
        let router = world.namespace();
        veth(ns, &router);
        ns.ip("route add default via 192.0.2.2");
        router.ip("link add lan0 type veth peer name lan1");
        router.ip("address add 198.51.100.1/24 dev lan0");
        router.ip("link set lan0 up mtu 1280");
        router.ip("link set lan1 up");
        router.sysctl("net/ipv4/ip_forward", "1");
        kept = Some((world, router));
    });
    if !inside {
        return;
    }
    let sender = with_error_queue()
        .path_mtu(PathMtu::Refuse)
        .bind(addr("192.0.2.1:0"))
        .unwrap();
    let to = addr("198.51.100.9:9");
    let error = wait::value("the router's report", PATIENCE, || {
        let _ = sender.send_msg(&Outgoing::to(to, &[7; 1400]));
        sender.recv_error().unwrap()
    });
    let QueueEntry::Error(error) = error else {
        panic!("{error:?}")
    };
    assert_eq!(error.destination, Some(to));
    assert_eq!(error.offender, Some(ip("192.0.2.2")));
    assert_eq!((error.errno, error.mtu), (libc::EMSGSIZE, Some(1280)));
    assert_eq!(error.cause, Cause::Icmpv4 { kind: 3, code: 4 });
    assert!(error.quoted.iter().all(|byte| *byte == 7) && !error.quoted.is_empty());
    // A time exceeded on the way, from the same router.
    sender
        .send_msg(&Outgoing::to(to, b"short-lived").hop_limit(1))
        .ok();
    let error = wait::value("time exceeded", PATIENCE, || match sender.recv_error().unwrap() {
        Some(QueueEntry::Error(error)) if error.cause == (Cause::Icmpv4 { kind: 11, code: 0 }) => Some(error),
        _ => {
            let _ = sender.send_msg(&Outgoing::to(to, b"short-lived").hop_limit(1));
            None
        }
    });
    assert_eq!(
        (error.offender, &*error.quoted),
        (Some(ip("192.0.2.2")), &b"short-lived"[..])
    );
}

#[test]
fn transmit_timestamps_find_their_datagram() {
    for path in Path::ALL {
        let (receiver, sender, to) = path.pair(&UdpOptions::new(), &with_error_queue());
        sender.enable_tx_timestamps().unwrap();
        let capabilities = sender.capabilities().unwrap();
        assert!(capabilities.tx_timestamps);
        if !capabilities.tx_timestamp_id {
            skip::missing("SCM_TS_OPT_ID", "Linux 6.13");
            return;
        }
        let before = SystemTime::now() - Duration::from_secs(1);
        for id in [7, u32::MAX, 0] {
            sender.send_msg(&Outgoing::to(to, b"not stamped")).unwrap();
            sender
                .send_msg(&Outgoing::to(to, b"stamped").timestamp_id(id))
                .unwrap();
        }
        // An error among them is told apart by its origin.
        sender
            .send_msg(&Outgoing::to(path.loopback(closed_port().port()), b"refused"))
            .unwrap();
        let mut ids = Vec::new();
        let mut errors = 0;
        for _ in 0..4 {
            match recv_entry(&sender) {
                QueueEntry::Timestamp(stamp) => {
                    assert!(stamp.time > before && stamp.time < SystemTime::now() + Duration::from_secs(1));
                    ids.push(stamp.id);
                }
                QueueEntry::Error(error) => errors += i32::from(error.errno == libc::ECONNREFUSED),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((ids, errors), (vec![7, u32::MAX, 0], 1), "{path:?}");
        assert_eq!(recv_datagrams(&receiver, 6).len(), 6);
    }
}
