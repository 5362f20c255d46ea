//! Probes, lookups and fragments.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sockeye::packet::{Ipv4, Ipv4Builder, Ipv4Fragments, Reassembler, Reassembly, ReassemblyLimits};
use sockeye::probe::{PingOptions, PingOutcome, Pinger};
use sockeye::resolver::{Config, Progress, Resolver};

use super::{Cost, Error, measured};

fn address(n: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a00_0000 + u32::try_from(n).unwrap_or(0))
}

/// Targets that are each asked once and never answer.
pub(super) fn probe_targets(size: usize) -> Result<Cost, Error> {
    measured(|| {
        let mut pinger = Pinger::new(PingOptions {
            count: Some(1),
            ..PingOptions::new(0x5eed)
        });
        for n in 0..size {
            pinger.add(SocketAddr::from((address(n), 0)))?;
        }
        let mut message = Vec::new();
        let mut now = Duration::ZERO;
        let mut finished = 0;
        while let Some(at) = pinger.poll_timeout() {
            now = now.max(at);
            while pinger.poll_transmit(now, &mut message).is_some() {}
            while let Some(event) = pinger.poll_event(now) {
                finished += usize::from(event.outcome == PingOutcome::Finished);
            }
        }
        assert_eq!(finished, size);
        Ok(size as u64)
    })
}

/// Queries that are open at a time, each of a name that is an address: no thread and no network in it.
pub(super) fn resolver_queries(size: usize) -> Result<Cost, Error> {
    let resolver = Resolver::new(Config::default());
    let deadline = Instant::now() + Duration::from_secs(60);
    measured(|| {
        let mut queries = Vec::new();
        for n in 0..size {
            let target = format!("{}:80", address(n)).parse_target()?;
            queries.push(resolver.start(&target, deadline, Arc::new(|| {}))?);
        }
        for query in &mut queries {
            let mut answers = 0;
            while let Progress::Answer(answer) = query.poll() {
                answers += answer.result.map_or(0, |addresses| addresses.len());
            }
            assert_eq!(answers, 1);
        }
        Ok(size as u64)
    })
}

trait ParseTarget {
    fn parse_target(&self) -> Result<sockeye::endpoint::Target, Error>;
}

impl ParseTarget for String {
    fn parse_target(&self) -> Result<sockeye::endpoint::Target, Error> {
        let defaults = sockeye::endpoint::TargetDefaults {
            transport: Some(sockeye::endpoint::Transport::Tcp),
            port: None,
        };
        Ok(sockeye::endpoint::Target::parse_with(self, defaults)?)
    }
}

/// Datagrams of two fragments: the first of each, then the second of each.
pub(super) fn reassembled_datagrams(size: usize) -> Result<Cost, Error> {
    let mut packets = Vec::new();
    for n in 0..size {
        let mut packet = vec![0; 1020];
        let len = Ipv4Builder::new(address(n), Ipv4Addr::new(10, 255, 255, 255))
            .id(u16::try_from(n % 65_536)?)
            .protocol(253)
            .dont_fragment(false)
            .write(&mut packet, &[7; 1000])?;
        let mut fragments = Ipv4Fragments::new(Ipv4::new(&packet[..len])?, 576)?;
        let mut both = Vec::new();
        let mut out = [0; 576];
        while let Some(len) = fragments.write_next(&mut out)? {
            both.push(out[..len].to_vec());
        }
        packets.push(both);
    }
    let mut reassembler = Reassembler::new(ReassemblyLimits {
        datagrams: size,
        total_bytes: usize::MAX,
        ..ReassemblyLimits::default()
    });
    measured(|| {
        let mut whole = 0;
        for part in 0..2 {
            for packet in &packets {
                let fragment = Ipv4::new(packet[part].as_slice())?;
                let outcome = reassembler.push_v4(&fragment, Duration::ZERO)?;
                whole += usize::from(matches!(outcome, Reassembly::Complete(_)));
            }
        }
        assert_eq!(whole, size);
        Ok(size as u64)
    })
}
