//! The scanner by hand, and against networks that lose, refuse and hold back.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::order::random;
use super::*;
use crate::input::Cause;

const MS: Duration = Duration::from_millis(1);

fn scanner(method: ScanMethod, ports: &str, change: impl FnOnce(&mut ScanOptions)) -> Scanner {
    let mut options = ScanOptions::new(method, 7);
    change(&mut options);
    let mut scanner = Scanner::new(&ports.parse().unwrap(), options);
    scanner.add_host("192.0.2.1:0".parse().unwrap());
    scanner
}

fn burst(scanner: &mut Scanner, now: Duration) -> Vec<ScanTransmit> {
    std::iter::from_fn(|| scanner.poll_transmit(now)).collect()
}

#[test]
fn each_port_is_asked_once_in_an_order_without_pattern() {
    let mut scanner = scanner(ScanMethod::Tcp, "1-90", |_| {});
    scanner.add_host("192.0.2.2:0".parse().unwrap());
    let probes = burst(&mut scanner, Duration::ZERO);
    assert_eq!((probes.len(), scanner.total()), (180, 180));
    let asked: BTreeSet<SocketAddr> = probes.iter().map(|probe| probe.destination).collect();
    assert_eq!(asked.len(), 180);
    let ports: Vec<u16> = probes.iter().map(|probe| probe.destination.port()).collect();
    assert!(!ports.is_sorted());
    let turns = probes
        .windows(2)
        .filter(|pair| pair[0].destination.ip() == pair[1].destination.ip());
    assert_eq!(turns.count(), 0, "hosts take turns");
}

#[test]
fn outcomes_are_states_with_reasons() {
    let router = Some("192.0.2.254".parse().unwrap());
    let unreachable = ScanOutcome::Unreachable {
        offender: router,
        cause: Cause::HostUnreachable,
    };
    let reported = Reason::Unreachable {
        offender: router,
        cause: Cause::HostUnreachable,
    };
    use PortState::{Closed, Filtered, Open};
    for (method, outcome, state, reason) in [
        (ScanMethod::Tcp, ScanOutcome::Answered, Open, Reason::SynAck),
        (ScanMethod::Udp, ScanOutcome::Answered, Open, Reason::Answer),
        (ScanMethod::Tcp, ScanOutcome::Refused, Closed, Reason::Refused),
        (
            ScanMethod::Udp,
            ScanOutcome::Refused,
            Closed,
            Reason::PortUnreachable,
        ),
        (ScanMethod::Tcp, unreachable, Filtered, reported),
        (ScanMethod::Udp, unreachable, Filtered, reported),
    ] {
        let mut scanner = scanner(method, "80", |_| {});
        let probe = scanner.poll_transmit(Duration::ZERO).unwrap().probe;
        let verdict = scanner.handle_outcome(3 * MS, probe, outcome).unwrap();
        assert_eq!((verdict.state, verdict.reason), (state, reason));
        assert_eq!((verdict.rtt, verdict.attempts), (Some(3 * MS), 1));
        assert_eq!(scanner.handle_outcome(4 * MS, probe, outcome), None, "told once");
        assert!(scanner.is_finished());
    }
}

#[test]
fn silence_is_a_state_after_the_last_attempt() {
    for (method, attempts, state) in [
        (ScanMethod::Tcp, 2, PortState::Filtered),
        (ScanMethod::Udp, 3, PortState::OpenOrFiltered),
    ] {
        let mut scanner = scanner(method, "80", |_| {});
        let mut now = Duration::ZERO;
        for attempt in 1..=attempts {
            let probe = scanner.poll_transmit(now).unwrap();
            assert_eq!(probe.attempt, attempt);
            assert_eq!(scanner.poll_event(now, now), None);
            now = scanner.poll_timeout().unwrap();
            let event = scanner.poll_event(now, now).unwrap();
            match event {
                ScanEvent::Expired(id) => assert!(attempt < attempts && id == probe.probe),
                ScanEvent::Verdict(verdict) => {
                    assert_eq!((verdict.state, verdict.reason), (state, Reason::Timeout));
                    assert_eq!((verdict.attempts, verdict.rtt), (attempts, None));
                }
            }
        }
        assert_eq!(now, Duration::from_secs(1) * attempts);
        assert!(scanner.is_finished());
        assert_eq!(scanner.poll_timeout(), None);
    }
}

