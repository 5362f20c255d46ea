//! The last outcomes as one short line: ▁▂▃▄▅▆▇ for times, × for what was lost.

use std::time::Duration;

use sockeye::probe::{History, Recent};

const LEVELS: [char; 7] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇'];
const LOST: char = '×';
/// Not answered, and not lost yet.
const WAITING: char = '·';

/// The newest outcomes, at most `width` characters of one column each, the newest last.
///
/// The lowest spark is the shortest time of those shown, the highest the longest, or twice the shortest where that is more:
/// times that hardly differ look alike.
pub(crate) fn sparks(history: &History, width: usize) -> String {
    let shown: Vec<Recent> = history
        .iter()
        .skip(history.iter().len().saturating_sub(width))
        .collect();
    let times = shown.iter().filter_map(|recent| match recent {
        Recent::Answered(rtt) => Some(*rtt),
        _ => None,
    });
    let low = times.clone().min().unwrap_or_default();
    let high = times.max().unwrap_or_default().max(low * 2);
    let spark = |recent: &Recent| match recent {
        Recent::Answered(rtt) => level(*rtt, low, high),
        Recent::Lost => LOST,
        Recent::Waiting => WAITING,
    };
    shown.iter().map(spark).collect()
}

fn level(rtt: Duration, low: Duration, high: Duration) -> char {
    let range_us = (high - low).as_micros().max(1);
    let over_us = rtt.saturating_sub(low).as_micros();
    let index = over_us * (LEVELS.len() as u128 - 1) / range_us;
    let index = usize::try_from(index).unwrap_or(usize::MAX).min(LEVELS.len() - 1);
    LEVELS.get(index).copied().unwrap_or(LOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(outcomes: &[Option<u64>]) -> History {
        let mut history = History::new();
        for (number, outcome) in (1..).zip(outcomes) {
            let recent = outcome.map_or(Recent::Lost, |ms| Recent::Answered(Duration::from_millis(ms)));
            history.set(number, recent);
        }
        history
    }

    #[test]
    fn the_shortest_is_low_and_the_longest_high() {
        let line = history(&[Some(10), Some(70), None, Some(40)]);
        assert_eq!(sparks(&line, 10), "▁▇×▄");
        assert_eq!(sparks(&line, 2), "×▁", "what is not shown sets no scale");
    }

    #[test]
    fn times_that_hardly_differ_look_alike() {
        assert_eq!(sparks(&history(&[Some(100), Some(103), Some(101)]), 10), "▁▁▁");
        assert_eq!(sparks(&history(&[Some(0), Some(0)]), 10), "▁▁");
        assert_eq!(sparks(&History::new(), 10), "");
    }

    #[test]
    fn what_is_in_flight_is_neither() {
        let mut line = history(&[Some(1)]);
        line.set(2, Recent::Waiting);
        assert_eq!(sparks(&line, 10), "▁·");
    }
}
