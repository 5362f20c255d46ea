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

mod cache;
mod connections;
mod lookups;
mod search;
mod servers;
mod sockets;
mod trust;

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
        let mut servers = HashMap::new();
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
