//! The figures of hops as lines of a width: a pure function of what is known.

use std::net::IpAddr;

use sockeye::probe::{AnswerKind, Hop, Watch};

use crate::probing::{loss, time};
use crate::sparks::sparks;

/// The host has at least this many columns before figures give way to it.
const MIN_HOST: usize = 16;
/// Of the hop's number and the blanks behind it.
const NUMBER: usize = 5;

/// Which figures are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Figures {
    /// Loss and round-trip times.
    #[default]
    Times,
    /// Jitter and percentiles.
    #[cfg_attr(
        not(feature = "terminal"),
        allow(dead_code, reason = "only the view on a terminal shows them")
    )]
    Jitter,
    /// A line of sparks.
    Sparks,
}

impl Figures {
    /// The one that comes after it, round and round.
    #[cfg(feature = "terminal")]
    pub(super) const fn next(self) -> Self {
        match self {
            Self::Times => Self::Jitter,
            Self::Jitter => Self::Sparks,
            Self::Sparks => Self::Times,
        }
    }
}

/// One hop, with the names that are shown.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) number: u8,
    /// Who answers; the first beside the figures, the others below.
    pub(super) hosts: Vec<String>,
    pub(super) hop: Hop,
}

/// The hops of a watch. `name` says how an address is shown.
pub(super) fn rows(watch: &Watch, name: impl Fn(IpAddr) -> String) -> Vec<Row> {
    let row = |(number, hop): (u8, &Hop)| {
        let host = |path: &sockeye::probe::Path| {
            let mark = match path.kind {
                AnswerKind::Failed(cause) => cause.mark(),
                _ => "",
            };
            format!("{} {mark}", name(path.address)).trim_end().to_owned()
        };
        let mut hosts: Vec<String> = hop.paths().iter().map(host).collect();
        if hop.unlisted > 0 {
            hosts.push(format!("and others ({} answers)", hop.unlisted));
        }
        if hosts.is_empty() {
            hosts.push(
                if hop.failed > 0 {
                    "(not sent)"
                } else {
                    "(no answer)"
                }
                .to_owned(),
            );
        }
        Row {
            number,
            hosts,
            hop: hop.clone(),
        }
    };
    watch.hops().map(row).collect()
}

/// The table: a line of headings, then the hops. Without a width hosts have the room that they need; with one, figures are
/// left out from the right until hosts have sixteen columns, and what is still too long is cut.
pub(super) fn lines(rows: &[Row], figures: Figures, width: Option<usize>) -> Vec<String> {
    let longest = rows
        .iter()
        .flat_map(|row| &row.hosts)
        .map(|host| host.chars().count());
    let longest = longest.max().unwrap_or(0).max(4);
    let mut columns = columns(figures);
    if let Some(width) = width {
        while width < NUMBER + MIN_HOST + room(&columns) && !columns.is_empty() {
            columns.pop();
        }
    }
    let host_width = match width {
        None => longest,
        Some(width) if figures == Figures::Sparks => {
            longest.min((width.saturating_sub(NUMBER + room(&columns))) / 2)
        }
        Some(width) => width.saturating_sub(NUMBER + room(&columns)),
    };
    let sparks_width = match width {
        None => 40,
        Some(width) => width.saturating_sub(NUMBER + host_width + room(&columns) + 2),
    };
    let mut heading = format!("{:>3}  {}", "hop", fit("host", host_width));
    for column in &columns {
        heading.push_str(&format!("{:>1$}", column.heading, column.width));
    }
    let mut lines = vec![heading];
    for row in rows {
        let mut hosts = row.hosts.iter();
        let first = hosts.next().map_or("", String::as_str);
        let mut line = format!("{:>3}  {}", row.number, fit(first, host_width));
        for column in &columns {
            line.push_str(&format!("{:>1$}", (column.figure)(&row.hop), column.width));
        }
        if figures == Figures::Sparks {
            line.push_str("  ");
            line.push_str(&sparks(&row.hop.history, sparks_width));
        }
        lines.push(line);
        lines.extend(hosts.map(|host| format!("     {}", fit(host, host_width))));
    }
    for line in &mut lines {
        let cut = width.map_or_else(|| line.clone(), |width| line.chars().take(width).collect());
        *line = cut.trim_end().to_owned();
    }
    lines
}

