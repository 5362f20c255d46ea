//! All that can be wrong with a configuration, found before anything is opened.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use sockeye_endpoint::{Address, Carrier, Endpoint, Host, NotServed, Scheme, Target, Transport, UnixName};
use thiserror::Error;

use super::{BackendConfig, CheckKind, Config, ListenerConfig, PoolConfig};

/// The heaviest backend.
pub(crate) const MAX_WEIGHT: u32 = 1_000;
/// The most retries.
const MAX_RETRIES: u32 = 16;
/// A wait that is longer is a mistake of units.
const MAX_WAIT: Duration = Duration::from_secs(7 * 24 * 3600);
/// The forms that listeners and backends can have.
const SERVED: &[Scheme] = &[Scheme::Tcp, Scheme::Udp, Scheme::Tls, Scheme::Quic, Scheme::Unix];

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    faults: Vec<ConfigFault>,
}

impl ConfigErrors {
    /// Each fault, in the order of the configuration; at least one.
    #[must_use]
    pub fn faults(&self) -> &[ConfigFault] {
        &self.faults
    }
}

impl fmt::Display for ConfigErrors {
    /// One line a fault.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, fault) in self.faults.iter().enumerate() {
            let end = if nth + 1 < self.faults.len() { "\n" } else { "" };
            write!(f, "{fault}{end}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// One fault, and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{place}: {fault}")]
pub struct ConfigFault {
    /// The place in the configuration: `listeners[1].to`, `pools[0].backends[3].weight`.
    pub place: String,
    /// What is wrong there.
    #[source]
    pub fault: Fault,
}

/// What is wrong at one place of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Fault {
    /// There is nothing to relay.
    #[error("there is none")]
    Empty,
    /// A listener names a pool that is not there.
    #[error("no pool named `{0}`")]
    UnknownPool(String),
    /// Two of a kind have one name.
    #[error("another one is called `{0}` too")]
    SameName(String),
    /// Two listeners have one address.
    #[error("another listener has the address {0} too")]
    SameAddress(String),
    /// The form of an address cannot be served.
    #[error(transparent)]
    NotServed(NotServed),
    /// The zone of an address is a name, which only the system could turn into a number.
    #[error("the zone `{0}` has to be a number here")]
    Zone(String),
    /// What it would take is not in this build.
    #[error("{what} cannot be had: {why}")]
    NotBuilt {
        /// What was asked for.
        what: &'static str,
        /// What is missing.
        why: &'static str,
    },
    /// Streams to backends of datagrams, or the other way round.
    #[error("the listener is for {listener}, and `{pool}` has a backend at {backend}")]
    Transports {
        /// What the listener takes.
        listener: &'static str,
        /// The pool.
        pool: String,
        /// The backend that does not fit.
        backend: String,
    },
    /// A backend is a listener of this relay: each session would come back as another one.
    #[error("{backend} is the listener {listener} itself: sessions would go in circles")]
    Circle {
        /// The backend.
        backend: String,
        /// The listener.
        listener: String,
    },
    /// A number is not within its bounds.
    #[error("{value} is not between {from} and {to}")]
    OutOfBounds {
        /// The number.
        value: u64,
        /// The least that it may be.
        from: u64,
        /// The most.
        to: u64,
    },
    /// A duration is zero or longer than a week.
    #[error("{0:?} is not between a millisecond and a week")]
    Wait(Duration),
    /// This does not go with the form of the address.
    #[error("{what} is not for {scheme} addresses")]
    NotFor {
        /// What was asked for.
        what: &'static str,
        /// The form of the address.
        scheme: Scheme,
    },
    /// A port has to be there.
    #[error("port 0 is no backend's")]
    NoPort,
    /// A server name is empty, not in lower case, or has a star elsewhere than in front.
    #[error("`{0}` is not a host name in lower case")]
    ServerName(String),
    /// Nobody could be refused or believed.
    #[error("it is empty")]
    Nothing,
}

impl Config {
    /// Looks at all of it.
    ///
    /// # Errors
    /// All that is wrong, each with its place.
    pub fn check(&self) -> Result<(), ConfigErrors> {
        let mut faults = Faults::default();
        faults.listeners(self);
        faults.pools(self);
        let sources = &self.sources;
        if let Some(most) = sources.max_sessions {
            faults.within("sources.max_sessions", most, 1, u32::MAX);
        }
        faults.within("sources.v4_prefix", sources.v4_prefix, 0, 32);
        faults.within("sources.v6_prefix", sources.v6_prefix, 0, 128);
        faults.wait("names.interval", self.names.interval);
        faults.wait("names.deadline", self.names.deadline);
        if faults.0.is_empty() {
            return Ok(());
        }
        Err(ConfigErrors { faults: faults.0 })
    }

