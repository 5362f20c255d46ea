//! Many protocols on one port: the first bytes say which service gets a connection, and it gets all of them.

use std::rc::Rc;
use std::time::Duration;

use sockeye_endpoint::NetSet;
use sockeye_event_loop::{ServiceHandle, StreamOptions};
use sockeye_relay::mux::{ClientHello, Mux, MuxCounts, MuxOptions, Pattern, Verdict};
use sockeye_relay::proxy::{self, ProxyServer, ServerOptions};

use crate::probe::{Log, Probe, Told};
use crate::world::World;

in_all_worlds!(
    each_protocol_gets_to_its_service_however_it_is_cut,
    who_says_nothing_gets_to_the_service_that_speaks_first,
    who_says_nothing_and_nobody_speaks_first,
    at_the_deadline_what_is_sure_holds,
    at_the_end_what_is_sure_holds,
    what_nobody_claims_is_reset_or_goes_to_the_default,
    no_more_is_looked_at_than_the_bound,
    a_first_message_of_64_kib_in_segments,
    rules_behind_a_proxy_header,
    the_first_service_writes_what_it_likes,
);

type Service = (ServiceHandle<Probe>, Log);

fn service<W: World>(world: &mut W) -> Service {
    let probe = Probe::new();
    let log = probe.log.clone();
    (
        world.server().add_stream_service(probe, StreamOptions::default()),
        log,
    )
}

fn serve<W: World>(world: &mut W, mux: Mux) -> (ServiceHandle<Mux>, std::net::SocketAddr) {
    let mux = world.server().add_stream_service(mux, StreamOptions::default());
    (mux, world.listen(mux))
}

fn counts<W: World>(world: &mut W, mux: ServiceHandle<Mux>) -> MuxCounts {
    world.server().service(mux).unwrap().counts().clone()
}

/// A client that sends these pieces one after the other, and waits.
fn send<W: World>(world: &mut W, to: std::net::SocketAddr, pieces: &[&[u8]]) -> Log {
    let mut pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
    pieces.reverse();
    Probe::new()
        .open(|stream| {
            stream.set_timer(Duration::ZERO, 0);
        })
        .timer(move |stream, _| {
            if let Some(piece) = pieces.pop() {
                assert!(stream.write(&piece).is_taken());
                stream.set_timer(Duration::from_millis(1), 0);
            }
        })
        .connect(world, to)
        .log
}

/// A ClientHello for that name, with an extension of `padding` bytes, in records of `size` bytes.
fn hello(name: &str, padding: usize, size: usize) -> Vec<u8> {
    let with_len = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
    let extension = |kind: u16, value: &[u8]| [&kind.to_be_bytes()[..], &with_len(value)].concat();
    let entry = with_len(&[&[0][..], &with_len(name.as_bytes())].concat());
    let extensions = [extension(0, &entry), extension(21, &vec![0; padding])].concat();
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[0],
        &with_len(&[0x13, 1]),
        &[1, 0],
        &with_len(&extensions),
    ]
    .concat();
    let len = u32::try_from(body.len()).unwrap().to_be_bytes();
    let message = [&[1], &len[1..], &body].concat();
    let record = |piece: &[u8]| [&[22, 3, 1][..], &with_len(piece)].concat();
    message.chunks(size).flat_map(record).collect()
}

fn each_protocol_gets_to_its_service_however_it_is_cut<W: World>() {
    fn star(bytes: &[u8]) -> Verdict {
        match bytes {
            [] => Verdict::More,
            [b'*', ..] => Verdict::Yes,
            _ => Verdict::No,
        }
    }
    let mut world = W::new();
    let patterns = [
        Pattern::server_names(["*.example.org"]),
        Pattern::tls(),
        Pattern::http1(),
        Pattern::Http2,
        Pattern::Ssh,
        Pattern::Socks4,
        Pattern::Socks5,
        Pattern::Proxy,
        Pattern::predicate(star),
    ];
    let firsts = [
        hello("www.example.org", 0, 40),
        hello("example.com", 0, 16_384),
        b"GET / HTTP/1.1\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"SSH-2.0-x\r\n".to_vec(),
        vec![4, 1, 0, 80, 192, 0, 2, 1, 0],
        vec![5, 1, 0],
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"*1\r\n".to_vec(),
    ];
    let services: Vec<Service> = patterns.iter().map(|_| service(&mut world)).collect();
    let mut mux = Mux::new(MuxOptions::default());
    for (pattern, (service, _)) in patterns.into_iter().zip(&services) {
        mux = mux.rule(pattern, *service);
    }
    let (mux, at) = serve(&mut world, mux);
    for (nth, first) in firsts.iter().enumerate() {
        let log = &services[nth].1;
        for cut in 0..first.len() {
            send(&mut world, at, &[&first[..cut], &first[cut..]]);
        }
        let all = |log: &Log| (0..first.len()).all(|n| log.received(n) == *first);
        world.until(&format!("protocol {nth}"), || {
            log.opened() == first.len() && all(log)
        });
    }
    let counts = counts(&mut world, mux);
    let expected: Vec<u64> = firsts.iter().map(|first| first.len() as u64).collect();
    assert_eq!(
        counts,
        MuxCounts {
            rules: expected,
            ..MuxCounts::default()
        }
    );
}

