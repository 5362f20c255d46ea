//! What the loop does beside its sockets: timers and signals.

use std::time::Duration;

use sockeye_event_loop::{Context, EventLoop, Stream, StreamOptions, StreamService};

use crate::ground::{Failure, Notes, turn_until};

/// Counts its timers.
struct Timed {
    due: Vec<u64>,
}

impl StreamService for Timed {
    type Conn = ();

    fn on_open(&mut self, _: &mut Stream<'_>) {}

    fn on_data(&mut self, _: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        data.len()
    }

    fn on_service_timer(&mut self, _: &mut Context<'_>, key: u64) {
        self.due.push(key);
    }
}

/// Timers come, each once and in their order.
pub(crate) fn timers() -> Result<(), Failure> {
    const COUNT: u64 = 8;
    let mut events = EventLoop::new()?;
    let timed = events.add_stream_service(Timed { due: Vec::new() }, StreamOptions::default());
    let set = events.with(timed, |_, context| {
        for key in 0..COUNT {
            context.set_timer(Duration::from_micros(1500 * (COUNT - key)), COUNT - 1 - key);
        }
    });
    if set.is_none() {
        return Err(Failure::Wrong("the service is not on the loop".to_owned()));
    }
    let mut due = Vec::new();
    turn_until(&mut events, "all timers", |events| {
        if let Some(timed) = events.service(timed) {
            due.clone_from(&timed.due);
        }
        due.len() >= 8
    })?;
    if due != (0..COUNT).collect::<Vec<_>>() {
        return Err(Failure::Wrong(format!("timers came as {due:?}")));
    }
    Ok(())
}

/// A signal that this process sends to itself reaches the handler.
pub(crate) fn signals() -> Result<(), Failure> {
    const SIGNALS: [i32; 2] = [signal_hook::consts::SIGUSR1, signal_hook::consts::SIGHUP];
    let notes = Notes::default();
    let mut events = EventLoop::new()?;
    let book = notes.clone();
    events.on_signals(&SIGNALS, move |_, _| {
        book.done();
        book.ended();
    })?;
    for signal in SIGNALS {
        signal_hook::low_level::raise(signal)?;
    }
    turn_until(&mut events, "both signals", |_| notes.has_ended(SIGNALS.len()))?;
    drop(events);
    notes.outcome(SIGNALS.len())
}
