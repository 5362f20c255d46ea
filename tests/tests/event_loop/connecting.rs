//! Connects, and connections joined.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sockeye_event_loop::{
    ConnectRequest, Deadlines, ListenOptions, ListenerId, Sent, Stream, StreamId, StreamOptions,
};
use sockeye_tests::pattern;

use crate::probe::{Log, Probe, Told};
use crate::world::World;

in_all_worlds!(
    the_filter_and_an_empty_list_leave_no_address,
    a_cancelled_connect_is_told_once,
    a_connect_that_nobody_answers_ends_at_its_deadline,
    a_relay_carries_ten_megabytes_each_way,
    a_relay_passes_a_half_close_on,
    a_relay_takes_over_what_was_left,
    a_joined_connection_can_be_closed,
    the_end_of_one_side_of_a_relay_is_told_and_may_shorten_the_deadline,
    what_cannot_be_joined_is_refused;
    on_two_loops:
    a_connection_knows_its_listener;
    by_ip_only:
    a_refused_connect_says_which_address_and_why,
    a_reset_on_one_side_of_a_relay_ends_the_other,
    the_first_address_that_answers_wins,
);

pub fn failed(log: &Log) -> Option<String> {
    log.all().into_iter().find_map(|told| {
        if let Told::ConnectFailed(why) = told {
            Some(why)
        } else {
            None
        }
    })
}

/// An address at which nobody listens.
fn nobody<W: World>(world: &mut W) -> SocketAddr {
    let handle = world
        .server()
        .add_stream_service(Probe::new(), StreamOptions::default());
    let (id, at) = world.listen_with(handle, &ListenOptions::default());
    world.server().close_listener(id);
    at
}

fn a_refused_connect_says_which_address_and_why<W: World>() {
    let mut world = W::new();
    let at = nobody(&mut world);
    let client = Probe::new().connect(&mut world, at);
    let log = client.log.clone();
    world.until("refused", || failed(&log).is_some());
    let why = failed(&client.log).unwrap();
    assert!(
        why.starts_with(&format!("connect {at}: Connection refused")),
        "{why}"
    );
    assert_eq!(world.client().open_streams(), 0);
    assert_eq!(world.client().stats().connect_errors, 1);
}

fn the_filter_and_an_empty_list_leave_no_address<W: World>() {
    let mut world = W::new();
    let at = nobody(&mut world);
    let filtered = ConnectRequest::new(at).filter(|_| false);
    for request in [filtered, ConnectRequest::any_of([])] {
        let client = Probe::new().connect_with(&mut world, request, StreamOptions::default());
        let log = client.log.clone();
        world.until("told", || failed(&log).is_some());
        assert_eq!(failed(&client.log).unwrap(), "connect: no address to try");
    }
}

fn the_first_address_that_answers_wins<W: World>() {
    let mut world = W::new();
    let (first, second) = (nobody(&mut world), nobody(&mut world));
    let (server, at) = Probe::new().serve(&mut world, StreamOptions::default());
    let (_, unused) = Probe::new().serve(&mut world, StreamOptions::default());
    let tag = Rc::new(Cell::new(0));
    let seen = Rc::clone(&tag);
    let request = ConnectRequest::any_of([first, second, at, unused]).tag(77);
    let client = Probe::new()
        .open(move |stream| {
            seen.set(stream.tag());
            assert_eq!(stream.peer_addr().map(|peer| peer.port()), Some(at.port()));
        })
        .connect_with(&mut world, request, StreamOptions::default());
    let (s, c) = (server.log.clone(), client.log.clone());
    world.until("connected", || s.opened() == 1 && c.opened() == 1);
    assert_eq!(tag.get(), 77);
    assert_eq!((failed(&client.log), world.client().open_streams()), (None, 1));
}

fn a_cancelled_connect_is_told_once<W: World>() {
    let mut world = W::new();
    let (_, at) = Probe::new().serve(&mut world, StreamOptions::default());
    let client = world
        .client()
        .add_stream_service(Probe::new(), StreamOptions::default());
    let log = world.client().service(client).unwrap().log.clone();
    let request = world.request(at);
    world.client().with(client, |_, context| {
        let id = context.connect(request);
        assert!(context.cancel_connect(id));
        assert!(!context.cancel_connect(id));
    });
    world.until("told", || failed(&log).is_some());
    world.pass(Duration::from_millis(5));
    assert_eq!(log.all(), [Told::ConnectFailed("connect: cancelled".into())]);
    assert_eq!(world.client().open_streams(), 0);
}

