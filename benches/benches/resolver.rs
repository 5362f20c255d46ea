//! The client of the DNS without I/O: messages to and from bytes beside hickory-proto, an answer that is kept, and a query from
//! the request to the answer.
//!
//! `cargo bench --package sockeye-benches --bench resolver`. With sockets, beside other clients, and in instructions:
//! `cargo xtask bench resolver`.
#![forbid(unsafe_code)]

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use hickory_proto::op::Message as HickoryMessage;
use sockeye::resolver::dns::{
    CacheOptions, DnsOptions, Edns, Engine, Message, Name, Question, Record, RecordData, RecordType, Request,
    Transmit, os_random,
};

const NAME: &str = "www.example.test";
const NOW: Duration = Duration::from_secs(7);

fn name() -> Name {
    NAME.parse().unwrap_or_else(|_| Name::root())
}

/// A question with EDNS and a cookie, as the engine sends it.
fn question() -> Message {
    let mut message = Message::query(7, Question::new(name(), RecordType::A));
    message.edns = Some(Edns {
        udp_size: 1_232,
        cookie: Some([7; 8].into()),
        ..Edns::default()
    });
    message
}

/// An alias and four addresses.
fn answer() -> Message {
    let mut message = Message::answer_to(&question());
    let target = Name::root();
    let alias = RecordData::Cname(name().parent().unwrap_or(target));
    message.answers.push(Record::new(name(), 60, alias));
    let owner = name().parent().unwrap_or_else(Name::root);
    for last in 1..=4 {
        let data = RecordData::A([192, 0, 2, last].into());
        message.answers.push(Record::new(owner.clone(), 60, data));
    }
    message
}

fn codec(criterion: &mut Criterion) {
    for (what, message) in [("question", question()), ("answer", answer())] {
        let mut group = criterion.benchmark_group("resolver/message");
        let mut wire = Vec::new();
        message.write(1_232, &mut wire);
        let mut out = Vec::new();
        group.bench_function(format!("encode {what}/sockeye"), |b| {
            b.iter(|| {
                out.clear();
                black_box(&message).write(1_232, &mut out);
                out.len()
            });
        });
        if let Ok(theirs) = HickoryMessage::from_vec(&wire) {
            group.bench_function(format!("encode {what}/hickory-proto"), |b| {
                b.iter(|| black_box(&theirs).to_vec())
            });
        }
        group.bench_function(format!("decode {what}/sockeye"), |b| {
            b.iter(|| Message::parse(black_box(&wire)))
        });
        group.bench_function(format!("decode {what}/hickory-proto"), |b| {
            b.iter(|| HickoryMessage::from_vec(black_box(&wire)));
        });
        group.finish();
    }
}

fn engine(max_entries: usize) -> Engine {
    let mut options = DnsOptions::with_servers([([192, 0, 2, 53], 53).into()]);
    options.cache = CacheOptions {
        max_entries,
        ..options.cache
    };
    Engine::new(options, os_random())
}

/// Asks, turns the question into its answer by hand, and hands that in. Whether there is an address.
fn query(engine: &mut Engine, request: &Request, wire: &mut Vec<u8>) -> bool {
    if engine.lookup(NOW, request.clone()).is_err() {
        return false;
    }
    let mut sent: Option<(u32, SocketAddr)> = None;
    while let Some(transmit) = engine.poll_transmit(NOW, wire) {
        if let Transmit::Datagram { socket, to } = transmit {
            sent = Some((socket, to));
            break;
        }
    }
    if let Some((socket, to)) = sent {
        wire.truncate(12 + request.name.as_wire().len() + 4);
        (wire[2], wire[3]) = (wire[2] | 0x80, 0x80);
        wire[4..12].copy_from_slice(&[0, 1, 0, 1, 0, 0, 0, 0]);
        wire.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
        engine.on_datagram(NOW, socket, to, wire);
    }
    engine
        .poll_event()
        .is_some_and(|event| event.result.is_ok_and(|answer| answer.addresses().count() == 1))
}

fn lookups(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("resolver/lookup");
    let request = Request::records(name(), RecordType::A);
    let mut wire = Vec::new();
    let mut keeps = engine(10_000);
    assert!(query(&mut keeps, &request, &mut wire));
    group.bench_function("kept/sockeye", |b| {
        b.iter(|| {
            let id = keeps.lookup(NOW, black_box(&request).clone());
            (id, keeps.poll_event())
        });
    });
    let mut forgets = engine(0);
    group.bench_function("asked/sockeye", |b| {
        b.iter(|| assert!(query(&mut forgets, &request, &mut wire)));
    });
    group.finish();
}

criterion_group!(benches, codec, lookups);
criterion_main!(benches);
