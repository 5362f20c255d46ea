//! What every command tells: which program it is, since when it runs, and what its event loops have done.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use sockeye::event_loop::Stats;

use super::exposition::{Exposition, In};

/// The program.
#[derive(Debug, Clone, Copy)]
pub(super) struct Common {
    pub(super) command: &'static str,
    pub(super) started: SystemTime,
}

type Counter = (&'static str, In, &'static str, fn(&Stats) -> u64);

/// Counters of the loops.
const COUNTERS: &[Counter] = &[
    (
        "sockeye_loop_turns",
        In::Nothing,
        "Turns of the event loops.",
        |stats| stats.turns,
    ),
    (
        "sockeye_loop_events",
        In::Nothing,
        "Events that the system reported.",
        |stats| stats.events,
    ),
    (
        "sockeye_loop_reads",
        In::Nothing,
        "Reads that returned bytes.",
        |stats| stats.reads,
    ),
    (
        "sockeye_loop_writes",
        In::Nothing,
        "Writes that took bytes.",
        |stats| stats.writes,
    ),
    (
        "sockeye_loop_received",
        In::Bytes,
        "Bytes received on streams, those that were joined apart.",
        |stats| stats.bytes_in,
    ),
    (
        "sockeye_loop_sent",
        In::Bytes,
        "Bytes sent on streams, those that were joined apart.",
        |stats| stats.bytes_out,
    ),
    (
        "sockeye_loop_accepted_connections",
        In::Nothing,
        "Connections accepted, those of this endpoint among them.",
        |stats| stats.accepted,
    ),
    (
        "sockeye_loop_established_connects",
        In::Nothing,
        "Connects that succeeded.",
        |stats| stats.connected,
    ),
    (
        "sockeye_loop_failed_connects",
        In::Nothing,
        "Connects that failed.",
        |stats| stats.connect_errors,
    ),
    (
        "sockeye_loop_closed_connections",
        In::Nothing,
        "Connections that are gone, ends of pairs among them.",
        |stats| stats.closed,
    ),
    (
        "sockeye_loop_timed_out_connections",
        In::Nothing,
        "Connections ended by a deadline.",
        |stats| stats.timed_out,
    ),
    (
        "sockeye_loop_accept_back_offs",
        In::Nothing,
        "Pauses of accepting for want of descriptors or memory.",
        |stats| stats.accept_back_offs,
    ),
    (
        "sockeye_loop_accept_errors",
        In::Nothing,
        "Accepts that failed.",
        |stats| stats.accept_errors,
    ),
    (
        "sockeye_loop_lost_listeners",
        In::Nothing,
        "Listeners whose socket failed.",
        |stats| stats.listeners_lost,
    ),
    (
        "sockeye_loop_full_writes",
        In::Nothing,
        "Writes refused because the peer does not read.",
        |stats| stats.full,
    ),
    (
        "sockeye_loop_received_datagrams",
        In::Nothing,
        "Datagrams and packets received.",
        |stats| stats.datagrams_in,
    ),
    (
        "sockeye_loop_sent_datagrams",
        In::Nothing,
        "Datagrams and packets sent.",
        |stats| stats.datagrams_out,
    ),
    (
        "sockeye_loop_send_errors",
        In::Nothing,
        "Datagrams and packets that could not be sent.",
        |stats| stats.send_errors,
    ),
    (
        "sockeye_loop_timers",
        In::Nothing,
        "Timers that fired.",
        |stats| stats.timers,
    ),
    (
        "sockeye_loop_remote_commands",
        In::Nothing,
        "Commands from other threads.",
        |stats| stats.remote_commands,
    ),
    (
        "sockeye_loop_panics",
        In::Nothing,
        "Callbacks that panicked.",
        |stats| stats.panics,
    ),
    (
        "sockeye_loop_memory_resets",
        In::Nothing,
        "Connections reset because the memory budget was used up.",
        |stats| stats.memory_resets,
    ),
];

impl Common {
    pub(super) fn encode(&self, to: &mut Exposition<'_>, stats: &Stats) -> fmt::Result {
        let version = env!("CARGO_PKG_VERSION");
        let labels = [("version", version), ("command", self.command)];
        to.info("sockeye_build", "The program and its command.", &labels)?;
        let started = self.started.duration_since(UNIX_EPOCH).unwrap_or_default();
        to.gauges(
            ("process_start_time", In::Seconds),
            "When the program began, since 1970.",
            [([], started.as_secs_f64())],
        )?;
        for (name, unit, help, read) in COUNTERS {
            to.counters((name, *unit), help, [([], read(stats))])?;
        }
        to.gauges(
            ("sockeye_loop_kept", In::Bytes),
            "Bytes kept for peers that do not read, or not consumed.",
            [([], float(stats.memory))],
        )?;
        to.gauges(
            ("sockeye_loop_kept_peak", In::Bytes),
            "The most that was kept at once.",
            [([], float(stats.memory_peak))],
        )
    }

    pub(super) fn status(&self, stats: &Stats) -> Value {
        json!({
            "turns": stats.turns,
            "accepted": stats.accepted,
            "connected": stats.connected,
            "connect_errors": stats.connect_errors,
            "accept_back_offs": stats.accept_back_offs,
            "accept_errors": stats.accept_errors,
            "send_errors": stats.send_errors,
            "panics": stats.panics,
            "kept_bytes": stats.memory,
        })
    }
}

/// A number as gauges have it.
#[expect(clippy::cast_precision_loss, reason = "gauges are floating-point numbers")]
pub(crate) fn float(value: u64) -> f64 {
    value as f64
}
