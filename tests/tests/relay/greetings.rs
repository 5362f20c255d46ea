//! What is said before the first byte: PROXY headers of clients and for backends, and the name that a TLS client asks for.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use sockeye::tls::rustls;
use sockeye_endpoint::NetSet;
use sockeye_relay::proxy::{self, Addresses, ParseOptions, Parsed};
use sockeye_relay::{Balance, Config, PoolConfig, ProxyIn, ProxyVersion, ServerNameRoute, SessionEnd};

use crate::ground::{Backend, Ground, asks, keeps};
use crate::probe::{Probe, Served, Told};
use crate::setting::Authority;
use crate::world::World;

in_both_worlds!(
    a_header_says_who_the_client_is,
    a_header_may_come_in_pieces,
    limits_and_hashes_go_by_the_header,
    a_header_of_somebody_untrusted_is_refused,
    a_header_that_is_ill_formed_is_refused,
    a_header_that_does_not_come_in_time_is_refused,
    a_header_for_the_proxy_itself_changes_nothing,
    a_header_and_a_name_in_one_read,
    a_header_and_an_end_in_one_read,
    a_backend_is_told_who_the_client_is,
    what_came_in_a_header_goes_out_in_one,
    names_have_pools,
    a_name_may_come_in_pieces,
    what_is_not_tls_goes_to_the_pool_of_the_listener,
    a_hello_that_never_ends_goes_to_the_pool_of_the_listener,
    a_client_that_says_no_name_is_not_waited_for_forever,
);

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 4000 443\r\n";
/// The same in version 2.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\x0f\xa0\x01\xbb";
/// Version 2, command LOCAL.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

fn original() -> SocketAddr {
    "192.0.2.7:4000".parse().unwrap()
}

fn asked() -> SocketAddr {
    "198.51.100.1:443".parse().unwrap()
}

/// A configuration whose listener wants headers.
fn with_headers<W: World>(ground: &Ground<W>, backends: &[&Backend]) -> Config {
    let at: Vec<SocketAddr> = backends.iter().map(|backend| backend.at).collect();
    let mut config = ground.config(&at);
    config.listeners[0].proxy = Some(headers(ground));
    config
}

/// Headers of the clients' host are believed.
fn headers<W: World>(ground: &Ground<W>) -> ProxyIn {
    let trusted: NetSet = format!("{}/32", ground.world.client_ip()).parse().unwrap();
    ProxyIn {
        trusted,
        deadline: Duration::from_secs(5),
    }
}

/// A client that sends this at once.
fn sends(bytes: &[u8]) -> Probe {
    let bytes = bytes.to_vec();
    Probe::new().open(move |stream| assert!(stream.write(&bytes).is_taken()))
}

fn joined(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// Closes a client's connection.
fn close<W: World>(ground: &mut Ground<W>, client: &Served) {
    let id = client.log.id(0);
    let close = |_: &mut Probe, context: &mut sockeye_event_loop::Context<'_>| {
        context.stream(id).unwrap().close();
    };
    ground.world.client().with(client.handle, close).unwrap();
}

#[track_caller]
fn until_heard<W: World>(ground: &mut Ground<W>, client: &Served, bytes: &[u8]) {
    let log = client.log.clone();
    ground
        .world
        .until("an answer", || log.received_len(0) >= bytes.len());
    assert_eq!(client.log.received(0), bytes);
}

/// A client that sends pieces, each after the relay has read the one before.
fn in_pieces<W: World>(ground: &mut Ground<W>, pieces: &[&[u8]]) -> Served {
    let client = ground.client(Probe::new());
    let log = client.log.clone();
    ground.world.until("it is connected", || log.opened() == 1);
    let id = client.log.id(0);
    let mut read = ground.world.server().stats().bytes_in;
    for piece in pieces {
        let write = |_: &mut Probe, context: &mut sockeye_event_loop::Context<'_>| {
            assert!(context.write(id, piece).is_taken());
        };
        ground.world.client().with(client.handle, write).unwrap();
        if piece != pieces.last().unwrap() || pieces.len() == 1 {
            read += piece.len() as u64;
            until_read(ground, read);
        }
    }
    client
}

