//! One live line a host, drawn in place while it is pinged.

use std::time::{Duration, Instant};

use sockeye::probe::{PingCounts, Pinger};

use super::histories::Histories;
use crate::output::Output;
use crate::probing::{loss, time};
use crate::terminal;

/// The shortest time between two drawings.
const REDRAW: Duration = Duration::from_millis(100);
/// Columns of a host's name at most.
const HOST: usize = 24;

/// The lines on the terminal.
#[derive(Debug)]
pub(super) struct Live {
    /// Lines that stand over the cursor.
    above: usize,
    drawn: Option<Instant>,
    stale: bool,
}

impl Live {
    pub(super) const fn new() -> Self {
        Self {
            above: 0,
            drawn: None,
            stale: true,
        }
    }

    /// Something has changed.
    pub(super) const fn changed(&mut self) {
        self.stale = true;
    }

    /// How long to wait at most until it is to be drawn again; `None` while nothing changes.
    pub(super) fn wait(&self) -> Option<Duration> {
        let rest = |drawn: Instant| REDRAW.saturating_sub(drawn.elapsed());
        self.stale.then(|| self.drawn.map_or(Duration::ZERO, rest))
    }

    /// Draws, if something has changed and the last time was long enough ago, or this is the last time.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub(super) fn draw(
        &mut self,
        output: &mut Output,
        names: &[String],
        pinger: &Pinger,
        histories: &Histories,
        last: bool,
    ) -> std::io::Result<()> {
        if !last && self.wait() != Some(Duration::ZERO) {
            return Ok(());
        }
        let (width, height) = terminal::size();
        let shown = names.len().min(height.saturating_sub(2).max(1));
        let longest = names.iter().take(shown).map(|name| name.chars().count()).max();
        let name_width = longest.unwrap_or(0).min(HOST);
        let mut lines: Vec<String> = pinger
            .targets()
            .zip(names)
            .take(shown)
            .map(|((target, _), name)| {
                let rtt = pinger.rtt(target);
                let (last, mean) = (rtt.and_then(|rtt| rtt.last()), rtt.and_then(|rtt| rtt.mean()));
                let mut line = figures(name, name_width, pinger.counts(target), (last, mean));
                let used = line.chars().count();
                line.push_str(&histories.sparks(target, width.saturating_sub(used + 1)));
                cut(line, width)
            })
            .collect();
        if shown < names.len() {
            lines.push(cut(format!("... {} more hosts", names.len() - shown), width));
        }
        output.redraw(self.above, &lines)?;
        self.above = lines.len();
        self.drawn = Some(Instant::now());
        self.stale = false;
        Ok(())
    }
}

/// `host     12 sent   0.0% loss last    1.23 avg    1.23 ms `: what stands before the sparks.
fn figures(
    name: &str,
    name_width: usize,
    counts: PingCounts,
    (last, mean): (Option<Duration>, Option<Duration>),
) -> String {
    let name: String = name.chars().take(name_width).collect();
    format!(
        "{name:<name_width$} {:>6} sent {:>6} loss last {:>7} avg {:>7} ms ",
        counts.sent,
        loss(counts.loss()),
        time(last),
        time(mean)
    )
}

/// One column less than the terminal has.
fn cut(line: String, width: usize) -> String {
    line.chars().take(width.saturating_sub(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_the_same_columns_and_leave_room_for_sparks() {
        let counts = PingCounts {
            sent: 12,
            ..PingCounts::default()
        };
        let lost = PingCounts { lost: 12, ..counts };
        let rtt = Some(Duration::from_micros(1234));
        let slow = Some(Duration::from_secs(3600));
        let shown = [
            figures("192.0.2.1", 11, counts, (rtt, None)),
            figures("192.0.2.1", 11, lost, (None, slow)),
            figures("example.org", 11, counts, (slow, rtt)),
        ];
        let expected = [
            "192.0.2.1       12 sent      - loss last    1.23 avg       - ms ",
            "192.0.2.1       12 sent 100.0% loss last       - avg 3600000 ms ",
            "example.org     12 sent      - loss last 3600000 avg    1.23 ms ",
        ];
        assert_eq!(shown, expected);
        let long = figures("a-host-with-a-long-name.example.net", HOST, counts, (rtt, rtt));
        assert!(long.chars().count() < 79, "{long:?}");
    }

    #[test]
    fn a_line_is_narrower_than_the_terminal() {
        for width in 0..100 {
            let line = cut("▁".repeat(200), width);
            assert_eq!(line.chars().count(), width.saturating_sub(1));
        }
    }
}
