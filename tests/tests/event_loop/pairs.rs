//! Two ends inside one loop: all that holds for a connection holds for an end.

use std::cell::Cell;
use std::fs::File;
use std::io::Write as _;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sockeye_event_loop::{
    Deadlines, LoopOptions, PairError, PairOptions, Sent, ServiceHandle, StreamId, StreamOptions, Watermarks,
};
use sockeye_tests::pattern;

use crate::probe::{Log, Probe, Told};
use crate::world::World;

in_all_worlds!(
    what_one_end_writes_the_other_is_offered,
    callbacks_come_in_the_order_of_a_connection,
    a_reader_that_pauses_holds_the_writer_back,
    ten_megabytes_pass_a_small_pair_in_order,
    a_half_close_leaves_the_other_way_open,
    a_close_sends_what_waits_first,
    an_abort_is_a_reset_at_the_other_end,
    both_ends_close_in_one_callback,
    an_end_that_is_closed_with_unread_bytes_is_a_reset,
    deadlines_hold_for_an_end,
    timers_and_messages_reach_an_end,
    files_and_shared_bytes_pass_a_pair,
    an_end_is_joined_with_a_socket,
    ends_of_two_pairs_are_joined,
    what_cannot_be_done_with_an_end_is_refused,
    a_pair_made_in_a_callback_can_be_written_to_at_once,
    a_panic_at_one_end_resets_the_other,
    a_panic_in_on_open_resets_the_other,
    a_pair_that_never_rests_starves_nobody,
    a_thousand_pairs_in_a_chain;
    on_two_loops:
    a_drain_ends_what_is_carried_before_what_carries,
    a_handle_of_another_loop_is_refused,
    pairs_do_not_count_as_connections;
    by_ip_only:
    an_end_answers_as_another_connection_does,
);

type Handle = ServiceHandle<Probe>;

fn add<W: World>(world: &mut W, probe: Probe) -> (Handle, Log) {
    add_with(world, probe, StreamOptions::default())
}

fn add_with<W: World>(world: &mut W, probe: Probe, options: StreamOptions) -> (Handle, Log) {
    let log = probe.log.clone();
    (world.server().add_stream_service(probe, options), log)
}

/// A pair of these two on the server's loop.
fn pair<W: World>(world: &mut W, first: Probe, second: Probe) -> ((Handle, Log), (Handle, Log)) {
    let (first, second) = (add(world, first), add(world, second));
    world
        .server()
        .pair(first.0, second.0, &PairOptions::default())
        .unwrap();
    (first, second)
}

