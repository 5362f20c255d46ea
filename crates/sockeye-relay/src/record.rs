//! What a relay tells its program: a record of each session, changes of backends, and who may come in.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sockeye_event_loop::ConnectFailure;

use crate::health::Condition;
use crate::proxy::Invalid;

/// One session that is over: a connection of a client, or a flow of datagrams.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionRecord {
    /// The listener's name, or else its address.
    pub listener: Arc<str>,
    /// The client. `None` of a Unix socket.
    pub client: Option<SocketAddr>,
    /// The pool that it was for.
    pub pool: Arc<str>,
    /// The backend that it had, or tried last.
    pub backend: Option<Arc<str>>,
    /// Connects that were tried; 1 of a flow that has a socket.
    pub attempts: u32,
    /// Bytes from the client.
    pub from_client: u64,
    /// Bytes from the backend.
    pub from_backend: u64,
    /// From when it came until it had a backend, or ended without.
    pub waited: Duration,
    /// From when it came until it was over.
    pub lasted: Duration,
    /// Why it ended.
    pub end: SessionEnd,
    /// What became of its last connect, where that failed: the addresses that were tried, each with its error.
    pub failure: Option<Arc<ConnectFailure>>,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SessionEnd {
    /// Both sides ended in order.
    Done,
    /// The client's connection broke, or it went away before it had a backend.
    ClientReset,
    /// The backend's connection broke; of a flow, it refused datagrams.
    BackendReset,
    /// No byte either way for too long.
    Idle,
    /// One side had ended, and no byte of the other came for too long.
    HalfClosed,
    /// Bytes waited for a side that took none for too long.
    Stalled,
    /// Its source had as many sessions as it may.
    TooManyOfSource,
    /// The program did not let it in.
    NotAdmitted,
    /// What it sent first did not come, or was not what it has to be.
    NoGreeting,
    /// No backend was up.
    AllDown,
    /// All backends were full, and so was the queue, if there is one.
    AllFull,
    /// It waited in the queue for too long.
    QueueTimeout,
    /// No connect succeeded.
    ConnectFailed,
    /// The loop had no room for another connection, or no memory.
    NoRoom,
    /// A flow that was given up for a newer one.
    GivenUp,
    /// The relay ended, or its backend or listener left the configuration, and its time was up.
    Drained,
    /// The loop ended.
    LoopEnded,
}

impl SessionEnd {
    /// A short name without blanks, for logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::ClientReset => "client-reset",
            Self::BackendReset => "backend-reset",
            Self::Idle => "idle",
            Self::HalfClosed => "half-closed",
            Self::Stalled => "stalled",
            Self::TooManyOfSource => "too-many-of-source",
            Self::NotAdmitted => "not-admitted",
            Self::NoGreeting => "no-greeting",
            Self::AllDown => "all-down",
            Self::AllFull => "all-full",
            Self::QueueTimeout => "queue-timeout",
            Self::ConnectFailed => "connect-failed",
            Self::NoRoom => "no-room",
            Self::GivenUp => "given-up",
            Self::Drained => "drained",
            Self::LoopEnded => "loop-ended",
        }
    }
}

impl fmt::Display for SessionEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A session that has just come.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Arrival<'a> {
    /// The listener's name, or else its address.
    pub listener: &'a str,
    /// The client. `None` of a Unix socket.
    pub client: Option<SocketAddr>,
}

/// A connection that was turned away before it was a session: it is in no record of sessions, and in none of the counters of
/// sessions.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct TurnedAway<'a> {
    /// The listener's name, or else its address.
    pub listener: &'a str,
    /// Who it was: whom a PROXY header named, if there was one. `None` of a Unix socket.
    pub client: Option<SocketAddr>,
    /// Why.
    pub cause: &'a Cause,
}

/// Why a connection was turned away.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// Who is not trusted to tell by a PROXY header whom it relays.
    #[error("PROXY header: not from a trusted source")]
    HeaderNotTrusted,
    /// No whole PROXY header came in time.
    #[error("PROXY header: not complete in time")]
    HeaderTimedOut,
    /// The client ended its side before its PROXY header was whole. One that is reset by the client is not turned away.
    #[error("PROXY header: the client ended before it was complete")]
    HeaderCut,
    /// What came is no PROXY header.
    #[error(transparent)]
    HeaderInvalid(Invalid),
    /// The handshake of a `tls://` listener came to nothing.
    #[cfg(feature = "tls")]
    #[error(transparent)]
    Handshake(sockeye_tls::TlsError),
}

/// What the program hears and decides. Every method has a default that does nothing. They are called while the relay
/// works: they must not block.
pub trait Hooks: 'static {
    /// Whether a session may come in. `false` resets it.
    fn admit(&mut self, arrival: Arrival<'_>) -> bool {
        let _ = arrival;
        true
    }

    /// A session is over.
    fn on_session(&mut self, record: &SessionRecord) {
        let _ = record;
    }

    /// A connection was turned away before it was a session, for want of a PROXY header or of a TLS handshake. The listener's
    /// counter ([`ListenerCounters::no_header`](crate::ListenerCounters::no_header)), or those of `Relay::tls_handshakes`, have
    /// it already.
    fn on_turned_away(&mut self, connection: &TurnedAway<'_>) {
        let _ = connection;
    }

    /// A listener is of no use any more: somebody else has closed its descriptor or shut it down. Its sessions go on; a reload
    /// opens it again.
    fn on_listener_lost(&mut self, listener: &str, error: &io::Error) {
        let _ = (listener, error);
    }

    /// A backend went down or came back.
    fn on_backend(&mut self, pool: &str, backend: &str, condition: Condition) {
        let _ = (pool, backend, condition);
    }
}

/// No hooks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NoHooks;

impl Hooks for NoHooks {}
