//! Which datagrams a service may answer, so that nobody can use it against others or against itself.
//!
//! Anybody can write any source address into a datagram. A service that answers whatever it gets can be made to answer
//! itself, or another such service, for ever by one forged datagram, on any port; and to send what it says to a victim.
//! No list of ports and no look at the payload prevents that in all cases: a limit for each source and one for all do.
//! [`ReflectorGuard`] has both, and refuses what is certain before it counts.
//!
//! # References
//! CVE-1999-0103 (echo and chargen answer each other), CVE-2024-2169 (loops of application protocols), US-CERT
//! TA14-017A (amplification by UDP), RFC 862 to 868 (the services that answer anything).

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;

use crate::time::Time;

/// Ports of services that answer what they do not understand, by a reply or by an error: a datagram from there may be an
/// answer already, and an answer to it be answered again. In order.
///
/// The services of RFC 862 to 868; those of US-CERT TA14-017A; those that later reports added (SLP, IPMI, CoAP,
/// WS-Discovery, ARD, Sentinel, Ubiquiti discovery, VxWorks, game servers); and those that send errors back (Kerberos,
/// kpasswd as in CVE-2002-2443, IKE, SIP, STUN). Ports from 32768 on are left out: they are the source ports of clients.
pub const ANSWERING_PORTS: [u16; 41] = [
    7,     // echo
    11,    // systat
    13,    // daytime
    17,    // qotd
    18,    // msp
    19,    // chargen
    37,    // time
    53,    // domain
    69,    // tftp
    88,    // kerberos
    111,   // sunrpc
    123,   // ntp
    137,   // netbios-ns
    161,   // snmp
    177,   // xdmcp
    389,   // ldap (CLDAP)
    427,   // svrloc (SLP)
    464,   // kpasswd
    500,   // isakmp
    520,   // router (RIP)
    521,   // ripng
    623,   // asf-rmcp (IPMI)
    1434,  // ms-sql-m
    1604,  // icabrowser
    1900,  // ssdp
    3283,  // net-assistant (ARD)
    3478,  // stun
    3702,  // ws-discovery
    4500,  // ipsec-nat-t
    5060,  // sip
    5093,  // sentinel-lm
    5351,  // nat-pmp
    5353,  // mdns
    5355,  // llmnr
    5683,  // coap
    6881,  // BitTorrent
    10001, // Ubiquiti discovery
    11211, // memcache
    17185, // wdbrpc (VxWorks)
    27015, // Source engine
    27960, // Quake III
];

/// Sources of one set: as many are looked at for each datagram.
const WAYS: usize = 8;

/// So many answers a second, and so many at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerRate {
    /// Answers a second in the long run.
    pub per_second: NonZeroU32,
    /// Answers that may go at once after a pause.
    pub burst: NonZeroU32,
}

impl AnswerRate {
    /// So many a second, and a second's worth at once; `None` for 0.
    #[must_use]
    pub const fn per_second(count: u32) -> Option<Self> {
        match NonZeroU32::new(count) {
            Some(count) => Some(Self {
                per_second: count,
                burst: count,
            }),
            None => None,
        }
    }

    /// Nanoseconds from one answer to the next.
    fn interval_ns(self) -> u64 {
        1_000_000_000 / u64::from(self.per_second.get())
    }

    /// How far ahead of the clock a bucket may be and still give.
    fn tolerance_ns(self) -> u64 {
        self.interval_ns() * u64::from(self.burst.get() - 1)
    }
}

/// What a [`ReflectorGuard`] lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReflectorOptions {
    /// To each source: an IPv4 address, or a /64 of IPv6. `None` is no limit.
    pub per_source: Option<AnswerRate>,
    /// To all sources together. `None` is no limit.
    pub total: Option<AnswerRate>,
    /// Sources that are told apart, rounded up to a multiple of 8; 16 bytes each. With more of them at a time some share
    /// a limit.
    pub sources: usize,
    /// Whether datagrams from [`ANSWERING_PORTS`] are refused.
    pub refuse_answering_ports: bool,
}

