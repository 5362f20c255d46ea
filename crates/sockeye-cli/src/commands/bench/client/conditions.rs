//! `--fail-if 'p99>200us'`: a figure, how it is compared, and a limit.

use std::fmt;
use std::time::Duration;

use sockeye::measure::run::{Mode, Parameters, Transport};

use super::figures::{Outcome, Protocol};
use super::print::{bits, span};

/// One condition.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Condition {
    text: String,
    figure: Figure,
    comparison: Comparison,
    /// In nanoseconds, bits a second, percent, or as a number.
    limit: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Figure {
    /// Of the first of the latencies.
    Quantile(f64),
    Max,
    Rate,
    Loss,
    Retransmits,
    Jitter,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Above,
    AtLeast,
    Below,
    AtMost,
}

/// Why a condition cannot be read, and at which byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    at: usize,
    what: &'static str,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: {}", self.at, self.what)
    }
}

impl std::error::Error for Wrong {}

const FIGURES: [(&str, Figure); 10] = [
    ("p50", Figure::Quantile(0.5)),
    ("p90", Figure::Quantile(0.9)),
    ("p99", Figure::Quantile(0.99)),
    ("p999", Figure::Quantile(0.999)),
    ("p99.9", Figure::Quantile(0.999)),
    ("max", Figure::Max),
    ("rate", Figure::Rate),
    ("loss", Figure::Loss),
    ("retransmits", Figure::Retransmits),
    ("jitter", Figure::Jitter),
];

/// Reads a condition. Blanks may stand around its parts.
///
/// # Errors
/// What is wrong with it, and where.
pub(crate) fn parse(text: &str) -> Result<Condition, Wrong> {
    let trimmed = text.trim_start();
    let start = text.len() - trimmed.len();
    let len = trimmed.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '.');
    let (name, rest) = trimmed.split_at(len.unwrap_or(trimmed.len()));
    let figure = FIGURES.iter().find(|(known, _)| *known == name);
    let (_, figure) = figure.ok_or(Wrong {
        at: start,
        what: "expected p50, p90, p99, p999, max, rate, loss, retransmits or jitter",
    })?;
    let compared = rest.trim_start();
    let at = text.len() - compared.len();
    let (comparison, len) = match compared.as_bytes() {
        [b'>', b'=', ..] => (Comparison::AtLeast, 2),
        [b'<', b'=', ..] => (Comparison::AtMost, 2),
        [b'>', ..] => (Comparison::Above, 1),
        [b'<', ..] => (Comparison::Below, 1),
        _ => {
            return Err(Wrong {
                at,
                what: "expected >, >=, < or <=",
            });
        }
    };
    let value = compared.get(len..).unwrap_or_default().trim_start();
    let at = text.len() - value.len();
    let value = value.trim_end();
    let len = value.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
    let (number, unit) = value.split_at(len.unwrap_or(value.len()));
    let number: f64 = number.parse().map_err(|_| Wrong {
        at,
        what: "expected a number",
    })?;
    let at = at + value.len() - unit.len();
    Ok(Condition {
        text: text.trim().to_owned(),
        figure: *figure,
        comparison,
        limit: number
            * figure
                .scale(unit.trim_start())
                .map_err(|what| Wrong { at, what })?,
    })
}

impl Figure {
    fn scale(self, unit: &str) -> Result<f64, &'static str> {
        match self {
            Self::Quantile(_) | Self::Max | Self::Jitter => match unit {
                "ns" => Ok(1.0),
                "us" => Ok(1e3),
                "ms" => Ok(1e6),
                "s" => Ok(1e9),
                _ => Err("expected ns, us, ms or s"),
            },
            Self::Rate => match unit.strip_suffix("bit/s").unwrap_or(unit) {
                "" => Ok(1.0),
                "K" | "k" => Ok(1e3),
                "M" => Ok(1e6),
                "G" => Ok(1e9),
                _ => Err("expected K, M or G, or nothing: bits a second"),
            },
            Self::Loss => match unit {
                "" | "%" => Ok(1.0),
                _ => Err("expected %, or nothing"),
            },
            Self::Retransmits => match unit {
                "" => Ok(1.0),
                _ => Err("a number of retransmits has no unit"),
            },
        }
    }
}

/// What a run will have, or why it will not: asked before it begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Has {
    pub(crate) latencies: Result<(), &'static str>,
    pub(crate) rate: Result<(), &'static str>,
    pub(crate) datagrams: Result<(), &'static str>,
    pub(crate) retransmits: Result<(), &'static str>,
}

impl Has {
    pub(crate) fn of(protocol: Protocol, parameters: &Parameters) -> Self {
        let is_answered = matches!(parameters.mode, Mode::Rr | Mode::Crr);
        let if_so = |is_there: bool, why| if is_there { Ok(()) } else { Err(why) };
        let has_probes = parameters.mode != Mode::Stream || parameters.probe;
        Self {
            latencies: match protocol {
                Protocol::Iperf3 => Err("iperf3 measures no latencies"),
                _ => if_so(has_probes, "no latencies are measured (--idle 0)"),
            },
            rate: if_so(
                !is_answered,
                "rr and crr move messages, not bytes: p50 to max say how fast",
            ),
            datagrams: if_so(
                parameters.transport.is_datagrams() && !is_answered,
                "only udp:// and raw:// lose messages, in the modes stream and oneway",
            ),
            retransmits: if_so(
                parameters.transport == Transport::Tcp && !is_answered,
                "only senders of tcp:// count them",
            ),
        }
    }
}

