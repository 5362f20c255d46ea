//! A run with something in every section, for tests.

use super::model::{Bound, Machine, Measurement, Results, Role, SCHEMA, Section, Unit};

/// A curve or a row of the run.
struct Of {
    kind: &'static str,
    section: Section,
    group: &'static str,
    unit: Unit,
    per: &'static str,
}

impl Of {
    fn one(&self, case: &str, contender: &str, value: f64) -> Measurement {
        Measurement {
            kind: self.kind.to_owned(),
            section: self.section,
            group: self.group.to_owned(),
            case: case.to_owned(),
            contender: contender.to_owned(),
            role: super::roles::of(self.kind, contender).unwrap(),
            unit: self.unit,
            per: self.per.to_owned(),
            value,
            noise: Some(0.02),
            rounds: Vec::new(),
            percentiles: Vec::new(),
            size: None,
            bounds: Vec::new(),
            command: format!("cargo xtask bench {}", self.kind),
        }
    }
}

/// The run.
pub(crate) fn results() -> Results {
    let mut measurements = Vec::new();
    for (kind, per, contenders) in [
        ("tcp", "message", ["sockeye", "std", "mio"]),
        (
            "udp",
            "datagram",
            ["sockeye recv_from", "std recv_from", "tokio recv_from"],
        ),
    ] {
        let of = Of {
            kind,
            section: Section::Throughput,
            group: "one way",
            unit: Unit::BytesPerSecond,
            per,
        };
        for (place, contender) in contenders.into_iter().enumerate() {
            for (size, case) in [
                (64, "64 B"),
                (1_024, "1 KiB"),
                (16_384, "16 KiB"),
                (65_536, "64 KiB"),
            ] {
                let value = 9e9 * f64::from(size) / (f64::from(size) + 8_000.0 + 900.0 * place as f64);
                let mut one = of.one(case, contender, value);
                one.size = u64::try_from(size).ok();
                measurements.push(one);
            }
        }
    }
    let latency = Of {
        kind: "event_loop",
        section: Section::Latency,
        group: "TCP echo",
        unit: Unit::Nanoseconds,
        per: "round trip",
    };
    for (place, contender) in ["event loop", "blocking", "bare mio"].into_iter().enumerate() {
        let base = 11_000.0 + 700.0 * place as f64;
        let mut one = latency.one("1 x 64 B", contender, base);
        one.percentiles = [
            (0.0, 0.8),
            (50.0, 1.0),
            (90.0, 1.3),
            (99.0, 2.1),
            (99.9, 6.0),
            (99.99, 60.0),
            (100.0, 900.0),
        ]
        .map(|(percentile, times)| (percentile, base * times))
        .to_vec();
        measurements.push(one);
    }
    measurements.extend(tables());
    Results {
        schema: SCHEMA,
        smoke: false,
        command: "cargo xtask bench".to_owned(),
        machine: Machine {
            cpu: "Example CPU <4 GHz>".to_owned(),
            cores: 2,
            kernel: "Linux 6.18".to_owned(),
            rustc: "rustc 1.95.0 (59807616e 2026-04-14)".to_owned(),
            commit: "0123456789".to_owned(),
            date: "2026-11-28 09:30 UTC".to_owned(),
        },
        skipped: vec![
            "needs nginx with its stream module (install: apt-get install libnginx-mod-stream)".to_owned(),
        ],
        measurements,
    }
}

/// CPU time, instructions, memory and growth.
fn tables() -> Vec<Measurement> {
    let mut measurements = Vec::new();
    let bound = |text: &str, limit: f64, broken: bool| Bound {
        text: text.to_owned(),
        limit,
        broken,
    };
    let cpu = Of {
        kind: "relay",
        section: Section::Cpu,
        group: "a relay in front of an echo",
        unit: Unit::CpuNanoseconds,
        per: "message",
    };
    for (case, base) in [("1 x 64 B", 6_508.0), ("8 x 1 MiB", 497_000.0)] {
        measurements.push(cpu.one(case, "bare join", base));
        let mut ours = cpu.one(case, "whole relay", base * 0.99);
        ours.bounds
            .push(bound("0.99 of bare join (at most 1.05)", 1.05, false));
        measurements.push(ours);
        measurements.push(cpu.one(case, "haproxy", base * 1.36));
        measurements.push(cpu.one(case, "haproxy, splice", base * 1.3));
    }
    let instructions = Of {
        kind: "tcp",
        section: Section::Instructions,
        group: "user instructions",
        unit: Unit::Instructions,
        per: "message",
    };
    for (case, limit, ours) in [("1 connection", 137.0, 244.0), ("64 connections", 116.0, 185.0)] {
        measurements.push(instructions.one(case, "bare mio", limit));
        measurements.push(instructions.one(case, "event loop", ours));
    }
    let memory = Of {
        kind: "tls",
        section: Section::Memory,
        group: "echo under TLS 1.3",
        unit: Unit::Bytes,
        per: "connection",
    };
    for (contender, value) in [
        ("rustls on mio by hand", 7_700.0),
        ("event loop", 7_200.0),
        ("tokio-rustls", 69_700.0),
    ] {
        measurements.push(memory.one("an idle connection", contender, value));
    }
    let growth = Of {
        kind: "growth",
        section: Section::Growth,
        group: "growth",
        unit: Unit::Nanoseconds,
        per: "timer",
    };
    for (subject, times) in [("timers", 1.3), ("simulated-round-trips", 3.1)] {
        for (size, label, value) in [(1_000, "1,000", 100.0), (1_000_000, "1,000,000", 100.0 * times)] {
            let mut one = growth.one(&format!("{subject}: {label}"), "sockeye", value);
            one.size = Some(size);
            if size > 1_000 {
                let text = format!("{times:.2} times the smallest (at most 2.00)");
                one.bounds.push(bound(&text, 2.0, times > 2.0));
            }
            measurements.push(one);
        }
    }
    assert!(measurements.iter().any(|one| one.role == Role::Peer));
    measurements
}
