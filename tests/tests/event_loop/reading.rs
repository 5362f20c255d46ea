//! What is offered, what is kept, and when it is offered again.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use sockeye_event_loop::{Sent, StreamOptions, Watermarks};
use sockeye_tests::pattern;

use crate::probe::{Probe, Served, Told};
use crate::world::World;

in_all_worlds!(
    what_is_not_consumed_is_offered_again_with_more,
    a_pause_keeps_the_data,
    a_pause_from_inside_keeps_the_tail_and_a_resume_offers_it,
    a_tail_is_offered_again_at_the_end,
    a_tail_beyond_its_bound_closes_the_connection,
    a_tail_bound_of_one_connection_stays_within_the_services,
    data_may_be_changed_in_place,
    whole_buffers_are_completed_too,
    a_megabyte_byte_by_byte_and_in_one_go,
    the_read_deadline_is_not_needed_to_notice_an_end_while_paused,
    one_byte_at_a_time_is_served,
    a_firehose_does_not_starve_others;
    on_two_loops:
    a_drain_offers_what_a_pause_kept,
    a_drain_serves_what_had_arrived,
    a_drain_tells_half_closed_connections;
    by_ip_only:
    a_drain_that_takes_too_long_resets,
);

fn sender<W: World>(world: &mut W, at: std::net::SocketAddr, data: Vec<u8>, end: bool) -> Served {
    let data = std::sync::Arc::<[u8]>::from(data);
    let sent = Cell::new(0);
    let push = move |stream: &mut sockeye_event_loop::Stream<'_>| {
        while sent.get() < data.len() {
            let rest = &data[sent.get()..];
            let chunk = &rest[..rest.len().min(100_000)];
            if !stream.write(chunk).is_taken() {
                return;
            }
            sent.set(sent.get() + chunk.len());
        }
        if end {
            stream.shutdown_write();
        }
    };
    let push = Rc::new(push);
    let again = Rc::clone(&push);
    Probe::new()
        .open(move |stream| push(stream))
        .writable(move |stream| again(stream))
        .connect(world, at)
}

fn what_is_not_consumed_is_offered_again_with_more<W: World>() {
    let mut world = W::new();
    let (server, at) = Probe::new()
        .data(|_, data| data.len() / 8 * 8)
        .serve(&mut world, StreamOptions::default());
    let client = Probe::new()
        .open(|stream| {
            stream.set_timer(Duration::from_millis(1), 0);
        })
        .timer(|stream, key| {
            let _ = stream.write(&[u8::try_from(key).unwrap(); 3]);
            if key < 7 {
                stream.set_timer(Duration::from_millis(1), key + 1);
            }
        })
        .connect(&mut world, at);
    let log = server.log.clone();
    world.until("three records of eight", || log.received_len(0) == 24);
    let expected: Vec<u8> = (0..8).flat_map(|key| [key; 3]).collect();
    assert_eq!(server.log.received(0), expected);
    assert_eq!(client.log.closes().len(), 0);
}

fn a_pause_keeps_the_data<W: World>() {
    let mut world = W::new();
    let (server, at) = Probe::new()
        .open(|stream| stream.pause())
        .serve(&mut world, StreamOptions::default());
    let data = pattern(300_000);
    let _client = sender(&mut world, at, data.clone(), true);
    let log = server.log.clone();
    world.until("open", || log.opened() == 1);
    world.pass(Duration::from_millis(20));
    assert_eq!(
        server.log.all(),
        [Told::Open],
        "nothing is told while paused, not even the end"
    );
    let id = server.log.id(0);
    world
        .server()
        .with(server.handle, |_, context| context.stream(id).unwrap().resume());
    world.until("the end", || log.has(&Told::Dropped));
    assert!(server.log.received(0) == data);
}

