//! Active checks, and the growing share of a backend that is back.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use sockeye_event_loop::{ListenOptions, StreamOptions};
use sockeye_relay::proxy::{self, ParseOptions, Parsed};
use sockeye_relay::{CheckKind, CheckRules, Condition, HealthRules, ProxyVersion};

use crate::ground::{Ground, answers};
use crate::probe::Probe;
use crate::world::World;

in_both_worlds!(
    a_check_that_connects_takes_a_backend_out_and_back,
    a_check_that_expects_a_line,
    a_check_says_that_it_is_for_nobody,
    a_check_has_a_deadline,
    checks_go_to_another_port_if_they_are_to,
    a_backend_that_is_back_gets_its_share_by_and_by,
    without_checks_nobody_stays_down_for_want_of_one,
);

fn every(millis: u64, kind: CheckKind) -> HealthRules {
    HealthRules {
        check: Some(CheckRules {
            kind,
            interval: Duration::from_millis(millis),
            deadline: Duration::from_millis(200),
            rise: 2,
            fall: 2,
            port: None,
        }),
        failures: 0,
        ..HealthRules::default()
    }
}

#[track_caller]
fn until_changed<W: World>(ground: &mut Ground<W>, changes: usize, condition: Condition) {
    let told = ground.told.clone();
    ground
        .world
        .until("a change", || told.changes.borrow().len() >= changes);
    assert_eq!(
        told.changes.borrow()[changes - 1].1,
        condition,
        "{:?}",
        told.changes.borrow()
    );
}

fn a_check_that_connects_takes_a_backend_out_and_back<W: World>() {
    let mut ground = Ground::<W>::new();
    let (one, two) = (ground.backend(answers(b"one")), ground.backend(answers(b"two")));
    let mut config = ground.config(&[one.at, two.at]);
    config.pools[0].health = every(20, CheckKind::Connect);
    ground.start(config);
    let listener = one.listener;
    ground.world.client().close_listener(listener);
    until_changed(&mut ground, 1, Condition::Down);
    assert_eq!(ground.ask(4), vec![two.name(); 4]);
    assert!(
        ground
            .told
            .records
            .borrow()
            .iter()
            .all(|record| record.attempts == 1),
        "no client was the first to notice"
    );
    let again = ground
        .world
        .client()
        .listen(one.handle, one.at, &ListenOptions::default());
    again.unwrap();
    until_changed(&mut ground, 2, Condition::Up);
    let mut served = ground.ask(2);
    served.sort();
    let mut both = vec![one.name(), two.name()];
    both.sort();
    assert_eq!(served, both);
    let counters = ground
        .stats()
        .pool("out")
        .unwrap()
        .backend(&one.name())
        .unwrap()
        .counters;
    assert!(
        counters.checks_failed >= 2 && counters.checks_passed >= 2,
        "{counters:?}"
    );
    assert_eq!((counters.downs, counters.connects_failed), (1, 0));
}

fn a_check_that_expects_a_line<W: World>() {
    let mut ground = Ground::<W>::new();
    let well = Rc::new(Cell::new(false));
    let is_well = Rc::clone(&well);
    let backend = ground.backend(Probe::new().data(move |stream, data| {
        assert_eq!(data, b"STATE\r\n");
        // In two pieces: a line is whole at its end.
        assert!(stream.write(b"state: ").is_taken());
        let state: &[u8] = if is_well.get() {
            b"ready\r\nrest"
        } else {
            b"starting\r\nready"
        };
        assert!(stream.write(state).is_taken());
        data.len()
    }));
    let mut config = ground.config(&[backend.at]);
    config.pools[0].health = every(
        20,
        CheckKind::Line {
            send: "STATE\r\n".to_owned(),
            expect: "ready".to_owned(),
        },
    );
    ground.start(config);
    until_changed(&mut ground, 1, Condition::Down);
    well.set(true);
    until_changed(&mut ground, 2, Condition::Up);
    let counters = ground.stats().pool("out").unwrap().backends[0].counters;
    assert_eq!((counters.checks_failed, counters.checks_passed), (2, 2));
}

