//! Timers and deadlines: never early, and not much too late. Nothing here depends on tight timing: early is
//! measured on the loop's own clock, late has a generous limit.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use sockeye_event_loop::{Deadlines, Stream, StreamOptions, Time, Watermarks};

use crate::probe::{Probe, Served, Told};
use crate::world::World;

in_all_worlds!(
    timers_fire_in_order_and_not_early,
    a_cancelled_timer_does_not_fire,
    timers_of_a_closed_connection_do_not_fire,
    many_timers_are_all_called,
    an_idle_connection_is_closed_not_early,
    activity_puts_the_idle_deadline_off,
    a_read_deadline_is_not_put_off_by_writing,
    a_pause_suspends_the_read_deadline_and_no_other_fires_for_it,
    the_peers_end_takes_the_read_deadline_away_and_leaves_the_idle_one,
    a_write_stall_is_noticed,
    a_slow_reader_is_no_stall,
    deadlines_of_one_connection_are_its_own,
    a_short_deadline_elsewhere_does_not_coarsen_a_long_one;
    by_ip_only:
    a_close_that_the_peer_does_not_answer_ends,
);

const MS: Duration = Duration::from_millis(1);

fn timers_fire_in_order_and_not_early<W: World>() {
    let mut world = W::new();
    let fired: Rc<RefCell<Vec<(u64, Time)>>> = Rc::default();
    let begun = Rc::new(Cell::new(Time::ZERO));
    let (f, b) = (Rc::clone(&fired), Rc::clone(&begun));
    let (_, at) = Probe::new()
        .open(move |stream| {
            b.set(stream.now());
            for after in [7, 3, 9, 1, 5, 0] {
                stream.set_timer(MS * after, u64::from(after));
            }
        })
        .timer(move |stream, key| f.borrow_mut().push((key, stream.now())))
        .serve(&mut world, StreamOptions::default());
    let _client = Probe::new().connect(&mut world, at);
    world.until("all of them", || fired.borrow().len() == 6);
    let keys: Vec<u64> = fired.borrow().iter().map(|(key, _)| *key).collect();
    assert_eq!(keys, [0, 1, 3, 5, 7, 9]);
    for &(key, when) in fired.borrow().iter() {
        assert!(
            when.since(begun.get()) >= Duration::from_millis(key),
            "timer {key} is early"
        );
    }
}

fn a_cancelled_timer_does_not_fire<W: World>() {
    let mut world = W::new();
    let (server, at) = Probe::new()
        .open(|stream| {
            let first = stream.set_timer(MS, 1);
            let second = stream.set_timer(MS * 2, 2);
            stream.set_timer(MS * 3, 3);
            assert!(stream.cancel_timer(second));
            assert!(!stream.cancel_timer(second), "once");
            // From the first one's own callback it is too late.
            assert_ne!(first, second);
        })
        .serve(&mut world, StreamOptions::default());
    let _client = Probe::new().connect(&mut world, at);
    let log = server.log.clone();
    world.until("the last", || log.has(&Told::Timer(3)));
    assert_eq!(server.log.all(), [Told::Open, Told::Timer(1), Told::Timer(3)]);
}

fn timers_of_a_closed_connection_do_not_fire<W: World>() {
    let mut world = W::new();
    let (server, at) = Probe::new()
        .open(|stream| {
            stream.set_timer(MS * 5, 1);
        })
        .serve(&mut world, StreamOptions::default());
    let client = Probe::new().open(|stream| stream.close()).connect(&mut world, at);
    let (s, c) = (server.log.clone(), client.log.clone());
    world.until("closed", || s.has(&Told::Dropped) && c.has(&Told::Dropped));
    // The place is taken again: the old timer must not be the new one's.
    let _second = Probe::new().connect(&mut world, at);
    world.until("the new one's own", || s.has(&Told::Timer(1)));
    world.pass(MS * 10);
    assert_eq!(
        server
            .log
            .of(0)
            .iter()
            .filter(|told| **told == Told::Timer(1))
            .count(),
        0
    );
    assert_eq!(server.log.of(1), [Told::Open, Told::Timer(1)]);
}

fn many_timers_are_all_called<W: World>() {
    const MANY: u64 = 20_000;
    let mut world = W::new();
    let (server, _) = Probe::new().serve(&mut world, StreamOptions::default());
    world.server().with(server.handle, |_, context| {
        let mut cancelled = Vec::new();
        for key in 0..MANY {
            let after = Duration::from_micros(key * 7919 % 20_000);
            context.set_timer(after, key);
            cancelled.push(context.set_timer(after, MANY));
        }
        assert!(cancelled.into_iter().all(|timer| context.cancel_timer(timer)));
    });
    let log = server.log.clone();
    world.until("all of them", || log.0.borrow().told.len() as u64 == MANY);
    let mut keys: Vec<u64> = log
        .all()
        .into_iter()
        .map(|told| {
            if let Told::ServiceTimer(key) = told {
                key
            } else {
                panic!("{told:?}")
            }
        })
        .collect();
    keys.sort_unstable();
    assert!(keys.into_iter().eq(0..MANY));
    assert_eq!(world.server().stats().timers, MANY);
}

