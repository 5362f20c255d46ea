//! A connection that goes from one service to another, as STARTTLS and CONNECT do.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use sockeye_event_loop::{
    ConnectRequest, Deadlines, Identity, PairOptions, Peer, PeerName, ServiceHandle, Stream, StreamId,
    StreamOptions, SwitchError, UnixName, Watermarks,
};
use sockeye_tests::pattern;

use crate::cipher::{Cipher, seal};
use crate::probe::{Probe, Told};
use crate::world::World;

in_all_worlds!(
    a_switch_inside_on_open,
    the_end_of_the_stream_is_told_to_whoever_has_it,
    what_is_left_at_the_end_of_the_stream_goes_to_the_next_service,
    a_service_that_gives_everything_away_needs_no_long_tail,
    what_the_first_service_had_set_is_nothing_to_the_next,
    what_waits_leaves_before_what_the_next_one_writes,
    a_connection_closed_after_it_was_given_away_stays,
    a_panic_in_the_switched_close_leaves_the_loop_whole,
    from_plain_to_cipher_in_the_middle_of_a_read,
    a_cipher_carries_megabytes_both_ways,
    a_tunnel_is_asked_for_by_name_and_joined,
    a_service_listens_and_connects_for_another,
    back_and_forth_a_thousand_times,
    what_a_connection_answers_goes_with_it;
    on_two_loops:
    a_switch_that_cannot_be_is_refused,
    the_next_service_gets_what_was_not_consumed,
);

/// A probe on the server's loop.
fn add<W: World>(world: &mut W, probe: Probe) -> (ServiceHandle<Probe>, crate::probe::Log) {
    let log = probe.log.clone();
    (
        world.server().add_stream_service(probe, StreamOptions::default()),
        log,
    )
}

/// Gives the connection to `to` once it has seen a line, which it consumes.
fn after_a_line(to: ServiceHandle<Probe>) -> Probe {
    Probe::new().data(move |stream, data| {
        let Some(end) = data.iter().position(|&byte| byte == b'\n') else {
            return 0;
        };
        stream.switch_to(to).unwrap();
        end + 1
    })
}

fn the_next_service_gets_what_was_not_consumed<W: World>() {
    let mut world = W::new();
    let (next, log) = add(&mut world, Probe::new());
    let (first, at) = after_a_line(next).serve(&mut world, StreamOptions::default());
    let client = Probe::new()
        .open(|stream| {
            assert!(stream.write(b"a line\nand what follows").is_taken());
            stream.set_timer(Duration::from_millis(2), 0);
        })
        .timer(|stream, _| {
            assert!(stream.write(b", and more").is_taken());
            stream.shutdown_write();
        })
        .connect(&mut world, at);
    let c = client.log.clone();
    world.until("the end", || c.has(&Told::Dropped) && log.has(&Told::Dropped));
    assert_eq!(first.log.received(0), b"a line\n");
    assert_eq!(log.received(0), b"and what follows, and more");
    let told = first.log.of(0);
    assert_eq!(
        told[told.len() - 2..],
        [Told::Close("switched".into()), Told::Dropped]
    );
    assert_eq!(log.closes(), ["closed"]);
    assert_eq!(world.server().stats().closed, 1, "one connection, whoever has it");
}

fn a_switch_inside_on_open<W: World>() {
    let mut world = W::new();
    let (next, log) = add(&mut world, Probe::new());
    let (first, at) = Probe::new()
        .open(move |stream| stream.switch_to(next).unwrap())
        .data(|_, _| panic!("it was given away before anything was read"))
        .serve(&mut world, StreamOptions::default());
    Probe::new()
        .open(|stream| assert!(stream.write(b"hello").is_taken()))
        .connect(&mut world, at);
    world.until("there", || log.received(0) == b"hello");
    assert_eq!(first.log.closes(), ["switched"]);
}

fn the_end_of_the_stream_is_told_to_whoever_has_it<W: World>() {
    let mut world = W::new();
    let (next, log) = add(&mut world, Probe::new());
    let (first, at) = Probe::new()
        .eof(move |stream| stream.switch_to(next).unwrap())
        .serve(&mut world, StreamOptions::default());
    Probe::new()
        .open(|stream| stream.shutdown_write())
        .connect(&mut world, at);
    world.until("the end", || log.has(&Told::Dropped));
    assert!(first.log.has(&Told::Eof) && log.has(&Told::Eof));
    assert_eq!(
        (first.log.closes(), log.closes()),
        (vec!["switched".into()], vec!["closed".into()])
    );
}

