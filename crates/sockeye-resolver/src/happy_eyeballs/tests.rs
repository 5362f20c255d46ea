//! Races on a clock of the test's own.

use proptest::prelude::*;

use super::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn v6(last: u16) -> SocketAddr {
    SocketAddr::new(
        std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last).into(),
        443,
    )
}

fn v4(last: u8) -> SocketAddr {
    SocketAddr::new([192, 0, 2, last].into(), 443)
}

fn race() -> HappyEyeballs {
    HappyEyeballs::new(Config::default(), ms(0))
}

#[test]
fn aaaa_answers_start_at_once() {
    let mut race = race();
    assert_eq!(race.poll(ms(0)), Step::Wait);
    race.on(ms(20), Event::Addresses(Family::V6, vec![v6(1)]));
    assert_eq!(race.poll(ms(20)), Step::Start(Attempt(0), v6(1)));
    assert_eq!(race.poll(ms(20)), Step::Wait);
}

#[test]
fn a_answers_wait_for_aaaa_for_the_resolution_delay() {
    let mut race = race();
    race.on(ms(20), Event::Addresses(Family::V4, vec![v4(1)]));
    assert_eq!(race.poll(ms(20)), Step::WaitUntil(ms(70)));
    let mut late = race.clone();
    assert_eq!(late.poll(ms(70)), Step::Start(Attempt(0), v4(1)));
    race.on(ms(40), Event::Addresses(Family::V6, vec![v6(1)]));
    assert_eq!(race.poll(ms(40)), Step::Start(Attempt(0), v6(1)));
    assert_eq!(race.poll(ms(40)), Step::WaitUntil(ms(290)));
    assert_eq!(race.poll(ms(290)), Step::Start(Attempt(1), v4(1)));
}

#[test]
fn an_empty_or_failed_aaaa_answer_ends_the_resolution_delay() {
    for event in [
        Event::NoAddresses(Family::V6),
        Event::Addresses(Family::V6, vec![]),
    ] {
        let mut race = race();
        race.on(ms(20), Event::Addresses(Family::V4, vec![v4(1)]));
        race.on(ms(30), event);
        assert_eq!(race.poll(ms(30)), Step::Start(Attempt(0), v4(1)));
    }
}

#[test]
fn families_take_turns_250_ms_apart() {
    let mut race = race();
    race.on(ms(0), Event::Addresses(Family::V6, vec![v6(1), v6(2), v6(3)]));
    race.on(ms(0), Event::Addresses(Family::V4, vec![v4(1), v4(2)]));
    for (index, address) in (0u32..).zip([v6(1), v4(1), v6(2), v4(2), v6(3)]) {
        let now = ms(250) * index;
        assert_eq!(race.poll(now), Step::Start(Attempt(index), address));
        let next = if index < 4 {
            Step::WaitUntil(now + ms(250))
        } else {
            Step::Wait
        };
        assert_eq!(race.poll(now), next);
    }
}

#[test]
fn the_first_family_may_have_a_larger_share() {
    let config = Config {
        first_family_count: 2,
        first_family: Family::V4,
        ..Config::default()
    };
    let mut race = HappyEyeballs::new(config, ms(0));
    race.on(ms(0), Event::Addresses(Family::V6, vec![v6(1), v6(2)]));
    race.on(ms(0), Event::Addresses(Family::V4, vec![v4(1), v4(2), v4(3)]));
    for (index, address) in (0u32..).zip([v4(1), v4(2), v6(1), v4(3), v6(2)]) {
        assert_eq!(race.poll(ms(250) * index), Step::Start(Attempt(index), address));
    }
}

#[test]
fn a_failure_starts_the_next_attempt_at_once() {
    let mut race = race();
    race.on(ms(0), Event::Addresses(Family::V6, vec![v6(1), v6(2)]));
    race.on(ms(0), Event::Addresses(Family::V4, vec![v4(1)]));
    assert_eq!(race.poll(ms(0)), Step::Start(Attempt(0), v6(1)));
    race.on(ms(5), Event::Failed(Attempt(0)));
    assert_eq!(race.poll(ms(5)), Step::Start(Attempt(1), v4(1)));
    race.on(ms(6), Event::Failed(Attempt(0)));
    assert_eq!(race.poll(ms(6)), Step::WaitUntil(ms(255)));
}

