//! Targets to addresses: off the loop with a deadline, or blocking.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use sockeye_endpoint::{Endpoint, Host, Target, UnresolvedZone};
use sockeye_socket::os::{self, AddressFamily};
use thiserror::Error;

#[cfg(feature = "dns")]
use crate::dns::clients::Clients;
#[cfg(feature = "dns")]
use crate::dns::{DnsOptions, LocalNames};
#[cfg(feature = "dns")]
use crate::files::SystemFiles;
use crate::files::Way;
use crate::lookup::{Lookup, LookupError, SystemLookup};
use crate::order::{Candidate, PolicyTable, Rule, sort};
use crate::pool::{Pool, ThreadCount};
use crate::query::{Progress, Query, State, Waker};

/// The bounds of a [`Resolver`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// How many lookups run at a time. A name takes two: A and AAAA are asked apart.
    pub threads: usize,
    /// How many threads may be given up because their lookup hangs past its deadline.
    pub max_abandoned: usize,
    /// How many lookups wait for a thread.
    pub max_queued: usize,
    /// How many addresses are kept of one answer.
    pub max_addresses: usize,
    /// How long a thread without work stays.
    pub keep_alive: Duration,
}

impl Default for Config {
    /// 4 threads, 16 that may be given up, 1,024 lookups in the queue, 64 addresses of an answer, 5 s
    /// until an idle thread ends.
    fn default() -> Self {
        Self {
            threads: 4,
            max_abandoned: 16,
            max_queued: 1_024,
            max_addresses: 64,
            keep_alive: Duration::from_secs(5),
        }
    }
}

/// Looks up targets. Clones share what it has.
///
/// # Which way
/// There are two: getaddrinfo(3), on threads, and the client of the DNS of this crate (`dns::Client`,
/// feature `dns`), which needs none. [`way`](Self::way) tells which one is taken now.
///
/// | constructor | [`resolve`](Self::resolve) | [`start`](Self::start) |
/// |---|---|---|
/// | [`new`](Self::new), [`default`](Self::default) | getaddrinfo | getaddrinfo |
/// | [`auto`](Self::auto), [`shared`](Self::shared) | the client, if nsswitch.conf asks for nothing but files and dns and the feature is there; else getaddrinfo | getaddrinfo |
/// | `with_dns` (feature `dns`) | the client | getaddrinfo |
/// | [`with_lookup`](Self::with_lookup) | the [`Lookup`] | the [`Lookup`] |
///
/// Loops that want the client have the feature `resolver` of `sockeye-event-loop`, which drives it.
///
/// # Threads
/// There are no threads before the first name is looked up, and none soon after the last: at most `threads` that look
/// up, `max_abandoned` that hang, and one that keeps the deadlines.
#[derive(Clone)]
pub struct Resolver {
    pool: Arc<Pool>,
    choice: Choice,
}

/// Who answers a blocking [`Resolver::resolve`].
#[derive(Clone)]
enum Choice {
    /// The lookups of the pool, and why.
    Lookups(&'static str),
    /// Clients of the DNS, if the files have it so.
    #[cfg(feature = "dns")]
    Clients(Arc<Clients>),
}

/// Why a query could not be started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// [`Config::max_queued`] lookups wait already.
    #[error("too many lookups are waiting")]
    Busy,
    /// The target's zone names no interface of this machine.
    #[error(transparent)]
    Zone(#[from] UnresolvedZone),
    /// No thread can be had.
    #[error("start a thread for lookups: {0}")]
    Thread(#[from] std::io::Error),
}

impl Default for Resolver {
    fn default() -> Self {
        Self::new(Config::default())
    }
}

impl Resolver {
    /// A resolver that asks the system, by getaddrinfo(3).
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self::of(config, Arc::new(SystemLookup), Choice::Lookups("it was chosen"))
    }

    /// A resolver that asks `lookup`.
    #[must_use]
    pub fn with_lookup(config: Config, lookup: Arc<dyn Lookup>) -> Self {
        Self::of(config, lookup, Choice::Lookups("it has a lookup of its own"))
    }

    /// A resolver whose [`resolve`](Self::resolve) asks the servers of resolv.conf without threads, if nsswitch.conf asks for
    /// nothing but files and dns; else, and without the feature `dns`, it asks the system.
    ///
    /// The files are read when the first name is looked up, and again when they have changed.
    #[must_use]
    pub fn auto(config: Config) -> Self {
        #[cfg(feature = "dns")]
        let choice = Choice::Clients(Arc::new(Clients::of_machine()));
        #[cfg(not(feature = "dns"))]
        let choice = Choice::Lookups("the feature `dns` is not there");
        Self::of(config, Arc::new(SystemLookup), choice)
    }

    /// [`auto`](Self::auto) with other files.
    #[cfg(feature = "dns")]
    #[must_use]
    pub fn auto_with(config: Config, files: SystemFiles) -> Self {
        let clients = Clients::of_files(files);
        Self::of(config, Arc::new(SystemLookup), Choice::Clients(Arc::new(clients)))
    }

    /// A resolver whose [`resolve`](Self::resolve) asks these servers without threads, whatever the files of the machine say.
    #[cfg(feature = "dns")]
    #[must_use]
    pub fn with_dns(config: Config, options: DnsOptions, local: LocalNames) -> Self {
        let clients = Clients::of(options, local);
        Self::of(config, Arc::new(SystemLookup), Choice::Clients(Arc::new(clients)))
    }

    fn of(config: Config, lookup: Arc<dyn Lookup>, choice: Choice) -> Self {
        Self {
            pool: Arc::new(Pool::new(config, lookup)),
            choice,
        }
    }

    /// The resolver that [`resolve`](crate::resolve) uses: one a process, [`auto`](Self::auto) with the default bounds.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Resolver> = OnceLock::new();
        SHARED.get_or_init(|| Self::auto(Config::default()))
    }