fn who_says_nothing_gets_to_the_service_that_speaks_first<W: World>() {
    let mut world = W::new();
    let greeter = Probe::new().open(|stream| assert!(stream.write(b"220 ready").is_taken()));
    let log = greeter.log.clone();
    let greeter = world
        .server()
        .add_stream_service(greeter, StreamOptions::default());
    let (web, web_log) = service(&mut world);
    let rules = Mux::new(MuxOptions::default()).rule(Pattern::http1(), web);
    let (mux, at) = serve(&mut world, rules.when_silent(Duration::from_millis(20), greeter));
    let client = send(&mut world, at, &[]);
    world.until("the greeting", || client.received(0) == b"220 ready");
    assert_eq!((log.opened(), web_log.opened()), (1, 0));
    let expected = MuxCounts {
        rules: vec![0],
        silent: 1,
        ..MuxCounts::default()
    };
    assert_eq!(counts(&mut world, mux), expected);
}

fn soon() -> MuxOptions {
    MuxOptions {
        // Longer than a busy machine may keep what was sent from being seen.
        deadline: Duration::from_secs(2),
        ..MuxOptions::default()
    }
}

fn who_says_nothing_and_nobody_speaks_first<W: World>() {
    let mut world = W::new();
    let (web, log) = service(&mut world);
    let (mux, at) = serve(&mut world, Mux::new(soon()).rule(Pattern::http1(), web));
    let client = send(&mut world, at, &[]);
    world.until("the end", || client.has(&Told::Dropped));
    let rules = vec![0];
    let expected = MuxCounts {
        rules: rules.clone(),
        late: 1,
        ..MuxCounts::default()
    };
    assert_eq!(counts(&mut world, mux), expected);
    // The default takes them too.
    let (mux, at) = serve(
        &mut world,
        Mux::new(soon()).rule(Pattern::http1(), web).otherwise(web),
    );
    send(&mut world, at, &[]);
    world.until("the default", || log.opened() == 1);
    let expected = MuxCounts {
        rules,
        otherwise: 1,
        ..MuxCounts::default()
    };
    assert_eq!(counts(&mut world, mux), expected);
}

/// Sends the beginning of a request, which the second rule claims as long as the first cannot tell.
fn undecided<W: World>(
    world: &mut W,
    options: MuxOptions,
) -> (ServiceHandle<Mux>, std::net::SocketAddr, [Log; 3]) {
    fn letter(bytes: &[u8]) -> Verdict {
        match bytes {
            [] => Verdict::More,
            [b'G', ..] => Verdict::Yes,
            _ => Verdict::No,
        }
    }
    let services = [(); 3].map(|()| service(world));
    let mux = Mux::new(options)
        .rule(Pattern::http1(), services[0].0)
        .rule(Pattern::predicate(letter), services[1].0)
        .otherwise(services[2].0);
    let (mux, at) = serve(world, mux);
    (mux, at, services.map(|(_, log)| log))
}

fn at_the_deadline_what_is_sure_holds<W: World>() {
    let mut world = W::new();
    let (mux, at, logs) = undecided(&mut world, soon());
    send(&mut world, at, &[b"GET /", b"path"]);
    world.until("the second rule", || logs[1].received(0) == b"GET /path");
    send(&mut world, at, &[b"POST /", b"path"]);
    world.until("the default", || logs[2].received(0) == b"POST /path");
    let expected = MuxCounts {
        rules: vec![0, 1],
        otherwise: 1,
        cut_short: 2,
        ..MuxCounts::default()
    };
    assert_eq!((counts(&mut world, mux), logs[0].opened()), (expected, 0));
}

fn at_the_end_what_is_sure_holds<W: World>() {
    let mut world = W::new();
    let (mux, at, logs) = undecided(&mut world, MuxOptions::default());
    for bytes in [&b"GET /"[..], b"POST /", b""] {
        let client = Probe::new().open(move |stream| {
            assert!(stream.write(bytes).is_taken());
            stream.shutdown_write();
        });
        let client = client.connect(&mut world, at).log;
        world.until("the end", || client.has(&Told::Dropped));
    }
    assert_eq!(logs[1].received(0), b"GET /");
    assert_eq!(logs[2].received(0), b"POST /");
    assert!(logs[1].has(&Told::Eof) && logs[2].has(&Told::Eof));
    assert_eq!(world.server().timers(), 0, "the deadlines are cancelled");
    let expected = MuxCounts {
        rules: vec![0, 1],
        otherwise: 1,
        ended: 1,
        cut_short: 2,
        ..MuxCounts::default()
    };
    assert_eq!(counts(&mut world, mux), expected);
}

