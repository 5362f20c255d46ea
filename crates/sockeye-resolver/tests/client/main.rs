//! The client that blocks, beside servers on loopback.

#![expect(clippy::unwrap_used, reason = "helpers of tests say what they expect")]

mod servers;

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use servers::{Refusing, Server, address, answer, framed, next_query, one_byte_a_second, truncated};
use sockeye_endpoint::Target;
use sockeye_resolver::dns::{
    Answer, Carrier, Client, DnsOptions, Finding, LocalNames, Name, Origin, QueryError, Record, RecordData,
    RecordType, Request, ResponseCode,
};
use sockeye_resolver::files::{Environment, Hosts, Paths, SystemFiles};
use sockeye_resolver::{Config, LookupError, ResolveError, Resolver, ThreadCount, Way};

/// Longer than anything here takes; only a failing test waits for so long.
const PATIENCE: Duration = Duration::from_secs(30);

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn options(servers: impl IntoIterator<Item = SocketAddr>) -> DnsOptions {
    DnsOptions {
        // What is lost on a busy machine is asked again soon, and often enough.
        timeout: Duration::from_secs(1),
        attempts: 30,
        ..DnsOptions::with_servers(servers)
    }
}

fn client(servers: impl IntoIterator<Item = SocketAddr>) -> Client {
    Client::new(options(servers), LocalNames::default())
}

fn a(text: &str) -> Request {
    Request::records(name(text), RecordType::A).within(PATIENCE)
}

fn ips(answer: &Answer) -> Vec<String> {
    answer.addresses().map(|ip| ip.to_string()).collect()
}

#[test]
fn an_answer_comes_and_is_kept() {
    let server = Server::udp("127.0.0.1", address);
    let mut client = client([server.address]);
    let answer = client.query(a("n7.test")).unwrap();
    assert_eq!(ips(&answer), ["192.0.2.7"]);
    assert_eq!(
        (answer.origin, answer.content.server),
        (Origin::Server, Some(server.address))
    );
    assert_eq!(client.query(a("N7.test")).unwrap().origin, Origin::Cache);
    let text = client
        .query(Request::records(name("n7.test"), RecordType::TXT))
        .unwrap();
    assert_eq!(text.finding(), Finding::NoRecords);
    client.clear_cache();
    assert_eq!(client.query(a("n7.test")).unwrap().origin, Origin::Server);
    assert_eq!(client.stats().lookups, 4);
}

#[test]
fn both_families_are_asked_at_once() {
    let server = Server::udp("127.0.0.1", address);
    let mut client = client([server.address]);
    let found = client.addresses(a("n3.test"));
    assert_eq!(ips(&found.v6.unwrap().unwrap()), ["2001:db8::3"]);
    assert_eq!(ips(&found.v4.unwrap()), ["192.0.2.3"]);

    let mut v4_alone = Client::new(
        DnsOptions {
            no_aaaa: true,
            ..options([server.address])
        },
        LocalNames::default(),
    );
    let found = v4_alone.addresses(a("n3.test"));
    assert!(found.v6.is_none() && found.v4.is_ok());
}

#[test]
fn a_request_for_addresses_is_answered_by_the_family_that_has_some() {
    let server = Server::udp("127.0.0.1", |query| {
        match query.question.as_ref().unwrap().record_type {
            RecordType::AAAA => address(query),
            _ => answer(query),
        }
    });
    let mut client = client([server.address]);
    let found = client.query(Request::addresses(name("n3.test")).within(PATIENCE));
    assert_eq!(ips(&found.unwrap()), ["2001:db8::3"]);
}