fn with_end<W: World, R>(
    world: &mut W,
    (handle, log): &(Handle, Log),
    action: impl FnOnce(&mut sockeye_event_loop::Stream<'_>) -> R,
) -> R {
    let id = log.id(0);
    world
        .server()
        .with(*handle, |_, context| action(&mut context.stream(id).unwrap()))
        .unwrap()
}

fn is_clean<W: World>(world: &mut W) {
    let server = world.server();
    assert_eq!((server.open_streams(), server.stats().memory), (0, 0));
}

fn what_one_end_writes_the_other_is_offered<W: World>() {
    let mut world = W::new();
    let hello = Probe::new().open(|stream| assert_eq!(stream.write(b"hello"), Sent::Sent));
    let echo = Probe::new().data(|stream, data| {
        assert!(stream.write(data).is_taken());
        data.len()
    });
    let (first, second) = pair(&mut world, hello, echo);
    let log = first.1.clone();
    world.until("the echo", || log.received(0) == b"hello");
    assert_eq!(second.1.received(0), b"hello");
    assert_eq!(world.server().stats().pairs, 1);
}

fn callbacks_come_in_the_order_of_a_connection<W: World>() {
    let mut world = W::new();
    let (first, second) = pair(
        &mut world,
        Probe::new().open(|stream| {
            assert!(stream.write(b"all").is_taken());
            stream.shutdown_write();
        }),
        Probe::new(),
    );
    let (a, b) = (first.1.clone(), second.1.clone());
    world.until("the end", || a.has(&Told::Dropped) && b.has(&Told::Dropped));
    let closed = Told::Close("closed".into());
    let expected = [
        Told::Open,
        Told::Data(3),
        Told::ReadComplete,
        Told::Eof,
        closed.clone(),
        Told::Dropped,
    ];
    assert_eq!(second.1.of(0), expected);
    assert_eq!(first.1.of(0), [Told::Open, Told::Eof, closed, Told::Dropped]);
    is_clean(&mut world);
}

fn a_reader_that_pauses_holds_the_writer_back<W: World>() {
    let mut world = W::new();
    let marks = Watermarks {
        high: 10_000,
        low: 5_000,
        max_write: 4_000,
        ..Watermarks::default()
    };
    let options = StreamOptions {
        watermarks: marks,
        ..StreamOptions::default()
    };
    let sent = Rc::new(Cell::new(0));
    let count = Rc::clone(&sent);
    let writer = Probe::new().open(move |stream| {
        loop {
            match stream.write(&[9; 4_000]) {
                Sent::Sent => assert_eq!(stream.queued(), 0),
                Sent::Queued => assert!(stream.queued() > 0 && stream.queued() < 14_000),
                other => {
                    assert_eq!(other, Sent::Full);
                    assert!(stream.queued() >= 10_000);
                    break;
                }
            }
            count.set(count.get() + 4_000);
        }
    });
    let first = add_with(&mut world, writer, options);
    let second = add(&mut world, Probe::new().open(|stream| stream.pause()));
    let capacity = PairOptions {
        capacity: 20_000,
        ..PairOptions::default()
    };
    world.server().pair(first.0, second.0, &capacity).unwrap();
    let (a, b) = (first.1.clone(), second.1.clone());
    world.until("open", || a.opened() == 1 && b.opened() == 1);
    world.pass(Duration::from_millis(2));
    assert!(
        sent.get() >= 30_000 && sent.get() <= 36_000,
        "{} bytes",
        sent.get()
    );
    assert_eq!(b.received_len(0), 0);
    assert!(!a.has(&Told::Writable));
    with_end(&mut world, &second, |stream| stream.resume());
    world.until("everything", || b.received_len(0) == sent.get());
    world.until("told of room", || a.has(&Told::Writable));
    assert_eq!(a.count(&Told::Writable), 1);
}

/// Sends all of it, as fast as it is taken, then its end.
fn bulk(data: Vec<u8>) -> Probe {
    let at = Rc::new(Cell::new(0));
    let data = Rc::new(data);
    let send = Rc::new(move |stream: &mut sockeye_event_loop::Stream<'_>| {
        while at.get() < data.len() {
            let to = data.len().min(at.get() + 30_000);
            if !stream.write(&data[at.get()..to]).is_taken() {
                return;
            }
            at.set(to);
        }
        stream.shutdown_write();
    });
    let again = Rc::clone(&send);
    Probe::new()
        .open(move |stream| send(stream))
        .writable(move |stream| again(stream))
        .eof(|_| {})
}

fn ten_megabytes_pass_a_small_pair_in_order<W: World>() {
    for capacity in [1_000, 64 * 1024] {
        let mut world = W::new();
        let there = pattern(if capacity == 1_000 { 1 << 20 } else { 10 << 20 });
        let back: Vec<u8> = there.iter().rev().copied().collect();
        let first = add(&mut world, bulk(there.clone()));
        let second = add(&mut world, bulk(back.clone()));
        let options = PairOptions {
            capacity,
            ..PairOptions::default()
        };
        world.server().pair(first.0, second.0, &options).unwrap();
        let (a, b) = (first.1.clone(), second.1.clone());
        world.until("the end", || a.has(&Told::Dropped) && b.has(&Told::Dropped));
        assert!(b.received(0) == there && a.received(0) == back);
        assert_eq!(
            (a.closes(), b.closes()),
            (vec!["closed".into()], vec!["closed".into()])
        );
        is_clean(&mut world);
    }
}

