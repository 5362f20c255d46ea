//! What the loop tells `tracing`, under the feature of that name. Without it these functions are empty.
//!
//! Target `sockeye_event_loop`: connections at DEBUG, what an operator should know (back-offs, panics, listeners
//! that ended) at WARN. Nothing is told for each read or write: that is what the counters are for.
#![cfg_attr(not(feature = "tracing"), expect(unused_variables, reason = "nobody listens"))]

use std::net::SocketAddr;

use crate::id::Token;
use crate::outcome::{CloseReason, ConnectFailure};

/// A connection came through a listener.
pub(crate) fn accepted(connection: Token, peer: Option<SocketAddr>) {
    #[cfg(feature = "tracing")]
    tracing::debug!(connection = connection.to_u64(), ?peer, "accepted");
}

/// A connect stood.
pub(crate) fn connected(connection: Token, peer: Option<SocketAddr>) {
    #[cfg(feature = "tracing")]
    tracing::debug!(connection = connection.to_u64(), ?peer, "connected");
}

/// A connect came to nothing.
pub(crate) fn connect_failed(failure: &ConnectFailure) {
    #[cfg(feature = "tracing")]
    tracing::debug!(tag = failure.tag, %failure, "connect failed");
}

/// A connection is gone.
pub(crate) fn closed(connection: Token, reason: &CloseReason) {
    #[cfg(feature = "tracing")]
    tracing::debug!(connection = connection.to_u64(), %reason, "closed");
}

/// Accepting pauses.
pub(crate) fn backed_off(listener: Token) {
    #[cfg(feature = "tracing")]
    tracing::warn!(
        listener = listener.to_u64(),
        "no descriptor or memory for another connection: accepting pauses"
    );
}

/// A listener is of no use any more.
pub(crate) fn listener_failed(listener: Token, error: &std::io::Error) {
    #[cfg(feature = "tracing")]
    tracing::warn!(listener = listener.to_u64(), %error, "the listener failed and is closed");
}

/// A callback panicked.
pub(crate) fn panicked(connection: Token) {
    #[cfg(feature = "tracing")]
    tracing::warn!(connection = connection.to_u64(), "a callback panicked");
}
