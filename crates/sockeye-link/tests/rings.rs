//! Rings against the kernel, each test in a network namespace of its own with a pair of interfaces.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

mod ground;

use std::io::ErrorKind;
use std::time::{Duration, Instant, SystemTime};

use ground::{EXPERIMENT, LIMIT, frame, inside, ip, receive};
use sockeye_link::{LinkCause, LinkOptions, PacketType, ReceiveRing, RingLayout};
use sockeye_tests::wait;

fn small() -> RingLayout {
    RingLayout::new()
        .block_len(1 << 16)
        .blocks(4)
        .retire_after(Duration::from_millis(1))
}

fn open(layout: RingLayout) -> ReceiveRing {
    LinkOptions::new()
        .protocol(EXPERIMENT)
        .open_receive_ring("b0", layout)
        .unwrap()
}

/// The first payload byte of all frames until `count` have come.
fn collect(ring: &mut ReceiveRing, count: usize) -> Vec<u8> {
    let late = Instant::now() + wait::PATIENCE;
    let mut bytes = Vec::new();
    while bytes.len() < count {
        assert!(Instant::now() < late, "{} of {count} frames", bytes.len());
        while let Some(block) = ring.next_block() {
            let mut frames = block.block().frames();
            bytes.extend(frames.by_ref().map(|frame| frame.bytes[14]));
            assert!(!frames.is_malformed());
        }
        ring.wait_readable(Duration::from_millis(100)).unwrap();
    }
    bytes
}

#[test]
fn frames_come_in_blocks_in_order_many_times_around() {
    inside!("frames_come_in_blocks_in_order_many_times_around");
    let left = LinkOptions::new().protocol(0).open("a0").unwrap();
    let mut ring = open(small());
    // Four blocks hold far fewer: the ring goes around many times.
    for round in 0..20u8 {
        for number in 0..50 {
            left.send(&frame([2, 0, 0, 0, 0, 2], &[number; 1000])).unwrap();
        }
        assert_eq!(collect(&mut ring, 50), (0..50).collect::<Vec<_>>(), "{round}");
    }
    let counted = ring.take_statistics().unwrap();
    assert_eq!((counted.frames, counted.drops), (1000, 0));
}

#[test]
fn a_frame_in_a_ring_has_all_that_is_known_of_it() {
    inside!("a_frame_in_a_ring_has_all_that_is_known_of_it");
    let before = SystemTime::now() - Duration::from_secs(1);
    let mut ring = LinkOptions::new().open_receive_ring("b0", small()).unwrap();
    let mut sent = frame([2, 0, 0, 0, 0, 2], &[5; 100]);
    sent.splice(12..12, [0x88, 0xa8, 0, 0x09]);
    LinkOptions::new().open("a0").unwrap().send(&sent).unwrap();
    let late = Instant::now() + wait::PATIENCE;
    loop {
        assert!(Instant::now() < late, "the frame came");
        ring.wait_readable(Duration::from_millis(100)).unwrap();
        let Some(block) = ring.next_block() else { continue };
        let Some(got) = block.block().frames().find(|frame| frame.meta.vlan.is_some()) else {
            continue;
        };
        assert_eq!(
            got.meta.vlan.map(|tag| (tag.id(), tag.protocol)),
            Some((9, 0x88a8))
        );
        assert_eq!(got.meta.source.packet_type, PacketType::Host);
        assert_eq!(got.meta.source.hardware(), [2, 0, 0, 0, 0, 1]);
        assert!(got.meta.timestamp.unwrap() > before);
        let mut whole = Vec::new();
        got.write_tagged(&mut whole);
        assert_eq!(whole, sent);
        break;
    }
}

#[test]
fn a_block_that_is_kept_stays_and_a_full_ring_drops() {
    inside!("a_block_that_is_kept_stays_and_a_full_ring_drops");
    let left = LinkOptions::new().protocol(0).open("a0").unwrap();
    let mut ring = open(small());
    for number in 0..250 {
        left.send(&frame([2, 0, 0, 0, 0, 2], &[number; 1400])).unwrap();
    }
    assert!(ring.wait_readable(LIMIT).unwrap());
    let first = ring.next_block().unwrap().block().frames().next().unwrap().bytes[14];
    assert_eq!(first, 0);
    // Given back, it is the next one's turn; leaked, it is this one's again.
    let block = ring.next_block().unwrap();
    let second = block.block().sequence();
    std::mem::forget(block);
    assert_eq!(ring.next_block().unwrap().block().sequence(), second);
    let counted = ring.take_statistics().unwrap();
    assert_eq!(counted.frames, 250);
    assert!(counted.drops > 0 && counted.freezes > 0, "{counted:?}");
}

