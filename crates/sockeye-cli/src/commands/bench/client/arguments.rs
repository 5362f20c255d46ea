//! The options of `bench client`: iperf3's letters where iperf3 has one.

use std::path::PathBuf;

use clap::ValueEnum;

use super::conditions::Condition;
use crate::output::RowFormat;
use crate::probing::Family;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:\n\
\x20 sockeye bench client 192.0.2.1\n\
\x20 sockeye bench client tcp://192.0.2.1 -P 4 -R -t 10 --json\n\
\x20 sockeye bench client udp://192.0.2.1 -b 10M --report run.html\n\
\x20 sockeye bench client 192.0.2.1 --mode rr --rate 10000 --fail-if 'p99>200us'\n\
\x20 sockeye bench client 192.0.2.1 --iperf3")]
pub(crate) struct Arguments {
    /// The server: HOST[:PORT], tcp://, udp://, tls://, unix:PATH, raw://HOST
    pub(crate) target: String,
    /// What is measured
    #[arg(long, value_enum, default_value_t = ModeArgument::Stream)]
    pub(crate) mode: ModeArgument,
    /// Seconds to measure
    #[arg(short = 't', long, default_value_t = 10.0, value_name = "SECONDS", value_parser = crate::arguments::seconds, conflicts_with_all = ["bytes", "blocks"])]
    pub(crate) time: f64,
    /// Bytes to send instead of a time: 10M, 1G (powers of 1024)
    #[arg(short = 'n', long, value_name = "BYTES", value_parser = crate::arguments::bytes)]
    pub(crate) bytes: Option<u64>,
    /// Blocks or messages to send instead of a time
    #[arg(short = 'k', long, value_name = "COUNT", conflicts_with = "bytes")]
    pub(crate) blocks: Option<u64>,
    /// Connections, or sources of datagrams, at once
    #[arg(short = 'P', long, default_value_t = 1, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(crate) parallel: u16,
    /// The server sends, the client receives
    #[arg(short = 'R', long, conflicts_with = "bidir")]
    pub(crate) reverse: bool,
    /// Both send at once
    #[arg(long)]
    pub(crate) bidir: bool,
    /// Bits a second for each connection: 10M, 1G (powers of 1000); 0 is as fast as it goes
    /// [default: 0, of UDP 1M]
    #[arg(short = 'b', long, value_name = "BITS", value_parser = crate::arguments::bits)]
    pub(crate) bitrate: Option<u64>,
    /// Bytes of a block or a message [default: 128K, of UDP what fits into a packet, of rr and crr 64]
    #[arg(short = 'l', long, value_name = "BYTES", value_parser = crate::arguments::bytes)]
    pub(crate) length: Option<u64>,
    /// Socket buffers [default: the kernel's]
    #[arg(short = 'w', long, value_name = "BYTES", value_parser = crate::arguments::bytes)]
    pub(crate) window: Option<u64>,
    /// Seconds at the start that do not count
    #[arg(short = 'O', long, default_value_t = 0.0, value_name = "SECONDS", value_parser = crate::arguments::seconds_or_none)]
    pub(crate) omit: f64,
    /// Seconds between two intervals of the report
    #[arg(short = 'i', long, default_value_t = 1.0, value_name = "SECONDS", value_parser = crate::arguments::seconds)]
    pub(crate) interval: f64,
    /// UDP: the same as udp:// in front of the target
    #[arg(short = 'u', long)]
    pub(crate) udp: bool,
    /// Send without copying into the kernel (sendfile)
    #[arg(short = 'Z', long)]
    pub(crate) zerocopy: bool,
    /// Stay on this CPU; CLIENT,SERVER for both sides
    #[arg(short = 'A', long, value_name = "CPU[,CPU]")]
    pub(crate) affinity: Option<String>,
    /// Messages a second over all connections, sent on schedule whether or not answers come
    #[arg(long, value_name = "MESSAGES", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub(crate) rate: Option<u64>,
    /// Seconds of round trips before the load of --mode stream; they go on during it, and tell how much longer a round trip
    /// takes then. 0: none
    #[arg(long, default_value_t = 1.0, value_name = "SECONDS", value_parser = crate::arguments::seconds_or_none)]
    pub(crate) idle: f64,
    #[command(flatten)]
    pub(crate) family: Family,
    /// Certificates to trust (PEM) instead of this machine's, of tls://
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    pub(crate) ca: Option<PathBuf>,
    /// Believe every certificate: whoever is on the way can read and change everything
    #[arg(long)]
    pub(crate) insecure: bool,
    /// The name that the certificate has to have, instead of the target's
    #[arg(long, value_name = "NAME")]
    pub(crate) servername: Option<String>,
    /// The server is iperf3
    #[arg(long, conflicts_with = "sockperf")]
    pub(crate) iperf3: bool,
    /// With --iperf3: the server's own output too
    #[arg(long, requires = "iperf3")]
    pub(crate) get_server_output: bool,
    /// The server is sockperf
    #[arg(long)]
    pub(crate) sockperf: bool,
    /// Write the latencies as an HdrHistogram log (V2), which other programs read and merge
    #[arg(long, value_name = "FILE")]
    pub(crate) hdr: Option<PathBuf>,
    /// Write a page with charts, which needs no network
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Compare with an earlier run's --json
    #[arg(long, value_name = "FILE")]
    pub(crate) compare: Option<PathBuf>,
    /// Exit with status 1 when this holds: p50, p90, p99, p999, max (ns, us, ms, s), rate (bits/s: K, M, G),
    /// loss (%), retransmits, jitter; may be given again. A figure that the run will not have is refused before it
    #[arg(long, value_name = "CONDITION", value_parser = super::conditions::parse)]
    pub(crate) fail_if: Vec<Condition>,
    #[command(flatten)]
    pub(crate) format: RowFormat,
}

/// What is measured, by netperf's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModeArgument {
    /// As many bytes as go through
    Stream,
    /// Request and response, one after another on each connection
    Rr,
    /// Connect, request, response, close
    Crr,
    /// Messages without answers, and how long each was on its way
    Oneway,
}