    /// The first backend whose name has to be looked up, with its pool.
    pub(crate) fn first_name(&self) -> Option<(&PoolConfig, &BackendConfig)> {
        let all = self
            .pools
            .iter()
            .flat_map(|pool| pool.backends.iter().map(move |backend| (pool, backend)));
        let has_name = |(_, backend): &(&PoolConfig, &BackendConfig)| matches!(&backend.at, Address::Ip { endpoint, .. } if endpoint.endpoint().is_none());
        all.into_iter().find(has_name)
    }
}

#[derive(Default)]
struct Faults(Vec<ConfigFault>);

impl Faults {
    fn add(&mut self, place: impl Into<String>, fault: Fault) {
        self.0.push(ConfigFault {
            place: place.into(),
            fault,
        });
    }

    fn within<N: Into<u64>>(&mut self, place: impl Into<String>, value: N, from: N, to: N) {
        let (value, from, to) = (value.into(), from.into(), to.into());
        if !(from..=to).contains(&value) {
            self.add(place, Fault::OutOfBounds { value, from, to });
        }
    }

    fn wait(&mut self, place: impl Into<String>, wait: Duration) {
        if wait < Duration::from_millis(1) || wait > MAX_WAIT {
            self.add(place, Fault::Wait(wait));
        }
    }

    fn listeners(&mut self, config: &Config) {
        if config.listeners.is_empty() {
            self.add("listeners", Fault::Empty);
        }
        let mut pools: HashMap<&str, &PoolConfig> = HashMap::new();
        for pool in &config.pools {
            pools.entry(&pool.name).or_insert(pool);
        }
        let (mut labels, mut addresses) = (HashSet::new(), HashSet::new());
        for (nth, listener) in config.listeners.iter().enumerate() {
            let place = format!("listeners[{nth}]");
            if !labels.insert(listener.label()) {
                self.add(format!("{place}.name"), Fault::SameName(listener.label()));
            }
            // Port 0 is another one each time.
            let fixed = !matches!(&listener.at, Address::Ip { endpoint, .. } if endpoint.port() == 0);
            if fixed && !addresses.insert(address_of(&listener.at)) {
                self.add(format!("{place}.at"), Fault::SameAddress(listener.at.to_string()));
            }
            self.listener(&place, listener);
            let routes = listener.server_names.iter().enumerate();
            let targets = routes.map(|(nth, route)| (format!("{place}.server_names[{nth}].to"), &route.to));
            for (place, name) in [(format!("{place}.to"), &listener.to)].into_iter().chain(targets) {
                match pools.get(name.as_str()) {
                    None => self.add(place, Fault::UnknownPool(name.clone())),
                    Some(pool) => self.fits(place, listener, pool),
                }
            }
        }
    }

    fn listener(&mut self, place: &str, listener: &ListenerConfig) {
        let scheme = listener.at.scheme();
        if let Err(refused) = listener.at.must_be(SERVED) {
            self.add(format!("{place}.at"), Fault::NotServed(refused));
        }
        if let Address::Ip { endpoint, .. } = &listener.at
            && endpoint.socket_addr().is_err()
        {
            let zone = endpoint.zone().map(|zone| zone.to_string()).unwrap_or_default();
            self.add(format!("{place}.at"), Fault::Zone(zone));
        }
        self.tls(place, scheme, listener.tls.is_some());
        if !listener.server_names.is_empty() {
            let what = "a route by server name";
            let place = format!("{place}.server_names");
            match scheme {
                Scheme::Udp => self.add(place, Fault::NotFor { what, scheme }),
                Scheme::Tls | Scheme::Quic => self.add(place, Fault::NotFor { what, scheme }),
                _ => {}
            }
        }
        for (nth, route) in listener.server_names.iter().enumerate() {
            if route.names.is_empty() {
                self.add(format!("{place}.server_names[{nth}].names"), Fault::Nothing);
            }
            for name in route.names.iter().filter(|name| !is_server_name(name)) {
                let place = format!("{place}.server_names[{nth}].names");
                self.add(place, Fault::ServerName(name.clone()));
            }
        }
        if let Some(proxy) = &listener.proxy {
            if matches!(scheme, Scheme::Udp | Scheme::Quic) {
                let what = "the PROXY protocol";
                self.add(format!("{place}.proxy"), Fault::NotFor { what, scheme });
            }
            self.wait(format!("{place}.proxy.deadline"), proxy.deadline);
            if proxy.trusted.is_empty() {
                self.add(format!("{place}.proxy.trusted"), Fault::Nothing);
            }
        }
        if scheme == Scheme::Quic && listener.max_sessions.is_some() {
            let what = "a bound on sessions";
            self.add(format!("{place}.max_sessions"), Fault::NotFor { what, scheme });
        }
        if listener.max_sessions == Some(0) {
            self.within(format!("{place}.max_sessions"), 0, 1, u64::MAX);
        }
        let timeouts = &listener.timeouts;
        self.wait(format!("{place}.timeouts.idle"), timeouts.idle);
        self.wait(format!("{place}.timeouts.half_closed"), timeouts.half_closed);
        self.wait(format!("{place}.timeouts.stalled"), timeouts.stalled);
        self.wait(format!("{place}.timeouts.greeting"), timeouts.greeting);
        self.wait(format!("{place}.udp.idle"), listener.udp.idle);
        let flows = u64::try_from(listener.udp.max_flows).unwrap_or(u64::MAX);
        self.within(format!("{place}.udp.max_flows"), flows, 1, 1 << 24);
    }

