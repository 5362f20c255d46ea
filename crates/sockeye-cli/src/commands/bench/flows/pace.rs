//! When the next message is due.

use std::time::Duration;

use sockeye::event_loop::Time;
use sockeye::measure::run::{Mode, Parameters};
use sockeye::measure::schedule::Schedule;

/// Messages on a schedule, from the start of the flow on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    schedule: Schedule,
    /// How much of the schedule's unit a message is.
    unit: u64,
    start: Time,
}

impl Pace {
    /// The pace of that flow; `None` is as fast as it goes.
    pub(crate) fn of(parameters: &Parameters, number: u32, start: Time) -> Option<Self> {
        if number == 0 {
            return None;
        }
        let length = u64::from(parameters.length);
        let (schedule, unit) = match (parameters.rate, parameters.bitrate) {
            (Some(rate), _) => {
                let (index, parts) = if parameters.is_down(number) {
                    (number - parameters.up - 1, parameters.down)
                } else {
                    (number - 1, parameters.up)
                };
                let slowest = Schedule::new(1);
                (Schedule::new(rate)?.share(index, parts).or(slowest)?, 1)
            }
            (None, Some(bits)) if parameters.mode == Mode::Stream || parameters.mode == Mode::Oneway => {
                (Schedule::new(bits)?, length * 8)
            }
            _ => return None,
        };
        Some(Self {
            schedule,
            unit,
            start,
        })
    }

    /// When the message of that number is due.
    pub(crate) fn due(&self, number: u64) -> Time {
        self.start + self.schedule.due(number.saturating_mul(self.unit))
    }

    /// How long it is until then, `None` if it is due.
    pub(crate) fn wait(&self, number: u64, now: Time) -> Option<Duration> {
        let due = self.due(number);
        (due > now).then(|| due.since(now))
    }
}