fn a_half_close_leaves_the_other_way_open<W: World>() {
    let mut world = W::new();
    let asks = Probe::new().open(|stream| {
        assert!(stream.write(b"question").is_taken());
        stream.shutdown_write();
        assert_eq!(stream.write(b"more"), Sent::Gone);
    });
    let answers = Probe::new().eof(|stream| {
        assert!(stream.write(b"answer").is_taken());
        stream.close();
    });
    let (first, second) = pair(&mut world, asks, answers);
    let (a, b) = (first.1.clone(), second.1.clone());
    world.until("the end", || a.has(&Told::Dropped) && b.has(&Told::Dropped));
    assert_eq!(
        (b.received(0), a.received(0)),
        (b"question".to_vec(), b"answer".to_vec())
    );
    assert_eq!(
        (a.closes(), b.closes()),
        (vec!["closed".into()], vec!["closed".into()])
    );
}

fn a_close_sends_what_waits_first<W: World>() {
    let mut world = W::new();
    let closes = Probe::new().open(|stream| {
        assert!(stream.write(&pattern(200_000)).is_taken());
        stream.close();
    });
    let (first, second) = pair(&mut world, closes, Probe::new());
    let (a, b) = (first.1.clone(), second.1.clone());
    world.until("the end", || a.has(&Told::Dropped) && b.has(&Told::Dropped));
    assert!(b.received(0) == pattern(200_000));
    assert_eq!(
        (a.closes(), b.closes()),
        (vec!["closed".into()], vec!["closed".into()])
    );
}

fn an_abort_is_a_reset_at_the_other_end<W: World>() {
    for paused in [false, true] {
        let mut world = W::new();
        let second = Probe::new().open(move |stream| {
            if paused {
                stream.pause();
            }
        });
        let (first, second) = pair(&mut world, Probe::new(), second);
        let (a, b) = (first.1.clone(), second.1.clone());
        world.until("open", || a.opened() == 1 && b.opened() == 1);
        with_end(&mut world, &first, |stream| stream.abort());
        world.until("the end", || a.has(&Told::Dropped) && b.has(&Told::Dropped));
        assert_eq!(
            (a.closes(), b.closes()),
            (vec!["aborted".into()], vec!["error".into()])
        );
        assert!(!b.has(&Told::Eof));
    }
}

fn both_ends_close_in_one_callback<W: World>() {
    let mut world = W::new();
    let (first, second) = pair(&mut world, Probe::new(), Probe::new());
    let (a, b) = (first.1.clone(), second.1.clone());
    world.until("open", || a.opened() == 1 && b.opened() == 1);
    let (one, two) = (a.id(0), b.id(0));
    world.server().with(first.0, |_, context| {
        assert!(context.stream(one).unwrap().write(b"last words").is_taken());
        context.stream(one).unwrap().close();
        context.stream(two).unwrap().close();
    });
    world.until("the end", || a.has(&Told::Dropped) && b.has(&Told::Dropped));
    assert_eq!(
        (a.closes(), b.closes()),
        (vec!["closed".into()], vec!["closed".into()])
    );
    is_clean(&mut world);
}

fn an_end_that_is_closed_with_unread_bytes_is_a_reset<W: World>() {
    let mut world = W::new();
    let options = StreamOptions {
        deadlines: Deadlines {
            idle: Some(Duration::from_millis(20)),
            ..Deadlines::default()
        },
        ..StreamOptions::default()
    };
    let first = add(
        &mut world,
        Probe::new().open(|stream| assert!(stream.write(b"unread").is_taken())),
    );
    let second = add_with(&mut world, Probe::new().open(|stream| stream.pause()), options);
    world
        .server()
        .pair(first.0, second.0, &PairOptions::default())
        .unwrap();
    let (a, b) = (first.1.clone(), second.1.clone());
    world.until("the end", || a.has(&Told::Dropped) && b.has(&Told::Dropped));
    assert_eq!(
        (a.closes(), b.closes()),
        (vec!["error".into()], vec!["idle deadline".into()])
    );
}

