//! What goes through TLS: bytes both ways, in order and whole; back-pressure; who is at the other side.

use std::cell::RefCell;
use std::rc::Rc;

use sockeye::tls::{StreamTls, TlsServer, rustls};
use sockeye_event_loop::{Context, Peer, Stream, StreamOptions, Watermarks};

use crate::probe::{Probe, Told};
use crate::setting::{Authority, connect, setting};
use crate::world::World;

/// Answers with what it receives, with back-pressure.
pub fn echo() -> Probe {
    Probe::new().data(|stream, data| {
        if stream.write(data).is_taken() {
            data.len()
        } else {
            0
        }
    })
}

/// Bytes of which no two neighbourhoods are alike.
fn pattern(len: u32) -> Vec<u8> {
    (0..len).map(|n| (n ^ n >> 11).to_le_bytes()[0]).collect()
}

fn a_message_goes_there_and_back<W: World>() {
    let mut world = W::new();
    let authority = Authority::new();
    let setting = setting(&mut world, authority.server(), authority.client(), echo());
    let client = Probe::new().open(|stream| {
        let _ = stream.write(b"hello");
    });
    let client = connect(&mut world, &setting, client);
    let log = client.clone();
    world.until("an answer", || log.received_len(0) == 5);
    assert_eq!(client.received(0), b"hello");
    assert_eq!(setting.inside.received(0), b"hello");
    let stats = setting.counters.read();
    assert_eq!((stats.begun, stats.completed, stats.failed), (1, 1, 0));
}

fn who_is_inside_sees_the_peer_and_what_was_agreed_on<W: World>() {
    let mut world = W::new();
    let authority = Authority::new();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let note = |seen: &Rc<RefCell<Vec<(Peer, String)>>>| {
        let seen = Rc::clone(seen);
        move |stream: &mut Stream<'_>| {
            let tls = stream.tls().unwrap();
            let name = tls.server_name.clone();
            let text = format!(
                "{:?} {:?} {:?} {}",
                tls.version,
                name,
                tls.alpn,
                tls.peer_certificates.len()
            );
            seen.borrow_mut().push((stream.peer().unwrap(), text));
        }
    };
    let (mut server, mut client) = (authority.server(), authority.client());
    server.alpn_protocols = vec![b"b".to_vec()];
    client.alpn_protocols = vec![b"a".to_vec(), b"b".to_vec()];
    let setting = setting(&mut world, server, client, Probe::new().open(note(&seen)));
    let tags = Rc::new(RefCell::new(Vec::new()));
    let (tag, noted) = (Rc::clone(&tags), note(&seen));
    let client = Probe::new().open(move |stream| {
        tag.borrow_mut().push((stream.tag(), stream.peer_addr()));
        noted(stream);
    });
    connect(&mut world, &setting, client);
    let both = Rc::clone(&seen);
    world.until("both are open", || both.borrow().len() == 2);
    let seen = seen.borrow();
    for (peer, text) in seen.iter() {
        assert_ne!(*peer, Peer::Pair);
        assert!(
            text.starts_with("TLSv1_3 Some(\"localhost\") Some([98])"),
            "{text}"
        );
    }
    assert_eq!(tags.borrow()[0].0, 7, "the tag that the connect was given");
}

/// 8 MiB there and back, in pieces of every kind; nothing is lost or changed.
fn a_bulk_echo_is_whole<W: World>() {
    let mut world = W::new();
    let authority = Authority::new();
    let setting = setting(&mut world, authority.server(), authority.client(), echo());
    let data: Rc<Vec<u8>> = Rc::new(pattern(8 << 20));
    let client = connect(&mut world, &setting, Probe::new().pushing(Rc::clone(&data)));
    let log = client.clone();
    let len = data.len();
    world.until("all of it came back", || log.received_len(0) == len);
    assert!(client.received(0) == *data);
}

/// Both send as much as they can at once, and neither stops the other.
fn both_send_at_once<W: World>() {
    let mut world = W::new();
    let authority = Authority::new();
    let data = Rc::new(pattern(8 << 20));
    let inside = Probe::new().pushing(Rc::clone(&data));
    let setting = setting(&mut world, authority.server(), authority.client(), inside);
    let client = connect(&mut world, &setting, Probe::new().pushing(Rc::clone(&data)));
    let (one, other, len) = (client.clone(), setting.inside.clone(), data.len());
    world.until("both have all", || {
        one.received_len(0) == len && other.received_len(0) == len
    });
    assert!(client.received(0) == *data && setting.inside.received(0) == *data);
}