/// Until the relay's loop has read so many bytes.
#[track_caller]
fn until_read<W: World>(ground: &mut Ground<W>, bytes: u64) {
    for _ in 0..50_000 {
        if ground.world.server().stats().bytes_in >= bytes {
            return;
        }
        ground.world.pass(Duration::from_micros(200));
    }
    panic!("{bytes} bytes were not read");
}

fn a_header_says_who_the_client_is<W: World>() {
    for header in [V1, V2] {
        let mut ground = Ground::<W>::new();
        let backend = ground.backend(keeps());
        let config = with_headers(&ground, &[&backend]);
        ground.start(config);
        let client = ground.client(sends(&joined(&[header, b"question"])));
        until_heard(&mut ground, &client, b"question");
        assert_eq!(backend.log.received(0), b"question");
        close(&mut ground, &client);
        ground.until_ended(1);
        let record = ground.told.last();
        assert_eq!(record.client, Some(original()));
        assert_eq!(record.end, SessionEnd::Done);
        assert_eq!((record.from_client, record.from_backend), (8, 8));
        let counters = ground.stats().listener("in").unwrap().counters;
        assert_eq!((counters.sessions, counters.no_header), (1, 0));
    }
}

fn a_header_may_come_in_pieces<W: World>() {
    for header in [V1, V2] {
        let mut ground = Ground::<W>::new();
        let backend = ground.backend(keeps());
        let config = with_headers(&ground, &[&backend]);
        ground.start(config);
        let whole = joined(&[header, b"question"]);
        for cut in 1..whole.len() {
            let client = in_pieces(&mut ground, &[&whole[..cut], &whole[cut..]]);
            until_heard(&mut ground, &client, b"question");
            close(&mut ground, &client);
            ground.until_ended(cut);
            assert_eq!(ground.told.last().client, Some(original()), "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = whole.chunks(1).collect();
        let client = in_pieces(&mut ground, &bytes[..header.len()]);
        let log = backend.log.clone();
        let all = whole.len();
        ground.world.until("a session", || log.opened() == all);
        close(&mut ground, &client);
        ground.until_ended(all);
        assert_eq!(ground.told.last().client, Some(original()));
        assert_eq!(ground.stats().listener("in").unwrap().counters.no_header, 0);
    }
}

fn limits_and_hashes_go_by_the_header<W: World>() {
    let mut ground = Ground::<W>::new();
    let backends = [
        ground.backend(keeps()),
        ground.backend(keeps()),
        ground.backend(keeps()),
    ];
    let mut config = with_headers(&ground, &[&backends[0], &backends[1], &backends[2]]);
    config.pools[0].balance = Balance::SourceHash;
    config.sources.max_sessions = Some(2);
    ground.start(config);
    let from = |last: usize| format!("PROXY TCP4 192.0.2.{last} 198.51.100.1 4000 443\r\nquestion");
    for last in 1..=20 {
        let client = ground.client(sends(from(last).as_bytes()));
        until_heard(&mut ground, &client, b"question");
    }
    let open = |ground: &mut Ground<W>| {
        let stats = ground.stats();
        let backends = &stats.pool("out").unwrap().backends;
        backends.iter().map(|backend| backend.open).collect::<Vec<_>>()
    };
    let first = open(&mut ground);
    assert_eq!(
        first.iter().sum::<u32>(),
        20,
        "all from one address, if it were not for the headers"
    );
    assert!(first.iter().filter(|open| **open > 0).count() > 1, "{first:?}");
    for last in 1..=20 {
        let client = ground.client(sends(from(last).as_bytes()));
        until_heard(&mut ground, &client, b"question");
    }
    let twice: Vec<u32> = first.iter().map(|open| open * 2).collect();
    assert_eq!(open(&mut ground), twice, "each source has its backend");
    ground.client(sends(from(7).as_bytes()));
    ground.until_ended(1);
    assert_eq!(ground.told.ends(), [SessionEnd::TooManyOfSource]);
    assert_eq!(ground.told.last().client, Some("192.0.2.7:4000".parse().unwrap()));
}

/// The client was reset, the program was told why, and there never was a session.
#[track_caller]
fn until_refused<W: World>(
    ground: &mut Ground<W>,
    backend: &Backend,
    client: &Served,
    times: u64,
    why: &str,
) {
    let log = client.log.clone();
    // One that is reset at once may not even see its connect succeed.
    let is_over = |told: &Told| matches!(told, Told::ConnectFailed(_) | Told::Dropped);
    ground.world.until("a reset", || log.all().iter().any(is_over));
    assert!(log.closes().iter().all(|reason| reason == "error"));
    let counters = ground.stats().listener("in").unwrap().counters;
    assert_eq!((counters.no_header, counters.sessions), (times, 0));
    assert_eq!((backend.log.opened(), ground.told.count()), (0, 0));
    let told = ground.told.turned_away.borrow();
    let (listener, client, cause) = told.last().unwrap();
    assert_eq!((listener.as_str(), told.len() as u64), ("in", times));
    assert_eq!(client.unwrap().ip(), ground.world.client_ip());
    assert!(
        cause.starts_with("PROXY header") && cause.contains(why),
        "{cause}"
    );
}

fn a_header_of_somebody_untrusted_is_refused<W: World>() {
    let mut ground = Ground::<W>::new();
    let backend = ground.backend(keeps());
    let mut config = with_headers(&ground, &[&backend]);
    config.listeners[0].proxy.as_mut().unwrap().trusted = "192.0.2.0/24".parse().unwrap();
    ground.start(config);
    let client = ground.client(Probe::new());
    until_refused(&mut ground, &backend, &client, 1, "not from a trusted source");
}

fn a_header_that_is_ill_formed_is_refused<W: World>() {
    let mut ground = Ground::<W>::new();
    let backend = ground.backend(keeps());
    let config = with_headers(&ground, &[&backend]);
    ground.start(config);
    let bad: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\n\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4000 65536\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4000 443\n",
        // A version that there is not, a command that there is not, and addresses that are cut short.
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\x0f\xa0\x01\xbb",
        b"\r\n\r\n\0\r\nQUIT\n\x22\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\x0f\xa0\x01\xbb",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x04\xc0\0\x02\x07",
    ];
    for (times, bytes) in (1..).zip(bad) {
        let client = ground.client(sends(bytes));
        until_refused(&mut ground, &backend, &client, times, ", byte ");
    }
    // One that ends in the middle.
    let half = Probe::new().open(|stream| {
        assert!(stream.write(b"PROXY TCP4 192.0.2.7 ").is_taken());
        stream.shutdown_write();
    });
    let client = ground.client(half);
    until_refused(&mut ground, &backend, &client, 7, "ended before");
}

fn a_header_that_does_not_come_in_time_is_refused<W: World>() {
    let mut ground = Ground::<W>::new();
    let backend = ground.backend(keeps());
    let mut config = with_headers(&ground, &[&backend]);
    config.listeners[0].proxy.as_mut().unwrap().deadline = Duration::from_millis(40);
    ground.start(config);
    let silent = ground.client(Probe::new());
    until_refused(&mut ground, &backend, &silent, 1, "in time");
    for (times, header) in (2..).zip([V1, V2]) {
        let half = ground.client(sends(&header[..header.len() - 1]));
        until_refused(&mut ground, &backend, &half, times, "in time");
    }
}

fn a_header_for_the_proxy_itself_changes_nothing<W: World>() {
    let unknown: &[u8] = b"PROXY UNKNOWN\r\n";
    for header in [LOCAL, unknown] {
        let mut ground = Ground::<W>::new();
        let backend = ground.backend(keeps());
        let config = with_headers(&ground, &[&backend]);
        ground.start(config);
        let client = ground.client(sends(&joined(&[header, b"question"])));
        until_heard(&mut ground, &client, b"question");
        let id = client.log.id(0);
        let own = ground.world.client().local_addr(id).unwrap();
        close(&mut ground, &client);
        ground.until_ended(1);
        assert_eq!(ground.told.last().client, Some(own));
    }
}

/// What a TLS client says first.
fn hello(name: &str) -> Vec<u8> {
    let config = Arc::new(Authority::new().client());
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut bytes = Vec::new();
    let mut client = ClientConnection::new(config, name).unwrap();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// Pools `out`, `one` and `two` of a backend each; the latter have names.
fn with_names<W: World>(ground: &mut Ground<W>) -> (Config, [Backend; 3]) {
    let backends = [
        ground.backend(keeps()),
        ground.backend(keeps()),
        ground.backend(keeps()),
    ];
    let mut config = ground.config(&[backends[0].at]);
    for (name, backend) in ["one", "two"].into_iter().zip(&backends[1..]) {
        config
            .pools
            .push(PoolConfig::new(name, [backend.name().parse().unwrap()]));
        config.listeners[0].server_names.push(ServerNameRoute {
            names: vec![format!("{name}.test"), format!("*.{name}.test")],
            to: name.to_owned(),
        });
    }
    (config, backends)
}

/// A session that ends in order: its pool. What the client sent has reached the backend unchanged, and come back.
#[track_caller]
fn session_of<W: World>(ground: &mut Ground<W>, client: &Served, sent: &[u8]) -> String {
    let ended = ground.told.count();
    until_heard(ground, client, sent);
    close(ground, client);
    ground.until_ended(ended + 1);
    let record = ground.told.last();
    assert_eq!(record.end, SessionEnd::Done);
    assert_eq!(record.from_client, sent.len() as u64);
    record.pool.to_string()
}

fn names_have_pools<W: World>() {
    let mut ground = Ground::<W>::new();
    let (config, backends) = with_names(&mut ground);
    ground.start(config);
    let asked = [
        ("one.test", "one"),
        ("two.test", "two"),
        ("TWO.test", "two"),
        ("www.one.test", "one"),
        ("a.www.one.test", "out"),
        ("three.test", "out"),
        // No name is asked for.
        ("192.0.2.1", "out"),
    ];
    for (name, pool) in asked {
        let bytes = hello(name);
        let client = ground.client(sends(&bytes));
        assert_eq!(session_of(&mut ground, &client, &bytes), pool, "{name}");
    }
    let opened: Vec<usize> = backends.iter().map(|backend| backend.log.opened()).collect();
    assert_eq!(opened, [3, 2, 2]);
}

fn a_name_may_come_in_pieces<W: World>() {
    let mut ground = Ground::<W>::new();
    let (config, _backends) = with_names(&mut ground);
    ground.start(config);
    let bytes = hello("two.test");
    let pieces: Vec<&[u8]> = bytes.chunks(1).collect();
    let client = in_pieces(&mut ground, &pieces);
    assert_eq!(session_of(&mut ground, &client, &bytes), "two");
}

fn what_is_not_tls_goes_to_the_pool_of_the_listener<W: World>() {
    let mut ground = Ground::<W>::new();
    let (config, _backends) = with_names(&mut ground);
    ground.start(config);
    let others: [&[u8]; 3] = [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\0\x05hello", b"\0"];
    for bytes in others {
        let client = ground.client(sends(bytes));
        assert_eq!(session_of(&mut ground, &client, bytes), "out");
    }
}

fn a_hello_that_never_ends_goes_to_the_pool_of_the_listener<W: World>() {
    let mut ground = Ground::<W>::new();
    let (config, _backends) = with_names(&mut ground);
    ground.start(config);
    // One of 16 MiB, as it says, in records of 16 KiB.
    let mut bytes = Vec::new();
    for nth in 0..5 {
        bytes.extend_from_slice(b"\x16\x03\x01\x40\0");
        let start = bytes.len();
        bytes.resize(start + 0x4000, 0);
        if nth == 0 {
            bytes[start..start + 4].copy_from_slice(b"\x01\xff\xff\xff");
        }
    }
    let client = ground.client(sends(&bytes));
    assert_eq!(session_of(&mut ground, &client, &bytes), "out");
}

fn a_client_that_says_no_name_is_not_waited_for_forever<W: World>() {
    let mut ground = Ground::<W>::new();
    let (mut config, backends) = with_names(&mut ground);
    config.listeners[0].timeouts.greeting = Duration::from_millis(40);
    ground.start(config);
    let bytes = hello("one.test");
    let clients = [
        ground.client(Probe::new()),
        ground.client(sends(&bytes[..bytes.len() - 1])),
    ];
    ground.until_ended(2);
    assert_eq!(ground.told.ends(), [SessionEnd::NoGreeting; 2]);
    for client in clients {
        let log = client.log.clone();
        ground.world.until("a reset", || log.has(&Told::Dropped));
        assert_eq!(log.closes(), ["error"]);
    }
    assert!(backends.iter().all(|backend| backend.log.opened() == 0));
    assert_eq!(ground.stats().listener("in").unwrap().counters.unserved, 2);
}

fn a_header_and_a_name_in_one_read<W: World>() {
    let mut ground = Ground::<W>::new();
    let (mut config, _backends) = with_names(&mut ground);
    config.listeners[0].proxy = Some(headers(&ground));
    ground.start(config);
    let bytes = hello("two.test");
    for header in [V1, V2] {
        let whole = joined(&[header, &bytes]);
        let client = ground.client(sends(&whole));
        assert_eq!(session_of(&mut ground, &client, &bytes), "two");
        assert_eq!(ground.told.last().client, Some(original()));
        // And cut within the name.
        let (first, second) = whole.split_at(header.len() + 60);
        let client = in_pieces(&mut ground, &[first, second]);
        assert_eq!(session_of(&mut ground, &client, &bytes), "two");
    }
}

fn a_header_and_an_end_in_one_read<W: World>() {
    let mut ground = Ground::<W>::new();
    let backend = ground.backend(Probe::new().eof(|stream| {
        assert!(stream.write(b"after your end").is_taken());
        stream.close();
    }));
    let config = with_headers(&ground, &[&backend]);
    ground.start(config);
    for nth in 0..2 {
        let rest: &[u8] = [&b"all"[..], b""][nth];
        let whole = joined(&[V2, rest]);
        let client = ground.client(Probe::new().open(move |stream| {
            assert!(stream.write(&whole).is_taken());
            stream.shutdown_write();
        }));
        until_heard(&mut ground, &client, b"after your end");
        assert_eq!(backend.log.received(nth), rest);
        ground.until_ended(nth + 1);
        assert_eq!(ground.told.last().end, SessionEnd::Done);
    }
}

/// What a backend was told by a header, and what came behind it.
#[track_caller]
fn told_to(backend: &Backend, nth: usize) -> (proxy::Header, Vec<u8>) {
    let bytes = backend.log.received(nth);
    match proxy::parse(&bytes, &ParseOptions::default()) {
        Parsed::Header { consumed, header } => (header, bytes[consumed..].to_vec()),
        other => panic!("{other:?}"),
    }
}

fn a_backend_is_told_who_the_client_is<W: World>() {
    for (version, is) in [
        (ProxyVersion::V1, proxy::Version::V1),
        (ProxyVersion::V2, proxy::Version::V2),
    ] {
        let mut ground = Ground::<W>::new();
        let backend = ground.backend(Probe::new());
        let mut config = ground.config(&[backend.at]);
        config.pools[0].backends[0].proxy = Some(version);
        ground.start(config);
        let client = ground.client(asks());
        let (theirs, at) = (backend.log.clone(), ground.at("in"));
        ground
            .world
            .until("the question", || theirs.received(0).ends_with(b"question"));
        let id = client.log.id(0);
        let own = ground.world.client().local_addr(id).unwrap();
        let (header, rest) = told_to(&backend, 0);
        assert_eq!(header.version, is);
        assert_eq!(header.addresses, Some(Addresses::ip(own, at)));
        assert_eq!(rest, b"question");
        close(&mut ground, &client);
        ground.until_ended(1);
        assert_eq!(
            ground.told.last().from_client,
            8,
            "the header is not the client's"
        );
    }
}

fn what_came_in_a_header_goes_out_in_one<W: World>() {
    let versions = [ProxyVersion::V1, ProxyVersion::V2];
    let seen: BTreeSet<usize> = [V1, V2]
        .into_iter()
        .flat_map(|header| versions.map(|version| (header, version)))
        .map(|(header, version)| {
            let mut ground = Ground::<W>::new();
            let backend = ground.backend(Probe::new());
            let mut config = with_headers(&ground, &[&backend]);
            config.pools[0].backends[0].proxy = Some(version);
            ground.start(config);
            ground.client(sends(&joined(&[header, b"question"])));
            let theirs = backend.log.clone();
            ground
                .world
                .until("the question", || theirs.received(0).ends_with(b"question"));
            let (header, rest) = told_to(&backend, 0);
            assert_eq!(header.addresses, Some(Addresses::ip(original(), asked())));
            assert_eq!(rest, b"question");
            backend.log.received_len(0)
        })
        .collect();
    assert_eq!(seen.len(), 2, "a text, and a binary header: {seen:?}");
}
