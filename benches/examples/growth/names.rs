//! What the client of the DNS holds: queries under way, answers, lines of a hosts file.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use sockeye::resolver::dns::{
    CacheOptions, DnsOptions, Engine, Name, RecordType, Request, Transmit, os_random,
};
use sockeye::resolver::files::Hosts;
use sockeye::socket::os::AddressFamily;

use super::{Cost, Error, measured};

const NOW: Duration = Duration::from_secs(1);

fn engine(size: usize, max_entries: usize) -> Engine {
    let mut options = DnsOptions::with_servers([([192, 0, 2, 53], 53).into()]);
    options.max_lookups = size;
    options.cache = CacheOptions {
        max_entries,
        max_bytes: usize::MAX,
        ..options.cache
    };
    Engine::new(options, os_random())
}

fn names(size: usize) -> Result<Vec<Name>, Error> {
    let name = |n| Ok(format!("host-{n}.example.test").parse()?);
    (0..size).map(name).collect()
}

/// Turns a question into its answer: an hour of 192.0.2.1.
fn answer(wire: &mut Vec<u8>, name: &Name) {
    wire.truncate(12 + name.as_wire().len() + 4);
    (wire[2], wire[3]) = (wire[2] | 0x80, 0x80);
    wire[4..12].copy_from_slice(&[0, 1, 0, 1, 0, 0, 0, 0]);
    wire.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 14, 16, 0, 4, 192, 0, 2, 1]);
}

/// The next message to a server: by which socket, and to whom.
fn sent(engine: &mut Engine, wire: &mut Vec<u8>) -> Option<(u32, SocketAddr)> {
    while let Some(transmit) = engine.poll_transmit(NOW, wire) {
        if let Transmit::Datagram { socket, to } = transmit {
            return Some((socket, to));
        }
    }
    None
}

/// Queries that are all under way before the first is answered.
pub(super) fn queries(size: usize) -> Result<Cost, Error> {
    let mut engine = engine(size, 0);
    let names = names(size)?;
    measured(|| {
        let mut messages = Vec::new();
        for name in &names {
            engine.lookup(NOW, Request::records(name.clone(), RecordType::A))?;
            let mut wire = Vec::with_capacity(128);
            let (socket, to) = sent(&mut engine, &mut wire).ok_or("it is sent")?;
            answer(&mut wire, name);
            messages.push((socket, to, wire));
        }
        assert_eq!(engine.stats().under_way, size);
        let mut answered = 0;
        for (socket, to, wire) in &messages {
            engine.on_datagram(NOW, *socket, *to, wire);
            while let Some(event) = engine.poll_event() {
                answered += event.result?.addresses().count();
            }
        }
        assert_eq!(answered, size);
        Ok(size as u64)
    })
}

/// Answers that are put into the cache, and then taken from it.
pub(super) fn cache(size: usize) -> Result<Cost, Error> {
    let mut engine = engine(65_536, size);
    let names = names(size)?;
    let mut wire = Vec::new();
    measured(|| {
        for _ in 0..2 {
            for name in &names {
                engine.lookup(NOW, Request::records(name.clone(), RecordType::A))?;
                if let Some((socket, to)) = sent(&mut engine, &mut wire) {
                    answer(&mut wire, name);
                    engine.on_datagram(NOW, socket, to, &wire);
                }
                assert_eq!(
                    engine
                        .poll_event()
                        .ok_or("it is answered")?
                        .result?
                        .addresses()
                        .count(),
                    1
                );
            }
        }
        assert_eq!(engine.stats().cached, size as u64);
        Ok(size as u64)
    })
}

/// Lines of a hosts file, each of which is read, and then found by its name.
pub(super) fn hosts(size: usize) -> Result<Cost, Error> {
    let mut text = String::new();
    for n in 0..size {
        let ip = Ipv4Addr::from_bits(0x0a00_0000 + u32::try_from(n)?);
        writeln!(text, "{ip} host-{n}.example.test")?;
    }
    measured(|| {
        let hosts = Hosts::parse(text.as_bytes(), |_| None);
        let mut name = String::new();
        for n in 0..size {
            name.clear();
            write!(name, "host-{n}.example.test")?;
            assert_eq!(hosts.addresses(&name, AddressFamily::V4).count(), 1);
        }
        Ok(size as u64)
    })
}
