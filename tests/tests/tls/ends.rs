//! How connections end: in order, by half, by a reset, and without saying so.

use std::time::Duration;

use sockeye::tls::{StreamTls, TlsServer};
use sockeye_event_loop::{Context, StreamOptions};

use crate::probe::{Probe, Told};
use crate::setting::{Authority, Reason, connect, setting};
use crate::streams::echo;
use crate::world::World;

fn closed() -> Told {
    Told::Close("closed".into())
}

fn an_end_in_order_is_one_on_both_sides<W: World>() {
    let mut world = W::new();
    let authority = Authority::new();
    let setting = setting(&mut world, authority.server(), authority.client(), Probe::new());
    let client = Probe::new().open(|stream| {
        let _ = stream.write(b"all of it");
        stream.close();
    });
    let client = connect(&mut world, &setting, client);
    let (inside, outside) = (setting.inside.clone(), client.clone());
    world.until("both have ended", || {
        inside.has(&closed()) && outside.has(&closed())
    });
    assert_eq!(setting.inside.received(0), b"all of it");
    assert!(setting.inside.has(&Told::Eof));
    assert_eq!(setting.counters.read().truncated, 0);
    let left = (world.server().stats(), world.client().stats());
    assert_eq!(left.0.closed, 3, "the connection and both ends of the pair");
    assert_eq!(left.1.closed, 3);
}

/// The client ends its side; the server still answers.
fn half_a_close_is_half_a_close<W: World>() {
    let mut world = W::new();
    let authority = Authority::new();
    let inside = Probe::new().data(|_, data| data.len()).eof(|stream| {
        let _ = stream.write(b"after the end");
        stream.close();
    });
    let setting = setting(&mut world, authority.server(), authority.client(), inside);
    let client = Probe::new().open(|stream| {
        let _ = stream.write(b"question");
        stream.shutdown_write();
    });
    let client = connect(&mut world, &setting, client);
    let (inside, outside) = (setting.inside.clone(), client.clone());
    world.until("both have ended", || {
        inside.has(&closed()) && outside.has(&closed())
    });
    assert_eq!(setting.inside.received(0), b"question");
    assert_eq!(client.received(0), b"after the end");
}

fn a_reset_is_a_reset_at_the_other_side<W: World>() {
    let mut world = W::new();
    let authority = Authority::new();
    let setting = setting(&mut world, authority.server(), authority.client(), echo());
    let client = Probe::new()
        .open(|stream| {
            let _ = stream.write(b"x");
        })
        .data(|stream, data| {
            stream.abort();
            data.len()
        });
    let client = connect(&mut world, &setting, client);
    let inside = setting.inside.clone();
    world.until("the service is told", || !inside.closes().is_empty());
    assert!(client.closes()[0].contains("aborted"), "{:?}", client.closes());
    assert!(!setting.inside.has(&closed()), "{:?}", setting.inside.closes());
    assert!(!setting.inside.has(&Told::Eof));
}

fn a_service_that_resets_resets_the_client<W: World>() {
    let mut world = W::new();
    let authority = Authority::new();
    let inside = Probe::new().data(|stream, data| {
        stream.abort();
        data.len()
    });
    let setting = setting(&mut world, authority.server(), authority.client(), inside);
    let client = Probe::new().open(|stream| {
        let _ = stream.write(b"x");
    });
    let client = connect(&mut world, &setting, client);
    let outside = client.clone();
    world.until("the client is told", || !outside.closes().is_empty());
    assert!(!client.has(&closed()), "{:?}", client.closes());
    assert!(!client.has(&Told::Eof));
}

/// The connection under TLS ends without `close_notify`: who is inside must not take what it has for the whole.
fn a_cut_is_not_an_end<W: World>() {
    let mut world = W::new();
    let authority = Authority::new();
    let setting = setting(&mut world, authority.server(), authority.client(), Probe::new());
    let client = Probe::new()
        .open(|stream| {
            let _ = stream.write(b"half of it");
            stream.set_timer(Duration::from_millis(20), 1);
        })
        .timer(|stream, _| {
            // Behind the back of TLS, as if the connection had been cut.
            let carrier = stream.tls().unwrap().carrier;
            stream.other(carrier).unwrap().shutdown_write();
        });
    connect(&mut world, &setting, client);
    let inside = setting.inside.clone();
    world.until("the service is told", || !inside.closes().is_empty());
    assert_eq!(setting.inside.received(0), b"half of it");
    assert!(!setting.inside.has(&Told::Eof), "{:?}", setting.inside.all());
    assert!(
        setting.inside.reason().contains("close_notify"),
        "{:?}",
        setting.inside.closes()
    );
    assert_eq!(setting.counters.read().truncated, 1);
}

