//! UDP sockets: what the standard library means by its names, and what messages carry beside their payload.

#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

mod udp_common;

use std::io::ErrorKind;
use std::time::{Duration, SystemTime};

use sockeye::socket::os::{interface_index, interface_name};
use sockeye::udp::{Dscp, Ecn, Metadata, Outgoing, RecvBatch, UdpOptions, UdpSocket};
use sockeye_tests::netns;
use sockeye_tests::skip::{self, Need};
use udp_common::{Path, addr, assert_empty, bind, ip, recv, recv_payload, v4_pair};

#[test]
fn names_of_the_standard_library_mean_what_they_mean_there() {
    let (receiver, sender, to) = v4_pair();
    let mut buffer = [0; 64];
    assert_eq!(
        receiver.recv_from(&mut buffer).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    assert_eq!(
        sender.send(b"x").unwrap_err().raw_os_error(),
        Some(libc::EDESTADDRREQ)
    );
    assert_eq!(sender.peer_addr().unwrap_err().kind(), ErrorKind::NotConnected);

    let from = addr(&format!("127.0.0.1:{}", sender.local_addr().unwrap().port()));
    assert_eq!(sender.send_to(b"hello", to).unwrap(), 5);
    assert_eq!(receiver.peek_from(&mut buffer).unwrap(), (5, from));
    assert_eq!(receiver.peek(&mut buffer).unwrap(), 5);
    assert_eq!(receiver.recv_from(&mut buffer).unwrap(), (5, from));
    assert_eq!(&buffer[..5], b"hello");

    sender.connect(to).unwrap();
    assert_eq!(sender.peer_addr().unwrap(), to);
    assert_eq!(sender.send(b"again").unwrap(), 5);
    assert_eq!(receiver.recv(&mut buffer).unwrap(), 5);
    sender.disconnect().unwrap();
    assert!(sender.peer_addr().is_err());

    let std_socket = std::net::UdpSocket::from(sender);
    std_socket.send_to(b"std", to).unwrap();
    assert_eq!(recv_payload(&receiver), b"std");
    let ours = UdpSocket::try_from(std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
    assert_eq!(ours.recv(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn zero_length_datagrams_are_datagrams() {
    for path in Path::ALL {
        let (receiver, sender, to) = path.pair(&UdpOptions::new(), &UdpOptions::new());
        sender.send_to(b"", to).unwrap();
        sender.send_msg(&Outgoing::to(to, b"").ecn(Ecn::Ect1)).unwrap();
        let mut buffer = [0; 8];
        for _ in 0..2 {
            let incoming = recv(&receiver, &mut buffer);
            assert!(incoming.is_empty() && !incoming.truncated);
            assert_eq!(incoming.segments().collect::<Vec<_>>(), [b""]);
        }
        assert_empty(&receiver);
    }
}

#[test]
fn truncation_is_told_with_the_true_length() {
    for path in Path::ALL {
        let (receiver, sender, to) = path.pair(&UdpOptions::new(), &UdpOptions::new());
        sender.send_to(&[7; 1000], to).unwrap();
        let mut buffer = [0; 100];
        let incoming = recv(&receiver, &mut buffer);
        assert_eq!(
            (incoming.payload, incoming.len, incoming.truncated),
            (&[7; 100][..], 1000, true)
        );

        sender.send_to(&[8; 1000], to).unwrap();
        sender.send_to(&[9; 100], to).unwrap();
        let mut batch = RecvBatch::new(4, 100);
        assert_eq!(receiver.recv_batch(&mut batch).unwrap(), 2);
        let seen: Vec<_> = batch
            .iter()
            .map(|i| (i.payload[0], i.payload.len(), i.len, i.truncated))
            .collect();
        assert_eq!(seen, [(8, 100, 1000, true), (9, 100, 100, false)]);
    }
}

#[test]
fn metadata_that_nobody_asked_for_is_none() {
    for path in Path::ALL {
        let (receiver, sender, to) = path.pair(&UdpOptions::new(), &UdpOptions::new());
        sender
            .send_msg(&Outgoing::to(to, b"x").ecn(Ecn::Ce).hop_limit(9))
            .unwrap();
        assert_eq!(recv(&receiver, &mut [0; 8]).meta, Default::default());
    }
}

#[test]
fn all_metadata_at_once_fits_beside_gro() {
    for path in Path::ALL {
        let all = UdpOptions::new()
            .metadata(Metadata::ALL.without(Metadata::ORIGINAL_DESTINATION))
            .gro(true);
        let (receiver, sender, to) = path.pair(&all, &UdpOptions::new());
        let before = SystemTime::now();
        let payload = [1; 3000];
        let message = Outgoing::to(to, &payload)
            .ecn(Ecn::Ect0)
            .dscp(Dscp::EF)
            .hop_limit(33)
            .segment_size(1000);
        sender.send_msg(&message).unwrap();
        let mut buffer = [0; 65_536];
        let incoming = recv(&receiver, &mut buffer);
        assert_eq!(incoming.payload.len(), 3000, "{path:?}");
        assert!(!incoming.control_truncated);
        assert_eq!(incoming.segment_size, Some(1000));
        let meta = incoming.meta;
        assert_eq!(meta.destination, Some(to.ip().to_canonical()), "{path:?}");
        assert_eq!(meta.local, Some(to.ip().to_canonical()));
        assert_eq!(
            meta.interface
                .map(|index| interface_name(index).unwrap())
                .as_deref(),
            Some("lo")
        );
        assert_eq!(
            (meta.ecn, meta.dscp, meta.hop_limit),
            (Some(Ecn::Ect0), Some(Dscp::EF), Some(33)),
            "{path:?}"
        );
        let stamp = meta.timestamp.unwrap();
        assert!(
            stamp >= before - Duration::from_secs(1) && stamp <= SystemTime::now() + Duration::from_secs(1)
        );
    }
}

#[test]
fn dscp_and_ecn_each_leave_the_other_as_the_socket_has_it() {
    let class = UdpOptions::new().metadata(Metadata::TRAFFIC_CLASS);
    for path in Path::ALL {
        for connected in [false, true] {
            let (receiver, sender, to) = path.pair(&class, &UdpOptions::new());
            sender.set_dscp(Dscp::EF).unwrap();
            if connected {
                sender.connect(to).unwrap();
            }
            let message = if connected {
                Outgoing::connected(b"x")
            } else {
                Outgoing::to(to, b"x")
            };
            for (message, dscp, ecn) in [
                (message, Dscp::EF, Ecn::NotEct),
                (message.ecn(Ecn::Ect0), Dscp::EF, Ecn::Ect0),
                (message.dscp(Dscp::AF41), Dscp::AF41, Ecn::NotEct),
                (message.dscp(Dscp::LE).ecn(Ecn::Ce), Dscp::LE, Ecn::Ce),
            ] {
                sender.send_msg(&message).unwrap();
                let meta = recv(&receiver, &mut [0; 8]).meta;
                assert_eq!(
                    (meta.dscp, meta.ecn),
                    (Some(dscp), Some(ecn)),
                    "{path:?} connected {connected}"
                );
            }
        }
    }
}

#[test]
fn a_mapped_destination_keeps_traffic_class_and_hop_limit() {
    let wanted = UdpOptions::new().metadata(Metadata::TRAFFIC_CLASS | Metadata::HOP_LIMIT);
    let receiver = Path::V4.bind(&wanted);
    let port = receiver.local_addr().unwrap().port();
    let sender = Path::Mapped.bind(&UdpOptions::new());
    // As the mapped address, and as the plain one, which a dual-stack socket takes too.
    for to in [Path::Mapped.loopback(port), Path::V4.loopback(port)] {
        sender
            .send_msg(
                &Outgoing::to(to, b"x")
                    .dscp(Dscp::CS6)
                    .ecn(Ecn::Ect1)
                    .hop_limit(17),
            )
            .unwrap();
        let meta = recv(&receiver, &mut [0; 8]).meta;
        assert_eq!(
            (meta.dscp, meta.ecn, meta.hop_limit),
            (Some(Dscp::CS6), Some(Ecn::Ect1), Some(17)),
            "{to}"
        );
    }
}

#[test]
fn a_reply_from_a_wildcard_socket_leaves_from_the_address_that_was_asked() {
    let asked = [
        ("0.0.0.0:0", "127.0.0.1:0", "127.0.0.9"),
        ("[::]:0", "127.0.0.1:0", "127.0.0.9"),
        ("[::]:0", "[::1]:0", "::1"),
    ];
    for (server, client, asked) in asked {
        let options = UdpOptions::new().metadata(Metadata::DESTINATION).v6_only(false);
        let options = if server.starts_with('[') {
            options
        } else {
            UdpOptions::new().metadata(Metadata::DESTINATION)
        };
        let server = options.bind(addr(server)).unwrap();
        let client = bind(client).unwrap();
        let asked = (ip(asked), server.local_addr().unwrap().port()).into();
        client.send_to(b"who?", asked).unwrap();
        let mut buffer = [0; 16];
        let incoming = recv(&server, &mut buffer);
        server.send_msg(&incoming.reply(b"me")).unwrap();
        let mut buffer = [0; 16];
        assert_eq!(recv(&client, &mut buffer).source, asked);
    }
}

#[test]
fn a_source_can_be_chosen_for_each_message() {
    let (receiver, _, to) = v4_pair();
    let sender = bind("0.0.0.0:0").unwrap();
    for source in ["127.0.0.5", "127.1.2.3"] {
        sender
            .send_msg(&Outgoing::to(to, b"x").source(ip(source)))
            .unwrap();
        assert_eq!(recv(&receiver, &mut [0; 8]).source.ip(), ip(source));
    }
    let loopback = interface_index("lo").unwrap();
    sender
        .send_msg(&Outgoing::to(to, b"x").interface(loopback))
        .unwrap();
    assert_eq!(recv(&receiver, &mut [0; 8]).source.ip(), ip("127.0.0.1"));
}

#[test]
fn datagrams_queued_before_connect_are_still_delivered() {
    let (receiver, stranger, to) = v4_pair();
    let friend = bind("127.0.0.1:0").unwrap();
    stranger.send_to(b"early", to).unwrap();
    receiver.connect(friend.local_addr().unwrap()).unwrap();
    stranger.send_to(b"late", to).unwrap();
    friend.send_to(b"friend", to).unwrap();
    assert_eq!(recv_payload(&receiver), b"early");
    assert_eq!(recv_payload(&receiver), b"friend");
    assert_empty(&receiver);
}

#[test]
fn drops_are_counted() {
    let options = UdpOptions::new().metadata(Metadata::DROPS).recv_buffer(4096);
    let (receiver, sender, to) = Path::V4.pair(&options, &UdpOptions::new());
    for _ in 0..100 {
        sender.send_to(&[0; 512], to).unwrap();
    }
    let mut received = 0;
    while receiver.recv_msg(&mut [0; 512]).is_ok() {
        received += 1;
    }
    assert!(received < 100);
    sender.send_to(b"after", to).unwrap();
    let drops = recv(&receiver, &mut [0; 512]).meta.drops;
    assert_eq!(drops, Some(100 - received));
}

#[test]
fn metadata_is_switched_without_touching_the_rest() {
    let (receiver, sender, to) = v4_pair();
    receiver
        .set_metadata(Metadata::HOP_LIMIT | Metadata::DESTINATION)
        .unwrap();
    receiver.set_metadata(Metadata::TRAFFIC_CLASS).unwrap();
    assert_eq!(receiver.capabilities().unwrap().metadata, Metadata::TRAFFIC_CLASS);
    sender.send_to(b"x", to).unwrap();
    let meta = recv(&receiver, &mut [0; 8]).meta;
    assert_eq!(
        (meta.hop_limit, meta.destination, meta.ecn),
        (None, None, Some(Ecn::NotEct))
    );
}

#[test]
fn peeking_shows_the_metadata_and_leaves_the_message() {
    let (receiver, sender, to) = Path::V4.pair(
        &UdpOptions::new().metadata(Metadata::HOP_LIMIT),
        &UdpOptions::new(),
    );
    sender.send_msg(&Outgoing::to(to, b"peek").hop_limit(5)).unwrap();
    let mut buffer = [0; 2];
    for _ in 0..2 {
        let peeked = receiver.peek_msg(&mut buffer).unwrap();
        assert_eq!(
            (peeked.payload, peeked.len, peeked.truncated),
            (&b"pe"[..], 4, true)
        );
        assert_eq!(peeked.meta.hop_limit, Some(5));
    }
    assert_eq!(recv_payload(&receiver), b"peek");
}

#[test]
fn a_control_message_too_large_for_the_buffer_is_told() {
    if !skip::require(&[Need::Namespaces, Need::Ipv6])
        || !netns::enter("a_control_message_too_large_for_the_buffer_is_told", |_| {})
    {
        return;
    }
    use std::os::fd::AsFd;
    let (receiver, sender, to) = Path::V6.pair(
        &UdpOptions::new().metadata(Metadata::HOP_LIMIT),
        &UdpOptions::new(),
    );
    // Options that this crate never asks for, set behind its back: destination options of 776 bytes.
    let receive = socket2_set(
        receiver.as_fd(),
        libc::IPPROTO_IPV6,
        libc::IPV6_RECVDSTOPTS,
        &1i32.to_ne_bytes(),
    );
    assert_eq!(receive, 0);
    let mut header = vec![0, 96];
    for _ in 0..3 {
        header.extend([0x1e, 253]);
        header.extend([0; 253]);
    }
    header.resize(97 * 8, 0);
    header[2 + 3 * 255] = 0x1e;
    header[2 + 3 * 255 + 1] = u8::try_from(97 * 8 - (2 + 3 * 255) - 2).unwrap();
    assert_eq!(
        socket2_set(sender.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_DSTOPTS, &header),
        0
    );
    sender.send_to(b"payload", to).unwrap();
    let mut buffer = [0; 64];
    let incoming = recv(&receiver, &mut buffer);
    assert_eq!(incoming.payload, b"payload");
    assert!(incoming.control_truncated && !incoming.truncated, "{incoming:?}");
}

#[expect(unsafe_code, reason = "an option that no crate offers")]
fn socket2_set(fd: std::os::fd::BorrowedFd<'_>, level: i32, name: i32, value: &[u8]) -> i32 {
    use std::os::fd::AsRawFd;
    // SAFETY: the kernel reads `value.len()` bytes of `value`.
    unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            value.as_ptr().cast(),
            libc::socklen_t::try_from(value.len()).unwrap(),
        )
    }
}

#[test]
fn an_event_source_like_any_other() {
    let mut poll = mio::Poll::new().unwrap();
    let (mut receiver, sender, to) = v4_pair();
    poll.registry()
        .register(&mut receiver, mio::Token(7), mio::Interest::READABLE)
        .unwrap();
    sender.send_to(b"x", to).unwrap();
    let mut events = mio::Events::with_capacity(8);
    poll.poll(&mut events, Some(udp_common::PATIENCE)).unwrap();
    let event = events.iter().next().unwrap();
    assert!(event.token() == mio::Token(7) && event.is_readable());
    poll.registry().deregister(&mut receiver).unwrap();
}
