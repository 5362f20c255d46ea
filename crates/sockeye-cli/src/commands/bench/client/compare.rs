//! `--compare OLD.json`: the figures of an earlier run beside those of this one.

use std::path::Path;

use serde_json::{Value, json};

use crate::exit::Failure;
use crate::files::Files;
use crate::output::Output;

/// The version of the events that can be compared.
const SCHEMA: u64 = 1;

/// What is compared: where it is in the last event of a run, and its unit.
const FIGURES: [(&str, &str); 24] = [
    ("/up/bytes_per_s", "bytes/s"),
    ("/down/bytes_per_s", "bytes/s"),
    ("/up/messages_per_s", "1/s"),
    ("/down/messages_per_s", "1/s"),
    ("/up/retransmits", ""),
    ("/down/retransmits", ""),
    ("/up/loss_percent", "%"),
    ("/down/loss_percent", "%"),
    ("/up/datagrams/jitter_ns", "ns"),
    ("/down/datagrams/jitter_ns", "ns"),
    ("/latency_ns/rtt/p50", "ns"),
    ("/latency_ns/rtt/p99", "ns"),
    ("/latency_ns/rtt/p999", "ns"),
    ("/latency_ns/rtt/max", "ns"),
    ("/latency_ns/rtt_uncorrected/p99", "ns"),
    ("/latency_ns/delay/p50", "ns"),
    ("/latency_ns/delay/p99", "ns"),
    ("/latency_ns/idle/p50", "ns"),
    ("/latency_ns/loaded/p50", "ns"),
    ("/latency_ns/loaded/p99", "ns"),
    ("/client_cpu/ns_per_gib", "ns"),
    ("/client_cpu/ns_per_message", "ns"),
    ("/server_cpu/ns_per_gib", "ns"),
    ("/server_cpu/ns_per_message", "ns"),
];

/// The last event of an earlier run.
#[derive(Debug)]
pub(crate) struct Earlier(Value);

impl Earlier {
    /// Reads what `--json` has printed.
    ///
    /// # Errors
    /// A file that cannot be read, is not of this program, of another schema, or of something else than is measured now.
    pub(crate) fn read(path: &Path, mode: &str, transport: &str) -> anyhow::Result<Self> {
        let bytes = Files::default().read(path)?;
        let text = String::from_utf8_lossy(&bytes);
        Self::of(&text, mode, transport)
            .map_err(|why| Failure::usage(format!("--compare {}: {why}", path.display())))
    }

    fn of(text: &str, mode: &str, transport: &str) -> Result<Self, String> {
        let mut end = None;
        for (number, line) in text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty())
        {
            let event: Value = serde_json::from_str(line).map_err(|error| {
                format!(
                    "line {}: {error}; it has to be what --json has printed",
                    number + 1
                )
            })?;
            match event["schema"].as_u64() {
                Some(SCHEMA) => {}
                Some(other) => {
                    return Err(format!(
                        "it is of schema {other}; this program compares schema {SCHEMA}"
                    ));
                }
                None => return Err(format!("line {}: no event of sockeye", number + 1)),
            }
            if event["event"] == "end" && event["mode"].is_string() {
                end = Some(event);
            }
        }
        let end = end.ok_or("there is no end of a run in it")?;
        let was = |key: &str| end[key].as_str().unwrap_or_default().to_owned();
        let (old_mode, old_transport) = (was("mode"), was("transport"));
        if (old_mode.as_str(), old_transport.as_str()) != (mode, transport) {
            return Err(format!(
                "it is of {old_mode} over {old_transport}, and this is {mode} over {transport}"
            ));
        }
        Ok(Self(end))
    }

    /// Prints the figures that both runs have.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub(crate) fn print(&self, now: &Value, output: &mut Output) -> anyhow::Result<()> {
        let rows = self.rows(now);
        let figures = rows.iter().map(|(name, unit, old, new)| {
            let ratio = (*old != 0.0).then(|| new / old);
            json!({ "figure": name, "unit": unit, "old": old, "new": new, "ratio": ratio })
        });
        output.event("compare", json!({ "figures": figures.collect::<Vec<_>>() }))?;
        let mut lines = vec![
            String::new(),
            format!("{:<36} {:>16} {:>16} {:>8}", "compared", "old", "new", "ratio"),
        ];
        for (name, unit, old, new) in &rows {
            let ratio = if *old == 0.0 {
                "-".to_owned()
            } else {
                format!("{:.3}", new / old)
            };
            lines.push(format!("{name:<36} {old:>16.1} {new:>16.1} {ratio:>8} {unit}"));
        }
        output.lines(lines.iter().map(|line| line.trim_end()))?;
        Ok(())
    }

    fn rows(&self, now: &Value) -> Vec<(String, &'static str, f64, f64)> {
        let rows = FIGURES.iter().filter_map(|(at, unit)| {
            let of = |value: &Value| value.pointer(at).and_then(Value::as_f64);
            let name = at.trim_start_matches('/').replace('/', ".");
            Some((name, *unit, of(&self.0)?, of(now)?))
        });
        rows.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = r#"{"schema":1,"event":"start"}
{"schema":1,"event":"end","mode":"rr","transport":"tcp","up":{"messages_per_s":10.0},"latency_ns":{"rtt":{"p50":0}}}"#;

    #[test]
    fn only_the_same_measurement_is_compared() {
        let of = |text: &str| Earlier::of(text, "rr", "tcp").map(|_| ());
        assert_eq!(of(RUN), Ok(()));
        for (text, why) in [
            ("", "no end"),
            ("{}", "no event"),
            ("[1", "line 1"),
            (r#"{"schema":2,"event":"end"}"#, "schema 2"),
            (r#"{"schema":1,"event":"end","results":[]}"#, "no end"),
            (
                r#"{"schema":1,"event":"end","mode":"rr","transport":"udp"}"#,
                "rr over udp",
            ),
        ] {
            let error = of(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn figures_that_both_have_are_rows() {
        let earlier = Earlier::of(RUN, "rr", "tcp").unwrap();
        let now = json!({ "up": { "messages_per_s": 25, "retransmits": 3 }, "latency_ns": { "rtt": { "p50": 5 } } });
        assert_eq!(
            earlier.rows(&now),
            [
                ("up.messages_per_s".to_owned(), "1/s", 10.0, 25.0),
                ("latency_ns.rtt.p50".to_owned(), "ns", 0.0, 5.0)
            ]
        );
    }
}