#[test]
fn what_does_not_fit_comes_by_one_connection() {
    let server = Server::both(truncated, |mut stream| {
        while let Some(query) = next_query(&mut stream) {
            let mut answer = answer(&query);
            let texts = vec![vec![b'x'; 250].into(); 200];
            let name = query.question.unwrap().name;
            answer.answers.push(Record::new(name, 60, RecordData::Txt(texts)));
            // In pieces, as networks deliver it.
            for piece in framed(&answer).chunks(999) {
                if stream.write_all(piece).is_err() {
                    return;
                }
            }
        }
    });
    let mut client = client([server.address]);
    let requests = ["a.test", "b.test", "c.test"].map(|text| Request::records(name(text), RecordType::TXT));
    for result in client.query_all(requests) {
        let answer = result.unwrap();
        assert_eq!(answer.content.carrier, Carrier::Tcp);
        assert_eq!(answer.finding(), Finding::Records);
    }
    assert_eq!(client.stats().truncated, 3);
    drop(client);
}

#[test]
fn a_server_that_closes_after_each_answer_is_asked_by_another_connection() {
    let server = Server::both(truncated, |mut stream| {
        if let Some(query) = next_query(&mut stream) {
            let _ = stream.write_all(&framed(&address(&query)));
        }
    });
    let mut client = client([server.address]);
    let requests = (1..=5).map(|number| a(&format!("n{number}.test")));
    for (number, result) in (1..=5).zip(client.query_all(requests)) {
        assert_eq!(ips(&result.unwrap()), [format!("192.0.2.{number}")]);
    }
    drop(client);
}

#[test]
fn a_port_that_refuses_costs_no_timeout() {
    let refusing = Refusing::new();
    let server = Server::udp("127.0.0.1", address);
    let mut client = Client::new(
        DnsOptions {
            timeout: PATIENCE,
            ..DnsOptions::with_servers([refusing.address, server.address])
        },
        LocalNames::default(),
    );
    let answer = client.query(a("n1.test")).unwrap();
    assert_eq!(answer.content.server, Some(server.address));
    assert_eq!(client.stats().timeouts, 0);

    let mut alone = Client::new(
        DnsOptions {
            timeout: PATIENCE,
            ..DnsOptions::with_servers([refusing.address])
        },
        LocalNames::default(),
    );
    for result in alone.query_all((0..20).map(|number| a(&format!("n{number}.test")))) {
        let server = refusing.address;
        assert_eq!(result, Err(QueryError::Unreachable { server }));
    }
    assert_eq!(alone.stats().timeouts, 0);
}

#[test]
fn a_server_without_a_tcp_port_is_unreachable_where_answers_do_not_fit() {
    let server = Server::udp("127.0.0.1", truncated);
    let mut client = client([server.address]);
    let error = client.query(a("n1.test")).unwrap_err();
    let server = server.address;
    assert_eq!(error, QueryError::Unreachable { server });
    assert_eq!(client.stats().timeouts, 0);
}

#[test]
fn a_silent_server_is_followed_by_the_next() {
    let (silent, server) = (Server::silent(), Server::udp("127.0.0.1", address));
    let mut client = Client::new(
        DnsOptions {
            timeout: Duration::from_millis(100),
            ..options([silent.address, server.address])
        },
        LocalNames::default(),
    );
    let answer = client.query(a("n1.test")).unwrap();
    assert_eq!(answer.content.server, Some(server.address));
    assert!(client.stats().timeouts > 0);
}

#[test]
fn a_thousand_names_on_one_thread() {
    let server = Server::udp("127.0.0.1", address);
    for at_once in [1_000, 128, 0] {
        let mut client = client([server.address]).with_at_once(at_once);
        let results = client.query_all((0..1_000).map(|number| a(&format!("n{number}.test"))));
        assert_eq!(results.len(), 1_000);
        for (number, result) in results.into_iter().enumerate() {
            let [high, low] = u16::try_from(number).unwrap().to_be_bytes();
            assert_eq!(ips(&result.unwrap()), [format!("192.0.{}.{low}", 2 + high)]);
        }
        assert_eq!(client.stats().under_way, 0);
    }
    assert!(server.asked() >= 3_000);
    assert!(client([server.address]).query_all([]).is_empty());
}