/// Who does not read stops who writes: what is kept between them is bounded.
fn a_reader_that_sleeps_stops_the_writer<W: World>() {
    let mut world = W::new();
    let authority = Authority::new();
    let sleeper = Probe::new().open(|stream| stream.pause());
    let setting = setting(&mut world, authority.server(), authority.client(), sleeper);
    let taken = Rc::new(RefCell::new(0usize));
    let push = {
        let taken = Rc::clone(&taken);
        move |stream: &mut Stream<'_>| {
            while stream.write(&[7; 30_000]).is_taken() {
                *taken.borrow_mut() += 30_000;
                assert!(*taken.borrow() < 64 << 20, "nothing stops it");
            }
        }
    };
    let (first, again) = (push.clone(), push);
    connect(&mut world, &setting, Probe::new().open(first).writable(again));
    let before = Rc::new(RefCell::new((0usize, 0usize)));
    // It stands still when nothing was taken for a thousand looks.
    let (count, last) = (Rc::clone(&taken), Rc::clone(&before));
    world.until("the writer stands still", move || {
        let now = *count.borrow();
        let mut last = last.borrow_mut();
        *last = if now > 0 && now == last.0 {
            (now, last.1 + 1)
        } else {
            (now, 0)
        };
        last.1 > 1_000
    });
    assert!(*taken.borrow() < 32 << 20, "{}", taken.borrow());
    // And goes on when it reads.
    let id = setting.inside.id(0);
    let resume = |_: &mut TlsServer, context: &mut Context<'_>| context.stream(id).unwrap().resume();
    world.server().with(setting.tls, resume).unwrap();
    let (log, count) = (setting.inside.clone(), Rc::clone(&taken));
    let enough = *taken.borrow();
    world.until("what was held back has come", move || {
        log.received_len(0) >= enough && *count.borrow() > enough
    });
}

/// However small the marks of the TLS service are, it has room for what it has encrypted.
fn small_marks_lose_nothing<W: World>() {
    let mut world = W::new();
    let authority = Authority::new();
    let inside = world
        .server()
        .add_stream_service(echo(), StreamOptions::default());
    let small = StreamOptions {
        watermarks: Watermarks {
            high: 100,
            low: 10,
            max_write: 70,
            ..Watermarks::default()
        },
        ..StreamOptions::default()
    };
    let server = TlsServer::new(authority.server(), inside);
    let tls = world.server().add_stream_service(server, small);
    let setting = setting(&mut world, authority.server(), authority.client(), Probe::new());
    let at = world.listen(tls);
    let setting = crate::setting::Setting { at, tls, ..setting };
    let data: Rc<Vec<u8>> = Rc::new(pattern(300_000));
    let client = connect(&mut world, &setting, Probe::new().pushing(Rc::clone(&data)));
    let seen = client.clone();
    world.until("the echo", || {
        seen.received_len(0) == data.len() || !seen.closes().is_empty()
    });
    assert!(client.received(0) == *data);
}

fn tls_1_2_too<W: World>() {
    let mut world = W::new();
    let authority = Authority::new();
    let old = authority.client_of(&[&rustls::version::TLS12]);
    let setting = setting(&mut world, authority.server(), old, echo());
    let client = Probe::new().open(|stream| {
        let version = stream.tls().unwrap().version;
        let _ = stream.write(format!("{version:?}").as_bytes());
        stream.close();
    });
    let client = connect(&mut world, &setting, client);
    let log = client.clone();
    world.until("both have ended", || log.has(&Told::Close("closed".into())));
    assert_eq!(setting.inside.received(0), b"TLSv1_2");
}

fn keys_are_renewed_in_the_middle<W: World>() {
    let mut world = W::new();
    let authority = Authority::new();
    let setting = setting(&mut world, authority.server(), authority.client(), echo());
    let client = Probe::new()
        .open(|stream| {
            let _ = stream.write(b"one");
            assert!(stream.refresh_keys());
        })
        .data(|stream, data| {
            if stream.tag() == 7 && data == b"one" {
                let _ = stream.write(b"two");
            }
            data.len()
        });
    let client = connect(&mut world, &setting, client);
    let log = client.clone();
    world.until("both answers", || log.received_len(0) == 6);
    assert_eq!(client.received(0), b"onetwo");
}

/// What whoever is inside says at once may come together with the last message of the handshake: it is not to be lost.
fn what_comes_with_the_end_of_the_handshake_is_not_lost<W: World>() {
    let authority = Authority::new();
    // In TLS 1.2 the server is the last to speak in a whole handshake, in 1.3 the client is, if the server gives no tickets.
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut world = W::new();
        let mut server = authority.server();
        server.send_tls13_tickets = 0;
        let says = || {
            Probe::new().open(|stream| {
                let _ = stream.write(b"at once");
            })
        };
        let setting = setting(&mut world, server, authority.client_of(&[version]), says());
        let client = connect(&mut world, &setting, says());
        let (inside, outside) = (setting.inside.clone(), client.clone());
        world.until("both have it", || {
            inside.received_len(0) == 7 && outside.received_len(0) == 7
        });
    }
}

in_all_worlds!(
    what_comes_with_the_end_of_the_handshake_is_not_lost,
    a_message_goes_there_and_back,
    a_bulk_echo_is_whole,
    both_send_at_once,
    a_reader_that_sleeps_stops_the_writer,
    tls_1_2_too,
    keys_are_renewed_in_the_middle,
    ; by_ip_only:
    who_is_inside_sees_the_peer_and_what_was_agreed_on,
    small_marks_lose_nothing,
);
