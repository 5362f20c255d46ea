//! Tests as lines for people and as events for programs.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Map, Value, json};
use sockeye::measure::iperf3::{Parameters, Results};

use super::super::client::figures::{Direction, Interval};
use super::told::{FlowOutcome, Name, Outcome, Told};
use crate::output::{Output, warn};
use crate::probing::{milliseconds, nanoseconds};

/// Prints tests as they go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Report {
    /// Several tests run at once: each line says whose it is.
    pub(super) has_many: bool,
}

impl Report {
    /// Prints what was told.
    ///
    /// # Errors
    /// When stdout is closed, or cannot be written.
    pub(super) fn print(&self, told: &Told, output: &mut Output) -> std::io::Result<()> {
        match told {
            Told::Began { test, parameters } => {
                output.line(format_args!("{}{}", self.head(test), plan(parameters)))?;
                output.event("begin", with(test, begin_json(parameters)))
            }
            Told::Interval {
                test,
                interval,
                is_sum,
                is_omitted,
            } => {
                let line = interval_line(interval, *is_sum, *is_omitted);
                output.line(format_args!("{}{line}", self.head(test)))?;
                // Programs add up by themselves.
                if *is_sum {
                    return Ok(());
                }
                output.event("interval", with(test, interval_json(interval, *is_omitted)))
            }
            Told::Ended { test, outcome } => {
                let head = self.head(test);
                output.lines(outcome_lines(outcome).iter().map(|line| format!("{head}{line}")))?;
                output.event("end", with(test, outcome_json(outcome)))
            }
            Told::Failed { test, peer, why } => {
                let number = test.map(|test| format!(" test {}", test.number));
                let number = number.unwrap_or_default();
                warn(format_args!("sockeye: bench: {peer}{number}: {why}"));
                let test = test.map(|test| test.number);
                output.event(
                    "failed",
                    json!({ "test": test, "peer": peer.to_string(), "message": why }),
                )
            }
            Told::NeedsSocket(_) | Told::Broken(_) => Ok(()),
        }
    }

    fn head(&self, test: &Name) -> String {
        if self.has_many {
            format!("{} test {}: ", test.peer, test.number)
        } else {
            String::new()
        }
    }
}

/// The fields of an event, behind those that say of which test it is.
fn with(test: &Name, fields: Value) -> Value {
    let mut all = Map::new();
    all.insert("test".to_owned(), test.number.into());
    all.insert("peer".to_owned(), test.peer.to_string().into());
    if let Value::Object(fields) = fields {
        all.extend(fields);
    }
    Value::Object(all)
}

/// How a test is made, in words.
fn plan(parameters: &Parameters) -> String {
    let protocol = if parameters.udp { "UDP" } else { "TCP" };
    let streams = match parameters.parallel {
        1 => "1 stream".to_owned(),
        count => format!("{count} streams"),
    };
    let direction = match (parameters.reverse, parameters.bidirectional) {
        (true, _) => "down",
        (_, true) => "each way",
        _ => "up",
    };
    let mut text = format!(
        "{protocol}, {streams} {direction}, blocks of {} bytes",
        parameters.block()
    );
    // Writing to a String cannot fail.
    let _ = match (parameters.num, parameters.blockcount) {
        (0, 0) => write!(text, ", {} s", parameters.time),
        (0, blocks) => write!(text, ", {blocks} blocks"),
        (bytes, _) => write!(text, ", {bytes} bytes"),
    };
    if parameters.omit > 0 {
        let _ = write!(text, " after {} s", parameters.omit);
    }
    if parameters.bandwidth > 0 {
        let _ = write!(
            text,
            ", at {} a stream",
            bits_a_second(parameters.bandwidth as f64)
        );
    }
    text
}

fn begin_json(parameters: &Parameters) -> Value {
    json!({
        "protocol": if parameters.udp { "udp" } else { "tcp" },
        "streams": parameters.parallel,
        "reverse": parameters.reverse,
        "bidirectional": parameters.bidirectional,
        "block_bytes": parameters.block(),
        "time_s": some(parameters.time.into()),
        "total_bytes": some(parameters.num),
        "blocks": some(parameters.blockcount),
        "omit_s": parameters.omit,
        "bits_per_s": some(parameters.bandwidth),
        "client_version": parameters.client_version,
    })
}

/// 0 is what is not there.
fn some(value: u64) -> Option<u64> {
    (value > 0).then_some(value)
}

const fn name(direction: Direction) -> &'static str {
    match direction {
        Direction::Up => "up",
        Direction::Down => "down",
    }
}

