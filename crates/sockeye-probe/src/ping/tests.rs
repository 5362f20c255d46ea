//! What a user of the pinger notices, case by case.

use std::net::SocketAddr;
use std::time::Duration;

use super::{AddError, Pace, PingEvent, PingOptions, PingOutcome, Pinger, TargetId};
use crate::{Cause, Input, Message};

const SECOND: Duration = Duration::from_secs(1);

fn host(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], 0))
}

fn pinger(change: impl FnOnce(&mut PingOptions)) -> (Pinger, TargetId) {
    let mut options = PingOptions {
        identifier: Some(7),
        ..PingOptions::new(99)
    };
    change(&mut options);
    let mut pinger = Pinger::new(options);
    let target = pinger.add(host(1)).unwrap();
    (pinger, target)
}

/// The request that is due, turned into its reply.
fn reply(pinger: &mut Pinger, now: Duration) -> Vec<u8> {
    let mut message = Vec::new();
    pinger.poll_transmit(now, &mut message).expect("a request is due");
    message[0] = 0;
    message
}

fn receive(pinger: &mut Pinger, now: Duration, from: SocketAddr, message: &[u8]) -> Option<PingOutcome> {
    let input = Input {
        hop_limit: Some(61),
        ..Input::new(Message::Icmp { from, message })
    };
    pinger.handle_input(now, input).map(|event| event.outcome)
}

#[test]
fn a_reply_is_told_once_and_then_is_a_duplicate() {
    let (mut pinger, target) = pinger(|_| {});
    let message = reply(&mut pinger, SECOND);
    let rtt = Duration::from_millis(5);
    let outcome = receive(&mut pinger, SECOND + rtt, host(1), &message);
    assert_eq!(
        outcome,
        Some(PingOutcome::Reply {
            rtt,
            len: 64,
            hop_limit: Some(61)
        })
    );
    let outcome = receive(&mut pinger, SECOND + 2 * rtt, host(1), &message);
    assert_eq!(outcome, Some(PingOutcome::Duplicate { rtt: 2 * rtt }));
    let counts = pinger.counts(target);
    assert_eq!((counts.sent, counts.received, counts.duplicates), (1, 1, 1));
    assert_eq!(pinger.rtt(target).unwrap().count(), 1);
}

#[test]
fn a_late_reply_does_not_undo_the_loss() {
    let (mut pinger, target) = pinger(|options| options.count = Some(1));
    let message = reply(&mut pinger, Duration::ZERO);
    let lost = PingEvent {
        target,
        sequence: 1,
        outcome: PingOutcome::Lost,
    };
    assert_eq!(pinger.poll_event(SECOND), Some(lost));
    let outcome = receive(&mut pinger, 2 * SECOND, host(1), &message);
    assert_eq!(
        outcome,
        Some(PingOutcome::Late {
            rtt: Some(2 * SECOND)
        })
    );
    let outcome = receive(&mut pinger, 2 * SECOND, host(1), &message);
    assert_eq!(outcome, Some(PingOutcome::Duplicate { rtt: 2 * SECOND }));
    let counts = pinger.counts(target);
    assert_eq!(
        (counts.received, counts.lost, counts.late, counts.duplicates),
        (0, 1, 1, 1)
    );
    assert_eq!(counts.loss(), Some(1.0));
}

#[test]
fn a_changed_payload_is_corrupt_and_the_request_goes_on_waiting() {
    let (mut pinger, target) = pinger(|_| {});
    let message = reply(&mut pinger, Duration::ZERO);
    let mut changed = message.clone();
    changed[8 + 20] ^= 1;
    assert_eq!(
        receive(&mut pinger, SECOND / 2, host(1), &changed),
        Some(PingOutcome::Corrupt { at: 20 })
    );
    let cut = &message[..message.len() - 3];
    assert_eq!(
        receive(&mut pinger, SECOND / 2, host(1), cut),
        Some(PingOutcome::Corrupt { at: 53 })
    );
    assert!(matches!(
        receive(&mut pinger, SECOND / 2, host(1), &message),
        Some(PingOutcome::Reply { .. })
    ));
    let counts = pinger.counts(target);
    assert_eq!((counts.received, counts.corrupt, counts.pending), (1, 2, 0));
}