fn a_pause_from_inside_keeps_the_tail_and_a_resume_offers_it<W: World>() {
    let mut world = W::new();
    let (server, at) = Probe::new()
        .data(|stream, data| {
            if data.len() > 2 {
                stream.pause();
                stream.set_timer(Duration::from_millis(2), 1);
                return 2;
            }
            data.len()
        })
        .timer(|stream, _| stream.resume())
        .serve(&mut world, StreamOptions::default());
    let client = Probe::new()
        .open(|stream| {
            let _ = stream.write(b"0123456789");
        })
        .connect(&mut world, at);
    let log = server.log.clone();
    world.until("all of it", || log.received_len(0) == 10);
    assert_eq!(server.log.received(0), b"0123456789");
    let sizes: Vec<_> = server
        .log
        .all()
        .into_iter()
        .filter(|told| matches!(told, Told::Data(_)))
        .collect();
    assert_eq!(
        sizes,
        [10, 8, 6, 4, 2].map(Told::Data),
        "two bytes each time, no byte read anew"
    );
    assert_eq!(client.log.closes().len(), 0);
}

fn a_tail_is_offered_again_at_the_end<W: World>() {
    let mut world = W::new();
    let calls = Cell::new(0);
    let (server, at) = Probe::new()
        .data(move |_, data| {
            calls.set(calls.get() + 1);
            // Nothing the first time, as if a frame were incomplete.
            if calls.get() == 1 { 0 } else { data.len() }
        })
        .serve(&mut world, StreamOptions::default());
    let client = Probe::new()
        .open(|stream| {
            let _ = stream.write(b"cut off");
            stream.set_timer(Duration::from_millis(3), 1);
        })
        .timer(|stream, _| stream.shutdown_write())
        .connect(&mut world, at);
    let log = server.log.clone();
    world.until("the end", || log.has(&Told::Dropped));
    assert_eq!(server.log.received(0), b"cut off");
    drop(client);
}

fn a_tail_beyond_its_bound_closes_the_connection<W: World>() {
    let mut world = W::new();
    let watermarks = Watermarks {
        max_tail: 1000,
        ..Watermarks::default()
    };
    let options = StreamOptions {
        watermarks,
        ..StreamOptions::default()
    };
    let (server, at) = Probe::new().data(|_, _| 0).serve(&mut world, options);
    let client = sender(&mut world, at, vec![1; 1000], false);
    let log = server.log.clone();
    world.until("the tail is kept", || log.has(&Told::Data(1000)));
    world.pass(Duration::from_millis(5));
    assert!(server.log.closes().is_empty(), "a tail at its bound is kept");
    let id = client.log.id(0);
    let _ = world
        .client()
        .with(client.handle, |_, context| context.write(id, b"!"));
    world.until("closed", || log.has(&Told::Dropped));
    assert_eq!(server.log.closes(), ["tail too long"]);
    assert!(log.has(&Told::Data(1001)));
}

/// The read buffer is made for the services' tails: a longer one for one connection must not break it.
fn a_tail_bound_of_one_connection_stays_within_the_services<W: World>() {
    let mut world = W::new();
    let watermarks = Watermarks {
        max_tail: 1 << 20,
        ..Watermarks::default()
    };
    let (server, at) = Probe::new()
        .open(move |stream| stream.set_watermarks(watermarks))
        .data(|_, _| 0)
        .serve(&mut world, StreamOptions::default());
    let _client = sender(&mut world, at, pattern(2_000_000), false);
    let log = server.log.clone();
    world.until("closed", || log.has(&Told::Dropped));
    assert_eq!(server.log.closes(), ["tail too long"]);
    assert_eq!(world.server().stats().panics, 0);
}

fn data_may_be_changed_in_place<W: World>() {
    let mut world = W::new();
    let (_, at) = Probe::new()
        .data(|stream, data| {
            data.make_ascii_uppercase();
            if stream.write(data).is_taken() {
                data.len()
            } else {
                0
            }
        })
        .serve(&mut world, StreamOptions::default());
    let client = Probe::new()
        .open(|stream| {
            let _ = stream.write(b"shout");
        })
        .connect(&mut world, at);
    let log = client.log.clone();
    world.until("the answer", || log.received_len(0) == 5);
    assert_eq!(client.log.received(0), b"SHOUT");
}

/// A read that fills the buffer says nothing about what follows; `on_read_complete` comes all the same.
fn whole_buffers_are_completed_too<W: World>() {
    let mut world = W::new();
    let (server, at) = Probe::new()
        .open(|stream| stream.pause())
        .serve(&mut world, StreamOptions::default());
    let _client = sender(&mut world, at, pattern(64 * 1024), false);
    let log = server.log.clone();
    world.until("open", || log.opened() == 1);
    world.pass(Duration::from_millis(20));
    let id = server.log.id(0);
    world
        .server()
        .with(server.handle, |_, context| context.stream(id).unwrap().resume());
    world.until("a buffer full", || log.received_len(0) == 64 * 1024);
    world.until("and completed", || log.all().last() == Some(&Told::ReadComplete));
}