#[test]
fn a_snap_length_of_nothing_still_counts_frames() {
    inside!("a_snap_length_of_nothing_still_counts_frames");
    use sockeye_link::packet_filter::Program;
    // A filter that takes 0 bytes takes no frame: 1 is the least.
    let filter = Program::new().accept_up_to(1);
    let options = LinkOptions::new().protocol(EXPERIMENT).filter(filter);
    let mut ring = options.open_receive_ring("b0", small()).unwrap();
    LinkOptions::new()
        .open("a0")
        .unwrap()
        .send(&frame([2, 0, 0, 0, 0, 2], &[1; 900]))
        .unwrap();
    assert!(ring.wait_readable(LIMIT).unwrap());
    let block = ring.next_block().unwrap();
    let got = block.block().frames().next().unwrap();
    assert_eq!((got.bytes.len(), got.len), (1, 914));
}

#[test]
fn a_send_ring_sends_all_that_waits_with_one_call() {
    inside!("a_send_ring_sends_all_that_waits_with_one_call");
    let right = LinkOptions::new().protocol(EXPERIMENT).open("b0").unwrap();
    let mut ring = LinkOptions::new().open_send_ring("a0", small()).unwrap();
    assert_eq!((ring.capacity(), ring.max_frame_len()), (128, 2016));
    let sent: Vec<_> = (0..100u8)
        .map(|number| frame([2, 0, 0, 0, 0, 2], &[number; 60]))
        .collect();
    for frame in &sent {
        assert!(ring.push(frame));
    }
    assert!(!ring.push(&[0; 2017]), "longer than a slot");
    assert_eq!(ring.pending(), 100);
    ring.flush().unwrap();
    for frame in &sent {
        let mut buffer = [0; 2048];
        assert_eq!(receive(&right, &mut buffer).bytes, frame);
    }
    wait::until("the slots to come back", wait::PATIENCE, || ring.pending() == 0);
    // One that no link carries does not stop the next.
    assert!(ring.push(&[0; 2016]) && ring.push(&sent[0]));
    ring.flush().unwrap();
    let mut buffer = [0; 2048];
    assert_eq!(receive(&right, &mut buffer).bytes, sent[0]);
}

#[test]
fn a_full_send_ring_takes_no_more_until_it_is_flushed() {
    inside!("a_full_send_ring_takes_no_more_until_it_is_flushed");
    let mut ring = LinkOptions::new().open_send_ring("a0", small()).unwrap();
    let frame = frame([2, 0, 0, 0, 0, 2], &[1; 60]);
    let pushed = (0..1000).take_while(|_| ring.push(&frame)).count();
    assert_eq!(pushed, ring.capacity());
    assert!(ring.slot().is_none());
    ring.flush().unwrap();
    wait::until("the slots to come back", wait::PATIENCE, || ring.pending() == 0);
    assert!(ring.push(&frame));
}

#[test]
fn rings_that_cannot_be_are_typed_errors() {
    inside!("rings_that_cannot_be_are_typed_errors");
    let cause = |layout| {
        LinkOptions::new()
            .open_receive_ring("b0", layout)
            .unwrap_err()
            .cause()
    };
    assert_eq!(
        cause(RingLayout::new().block_len(1 << 20).blocks(1 << 20)),
        LinkCause::RingTooLarge
    );
    assert_eq!(cause(RingLayout::new().block_len(1000)), LinkCause::RingMisfit);
    assert_eq!(cause(RingLayout::new().blocks(0)), LinkCause::RingMisfit);
    assert_eq!(cause(RingLayout::new().slot_len(1 << 30)), LinkCause::RingMisfit);
    let error = LinkOptions::new().open_send_ring("none", small()).unwrap_err();
    assert_eq!(error.cause(), LinkCause::NoSuchInterface);
}

#[test]
fn an_interface_goes_down_and_vanishes_under_a_ring() {
    inside!("an_interface_goes_down_and_vanishes_under_a_ring");
    let left = LinkOptions::new().protocol(0).open("a0").unwrap();
    let mut ring = open(small());
    ip("link set b0 down");
    assert!(ring.wait_readable(LIMIT).unwrap());
    assert_eq!(
        ring.take_error().unwrap().map(|error| error.kind()),
        Some(ErrorKind::NetworkDown)
    );
    assert!(!ring.is_gone());
    ip("link set b0 up");
    ground::until_carrier("a0");
    left.send(&frame([2, 0, 0, 0, 0, 2], &[3; 60])).unwrap();
    assert_eq!(collect(&mut ring, 1), [3]);
    ip("link delete b0");
    wait::until("the error", wait::PATIENCE, || {
        ring.take_error()
            .unwrap()
            .is_some_and(|error| error.kind() == ErrorKind::NetworkDown)
    });
    assert!(ring.is_gone());
    assert!(ring.next_block().is_none());
}
