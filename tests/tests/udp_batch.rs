//! Batches: everything arrives once and in order, a failure is told with its index, offloads come and go unseen.

mod udp_common;

use sockeye::socket::options;
use sockeye::udp::{
    Dscp, Ecn, Fault, Incoming, Metadata, Outgoing, PathMtu, RecvBatch, SendBatch, SendReport, UdpOptions,
    UdpSocket,
};
use sockeye_tests::netns;
use sockeye_tests::skip::{self, Need};
use udp_common::{Path, addr, assert_empty, bind, recv, recv_datagrams, v4_pair};

/// A payload that tells its number and its length.
fn payload(number: usize, len: usize) -> Vec<u8> {
    let mut payload = number.to_le_bytes().repeat(len.div_ceil(8));
    payload.truncate(len);
    payload
}

/// Sends all payloads, expecting no fault.
#[track_caller]
fn send_all(batch: &mut SendBatch, socket: &UdpSocket, to: std::net::SocketAddr, payloads: &[Vec<u8>]) {
    let report = batch.send_with(socket, 0..payloads.len(), |i| Outgoing::to(to, &payloads[i]));
    assert_eq!(
        report,
        SendReport {
            count: payloads.len(),
            error: None
        }
    );
}

#[test]
fn everything_arrives_once_and_in_order_however_it_is_cut() {
    let shapes: [(&str, Vec<usize>); 7] = [
        ("one size", vec![1200; 200]),
        ("last shorter", [vec![1000; 10], vec![7], vec![1000; 3]].concat()),
        ("growing", (1..150).collect()),
        ("shrinking", (1..150).rev().collect()),
        ("with empty ones", vec![0, 0, 5, 5, 0, 5, 5, 5, 0]),
        ("more than 128 small ones", vec![9; 1000]),
        ("large ones", vec![30_000; 5]),
    ];
    for path in Path::ALL {
        for gro in [false, true] {
            for (shape, sizes) in &shapes {
                let buffer = UdpOptions::new().recv_buffer(4 << 20).gro(gro);
                let (receiver, sender, to) = path.pair(&buffer, &UdpOptions::new());
                let payloads: Vec<_> = sizes
                    .iter()
                    .enumerate()
                    .map(|(i, len)| payload(i, *len))
                    .collect();
                send_all(&mut SendBatch::new(8), &sender, to, &payloads);
                let received = recv_datagrams(&receiver, payloads.len());
                assert!(received == payloads, "{path:?} gro {gro}: {shape}");
                assert_empty(&receiver);
            }
        }
    }
}

#[test]
fn adjacent_datagrams_of_one_peer_and_size_leave_as_one_message() {
    for connected in [false, true] {
        let (receiver, sender, to) = Path::V4.pair(&UdpOptions::new().gro(true), &UdpOptions::new());
        sender.connect(to).unwrap();
        let payloads: Vec<_> = (0..65)
            .map(|i| payload(i, if i == 64 { 99 } else { 100 }))
            .collect();
        let make = |i: usize| {
            if connected {
                Outgoing::connected(&payloads[i])
            } else {
                Outgoing::to(to, &payloads[i])
            }
        };
        assert_eq!(SendBatch::new(64).send_with(&sender, 0..65, make).count, 65);
        let mut batch = RecvBatch::new(8, 65_536);
        receiver.recv_batch(&mut batch).unwrap();
        let first = batch.get(0).unwrap();
        assert_eq!((first.segment_size, first.payload.len()), (Some(100), 6499));
        assert_eq!(first.segments().len(), 65);
    }
}

#[test]
fn what_differs_is_not_coalesced() {
    let wanted = UdpOptions::new()
        .gro(true)
        .metadata(Metadata::TRAFFIC_CLASS | Metadata::HOP_LIMIT);
    let (receiver, sender, to) = Path::V4.pair(&wanted, &UdpOptions::new());
    let other = bind("127.0.0.1:0").unwrap();
    let elsewhere = other.local_addr().unwrap();
    let plain = Outgoing::to(to, b"same");
    let messages = [
        plain,
        plain.ecn(Ecn::Ce),
        plain.ecn(Ecn::Ce),
        plain.ecn(Ecn::Ce).dscp(Dscp::EF),
        plain.hop_limit(9),
        Outgoing::to(elsewhere, b"same"),
        plain,
    ];
    let report = SendBatch::new(16).send_with(&sender, 0..messages.len(), |i| messages[i]);
    assert_eq!((report.count, report.error), (7, None));
    let seen: Vec<_> = (0..5)
        .map(|_| {
            let mut buffer = [0; 65_536];
            let incoming = recv(&receiver, &mut buffer);
            (
                incoming.segments().len(),
                incoming.meta.ecn,
                incoming.meta.dscp,
                incoming.meta.hop_limit,
            )
        })
        .collect();
    let (not, ce) = (Some(Ecn::NotEct), Some(Ecn::Ce));
    let (be, ef) = (Some(Dscp::DEFAULT), Some(Dscp::EF));
    assert_eq!(
        seen,
        [
            (1, not, be, Some(64)),
            (2, ce, be, Some(64)),
            (1, ce, ef, Some(64)),
            (1, not, be, Some(9)),
            (1, not, be, Some(64))
        ]
    );
    assert_eq!(recv_datagrams(&other, 1), [b"same"]);
}

