//! One live line a host, drawn in place while it is pinged.

use std::time::{Duration, Instant};

use sockeye::probe::{PingCounts, Pinger};

use super::histories::Histories;
use crate::output::Output;
use crate::probing::milliseconds;
use crate::terminal;

/// The shortest time between two drawings.
const REDRAW: Duration = Duration::from_millis(100);
/// Columns of a host's name.
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
        let mut lines: Vec<String> = pinger
            .targets()
            .zip(names)
            .take(shown)
            .map(|((target, _), name)| {
                let rtt = pinger.rtt(target);
                let (last, mean) = (rtt.and_then(|rtt| rtt.last()), rtt.and_then(|rtt| rtt.mean()));
                line(name, pinger.counts(target), (last, mean), width, |width| {
                    histories.sparks(target, width)
                })
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

/// `host  12 sent   0.0% loss  last 1.234 ms  avg 1.234 ms  ▁▂×▁`, and one column less than the terminal has.
fn line(
    name: &str,
    counts: PingCounts,
    (last, mean): (Option<Duration>, Option<Duration>),
    width: usize,
    sparks: impl Fn(usize) -> String,
) -> String {
    let name: String = name.chars().take(HOST).collect();
    let loss = counts
        .loss()
        .map_or_else(|| "-".to_owned(), |loss| format!("{:.1}%", loss * 100.0));
    let time = |time: Option<Duration>| time.map_or_else(|| "-".to_owned(), milliseconds);
    let mut line = format!(
        "{name:<HOST$} {:>6} sent {loss:>6} loss  last {:>11}  avg {:>11}  ",
        counts.sent,
        time(last),
        time(mean)
    );
    let used = line.chars().count();
    line.push_str(&sparks(width.saturating_sub(used + 1)));
    cut(line, width)
}

fn cut(line: String, width: usize) -> String {
    line.chars().take(width.saturating_sub(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_narrower_than_the_terminal() {
        let counts = PingCounts {
            sent: 12,
            ..PingCounts::default()
        };
        let rtt = Some(Duration::from_micros(1234));
        for width in 0..150 {
            let line = line(
                "a-host-with-a-long-name.example.net",
                counts,
                (rtt, rtt),
                width,
                |width| "▁".repeat(width),
            );
            assert_eq!(line.chars().count(), width.saturating_sub(1));
        }
        let line = line("192.0.2.1", counts, (rtt, None), 100, |_| "▁×".to_owned());
        assert_eq!(
            line,
            "192.0.2.1                    12 sent      - loss  last    1.234 ms  avg           -  ▁×"
        );
    }
}
