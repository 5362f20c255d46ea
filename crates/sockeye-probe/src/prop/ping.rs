//! The pinger: each request has one outcome, and only an honest reply is one.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;

use super::model::{Carrier, Router, Weather, World};
use crate::ping::{Pace, PingEvent, PingOptions, PingOutcome, Pinger, TargetId};

fn targets(v6: bool, count: u32) -> Vec<SocketAddr> {
    (1..=count)
        .map(|n| {
            if v6 {
                format!("[2001:db8::{n:x}]:0")
            } else {
                format!("192.0.2.{n}:0")
            }
            .parse()
            .unwrap()
        })
        .collect()
}

/// What a run has told.
#[derive(Debug, Default)]
struct Told {
    /// Requests with an outcome, so that a second one shows.
    settled: HashSet<(TargetId, u32)>,
    replies: u32,
    finished: u32,
    rtts: Vec<Duration>,
}

impl Told {
    fn take(&mut self, event: PingEvent) {
        match event.outcome {
            PingOutcome::Reply { rtt, .. } => {
                self.replies += 1;
                self.rtts.push(rtt);
                assert!(
                    self.settled.insert((event.target, event.sequence)),
                    "{event:?} has its outcome already"
                );
            }
            PingOutcome::Lost | PingOutcome::Failed { .. } => {
                assert!(
                    self.settled.insert((event.target, event.sequence)),
                    "{event:?} has its outcome already"
                );
            }
            PingOutcome::Duplicate { .. } | PingOutcome::Late { .. } => {
                assert!(
                    self.settled.contains(&(event.target, event.sequence)),
                    "{event:?} comes first"
                );
            }
            PingOutcome::Finished => self.finished += 1,
            PingOutcome::Corrupt { .. } => {}
        }
    }
}

/// Drives a pinger to its end, the clock jumping now and then, and checks every step.
fn run(pinger: &mut Pinger, world: &mut World, jumps: &[i64]) -> Told {
    let mut told = Told::default();
    let mut numbers = HashMap::new();
    let mut message = Vec::new();
    let mut jumps = jumps.iter().cycle();
    for step in 0..1_000_000u32 {
        while let Some(request) = pinger.poll_transmit(world.clock(), &mut message) {
            numbers.insert(world.sent, (request.target, request.sequence));
            world.send(request.destination, request.hop_limit.unwrap_or(64), &message);
        }
        while let Some(delivery) = world.receive() {
            let event = pinger.handle_input(world.clock(), delivery.input());
            let honest = delivery.answers.and_then(|number| numbers.get(&number).copied());
            if let Some(event) = event {
                match event.outcome {
                    PingOutcome::Corrupt { .. } => {
                        assert!(honest.is_none(), "an honest reply is not corrupt")
                    }
                    _ => assert_eq!(honest, Some((event.target, event.sequence)), "{event:?}"),
                }
                told.take(event);
            }
        }
        while let Some(event) = pinger.poll_event(world.clock()) {
            told.take(event);
        }
        for (target, _) in pinger.targets() {
            let counts = pinger.counts(target);
            assert_eq!(
                counts.sent,
                counts.received + counts.lost + counts.failed + counts.pending
            );
        }
        if pinger.is_finished() && world.next_arrival_ns().is_none() {
            return told;
        }
        if step % 7 == 3
            && let Some(&jump_ms) = jumps.next()
        {
            world.skew_ns = world
                .skew_ns
                .saturating_add_signed(jump_ms * 1_000_000)
                .max(1 << 39);
        }
        assert!(
            world.sleep(pinger.poll_timeout()),
            "nothing more will happen, and it is not finished"
        );
    }
    panic!("it does not end");
}

fn options(count: u32, seed: u64) -> PingOptions {
    PingOptions {
        count: Some(count),
        identifier: Some(0x1234),
        pace: Pace::Every(Duration::from_millis(100)),
        timeout: Duration::from_millis(250),
        ..PingOptions::new(seed)
    }
}

proptest! {
    #[test]
    fn each_request_has_one_outcome_whatever_the_weather(
        weather in Weather::any(),
        raw in any::<bool>(),
        v6 in any::<bool>(),
        hosts in 1u32..20,
        count in 1u32..20,
        // Payloads too short for the whole tag cannot be told from forgeries of it.
        payload_len in 8usize..100,
        adaptive in any::<bool>(),
        jumps in proptest::collection::vec(-20_000i64..20_000, 0..4),
    ) {
        let carrier = if raw { Carrier::RawIcmp } else { Carrier::PingSocket };
        let mut world = World::new(carrier, vec![Router { delay_us: 30_000, ..Router::GOOD }], weather);
        let mut options = PingOptions { payload_len, ..options(count, 7) };
        if adaptive {
            options.pace = Pace::Adaptive { at_least: Duration::from_millis(10) };
        }
        let mut pinger = Pinger::new(options);
        for address in targets(v6, hosts) {
            pinger.add(address).unwrap();
        }
        let told = run(&mut pinger, &mut world, &jumps);
        prop_assert_eq!(told.finished, hosts);
        prop_assert_eq!(told.settled.len(), (hosts * count) as usize);
        prop_assert_eq!(world.sent, u64::from(hosts * count));
    }

    #[test]
    fn fair_weather_loses_nothing_and_measures_exactly(
        delay_us in 1u64..100_000,
        v6 in any::<bool>(),
        hosts in 1u32..20,
        count in 1u32..20,
        payload_len in 0usize..100,
    ) {
        let router = Router { delay_us, ..Router::GOOD };
        let mut world = World::new(Carrier::RawIcmp, vec![router], Weather::default());
        let mut pinger = Pinger::new(PingOptions { payload_len, ..options(count, 7) });
        for address in targets(v6, hosts) {
            pinger.add(address).unwrap();
        }
        let told = run(&mut pinger, &mut world, &[]);
        prop_assert_eq!(told.replies, hosts * count);
        let exact = Duration::from_micros(2 * (delay_us + 100));
        prop_assert!(told.rtts.iter().all(|&rtt| rtt == exact));
    }

    #[test]
    fn a_hop_limit_that_runs_out_fails_and_is_not_lost(v6 in any::<bool>(), raw in any::<bool>(), quote in 8usize..200) {
        let carrier = if raw { Carrier::RawIcmp } else { Carrier::PingSocket };
        let routers = vec![Router { quote, ..Router::GOOD }; 3];
        let mut world = World::new(carrier, routers, Weather::default());
        let mut pinger = Pinger::new(PingOptions { hop_limit: Some(2), ..options(3, 7) });
        let target = pinger.add(targets(v6, 1)[0]).unwrap();
        run(&mut pinger, &mut world, &[]);
        prop_assert_eq!(pinger.counts(target).failed, 3);
        prop_assert_eq!(pinger.counts(target).lost, 0);
    }

    #[test]
    fn arbitrary_bytes_are_strangers(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        v6 in any::<bool>(),
        queued in any::<bool>(),
    ) {
        let mut pinger = Pinger::new(options(1, 7));
        let address = targets(v6, 1)[0];
        pinger.add(address).unwrap();
        let mut message = Vec::new();
        pinger.poll_transmit(Duration::ZERO, &mut message).unwrap();
        let message = if queued {
            crate::Message::Error { offender: None, destination: address, cause: crate::Cause::NotSent, quoted: &bytes }
        } else {
            crate::Message::Icmp { from: address, message: &bytes }
        };
        prop_assert_eq!(pinger.handle_input(Duration::ZERO, crate::Input::new(message)), None);
        prop_assert_eq!(pinger.strangers(), 1);
    }
}
