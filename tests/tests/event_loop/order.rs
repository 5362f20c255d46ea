//! Callbacks in order, each ending from inside each of them, and ids that have gone stale.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use sockeye_event_loop::{Sent, Stream, StreamId, StreamOptions};

use crate::probe::{Probe, Told};
use crate::world::World;

in_all_worlds!(
    a_connection_is_opened_first_and_closed_last,
    ended_inside_every_callback,
    data_and_end_together_are_told_in_order,
    half_close_keeps_the_other_half,
    a_stale_id_is_gone,
    what_one_connection_does_to_another_waits_to_be_told,
    a_connection_closed_by_another_still_sends,
    messages_come_in_order_and_not_to_the_dead,
    a_write_after_the_close_is_gone;
    on_two_loops:
    stats_count_what_happened;
    by_ip_only:
    an_abort_is_a_reset_for_the_peer,
    a_reset_after_the_peers_end_is_told,
);

fn a_connection_is_opened_first_and_closed_last<W: World>() {
    let mut world = W::new();
    let (server, at) = Probe::new().serve(&mut world, StreamOptions::default());
    let client = Probe::new()
        .open(|stream| {
            let _ = stream.write(b"hello");
            stream.close();
        })
        .connect(&mut world, at);
    let (s, c) = (server.log.clone(), client.log.clone());
    world.until("both closed", || s.has(&Told::Dropped) && c.has(&Told::Dropped));
    let told = server.log.all();
    assert_eq!(told.first(), Some(&Told::Open));
    assert_eq!(server.log.received(0), b"hello");
    assert_eq!(
        &told[told.len() - 3..],
        [Told::Eof, Told::Close("closed".into()), Told::Dropped]
    );
    assert_eq!(
        client.log.all(),
        [Told::Open, Told::Close("closed".into()), Told::Dropped]
    );
    assert_eq!(
        (world.server().open_streams(), world.client().open_streams()),
        (0, 0)
    );
}

/// How a callback ends its connection.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    Close,
    Abort,
    HalfClose,
    CloseTwice,
    CloseThenAbort,
}

impl Ending {
    fn act(self, stream: &mut Stream<'_>) {
        match self {
            Self::Close => stream.close(),
            Self::Abort => stream.abort(),
            Self::HalfClose => {
                stream.shutdown_write();
                assert_eq!(stream.write(b"too late"), Sent::Gone);
            }
            Self::CloseTwice => {
                stream.close();
                stream.close();
                stream.shutdown_write();
            }
            Self::CloseThenAbort => {
                stream.close();
                stream.abort();
                stream.close();
            }
        }
    }
}

/// Every way to end a connection, from every callback: one `on_close`, last, and nothing left.
fn ended_inside_every_callback<W: World>() {
    let endings = [
        Ending::Close,
        Ending::Abort,
        Ending::HalfClose,
        Ending::CloseTwice,
        Ending::CloseThenAbort,
    ];
    for ending in endings {
        for callback in [
            "open", "data", "complete", "writable", "eof", "timer", "message", "drain",
        ] {
            let mut world = W::new();
            let act = move |at: &str, stream: &mut Stream<'_>| {
                if at == callback {
                    ending.act(stream);
                }
            };
            let probe = Probe::new()
                .open(move |stream| {
                    stream.notify_writable();
                    stream.set_timer(Duration::from_millis(1), 1);
                    let own = stream.id();
                    stream.send_message(own, Box::new(7_u64));
                    act("open", stream);
                })
                .data(move |stream, data| {
                    act("data", stream);
                    data.len()
                })
                .complete(move |stream| act("complete", stream))
                .writable(move |stream| act("writable", stream))
                .eof(move |stream| {
                    act("eof", stream);
                    if callback != "eof" || ending == Ending::HalfClose {
                        stream.close();
                    }
                })
                .timer(move |stream, _| act("timer", stream))
                .message(move |stream, _| act("message", stream))
                .drain(move |stream| {
                    act("drain", stream);
                    if callback != "drain" || ending == Ending::HalfClose {
                        stream.close();
                    }
                });
            let (server, at) = probe.serve(&mut world, StreamOptions::default());
            let client = Probe::new()
                .open(move |stream| {
                    let _ = stream.write(b"x");
                    stream.set_timer(Duration::from_millis(5), 1);
                })
                .timer(move |stream, _| {
                    if callback != "drain" {
                        stream.close();
                    }
                })
                .connect(&mut world, at);
            let what = format!("{ending:?} in {callback}");
            if callback == "drain" {
                let log = server.log.clone();
                world.until(&what, || log.received_len(0) == 1);
                world.server().start_drain(Duration::from_secs(10));
            }
            let (s, c) = (server.log.clone(), client.log.clone());
            // A reset may come before the client has noticed that it is connected.
            let failed = |told: &Told| matches!(told, Told::ConnectFailed(_));
            world.until(&what, || {
                s.has(&Told::Dropped) && (c.has(&Told::Dropped) || c.all().iter().any(failed))
            });
            let told = server.log.all();
            assert_eq!(told[0], Told::Open, "{what}");
            assert_eq!(server.log.closes().len(), 1, "{what}: {told:?}");
            assert!(
                matches!(told[told.len() - 2..], [Told::Close(_), Told::Dropped]),
                "{what}: {told:?}"
            );
            assert_eq!(world.server().open_streams(), 0, "{what}");
            assert_eq!(world.server().stats().panics, 0, "{what}");
        }
    }
}

