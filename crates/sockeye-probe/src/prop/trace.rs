//! The tracer: each answer finds its own probe, and the route found is the route that is there.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use proptest::prelude::*;

use super::model::{Carrier, Router, Weather, World};
use crate::trace::{
    Answer, AnswerKind, Flow, ProbeState, TraceEnd, TraceEvent, TraceMethod, TraceOptions, Tracer,
};

const SECRET: u64 = 0x5eed;

pub(super) fn target(v6: bool) -> SocketAddr {
    if v6 {
        "[2001:db8::99]:33434"
    } else {
        "192.0.2.99:33434"
    }
    .parse()
    .unwrap()
}

pub(super) fn options(carrier: Carrier, v6: bool, flow: Flow) -> TraceOptions {
    let method = match carrier {
        Carrier::RawIcmp | Carrier::PingSocket => TraceMethod::Icmp,
        Carrier::Udp => TraceMethod::Udp,
        Carrier::Tcp => TraceMethod::Tcp {
            source: if v6 {
                "[2001:db8::200]:40000"
            } else {
                "192.0.2.200:40000"
            }
            .parse()
            .unwrap(),
        },
    };
    let identifier = (carrier == Carrier::RawIcmp).then_some(77);
    TraceOptions {
        flow,
        identifier,
        max_hops: 12,
        timeout: Duration::from_millis(400),
        ..TraceOptions::new(method, SECRET)
    }
}

#[derive(Debug, Default)]
struct Told {
    answers: Vec<Answer>,
    settled: HashSet<(u8, u8)>,
    hops: Vec<u8>,
    end: Option<TraceEnd>,
}

impl Told {
    fn take(&mut self, event: TraceEvent) {
        assert!(self.end.is_none(), "{event:?} after the end");
        match event {
            TraceEvent::Answer(answer) => {
                assert!(
                    self.settled.insert((answer.hop, answer.attempt)),
                    "{answer:?} has its outcome already"
                );
                self.answers.push(answer);
            }
            TraceEvent::Lost { hop, attempt } => {
                assert!(
                    self.settled.insert((hop, attempt)),
                    "{hop}/{attempt} has its outcome already"
                );
            }
            TraceEvent::Late(answer) => assert!(self.settled.contains(&(answer.hop, answer.attempt))),
            TraceEvent::Hop(hop) => self.hops.push(hop),
            TraceEvent::Done(end) => self.end = Some(end),
        }
    }

    fn from(&self, hop: u8) -> Vec<Option<IpAddr>> {
        self.answers
            .iter()
            .filter(|answer| answer.hop == hop)
            .map(|answer| answer.from)
            .collect()
    }
}

/// Drives a trace to its end. With `exact` each answer must be to the probe that it honestly answers.
fn run(tracer: &mut Tracer, world: &mut World, jumps: &[i64], exact: bool) -> Told {
    let mut told = Told::default();
    let mut numbers = HashMap::new();
    let mut message = Vec::new();
    let mut jumps = jumps.iter().cycle();
    for step in 0..100_000u32 {
        while let Some(probe) = tracer.poll_transmit(world.clock(), &mut message) {
            numbers.insert(world.sent, probe.probe);
            world.send(probe.destination, probe.hop_limit, &message);
        }
        while let Some(delivery) = world.receive() {
            let event = tracer.handle_input(world.clock(), delivery.input());
            let honest = delivery.answers.and_then(|number| numbers.get(&number));
            if let Some(TraceEvent::Answer(answer) | TraceEvent::Late(answer)) = &event
                && exact
            {
                let number = u16::from(answer.hop - 1) * 3 + u16::from(answer.attempt);
                assert_eq!(honest, Some(&number), "{answer:?}");
            }
            event.into_iter().for_each(|event| told.take(event));
        }
        while let Some(event) = tracer.poll_event(world.clock()) {
            told.take(event);
        }
        if told.end.is_some() {
            assert!(tracer.is_done() && tracer.poll_timeout().is_none());
            return told;
        }
        if step % 5 == 2
            && let Some(&jump_ms) = jumps.next()
        {
            world.skew_ns = world
                .skew_ns
                .saturating_add_signed(jump_ms * 1_000_000)
                .max(1 << 39);
        }
        assert!(
            world.sleep(tracer.poll_timeout()),
            "nothing more will happen, and it is not done"
        );
    }
    panic!("it does not end");
}

