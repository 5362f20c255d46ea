//! A query that is under way, and the answers that have come.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sockeye_endpoint::HostName;
use sockeye_socket::os::AddressFamily;

use crate::happy_eyeballs::Event;
use crate::lookup::LookupError;
use crate::pool::Pool;

/// Called, from a thread of the resolver, whenever an answer has come: wake the loop that will ask the [`Query`].
///
/// It must not block. Several answers may come before it is heard.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// The answer of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// A or AAAA.
    pub family: AddressFamily,
    /// The addresses, in the order of the system's resolver, with the target's port; or why there are none.
    pub result: Result<Vec<SocketAddr>, LookupError>,
    /// From the start of the query to this answer.
    pub took: Duration,
}

impl From<Answer> for Event {
    /// What Happy Eyeballs is told.
    fn from(answer: Answer) -> Self {
        match answer.result {
            Ok(addresses) => Self::Addresses(answer.family, addresses),
            Err(_) => Self::NoAddresses(answer.family),
        }
    }
}

/// What a [`Query`] has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// The next answer.
    Answer(Answer),
    /// Nothing now; the waker will be called.
    Pending,
    /// Both families have answered.
    Done,
}

/// A query under way. Dropped, it is cancelled: its answers go nowhere and its place is free for others.
pub struct Query {
    pub(crate) state: Arc<State>,
    /// Absent where nothing was asked of the pool.
    pub(crate) pool: Option<Arc<Pool>>,
}

/// What the query and the pool share.
pub(crate) struct State {
    pub(crate) host: Option<HostName>,
    pub(crate) deadline: Instant,
    port: u16,
    started: Instant,
    waker: Waker,
    answers: Mutex<Answers>,
    arrived: Condvar,
}

#[derive(Default)]
struct Answers {
    ready: VecDeque<Answer>,
    v4_pending: bool,
    v6_pending: bool,
}

impl Answers {
    fn pending(&mut self, family: AddressFamily) -> &mut bool {
        match family {
            AddressFamily::V4 => &mut self.v4_pending,
            AddressFamily::V6 => &mut self.v6_pending,
        }
    }
}

impl State {
    /// A query for a name, both families pending.
    pub(crate) fn new(host: HostName, port: u16, deadline: Instant, waker: Waker) -> Self {
        let answers = Answers {
            v4_pending: true,
            v6_pending: true,
            ready: VecDeque::new(),
        };
        Self {
            host: Some(host),
            deadline,
            port,
            started: Instant::now(),
            waker,
            answers: Mutex::new(answers),
            arrived: Condvar::new(),
        }
    }

    /// A query that was answered before it was asked.
    pub(crate) fn answered(address: SocketAddr) -> Self {
        let family = if address.is_ipv6() {
            AddressFamily::V6
        } else {
            AddressFamily::V4
        };
        let answer = Answer {
            family,
            result: Ok(vec![address]),
            took: Duration::ZERO,
        };
        let now = Instant::now();
        Self {
            host: None,
            deadline: now,
            port: address.port(),
            started: now,
            waker: Arc::new(|| {}),
            answers: Mutex::new(Answers {
                ready: VecDeque::from([answer]),
                ..Answers::default()
            }),
            arrived: Condvar::new(),
        }
    }

    /// Takes in an answer, unless the family has been answered before, and wakes whoever waits.
    pub(crate) fn deliver(&self, family: AddressFamily, result: Result<Vec<SocketAddr>, LookupError>) {
        let mut answers = self.lock();
        let pending = answers.pending(family);
        if !*pending {
            return;
        }
        *pending = false;
        let mut result = result;
        if let Ok(addresses) = &mut result {
            addresses
                .iter_mut()
                .for_each(|address| address.set_port(self.port));
        }
        answers.ready.push_back(Answer {
            family,
            result,
            took: self.started.elapsed(),
        });
        drop(answers);
        self.arrived.notify_all();
        (self.waker)();
    }

    fn progress(answers: &mut Answers) -> Progress {
        match answers.ready.pop_front() {
            Some(answer) => Progress::Answer(answer),
            None if answers.v4_pending || answers.v6_pending => Progress::Pending,
            None => Progress::Done,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Query {
    /// What has come, without waiting.
    pub fn poll(&mut self) -> Progress {
        State::progress(&mut self.state.lock())
    }

    /// What comes next, waiting for it: the deadline of the query is an answer too, so this never waits longer than to
    /// that. Never [`Progress::Pending`].
    pub fn wait(&mut self) -> Progress {
        let mut answers = self.state.lock();
        loop {
            match State::progress(&mut answers) {
                Progress::Pending => {}
                progress => return progress,
            }
            answers = self
                .state
                .arrived
                .wait(answers)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// When the query gives up.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.state.deadline
    }

    /// Gives up now; the same as dropping it.
    pub fn cancel(self) {
        drop(self);
    }
}

impl Drop for Query {
    fn drop(&mut self) {
        {
            let mut answers = self.state.lock();
            (answers.v4_pending, answers.v6_pending) = (false, false);
        }
        if let Some(pool) = &self.pool {
            pool.forget(&self.state);
        }
    }
}

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answers = self.state.lock();
        f.debug_struct("Query")
            .field("host", &self.state.host)
            .field("deadline", &self.state.deadline)
            .field("ready", &answers.ready.len())
            .field("v4_pending", &answers.v4_pending)
            .field("v6_pending", &answers.v6_pending)
            .finish_non_exhaustive()
    }
}
