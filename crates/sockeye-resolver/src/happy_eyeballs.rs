//! Happy Eyeballs (RFC 8305): which connection attempt to start when, as a state machine without I/O.
//!
//! The owner says what has happened with [`on`](HappyEyeballs::on), asks what to do with [`poll`](HappyEyeballs::poll)
//! until it says to wait, and does it. Time is a [`Duration`] since an origin of the owner's choice, so it runs on any
//! clock, a simulated one too.
//!
//! ```
//! use std::time::Duration;
//! use sockeye_resolver::happy_eyeballs::{Config, Event, Family, HappyEyeballs, Outcome, Step};
//!
//! let mut race = HappyEyeballs::new(Config::default(), Duration::ZERO);
//! race.on(Duration::ZERO, Event::Addresses(Family::V6, vec!["[2001:db8::1]:443".parse().unwrap()]));
//! let Step::Start(first, address) = race.poll(Duration::ZERO) else { panic!() };
//! assert!(address.is_ipv6());
//! race.on(Duration::from_millis(30), Event::Connected(first));
//! assert_eq!(race.poll(Duration::from_millis(30)), Step::Done(Outcome::Connected(first)));
//! ```

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

/// The timings and bounds of a race.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// How long A answers wait for the AAAA answer that should go first (RFC 8305: 50 ms).
    pub resolution_delay: Duration,
    /// How long after an attempt the next one starts (RFC 8305: 250 ms; never less than 10 ms nor more than 2 s here).
    pub attempt_delay: Duration,
    /// Which family goes first.
    pub first_family: Family,
    /// How many addresses of the first family are tried before the other gets its turn.
    pub first_family_count: usize,
    /// How many addresses are kept; what comes after is ignored.
    pub max_addresses: usize,
    /// How many attempts run at a time.
    pub max_attempts: usize,
    /// When to give up, measured from the beginning; `None` for never.
    pub deadline: Option<Duration>,
}

impl Default for Config {
    /// The recommendations of RFC 8305 section 8; 32 addresses, 8 at a time, no deadline.
    fn default() -> Self {
        Self {
            resolution_delay: Duration::from_millis(50),
            attempt_delay: Duration::from_millis(250),
            first_family: Family::V6,
            first_family_count: 1,
            max_addresses: 32,
            max_attempts: 8,
            deadline: None,
        }
    }
}

pub use sockeye_socket::os::AddressFamily as Family;

/// An attempt of one race: the n-th that was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Attempt(u32);

impl Attempt {
    /// How many attempts were started before it.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.0
    }
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A family's query is answered, with its addresses in the order to try them. The list may be empty, and the event
    /// may come again with more. An address of the other family in it is taken for what it is.
    Addresses(Family, Vec<SocketAddr>),
    /// A family's query has failed; it counts as answered.
    NoAddresses(Family),
    /// An attempt has connected.
    Connected(Attempt),
    /// An attempt has failed.
    Failed(Attempt),
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// Start connecting, and poll again.
    Start(Attempt, SocketAddr),
    /// Drop that attempt, and poll again. It may have connected meanwhile; it has lost all the same.
    Cancel(Attempt),
    /// Nothing before that time unless an event comes.
    WaitUntil(Duration),
    /// Nothing unless an event comes.
    Wait,
    /// The race is over. Every further poll says the same.
    Done(Outcome),
}

/// How a race ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// That attempt won.
    Connected(Attempt),
    /// Every address has failed.
    AllFailed,
    /// Neither family has an address.
    NoAddresses,
    /// The deadline has passed.
    TimedOut,
}

/// One race to one target. See the module's page.
#[derive(Clone, Debug)]
pub struct HappyEyeballs {
    config: Config,
    deadline: Option<Duration>,
    /// Addresses not tried yet, in the order of the answers.
    v6: VecDeque<SocketAddr>,
    v4: VecDeque<SocketAddr>,
    /// Every address that was ever taken: none is tried twice.
    seen: Vec<SocketAddr>,
    answered: Answered,
    /// From when the second family's addresses may go although the first has not answered.
    patience_until: Option<Duration>,
    /// How many addresses of the first family have been tried.
    first_family_tried: usize,
    /// Which family the last attempt was of, once the first family has had its share.
    last_family: Option<Family>,
    next_attempt: u32,
    running: Vec<Attempt>,
    /// When the next attempt may start if nothing fails before.
    next_start: Duration,
    to_cancel: VecDeque<Attempt>,
    outcome: Option<Outcome>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Answered {
    v4: bool,
    v6: bool,
}

impl Answered {
    fn all(self) -> bool {
        self.v4 && self.v6
    }

    fn of(self, family: Family) -> bool {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }
}

impl HappyEyeballs {
    /// A race that begins now.
    #[must_use]
    pub fn new(config: Config, now: Duration) -> Self {
        Self {
            config,
            deadline: config.deadline.and_then(|deadline| now.checked_add(deadline)),
            v6: VecDeque::new(),
            v4: VecDeque::new(),
            seen: Vec::new(),
            answered: Answered::default(),
            patience_until: None,
            first_family_tried: 0,
            last_family: None,
            next_attempt: 0,
            running: Vec::new(),
            next_start: now,
            to_cancel: VecDeque::new(),
            outcome: None,
        }
    }