fn what_is_left_at_the_end_of_the_stream_goes_to_the_next_service<W: World>() {
    let mut world = W::new();
    let (next, log) = add(&mut world, Probe::new());
    let (first, at) = Probe::new()
        .data(|_, _| 0)
        .eof(move |stream| stream.switch_to(next).unwrap())
        .serve(&mut world, StreamOptions::default());
    Probe::new()
        .open(|stream| {
            assert!(stream.write(b"half a line").is_taken());
            stream.shutdown_write();
        })
        .connect(&mut world, at);
    world.until("the end", || log.has(&Told::Dropped));
    assert_eq!(log.received(0), b"half a line");
    assert!(first.log.has(&Told::Eof) && log.has(&Told::Eof));
    assert_eq!(world.server().stats().memory, 0);
}

fn a_service_that_gives_everything_away_needs_no_long_tail<W: World>() {
    let mut world = W::new();
    let (next, log) = add(&mut world, Probe::new());
    let short = StreamOptions {
        watermarks: Watermarks {
            max_tail: 10,
            ..Watermarks::default()
        },
        ..StreamOptions::default()
    };
    let (first, at) = Probe::new()
        .data(move |stream, data| {
            if data.len() > 1 {
                stream.switch_to(next).unwrap();
            }
            0
        })
        .serve(&mut world, short);
    Probe::new()
        .open(|stream| {
            assert!(stream.write(b"a").is_taken());
            stream.set_timer(Duration::from_millis(2), 0);
        })
        .timer(|stream, _| assert!(stream.write(&[b'b'; 1_000]).is_taken()))
        .connect(&mut world, at);
    world.until("all of it", || log.received_len(0) == 1_001);
    assert_eq!(first.log.closes(), ["switched"]);
}

fn what_the_first_service_had_set_is_nothing_to_the_next<W: World>() {
    let mut world = W::new();
    let (next, log) = add(
        &mut world,
        Probe::new().open(|stream| {
            stream.set_timer(Duration::from_millis(20), 2);
        }),
    );
    let (first, at) = Probe::new()
        .open(move |stream| {
            stream.set_timer(Duration::from_millis(5), 1);
            stream.set_deadlines(Deadlines {
                idle: Some(Duration::from_millis(10)),
                ..Deadlines::default()
            });
            stream.set_watermarks(Watermarks {
                high: 10,
                low: 5,
                max_write: 10,
                ..Watermarks::default()
            });
            stream.pause();
            stream.notify_writable();
            stream.switch_to(next).unwrap();
        })
        .serve(&mut world, StreamOptions::default());
    let client = Probe::new()
        .open(|stream| assert!(stream.write(b"hello").is_taken()))
        .connect(&mut world, at);
    world.until("read, though the other one had paused it", || {
        log.received(0) == b"hello"
    });
    world.until("its own timer", || log.has(&Told::Timer(2)));
    assert!(!log.has(&Told::Timer(1)) && !first.log.has(&Told::Timer(1)));
    assert!(!log.has(&Told::Writable) && !log.has(&Told::Dropped));
    let id = log.id(0);
    world.server().with(next, |_, context| {
        assert!(context.write(id, &[1; 1_000]).is_taken(), "its own marks hold");
    });
    let c = client.log.clone();
    world.until("the answer", || c.received_len(0) == 1_000);
}

fn what_waits_leaves_before_what_the_next_one_writes<W: World>() {
    let mut world = W::new();
    let options = StreamOptions {
        watermarks: Watermarks {
            high: 4 << 20,
            max_write: 4 << 20,
            ..Watermarks::default()
        },
        ..StreamOptions::default()
    };
    let next = Probe::new().open(|stream| {
        assert!(stream.write(b"|next").is_taken());
        stream.close();
    });
    let log = next.log.clone();
    let next = world.server().add_stream_service(next, options.clone());
    let (_, at) = Probe::new()
        .open(move |stream| {
            assert!(stream.write(&pattern(3_000_000)).is_taken());
            assert!(stream.write(b"|first").is_taken());
            stream.switch_to(next).unwrap();
        })
        .serve(&mut world, options);
    let client = Probe::new().connect(&mut world, at);
    let c = client.log.clone();
    world.until("the end", || c.has(&Told::Dropped) && log.has(&Told::Dropped));
    assert!(c.received(0) == [&pattern(3_000_000)[..], b"|first|next"].concat());
}

