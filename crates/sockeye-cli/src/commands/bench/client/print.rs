//! What a run measures, as lines for people and as events for programs, whatever protocol it was measured by.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use sockeye::measure::run::Parameters;

use super::super::flows::latency::{PERCENTILES, per_minute};
use super::super::flows::nanoseconds;
use super::figures::{
    Cpu, DatagramSample, Direction, FlowTotal, Interval, Outcome, Protocol, Sum, per_second,
};
use crate::output::Output;

/// More flows than these are shown to people as their sum only.
const MAX_LINES: usize = 16;

/// What is to be measured, for programs; without with whom.
pub(crate) fn start_json(protocol: Protocol, parameters: &Parameters) -> Value {
    json!({
        "protocol": protocol.name(), "mode": parameters.mode.name(), "transport": parameters.transport.name(),
        "up": parameters.up, "down": parameters.down, "length_bytes": parameters.length,
        "time_ns": (parameters.time_ns > 0).then_some(parameters.time_ns), "omit_ns": parameters.omit_ns,
        "bytes": parameters.bytes, "bitrate": parameters.bitrate, "rate": parameters.rate,
    })
}

/// What is to be measured, for people.
pub(crate) fn start_line(parameters: &Parameters, peer: &str) -> String {
    format!(
        "{} over {} with {peer}: {} up, {} down, messages of {} bytes",
        parameters.mode.name(),
        parameters.transport.name(),
        parameters.up,
        parameters.down,
        parameters.length
    )
}

/// An interval for programs.
pub(crate) fn interval_json(interval: &Interval) -> Value {
    let time = interval.to.saturating_sub(interval.from);
    let tcp = interval.tcp.as_ref();
    let datagrams = interval.datagrams.as_ref();
    json!({
        "from_ns": nanoseconds(interval.from),
        "to_ns": nanoseconds(interval.to),
        "flow": interval.flow,
        "direction": interval.direction.name(),
        "bytes": interval.bytes,
        "bytes_per_s": whole(per_second(interval.bytes, time)),
        "messages": interval.messages,
        "retransmits": tcp.map(|tcp| tcp.retransmits),
        "rtt_ns": tcp.map(|tcp| nanoseconds(tcp.rtt)),
        "rtt_variation_ns": tcp.map(|tcp| nanoseconds(tcp.rtt_variation)),
        "cwnd_bytes": tcp.map(|tcp| tcp.cwnd_bytes),
        "delivery_bytes_per_s": tcp.and_then(|tcp| tcp.delivery_bytes_per_s),
        "lost": datagrams.map(|datagrams| datagrams.lost),
        "reordered": datagrams.and_then(|datagrams| datagrams.reordered),
        "duplicates": datagrams.and_then(|datagrams| datagrams.duplicates),
        "jitter_ns": datagrams.map(|datagrams| nanoseconds(datagrams.jitter)),
    })
}

/// All flows within one interval.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn intervals(output: &mut Output, rows: &[Interval]) -> anyhow::Result<()> {
    for interval in rows {
        output.event("interval", interval_json(interval))?;
    }
    output.lines(interval_lines(rows))?;
    Ok(())
}

/// All flows within one interval for people: each, and all of a direction.
pub(crate) fn interval_lines(rows: &[Interval]) -> Vec<String> {
    let mut lines = Vec::new();
    if rows.len() <= MAX_LINES {
        lines.extend(
            rows.iter()
                .map(|interval| interval_line(&interval.flow.to_string(), interval)),
        );
    }
    for direction in [Direction::Up, Direction::Down] {
        let mut these = rows.iter().filter(|row| row.direction == direction);
        let Some(mut sum) = these.next().cloned() else {
            continue;
        };
        let mut more = false;
        for row in these {
            more = true;
            sum.bytes += row.bytes;
            sum.messages += row.messages;
            sum.tcp = sum.tcp.zip(row.tcp).map(|(mut all, one)| {
                all.retransmits += one.retransmits;
                all.rtt = all.rtt.max(one.rtt);
                all.cwnd_bytes += one.cwnd_bytes;
                all
            });
            sum.datagrams = sum.datagrams.zip(row.datagrams).map(|(all, one)| all.beside(one));
        }
        if more {
            lines.push(interval_line("all", &sum));
        }
    }
    lines
}

