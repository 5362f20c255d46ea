//! The rows of the table: what is ours, beside the limit and the best peer of the same run, and beside a run of before.

use super::model::{Measurement, Results, Role, Section};

/// One of ours.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    pub(crate) ours: &'a Measurement,
    pub(crate) limit: Option<Beside<'a>>,
    pub(crate) peer: Option<Beside<'a>>,
    /// How many times the cost of the baseline; `None` where that has no such case.
    pub(crate) baseline: Option<f64>,
    /// The noise of the case: of what is ours, or else the largest of the others.
    pub(crate) noise: Option<f64>,
}

/// Another contender, and how many times its cost ours is.
#[derive(Debug)]
pub(crate) struct Beside<'a> {
    pub(crate) of: &'a Measurement,
    pub(crate) ratio: f64,
}

impl Row<'_> {
    /// Group, case, and where there are several of ours in it the contender.
    pub(crate) fn case(&self) -> String {
        let Measurement {
            group,
            case,
            contender,
            ..
        } = self.ours;
        if contender == "sockeye" {
            format!("{group}, {case}")
        } else {
            format!("{group}, {case}: {contender}")
        }
    }

    /// `pass` or `FAIL` with its reasons; empty where nothing is bounded.
    pub(crate) fn verdict(&self) -> String {
        let bounds = self.ours.bounds.iter().map(|bound| {
            let word = if bound.broken { "FAIL" } else { "pass" };
            format!("{word}: {}", bound.text)
        });
        bounds.collect::<Vec<_>>().join("; ")
    }
}

/// A row for each of ours, in the order of the run. Of a subject of growth the largest size has one, which its bound is of.
pub(crate) fn rows<'a>(results: &'a Results, baseline: Option<&Results>) -> Vec<Row<'a>> {
    let ours = results.measurements.iter().filter(|measurement| {
        measurement.role == Role::Ours
            && (measurement.section != Section::Growth || !measurement.bounds.is_empty())
    });
    ours.map(|ours| {
        let case = |other: &&Measurement| same_case(ours, other);
        let others: Vec<&Measurement> = results.measurements.iter().filter(case).collect();
        let best = |role: Role| {
            let of_role = others.iter().filter(|other| other.role == role);
            let beside = of_role.map(|other| Beside {
                of: other,
                ratio: ours.cost_beside(other),
            });
            // Ours costs most beside the best of them.
            beside.max_by(|one, other| one.ratio.total_cmp(&other.ratio))
        };
        let before = baseline.and_then(|baseline| {
            let found = baseline.measurements.iter().find(|old| old.key() == ours.key());
            found.map(|old| {
                // Rounds of different runs do not belong together.
                let old = Measurement {
                    rounds: Vec::new(),
                    ..old.clone()
                };
                ours.cost_beside(&old)
            })
        });
        let noise = others
            .iter()
            .filter_map(|other| other.noise)
            .max_by(f64::total_cmp);
        Row {
            ours,
            limit: best(Role::Limit),
            peer: best(Role::Peer),
            baseline: before,
            noise: ours.noise.or(noise),
        }
    })
    .collect()
}

fn same_case(one: &Measurement, other: &Measurement) -> bool {
    one.kind == other.kind
        && one.section == other.section
        && one.group == other.group
        && one.case == other.case
        && one.unit == other.unit
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::tests::example;
    use crate::report::model::{Machine, SCHEMA};

    pub(crate) fn results(measurements: Vec<Measurement>) -> Results {
        Results {
            schema: SCHEMA,
            smoke: false,
            command: "cargo xtask bench".to_owned(),
            machine: Machine::default(),
            skipped: Vec::new(),
            measurements,
        }
    }

    #[test]
    fn ours_stands_beside_the_limit_and_the_best_peer() {
        let run = results(vec![
            example("64 B", "sockeye", Role::Ours, 110.0),
            example("64 B", "std", Role::Limit, 100.0),
            example("64 B", "mio", Role::Peer, 120.0),
            example("64 B", "tokio", Role::Peer, 220.0),
            example("16 KiB", "sockeye batch", Role::Ours, 10.0),
        ]);
        let before = results(vec![example("64 B", "sockeye", Role::Ours, 55.0)]);
        let rows = rows(&run, Some(&before));
        let [first, second] = &rows[..] else {
            panic!("{rows:?}")
        };
        assert_eq!(first.case(), "round trip, 64 B");
        assert!(
            first
                .limit
                .as_ref()
                .is_some_and(|limit| (limit.ratio - 1.1).abs() < 1e-9)
        );
        let peer = first.peer.as_ref().unwrap();
        assert_eq!(peer.of.contender, "mio");
        assert!((first.baseline.unwrap() - 2.0).abs() < 1e-9);
        assert_eq!(second.case(), "round trip, 16 KiB: sockeye batch");
        assert!(second.limit.is_none() && second.peer.is_none() && second.baseline.is_none());
    }
}