    /// Which way [`resolve`](Self::resolve) takes now. It may read files.
    #[must_use]
    pub fn way(&self) -> Way {
        match &self.choice {
            Choice::Lookups(because) => Way::System {
                because: (*because).to_owned(),
            },
            #[cfg(feature = "dns")]
            Choice::Clients(clients) => clients.way(),
        }
    }

    /// Starts a query that is answered by `deadline` at the latest.
    ///
    /// An address is answered at once, without a thread and without a call of the waker: ask the query as soon as you
    /// have it. For a name, `waker` is called after each of the two answers.
    ///
    /// # Errors
    ///
    /// [`StartError`].
    pub fn start(&self, target: &Target, deadline: Instant, waker: Waker) -> Result<Query, StartError> {
        let host = match target.host() {
            Host::Ip(ip, zone) => {
                let endpoint = Endpoint::new(target.transport(), *ip, target.port()).with_zone(*zone);
                let address = endpoint.socket_addr_with(|name| os::interface_index(name).ok())?;
                return Ok(Query {
                    state: Arc::new(State::answered(address)),
                    pool: None,
                });
            }
            Host::Name(host) => host.clone(),
        };
        let state = Arc::new(State::new(host, target.port(), deadline, waker));
        self.pool.submit(&state)?;
        Ok(Query {
            state,
            pool: Some(Arc::clone(&self.pool)),
        })
    }

    /// Resolves and waits, and puts the addresses into the order in which to try them (RFC 6724).
    ///
    /// On the [way](Self::way) of the DNS this thread sends and receives itself: callers do not wait for each other, and
    /// share what up to four of them have cached.
    ///
    /// # Errors
    ///
    /// [`ResolveError`]. One family's failure is none while the other has addresses.
    pub fn resolve(&self, target: &Target, deadline: Duration) -> Result<Vec<Resolved>, ResolveError> {
        let now = Instant::now();
        let deadline = now
            .checked_add(deadline)
            .unwrap_or(now + Duration::from_secs(86_400));
        let mut addresses = Vec::new();
        let (mut v4, mut v6) = (LookupError::NotFound, LookupError::NotFound);
        #[cfg(feature = "dns")]
        if let (Choice::Clients(clients), Host::Name(host)) = (&self.choice, target.host())
            && let Some(found) = clients.addresses(host, deadline, self.pool.max_addresses())
        {
            let mut take = |result: Result<Vec<SocketAddr>, LookupError>| {
                let found = result?;
                addresses.extend(found.into_iter().map(|mut address| {
                    address.set_port(target.port());
                    address
                }));
                Ok(())
            };
            v6 = take(found.v6).err().unwrap_or(v6);
            v4 = take(found.v4).err().unwrap_or(v4);
            return ordered(&addresses, v4, v6);
        }
        let mut query = self.start(target, deadline, Arc::new(|| {}))?;
        while let Progress::Answer(answer) = query.wait() {
            match (answer.result, answer.family) {
                (Ok(found), _) => addresses.extend(found),
                (Err(error), AddressFamily::V4) => v4 = error,
                (Err(error), AddressFamily::V6) => v6 = error,
            }
        }
        ordered(&addresses, v4, v6)
    }