#[test]
fn segments_of_one_payload_arrive_as_datagrams() {
    for path in Path::ALL {
        let (receiver, sender, to) = path.pair(&UdpOptions::new(), &UdpOptions::new());
        let whole: Vec<u8> = (0..=255).cycle().take(2500).collect();
        assert_eq!(
            sender
                .send_msg(&Outgoing::to(to, &whole).segment_size(1000))
                .unwrap(),
            2500
        );
        let expected: Vec<_> = whole.chunks(1000).map(<[u8]>::to_vec).collect();
        assert_eq!(recv_datagrams(&receiver, 3), expected);
        // As part of a batch, too.
        let report =
            SendBatch::new(4).send_with(&sender, 0..2, |_| Outgoing::to(to, &whole).segment_size(1000));
        assert_eq!(report.count, 2);
        assert_eq!(
            recv_datagrams(&receiver, 6),
            [expected.clone(), expected].concat()
        );
    }
}

#[test]
fn more_segments_than_the_kernel_takes_are_invalid_and_128_are_not() {
    let (receiver, sender, to) = v4_pair();
    let most = sender.capabilities().unwrap().max_segments;
    assert!(most == 64 || most == 128);
    let payload = vec![1; most + 1];
    let error = sender
        .send_msg(&Outgoing::to(to, &payload).segment_size(1))
        .unwrap_err();
    assert_eq!((error.fault(), error.errno()), (Fault::Invalid, libc::EINVAL));
    assert!(error.concerns_this_datagram());
    sender
        .send_msg(&Outgoing::to(to, &payload[..most]).segment_size(1))
        .unwrap();
    assert_eq!(recv_datagrams(&receiver, most).len(), most);
}

#[test]
fn a_payload_above_65507_bytes_is_too_big_and_concerns_only_itself() {
    let (receiver, sender, to) = Path::V4.pair(&UdpOptions::new().recv_buffer(1 << 20), &UdpOptions::new());
    let payloads = [vec![1; 65_507], vec![2; 65_508], vec![3; 10]];
    let mut batch = SendBatch::new(8);
    let report = batch.send_with(&sender, 0..3, |i| Outgoing::to(to, &payloads[i]));
    assert_eq!(report.count, 1);
    let error = report.error.unwrap();
    assert!(matches!(error.fault(), Fault::TooBig { .. }) && error.concerns_this_datagram());
    assert_eq!(
        batch
            .send_with(&sender, 2..3, |i| Outgoing::to(to, &payloads[i]))
            .count,
        1
    );
    assert_eq!(
        recv_datagrams(&receiver, 2),
        [payloads[0].clone(), payloads[2].clone()]
    );
}

#[test]
fn a_partial_failure_names_the_datagram_and_skips_none() {
    for path in Path::ALL {
        let (receiver, sender, to) = path.pair(&UdpOptions::new(), &UdpOptions::new());
        let nowhere = path.loopback(0);
        let payloads: Vec<_> = (0..60).map(|i| payload(i, 20)).collect();
        let bad = [17, 40];
        let make = |i: usize| Outgoing::to(if bad.contains(&i) { nowhere } else { to }, &payloads[i]);
        let mut batch = SendBatch::new(64);
        let (mut next, mut failed) = (0, Vec::new());
        while next < 60 {
            let report = batch.send_with(&sender, next..60, make);
            next += report.count;
            if let Some(error) = report.error {
                assert_eq!(
                    (error.fault(), error.concerns_this_datagram()),
                    (Fault::Invalid, true)
                );
                failed.push(next);
                next += 1;
            }
        }
        assert_eq!(failed, bad);
        let expected: Vec<_> = (0..60)
            .filter(|i| !bad.contains(i))
            .map(|i| payloads[i].clone())
            .collect();
        assert_eq!(recv_datagrams(&receiver, 58), expected, "{path:?}");
    }
}

