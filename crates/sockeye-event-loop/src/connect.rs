//! Connections out: what to connect to, and how.
//!
//! One request may name several addresses. They are tried in their order, each next one when the one before
//! has failed or 250 ms have passed (RFC 8305, section 5); the first that stands wins, the others are dropped.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use sockeye_endpoint::UnixName;

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
    pub(crate) unix: Option<UnixName>,
    #[cfg(feature = "resolver")]
    pub(crate) target: Option<sockeye_endpoint::Target>,
}

impl ConnectRequest {
    /// To one address. To the path of a Unix socket: [`to_unix`](Self::to_unix).
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
            unix: None,
            #[cfg(feature = "resolver")]
            target: None,
        }
    }

    /// To a Unix socket of this host. While the backlog of its listener is full it is tried again and again, which no event
    /// tells: give it a deadline.
    #[must_use]
    pub fn to_unix(name: UnixName) -> Self {
        Self {
            unix: Some(name),
            ..Self::any_of([])
        }
    }

    /// To a name or an address. IPv6 and IPv4 addresses are looked up apart and tried by Happy Eyeballs (RFC 8305) as they
    /// come. By default the name servers of this machine are asked; [`EventLoop::set_names`](crate::EventLoop::set_names)
    /// chooses others, and is needed in a simulation, whose hosts have none.
    ///
    /// ```
    /// # use std::time::Duration;
    /// use sockeye_event_loop::ConnectRequest;
    ///
    /// let request = ConnectRequest::to_target("tcp://example.com:443".parse()?).deadline(Duration::from_secs(10));
    /// # Ok::<(), sockeye_endpoint::ParseError>(())
    /// ```
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

    /// The number that it was given, for who connects on behalf of others.
    #[must_use]
    pub fn tagged(&self) -> u64 {
        self.tag
    }

    /// The addresses that it names, in their order, for who connects on behalf of others.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// For the whole request. The service's [`Deadlines::connect`](crate::Deadlines) holds where none is given.
    #[must_use]
    pub fn deadline(mut self, after: Duration) -> Self {
        self.deadline = Some(after);
        self
    }

    /// The deadline that it was given, for who connects on behalf of others.
    #[must_use]
    pub fn limited_to(&self) -> Option<Duration> {
        self.deadline
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
            .field("unix", &self.unix)
            .field("deadline", &self.deadline)
            .field("filtered", &self.filter.is_some())
            .field("tag", &self.tag)
            .finish_non_exhaustive()
    }
}
