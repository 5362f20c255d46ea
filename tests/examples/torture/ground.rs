//! What the scenarios share: how one fails, the loop with a deadline, and services that check every byte.

use std::cell::RefCell;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use sockeye_event_loop::{
    CloseReason, ConnectFailure, Context, EventLoop, ListenerId, Stream, StreamId, StreamService,
};

/// How long a scenario may take. Long beside what it needs: the machine may be loaded.
pub(crate) const DEADLINE: Duration = Duration::from_secs(12);

/// Why a scenario did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The API reported an error.
    Told(String),
    /// Something is not as it was promised.
    Wrong(String),
    /// Nothing came any more, and no error.
    Stuck(String),
}

impl Failure {
    /// The status of the process.
    pub(crate) fn status(&self) -> u8 {
        match self {
            Self::Told(_) => 1,
            Self::Wrong(_) => 3,
            Self::Stuck(_) => super::STUCK,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Told(what) => write!(f, "told: {what}"),
            Self::Wrong(what) => write!(f, "wrong: {what}"),
            Self::Stuck(what) => write!(f, "stuck: {what}"),
        }
    }
}

/// Any error of the crates is one that was told.
impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Told(error.to_string())
    }
}

/// What the services of a scenario write down.
#[derive(Debug, Default)]
pub(crate) struct Book {
    /// Clients that got everything.
    pub(crate) done: usize,
    /// Clients that ended in any way.
    pub(crate) ended: usize,
    /// Errors that were reported to any service.
    pub(crate) told: Vec<String>,
    /// What must not be.
    pub(crate) wrong: Vec<String>,
}

/// The book, shared by the services of one loop.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notes(Rc<RefCell<Book>>);

impl Notes {
    pub(crate) fn told(&self, what: impl Into<String>) {
        self.0.borrow_mut().told.push(what.into());
    }

    pub(crate) fn wrong(&self, what: impl Into<String>) {
        self.0.borrow_mut().wrong.push(what.into());
    }

    /// One more has everything.
    pub(crate) fn done(&self) {
        self.0.borrow_mut().done += 1;
    }

    /// One more has ended.
    pub(crate) fn ended(&self) {
        self.0.borrow_mut().ended += 1;
    }

    pub(crate) fn has_ended(&self, count: usize) -> bool {
        self.0.borrow().ended >= count
    }

    /// What came of `count` clients.
    ///
    /// # Errors
    /// What was wrong, or else what was told, or else that a client has no result and no error.
    pub(crate) fn outcome(&self, count: usize) -> Result<(), Failure> {
        let book = self.0.borrow();
        if let Some(wrong) = book.wrong.first() {
            return Err(Failure::Wrong(wrong.clone()));
        }
        if book.done == count {
            return Ok(());
        }
        Err(match book.told.first() {
            Some(told) => Failure::Told(told.clone()),
            None => Failure::Wrong(format!(
                "{} of {count} got everything, and nobody was told of an error",
                book.done
            )),
        })
    }
}

/// Turns the loop until something holds.
///
/// # Errors
/// What the loop says, or that it did not come within [`DEADLINE`].
pub(crate) fn turn_until(
    events: &mut EventLoop,
    what: &str,
    mut holds: impl FnMut(&mut EventLoop) -> bool,
) -> Result<(), Failure> {
    let begun = Instant::now();
    while !holds(events) {
        if begun.elapsed() > DEADLINE {
            return Err(Failure::Stuck(what.to_owned()));
        }
        events.turn(Some(Duration::from_millis(100)))?;
    }
    Ok(())
}

/// Turns the loop until so many clients have ended, then ends it in order, and says what came of them.
///
/// # Errors
/// As [`Notes::outcome`], and what the loop says.
pub(crate) fn finish(mut events: EventLoop, notes: &Notes, clients: usize) -> Result<(), Failure> {
    turn_until(&mut events, "clients that end", |_| notes.has_ended(clients))?;
    events.drain(Duration::from_secs(2))?;
    let open = events.open_streams();
    drop(events);
    if open > 0 {
        return Err(Failure::Wrong(format!("{open} connections after the drain")));
    }
    notes.outcome(clients)
}

/// Where everything listens: a port of the loopback that the kernel chooses.
pub(crate) fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Sends back what comes.
#[derive(Debug)]
pub(crate) struct Echo(pub(crate) Notes);

impl StreamService for Echo {
    type Conn = ();

    fn on_open(&mut self, _: &mut Stream<'_>) {}

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        if stream.write(data).is_taken() {
            data.len()
        } else {
            0
        }
    }

    fn on_listener_lost(&mut self, _: &mut Context<'_>, _: ListenerId, error: std::io::Error) {
        self.0.told(format!("the listener is lost: {error}"));
    }

    fn on_close(&mut self, _: &mut Context<'_>, _: StreamId, (): (), reason: CloseReason) {
        if !matches!(reason, CloseReason::Closed) {
            self.0.told(format!("the echo's connection: {reason}"));
        }
    }
}

/// Sends a pattern and checks that it comes back.
#[derive(Debug)]
pub(crate) struct Client {
    pattern: Rc<[u8]>,
    notes: Notes,
    /// Bytes a write.
    pub(crate) piece: usize,
}

/// How far a client's connection is.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    sent: usize,
    got: usize,
    ended: bool,
}

impl Client {
    pub(crate) fn new(notes: &Notes, bytes: usize) -> Self {
        Self {
            pattern: sockeye_tests::pattern(bytes).into(),
            notes: notes.clone(),
            piece: 16 * 1024,
        }
    }

    fn fill(&self, stream: &mut Stream<'_>, progress: &mut Progress) {
        while progress.sent < self.pattern.len() {
            let end = self.pattern.len().min(progress.sent + self.piece);
            if !stream.write(&self.pattern[progress.sent..end]).is_taken() {
                return;
            }
            progress.sent = end;
            if end == self.pattern.len() {
                stream.shutdown_write();
            }
        }
    }
}

impl StreamService for Client {
    type Conn = Progress;

    fn on_open(&mut self, stream: &mut Stream<'_>) -> Progress {
        let mut progress = Progress::default();
        self.fill(stream, &mut progress);
        progress
    }

    fn on_data(&mut self, _: &mut Stream<'_>, progress: &mut Progress, data: &mut [u8]) -> usize {
        let end = progress.got + data.len();
        if self.pattern.get(progress.got..end) != Some(&*data) {
            self.notes
                .wrong(format!("other bytes from {} to {end}", progress.got));
        }
        progress.got = end;
        data.len()
    }

    fn on_writable(&mut self, stream: &mut Stream<'_>, progress: &mut Progress) {
        self.fill(stream, progress);
    }

    fn on_eof(&mut self, stream: &mut Stream<'_>, progress: &mut Progress) {
        progress.ended = true;
        stream.close();
    }

    fn on_connect_error(&mut self, _: &mut Context<'_>, failure: ConnectFailure) {
        self.notes.told(failure.to_string());
        self.notes.ended();
    }

    fn on_close(&mut self, _: &mut Context<'_>, _: StreamId, progress: Progress, reason: CloseReason) {
        if progress.ended && progress.got == self.pattern.len() {
            self.notes.done();
        } else if !matches!(reason, CloseReason::Closed) {
            self.notes.told(format!("the client's connection: {reason}"));
        }
        self.notes.ended();
    }
}