#[test]
fn port_zero_concerns_its_datagrams_and_leaves_offloads_and_metadata_on() {
    let wanted = UdpOptions::new().gro(true).metadata(Metadata::TRAFFIC_CLASS);
    let (receiver, sender, to) = Path::V4.pair(&wanted, &UdpOptions::new());
    let nowhere = addr("127.0.0.1:0");
    let mut batch = SendBatch::new(64);
    for _ in 0..3 {
        // A whole run of them, which is refused as one message first.
        let report = batch.send_with(&sender, 0..10, |_| Outgoing::to(nowhere, b"lost").ecn(Ecn::Ect0));
        assert_eq!((report.count, report.error.unwrap().fault()), (0, Fault::Invalid));
        assert!(batch.is_coalescing());
        assert!(
            sender
                .send_msg(&Outgoing::to(nowhere, b"lost").ecn(Ecn::Ect0))
                .is_err()
        );
    }
    let report = batch.send_with(&sender, 0..10, |_| Outgoing::to(to, b"kept").ecn(Ecn::Ect0));
    assert_eq!(report.count, 10);
    let mut buffer = [0; 65_536];
    let incoming = recv(&receiver, &mut buffer);
    assert_eq!(incoming.segments().len(), 10);
    assert_eq!(incoming.meta.ecn, Some(Ecn::Ect0));
}

#[test]
fn refused_segmentation_loses_nothing_and_is_tried_again() {
    // The kernel refuses segmentation on a socket that sends without checksums.
    let large = UdpOptions::new().recv_buffer(4 << 20);
    let (receiver, sender, to) = Path::V4.pair(&large, &UdpOptions::new().without_checksum(true));
    let payloads: Vec<_> = (0..200).map(|i| payload(i, 100)).collect();
    let mut batch = SendBatch::new(64);
    send_all(&mut batch, &sender, to, &payloads);
    assert!(!batch.is_coalescing());
    assert_eq!(recv_datagrams(&receiver, 200), payloads);

    sender.socket().set(options::SO_NO_CHECK, false).unwrap();
    let mut calls = 0;
    while !batch.is_coalescing() {
        calls += 1;
        assert!(calls < 100, "coalescing never came back");
        send_all(&mut batch, &sender, to, &payloads[..2]);
        assert_eq!(recv_datagrams(&receiver, 2).len(), 2);
    }
    receiver.set_gro(true).unwrap();
    send_all(&mut batch, &sender, to, &payloads[..100]);
    let mut buffer = [0; 65_536];
    assert_eq!(recv(&receiver, &mut buffer).segments().len(), 100);
}

#[test]
fn segments_above_the_mtu_are_sent_singly_and_smaller_ones_still_together() {
    let name = "segments_above_the_mtu_are_sent_singly_and_smaller_ones_still_together";
    if !skip::require(&[Need::Namespaces]) || !netns::enter(name, |ns| drop(ns.ip("link set lo mtu 1500"))) {
        return;
    }
    let (receiver, sender, to) = Path::V4.pair(
        &UdpOptions::new().recv_buffer(4 << 20).gro(true),
        &UdpOptions::new(),
    );
    // Fragments are allowed, so one by one they fit; as segments the kernel refuses them.
    let large: Vec<_> = (0..20).map(|i| payload(i, 2000)).collect();
    let small: Vec<_> = (20..40).map(|i| payload(i, 1000)).collect();
    let mut batch = SendBatch::new(64);
    send_all(&mut batch, &sender, to, &large);
    assert_eq!(recv_datagrams(&receiver, 20), large);
    assert!(batch.is_coalescing(), "it is no evidence against segmentation");
    send_all(&mut batch, &sender, to, &small);
    let mut buffer = [0; 65_536];
    assert_eq!(recv(&receiver, &mut buffer).segments().len(), 20);

    // Where fragments are not allowed, the datagram itself is too big, and the path is told.
    sender.set_path_mtu_mode(PathMtu::Refuse).unwrap();
    sender.connect(to).unwrap();
    let report = SendBatch::new(64).send_with(&sender, 0..20, |i| Outgoing::to(to, &large[i]));
    assert_eq!(
        (report.count, report.error.unwrap().fault()),
        (0, Fault::TooBig { mtu: Some(1500) })
    );
    assert_eq!(
        SendBatch::new(64)
            .send_with(&sender, 0..20, |i| Outgoing::to(to, &small[i]))
            .count,
        20
    );
}

#[test]
fn reused_headers_never_lose_metadata() {
    let wanted = UdpOptions::new().metadata(Metadata::ALL.without(Metadata::ORIGINAL_DESTINATION));
    let (receiver, sender, to) = Path::V4.pair(&wanted, &UdpOptions::new());
    let mut batch = RecvBatch::new(4, 64);
    for round in 0..200 {
        // Rounds without metadata shorten what the kernel writes into the headers.
        receiver
            .set_metadata(if round % 2 == 0 {
                Metadata::NONE
            } else {
                Metadata::HOP_LIMIT
            })
            .unwrap();
        let count = 1 + round % 4;
        for _ in 0..count {
            sender.send_to(b"x", to).unwrap();
        }
        assert_eq!(receiver.recv_batch(&mut batch).unwrap(), count);
        for incoming in batch.iter() {
            assert_eq!(incoming.meta.hop_limit.is_some(), round % 2 == 1, "round {round}");
            assert_eq!(incoming.source.port(), sender.local_addr().unwrap().port());
            assert!(!incoming.truncated && !incoming.control_truncated);
        }
        assert!(receiver.recv_batch(&mut batch).is_err(), "nothing is left");
        assert!(batch.is_empty());
    }
}