/// A listener without room in its backlog, which on the kernel drops further SYNs; in the simulation a cut link
/// would do the same. Here: a deadline so short that even an answer comes too late, or an answer in time.
fn a_connect_that_nobody_answers_ends_at_its_deadline<W: World>() {
    let mut world = W::new();
    let (_, at) = Probe::new().serve(&mut world, StreamOptions::default());
    let options = StreamOptions {
        deadlines: Deadlines {
            connect: Some(Duration::ZERO),
            ..Deadlines::default()
        },
        ..StreamOptions::default()
    };
    // Its own loop looks at the clock before it looks at the answer: nothing has answered yet.
    let request = world.request(at);
    let client = Probe::new().connect_with(&mut world, request, options);
    let log = client.log.clone();
    world.until("decided", || failed(&log).is_some() || log.opened() == 1);
    if let Some(why) = failed(&client.log) {
        assert_eq!(why, "connect: the deadline passed");
        assert_eq!(world.client().open_streams(), 0);
    }
}

/// A relay on the server's loop: what is accepted is joined to a new connection to `to`.
fn relay<W: World>(world: &mut W, to: SocketAddr) -> (Log, SocketAddr) {
    let request = world.request(to).tag(1);
    let waiting: Rc<RefCell<Vec<StreamId>>> = Rc::default();
    let push = Rc::clone(&waiting);
    let probe = Probe::new()
        .open(move |stream| {
            if stream.tag() == 0 {
                stream.pause();
                push.borrow_mut().push(stream.id());
                stream.context().connect(request.clone());
            } else {
                let front = waiting.borrow_mut().remove(0);
                assert!(stream.join(front));
                assert!(!stream.join(front), "once");
                assert_eq!(stream.write(b"x"), Sent::Gone);
            }
        })
        .data(|_, _| panic!("a joined connection hears nothing"));
    let log = probe.log.clone();
    let handle = world.server().add_stream_service(probe, StreamOptions::default());
    let at = world.listen(handle);
    (log, at)
}

/// Sends all of `data`, then its end, and reads at its own pace.
fn pump_all(data: &Arc<[u8]>) -> Probe {
    let (data, sent) = (Arc::clone(data), Rc::new(Cell::new(0)));
    let push = Rc::new(move |stream: &mut Stream<'_>| {
        while sent.get() < data.len() {
            let piece = &data[sent.get()..data.len().min(sent.get() + 50_000)];
            if !stream.write(piece).is_taken() {
                return;
            }
            sent.set(sent.get() + piece.len());
        }
        stream.shutdown_write();
    });
    let again = Rc::clone(&push);
    Probe::new()
        .open(move |stream| push(stream))
        .writable(move |stream| again(stream))
        .eof(|_| {})
}

fn a_relay_carries_ten_megabytes_each_way<W: World>() {
    let mut world = W::new();
    // The two ends must not stop reading because their own output waits.
    let options = StreamOptions {
        watermarks: sockeye_event_loop::Watermarks {
            high: 64 << 20,
            ..Default::default()
        },
        ..StreamOptions::default()
    };
    let (up, down): (Arc<[u8]>, Arc<[u8]>) = (pattern(10 << 20).into(), pattern((10 << 20) + 1)[1..].into());
    let (server, target) = pump_all(&down).serve(&mut world, options.clone());
    let (relayed, at) = relay(&mut world, target);
    // A slow reader: now and then it reads nothing for a while.
    let slow = pump_all(&up)
        .data(|stream, data| {
            if stream.random() % 16 == 0 {
                stream.pause();
                stream.set_timer(Duration::from_millis(1), 0);
            }
            data.len()
        })
        .timer(|stream, _| stream.resume());
    let request = world.request(at);
    let client = slow.connect_with(&mut world, request, options);
    let (s, c) = (server.log.clone(), client.log.clone());
    world.until("all closed", || {
        s.has(&Told::Dropped) && c.has(&Told::Dropped) && relayed.count(&Told::Dropped) == 2
    });
    assert!(server.log.received(0)[..] == up[..], "up");
    assert!(client.log.received(0)[..] == down[..], "down");
    assert_eq!(relayed.closes(), ["closed", "closed"]);
    assert_eq!(world.server().stats().panics, 0);
    assert_eq!(world.server().open_streams(), 0);
}