    /// How many threads there are now.
    #[must_use]
    pub fn threads(&self) -> ThreadCount {
        self.pool.threads()
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("threads", &self.threads())
            .field("choice", &self.choice)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lookups(because) => f.debug_tuple("Lookups").field(because).finish(),
            #[cfg(feature = "dns")]
            Self::Clients(_) => f.write_str("Clients"),
        }
    }
}

/// An address of a target, in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Resolved {
    /// The address with the target's port.
    pub address: SocketAddr,
    /// The address that packets to it would leave from; `None` without a route.
    pub source: Option<IpAddr>,
    /// The rule of RFC 6724 that put it before the next one; `None` for the last.
    pub rule: Option<Rule>,
}

/// Why a target has no addresses.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// The lookup did not begin.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Neither family has an address.
    #[error("{}", worse(*v4, *v6))]
    NoAddress {
        /// What became of the A lookup.
        v4: LookupError,
        /// What became of the AAAA lookup.
        v6: LookupError,
    },
}

fn ordered(
    addresses: &[SocketAddr],
    v4: LookupError,
    v6: LookupError,
) -> Result<Vec<Resolved>, ResolveError> {
    if addresses.is_empty() {
        return Err(ResolveError::NoAddress { v4, v6 });
    }
    Ok(order(addresses, &PolicyTable::default()))
}

/// The error that says more: "no such name" of one family is no news.
fn worse(v4: LookupError, v6: LookupError) -> LookupError {
    if v4 == LookupError::NotFound { v6 } else { v4 }
}

/// [`Resolver::resolve`] on the process's [shared](Resolver::shared) resolver: the addresses alone, in the order to try them.
///
/// `Resolver::shared().way()` tells who is asked; a resolver of your own can be told whom to ask
/// ([`Resolver`](Resolver#which-way)).
///
/// # Errors
///
/// [`ResolveError`].
///
/// ```
/// use std::time::Duration;
///
/// let addresses = sockeye_resolver::resolve(&"[::1]:http".parse()?, Duration::from_secs(5))?;
/// assert_eq!(addresses, ["[::1]:80".parse()?]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn resolve(target: &Target, deadline: Duration) -> Result<Vec<SocketAddr>, ResolveError> {
    let resolved = Resolver::shared().resolve(target, deadline)?;
    Ok(resolved.into_iter().map(|resolved| resolved.address).collect())
}

/// Puts addresses into the order in which to try them, with the source addresses that the routing table gives now.
///
/// It asks the kernel: a UDP socket an address, connected (which sends nothing) and closed.
#[must_use]
pub fn order(addresses: &[SocketAddr], table: &PolicyTable) -> Vec<Resolved> {
    order_by(addresses, table, source_of)
}

/// [`order`] with the source addresses that `source` gives: of a network of one's own.
#[must_use]
pub fn order_by(
    addresses: &[SocketAddr],
    table: &PolicyTable,
    mut source: impl FnMut(SocketAddr) -> Option<IpAddr>,
) -> Vec<Resolved> {
    let mut left: Vec<SocketAddr> = addresses.to_vec();
    let candidates: Vec<Candidate> = addresses
        .iter()
        .map(|address| Candidate::new(address.ip(), source(*address)))
        .collect();
    let sorted = sort(&candidates, table);
    let place = |ordered: &crate::order::Ordered| {
        // The zone and the port are not the candidate's: find the address again, each once.
        let index = left
            .iter()
            .position(|address| address.ip() == ordered.candidate.destination)?;
        Some(Resolved {
            address: left.remove(index),
            source: ordered.candidate.source.map(|source| source.address),
            rule: ordered.rule,
        })
    };
    sorted.iter().filter_map(place).collect()
}

/// The address that packets to `destination` would leave from, by the routing table as it is; `None` without a route.
#[must_use]
pub fn source_of(destination: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match destination {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    let mut destination = destination;
    if destination.port() == 0 {
        // Some systems refuse port 0; any other leads by the same route.
        destination.set_port(9);
    }
    socket.connect(destination).ok()?;
    Some(socket.local_addr().ok()?.ip())
}