#[test]
fn no_more_are_in_flight_than_allowed_and_the_rate_holds() {
    let mut scanner = scanner(ScanMethod::Tcp, "1-1000", |options| {
        options.max_in_flight = 10;
        options.gap = 5 * MS;
    });
    let mut now = Duration::ZERO;
    let mut left = Vec::new();
    while left.len() < 10 {
        left.extend(scanner.poll_transmit(now));
        assert_eq!(scanner.poll_transmit(now), None);
        now = scanner.poll_timeout().unwrap();
    }
    assert!(now >= 45 * MS, "{now:?}");
    assert_eq!(scanner.poll_transmit(now), None);
    scanner
        .handle_outcome(now, left[0].probe, ScanOutcome::Refused)
        .unwrap();
    assert!(scanner.poll_transmit(now + 5 * MS).is_some());
}

#[test]
fn a_host_without_room_asks_fewer_at_once_and_gives_up_in_the_end() {
    let mut scanner = scanner(ScanMethod::Tcp, "1-100", |_| {});
    let probes = burst(&mut scanner, Duration::ZERO);
    assert_eq!(probes.len(), 100);
    for probe in &probes[40..] {
        assert_eq!(scanner.handle_outcome(MS, probe.probe, ScanOutcome::NoRoom), None);
    }
    // What is in flight has room, and nothing more has.
    assert_eq!(scanner.poll_transmit(Duration::from_millis(500)), None);
    for probe in &probes[..39] {
        scanner
            .handle_outcome(2 * MS, probe.probe, ScanOutcome::Refused)
            .unwrap();
    }
    assert!(!scanner.is_starved());
    let again = burst(&mut scanner, Duration::from_secs(1));
    assert_eq!(again.len() + 1, 40);
    // The answer that makes as many as there is room for opens it by one.
    scanner
        .handle_outcome(Duration::from_secs(1), probes[39].probe, ScanOutcome::Refused)
        .unwrap();
    let again = [again, burst(&mut scanner, Duration::from_secs(1))].concat();
    assert_eq!(again.len(), 41);
    assert!(again.iter().all(|probe| probe.attempt == 1), "it was not asked");
    let mut now = Duration::from_secs(1);
    for probe in again {
        scanner.handle_outcome(now, probe.probe, ScanOutcome::NoRoom);
    }
    while !scanner.is_starved() {
        now = scanner.poll_timeout().unwrap();
        let probe = scanner.poll_transmit(now).unwrap();
        assert_eq!(scanner.poll_transmit(now), None, "one at a time");
        scanner.handle_outcome(now, probe.probe, ScanOutcome::NoRoom);
    }
    assert!(now < Duration::from_secs(30), "{now:?}");
}

#[test]
fn room_comes_back_one_by_one_up_to_what_is_allowed() {
    let mut scanner = scanner(ScanMethod::Tcp, "1-5000", |options| options.max_in_flight = 50);
    let probes = burst(&mut scanner, Duration::ZERO);
    assert_eq!(probes.len(), 50);
    for probe in &probes {
        scanner.handle_outcome(MS, probe.probe, ScanOutcome::NoRoom);
    }
    let mut now = Duration::from_secs(1);
    let mut sizes = Vec::new();
    while !scanner.is_finished() {
        let probes = burst(&mut scanner, now);
        sizes.push(probes.len());
        for probe in probes {
            scanner
                .handle_outcome(now, probe.probe, ScanOutcome::Refused)
                .unwrap();
        }
        now += MS;
    }
    sizes.pop();
    assert!(sizes.is_sorted(), "{sizes:?}");
    assert_eq!((sizes.first(), sizes.last()), (Some(&1), Some(&50)));
}

#[test]
fn a_held_probe_is_in_flight_without_a_timeout() {
    let mut scanner = scanner(ScanMethod::Tcp, "80", |_| {});
    let probe = scanner.poll_transmit(Duration::ZERO).unwrap().probe;
    assert!(scanner.hold(MS, probe));
    assert!(!scanner.hold(MS, probe));
    assert_eq!(
        scanner.poll_event(Duration::from_secs(9), Duration::from_secs(9)),
        None
    );
    assert_eq!(scanner.poll_timeout(), None);
    assert!(!scanner.is_finished());
    let verdict = scanner.release(probe).unwrap();
    assert_eq!((verdict.state, verdict.rtt), (PortState::Open, Some(MS)));
    assert_eq!(scanner.release(probe), None);
    assert!(scanner.is_finished());
    assert_eq!(scanner.counts().open, 1);
}