#[test]
fn no_answer_is_an_error_at_the_deadline() {
    let silent = [Server::silent(), Server::silent()];
    let mut client = client(silent.each_ref().map(|server| server.address));
    let deadline = Duration::from_millis(250);
    let started = Instant::now();
    let results = client.query_all((0..50).map(|number| a(&format!("n{number}.test")).within(deadline)));
    let took = started.elapsed();
    assert!(deadline <= took && took < PATIENCE, "{took:?}");
    for result in results {
        let last = Some(silent[0].address);
        assert_eq!(result, Err(QueryError::TimedOut { last }));
    }
}

#[test]
fn a_byte_a_second_does_not_outlast_the_deadline() {
    let server = Server::both(truncated, one_byte_a_second);
    let mut client = client([server.address]);
    let deadline = Duration::from_millis(300);
    let started = Instant::now();
    let result = client.query(a("n1.test").within(deadline));
    let took = started.elapsed();
    let last = Some(server.address);
    assert_eq!(result, Err(QueryError::TimedOut { last }));
    assert!(deadline <= took && took < PATIENCE, "{took:?}");
    drop(client);
}

#[test]
fn a_server_at_an_ipv6_address() {
    let server = Server::udp("::1", address);
    let mut client = client([server.address]);
    assert_eq!(ips(&client.query(a("n9.test")).unwrap()), ["192.0.2.9"]);
}

#[test]
fn a_server_under_tls_cannot_be_reached() {
    let address: SocketAddr = "127.0.0.1:853".parse().unwrap();
    let options = DnsOptions {
        servers: vec![sockeye_resolver::dns::Server::new(address).by(Carrier::Tls)],
        ..DnsOptions::default()
    };
    let mut client = Client::new(options, LocalNames::default());
    assert_eq!(
        client.query(a("n1.test")),
        Err(QueryError::Unreachable { server: address })
    );
}

