//! Options of UDP sockets: sharing ports, groups, broadcast, devices, foreign addresses, buffers.

#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

mod udp_common;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use sockeye::socket::options;
use sockeye::socket::os::interface_index;
use sockeye::udp::filter::{Filter, Program, Width};
use sockeye::udp::{BufferSize, Metadata, Op, Outgoing, PathMtu, SendBatch, UdpOptions, UdpSocket};
use sockeye_tests::netns;
use sockeye_tests::skip::{self, Need};
use udp_common::{Path, addr, assert_empty, bind, ip, recv, recv_datagrams, recv_payload, v4_pair};

/// Sockets that share one port of `path`, in the order they were bound.
fn group(path: Path, count: usize) -> (Vec<UdpSocket>, SocketAddr) {
    let options = UdpOptions::new().reuse_port(true);
    let first = options.bind(path.loopback(0)).unwrap();
    let to = first.local_addr().unwrap();
    let rest = (1..count).map(|_| options.bind(to).unwrap());
    (std::iter::once(first).chain(rest).collect(), to)
}

#[test]
fn a_filter_steers_among_sockets_that_share_a_port() {
    for path in [Path::V4, Path::V6] {
        let (sockets, to) = group(path, 4);
        // By the first byte of the payload.
        let filter = Program::new()
            .load(Width::Byte, 0)
            .modulo(4)
            .accept_by_accumulator();
        filter.attach_reuse_port(&sockets[0]).unwrap();
        let sender = UdpSocket::bind(path.loopback(0)).unwrap();
        for byte in 0..20u8 {
            sender.send_to(&[byte], to).unwrap();
        }
        for (number, socket) in sockets.iter().enumerate() {
            let received = recv_datagrams(socket, 5);
            assert!(
                received
                    .iter()
                    .all(|payload| usize::from(payload[0]) % 4 == number),
                "{number}: {received:?}"
            );
            assert_empty(socket);
        }
    }
}

#[test]
fn steering_by_cpu_delivers_to_one_of_the_group() {
    let (sockets, to) = group(Path::V4, 2);
    Filter::steer_by_cpu(2).attach_reuse_port(&sockets[1]).unwrap();
    let sender = bind("127.0.0.1:0").unwrap();
    for _ in 0..10 {
        sender.send_to(b"x", to).unwrap();
    }
    let mut received = 0;
    for socket in &sockets {
        while socket.recv(&mut [0]).is_ok() {
            received += 1;
        }
    }
    assert_eq!(received, 10);
}

#[test]
fn a_lossy_socket_for_tests() {
    let (receiver, sender, to) = v4_pair();
    Filter::lossy(1, 1).attach(&receiver).unwrap();
    sender.send_to(b"lost", to).unwrap();
    assert_empty(&receiver);
    Filter::detach(&receiver).unwrap();
    sender.send_to(b"kept", to).unwrap();
    assert_eq!(recv_payload(&receiver), b"kept");
}

/// A namespace with `lan0` (192.0.2.1, 2001:db8::1) and `lan1` (198.51.100.1), each one end of a pair.
fn two_links(ns: &netns::Namespace) {
    for (name, v4, v6) in [
        ("lan0", "192.0.2.1/24", "2001:db8::1/64"),
        ("lan1", "198.51.100.1/24", "2001:db8:1::1/64"),
    ] {
        ns.ip(&format!("link add {name} type veth peer name {name}p"));
        ns.ip(&format!("address add {v4} dev {name}"));
        ns.ip(&format!("address add {v6} dev {name} nodad"));
        for end in [name.to_owned(), format!("{name}p")] {
            ns.ip(&format!("link set {end} up"));
        }
    }
    ns.until_multicast(&["lan0", "lan1"]);
}

struct Group {
    any: &'static str,
    group: IpAddr,
    sources: [IpAddr; 2],
}

fn groups() -> [Group; 2] {
    [
        Group {
            any: "0.0.0.0:0",
            group: ip("232.1.2.3"),
            sources: [ip("192.0.2.1"), ip("198.51.100.1")],
        },
        Group {
            any: "[::]:0",
            group: ip("ff3e::4321"),
            sources: [ip("2001:db8::1"), ip("2001:db8:1::1")],
        },
    ]
}

