//! The threads on which lookups block, and the clock that keeps their deadlines.
//!
//! A lookup cannot be interrupted. When its deadline passes, its query is answered "timed out" at once, and the thread
//! counts as hung; as soon as another lookup waits for a thread, a hung one is abandoned and a new one takes its place.
//! An abandoned thread ends when its call returns at last. At most `max_abandoned` threads are abandoned at a time: past
//! that, lookups wait in the queue, and for no longer than to their own deadlines.
//!
//! What threads wait with comes by the name `sync` of the crate around this file: `tests/models.rs` puts it into another one,
//! where `sync` is loom's, and runs it through every order of steps.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use sockeye_socket::os::AddressFamily;

use crate::lookup::{Lookup, LookupError};
use crate::query::State;
use crate::resolver::{Config, StartError};
use crate::sync::{Condvar, Mutex, MutexGuard, thread};

pub(crate) struct Pool {
    config: Config,
    lookup: Arc<dyn Lookup>,
    inner: Mutex<Inner>,
    /// A lookup waits in the queue.
    work: Condvar,
    /// A deadline has come or gone, or a hung thread may be wanted.
    clock: Condvar,
}

#[derive(Default)]
struct Inner {
    queue: VecDeque<Job>,
    running: Vec<Running>,
    /// Threads that take lookups from the queue, hung ones included, abandoned ones not.
    workers: usize,
    idle: usize,
    abandoned: usize,
    next_worker: u64,
    clock_runs: bool,
}

struct Job {
    query: Arc<State>,
    family: AddressFamily,
}

struct Running {
    worker: u64,
    job: Job,
    /// The query has been answered without this lookup.
    hung: bool,
}

/// How many threads there are, of what kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ThreadCount {
    /// Threads that take lookups, idle, busy or hung.
    pub workers: usize,
    /// Threads that were given up, whose last call has not returned.
    pub abandoned: usize,
}

impl Pool {
    pub(crate) fn new(config: Config, lookup: Arc<dyn Lookup>) -> Self {
        Self {
            config,
            lookup,
            inner: Mutex::default(),
            work: Condvar::new(),
            clock: Condvar::new(),
        }
    }

    #[cfg(feature = "dns")]
    pub(crate) fn max_addresses(&self) -> usize {
        self.config.max_addresses
    }

    pub(crate) fn threads(&self) -> ThreadCount {
        let inner = self.lock();
        ThreadCount {
            workers: inner.workers,
            abandoned: inner.abandoned,
        }
    }

    /// Queues both lookups of a query, or none.
    pub(crate) fn submit(self: &Arc<Self>, query: &Arc<State>) -> Result<(), StartError> {
        let mut inner = self.lock();
        if inner.queue.len() + 2 > self.config.max_queued {
            return Err(StartError::Busy);
        }
        self.ensure_clock(&mut inner)?;
        for family in [AddressFamily::V6, AddressFamily::V4] {
            inner.queue.push_back(Job {
                query: Arc::clone(query),
                family,
            });
        }
        while inner.idle < inner.queue.len() && inner.workers < self.config.threads.max(1) {
            if let Err(error) = self.spawn_worker(&mut inner) {
                if inner.workers > 0 {
                    break;
                }
                inner.queue.retain(|job| !Arc::ptr_eq(&job.query, query));
                return Err(error.into());
            }
        }
        drop(inner);
        self.work.notify_all();
        self.clock.notify_one();
        Ok(())
    }

    /// Nobody waits for this query any more.
    pub(crate) fn forget(&self, query: &Arc<State>) {
        let mut inner = self.lock();
        inner.queue.retain(|job| !Arc::ptr_eq(&job.query, query));
        for running in inner
            .running
            .iter_mut()
            .filter(|running| Arc::ptr_eq(&running.job.query, query))
        {
            running.hung = true;
        }
        drop(inner);
        self.clock.notify_one();
    }

    fn spawn_worker(self: &Arc<Self>, inner: &mut Inner) -> io::Result<()> {
        let id = inner.next_worker;
        let pool = Arc::clone(self);
        thread::Builder::new()
            .name("sockeye-lookup".into())
            .spawn(move || pool.work(id))?;
        inner.next_worker += 1;
        inner.workers += 1;
        Ok(())
    }

    fn ensure_clock(self: &Arc<Self>, inner: &mut Inner) -> io::Result<()> {
        if !inner.clock_runs {
            let pool = Arc::clone(self);
            thread::Builder::new()
                .name("sockeye-lookup-clock".into())
                .spawn(move || pool.keep_deadlines())?;
            inner.clock_runs = true;
        }
        Ok(())
    }