fn a_relay_passes_a_half_close_on<W: World>() {
    let mut world = W::new();
    let (server, target) = Probe::new()
        .eof(|stream| {
            let _ = stream.write(b"the answer after your end");
            stream.close();
        })
        .serve(&mut world, StreamOptions::default());
    let (relayed, at) = relay(&mut world, target);
    let client = Probe::new()
        .open(|stream| {
            let _ = stream.write(b"question");
            stream.shutdown_write();
        })
        .connect(&mut world, at);
    let (s, c) = (server.log.clone(), client.log.clone());
    world.until("all closed", || {
        s.has(&Told::Dropped) && c.has(&Told::Dropped) && relayed.count(&Told::Dropped) == 2
    });
    assert_eq!(server.log.received(0), b"question");
    assert_eq!(client.log.received(0), b"the answer after your end");
}

/// Output that waited, a tail that was not consumed, data of the very callback that joins.
fn a_relay_takes_over_what_was_left<W: World>() {
    let mut world = W::new();
    let (server, target) = Probe::new().serve(&mut world, StreamOptions::default());
    let request = world.request(target).tag(1);
    let backend: Rc<RefCell<Option<StreamId>>> = Rc::default();
    let (b, b2) = (Rc::clone(&backend), Rc::clone(&backend));
    let probe = Probe::new()
        .open(move |stream| {
            if stream.tag() == 1 {
                *b.borrow_mut() = Some(stream.id());
            } else {
                stream.context().connect(request.clone());
            }
        })
        .data(move |stream, data| {
            let Some(other) = *b2.borrow() else { return 0 };
            if !data.ends_with(b"body") {
                return 0;
            }
            let _ = stream.other(other).unwrap().write(b"[from the relay]");
            let _ = stream.write(b"[to the client]");
            assert!(stream.join(other));
            // The head is its own, the rest belongs to the other side.
            5
        });
    let handle = world.server().add_stream_service(probe, StreamOptions::default());
    let at = world.listen(handle);
    let client = Probe::new()
        .open(|stream| {
            let _ = stream.write(b"head:");
            stream.set_timer(Duration::from_millis(5), 0);
        })
        .timer(|stream, key| {
            let _ = stream.write(if key == 0 { b"body" } else { b" and more" });
            if key == 0 {
                stream.set_timer(Duration::from_millis(5), 1);
            } else {
                stream.shutdown_write();
            }
        })
        .connect(&mut world, at);
    let (s, c) = (server.log.clone(), client.log.clone());
    world.until("all closed", || s.has(&Told::Dropped) && c.has(&Told::Dropped));
    assert_eq!(server.log.received(0), b"[from the relay]body and more");
    assert_eq!(client.log.received(0), b"[to the client]");
}

fn a_reset_on_one_side_of_a_relay_ends_the_other<W: World>() {
    let mut world = W::new();
    let (server, target) = Probe::new().serve(&mut world, StreamOptions::default());
    let (relayed, at) = relay(&mut world, target);
    let client = Probe::new()
        .open(|stream| {
            let _ = stream.write(b"before");
        })
        .connect(&mut world, at);
    let s = server.log.clone();
    world.until("relayed", || s.received_len(0) == 6);
    let id = client.log.id(0);
    world
        .client()
        .with(client.handle, |_, context| context.stream(id).unwrap().abort());
    world.until("both ended", || {
        relayed.count(&Told::Dropped) == 2 && s.has(&Told::Dropped)
    });
    let mut closes = relayed.closes();
    closes.sort();
    assert_eq!(closes, ["error", "partner reset"]);
    assert_eq!(server.log.received(0), b"before");
    assert_eq!(world.server().open_streams(), 0);
}

fn a_joined_connection_can_be_closed<W: World>() {
    let mut world = W::new();
    let (server, target) = Probe::new().serve(&mut world, StreamOptions::default());
    let (relayed, at) = relay(&mut world, target);
    let client = Probe::new()
        .open(|stream| {
            let _ = stream.write(b"before");
        })
        .connect(&mut world, at);
    let (s, c) = (server.log.clone(), client.log.clone());
    world.until("relayed", || s.received_len(0) == 6);
    let id = relayed.id(0);
    world.server().remote().close(id).unwrap();
    world.until("all ended", || {
        relayed.count(&Told::Dropped) == 2 && s.has(&Told::Dropped) && c.has(&Told::Dropped)
    });
    assert_eq!(relayed.closes(), ["closed", "closed"]);
    assert_eq!(
        (server.log.closes(), client.log.closes()),
        (vec!["closed".into()], vec!["closed".into()])
    );
}

