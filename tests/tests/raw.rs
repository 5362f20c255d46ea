//! Raw IP and ICMP sockets against the kernel: each trap of theirs is a test with its name.
//!
//! Every test runs in a network namespace of its own: as root, or as an ordinary user through a user namespace.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]
#![expect(
    unsafe_code,
    reason = "one option is set at a level that no crate offers, to see it refused"
)]

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;
use std::time::Duration;

use sockeye::packet::{
    ChecksumStatus, Icmpv4, Icmpv4Builder, Icmpv6, Ipv4, Ipv4Builder, Ipv4Option, Ipv6Builder, Pseudo, Udp,
    UdpBuilder,
};
use sockeye::raw::{
    Access, Cause, Ecn, Family, HeaderSocket, IcmpFilter, IcmpSocket, IpOptions, IpSocket, Metadata, Op,
    Outgoing, QueueEntry, RecvBatch, SendBatch,
    packet_filter::{Compare, Program, Width},
};
use sockeye::socket::{Socket, options};
use sockeye_tests::netns::{self, World};
use sockeye_tests::skip::{self, Need};
use sockeye_tests::{program, wait};

const LIMIT: Duration = Duration::from_secs(10);
/// Protocols for experiments (RFC 3692).
const TEST_PROTOCOL: u8 = 253;
const OTHER_PROTOCOL: u8 = 254;

/// Opens a namespace for the test, or returns from it.
macro_rules! inside {
    ($name:literal) => {
        inside!($name, |_| {})
    };
    ($name:literal, $prepare:expr) => {
        if !skip::require(&[Need::Namespaces]) || !netns::enter($name, $prepare) {
            return;
        }
    };
}

fn v4(last: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, last], 0))
}

fn v6() -> SocketAddr {
    SocketAddr::from((Ipv6Addr::LOCALHOST, 0))
}

fn any(family: Family) -> SocketAddr {
    family.unspecified()
}

#[track_caller]
fn readable(socket: &Socket) {
    assert!(socket.wait_readable(LIMIT).unwrap(), "nothing came");
}

