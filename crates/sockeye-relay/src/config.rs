//! What a relay should do, as plain data. Nothing here opens anything; [`Config::check`] says all that is wrong with it.

mod check;
#[cfg(feature = "serde")]
mod text;

use std::fmt;
use std::time::Duration;

#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};
use sockeye_endpoint::{Address, NetSet, Target};

pub(crate) use check::reaches;
pub use check::{ConfigErrors, ConfigFault, Fault};

/// A whole relay.
///
/// With the feature `serde` it is read from any format; durations are texts such as `250ms`, `5s`, `1m`, `2h`, addresses
/// and networks those of `sockeye-endpoint`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(deny_unknown_fields))]
pub struct Config {
    /// Where clients come in.
    pub listeners: Vec<ListenerConfig>,
    /// Where they are relayed to.
    pub pools: Vec<PoolConfig>,
    /// What one source may have.
    #[cfg_attr(feature = "serde", serde(default))]
    pub sources: SourceLimits,
    /// How names of backends are looked up.
    #[cfg_attr(feature = "serde", serde(default))]
    pub names: NameRules,
}

/// Where clients come in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(deny_unknown_fields))]
pub struct ListenerConfig {
    /// What it is called in counters and records, and how it is found again at a reload. Its address, if it has no name.
    #[cfg_attr(feature = "serde", serde(default))]
    pub name: Option<String>,
    /// `tcp://`, `udp://`, `tls://` or `unix:`.
    pub at: Address,
    /// The pool that its sessions go to.
    pub to: String,
    /// Pools by the name that a TLS client asks for (SNI), which is read from its first bytes; TLS is not terminated.
    #[cfg_attr(feature = "serde", serde(default))]
    pub server_names: Vec<ServerNameRoute>,
    /// Which of the program's TLS settings a `tls://` listener has.
    #[cfg_attr(feature = "serde", serde(default))]
    pub tls: Option<String>,
    /// Clients send a PROXY header first.
    #[cfg_attr(feature = "serde", serde(default))]
    pub proxy: Option<ProxyIn>,
    /// Sessions that may be open through it at once; beyond it clients wait in the backlog. `None`: any number.
    #[cfg_attr(feature = "serde", serde(default))]
    pub max_sessions: Option<usize>,
    /// Connections that the kernel keeps before they are accepted. `None`: the loop's default.
    #[cfg_attr(feature = "serde", serde(default))]
    pub backlog: Option<u32>,
    /// When sessions end that stand still.
    #[cfg_attr(feature = "serde", serde(default))]
    pub timeouts: Timeouts,
    /// What a `udp://` listener keeps.
    #[cfg_attr(feature = "serde", serde(default))]
    pub udp: UdpRules,
}

impl ListenerConfig {
    /// A listener with defaults for all but its address and its pool.
    #[must_use]
    pub fn new(at: Address, to: impl Into<String>) -> Self {
        Self {
            name: None,
            at,
            to: to.into(),
            server_names: Vec::new(),
            tls: None,
            proxy: None,
            max_sessions: None,
            backlog: None,
            timeouts: Timeouts::default(),
            udp: UdpRules::default(),
        }
    }

    /// Its name, or else its address.
    #[must_use]
    pub fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.at.to_string())
    }
}

/// A pool for some names that clients ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(deny_unknown_fields))]
pub struct ServerNameRoute {
    /// Host names in lower case; `*.example.org` stands for one more label.
    pub names: Vec<String>,
    /// The pool.
    pub to: String,
}

impl ServerNameRoute {
    /// Whether a client that asks for this name, in lower case, is for its pool.
    #[must_use]
    pub fn covers(&self, name: &str) -> bool {
        let rest = name.split_once('.').map(|(_, rest)| rest);
        let is_covered = |pattern: &String| match pattern.strip_prefix("*.") {
            Some(suffix) => rest == Some(suffix),
            None => pattern == name,
        };
        self.names.iter().any(is_covered)
    }
}

/// Whose PROXY headers are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(deny_unknown_fields))]
pub struct ProxyIn {
    /// Who may send one; a header from anywhere else ends the session.
    pub trusted: NetSet,
    /// How long it may take to arrive.
    #[cfg_attr(feature = "serde", serde(default = "five_seconds", with = "text::duration"))]
    pub deadline: Duration,
}

#[cfg(feature = "serde")]
const fn five_seconds() -> Duration {
    Duration::from_secs(5)
}

