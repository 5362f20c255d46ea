//! The command line of `sockeye relay`.

use std::path::PathBuf;

use clap::ValueEnum;
use sockeye::endpoint::{Address, Network, Target};

use super::inherited::Which;
use crate::output::{RowFormat, Rows};

/// The rows of `--csv`.
pub(crate) const ROWS: Rows = Rows {
    events: &["session"],
    columns: &[
        "unix_ns",
        "listener",
        "client",
        "pool",
        "backend",
        "attempts",
        "bytes_in",
        "bytes_out",
        "waited_ns",
        "lasted_ns",
        "end",
        "why",
    ],
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:\n\
\x20 sockeye relay --listen :8080 --to 127.0.0.1:80 unix:@web --balance source\n\
\x20 sockeye relay --listen tls://:8443 --cert C.pem --key K.pem --to 127.0.0.1:80\n\
\x20 sockeye relay --listen udp://127.0.0.1:5353 --to udp://127.0.0.1:53\n\
\x20 sockeye relay --listen 127.0.0.1:8080 --to quic://example.org:443\n\
\x20 sockeye relay --listen unix:@api --to tls://example.org:443 --check tls\n\
\x20 sockeye relay --config relay.toml --check-config\n\
\x20 sockeye relay --listen :8080 --to 127.0.0.1:80 --metrics 127.0.0.1:9100\n\
\n\
A file has the same and more: several pools, routes by server name (SNI),\n\
weights, limits of a backend, queues:\n\
\n\
\x20 [[listeners]]\n\
\x20 at = \"tls://127.0.0.1:8443\"\n\
\x20 to = \"web\"\n\
\x20 tls = \"site\"\n\
\n\
\x20 [[pools]]\n\
\x20 name = \"web\"\n\
\x20 backends = [\n\
\x20   { at = \"tcp://127.0.0.1:80\", weight = 2 },\n\
\x20   { at = \"unix:/run/web.sock\" },\n\
\x20 ]\n\
\x20 health = { check = { kind = \"connect\", interval = \"5s\" } }\n\
\n\
\x20 [tls.server.site]\n\
\x20 cert = \"cert.pem\"   # from the folder of this file\n\
\x20 key = \"key.pem\"\n\
\n\
SIGHUP reads the file and the certificates again; no session is lost, and what\n\
cannot be taken over changes nothing. SIGTERM and SIGINT end: new clients are\n\
refused, sessions have --drain-timeout, a second signal ends them at once.\n\
Sockets that systemd has opened: --listen fd:NAME, or tls://fd:NAME under TLS;\n\
in a file, the listeners at their addresses. With NOTIFY_SOCKET (Type=notify)\n\
it tells when it is ready, reloads and ends. Each session is a line on stdout\n\
once it is over.")]
pub(crate) struct Arguments {
    /// Where clients come in: tcp://127.0.0.1:8080 or 127.0.0.1:8080 (port 0: any free one, which is printed), udp://[::1]:5353,
    /// tls://127.0.0.1:8443, unix:/run/web.sock, unix:@web, fd:NAME for a socket that was passed
    #[arg(long, value_name = "ADDRESS", num_args = 1.., value_parser = listen)]
    pub(super) listen: Vec<Listen>,
    /// The backends: the same, and names such as tcp://localhost:80 or tls://example.org:443. Datagrams go to those at
    /// udp://, streams to the others
    #[arg(long, value_name = "ADDRESS", num_args = 1.., value_parser = crate::address::peer)]
    pub(super) to: Vec<Address<Target>>,
    /// Everything from this file (TOML; - is stdin) instead of from options
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "listen", "to", "balance", "proxy_in", "proxy_out", "connect_timeout", "idle_timeout", "max_sessions",
        "max_per_source", "check", "check_interval", "cert", "key", "ca", "insecure",
    ])]
    pub(super) config: Option<PathBuf>,
    /// Look at everything, open nothing, and say whether it is in order
    #[arg(long)]
    pub(super) check_config: bool,
    /// Which backend is next
    #[arg(long, value_name = "HOW", default_value = "round-robin")]
    pub(super) balance: Balance,
    /// Clients in these networks begin with a PROXY header; nobody else is let in
    #[arg(long, value_name = "NETWORK", num_args = 1..)]
    pub(super) proxy_in: Vec<Network>,
    /// Backends are told the client's address by a PROXY header
    #[arg(long, value_name = "VERSION")]
    pub(super) proxy_out: Option<Proxy>,
    /// Seconds that a connect to a backend may take
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS", value_parser = crate::arguments::seconds)]
    pub(super) connect_timeout: f64,
    /// Seconds without a byte either way that end a session [default: 3600, of datagrams 60]
    #[arg(long, value_name = "SECONDS", value_parser = crate::arguments::seconds)]
    pub(super) idle_timeout: Option<f64>,
    /// Sessions at a time through each listener; others wait in the backlog
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) max_sessions: Option<u32>,
    /// Sessions at a time of one source: an IPv4 address, or a /64 of IPv6
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) max_per_source: Option<u32>,
    /// Ask the backends whether they work; one that does not gets no sessions
    #[arg(long, value_name = "HOW")]
    pub(super) check: Option<Check>,
    /// Seconds between two checks of a backend
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS", requires = "check",
        value_parser = crate::arguments::seconds)]
    pub(super) check_interval: f64,
    /// The certificate of tls:// and quic:// listeners, and those that it was signed with (PEM)
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(super) cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(super) key: Option<PathBuf>,
    /// Certificates to trust at tls:// and quic:// backends (PEM) instead of this machine's
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    pub(super) ca: Option<PathBuf>,
    /// Believe every certificate of tls:// and quic:// backends: whoever is on the way can read and change everything
    #[arg(long)]
    pub(super) insecure: bool,
    /// Seconds that sessions have to end after SIGTERM or SIGINT; 0: none
    #[arg(long, default_value_t = 30.0, value_name = "SECONDS", value_parser = crate::probing::interval)]
    pub(super) drain_timeout: f64,
    /// A line of totals on stderr at this interval
    #[arg(long, value_name = "SECONDS", value_parser = crate::arguments::seconds)]
    pub(super) stats: Option<f64>,
    #[cfg(feature = "metrics")]
    #[command(flatten)]
    pub(super) metrics: crate::metrics::Endpoint,
    #[command(flatten)]
    pub(crate) format: RowFormat,
}

/// Where clients come in.
#[derive(Debug, Clone)]
pub(super) enum Listen {
    At(Address),
    /// At a socket that was passed.
    Passed {
        which: Which,
        tls: bool,
    },
}

/// Which backend is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Balance {
    /// One after another
    RoundRobin,
    /// The one with the fewest sessions
    LeastSessions,
    /// The same one for the same source address
    #[value(alias = "source-hash")]
    Source,
}

/// A form of the PROXY header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Proxy {
    /// A line of text
    V1,
    /// Binary
    V2,
}

/// How backends are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Check {
    /// Connect
    Connect,
    /// Connect and finish a TLS handshake
    Tls,
}

fn listen(text: &str) -> Result<Listen, String> {
    let plain = text.strip_prefix("fd:").map(|which| (which, false));
    let passed = plain.or_else(|| text.strip_prefix("tls://fd:").map(|which| (which, true)));
    if let Some((which, tls)) = passed {
        let which = Which::parse(which)?;
        return Ok(Listen::Passed { which, tls });
    }
    Ok(Listen::At(crate::address::listening(text)?))
}