fn data_and_end_together_are_told_in_order<W: World>() {
    let mut world = W::new();
    let (server, at) = Probe::new().serve(&mut world, StreamOptions::default());
    Probe::new()
        .open(|stream| {
            let _ = stream.write(&[1; 3000]);
            let _ = stream.write(&[2; 3000]);
            stream.shutdown_write();
        })
        .connect(&mut world, at);
    let log = server.log.clone();
    world.until("the end", || log.has(&Told::Dropped));
    let received = server.log.received(0);
    assert_eq!((received.len(), received[0], received[5999]), (6000, 1, 2));
    let told = server.log.all();
    let eof = told.iter().position(|told| *told == Told::Eof).unwrap();
    // What is gathered until the read is complete can be sent before the end is told.
    let complete = told
        .iter()
        .rposition(|told| *told == Told::ReadComplete)
        .expect("the read is completed");
    assert!(complete < eof, "{told:?}");
    assert!(
        told[eof..].iter().all(|told| !matches!(told, Told::Data(_))),
        "{told:?}"
    );
}

fn half_close_keeps_the_other_half<W: World>() {
    let mut world = W::new();
    let (server, at) = Probe::new()
        .eof(|stream| {
            stream.set_timer(Duration::from_millis(3), 1);
        })
        .timer(|stream, _| {
            assert_eq!(stream.write(b"after your end"), Sent::Sent);
            stream.shutdown_write();
        })
        .serve(&mut world, StreamOptions::default());
    let client = Probe::new()
        .open(|stream| {
            let _ = stream.write(b"question");
            stream.shutdown_write();
        })
        .connect(&mut world, at);
    let (s, c) = (server.log.clone(), client.log.clone());
    world.until("both ended", || s.has(&Told::Dropped) && c.has(&Told::Dropped));
    assert_eq!(client.log.received(0), b"after your end");
    assert_eq!(server.log.closes(), ["closed"]);
    assert_eq!(client.log.closes(), ["closed"]);
}

fn an_abort_is_a_reset_for_the_peer<W: World>() {
    let mut world = W::new();
    let (server, at) = Probe::new().serve(&mut world, StreamOptions::default());
    let client = Probe::new()
        .open(|stream| {
            let _ = stream.write(b"x");
        })
        .data(|stream, data| {
            stream.abort();
            data.len()
        })
        .connect(&mut world, at);
    let s = server.log.clone();
    world.until("open", || s.opened() == 1);
    let id = server.log.id(0);
    let sent = world
        .server()
        .with(server.handle, |_, context| context.write(id, b"now"))
        .unwrap();
    assert_eq!(sent, Sent::Sent);
    let c = client.log.clone();
    world.until("reset", || s.has(&Told::Dropped) && c.has(&Told::Dropped));
    assert_eq!(client.log.closes(), ["aborted"]);
    assert_eq!(server.log.closes(), ["error"]);
    assert!(!server.log.has(&Told::Eof), "a reset is no end");
}

