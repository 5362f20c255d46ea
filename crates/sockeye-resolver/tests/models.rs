//! Models of the pool of lookups, run by loom through every order of steps: the very source, with loom's mutex, condition
//! variables and threads.
//!
//! A wake-up that is lost is a lookup that nobody does, or a thread that never ends: loom reports either as a deadlock. Time is
//! not modelled: a deadline has passed from the beginning or never comes, and an idle thread gives up once the model says so. How
//! often a thread is stopped that could go on is bounded, so that each model takes seconds.

#![allow(dead_code, unreachable_pub, reason = "the pool has more than a model uses")]

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use sockeye_endpoint::HostName;
use sockeye_resolver::AddressFamily;

#[path = "../src/pool.rs"]
mod pool;

use lookup::{Lookup, LookupError};
use pool::{Pool, ThreadCount};
use query::State;
use resolver::Config;

mod lookup {
    pub use sockeye_resolver::{Lookup, LookupError};
}

mod resolver {
    pub use sockeye_resolver::{Config, StartError};
}

/// What the pool waits with.
mod sync {
    use std::cell::RefCell;
    use std::sync::{Arc, LockResult, PoisonError};
    use std::time::Duration;

    use loom::sync::atomic::{AtomicBool, Ordering};
    pub use loom::sync::{Mutex, MutexGuard};
    pub use loom::thread;

    /// How long an idle thread waits.
    pub const KEEP_ALIVE: Duration = Duration::from_secs(5);

    thread_local! {
        /// Those of this model, whose threads are all one to the system.
        static ALL: RefCell<Vec<Arc<Timed>>> = const { RefCell::new(Vec::new()) };
    }

    #[derive(Debug)]
    struct Timed {
        condition: loom::sync::Condvar,
        /// Whether idle threads wait on it.
        is_for_idle: AtomicBool,
        is_over: AtomicBool,
    }

    /// A condition variable on which an idle thread's wait times out once [`time_out`] was called.
    #[derive(Debug)]
    pub struct Condvar(Arc<Timed>);

    impl Condvar {
        pub fn new() -> Self {
            let timed = Arc::new(Timed {
                condition: loom::sync::Condvar::new(),
                is_for_idle: AtomicBool::new(false),
                is_over: AtomicBool::new(false),
            });
            ALL.with_borrow_mut(|all| all.push(Arc::clone(&timed)));
            Self(timed)
        }

        pub fn notify_one(&self) {
            self.0.condition.notify_one();
        }

        pub fn notify_all(&self) {
            self.0.condition.notify_all();
        }

        pub fn wait_timeout<'a, T>(
            &self,
            mut guard: MutexGuard<'a, T>,
            at_most: Duration,
        ) -> LockResult<(MutexGuard<'a, T>, TimedOut)> {
            // Deadlines that never come are further away than an idle thread waits.
            let is_idle = at_most <= KEEP_ALIVE;
            self.0.is_for_idle.fetch_or(is_idle, Ordering::AcqRel);
            let is_over = || is_idle && self.0.is_over.load(Ordering::Acquire);
            if !is_over() {
                guard = self
                    .0
                    .condition
                    .wait(guard)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            Ok((guard, TimedOut(is_over())))
        }
    }

    #[derive(Debug, Clone, Copy)]
    pub struct TimedOut(bool);

    impl TimedOut {
        pub const fn timed_out(&self) -> bool {
            self.0
        }
    }

    /// A model begins.
    pub fn begin() {
        ALL.with_borrow_mut(Vec::clear);
    }

    /// From now on every wait of an idle thread times out. `pass` takes and gives back the lock that the waits are under: who looked before has
    /// begun to wait when it returns.
    pub fn time_out(pass: impl Fn()) {
        let all = ALL.with_borrow(Clone::clone);
        for timed in &all {
            timed.is_over.store(true, Ordering::Release);
        }
        pass();
        // The clock is told by the pool alone.
        for timed in all
            .iter()
            .filter(|timed| timed.is_for_idle.load(Ordering::Acquire))
        {
            timed.condition.notify_all();
        }
    }
}

/// As the crate's own, with loom's locks.
mod query {
    use super::{AddressFamily, Arc, HostName, Instant, LookupError, PoisonError, SocketAddr};

    pub struct State {
        pub(crate) host: Option<HostName>,
        pub(crate) deadline: Instant,
        answers: loom::sync::Mutex<Vec<(AddressFamily, Option<LookupError>)>>,
        arrived: loom::sync::Condvar,
    }

    impl State {
        pub fn new(deadline: Instant) -> Arc<Self> {
            Arc::new(Self {
                host: "salmon.example".parse().ok(),
                deadline,
                answers: loom::sync::Mutex::default(),
                arrived: loom::sync::Condvar::new(),
            })
        }

        pub(crate) fn deliver(&self, family: AddressFamily, result: Result<Vec<SocketAddr>, LookupError>) {
            let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            if answers.iter().all(|(answered, _)| *answered != family) {
                answers.push((family, result.err()));
            }
            drop(answers);
            self.arrived.notify_all();
        }

        /// Both answers, in the order in which they came.
        pub fn wait(&self) -> Vec<(AddressFamily, Option<LookupError>)> {
            let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            while answers.len() < 2 {
                answers = self.arrived.wait(answers).unwrap_or_else(PoisonError::into_inner);
            }
            answers.clone()
        }
    }
}

/// Answers at once that there is no such name.
struct Nothing;