/// When sessions end that stand still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(Serialize, Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Timeouts {
    /// Without a byte either way.
    #[cfg_attr(feature = "serde", serde(with = "text::duration"))]
    pub idle: Duration,
    /// The same once one side has ended and the other goes on (a half-close).
    #[cfg_attr(feature = "serde", serde(with = "text::duration"))]
    pub half_closed: Duration,
    /// With bytes waiting for a side that takes none of them.
    #[cfg_attr(feature = "serde", serde(with = "text::duration"))]
    pub stalled: Duration,
    /// Until the first bytes of a client say which pool it is for, where there are routes by server name.
    #[cfg_attr(feature = "serde", serde(with = "text::duration"))]
    pub greeting: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(3600),
            half_closed: Duration::from_secs(60),
            stalled: Duration::from_secs(120),
            greeting: Duration::from_secs(10),
        }
    }
}

/// What a `udp://` listener keeps of those who send to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(Serialize, Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct UdpRules {
    /// A flow ends without a datagram either way for so long.
    #[cfg_attr(feature = "serde", serde(with = "text::duration"))]
    pub idle: Duration,
    /// Flows at once: each has a descriptor. For one more, that which has been silent the longest is given up.
    pub max_flows: usize,
}

impl Default for UdpRules {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(60),
            max_flows: 4096,
        }
    }
}

/// Backends that do the same work.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(deny_unknown_fields))]
pub struct PoolConfig {
    /// What listeners call it.
    pub name: String,
    /// Who does the work.
    pub backends: Vec<BackendConfig>,
    /// Who is next.
    #[cfg_attr(feature = "serde", serde(default))]
    pub balance: Balance,
    /// How backends are connected to.
    #[cfg_attr(feature = "serde", serde(default))]
    pub connect: ConnectRules,
    /// How it is known which of them work.
    #[cfg_attr(feature = "serde", serde(default))]
    pub health: HealthRules,
    /// Who waits while all of them are full.
    #[cfg_attr(feature = "serde", serde(default))]
    pub queue: QueueRules,
    /// How long sessions may go on whose backend was taken out of the configuration.
    #[cfg_attr(feature = "serde", serde(default = "half_a_minute", with = "text::duration"))]
    pub drain: Duration,
}

const fn half_a_minute() -> Duration {
    Duration::from_secs(30)
}

impl PoolConfig {
    /// A pool of these backends, with defaults for the rest.
    #[must_use]
    pub fn new(name: impl Into<String>, backends: impl IntoIterator<Item = Address<Target>>) -> Self {
        Self {
            name: name.into(),
            backends: backends.into_iter().map(BackendConfig::new).collect(),
            balance: Balance::default(),
            connect: ConnectRules::default(),
            health: HealthRules::default(),
            queue: QueueRules::default(),
            drain: half_a_minute(),
        }
    }
}

/// One backend.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(deny_unknown_fields))]
pub struct BackendConfig {
    /// What it is called in counters and records, and how it is found again at a reload. Its address, if it has no name.
    #[cfg_attr(feature = "serde", serde(default))]
    pub name: Option<String>,
    /// `tcp://`, `udp://`, `tls://` with an address or a host name, or `unix:`.
    pub at: Address<Target>,
    /// Its share of the work beside the others', 0 to 1,000. 0: no new sessions.
    #[cfg_attr(feature = "serde", serde(default = "one"))]
    pub weight: u32,
    /// Sessions that it may have at once. `None`: any number.
    #[cfg_attr(feature = "serde", serde(default))]
    pub max_sessions: Option<u32>,
    /// It is told the client's address by a PROXY header.
    #[cfg_attr(feature = "serde", serde(default))]
    pub proxy: Option<ProxyVersion>,
    /// Which of the program's TLS settings a `tls://` backend has.
    #[cfg_attr(feature = "serde", serde(default))]
    pub tls: Option<String>,
}

#[cfg(feature = "serde")]
const fn one() -> u32 {
    1
}

impl BackendConfig {
    /// A backend of weight 1 without a limit.
    #[must_use]
    pub fn new(at: Address<Target>) -> Self {
        Self {
            name: None,
            at,
            weight: 1,
            max_sessions: None,
            proxy: None,
            tls: None,
        }
    }

    /// Its name, or else its address.
    #[must_use]
    pub fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.at.to_string())
    }
}

/// Which form of the PROXY header is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(Serialize, Deserialize),
    serde(rename_all = "kebab-case")
)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// Which backend a session goes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(Serialize, Deserialize),
    serde(rename_all = "kebab-case")
)]
#[non_exhaustive]
pub enum Balance {
    /// One after another, by weight, evenly spread.
    #[default]
    RoundRobin,
    /// The one with the fewest sessions for its weight.
    LeastSessions,
    /// The same one for the same source address (Maglev's table): when backends are added or removed few sources change
    /// theirs, and while one is down only its own.
    SourceHash,
}

