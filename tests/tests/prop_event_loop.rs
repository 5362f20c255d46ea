//! Random scripts of writes, pauses, partial consumption and ends against the simplest model of a connection:
//! what one side was told is taken, the other side gets, once and in order; and the other way round.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::redundant_clone,
    clippy::type_complexity,
    reason = "what fails in a helper fails the test; a log is cloned for the closure that waits on it"
)]
#![allow(
    unreachable_pub,
    dead_code,
    reason = "the modules of one test target, and it uses a part of them"
)]

#[path = "event_loop/probe.rs"]
mod probe;
#[path = "event_loop/world.rs"]
mod world;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use sockeye_event_loop::{ConnectRequest, Sent, Stream, StreamOptions, Watermarks};

use probe::{Probe, Told};
use world::{OnKernel, Simulated, World};

/// One step of a side's script.
#[derive(Clone, Debug)]
enum Step {
    Write(usize),
    Shared(usize),
    /// Several small ones in one callback: they are gathered.
    Small(usize),
    Pause,
    Resume,
    Notify,
    /// From now on so many sixteenths of what is offered are consumed.
    Consume(usize),
    /// By a message to itself instead of at once.
    Message(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let len = prop_oneof![0..10_usize, 0..5_000_usize, 4_000..4_200_usize, 0..40_000_usize];
    prop_oneof![
        4 => len.clone().prop_map(Step::Write),
        2 => len.clone().prop_map(Step::Shared),
        2 => (1..30_usize).prop_map(Step::Small),
        1 => Just(Step::Pause),
        1 => Just(Step::Resume),
        1 => Just(Step::Notify),
        1 => (0..=16_usize).prop_map(Step::Consume),
        1 => len.prop_map(Step::Message),
        1 => (0..3_u64).prop_map(Step::Wait),
    ]
}

#[derive(Clone, Debug)]
struct Script {
    steps: Vec<Step>,
    high: usize,
    low: usize,
}

fn script() -> impl Strategy<Value = Script> {
    let marks = (1..100_000_usize, 0..100_usize);
    (proptest::collection::vec(step(), 0..25), marks).prop_map(|(steps, (high, percent))| Script {
        steps,
        high,
        low: high * percent / 100,
    })
}

/// Timer keys.
const NEXT: u64 = 1;
const GO_ON: u64 = 2;

/// One side: plays its script, one step a timer, and writes down what was taken.
struct Side {
    steps: RefCell<std::vec::IntoIter<Step>>,
    taken: RefCell<Vec<u8>>,
    sixteenths: Cell<usize>,
    finished: Cell<bool>,
    /// Set while the script itself has paused.
    paused: Cell<bool>,
}

impl Side {
    fn write(&self, stream: &mut Stream<'_>, len: usize, shared: bool) {
        let start = self.taken.borrow().len();
        let bytes: Vec<u8> = (start..start + len)
            .map(|at| at.wrapping_mul(31).to_le_bytes()[0] ^ at.to_le_bytes()[1])
            .collect();
        let before = stream.queued();
        let sent = if shared {
            stream.write_shared(&Arc::from(&bytes[..]))
        } else {
            stream.write(&bytes)
        };
        match sent {
            Sent::Sent | Sent::Queued => self.taken.borrow_mut().extend_from_slice(&bytes),
            Sent::Full => assert_eq!(stream.queued(), before),
            other => panic!("{other:?}"),
        }
    }

