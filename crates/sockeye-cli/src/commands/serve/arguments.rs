//! The command line of `sockeye serve`, and what makes no sense in it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use sockeye::endpoint::{Address, Scheme, UnixName};
use sockeye::event_loop::{AnswerRate, ReflectorOptions};

use crate::confined::Needs;
use crate::exit::Failure;
use crate::files::{Files, one_stdin};
use crate::output::{Format, note};
use crate::secure::Secure;
use crate::services::{Message, Quotes, UTMP, Users};

/// Answers that all sources may have for each that one may.
const ALL_SOURCES: u32 = 10;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:\n\
\x20 sockeye serve echo --listen tcp://127.0.0.1:7007 --listen udp://[::1]:7007\n\
\x20 sockeye serve chargen --listen tcp://127.0.0.1:0 --shards 2\n\
\x20 sockeye serve daytime --listen tls://127.0.0.1:1313 --cert C.pem --key K.pem\n\
\x20 sockeye serve echo --listen quic://127.0.0.1:7443 --cert C.pem --key K.pem\n\
\x20 sockeye serve qotd --quotes /usr/share/games/fortunes/fortunes --listen :1717\n\
\x20 sockeye serve sockperf --listen udp://127.0.0.1:11111 --udp-rate 0\n\
\x20 sockeye serve echo --listen unix:/run/echo.sock --unix-mode 660\n\
\x20 sockeye serve echo --listen tcp://127.0.0.1:7007 --metrics 127.0.0.1:9100\n\
\n\
Datagrams of udp can claim any sender. No answer is longer than the datagram\n\
that it answers: chargen and qotd are cut to its length, active-users to whole\n\
lines, and time (4 bytes) and daytime (31 bytes) are only said to datagrams\n\
that are as long, so not to empty ones as RFC 867 and 868 have them. None is\n\
answered that claims to come from a socket of this program, or from a port of a\n\
service that answers anything (7, 13, 17, 19, 37, 53, 69, 111, 123, 137, 161,\n\
389, 520, 1434, 1900, 3702, 5353, 5683, 11211 and the like), and each source\n\
gets --udp-rate answers a second, all together ten times that. What is withheld\n\
is said on stderr.\n\
\n\
Unix sockets: a path that a program has left behind which is gone is taken\n\
over, a live one is an error. The path goes with the server. With several\n\
shards the first one serves them. With --datagram the kernel names each sender,\n\
so that answers have no limit; whoever has no name gets none.\n\
\n\
The number of time is 32 bits of seconds since 1900: it begins again from 0 on\n\
7 February 2036.")]
pub(crate) struct Arguments {
    /// What to serve
    pub(super) service: Service,
    /// Where, such as 127.0.0.1:7007 (tcp://), udp://[::1]:0 (port 0: any free one, which is printed), tls://127.0.0.1:7443,
    /// quic://127.0.0.1:7443, unix:/run/echo.sock, unix:@echo, or :7007 on all addresses
    #[arg(long, value_name = "ADDRESS", required = true, value_parser = crate::address::listening)]
    listen: Vec<Address>,
    /// Permissions of the paths of Unix sockets, octal, whatever the umask is; who connects needs the right to write
    #[arg(long, value_name = "MODE", value_parser = mode)]
    unix_mode: Option<u32>,
    /// Unix sockets of datagrams, not of streams
    #[arg(long)]
    datagram: bool,
    /// The certificate of tls:// and quic:// listeners, and those that it was signed with (PEM; - is stdin)
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(super) cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(super) key: Option<PathBuf>,
    /// Quotes for qotd: one a line, or several lines each with lines of % between them, as fortune has them; up to 512
    /// bytes each (- is stdin)
    #[arg(long, value_name = "FILE")]
    quotes: Option<PathBuf>,
    /// The sessions for active-users, as utmp(5) has them [default: /run/utmp]
    #[arg(long, value_name = "FILE")]
    utmp: Option<PathBuf>,
    /// Threads, each with a loop of its own; the kernel spreads connections and flows over them
    #[arg(long, default_value_t = 1, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) shards: u16,
    /// Seconds without a byte in either direction that end a connection; 0: none do
    #[arg(long, default_value_t = 600.0, value_name = "SECONDS", value_parser = crate::probing::interval)]
    idle_timeout: f64,
    /// Connections at a time, of all shards together; others wait in the backlog
    #[arg(long, default_value_t = 65_536, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    max_connections: u32,
    /// Answers a second to one source of datagrams: an IPv4 address, or a /64 of IPv6; 0: no limit
    #[arg(long, default_value_t = 10_000, value_name = "COUNT")]
    udp_rate: u32,
    #[cfg(feature = "metrics")]
    #[command(flatten)]
    pub(super) metrics: crate::metrics::Endpoint,
    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Service {
    /// Send back what comes (RFC 862)
    Echo,
    /// Read and drop (RFC 863)
    #[value(alias = "sink")]
    Discard,
    /// Send characters without end to whoever connects, a piece for each datagram (RFC 864)
    #[value(alias = "source")]
    Chargen,
    /// Say date and time for people, in UTC (RFC 867)
    Daytime,
    /// Say the time as a number (RFC 868)
    Time,
    /// Say a quote (RFC 865)
    #[value(alias = "quote")]
    Qotd,
    /// Say who is logged in (RFC 866)
    #[value(alias = "users")]
    ActiveUsers,
    /// Answer sockperf's ping-pong, under-load and throughput
    Sockperf,
}

#[cfg(feature = "metrics")]
impl Service {
    /// As on the command line.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Discard => "discard",
            Self::Chargen => "chargen",
            Self::Daytime => "daytime",
            Self::Time => "time",
            Self::Qotd => "qotd",
            Self::ActiveUsers => "active-users",
            Self::Sockperf => "sockperf",
        }
    }
}