#[test]
fn groups_are_heard_by_interface_and_by_source() {
    let name = "groups_are_heard_by_interface_and_by_source";
    if !skip::require(&[Need::Namespaces, Need::Ipv6]) || !netns::enter(name, two_links) {
        return;
    }
    let lan = [interface_index("lan0").unwrap(), interface_index("lan1").unwrap()];
    for Group { any, group, sources } in groups() {
        let receiver = UdpOptions::new()
            .metadata(Metadata::DESTINATION)
            .bind(addr(any))
            .unwrap();
        let to = SocketAddr::new(group, receiver.local_addr().unwrap().port());
        // What one sends to a group through an interface comes back to members on that interface.
        let senders = [0, 1].map(|i| {
            let sender = UdpSocket::bind(SocketAddr::new(sources[i], 0)).unwrap();
            sender.set_multicast_interface(lan[i]).unwrap();
            sender.set_multicast_loop(true).unwrap();
            sender.set_multicast_hops(3).unwrap();
            sender
        });
        let send = |text: &[u8]| {
            for sender in &senders {
                sender.send_to(text, to).unwrap();
            }
        };

        send(b"before joining");
        receiver.join_group(group, lan[0]).unwrap();
        assert_eq!(
            receiver.join_group(group, lan[0]).unwrap_err().raw_os_error(),
            Some(libc::EADDRINUSE)
        );
        send(b"any source");
        let mut buffer = [0; 64];
        let incoming = recv(&receiver, &mut buffer);
        assert_eq!(
            (incoming.payload, incoming.source.ip()),
            (&b"any source"[..], sources[0])
        );
        assert_eq!(
            (incoming.meta.destination, incoming.meta.interface),
            (Some(group), Some(lan[0]))
        );
        // A group is no source to reply from.
        assert_ne!(incoming.meta.local, Some(group));
        assert_empty(&receiver);
        receiver.leave_group(group, lan[0]).unwrap();
        assert_eq!(
            receiver.leave_group(group, lan[0]).unwrap_err().raw_os_error(),
            Some(libc::EADDRNOTAVAIL)
        );
        send(b"after leaving");
        assert_empty(&receiver);

        receiver.join_source(group, sources[1], lan[0]).unwrap();
        receiver.join_source(group, sources[1], lan[1]).unwrap();
        send(b"one source");
        let mut buffer = [0; 64];
        let incoming = recv(&receiver, &mut buffer);
        assert_eq!(
            (incoming.payload, incoming.source.ip()),
            (&b"one source"[..], sources[1])
        );
        assert_empty(&receiver);
        receiver.leave_source(group, sources[1], lan[1]).unwrap();
        send(b"no source");
        assert_empty(&receiver);
        assert!(receiver.join_group(ip("192.0.2.55"), lan[0]).is_err(), "no group");
    }
}

#[test]
fn groups_joined_by_others_are_not_heard_unless_asked_for() {
    let name = "groups_joined_by_others_are_not_heard_unless_asked_for";
    if !skip::require(&[Need::Namespaces, Need::Ipv6]) || !netns::enter(name, two_links) {
        return;
    }
    let lan = interface_index("lan0").unwrap();
    for Group { any, group, .. } in groups() {
        let share = UdpOptions::new().reuse_address(true);
        let member = share.bind(addr(any)).unwrap();
        let to = SocketAddr::new(group, member.local_addr().unwrap().port());
        let here = SocketAddr::new(addr(any).ip(), to.port());
        let stranger = share.bind(here).unwrap();
        let careless = share.clone().multicast_all(true).bind(here).unwrap();
        member.join_group(group, lan).unwrap();
        let sender = bind(any).unwrap();
        sender.set_multicast_interface(lan).unwrap();
        sender.send_to(b"to the group", to).unwrap();
        assert_eq!(recv_payload(&member), b"to the group");
        assert_eq!(recv_payload(&careless), b"to the group");
        assert_empty(&stranger);
        stranger.set_multicast_all(true).unwrap();
        sender.send_to(b"again", to).unwrap();
        assert_eq!(recv_payload(&stranger), b"again");
    }
}

