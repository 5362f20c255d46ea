//! The loop that waits for stdin, stdout and the peer.
//!
//! One thread waits for the event loop and for both streams, by poll(2), as epoll(7) refuses regular files. Neither stream is
//! switched to non-blocking, which others who have it would see: stdin is read when it is ready, and what is ready does
//! not block; stdout takes what does not block, and what it does not take waits here while the peer is not read from.

use std::cell::RefCell;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use sockeye::event_loop::{EventLoop, ServiceHandle};
use sockeye::socket::os::{PollFd, poll};

use super::stdout::Stdout;
use super::stream::Carrier;
use super::{End, Limits, Talk};

/// Bytes that are read from stdin at a time.
const CHUNK: usize = 64 * 1024;

/// The peer's side of a conversation.
pub(crate) trait Wire {
    /// Whether a peer is there to be sent to.
    fn has_peer(&mut self, events: &mut EventLoop) -> bool;
    /// Stdin has been read, stdout has room again, or it is time to [`retry`](Self::retry).
    fn pump(&mut self, events: &mut EventLoop);
    /// A limit of time is over.
    fn expire(&mut self, events: &mut EventLoop);
    /// After each turn of the loop.
    fn tick(&mut self, events: &mut EventLoop) {
        let _ = events;
    }
    /// A socket that is not on the loop, and what it waits for: to be readable, to be writable.
    fn entry(&self) -> Option<(BorrowedFd<'_>, bool, bool)> {
        None
    }
    /// That socket is ready.
    fn ready(&mut self) {}
    /// After how long to try again what no poller tells of.
    fn retry(&self) -> Option<Duration> {
        None
    }
}

impl Wire for ServiceHandle<Carrier> {
    fn has_peer(&mut self, events: &mut EventLoop) -> bool {
        events.service(*self).is_some_and(|carrier| carrier.has_peer())
    }

    fn pump(&mut self, events: &mut EventLoop) {
        events.with(*self, |carrier, context| carrier.pump(context));
    }

    fn expire(&mut self, events: &mut EventLoop) {
        events.with(*self, |carrier, context| carrier.expire(context));
    }
}

/// Turns the loop and serves both streams until everything has ended; `None` where a signal ended it. Privileges are given up
/// before the first byte comes, by `give_up`.
///
/// # Errors
/// When the loop or waiting fails; what ends the conversation is the [`End`].
pub(crate) fn carry(
    events: &mut EventLoop,
    wire: &mut impl Wire,
    talk: &Rc<RefCell<Talk>>,
    limits: Limits,
    give_up: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Option<End>> {
    let mut stdout = Stdout::open().context("open stdout")?;
    // Everything is open now; stdout may be a terminal of another user, as under sudo(8).
    give_up()?;
    let stdin = io::stdin();
    let mut chunk = vec![0; CHUNK];
    loop {
        events.turn(Some(Duration::ZERO)).context("run the event loop")?;
        wire.tick(events);
        if events.is_stopping() {
            return Ok(None);
        }
        if let Some(end) = over(talk) {
            return Ok(Some(end));
        }
        // Once it has ended stdout alone is waited for: nothing is due any more.
        let is_on = talk.borrow().end.is_none();
        let has_peer = is_on && wire.has_peer(events);
        let due = limits.due(&talk.borrow()).filter(|_| has_peer);
        let left = due.map(|due| due.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            wire.expire(events);
            continue;
        }
        let retry = wire.retry();
        let timeout = if events.has_work() {
            Some(Duration::ZERO)
        } else {
            let timer = events.next_timer().map(|timer| timer.since(events.now()));
            [timer, left, retry].into_iter().flatten().min()
        };
        let (reads, writes) = {
            let talk = talk.borrow();
            (has_peer && talk.wants_input(), talk.has_output())
        };
        // A stream that is not waited for is not asked about: its end would be told again and again.
        let mut ready = vec![PollFd::new(events.as_fd(), true, false)];
        if reads {
            ready.push(PollFd::new(stdin.as_fd(), true, false));
        }
        let place = ready.len();
        if writes {
            ready.push(PollFd::new(stdout.as_fd(), false, true));
        }
        let socket = ready.len();
        if let Some((fd, readable, writable)) = wire.entry()
            && (readable || writable)
        {
            ready.push(PollFd::new(fd, readable, writable));
        }
        match poll(&mut ready, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            outcome => outcome.context("wait for the streams")?,
        };
        let read = reads && ready.get(1).is_some_and(PollFd::is_readable);
        let write = writes && ready.get(place).is_some_and(PollFd::is_writable);
        let is_ready = |entry: &PollFd<'_>| entry.is_readable() || entry.is_writable();
        let message = ready.get(socket).is_some_and(is_ready);
        if read {
            let outcome = stdin.lock().read(&mut chunk);
            let input = outcome.map(|len| chunk.split_at(len).0);
            talk.borrow_mut().input(input);
        }
        if write {
            talk.borrow_mut().flush(&mut stdout);
        }
        if read || write || retry.is_some() {
            wire.pump(events);
        }
        if message {
            wire.ready();
        }
    }
}

/// How it ended, once stdout has everything.
fn over(talk: &Rc<RefCell<Talk>>) -> Option<End> {
    let mut talk = talk.borrow_mut();
    if talk.has_output() {
        return None;
    }
    talk.end.take()
}