    fn next(&self, stream: &mut Stream<'_>) {
        let Some(step) = self.steps.borrow_mut().next() else {
            self.finished.set(true);
            self.sixteenths.set(16);
            self.paused.set(false);
            stream.resume();
            stream.shutdown_write();
            return;
        };
        let mut wait = Duration::from_micros(20);
        match step {
            Step::Write(len) => self.write(stream, len, false),
            Step::Shared(len) => self.write(stream, len, true),
            Step::Small(count) => (0..count).for_each(|i| self.write(stream, i * 7, false)),
            Step::Pause => {
                self.paused.set(true);
                stream.pause();
            }
            Step::Resume => {
                self.paused.set(false);
                stream.resume();
            }
            Step::Notify => stream.notify_writable(),
            Step::Consume(sixteenths) => self.sixteenths.set(sixteenths),
            Step::Message(len) => {
                let own = stream.id();
                assert!(stream.send_message(own, Box::new(len as u64)));
            }
            Step::Wait(ms) => wait = Duration::from_millis(ms),
        }
        stream.set_timer(wait, NEXT);
    }

    fn consume(&self, stream: &mut Stream<'_>, data: &[u8]) -> usize {
        let consumed = if self.finished.get() {
            data.len()
        } else {
            data.len() * self.sixteenths.get() / 16
        };
        if consumed < data.len() {
            // Without a pause the rest would come with more, or at the end once and never again.
            stream.pause();
            stream.set_timer(Duration::from_micros(50), GO_ON);
        }
        consumed
    }
}

fn side(script: Script) -> (Rc<Side>, Probe) {
    let side = Rc::new(Side {
        steps: RefCell::new(script.steps.into_iter()),
        taken: RefCell::default(),
        sixteenths: Cell::new(16),
        finished: Cell::new(false),
        paused: Cell::new(false),
    });
    let [a, b, c] = [(); 3].map(|()| Rc::clone(&side));
    let probe = Probe::new()
        .open(|stream| {
            stream.set_timer(Duration::ZERO, NEXT);
        })
        .timer(move |stream, key| match key {
            NEXT => a.next(stream),
            _ if !a.paused.get() => stream.resume(),
            _ => {}
        })
        .data(move |stream, data| b.consume(stream, data))
        .message(move |stream, len| {
            if !c.finished.get() {
                c.write(stream, usize::try_from(len).unwrap(), false);
            }
        })
        .eof(|_| {});
    (side, probe)
}

/// Plays both scripts and compares.
fn play<W: World>(server_script: Script, client_script: Script) {
    let mut world = W::new();
    // Only the client's marks are small: two sides that both wait for each other to read would wait for ever.
    let marks = Watermarks {
        high: client_script.high,
        low: client_script.low,
        ..Watermarks::default()
    };
    let small = StreamOptions {
        watermarks: marks,
        ..StreamOptions::default()
    };
    let large = Watermarks {
        high: 1 << 30,
        ..Watermarks::default()
    };
    let large = StreamOptions {
        watermarks: large,
        ..StreamOptions::default()
    };
    let (server_side, server) = side(server_script);
    let (client_side, client) = side(client_script);
    let (server, at) = server.serve(&mut world, large);
    let client = client.connect_with(&mut world, ConnectRequest::new(at), small);
    let (s, c) = (server.log.clone(), client.log.clone());
    world.until("both ended", || s.has(&Told::Dropped) && c.has(&Told::Dropped));
    assert!(
        server.log.received(0) == *client_side.taken.borrow(),
        "client to server"
    );
    assert!(
        client.log.received(0) == *server_side.taken.borrow(),
        "server to client"
    );
    for log in [&server.log, &client.log] {
        assert_eq!(log.closes(), ["closed"]);
        assert_eq!((log.count(&Told::Eof), log.count(&Told::Open)), (1, 1));
        let told = log.all();
        let eof = told.iter().position(|told| *told == Told::Eof).unwrap();
        assert!(
            told[eof..].iter().all(|told| !matches!(told, Told::Data(_))),
            "data after the end"
        );
    }
    assert_eq!(
        (world.server().stats().panics, world.client().stats().panics),
        (0, 0)
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn simulated_bytes_and_their_order_are_exact(server in script(), client in script()) {
        play::<Simulated>(server, client);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn bytes_and_their_order_are_exact_on_the_kernel(server in script(), client in script()) {
        play::<OnKernel>(server, client);
    }
}