fn deadlines_hold_for_an_end<W: World>() {
    let short = Some(Duration::from_millis(20));
    for (deadlines, reads, name) in [
        (
            Deadlines {
                idle: short,
                ..Deadlines::default()
            },
            true,
            "idle deadline",
        ),
        (
            Deadlines {
                read: short,
                ..Deadlines::default()
            },
            true,
            "read deadline",
        ),
        (
            Deadlines {
                write_stall: short,
                ..Deadlines::default()
            },
            false,
            "write-stall deadline",
        ),
    ] {
        let mut world = W::new();
        let options = StreamOptions {
            deadlines,
            ..StreamOptions::default()
        };
        let writer = Probe::new().open(|stream| assert!(stream.write(&[1; 100_000]).is_taken()));
        let first = add_with(&mut world, writer, options);
        let second = add(
            &mut world,
            Probe::new().open(move |stream| {
                if !reads {
                    stream.pause();
                }
            }),
        );
        world
            .server()
            .pair(first.0, second.0, &PairOptions::default())
            .unwrap();
        let a = first.1.clone();
        world.until(name, || a.has(&Told::Dropped));
        assert_eq!(a.closes(), [name]);
    }
}

fn timers_and_messages_reach_an_end<W: World>() {
    let mut world = W::new();
    let first = Probe::new().open(|stream| {
        stream.set_timer(Duration::from_millis(1), 7);
    });
    let (first, second) = pair(&mut world, first, Probe::new());
    let (a, b) = (first.1.clone(), second.1.clone());
    world.until("the timer", || a.has(&Told::Timer(7)));
    let id = b.id(0);
    world.server().remote().message(id, 5_u64).unwrap();
    world
        .server()
        .remote()
        .send(id, b"from a thread".to_vec())
        .unwrap();
    world.until("both", || {
        b.has(&Told::Message(5)) && a.received(0) == b"from a thread"
    });
}

fn files_and_shared_bytes_pass_a_pair<W: World>() {
    let mut world = W::new();
    let content = pattern(500_000);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&content).unwrap();
    let file: Arc<File> = Arc::new(file);
    let shared: Arc<[u8]> = content[..100_000].into();
    let kept = Arc::clone(&shared);
    let sends = Probe::new().open(move |stream| {
        // All of it waits at once.
        stream.set_watermarks(Watermarks {
            high: 1 << 20,
            ..Watermarks::default()
        });
        assert!(stream.write(b"head").is_taken());
        assert!(stream.write_shared(&shared).is_taken());
        assert!(stream.send_file(&file, 1_000, 400_000).is_taken());
        assert!(stream.write(b"tail").is_taken());
        stream.close();
    });
    let (first, second) = pair(&mut world, sends, Probe::new());
    let (a, b) = (first.1.clone(), second.1.clone());
    world.until("the end", || a.has(&Told::Dropped) && b.has(&Told::Dropped));
    let expected = [b"head", &kept[..], &content[1_000..401_000], b"tail"].concat();
    assert!(b.received(0) == expected);
    drop(first);
}

fn an_end_is_joined_with_a_socket<W: World>() {
    let mut world = W::new();
    let (service, log) = add(
        &mut world,
        Probe::new().data(|stream, data| {
            let mut upper = data.to_vec();
            upper.make_ascii_uppercase();
            assert!(stream.write(&upper).is_taken());
            data.len()
        }),
    );
    let accepts = Probe::new().open(move |stream| {
        if stream.tag() == 9 {
            return;
        }
        let options = PairOptions {
            first_tag: Some(9),
            second_like: Some(stream.id()),
            ..PairOptions::default()
        };
        let mut context = stream.context();
        let own = context.handle::<Probe>().unwrap();
        let (end, _) = context.pair(own, service, &options).unwrap();
        assert!(stream.join(end), "an end can be joined before it is open");
    });
    let (front, at) = {
        let (handle, log) = add(&mut world, accepts);
        (log, world.listen(handle))
    };
    let client = Probe::new()
        .open(|stream| {
            assert!(stream.write(&[b'a'; 300_000]).is_taken());
            stream.shutdown_write();
        })
        .eof(|stream| stream.close())
        .connect(&mut world, at);
    let c = client.log.clone();
    world.until("the end", || {
        c.has(&Told::Dropped) && front.count(&Told::Dropped) == 2
    });
    assert!(c.received(0) == vec![b'A'; 300_000]);
    assert!(log.received(0) == vec![b'a'; 300_000]);
    assert_eq!(front.closes(), ["closed", "closed"]);
    assert!(front.all().contains(&Told::Relayed(300_000, 300_000)));
    is_clean(&mut world);
}