fn a_switch_that_cannot_be_is_refused<W: World>() {
    let mut world = W::new();
    let (next, _) = add(&mut world, Probe::new());
    let mut foreign = next;
    for _ in 0..9 {
        foreign = world
            .client()
            .add_stream_service(Probe::new(), StreamOptions::default());
    }
    let (first, at) = Probe::new()
        .open(move |stream| {
            assert_eq!(stream.switch_to(foreign), Err(SwitchError::NoSuchService));
            assert_eq!(stream.switch_to(next), Ok(()));
            assert_eq!(stream.switch_to(next), Err(SwitchError::Gone), "once");
        })
        .serve(&mut world, StreamOptions::default());
    let (closing, again) = Probe::new()
        .open(move |stream| {
            stream.close();
            assert_eq!(stream.switch_to(next), Err(SwitchError::Gone));
        })
        .serve(&mut world, StreamOptions::default());
    let clients = [at, again].map(|at| Probe::new().connect(&mut world, at));
    let (f, c) = (first.log.clone(), closing.log.clone());
    world.until("both", || f.has(&Told::Dropped) && c.has(&Told::Dropped));
    assert_eq!(
        (f.closes(), c.closes()),
        (vec!["switched".into()], vec!["closed".into()])
    );
    assert_eq!(world.server().stats().panics, 0);
    drop(clients);
}

fn a_connection_closed_after_it_was_given_away_stays<W: World>() {
    for abort in [false, true] {
        let mut world = W::new();
        let (next, log) = add(&mut world, Probe::new());
        let (first, at) = Probe::new()
            .open(move |stream| {
                stream.switch_to(next).unwrap();
                if abort {
                    stream.abort();
                } else {
                    assert!(stream.write(b"no, wait").is_taken());
                    stream.close();
                }
            })
            .serve(&mut world, StreamOptions::default());
        Probe::new().connect(&mut world, at);
        let f = first.log.clone();
        world.until("the end", || f.has(&Told::Dropped));
        assert_eq!(f.closes(), [if abort { "aborted" } else { "closed" }]);
        assert_eq!(log.opened(), 0);
    }
}

fn a_panic_in_the_switched_close_leaves_the_loop_whole<W: World>() {
    let mut world = W::new();
    let (next, log) = add(&mut world, Probe::new());
    let (_, at) = Probe::new()
        .data(move |stream, _| {
            stream.switch_to(next).unwrap();
            0
        })
        .close(|_, _| panic!("the test wants it"))
        .serve(&mut world, StreamOptions::default());
    let client = Probe::new()
        .open(|stream| assert!(stream.write(b"kept, and then lost").is_taken()))
        .connect(&mut world, at);
    let c = client.log.clone();
    world.until("the end", || c.has(&Told::Dropped));
    assert_eq!(log.opened(), 0);
    let server = world.server();
    assert_eq!(
        (
            server.open_streams(),
            server.stats().panics,
            server.stats().memory
        ),
        (0, 1, 0)
    );
}

fn from_plain_to_cipher_in_the_middle_of_a_read<W: World>() {
    let mut world = W::new();
    let (carried, log) = add(
        &mut world,
        Probe::new().data(|stream, data| {
            assert!(stream.write(data).is_taken());
            data.len()
        }),
    );
    let cipher = world
        .server()
        .add_stream_service(Cipher::new(carried, 7), StreamOptions::default());
    let (first, at) = Probe::new()
        .data(move |stream, data| {
            let end = data.iter().position(|&byte| byte == b'\n').unwrap();
            assert!(stream.write(b"OK\n").is_taken());
            stream.switch_to(cipher).unwrap();
            end + 1
        })
        .serve(&mut world, StreamOptions::default());
    let client = Probe::new()
        .open(|stream| {
            // Both in one segment: the second part is for the cipher.
            let all = [b"STARTXOR\n".to_vec(), seal(7, b"secret")].concat();
            assert!(stream.write(&all).is_taken());
        })
        .connect(&mut world, at);
    let c = client.log.clone();
    world.until("the answer", || c.received_len(0) == 9);
    assert_eq!(c.received(0), [b"OK\n".to_vec(), seal(7, b"secret")].concat());
    assert_eq!(log.received(0), b"secret");
    assert_eq!(first.log.closes(), ["switched"]);
    world.client().start_drain(Duration::from_secs(1));
    world.until("the end", || log.has(&Told::Dropped) && c.has(&Told::Dropped));
    assert_eq!(log.closes(), ["closed"]);
}

