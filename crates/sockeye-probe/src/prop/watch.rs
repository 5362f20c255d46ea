//! The watch: each probe has one fate, what is in flight is no loss, and the route may change.

use std::time::Duration;

use proptest::prelude::*;

use super::model::{Carrier, Router, Weather, World};
use super::trace::{carrier, flow, options, router, target};
use crate::input::{Cause, Input, Message};
use crate::trace::{AnswerKind, Flow, Hop, TraceEnd, Watch, WatchEvent, WatchOptions};

const INTERVAL: Duration = Duration::from_millis(500);

fn watch(carrier: Carrier, v6: bool, flow: Flow, rounds: Option<u32>) -> Watch {
    let mut options = WatchOptions {
        trace: options(carrier, v6, flow),
        interval: INTERVAL,
        rounds,
        max_silent: 4,
    };
    options.trace.timeout = Duration::from_millis(1500);
    Watch::new(target(v6), options).unwrap()
}

/// Sends, receives and waits, until `until` says so; what was told.
fn drive(
    watch: &mut Watch,
    world: &mut World,
    mut until: impl FnMut(&Watch, &World) -> bool,
) -> Vec<WatchEvent> {
    let mut told = Vec::new();
    let mut message = Vec::new();
    for _ in 0..2_000_000 {
        while let Some(probe) = watch.poll_transmit(world.clock(), &mut message) {
            world.send(probe.destination, probe.hop_limit, &message);
        }
        while let Some(delivery) = world.receive() {
            told.extend(watch.handle_input(world.clock(), delivery.input()));
        }
        while let Some(event) = watch.poll_event(world.clock()) {
            told.push(event);
        }
        if until(watch, world) {
            return told;
        }
        if watch.is_done() {
            assert_eq!(watch.poll_timeout(), None);
            return told;
        }
        assert!(world.sleep(watch.poll_timeout()), "nothing more will happen");
    }
    panic!("it does not end");
}

fn to_the_end(watch: &mut Watch, world: &mut World) -> Vec<WatchEvent> {
    let told = drive(watch, world, |_, _| false);
    assert!(matches!(told.last(), Some(WatchEvent::Done(_))));
    told
}

fn for_seconds(watch: &mut Watch, world: &mut World, seconds: u64) -> Vec<WatchEvent> {
    let end_ns = world.now_ns + seconds * 1_000_000_000;
    drive(watch, world, |_, world| world.now_ns >= end_ns)
}

fn hops(watch: &Watch) -> Vec<&Hop> {
    watch.hops().map(|(_, hop)| hop).collect()
}

fn good(count: usize) -> World {
    World::new(Carrier::RawIcmp, vec![Router::GOOD; count], Weather::default())
}

proptest! {
    #[test]
    fn every_probe_has_one_fate_whatever_the_weather(
        carrier in carrier(),
        flow in flow(),
        v6 in any::<bool>(),
        routers in proptest::collection::vec(router(), 0..14),
        weather in Weather::any(),
        alive in any::<bool>(),
        rounds in 1u32..12,
    ) {
        let mut world = World::new(carrier, routers, weather);
        world.alive = alive;
        let mut watch = watch(carrier, v6, flow, Some(rounds));
        to_the_end(&mut watch, &mut world);
        prop_assert_eq!(watch.rounds(), rounds);
        for (number, hop) in watch.hops() {
            prop_assert_eq!(hop.pending, 0);
            prop_assert_eq!(hop.sent, hop.received + hop.lost + hop.failed, "hop {}", number);
            prop_assert!(hop.sent <= rounds);
            prop_assert_eq!(u64::from(hop.received), hop.rtt.count());
            let listed: u32 = hop.paths().iter().map(|path| path.received).sum();
            prop_assert_eq!(listed + hop.unlisted, hop.received);
        }
    }

    #[test]
    fn fair_weather_has_every_hop_in_every_round(
        carrier in carrier(),
        flow in flow(),
        v6 in any::<bool>(),
        delays in proptest::collection::vec(1u64..10_000, 0..10),
        rounds in 1u32..20,
    ) {
        let routers = delays.iter().map(|&delay_us| Router { delay_us, ..Router::GOOD }).collect();
        let mut world = World::new(carrier, routers, Weather::default());
        let mut watch = watch(carrier, v6, flow, Some(rounds));
        let told = to_the_end(&mut watch, &mut world);
        let last = delays.len() + 1;
        let end = TraceEnd::Reached { hop: u8::try_from(last).unwrap() };
        prop_assert_eq!(told.last(), Some(&WatchEvent::Done(end)));
        prop_assert_eq!(hops(&watch).len(), last);
        for (number, hop) in watch.hops() {
            prop_assert_eq!((hop.sent, hop.received, hop.loss()), (rounds, rounds, Some(0.0)));
            let [path] = hop.paths() else { panic!("{:?}", hop.paths()) };
            let router = usize::from(number) < last;
            let expected = if router { World::router(v6, usize::from(number)).ip() } else { target(v6).ip() };
            prop_assert_eq!(path.address, expected);
            prop_assert_eq!(path.kind == AnswerKind::Router, router);
        }
    }
}

