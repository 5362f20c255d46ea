//! The engine beside servers of a few lines, on a clock that the test turns.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::dns::answer::{Finding, Origin};
use crate::dns::cache::CacheOptions;
use crate::dns::message::{Edns, Message, ResponseCode};
use crate::dns::name::Name;
use crate::dns::record::{Record, RecordData, Soa};
use crate::files::Hosts;

const FIRST: &str = "192.0.2.1:53";
const SECOND: &str = "[2001:db8::2]:53";

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn a(owner: &Name, ip: [u8; 4], ttl: u32) -> Record {
    Record::new(owner.clone(), ttl, RecordData::A(ip.into()))
}

fn soa() -> Record {
    let soa = Soa {
        primary: name("ns.test"),
        mailbox: name("root.test"),
        serial: 1,
        refresh: 2,
        retry: 3,
        expire: 4,
        minimum: 60,
    };
    Record::new(name("test"), 3_600, RecordData::Soa(Box::new(soa)))
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A question as a server sees it.
#[derive(Debug)]
struct Asked {
    server: SocketAddr,
    via: Via,
    query: Message,
}

impl Asked {
    fn name(&self) -> Name {
        self.query.question.as_ref().unwrap().name.clone()
    }

    /// An answer with what a usual server has in it.
    fn answer(&self) -> Message {
        let mut answer = Message::answer_to(&self.query);
        answer.flags.recursion_available = true;
        answer
    }

    fn with_a(&self, ip: [u8; 4]) -> Message {
        let mut answer = self.answer();
        answer.answers.push(a(&self.name(), ip, 300));
        answer
    }

    fn code(&self, code: ResponseCode) -> Message {
        Message {
            code,
            ..self.answer()
        }
    }

    fn no_name(&self) -> Message {
        Message {
            authorities: vec![soa()],
            ..self.code(ResponseCode::NAME_ERROR)
        }
    }
}

struct World {
    engine: Engine,
    now: Duration,
    connects: Vec<(u32, SocketAddr, Carrier)>,
    closed: Vec<u32>,
    wire: Vec<u8>,
}

impl World {
    fn new(options: DnsOptions) -> Self {
        let mut state = 0x5eed_u64;
        let random = move || {
            // SplitMix64.
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        Self {
            engine: Engine::new(options, random),
            now: Duration::ZERO,
            connects: Vec::new(),
            closed: Vec::new(),
            wire: Vec::new(),
        }
    }

    fn with(servers: &[&str]) -> Self {
        Self::new(DnsOptions::with_servers(servers.iter().map(|text| at(text))))
    }

    fn ask(&mut self, text: &str, record_type: RecordType) -> LookupId {
        self.engine
            .lookup(self.now, Request::records(name(text), record_type))
            .unwrap()
    }

    fn addresses(&mut self, text: &str) -> LookupId {
        self.engine
            .lookup(self.now, Request::addresses(name(text)).with_search())
            .unwrap()
    }

    /// What leaves now. Connections are only noted.
    fn asked(&mut self) -> VecDeque<Asked> {
        let mut asked = VecDeque::new();
        let mut servers = std::collections::HashMap::new();
        for (number, to, _) in &self.connects {
            servers.insert(*number, *to);
        }
        while let Some(transmit) = self.engine.poll_transmit(self.now, &mut self.wire) {
            match transmit {
                Transmit::Datagram { socket, to } => {
                    let query = Message::parse(&self.wire).unwrap();
                    asked.push_back(Asked {
                        server: to,
                        via: Via::Socket(socket),
                        query,
                    });
                }
                Transmit::Stream { connection } => {
                    assert_eq!(
                        usize::from(u16::from_be_bytes([self.wire[0], self.wire[1]])),
                        self.wire.len() - 2
                    );
                    let query = Message::parse(&self.wire[2..]).unwrap();
                    asked.push_back(Asked {
                        server: servers[&connection],
                        via: Via::Connection(connection),
                        query,
                    });
                }
                Transmit::Connect {
                    connection,
                    to,
                    carrier,
                } => {
                    servers.insert(connection, to);
                    self.connects.push((connection, to, carrier));
                }
                Transmit::CloseSocket { socket } => self.closed.push(socket),
                Transmit::CloseConnection { connection } => self.closed.push(connection),
            }
        }
        asked
    }

    /// The one question that leaves now.
    fn only(&mut self) -> Asked {
        let mut asked = self.asked();
        assert_eq!(asked.len(), 1, "{asked:?}");
        asked.pop_front().unwrap()
    }

    fn none(&mut self) {
        let asked = self.asked();
        assert!(asked.is_empty(), "{asked:?}");
    }

    fn reply(&mut self, asked: &Asked, answer: &Message) {
        self.reply_from(asked.server, asked, answer);
    }

    fn reply_from(&mut self, from: SocketAddr, asked: &Asked, answer: &Message) {
        let mut wire = Vec::new();
        answer.write(65_535, &mut wire);
        self.raw(from, asked.via, &wire);
    }

    fn raw(&mut self, from: SocketAddr, via: Via, wire: &[u8]) {
        match via {
            Via::Socket(socket) => self.engine.on_datagram(self.now, socket, from, wire),
            Via::Connection(connection) => {
                let mut stream = u16::try_from(wire.len()).unwrap().to_be_bytes().to_vec();
                stream.extend_from_slice(wire);
                assert_eq!(
                    self.engine.on_stream_data(self.now, connection, &stream),
                    stream.len()
                );
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(next) = self.engine.poll_timeout().filter(|next| *next <= until) {
            self.now = self.now.max(next);
            self.engine.handle_timeout(self.now);
        }
        self.now = until;
    }

    fn event(&mut self) -> Event {
        self.engine.poll_event().expect("an event")
    }

    fn ips(&mut self) -> Vec<String> {
        let event = self.event();
        event
            .result
            .unwrap()
            .addresses()
            .map(|ip| ip.to_string())
            .collect()
    }

    fn quiet(&mut self) {
        assert_eq!(self.engine.poll_event(), None);
    }
}

#[test]
fn an_answer_counts_only_from_the_server_with_the_id_and_the_question() {
    let mut world = World::with(&[FIRST]);
    world.ask("a.example.test", RecordType::A);
    let asked = world.only();
    let good = asked.with_a([192, 0, 2, 80]);

    world.reply_from(at("192.0.2.1:54"), &asked, &good);
    world.reply_from(at("192.0.2.2:53"), &asked, &good);
    world.reply(
        &asked,
        &Message {
            id: good.id ^ 1,
            ..good.clone()
        },
    );
    let mut other = good.clone();
    other.question = Some(Question::new(name("b.example.test"), RecordType::A));
    world.reply(&asked, &other);
    other.question = Some(Question::new(asked.name(), RecordType::AAAA));
    world.reply(&asked, &other);
    let mut query = good.clone();
    query.flags.response = false;
    world.reply(&asked, &query);
    world.quiet();

    world.reply(&asked, &good);
    assert_eq!(world.ips(), ["192.0.2.80"]);
    let stats = world.engine.stats();
    assert_eq!(
        (stats.wrong_source, stats.unexpected, stats.wrong_question),
        (2, 2, 2)
    );

    world.reply(&asked, &good);
    world.quiet();
    assert_eq!(world.engine.stats().unexpected, 3, "the same answer twice");
}

#[test]
fn questions_carry_edns_a_cookie_and_a_case_by_chance() {
    let mut world = World::with(&[FIRST]);
    world.ask("abcdefghijklmnop.example.test", RecordType::AAAA);
    let asked = world.only();
    let edns = asked.query.edns.clone().unwrap();
    assert_eq!(
        (edns.udp_size, edns.version, edns.cookie.unwrap().len()),
        (1_232, 0, 8)
    );
    assert!(asked.query.flags.recursion_desired);
    assert!(!asked.name().has_case_of(&name("abcdefghijklmnop.example.test")));
    assert_eq!(asked.name(), name("abcdefghijklmnop.example.test"));
}

#[test]
fn the_case_is_demanded_once_it_was_given_back() {
    let mut world = World::with(&[FIRST]);
    let folded = |answer: Message| {
        let mut answer = answer;
        let question = answer.question.as_mut().unwrap();
        question.name = question.name.to_string().to_lowercase().parse().unwrap();
        answer
    };
    world.ask("one.example.test", RecordType::A);
    let asked = world.only();
    world.reply(&asked, &asked.with_a([192, 0, 2, 1]));
    assert_eq!(world.ips(), ["192.0.2.1"]);

    world.ask("two.example.test", RecordType::A);
    let asked = world.only();
    world.reply(&asked, &folded(asked.with_a([192, 0, 2, 66])));
    world.quiet();
    assert_eq!(world.engine.stats().wrong_case, 1);

    // It may be another machine behind the same address: a connection says the truth, and what it says is learned.
    world.pass(ms(5_000));
    world.none();
    let (connection, _, carrier) = world.connects[0];
    assert_eq!(carrier, Carrier::Tcp);
    world.engine.on_connected(world.now, connection);
    let asked = world.only();
    world.reply(&asked, &folded(asked.with_a([192, 0, 2, 2])));
    assert_eq!(world.ips(), ["192.0.2.2"]);
}

#[test]
fn a_server_that_folds_the_case_from_the_beginning_is_believed() {
    let mut world = World::with(&[FIRST]);
    for ip in [1, 2] {
        world.ask(&format!("n{ip}.example.test"), RecordType::A);
        let asked = world.only();
        let mut answer = asked.with_a([192, 0, 2, ip]);
        answer.question = Some(Question::new(
            asked.name().to_string().to_lowercase().parse().unwrap(),
            RecordType::A,
        ));
        world.reply(&asked, &answer);
        assert_eq!(world.ips(), [format!("192.0.2.{ip}")]);
    }
}

#[test]
fn cookies_are_learned_and_then_demanded() {
    let mut world = World::with(&[FIRST]);
    let with_cookie = |asked: &Asked, server: &[u8]| {
        let mut answer = asked.with_a([192, 0, 2, 1]);
        let client = asked.query.edns.as_ref().unwrap().cookie.clone().unwrap();
        let cookie = [&client[..8], server].concat();
        answer.edns = Some(Edns {
            udp_size: 1_232,
            cookie: Some(cookie.into()),
            ..Edns::default()
        });
        answer
    };
    world.ask("one.test", RecordType::A);
    let asked = world.only();
    let mut stranger = with_cookie(&asked, &[1; 8]);
    stranger.edns.as_mut().unwrap().cookie = Some(Box::new([0; 16]));
    world.reply(&asked, &stranger);
    world.quiet();
    world.reply(&asked, &with_cookie(&asked, &[1; 8]));
    assert_eq!(world.ips().len(), 1);

    world.ask("two.test", RecordType::A);
    let asked = world.only();
    assert_eq!(
        asked.query.edns.as_ref().unwrap().cookie.as_ref().unwrap()[8..],
        [1; 8]
    );
    world.reply(&asked, &asked.with_a([192, 0, 2, 66]));
    world.quiet();
    assert_eq!(world.engine.stats().wrong_cookie, 2);

    // The server has another secret now: it is asked again with its new cookie, and then by a connection.
    let mut bad = with_cookie(&asked, &[2; 8]);
    (bad.code, bad.answers) = (ResponseCode::BAD_COOKIE, Vec::new());
    world.reply(&asked, &bad);
    let asked = world.only();
    assert_eq!(
        asked.query.edns.as_ref().unwrap().cookie.as_ref().unwrap()[8..],
        [2; 8]
    );
    let mut bad = with_cookie(&asked, &[3; 8]);
    (bad.code, bad.answers) = (ResponseCode::BAD_COOKIE, Vec::new());
    world.reply(&asked, &bad);
    world.none();
    world.engine.on_connected(world.now, world.connects[0].0);
    let asked = world.only();
    world.reply(&asked, &with_cookie(&asked, &[3; 8]));
    assert_eq!(world.ips().len(), 1);
}

#[test]
fn truncation_leads_over_to_a_connection_that_pipelines() {
    let mut world = World::with(&[FIRST]);
    for text in ["one.test", "two.test"] {
        world.ask(text, RecordType::TXT);
    }
    for asked in world.asked() {
        let mut answer = asked.answer();
        answer.flags.truncated = true;
        world.reply(&asked, &answer);
    }
    world.none();
    assert_eq!(world.connects.len(), 1, "both share one");
    let connection = world.connects[0].0;
    world.engine.on_connected(world.now, connection);
    let asked = world.asked();
    assert_eq!(asked.len(), 2);

    // The answers come in the other order, cut at every byte.
    let mut stream = Vec::new();
    for asked in asked.iter().rev() {
        let mut answer = asked.answer();
        answer.answers.push(Record::new(
            asked.name(),
            9,
            RecordData::Txt(vec![b"x"[..].into(); 900]),
        ));
        let mut wire = Vec::new();
        answer.write(65_535, &mut wire);
        stream.extend_from_slice(&u16::try_from(wire.len()).unwrap().to_be_bytes());
        stream.extend_from_slice(&wire);
    }
    let mut kept = Vec::new();
    for byte in stream {
        kept.push(byte);
        let done = world.engine.on_stream_data(world.now, connection, &kept);
        kept.drain(..done);
    }
    assert!(kept.is_empty());
    for text in ["two.test", "one.test"] {
        let answer = world.event().result.unwrap();
        assert_eq!(
            (answer.question.name.clone(), answer.content.carrier),
            (name(text), Carrier::Tcp)
        );
        assert_eq!(answer.finding(), Finding::Records);
    }

    world.pass(ms(3_000));
    world.none();
    assert!(world.closed.contains(&connection), "an idle connection is closed");
}

#[test]
fn servers_that_fail_are_passed_over() {
    for code in [
        ResponseCode::SERVER_FAILURE,
        ResponseCode::REFUSED,
        ResponseCode(9),
    ] {
        let mut world = World::with(&[FIRST, SECOND]);
        world.ask("a.test", RecordType::A);
        let asked = world.only();
        assert_eq!(asked.server, at(FIRST));
        world.reply(&asked, &asked.code(code));
        let asked = world.only();
        assert_eq!(asked.server, at(SECOND));
        world.reply(&asked, &asked.with_a([192, 0, 2, 1]));
        assert_eq!(world.ips(), ["192.0.2.1"]);
    }
}

#[test]
fn a_lame_server_is_passed_over() {
    let mut world = World::with(&[FIRST, SECOND]);
    world.ask("a.test", RecordType::A);
    let asked = world.only();
    let mut referral = asked.answer();
    referral.flags.recursion_available = false;
    referral.authorities = vec![Record::new(name("test"), 60, RecordData::Ns(name("ns.test")))];
    world.reply(&asked, &referral);
    let asked = world.only();
    assert_eq!(asked.server, at(SECOND));
    world.reply(&asked, &asked.with_a([192, 0, 2, 1]));
    assert_eq!(world.ips(), ["192.0.2.1"]);
}

#[test]
fn all_servers_failing_says_which_and_how() {
    let mut world = World::with(&[FIRST, SECOND]);
    world.ask("a.test", RecordType::A);
    let mut count = 0;
    while let Some(asked) = world.asked().pop_front() {
        count += 1;
        world.reply(&asked, &asked.code(ResponseCode::REFUSED));
    }
    assert_eq!(count, 4, "each is asked twice");
    let error = world.event().result.unwrap_err();
    assert_eq!(
        error,
        QueryError::Failed {
            code: ResponseCode::REFUSED,
            server: at(SECOND)
        }
    );
    assert_eq!(error.to_string(), "name server [2001:db8::2]:53 answered REFUSED");
}

#[test]
fn an_old_server_is_asked_without_edns_from_then_on() {
    let mut world = World::with(&[FIRST]);
    world.ask("a.test", RecordType::A);
    let asked = world.only();
    let mut error = asked.code(ResponseCode::FORMAT_ERROR);
    error.question = None;
    world.reply(&asked, &error);
    let asked = world.only();
    assert_eq!((asked.server, &asked.query.edns), (at(FIRST), &None));
    world.reply(&asked, &asked.with_a([192, 0, 2, 1]));
    assert_eq!(world.ips(), ["192.0.2.1"]);
    world.ask("b.test", RecordType::A);
    assert_eq!(world.only().query.edns, None);
}

#[test]
fn a_silent_server_costs_its_timeout_once() {
    let mut world = World::with(&[FIRST, SECOND]);
    world.ask("a.test", RecordType::A);
    assert_eq!(world.only().server, at(FIRST));
    world.pass(ms(4_999));
    world.none();
    world.pass(ms(1));
    let asked = world.only();
    assert_eq!(asked.server, at(SECOND));
    world.reply(&asked, &asked.with_a([192, 0, 2, 1]));
    assert_eq!(world.event().result.unwrap().took, ms(5_000));

    world.ask("b.test", RecordType::A);
    let asked = world.only();
    assert_eq!(
        asked.server,
        at(SECOND),
        "the silent one is asked after the others"
    );
    world.reply(&asked, &asked.with_a([192, 0, 2, 1]));
    world.event();
    world.pass(Duration::from_secs(30));
    world.ask("c.test", RecordType::A);
    assert_eq!(world.only().server, at(FIRST));
}

#[test]
fn all_servers_silent_is_a_timeout_after_all_attempts() {
    let mut world = World::with(&[FIRST, SECOND]);
    world.ask("a.test", RecordType::A);
    let mut servers = Vec::new();
    for _ in 0..4 {
        servers.push(world.only().server);
        world.pass(ms(5_000));
    }
    assert_eq!(servers, [at(FIRST), at(SECOND), at(FIRST), at(SECOND)]);
    world.none();
    assert_eq!(
        world.event().result.unwrap_err(),
        QueryError::TimedOut {
            last: Some(at(SECOND))
        }
    );
    assert_eq!(world.engine.stats().under_way, 0);
    assert_eq!(world.engine.stats().timeouts, 4);
}

#[test]
fn a_refusal_by_the_network_asks_the_next_at_once() {
    let mut world = World::with(&[FIRST, SECOND]);
    world.ask("a.test", RecordType::A);
    let asked = world.only();
    let Via::Socket(socket) = asked.via else { panic!() };
    world.engine.on_unreachable(world.now, socket, at(SECOND));
    world.none();
    world.engine.on_unreachable(world.now, socket, at(FIRST));
    let asked = world.only();
    assert_eq!(asked.server, at(SECOND));
    let Via::Socket(socket) = asked.via else { panic!() };
    world.engine.on_socket_lost(world.now, socket);
    assert_eq!(world.only().server, at(FIRST));
}

#[test]
fn a_deadline_ends_a_lookup_and_its_answer_comes_too_late() {
    let mut world = World::with(&[FIRST]);
    let request = Request::records(name("a.test"), RecordType::A).within(ms(300));
    world.engine.lookup(world.now, request).unwrap();
    let asked = world.only();
    world.pass(ms(300));
    assert_eq!(
        world.event().result.unwrap_err(),
        QueryError::TimedOut {
            last: Some(at(FIRST))
        }
    );
    world.reply(&asked, &asked.with_a([192, 0, 2, 1]));
    world.quiet();
    assert_eq!(
        (world.engine.stats().unexpected, world.engine.stats().under_way),
        (1, 0)
    );
}

#[test]
fn a_cancelled_lookup_says_nothing_and_asks_nothing() {
    let mut world = World::with(&[FIRST]);
    let (first, second) = (
        world.ask("a.test", RecordType::A),
        world.ask("a.test", RecordType::A),
    );
    let asked = world.only();
    assert_eq!(world.engine.stats().shared, 1);
    assert!(world.engine.cancel(world.now, first) && !world.engine.cancel(world.now, first));
    world.reply(&asked, &asked.with_a([192, 0, 2, 1]));
    assert_eq!(world.event().lookup, second);
    world.quiet();

    let third = world.ask("b.test", RecordType::A);
    world.engine.cancel(world.now, third);
    world.none();
    assert_eq!(world.engine.stats().under_way, 0);
    assert_eq!(
        world.engine.poll_timeout(),
        Some(world.now + ms(2_000)),
        "but for the idle socket"
    );
}

#[test]
fn many_who_come_and_go_while_one_waits_leave_nothing_behind() {
    let mut world = World::with(&[FIRST]);
    let first = world.ask("a.test", RecordType::A);
    let asked = world.only();
    for _ in 0..100_000 {
        let other = world.ask("a.test", RecordType::A);
        world.engine.cancel(world.now, other);
    }
    world.reply(&asked, &asked.with_a([192, 0, 2, 1]));
    assert_eq!(world.event().lookup, first);
    world.quiet();
}

#[test]
fn answers_are_kept_for_their_time_and_told_with_their_age() {
    let mut world = World::with(&[FIRST]);
    world.ask("a.test", RecordType::A);
    let asked = world.only();
    world.reply(&asked, &asked.with_a([192, 0, 2, 1]));
    assert_eq!(world.event().result.unwrap().origin, Origin::Server);
    world.pass(ms(299_900));
    world.none();
    world.ask("A.TEST", RecordType::A);
    world.none();
    let answer = world.event().result.unwrap();
    assert_eq!(
        (answer.origin, answer.ttl_left(&answer.content.records[0])),
        (Origin::Cache, 1)
    );
    world.pass(ms(100));
    world.ask("a.test", RecordType::A);
    world.only();
    assert_eq!(world.engine.stats().cached, 1);

    let fresh = Request {
        fresh: true,
        ..Request::records(name("a.test"), RecordType::A)
    };
    world.engine.lookup(world.now, fresh).unwrap();
    assert_eq!(world.engine.stats().shared, 1);
}

#[test]
fn no_is_kept_as_the_zone_allows_and_not_without_a_zone() {
    let mut world = World::with(&[FIRST]);
    world.ask("no.test", RecordType::A);
    let asked = world.only();
    world.reply(&asked, &asked.no_name());
    assert_eq!(world.event().result.unwrap().finding(), Finding::NoName);
    world.pass(ms(59_000));
    world.none();
    world.ask("no.test", RecordType::A);
    world.none();
    assert_eq!(world.event().result.unwrap().finding(), Finding::NoName);
    world.pass(ms(1_000));
    world.ask("no.test", RecordType::A);
    let asked = world.only();
    // Empty answers: "no such records", by whom is not said.
    world.reply(&asked, &asked.answer());
    assert_eq!(world.event().result.unwrap().finding(), Finding::NoRecords);
    world.ask("no.test", RecordType::A);
    world.only();
}

#[test]
fn a_cache_has_a_bound_and_the_longest_unused_goes() {
    let mut options = DnsOptions::with_servers([at(FIRST)]);
    options.cache = CacheOptions {
        max_entries: 2,
        ..CacheOptions::default()
    };
    let mut world = World::new(options);
    for text in ["a.test", "b.test", "a.test", "c.test"] {
        world.ask(text, RecordType::A);
        for asked in world.asked() {
            world.reply(&asked, &asked.with_a([192, 0, 2, 1]));
        }
        world.event();
    }
    assert_eq!((world.engine.stats().kept, world.engine.stats().cached), (2, 1));
    world.ask("a.test", RecordType::A);
    world.none();
    world.ask("b.test", RecordType::A);
    world.only();
}

#[test]
fn a_cache_bound_in_bytes_holds() {
    let mut options = DnsOptions::with_servers([at(FIRST)]);
    options.cache = CacheOptions {
        max_bytes: 20_000,
        ..CacheOptions::default()
    };
    let mut world = World::new(options);
    for number in 0..200 {
        world.ask(&format!("n{number}.test"), RecordType::A);
        let asked = world.only();
        world.reply(&asked, &asked.with_a([192, 0, 2, 1]));
        world.event();
        assert!(world.engine.stats().kept_bytes <= 20_000);
    }
    assert!(world.engine.stats().kept > 10);
}

#[test]
fn stale_answers_are_given_where_nobody_answers_and_only_then() {
    let mut options = DnsOptions::with_servers([at(FIRST)]);
    options.cache.stale = Duration::from_secs(3_600);
    let mut world = World::new(options);
    world.ask("a.test", RecordType::A);
    let asked = world.only();
    world.reply(&asked, &asked.with_a([192, 0, 2, 1]));
    world.event();
    world.pass(Duration::from_secs(400));
    world.asked();

    world.ask("a.test", RecordType::A);
    let asked = world.only();
    world.quiet();
    world.pass(ms(1_800));
    let answer = world.event().result.unwrap();
    assert_eq!((answer.origin, answer.took), (Origin::Stale, ms(1_800)));
    // The question is still under way, and the next who asks is given its answer.
    world.reply(&asked, &asked.with_a([192, 0, 2, 2]));
    world.quiet();
    world.ask("a.test", RecordType::A);
    assert_eq!(world.ips(), ["192.0.2.2"]);
    world.pass(Duration::from_secs(400));
    world.asked();

    world.ask("a.test", RecordType::A);
    let asked = world.only();
    world.reply(&asked, &asked.code(ResponseCode::SERVER_FAILURE));
    let asked = world.only();
    world.reply(&asked, &asked.code(ResponseCode::SERVER_FAILURE));
    assert_eq!(world.event().result.unwrap().origin, Origin::Stale);
    world.pass(Duration::from_secs(3_600));
    world.asked();
    world.ask("a.test", RecordType::A);
    world.only();
}

#[test]
fn prefetch_asks_before_the_time_is_over_if_wanted() {
    for prefetch in [false, true] {
        let mut options = DnsOptions::with_servers([at(FIRST)]);
        options.cache.prefetch = prefetch;
        let mut world = World::new(options);
        world.ask("a.test", RecordType::A);
        let asked = world.only();
        world.reply(&asked, &asked.with_a([192, 0, 2, 1]));
        world.event();
        world.pass(Duration::from_secs(280));
        world.none();
        world.ask("a.test", RecordType::A);
        assert_eq!(world.ips(), ["192.0.2.1"]);
        let asked = world.asked();
        assert_eq!(asked.len(), usize::from(prefetch));
        if let Some(asked) = asked.front() {
            world.reply(asked, &asked.with_a([192, 0, 2, 2]));
            world.quiet();
            world.ask("a.test", RecordType::A);
            assert_eq!(world.ips(), ["192.0.2.2"]);
        }
    }
}

#[test]
fn aliases_are_followed_and_their_number_is_bounded() {
    let mut world = World::with(&[FIRST]);
    world.ask("n0.test", RecordType::A);
    let mut count = 0;
    loop {
        let Some(asked) = world.asked().pop_front() else {
            break;
        };
        let mut answer = asked.answer();
        count += 1;
        let target = name(&format!("n{count}.test"));
        answer
            .answers
            .push(Record::new(asked.name(), 9, RecordData::Cname(target)));
        world.reply(&asked, &answer);
    }
    assert_eq!(count, 17);
    assert_eq!(world.event().result.unwrap_err(), QueryError::Aliases);

    world.ask("www.test", RecordType::A);
    let asked = world.only();
    let mut answer = asked.answer();
    answer
        .answers
        .push(Record::new(asked.name(), 9, RecordData::Cname(name("host.test"))));
    world.reply(&asked, &answer);
    let asked = world.only();
    assert_eq!(asked.name(), name("host.test"));
    world.reply(&asked, &asked.with_a([192, 0, 2, 1]));
    let answer = world.event().result.unwrap();
    assert_eq!(
        (answer.question.name.clone(), answer.content.records.len()),
        (name("www.test"), 2)
    );
}

#[test]
fn a_search_list_goes_by_the_dots_and_never_mixes_two_names() {
    let mut options = DnsOptions::with_servers([at(FIRST)]);
    options.search = vec![name("one.test"), name("two.test")];
    let mut world = World::new(options);
    world.addresses("host");
    let mut seen = Vec::new();
    // Only the second suffix has an address, and only of IPv4.
    for _ in 0..2 {
        for asked in world.asked() {
            let question = asked.query.question.clone().unwrap();
            seen.push(question.name.to_string().to_lowercase());
            let answer = match (question.name == name("host.two.test"), question.record_type) {
                (true, RecordType::A) => asked.with_a([192, 0, 2, 1]),
                (true, _) => asked.answer(),
                _ => asked.no_name(),
            };
            world.reply(&asked, &answer);
        }
    }
    assert_eq!(
        seen,
        ["host.one.test", "host.one.test", "host.two.test", "host.two.test"]
    );
    let events = [world.event(), world.event()];
    for event in &events {
        assert_eq!(
            event.result.as_ref().unwrap().question.name,
            name("host.two.test")
        );
    }
    assert!(!events[0].is_last && events[1].is_last);

    world.addresses("host.example");
    assert!(
        world
            .asked()
            .iter()
            .all(|asked| asked.name() == name("host.example")),
        "a dot: alone first"
    );
}

#[test]
fn a_search_that_finds_nothing_tells_the_best_of_what_was_said() {
    let mut options = DnsOptions::with_servers([at(FIRST)]);
    options.search = vec![name("one.test")];
    let mut world = World::new(options);
    world
        .engine
        .lookup(
            world.now,
            Request::records(name("host"), RecordType::A).with_search(),
        )
        .unwrap();
    let asked = world.only();
    world.reply(
        &asked,
        &Message {
            authorities: vec![soa()],
            ..asked.answer()
        },
    );
    let asked = world.only();
    assert_eq!(asked.name(), name("host"));
    world.reply(&asked, &asked.no_name());
    let answer = world.event().result.unwrap();
    assert_eq!(
        (answer.finding(), answer.question.name),
        (Finding::NoRecords, name("host.one.test"))
    );
    world.quiet();
}

#[test]
fn a_good_a_does_not_wait_for_a_failing_aaaa() {
    let mut world = World::with(&[FIRST, SECOND]);
    world.addresses("a.example.test");
    let asked = world.asked();
    assert_eq!(asked.len(), 2);
    for asked in &asked {
        let answer = match asked.query.question.as_ref().unwrap().record_type {
            RecordType::A => asked.with_a([192, 0, 2, 1]),
            _ => asked.code(ResponseCode::SERVER_FAILURE),
        };
        world.reply(asked, &answer);
    }
    let event = world.event();
    assert_eq!(
        (event.record_type, event.is_last, event.result.unwrap().took),
        (RecordType::A, false, Duration::ZERO)
    );
    world.quiet();
    while let Some(asked) = world.asked().pop_front() {
        world.reply(&asked, &asked.code(ResponseCode::SERVER_FAILURE));
    }
    let event = world.event();
    assert!(event.is_last && matches!(event.result, Err(QueryError::Failed { .. })));
}

#[test]
fn names_of_this_host_are_answered_without_a_server() {
    let mut world = World::with(&[]);
    let hosts = Hosts::parse(b"192.0.2.7 box.example.test box\n::7 box\n", |_| None);
    world.engine.set_local_names(LocalNames {
        hosts: Arc::new(hosts),
    });
    for (text, ips) in [
        ("box", vec!["::7", "192.0.2.7"]),
        ("BOX.example.test", vec!["", "192.0.2.7"]),
        ("localhost", vec!["::1", "127.0.0.1"]),
        ("a.b.LocalHost", vec!["::1", "127.0.0.1"]),
    ] {
        world.addresses(text);
        for ip in ips {
            let event = world.event();
            let found = event
                .result
                .map(|answer| answer.addresses().map(|ip| ip.to_string()).collect::<String>());
            assert_eq!(found.unwrap_or_default(), ip, "{text}");
        }
    }
    world.ask("x.invalid", RecordType::A);
    assert_eq!(world.event().result.unwrap().finding(), Finding::NoName);
    world.ask("7.2.0.192.in-addr.arpa", RecordType::PTR);
    let names: Vec<String> = world
        .event()
        .result
        .unwrap()
        .content
        .records
        .iter()
        .map(|record| record.data.to_string())
        .collect();
    assert_eq!(names, ["box.example.test.", "box."]);
    world.ask("other.test", RecordType::A);
    assert_eq!(world.event().result.unwrap_err(), QueryError::NoServers);
    world.none();
}

#[test]
fn a_server_that_closes_in_the_middle_is_asked_once_more_by_another_connection() {
    let mut options = DnsOptions::with_servers([]);
    options.servers = vec![
        Server::new(at(FIRST)).by(Carrier::Tcp),
        Server::new(at(SECOND)).by(Carrier::Tls),
    ];
    let mut world = World::new(options);
    for text in ["a.test", "b.test"] {
        world.ask(text, RecordType::A);
    }
    world.none();
    let connection = world.connects[0].0;
    world.engine.on_connected(world.now, connection);
    let asked = world.asked();
    world.reply(&asked[0], &asked[0].with_a([192, 0, 2, 1]));
    world.event();
    world.engine.on_disconnected(world.now, connection);
    world.none();
    assert_eq!(
        world.connects[1].1,
        at(FIRST),
        "it had answered, and closed as servers may"
    );
    world.engine.on_disconnected(world.now, world.connects[1].0);
    world.none();
    assert_eq!(
        (world.connects[2].1, world.connects[2].2),
        (at(SECOND), Carrier::Tls)
    );
    world.engine.on_connected(world.now, world.connects[2].0);
    let asked = world.only();
    world.reply(&asked, &asked.with_a([192, 0, 2, 2]));
    assert_eq!(world.event().result.unwrap().content.carrier, Carrier::Tls);
}

#[test]
fn a_connection_that_hangs_is_given_up_with_its_question() {
    let mut options = DnsOptions::with_servers([]);
    options.servers = vec![Server::new(at(FIRST)).by(Carrier::Tcp)];
    let mut world = World::new(options);
    world.ask("a.test", RecordType::A);
    world.none();
    let first = world.connects[0].0;
    world.engine.on_connected(world.now, first);
    let asked = world.only();
    let mut wire = Vec::new();
    asked.with_a([192, 0, 2, 1]).write(512, &mut wire);
    // A byte a second: two of them before the time is over.
    assert_eq!(world.engine.on_stream_data(world.now, first, &[0]), 0);
    world.pass(ms(5_000));
    world.none();
    assert!(world.closed.contains(&first));
    assert_eq!(world.connects.len(), 2);
}

#[test]
fn garbage_asks_the_next_server() {
    let mut world = World::with(&[FIRST, SECOND]);
    world.ask("a.test", RecordType::A);
    let asked = world.only();
    let id = asked.query.id.to_be_bytes();
    world.raw(at(FIRST), asked.via, &[]);
    world.raw(at(FIRST), asked.via, &[id[0]]);
    world.none();
    world.raw(
        at(FIRST),
        asked.via,
        &[id[0], id[1], 0x80, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0, 0xc0, 12],
    );
    let asked = world.only();
    assert_eq!((asked.server, world.engine.stats().malformed), (at(SECOND), 3));
}

#[test]
fn every_question_has_a_port_of_its_own_until_there_are_enough() {
    let mut world = World::with(&[FIRST]);
    for number in 0..10_000 {
        world.ask(&format!("n{number}.test"), RecordType::A);
    }
    let asked = world.asked();
    let mut sockets: Vec<_> = asked.iter().map(|asked| format!("{:?}", asked.via)).collect();
    assert_ne!(sockets[0], sockets[1]);
    sockets.sort();
    sockets.dedup();
    assert!((32..=128).contains(&sockets.len()), "{}", sockets.len());
    for asked in &asked {
        world.reply(asked, &asked.with_a([192, 0, 2, 1]));
    }
    assert_eq!(world.engine.stats().under_way, 0);
    world.pass(ms(2_000));
    world.none();
    assert_eq!(
        (world.engine.stats().sockets, world.closed.len()),
        (0, sockets.len())
    );
}

#[test]
fn too_many_lookups_are_refused() {
    let mut options = DnsOptions::with_servers([at(FIRST)]);
    options.max_lookups = 2;
    let mut world = World::new(options);
    world.ask("a.test", RecordType::A);
    world.ask("a.test", RecordType::A);
    let third = world
        .engine
        .lookup(world.now, Request::records(name("a.test"), RecordType::A));
    assert_eq!(third, Err(StartError::Busy));
}

#[test]
fn other_servers_are_asked_for_what_is_under_way() {
    let mut world = World::with(&[FIRST]);
    world.ask("a.test", RecordType::A);
    let old = world.only();
    world
        .engine
        .reconfigure(world.now, DnsOptions::with_servers([at(SECOND)]));
    let asked = world.only();
    assert_eq!(asked.server, at(SECOND));
    world.reply(&old, &old.with_a([192, 0, 2, 66]));
    world.quiet();
    world.reply(&asked, &asked.with_a([192, 0, 2, 1]));
    assert_eq!(world.ips(), ["192.0.2.1"]);
    world.ask("b.test", RecordType::A);
    world.only();
    world.engine.reconfigure(world.now, DnsOptions::default());
    assert_eq!(world.event().result.unwrap_err(), QueryError::NoServers);
}

#[test]
fn the_zone_of_a_link_local_server_counts() {
    let mut world = World::with(&["[fe80::1%3]:53"]);
    world.ask("a.test", RecordType::A);
    let asked = world.only();
    let good = asked.with_a([192, 0, 2, 1]);
    world.reply_from(at("[fe80::1%4]:53"), &asked, &good);
    world.quiet();
    world.reply_from(at("[fe80::1%3]:53"), &asked, &good);
    assert_eq!(world.ips(), ["192.0.2.1"]);
}

#[test]
fn the_longest_names_are_asked_for_and_longer_ones_are_not_made() {
    let long = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
    let mut options = DnsOptions::with_servers([at(FIRST)]);
    options.search = vec![name("example.test")];
    options.ndots = 9;
    let mut world = World::new(options);
    world
        .engine
        .lookup(
            world.now,
            Request::records(name(&long), RecordType::A).with_search(),
        )
        .unwrap();
    assert_eq!(world.only().name(), name(&long));
}