#[test]
fn broadcast_needs_to_be_asked_for() {
    let name = "broadcast_needs_to_be_asked_for";
    if !skip::require(&[Need::Namespaces]) || !netns::enter(name, two_links) {
        return;
    }
    let receiver = UdpOptions::new()
        .metadata(Metadata::DESTINATION)
        .bind(addr("0.0.0.0:0"))
        .unwrap();
    let sender = bind("192.0.2.1:0").unwrap();
    let to = addr(&format!("192.0.2.255:{}", receiver.local_addr().unwrap().port()));
    let error = sender.send_msg(&Outgoing::to(to, b"x")).unwrap_err();
    assert_eq!(
        (error.fault(), error.errno()),
        (sockeye::udp::Fault::Filtered, libc::EACCES)
    );
    sender.set_broadcast(true).unwrap();
    sender.send_msg(&Outgoing::to(to, b"all")).unwrap();
    let mut buffer = [0; 8];
    let incoming = recv(&receiver, &mut buffer);
    assert_eq!(
        (incoming.payload, incoming.meta.destination),
        (&b"all"[..], Some(to.ip()))
    );
    // The reply leaves from an address of this host, not from the broadcast address.
    receiver.send_msg(&incoming.reply(b"one")).unwrap();
    let mut buffer = [0; 8];
    assert_eq!(recv(&sender, &mut buffer).source.ip(), ip("192.0.2.1"));
}

#[test]
fn a_device_is_the_only_way_in_and_out() {
    let name = "a_device_is_the_only_way_in_and_out";
    if !skip::require(&[Need::Namespaces]) || !netns::enter(name, two_links) {
        return;
    }
    let on_loopback = UdpOptions::new().device("lo").bind(addr("0.0.0.0:0")).unwrap();
    let on_link = UdpOptions::new().device("lan0").bind(addr("0.0.0.0:0")).unwrap();
    let port = |socket: &UdpSocket| socket.local_addr().unwrap().port();
    // Packets to one's own addresses travel over loopback.
    let sender = bind("0.0.0.0:0").unwrap();
    sender
        .send_to(b"x", (Ipv4Addr::LOCALHOST, port(&on_loopback)).into())
        .unwrap();
    sender
        .send_to(b"x", (Ipv4Addr::LOCALHOST, port(&on_link)).into())
        .unwrap();
    assert_eq!(recv_payload(&on_loopback), b"x");
    assert_empty(&on_link);
    let error = UdpOptions::new()
        .device("no-such-one")
        .bind(addr("0.0.0.0:0"))
        .unwrap_err();
    assert_eq!(error.op(), Op::Set("SO_BINDTODEVICE"));
    assert!(error.to_string().contains("no such interface"), "{error}");
}

#[test]
fn foreign_addresses_by_freebind_and_transparent() {
    let name = "foreign_addresses_by_freebind_and_transparent";
    if !skip::require(&[Need::Namespaces, Need::Ipv6]) || !netns::enter(name, two_links) {
        return;
    }
    for foreign in ["203.0.113.5:0", "[2001:db8:9::5]:0"] {
        let error = UdpOptions::new().bind(addr(foreign)).unwrap_err();
        assert_eq!(
            (error.op(), error.kind()),
            (Op::Bind, std::io::ErrorKind::AddrNotAvailable)
        );
        assert!(error.to_string().contains("freebind"), "{error}");
        let bound = UdpOptions::new().freebind(true).bind(addr(foreign)).unwrap();
        assert_eq!(bound.local_addr().unwrap().ip(), addr(foreign).ip());
    }
    let receiver = bind("192.0.2.1:0").unwrap();
    let spoofer = UdpOptions::new()
        .transparent(true)
        .bind(addr("203.0.113.5:0"))
        .unwrap();
    spoofer
        .send_to(b"from afar", receiver.local_addr().unwrap())
        .unwrap();
    assert_eq!(
        recv(&receiver, &mut [0; 16]).source,
        spoofer.local_addr().unwrap()
    );
}