/// The client has ended its side and waits for the answer, which is cut: that is no end of an answer.
fn an_answer_that_is_cut_is_not_an_end<W: World>() {
    let mut world = W::new();
    let authority = Authority::new();
    let inside = Probe::new()
        .eof(|stream| {
            let _ = stream.write(b"half of the answer");
            stream.set_timer(Duration::from_millis(20), 1);
        })
        .timer(|stream, _| {
            let carrier = stream.tls().unwrap().carrier;
            stream.other(carrier).unwrap().shutdown_write();
        });
    let setting = setting(&mut world, authority.server(), authority.client(), inside);
    let client = Probe::new()
        .open(|stream| {
            let _ = stream.write(b"question");
            stream.shutdown_write();
        })
        .eof(|_| {});
    let client = connect(&mut world, &setting, client);
    let outside = client.clone();
    world.until("the client is told", || {
        !outside.closes().is_empty() || outside.has(&Told::Eof)
    });
    assert_eq!(client.received(0), b"half of the answer");
    assert!(!client.has(&Told::Eof), "{:?}", client.all());
    assert!(client.reason().contains("close_notify"), "{}", client.reason());
}

/// What came before a cut is read first, however slow the reader is.
fn what_came_before_a_cut_is_read_first<W: World>() {
    let mut world = W::new();
    let authority = Authority::new();
    let inside = Probe::new()
        .open(|stream| stream.pause())
        .message(|stream, _| stream.resume());
    let setting = setting(&mut world, authority.server(), authority.client(), inside);
    // More than a pair holds: a part of it waits in the queue of the end.
    let len = 75_000;
    let client = Probe::new()
        .open(move |stream| {
            let _ = stream.write(&vec![7; len]);
            stream.set_timer(Duration::from_millis(50), 1);
        })
        .timer(|stream, _| {
            let carrier = stream.tls().unwrap().carrier;
            stream.other(carrier).unwrap().shutdown_write();
        });
    connect(&mut world, &setting, client);
    let inside = setting.inside.clone();
    world.until("it is open", || inside.opened() == 1);
    let counters = setting.counters.clone();
    world.until("the cut is seen", move || counters.read().truncated == 1);
    world.pass(Duration::from_millis(20));
    let id = setting.inside.id(0);
    let wake = |_: &mut TlsServer, context: &mut Context<'_>| context.send_message(id, Box::new(0_u64));
    assert_eq!(world.server().with(setting.tls, wake), Some(true));
    let inside = setting.inside.clone();
    world.until("it is told", || !inside.closes().is_empty());
    assert_eq!(setting.inside.received_len(0), len);
    assert!(!setting.inside.has(&Told::Eof));
    assert!(
        setting.inside.reason().contains("close_notify"),
        "{}",
        setting.inside.reason()
    );
}

/// The same service over TCP, a Unix socket, TLS and a pair: it never learns which.
fn one_service_over_everything<W: World>() {
    let mut world = W::new();
    let authority = Authority::new();
    let service = echo();
    let log = service.log.clone();
    let service = world
        .server()
        .add_stream_service(service, StreamOptions::default());
    let plain = world.listen(service);
    let tls = TlsServer::new(authority.server(), service);
    let tls = world.server().add_stream_service(tls, StreamOptions::default());
    let setting = setting(&mut world, authority.server(), authority.client(), Probe::new());
    let setting = crate::setting::Setting {
        at: world.listen(tls),
        tls,
        ..setting
    };
    let asks = || {
        Probe::new().open(|stream| {
            let _ = stream.write(b"the same");
        })
    };
    let over_tls = connect(&mut world, &setting, asks());
    let (over_socket, over_pair) = (asks(), asks());
    let (socket, pair) = (over_socket.log.clone(), over_pair.log.clone());
    let client = world
        .client()
        .add_stream_service(over_socket, StreamOptions::default());
    let request = world.request(plain);
    world.client().connect(client, request);
    let near = world
        .server()
        .add_stream_service(over_pair, StreamOptions::default());
    world.server().pair(near, service, &Default::default()).unwrap();
    let all = [over_tls, socket, pair];
    let seen = all.clone();
    world.until("all have their answer", || {
        seen.iter().all(|log| log.received_len(0) == 8)
    });
    assert!(all.iter().all(|log| log.received(0) == b"the same"));
    assert_eq!(log.opened(), 3);
}

in_all_worlds!(
    half_a_close_is_half_a_close,
    a_cut_is_not_an_end,
    an_answer_that_is_cut_is_not_an_end,
    what_came_before_a_cut_is_read_first,
    one_service_over_everything,
    ; by_ip_only:
    an_end_in_order_is_one_on_both_sides,
    a_reset_is_a_reset_at_the_other_side,
    a_service_that_resets_resets_the_client,
);