/// Nothing is queued. On loopback a packet is delivered before the send returns, so there is nothing to wait for.
#[track_caller]
fn silent(socket: &Socket) {
    assert_eq!(
        socket.recv(&mut [0; 100]).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
}

/// The next entry of an error queue.
fn queued(receive: impl Fn() -> std::io::Result<Option<QueueEntry>>) -> QueueEntry {
    wait::value("an entry in the error queue", LIMIT, || receive().unwrap())
}

#[test]
fn the_payload_of_a_raw_v4_socket_begins_after_the_header_beside_it() {
    inside!("the_payload_of_a_raw_v4_socket_begins_after_the_header_beside_it");
    let receiver = IpOptions::new()
        .metadata(Metadata::ALL)
        .bind(v4(1), TEST_PROTOCOL)
        .unwrap();
    let sender = IpSocket::bind(v4(2), TEST_PROTOCOL).unwrap();
    let mut buffer = [0; 100];
    for text in ["one", ""] {
        let message = Outgoing::to(v4(1), text.as_bytes()).hop_limit(9).ecn(Ecn::Ect0);
        sender.send_msg(&message).unwrap();
        let packet = receiver.recv_msg(&mut buffer).unwrap();
        assert_eq!(
            (packet.payload, packet.len, packet.truncated),
            (text.as_bytes(), text.len(), false)
        );
        assert_eq!(packet.source, v4(2));
        let header = packet.header.unwrap();
        assert_eq!(
            (header.protocol(), header.ttl(), header.checksum_ok()),
            (TEST_PROTOCOL, 9, true)
        );
        assert_eq!(
            (packet.meta.hop_limit, packet.meta.ecn),
            (Some(9), Some(Ecn::Ect0))
        );
        assert_eq!(packet.meta.destination, Some(v4(1).ip()));
        assert!(packet.meta.timestamp.is_some());
    }
    for text in ["two", "three"] {
        sender.send_to(text.as_bytes(), v4(1)).unwrap();
    }
    assert_eq!(receiver.recv_from(&mut buffer).unwrap(), (3, v4(2)));
    assert_eq!(&buffer[..3], b"two");
    assert_eq!(receiver.recv(&mut buffer).unwrap(), 5);
    assert_eq!(&buffer[..5], b"three");
}

#[test]
fn raw_v6_and_ping_sockets_bring_no_header() {
    inside!("raw_v6_and_ping_sockets_bring_no_header", |ns| ns
        .sysctl("net/ipv4/ping_group_range", "0 0"));
    let receiver = IpSocket::bind(v6(), TEST_PROTOCOL).unwrap();
    receiver
        .set_metadata(Metadata::ALL.without(Metadata::ORIGINAL_DESTINATION))
        .unwrap();
    let sender = IpSocket::bind(v6(), TEST_PROTOCOL).unwrap();
    sender.send_msg(&Outgoing::to(v6(), b"six").hop_limit(7)).unwrap();
    let mut buffer = [0; 100];
    let packet = receiver.recv_msg(&mut buffer).unwrap();
    assert!(packet.header.is_none());
    assert_eq!((packet.payload, packet.meta.hop_limit), (&b"six"[..], Some(7)));

    for family in [Family::V4, Family::V6] {
        let ping = IcmpSocket::open(family, Access::Unprivileged).unwrap();
        let to = if family == Family::V4 { v4(1) } else { v6() };
        let len = ping.write_echo(&mut buffer, 5, b"ping").unwrap();
        ping.send_to(&buffer[..len], to).unwrap();
        readable(ping.socket());
        let reply = ping.recv_msg(&mut buffer).unwrap();
        assert!(reply.header.is_none());
        let echo = Icmpv4::new(reply.payload).unwrap();
        assert_eq!(
            (echo.id(), echo.sequence(), echo.payload()),
            (ping.identifier(), 5, &b"ping"[..])
        );
    }
}

#[test]
fn extension_headers_are_not_in_a_v6_payload() {
    inside!("extension_headers_are_not_in_a_v6_payload");
    let receiver = IpSocket::bind(v6(), TEST_PROTOCOL).unwrap();
    let sender = IpSocket::bind(v6(), TEST_PROTOCOL).unwrap();
    sender.set_router_alert(true).unwrap();
    sender.send_to(b"behind hop-by-hop options", v6()).unwrap();
    sender.set_router_alert(false).unwrap();
    sender.send_to(b"plain", v6()).unwrap();
    let mut buffer = [0; 100];
    assert_eq!(
        receiver.recv_msg(&mut buffer).unwrap().payload,
        b"behind hop-by-hop options"
    );
    assert_eq!(receiver.recv_msg(&mut buffer).unwrap().payload, b"plain");
}

#[test]
fn a_router_alert_is_an_option_of_the_v4_header() {
    inside!("a_router_alert_is_an_option_of_the_v4_header");
    let receiver = IpSocket::bind(v4(1), TEST_PROTOCOL).unwrap();
    let sender = IpSocket::bind(v4(1), TEST_PROTOCOL).unwrap();
    sender.set_router_alert(true).unwrap();
    sender.send_to(b"look at me", v4(1)).unwrap();
    let mut buffer = [0; 100];
    let packet = receiver.recv_msg(&mut buffer).unwrap();
    assert_eq!(packet.payload, b"look at me");
    let header = packet.header.unwrap();
    let options: Vec<_> = header.options().collect();
    assert_eq!(options, [Ok(Ipv4Option::RouterAlert { value: 0 })]);
}

#[test]
fn header_include_fills_length_and_checksum_always_and_id_and_source_if_zero() {
    inside!("header_include_fills_length_and_checksum_always_and_id_and_source_if_zero");
    let receiver = IpSocket::bind(v4(1), TEST_PROTOCOL).unwrap();
    let sender = HeaderSocket::open(Family::V4).unwrap();
    let mut packet = [0; 64];
    let len = Ipv4Builder::new(Ipv4Addr::UNSPECIFIED, Ipv4Addr::LOCALHOST)
        .protocol(TEST_PROTOCOL)
        .ttl(33)
        .dont_fragment(false)
        .write(&mut packet, b"mine")
        .unwrap();
    packet[2..4].copy_from_slice(&[0xff, 0xff]);
    packet[10..12].copy_from_slice(&[0xde, 0xad]);
    sender.send(&packet[..len]).unwrap();
    let mut buffer = [0; 100];
    let received = receiver.recv_msg(&mut buffer).unwrap();
    let header = received.header.unwrap();
    assert_eq!(received.payload, b"mine");
    assert_eq!(
        (
            usize::from(header.total_len()),
            header.ttl(),
            header.checksum_ok()
        ),
        (len, 33, true)
    );
    assert_eq!(header.source(), Ipv4Addr::LOCALHOST);
    assert_ne!(header.id(), 0);

    let len = Ipv4Builder::new([192, 0, 2, 7].into(), Ipv4Addr::LOCALHOST)
        .protocol(TEST_PROTOCOL)
        .id(0x1234)
        .write(&mut packet, b"mine")
        .unwrap();
    sender.send(&packet[..len]).unwrap();
    let received = receiver.recv_msg(&mut buffer).unwrap();
    let header = received.header.unwrap();
    assert_eq!(
        (header.id(), header.source()),
        (0x1234, Ipv4Addr::new(192, 0, 2, 7))
    );
}

#[test]
fn header_include_is_never_fragmented_and_a_bad_ihl_is_refused() {
    inside!(
        "header_include_is_never_fragmented_and_a_bad_ihl_is_refused",
        |ns| {
            ns.ip("link set lo mtu 1500");
        }
    );
    let sender = HeaderSocket::open(Family::V4).unwrap();
    let mut packet = vec![0; 70_000];
    let len = Ipv4Builder::new(Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST)
        .protocol(TEST_PROTOCOL)
        .dont_fragment(false)
        .write(&mut packet, &[1; 1481][..])
        .unwrap();
    let too_large = sender.send(&packet[..len]).unwrap_err();
    assert_eq!(too_large.raw_os_error(), Some(libc::EMSGSIZE));
    assert_eq!(
        sender.send(&packet).unwrap_err().raw_os_error(),
        Some(libc::EMSGSIZE)
    );
    sender.send(&packet[..1500]).unwrap();
    packet[0] = 0x4f;
    assert_eq!(
        sender.send_to(&packet[..40], v4(1)).unwrap_err().raw_os_error(),
        Some(libc::EINVAL)
    );
    assert_eq!(
        sender.send(&packet[..7]).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
}

#[test]
fn header_include_v6_fills_nothing() {
    inside!("header_include_v6_fills_nothing");
    let receiver = IpOptions::new()
        .metadata(Metadata::HOP_LIMIT)
        .bind(v6(), TEST_PROTOCOL)
        .unwrap();
    let sender = HeaderSocket::open(Family::V6).unwrap();
    let mut packet = [0; 64];
    let len = Ipv6Builder::new(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST)
        .next_header(TEST_PROTOCOL)
        .hop_limit(44)
        .write(&mut packet, b"mine")
        .unwrap();
    sender.send(&packet[..len]).unwrap();
    let mut buffer = [0; 100];
    let received = receiver.recv_msg(&mut buffer).unwrap();
    assert_eq!(
        (received.payload, received.meta.hop_limit),
        (&b"mine"[..], Some(44))
    );
    // A payload length that the header leaves at 0 is sent as it is: the receiver sees nothing behind the header.
    packet[4..6].copy_from_slice(&[0, 0]);
    sender.send(&packet[..len]).unwrap();
    assert_eq!(receiver.recv_msg(&mut buffer).unwrap().payload, b"");
    // As is a version that is none: the receiving side drops it.
    packet[5] = 4;
    packet[0] = 0x50;
    let _ = sender.send_to(&packet[..len], v6());
    silent(receiver.socket());
}

#[test]
fn raw_v6_refuses_a_port_and_ours_ignore_it() {
    inside!("raw_v6_refuses_a_port_and_ours_ignore_it");
    let socket = IpSocket::bind(v6(), TEST_PROTOCOL).unwrap();
    let with_port = SocketAddr::new(v6().ip(), 4000);
    let bare = sockeye::socket::send_to(&socket, b"x", with_port).unwrap_err();
    assert_eq!(bare.raw_os_error(), Some(libc::EINVAL));
    socket.send_to(b"a", with_port).unwrap();
    socket.send_msg(&Outgoing::to(with_port, b"b")).unwrap();
    let report = socket.send_batch(&mut SendBatch::new(4), 0..2, |_| Outgoing::to(with_port, b"c"));
    assert_eq!((report.count, report.error), (2, None));
    let mut batch = RecvBatch::new(8, 100);
    assert_eq!(socket.recv_batch(&mut batch).unwrap(), 4);
    assert!(socket.packets(&batch).all(|packet| packet.source.port() == 0));
}

#[test]
fn the_ipv6_checksum_of_icmp_is_a_matter_of_sol_raw() {
    inside!("the_ipv6_checksum_of_icmp_is_a_matter_of_sol_raw");
    let icmp = IpSocket::bind(v6(), 58).unwrap();
    let two: libc::c_int = 2;
    // SAFETY: the pointer and the length are those of a live integer.
    let refused = unsafe {
        libc::setsockopt(
            icmp.as_raw_fd(),
            libc::IPPROTO_IPV6,
            7,
            (&raw const two).cast(),
            4,
        )
    };
    assert_eq!(
        (refused, std::io::Error::last_os_error().raw_os_error()),
        (-1, Some(libc::EINVAL))
    );
    icmp.set_checksum_offset(Some(2)).unwrap();
    assert!(icmp.set_checksum_offset(Some(4)).is_err());
    let other = IpSocket::bind(v6(), TEST_PROTOCOL).unwrap();
    assert!(other.set_checksum_offset(Some(3)).is_err());
    other.set_checksum_offset(Some(4)).unwrap();
    other.set_checksum_offset(None).unwrap();
    assert!(
        IpSocket::bind(v4(1), TEST_PROTOCOL)
            .unwrap()
            .set_checksum_offset(Some(2))
            .is_err()
    );
}

#[test]
fn wrong_ipv6_checksums_are_dropped_in_silence() {
    inside!("wrong_ipv6_checksums_are_dropped_in_silence");
    let checked = IpOptions::new()
        .checksum_offset(2)
        .bind(v6(), TEST_PROTOCOL)
        .unwrap();
    let bare = IpSocket::bind(v6(), TEST_PROTOCOL).unwrap();
    bare.send_to(&[1, 2, 0, 0, 5, 6], v6()).unwrap();
    silent(checked.socket());
    checked.send_to(&[1, 2, 0, 0, 5, 6], v6()).unwrap();
    let mut buffer = [0; 100];
    let packet = checked.recv_msg(&mut buffer).unwrap();
    assert_ne!(packet.payload[2..4], [0, 0], "the kernel filled it in");
    let mut sum = sockeye::packet::Checksum::pseudo(Pseudo::between(v6().ip(), v6().ip()), TEST_PROTOCOL, 6);
    sum.add(packet.payload);
    assert_eq!(sum.finish(), 0);
}

#[test]
fn a_ping_sockets_identifier_is_its_port_and_nobody_shares_it() {
    inside!(
        "a_ping_sockets_identifier_is_its_port_and_nobody_shares_it",
        |ns| {
            ns.sysctl("net/ipv4/ping_group_range", "0 0");
        }
    );
    let first = IcmpSocket::open(Family::V4, Access::Auto).unwrap();
    assert!(!first.is_raw(), "ping sockets are allowed here");
    let second = IcmpSocket::open(Family::V4, Access::Auto).unwrap();
    assert_ne!(first.identifier(), second.identifier());
    assert_eq!(first.identifier(), first.socket().local_addr().unwrap().port());
    let thief = Socket::new(
        sockeye::socket::Domain::IPV4,
        sockeye::socket::Type::DGRAM,
        Some(1.into()),
    )
    .unwrap();
    let taken = SocketAddr::from(([0, 0, 0, 0], first.identifier()));
    assert_eq!(thief.bind(&taken).unwrap_err().kind(), ErrorKind::AddrInUse);
    assert!(!first.socket().get(options::SO_REUSEADDR).unwrap());

    // Whatever identifier the request brings, the socket's own goes out.
    let mut buffer = [0; 100];
    let len = Icmpv4Builder::echo_request(!first.identifier(), 1, b"x")
        .write(&mut buffer)
        .unwrap();
    first.send_to(&buffer[..len], v4(1)).unwrap();
    readable(first.socket());
    let reply = first.recv_msg(&mut buffer).unwrap();
    assert_eq!(Icmpv4::new(reply.payload).unwrap().id(), first.identifier());
    silent(second.socket());
}

#[test]
fn the_empty_ping_range_refuses_even_root_and_auto_takes_a_raw_socket() {
    // A new namespace has the range `1 0`, which is empty.
    inside!("the_empty_ping_range_refuses_even_root_and_auto_takes_a_raw_socket");
    for (family, to) in [(Family::V4, v4(1)), (Family::V6, v6())] {
        let refused = IcmpSocket::open(family, Access::Unprivileged).unwrap_err();
        assert_eq!(
            (refused.op(), refused.raw_os_error()),
            (Op::Open, Some(libc::EACCES))
        );
        assert!(refused.to_string().contains("ping_group_range"), "{refused}");
        let icmp = IcmpSocket::open(family, Access::Auto).unwrap();
        assert!(icmp.is_raw());
        assert_eq!(icmp.has_header(), family == Family::V4);
        let mut buffer = [0; 100];
        let len = icmp.write_echo(&mut buffer, 3, b"raw").unwrap();
        icmp.send_to(&buffer[..len], to).unwrap();
        readable(icmp.socket());
        let reply = icmp.recv_msg(&mut buffer).unwrap();
        let (kind, id, payload) = match family {
            Family::V4 => {
                let reply = Icmpv4::new(reply.payload).unwrap();
                (reply.message_type(), reply.id(), reply.payload().to_vec())
            }
            Family::V6 => {
                let reply = Icmpv6::new(reply.payload).unwrap();
                (reply.message_type(), reply.id(), reply.payload().to_vec())
            }
        };
        assert!(kind == 0 || kind == 129);
        assert_eq!((id, payload.as_slice()), (icmp.identifier(), &b"raw"[..]));
    }
}

#[test]
fn a_raw_socket_without_the_capability_says_which_and_how_to_get_it() {
    const NAME: &str = "a_raw_socket_without_the_capability_says_which_and_how_to_get_it";
    const INSIDE: &str = "SOCKEYE_WITHOUT_CAPABILITY";
    if std::env::var_os(INSIDE).is_none() {
        if !skip::require(&[Need::Namespaces, Need::program("unshare")]) {
            return;
        }
        // A user namespace in which this process is nobody.
        let mut command = Command::new("unshare");
        command.args(["-U", "--"]).arg(std::env::current_exe().unwrap());
        command.args(["--exact", NAME, "--nocapture"]).env(INSIDE, "1");
        let output = program::output(&mut command, LIMIT);
        assert!(output.status.success(), "{}{}", output.text(), output.stderr);
        assert!(output.text().contains("1 passed"), "{}", output.text());
        return;
    }
    for refused in [
        IpSocket::bind(v4(1), TEST_PROTOCOL).unwrap_err(),
        HeaderSocket::open(Family::V6).unwrap_err(),
        IcmpSocket::open(Family::V4, Access::Raw).unwrap_err(),
    ] {
        assert_eq!(
            (refused.op(), refused.raw_os_error()),
            (Op::Open, Some(libc::EPERM))
        );
        assert!(
            refused
                .to_string()
                .contains("needs CAP_NET_RAW: setcap cap_net_raw+ep"),
            "{refused}"
        );
    }
}

#[test]
fn icmp_filters_are_no_option_of_a_ping_socket() {
    inside!("icmp_filters_are_no_option_of_a_ping_socket", |ns| ns
        .sysctl("net/ipv4/ping_group_range", "0 0"));
    let ping = IcmpSocket::open(Family::V4, Access::Unprivileged).unwrap();
    let refused = ping.set_filter(IcmpFilter::pass_all()).unwrap_err();
    assert_eq!(
        (refused.op(), refused.raw_os_error()),
        (Op::Set("ICMP_FILTER"), Some(libc::ENOPROTOOPT))
    );
}

#[test]
fn protocol_0_is_not_supported_and_255_hears_of_no_other() {
    inside!("protocol_0_is_not_supported_and_255_hears_of_no_other");
    let refused = IpSocket::bind(v4(1), 0).unwrap_err();
    assert_eq!(
        (refused.op(), refused.raw_os_error()),
        (Op::Open, Some(libc::EPROTONOSUPPORT))
    );

    let raw = IpOptions::new()
        .error_queue(true)
        .open_header(Family::V4, HeaderSocket::SEND_ONLY)
        .unwrap();
    let udp = IpOptions::new()
        .error_queue(true)
        .open_header(Family::V4, 17)
        .unwrap();
    let mut packet = [0; 64];
    let len = Ipv4Builder::new(Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST)
        .write(&mut packet, &UdpBuilder::new(9, 9, b"nobody listens"))
        .unwrap();
    raw.send(&packet[..len]).unwrap();
    // The one of UDP's own protocol hears of the refusal; that of 255, which sent it, never does.
    assert!(matches!(queued(|| udp.recv_error()), QueueEntry::Error(error)
        if error.cause == Cause::Icmpv4 { kind: 3, code: 3 }));
    assert!(raw.recv_error().unwrap().is_none());
    // Neither does it receive what it sends, nor any protocol but 255.
    silent(raw.socket());
    let to_255 = IpSocket::bind(v4(1), 255).unwrap();
    raw.send(&packet[..len]).unwrap();
    silent(to_255.socket());
    to_255.send_to(b"255", v4(1)).unwrap();
    assert_eq!(to_255.recv(&mut packet).unwrap(), 3);
}

#[test]
fn every_socket_gets_a_copy_and_connect_filters_the_peer() {
    inside!("every_socket_gets_a_copy_and_connect_filters_the_peer");
    let sender = IpSocket::bind(v4(2), TEST_PROTOCOL).unwrap();
    let all: Vec<_> = (0..3)
        .map(|_| IpSocket::bind(any(Family::V4), TEST_PROTOCOL).unwrap())
        .collect();
    let other_protocol = IpSocket::bind(any(Family::V4), OTHER_PROTOCOL).unwrap();
    let of_three = IpSocket::bind(any(Family::V4), TEST_PROTOCOL).unwrap();
    of_three.connect(v4(3)).unwrap();
    assert_eq!(of_three.peer_addr().unwrap().ip(), v4(3).ip());
    sender.send_to(b"copy", v4(1)).unwrap();
    let mut buffer = [0; 100];
    for socket in &all {
        assert_eq!(socket.recv_from(&mut buffer).unwrap(), (4, v4(2)));
    }
    silent(other_protocol.socket());
    silent(of_three.socket());
    IpSocket::bind(v4(3), TEST_PROTOCOL)
        .unwrap()
        .send_to(b"three", v4(1))
        .unwrap();
    assert_eq!(of_three.recv(&mut buffer).unwrap(), 5);
    of_three.connect(v4(2)).unwrap();
    sender.send_to(b"again", v4(1)).unwrap();
    assert_eq!(of_three.recv_from(&mut buffer).unwrap(), (5, v4(2)));
}

#[test]
fn a_raw_socket_that_is_disconnected_is_deaf_which_is_why_ours_cannot_be() {
    inside!("a_raw_socket_that_is_disconnected_is_deaf_which_is_why_ours_cannot_be");
    let socket = IpSocket::bind(any(Family::V4), TEST_PROTOCOL).unwrap();
    socket.send_to(b"1", v4(1)).unwrap();
    assert_eq!(socket.recv(&mut [0; 100]).unwrap(), 1);
    socket.connect(v4(1)).unwrap();
    socket.socket().disconnect().unwrap();
    socket.send_to(b"2", v4(1)).unwrap();
    silent(socket.socket());
}

#[test]
fn requests_are_hidden_until_the_filter_says_otherwise() {
    inside!("requests_are_hidden_until_the_filter_says_otherwise");
    for (family, to, request) in [(Family::V4, v4(1), 8), (Family::V6, v6(), 128)] {
        let icmp = IcmpSocket::open(family, Access::Raw).unwrap();
        let mut buffer = [0; 200];
        let len = icmp.write_echo(&mut buffer, 1, b"").unwrap();
        let echo = buffer[..len].to_vec();
        icmp.send_to(&echo, to).unwrap();
        readable(icmp.socket());
        assert_eq!(
            icmp.recv_msg(&mut buffer).unwrap().payload[0],
            request & 0x80 | u8::from(request == 128)
        );
        silent(icmp.socket());
        icmp.set_filter(IcmpFilter::drop_all().pass(request)).unwrap();
        icmp.send_to(&echo, to).unwrap();
        readable(icmp.socket());
        assert_eq!(icmp.recv_msg(&mut buffer).unwrap().payload[0], request);
        silent(icmp.socket());
    }
}

#[test]
fn filter_offsets_count_from_the_ip_header_on_v4_and_from_the_payload_on_v6() {
    inside!("filter_offsets_count_from_the_ip_header_on_v4_and_from_the_payload_on_v6");
    for (to, offset) in [(v4(1), 20), (v6(), 0)] {
        let socket = IpSocket::bind(to, TEST_PROTOCOL).unwrap();
        let sender = IpSocket::bind(to, TEST_PROTOCOL).unwrap();
        let wanted = Program::new()
            .load(Width::Byte, offset)
            .require(Compare::Equal, 7)
            .accept();
        wanted.attach(&socket).unwrap();
        sender.send_to(&[6, 6], to).unwrap();
        sender.send_to(&[7, 7], to).unwrap();
        let mut buffer = [0; 100];
        assert_eq!(socket.recv_msg(&mut buffer).unwrap().payload, [7, 7]);
        silent(socket.socket());
    }
}

#[test]
fn min_hops_is_held_for_both_families() {
    inside!("min_hops_is_held_for_both_families");
    for to in [v4(1), v6()] {
        let socket = IpOptions::new().min_hops(255).bind(to, TEST_PROTOCOL).unwrap();
        let sender = IpOptions::new().hop_limit(254).bind(to, TEST_PROTOCOL).unwrap();
        sender.send_to(b"from afar", to).unwrap();
        silent(socket.socket());
        sender.set_hop_limit(255).unwrap();
        sender.send_to(b"neighbour", to).unwrap();
        let mut buffer = [0; 100];
        assert_eq!(socket.recv_msg(&mut buffer).unwrap().payload, b"neighbour");
        sender.set_hop_limit(9).unwrap();
        socket.set_min_hops(10).unwrap();
        sender.send_to(b"nine", to).unwrap();
        silent(socket.socket());
        socket.set_min_hops(9).unwrap();
        sender.send_to(b"nine", to).unwrap();
        assert_eq!(socket.recv_msg(&mut buffer).unwrap().payload, b"nine");
    }
}

#[test]
fn udp_on_loopback_shows_unfinished_checksums_and_super_segments() {
    inside!("udp_on_loopback_shows_unfinished_checksums_and_super_segments");
    let raw = IpSocket::bind(v4(1), 17).unwrap();
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let sender = sockeye::udp::UdpSocket::bind(v4(1)).unwrap();
    let payload = vec![9; 32_000];
    sender
        .send_msg(&Outgoing::to(receiver.local_addr().unwrap(), &payload).segment_size(500))
        .unwrap();
    let mut buffer = vec![0; 65_535];
    let packet = raw.recv_msg(&mut buffer).unwrap();
    assert_eq!(
        packet.payload.len(),
        32_008,
        "one super-segment, not 64 datagrams"
    );
    sender.send_to(b"hello", receiver.local_addr().unwrap()).unwrap();
    let packet = raw.recv_msg(&mut buffer).unwrap();
    let datagram = Udp::new(packet.payload).unwrap();
    assert_eq!(datagram.payload(), b"hello");
    assert_eq!(
        datagram.checksum_status(packet.header.unwrap().pseudo()),
        ChecksumStatus::Invalid
    );
}

#[test]
fn raw_sockets_see_reassembled_datagrams() {
    inside!("raw_sockets_see_reassembled_datagrams", |ns| {
        ns.ip("link set lo mtu 1280");
    });
    let raw = IpSocket::bind(v4(1), 17).unwrap();
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    sender
        .send_to(&[5; 4000], receiver.local_addr().unwrap())
        .unwrap();
    readable(raw.socket());
    let mut buffer = [0; 8000];
    let packet = raw.recv_msg(&mut buffer).unwrap();
    assert_eq!(
        (packet.payload.len(), packet.header.unwrap().is_fragment()),
        (4008, false)
    );
    // What we send beyond the MTU the kernel cuts, and the receiving side puts together again.
    let peer = IpSocket::bind(v4(1), TEST_PROTOCOL).unwrap();
    raw.socket().set(options::IP_MTU_DISCOVER, 0).unwrap();
    let big = IpSocket::bind(v4(2), TEST_PROTOCOL).unwrap();
    big.socket().set(options::IP_MTU_DISCOVER, 0).unwrap();
    big.send_to(&[6; 3000], v4(1)).unwrap();
    assert_eq!(peer.recv_msg(&mut buffer).unwrap().payload, [6; 3000]);
}

#[test]
fn linux_quotes_up_to_548_bytes_in_its_errors() {
    inside!("linux_quotes_up_to_548_bytes_in_its_errors");
    let icmp = IcmpSocket::open(Family::V4, Access::Raw).unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.send_to(&[3; 2000], "127.0.0.1:9").unwrap();
    readable(icmp.socket());
    let mut buffer = [0; 2000];
    let packet = icmp.recv_msg(&mut buffer).unwrap();
    assert_eq!(packet.payload.len(), 8 + 548);
    let message = Icmpv4::new(packet.payload).unwrap();
    assert!(message.checksum_ok() && message.extensions().is_none());
    let quoted = message.quoted().unwrap().unwrap();
    assert_eq!(quoted.total_len, 2028);
    assert_eq!(quoted.ports(), Some((sender.local_addr().unwrap().port(), 9)));
    assert_eq!(quoted.payload.len(), 528);
    assert!(quoted.stopped.is_some(), "the rest of the datagram is missing");
}

#[test]
fn timestamps_and_errors_share_the_queue_and_are_told_apart() {
    inside!("timestamps_and_errors_share_the_queue_and_are_told_apart");
    let raw = IpOptions::new().error_queue(true).bind(v4(1), 17).unwrap();
    raw.enable_tx_timestamps().unwrap();
    let mut datagram = [0; 32];
    let len = sockeye::packet::Emit::emit(
        &UdpBuilder::new(9, 9, b"x"),
        &mut datagram,
        Pseudo::between(v4(1).ip(), v4(1).ip()),
    )
    .unwrap();
    raw.send_msg(&Outgoing::to(v4(1), &datagram[..len]).timestamp_id(77))
        .unwrap();
    let (mut stamp, mut error) = (false, false);
    while !(stamp && error) {
        match queued(|| raw.recv_error()) {
            QueueEntry::Timestamp(sent) => stamp |= sent.id == 77,
            QueueEntry::Error(refused) => {
                error |= refused.cause == Cause::Icmpv4 { kind: 3, code: 3 }
                    && refused.offender == Some(v4(1).ip());
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_socket_of_one_device_hears_only_it() {
    inside!("a_socket_of_one_device_hears_only_it", |ns| {
        ns.ip("link add spare0 type veth peer name spare1");
        ns.ip("link set spare0 up");
    });
    let elsewhere = IpOptions::new()
        .device("spare0")
        .bind(any(Family::V4), TEST_PROTOCOL)
        .unwrap();
    let here = IpOptions::new()
        .device("lo")
        .bind(any(Family::V4), TEST_PROTOCOL)
        .unwrap();
    let missing = IpOptions::new()
        .device("no-such")
        .bind(any(Family::V4), TEST_PROTOCOL)
        .unwrap_err();
    assert_eq!(missing.op(), Op::Set("SO_BINDTODEVICE"));
    here.send_to(b"x", v4(1)).unwrap();
    assert_eq!(here.recv(&mut [0; 100]).unwrap(), 1);
    silent(elsewhere.socket());
}

#[test]
fn groups_that_others_joined_are_not_heard() {
    inside!("groups_that_others_joined_are_not_heard", |ns| {
        ns.ip("link set lo multicast on");
        ns.ip("route add 224.0.0.0/4 dev lo");
    });
    let group: IpAddr = "224.0.0.18".parse().unwrap();
    let index = sockeye::socket::os::interface_index("lo").unwrap();
    let member = IpSocket::bind(any(Family::V4), 112).unwrap();
    let stranger = IpSocket::bind(any(Family::V4), 112).unwrap();
    let as_the_system_has_it = IpOptions::new()
        .multicast_all(true)
        .bind(any(Family::V4), 112)
        .unwrap();
    member.join_group(group, index).unwrap();
    assert_eq!(
        member.join_group(group, index).unwrap_err().kind(),
        ErrorKind::AddrInUse
    );
    member.set_multicast_interface(index).unwrap();
    member.set_multicast_hops(255).unwrap();
    member
        .send_to(b"advertisement", SocketAddr::new(group, 0))
        .unwrap();
    let mut buffer = [0; 100];
    let packet = member.recv_msg(&mut buffer).unwrap();
    assert_eq!(
        (packet.payload, packet.header.unwrap().ttl()),
        (&b"advertisement"[..], 255)
    );
    assert_eq!(as_the_system_has_it.recv(&mut buffer).unwrap(), 13);
    silent(stranger.socket());
    member.set_multicast_loop(false).unwrap();
    assert!(!member.socket().get(options::IP_MULTICAST_LOOP).unwrap());
    member.leave_group(group, index).unwrap();
    let ssm: IpAddr = "232.0.0.1".parse().unwrap();
    member.join_source(ssm, v4(1).ip(), index).unwrap();
    member.leave_source(ssm, v4(1).ip(), index).unwrap();
}

#[test]
fn batches_carry_packets_of_both_families() {
    inside!("batches_carry_packets_of_both_families");
    let payloads: Vec<Vec<u8>> = (0..20).map(|at| vec![at; usize::from(at)]).collect();
    for to in [v4(1), v6()] {
        let receiver = IpOptions::new()
            .metadata(Metadata::HOP_LIMIT)
            .bind(to, TEST_PROTOCOL)
            .unwrap();
        let sender = IpSocket::bind(to, OTHER_PROTOCOL).unwrap();
        drop(sender);
        let sender = IpSocket::bind(to, TEST_PROTOCOL).unwrap();
        let report = sender.send_batch(&mut SendBatch::new(8), 0..20, |at| {
            Outgoing::to(to, &payloads[at]).hop_limit(5)
        });
        assert_eq!((report.count, report.error), (20, None));
        let mut batch = RecvBatch::new(32, 128);
        assert_eq!(receiver.recv_batch(&mut batch).unwrap(), 20);
        for (packet, payload) in receiver.packets(&batch).zip(&payloads) {
            assert_eq!(packet.payload, payload);
            assert_eq!(packet.len, payload.len());
            assert_eq!(
                (packet.header.is_some(), packet.meta.hop_limit),
                (to.is_ipv4(), Some(5))
            );
        }
    }
    let header = HeaderSocket::open(Family::V4).unwrap();
    let receiver = IpSocket::bind(v4(1), TEST_PROTOCOL).unwrap();
    let mut packet = [0; 30];
    let len = Ipv4Builder::new(Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST)
        .protocol(TEST_PROTOCOL)
        .write(&mut packet, b"whole")
        .unwrap();
    assert_eq!(
        header
            .send_batch(&mut SendBatch::new(8), 0..3, |_| &packet[..len])
            .count,
        3
    );
    let mut batch = RecvBatch::new(8, 128);
    assert_eq!(receiver.recv_batch(&mut batch).unwrap(), 3);
    assert!(receiver.packets(&batch).all(|packet| packet.payload == b"whole"));
}

#[test]
fn sockets_are_sources_of_events_and_change_hands() {
    inside!("sockets_are_sources_of_events_and_change_hands");
    let mut socket = IpSocket::bind(v4(1), TEST_PROTOCOL).unwrap();
    let mut poll = mio::Poll::new().unwrap();
    poll.registry()
        .register(&mut socket, mio::Token(4), mio::Interest::READABLE)
        .unwrap();
    socket.send_to(b"x", v4(1)).unwrap();
    let mut events = mio::Events::with_capacity(4);
    poll.poll(&mut events, Some(LIMIT)).unwrap();
    assert!(
        events
            .iter()
            .any(|event| event.token() == mio::Token(4) && event.is_readable())
    );
    poll.registry().deregister(&mut socket).unwrap();
    assert!(
        format!("{socket:?}").starts_with("IpSocket { protocol: Some(253), local: Some(127.0.0.1)"),
        "{socket:?}"
    );
    let fd = OwnedFd::from(socket);
    let socket = IpSocket::try_from(fd).unwrap();
    assert!(socket.has_header());
    assert_eq!(socket.try_clone().unwrap().recv(&mut [0; 64]).unwrap(), 1);
}

/// `left`, `router`, `right` in a row; the test's own body runs in `left`, as named by its argument.
fn in_the_left_of_three(name: &str) -> bool {
    const INSIDE: &str = "SOCKEYE_RAW_LEFT";
    if std::env::var(INSIDE).is_ok_and(|inside| inside == name) {
        return true;
    }
    if !skip::require(&[Need::Namespaces, Need::program("ip")]) {
        return false;
    }
    let world = World::new();
    let (left, router, right) = (world.namespace(), world.namespace(), world.namespace());
    left.veth(
        "l0",
        &["192.0.2.1/25", "2001:db8:1::1/64"],
        &router,
        "r0",
        &["192.0.2.2/25", "2001:db8:1::2/64"],
    );
    router.veth(
        "r1",
        &["192.0.2.129/25", "2001:db8:2::1/64"],
        &right,
        "l0",
        &["192.0.2.130/25", "2001:db8:2::2/64"],
    );
    left.ip("route add default via 192.0.2.2");
    left.ip("-6 route add default via 2001:db8:1::2");
    right.ip("route add default via 192.0.2.129");
    right.ip("-6 route add default via 2001:db8:2::1");
    router.sysctl("net/ipv4/ip_forward", "1");
    router.sysctl("net/ipv6/conf/all/forwarding", "1");
    left.sysctl("net/ipv4/ping_group_range", "0 0");
    let mut command = left.command(&std::env::current_exe().unwrap().to_string_lossy());
    command.args(["--exact", name, "--nocapture"]).env(INSIDE, name);
    let output = program::output(&mut command, Duration::from_secs(60));
    assert!(output.status.success(), "{}{}", output.text(), output.stderr);
    assert!(output.text().contains("1 passed"), "{}", output.text());
    false
}

#[test]
fn a_traceroute_needs_no_privilege() {
    if !in_the_left_of_three("a_traceroute_needs_no_privilege") {
        return;
    }
    // A TTL in the message and the error queue, on ping and raw sockets of both families.
    for (to, router) in [("192.0.2.130", "192.0.2.2"), ("2001:db8:2::2", "2001:db8:1::2")] {
        let (to, router): (IpAddr, IpAddr) = (to.parse().unwrap(), router.parse().unwrap());
        for access in [Access::Unprivileged, Access::Raw] {
            let icmp = IpOptions::new()
                .error_queue(true)
                .bind_icmp(any(Family::of(to)), access)
                .unwrap();
            let mut buffer = [0; 200];
            let len = icmp.write_echo(&mut buffer, 1, b"hop 1").unwrap();
            icmp.send_msg(&Outgoing::to(SocketAddr::new(to, 0), &buffer[..len]).hop_limit(1))
                .unwrap();
            let QueueEntry::Error(expired) = queued(|| icmp.recv_error()) else {
                panic!("no error")
            };
            assert_eq!(expired.offender, Some(router));
            assert_eq!(expired.destination.map(|destination| destination.ip()), Some(to));
            let time_exceeded = if to.is_ipv4() {
                Cause::Icmpv4 { kind: 11, code: 0 }
            } else {
                Cause::Icmpv6 { kind: 3, code: 0 }
            };
            assert_eq!(expired.cause, time_exceeded);
            let len = icmp.write_echo(&mut buffer, 2, b"hop 2").unwrap();
            icmp.send_msg(&Outgoing::to(SocketAddr::new(to, 0), &buffer[..len]).hop_limit(2))
                .unwrap();
            wait::until("the echo reply", LIMIT, || {
                icmp.recv_msg(&mut buffer).is_ok_and(|reply| {
                    matches!(reply.payload.first(), Some(0 | 129)) && reply.source.ip() == to
                })
            });
        }
    }
}

#[test]
fn a_received_header_is_the_one_that_was_sent() {
    inside!("a_received_header_is_the_one_that_was_sent");
    let receiver = IpSocket::bind(v4(1), TEST_PROTOCOL).unwrap();
    let sender = HeaderSocket::open(Family::V4).unwrap();
    let mut packet = [0; 64];
    let len = Ipv4Builder::new(Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST)
        .protocol(TEST_PROTOCOL)
        .id(5)
        .dscp(46)
        .ecn(1)
        .ttl(3)
        .options(&[148, 4, 0, 0])
        .write(&mut packet, b"body")
        .unwrap();
    sender.send(&packet[..len]).unwrap();
    let mut buffer = [0; 100];
    let received = receiver.recv_msg(&mut buffer).unwrap();
    assert_eq!(received.payload, b"body");
    assert_eq!(
        received.header.unwrap().header(),
        Ipv4::new(&packet[..len]).unwrap().header()
    );
}
