//! Load on tally in a simulated network whose server stands still for a second: the two ways to measure it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use sockeye::event_loop::{Stream, StreamService, Time};
use sockeye::measure::schedule::Schedule;
use sockeye::sim::{LinkOptions, Sim};

use crate::service::Tally;

/// Between two requests of a client that is not kept waiting.
pub(crate) const INTERVAL: Duration = Duration::from_millis(10);
/// How long each client asks.
const RUN: Duration = Duration::from_secs(10);

// ANCHOR: ways
/// When the next request goes, and from when its time is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Closed loop: some time after the last answer, counted from when it is sent.
    AfterTheAnswer,
    /// Open loop: when the schedule says, whatever the answers do, counted from when it is due.
    OnSchedule,
}
// ANCHOR_END: ways

// ANCHOR: load
struct Load {
    way: Way,
    schedule: Schedule,
    next: u64,
    begun: Time,
    /// From when each request without an answer is counted.
    waiting: VecDeque<Time>,
    times: Rc<RefCell<Vec<Duration>>>,
}

impl Load {
    fn send(&mut self, stream: &mut Stream<'_>) {
        let now = stream.now();
        if now - self.begun >= RUN {
            stream.shutdown_write();
            return;
        }
        let _ = stream.write(b"load 1\n");
        if self.way == Way::OnSchedule {
            self.waiting.push_back(self.begun + self.schedule.due(self.next));
            self.next += 1;
            let next = self.begun + self.schedule.due(self.next);
            stream.set_timer(next - now, 0);
        } else {
            self.waiting.push_back(now);
        }
    }
}

impl StreamService for Load {
    type Conn = ();

    fn on_open(&mut self, stream: &mut Stream<'_>) {
        self.begun = stream.now();
        self.send(stream);
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        let now = stream.now();
        for _ in data.iter().filter(|byte| **byte == b'\n') {
            if let Some(since) = self.waiting.pop_front() {
                self.times.borrow_mut().push(now - since);
            }
            if self.way == Way::AfterTheAnswer {
                stream.set_timer(INTERVAL, 0);
            }
        }
        data.len()
    }

    fn on_timer(&mut self, stream: &mut Stream<'_>, (): &mut (), _: u64) {
        self.send(stream);
    }
}
// ANCHOR_END: load

// ANCHOR: measure
/// Ten seconds of load; after five of them the server stands still for one. The times, sorted.
pub(crate) fn measure(way: Way) -> Result<Vec<Duration>, Box<dyn Error>> {
    let times = Rc::new(RefCell::new(Vec::new()));
    let mut sim = Sim::new(1);
    sim.set_lan(LinkOptions::latency(Duration::from_micros(500)));
    let (server, client) = (sim.host([10, 0, 0, 1]), sim.host([10, 0, 0, 2]));
    sim.listen(server, 7007, Tally::over_lines())?;
    let load = Load {
        way,
        schedule: Schedule::new(100).ok_or("a rate of nothing")?,
        next: 0,
        begun: Time::ZERO,
        waiting: VecDeque::new(),
        times: Rc::clone(&times),
    };
    sim.connect(client, ([10, 0, 0, 1], 7007).into(), load);
    sim.run_for(Duration::from_secs(5))?;
    sim.pause(server);
    sim.run_for(Duration::from_secs(1))?;
    sim.resume(server);
    sim.run_for(Duration::from_secs(10))?;
    let mut times = times.take();
    times.sort_unstable();
    Ok(times)
}

/// The time that `permille` of a thousand requests do not exceed (nearest rank).
pub(crate) fn percentile(sorted: &[Duration], permille: usize) -> Duration {
    let rank = (sorted.len() * permille).div_ceil(1000).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}
// ANCHOR_END: measure

/// A row of a table.
pub(crate) fn row(name: &str, sorted: &[Duration]) -> String {
    let mut text = format!("{name:<16} {:>5} requests", sorted.len());
    for (permille, title) in [
        (500, "p50"),
        (900, "p90"),
        (950, "p95"),
        (990, "p99"),
        (1000, "longest"),
    ] {
        let time = percentile(sorted, permille).as_secs_f64() * 1000.0;
        text += &format!("   {title} {time:.1} ms");
    }
    text
}