#[test]
fn replies_of_others_on_the_same_host_are_strangers() {
    let (mut pinger, target) = pinger(|_| {});
    let message = reply(&mut pinger, Duration::ZERO);
    let mut other_identifier = message.clone();
    other_identifier[5] ^= 1;
    let mut same_identifier_other_tag = message.clone();
    same_identifier_other_tag[8] ^= 1;
    let mut never_sent = message.clone();
    never_sent[7] = 200;
    for bytes in [&other_identifier, &same_identifier_other_tag, &never_sent] {
        assert_eq!(receive(&mut pinger, SECOND / 2, host(1), bytes), None);
    }
    assert_eq!(
        receive(&mut pinger, SECOND / 2, host(2), &message),
        None,
        "from another host"
    );
    let mut request = message.clone();
    request[0] = 8;
    assert_eq!(
        receive(&mut pinger, SECOND / 2, host(1), &request),
        None,
        "our own request, seen on loopback"
    );
    assert_eq!(pinger.strangers(), 5);
    assert_eq!(pinger.counts(target).pending, 1);
}

#[test]
fn a_ping_socket_writes_its_own_identifier() {
    let (mut pinger, _) = pinger(|options| options.identifier = None);
    let mut message = reply(&mut pinger, Duration::ZERO);
    message[4..6].copy_from_slice(&[0xab, 0xcd]);
    assert!(matches!(
        receive(&mut pinger, SECOND / 2, host(1), &message),
        Some(PingOutcome::Reply { .. })
    ));
}

#[test]
fn a_request_that_could_not_be_sent_has_failed() {
    let (mut pinger, target) = pinger(|options| options.count = Some(1));
    reply(&mut pinger, Duration::ZERO);
    let event = pinger
        .handle_send_error(Duration::ZERO, target, 1, Cause::NetworkUnreachable)
        .unwrap();
    let outcome = PingOutcome::Failed {
        offender: None,
        cause: Cause::NetworkUnreachable,
    };
    assert_eq!(event.outcome, outcome);
    assert_eq!(
        pinger.handle_send_error(Duration::ZERO, target, 1, Cause::NotSent),
        None,
        "once"
    );
    assert_eq!(
        pinger.poll_event(Duration::ZERO).unwrap().outcome,
        PingOutcome::Finished
    );
    assert!(pinger.is_finished());
}

#[test]
fn a_target_is_one_host_and_is_added_once() {
    let (mut pinger, _) = pinger(|_| {});
    assert_eq!(pinger.add(host(1)), Err(AddError::Duplicate(host(1).ip())));
    for group in [
        "224.0.0.1:0",
        "255.255.255.255:0",
        "0.0.0.0:0",
        "[ff02::1]:0",
        "[::]:0",
    ] {
        let address: SocketAddr = group.parse().unwrap();
        assert_eq!(pinger.add(address), Err(AddError::NotUnicast(address.ip())));
    }
    pinger.add("[fe80::1%2]:0".parse().unwrap()).unwrap();
    pinger.add("[fe80::1%3]:0".parse().unwrap()).unwrap();
}

#[test]
fn requests_missed_while_asleep_are_not_made_up_for() {
    let (mut pinger, target) = pinger(|_| {});
    let mut message = Vec::new();
    for sequence in 1..=3 {
        let now = SECOND * (sequence - 1);
        assert_eq!(
            pinger.poll_transmit(now, &mut message).unwrap().sequence,
            sequence
        );
        assert_eq!(pinger.poll_transmit(now, &mut message), None);
    }
    let woken = SECOND * 3600;
    while pinger.poll_event(woken).is_some() {}
    assert_eq!(pinger.poll_transmit(woken, &mut message).unwrap().sequence, 4);
    assert_eq!(pinger.poll_transmit(woken, &mut message), None);
    assert_eq!(pinger.poll_timeout(), Some(woken + SECOND));
    assert_eq!(pinger.counts(target).lost, 3);
}