#[test]
fn the_128_segments_of_gro_all_arrive_and_a_slot_too_small_says_so() {
    let (receiver, sender, to) = Path::V4.pair(&UdpOptions::new().gro(true), &UdpOptions::new());
    let payloads: Vec<_> = (0..100).map(|i| payload(i, 500)).collect();
    send_all(&mut SendBatch::new(64), &sender, to, &payloads);
    assert_eq!(recv_datagrams(&receiver, 100), payloads);

    send_all(&mut SendBatch::new(64), &sender, to, &payloads);
    let mut small = RecvBatch::new(4, 64 * 500);
    assert_eq!(receiver.recv_batch(&mut small).unwrap(), 1);
    let incoming = small.get(0).unwrap();
    assert!(incoming.truncated);
    assert_eq!(
        (incoming.len, incoming.payload.len(), incoming.segments().len()),
        (50_000, 32_000, 64)
    );
}

#[test]
fn a_receive_can_be_limited_and_the_rest_waits() {
    let (receiver, sender, to) = v4_pair();
    for i in 0..5u8 {
        sender.send_to(&[i], to).unwrap();
    }
    let mut batch = RecvBatch::new(64, 16);
    assert_eq!(batch.recv_up_to(&receiver, 2).unwrap(), 2);
    assert_eq!(batch.recv_up_to(&receiver, 64).unwrap(), 3);
    assert_eq!(
        batch
            .iter()
            .map(|incoming| incoming.payload[0])
            .collect::<Vec<_>>(),
        [2, 3, 4]
    );
    assert_eq!(batch.get(3).map(|incoming| incoming.len), None);
    assert_eq!(batch.payload(3), b"");
}

#[test]
fn replies_leave_straight_from_the_receive_storage() {
    let (server, client, to) = v4_pair();
    client.connect(to).unwrap();
    let payloads: Vec<_> = (0..10).map(|i| payload(i, 40)).collect();
    let report = SendBatch::new(16).send_with(&client, 0..10, |i| Outgoing::connected(&payloads[i]));
    assert_eq!(report.count, 10);
    let mut inbox = RecvBatch::new(64, 2048);
    assert_eq!(server.recv_batch(&mut inbox).unwrap(), 10);
    inbox.payload_mut(3)[0] = 0xff;
    let back = inbox.get(0).unwrap().source;
    // Remembered as slot, offset and length.
    let report = SendBatch::new(16).send_with(&server, 0..10, |slot| {
        Outgoing::to(back, &inbox.payload(slot)[0..20])
    });
    assert_eq!(report.count, 10);
    let received = recv_datagrams(&client, 10);
    assert_eq!(received[3][0], 0xff);
    assert_eq!(received[4], payloads[4][..20]);
}

#[test]
fn a_batch_without_a_kernel_reads_like_one_with() {
    let mut batch = RecvBatch::new(2, 8);
    let source = addr("192.0.2.7:53");
    let mut meta = sockeye::udp::Meta::NONE;
    meta.hop_limit = Some(61);
    assert!(batch.push(b"abcdefgh", source, Some(3), meta));
    assert!(batch.push(b"longer than the slot", source, None, sockeye::udp::Meta::NONE));
    assert!(!batch.push(b"no slot", source, None, sockeye::udp::Meta::NONE));
    let seen: Vec<Incoming<'_>> = batch.iter().collect();
    assert_eq!(
        seen[0].segments().collect::<Vec<_>>(),
        [&b"abc"[..], b"def", b"gh"]
    );
    assert_eq!((seen[0].source, seen[0].meta.hop_limit), (source, Some(61)));
    assert_eq!(
        (seen[1].payload, seen[1].truncated, seen[1].len),
        (&b"longer t"[..], true, 20)
    );
    batch.clear();
    assert!(batch.is_empty() && batch.get(0).is_none());

    // And can be used on a socket afterwards.
    let (receiver, sender, to) = v4_pair();
    sender.send_to(b"real", to).unwrap();
    assert_eq!(receiver.recv_batch(&mut batch).unwrap(), 1);
    assert_eq!(batch.get(0).unwrap().meta, sockeye::udp::Meta::NONE);
}