fn ends_of_two_pairs_are_joined<W: World>() {
    let mut world = W::new();
    let (first, middle) = pair(
        &mut world,
        bulk(pattern(1_000_000)),
        Probe::new().open(|stream| stream.pause()),
    );
    let last = add(&mut world, Probe::new());
    world
        .server()
        .pair(middle.0, last.0, &PairOptions::default())
        .unwrap();
    let log = middle.1.clone();
    world.until("open", || log.opened() == 2);
    let (one, two) = (log.id(0), log.id(1));
    world.server().with(middle.0, |_, context| {
        assert!(context.stream(one).unwrap().join(two));
        assert!(!context.stream(one).unwrap().join(two), "once");
    });
    let (a, b) = (first.1.clone(), last.1.clone());
    world.until("the end", || a.has(&Told::Dropped) && b.has(&Told::Dropped));
    assert!(b.received(0) == pattern(1_000_000));
    assert_eq!(log.received(0), b"");
}

fn what_cannot_be_done_with_an_end_is_refused<W: World>() {
    let mut world = W::new();
    let (first, second) = pair(&mut world, Probe::new(), Probe::new());
    let (a, b) = (first.1.clone(), second.1.clone());
    world.until("open", || a.opened() == 1 && b.opened() == 1);
    with_end(&mut world, &first, |stream| {
        let own = stream.id();
        assert!(!stream.join(own), "to itself");
        assert!(stream.detach().is_none());
        assert!(stream.tcp().is_none());
        assert_eq!(stream.peer_addr(), None);
        assert!(stream.local_addr().is_err());
        assert!(
            stream
                .set_option(&sockeye_event_loop::StreamOption::NoDelay(true))
                .is_err()
        );
        // And it is as it was.
        assert_eq!(stream.write(b"still there"), Sent::Sent);
    });
    world.until("told", || b.received(0) == b"still there");
}

fn an_end_answers_as_another_connection_does<W: World>() {
    let mut world = W::new();
    let seen = Rc::new(Cell::new(None));
    let note = Rc::clone(&seen);
    let carried = Probe::new().open(move |stream| {
        note.set(Some((stream.peer_addr(), stream.local_addr().ok(), stream.tag())));
    });
    let (carried, _) = add(&mut world, carried);
    let own = Rc::new(Cell::new(None));
    let is = Rc::clone(&own);
    let carrier = Probe::new().open(move |stream| {
        if stream.peer_addr().is_none() {
            return;
        }
        is.set(Some((stream.peer_addr(), stream.local_addr().ok(), 42)));
        let options = PairOptions {
            second_like: Some(stream.id()),
            second_tag: Some(42),
            ..PairOptions::default()
        };
        let mut context = stream.context();
        let own = context.handle::<Probe>().unwrap();
        context.pair(own, carried, &options).unwrap();
    });
    let (_, at) = carrier.serve(&mut world, StreamOptions::default());
    Probe::new().connect(&mut world, at);
    world.until("open", || seen.get().is_some());
    assert_eq!(seen.get(), own.get());
    assert!(seen.get().unwrap().0.is_some());
}