    /// Takes in what has happened. Events of attempts that do not run any more change nothing.
    pub fn on(&mut self, now: Duration, event: Event) {
        match event {
            Event::Addresses(family, addresses) => {
                self.answer(family);
                for address in addresses {
                    self.take(now, address);
                }
            }
            Event::NoAddresses(family) => self.answer(family),
            Event::Connected(attempt) => self.connected(attempt),
            Event::Failed(attempt) => self.failed(now, attempt),
        }
    }

    fn answer(&mut self, family: Family) {
        match family {
            Family::V4 => self.answered.v4 = true,
            Family::V6 => self.answered.v6 = true,
        }
    }

    fn take(&mut self, now: Duration, address: SocketAddr) {
        if self.seen.len() >= self.config.max_addresses || self.seen.contains(&address) {
            return;
        }
        self.seen.push(address);
        if address.is_ipv6() {
            self.v6.push_back(address)
        } else {
            self.v4.push_back(address)
        }
        if self.patience_until.is_none() {
            self.patience_until = now.checked_add(self.config.resolution_delay);
        }
    }

    fn connected(&mut self, attempt: Attempt) {
        if self.outcome.is_some() || !self.running.contains(&attempt) {
            return;
        }
        self.running.retain(|other| *other != attempt);
        self.end(Outcome::Connected(attempt));
    }

    fn failed(&mut self, now: Duration, attempt: Attempt) {
        let Some(place) = self.running.iter().position(|other| *other == attempt) else {
            return;
        };
        self.running.remove(place);
        // RFC 8305 section 5: a failure of the newest attempt does not make the next one wait, nor does silence.
        if attempt.0 + 1 == self.next_attempt || self.running.is_empty() {
            self.next_start = self.next_start.min(now);
        }
    }

    /// What to do now. Call it until it says to wait or that the race is done.
    pub fn poll(&mut self, now: Duration) -> Step {
        if self.outcome.is_none() && self.deadline.is_some_and(|deadline| deadline <= now) {
            self.end(Outcome::TimedOut);
        }
        if self.outcome.is_none()
            && self.running.is_empty()
            && self.answered.all()
            && self.v4.is_empty()
            && self.v6.is_empty()
        {
            let outcome = if self.seen.is_empty() {
                Outcome::NoAddresses
            } else {
                Outcome::AllFailed
            };
            self.end(outcome);
        }
        if let Some(loser) = self.to_cancel.pop_front() {
            return Step::Cancel(loser);
        }
        if let Some(outcome) = self.outcome {
            return Step::Done(outcome);
        }
        match self.may_start_at() {
            Some(start) if start <= now => match self.next_address() {
                Some(address) => self.start(now, address),
                None => self.wait(None),
            },
            start => self.wait(start),
        }
    }

    fn end(&mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
        self.to_cancel.extend(self.running.drain(..));
        self.v4.clear();
        self.v6.clear();
    }

    /// When the next attempt may start; `None` when that hangs on an event.
    fn may_start_at(&self) -> Option<Duration> {
        let bound = self.config.max_attempts.max(1);
        if (self.v4.is_empty() && self.v6.is_empty()) || self.running.len() >= bound {
            return None;
        }
        let first = self.config.first_family;
        let has_first = if first == Family::V6 {
            !self.v6.is_empty()
        } else {
            !self.v4.is_empty()
        };
        let started = self.next_attempt > 0;
        if has_first || started || self.answered.of(first) {
            return Some(self.next_start);
        }
        // Only the second family has answered: the resolution delay.
        self.patience_until.map(|until| until.max(self.next_start))
    }

    /// Families take turns, after the first one has had its share (RFC 8305 section 4).
    fn next_address(&mut self) -> Option<SocketAddr> {
        let first = self.config.first_family;
        let share = self.config.first_family_count.max(1);
        let wanted = match self.last_family {
            _ if self.first_family_tried < share => first,
            Some(Family::V4) => Family::V6,
            Some(Family::V6) => Family::V4,
            None => first,
        };
        let (wanted_queue, other_queue) = match wanted {
            Family::V4 => (&mut self.v4, &mut self.v6),
            Family::V6 => (&mut self.v6, &mut self.v4),
        };
        let address = wanted_queue.pop_front().or_else(|| other_queue.pop_front())?;
        let family = if address.is_ipv6() { Family::V6 } else { Family::V4 };
        self.last_family = Some(family);
        if family == first {
            self.first_family_tried += 1;
        }
        Some(address)
    }

    fn start(&mut self, now: Duration, address: SocketAddr) -> Step {
        let attempt = Attempt(self.next_attempt);
        self.next_attempt += 1;
        self.running.push(attempt);
        let delay = self
            .config
            .attempt_delay
            .clamp(Duration::from_millis(10), Duration::from_secs(2));
        self.next_start = now.saturating_add(delay);
        Step::Start(attempt, address)
    }

    fn wait(&self, start: Option<Duration>) -> Step {
        match (start, self.deadline) {
            (Some(a), Some(b)) => Step::WaitUntil(a.min(b)),
            (Some(time), None) | (None, Some(time)) => Step::WaitUntil(time),
            (None, None) => Step::Wait,
        }
    }
}

#[cfg(test)]
mod tests;