struct Column {
    heading: &'static str,
    width: usize,
    figure: fn(&Hop) -> String,
}

fn room(columns: &[Column]) -> usize {
    columns.iter().map(|column| column.width).sum()
}

fn columns(figures: Figures) -> Vec<Column> {
    let column = |heading, width, figure| Column {
        heading,
        width,
        figure,
    };
    let mut columns = vec![
        column("loss", 8, |hop| loss(hop.loss())),
        column("sent", 7, |hop| hop.sent.to_string()),
    ];
    match figures {
        Figures::Times => columns.extend([
            column("last", 8, |hop| time(hop.rtt.last())),
            column("avg", 8, |hop| time(hop.rtt.mean())),
            column("best", 8, |hop| time(hop.rtt.min())),
            column("worst", 8, |hop| time(hop.rtt.max())),
            column("stdev", 8, |hop| time(hop.rtt.deviation())),
            column("jitter", 8, |hop| time(hop.jitter.mean())),
        ]),
        Figures::Jitter => columns.extend([
            column("jitter", 8, |hop| time(hop.jitter.mean())),
            column("last", 8, |hop| time(hop.jitter.last())),
            column("worst", 8, |hop| time(hop.jitter.max())),
            column("rtp", 8, |hop| time(hop.jitter.smoothed())),
            column("p50", 8, |hop| time(hop.rtt.percentile(50.0))),
            column("p90", 8, |hop| time(hop.rtt.percentile(90.0))),
            column("p99", 8, |hop| time(hop.rtt.percentile(99.0))),
        ]),
        Figures::Sparks => columns.push(column("avg", 8, |hop| time(hop.rtt.mean()))),
    }
    columns
}

/// The text in exactly so many columns.
fn fit(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return format!("{text:<width$}");
    }
    let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
    if width > 0 {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn row(number: u8, hosts: &[&str], received: u32, lost: u32) -> Row {
        let mut hop = Hop::default();
        hop.sent = received + lost;
        hop.received = received;
        hop.lost = lost;
        for ms in 0..u64::from(received) {
            let rtt = Duration::from_millis(10 + ms);
            hop.rtt.record(rtt);
            hop.jitter.record(rtt);
        }
        Row {
            number,
            hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
            hop,
        }
    }

    #[test]
    fn a_hop_is_a_line_with_its_figures_and_other_paths_below() {
        let rows = [
            row(1, &["192.0.2.1"], 3, 1),
            row(2, &["198.51.100.1", "198.51.100.2"], 1, 0),
            row(12, &["(no answer)"], 0, 0),
        ];
        let expected = [
            "hop  host            loss   sent    last     avg    best   worst   stdev  jitter",
            "  1  192.0.2.1      25.0%      4    12.0    11.0    10.0    12.0    0.82    1.00",
            "  2  198.51.100.1    0.0%      1    10.0    10.0    10.0    10.0    0.00       -",
            "     198.51.100.2",
            " 12  (no answer)        -      0       -       -       -       -       -       -",
        ];
        assert_eq!(lines(&rows, Figures::Times, None), expected);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_hosts_come_before_figures() {
        let rows = [row(1, &["a-router-with-a-long-name.example.net"], 2, 1)];
        for figures in [Figures::Times, Figures::Jitter, Figures::Sparks] {
            for width in 0..200 {
                for line in lines(&rows, figures, Some(width)) {
                    assert!(line.chars().count() <= width, "{width}: {line:?}");
                }
            }
        }
        let narrow = lines(&rows, Figures::Times, Some(40));
        assert_eq!(narrow[0], "hop  host                    loss   sent");
        assert_eq!(narrow[1], "  1  a-router-with-a-lon…   33.3%      3");
    }
}