fn interval_line(flow: &str, interval: &Interval) -> String {
    let time = interval.to.saturating_sub(interval.from);
    let mut line = format!(
        "{flow:>4} {:<4} {:>7.2}-{:<7.2} s {:>12} {:>15}",
        interval.direction.name(),
        interval.from.as_secs_f64(),
        interval.to.as_secs_f64(),
        bytes(interval.bytes),
        bits(per_second(interval.bytes, time)),
    );
    if let Some(tcp) = &interval.tcp {
        line.push_str(&format!(
            "  retransmits {:<5} rtt {:<11} cwnd {}",
            tcp.retransmits,
            span(tcp.rtt),
            bytes(tcp.cwnd_bytes)
        ));
    } else if let Some(datagrams) = &interval.datagrams {
        line.push_str(&format!("  {}", datagrams_text(datagrams, interval.messages)));
    } else {
        line.push_str(&format!("  {} messages", interval.messages));
    }
    line
}

fn datagrams_text(datagrams: &DatagramSample, received: u64) -> String {
    let all = received + datagrams.lost;
    let percent = if all == 0 {
        0.0
    } else {
        datagrams.lost as f64 * 100.0 / all as f64
    };
    let mut text = format!(
        "lost {}/{all} ({percent:.2} %) jitter {}",
        datagrams.lost,
        span(datagrams.jitter)
    );
    for (name, count) in [
        ("  reordered", datagrams.reordered),
        (" duplicates", datagrams.duplicates),
    ] {
        if let Some(count) = count {
            text.push_str(&format!("{name} {count}"));
        }
    }
    text
}

/// The whole run for programs.
pub(crate) fn outcome_json(outcome: &Outcome) -> Value {
    let mut json = json!({
        "target": outcome.target,
        "protocol": outcome.protocol.name(),
        "mode": outcome.mode,
        "transport": outcome.transport,
        "flows": outcome.flows.iter().map(flow_json).collect::<Vec<_>>(),
        "unanswered": outcome.unanswered,
        "client_cpu": outcome.client_cpu.as_ref().map(|cpu| cpu_json(cpu, outcome)),
        "server_cpu": outcome.server_cpu.as_ref().map(|cpu| cpu_json(cpu, outcome)),
        "server_is_shared": outcome.server_is_shared,
        "is_interrupted": outcome.is_interrupted,
    });
    for (direction, sum) in outcome.sums() {
        json[direction.name()] = sum_json(&sum);
    }
    if !outcome.latencies.is_empty() {
        let latencies = outcome.latencies.iter();
        let named = latencies.map(|latency| (latency.name.to_owned(), latency_json(&latency.histogram)));
        json["latency_ns"] = Value::Object(named.collect());
    }
    if let Some(loaded) = outcome.latency("loaded") {
        let idle = outcome.latency("idle");
        json["round_trips_per_minute"] = json!({
            "idle": idle.filter(|idle| !idle.is_empty()).map(per_minute),
            "loaded": (!loaded.is_empty()).then(|| per_minute(loaded)),
        });
    }
    if let Some(text) = &outcome.server_output {
        json["server_output"] = text.as_str().into();
    }
    if let Some(clock) = &outcome.clock {
        json["clock"] = json!({
            "offset_ns": clock.offset_ns,
            "uncertainty_ns": nanoseconds(clock.uncertainty),
            "below_zero": outcome.below_zero,
        });
    }
    json
}

pub(crate) fn flow_json(flow: &FlowTotal) -> Value {
    json!({
        "flow": flow.flow,
        "direction": flow.direction.name(),
        "sent_bytes": flow.sent_bytes,
        "sent_messages": flow.sent_messages,
        "received_bytes": flow.received_bytes,
        "received_messages": flow.received_messages,
        "elapsed_ns": nanoseconds(flow.elapsed),
        "bytes_per_s": whole(per_second(flow.received_bytes, flow.elapsed)),
        "retransmits": flow.retransmits,
        "datagrams": flow.datagrams.as_ref().map(datagrams_json),
    })
}

fn datagrams_json(datagrams: &DatagramSample) -> Value {
    json!({
        "lost": datagrams.lost,
        "reordered": datagrams.reordered,
        "duplicates": datagrams.duplicates,
        "jitter_ns": nanoseconds(datagrams.jitter),
    })
}

