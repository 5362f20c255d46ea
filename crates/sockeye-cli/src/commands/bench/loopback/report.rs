//! What a benchmark found, as a table for people and as events for programs.

use std::fmt::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// One row: what was measured on a socket type, or why nothing was.
#[derive(Debug)]
pub(crate) struct Row {
    /// `tcp`, `udp` or `raw`.
    pub(crate) socket: &'static str,
    /// What was done: `echo`, or for UDP without the loop `single`, `batch`, `gso`, `gso+gro`.
    pub(crate) mode: &'static str,
    /// Bytes of a message, headers apart.
    pub(crate) size_bytes: usize,
    pub(crate) outcome: Outcome,
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Outcome {
    Measured(Measured),
    /// One way only, without round trips.
    Rate(Rate),
    /// In the words of the system, with what to do about it.
    Skipped(String),
}

/// What moved one way.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rate {
    pub(crate) messages: u64,
    pub(crate) time: Duration,
    /// Messages that never arrived.
    pub(crate) lost: u64,
}

impl Rate {
    fn messages_per_s(&self) -> f64 {
        self.messages as f64 / self.time.as_secs_f64()
    }
}

/// The figures of one row.
#[derive(Debug)]
pub(crate) struct Measured {
    /// Round trips in nanoseconds, with one message under way.
    pub(crate) round_trips: Histogram<u64>,
    /// With many messages under way: how many came back, and in what time.
    pub(crate) messages: u64,
    pub(crate) time: Duration,
    /// Messages that never came back and were sent again.
    pub(crate) lost: u64,
    /// Half of the round trips by bare blocking calls are no longer; `None` where there are no such calls.
    pub(crate) limit_ns: Option<u64>,
}

impl Measured {
    /// How near the round trips are to those of bare calls, by the medians: 1 is as fast.
    fn limit_ratio(&self) -> Option<f64> {
        let own = self.round_trip_ns(0.5);
        self.limit_ns
            .filter(|_| own > 0)
            .map(|limit| limit as f64 / own as f64)
    }

    fn messages_per_s(&self) -> f64 {
        self.messages as f64 / self.time.as_secs_f64()
    }

    fn round_trip_ns(&self, quantile: f64) -> u64 {
        self.round_trips.value_at_quantile(quantile)
    }
}

impl Row {
    /// The row for programs. Rates are whole numbers: a fraction of a message is noise.
    #[expect(clippy::cast_possible_truncation, reason = "rates are far below 2^53")]
    #[expect(clippy::cast_sign_loss, reason = "rates are not negative")]
    pub(crate) fn json(&self) -> Value {
        match &self.outcome {
            Outcome::Skipped(why) => json!({ "socket": self.socket, "skipped": why }),
            Outcome::Rate(moved) => {
                let rate = moved.messages_per_s();
                json!({
                    "socket": self.socket,
                    "mode": self.mode,
                    "size_bytes": self.size_bytes,
                    "messages_per_s": rate.round() as u64,
                    "bytes_per_s": (rate * self.size_bytes as f64).round() as u64,
                    "lost": moved.lost,
                })
            }
            Outcome::Measured(measured) => {
                let rate = measured.messages_per_s();
                json!({
                    "socket": self.socket,
                    "mode": self.mode,
                    "size_bytes": self.size_bytes,
                    "messages_per_s": rate.round() as u64,
                    "bytes_per_s": (rate * self.size_bytes as f64).round() as u64,
                    "rtt_ns": {
                        "p50": measured.round_trip_ns(0.5),
                        "p99": measured.round_trip_ns(0.99),
                        "p999": measured.round_trip_ns(0.999),
                    },
                    "limit_ratio": measured.limit_ratio(),
                    "lost": measured.lost,
                })
            }
        }
    }
}