fn a_pair_made_in_a_callback_can_be_written_to_at_once<W: World>() {
    let mut world = W::new();
    let (second, log) = add(&mut world, Probe::new());
    let (first, _) = add(&mut world, Probe::new());
    world
        .server()
        .with(first, |_, context| {
            let (one, two) = context.pair(first, second, &PairOptions::default()).unwrap();
            assert!(context.write(one, b"before it is open").is_taken());
            assert!(context.send_message(two, Box::new(3_u64)));
            context.stream(one).unwrap().shutdown_write();
        })
        .unwrap();
    world.until("all of it", || log.has(&Told::Dropped));
    let told: Vec<Told> = log
        .of(0)
        .into_iter()
        .filter(|told| *told != Told::ReadComplete)
        .collect();
    assert_eq!(told[0], Told::Open);
    assert!(told.contains(&Told::Message(3)) && told.contains(&Told::Data(17)) && told.contains(&Told::Eof));
}

fn a_panic_at_one_end_resets_the_other<W: World>() {
    let mut world = W::new();
    let first = Probe::new().open(|stream| assert!(stream.write(b"boom").is_taken()));
    let second = Probe::new().data(|_, _| panic!("the test wants it"));
    let (first, second) = pair(&mut world, first, second);
    let (a, b) = (first.1.clone(), second.1.clone());
    world.until("the end", || a.has(&Told::Dropped) && b.has(&Told::Dropped));
    assert_eq!(
        (a.closes(), b.closes()),
        (vec!["error".into()], vec!["panicked".into()])
    );
    assert_eq!(world.server().stats().panics, 1);
    is_clean(&mut world);
}

fn a_panic_in_on_open_resets_the_other<W: World>() {
    let mut world = W::new();
    let second = Probe::new().open(|_| panic!("the test wants it"));
    let (first, _) = pair(&mut world, Probe::new(), second);
    let a = first.1.clone();
    world.until("the end", || a.has(&Told::Dropped));
    assert_eq!(a.closes(), ["error"]);
    is_clean(&mut world);
}

fn a_drain_ends_what_is_carried_before_what_carries<W: World>() {
    let mut world = W::new();
    // Says goodbye when it is told to end, through whatever carries it.
    let carried = Probe::new().drain(|stream| {
        assert!(stream.write(b"goodbye").is_taken());
        stream.close();
    });
    let (carried, inner) = add(&mut world, carried);
    let other = Rc::new(Cell::new(None::<StreamId>));
    let (set, get, closes) = (Rc::clone(&other), Rc::clone(&other), Rc::clone(&other));
    let carrier = Probe::new()
        .open(move |stream| {
            if stream.tag() == 9 {
                return;
            }
            set.set(Some(stream.id()));
            let options = PairOptions {
                first_tag: Some(9),
                ..PairOptions::default()
            };
            let mut context = stream.context();
            let own = context.handle::<Probe>().unwrap();
            context.pair(own, carried, &options).unwrap();
        })
        .data(move |stream, data| {
            if stream.tag() == 9 {
                let mut sealed = data.to_vec();
                sealed.iter_mut().for_each(|byte| *byte ^= 0x20);
                let carrier = get.get().unwrap();
                assert!(stream.other(carrier).unwrap().write(&sealed).is_taken());
            }
            data.len()
        })
        .eof(move |stream| {
            if stream.tag() == 9 {
                let carrier = closes.get().unwrap();
                stream.other(carrier).unwrap().close();
            }
            stream.close();
        })
        .drain(|stream| {
            assert_ne!(
                stream.tag(),
                9,
                "an end that carries is not told: it ends with the other one"
            );
            stream.close();
        });
    let (outer, at) = carrier.serve(&mut world, StreamOptions::default());
    let client = Probe::new().connect(&mut world, at);
    let (i, c, o) = (inner.clone(), client.log.clone(), outer.log.clone());
    world.until("open", || i.opened() == 1 && c.opened() == 1 && o.opened() == 2);
    world.server().start_drain(Duration::from_secs(10));
    world.until("the end", || {
        c.has(&Told::Dropped) && o.count(&Told::Dropped) == 2
    });
    assert_eq!(c.received(0), b"GOODBYE");
    assert_eq!(c.closes(), ["closed"]);
    assert_eq!(inner.closes(), ["closed"]);
    assert_eq!(outer.log.closes(), ["closed", "closed"]);
}

