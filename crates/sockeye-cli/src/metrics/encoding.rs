//! Answers are made by a thread: with ten thousand backends one is many megabytes, and the loop has other things to do.
//!
//! The loop makes a snapshot and gives it away; the thread encodes it and hands the body back through the loop's remote.
//! There is one job of each form at a time, so that nothing queues up, and a body has a bound: what is beyond it is refused.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use sockeye::event_loop::{Context, Remote, RemoteError, ServiceHandle, Stats};

use super::common::Common;
use super::exposition::{Exposition, Snapshot, open_metrics, prometheus_text};
use super::http::Form;
use super::server::Server;
use crate::confined::{self, Needs};
use crate::exit::describe;
use crate::output::warn;

/// Bytes of a piece of a body: a connection's queue takes several.
const PIECE: usize = 64 * 1024;
/// Bytes of a body. Ten thousand backends need 9.5 MB; a million hosts would need gigabytes.
const MOST_BYTES: usize = 64 << 20;
/// The pause before a loop that does not keep up is told again, and how often it is.
const AGAIN: (Duration, u32) = (Duration::from_millis(10), 200);

/// An answer without its head, which several connections share.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) content_type: &'static str,
    pub(super) len: usize,
    pub(super) pieces: Vec<Arc<[u8]>>,
}

impl Body {
    pub(super) fn of(content_type: &'static str, bytes: &[u8]) -> Self {
        Self {
            content_type,
            len: bytes.len(),
            pieces: bytes.chunks(PIECE).map(Arc::from).collect(),
        }
    }
}

/// Cuts what is written into pieces, and takes no more than so many bytes.
#[derive(Debug)]
struct Pieces {
    done: Vec<Arc<[u8]>>,
    last: Vec<u8>,
    room: usize,
}

impl fmt::Write for Pieces {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.room = self.room.checked_sub(text.len()).ok_or(fmt::Error)?;
        self.last.extend(text.as_bytes());
        if self.last.len() >= PIECE {
            self.done.push(Arc::from(self.last.as_slice()));
            self.last.clear();
        }
        Ok(())
    }
}

impl Pieces {
    fn new(most: usize) -> Self {
        Self {
            done: Vec::new(),
            last: Vec::new(),
            room: most,
        }
    }

    fn body(mut self, content_type: &'static str) -> Body {
        if !self.last.is_empty() {
            self.done.push(Arc::from(self.last));
        }
        Body {
            content_type,
            len: self.done.iter().map(|piece| piece.len()).sum(),
            pieces: self.done,
        }
    }
}

/// A question to a command: it is answered with a snapshot, once. Dropped, it is not, and those who wait hear so in time.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(super) form: Form,
    pub(super) serial: u64,
    pub(super) jobs: SyncSender<Job>,
    pub(super) common: Common,
}

impl Ask {
    /// Gives the snapshot away. `stats` are those of the command's loops.
    pub(crate) fn answer(self, stats: Stats, snapshot: impl Snapshot) {
        let job = Job {
            form: self.form,
            serial: self.serial,
            snapshot: Arc::new(Told {
                common: self.common,
                stats,
                snapshot: Box::new(snapshot),
            }),
        };
        // The queue has room for each form; without the thread nobody is left to be told.
        let _ = self.jobs.try_send(job);
    }

    /// As [`answer`](Self::answer), with the loop's own counters.
    pub(crate) fn answer_on(self, context: &Context<'_>, snapshot: impl Snapshot) {
        self.answer(context.stats(), snapshot);
    }
}

/// A snapshot to be encoded.
#[derive(Debug)]
pub(super) struct Job {
    form: Form,
    serial: u64,
    snapshot: Arc<dyn Snapshot>,
}

/// A command's snapshot, and what all commands tell.
#[derive(Debug)]
struct Told {
    common: Common,
    stats: Stats,
    snapshot: Box<dyn Snapshot>,
}

impl Snapshot for Told {
    fn encode(&self, to: &mut Exposition<'_>) -> fmt::Result {
        self.common.encode(to, &self.stats)?;
        self.snapshot.encode(to)
    }