impl Default for ReflectorOptions {
    /// 10,000 answers a second to each of 4,096 sources, 100,000 to all.
    fn default() -> Self {
        Self {
            per_source: AnswerRate::per_second(10_000),
            total: AnswerRate::per_second(100_000),
            sources: 4096,
            refuse_answering_ports: true,
        }
    }
}

/// Why an answer must not go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Withheld {
    /// The source is no address of one host, or has port 0: nobody is there.
    NoSource,
    /// The source is one of one's own sockets.
    Own,
    /// The source is a port of [`ANSWERING_PORTS`].
    AnsweringPort,
    /// That source has had as many answers as it may have.
    SourceRate,
    /// All sources together have had as many as they may have.
    TotalRate,
}

/// How many answers a guard has withheld, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WithheldCounts {
    /// [`Withheld::NoSource`].
    pub no_source: u64,
    /// [`Withheld::Own`].
    pub own: u64,
    /// [`Withheld::AnsweringPort`].
    pub answering_port: u64,
    /// [`Withheld::SourceRate`].
    pub source_rate: u64,
    /// [`Withheld::TotalRate`].
    pub total_rate: u64,
}

impl WithheldCounts {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.no_source + self.own + self.answering_port + self.source_rate + self.total_rate
    }

    fn count(&mut self, reason: Withheld) {
        let counter = match reason {
            Withheld::NoSource => &mut self.no_source,
            Withheld::Own => &mut self.own,
            Withheld::AnsweringPort => &mut self.answering_port,
            Withheld::SourceRate => &mut self.source_rate,
            Withheld::TotalRate => &mut self.total_rate,
        };
        *counter += 1;
    }
}

/// Decides for each datagram whether its answer may go: never to one's own sockets, never to ports that answer anything,
/// and never more than a rate to one source and to all.
///
/// It has no clock and no socket: a service asks it before it answers. Memory is bounded, and a datagram costs the same
/// however many sources there are. An answer should not be longer than what it answers either: that is the service's part.
///
/// ```
/// use sockeye_event_loop::{Datagram, DatagramService, Datagrams, ReflectorGuard, ReflectorOptions};
///
/// struct Echo(ReflectorGuard);
///
/// impl DatagramService for Echo {
///     fn on_open(&mut self, socket: &mut Datagrams<'_>) {
///         if let Ok(own) = socket.local_addr() {
///             self.0.add_own(own);
///         }
///     }
///
///     fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
///         if self.0.admit(datagram.source, socket.now()).is_ok() {
///             let _ = socket.send(&datagram.echo());
///         }
///     }
/// }
///
/// let echo = Echo(ReflectorGuard::new(ReflectorOptions::default(), 0x5eed));
/// assert_eq!(echo.0.withheld().total(), 0);
/// ```
#[derive(Clone, Debug)]
pub struct ReflectorGuard {
    options: ReflectorOptions,
    seed: u64,
    own: Vec<SocketAddr>,
    total: Bucket,
    sources: Vec<[Source; WAYS]>,
    withheld: WithheldCounts,
}

/// A token bucket as one time (the virtual scheduling of ITU-T I.371): when it will be full again.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    full_at_ns: u64,
}

