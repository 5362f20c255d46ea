//! The path MTU: what is found has passed, and one byte more would not have.

use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;

use super::model::{Carrier, Router, Weather, World};
use crate::mtu::{Limit, MtuEnd, MtuEvent, MtuMethod, MtuOptions, PmtuProbe};

fn target(v6: bool) -> SocketAddr {
    if v6 { "[2001:db8::99]:9" } else { "192.0.2.99:9" }
        .parse()
        .unwrap()
}

fn run(probe: &mut PmtuProbe, world: &mut World, jumps: &[i64]) -> MtuEnd {
    let mut message = Vec::new();
    let mut jumps = jumps.iter().cycle();
    for step in 0..100_000u32 {
        while let Some(transmit) = probe.poll_transmit(world.clock(), &mut message) {
            world.send(transmit.destination, 64, &message);
        }
        while let Some(delivery) = world.receive() {
            if let Some(event) = probe.handle_input(world.clock(), delivery.input()) {
                assert!(delivery.answers.is_some(), "{event:?} from a forgery");
            }
        }
        let mut end = None;
        while let Some(event) = probe.poll_event(world.clock()) {
            assert!(end.is_none(), "{event:?} after the end");
            if let MtuEvent::Done(how) = event {
                end = Some(how);
            }
        }
        if let Some(end) = end {
            assert!(probe.is_done() && probe.poll_timeout().is_none());
            return end;
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
            world.sleep(probe.poll_timeout()),
            "nothing more will happen, and it is not done"
        );
    }
    panic!("it does not end");
}

fn options(carrier: Carrier) -> MtuOptions {
    let method = if carrier == Carrier::Udp {
        MtuMethod::Udp
    } else {
        MtuMethod::Icmp
    };
    MtuOptions {
        timeout: Duration::from_millis(300),
        ..MtuOptions::new(method, 7)
    }
}

fn carrier() -> impl Strategy<Value = Carrier> {
    prop_oneof![
        Just(Carrier::RawIcmp),
        Just(Carrier::PingSocket),
        Just(Carrier::Udp)
    ]
}

/// Routers whose narrowest link is wide enough for either family.
fn routers() -> impl Strategy<Value = Vec<Router>> {
    proptest::collection::vec(
        (
            1280u32..9100,
            any::<bool>(),
            any::<bool>(),
            prop_oneof![Just(8usize), Just(128)],
        ),
        1..6,
    )
    .prop_map(|links| {
        links
            .into_iter()
            .map(|(mtu, silent, figure, quote)| Router {
                mtu,
                silent,
                figure,
                quote,
                ..Router::GOOD
            })
            .collect()
    })
}

fn narrowest(routers: &[Router]) -> u32 {
    routers.iter().map(|router| router.mtu).min().unwrap()
}

proptest! {
    #[test]
    fn fair_weather_finds_the_narrowest_link_with_and_without_icmp(
        carrier in carrier(),
        v6 in any::<bool>(),
        routers in routers(),
        echoes in any::<bool>(),
        jumps in proptest::collection::vec(-20_000i64..200, 0..3),
    ) {
        let mut world = World::new(carrier, routers.clone(), Weather::default());
        world.echoes = echoes;
        let mut probe = PmtuProbe::new(target(v6), options(carrier));
        let end = run(&mut probe, &mut world, &jumps);
        let MtuEnd::Found { mtu, limit } = end else { return Err(TestCaseError::fail(format!("{end:?}"))) };
        prop_assert_eq!(mtu, narrowest(&routers));
        let speaks = routers.iter().filter(|router| router.mtu == mtu).all(|router| !router.silent);
        if !speaks {
            prop_assert_eq!(limit, Limit::Silence);
        }
        prop_assert!(world.sent < 150, "{} probes", world.sent);
    }

    #[test]
    fn bad_weather_never_finds_too_much(
        carrier in carrier(),
        v6 in any::<bool>(),
        routers in routers(),
        weather in Weather::any(),
        jumps in proptest::collection::vec(-20_000i64..20_000, 0..4),
    ) {
        // A forgery that keeps only the ports of a datagram passes for a router that quotes only those.
        let forgery = if carrier == Carrier::Udp { 0 } else { weather.forgery };
        let mut world = World::new(carrier, routers.clone(), Weather { forgery, ..weather });
        let mut probe = PmtuProbe::new(target(v6), options(carrier));
        match run(&mut probe, &mut world, &jumps) {
            MtuEnd::Found { mtu, .. } => {
                prop_assert!(mtu <= narrowest(&routers));
                prop_assert_eq!(probe.largest(), Some(mtu));
            }
            end => prop_assert_eq!(end, MtuEnd::NoAnswer),
        }
    }

    #[test]
    fn moderate_loss_still_finds_it(v6 in any::<bool>(), mtu in 1280u32..3000, seed in any::<u64>()) {
        // 5 % each way, six attempts: the odds of one wrong verdict in ten are one in ten million.
        let weather = Weather { loss: 13, seed, ..Weather::default() };
        let mut world = World::new(Carrier::RawIcmp, vec![Router { mtu, silent: true, ..Router::GOOD }], weather);
        let options = MtuOptions { attempts: 6, ..options(Carrier::RawIcmp) };
        let mut probe = PmtuProbe::new(target(v6), options);
        prop_assert_eq!(run(&mut probe, &mut world, &[]), MtuEnd::Found { mtu, limit: Limit::Silence });
    }

    #[test]
    fn arbitrary_bytes_are_strangers(
        carrier in carrier(),
        v6 in any::<bool>(),
        kind in 0u8..3,
        bytes in proptest::collection::vec(any::<u8>(), 10..200),
    ) {
        let mut probe = PmtuProbe::new(target(v6), options(carrier));
        let mut message = Vec::new();
        probe.poll_transmit(Duration::ZERO, &mut message).unwrap();
        let from = target(v6);
        let message = match kind {
            0 => crate::Message::Icmp { from, message: &bytes },
            1 => crate::Message::Udp { from, payload: &bytes },
            _ => crate::Message::Error { offender: None, destination: from, cause: crate::Cause::NotSent, quoted: &bytes },
        };
        prop_assert_eq!(probe.handle_input(Duration::ZERO, crate::Input::new(message)), None);
        prop_assert_eq!(probe.strangers(), 1);
    }
}

