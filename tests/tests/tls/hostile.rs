//! Peers that send anything but a proper handshake.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::UnbufferedClientConnection;
use rustls::unbuffered::ConnectionState;
use sockeye::tls::{HandshakeLimits, rustls};
use sockeye_event_loop::StreamOptions;

use crate::probe::{Log, Probe};
use crate::setting::{Authority, Setting, connect, localhost, setting_with};
use crate::streams::echo;
use crate::world::World;

/// A ClientHello as rustls sends it, in its record.
fn client_hello(authority: &Authority) -> Vec<u8> {
    let mut client = UnbufferedClientConnection::new(Arc::new(authority.client()), localhost()).unwrap();
    let mut bytes = vec![0; 4096];
    match client.process_tls_records(&mut []).state.unwrap() {
        ConnectionState::EncodeTlsData(mut encode) => {
            let len = encode.encode(&mut bytes).unwrap();
            bytes.truncate(len);
            bytes
        }
        other => panic!("{other:?}"),
    }
}

fn patient<W: World>(world: &mut W) -> (Authority, Setting) {
    let authority = Authority::new();
    let limits = HandshakeLimits {
        deadline: Duration::from_secs(5),
        under_way: 10_000,
    };
    let (server, client) = (authority.server(), authority.client());
    let setting = setting_with(world, server, client, echo(), |server| server.limits(limits));
    (authority, setting)
}

/// Sends pieces, one after another, on a connection of its own; the log.
fn send<W: World>(world: &mut W, setting: &Setting, pieces: Vec<Vec<u8>>) -> Log {
    let mut pieces = pieces.into_iter();
    let first = pieces.next().unwrap_or_default();
    let rest: Vec<Vec<u8>> = pieces.collect();
    let many = !rest.is_empty();
    let client = Probe::new()
        .open(move |stream| {
            let _ = stream.write(&first);
            if many {
                stream.set_timer(Duration::from_millis(5), 0);
            }
        })
        .timer(move |stream, _| {
            for piece in &rest {
                let _ = stream.write(piece);
            }
        });
    let log = client.log.clone();
    let handle = world
        .client()
        .add_stream_service(client, StreamOptions::default());
    let request = world.request(setting.at);
    world.client().connect(handle, request);
    log
}

/// Somebody proper is served all the same, and nothing panicked.
fn others_are_served<W: World>(world: &mut W, setting: &Setting) {
    let client = Probe::new().open(|stream| {
        let _ = stream.write(b"proper");
    });
    let client = connect(world, setting, client);
    let log = client.clone();
    world.until("a proper client is served", move || log.received_len(0) == 6);
    assert_eq!(world.server().stats().panics, 0);
}

fn a_hello_cut_at_every_byte_is_answered<W: World>() {
    let mut world = W::new();
    let (authority, setting) = patient(&mut world);
    let hello = client_hello(&authority);
    let logs: Vec<Log> = (1..hello.len())
        .map(|cut| {
            send(
                &mut world,
                &setting,
                vec![hello[..cut].to_vec(), hello[cut..].to_vec()],
            )
        })
        .collect();
    let seen = logs.clone();
    world.until("each is answered", move || {
        seen.iter().all(|log| log.received_len(0) > 5)
    });
    for log in &logs {
        // A record of the handshake, in it a ServerHello.
        assert_eq!((log.received(0)[0], log.received(0)[5]), (22, 2));
    }
    others_are_served(&mut world, &setting);
}

fn a_hello_in_records_of_one_byte_is_answered<W: World>() {
    let mut world = W::new();
    let (authority, setting) = patient(&mut world);
    let hello = client_hello(&authority);
    let records: Vec<u8> = hello[5..]
        .iter()
        .flat_map(|byte| [22, 3, 1, 0, 1, *byte])
        .collect();
    let log = send(&mut world, &setting, vec![records]);
    let seen = log.clone();
    world.until("it is answered", move || seen.received_len(0) > 5);
    assert_eq!((log.received(0)[0], log.received(0)[5]), (22, 2));
    others_are_served(&mut world, &setting);
}

/// Each byte of the message changed, lengths among them: an alert, an answer or silence, and no harm.
fn lies_in_a_hello_do_no_harm<W: World>() {
    let mut world = W::new();
    let (authority, setting) = patient(&mut world);
    let hello = client_hello(&authority);
    let mut count = 0;
    for place in 0..hello.len() {
        for value in [0, 0xff, hello[place].wrapping_add(1), hello[place] ^ 0x80] {
            let mut lie = hello.clone();
            lie[place] = value;
            send(&mut world, &setting, vec![lie]);
            count += 1;
        }
    }
    let counters = setting.counters.clone();
    world.until("all have begun", move || counters.read().begun == count);
    others_are_served(&mut world, &setting);
    // Those that wait for more than was sent are ended by the deadline.
    world.pass(Duration::from_secs(6));
    let stats = setting.counters.read();
    assert_eq!((stats.completed, stats.failed), (1, count), "{stats:?}");
}

fn what_is_no_tls_is_ended<W: World>() {
    let mut world = W::new();
    let (_, setting) = patient(&mut world);
    let mut huge = Vec::new();
    // A ClientHello of 64 KiB and more, in full records.
    let mut message = vec![1, 0x01, 0x00, 0x00];
    message.resize(70_000, 7);
    for piece in message.chunks(16_000) {
        huge.extend([22, 3, 1]);
        huge.extend(u16::try_from(piece.len()).unwrap().to_be_bytes());
        huge.extend(piece);
    }
    let cases: Vec<Vec<u8>> = vec![
        huge,
        // SSLv2's hello, as clients of 1995 sent it.
        vec![0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10, 1, 0, 0x80],
        b"SSH-2.0-OpenSSH_9.9\r\n".to_vec(),
        vec![0; 1000],
        vec![0xff; 1000],
        // An alert, and data, where the hello should be.
        vec![21, 3, 3, 0, 2, 2, 40],
        vec![23, 3, 3, 0, 3, 1, 2, 3],
        // A record of nothing, again and again.
        [22, 3, 1, 0, 0].repeat(1_000),
    ];
    let count = cases.len() as u64;
    let logs: Vec<Log> = cases
        .into_iter()
        .map(|case| send(&mut world, &setting, vec![case]))
        .collect();
    let seen = logs.clone();
    world.until("each is ended", move || {
        seen.iter().all(|log| !log.closes().is_empty())
    });
    let counters = setting.counters.clone();
    world.until("and counted", move || counters.read().failed == count);
    others_are_served(&mut world, &setting);
}

fn plain_http_gets_a_page_that_says_so<W: World>() {
    let mut world = W::new();
    let (_, setting) = patient(&mut world);
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec();
    let cut = vec![request[..2].to_vec(), request[2..].to_vec()];
    for pieces in [vec![request], cut] {
        let log = send(&mut world, &setting, pieces);
        let seen = log.clone();
        world.until("an answer and an end", move || !seen.closes().is_empty());
        let page = String::from_utf8(log.received(0)).unwrap();
        assert!(
            page.starts_with("HTTP/1.1 400 ") && page.contains("https://"),
            "{page}"
        );
        let (head, body) = page.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("Content-Length: {}", body.len())),
            "{head}"
        );
    }
    assert_eq!(setting.counters.read().plain_http, 2);
}

in_both_worlds!(
    a_hello_cut_at_every_byte_is_answered,
    a_hello_in_records_of_one_byte_is_answered,
    lies_in_a_hello_do_no_harm,
    what_is_no_tls_is_ended,
    plain_http_gets_a_page_that_says_so,
);
