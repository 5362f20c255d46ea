//! What goes through streams of QUIC: bytes both ways, in order and whole; back-pressure; who is at the other side.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use sockeye_event_loop::{Peer, Stream, StreamOptions, Watermarks};
use sockeye_quic::{Direction, QuicConnect, QuicOptions, StreamQuic};

use crate::probe::{Probe, Told};
use crate::setting::{connect, connect_as, echo, pattern, setting, setting_of, setting_with};
use crate::world::World;

fn a_message_goes_there_and_back<W: World>() {
    let mut world = W::new();
    let setting = setting(&mut world, echo());
    let client = Probe::new().open(|stream| {
        let _ = stream.write(b"hello");
    });
    let client = connect(&mut world, &setting, client);
    let log = client.clone();
    world.until("an answer", || log.received_len(0) == 5);
    assert_eq!(client.received(0), b"hello");
    assert_eq!(setting.inside.received(0), b"hello");
    let stats = setting.counters.read();
    assert_eq!(
        (stats.begun, stats.completed, stats.failed, stats.streams),
        (1, 1, 0, 1)
    );
}

fn who_is_inside_sees_the_peer_and_what_was_agreed_on<W: World>() {
    let mut world = W::new();
    let identity = crate::setting::Identity::new();
    let (mut server, mut client) = (identity.server(), identity.client());
    server.alpn_protocols = vec![b"b".to_vec()];
    client.alpn_protocols = vec![b"a".to_vec(), b"b".to_vec()];
    let seen = Rc::new(RefCell::new(Vec::new()));
    let note = |seen: &Rc<RefCell<Vec<_>>>| {
        let seen = Rc::clone(seen);
        move |stream: &mut Stream<'_>| {
            let quic = stream.quic().unwrap();
            assert_eq!(
                (quic.stream, quic.direction, quic.early),
                (0, Direction::Both, false)
            );
            assert!(stream.local_addr().unwrap().port() != 0);
            seen.borrow_mut().push((
                stream.peer().unwrap(),
                stream.tag(),
                quic.connection.alpn.clone(),
                quic.connection.server_name.clone(),
                quic.connection.peer_certificates.len(),
            ));
            let _ = stream.write(b"x");
        }
    };
    let inside = Probe::new().open(note(&seen));
    let setting = setting_of(&mut world, server, client, inside, |s, _| s, |c, _| c);
    let client = Probe::new().open(note(&seen));
    connect(&mut world, &setting, client);
    let both = Rc::clone(&seen);
    world.until("both are open", || both.borrow().len() == 2);
    let mut seen = seen.borrow().clone();
    seen.sort_by_key(|entry| entry.1);
    let (alpn, name) = (Some(b"b".to_vec()), Some("localhost".to_owned()));
    assert!(matches!(seen[0].0, Peer::Ip(at) if at.ip() == world.client_ip()));
    assert_eq!((&seen[0].2, &seen[0].3, seen[0].4), (&alpn, &name, 0));
    assert_eq!(seen[1].0, Peer::Ip(setting.at));
    assert_eq!(
        (seen[1].1, &seen[1].2, &seen[1].3, seen[1].4),
        (7, &alpn, &name, 1)
    );
}

fn megabytes_go_both_ways_whole_and_in_order<W: World>() {
    let mut world = W::new();
    let setting = setting(&mut world, echo());
    let data = Rc::new(pattern(4_000_000));
    let client = connect(&mut world, &setting, Probe::new().pushing(Rc::clone(&data)));
    let (log, len) = (client.clone(), data.len());
    world.until("all of it", || log.received_len(0) == len);
    assert_eq!(client.received(0), *data);
}

fn a_service_that_does_not_read_stops_the_peer<W: World>() {
    let mut world = W::new();
    let window = 100_000;
    let inside = Probe::new().open(|stream| stream.pause());
    let options = QuicOptions {
        stream_window: window,
        send_window: 100_000,
        ..QuicOptions::default()
    };
    let server = options.clone();
    let setting = setting_with(
        &mut world,
        inside,
        |quic, _| quic.options(server),
        |quic, _| quic.options(options),
    );
    let (taken, again) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let push = |taken: &Rc<Cell<usize>>| {
        let taken = Rc::clone(taken);
        move |stream: &mut Stream<'_>| {
            while stream.write(&[1; 10_000]).is_taken() {
                taken.set(taken.get() + 10_000);
            }
        }
    };
    let client = Probe::new().open(push(&taken)).writable(push(&taken));
    connect(&mut world, &setting, client);
    let (inside, more) = (setting.inside.clone(), Rc::clone(&taken));
    world.until("the stream", || inside.opened() == 1);
    // Until nothing moves any more.
    for _ in 0..1_000 {
        world.pass(Duration::from_millis(50));
        if again.replace(taken.get()) == taken.get() && taken.get() > 0 {
            break;
        }
    }
    // What the windows and the pairs of both sides hold, the client's own queue, and no more.
    let held = Watermarks::default().high + 2 * window as usize + 4 * 64 * 1024 + 1_000_000;
    assert!(taken.get() < held, "{} bytes were taken", taken.get());
    let stuck = taken.get();
    let id = setting.inside.id(0);
    world
        .server()
        .remote()
        .post(move |context| context.stream(id).unwrap().resume())
        .unwrap();
    world.until("it goes on", || more.get() > stuck + 2_000_000);
}