impl Lookup for Nothing {
    fn lookup(&self, _: &HostName, _: AddressFamily, _: usize) -> Result<Vec<SocketAddr>, LookupError> {
        Err(LookupError::NotFound)
    }
}

/// The first lookup hangs until the model lets it go.
#[derive(Clone, Default)]
struct Hanging(Arc<(loom::sync::Mutex<Hang>, loom::sync::Condvar)>);

#[derive(Default)]
enum Hang {
    #[default]
    WillCome,
    IsThere,
    IsOver,
}

impl Hanging {
    fn lock(&self) -> loom::sync::MutexGuard<'_, Hang> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while(&self, is_so: impl Fn(&Hang) -> bool) {
        let mut state = self.lock();
        while is_so(&state) {
            state = self.0.1.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until a thread hangs.
    fn begun(&self) {
        self.wait_while(|hang| matches!(hang, Hang::WillCome));
    }

    /// No lookup that is still to come hangs.
    fn unless_begun(&self) {
        let mut state = self.lock();
        if matches!(*state, Hang::WillCome) {
            *state = Hang::IsOver;
        }
    }

    fn over(&self) {
        *self.lock() = Hang::IsOver;
        self.0.1.notify_all();
    }
}

impl Lookup for Hanging {
    fn lookup(&self, _: &HostName, _: AddressFamily, _: usize) -> Result<Vec<SocketAddr>, LookupError> {
        let mut state = self.lock();
        if matches!(*state, Hang::WillCome) {
            *state = Hang::IsThere;
            drop(state);
            self.0.1.notify_all();
            self.wait_while(|hang| matches!(hang, Hang::IsThere));
        }
        Err(LookupError::NotFound)
    }
}

/// Every order of steps with at most so many places where a thread is stopped that could go on.
fn model(run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(move || {
        sync::begin();
        run();
    });
}

fn pool(threads: usize, lookup: impl Lookup + 'static) -> Arc<Pool> {
    let config = Config {
        threads,
        max_abandoned: 1,
        keep_alive: sync::KEEP_ALIVE,
        ..Config::default()
    };
    Arc::new(Pool::new(config, Arc::new(lookup)))
}

fn never() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

/// Idle threads give up; all have to end.
fn end(pool: &Pool) {
    sync::time_out(|| {
        pool.threads();
    });
    while pool.threads() != ThreadCount::default() {
        loom::thread::yield_now();
    }
}

#[test]
fn two_queries_at_once_have_both_their_answers() {
    model(|| {
        let pool = pool(1, Nothing);
        let other = {
            let pool = Arc::clone(&pool);
            loom::thread::spawn(move || {
                let query = State::new(never());
                pool.submit(&query).unwrap();
                query.wait()
            })
        };
        let query = State::new(never());
        pool.submit(&query).unwrap();
        let both = [query.wait(), other.join().unwrap()];
        for answers in both {
            assert!(
                answers
                    .iter()
                    .all(|(_, error)| *error == Some(LookupError::NotFound))
            );
        }
        end(&pool);
    });
}

#[test]
fn a_query_that_comes_while_idle_threads_give_up_is_answered() {
    model(|| {
        let pool = pool(1, Nothing);
        let query = State::new(never());
        pool.submit(&query).unwrap();
        query.wait();
        // The worker may be idle, giving up, or gone.
        sync::time_out(|| {
            pool.threads();
        });
        let next = State::new(never());
        pool.submit(&next).unwrap();
        next.wait();
        end(&pool);
    });
}

#[test]
fn a_query_that_is_forgotten_leaves_the_others_their_thread() {
    model(|| {
        let pool = pool(1, Nothing);
        let forgotten = State::new(never());
        pool.submit(&forgotten).unwrap();
        pool.forget(&forgotten);
        let query = State::new(never());
        pool.submit(&query).unwrap();
        query.wait();
        end(&pool);
    });
}

#[test]
fn a_lookup_that_hangs_past_its_deadline_is_answered_and_replaced() {
    model(|| {
        let hanging = Hanging::default();
        let pool = pool(1, hanging.clone());
        let late = State::new(Instant::now());
        pool.submit(&late).unwrap();
        // By the clock, while the only thread hangs; what it has not begun is answered too.
        let answers = late.wait();
        let timed_out = answers
            .iter()
            .filter(|(_, error)| *error == Some(LookupError::TimedOut));
        assert!(timed_out.count() >= 1, "{answers:?}");
        hanging.unless_begun();
        let query = State::new(never());
        pool.submit(&query).unwrap();
        query.wait();
        hanging.over();
        end(&pool);
    });
}

#[test]
fn a_deadline_before_the_others_wakes_the_clock() {
    model(|| {
        let hanging = Hanging::default();
        let pool = pool(1, hanging.clone());
        let query = State::new(never());
        pool.submit(&query).unwrap();
        hanging.begun();
        let late = State::new(Instant::now());
        pool.submit(&late).unwrap();
        late.wait();
        hanging.over();
        query.wait();
        end(&pool);
    });
}

#[test]
fn a_thread_that_hangs_for_a_forgotten_query_is_given_up_for_one_that_waits() {
    model(|| {
        let hanging = Hanging::default();
        let pool = pool(1, hanging.clone());
        let forgotten = State::new(never());
        pool.submit(&forgotten).unwrap();
        hanging.begun();
        let query = State::new(never());
        pool.submit(&query).unwrap();
        pool.forget(&forgotten);
        query.wait();
        hanging.over();
        end(&pool);
    });
}
