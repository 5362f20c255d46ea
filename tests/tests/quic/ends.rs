//! How streams and connections end: resets, closes with codes, lost peers, drains.

use std::rc::Rc;
use std::time::Duration;

use sockeye_event_loop::StreamOptions;
use sockeye_quic::{QuicConnect, QuicOptions};

use crate::probe::Probe;
use crate::setting::{Reason, connect, connect_as, echo, pattern, setting, setting_with};
use crate::world::{Simulated, World};

fn a_reset_goes_through<W: World>() {
    let mut world = W::new();
    let inside = Probe::new().data(|stream, data| {
        stream.abort();
        data.len()
    });
    let setting = setting(&mut world, inside);
    let client = Probe::new().open(|stream| {
        let _ = stream.write(b"hello");
    });
    let client = connect(&mut world, &setting, client);
    let log = client.clone();
    world.until("the reset", || log.closes().len() == 1);
    assert_eq!(client.closes(), ["error"]);
    assert!(
        client.reason().contains("reset the stream"),
        "{}",
        client.reason()
    );
}

fn what_had_come_is_read_before_the_end_of_the_connection_is_heard<W: World>() {
    let mut world = W::new();
    let setting = setting(&mut world, echo());
    let client = Probe::new().open(|stream| {
        let _ = stream.write(b"hello");
    });
    let (id, client) = connect_as(&mut world, &setting, client, QuicConnect::keep);
    let log = client.clone();
    world.until("an answer", || log.received_len(0) == 5);
    let quic = setting.client.clone();
    world
        .client()
        .with(setting.client_service, move |_, context| {
            assert!(quic.abort(context, id, 42, b"enough\x1b[31m"));
        })
        .unwrap();
    let (inside, here) = (setting.inside.clone(), client.clone());
    world.until("both ends", || {
        inside.closes().len() == 1 && here.closes().len() == 1
    });
    assert_eq!(setting.inside.closes(), ["error"]);
    let reason = setting.inside.reason();
    assert_eq!(
        reason,
        "QUIC: the peer closed the connection with code 42: enough\\u{1b}[31m"
    );
    assert!(
        client.reason().contains("closed by this side"),
        "{}",
        client.reason()
    );
    let quic = setting.server.clone();
    world.until("nothing is left", move || quic.connections() == 0);
}

fn a_close_in_order_waits_for_what_is_written<W: World>() {
    let mut world = W::new();
    let setting = setting(&mut world, Probe::new());
    let data = Rc::new(pattern(500_000));
    let all = Rc::clone(&data);
    let client = Probe::new().open(move |stream| {
        let _ = stream.write(&all);
        stream.close();
    });
    let (id, _) = connect_as(&mut world, &setting, client, QuicConnect::keep);
    let quic = setting.client.clone();
    world
        .client()
        .with(setting.client_service, move |_, context| {
            assert!(quic.close(context, id, 0, b""));
        })
        .unwrap();
    let inside = setting.inside.clone();
    world.until("the end", || inside.closes().len() == 1);
    assert_eq!(setting.inside.received(0), *data);
    assert_eq!(setting.inside.closes(), ["closed"]);
    let quic = setting.client.clone();
    world.until("nothing is left", move || quic.connections() == 0);
}

fn a_drain_delivers_what_was_written<W: World>() {
    let mut world = W::new();
    let data = Rc::new(pattern(900_000));
    let all = Rc::clone(&data);
    let inside = Probe::new().open(move |stream| {
        let _ = stream.write(&all);
    });
    let setting = setting(&mut world, inside);
    let client = Probe::new().open(|stream| {
        let _ = stream.write(b"x");
    });
    let client = connect(&mut world, &setting, client);
    let log = client.clone();
    world.until("some of it", || log.received_len(0) > 0);
    world.server().start_drain(Duration::from_secs(60));
    let (log, len) = (client.clone(), data.len());
    world.until("all of it", || {
        log.received_len(0) == len && log.closes().len() == 1
    });
    assert_eq!(client.closes(), ["closed"]);
    let quic = setting.client.clone();
    world.until("the connection is closed too", move || quic.connections() == 0);
    assert_eq!(setting.client_counters.read().lost, 0);
}