fn a_half_close_lets_the_other_side_answer<W: World>() {
    let mut world = W::new();
    let inside = Probe::new().eof(|stream| {
        let _ = stream.write(b"that was all?");
        stream.close();
    });
    let setting = setting(&mut world, inside);
    let client = Probe::new().open(|stream| {
        let _ = stream.write(b"question");
        stream.shutdown_write();
    });
    let client = connect(&mut world, &setting, client);
    let (log, inside) = (client.clone(), setting.inside.clone());
    world.until("both ends", || {
        log.closes().len() == 1 && inside.closes().len() == 1
    });
    assert_eq!(client.received(0), b"that was all?");
    assert_eq!(setting.inside.received(0), b"question");
    assert_eq!(
        (client.closes(), setting.inside.closes()),
        (vec!["closed".to_owned()], vec!["closed".to_owned()])
    );
    assert_eq!(client.count(&Told::Eof), 1);
}

fn streams_beyond_the_limit_wait_for_those_before_them<W: World>() {
    let mut world = W::new();
    let setting = setting_with(
        &mut world,
        echo(),
        |quic, _| {
            quic.options(QuicOptions {
                max_streams: 3,
                ..QuicOptions::default()
            })
        },
        |quic, _| quic,
    );
    let client = Probe::new()
        .open(|stream| {
            let _ = stream.write(&stream.tag().to_le_bytes());
            stream.shutdown_write();
        })
        .eof(|stream| stream.close());
    let log = client.log.clone();
    let inner = world
        .client()
        .add_stream_service(client, StreamOptions::default());
    let mut request = QuicConnect::new(setting.at, "localhost");
    for tag in 0..40 {
        request = request.stream(inner, tag);
    }
    let quic = setting.client.clone();
    let asked = world
        .client()
        .with(inner, |_: &mut Probe, context| quic.connect(context, request));
    asked.unwrap().unwrap();
    let (server, most) = (setting.server.clone(), Rc::new(Cell::new(0)));
    let (seen, done) = (Rc::clone(&most), log.clone());
    world.until("all streams", move || {
        seen.set(seen.get().max(server.streams()));
        done.closes().len() == 40
    });
    assert!(most.get() <= 6, "{} streams at once", most.get());
    for nth in 0..40 {
        assert_eq!(log.received(nth), (nth as u64).to_le_bytes());
    }
    let quiet = setting.server.clone();
    world.until("nothing is left", move || quiet.connections() == 0);
}

fn one_direction_is_enough<W: World>() {
    let mut world = W::new();
    let inside = Probe::new();
    let log = Probe::new().log.clone();
    let receiver = log.clone();
    let setting = setting_with(
        &mut world,
        inside,
        move |quic, events| {
            let mut service = Probe::new().open(|stream| {
                assert_eq!(stream.quic().unwrap().direction, Direction::Receive);
            });
            service.log = receiver;
            let service = events.add_stream_service(service, StreamOptions::default());
            quic.unidirectional(service)
        },
        |quic, _| quic,
    );
    let sender = Probe::new().eof(|stream| {
        // There is nothing to read from the beginning, and yet it can write.
        assert_eq!(stream.quic().unwrap().direction, Direction::Send);
        let _ = stream.write(b"one way");
        stream.close();
    });
    let sent = sender.log.clone();
    let inner = world
        .client()
        .add_stream_service(sender, StreamOptions::default());
    let request = QuicConnect::new(setting.at, "localhost").unidirectional_stream(inner, 1);
    let quic = setting.client.clone();
    let asked = world
        .client()
        .with(inner, |_: &mut Probe, context| quic.connect(context, request));
    asked.unwrap().unwrap();
    let (here, there) = (sent.clone(), log.clone());
    world.until("both ends", || {
        here.closes().len() == 1 && there.closes().len() == 1
    });
    assert_eq!(log.received(0), b"one way");
    assert_eq!(
        (sent.closes(), log.closes()),
        (vec!["closed".to_owned()], vec!["closed".to_owned()])
    );
}

fn either_side_opens_streams<W: World>() {
    let mut world = W::new();
    let called = Probe::new();
    let heard = called.log.clone();
    let setting = setting_with(
        &mut world,
        echo(),
        |quic, _| quic,
        move |quic, events| {
            let called = events.add_stream_service(called, StreamOptions::default());
            quic.serve(called)
        },
    );
    let (_, log) = connect_as(
        &mut world,
        &setting,
        Probe::new().open(|stream| {
            let _ = stream.write(b"x");
        }),
        |request| request,
    );
    let answered = log.clone();
    world.until("an answer", || answered.received_len(0) == 1);
    let greeter = Probe::new().open(|stream| {
        let _ = stream.write(b"from the server");
    });
    let greeter = world
        .server()
        .add_stream_service(greeter, StreamOptions::default());
    let (quic, inside) = (setting.server.clone(), setting.inside.clone());
    let stream = inside.id(0);
    let opened = world.server().with(greeter, move |_: &mut Probe, context| {
        let connection = context
            .stream(stream)
            .unwrap()
            .quic()
            .unwrap()
            .connection
            .connection;
        quic.open(context, connection, greeter, 3)
    });
    opened.unwrap().unwrap();
    let there = heard.clone();
    world.until("it arrives", || there.received_len(0) == 15);
    assert_eq!(heard.received(0), b"from the server");
}

in_both_worlds!(
    a_message_goes_there_and_back,
    who_is_inside_sees_the_peer_and_what_was_agreed_on,
    megabytes_go_both_ways_whole_and_in_order,
    a_service_that_does_not_read_stops_the_peer,
    a_half_close_lets_the_other_side_answer,
    streams_beyond_the_limit_wait_for_those_before_them,
    one_direction_is_enough,
    either_side_opens_streams,
);