impl Condition {
    /// As it was given.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Refuses a figure that the run will not have.
    ///
    /// # Errors
    /// Why it does not.
    pub(crate) fn check(&self, has: Has) -> Result<(), String> {
        let is_there = match self.figure {
            Figure::Quantile(_) | Figure::Max => has.latencies,
            Figure::Rate => has.rate,
            Figure::Loss | Figure::Jitter => has.datagrams,
            Figure::Retransmits => has.retransmits,
        };
        is_there.map_err(|why| format!("--fail-if {}: {why}", self.text))
    }

    /// A sentence that says so, if it holds. What was to be measured and was not makes it hold.
    pub(crate) fn holds(&self, outcome: &Outcome) -> Option<String> {
        let text = &self.text;
        let Some(value) = self.value(outcome) else {
            return Some(format!("{text}: nothing was measured"));
        };
        let holds = match self.comparison {
            Comparison::Above => value > self.limit,
            Comparison::AtLeast => value >= self.limit,
            Comparison::Below => value < self.limit,
            Comparison::AtMost => value <= self.limit,
        };
        holds.then(|| format!("{text}: it is {}", self.words(value)))
    }

    fn value(&self, outcome: &Outcome) -> Option<f64> {
        let latency = || {
            let first = outcome.latencies.first()?;
            (!first.histogram.is_empty()).then_some(&first.histogram)
        };
        let sums = || outcome.sums().map(|(_, sum)| sum);
        match self.figure {
            Figure::Quantile(quantile) => latency().map(|all| all.value_at_quantile(quantile) as f64),
            Figure::Max => latency().map(|all| all.max() as f64),
            // Of two directions the worse one.
            Figure::Rate => sums().map(|sum| sum.bytes_per_s() * 8.0).reduce(f64::min),
            Figure::Loss => sums().filter_map(|sum| sum.loss_percent()).reduce(f64::max),
            Figure::Retransmits => {
                let counted = sums().filter_map(|sum| sum.retransmits);
                counted.reduce(|one, other| one + other).map(|all| all as f64)
            }
            Figure::Jitter => {
                let jitter = sums().filter_map(|sum| Some(sum.datagrams?.jitter));
                jitter.max().map(|jitter| jitter.as_nanos() as f64)
            }
        }
    }

    fn words(&self, value: f64) -> String {
        match self.figure {
            Figure::Quantile(_) | Figure::Max | Figure::Jitter => span(Duration::from_secs_f64(value / 1e9)),
            Figure::Rate => bits(value / 8.0),
            Figure::Loss => format!("{value:.3} %"),
            Figure::Retransmits => format!("{value}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_have_a_figure_a_comparison_and_a_limit_with_its_unit() {
        let read = |text: &str| {
            let condition = parse(text).unwrap();
            (condition.figure, condition.comparison, condition.limit)
        };
        assert_eq!(
            read("p99>200us"),
            (Figure::Quantile(0.99), Comparison::Above, 200e3)
        );
        assert_eq!(
            read(" p99.9 >= 1.5 ms "),
            (Figure::Quantile(0.999), Comparison::AtLeast, 1.5e6)
        );
        assert_eq!(read("rate<1G"), (Figure::Rate, Comparison::Below, 1e9));
        assert_eq!(read("rate<=10Mbit/s"), (Figure::Rate, Comparison::AtMost, 1e7));
        assert_eq!(read("loss>0.5%"), (Figure::Loss, Comparison::Above, 0.5));
        assert_eq!(
            read("retransmits>0"),
            (Figure::Retransmits, Comparison::Above, 0.0)
        );
    }

    #[test]
    fn a_fault_has_its_place() {
        for (text, at) in [
            ("p98>1us", 0),
            ("", 0),
            ("  x", 2),
            ("p99", 3),
            ("p99=1us", 3),
            ("p99>>1us", 4),
            ("p99>us", 4),
            ("p99>1.2.3us", 4),
            ("p99>200", 7),
            ("p99>200lightyears", 7),
            ("loss>5ms", 6),
            ("rate<1X", 6),
            ("p99>-1us", 4),
        ] {
            assert_eq!(parse(text).unwrap_err().at, at, "{text}");
        }
    }

    #[test]
    fn what_the_run_does_not_have_is_refused_before_it() {
        let has = Has {
            latencies: Ok(()),
            rate: Err("rate"),
            datagrams: Err("datagrams"),
            retransmits: Err("retransmits"),
        };
        assert!(parse("p99>1us").unwrap().check(has).is_ok());
        for text in ["rate<1G", "loss>0", "jitter>1ms", "retransmits>1"] {
            assert!(parse(text).unwrap().check(has).is_err(), "{text}");
        }
    }

    #[test]
    fn whatever_stands_there_is_read_or_refused_within_itself() {
        let text = " p99.9 >= 1.5 \u{fc}ms ";
        for (end, _) in text.char_indices() {
            for junk in ["", ">", "9", ".", "%", "\u{fc}"] {
                let text = format!("{}{junk}", &text[..end]);
                if let Err(wrong) = parse(&text) {
                    assert!(wrong.at <= text.len(), "{text}: {wrong}");
                }
            }
        }
    }
}