#[test]
fn what_is_in_flight_is_no_loss() {
    let mut world = good(3);
    world.routers[1].silent = true;
    let mut watch = watch(Carrier::RawIcmp, false, Flow::Paris, None);
    drive(&mut watch, &mut world, |watch, _| watch.rounds() == 3);
    let second = hops(&watch)[1];
    assert_eq!((second.pending, second.lost, second.loss()), (2, 0, None));
    for_seconds(&mut watch, &mut world, 20);
    let all = hops(&watch);
    assert_eq!(all[1].loss(), Some(1.0));
    assert!(all[1].pending >= 2, "the newest are still waited for");
    for index in [0, 2, 3] {
        assert_eq!(all[index].loss(), Some(0.0));
    }
}

#[test]
fn a_router_that_answers_few_loses_nothing_behind_it() {
    let mut world = good(3);
    world.routers[0].errors = 5;
    let mut watch = watch(Carrier::RawIcmp, false, Flow::Paris, Some(20));
    to_the_end(&mut watch, &mut world);
    let all = hops(&watch);
    assert_eq!((all[0].received, all[0].lost), (5, 15));
    assert!(all[1..].iter().all(|hop| hop.loss() == Some(0.0)));
}

#[test]
fn a_route_that_changes_is_followed() {
    let mut world = good(5);
    let mut watch = watch(Carrier::RawIcmp, false, Flow::Paris, None);
    for_seconds(&mut watch, &mut world, 5);
    assert_eq!(watch.end(), TraceEnd::Reached { hop: 6 });
    world.routers.truncate(2);
    for_seconds(&mut watch, &mut world, 5);
    assert_eq!(watch.end(), TraceEnd::Reached { hop: 3 });
    assert_eq!(hops(&watch).len(), 3, "what was beyond is no hop any more");
    assert_eq!(
        hops(&watch)[2].paths().len(),
        2,
        "the router that was there, and the target"
    );
    world.routers.extend([Router::GOOD, Router::GOOD]);
    for_seconds(&mut watch, &mut world, 5);
    assert_eq!(watch.end(), TraceEnd::Reached { hop: 5 });
    assert!(hops(&watch).iter().all(|hop| hop.lost == 0));
}

#[test]
fn a_target_that_is_silent_ends_a_round_behind_the_silent_hops() {
    let mut world = good(3);
    world.alive = false;
    let mut watch = watch(Carrier::RawIcmp, false, Flow::Paris, Some(10));
    let told = to_the_end(&mut watch, &mut world);
    assert_eq!(told.last(), Some(&WatchEvent::Done(TraceEnd::MaxHops)));
    assert!(world.sent <= 10 * (3 + 4), "{} probes", world.sent);
    // The first round finds out, and so waits for its last. Nine more take an interval each, the last its timeout as well.
    let took = Duration::from_nanos(world.now_ns);
    assert!(took < 16 * INTERVAL, "{took:?}");
    assert_eq!(
        hops(&watch).len(),
        4,
        "the routers, and one silent hop for the others"
    );
}

#[test]
fn eight_quoted_bytes_are_enough_one_probe_at_a_time() {
    let routers = vec![
        Router {
            quote: 8,
            ..Router::GOOD
        };
        3
    ];
    let mut world = World::new(Carrier::Udp, routers, Weather::default());
    // All within one interval, so that the second leaves before the first is answered.
    for router in &mut world.routers {
        router.delay_us = 200_000;
    }
    let mut watch = watch(Carrier::Udp, false, Flow::Paris, Some(6));
    to_the_end(&mut watch, &mut world);
    assert!(watch.is_serial());
    assert_eq!(hops(&watch).len(), 4);
    for (number, hop) in watch.hops().filter(|&(number, _)| number < 4) {
        let [path] = hop.paths() else {
            panic!("{:?}", hop.paths())
        };
        assert_eq!(path.address, World::router(false, usize::from(number)).ip());
        assert_eq!(hop.lost, 0);
    }
}