fn sum_json(sum: &Sum) -> Value {
    json!({
        "sent_bytes": sum.sent_bytes,
        "sent_messages": sum.sent_messages,
        "received_bytes": sum.received_bytes,
        "received_messages": sum.received_messages,
        "elapsed_ns": nanoseconds(sum.elapsed),
        "bytes_per_s": whole(sum.bytes_per_s()),
        "messages_per_s": sum.messages_per_s(),
        "retransmits": sum.retransmits,
        "datagrams": sum.datagrams.as_ref().map(datagrams_json),
        "loss_percent": sum.loss_percent(),
    })
}

/// Percentiles for programs; `null` where nothing was recorded.
fn latency_json(histogram: &Histogram<u64>) -> Value {
    if histogram.is_empty() {
        return Value::Null;
    }
    let mut json = json!({
        "count": histogram.len(),
        "min": histogram.min(),
        "mean": whole(histogram.mean()),
        "max": histogram.max(),
    });
    for (name, quantile) in PERCENTILES {
        json[name] = histogram.value_at_quantile(quantile).into();
    }
    json
}

fn cpu_json(cpu: &Cpu, outcome: &Outcome) -> Value {
    let (bytes, messages) = moved(outcome);
    let used = cpu.user + cpu.system;
    json!({
        "user_ns": nanoseconds(cpu.user),
        "system_ns": nanoseconds(cpu.system),
        "ns_per_gib": (bytes > 0).then(|| whole(used.as_nanos() as f64 * GIB / bytes as f64)),
        "ns_per_message": (messages > 0).then(|| whole(used.as_nanos() as f64 / messages as f64)),
    })
}

const GIB: f64 = (1_u64 << 30) as f64;

/// Bytes and messages that have come, both ways.
fn moved(outcome: &Outcome) -> (u64, u64) {
    outcome.sums().fold((0, 0), |(bytes, messages), (_, sum)| {
        (bytes + sum.received_bytes, messages + sum.received_messages)
    })
}

/// The whole run for people.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn outcome(output: &mut Output, outcome: &Outcome) -> anyhow::Result<()> {
    output.event("end", outcome_json(outcome))?;
    let mut lines = vec![String::new()];
    lines.extend(outcome_lines(outcome));
    output.lines(lines)?;
    Ok(())
}

/// The whole run as lines.
pub(crate) fn outcome_lines(outcome: &Outcome) -> Vec<String> {
    let mut lines = Vec::new();
    let is_answered = matches!(outcome.mode, "rr" | "crr");
    if outcome.flows.len() > 1 && outcome.flows.len() <= MAX_LINES {
        lines.extend(outcome.flows.iter().map(flow_line));
    }
    for (direction, sum) in outcome.sums() {
        if is_answered {
            lines.push(format!(
                "{} answers in {:.2} s: {:.0} a second, {} unanswered",
                sum.received_messages,
                sum.elapsed.as_secs_f64(),
                sum.messages_per_s(),
                outcome.unanswered
            ));
            continue;
        }
        let mut line = format!(
            "{:<4}: {} received in {:.2} s, {} ({} sent)",
            direction.name(),
            bytes(sum.received_bytes),
            sum.elapsed.as_secs_f64(),
            bits(sum.bytes_per_s()),
            bytes(sum.sent_bytes)
        );
        if let Some(retransmits) = sum.retransmits {
            line.push_str(&format!(", {retransmits} retransmits"));
        }
        if let Some(datagrams) = &sum.datagrams {
            line.push_str(&format!(", {}", datagrams_text(datagrams, sum.received_messages)));
        }
        lines.push(line);
    }
    lines.extend(latency_lines(outcome));
    for (side, cpu) in [("client", &outcome.client_cpu), ("server", &outcome.server_cpu)] {
        let Some(cpu) = cpu else {
            continue;
        };
        let is_shared = side == "server" && outcome.server_is_shared;
        lines.push(cpu_line(side, cpu, outcome, is_shared));
    }
    if outcome.is_interrupted {
        lines.push("interrupted before its time".to_owned());
    }
    let printed = outcome.server_output.as_deref().unwrap_or_default();
    lines.extend(printed.lines().map(|line| format!("server: {line}")));
    lines
}

fn flow_line(flow: &FlowTotal) -> String {
    format!(
        "{:>4} {:<4} {:>12} received {:>15}",
        flow.flow,
        flow.direction.name(),
        bytes(flow.received_bytes),
        bits(per_second(flow.received_bytes, flow.elapsed)),
    )
}