/// An interval as a line, without whose it is.
pub(super) fn interval_line(interval: &Interval, is_sum: bool, is_omitted: bool) -> String {
    let time = interval.to.saturating_sub(interval.from);
    let who = if is_sum {
        "sum".to_owned()
    } else {
        interval.flow.to_string()
    };
    let mut line = format!(
        "{who:>3} {:<4} {:>6.2}-{:<6.2} s  {:>10}  {:>14}",
        name(interval.direction),
        interval.from.as_secs_f64(),
        interval.to.as_secs_f64(),
        bytes(interval.bytes),
        bits_a_second(rate(interval.bytes, time) * 8.0),
    );
    if let Some(tcp) = &interval.tcp {
        let _ = write!(
            line,
            "  {} retransmits  cwnd {}  rtt {}",
            tcp.retransmits,
            bytes(tcp.cwnd_bytes),
            milliseconds(tcp.rtt)
        );
    }
    if let Some(seen) = &interval.datagrams {
        let _ = write!(
            line,
            "  {}  jitter {}",
            loss(seen.lost, interval.messages + seen.lost),
            milliseconds(seen.jitter)
        );
    } else if interval.tcp.is_none() && interval.messages > 0 {
        let _ = write!(line, "  {} blocks", interval.messages);
    }
    if is_omitted {
        line.push_str("  (omitted)");
    }
    line
}

fn interval_json(interval: &Interval, is_omitted: bool) -> Value {
    let time = interval.to.saturating_sub(interval.from);
    let mut fields = json!({
        "from_ns": nanoseconds(interval.from),
        "to_ns": nanoseconds(interval.to),
        "flow": interval.flow,
        "direction": name(interval.direction),
        "bytes": interval.bytes,
        "bytes_per_s": rate(interval.bytes, time),
        "messages": interval.messages,
        "omitted": is_omitted,
    });
    if let (Some(tcp), Some(fields)) = (&interval.tcp, fields.as_object_mut()) {
        fields.insert("retransmits".to_owned(), tcp.retransmits.into());
        fields.insert("rtt_ns".to_owned(), nanoseconds(tcp.rtt));
        fields.insert("rtt_variation_ns".to_owned(), nanoseconds(tcp.rtt_variation));
        fields.insert("cwnd_bytes".to_owned(), tcp.cwnd_bytes.into());
        fields.insert("delivery_bytes_per_s".to_owned(), tcp.delivery_bytes_per_s.into());
    }
    if let (Some(seen), Some(fields)) = (&interval.datagrams, fields.as_object_mut()) {
        fields.insert("lost".to_owned(), seen.lost.into());
        fields.insert("reordered".to_owned(), seen.reordered.into());
        fields.insert("jitter_ns".to_owned(), nanoseconds(seen.jitter));
    }
    fields
}

/// The end of a test as lines: each stream, and each direction.
pub(super) fn outcome_lines(outcome: &Outcome) -> Vec<String> {
    let mut lines = Vec::new();
    for direction in [Direction::Up, Direction::Down] {
        let flows = || outcome.flows.iter().filter(|flow| flow.direction == direction);
        if flows().count() > 1 {
            lines.extend(flows().map(|flow| flow_line(&flow.flow.to_string(), flow)));
        }
        let sum = flows().copied().reduce(|sum, flow| FlowOutcome {
            sent_bytes: sum.sent_bytes + flow.sent_bytes,
            received_bytes: sum.received_bytes + flow.received_bytes,
            sent_in: sum.sent_in.max(flow.sent_in),
            received_in: sum.received_in.max(flow.received_in),
            retransmits: sum.retransmits.zip(flow.retransmits).map(|(a, b)| a + b),
            datagrams: sum.datagrams.zip(flow.datagrams).map(|(mut a, b)| {
                a.sent += b.sent;
                a.lost += b.lost;
                a.jitter = a.jitter.max(b.jitter);
                a
            }),
            ..sum
        });
        lines.extend(sum.map(|sum| flow_line("all", &sum)));
    }
    // Version 3.12 also gives to others what one client has asked for.
    let text = outcome.remote.server_output_text.as_deref();
    let text = text.filter(|_| outcome.parameters.get_server_output);
    for line in text.unwrap_or_default().lines() {
        lines.push(format!("server: {line}"));
    }
    lines.push(format!(
        "processor {:.1} % here, {:.1} % there",
        outcome.local.cpu_util_total, outcome.remote.cpu_util_total
    ));
    lines
}

