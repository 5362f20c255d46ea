//! The signals that end a command in order.

use sockeye::event_loop::EventLoop;

/// What a terminal sends on Ctrl-C (signal(7); the number is the same on every Unix).
const SIGINT: i32 = 2;
/// What `kill` sends.
const SIGTERM: i32 = 15;

/// Ends `run` of this loop on either.
///
/// # Errors
/// When the loop cannot take signals.
pub(crate) fn stop_on_signals(events: &mut EventLoop) -> std::io::Result<()> {
    events.on_signals(&[SIGINT, SIGTERM], |context, _signal| context.stop())
}
