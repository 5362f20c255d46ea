//! What a unit costs while a user makes things large: `growth SUBJECT SIZE` does one measurement and prints how many units
//! it was and the CPU time of this thread that they took, in nanoseconds. `cargo xtask bench growth` runs and judges it;
//! `growth` alone lists the subjects.
#![allow(clippy::unwrap_used, reason = "what fails in a measurement ends it")]

mod event_loop;
mod frames;
mod names;
mod packets;
mod program;
mod sets;
mod sim;

use std::io::Write as _;
use std::time::Instant;

type Error = Box<dyn std::error::Error>;

/// What was measured.
struct Cost {
    units: u64,
    cpu_ns: u64,
}

/// A measurement at one size.
type Measure = fn(usize) -> Result<Cost, Error>;

const SUBJECTS: &[(&str, Measure)] = &[
    ("frame", frames::frames),
    ("frame-rate", frames::rate),
    ("queued-output", event_loop::queued_output),
    ("connections", event_loop::connections),
    ("unix-connections", event_loop::unix_connections),
    ("pairs", event_loop::pairs),
    ("timers", event_loop::timers),
    ("services", event_loop::services),
    ("remote-messages", event_loop::remote_messages),
    ("broadcast", event_loop::broadcast),
    ("udp-peers", event_loop::udp_peers),
    ("udp-batch", event_loop::udp_batch),
    ("networks-inserted", sets::networks_inserted),
    ("networks-at-once", sets::networks_at_once),
    ("network-lookups", sets::network_lookups),
    ("ports-inserted", sets::ports_inserted),
    ("map-entries", sets::map_entries),
    ("map-lookups", sets::map_lookups),
    ("simulated-hosts", sim::hosts),
    ("simulated-round-trips", sim::round_trips),
    ("simulated-links", sim::links),
    ("simulated-connections", sim::connections),
    ("probe-targets", packets::probe_targets),
    ("resolver-queries", packets::resolver_queries),
    ("dns-queries", names::queries),
    ("dns-cache", names::cache),
    ("hosts-lines", names::hosts),
    ("reassembled-datagrams", packets::reassembled_datagrams),
    ("explain-lines", program::explain_lines),
    ("dump-packets", program::dump_packets),
];

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let mut out = std::io::stdout();
    let Some(subject) = arguments.next() else {
        for (name, _) in SUBJECTS {
            writeln!(out, "{name}")?;
        }
        return Ok(());
    };
    let size = arguments.next().ok_or("of which size?")?.parse()?;
    let (_, measure) = SUBJECTS
        .iter()
        .find(|(name, _)| *name == subject)
        .ok_or("no such subject")?;
    let cost = measure(size)?;
    writeln!(out, "{} {}", cost.units, cost.cpu_ns)?;
    Ok(())
}

/// Nanoseconds that this thread has been on a core (`/proc/thread-self/schedstat`, proc(5)). The kernel brings the number up
/// to date when a thread yields.
fn cpu_ns() -> u64 {
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let first = text.split_whitespace().next();
    first.and_then(|ns| ns.parse().ok()).unwrap_or(0)
}

/// The cost of `work`, which says how many units it was.
fn measured(work: impl FnOnce() -> Result<u64, Error>) -> Result<Cost, Error> {
    let before = cpu_ns();
    let units = work()?;
    Ok(Cost {
        units,
        cpu_ns: cpu_ns() - before,
    })
}

/// The same by the clock on the wall, of what runs in another process.
fn timed(work: impl FnOnce() -> Result<u64, Error>) -> Result<Cost, Error> {
    let before = Instant::now();
    let units = work()?;
    Ok(Cost {
        units,
        cpu_ns: u64::try_from(before.elapsed().as_nanos())?,
    })
}
