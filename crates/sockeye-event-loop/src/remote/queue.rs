//! The queue between threads and a loop: bounded, in order, one wake-up for a burst, and an end after which nothing is lost unseen.
//!
//! Everything that threads share is in this file, by the names `sync` and `Wake` of the module around it: `tests/models.rs` puts
//! it into another one, where `sync` is loom's, and runs it through every order of steps that the memory model allows.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};

use super::Wake;
use super::sync::{Mutex, MutexGuard};

/// The loop's remote queue is full, or the loop is gone. Nothing was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, thiserror::Error)]
pub enum RemoteError {
    /// As many commands wait as may: the loop does not keep up.
    #[error("the loop's remote queue is full")]
    Full,
    /// The loop has ended.
    #[error("the loop has ended")]
    Gone,
}

#[derive(Debug)]
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    capacity: usize,
    waker: Arc<dyn Wake>,
}

#[derive(Debug)]
struct State<T> {
    commands: VecDeque<T>,
    /// A wake-up is on its way: further commands need none.
    signalled: bool,
    gone: bool,
}

impl<T> Queue<T> {
    pub(crate) fn new(waker: Arc<dyn Wake>, capacity: usize) -> Self {
        let state = State {
            commands: VecDeque::new(),
            signalled: false,
            gone: false,
        };
        Self {
            state: Mutex::new(state),
            capacity,
            waker,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // A panic between push and pop leaves the queue whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, command: T) -> Result<(), RemoteError> {
        self.push_up_to(command, self.capacity)
    }

    fn push_up_to(&self, command: T, capacity: usize) -> Result<(), RemoteError> {
        let mut state = self.lock();
        // Under the lock: what is pushed before the end is dropped by it, and nothing comes after it.
        if state.gone {
            return Err(RemoteError::Gone);
        }
        if state.commands.len() >= capacity {
            return Err(RemoteError::Full);
        }
        state.commands.push_back(command);
        let is_first = !std::mem::replace(&mut state.signalled, true);
        drop(state);
        if is_first {
            self.waker.wake();
        }
        Ok(())
    }

    /// A command that is not refused by a full queue. That the loop is gone is no news to who sends it.
    pub(crate) fn force(&self, command: T) {
        let _ = self.push_up_to(command, usize::MAX);
    }

    pub(crate) fn pop(&self) -> Option<T> {
        let mut state = self.lock();
        let command = state.commands.pop_front();
        if command.is_none() {
            // Under the same lock: whoever pushes after this wakes again.
            state.signalled = false;
        }
        command
    }

    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.gone = true;
        let dropped = std::mem::take(&mut state.commands);
        // Not under the lock: dropping a message runs whatever code it has.
        drop(state);
        drop(dropped);
    }
}