fn a_check_says_that_it_is_for_nobody<W: World>() {
    let headers: [(_, &[u8]); 2] = [
        (ProxyVersion::V1, b"PROXY UNKNOWN\r\n"),
        (ProxyVersion::V2, b"\r\n\r\n\0\r\nQUIT\n\x20\0"),
    ];
    for (version, header) in headers {
        let mut ground = Ground::<W>::new();
        let backend = ground.backend(Probe::new().data(|stream, data| {
            let parsed = proxy::parse(data, &ParseOptions::default());
            let Parsed::Header { consumed, header } = parsed else {
                assert!(matches!(parsed, Parsed::Incomplete { .. }), "{parsed:?}");
                return 0;
            };
            let answer: &[u8] = match (&data[consumed..], header.addresses) {
                (b"STATE\r\n", None) => b"ready\r\n",
                (b"", _) => return 0,
                _ => b"what?\r\n",
            };
            assert!(stream.write(answer).is_taken());
            data.len()
        }));
        let mut config = ground.config(&[backend.at]);
        config.pools[0].backends[0].proxy = Some(version);
        config.pools[0].health = every(
            20,
            CheckKind::Line {
                send: "STATE\r\n".to_owned(),
                expect: "ready".to_owned(),
            },
        );
        ground.start(config);
        let log = backend.log.clone();
        ground.world.until("checks", || log.opened() >= 3);
        assert!(
            backend.log.received(0).starts_with(header),
            "{:?}",
            backend.log.received(0)
        );
        assert_eq!(ground.told.changes.borrow().len(), 0, "it is up and stays up");
        let counters = ground.stats().pool("out").unwrap().backends[0].counters;
        assert!(counters.checks_passed >= 2, "{counters:?}");
        assert_eq!(counters.checks_failed, 0);
    }
}

fn a_check_has_a_deadline<W: World>() {
    let mut ground = Ground::<W>::new();
    let mute = ground.backend(Probe::new());
    let hanging = ground.hanging();
    let mut config = ground.config(&[mute.at, hanging]);
    config.pools[0].health = every(
        20,
        CheckKind::Line {
            send: String::new(),
            expect: "220".to_owned(),
        },
    );
    ground.start(config);
    let told = ground.told.clone();
    ground
        .world
        .until("both are down", || told.changes.borrow().len() == 2);
    assert!(
        told.changes
            .borrow()
            .iter()
            .all(|(_, condition)| *condition == Condition::Down)
    );
}

fn checks_go_to_another_port_if_they_are_to<W: World>() {
    let mut ground = Ground::<W>::new();
    let (backend, nobody) = (ground.backend(answers(b"here")), ground.nobody());
    let mut config = ground.config(&[backend.at]);
    config.pools[0].health = every(20, CheckKind::Connect);
    config.pools[0].health.check.as_mut().unwrap().port = Some(nobody.port());
    ground.start(config);
    until_changed(&mut ground, 1, Condition::Down);
    assert_eq!(backend.log.opened(), 0);
    let events = ground.world.client();
    let handle = events.add_stream_service(Probe::new(), StreamOptions::default());
    events.listen(handle, nobody, &ListenOptions::default()).unwrap();
    until_changed(&mut ground, 2, Condition::Up);
    assert_eq!(ground.ask(1), [backend.name()]);
}

fn a_backend_that_is_back_gets_its_share_by_and_by<W: World>() {
    let mut ground = Ground::<W>::new();
    let (one, two) = (ground.backend(answers(b"one")), ground.backend(answers(b"two")));
    let mut config = ground.config(&[one.at, two.at]);
    config.pools[0].health = HealthRules {
        // Longer than the test: the first step holds throughout.
        slow_start: Duration::from_secs(3_600 * 24),
        ..every(20, CheckKind::Connect)
    };
    ground.start(config);
    let listener = one.listener;
    ground.world.client().close_listener(listener);
    until_changed(&mut ground, 1, Condition::Down);
    ground
        .world
        .client()
        .listen(one.handle, one.at, &ListenOptions::default())
        .unwrap();
    until_changed(&mut ground, 2, Condition::Up);
    let served = ground.ask(34);
    let ones = served.iter().filter(|name| **name == one.name()).count();
    assert_eq!(ones, 2, "a sixteenth of the other's: {served:?}");
}

fn without_checks_nobody_stays_down_for_want_of_one<W: World>() {
    let mut ground = Ground::<W>::new();
    let (backend, nobody) = (ground.backend(answers(b"here")), ground.nobody());
    let mut config = ground.config(&[backend.at]);
    config.pools[0].health = every(20, CheckKind::Connect);
    config.pools[0].health.check.as_mut().unwrap().port = Some(nobody.port());
    ground.start(config.clone());
    until_changed(&mut ground, 1, Condition::Down);
    config.pools[0].health.check = None;
    ground.reload(config);
    assert_eq!(ground.ask(1), [backend.name()]);
}