#[test]
fn datagrams_without_a_checksum_arrive() {
    let (receiver, sender, to) = Path::V4.pair(&UdpOptions::new(), &UdpOptions::new().without_checksum(true));
    assert!(sender.socket().get(options::SO_NO_CHECK).unwrap());
    sender.send_to(b"unchecked", to).unwrap();
    assert_eq!(recv_payload(&receiver), b"unchecked");
    // Segments are refused, each datagram is not.
    let payload = [1; 100];
    assert!(
        sender
            .send_msg(&Outgoing::to(to, &payload).segment_size(10))
            .is_err()
    );
    assert_eq!(
        SendBatch::new(8)
            .send_with(&sender, 0..4, |_| Outgoing::to(to, &payload))
            .count,
        4
    );
    assert_eq!(recv_datagrams(&receiver, 4).len(), 4);
}

#[test]
fn buffers_are_capped_unless_forced() {
    let cap: u32 = std::fs::read_to_string("/proc/sys/net/core/rmem_max")
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let wanted = cap * 2;
    let capped = UdpOptions::new()
        .recv_buffer(wanted)
        .send_buffer(8192)
        .bind(addr("127.0.0.1:0"))
        .unwrap();
    // The kernel doubles what is set.
    assert_eq!(capped.socket().get(options::SO_RCVBUF).unwrap(), cap * 2);
    assert_eq!(capped.socket().get(options::SO_SNDBUF).unwrap(), 8192 * 2);
    if !skip::require(&[Need::NetAdmin]) {
        return;
    }
    let forced = BufferSize {
        bytes: wanted,
        forced: true,
    };
    let socket = UdpOptions::new()
        .recv_buffer(forced)
        .send_buffer(forced)
        .bind(addr("127.0.0.1:0"))
        .unwrap();
    assert_eq!(socket.socket().get(options::SO_RCVBUF).unwrap(), wanted * 2);
    assert_eq!(socket.socket().get(options::SO_SNDBUF).unwrap(), wanted * 2);
}

#[test]
fn dual_stack_is_chosen_before_the_bind() {
    let both = UdpOptions::new().v6_only(false).bind(addr("[::]:0")).unwrap();
    let to = Path::V4.loopback(both.local_addr().unwrap().port());
    let v4 = bind("127.0.0.1:0").unwrap();
    v4.send_to(b"over v4", to).unwrap();
    let mut buffer = [0; 16];
    let source = recv(&both, &mut buffer).source;
    assert_eq!(source.ip(), IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped()));
    both.send_to(b"back", source).unwrap();
    assert_eq!(recv_payload(&v4), b"back");

    let only = UdpOptions::new().v6_only(true).bind(addr("[::]:0")).unwrap();
    v4.send_to(b"lost", Path::V4.loopback(only.local_addr().unwrap().port()))
        .unwrap();
    assert_empty(&only);
    assert!(only.send_to(b"x", to).is_err());
}

#[test]
fn path_mtu_modes_read_back_for_both_families() {
    for any in ["0.0.0.0:0", "[::]:0"] {
        for mode in [
            PathMtu::Fragment,
            PathMtu::Discover,
            PathMtu::Refuse,
            PathMtu::Probe,
            PathMtu::Interface,
            PathMtu::Omit,
        ] {
            let socket = UdpOptions::new().path_mtu(mode).bind(addr(any)).unwrap();
            assert_eq!(socket.path_mtu_mode().unwrap(), mode);
            socket.set_path_mtu_mode(PathMtu::Probe).unwrap();
            assert_eq!(socket.path_mtu_mode().unwrap(), PathMtu::Probe);
        }
    }
    let unconnected = bind("127.0.0.1:0").unwrap();
    assert_eq!(
        unconnected.path_mtu().unwrap_err().kind(),
        std::io::ErrorKind::NotConnected
    );
    let (_receiver, sender, to) = v4_pair();
    sender.connect(to).unwrap();
    assert!(sender.path_mtu().unwrap() >= 1280);
}

#[test]
fn an_address_in_use_says_what_to_do() {
    let taken = bind("127.0.0.1:0").unwrap();
    let local = taken.local_addr().unwrap();
    let error = UdpOptions::new().bind(local).unwrap_err();
    assert_eq!(
        (error.op(), error.kind()),
        (Op::Bind, std::io::ErrorKind::AddrInUse)
    );
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("bind udp://{local}: ")) && text.contains("another socket"),
        "{text}"
    );
}
