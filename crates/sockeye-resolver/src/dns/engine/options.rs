//! Whom to ask, how often and how long.

use std::net::SocketAddr;
use std::time::Duration;

use sockeye_endpoint::HostName;

use crate::dns::answer::Carrier;
use crate::dns::cache::CacheOptions;
use crate::dns::name::Name;
use crate::files::ResolvConf;

/// A name server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Server {
    /// Its address, with the zone of a link-local one.
    pub address: SocketAddr,
    /// What carries the questions.
    pub carrier: Carrier,
    /// The name that its certificate has to show, for [`Carrier::Tls`]; without one its address.
    pub tls_name: Option<HostName>,
}

impl Server {
    /// A server that is asked by datagrams, and by TCP where they are too short.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            carrier: Carrier::Udp,
            tls_name: None,
        }
    }

    /// The same server by another carrier.
    #[must_use]
    pub fn by(self, carrier: Carrier) -> Self {
        Self { carrier, ..self }
    }
}

impl From<SocketAddr> for Server {
    fn from(address: SocketAddr) -> Self {
        Self::new(address)
    }
}

/// Whom to ask, how often and how long, and what is kept. The defaults are those of resolv.conf(5), but for more servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsOptions {
    /// The servers, in the order of preference; those after the 32nd are not asked.
    pub servers: Vec<Server>,
    /// Suffixes that are tried with names of few dots.
    pub search: Vec<Name>,
    /// How many dots a name has to have to be tried alone before the suffixes.
    pub ndots: usize,
    /// Whether a name of one label that may be completed is looked up with the suffixes only, never alone.
    pub no_tld_query: bool,
    /// How long a server may take before the next one is asked; 1 ms at least.
    pub timeout: Duration,
    /// How often each server is asked; from 1 to 100.
    pub attempts: u32,
    /// Whether each question begins at another server.
    pub rotate: bool,
    /// The longest datagram to take, as EDNS tells it to servers; 0 for no EDNS. 1,232 bytes fit every path (DNS flag day
    /// 2020).
    pub edns_size: u16,
    /// Whether the case of letters is drawn by chance, and demanded back from servers that once gave it back.
    pub random_case: bool,
    /// Whether cookies are exchanged (RFC 7873).
    pub cookies: bool,
    /// Whether servers are asked to tell if they have checked signatures (AD; RFC 6840 section 5.7).
    pub trust_ad: bool,
    /// Whether addresses are those of IPv4 alone.
    pub no_aaaa: bool,
    /// How many lookups may be under way.
    pub max_lookups: usize,
    /// How many aliases may follow each other.
    pub max_aliases: usize,
    /// How many records of an answer are kept.
    pub max_records: usize,
    /// How many sockets share the questions: each has a port of its own by chance.
    pub sockets: usize,
    /// How many questions a socket asks before another one takes its place.
    pub queries_per_socket: u32,
    /// After how long a socket or connection without a question is closed.
    pub idle: Duration,
    /// For how long a server that did not answer is asked after the others only.
    pub avoid: Duration,
    /// What is kept.
    pub cache: CacheOptions,
}

impl Default for DnsOptions {
    /// No servers; 5 s, 2 attempts, `ndots` 1, EDNS of 1,232 bytes, case by chance, cookies; 65,536 lookups, 16 aliases, 1,024
    /// records, 16 sockets of 256 questions, 2 s idle, 30 s avoided.
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            no_tld_query: false,
            timeout: Duration::from_secs(5),
            attempts: 2,
            rotate: false,
            edns_size: 1_232,
            random_case: true,
            cookies: true,
            trust_ad: false,
            no_aaaa: false,
            max_lookups: 65_536,
            max_aliases: 16,
            max_records: 1_024,
            sockets: 16,
            queries_per_socket: 256,
            idle: Duration::from_secs(2),
            avoid: Duration::from_secs(30),
            cache: CacheOptions::default(),
        }
    }
}

impl DnsOptions {
    /// What resolv.conf says, the rest as by default. Suffixes that are no names are left out.
    #[must_use]
    pub fn from_resolv_conf(conf: &ResolvConf) -> Self {
        let carrier = if conf.options.use_vc {
            Carrier::Tcp
        } else {
            Carrier::Udp
        };
        // An empty text stands for the root: the name alone, which is tried anyway, but for `no-tld-query`.
        let has_root = conf.search.iter().any(|suffix| suffix.is_empty());
        let suffixes = conf.search.iter().filter(|suffix| !suffix.is_empty());
        Self {
            servers: conf
                .servers
                .iter()
                .map(|address| Server::new(*address).by(carrier))
                .collect(),
            search: suffixes.filter_map(|suffix| suffix.parse().ok()).collect(),
            ndots: conf.options.ndots.into(),
            no_tld_query: conf.options.no_tld_query && !has_root,
            timeout: conf.options.timeout,
            attempts: conf.options.attempts.into(),
            rotate: conf.options.rotate,
            trust_ad: conf.options.trust_ad,
            no_aaaa: conf.options.no_aaaa,
            ..Self::default()
        }
    }

    /// The defaults with these servers.
    #[must_use]
    pub fn with_servers(servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self {
            servers: servers.into_iter().map(Server::new).collect(),
            ..Self::default()
        }
    }
}