fn a_megabyte_byte_by_byte_and_in_one_go<W: World>() {
    for step in [7, 4096, usize::MAX] {
        let mut world = W::new();
        let (server, at) = Probe::new().data(move |_, data| data.len().min(step)).serve(
            &mut world,
            StreamOptions {
                // What is left of a read is a tail.
                watermarks: Watermarks {
                    max_tail: 1 << 21,
                    ..Watermarks::default()
                },
                ..StreamOptions::default()
            },
        );
        let data = pattern(if step == 7 { 20_000 } else { 1_000_000 });
        let _client = sender(&mut world, at, data.clone(), true);
        let log = server.log.clone();
        if step == usize::MAX {
            world.until("all of it", || log.received_len(0) == data.len());
            assert!(server.log.received(0) == data);
        } else {
            // Nothing asks for the rest of what was left: it comes with more, and at the end, as far as it goes.
            world.until("the end", || log.has(&Told::Dropped));
            let received = server.log.received(0);
            assert!(!received.is_empty() && data.starts_with(&received));
        }
    }
}

fn the_read_deadline_is_not_needed_to_notice_an_end_while_paused<W: World>() {
    let mut world = W::new();
    let (server, at) = Probe::new()
        .open(|stream| stream.pause())
        .serve(&mut world, StreamOptions::default());
    let client = Probe::new()
        .open(|stream| stream.shutdown_write())
        .connect(&mut world, at);
    let (s, c) = (server.log.clone(), client.log.clone());
    world.until("open", || s.opened() == 1 && c.opened() == 1);
    world.pass(Duration::from_millis(5));
    assert_eq!(server.log.all(), [Told::Open]);
    let id = server.log.id(0);
    world
        .server()
        .with(server.handle, |_, context| context.stream(id).unwrap().resume());
    world.until("the end", || s.has(&Told::Dropped) && c.has(&Told::Dropped));
}

fn one_byte_at_a_time_is_served<W: World>() {
    let mut world = W::new();
    let (server, at) = Probe::new().serve(&mut world, StreamOptions::default());
    let client = Probe::new()
        .open(|stream| {
            stream.set_timer(Duration::from_micros(200), 0);
        })
        .timer(|stream, key| {
            let _ = stream.write(&[u8::try_from(key % 256).unwrap()]);
            if key < 499 {
                stream.set_timer(Duration::from_micros(200), key + 1);
            } else {
                stream.close();
            }
        })
        .connect(&mut world, at);
    let (s, c) = (server.log.clone(), client.log.clone());
    world.until("the end", || s.has(&Told::Dropped) && c.has(&Told::Dropped));
    let expected: Vec<u8> = (0..500_u32).map(|key| u8::try_from(key % 256).unwrap()).collect();
    assert_eq!(server.log.received(0), expected);
}

/// Somebody who sends as fast as he can, and somebody who asks now and then.
fn a_firehose_does_not_starve_others<W: World>() {
    let mut world = W::new();
    let (_, at) = Probe::new()
        .data(|stream, data| {
            if data.len() == 4 {
                let _ = stream.write(data);
            }
            data.len()
        })
        .serve(&mut world, StreamOptions::default());
    let flood = |stream: &mut sockeye_event_loop::Stream<'_>| while stream.write(&[0; 65_000]).is_taken() {};
    let hose = Probe::new().open(flood).writable(flood).connect(&mut world, at);
    let asker = Probe::new()
        .open(|stream| {
            let _ = stream.write(b"ping");
        })
        .data(|stream, data| {
            let _ = stream.write(data);
            data.len()
        })
        .connect(&mut world, at);
    let log = asker.log.clone();
    world.until("two hundred answers", || log.received_len(0) >= 800);
    assert!(hose.log.closes().is_empty());
    assert!(
        world.server().stats().bytes_in > 1_000_000,
        "the firehose was served too"
    );
}