#[test]
fn held_probes_keep_their_places_until_all_are_released() {
    for method in [ScanMethod::Tcp, ScanMethod::Udp] {
        let mut scanner = scanner(method, "1-10", |options| options.max_in_flight = 4);
        let probes = burst(&mut scanner, Duration::ZERO);
        assert!(scanner.hold(MS, probes[0].probe) && scanner.hold(MS, probes[2].probe));
        scanner
            .handle_outcome(2 * MS, probes[1].probe, ScanOutcome::Refused)
            .unwrap();
        assert_eq!(scanner.in_flight(), 3);
        let next = scanner.poll_transmit(2 * MS).unwrap().probe;
        assert_eq!(next.slot(), probes[1].probe.slot());
        // An answer to it, or an error, says nothing more.
        for outcome in [ScanOutcome::NoRoom, ScanOutcome::Again, ScanOutcome::Refused] {
            assert_eq!(scanner.handle_outcome(2 * MS, probes[0].probe, outcome), None);
        }
        let held: Vec<ProbeId> = scanner
            .release_all()
            .iter()
            .map(|verdict| verdict.probe)
            .collect();
        assert_eq!(held, [probes[0].probe, probes[2].probe]);
        assert_eq!(scanner.release(probes[0].probe), None);
        assert_eq!(scanner.release_all(), []);
        assert_eq!((scanner.in_flight(), scanner.counts().done()), (2, 3));
        assert_eq!(scanner.find(probes[0].destination), None);
    }
}

#[test]
fn an_attempt_whose_answer_may_have_arrived_does_not_expire() {
    let mut scanner = scanner(ScanMethod::Tcp, "80", |options| options.retries = 0);
    let probe = scanner.poll_transmit(Duration::ZERO).unwrap().probe;
    // The host was busy for long.
    let now = Duration::from_secs(7);
    assert_eq!(scanner.poll_event(now, 10 * MS), None);
    let verdict = scanner.handle_outcome(now, probe, ScanOutcome::Refused).unwrap();
    assert_eq!(verdict.state, PortState::Closed);
}

#[test]
fn what_is_in_flight_ends_after_a_stop() {
    let mut scanner = scanner(ScanMethod::Udp, "1-100", |_| {});
    assert_eq!(burst(&mut scanner, Duration::ZERO).len(), 20);
    scanner.stop();
    assert_eq!(scanner.poll_transmit(MS), None);
    let now = Duration::from_secs(1);
    let events: Vec<_> = std::iter::from_fn(|| scanner.poll_event(now, now)).collect();
    assert_eq!(events.len(), 20);
    assert!(events.iter().all(|event| matches!(event, ScanEvent::Verdict(_))));
    assert!(scanner.is_finished());
}

#[test]
fn a_thousand_times_the_hosts_is_no_more_memory() {
    let mut scanner = scanner(ScanMethod::Tcp, "1-65535", |_| {});
    scanner.add_network("10.0.0.0/8".parse().unwrap());
    assert_eq!(scanner.total(), ((1 << 24) + 1) * 65_535);
    let mut now = Duration::ZERO;
    for _ in 0..20 {
        for probe in burst(&mut scanner, now) {
            scanner.handle_outcome(now, probe.probe, ScanOutcome::Refused);
        }
        now += MS;
    }
    assert!(scanner.hosts.len() <= MAX_HOSTS && scanner.probes.len() <= 1000);
    assert!(
        scanner.counts().sent > 10_000 && scanner.deadlines.len() < 3000,
        "{}",
        scanner.deadlines.len()
    );
}

/// Linux gives a peer six ICMP errors at once and then one a second.
#[test]
fn a_host_that_holds_back_its_errors_is_asked_slower_until_all_is_known() {
    let mut scanner = scanner(ScanMethod::Udp, "1-60", |_| {});
    let (mut now, mut tokens) = (Duration::ZERO, 6.0_f64);
    let mut closed = 0;
    let mut last = now;
    while !scanner.is_finished() {
        while let Some(event) = scanner.poll_event(now, now) {
            assert!(matches!(event, ScanEvent::Expired(_)), "{event:?} at {now:?}");
        }
        while let Some(probe) = scanner.poll_transmit(now) {
            tokens = (tokens + (now - last).as_secs_f64()).min(6.0);
            last = now;
            if tokens >= 1.0 {
                tokens -= 1.0;
                let verdict = scanner
                    .handle_outcome(now, probe.probe, ScanOutcome::Refused)
                    .unwrap();
                assert_eq!(verdict.state, PortState::Closed);
                closed += 1;
            }
        }
        if let Some(next) = scanner.poll_timeout() {
            now = next.max(now);
        }
    }
    assert_eq!(closed, 60);
    assert!(now < Duration::from_secs(300), "{now:?}");
}