fn what_cannot_be_joined_is_refused<W: World>() {
    let mut world = W::new();
    let refused = Rc::new(Cell::new(false));
    let seen = Rc::clone(&refused);
    let (server, at) = Probe::new()
        .open(move |stream| {
            let own = stream.id();
            assert!(!stream.join(own));
            seen.set(true);
        })
        .serve(&mut world, StreamOptions::default());
    let clients: Vec<_> = (0..2).map(|_| Probe::new().connect(&mut world, at)).collect();
    let log = server.log.clone();
    world.until("open", || {
        log.opened() == 2 && clients.iter().all(|c| c.log.opened() == 1)
    });
    let (a, b) = (log.id(0), log.id(1));
    world.server().with(server.handle, |_, context| {
        context.stream(b).unwrap().close();
        assert!(!context.stream(a).unwrap().join(b), "it is closing");
    });
    assert!(refused.get());
    assert_eq!(world.server().stats().panics, 0);
}

/// The backend never ends its side: without a deadline for what is left the session would stay.
fn the_end_of_one_side_of_a_relay_is_told_and_may_shorten_the_deadline<W: World>() {
    let mut world = W::new();
    let (server, target) = Probe::new()
        .eof(|_| {})
        .serve(&mut world, StreamOptions::default());
    let request = world.request(target).tag(1);
    let waiting: Rc<RefCell<Vec<StreamId>>> = Rc::default();
    let push = Rc::clone(&waiting);
    let probe = Probe::new()
        .open(move |stream| {
            if stream.tag() == 0 {
                stream.pause();
                push.borrow_mut().push(stream.id());
                stream.context().connect(request.clone());
            } else {
                assert!(stream.join(waiting.borrow_mut().remove(0)));
            }
        })
        .relay_eof(|stream| {
            let idle = Some(Duration::from_millis(20));
            stream.set_deadlines(Deadlines {
                idle,
                ..Deadlines::default()
            });
        });
    let log = probe.log.clone();
    let handle = world.server().add_stream_service(probe, StreamOptions::default());
    let at = world.listen(handle);
    let client = Probe::new()
        .open(|stream| {
            let _ = stream.write(b"question");
            stream.shutdown_write();
        })
        .connect(&mut world, at);
    let c = client.log.clone();
    world.until("both ended", || {
        log.count(&Told::Dropped) == 2 && c.has(&Told::Dropped)
    });
    assert_eq!(server.log.received(0), b"question");
    assert_eq!(log.count(&Told::RelayEof), 1, "{:?}", log.all());
    let front = log.of(0);
    let ended = front.iter().position(|told| *told == Told::RelayEof);
    assert!(ended.is_some(), "it is the front whose peer ended: {front:?}");
    assert!(
        log.closes().contains(&"idle deadline".to_owned()),
        "{:?}",
        log.closes()
    );
}

fn a_connection_knows_its_listener<W: World>() {
    let mut world = W::new();
    let seen: Rc<RefCell<Vec<Option<ListenerId>>>> = Rc::default();
    let note = Rc::clone(&seen);
    let probe = Probe::new().open(move |stream| note.borrow_mut().push(stream.listener()));
    let log = probe.log.clone();
    let handle = world.server().add_stream_service(probe, StreamOptions::default());
    let (one, at_one) = world.listen_with(handle, &ListenOptions::default());
    let (two, at_two) = world.listen_with(handle, &ListenOptions::default());
    for (nth, at) in [at_one, at_two].into_iter().enumerate() {
        let _ = Probe::new().connect(&mut world, at);
        world.until("open", || seen.borrow().len() == nth + 1);
    }
    assert_eq!(*seen.borrow(), [Some(one), Some(two)]);
    world.server().close_listener(one);
    let ids = [log.id(0), log.id(1)];
    let later = world.server().with(handle, |_, context| {
        ids.map(|id| context.stream(id).unwrap().listener())
    });
    assert_eq!(later, Some([None, Some(two)]), "a listener that is gone is none");
}
