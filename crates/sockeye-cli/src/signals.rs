//! The signals that end a command in order.

use sockeye::event_loop::{Context, EventLoop};

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

/// Calls `handler` on the loop for either, for who has something to end in order.
///
/// # Errors
/// As [`stop_on_signals`].
pub(crate) fn on_signals(
    events: &mut EventLoop,
    handler: impl FnMut(&mut Context<'_>) + 'static,
) -> std::io::Result<()> {
    let mut handler = handler;
    events.on_signals(&[SIGINT, SIGTERM], move |context, _signal| handler(context))
}

/// What comes when the terminal is gone, and from Ctrl-\ (signal(7)).
#[cfg(feature = "terminal")]
const SIGHUP: i32 = 1;
#[cfg(feature = "terminal")]
const SIGQUIT: i32 = 3;

/// Ends `run` of this loop on whatever ends a program in order: for a view that has a terminal to give back.
///
/// # Errors
/// As [`stop_on_signals`].
#[cfg(feature = "terminal")]
pub(crate) fn stop_on_every_signal(events: &mut EventLoop) -> std::io::Result<()> {
    // All at once: a second call would take the place of the first.
    events.on_signals(&[SIGHUP, SIGINT, SIGQUIT, SIGTERM], |context, _signal| {
        context.stop();
    })
}