    fn status(&self) -> Value {
        let mut status = json!({
            "schema": 1,
            "command": self.common.command,
            "version": env!("CARGO_PKG_VERSION"),
            "started_unix_ms": unix_ms(self.common.started),
            "now_unix_ms": unix_ms(SystemTime::now()),
            "loop": self.common.status(&self.stats),
        });
        if let (Value::Object(all), Value::Object(own)) = (&mut status, self.snapshot.status()) {
            all.extend(own);
        }
        status
    }
}

fn unix_ms(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The body of an answer. `None`: it would have more bytes than these.
fn encode(job: &Job, most: usize) -> Option<Body> {
    let mut pieces = Pieces::new(most);
    let written = match job.form {
        Form::OpenMetrics => open_metrics(&job.snapshot, &mut pieces),
        Form::Text => prometheus_text(&job.snapshot, &mut pieces),
        Form::Status => fmt::Write::write_fmt(&mut pieces, format_args!("{}\n", job.snapshot.status())),
    };
    // Writing into memory fails at the bound alone. A body that was cut short would look like a whole one.
    written.ok().map(|()| pieces.body(job.form.content_type()))
}

/// Where jobs go, and where the thread that does them gets them.
pub(super) fn queue() -> (SyncSender<Job>, Receiver<Job>) {
    sync_channel(Form::ALL.len())
}

/// Starts the thread. It ends with the service whose jobs it does.
///
/// # Errors
/// When there can be no thread.
pub(super) fn start(
    jobs: Receiver<Job>,
    remote: Remote,
    server: ServiceHandle<Server>,
) -> std::io::Result<()> {
    let work = move || {
        if let Err(error) = confined::only_serve(&Needs::default()) {
            return warn(format_args!(
                "sockeye: --metrics: no answers: {}",
                describe(&error)
            ));
        }
        for job in jobs {
            let body = encode(&job, MOST_BYTES).map(Arc::new);
            if hand_back(&remote, server, &job, body.as_ref()) == Err(RemoteError::Gone) {
                return;
            }
        }
    };
    thread::Builder::new().name("metrics".to_owned()).spawn(work)?;
    Ok(())
}

fn hand_back(
    remote: &Remote,
    server: ServiceHandle<Server>,
    job: &Job,
    body: Option<&Arc<Body>>,
) -> Result<(), RemoteError> {
    let (pause, times) = AGAIN;
    let mut last = Err(RemoteError::Full);
    for _ in 0..times {
        let (form, serial, body) = (job.form, job.serial, body.cloned());
        last = remote.with(server, move |server, context| {
            server.encoded(context, form, serial, body.as_ref());
        });
        match last {
            Err(RemoteError::Full) => thread::sleep(pause),
            told => return told,
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::super::exposition::In;
    use super::*;

    /// So many samples, each of a kilobyte and more.
    #[derive(Debug)]
    struct Samples(usize);

    impl Snapshot for Samples {
        fn encode(&self, to: &mut Exposition<'_>) -> fmt::Result {
            let name = "x".repeat(1024);
            let samples = (0..self.0).map(|_| ([("name", name.as_str())], 1));
            to.counters(("x", In::Nothing), "Many.", samples)
        }

        fn status(&self) -> Value {
            json!("x".repeat(1024 * self.0))
        }
    }

    fn job(form: Form, samples: usize) -> Job {
        Job {
            form,
            serial: 1,
            snapshot: Arc::new(Samples(samples)),
        }
    }

    #[test]
    fn a_body_is_whole_or_none() {
        for form in Form::ALL {
            let whole = encode(&job(form, 100), MOST_BYTES).expect("there is room");
            assert_eq!(
                whole.pieces.iter().map(|piece| piece.len()).sum::<usize>(),
                whole.len
            );
            assert!(whole.len > 100 * 1024);
            let exact = encode(&job(form, 100), whole.len).expect("it fits");
            assert_eq!(exact.pieces, whole.pieces);
            assert!(encode(&job(form, 100), whole.len - 1).is_none(), "{form:?}");
        }
    }
}