#[test]
fn answers_that_come_twice_hold_up_nothing() {
    let routers = vec![
        Router {
            quote: 8,
            delay_us: 200_000,
            ..Router::GOOD
        };
        3
    ];
    let weather = Weather {
        duplication: 255,
        ..Weather::default()
    };
    let mut world = World::new(Carrier::Udp, routers, weather);
    let mut watch = watch(Carrier::Udp, false, Flow::Paris, Some(6));
    let told = to_the_end(&mut watch, &mut world);
    assert!(watch.is_serial());
    assert_eq!(told.last(), Some(&WatchEvent::Done(TraceEnd::Reached { hop: 4 })));
    // A round is four round trips of 1.6 seconds at most; once, in the beginning, nothing leaves for a timeout.
    let took = Duration::from_nanos(world.now_ns);
    assert!(
        took < 6 * 4 * Duration::from_millis(1600) + Duration::from_millis(1500),
        "{took:?}"
    );
}

#[test]
fn a_reset_takes_nothing_from_before() {
    let mut world = good(2);
    let mut watch = watch(Carrier::RawIcmp, false, Flow::Paris, None);
    let mut message = Vec::new();
    let mut answers = Vec::new();
    for _ in 0..20 {
        world.sleep(watch.poll_timeout());
        while let Some(probe) = watch.poll_transmit(world.clock(), &mut message) {
            world.send(probe.destination, probe.hop_limit, &message);
        }
        answers.extend(std::iter::from_fn(|| world.receive()));
    }
    assert!(answers.len() >= 2);
    let first = answers.remove(0);
    let taken = |watch: &mut Watch, world: &World| watch.handle_input(world.clock(), first.input());
    assert!(matches!(
        taken(&mut watch, &world),
        Some(WatchEvent::Answer { .. })
    ));
    assert_eq!(taken(&mut watch, &world), None);
    let foreign = Input::new(Message::Icmp {
        from: target(false),
        message: &[0; 8],
    });
    assert_eq!(watch.handle_input(world.clock(), foreign), None);
    assert_eq!((watch.duplicates(), watch.strangers()), (1, 1));
    // The others are lost, and their answers late.
    world.now_ns += 1_500_000_000;
    while watch.poll_event(world.clock()).is_some() {}
    watch.reset();
    assert_eq!((watch.duplicates(), watch.strangers()), (0, 0));
    for late in answers.iter().chain([&first]) {
        assert_eq!(watch.handle_input(world.clock(), late.input()), None);
    }
    assert_eq!((watch.duplicates(), hops(&watch).len()), (0, 0));
}

#[test]
fn a_pause_sends_nothing_and_goes_on_by_itself() {
    let mut world = good(2);
    let mut watch = watch(Carrier::RawIcmp, false, Flow::Paris, None);
    for_seconds(&mut watch, &mut world, 3);
    watch.pause(true);
    let sent = world.sent;
    for_seconds(&mut watch, &mut world, 60);
    assert_eq!(world.sent, sent);
    assert!(hops(&watch).iter().all(|hop| hop.pending == 0 && hop.lost == 0));
    watch.pause(false);
    for_seconds(&mut watch, &mut world, 3);
    let more = world.sent - sent;
    assert!((12..=21).contains(&more), "{more}: no round is made up for");
}

#[test]
fn a_reset_begins_anew_and_forgets_the_length() {
    let mut world = good(2);
    for router in &mut world.routers {
        router.delay_us = 300_000;
    }
    let mut watch = watch(Carrier::RawIcmp, false, Flow::Paris, None);
    for_seconds(&mut watch, &mut world, 10);
    watch.reset();
    assert!(hops(&watch).is_empty());
    assert_eq!(watch.end(), TraceEnd::MaxHops);
    drive(&mut watch, &mut world, |watch, _| watch.rounds() == 1);
    let sent: Vec<(u8, u32)> = watch.hops().map(|(number, hop)| (number, hop.sent)).collect();
    assert_eq!(sent, [(1, 1)], "a round begins");
    let told = for_seconds(&mut watch, &mut world, 10);
    assert_eq!(watch.end(), TraceEnd::Reached { hop: 3 });
    assert!(
        told.iter()
            .all(|event| matches!(event, WatchEvent::Answer { .. }))
    );
    for hop in hops(&watch) {
        assert_eq!(
            hop.sent,
            hop.received + hop.pending,
            "no answer from before counts"
        );
    }
}