fn a_cipher_carries_megabytes_both_ways<W: World>() {
    let mut world = W::new();
    let (carried, log) = add(
        &mut world,
        Probe::new().data(|stream, data| {
            if stream.write(data).is_taken() {
                data.len()
            } else {
                0
            }
        }),
    );
    let cipher = world
        .server()
        .add_stream_service(Cipher::new(carried, 7), StreamOptions::default());
    let at = world.listen(cipher);
    let data = pattern(4 << 20);
    let sealed = Rc::new(seal(7, &data));
    let (sent, bytes) = (Rc::new(Cell::new(0)), Rc::clone(&sealed));
    let push = Rc::new(move |stream: &mut Stream<'_>| {
        while sent.get() < bytes.len() {
            let to = bytes.len().min(sent.get() + 40_000);
            if !stream.write(&bytes[sent.get()..to]).is_taken() {
                return;
            }
            sent.set(to);
        }
        stream.shutdown_write();
    });
    let again = Rc::clone(&push);
    let client = Probe::new()
        .open(move |stream| push(stream))
        .writable(move |stream| again(stream))
        .connect(&mut world, at);
    let c = client.log.clone();
    world.until("the end", || c.has(&Told::Dropped) && log.has(&Told::Dropped));
    assert!(log.received(0) == data && c.received(0) == *sealed);
    assert_eq!(
        (c.closes(), log.closes()),
        (vec!["closed".into()], vec!["closed".into()])
    );
    let left = world.server();
    assert_eq!(left.stats().panics, 0);
}

fn a_tunnel_is_asked_for_by_name_and_joined<W: World>() {
    let mut world = W::new();
    let (_, target) = Probe::new()
        .data(|stream, data| {
            assert!(stream.write(data).is_taken());
            data.len()
        })
        .serve(&mut world, StreamOptions::default());
    // The tunnel: connects, answers, joins.
    let request = world.request(target);
    let waiting: Rc<RefCell<HashMap<u64, StreamId>>> = Rc::default();
    let find = Rc::clone(&waiting);
    let tunnel = Probe::new().open(move |stream| {
        if stream.tag() == 0 {
            let number = stream.id().to_u64();
            waiting.borrow_mut().insert(number, stream.id());
            stream.pause();
            stream.context().connect(request.clone().tag(number));
        } else {
            let client = find.borrow_mut().remove(&stream.tag()).unwrap();
            assert!(stream.other(client).unwrap().write(b"200\n").is_taken());
            assert!(stream.join(client));
        }
    });
    let (tunnel, log) = add(&mut world, tunnel);
    // The front: reads one line, and gives the connection to whoever serves what it names.
    let (front, at) = Probe::new()
        .data(move |stream, data| {
            let Some(end) = data.iter().position(|&byte| byte == b'\n') else {
                return 0;
            };
            if &data[..end] == b"CONNECT" {
                stream.switch_to(tunnel).unwrap();
            } else {
                stream.close();
            }
            end + 1
        })
        .serve(&mut world, StreamOptions::default());
    let client = Probe::new()
        .open(|stream| {
            assert!(stream.write(b"CONNECT\nearly ").is_taken());
            stream.set_timer(Duration::from_millis(3), 0);
        })
        .timer(|stream, _| {
            assert!(stream.write(b"and late").is_taken());
            stream.shutdown_write();
        })
        .connect(&mut world, at);
    let c = client.log.clone();
    world.until("the end", || {
        c.has(&Told::Dropped) && log.count(&Told::Dropped) == 2
    });
    assert_eq!(c.received(0), b"200\nearly and late");
    assert!(log.all().contains(&Told::Relayed(14, 14)));
    assert_eq!(front.log.closes(), ["switched"]);
}