    /// The life of a worker.
    fn work(&self, worker: u64) {
        while let Some((query, family)) = self.next_job(worker) {
            let result = self.look_up(&query, family);
            if self.finish(worker) {
                deliver(&query, family, result);
            } else {
                return;
            }
        }
    }

    /// Waits for a lookup; `None` when there was none for long and the thread shall end.
    fn next_job(&self, worker: u64) -> Option<(Arc<State>, AddressFamily)> {
        let mut inner = self.lock();
        loop {
            if let Some(job) = inner.queue.pop_front() {
                let taken = (Arc::clone(&job.query), job.family);
                inner.running.push(Running {
                    worker,
                    job,
                    hung: false,
                });
                return Some(taken);
            }
            inner.idle += 1;
            let (woken, waited) = self
                .work
                .wait_timeout(inner, self.config.keep_alive)
                .unwrap_or_else(PoisonError::into_inner);
            inner = woken;
            inner.idle -= 1;
            if waited.timed_out() && inner.queue.is_empty() {
                inner.workers -= 1;
                return None;
            }
        }
    }

    fn look_up(&self, query: &State, family: AddressFamily) -> Result<Vec<SocketAddr>, LookupError> {
        let Some(host) = &query.host else {
            return Ok(Vec::new());
        };
        let max = self.config.max_addresses;
        let ask = AssertUnwindSafe(|| self.lookup.lookup(host, family, max));
        let mut addresses = catch_unwind(ask).unwrap_or(Err(LookupError::Failed))?;
        addresses.truncate(max);
        Ok(addresses)
    }

    /// Whether the worker may go on; if not, it was abandoned, and this ends it.
    fn finish(&self, worker: u64) -> bool {
        let mut inner = self.lock();
        let place = inner.running.iter().position(|running| running.worker == worker);
        match place {
            Some(place) => {
                inner.running.swap_remove(place);
            }
            None => inner.abandoned -= 1,
        }
        drop(inner);
        self.clock.notify_one();
        place.is_some()
    }

    /// The life of the clock: answers what is overdue, replaces hung threads that are wanted, sleeps to the next deadline.
    fn keep_deadlines(self: &Arc<Self>) {
        let mut inner = self.lock();
        loop {
            let now = Instant::now();
            let overdue = take_overdue(&mut inner, now);
            self.replace_hung(&mut inner);
            if !overdue.is_empty() {
                drop(inner);
                for (query, family) in overdue {
                    deliver(&query, family, Err(LookupError::TimedOut));
                }
                inner = self.lock();
                continue;
            }
            let queued = inner.queue.iter().map(|job| job.query.deadline);
            let running = inner
                .running
                .iter()
                .filter(|running| !running.hung)
                .map(|r| r.job.query.deadline);
            let Some(next) = queued.chain(running).min() else {
                // Nothing to watch; the next query starts another clock.
                inner.clock_runs = false;
                return;
            };
            let sleep = next.saturating_duration_since(now);
            (inner, _) = self
                .clock
                .wait_timeout(inner, sleep)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Gives up hung threads as long as lookups wait that no other thread will take.
    fn replace_hung(self: &Arc<Self>, inner: &mut Inner) {
        while inner.idle < inner.queue.len() && inner.abandoned < self.config.max_abandoned {
            let Some(place) = inner.running.iter().position(|running| running.hung) else {
                return;
            };
            inner.running.swap_remove(place);
            inner.abandoned += 1;
            inner.workers -= 1;
            if self.spawn_worker(inner).is_err() {
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lookups whose deadline has passed: out of the queue, or marked as hung.
fn take_overdue(inner: &mut Inner, now: Instant) -> Vec<(Arc<State>, AddressFamily)> {
    let mut overdue = Vec::new();
    inner.queue.retain(|job| {
        let late = job.query.deadline <= now;
        if late {
            overdue.push((Arc::clone(&job.query), job.family));
        }
        !late
    });
    for running in inner.running.iter_mut().filter(|running| !running.hung) {
        if running.job.query.deadline <= now {
            running.hung = true;
            overdue.push((Arc::clone(&running.job.query), running.job.family));
        }
    }
    overdue
}

/// Delivers; a waker that panics loses its wake-up and takes no thread of the pool with it.
fn deliver(query: &State, family: AddressFamily, result: Result<Vec<SocketAddr>, LookupError>) {
    let _ = catch_unwind(AssertUnwindSafe(|| query.deliver(family, result)));
}