#[test]
fn several_threads_share_a_client() {
    fn is_send<T: Send>(_: &T) {}

    let server = Server::udp("127.0.0.1", address);
    let client = client([server.address]);
    is_send(&client);
    let client = Arc::new(Mutex::new(client));
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let client = Arc::clone(&client);
            thread::spawn(move || {
                for number in 0..20 {
                    let number = thread * 20 + number;
                    let answer = client.lock().unwrap().query(a(&format!("n{number}.test")));
                    assert_eq!(ips(&answer.unwrap()), [format!("192.0.2.{number}")]);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(client.lock().unwrap().stats().lookups, 160);
}

#[test]
fn files_that_change_are_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let paths = Paths {
        resolv_conf: file("resolv.conf", "nameserver 127.0.0.1\n"),
        hosts: file("hosts", "192.0.2.1 box\n"),
        nsswitch: file("nsswitch.conf", "hosts: files dns\n"),
    };
    let files = SystemFiles::load(&paths, &Environment::default(), Duration::ZERO);
    let mut client = Client::from_files(files.clone());
    let resolver = Resolver::auto_with(Config::default(), files);
    assert_eq!(resolver.way(), Way::Dns);
    let target: Target = "box:80".parse().unwrap();
    assert_eq!(ips(&client.query(a("box")).unwrap()), ["192.0.2.1"]);
    let found = resolver.resolve(&target, PATIENCE).unwrap();
    assert_eq!(found[0].address, "192.0.2.1:80".parse().unwrap());

    // Of another length, so that no clock is too coarse for it.
    file("hosts", "192.0.2.222 box\n");
    assert_eq!(ips(&client.query(a("box")).unwrap()), ["192.0.2.222"]);
    let found = resolver.resolve(&target, PATIENCE).unwrap();
    assert_eq!(found[0].address, "192.0.2.222:80".parse().unwrap());

    file(
        "nsswitch.conf",
        "hosts: files mdns4_minimal [NOTFOUND=return] dns\n",
    );
    let because = "nsswitch.conf asks for mdns4_minimal".to_owned();
    assert_eq!(resolver.way(), Way::System { because });
    // The system knows other hosts.
    let local = resolver
        .resolve(&"localhost:80".parse().unwrap(), PATIENCE)
        .unwrap();
    assert!(local[0].address.ip().is_loopback());
}

#[test]
fn a_resolver_asks_the_servers_without_threads() {
    let server = Server::udp("127.0.0.1", |query| match query.question.as_ref().unwrap() {
        question if question.name == name("fails.test") => {
            let mut failed = answer(query);
            failed.code = ResponseCode::SERVER_FAILURE;
            failed
        }
        question if question.name == name("none.test") => answer(query),
        _ => address(query),
    });
    let hosts = Hosts::parse(b"fe80::7%3 link\n192.0.2.1 link\n", |_| None);
    let local = LocalNames {
        hosts: Arc::new(hosts),
        ..LocalNames::default()
    };
    let config = Config {
        max_addresses: 1,
        ..Config::default()
    };
    let resolver = Resolver::with_dns(config, options([server.address]), local);
    let resolve = |text: &str| resolver.resolve(&text.parse().unwrap(), PATIENCE);
    let mut found: Vec<SocketAddr> = resolve("n5.test:443")
        .unwrap()
        .iter()
        .map(|one| one.address)
        .collect();
    found.sort();
    assert_eq!(
        found,
        [
            "192.0.2.5:443".parse().unwrap(),
            "[2001:db8::5]:443".parse().unwrap()
        ]
    );
    let link = resolve("link:443").unwrap();
    assert!(
        link.iter()
            .any(|one| one.address == "[fe80::7%3]:443".parse().unwrap()),
        "{link:?}"
    );
    for (text, expected) in [
        ("none.test:443", LookupError::NotFound),
        ("fails.test:443", LookupError::TryAgain),
        ("x.invalid:443", LookupError::NotFound),
    ] {
        match resolve(text) {
            Err(ResolveError::NoAddress { v4, v6 }) => assert_eq!((v4, v6), (expected, expected), "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
    let ip = resolve("[::1]:443").unwrap();
    assert_eq!(ip[0].address, "[::1]:443".parse().unwrap());
    assert_eq!(
        (resolver.threads(), resolver.way()),
        (ThreadCount::default(), Way::Dns)
    );
}

#[test]
fn callers_of_a_resolver_do_not_wait_for_each_others_deadlines() {
    // The server keeps its first answer back until the test lets go, and is silent meanwhile.
    let (open, gate) = channel::<()>();
    let (tell, begun) = channel();
    let server = Server::udp("127.0.0.1", move |query| {
        if query.question.as_ref().unwrap().record_type == RecordType::A {
            let _ = tell.send(());
            let _ = gate.recv_timeout(PATIENCE);
        }
        address(query)
    });
    let mut options = options([server.address]);
    options.no_aaaa = true;
    let resolver = Resolver::with_dns(Config::default(), options, LocalNames::default());
    let first = {
        let resolver = resolver.clone();
        thread::spawn(move || resolver.resolve(&"n1.test:80".parse().unwrap(), PATIENCE))
    };
    begun.recv_timeout(PATIENCE).unwrap();
    let others: Vec<_> = (0..8)
        .map(|_| {
            let resolver = resolver.clone();
            thread::spawn(move || resolver.resolve(&"n2.test:80".parse().unwrap(), Duration::from_millis(50)))
        })
        .collect();
    for other in others {
        let result = other.join().unwrap();
        assert!(
            matches!(
                result,
                Err(ResolveError::NoAddress {
                    v4: LookupError::TimedOut,
                    ..
                })
            ),
            "{result:?}"
        );
    }
    drop(open);
    let found = first.join().unwrap().unwrap();
    assert_eq!(found[0].address, "192.0.2.1:80".parse().unwrap());
}

#[test]
fn every_way_has_its_reason() {
    assert!(
        matches!(Resolver::new(Config::default()).way(), Way::System { because } if because == "it was chosen")
    );
}
