//! Packet sockets against the kernel, each test in a network namespace of its own with a pair of interfaces.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

mod ground;

use std::io::ErrorKind;
use std::time::{Duration, SystemTime};

use ground::{EXPERIMENT, LIMIT, frame, inside, ip, receive};
use sockeye_link::packet_filter::{Compare, Program, Width};
use sockeye_link::{
    Fanout, FanoutKind, FrameMode, FrameRecvBatch, FrameSendBatch, LinkAddress, LinkCause, LinkOptions,
    LinkSocket, PacketType, ethertype,
};

/// A socket for the experimental ethertype.
fn open(interface: &str) -> LinkSocket {
    LinkOptions::new().protocol(EXPERIMENT).open(interface).unwrap()
}

/// One that hears what this host sends, too, which takes a socket for all protocols.
fn both_ways() -> LinkOptions {
    let experiment = Program::new()
        .load(Width::Half, 12)
        .require(Compare::Equal, EXPERIMENT.into());
    LinkOptions::new().filter(experiment.accept())
}

#[test]
fn whole_frames_cross_a_link_with_what_is_known_of_them() {
    inside!("whole_frames_cross_a_link_with_what_is_known_of_them");
    let (left, right) = (open("a0"), open("b0"));
    let watcher = both_ways().open("a0").unwrap();
    let before = SystemTime::now() - Duration::from_secs(1);
    for len in [0, 1, 46, 1500] {
        let sent = frame([2, 0, 0, 0, 0, 2], &vec![7; len]);
        assert_eq!(left.send(&sent).unwrap(), sent.len());
        let mut buffer = [0; 2048];
        let got = receive(&right, &mut buffer);
        assert_eq!(
            (got.bytes, got.len, got.truncated()),
            (&sent[..], sent.len(), false)
        );
        assert_eq!(got.meta.source.protocol, EXPERIMENT);
        assert_eq!(got.meta.source.interface, right.interface());
        assert_eq!(got.meta.source.hardware(), [2, 0, 0, 0, 0, 1], "the sender's");
        assert_eq!(got.meta.source.packet_type, PacketType::Host);
        assert_eq!(got.meta.vlan, None);
        assert!(got.meta.timestamp.unwrap() > before);
        // What this host sends comes by on the sender's side, too, for every socket but the sender.
        let mut buffer = [0; 10];
        let own = receive(&watcher, &mut buffer);
        assert_eq!(own.meta.source.packet_type, PacketType::Outgoing);
        assert_eq!(
            (own.bytes.len(), own.len, own.truncated()),
            (10, sent.len(), true)
        );
    }
    assert_eq!(
        right.recv(&mut [0; 64]).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
}

#[test]
fn frames_that_no_link_carries_are_refused() {
    inside!("frames_that_no_link_carries_are_refused");
    let left = open("a0");
    for len in [0, 1, 13] {
        assert_eq!(
            left.send(&vec![0; len]).unwrap_err().kind(),
            ErrorKind::InvalidInput,
            "{len}"
        );
    }
    // EMSGSIZE has no kind of its own.
    assert_eq!(left.send(&vec![0; 65_536]).unwrap_err().raw_os_error(), Some(90));
    ip("link set a0 mtu 65535");
    ip("link set b0 mtu 65535");
    let right = open("b0");
    let sent = frame([2, 0, 0, 0, 0, 2], &vec![9; 65_535]);
    left.send(&sent).unwrap();
    let mut buffer = vec![0; 70_000];
    assert_eq!(receive(&right, &mut buffer).bytes, sent);
    // A snap length of 0: the frame is there, and nothing of it.
    left.send(&sent).unwrap();
    let got = receive(&right, &mut []);
    assert_eq!((got.bytes.len(), got.len), (0, sent.len()));
}

#[test]
fn cooked_frames_have_their_addresses_beside_them() {
    inside!("cooked_frames_have_their_addresses_beside_them");
    let cooked = LinkOptions::new().mode(FrameMode::Cooked);
    let (left, right) = (cooked.open("a0").unwrap(), cooked.open_any().unwrap());
    let to = LinkAddress::new(left.interface(), EXPERIMENT).with_hardware(&[0xff; 6]);
    left.send_to(b"payload", &to).unwrap();
    let mut types = Vec::new();
    while types.len() < 2 {
        let mut buffer = [0; 2048];
        let got = receive(&right, &mut buffer);
        // The kernel's own neighbour discovery is not what this is about.
        if got.meta.source.protocol != EXPERIMENT {
            continue;
        }
        assert_eq!(got.bytes, b"payload");
        assert_eq!(got.meta.source.hardware(), [2, 0, 0, 0, 0, 1]);
        types.push(got.meta.source.packet_type);
    }
    assert_eq!(
        types,
        [PacketType::Outgoing, PacketType::Broadcast],
        "once on each end"
    );
}

#[test]
fn a_vlan_tag_is_reported_and_can_be_put_back() {
    inside!("a_vlan_tag_is_reported_and_can_be_put_back");
    let right = LinkOptions::new().open("b0").unwrap();
    let mut sent = frame([2, 0, 0, 0, 0, 2], b"inside");
    sent.splice(12..12, [0x81, 0, 0x60, 0x05]);
    open("a0").send(&sent).unwrap();
    loop {
        let mut buffer = [0; 2048];
        let got = receive(&right, &mut buffer);
        // The kernel's own neighbour discovery is not what this is about.
        let Some(tag) = got.meta.vlan else { continue };
        assert_eq!((tag.id(), tag.priority(), tag.protocol), (5, 3, ethertype::VLAN));
        assert_eq!(got.len, sent.len() - 4);
        let mut whole = Vec::new();
        got.write_tagged(&mut whole);
        assert_eq!(whole, sent);
        break;
    }
}

#[test]
fn batches_carry_many_frames_a_call() {
    inside!("batches_carry_many_frames_a_call");
    let (left, right) = (open("a0"), open("b0"));
    let frames: Vec<_> = (0..100u8)
        .map(|number| frame([2, 0, 0, 0, 0, 2], &[number; 20]))
        .collect();
    let mut sending = FrameSendBatch::new(64);
    let mut next = 0;
    while next < frames.len() {
        let rest = frames[next..].iter().map(|frame| (&frame[..], None));
        next += left.send_batch(&mut sending, rest).unwrap();
    }
    let mut batch = FrameRecvBatch::new(32, 24);
    let mut numbers = Vec::new();
    while numbers.len() < frames.len() {
        assert!(right.wait_readable(LIMIT).unwrap());
        let count = right.recv_batch(&mut batch).unwrap();
        assert_eq!(batch.iter().count(), count);
        numbers.extend(batch.iter().map(|got| {
            assert_eq!(
                (got.bytes.len(), got.len, got.meta.source.interface),
                (24, 34, right.interface())
            );
            assert!(got.meta.timestamp.is_some());
            got.bytes[14]
        }));
    }
    assert_eq!(numbers, (0..100).collect::<Vec<_>>());
    assert_eq!(
        right.recv_batch(&mut batch).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    assert!(batch.is_empty());
}

#[test]
fn drops_are_counted() {
    inside!("drops_are_counted");
    let left = open("a0");
    let right = LinkOptions::new()
        .protocol(EXPERIMENT)
        .recv_buffer(4096)
        .open("b0")
        .unwrap();
    for _ in 0..500 {
        left.send(&frame([2, 0, 0, 0, 0, 2], &[1; 1000])).unwrap();
    }
    let mut received = 0;
    while right.wait_readable(Duration::ZERO).unwrap() {
        right.recv(&mut [0; 2048]).unwrap();
        received += 1;
    }
    let counted = right.take_statistics().unwrap();
    assert_eq!(counted.frames, 500);
    assert_eq!(counted.drops, 500 - received);
    assert!(counted.drops > 0);
    assert_eq!(right.take_statistics().unwrap().frames, 0, "read once");
}

#[test]
fn a_filter_takes_and_cuts_from_the_first_frame_on() {
    inside!("a_filter_takes_and_cuts_from_the_first_frame_on");
    let filter = Program::new()
        .load(Width::Byte, 14)
        .require(Compare::Equal, 2)
        .accept_up_to(16);
    let (left, right) = (open("a0"), LinkOptions::new().filter(filter).open("b0").unwrap());
    for number in 1..4 {
        left.send(&frame([2, 0, 0, 0, 0, 2], &[number; 50])).unwrap();
    }
    let mut buffer = [0; 2048];
    let got = receive(&right, &mut buffer);
    assert_eq!((got.bytes.len(), got.bytes[14]), (16, 2));
    let drop_all = Program::new().accept_up_to(0);
    right.set_filter(&drop_all).unwrap();
    left.send(&frame([2, 0, 0, 0, 0, 2], &[2; 50])).unwrap();
    assert_eq!(
        right.recv(&mut [0; 64]).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
}

#[test]
fn modes_of_an_interface_end_with_their_guard_or_the_socket() {
    inside!("modes_of_an_interface_end_with_their_guard_or_the_socket");
    let counts = || {
        let text = ip("-d -o link show dev b0");
        let after = |word: &str| -> u32 {
            let rest = text
                .split_once(word)
                .unwrap_or_else(|| panic!("{word}: {text}"))
                .1;
            rest.split_whitespace().next().unwrap().parse().unwrap()
        };
        (after("promiscuity "), after("allmulti "))
    };
    let (left, right) = (open("a0"), open("b0"));
    assert_eq!(counts(), (0, 0));
    {
        let _promiscuous = right.promiscuous().unwrap();
        let _multicast = right.all_multicast().unwrap();
        assert_eq!(counts(), (1, 1));
        left.send(&frame([2, 0, 0, 0, 0, 9], b"for another")).unwrap();
        let mut buffer = [0; 2048];
        assert_eq!(
            receive(&right, &mut buffer).meta.source.packet_type,
            PacketType::OtherHost
        );
    }
    assert_eq!(counts(), (0, 0));
    let whole_life = LinkOptions::new()
        .promiscuous(true)
        .all_multicast(true)
        .open("b0")
        .unwrap();
    assert_eq!(counts(), (1, 1));
    drop(whole_life);
    assert_eq!(counts(), (0, 0));
    assert!(LinkOptions::new().promiscuous(true).open_any().is_err());
}

#[test]
fn outgoing_frames_can_be_left_out() {
    inside!("outgoing_frames_can_be_left_out");
    let quiet = both_ways().ignore_outgoing(true);
    let (sender, right) = (open("a0"), open("b0"));
    let (deaf, watcher) = (quiet.open("a0").unwrap(), both_ways().open("a0").unwrap());
    sender.send(&frame([2, 0, 0, 0, 0, 2], b"one")).unwrap();
    for socket in [&right, &watcher] {
        let mut buffer = [0; 64];
        assert_eq!(&receive(socket, &mut buffer).bytes[14..], b"one");
    }
    assert_eq!(deaf.recv(&mut [0; 64]).unwrap_err().kind(), ErrorKind::WouldBlock);
    // Past the queueing discipline frames also pass those who watch what leaves.
    let bypass = both_ways().qdisc_bypass(true).open("a0").unwrap();
    bypass.send(&frame([2, 0, 0, 0, 0, 2], b"two")).unwrap();
    let mut buffer = [0; 64];
    assert_eq!(&receive(&right, &mut buffer).bytes[14..], b"two");
    assert_eq!(
        watcher.recv(&mut [0; 64]).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
}

#[test]
fn a_group_shares_frames() {
    inside!("a_group_shares_frames");
    let by_first_byte = Program::new().load(Width::Byte, 14).accept_by_accumulator();
    // A hash of nothing it knows: all to one. By filter and in turn: half each.
    for (group, kind, halves) in [
        (1, FanoutKind::Filter(by_first_byte), true),
        (2, FanoutKind::RoundRobin, true),
        (3, FanoutKind::Hash, false),
        (4, FanoutKind::Cpu, false),
    ] {
        let fanout = Fanout::new(group, kind.clone());
        let options = LinkOptions::new().protocol(EXPERIMENT).fanout(fanout);
        let members = [options.open("b0").unwrap(), options.open("b0").unwrap()];
        let left = open("a0");
        for number in 0..20 {
            left.send(&frame([2, 0, 0, 0, 0, 2], &[number; 20])).unwrap();
        }
        let counts = members.each_ref().map(|member| {
            let mut bytes = Vec::new();
            while member.wait_readable(Duration::ZERO).unwrap() {
                let mut buffer = [0; 64];
                bytes.push(receive(member, &mut buffer).bytes[14]);
            }
            bytes
        });
        assert_eq!(counts[0].len() + counts[1].len(), 20, "{kind:?}");
        if halves {
            assert_eq!(counts[0].len(), 10, "{kind:?}");
        }
        if matches!(kind, FanoutKind::Filter(_)) {
            assert!(counts[0].iter().all(|number| number % 2 == 0), "{counts:?}");
        }
    }
}

#[test]
fn an_interface_goes_down_comes_up_and_vanishes() {
    inside!("an_interface_goes_down_comes_up_and_vanishes");
    let (left, right) = (open("a0"), open("b0"));
    ip("link set b0 down");
    assert!(right.wait_readable(LIMIT).unwrap());
    assert_eq!(
        right.recv(&mut [0; 64]).unwrap_err().kind(),
        ErrorKind::NetworkDown
    );
    assert_eq!(
        right.recv(&mut [0; 64]).unwrap_err().kind(),
        ErrorKind::WouldBlock,
        "once"
    );
    assert!(!right.is_gone());
    let down = open("b0");
    assert_eq!(
        down.recv(&mut [0; 64]).unwrap_err().kind(),
        ErrorKind::NetworkDown,
        "opened while it is down"
    );
    ip("link set b0 up");
    ground::until_carrier("a0");
    left.send(&frame([2, 0, 0, 0, 0, 2], b"again")).unwrap();
    for socket in [&right, &down] {
        let mut buffer = [0; 64];
        assert_eq!(&receive(socket, &mut buffer).bytes[14..], b"again");
    }
    ip("link delete b0");
    assert!(right.wait_readable(LIMIT).unwrap());
    assert_eq!(
        right.recv(&mut [0; 64]).unwrap_err().kind(),
        ErrorKind::NetworkDown
    );
    assert!(right.is_gone());
    assert!(left.is_gone(), "a pair goes together");
    let error = LinkSocket::open("b0").unwrap_err();
    assert_eq!(error.cause(), LinkCause::NoSuchInterface);
    assert!(error.to_string().contains("link b0"), "{error}");
}

/// What mio reports is readable.
#[cfg(feature = "mio")]
#[test]
fn a_poller_says_when_frames_are_there() {
    inside!("a_poller_says_when_frames_are_there");
    let mut poll = mio::Poll::new().unwrap();
    let (left, mut right) = (open("a0"), open("b0"));
    poll.registry()
        .register(&mut right, mio::Token(7), mio::Interest::READABLE)
        .unwrap();
    let mut events = mio::Events::with_capacity(8);
    left.send(&frame([2, 0, 0, 0, 0, 2], b"one")).unwrap();
    poll.poll(&mut events, Some(Duration::from_secs(10))).unwrap();
    let event = events.iter().next().expect("an event before the deadline");
    assert!(event.is_readable() && event.token() == mio::Token(7));
}
