//! What was measured, in one shape whatever measured it, and the machine it was measured on.

use serde::{Deserialize, Serialize};

/// The form of the files; another number is not read.
pub(crate) const SCHEMA: u32 = 1;

/// A run, as it lies in a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) schema: u32,
    /// Whether everything was only shown to work: then no number means anything.
    pub(crate) smoke: bool,
    /// As one would type it.
    pub(crate) command: String,
    pub(crate) machine: Machine,
    /// What was not measured because something is not installed.
    pub(crate) skipped: Vec<String>,
    pub(crate) measurements: Vec<Measurement>,
}

/// Where and of what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    /// Cores that this process may use.
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    pub(crate) rustc: String,
    /// The commit, with `+` behind it when something was changed since.
    pub(crate) commit: String,
    /// UTC, to the minute: `2026-11-28 09:30 UTC`.
    pub(crate) date: String,
}

/// One contender in one case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measurement {
    /// `tcp`, as in `cargo xtask bench tcp`.
    pub(crate) kind: String,
    pub(crate) section: Section,
    /// What is compared: `round trip`.
    pub(crate) group: String,
    /// Under which circumstances: `64 B`.
    pub(crate) case: String,
    pub(crate) contender: String,
    pub(crate) role: Role,
    pub(crate) unit: Unit,
    /// What the unit is of: `message`, `query`.
    pub(crate) per: String,
    pub(crate) value: f64,
    /// How far two values of the same thing lie apart, as a part of the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) noise: Option<f64>,
    /// One value a round, where every contender had its turn in each: those of one round belong together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) rounds: Vec<f64>,
    /// Percentiles from 0 to 100, and their values in the unit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) percentiles: Vec<(f64, f64)>,
    /// The size that a curve is drawn over: bytes of a message, or units that a subject of growth has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) bounds: Vec<Bound>,
    /// What prints it again.
    pub(crate) command: String,
}

/// What it may be at most, or has to be at least.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bound {
    /// `1.03 of by hand (at most 1.05)`.
    pub(crate) text: String,
    /// The number in it that must not be passed.
    pub(crate) limit: f64,
    pub(crate) broken: bool,
}

/// The part of the page that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Section {
    Throughput,
    Latency,
    Cpu,
    Time,
    Rate,
    Instructions,
    SystemCalls,
    Memory,
    Growth,
    Start,
}

impl Section {
    pub(crate) const ALL: [Self; 10] = [
        Self::Throughput,
        Self::Latency,
        Self::Cpu,
        Self::Time,
        Self::Rate,
        Self::Instructions,
        Self::SystemCalls,
        Self::Memory,
        Self::Growth,
        Self::Start,
    ];

    /// In files and in the page's anchors.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::Latency => "latency",
            Self::Cpu => "cpu",
            Self::Time => "time",
            Self::Rate => "rate",
            Self::Instructions => "instructions",
            Self::SystemCalls => "system-calls",
            Self::Memory => "memory",
            Self::Growth => "growth",
            Self::Start => "start",
        }
    }
}

/// What a contender is to the others of its case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    Ours,
    /// The practical limit: the same by the bare calls.
    Limit,
    Peer,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    Nanoseconds,
    CpuNanoseconds,
    Instructions,
    SystemCalls,
    Bytes,
    BytesPerSecond,
    PerSecond,
}

impl Unit {
    /// Whether more is better. Of all others less is.
    pub(crate) const fn is_rate(self) -> bool {
        matches!(self, Self::BytesPerSecond | Self::PerSecond)
    }

    /// A value with its unit, in the size that reads best: `4.81 us`.
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::Nanoseconds => scaled(value, 1_000.0, &["ns", "us", "ms", "s"]),
            Self::CpuNanoseconds => scaled(value, 1_000.0, &["ns CPU", "us CPU", "ms CPU", "s CPU"]),
            Self::Instructions => format!("{} instructions", grouped(value)),
            Self::SystemCalls => format!("{value:.2} calls"),
            Self::Bytes => scaled(value, 1_000.0, &["B", "kB", "MB", "GB"]),
            Self::BytesPerSecond => scaled(value, 1_000.0, &["B/s", "kB/s", "MB/s", "GB/s"]),
            Self::PerSecond => scaled(value, 1_000.0, &["/s", "k/s", "M/s", "G/s"]),
        }
    }
}

impl Measurement {
    /// What a value of another run is compared by.
    pub(crate) fn key(&self) -> (&str, Section, &str, &str, &str) {
        (&self.kind, self.section, &self.group, &self.case, &self.contender)
    }