impl Bucket {
    /// Its content after one more answer; `None` where that is more than the rate allows.
    fn after_one(self, rate: AnswerRate, now_ns: u64) -> Option<Self> {
        let begun_ns = self.full_at_ns.max(now_ns);
        (begun_ns - now_ns <= rate.tolerance_ns()).then(|| Self {
            full_at_ns: begun_ns.saturating_add(rate.interval_ns()),
        })
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Source {
    /// See [`key_of`]; 0 is nobody's.
    key: u64,
    bucket: Bucket,
}

impl ReflectorGuard {
    /// A guard that has seen nobody. The `seed` decides which sources share a set of the table: a random one keeps others
    /// from knowing it.
    #[must_use]
    pub fn new(options: ReflectorOptions, seed: u64) -> Self {
        let sets = match options.per_source {
            Some(_) => options.sources.div_ceil(WAYS).max(1),
            None => 0,
        };
        Self {
            options,
            seed,
            own: Vec::new(),
            total: Bucket::default(),
            sources: vec![[Source::default(); WAYS]; sets],
            withheld: WithheldCounts::default(),
        }
    }

    /// Never answers this address: one of one's own sockets. The unspecified address stands for all: then that port is
    /// answered nowhere, as which addresses are one's own may change at any time.
    pub fn add_own(&mut self, own: SocketAddr) {
        let own = canonical(own);
        if !self.own.contains(&own) {
            self.own.push(own);
        }
    }

    /// Whether a datagram from `source` may be answered, and counts the answer. `now` is on any clock that does not go
    /// back, such as [`Datagrams::now`](crate::Datagrams::now).
    ///
    /// # Errors
    /// Why not, which is counted too.
    #[inline]
    pub fn admit(&mut self, source: SocketAddr, now: Time) -> Result<(), Withheld> {
        let source = canonical(source);
        let verdict = match self.certain(source) {
            Some(reason) => Err(reason),
            None => self.take(source.ip(), now.as_nanos()),
        };
        if let Err(reason) = verdict {
            self.withheld.count(reason);
        }
        verdict
    }

    /// How many answers were withheld so far, and why.
    #[must_use]
    pub const fn withheld(&self) -> WithheldCounts {
        self.withheld
    }

    /// What is decided without counting.
    fn certain(&self, source: SocketAddr) -> Option<Withheld> {
        let (ip, port) = (source.ip(), source.port());
        if port == 0 || ip.is_unspecified() || ip.is_multicast() || is_broadcast(ip) {
            return Some(Withheld::NoSource);
        }
        let is_own = |own: &SocketAddr| own.port() == port && (own.ip() == ip || own.ip().is_unspecified());
        if self.own.iter().any(is_own) {
            return Some(Withheld::Own);
        }
        (self.options.refuse_answering_ports && ANSWERING_PORTS.binary_search(&port).is_ok())
            .then_some(Withheld::AnsweringPort)
    }

    /// Takes one answer from the source's bucket and from everybody's, or from neither.
    fn take(&mut self, ip: IpAddr, now_ns: u64) -> Result<(), Withheld> {
        let total = match self.options.total {
            Some(rate) => self.total.after_one(rate, now_ns).ok_or(Withheld::TotalRate),
            None => Ok(self.total),
        };
        if let Some(rate) = self.options.per_source {
            let source = self.source(ip, now_ns);
            let bucket = source
                .bucket
                .after_one(rate, now_ns)
                .ok_or(Withheld::SourceRate)?;
            // Where all have had theirs, this one keeps its own.
            total?;
            source.bucket = bucket;
        }
        self.total = total?;
        Ok(())
    }

    /// The place of a source. One that is new takes the place of the one whose bucket is the fullest, and takes over what
    /// is missing in it: to forget a full bucket loses nothing, and a flood of made-up sources gets no more than the
    /// table's rates.
    fn source(&mut self, ip: IpAddr, now_ns: u64) -> &mut Source {
        let key = key_of(ip);
        let set = usize::try_from(mix(key ^ self.seed) % self.sources.len() as u64).unwrap_or(0);
        let set = &mut self.sources[set];
        let place = set
            .iter()
            .position(|source| source.key == key)
            .unwrap_or_else(|| {
                let missing = |source: &Source| source.bucket.full_at_ns.saturating_sub(now_ns);
                (0..WAYS).min_by_key(|way| missing(&set[*way])).unwrap_or(0)
            });
        let source = &mut set[place];
        source.key = key;
        source
    }
}

/// Mapped IPv4 addresses as IPv4; without zone and flow label.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn is_broadcast(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if ip.is_broadcast())
}

/// An IPv4 address or the upper half of an IPv6 one as a number that is not 0.
fn key_of(ip: IpAddr) -> u64 {
    match ip {
        // Within ff00::/8, where no source is.
        IpAddr::V4(ip) => 0xff00_0000_0000_0000 | u64::from(ip.to_bits()),
        IpAddr::V6(ip) => match u64::try_from(ip.to_bits() >> 64) {
            // ::1 and what else begins with 64 zeros: elsewhere within ff00::/8.
            Ok(0) | Err(_) => 0xff01_0000_0000_0000,
            Ok(upper) => upper,
        },
    }
}

/// The finaliser of splitmix64.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::time::Duration;

