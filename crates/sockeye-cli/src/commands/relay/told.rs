//! What a relay tells: sessions, who was turned away, backends that go down and come back.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use sockeye::event_loop::{ConnectFailure, ConnectFault, OpError};
use sockeye::relay::{Condition, Hooks, SessionEnd, SessionRecord, TurnedAway};

use crate::exit::words;
use crate::output::{Output, warn};
use crate::probing::{milliseconds, nanoseconds};

/// Something that happened during a turn of the loop.
#[derive(Debug)]
enum Notice {
    Session(SessionRecord),
    TurnedAway {
        listener: String,
        client: Option<SocketAddr>,
        why: String,
    },
    Backend {
        pool: String,
        backend: String,
        condition: Condition,
    },
    Lost {
        listener: String,
        why: String,
    },
}

/// Hears what happens; it is printed between two turns, so that no callback waits for whoever reads it.
#[derive(Debug, Clone, Default)]
pub(super) struct Told(Rc<RefCell<Vec<Notice>>>);

impl Told {
    fn push(&self, notice: Notice) {
        self.0.borrow_mut().push(notice);
    }
}

impl Hooks for Told {
    fn on_session(&mut self, record: &SessionRecord) {
        self.push(Notice::Session(record.clone()));
    }

    fn on_turned_away(&mut self, connection: &TurnedAway<'_>) {
        self.push(Notice::TurnedAway {
            listener: connection.listener.to_owned(),
            client: connection.client,
            why: connection.cause.to_string(),
        });
    }

    fn on_listener_lost(&mut self, listener: &str, error: &io::Error) {
        self.push(Notice::Lost {
            listener: listener.to_owned(),
            why: words(error),
        });
    }

    fn on_backend(&mut self, pool: &str, backend: &str, condition: Condition) {
        self.push(Notice::Backend {
            pool: pool.to_owned(),
            backend: backend.to_owned(),
            condition,
        });
    }
}

/// Prints it.
#[derive(Debug, Default)]
pub(super) struct Journal {
    pub(super) told: Told,
    quiet: bool,
    /// How listeners are called: by their names, or where they really are.
    pub(super) listeners: BTreeMap<String, String>,
    /// What is counted of it.
    #[cfg(feature = "metrics")]
    pub(super) accounts: super::metrics::Accounts,
}

/// What a turn has brought.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    /// A session found no room: no descriptor, or no memory.
    pub(super) no_room: bool,
    /// Listeners that were lost.
    pub(super) lost: usize,
}

impl Journal {
    pub(super) fn new(quiet: bool) -> Self {
        Self {
            quiet,
            ..Self::default()
        }
    }

    /// Prints what has happened since the last time.
    ///
    /// # Errors
    /// When stdout cannot be written; what is left is dropped then.
    pub(super) fn print(&self, output: &mut Output) -> io::Result<Seen> {
        let notices = std::mem::take(&mut *self.told.0.borrow_mut());
        let mut seen = Seen::default();
        for notice in &notices {
            if let Notice::Session(record) = notice {
                seen.no_room |= record.end == SessionEnd::NoRoom;
                #[cfg(feature = "metrics")]
                self.accounts.session(record);
            }
            seen.lost += usize::from(matches!(notice, Notice::Lost { .. }));
            self.print_one(notice, output)?;
        }
        Ok(seen)
    }

    fn name<'a>(&'a self, listener: &'a str) -> &'a str {
        self.listeners.get(listener).map_or(listener, String::as_str)
    }

    fn print_one(&self, notice: &Notice, output: &mut Output) -> io::Result<()> {
        match notice {
            Notice::Session(_) | Notice::TurnedAway { .. } if self.quiet => Ok(()),
            Notice::Session(record) => self.session(record, output),
            Notice::TurnedAway {
                listener,
                client,
                why,
            } => {
                let listener = self.name(listener);
                output.line(format_args!("{listener} {} turned away: {why}", who(*client)))?;
                output.event(
                    "turned-away",
                    json!({ "listener": listener, "client": client.map(|at| at.to_string()), "why": why }),
                )
            }
            Notice::Backend {
                pool,
                backend,
                condition,
            } => {
                let (word, means) = match condition {
                    Condition::Up => ("up", "it gets sessions again"),
                    _ => ("down", "it gets no sessions until it answers again"),
                };
                warn(format_args!(
                    "sockeye: relay: backend {backend} of {pool} is {word}: {means}"
                ));
                output.event(
                    "backend",
                    json!({ "pool": pool, "backend": backend, "condition": word }),
                )
            }
            Notice::Lost { listener, why } => {
                let listener = self.name(listener);
                warn(format_args!(
                    "sockeye: relay: {listener} is lost: its socket failed ({why}); sessions go on, and SIGHUP opens it again"
                ));
                output.event("lost", json!({ "listener": listener, "why": why }))
            }
        }
    }

    fn session(&self, record: &SessionRecord, output: &mut Output) -> io::Result<()> {
        let listener = self.name(&record.listener);
        let why = record.failure.as_deref().map(why);
        let in_brackets = why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
        output.line(format_args!(
            "{listener} {} -> {}: {} bytes in, {} out, {}, {}{in_brackets}",
            who(record.client),
            record.backend.as_deref().unwrap_or("nobody"),
            record.from_client,
            record.from_backend,
            milliseconds(record.lasted),
            record.end
        ))?;
        output.event(
            "session",
            json!({
                "unix_ns": unix_ns(),
                "listener": listener,
                "client": record.client.map(|at| at.to_string()),
                "pool": *record.pool,
                "backend": record.backend.as_deref(),
                "attempts": record.attempts,
                "bytes_in": record.from_client,
                "bytes_out": record.from_backend,
                "waited_ns": nanoseconds(record.waited),
                "lasted_ns": nanoseconds(record.lasted),
                "end": record.end.name(),
                "why": why,
            }),
        )
    }
}

/// What became of a connect, without what the line says already.
fn why(failure: &ConnectFailure) -> String {
    match (&failure.cause, failure.attempts.last()) {
        (ConnectFault::Failed(_), Some((_, error))) => match OpError::of(error) {
            // Its operation and its ends are those of the line.
            Some(operation) => operation.source().map_or_else(|| words(error), words),
            None => words(error),
        },
        (ConnectFault::Failed(error) | ConnectFault::Unresolved(error), _) => words(error),
        (ConnectFault::TimedOut, _) => "no answer within the time of a connect".to_owned(),
        (ConnectFault::NoAddress, _) => "there is no address to try".to_owned(),
        (ConnectFault::TooManyConnections, _) => "the relay has no room for another connection".to_owned(),
        _ => failure.to_string(),
    }
}

fn who(client: Option<SocketAddr>) -> String {
    client.map_or_else(|| "local".to_owned(), |at| at.to_string())
}

/// Now, in nanoseconds since 1970.
fn unix_ns() -> serde_json::Value {
    nanoseconds(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}