/// How backends are connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(Serialize, Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct ConnectRules {
    /// How long a connect may take.
    #[cfg_attr(feature = "serde", serde(with = "text::duration"))]
    pub deadline: Duration,
    /// Other backends that are tried after one that failed, before a byte was sent; up to 16.
    pub retries: u32,
}

impl Default for ConnectRules {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(5),
            retries: 2,
        }
    }
}

/// How it is known which backends work.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(Serialize, Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct HealthRules {
    /// They are asked at intervals. `None`: only sessions tell.
    pub check: Option<CheckRules>,
    /// Sessions in a row that fail before a backend is down: a connect that fails, a reset before its first byte. 0: sessions
    /// do not count.
    pub failures: u32,
    /// How long a backend stays down that sessions failed at; where there are checks, these decide after it.
    #[cfg_attr(feature = "serde", serde(with = "text::duration"))]
    pub out: Duration,
    /// How long a backend that is back takes to get its full share, from a sixteenth on. Nothing for `source-hash`.
    #[cfg_attr(feature = "serde", serde(with = "text::duration"))]
    pub slow_start: Duration,
}

impl Default for HealthRules {
    fn default() -> Self {
        Self {
            check: None,
            failures: 3,
            out: Duration::from_secs(10),
            slow_start: Duration::ZERO,
        }
    }
}

/// How backends are asked whether they work. One that is told clients' addresses by a PROXY header gets one from a check too,
/// which says that the relay asks for itself (LOCAL, or UNKNOWN in version 1).
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(Serialize, Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct CheckRules {
    /// What is done.
    pub kind: CheckKind,
    /// Between two checks of one backend.
    #[cfg_attr(feature = "serde", serde(with = "text::duration"))]
    pub interval: Duration,
    /// How long one may take.
    #[cfg_attr(feature = "serde", serde(with = "text::duration"))]
    pub deadline: Duration,
    /// Checks in a row that have to pass until a backend is up.
    pub rise: u32,
    /// Checks in a row that have to fail until it is down.
    pub fall: u32,
    /// Another port of the backend than that of its sessions. Checks are TCP, those of `udp://` backends too.
    pub port: Option<u16>,
}

impl Default for CheckRules {
    fn default() -> Self {
        Self {
            kind: CheckKind::Connect,
            interval: Duration::from_secs(5),
            deadline: Duration::from_secs(2),
            rise: 2,
            fall: 3,
            port: None,
        }
    }
}

/// What a check does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(Serialize, Deserialize),
    serde(rename_all = "kebab-case")
)]
#[non_exhaustive]
pub enum CheckKind {
    /// It connects.
    #[default]
    Connect,
    /// It connects and finishes a TLS handshake. Not for Unix sockets, nor for backends that want a PROXY header.
    Tls,
    /// It sends a text, which may be empty, and expects one in the first line of the answer (of up to 1,024 bytes).
    Line {
        /// What is sent.
        send: String,
        /// What the line has to contain.
        expect: String,
    },
}

/// Who waits while all backends are full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(Serialize, Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct QueueRules {
    /// Sessions that may wait. 0: none, they are reset.
    pub max: usize,
    /// How long one may wait.
    #[cfg_attr(feature = "serde", serde(with = "text::duration"))]
    pub deadline: Duration,
    /// Sessions wait too while no backend works, not only while those that work are full.
    pub when_down: bool,
}

impl Default for QueueRules {
    fn default() -> Self {
        Self {
            max: 0,
            deadline: Duration::from_secs(5),
            when_down: false,
        }
    }
}

/// What one source may have, over all listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(Serialize, Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct SourceLimits {
    /// Sessions and flows at once. `None`: any number.
    pub max_sessions: Option<u32>,
    /// Addresses that share this many leading bits are one source: of IPv4.
    pub v4_prefix: u8,
    /// And of IPv6, where a customer has a network.
    pub v6_prefix: u8,
}

impl Default for SourceLimits {
    fn default() -> Self {
        Self {
            max_sessions: None,
            v4_prefix: 32,
            v6_prefix: 64,
        }
    }
}

/// How names of backends are looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(Serialize, Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct NameRules {
    /// Between two lookups of a name.
    #[cfg_attr(feature = "serde", serde(with = "text::duration"))]
    pub interval: Duration,
    /// How long one may take. The addresses of the last one that succeeded hold until then, and after one that fails.
    #[cfg_attr(feature = "serde", serde(with = "text::duration"))]
    pub deadline: Duration,
}

impl Default for NameRules {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(30),
            deadline: Duration::from_secs(5),
        }
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::RoundRobin => "round-robin",
            Self::LeastSessions => "least-sessions",
            Self::SourceHash => "source-hash",
        })
    }
}