    fn tls(&mut self, place: &str, scheme: Scheme, named: bool) {
        match scheme {
            Scheme::Tls if !cfg!(feature = "tls") => {
                let why = "build with the feature `tls`";
                self.add(format!("{place}.at"), Fault::NotBuilt { what: "tls://", why });
            }
            Scheme::Quic if !cfg!(feature = "quic") => {
                let why = "build with the feature `quic`";
                self.add(format!("{place}.at"), Fault::NotBuilt { what: "quic://", why });
            }
            Scheme::Tls | Scheme::Quic => {}
            _ if named => self.add(format!("{place}.tls"), Fault::NotFor { what: "TLS", scheme }),
            _ => {}
        }
    }

    fn proxy_out(&mut self, place: String, scheme: Scheme) {
        let what = "the PROXY protocol";
        if matches!(scheme, Scheme::Udp | Scheme::Quic) {
            self.add(place, Fault::NotFor { what, scheme });
        }
    }

    /// Whether what comes in by the listener can go to the pool.
    fn fits(&mut self, place: String, listener: &ListenerConfig, pool: &PoolConfig) {
        let takes_datagrams = listener.at.scheme() == Scheme::Udp;
        let other = pool
            .backends
            .iter()
            .find(|backend| (backend.at.scheme() == Scheme::Udp) != takes_datagrams);
        if let Some(backend) = other {
            let fault = Fault::Transports {
                listener: if takes_datagrams { "datagrams" } else { "streams" },
                pool: pool.name.clone(),
                backend: backend.at.to_string(),
            };
            self.add(place, fault);
        }
    }

    fn pools(&mut self, config: &Config) {
        let mut names = HashSet::new();
        for (nth, pool) in config.pools.iter().enumerate() {
            let place = format!("pools[{nth}]");
            if !names.insert(pool.name.as_str()) {
                self.add(format!("{place}.name"), Fault::SameName(pool.name.clone()));
            }
            if pool.backends.is_empty() {
                self.add(format!("{place}.backends"), Fault::Empty);
            }
            self.pool(&place, pool);
            let mut labels = HashSet::new();
            for (nth, backend) in pool.backends.iter().enumerate() {
                let place = format!("{place}.backends[{nth}]");
                if !labels.insert(backend.label()) {
                    self.add(format!("{place}.name"), Fault::SameName(backend.label()));
                }
                self.backend(&place, backend);
                let checks = pool.health.check.as_ref();
                if checks.is_some_and(|rules| rules.kind == CheckKind::Tls) {
                    self.checked_by_tls(&place, backend);
                }
            }
            self.circles(&place, pool, &config.listeners);
        }
    }

    fn pool(&mut self, place: &str, pool: &PoolConfig) {
        self.wait(format!("{place}.connect.deadline"), pool.connect.deadline);
        self.within(
            format!("{place}.connect.retries"),
            pool.connect.retries,
            0,
            MAX_RETRIES,
        );
        if pool.queue.max > 0 {
            self.wait(format!("{place}.queue.deadline"), pool.queue.deadline);
        }
        if pool.health.failures > 0 {
            self.wait(format!("{place}.health.out"), pool.health.out);
        }
        if !pool.health.slow_start.is_zero() {
            self.wait(format!("{place}.health.slow_start"), pool.health.slow_start);
        }
        let Some(check) = &pool.health.check else { return };
        let place = format!("{place}.health.check");
        self.wait(format!("{place}.interval"), check.interval);
        self.wait(format!("{place}.deadline"), check.deadline);
        self.within(format!("{place}.rise"), check.rise, 1, 1_000);
        self.within(format!("{place}.fall"), check.fall, 1, 1_000);
        if check.port == Some(0) {
            self.add(format!("{place}.port"), Fault::NoPort);
        }
        match &check.kind {
            CheckKind::Tls => self.tls(&place, Scheme::Tls, false),
            CheckKind::Line { expect, .. } if expect.is_empty() => {
                self.add(format!("{place}.kind.expect"), Fault::Nothing);
            }
            _ => {}
        }
    }