#[test]
fn a_target_that_never_answers() {
    for carrier in [Carrier::RawIcmp, Carrier::Udp] {
        let mut world = World::new(
            carrier,
            vec![Router {
                errors: 0,
                ..Router::GOOD
            }],
            Weather::default(),
        );
        world.alive = false;
        let mut probe = PmtuProbe::new(target(false), options(carrier));
        assert_eq!(run(&mut probe, &mut world, &[]), MtuEnd::NoAnswer);
    }
}

#[test]
fn an_answer_that_was_cut_shows_nothing() {
    let mut probe = PmtuProbe::new(target(false), options(Carrier::RawIcmp));
    let mut message = Vec::new();
    let sent = probe.poll_transmit(Duration::ZERO, &mut message).unwrap();
    message[0] = 0;
    let reply = |message: &[u8], probe: &mut PmtuProbe| {
        let message = crate::Message::Icmp {
            from: target(false),
            message,
        };
        probe.handle_input(Duration::from_millis(5), crate::Input::new(message))
    };
    assert_eq!(reply(&message[..message.len() - 1], &mut probe), None);
    assert_eq!(probe.strangers(), 1);
    let rtt = Duration::from_millis(5);
    assert_eq!(
        reply(&message, &mut probe),
        Some(MtuEvent::Passed { size: sent.size, rtt })
    );
    assert_eq!(probe.largest(), Some(1200));
}

#[test]
fn a_link_of_this_host_is_a_limit_like_any_other() {
    let mut probe = PmtuProbe::new(target(false), options(Carrier::Udp));
    let mut message = Vec::new();
    for _ in 0..10 {
        let Some(sent) = probe.poll_transmit(Duration::ZERO, &mut message) else {
            break;
        };
        if sent.size > 1500 {
            let cause = crate::Cause::TooBig { mtu: Some(1500) };
            probe
                .handle_send_error(Duration::ZERO, sent.probe, cause)
                .unwrap();
        } else {
            let message = crate::Message::Udp {
                from: target(false),
                payload: &message,
            };
            probe
                .handle_input(Duration::ZERO, crate::Input::new(message))
                .unwrap();
        }
    }
    let end = MtuEvent::Done(MtuEnd::Found {
        mtu: 1500,
        limit: Limit::Local,
    });
    assert_eq!(probe.poll_event(Duration::ZERO), Some(end));
}

#[test]
fn a_route_that_is_missing_ends_it() {
    let mut probe = PmtuProbe::new(target(false), options(Carrier::Udp));
    let sent = probe.poll_transmit(Duration::ZERO, &mut Vec::new()).unwrap();
    let cause = crate::Cause::NetworkUnreachable;
    probe.handle_send_error(Duration::ZERO, sent.probe, cause);
    let end = MtuEvent::Done(MtuEnd::Failed {
        offender: None,
        cause,
    });
    assert_eq!(probe.poll_event(Duration::ZERO), Some(end));
}