/// What each loop is told.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) serves: Serves,
    pub(super) idle: Option<Duration>,
    pub(super) max_connections: usize,
    pub(super) reflector: ReflectorOptions,
    pub(super) unix_mode: Option<u32>,
    pub(super) by_datagrams: bool,
    pub(super) secure: Option<Secure>,
    pub(super) is_shared: bool,
    /// Which loop it is for, of how many.
    #[cfg_attr(not(feature = "quic"), expect(dead_code, reason = "only QUIC asks for it"))]
    pub(super) shard: usize,
    #[cfg_attr(not(feature = "quic"), expect(dead_code, reason = "only QUIC asks for it"))]
    pub(super) shards: usize,
}

/// What is served, with what it needs for it.
#[derive(Debug, Clone)]
pub(super) enum Serves {
    Echo,
    Discard,
    Chargen,
    Sockperf,
    Message(Message),
}

impl Arguments {
    /// Where to listen.
    ///
    /// # Errors
    /// Usage: what cannot be listened at, or is given twice.
    pub(super) fn addresses(&self) -> anyhow::Result<Vec<Address>> {
        for address in &self.listen {
            let usage = |why: &str| Err(Failure::usage(format!("{address}: {why}")));
            if let Err(refused) = address.must_be(SCHEMES) {
                return usage(&refused.to_string());
            }
            if *address == Address::Unix(UnixName::UNNAMED) {
                return usage("a path or an @name is needed");
            }
        }
        distinct(&self.listen)?;
        Ok(self.listen.clone())
    }

    /// The part of one loop: what is limited in all is shared out. Reads the files.
    ///
    /// # Errors
    /// Usage: options that nothing would use, and files that are not what they have to be; what cannot be read.
    pub(super) fn plan(&self) -> anyhow::Result<Plan> {
        self.check()?;
        let mut files = Files::default();
        let shards = u32::from(self.shards);
        let part = |rate: u32| AnswerRate::per_second(if rate == 0 { 0 } else { rate.div_ceil(shards) });
        Ok(Plan {
            serves: self.serves(&mut files)?,
            idle: (self.idle_timeout > 0.0).then(|| Duration::from_secs_f64(self.idle_timeout)),
            max_connections: usize::try_from(self.max_connections.div_ceil(shards)).unwrap_or(usize::MAX),
            reflector: ReflectorOptions {
                // The kernel may bring all flows of a source to one loop.
                per_source: AnswerRate::per_second(self.udp_rate),
                total: part(self.udp_rate.saturating_mul(ALL_SOURCES)),
                ..ReflectorOptions::default()
            },
            unix_mode: self.unix_mode,
            by_datagrams: self.datagram,
            secure: match (&self.cert, &self.key) {
                (Some(cert), Some(key)) => Some(Secure::load(cert, key, &mut files)?),
                _ => None,
            },
            is_shared: self.shards > 1,
            shard: 0,
            shards: self.shards.into(),
        })
    }

    /// Whether somewhere such an address is listened at.
    fn has(&self, scheme: Scheme) -> bool {
        self.listen.iter().any(|address| address.scheme() == scheme)
    }