/// The peer ended its side, and then the connection was reset: it is over, though nothing is written.
fn a_reset_after_the_peers_end_is_told<W: World>() {
    let mut world = W::new();
    let (server, at) = Probe::new()
        .eof(|_| {})
        .serve(&mut world, StreamOptions::default());
    let client = Probe::new()
        .open(|stream| stream.shutdown_write())
        .connect(&mut world, at);
    let log = server.log.clone();
    world.until("the end", || log.has(&Told::Eof));
    let id = client.log.id(0);
    world
        .client()
        .with(client.handle, |_, context| context.stream(id).unwrap().abort());
    world.until("the reset", || log.has(&Told::Dropped));
    assert_eq!(server.log.closes(), ["error"]);
}

fn a_stale_id_is_gone<W: World>() {
    let mut world = W::new();
    let (server, at) = Probe::new().serve(&mut world, StreamOptions::default());
    let first = Probe::new().open(|stream| stream.close()).connect(&mut world, at);
    let (s, c) = (server.log.clone(), first.log.clone());
    world.until("the first gone", || {
        s.has(&Told::Dropped) && c.has(&Told::Dropped)
    });
    let stale = server.log.id(0);
    // The next connection takes the same place.
    let second = Probe::new().connect(&mut world, at);
    let c = second.log.clone();
    world.until("the second open", || s.opened() == 2 && c.opened() == 1);
    assert_ne!(server.log.id(1), stale);
    world.server().with(server.handle, |_, context| {
        assert_eq!(context.write(stale, b"who?"), Sent::Gone);
        assert!(context.stream(stale).is_none());
        assert!(!context.send_message(stale, Box::new(1_u64)));
        let all = std::sync::Arc::from(&b"all"[..]);
        assert_eq!(context.broadcast(&all, [stale]), 0);
    });
    let remote = world.server().remote();
    remote.send(stale, *b"who?").unwrap();
    remote.close(stale).unwrap();
    remote.message(stale, 1_u64).unwrap();
    let live = server.log.id(1);
    remote.send(live, *b"you").unwrap();
    world.until("the living one hears", || second.log.received_len(0) == 3);
    assert_eq!(second.log.received(0), b"you");
    assert!(
        !server
            .log
            .all()
            .iter()
            .any(|told| matches!(told, Told::Message(_)))
    );
}

/// Acts on others at once; what they are told waits until the callback has returned.
fn what_one_connection_does_to_another_waits_to_be_told<W: World>() {
    let mut world = W::new();
    let log = crate::probe::Log::default();
    let inside = Rc::new(Cell::new(false));
    let peers: Rc<RefCell<Vec<StreamId>>> = Rc::default();
    let (l, i, p) = (log.clone(), Rc::clone(&inside), Rc::clone(&peers));
    let mut probe = Probe::new()
        .open(move |stream| p.borrow_mut().push(stream.id()))
        .data(move |stream, data| {
            i.set(true);
            let before = l.all().len();
            let own = stream.id();
            for &id in peers.borrow().iter().filter(|id| **id != own) {
                let mut other = stream.other(id).expect("it is open");
                assert!(other.write(b"bye").is_taken());
                other.notify_writable();
                other.abort();
                assert_eq!(other.write(b"x"), Sent::Gone);
                assert!(
                    stream.other(id).is_none(),
                    "an aborted connection is not there any more"
                );
                assert!(!stream.send_message(id, Box::new(1_u64)));
            }
            assert!(stream.other(own).is_none());
            assert_eq!(l.all().len(), before, "nobody was told anything meanwhile");
            i.set(false);
            data.len()
        })
        .close(move |_, _| assert!(!inside.get(), "no callback runs inside another"));
    probe.log = log.clone();
    let (_, at) = probe.serve(&mut world, StreamOptions::default());
    let clients: Vec<_> = (0..3).map(|_| Probe::new().connect(&mut world, at)).collect();
    world.until("all open", || {
        log.opened() == 3 && clients.iter().all(|c| c.log.opened() == 1)
    });
    let id = clients[0].log.id(0);
    let _ = world
        .client()
        .with(clients[0].handle, |_, context| context.write(id, b"go"));
    world.until("two aborted", || log.closes().len() == 2);
    assert_eq!(log.closes(), ["aborted", "aborted"]);
    assert_eq!(world.server().stats().panics, 0);
}