fn what_nobody_claims_is_reset_or_goes_to_the_default<W: World>() {
    let mut world = W::new();
    let (web, log) = service(&mut world);
    let (rest, rest_log) = service(&mut world);
    let (mux, at) = serve(
        &mut world,
        Mux::new(MuxOptions::default()).rule(Pattern::http1(), web),
    );
    let client = send(&mut world, at, &[b"EHLO example.org\r\n"]);
    world.until("the end", || client.has(&Told::Dropped));
    let expected = MuxCounts {
        rules: vec![0],
        unclaimed: 1,
        ..MuxCounts::default()
    };
    assert_eq!(counts(&mut world, mux), expected);
    let (mux, at) = serve(
        &mut world,
        Mux::new(MuxOptions::default())
            .rule(Pattern::http1(), web)
            .otherwise(rest),
    );
    send(&mut world, at, &[b"EHLO example.org\r\n"]);
    world.until("the default", || rest_log.received(0) == b"EHLO example.org\r\n");
    let expected = MuxCounts {
        rules: vec![0],
        otherwise: 1,
        ..MuxCounts::default()
    };
    assert_eq!((counts(&mut world, mux), log.opened()), (expected, 0));
}

fn no_more_is_looked_at_than_the_bound<W: World>() {
    let mut world = W::new();
    let options = MuxOptions {
        max_bytes: 100,
        ..MuxOptions::default()
    };
    let (mux, at, logs) = undecided(&mut world, options);
    let long = [b"GET /".to_vec(), vec![b'x'; 200]].concat();
    send(&mut world, at, &[&long[..50], &long[50..99]]);
    send(&mut world, at, &[&long[..50], &long[50..]]);
    world.until("the second rule", || logs[1].received(0) == long);
    let expected = MuxCounts {
        rules: vec![0, 1],
        cut_short: 1,
        ..MuxCounts::default()
    };
    assert_eq!(counts(&mut world, mux), expected);
}

fn a_first_message_of_64_kib_in_segments<W: World>() {
    let mut world = W::new();
    let asked: Rc<std::cell::RefCell<Vec<Option<String>>>> = Rc::default();
    let note = Rc::clone(&asked);
    let secure = Probe::new().open(move |stream| {
        let hello = stream.attached::<ClientHello>().unwrap();
        note.borrow_mut().push(hello.server_name.clone());
    });
    let log = secure.log.clone();
    let secure = world
        .server()
        .add_stream_service(secure, StreamOptions::default());
    let rules = Mux::new(MuxOptions::default()).rule(Pattern::server_names(["example.org"]), secure);
    let (mux, at) = serve(&mut world, rules);
    let first = hello("example.org", 64_000, 16_384);
    let pieces: Vec<&[u8]> = first.chunks(1_000).collect();
    send(&mut world, at, &pieces);
    world.until("all of it", || log.received_len(0) == first.len());
    assert!(log.received(0) == first);
    assert_eq!(*asked.borrow(), [Some("example.org".to_owned())]);
    assert_eq!(counts(&mut world, mux).rules, [1]);
}

fn rules_behind_a_proxy_header<W: World>() {
    let mut world = W::new();
    let client: std::net::SocketAddr = "192.0.2.1:50000".parse().unwrap();
    let seen: Rc<std::cell::Cell<Option<std::net::SocketAddr>>> = Rc::default();
    let note = Rc::clone(&seen);
    let ssh = Probe::new().open(move |stream| note.set(stream.peer_addr()));
    let log = ssh.log.clone();
    let ssh = world.server().add_stream_service(ssh, StreamOptions::default());
    let inner = Mux::new(MuxOptions::default()).rule(Pattern::Ssh, ssh);
    let inner = world.server().add_stream_service(inner, StreamOptions::default());
    let trusting = ServerOptions {
        trust_non_ip: true,
        ..ServerOptions::trusting(NetSet::all())
    };
    let proxied = world
        .server()
        .add_stream_service(ProxyServer::new(inner, trusting), StreamOptions::default());
    let (_, at) = serve(
        &mut world,
        Mux::new(MuxOptions::default()).rule(Pattern::Proxy, proxied),
    );
    let header = proxy::encode_v1(Some(&proxy::Addresses::ip(client, client)));
    send(&mut world, at, &[&[&header[..], b"SSH-2.0-x\r\n"].concat()]);
    world.until("the greeting", || log.received(0) == b"SSH-2.0-x\r\n");
    assert_eq!(seen.get(), Some(client));
}

fn the_first_service_writes_what_it_likes<W: World>() {
    let mut world = W::new();
    let echo = Probe::new().data(|stream, data| {
        assert!(stream.write(data).is_taken());
        data.len()
    });
    let echo = world.server().add_stream_service(echo, StreamOptions::default());
    let (_, at) = serve(
        &mut world,
        Mux::new(MuxOptions::default()).rule(Pattern::Ssh, echo),
    );
    let client = send(&mut world, at, &[b"SSH-", b"2.0-x", b" and on"]);
    world.until("the echo", || client.received(0) == b"SSH-2.0-x and on");
}