fn a_drain_serves_what_had_arrived<W: World>() {
    let mut world = W::new();
    let (server, at) = Probe::new()
        .data(|stream, data| {
            assert_eq!(stream.write(data), Sent::Sent);
            data.len()
        })
        .serve(&mut world, StreamOptions::default());
    let client = Probe::new().connect(&mut world, at);
    let (s, c) = (server.log.clone(), client.log.clone());
    world.until("open", || s.opened() == 1 && c.opened() == 1);
    let id = client.log.id(0);
    let _ = world.client().with(client.handle, |_, context| {
        context.write(id, b"the last question")
    });
    world.pass(Duration::from_micros(1));
    world.server().start_drain(Duration::from_secs(20));
    let late = Probe::new().connect(&mut world, at);
    world.until("drained", || s.has(&Told::Dropped) && c.has(&Told::Dropped));
    let answered = client.log.received(0);
    assert_eq!(answered, server.log.received(0), "what was read was answered");
    let told = server.log.all();
    assert_eq!(
        told[told.len() - 3..told.len() - 1],
        [Told::Drain, Told::Close("closed".into())]
    );
    let late_log = late.log.clone();
    let refused = |told: &Told| matches!(told, Told::ConnectFailed(_));
    world.until("late ones are refused", || late_log.all().iter().any(refused));
    assert_eq!(world.server().open_streams(), 0);
}

fn a_drain_offers_what_a_pause_kept<W: World>() {
    let mut world = W::new();
    let calls = Cell::new(0);
    let (server, at) = Probe::new()
        .data(move |stream, data| {
            calls.set(calls.get() + 1);
            if calls.get() == 1 {
                stream.pause();
                return 0;
            }
            let _ = stream.write(data);
            data.len()
        })
        .serve(&mut world, StreamOptions::default());
    let client = Probe::new()
        .open(|stream| {
            let _ = stream.write(b"kept");
        })
        .connect(&mut world, at);
    let (s, c) = (server.log.clone(), client.log.clone());
    world.until("paused", || s.has(&Told::Data(4)));
    world.server().start_drain(Duration::from_secs(20));
    world.until("drained", || s.has(&Told::Dropped) && c.has(&Told::Dropped));
    assert_eq!(client.log.received(0), b"kept");
}

fn a_drain_tells_half_closed_connections<W: World>() {
    let mut world = W::new();
    let (server, at) = Probe::new()
        .eof(|_| {})
        .drain(|stream| {
            let _ = stream.write(b"bye");
            stream.close();
        })
        .serve(&mut world, StreamOptions::default());
    let client = Probe::new()
        .open(|stream| stream.shutdown_write())
        .connect(&mut world, at);
    let (s, c) = (server.log.clone(), client.log.clone());
    world.until("the end is told", || s.has(&Told::Eof));
    world.server().start_drain(Duration::from_secs(20));
    world.until("drained", || s.has(&Told::Dropped) && c.has(&Told::Dropped));
    assert_eq!(client.log.received(0), b"bye");
    assert_eq!(server.log.closes(), ["closed"]);
}

fn a_drain_that_takes_too_long_resets<W: World>() {
    let mut world = W::new();
    let (server, at) = Probe::new()
        .drain(|_| {})
        .serve(&mut world, StreamOptions::default());
    let client = Probe::new().connect(&mut world, at);
    let (s, c) = (server.log.clone(), client.log.clone());
    world.until("open", || s.opened() == 1 && c.opened() == 1);
    let begun = world.server().now();
    // `drain` itself turns only its own loop; the simulation's is turned by the world.
    world.server().start_drain(Duration::from_millis(30));
    let server_log = server.log.clone();
    world.pass(Duration::from_millis(25));
    if world.server().now().since(begun) < Duration::from_millis(30) {
        assert!(server_log.closes().is_empty(), "not before its time");
    }
    world.pass(Duration::from_millis(20));
    // Whoever runs the loop asks whether the drain is over; that resets what is left.
    world.server().drain(Duration::ZERO).unwrap();
    assert_eq!(server.log.closes(), ["aborted"]);
    world.until("the peer is reset", || c.has(&Told::Dropped));
    assert_eq!(client.log.closes(), ["error"]);
}
