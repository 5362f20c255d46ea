//! Backends with names.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use sockeye_endpoint::Target;
use sockeye_relay::{Names, Relay, SessionEnd, StartError};

use crate::ground::{Ground, answers, asks, keeps};
use crate::world::World;

in_both_worlds!(
    a_name_that_changes_addresses,
    a_lookup_that_fails_leaves_the_addresses,
    an_unknown_name_is_down_until_it_is_known,
    a_lookup_without_an_answer_ends_at_its_deadline,
    a_name_that_leads_back_to_the_listener_is_nobody,
    names_take_somebody_who_knows_them,
);

/// What is known now, and how often it was asked.
#[derive(Clone, Default)]
struct Table(Rc<RefCell<(Option<Result<Vec<SocketAddr>, io::ErrorKind>>, usize)>>);

impl Table {
    fn says(&self, answer: Option<Result<Vec<SocketAddr>, io::ErrorKind>>) {
        self.0.borrow_mut().0 = answer;
    }

    fn asked(&self) -> usize {
        self.0.borrow().1
    }
}

impl Names for Table {
    fn start(&mut self, target: &Target, _: Duration) {
        assert_eq!(target.to_string(), "tcp://backend.example:80");
        self.0.borrow_mut().1 += 1;
    }

    fn poll(&mut self, _: &Target) -> Option<io::Result<Vec<SocketAddr>>> {
        let answer = self.0.borrow().0.clone()?;
        Some(answer.map_err(io::Error::from))
    }
}

fn named<W: World>(table: &Table) -> Ground<W> {
    let mut ground = Ground::<W>::new();
    let mut config = ground.config(&[]);
    config.pools[0].backends = vec![sockeye_relay::BackendConfig::new(
        "backend.example:80".parse().unwrap(),
    )];
    config.names.interval = Duration::from_millis(30);
    config.names.deadline = Duration::from_millis(100);
    ground.start_with(config, Some(Box::new(table.clone())));
    ground
}

/// Until everything that is known now has been asked for.
fn until_asked<W: World>(ground: &mut Ground<W>, table: &Table) {
    let (before, asked) = (table.asked(), table.clone());
    ground.world.until("asked again", || asked.asked() >= before + 2);
}

fn a_name_that_changes_addresses<W: World>() {
    let table = Table::default();
    let mut ground = named::<W>(&table);
    let (old, new, nobody) = (
        ground.backend(keeps()),
        ground.backend(answers(b"new")),
        ground.nobody(),
    );
    table.says(Some(Ok(vec![old.at])));
    until_asked(&mut ground, &table);
    let stays = ground.client(asks());
    let log = stays.log.clone();
    ground.world.until("an answer", || log.received_len(0) == 8);
    // The first address of several that answers is taken.
    table.says(Some(Ok(vec![nobody, new.at])));
    until_asked(&mut ground, &table);
    ground.client(asks());
    ground.until_ended(1);
    assert_eq!((old.log.opened(), new.log.opened()), (1, 1));
    assert_eq!(ground.told.last().end, SessionEnd::Done);
    assert_eq!(ground.stats().pool("out").unwrap().backends[0].addresses, 2);
    // Who was there before is still there.
    let id = stays.log.id(0);
    ground.world.client().with(stays.handle, |_, context| {
        assert!(context.write(id, b" and more").is_taken());
    });
    let log = stays.log.clone();
    ground
        .world
        .until("the old one answers", || log.received(0) == b"question and more");
}

fn a_lookup_that_fails_leaves_the_addresses<W: World>() {
    let table = Table::default();
    let mut ground = named::<W>(&table);
    let backend = ground.backend(answers(b"here"));
    table.says(Some(Ok(vec![backend.at])));
    until_asked(&mut ground, &table);
    for failure in [Err(io::ErrorKind::NotFound), Ok(Vec::new())] {
        table.says(Some(failure));
        until_asked(&mut ground, &table);
        ground.ask(1);
        assert_eq!(ground.told.last().end, SessionEnd::Done);
    }
}

fn an_unknown_name_is_down_until_it_is_known<W: World>() {
    let table = Table::default();
    table.says(Some(Err(io::ErrorKind::NotFound)));
    let mut ground = named::<W>(&table);
    ground.client(asks());
    ground.until_ended(1);
    assert_eq!(ground.told.last().end, SessionEnd::AllDown);
    let backend = ground.backend(answers(b"here"));
    table.says(Some(Ok(vec![backend.at])));
    until_asked(&mut ground, &table);
    ground.ask(1);
    assert_eq!(ground.told.last().end, SessionEnd::Done);
}

fn a_lookup_without_an_answer_ends_at_its_deadline<W: World>() {
    let table = Table::default();
    let mut ground = named::<W>(&table);
    until_asked(&mut ground, &table);
    assert!(ground.stats().pool("out").unwrap().backends[0].addresses == 0);
}

fn a_name_that_leads_back_to_the_listener_is_nobody<W: World>() {
    let table = Table::default();
    let mut ground = Ground::<W>::new();
    let taken = ground.nobody();
    let mut config = ground.config(&[]);
    let at = format!("tcp://{}:{}", ground.world.server_ip(), taken.port());
    config.listeners[0].at = at.parse().unwrap();
    let name = format!("backend.example:{}", taken.port());
    config.pools[0].backends = vec![sockeye_relay::BackendConfig::new(name.parse().unwrap())];
    let back = SocketAddr::new(ground.world.server_ip(), taken.port());
    ground.start_with(config, Some(Box::new(Always(vec![back]))));
    ground.client(asks());
    ground.until_ended(1);
    assert_eq!(ground.told.last().end, SessionEnd::AllDown);
    let _ = table;
}

struct Always(Vec<SocketAddr>);

impl Names for Always {
    fn start(&mut self, _: &Target, _: Duration) {}

    fn poll(&mut self, _: &Target) -> Option<io::Result<Vec<SocketAddr>>> {
        Some(Ok(self.0.clone()))
    }
}

fn names_take_somebody_who_knows_them<W: World>() {
    let mut ground = Ground::<W>::new();
    let mut config = ground.config(&[]);
    config.pools[0].backends = vec![sockeye_relay::BackendConfig::new(
        "backend.example:80".parse().unwrap(),
    )];
    let relay = Relay::new(config).unwrap();
    match relay.start(ground.world.server()) {
        Err(error @ StartError::NoNames { .. }) => {
            let told = error.to_string();
            assert!(
                told.starts_with("backend tcp://backend.example:80 of pool out "),
                "{told}"
            );
            assert!(told.contains("feature `resolver`"), "{told}");
        }
        // With the feature `resolver` the system knows names.
        started => assert!(started.is_ok(), "{started:?}"),
    }
}