#[test]
fn the_winner_cancels_the_losers() {
    let mut race = race();
    race.on(ms(0), Event::Addresses(Family::V6, vec![v6(1), v6(2), v6(3)]));
    assert_eq!(race.poll(ms(0)), Step::Start(Attempt(0), v6(1)));
    assert_eq!(race.poll(ms(250)), Step::Start(Attempt(1), v6(2)));
    assert_eq!(race.poll(ms(500)), Step::Start(Attempt(2), v6(3)));
    race.on(ms(510), Event::Connected(Attempt(1)));
    race.on(ms(510), Event::Connected(Attempt(2)));
    assert_eq!(race.poll(ms(510)), Step::Cancel(Attempt(0)));
    assert_eq!(race.poll(ms(510)), Step::Cancel(Attempt(2)));
    assert_eq!(race.poll(ms(510)), Step::Done(Outcome::Connected(Attempt(1))));
    race.on(ms(520), Event::Addresses(Family::V4, vec![v4(1)]));
    assert_eq!(race.poll(ms(900)), Step::Done(Outcome::Connected(Attempt(1))));
}

#[test]
fn addresses_that_arrive_late_join_the_race() {
    let mut race = race();
    race.on(ms(0), Event::Addresses(Family::V4, vec![v4(1)]));
    assert_eq!(race.poll(ms(50)), Step::Start(Attempt(0), v4(1)));
    assert_eq!(race.poll(ms(50)), Step::Wait);
    race.on(ms(60), Event::Addresses(Family::V6, vec![v6(1)]));
    assert_eq!(race.poll(ms(60)), Step::WaitUntil(ms(300)));
    race.on(ms(100), Event::Failed(Attempt(0)));
    assert_eq!(race.poll(ms(100)), Step::Start(Attempt(1), v6(1)));
    race.on(ms(110), Event::Failed(Attempt(1)));
    assert_eq!(race.poll(ms(110)), Step::Done(Outcome::AllFailed));
}

#[test]
fn a_late_answer_after_every_attempt_failed_still_counts() {
    let mut race = race();
    race.on(ms(0), Event::Addresses(Family::V6, vec![v6(1)]));
    assert_eq!(race.poll(ms(0)), Step::Start(Attempt(0), v6(1)));
    race.on(ms(1), Event::Failed(Attempt(0)));
    assert_eq!(race.poll(ms(1)), Step::Wait);
    race.on(ms(400), Event::Addresses(Family::V4, vec![v4(1)]));
    assert_eq!(race.poll(ms(400)), Step::Start(Attempt(1), v4(1)));
}

#[test]
fn no_addresses_at_all() {
    let mut race = race();
    race.on(ms(1), Event::NoAddresses(Family::V4));
    assert_eq!(race.poll(ms(1)), Step::Wait);
    race.on(ms(2), Event::NoAddresses(Family::V6));
    assert_eq!(race.poll(ms(2)), Step::Done(Outcome::NoAddresses));
}

#[test]
fn the_deadline_cancels_everything() {
    let config = Config {
        deadline: Some(ms(300)),
        ..Config::default()
    };
    let mut race = HappyEyeballs::new(config, ms(1000));
    assert_eq!(race.poll(ms(1000)), Step::WaitUntil(ms(1300)));
    race.on(ms(1000), Event::Addresses(Family::V6, vec![v6(1), v6(2)]));
    assert_eq!(race.poll(ms(1000)), Step::Start(Attempt(0), v6(1)));
    assert_eq!(race.poll(ms(1000)), Step::WaitUntil(ms(1250)));
    assert_eq!(race.poll(ms(1250)), Step::Start(Attempt(1), v6(2)));
    assert_eq!(race.poll(ms(1299)), Step::WaitUntil(ms(1300)));
    assert_eq!(race.poll(ms(1300)), Step::Cancel(Attempt(0)));
    assert_eq!(race.poll(ms(1300)), Step::Cancel(Attempt(1)));
    assert_eq!(race.poll(ms(1300)), Step::Done(Outcome::TimedOut));
}