fn a_drain_waits_for_what_is_not_acknowledged<W: World>() {
    let mut world = W::new();
    let data = Rc::new(pattern(900_000));
    let all = Rc::clone(&data);
    let inside = Probe::new().eof(move |stream| {
        let _ = stream.write(&all);
        stream.close();
    });
    let setting = setting(&mut world, inside);
    let client = Probe::new().open(|stream| {
        let _ = stream.write(b"x");
        stream.shutdown_write();
    });
    let client = connect(&mut world, &setting, client);
    let inside = setting.inside.clone();
    // Both sides of the stream are over for the service by then, and all of it is under way.
    world.until("the question", || inside.closes().len() == 1);
    world.server().start_drain(Duration::from_secs(60));
    let (log, len) = (client.clone(), data.len());
    world.until("all of it", || {
        log.received_len(0) == len && log.closes().len() == 1
    });
    assert_eq!(client.closes(), ["closed"]);
    let quic = setting.client.clone();
    world.until("the connection is closed too", move || quic.connections() == 0);
    assert_eq!(setting.client_counters.read().lost, 0);
}

fn nobody_there_is_an_error_in_time<W: World>() {
    let mut world = W::new();
    let setting = setting(&mut world, echo());
    let nobody = std::net::SocketAddr::new(world.server_ip(), 9);
    let client = Probe::new();
    let log = client.log.clone();
    let inner = world
        .client()
        .add_stream_service(client, StreamOptions::default());
    let quic = setting.client.clone();
    let request = QuicConnect::new(nobody, "localhost")
        .stream(inner, 5)
        .deadline(Duration::from_millis(300));
    world
        .client()
        .with(inner, move |_, context| quic.connect(context, request).unwrap())
        .unwrap();
    let failed = log.clone();
    world.until("the failure", || !failed.0.borrow().reasons.is_empty());
    assert!(log.reason().contains("not complete in time"), "{}", log.reason());
    assert_eq!(setting.client.connections(), 0);
}

fn a_certificate_for_another_name_is_refused<W: World>() {
    let mut world = W::new();
    let setting = setting(&mut world, echo());
    let client = Probe::new();
    let log = client.log.clone();
    let inner = world
        .client()
        .add_stream_service(client, StreamOptions::default());
    let quic = setting.client.clone();
    let request = QuicConnect::new(setting.at, "example.org").stream(inner, 5);
    world
        .client()
        .with(inner, move |_, context| quic.connect(context, request).unwrap())
        .unwrap();
    let failed = log.clone();
    world.until("the failure", || !failed.0.borrow().reasons.is_empty());
    assert!(log.reason().contains("TLS alert"), "{}", log.reason());
    let counters = setting.counters.clone();
    world.until("the server knows", move || counters.read().failed == 1);
    assert_eq!(setting.inside.opened(), 0);
}

#[test]
fn a_peer_that_is_gone_is_noticed_by_the_idle_timeout() {
    let mut world = Simulated::new();
    let options = QuicOptions {
        idle_timeout: Some(Duration::from_secs(20)),
        ..QuicOptions::default()
    };
    let setting = setting_with(
        &mut world,
        echo(),
        |quic, _| quic.options(options),
        |quic, _| quic,
    );
    let client = Probe::new().open(|stream| {
        let _ = stream.write(b"hello");
    });
    let client = connect(&mut world, &setting, client);
    let log = client.clone();
    world.until("an answer", || log.received_len(0) == 5);
    let (sim, here, there) = world.parts();
    sim.partition(here, there);
    let (log, inside) = (client.clone(), setting.inside.clone());
    world.until("both notice", || {
        log.closes().len() == 1 && inside.closes().len() == 1
    });
    assert!(client.reason().contains("too long"), "{}", client.reason());
    assert!(
        setting.inside.reason().contains("too long"),
        "{}",
        setting.inside.reason()
    );
    assert_eq!(
        (setting.client.connections(), setting.server.connections()),
        (0, 0)
    );
}

#[test]
fn a_connection_that_is_kept_alive_outlives_the_idle_timeout() {
    let mut world = Simulated::new();
    let options = QuicOptions {
        keep_alive: Some(Duration::from_secs(5)),
        idle_timeout: Some(Duration::from_secs(20)),
        ..QuicOptions::default()
    };
    let setting = setting_with(
        &mut world,
        echo(),
        |quic, _| quic,
        |quic, _| quic.options(options),
    );
    let client = Probe::new().open(|stream| {
        let _ = stream.write(b"hello");
    });
    let (id, client) = connect_as(&mut world, &setting, client, QuicConnect::keep);
    world.pass(Duration::from_secs(200));
    assert_eq!((client.received_len(0), client.closes().len()), (5, 0));
    assert!(setting.client.stats(id).is_some());
}

in_both_worlds!(
    a_reset_goes_through,
    what_had_come_is_read_before_the_end_of_the_connection_is_heard,
    a_close_in_order_waits_for_what_is_written,
    a_drain_delivers_what_was_written,
    a_drain_waits_for_what_is_not_acknowledged,
    nobody_there_is_an_error_in_time,
    a_certificate_for_another_name_is_refused,
);