fn a_connection_closed_by_another_still_sends<W: World>() {
    let mut world = W::new();
    let (server, at) = Probe::new().serve(&mut world, StreamOptions::default());
    let client = Probe::new().connect(&mut world, at);
    let s = server.log.clone();
    world.until("open", || s.opened() == 1);
    let id = server.log.id(0);
    let data = sockeye_tests::pattern(900_000);
    let expected = data.clone();
    world.server().with(server.handle, |_, context| {
        assert!(context.write(id, &data).is_taken());
        let mut stream = context.stream(id).unwrap();
        stream.close();
        assert_eq!(stream.write(b"more"), Sent::Gone);
        assert!(!stream.is_reading());
    });
    let c = client.log.clone();
    world.until("both gone", || s.has(&Told::Dropped) && c.has(&Told::Dropped));
    assert!(client.log.received(0) == expected, "every byte arrived");
    assert_eq!(server.log.closes(), ["closed"]);
}

fn messages_come_in_order_and_not_to_the_dead<W: World>() {
    let mut world = W::new();
    let (server, at) = Probe::new()
        .message(|stream, number| {
            if number == 3 {
                stream.close();
            }
        })
        .serve(&mut world, StreamOptions::default());
    let client = Probe::new().connect(&mut world, at);
    let s = server.log.clone();
    world.until("open", || s.opened() == 1);
    let id = server.log.id(0);
    world.server().with(server.handle, |_, context| {
        for number in 1..=5_u64 {
            assert!(context.send_message(id, Box::new(number)));
        }
    });
    let c = client.log.clone();
    world.until("gone", || s.has(&Told::Dropped) && c.has(&Told::Dropped));
    let numbers: Vec<_> = server
        .log
        .all()
        .into_iter()
        .filter(|told| matches!(told, Told::Message(_)))
        .collect();
    assert_eq!(numbers, [Told::Message(1), Told::Message(2), Told::Message(3)]);
}

fn a_write_after_the_close_is_gone<W: World>() {
    let mut world = W::new();
    let (server, at) = Probe::new()
        .data(|stream, data| {
            assert_eq!(stream.write(b"last words"), Sent::Sent);
            stream.close();
            assert_eq!(stream.write(b"x"), Sent::Gone);
            assert_eq!(stream.write_shared(&std::sync::Arc::from(&b"x"[..])), Sent::Gone);
            data.len()
        })
        .serve(&mut world, StreamOptions::default());
    let client = Probe::new()
        .open(|stream| {
            let _ = stream.write(b"x");
        })
        .connect(&mut world, at);
    let (s, c) = (server.log.clone(), client.log.clone());
    world.until("gone", || s.has(&Told::Dropped) && c.has(&Told::Dropped));
    assert_eq!(client.log.received(0), b"last words");
    assert_eq!(world.server().stats().panics, 0);
}

fn stats_count_what_happened<W: World>() {
    let mut world = W::new();
    let (server, at) = Probe::new()
        .data(|stream, data| {
            assert_eq!(stream.write(data), Sent::Sent);
            data.len()
        })
        .serve(&mut world, StreamOptions::default());
    let clients: Vec<_> = (0..3)
        .map(|_| {
            Probe::new()
                .open(|stream| {
                    let _ = stream.write(b"ping!");
                })
                .data(|stream, data| {
                    stream.close();
                    data.len()
                })
                .connect(&mut world, at)
        })
        .collect();
    let s = server.log.clone();
    world.until("three echoes", || {
        s.closes().len() == 3 && clients.iter().all(|client| client.log.has(&Told::Dropped))
    });
    let stats = world.server().stats();
    assert_eq!(
        (stats.accepted, stats.closed, stats.connected, stats.panics),
        (3, 3, 0, 0)
    );
    assert_eq!(
        (stats.bytes_in, stats.bytes_out, stats.reads, stats.writes),
        (15, 15, 3, 3)
    );
    let stats = world.client().stats();
    assert_eq!(
        (
            stats.accepted,
            stats.closed,
            stats.connected,
            stats.connect_errors
        ),
        (0, 3, 3, 0)
    );
    assert_eq!((stats.bytes_in, stats.bytes_out), (15, 15));
}