#[test]
fn adaptive_sends_on_as_soon_as_it_is_answered() {
    let at_least = Duration::from_millis(10);
    let (mut pinger, _) = pinger(|options| options.pace = Pace::Adaptive { at_least });
    let first = reply(&mut pinger, Duration::ZERO);
    assert_eq!(
        pinger.poll_transmit(SECOND / 2, &mut Vec::new()),
        None,
        "one in flight"
    );
    receive(&mut pinger, SECOND / 2, host(1), &first);
    let second = reply(&mut pinger, SECOND / 2);
    receive(&mut pinger, SECOND / 2, host(1), &second);
    assert_eq!(
        pinger.poll_transmit(SECOND / 2, &mut Vec::new()),
        None,
        "no sooner than the shortest interval"
    );
    assert_eq!(pinger.poll_timeout(), Some(SECOND / 2 + at_least));
    assert!(
        pinger
            .poll_transmit(SECOND / 2 + at_least, &mut Vec::new())
            .is_some()
    );
}

#[test]
fn a_gap_spreads_targets() {
    let gap = Duration::from_millis(3);
    let (mut pinger, _) = pinger(|options| options.gap = gap);
    pinger.add(host(2)).unwrap();
    let mut message = Vec::new();
    assert_eq!(
        pinger
            .poll_transmit(Duration::ZERO, &mut message)
            .unwrap()
            .destination,
        host(1)
    );
    assert_eq!(pinger.poll_transmit(Duration::ZERO, &mut message), None);
    assert_eq!(pinger.poll_timeout(), Some(gap));
    assert_eq!(
        pinger.poll_transmit(gap, &mut message).unwrap().destination,
        host(2)
    );
}

#[test]
fn stopping_ends_when_the_last_request_is_settled() {
    let (mut pinger, target) = pinger(|_| {});
    let message = reply(&mut pinger, Duration::ZERO);
    pinger.stop();
    assert!(!pinger.is_finished());
    assert_eq!(pinger.poll_transmit(2 * SECOND, &mut Vec::new()), None);
    assert_eq!(pinger.counts(target).loss(), None, "in flight is not lost");
    receive(&mut pinger, SECOND / 2, host(1), &message);
    assert_eq!(
        pinger.poll_event(SECOND / 2).unwrap().outcome,
        PingOutcome::Finished
    );
    assert_eq!(pinger.poll_event(SECOND / 2), None);
    assert_eq!(pinger.poll_timeout(), None);
}

#[test]
fn a_payload_shorter_than_the_tag_still_works() {
    for payload_len in 0..8 {
        let (mut pinger, _) = pinger(|options| options.payload_len = payload_len);
        let message = reply(&mut pinger, Duration::ZERO);
        assert_eq!(message.len(), 8 + payload_len);
        assert!(matches!(
            receive(&mut pinger, SECOND / 2, host(1), &message),
            Some(PingOutcome::Reply { .. })
        ));
    }
}

#[test]
fn the_kernels_time_counts_where_it_is_known() {
    let (mut pinger, _) = pinger(|_| {});
    let message = reply(&mut pinger, SECOND);
    let mut input = Input::new(Message::Icmp {
        from: host(1),
        message: &message,
    });
    input.received_at = Some(SECOND + Duration::from_millis(2));
    let event = pinger
        .handle_input(SECOND + Duration::from_millis(9), input)
        .unwrap();
    let PingOutcome::Reply { rtt, .. } = event.outcome else {
        panic!("{event:?}")
    };
    assert_eq!(rtt, Duration::from_millis(2));
}

#[test]
fn an_answer_is_enough_where_no_more_is_asked_for() {
    let (mut pinger, first) = pinger(|options| {
        options.count = Some(3);
        options.until_answered = true;
        options.pace = Pace::Adaptive {
            at_least: SECOND / 10,
        };
    });
    let second = pinger.add(host(2)).unwrap();
    let message = reply(&mut pinger, Duration::ZERO);
    reply(&mut pinger, Duration::ZERO);
    receive(&mut pinger, SECOND / 2, host(1), &message).unwrap();
    let mut now = SECOND / 2;
    let mut finished = Vec::new();
    while !pinger.is_finished() || pinger.poll_timeout().is_some() {
        while let Some(event) = pinger.poll_event(now) {
            if event.outcome == PingOutcome::Finished {
                finished.push((event.target, now));
            }
        }
        while pinger.poll_transmit(now, &mut Vec::new()).is_some() {}
        let Some(next) = pinger.poll_timeout() else { break };
        now = now.max(next);
    }
    assert_eq!(finished, [(first, SECOND / 2), (second, 3 * SECOND)]);
    assert_eq!((pinger.counts(first).sent, pinger.counts(second).sent), (1, 3));
}
