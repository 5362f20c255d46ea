//! One operation of the resolver again and again: what `cargo xtask bench resolver --instructions` counts.
//! `resolver_counted OPERATION TIMES`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use sockeye::resolver::dns::{
    CacheOptions, DnsOptions, Engine, LocalNames, Message, Name, Question, Record, RecordData, RecordType,
    Request, Transmit,
};
use sockeye::resolver::files::Hosts;

type Error = Box<dyn std::error::Error>;

const NAME: &str = "www.example.test";
const NOW: Duration = Duration::from_secs(7);

fn engine(max_entries: usize) -> Engine {
    let mut options = DnsOptions::with_servers([([192, 0, 2, 53], 53).into()]);
    options.cache = CacheOptions {
        max_entries,
        ..options.cache
    };
    let mut number = 0x9e37_79b9_7f4a_7c15_u64;
    Engine::new(options, move || {
        // xorshift64: for this it is random enough.
        number ^= number << 13;
        number ^= number >> 7;
        number ^= number << 17;
        number
    })
}

/// Turns the question that is in `wire` into its answer, without the codec: its EDNS goes, an address is appended.
fn answer(wire: &mut Vec<u8>, question_len: usize) {
    wire.truncate(12 + question_len);
    wire[2] |= 0x80;
    wire[3] = 0x80;
    wire[4..12].copy_from_slice(&[0, 1, 0, 1, 0, 0, 0, 0]);
    wire.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
}

/// A question that is asked, sent, answered and told.
fn query(engine: &mut Engine, request: Request, wire: &mut Vec<u8>) -> Result<(), Error> {
    let question_len = request.name.as_wire().len() + 4;
    engine.lookup(NOW, request)?;
    let mut sent = None;
    while let Some(transmit) = engine.poll_transmit(NOW, wire) {
        if let Transmit::Datagram { socket, to } = transmit {
            sent = Some((socket, to));
            answer(wire, question_len);
            break;
        }
    }
    let (socket, to) = sent.ok_or("nothing was sent")?;
    engine.on_datagram(NOW, socket, to, wire);
    let event = engine.poll_event();
    assert!(matches!(black_box(&event), Some(event) if event.result.is_ok()));
    Ok(())
}

fn message(name: &Name) -> Message {
    let question = Question::new(name.clone(), RecordType::A);
    let mut answer = Message::answer_to(&Message::query(7, question));
    let data = RecordData::A([192, 0, 2, 1].into());
    answer.answers.push(Record::new(name.clone(), 60, data));
    answer
}

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [operation, times] = &arguments[..] else {
        return Err("resolver_counted OPERATION TIMES".into());
    };
    let times: u64 = times.parse()?;
    let name: Name = NAME.parse()?;
    let request = Request::records(name.clone(), RecordType::A);
    let mut wire = Vec::new();
    match operation.as_str() {
        // What the loops below do besides: the owner's request is a copy.
        "request" => {
            for _ in 0..times {
                black_box(black_box(&request).clone());
            }
        }
        "cached" | "cached-hosts" => {
            let mut engine = engine(10_000);
            if operation == "cached-hosts" {
                let text = b"127.0.0.1 localhost\n192.0.2.7 other.example.test other\n";
                engine.set_local_names(LocalNames {
                    hosts: Arc::new(Hosts::parse(text, |_| None)),
                    ..LocalNames::default()
                });
            }
            query(&mut engine, request.clone(), &mut wire)?;
            for _ in 0..times {
                engine.lookup(NOW, black_box(&request).clone())?;
                let event = engine.poll_event();
                assert!(matches!(black_box(&event), Some(event) if event.result.is_ok()));
            }
            assert_eq!(engine.stats().cached, times);
        }
        "query" => {
            let mut engine = engine(0);
            for _ in 0..times {
                query(&mut engine, black_box(&request).clone(), &mut wire)?;
            }
            assert_eq!(engine.stats().datagrams, times);
        }
        "encode" => {
            let question = Message::query(7, Question::new(name, RecordType::A));
            for _ in 0..times {
                wire.clear();
                black_box(&question).write(1_232, &mut wire);
                black_box(&wire);
            }
        }
        "decode" => {
            message(&name).write(1_232, &mut wire);
            for _ in 0..times {
                black_box(Message::parse(black_box(&wire))?);
            }
        }
        _ => return Err("no such operation".into()),
    }
    Ok(())
}