pub(super) fn carrier() -> impl Strategy<Value = Carrier> {
    prop_oneof![
        Just(Carrier::RawIcmp),
        Just(Carrier::PingSocket),
        Just(Carrier::Udp),
        Just(Carrier::Tcp)
    ]
}

pub(super) fn flow() -> impl Strategy<Value = Flow> {
    prop_oneof![Just(Flow::Classic), Just(Flow::Paris)]
}

pub(super) fn router() -> impl Strategy<Value = Router> {
    (
        1u64..20_000,
        prop::bool::weighted(0.2),
        prop_oneof![3 => Just(u32::MAX), 1 => 0u32..4],
        18usize..200,
        any::<bool>(),
    )
        .prop_map(|(delay_us, silent, errors, quote, label)| Router {
            delay_us,
            silent,
            errors,
            quote,
            label,
            ..Router::GOOD
        })
}

proptest! {
    #[test]
    fn every_answer_finds_its_probe_whatever_the_weather(
        carrier in carrier(),
        flow in flow(),
        v6 in any::<bool>(),
        routers in proptest::collection::vec(router(), 0..14),
        mut weather in Weather::any(),
        alive in any::<bool>(),
        in_flight in 1u16..40,
        jumps in proptest::collection::vec(-20_000i64..20_000, 0..4),
    ) {
        if carrier == Carrier::Udp {
            // An error that quotes nothing of the payload cannot be told from a forgery of one.
            weather.forgery = 0;
        }
        let mut world = World::new(carrier, routers.clone(), weather);
        world.alive = alive;
        let mut tracer = Tracer::new(target(v6), TraceOptions { in_flight, ..options(carrier, v6, flow) }).unwrap();
        let told = run(&mut tracer, &mut world, &jumps, true);
        let last = match told.end {
            Some(TraceEnd::Reached { hop }) => {
                prop_assert!(alive && usize::from(hop) > routers.len());
                hop
            }
            end => {
                prop_assert_eq!(end, Some(TraceEnd::MaxHops));
                12
            }
        };
        let hops: Vec<u8> = (1..=last).collect();
        prop_assert_eq!(&told.hops, &hops);
        for answer in &told.answers {
            let expected = match answer.kind {
                AnswerKind::Reached => target(v6).ip(),
                _ => World::router(v6, usize::from(answer.hop)).ip(),
            };
            prop_assert_eq!(answer.from, Some(expected));
        }
    }

    #[test]
    fn fair_weather_finds_the_whole_route(
        carrier in carrier(),
        flow in flow(),
        v6 in any::<bool>(),
        delays in proptest::collection::vec(1u64..10_000, 0..10),
        quote in 18usize..200,
        label in any::<bool>(),
        echoes in any::<bool>(),
    ) {
        let routers: Vec<Router> =
            delays.iter().map(|&delay_us| Router { delay_us, quote, label, ..Router::GOOD }).collect();
        let mut world = World::new(carrier, routers.clone(), Weather::default());
        world.echoes = echoes;
        let mut tracer = Tracer::new(target(v6), options(carrier, v6, flow)).unwrap();
        let told = run(&mut tracer, &mut world, &[], true);
        let target_hop = u8::try_from(routers.len() + 1).unwrap();
        prop_assert_eq!(told.end, Some(TraceEnd::Reached { hop: target_hop }));
        for hop in 1..target_hop {
            prop_assert_eq!(told.from(hop), vec![Some(World::router(v6, usize::from(hop)).ip()); 3]);
            let labels = told.answers.iter().filter(|answer| answer.hop == hop).all(|answer| {
                answer.extensions.labels.first().is_some_and(|found| found.label == 299_776)
            });
            // The model's error queue hands on the quote alone.
            let whole = matches!(carrier, Carrier::RawIcmp | Carrier::Tcp);
            prop_assert_eq!(labels, label && whole);
        }
        prop_assert_eq!(told.from(target_hop), vec![Some(target(v6).ip()); 3]);
        prop_assert!(tracer.probes(1).all(|state| matches!(state, ProbeState::Answered(_))));
    }

    #[test]
    fn eight_quoted_bytes_are_enough_one_probe_at_a_time(
        carrier in carrier(),
        flow in flow(),
        v6 in any::<bool>(),
        terse in proptest::collection::vec(any::<bool>(), 1..8),
    ) {
        let routers: Vec<Router> = terse
            .iter()
            .map(|&terse| Router { quote: if terse { 8 } else { 100 }, ..Router::GOOD })
            .collect();
        let mut world = World::new(carrier, routers.clone(), Weather::default());
        let mut tracer = Tracer::new(target(v6), options(carrier, v6, flow)).unwrap();
        let told = run(&mut tracer, &mut world, &[], false);
        let ambiguous = carrier == Carrier::Udp && flow == Flow::Paris && terse.contains(&true);
        prop_assert_eq!(tracer.is_serial(), ambiguous);
        for hop in 1..=routers.len() {
            let found = told.from(u8::try_from(hop).unwrap());
            prop_assert_eq!(found, vec![Some(World::router(v6, hop).ip()); 3]);
        }
    }

    #[test]
    fn paris_keeps_what_routers_hash_and_classic_does_not(number in 0u16..30, v6 in any::<bool>()) {
        // The first four bytes of the transport: ports, or type, code and checksum.
        let heads = |carrier, flow| {
            let mut tracer = Tracer::new(target(v6), TraceOptions { in_flight: 40, ..options(carrier, v6, flow) }).unwrap();
            let mut message = Vec::new();
            (0..=number)
                .map(|_| {
                    let probe = tracer.poll_transmit(Duration::ZERO, &mut message).unwrap();
                    let mut head = message[..4].to_vec();
                    if carrier == Carrier::Udp {
                        head = probe.destination.port().to_be_bytes().to_vec();
                    } else if carrier == Carrier::RawIcmp && v6 {
                        // The kernel's sum over ICMPv6 differs by a constant from the sum over the message.
                        head = sockeye_packet::checksum(&message).to_be_bytes().to_vec();
                    }
                    head
                })
                .collect::<HashSet<_>>()
                .len()
        };
        for carrier in [Carrier::RawIcmp, Carrier::Udp, Carrier::Tcp] {
            prop_assert_eq!(heads(carrier, Flow::Paris), 1);
            prop_assert_eq!(heads(carrier, Flow::Classic), usize::from(number) + 1);
        }
    }

    #[test]
    fn arbitrary_bytes_are_strangers(
        carrier in carrier(),
        v6 in any::<bool>(),
        kind in 0u8..4,
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut tracer = Tracer::new(target(v6), options(carrier, v6, Flow::Classic)).unwrap();
        let mut message = Vec::new();
        tracer.poll_transmit(Duration::ZERO, &mut message).unwrap();
        let from = SocketAddr::new(target(v6).ip(), 9);
        let message = match kind {
            0 => crate::Message::Icmp { from, message: &bytes },
            1 => crate::Message::Udp { from, payload: &bytes },
            2 => crate::Message::Tcp { from, segment: &bytes },
            _ => crate::Message::Error { offender: None, destination: from, cause: crate::Cause::NotSent, quoted: &bytes },
        };
        prop_assert_eq!(tracer.handle_input(Duration::ZERO, crate::Input::new(message)), None);
    }
}