#[test]
fn a_thousand_addresses_are_capped_and_none_is_tried_twice() {
    let mut race = race();
    let many = (0..1000).flat_map(|last| [v6(last), v6(last)]).collect();
    race.on(ms(0), Event::Addresses(Family::V6, many));
    race.on(ms(0), Event::Addresses(Family::V4, vec![v4(1)]));
    let mut tried = Vec::new();
    let mut now = ms(0);
    loop {
        match race.poll(now) {
            Step::Start(attempt, address) => {
                assert!(!tried.contains(&address));
                tried.push(address);
                race.on(now, Event::Failed(attempt));
            }
            Step::WaitUntil(time) => now = time,
            step => break assert_eq!(step, Step::Done(Outcome::AllFailed)),
        }
    }
    assert_eq!(tried.len(), 32);
}

#[test]
fn attempts_at_a_time_are_bounded() {
    let config = Config {
        max_attempts: 2,
        ..Config::default()
    };
    let mut race = HappyEyeballs::new(config, ms(0));
    race.on(ms(0), Event::Addresses(Family::V6, vec![v6(1), v6(2), v6(3)]));
    assert_eq!(race.poll(ms(0)), Step::Start(Attempt(0), v6(1)));
    assert_eq!(race.poll(ms(250)), Step::Start(Attempt(1), v6(2)));
    assert_eq!(race.poll(ms(5000)), Step::Wait);
    race.on(ms(5000), Event::Failed(Attempt(0)));
    assert_eq!(race.poll(ms(5000)), Step::Start(Attempt(2), v6(3)));
}

/// What a script does at each of its moments.
#[derive(Clone, Debug)]
enum Act {
    Addresses(bool, u8),
    NoAddresses(bool),
    Fail(u32),
    Connect(u32),
    Pass(u16),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        (any::<bool>(), 0u8..6).prop_map(|(v6, count)| Act::Addresses(v6, count)),
        any::<bool>().prop_map(Act::NoAddresses),
        (0u32..12).prop_map(Act::Fail),
        (0u32..12).prop_map(Act::Connect),
        (0u16..600).prop_map(Act::Pass),
    ];
    proptest::collection::vec(act, 0..60)
}

fn family(is_v6: bool) -> Family {
    if is_v6 { Family::V6 } else { Family::V4 }
}

proptest! {
    /// Whatever happens: attempts start at least the delay apart unless one failed, are cancelled at most once and only
    /// while they run, never more run than allowed, a wait is never for the past, and the end is final and clean.
    #[test]
    fn prop_no_script_breaks_the_rules(script in acts()) {
        let config = Config { max_attempts: 3, deadline: Some(ms(5_000)), ..Config::default() };
        let mut race = HappyEyeballs::new(config, ms(0));
        let (mut now, mut running, mut done) = (ms(0), Vec::new(), None);
        let (mut last_start, mut failed_since) = (None, true);
        for act in script.into_iter().chain([Act::Pass(6_000)]) {
            match act {
                Act::Addresses(is_v6, count) => {
                    let list = (0..count).map(|n| if is_v6 { v6(n.into()) } else { v4(n) }).collect();
                    race.on(now, Event::Addresses(family(is_v6), list));
                }
                Act::NoAddresses(is_v6) => race.on(now, Event::NoAddresses(family(is_v6))),
                Act::Fail(n) => {
                    failed_since |= running.contains(&Attempt(n));
                    running.retain(|attempt| *attempt != Attempt(n));
                    race.on(now, Event::Failed(Attempt(n)));
                }
                Act::Connect(n) => race.on(now, Event::Connected(Attempt(n))),
                Act::Pass(pass) => now += ms(pass.into()),
            }
            loop {
                match race.poll(now) {
                    Step::Start(attempt, _) => {
                        prop_assert!(done.is_none());
                        let apart = last_start.is_none_or(|last| now >= last + ms(250));
                        prop_assert!(apart || failed_since);
                        (last_start, failed_since) = (Some(now), false);
                        running.push(attempt);
                        prop_assert!(running.len() <= 3);
                    }
                    Step::Cancel(attempt) => {
                        prop_assert!(running.contains(&attempt));
                        running.retain(|other| *other != attempt);
                    }
                    Step::WaitUntil(time) => {
                        prop_assert!(time > now);
                        break;
                    }
                    Step::Wait => break,
                    Step::Done(outcome) => {
                        prop_assert!(done.is_none_or(|before| before == outcome));
                        done = Some(outcome);
                        let left = running.iter().filter(|a| outcome != Outcome::Connected(**a)).count();
                        prop_assert_eq!(left, 0);
                        break;
                    }
                }
            }
        }
        prop_assert!(done.is_some(), "the deadline has passed");
    }
}
