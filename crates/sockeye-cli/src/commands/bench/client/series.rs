//! How the figures of a run go over time, in bounded memory, for charts.

use std::time::Duration;

use super::figures::{Direction, Interval, per_second};

/// Points that are kept; when there are more, two become one.
const MAX_POINTS: usize = 1024;

/// All flows of a direction over some time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Point {
    pub(crate) from: Duration,
    pub(crate) to: Duration,
    pub(crate) bytes: u64,
    pub(crate) retransmits: Option<u64>,
    /// The longest of the flows.
    pub(crate) rtt: Option<Duration>,
    /// Of all flows together, in bytes.
    pub(crate) cwnd_bytes: Option<u64>,
    pub(crate) lost: Option<u64>,
}

impl Point {
    pub(crate) fn bytes_per_s(&self) -> f64 {
        per_second(self.bytes, self.to.saturating_sub(self.from))
    }
}

/// The points of both directions.
#[derive(Debug, Default)]
pub(crate) struct Series {
    up: Vec<Point>,
    down: Vec<Point>,
}

impl Series {
    pub(crate) fn of(&self, direction: Direction) -> &[Point] {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }

    /// Takes all flows within one interval.
    pub(crate) fn add(&mut self, rows: &[Interval]) {
        for direction in [Direction::Up, Direction::Down] {
            let mut point: Option<Point> = None;
            for row in rows.iter().filter(|row| row.direction == direction) {
                let one = point_of(row);
                point = Some(point.map_or(one, |all| beside(all, one)));
            }
            let points = match direction {
                Direction::Up => &mut self.up,
                Direction::Down => &mut self.down,
            };
            points.extend(point);
            if points.len() > MAX_POINTS {
                *points = points
                    .chunks(2)
                    .filter_map(|two| two.iter().copied().reduce(after))
                    .collect();
            }
        }
    }
}

fn point_of(row: &Interval) -> Point {
    Point {
        from: row.from,
        to: row.to,
        bytes: row.bytes,
        retransmits: row.tcp.map(|tcp| tcp.retransmits),
        rtt: row.tcp.map(|tcp| tcp.rtt),
        cwnd_bytes: row.tcp.map(|tcp| tcp.cwnd_bytes),
        lost: row.datagrams.map(|datagrams| datagrams.lost),
    }
}

fn both(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.zip(other).map(|(one, other)| one + other).or(one).or(other)
}

/// Another flow at the same time.
fn beside(all: Point, one: Point) -> Point {
    Point {
        bytes: all.bytes + one.bytes,
        retransmits: both(all.retransmits, one.retransmits),
        rtt: all.rtt.max(one.rtt),
        cwnd_bytes: both(all.cwnd_bytes, one.cwnd_bytes),
        lost: both(all.lost, one.lost),
        ..all
    }
}

/// The same flows, later.
fn after(first: Point, second: Point) -> Point {
    Point {
        to: second.to,
        bytes: first.bytes + second.bytes,
        retransmits: both(first.retransmits, second.retransmits),
        rtt: first.rtt.max(second.rtt),
        cwnd_bytes: second.cwnd_bytes.or(first.cwnd_bytes),
        lost: both(first.lost, second.lost),
        ..first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_points_become_few_and_nothing_is_lost() {
        let mut series = Series::default();
        for second in 0..5000 {
            let row = |flow, direction| Interval {
                from: Duration::from_secs(second),
                to: Duration::from_secs(second + 1),
                flow,
                direction,
                bytes: 10,
                messages: 1,
                tcp: None,
                datagrams: None,
            };
            series.add(&[row(1, Direction::Up), row(2, Direction::Up)]);
        }
        let points = series.of(Direction::Up);
        assert!(points.len() <= MAX_POINTS, "{}", points.len());
        assert_eq!(points.iter().map(|point| point.bytes).sum::<u64>(), 100_000);
        assert!(points.windows(2).all(|two| two[0].to == two[1].from));
        assert!((points[0].bytes_per_s() - 20.0).abs() < 1e-9);
        assert!(series.of(Direction::Down).is_empty());
    }
}