    /// Refuses options that nothing would use, and listeners that lack some.
    fn check(&self) -> anyhow::Result<()> {
        let wrong = |message: &str| Err(Failure::usage(message));
        match (self.has(Scheme::Tls), self.has(Scheme::Quic), self.cert.is_some()) {
            (true, _, false) => {
                return wrong("--listen tls://: it has no certificate: add --cert FILE --key FILE");
            }
            (_, true, false) => {
                return wrong("--listen quic://: it has no certificate: add --cert FILE --key FILE");
            }
            (false, false, true) => {
                return wrong("--cert: it is for tls:// and quic:// listeners, and there is none");
            }
            _ => {}
        }
        if self.datagram && !self.has(Scheme::Unix) {
            return wrong(
                "--datagram: it is for unix: listeners, and there is none (udp:// is datagrams always)",
            );
        }
        if self.quotes.is_some() && self.service != Service::Qotd {
            return wrong("--quotes: only qotd has quotes");
        }
        if self.utmp.is_some() && self.service != Service::ActiveUsers {
            return wrong("--utmp: only active-users looks at sessions");
        }
        let named = [
            ("--cert", &self.cert),
            ("--key", &self.key),
            ("--quotes", &self.quotes),
        ];
        one_stdin(
            named
                .into_iter()
                .filter_map(|(name, path)| Some((name, path.as_deref()?))),
        )
    }

    fn serves(&self, files: &mut Files) -> anyhow::Result<Serves> {
        Ok(match self.service {
            Service::Echo => Serves::Echo,
            Service::Discard => Serves::Discard,
            Service::Chargen => Serves::Chargen,
            Service::Sockperf => Serves::Sockperf,
            Service::Daytime => Serves::Message(Message::Daytime),
            Service::Time => Serves::Message(Message::Time),
            Service::Qotd => Serves::Message(Message::Quote(Arc::new(self.read_quotes(files)?))),
            Service::ActiveUsers => Serves::Message(Message::Users(self.users())),
        })
    }

    fn read_quotes(&self, files: &mut Files) -> anyhow::Result<Quotes> {
        let Some(path) = &self.quotes else {
            return Ok(Quotes::own()?);
        };
        let name = path.display();
        let bytes = files.read(path).context("read the quotes")?;
        let text = String::from_utf8(bytes)
            .map_err(|error| Failure::usage(format!("{name}: no text in UTF-8: {}", error.utf8_error())))?;
        let quotes = Quotes::parse(&text).map_err(|error| Failure::usage(format!("{name}: {error}")))?;
        if quotes.left_out() > 0 {
            note(format_args!(
                "sockeye: serve: {name}: {} of {} quotes are left out: they are longer than 512 bytes or have control \
                 characters",
                quotes.left_out(),
                quotes.left_out() + quotes.len(),
            ));
        }
        Ok(quotes)
    }

    /// Says what whoever runs it should know: that there are no sessions, and who can see them.
    fn users(&self) -> Users {
        let path = self.sessions();
        if let Err(error) = std::fs::File::open(path) {
            note(format_args!(
                "sockeye: serve: {}: {}: until it is there the list of users is empty",
                path.display(),
                crate::exit::words(&error),
            ));
        }
        for address in &self.listen {
            if matches!(address, Address::Ip { endpoint, .. } if !endpoint.ip().is_loopback()) {
                note(format_args!(
                    "sockeye: serve: {address}: whoever can reach it learns who is logged in here; \
                     127.0.0.1 and [::1] are for this machine alone"
                ));
            }
        }
        Users::of(path)
    }

    fn sessions(&self) -> &Path {
        self.utmp.as_deref().unwrap_or(Path::new(UTMP))
    }

    /// What of the file system is needed for as long as it serves.
    pub(super) fn needs(&self) -> Needs {
        let unix = |address: &Address| match *address {
            Address::Unix(name) => Some(name),
            Address::Ip { .. } => None,
        };
        let sockets = Needs::default().removing(self.listen.iter().filter_map(unix));
        #[cfg(feature = "metrics")]
        let sockets = sockets.removing(self.metrics.address().and_then(unix));
        sockets.reading((self.service == Service::ActiveUsers).then(|| self.sessions()))
    }
}

/// What can be served where.
const SCHEMES: &[Scheme] = &[Scheme::Tcp, Scheme::Udp, Scheme::Unix, Scheme::Tls, Scheme::Quic];

/// Permissions in octal, as chmod(1) takes them.
fn mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err("permissions are three octal digits, such as 660".to_owned()),
    }
}

/// Refuses an address that is given twice: shards share their ports, so that the system would not.
fn distinct(addresses: &[Address]) -> anyhow::Result<()> {
    // One port of TCP is one, with TLS and without.
    let plain = |address: &Address| match *address {
        Address::Ip { endpoint, .. } => Address::from(endpoint),
        unix => unix,
    };
    for (index, address) in addresses.iter().enumerate() {
        let any_port = matches!(address, Address::Ip { endpoint, .. } if endpoint.port() == 0);
        let mut earlier = addresses.iter().take(index);
        if !any_port && earlier.any(|earlier| plain(earlier) == plain(address)) {
            return Err(Failure::usage(format!("--listen {address}: given twice")));
        }
    }
    Ok(())
}