fn with(deadlines: Deadlines) -> StreamOptions {
    StreamOptions {
        deadlines,
        ..StreamOptions::default()
    }
}

/// When the server's only connection was opened and closed.
#[derive(Clone, Default)]
struct Life {
    begun: Rc<Cell<Time>>,
    ended: Rc<Cell<Time>>,
}

impl Life {
    fn watch(&self, probe: Probe, mut open: impl FnMut(&mut Stream<'_>) + 'static) -> Probe {
        let (begun, ended) = (Rc::clone(&self.begun), Rc::clone(&self.ended));
        probe
            .open(move |stream| {
                begun.set(stream.now());
                open(stream);
            })
            .close(move |context, _| ended.set(context.now()))
    }

    fn lasted(&self) -> Duration {
        self.ended.get().since(self.begun.get())
    }
}

fn closes<W: World>(world: &mut W, server: &Served, reason: &str) {
    let log = server.log.clone();
    world.until(reason, || log.has(&Told::Dropped));
    assert_eq!(server.log.closes(), [reason]);
}

fn an_idle_connection_is_closed_not_early<W: World>() {
    let mut world = W::new();
    let life = Life::default();
    let options = with(Deadlines {
        idle: Some(MS * 40),
        ..Deadlines::default()
    });
    let (server, at) = life.watch(Probe::new(), |_| {}).serve(&mut world, options);
    let client = Probe::new().connect(&mut world, at);
    closes(&mut world, &server, "idle deadline");
    assert!(life.lasted() >= MS * 40, "{:?}", life.lasted());
    assert!(life.lasted() < Duration::from_secs(10));
    let log = client.log.clone();
    world.until("the peer is told", || log.has(&Told::Dropped));
    assert_eq!(world.server().stats().timed_out, 1);
}

fn activity_puts_the_idle_deadline_off<W: World>() {
    let mut world = W::new();
    let life = Life::default();
    let options = with(Deadlines {
        idle: Some(MS * 200),
        ..Deadlines::default()
    });
    let (server, at) = life.watch(Probe::new(), |_| {}).serve(&mut world, options);
    let _client = Probe::new()
        .open(|stream| {
            stream.set_timer(MS * 20, 0);
        })
        .timer(|stream, key| {
            let _ = stream.write(b"x");
            if key < 19 {
                stream.set_timer(MS * 20, key + 1);
            }
        })
        .connect(&mut world, at);
    closes(&mut world, &server, "idle deadline");
    if server.log.received_len(0) == 20 {
        assert!(
            life.lasted() >= MS * 600,
            "400 ms of activity, then 200 without: {:?}",
            life.lasted()
        );
    }
}

fn a_read_deadline_is_not_put_off_by_writing<W: World>() {
    let mut world = W::new();
    let life = Life::default();
    let options = with(Deadlines {
        read: Some(MS * 50),
        ..Deadlines::default()
    });
    let (server, at) = life
        .watch(Probe::new(), |stream| {
            stream.set_timer(MS, 0);
        })
        .timer(|stream, _| {
            let _ = stream.write(b"are you there?");
            stream.set_timer(MS, 0);
        })
        .serve(&mut world, options);
    let _client = Probe::new().connect(&mut world, at);
    closes(&mut world, &server, "read deadline");
    assert!(life.lasted() >= MS * 50, "{:?}", life.lasted());
}

fn a_pause_suspends_the_read_deadline_and_no_other_fires_for_it<W: World>() {
    let mut world = W::new();
    let life = Life::default();
    let options = with(Deadlines {
        read: Some(MS * 30),
        idle: Some(Duration::from_secs(600)),
        ..Deadlines::default()
    });
    let resumed = Rc::new(Cell::new(Time::ZERO));
    let (r, l) = (Rc::clone(&resumed), life.clone());
    let (server, at) = l
        .watch(Probe::new(), |stream| {
            stream.set_timer(MS, 1);
            stream.set_timer(MS * 120, 2);
        })
        .timer(move |stream, key| {
            if key == 1 {
                stream.pause();
            } else {
                r.set(stream.now());
                stream.resume();
            }
        })
        .serve(&mut world, options);
    let _client = Probe::new().connect(&mut world, at);
    closes(&mut world, &server, "read deadline");
    assert!(
        server.log.has(&Told::Timer(2)),
        "it was still there when it resumed"
    );
    assert!(life.ended.get().since(resumed.get()) >= MS * 30);
}

fn the_peers_end_takes_the_read_deadline_away_and_leaves_the_idle_one<W: World>() {
    let mut world = W::new();
    let life = Life::default();
    let options = with(Deadlines {
        read: Some(MS * 30),
        idle: Some(MS * 150),
        ..Deadlines::default()
    });
    let (server, at) = life
        .watch(Probe::new(), |_| {})
        .eof(|_| {})
        .serve(&mut world, options);
    let _client = Probe::new()
        .open(|stream| stream.shutdown_write())
        .connect(&mut world, at);
    closes(&mut world, &server, "idle deadline");
    assert!(life.lasted() >= MS * 150, "{:?}", life.lasted());
}

fn a_write_stall_is_noticed<W: World>() {
    let mut world = W::new();
    let life = Life::default();
    let options = StreamOptions {
        deadlines: Deadlines {
            write_stall: Some(MS * 60),
            ..Deadlines::default()
        },
        watermarks: Watermarks {
            high: 1 << 30,
            max_write: 1 << 30,
            ..Watermarks::default()
        },
        ..StreamOptions::default()
    };
    let fill = |stream: &mut Stream<'_>| assert!(stream.write(&vec![0; 32 << 20]).is_taken());
    let (server, at) = life.watch(Probe::new(), fill).serve(&mut world, options);
    let _client = Probe::new().open(|stream| stream.pause()).connect(&mut world, at);
    closes(&mut world, &server, "write-stall deadline");
    assert!(life.lasted() >= MS * 60, "{:?}", life.lasted());
}

fn a_slow_reader_is_no_stall<W: World>() {
    let mut world = W::new();
    let options = StreamOptions {
        deadlines: Deadlines {
            write_stall: Some(Duration::from_secs(5)),
            ..Deadlines::default()
        },
        watermarks: Watermarks {
            high: 1 << 30,
            max_write: 1 << 30,
            ..Watermarks::default()
        },
        ..StreamOptions::default()
    };
    let (server, at) = Probe::new()
        .open(|stream| {
            assert!(stream.write(&vec![0; 12 << 20]).is_taken());
            stream.close();
        })
        .serve(
            &mut world,
            StreamOptions {
                close_timeout: Duration::from_secs(600),
                ..options
            },
        );
    let client = Probe::new()
        .data(|stream, data| {
            stream.pause();
            stream.set_timer(Duration::from_micros(200), 0);
            data.len()
        })
        .timer(|stream, _| stream.resume())
        .connect(&mut world, at);
    let log = client.log.clone();
    world.until("all of it", || log.received_len(0) == 12 << 20);
    closes(&mut world, &server, "closed");
}

fn a_close_that_the_peer_does_not_answer_ends<W: World>() {
    let mut world = W::new();
    let life = Life::default();
    let options = StreamOptions {
        close_timeout: MS * 50,
        ..StreamOptions::default()
    };
    let (server, at) = life
        .watch(Probe::new(), |stream| stream.close())
        .serve(&mut world, options);
    // It hears the end and keeps its own side open.
    let client = Probe::new().eof(|_| {}).connect(&mut world, at);
    closes(&mut world, &server, "close deadline");
    assert!(life.lasted() >= MS * 50, "{:?}", life.lasted());
    let log = client.log.clone();
    world.until("and then a reset", || log.has(&Told::Dropped));
    assert_eq!(client.log.closes(), ["error"]);
}

fn deadlines_of_one_connection_are_its_own<W: World>() {
    let mut world = W::new();
    let options = with(Deadlines {
        idle: Some(MS * 20),
        ..Deadlines::default()
    });
    let (server, at) = Probe::new()
        .open(|stream| {
            if stream.queued() == 0 {
                stream.set_deadlines(Deadlines::default());
            }
            stream.set_timer(MS * 200, 1);
        })
        .timer(|stream, _| {
            stream.set_deadlines(Deadlines {
                idle: Some(MS * 10),
                ..Deadlines::default()
            })
        })
        .serve(&mut world, options);
    let _client = Probe::new().connect(&mut world, at);
    closes(&mut world, &server, "idle deadline");
    assert!(server.log.has(&Told::Timer(1)), "it had none for 200 ms");
}

/// One service's deadline is two milliseconds, another one's is long: the long one is held to a sixteenth too.
fn a_short_deadline_elsewhere_does_not_coarsen_a_long_one<W: World>() {
    let mut world = W::new();
    let (_, short_at) = Probe::new().serve(
        &mut world,
        with(Deadlines {
            idle: Some(MS * 2),
            ..Deadlines::default()
        }),
    );
    let life = Life::default();
    let last = Rc::new(Cell::new(Time::ZERO));
    let heard = Rc::clone(&last);
    let options = with(Deadlines {
        idle: Some(Duration::from_secs(1)),
        ..Deadlines::default()
    });
    let (server, at) = life
        .watch(Probe::new(), |_| {})
        .data(move |stream, data| {
            heard.set(stream.now());
            data.len()
        })
        .serve(&mut world, options);
    let _short = Probe::new().connect(&mut world, short_at);
    let _client = Probe::new()
        .open(|stream| {
            stream.set_timer(MS * 300, 0);
        })
        .timer(|stream, _| {
            let _ = stream.write(b"x");
        })
        .connect(&mut world, at);
    closes(&mut world, &server, "idle deadline");
    let silent = life.ended.get().since(last.get());
    assert!(silent >= Duration::from_secs(1), "early: {silent:?}");
    assert!(silent < MS * 1400, "late: {silent:?}");
}
