//! Connections out: what to connect to, and how the attempts go.
//!
//! One request may name several addresses. They are tried in their order, each next one when the one before
//! has failed or 250 ms have passed (RFC 8305, section 5); the first that stands wins, the others are dropped.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::backend::Token;
use crate::id::TimerId;
use crate::options::ConnectOptions;

/// Between the starts of two attempts (RFC 8305, section 5: 250 ms recommended).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// Addresses that one request may try; the rest is dropped (a name may have a thousand).
pub(crate) const MAX_ADDRESSES: usize = 64;

/// Says which addresses may be connected to.
pub type AddressFilter = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// A connect in progress. Stale once `on_open` or `on_connect_error` has been called.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ConnectId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// What to connect to, and how.
#[derive(Clone)]
pub struct ConnectRequest {
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) options: ConnectOptions,
    pub(crate) deadline: Option<Duration>,
    pub(crate) attempt_delay: Duration,
    pub(crate) filter: Option<AddressFilter>,
    pub(crate) tag: u64,
    #[cfg(feature = "resolver")]
    pub(crate) target: Option<sockeye_endpoint::Target>,
}

impl ConnectRequest {
    /// To one address.
    #[must_use]
    pub fn new(to: SocketAddr) -> Self {
        Self::any_of([to])
    }

    /// To the first of several addresses that answers; the order is the order of preference.
    #[must_use]
    pub fn any_of(addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self {
            addresses: addresses.into_iter().take(MAX_ADDRESSES).collect(),
            options: ConnectOptions::default(),
            deadline: None,
            attempt_delay: ATTEMPT_DELAY,
            filter: None,
            tag: 0,
            #[cfg(feature = "resolver")]
            target: None,
        }
    }

    /// To a name or an address. Names are looked up off the loop, IPv6 and IPv4 apart, and their addresses are tried
    /// by Happy Eyeballs (RFC 8305) as they come. In a simulation too it is the real system that is asked for names.
    #[cfg(feature = "resolver")]
    #[must_use]
    pub fn to_target(target: sockeye_endpoint::Target) -> Self {
        Self {
            target: Some(target),
            ..Self::any_of([])
        }
    }

    /// A number that comes back by [`Stream::tag`](crate::Stream::tag) or in the failure.
    #[must_use]
    pub fn tag(mut self, tag: u64) -> Self {
        self.tag = tag;
        self
    }

    /// For the whole request. The service's [`Deadlines::connect`](crate::Deadlines) holds where none is given.
    #[must_use]
    pub fn deadline(mut self, after: Duration) -> Self {
        self.deadline = Some(after);
        self
    }

    /// How long one attempt is alone before the next address is tried beside it.
    #[must_use]
    pub fn attempt_delay(mut self, delay: Duration) -> Self {
        self.attempt_delay = delay;
        self
    }

    /// Tries only addresses that pass, for instance
    /// `|ip| sockeye_endpoint::is_globally_reachable(ip)` against requests to one's own network.
    #[must_use]
    pub fn filter(mut self, filter: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        self.filter = Some(Arc::new(filter));
        self
    }

    /// Socket options and the source address.
    #[must_use]
    pub fn options(mut self, options: ConnectOptions) -> Self {
        self.options = options;
        self
    }
}

impl std::fmt::Debug for ConnectRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectRequest")
            .field("addresses", &self.addresses)
            .field("deadline", &self.deadline)
            .field("filtered", &self.filter.is_some())
            .field("tag", &self.tag)
            .finish_non_exhaustive()
    }
}

/// The attempts of one request.
#[derive(Debug)]
pub(crate) struct Attempts {
    pub(crate) service: u16,
    pub(crate) tag: u64,
    pub(crate) options: ConnectOptions,
    pub(crate) attempt_delay: Duration,
    pub(crate) waiting: VecDeque<SocketAddr>,
    pub(crate) running: Vec<Token>,
    pub(crate) failed: Vec<(SocketAddr, io::Error)>,
    pub(crate) deadline: Option<crate::Time>,
    /// The next moment at which something is to be done: the deadline, or the next attempt.
    pub(crate) timer: Option<TimerId>,
    /// When the next address is tried beside those that run.
    pub(crate) next_attempt: Option<crate::Time>,
    /// The lookup of a name and the race of its addresses.
    #[cfg(feature = "resolver")]
    pub(crate) race: Option<Box<crate::core::race::Race>>,
}

/// All connects of a loop that are not decided yet.
#[derive(Debug, Default)]
pub(crate) struct Connects {
    slots: Vec<(u32, Option<Attempts>)>,
    free: Vec<u32>,
}

impl Connects {
    pub(crate) fn insert(&mut self, attempts: Attempts) -> ConnectId {
        if let Some(index) = self.free.pop() {
            let slot = &mut self.slots[index as usize];
            slot.1 = Some(attempts);
            return ConnectId {
                index,
                generation: slot.0,
            };
        }
        let index = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        self.slots.push((0, Some(attempts)));
        ConnectId { index, generation: 0 }
    }

    pub(crate) fn entry(&mut self, id: ConnectId) -> Option<&mut Attempts> {
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.0 == id.generation {
            slot.1.as_mut()
        } else {
            None
        }
    }

    /// Every connect that is not decided.
    pub(crate) fn ids(&self) -> Vec<ConnectId> {
        let open = |(index, slot): (usize, &(u32, Option<Attempts>))| {
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            slot.1.is_some().then_some(ConnectId {
                index,
                generation: slot.0,
            })
        };
        self.slots.iter().enumerate().filter_map(open).collect()
    }

    pub(crate) fn remove(&mut self, id: ConnectId) -> Option<Attempts> {
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.0 != id.generation {
            return None;
        }
        let attempts = slot.1.take()?;
        slot.0 = slot.0.wrapping_add(1);
        self.free.push(id.index);
        Some(attempts)
    }
}