/// The rows as a table.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    let mut line = |cells: [&str; 9]| {
        let [socket, mode, size, p50, p99, p999, limit, messages, bytes] = cells;
        let _ = writeln!(
            text,
            "{socket:<7} {mode:<7} {size:>8} {p50:>10} {p99:>10} {p999:>10} {limit:>8} {messages:>12} {bytes:>12}"
        );
    };
    line([
        "socket",
        "mode",
        "size",
        "rtt p50",
        "p99",
        "p99.9",
        "of limit",
        "messages/s",
        "throughput",
    ]);
    for row in rows {
        if let Outcome::Measured(measured) = &row.outcome {
            let rate = measured.messages_per_s();
            let rtt = |quantile| micros(measured.round_trip_ns(quantile));
            line([
                row.socket,
                row.mode,
                &format!("{} B", row.size_bytes),
                &rtt(0.5),
                &rtt(0.99),
                &rtt(0.999),
                &measured
                    .limit_ratio()
                    .map_or_else(|| "-".to_owned(), |ratio| format!("{:.0} %", ratio * 100.0)),
                &format!("{rate:.0}"),
                &bytes_per_s(rate * row.size_bytes as f64),
            ]);
        }
        if let Outcome::Rate(moved) = &row.outcome {
            let rate = moved.messages_per_s();
            line([
                row.socket,
                row.mode,
                &format!("{} B", row.size_bytes),
                "-",
                "-",
                "-",
                "-",
                &format!("{rate:.0}"),
                &bytes_per_s(rate * row.size_bytes as f64),
            ]);
        }
    }
    for row in rows {
        match &row.outcome {
            Outcome::Skipped(why) => drop(writeln!(text, "{:<7} skipped: {why}", row.socket)),
            Outcome::Measured(measured) if measured.lost > 0 => {
                let _ = writeln!(
                    text,
                    "{:<7} {} messages were lost and sent again",
                    row.socket, measured.lost
                );
            }
            Outcome::Rate(moved) if moved.lost > 0 => {
                let _ = writeln!(
                    text,
                    "{:<7} {} messages were lost ({})",
                    row.socket, moved.lost, row.mode
                );
            }
            Outcome::Measured(_) | Outcome::Rate(_) => {}
        }
    }
    text
}

fn micros(ns: u64) -> String {
    format!("{:.1} us", ns as f64 / 1e3)
}

fn bytes_per_s(rate: f64) -> String {
    let (scale, unit) = if rate >= 1e9 {
        (1e9, "GB/s")
    } else if rate >= 1e6 {
        (1e6, "MB/s")
    } else {
        (1e3, "kB/s")
    };
    format!("{:.1} {unit}", rate / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        let mut round_trips = Histogram::new(3).unwrap();
        for ns in 1..=1000 {
            round_trips.record(ns * 1000).unwrap();
        }
        let measured = Measured {
            round_trips,
            messages: 500_000,
            time: Duration::from_secs(2),
            lost: 0,
            limit_ns: Some(250_000),
        };
        Row {
            socket: "tcp",
            mode: "echo",
            size_bytes: 64,
            outcome: Outcome::Measured(measured),
        }
    }

    #[test]
    fn a_row_for_programs_has_the_documented_shape() {
        let json = row().json();
        assert_eq!(json["socket"], "tcp");
        assert_eq!(json["mode"], "echo");
        assert_eq!(json["size_bytes"], 64);
        assert_eq!(json["messages_per_s"], 250_000);
        assert_eq!(json["bytes_per_s"], 16_000_000);
        let ratio = json["limit_ratio"].as_f64().unwrap();
        assert!((ratio - 0.5).abs() < 0.01, "{ratio}");
        let p50 = json["rtt_ns"]["p50"].as_u64().unwrap();
        let p999 = json["rtt_ns"]["p999"].as_u64().unwrap();
        assert!((499_000..=502_000).contains(&p50), "{p50}");
        assert!((998_000..=1_001_000).contains(&p999), "{p999}");
    }

    #[test]
    fn a_skipped_row_says_why_and_nothing_else() {
        let row = Row {
            outcome: Outcome::Skipped("needs X".to_owned()),
            socket: "raw",
            ..row()
        };
        assert_eq!(row.json(), json!({ "socket": "raw", "skipped": "needs X" }));
        let text = table(&[row]);
        assert_eq!(text.lines().nth(1), Some("raw     skipped: needs X"));
    }

    #[test]
    fn the_table_has_a_line_for_each_socket() {
        let text = table(&[row()]);
        let line = text.lines().nth(1).unwrap();
        let cells: Vec<_> = line.split_whitespace().collect();
        assert_eq!(cells[..4], ["tcp", "echo", "64", "B"]);
        assert_eq!(cells[10..], ["50", "%", "250000", "16.0", "MB/s"]);
    }
}