fn a_pair_that_never_rests_starves_nobody<W: World>() {
    let mut world = W::new();
    let bounce = || {
        Probe::new().data(|stream, data| {
            let _ = stream.write(data);
            data.len()
        })
    };
    let (first, _) = pair(
        &mut world,
        bounce().open(|stream| {
            let _ = stream.write(b"x");
            stream.set_timer(Duration::from_millis(1), 0);
        }),
        bounce(),
    );
    let (_, at) = bounce().serve(&mut world, StreamOptions::default());
    let client = Probe::new()
        .open(|stream| assert!(stream.write(b"hello").is_taken()))
        .connect(&mut world, at);
    let (a, c) = (first.1.clone(), client.log.clone());
    // In the simulation the clock stands while the loop has work: a timer needs an end of it.
    world.until("served", || c.received(0) == b"hello");
    with_end(&mut world, &first, |stream| stream.close());
    world.until("the end", || a.has(&Told::Dropped));
}

fn a_handle_of_another_loop_is_refused<W: World>() {
    let mut world = W::new();
    let (here, _) = add(&mut world, Probe::new());
    let mut foreign = here;
    for _ in 0..3 {
        foreign = world
            .client()
            .add_stream_service(Probe::new(), StreamOptions::default());
    }
    let refused = world.server().pair(here, foreign, &PairOptions::default());
    assert_eq!(refused, Err(PairError::NoSuchService));
    assert_eq!(world.server().open_streams(), 0);
}

fn pairs_do_not_count_as_connections<W: World>() {
    let options = LoopOptions {
        max_connections: 1,
        ..LoopOptions::default()
    };
    let mut world = W::with(options);
    for _ in 0..3 {
        pair(&mut world, Probe::new(), Probe::new());
    }
    let (server, at) = Probe::new().serve(&mut world, StreamOptions::default());
    Probe::new().connect(&mut world, at);
    let log = server.log.clone();
    world.until("accepted", || log.opened() == 1);
    assert_eq!(world.server().open_streams(), 7);
    assert_eq!(world.server().stats().open, 1);
    let late = Probe::new();
    let l = late.log.clone();
    let handle = world.server().add_stream_service(late, StreamOptions::default());
    let request = world.request(at);
    world.server().connect(handle, request);
    world.until("refused", || !l.all().is_empty());
    assert!(matches!(l.all()[0], Told::ConnectFailed(_)));
}

/// Each end hands on to the next pair what it gets: a long way within one turn, and no stack that grows with it.
fn a_thousand_pairs_in_a_chain<W: World>() {
    let mut world = W::new();
    let next: Rc<std::cell::RefCell<std::collections::HashMap<StreamId, StreamId>>> = Rc::default();
    let map = Rc::clone(&next);
    let passes = Probe::new().data(move |stream, data| {
        if let Some(&to) = map.borrow().get(&stream.id()) {
            assert!(stream.other(to).unwrap().write(data).is_taken());
        }
        data.len()
    });
    let (service, _) = add(&mut world, passes);
    let ends: Vec<(StreamId, StreamId)> = (0..1_000)
        .map(|_| {
            world
                .server()
                .pair(service, service, &PairOptions::default())
                .unwrap()
        })
        .collect();
    for two in ends.windows(2) {
        next.borrow_mut().insert(two[0].1, two[1].0);
    }
    let (last, log) = add(&mut world, Probe::new());
    let (start, end) = world
        .server()
        .pair(service, last, &PairOptions::default())
        .unwrap();
    let _ = end;
    next.borrow_mut().insert(ends[999].1, start);
    world.until("open", || log.opened() == 1);
    let first = ends[0].0;
    world.server().with(service, |_, context| {
        assert!(context.write(first, b"all the way").is_taken());
    });
    world.until("it arrived", || log.received(0) == b"all the way");
}