    /// How many times the other's cost this one's is: below 1 is better, also of rates. Where both had their turns in the same
    /// rounds it is the median of the ratios round by round.
    pub(crate) fn cost_beside(&self, other: &Self) -> f64 {
        let ratio = |own: f64, other: f64| {
            if self.unit.is_rate() {
                other / own
            } else {
                own / other
            }
        };
        if self.rounds.len() > 1 && self.rounds.len() == other.rounds.len() {
            let rounds = self.rounds.iter().zip(&other.rounds);
            return median(rounds.map(|(own, other)| ratio(*own, *other)).collect());
        }
        ratio(self.value, other.value)
    }
}

/// The one in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The value at a percentile, by the nearest rank.
pub(crate) fn percentile(values: &[f64], percentile: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (percentile / 100.0 * sorted.len().saturating_sub(1) as f64).round();
    let mut places = sorted.iter().enumerate();
    places
        .find(|(place, _)| *place as f64 >= rank)
        .map_or(f64::NAN, |(_, value)| *value)
}

/// Half of what the middle half of the values is spread over, as a part of the median.
pub(crate) fn spread(values: &[f64]) -> Option<f64> {
    let at = |place| percentile(values, place);
    let spread = (at(75.0) - at(25.0)) / 2.0 / at(50.0);
    (values.len() > 2 && spread.is_finite()).then_some(spread)
}

/// Three digits and a unit.
fn scaled(value: f64, step: f64, units: &[&str]) -> String {
    let (mut value, mut place) = (value, 0);
    while value.abs() >= step && place + 1 < units.len() {
        value /= step;
        place += 1;
    }
    let digits = match value.abs() {
        v if v >= 100.0 || (place == 0 && v >= 10.0) => 0,
        v if v >= 10.0 => 1,
        _ => 2,
    };
    let unit = units.get(place).copied().unwrap_or_default();
    let blank = if unit.ends_with("/s") && !unit.contains('B') {
        ""
    } else {
        " "
    };
    format!("{value:.digits$}{blank}{unit}")
}

/// A whole number with its thousands apart.
pub(crate) fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A measurement to be changed.
    pub(crate) fn example(case: &str, contender: &str, role: Role, value: f64) -> Measurement {
        Measurement {
            kind: "tcp".to_owned(),
            section: Section::Time,
            group: "round trip".to_owned(),
            case: case.to_owned(),
            contender: contender.to_owned(),
            role,
            unit: Unit::Nanoseconds,
            per: "message".to_owned(),
            value,
            noise: None,
            rounds: Vec::new(),
            percentiles: Vec::new(),
            size: None,
            bounds: Vec::new(),
            command: "cargo xtask bench tcp".to_owned(),
        }
    }

    #[test]
    fn values_are_shown_in_the_unit_that_reads_best() {
        assert_eq!(Unit::Nanoseconds.show(4_812.0), "4.81 us");
        assert_eq!(Unit::CpuNanoseconds.show(497_000.0), "497 us CPU");
        assert_eq!(Unit::Nanoseconds.show(3.25), "3.25 ns");
        assert_eq!(Unit::PerSecond.show(232_000.0), "232k/s");
        assert_eq!(Unit::Instructions.show(1_306.4), "1,306 instructions");
        assert_eq!(Unit::BytesPerSecond.show(2.5e9), "2.50 GB/s");
    }

    #[test]
    fn noise_is_half_of_the_middle_half() {
        let noise = spread(&[90.0, 100.0, 110.0, 500.0, 80.0]).unwrap();
        assert!((noise - 0.1).abs() < 1e-9, "{noise}");
        assert_eq!(spread(&[1.0, 2.0]), None);
    }

    #[test]
    fn below_one_is_better_also_of_rates() {
        let (mut ours, mut theirs) = (
            example("64 B", "sockeye", Role::Ours, 50.0),
            example("64 B", "mio", Role::Peer, 100.0),
        );
        assert!((ours.cost_beside(&theirs) - 0.5).abs() < f64::EPSILON);
        (ours.unit, theirs.unit) = (Unit::PerSecond, Unit::PerSecond);
        assert!((ours.cost_beside(&theirs) - 2.0).abs() < f64::EPSILON);
        // Rounds that belong together count, whatever the medians are.
        ours.rounds = vec![10.0, 200.0, 30.0];
        theirs.rounds = vec![20.0, 400.0, 60.0];
        assert!((ours.cost_beside(&theirs) - 2.0).abs() < f64::EPSILON);
    }
}