#[test]
fn numbers_come_round_and_memory_does_not_grow() {
    // More probes than numbers on the wire; classic, where the ports are the numbers.
    for (carrier, flow) in [(Carrier::RawIcmp, Flow::Paris), (Carrier::Udp, Flow::Classic)] {
        let mut world = World::new(carrier, vec![Router::GOOD; 9], Weather::default());
        let mut watch = watch(carrier, false, flow, Some(7_000));
        to_the_end(&mut watch, &mut world);
        assert_eq!(world.sent, 70_000);
        assert!(
            hops(&watch)
                .iter()
                .all(|hop| (hop.received, hop.lost) == (7_000, 0))
        );
        assert!(format!("{watch:?}").len() < 1_000_000, "the window has a bound");
    }
}

#[test]
fn a_hop_lists_sixteen_addresses_and_counts_the_others() {
    let mut hop = Hop::default();
    for last in 0..40u8 {
        let number = hop.sending();
        let from = std::net::IpAddr::from([192, 0, 2, last]);
        let rtt = Duration::from_millis(1);
        hop.answered(
            number,
            from,
            AnswerKind::Router,
            rtt,
            crate::Extensions::default(),
        );
    }
    assert_eq!((hop.paths().len(), hop.unlisted, hop.received), (16, 24, 40));
    assert!(hop.paths().iter().all(|path| path.received == 1));
}

#[test]
fn ports_that_do_not_suffice_are_refused() {
    let mut to = target(false);
    to.set_port(65_530);
    let mut options = WatchOptions::new(crate::TraceMethod::Udp, 1);
    assert!(
        Watch::new(to, options.clone()).is_ok(),
        "one port is enough for one flow"
    );
    options.trace.flow = Flow::Classic;
    assert!(Watch::new(to, options).is_err());
}

#[test]
fn a_network_that_comes_up_late_is_found_behind_a_silent_router() {
    let mut world = good(3);
    world.routers[0].silent = true;
    let mut watch = watch(Carrier::RawIcmp, false, Flow::Paris, None);
    let mut message = Vec::new();
    let cause = Cause::NetworkUnreachable;
    let probe = watch.poll_transmit(world.clock(), &mut message).unwrap();
    let told = watch.handle_send_error(world.clock(), probe.probe, cause);
    assert_eq!(told, Some(WatchEvent::Failed { hop: 1, cause }));
    assert_eq!(watch.end(), TraceEnd::Failed { hop: 1, cause });
    for_seconds(&mut watch, &mut world, 20);
    assert_eq!(watch.end(), TraceEnd::Reached { hop: 4 });
}

#[test]
fn a_route_that_grows_beyond_a_silent_router_is_followed() {
    let mut world = good(5);
    let mut watch = watch(Carrier::RawIcmp, false, Flow::Paris, None);
    for_seconds(&mut watch, &mut world, 5);
    assert_eq!(watch.end(), TraceEnd::Reached { hop: 6 });
    world.routers.extend([Router::GOOD, Router::GOOD]);
    world.routers[5].silent = true;
    for_seconds(&mut watch, &mut world, 10);
    assert_eq!(watch.end(), TraceEnd::Reached { hop: 8 });
    assert_eq!(hops(&watch).len(), 8);
}

#[test]
fn a_target_that_dies_is_not_reached_and_one_that_loses_much_is() {
    let mut world = good(3);
    let mut watch = watch(Carrier::RawIcmp, false, Flow::Paris, None);
    for_seconds(&mut watch, &mut world, 5);
    for _ in 0..20 {
        // Three rounds of silence, and one that is answered.
        for alive in [false, false, false, true] {
            world.alive = alive;
            let round = watch.rounds() + 1;
            drive(&mut watch, &mut world, |watch, _| {
                assert_eq!(watch.end(), TraceEnd::Reached { hop: 4 });
                watch.rounds() >= round
            });
        }
    }
    world.alive = false;
    for_seconds(&mut watch, &mut world, 10);
    assert_eq!(watch.end(), TraceEnd::MaxHops);
    assert_eq!(hops(&watch).len(), 5, "and one silent hop for the others");
    world.alive = true;
    for_seconds(&mut watch, &mut world, 5);
    assert_eq!(watch.end(), TraceEnd::Reached { hop: 4 });
    assert_eq!(hops(&watch).len(), 4);
}