    fn backend(&mut self, place: &str, backend: &BackendConfig) {
        let scheme = backend.at.scheme();
        if let Err(refused) = backend.at.must_be(SERVED) {
            self.add(format!("{place}.at"), Fault::NotServed(refused));
        }
        self.tls(place, scheme, backend.tls.is_some());
        if let Address::Ip { endpoint, .. } = &backend.at {
            if endpoint.port() == 0 {
                self.add(format!("{place}.at"), Fault::NoPort);
            }
            if let Some(endpoint) = endpoint.endpoint()
                && endpoint.socket_addr().is_err()
            {
                let zone = endpoint.zone().map(|zone| zone.to_string()).unwrap_or_default();
                self.add(format!("{place}.at"), Fault::Zone(zone));
            }
        }
        if backend.proxy.is_some() {
            self.proxy_out(format!("{place}.proxy"), scheme);
        }
        self.within(format!("{place}.weight"), backend.weight, 0, MAX_WEIGHT);
        if backend.max_sessions == Some(0) {
            self.within(format!("{place}.max_sessions"), 0, 1, u64::from(u32::MAX));
        }
    }

    /// A check that could not even begin, or always fails, would keep nobody up.
    fn checked_by_tls(&mut self, place: &str, backend: &BackendConfig) {
        let (what, scheme) = ("a check of kind TLS", backend.at.scheme());
        if matches!(scheme, Scheme::Unix | Scheme::Quic) {
            self.add(format!("{place}.at"), Fault::NotFor { what, scheme });
        }
    }

    fn circles(&mut self, place: &str, pool: &PoolConfig, listeners: &[ListenerConfig]) {
        for (nth, backend) in pool.backends.iter().enumerate() {
            if let Some(listener) = listeners
                .iter()
                .find(|listener| is_same(&listener.at, &backend.at))
            {
                let fault = Fault::Circle {
                    backend: backend.at.to_string(),
                    listener: listener.at.to_string(),
                };
                self.add(format!("{place}.backends[{nth}].at"), fault);
            }
        }
    }
}

fn is_server_name(name: &str) -> bool {
    let host = name.strip_prefix("*.").unwrap_or(name);
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c);
    !host.is_empty() && host.chars().all(allowed) && !host.split('.').any(str::is_empty)
}

/// What makes an address another one: carriers do not, mapped addresses do not.
#[derive(PartialEq, Eq, Hash)]
enum Same {
    Ip(Endpoint),
    Unix(UnixName),
}

fn address_of(address: &Address) -> Same {
    match address {
        Address::Ip { endpoint, .. } => Same::Ip(endpoint.canonical()),
        Address::Unix(name) => Same::Unix(*name),
    }
}

/// Whether who connects to the backend reaches the listener, as far as addresses tell.
pub(crate) fn is_same(listener: &Address, backend: &Address<Target>) -> bool {
    let (listener, backend) = match (listener, backend) {
        (Address::Unix(listener), Address::Unix(backend)) => return listener == backend,
        (
            Address::Ip { endpoint, .. },
            Address::Ip {
                carrier,
                endpoint: target,
            },
        ) => (
            endpoint,
            (
                carrier.map(Carrier::transport).unwrap_or(target.transport()),
                target,
            ),
        ),
        _ => return false,
    };
    let (transport, target): (Transport, &Target) = backend;
    if transport != listener.transport() || target.port() != listener.port() || listener.port() == 0 {
        return false;
    }
    match (target.host(), target.endpoint()) {
        (_, Some(backend)) => reaches(listener, backend.ip()),
        // The one name that is known without asking.
        (Host::Name(name), None) => {
            name.as_str() == "localhost"
                && [
                    IpAddr::from([127, 0, 0, 1]),
                    IpAddr::from([0_u16, 0, 0, 0, 0, 0, 0, 1]),
                ]
                .into_iter()
                .any(|ip| reaches(listener, ip))
        }
        _ => false,
    }
}

/// Whether a connect to the address, and the listener's port, reaches the listener.
pub(crate) fn reaches(listener: &Endpoint, ip: IpAddr) -> bool {
    let (listening, ip) = (listener.ip().to_canonical(), ip.to_canonical());
    let any = listening.is_unspecified() && (listening.is_ipv6() || ip.is_ipv4());
    listening == ip
        || any && (ip.is_loopback() || ip.is_unspecified())
        || ip.is_unspecified() && listening.is_loopback()
}

#[cfg(test)]
mod tests;
