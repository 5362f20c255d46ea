//! `sockeye dump`: packets, decoded: of a capture (`--read FILE`) or as they pass an interface (`-i INTERFACE`).
//!
//! Reads pcap and pcapng: Ethernet, 802.11, Linux cooked, PPP, HDLC, MPLS, loopbacks and raw IP, down through tags and tunnels
//! to the innermost packet. A packet that is cut off or lies is decoded as far as it is sound, and the fault is shown with its
//! layer and place.

mod capture;
mod cut;
mod decode;
mod file;
mod filter;
mod hex;
mod layers;
mod live;
mod show;
mod text;

use std::path::PathBuf;

use anyhow::Context as _;

use crate::exit::{Exit, Failure};
use crate::output::{Format, Output};

use filter::Filter;
use sockeye::link::capture::CapturedFrame;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:\n\
\x20 sockeye dump -i eth0\n\
\x20 sockeye dump -i any -c 10 -e -X\n\
\x20 sockeye dump -i eth0 host 192.0.2.1 and tcp port 443\n\
\x20 sockeye dump -i eth0 -w capture.pcapng --rotate-size 100 --files 10\n\
\x20 sockeye dump --read capture.pcapng\n\
\x20 sockeye dump -r capture.pcapng 'tcp port 443 and net 192.0.2.0/24'\n\
\x20 sockeye dump -r capture.pcapng 'tcp[tcpflags] & (tcp-syn|tcp-fin) != 0'\n\
\x20 tcpdump -i lo -w - | sockeye dump --read - --count 10 --json\n\
\n\
With -v the lines of an interface also show TTL, identification, protocol and\n\
length.\n\
To listen takes CAP_NET_RAW: setcap cap_net_raw+ep PROGRAM.")]
pub(crate) struct Arguments {
    /// The capture to read, pcap or pcapng; "-" is stdin
    #[arg(short, long, value_name = "FILE", conflicts_with = "interface")]
    read: Option<PathBuf>,
    #[command(flatten)]
    live: live::Live,
    /// Stop after so many packets
    #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Only packets that this filter takes, as tcpdump's: host, net, port, and, or, not, tcp[13] & 2 != 0, ...
    #[arg(value_name = "FILTER", trailing_var_arg = true)]
    filter: Vec<String>,
    #[command(flatten)]
    show: Show,
    #[command(flatten)]
    pub(crate) format: Format,
}

/// What is shown of a packet beside its line.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct Show {
    /// Addresses and ports as numbers: they always are, and the option is for the habit
    #[arg(short = 'n', long)]
    numeric: bool,
    /// Show the link header, too
    #[arg(short = 'e', long)]
    link_header: bool,
    /// Show the bytes behind the link header in hexadecimal
    #[arg(short = 'x', long)]
    hex: bool,
    /// As -x, and the characters that they are
    #[arg(short = 'X', long)]
    ascii: bool,
}

/// Decodes the capture or what passes, one line a packet.
///
/// # Errors
/// When the filter is none; when the file cannot be opened, is no capture, or ends in the middle of a packet; when the
/// interface cannot be listened to, or vanishes. What came before is printed.
pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<Exit> {
    let mut filter = Filter::new(&arguments.filter)?;
    let Some(path) = &arguments.read else {
        return live::run(&arguments.live, filter, arguments.count, arguments.show, output);
    };
    if arguments.live.is_given() {
        return Err(Failure::usage(
            "--write, --snap-length, --no-promiscuous, --buffer-size, --rotate-size, --rotate-every and --files go with --interface",
        ));
    }
    let mut capture = capture::open(path)?;
    let (mut number, mut shown) = (0, 0);
    while arguments.count.is_none_or(|count| shown < count) {
        let frame = capture
            .next_frame()
            .with_context(|| format!("read {}, after packet {number}", path.display()))?;
        let Some(frame) = frame else { break };
        number += 1;
        if let Some(filter) = &mut filter
            && !filter.takes(&frame)?
        {
            continue;
        }
        shown += 1;
        let event = decode::frame(number, &frame, output.is_json());
        if output.is_json() {
            output.event("packet", event)?;
        } else {
            output.line(text::line(&event))?;
            output.lines(beside(&frame, arguments.show))?;
        }
    }
    Ok(Exit::Success)
}

/// The lines below a packet's own: its bytes, where they are asked for.
fn beside(frame: &CapturedFrame, show: Show) -> Vec<String> {
    if show.hex || show.ascii {
        hex::lines(hex::behind_header(frame), show.ascii)
    } else {
        Vec::new()
    }
}
