//! The table at the end of a run.

use std::fmt::Write as _;

use super::compare::Row;
use super::model::Unit;

const HEADS: [&str; 8] = [
    "type", "case", "ours", "limit", "peer", "before", "noise", "bound",
];

/// The cells of a row, with `-` where there is nothing.
pub(crate) fn cells(row: &Row<'_>) -> [String; 8] {
    let none = || "-".to_owned();
    let ours = row.ours;
    [
        ours.kind.clone(),
        row.case(),
        match ours.unit {
            Unit::BytesPerSecond => ours.unit.show(ours.value),
            Unit::PerSecond => format!("{}, {}", ours.unit.show(ours.value), ours.per),
            _ => format!("{} a {}", ours.unit.show(ours.value), ours.per),
        },
        row.limit
            .as_ref()
            .map_or_else(none, |limit| format!("{:.2} {}", limit.ratio, limit.of.contender)),
        row.peer
            .as_ref()
            .map_or_else(none, |peer| format!("{:.2} {}", peer.ratio, peer.of.contender)),
        row.baseline.map_or_else(none, |ratio| format!("{ratio:.2}")),
        row.noise
            .map_or_else(none, |noise| format!("{:.1} %", noise * 100.0)),
        Some(row.verdict())
            .filter(|verdict| !verdict.is_empty())
            .unwrap_or_else(none),
    ]
}

/// What the columns say.
pub(crate) const LEGEND: &str = "limit, peer, before: how many times the cost of the practical limit, of the best peer of this run \
     and of the baseline ours is: below 1.00 is better, also of rates. noise: the reference against itself where a table has it \
     twice, else half of what the middle half of the samples is spread over.";

/// All rows as text; the column `before` only with a baseline.
pub(crate) fn text(rows: &[Row<'_>], with_baseline: bool) -> String {
    let mut lines = vec![HEADS.map(str::to_owned)];
    lines.extend(rows.iter().map(cells));
    let shown: Vec<usize> = (0..HEADS.len())
        .filter(|place| with_baseline || HEADS.get(*place) != Some(&"before"))
        .collect();
    let width = |place: usize| {
        let cells = lines.iter().filter_map(|line| line.get(place));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..HEADS.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let mut row = String::new();
        for place in &shown {
            if let (Some(cell), Some(width)) = (line.get(*place), widths.get(*place)) {
                let _ = write!(row, "{cell:<width$}  ");
            }
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::compare::rows;
    use crate::report::model::tests::example;
    use crate::report::model::{Bound, Machine, Results, Role, SCHEMA};

    #[test]
    fn a_row_has_its_ratios_bound_and_noise() {
        let mut ours = example("64 B", "sockeye", Role::Ours, 4_812.0);
        ours.noise = Some(0.012);
        ours.bounds.push(Bound {
            text: "1.06 of std (at most 1.05)".to_owned(),
            limit: 1.05,
            broken: true,
        });
        let results = Results {
            schema: SCHEMA,
            smoke: false,
            command: String::new(),
            machine: Machine::default(),
            skipped: Vec::new(),
            measurements: vec![ours, example("64 B", "mio", Role::Peer, 4_000.0)],
        };
        let rows = rows(&results, None);
        let said = text(&rows, false);
        let lines: Vec<&str> = said.lines().collect();
        let words = |line: &str| {
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(words(lines[0]), "type case ours limit peer noise bound");
        assert_eq!(
            words(lines[1]),
            "tcp round trip, 64 B 4.81 us a message - 1.20 mio 1.2 % FAIL: 1.06 of std (at most 1.05)"
        );
        assert!(words(text(&rows, true).lines().next().unwrap()).contains("before"));
    }
}
