//! A log that a server does not wait for: a thread writes it, and what is too much for whoever reads it is dropped and counted.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::{Format, Output, is_closed, warn};

use crate::confined::{self, Needs};

/// Lines that may wait.
const QUEUE: usize = 8192;

/// How long the last lines may take.
const LAST: Duration = Duration::from_secs(1);
/// The pause after a line about the log before another one.
const QUIET: Duration = Duration::from_secs(10);

/// What the two sides know of each other.
#[derive(Debug, Default)]
struct State {
    /// Nobody reads any more.
    closed: AtomicBool,
    dropped: AtomicU64,
}

/// Where lines are put; a write never waits.
#[derive(Debug)]
pub(crate) struct Log {
    lines: SyncSender<Vec<u8>>,
    state: Arc<State>,
}

/// The thread that writes.
#[derive(Debug)]
pub(crate) struct Writer {
    state: Arc<State>,
    /// Disconnected once the thread has written everything.
    done: Receiver<()>,
}

/// A log that goes to `to`.
///
/// # Errors
/// When there can be no thread.
pub(crate) fn start(to: impl Write + Send + 'static) -> io::Result<(Log, Writer)> {
    let (lines, queue) = sync_channel(QUEUE);
    let (finished, done) = channel();
    let state = Arc::new(State::default());
    let shared = Arc::clone(&state);
    let write = move || {
        let _finished = finished;
        if confined::only_serve(&Needs::default()).is_err() {
            return shared.closed.store(true, Ordering::Relaxed);
        }
        write_all(to, &queue, &shared);
    };
    thread::Builder::new().name("log".to_owned()).spawn(write)?;
    let log = Log {
        lines,
        state: Arc::clone(&state),
    };
    Ok((log, Writer { state, done }))
}

fn write_all(mut to: impl Write, queue: &Receiver<Vec<u8>>, state: &State) {
    while let Ok(line) = queue.recv() {
        if to.write_all(&line).and_then(|()| to.flush()).is_err() {
            return state.closed.store(true, Ordering::Relaxed);
        }
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.state.closed.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        match self.lines.try_send(bytes.to_vec()) {
            Ok(()) => Ok(bytes.len()),
            Err(TrySendError::Full(_)) => {
                self.state.dropped.fetch_add(1, Ordering::Relaxed);
                Ok(bytes.len())
            }
            Err(TrySendError::Disconnected(_)) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Writer {
    /// Lines that were dropped so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.state.dropped.load(Ordering::Relaxed)
    }

    /// Waits until everything is written, once the log is gone; not for ever, as a reader may never read.
    pub(crate) fn finish(self, within: Duration) -> bool {
        matches!(
            self.done.recv_timeout(within),
            Err(RecvTimeoutError::Disconnected)
        )
    }
}

/// The output of a server: whoever reads it slowly, or not at all, holds nothing up and ends nothing.
#[derive(Debug)]
pub(crate) struct Patient {
    /// In front of what is said of the log itself.
    name: &'static str,
    output: Output,
    writer: Writer,
    /// Nobody reads any more.
    is_unread: bool,
    /// Lines that were dropped, as far as it was said, and when.
    dropped: u64,
    said: Option<Instant>,
}

impl Patient {
    /// On stdout.
    ///
    /// # Errors
    /// When there can be no thread.
    pub(crate) fn stdout(name: &'static str, format: Format) -> anyhow::Result<Self> {
        let (log, writer) = start(io::stdout()).context("begin the log")?;
        Ok(Self {
            name,
            output: Output::to(log, format),
            writer,
            is_unread: false,
            dropped: 0,
            said: None,
        })
    }

    /// Prints, if there may be somebody who reads.
    ///
    /// # Errors
    /// When stdout cannot be written for another reason than that it is closed.
    pub(crate) fn put<E: Into<anyhow::Error>>(
        &mut self,
        print: impl FnOnce(&mut Output) -> Result<(), E>,
    ) -> anyhow::Result<()> {
        if self.is_unread {
            return Ok(());
        }
        match print(&mut self.output).map_err(Into::into) {
            Err(error) if is_closed(&error) => self.is_unread = true,
            printed => printed?,
        }
        if self.said.is_none_or(|at| at.elapsed() >= QUIET) {
            self.say_dropped();
        }
        Ok(())
    }

    fn say_dropped(&mut self) {
        let dropped = self.writer.dropped();
        if dropped > self.dropped {
            let more = dropped - self.dropped;
            warn(format_args!(
                "sockeye: {}: {more} lines of the log were dropped: whoever reads stdout is too slow",
                self.name
            ));
            self.dropped = dropped;
            self.said = Some(Instant::now());
        }
    }

    /// Waits for the last lines, but not long.
    pub(crate) fn finish(mut self) {
        self.say_dropped();
        drop(self.output);
        self.writer.finish(LAST);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Writes once it may, and into this.
    struct Slow(Receiver<()>, Arc<Mutex<Vec<u8>>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            self.1.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_too_much_is_dropped_and_counted_and_the_rest_is_written_in_order() {
        let (may, gate) = channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let (mut log, writer) = start(Slow(gate, Arc::clone(&written))).unwrap();
        // One may be in the hands of the thread.
        for nth in 0..QUEUE + 10 {
            log.write_all(&[u8::try_from(nth % 251).unwrap()]).unwrap();
        }
        assert!((9..=10).contains(&writer.dropped()), "{}", writer.dropped());
        drop((may, log));
        let dropped = usize::try_from(writer.dropped()).unwrap();
        assert!(writer.finish(Duration::from_secs(20)));
        let written = written.lock().unwrap();
        assert_eq!(written.len(), QUEUE + 10 - dropped);
        assert!(
            written
                .iter()
                .enumerate()
                .all(|(nth, byte)| usize::from(*byte) == nth % 251)
        );
    }

    #[test]
    fn a_reader_that_left_is_told() {
        let (reader, pipe) = io::pipe().unwrap();
        drop(reader);
        let (mut log, writer) = start(pipe).unwrap();
        log.write_all(b"one").unwrap();
        assert!(writer.finish(Duration::from_secs(20)));
        assert_eq!(
            log.write_all(b"two").unwrap_err().kind(),
            io::ErrorKind::BrokenPipe
        );
    }
}