    use super::*;

    const START: Time = Time::from_nanos(1_000_000_000);

    fn guard(per_source: u32, total: u32) -> ReflectorGuard {
        let options = ReflectorOptions {
            per_source: AnswerRate::per_second(per_source),
            total: AnswerRate::per_second(total),
            ..ReflectorOptions::default()
        };
        ReflectorGuard::new(options, 7)
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn admitted(guard: &mut ReflectorGuard, source: SocketAddr, now: Time, tries: u32) -> u32 {
        (0..tries)
            .map(|_| u32::from(guard.admit(source, now).is_ok()))
            .sum()
    }

    #[test]
    fn ones_own_sockets_are_never_answered() {
        let mut guard = guard(10, 10);
        guard.add_own(at("192.0.2.1:7007"));
        guard.add_own(at("[::]:7008"));
        for source in [
            "192.0.2.1:7007",
            "[::ffff:192.0.2.1]:7007",
            "127.0.0.1:7008",
            "[2001:db8::1]:7008",
        ] {
            assert_eq!(guard.admit(at(source), START), Err(Withheld::Own), "{source}");
        }
        assert_eq!(guard.admit(at("192.0.2.1:7009"), START), Ok(()));
        assert_eq!(guard.admit(at("192.0.2.2:7007"), START), Ok(()));
        assert_eq!(guard.withheld().own, 4);
        assert_eq!(guard.withheld().total(), 4);
    }

    #[test]
    fn ports_that_answer_anything_are_never_answered() {
        let mut guard = guard(10, 10);
        assert!(ANSWERING_PORTS.is_sorted());
        for port in [
            7, 13, 17, 19, 37, 53, 69, 111, 123, 137, 161, 389, 520, 1434, 1900, 3702, 5353, 5683, 11211,
        ] {
            let source = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), port));
            assert_eq!(guard.admit(source, START), Err(Withheld::AnsweringPort), "{port}");
        }
        let options = ReflectorOptions {
            refuse_answering_ports: false,
            ..ReflectorOptions::default()
        };
        assert_eq!(
            ReflectorGuard::new(options, 7).admit(at("192.0.2.1:53"), START),
            Ok(())
        );
    }

    #[test]
    fn nobody_is_at_a_group_or_at_port_0() {
        let mut guard = guard(10, 10);
        for source in [
            "0.0.0.0:9999",
            "224.0.0.1:9999",
            "255.255.255.255:9999",
            "[ff02::1]:9999",
            "[::]:9999",
            "192.0.2.1:0",
        ] {
            assert_eq!(
                guard.admit(at(source), START),
                Err(Withheld::NoSource),
                "{source}"
            );
        }
    }

    #[test]
    fn each_source_has_a_bucket_that_fills_with_time() {
        let mut guard = guard(100, 1_000_000);
        let source = at("192.0.2.1:9999");
        assert_eq!(admitted(&mut guard, source, START, 1000), 100);
        assert_eq!(guard.admit(source, START), Err(Withheld::SourceRate));
        assert_eq!(
            admitted(&mut guard, at("192.0.2.2:9999"), START, 1000),
            100,
            "another has its own"
        );
        assert_eq!(
            admitted(&mut guard, at("192.0.2.1:8888"), START, 1000),
            0,
            "whatever the port"
        );
        assert_eq!(
            admitted(&mut guard, source, START + Duration::from_millis(100), 1000),
            10
        );
        assert_eq!(
            admitted(&mut guard, source, START + Duration::from_secs(3600), 1000),
            100
        );
        assert_eq!(guard.withheld().source_rate, 900 + 1 + 900 + 1000 + 990 + 900);
    }

    #[test]
    fn a_64_of_ipv6_is_one_source() {
        let mut guard = guard(100, 1_000_000);
        assert_eq!(admitted(&mut guard, at("[2001:db8::1]:9999"), START, 1000), 100);
        assert_eq!(
            admitted(&mut guard, at("[2001:db8::ffff:1]:9999"), START, 1000),
            0
        );
        assert_eq!(
            admitted(&mut guard, at("[2001:db8:0:1::1]:9999"), START, 1000),
            100
        );
        assert_eq!(admitted(&mut guard, at("[::1]:9999"), START, 1000), 100);
    }

    #[test]
    fn all_sources_share_the_total() {
        let mut guard = guard(100, 250);
        let taken: Vec<u32> = (1..=4)
            .map(|host| {
                admitted(
                    &mut guard,
                    SocketAddr::from((Ipv4Addr::new(192, 0, 2, host), 9999)),
                    START,
                    1000,
                )
            })
            .collect();
        assert_eq!(taken, [100, 100, 50, 0]);
        // What everybody's limit withheld is not taken from the source's own.
        assert_eq!(guard.withheld().total_rate, 950 + 1000);
        assert_eq!(
            admitted(
                &mut guard,
                at("192.0.2.4:9999"),
                START + Duration::from_secs(1),
                1000
            ),
            100
        );
    }

    #[test]
    fn no_limit_and_no_table_where_none_is_asked_for() {
        let mut guard = guard(0, 0);
        assert_eq!(
            admitted(&mut guard, at("192.0.2.1:9999"), START, 100_000),
            100_000
        );
        assert!(guard.sources.is_empty());
    }

    #[test]
    fn made_up_sources_get_no_more_than_the_tables_rates() {
        let mut guard = guard(100, 100_000_000);
        let flood = |guard: &mut ReflectorGuard, now: Time| -> u32 {
            (0..1_000_000_u32)
                .map(|host| {
                    let ip =
                        Ipv6Addr::from_bits(u128::from(0x2001_0db8_0000_0000_u64 + u64::from(host)) << 64);
                    u32::from(guard.admit(SocketAddr::new(ip.into(), 9999), now).is_ok())
                })
                .sum()
        };
        let sources = u32::try_from(guard.options.sources).unwrap();
        assert!(flood(&mut guard, START) <= sources * 100);
        let again = flood(&mut guard, START + Duration::from_millis(10));
        assert!((1..=sources).contains(&again), "{again}: one each in 10 ms");
        assert_eq!(
            guard.sources.len() * WAYS,
            guard.options.sources,
            "and no more memory"
        );
        // One who is really there has an answer a little later again.
        assert_eq!(
            guard.admit(at("192.0.2.1:9999"), START + Duration::from_millis(30)),
            Ok(())
        );
    }

    #[test]
    fn the_slowest_and_the_fastest_rates_hold() {
        let mut slow = guard(1, 1);
        assert_eq!(admitted(&mut slow, at("192.0.2.1:9999"), START, 10), 1);
        assert_eq!(
            admitted(
                &mut slow,
                at("192.0.2.1:9999"),
                START + Duration::from_millis(999),
                10
            ),
            0
        );
        assert_eq!(
            admitted(
                &mut slow,
                at("192.0.2.1:9999"),
                START + Duration::from_secs(1),
                10
            ),
            1
        );
        let mut fast = guard(u32::MAX, u32::MAX);
        assert_eq!(admitted(&mut fast, at("192.0.2.1:9999"), Time::MAX, 1000), 1000);
    }
}