fn flow_line(who: &str, flow: &FlowOutcome) -> String {
    let mut line = format!(
        "{who:>3} {:<4} sent {} ({}), received {} ({}) in {:.2} s",
        name(flow.direction),
        bytes(flow.sent_bytes),
        bits_a_second(rate(flow.sent_bytes, flow.sent_in) * 8.0),
        bytes(flow.received_bytes),
        bits_a_second(rate(flow.received_bytes, flow.received_in) * 8.0),
        flow.received_in.as_secs_f64(),
    );
    if let Some(retransmits) = flow.retransmits {
        let _ = write!(line, ", {retransmits} retransmits");
    }
    if let Some(seen) = &flow.datagrams {
        let _ = write!(
            line,
            ", {}, jitter {}",
            loss(seen.lost, seen.sent),
            milliseconds(seen.jitter)
        );
    }
    line
}

fn outcome_json(outcome: &Outcome) -> Value {
    let flows = outcome.flows.iter().map(|flow| {
        let mut fields = json!({
            "flow": flow.flow,
            "direction": name(flow.direction),
            "sent_bytes": flow.sent_bytes,
            "received_bytes": flow.received_bytes,
            "sent_bytes_per_s": rate(flow.sent_bytes, flow.sent_in),
            "received_bytes_per_s": rate(flow.received_bytes, flow.received_in),
            "retransmits": flow.retransmits,
        });
        if let (Some(seen), Some(fields)) = (&flow.datagrams, fields.as_object_mut()) {
            fields.insert("sent".to_owned(), seen.sent.into());
            fields.insert("lost".to_owned(), seen.lost.into());
            fields.insert("jitter_ns".to_owned(), nanoseconds(seen.jitter));
        }
        fields
    });
    json!({
        "time_ns": nanoseconds(outcome.time),
        "flows": flows.collect::<Vec<_>>(),
        "local_cpu": cpu_json(&outcome.local),
        "remote_cpu": cpu_json(&outcome.remote),
        "remote_output": outcome.remote.server_output_text,
    })
}

fn cpu_json(results: &Results) -> Value {
    json!({ "user_percent": results.cpu_util_user, "system_percent": results.cpu_util_system })
}

/// So much a second.
fn rate(amount: u64, time: Duration) -> f64 {
    if time.is_zero() {
        return 0.0;
    }
    amount as f64 / time.as_secs_f64()
}

fn loss(lost: u64, sent: u64) -> String {
    let percent = if sent == 0 {
        0.0
    } else {
        100.0 * lost as f64 / sent as f64
    };
    format!("lost {lost}/{sent} ({percent:.2} %)")
}

/// A number of three digits with the letter of its power.
fn scaled(mut value: f64, step: f64, units: [&str; 5]) -> String {
    let [mut unit, bigger @ ..] = units;
    for next in bigger {
        // So that what is rounded up to the next power is written as that.
        if value < step * 0.9995 {
            break;
        }
        value /= step;
        unit = next;
    }
    let digits = match value {
        _ if unit == units[0] => 0,
        value if value < 10.0 => 2,
        value if value < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {unit}")
}

fn bytes(value: u64) -> String {
    scaled(value as f64, 1024.0, ["B", "KiB", "MiB", "GiB", "TiB"])
}

fn bits_a_second(value: f64) -> String {
    scaled(value, 1000.0, ["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_their_unit() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(131_072), "128 KiB");
        assert_eq!(bytes(1_181_116_006), "1.10 GiB");
        assert_eq!(bits_a_second(999_999.0), "1.00 Mbit/s");
        assert_eq!(bits_a_second(94_100_000_000.0), "94.1 Gbit/s");
        assert_eq!(loss(0, 0), "lost 0/0 (0.00 %)");
        assert_eq!(loss(1, 5), "lost 1/5 (20.00 %)");
    }

    #[test]
    fn the_sum_of_a_direction_is_that_of_its_streams() {
        let flow = FlowOutcome {
            flow: 1,
            direction: Direction::Up,
            sent_bytes: 1024,
            received_bytes: 1000,
            sent_in: Duration::from_secs(1),
            received_in: Duration::from_secs(1),
            retransmits: Some(1),
            datagrams: None,
        };
        let outcome = Outcome {
            parameters: Parameters::default(),
            time: Duration::from_secs(1),
            flows: vec![flow, FlowOutcome { flow: 3, ..flow }],
            local: Results::default(),
            remote: Results::default(),
        };
        let lines = outcome_lines(&outcome);
        assert_eq!(lines.len(), 4);
        assert_eq!(
            lines[2],
            "all up   sent 2.00 KiB (16.4 kbit/s), received 1.95 KiB (16.0 kbit/s) in 1.00 s, 2 retransmits"
        );
    }
}