fn cpu_line(side: &str, cpu: &Cpu, outcome: &Outcome, is_shared: bool) -> String {
    let (bytes, messages) = moved(outcome);
    let used = (cpu.user + cpu.system).as_secs_f64();
    let is_small = bytes < messages.saturating_mul(4096);
    let each = match (messages, bytes) {
        (0, _) | (_, 0) => String::new(),
        _ if is_small => format!(", {:.2} us a message", used * 1e6 / messages as f64),
        _ => format!(", {:.3} s a GiB", used * GIB / bytes as f64),
    };
    let shared = if is_shared {
        " (it served other clients too)"
    } else {
        ""
    };
    format!(
        "{side} CPU: {:.3} s user, {:.3} s system{each}{shared}",
        cpu.user.as_secs_f64(),
        cpu.system.as_secs_f64()
    )
}

fn latency_lines(outcome: &Outcome) -> Vec<String> {
    let mut lines = Vec::new();
    for latency in &outcome.latencies {
        let histogram = &latency.histogram;
        let what = match latency.name {
            "rtt" if outcome.latency("rtt_uncorrected").is_some() => {
                "round trips from when they were due (corrected)"
            }
            "rtt" => "round trips",
            "rtt_uncorrected" => "round trips from when they were sent (uncorrected)",
            "idle" => "round trips before the load",
            "loaded" => "round trips during the load",
            "delay" => "one-way delays",
            other => other,
        };
        if histogram.is_empty() {
            lines.push(format!("{what}: none"));
            continue;
        }
        let mut line = format!("{what}:");
        for (name, quantile) in PERCENTILES {
            let name = if name == "p999" { "p99.9" } else { name };
            line.push_str(&format!(
                " {name} {}",
                span(Duration::from_nanos(histogram.value_at_quantile(quantile)))
            ));
        }
        line.push_str(&format!(" max {}", span(Duration::from_nanos(histogram.max()))));
        if matches!(latency.name, "idle" | "loaded") {
            line.push_str(&format!(" ({:.0} a minute)", per_minute(histogram)));
        }
        lines.push(line);
    }
    if let Some(clock) = &outcome.clock {
        let offset = clock.offset_ns as f64 / 1e6;
        let within = span(clock.uncertainty);
        lines.push(format!(
            "the server's clock is {offset:.3} ms ahead of ours, give or take {within}, and every delay likewise; \
             {} delays below zero count as zero",
            outcome.below_zero
        ));
    }
    lines
}

/// Bytes in powers of 1024.
pub(crate) fn bytes(bytes: u64) -> String {
    let amount = bytes as f64;
    for (unit, size) in [
        ("TiB", 1024_f64.powi(4)),
        ("GiB", GIB),
        ("MiB", 1024_f64.powi(2)),
        ("KiB", 1024.0),
    ] {
        if amount >= size {
            return format!("{:.2} {unit}", amount / size);
        }
    }
    format!("{bytes} B")
}

/// A rate of bytes in bits a second, in powers of 1000.
pub(crate) fn bits(bytes_per_s: f64) -> String {
    let amount = bytes_per_s * 8.0;
    for (unit, size) in [("Gbit/s", 1e9), ("Mbit/s", 1e6), ("kbit/s", 1e3)] {
        if amount >= size {
            return format!("{:.2} {unit}", amount / size);
        }
    }
    format!("{amount:.0} bit/s")
}

/// A short time in a unit that suits it.
pub(crate) fn span(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    for (unit, size) in [("s", 1.0), ("ms", 1e-3), ("us", 1e-6)] {
        if seconds >= size {
            return format!("{:.3} {unit}", seconds / size);
        }
    }
    format!("{} ns", time.as_nanos())
}

/// A rate as a whole number: a fraction of a byte is noise.
fn whole(number: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, reason = "casts of floats saturate")]
    #[expect(clippy::cast_sign_loss, reason = "rates are not negative")]
    let number = number.round() as u64;
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_the_unit_that_suits_them() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(128 * 1024), "128.00 KiB");
        assert_eq!(bits(125_000_000.0), "1.00 Gbit/s");
        assert_eq!(bits(1.0), "8 bit/s");
        assert_eq!(span(Duration::from_micros(1500)), "1.500 ms");
        assert_eq!(span(Duration::from_nanos(7)), "7 ns");
    }
}