fn a_service_listens_and_connects_for_another<W: World>() {
    let mut world = W::new();
    let (other, log) = add(&mut world, Probe::new());
    let (own, own_log) = add(&mut world, Probe::new());
    let at = SocketAddr::new(world.server_ip(), 0);
    let at = world
        .server()
        .with(own, |_, context| {
            let listener = context.listen_for(other, at, &sockeye_event_loop::ListenOptions::default());
            let at = context.listener_addr(listener.unwrap()).unwrap();
            context
                .connect_for(other, ConnectRequest::new(at).tag(5))
                .unwrap();
            at
        })
        .unwrap();
    world.until("both ends", || log.opened() == 2);
    assert_eq!(own_log.opened(), 0);
    assert_ne!(at.port(), 0);
}

fn back_and_forth_a_thousand_times<W: World>() {
    let mut world = W::new();
    let handles: Rc<Cell<Option<[ServiceHandle<Probe>; 2]>>> = Rc::default();
    let count = Rc::new(Cell::new(0));
    let make = |side: usize| {
        let (handles, count) = (Rc::clone(&handles), Rc::clone(&count));
        Probe::new().data(move |stream, data| {
            count.set(count.get() + 1);
            assert!(stream.write(&data[..1]).is_taken());
            stream.switch_to(handles.get().unwrap()[1 - side]).unwrap();
            1
        })
    };
    let (one, two) = (add(&mut world, make(0)), add(&mut world, make(1)));
    handles.set(Some([one.0, two.0]));
    let at = world.listen(one.0);
    let client = Probe::new()
        .open(|stream| assert!(stream.write(&pattern(1_000)).is_taken()))
        .connect(&mut world, at);
    let c = client.log.clone();
    world.until("all of it", || c.received_len(0) == 1_000);
    assert!(c.received(0) == pattern(1_000));
    assert_eq!(count.get(), 1_000);
    assert_eq!(one.1.opened() + two.1.opened(), 1_001);
}

fn what_a_connection_answers_goes_with_it<W: World>() {
    let mut world = W::new();
    let from: SocketAddr = "192.0.2.1:5".parse().unwrap();
    let name: UnixName = "@front".parse().unwrap();
    let said: Rc<RefCell<Vec<String>>> = Rc::default();
    let says = |of: &'static str| {
        let said = Rc::clone(&said);
        Probe::new().open(move |stream| {
            let (id, number) = (stream.id(), stream.attached::<u32>().map(|number| *number));
            let answers = (
                stream.peer(),
                stream.peer_addr(),
                stream.local_addr().ok(),
                number,
            );
            let unix = stream.context().local_unix(id).ok();
            said.borrow_mut().push(format!("{of} {answers:?} {unix:?}"));
        })
    };
    let (carried, _) = add(&mut world, says("end"));
    let last = says("connection");
    let mut note = last.open.unwrap();
    let last = Probe::new().open(move |stream| {
        note(stream);
        let like = PairOptions {
            second_like: Some(stream.id()),
            ..PairOptions::default()
        };
        stream.context().pair(carried, carried, &like).unwrap();
    });
    let (last, log) = add(&mut world, last);
    let (_, at) = Probe::new()
        .open(move |stream| {
            let (peer, local) = (Peer::Ip(from), Some(PeerName::Unix(name)));
            stream.answer_as(Identity { peer, local });
            stream.attach(Rc::new(7_u32));
            stream.attach(Rc::new("a value of another type"));
            stream.attach(Rc::new(8_u32));
            assert_eq!(stream.peer_addr(), Some(from), "at once");
            stream.switch_to(last).unwrap();
        })
        .serve(&mut world, StreamOptions::default());
    Probe::new().connect(&mut world, at);
    let s = Rc::clone(&said);
    world.until("all three", || log.opened() == 1 && s.borrow().len() == 3);
    let (peer, address) = (Some(Peer::Ip(from)), Some(from));
    let answers = format!(
        "{:?} {:?}",
        (peer, address, None::<SocketAddr>, Some(8)),
        Some(name)
    );
    let plain = (
        Some(Peer::Pair),
        None::<SocketAddr>,
        None::<SocketAddr>,
        None::<u32>,
    );
    assert_eq!(
        *said.borrow(),
        [
            format!("connection {answers}"),
            format!("end {plain:?} None"),
            format!("end {answers}")
        ]
    );
}
