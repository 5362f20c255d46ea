//! `sockeye dump --read FILE`: the packets of a capture, decoded.
//!
//! Reads pcap and pcapng: Ethernet, 802.11, Linux cooked, PPP, HDLC, MPLS, loopbacks and raw IP, down through tags and tunnels
//! to the innermost packet. A packet that is cut off or lies is decoded as far as it is sound, and the fault is shown with its
//! layer and place.

mod capture;
mod cut;
mod decode;
mod filter;
mod layers;
mod text;

use std::path::PathBuf;

use anyhow::Context as _;

use crate::exit::Exit;
use crate::output::{Format, Output};

use filter::Filter;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:\n\
\x20 sockeye dump --read capture.pcapng\n\
\x20 sockeye dump -r capture.pcapng 'tcp port 443 and net 192.0.2.0/24'\n\
\x20 sockeye dump -r capture.pcapng 'tcp[tcpflags] & (tcp-syn|tcp-fin) != 0'\n\
\x20 tcpdump -i lo -w - | sockeye dump --read - --count 10 --json")]
pub(crate) struct Arguments {
    /// The capture to read, pcap or pcapng; "-" is stdin
    #[arg(short, long, value_name = "FILE")]
    read: PathBuf,
    /// Stop after so many packets
    #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Only packets that this filter takes, as tcpdump's: host, net, port, and, or, not, tcp[13] & 2 != 0, ...
    #[arg(value_name = "FILTER", trailing_var_arg = true)]
    filter: Vec<String>,
    #[command(flatten)]
    pub(crate) format: Format,
}

/// Decodes the capture, one line a packet.
///
/// # Errors
/// When the filter is none, or the file cannot be opened, is no capture, or ends in the middle of a packet; what came before
/// is printed.
pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<Exit> {
    let mut filter = Filter::new(&arguments.filter)?;
    let mut capture = capture::open(&arguments.read)?;
    let (mut number, mut shown) = (0, 0);
    while arguments.count.is_none_or(|count| shown < count) {
        let frame = capture
            .next_frame()
            .with_context(|| format!("read {}, after packet {number}", arguments.read.display()))?;
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
        }
    }
    Ok(Exit::Success)
}