/// As above, where some ports are silent: none of those that are closed is taken for one of them, whichever is asked first.
#[test]
fn silent_ports_hide_no_limit_of_errors() {
    for secret in 0..300 {
        let mut scanner = scanner(ScanMethod::Udp, "1-30", |options| options.secret = secret);
        let is_silent = |port: u16| port.is_multiple_of(2) || port < 8;
        let (mut now, mut last, mut tokens) = (Duration::ZERO, Duration::ZERO, 6.0_f64);
        let (mut closed, mut silent) = (0, 0);
        while !scanner.is_finished() {
            while let Some(event) = scanner.poll_event(now, now) {
                if let ScanEvent::Verdict(verdict) = event {
                    assert!(
                        is_silent(verdict.destination.port()),
                        "{secret}: {verdict:?} at {now:?}"
                    );
                    silent += 1;
                }
            }
            while let Some(probe) = scanner.poll_transmit(now) {
                tokens = (tokens + (now - last).as_secs_f64()).min(6.0);
                last = now;
                if tokens >= 1.0 && !is_silent(probe.destination.port()) {
                    tokens -= 1.0;
                    closed += u32::from(
                        scanner
                            .handle_outcome(now, probe.probe, ScanOutcome::Refused)
                            .is_some(),
                    );
                }
            }
            if let Some(next) = scanner.poll_timeout() {
                now = next.max(now);
            }
        }
        assert_eq!((closed, silent), (11, 19), "{secret}");
    }
}

proptest! {
    /// Whatever is lost, refused, late or without room: each port gets one verdict, and never a wrong one.
    #[test]
    fn prop_each_port_has_one_verdict(
        seed: u64,
        udp: bool,
        hosts in 1_u8..6,
        ports in 1_u16..80,
        limit in 1_usize..40,
        loss in 0_u64..60,
        no_room in 0_u64..30,
    ) {
        let method = if udp { ScanMethod::Udp } else { ScanMethod::Tcp };
        let mut options = ScanOptions::new(method, seed);
        options.max_in_flight = limit;
        let set: PortSet = format!("1-{ports}").parse().unwrap();
        let mut scanner = Scanner::new(&set, options);
        for host in 1..=hosts {
            scanner.add_host(SocketAddr::from(([192, 0, 2, host], 0)));
        }
        let mut state = seed;
        let mut verdicts = BTreeMap::new();
        let mut due: BTreeSet<(Duration, u64)> = BTreeSet::new();
        let mut outcomes = BTreeMap::new();
        let mut now = Duration::ZERO;
        let mut steps = 0_u32;
        while !scanner.is_finished() {
            steps += 1;
            prop_assert!(steps < 100_000, "it goes on for ever");
            let arrived: Vec<_> = due.range(..=(now, u64::MAX)).copied().collect();
            for (at, bits) in arrived {
                due.remove(&(at, bits));
                let outcome = outcomes[&bits];
                if let Some(verdict) = scanner.handle_outcome(now, ProbeId::from_bits(bits), outcome) {
                    prop_assert_eq!(verdicts.insert(verdict.destination, verdict.state), None);
                }
            }
            while let Some(event) = scanner.poll_event(now, now) {
                if let ScanEvent::Verdict(verdict) = event {
                    prop_assert_eq!(verdicts.insert(verdict.destination, verdict.state), None);
                }
            }
            while let Some(probe) = scanner.poll_transmit(now) {
                prop_assert!(scanner.in_flight() <= limit);
                prop_assert!(probe.attempt <= ScanOptions::MAX_ATTEMPTS);
                if random(&mut state) % 100 < no_room {
                    scanner.handle_outcome(now, probe.probe, ScanOutcome::NoRoom);
                } else if random(&mut state) % 100 >= loss && probe.destination.port() % 4 != 0 {
                    let outcome = match probe.destination.port() % 4 {
                        1 => ScanOutcome::Answered,
                        2 => ScanOutcome::Refused,
                        _ => ScanOutcome::Unreachable { offender: None, cause: Cause::Prohibited },
                    };
                    let bits = probe.probe.to_bits();
                    outcomes.insert(bits, outcome);
                    due.insert((now + MS * u32::try_from(random(&mut state) % 300).unwrap(), bits));
                }
            }
            let next = due.first().map(|(at, _)| *at);
            now = match (next, scanner.poll_timeout()) {
                (Some(a), Some(b)) => a.min(b),
                (a, b) => a.or(b).unwrap_or(now),
            }.max(now);
        }
        prop_assert_eq!(verdicts.len(), usize::from(hosts) * usize::from(ports));
        let silent = if udp { PortState::OpenOrFiltered } else { PortState::Filtered };
        for (destination, verdict) in verdicts {
            let right = match destination.port() % 4 {
                0 => silent,
                1 => PortState::Open,
                2 => PortState::Closed,
                _ => PortState::Filtered,
            };
            prop_assert!(verdict == right || verdict == silent, "{destination} {verdict:?}");
        }
        prop_assert_eq!(scanner.counts().done(), u64::from(hosts) * u64::from(ports));
    }
}
