//! `sockeye dump --read FILE`: the packets of a capture, decoded.
//!
//! Reads pcap and pcapng, Ethernet (with VLAN tags), Linux cooked, null and raw IP. A packet that is cut off or lies is
//! decoded as far as it is sound, and the fault is shown with its layer and place.

mod capture;
mod cut;
mod decode;
mod link;
mod text;

use std::path::PathBuf;

use anyhow::Context as _;

use crate::exit::Exit;
use crate::output::{Format, Output};

use capture::Capture;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:\n\
\x20 sockeye dump --read capture.pcapng\n\
\x20 tcpdump -i lo -w - | sockeye dump --read - --count 10 --json")]
pub(crate) struct Arguments {
    /// The capture to read, pcap or pcapng; "-" is stdin
    #[arg(short, long, value_name = "FILE")]
    read: PathBuf,
    /// Stop after so many packets
    #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    #[command(flatten)]
    pub(crate) format: Format,
}

/// Decodes the capture, one line a packet.
///
/// # Errors
/// When the file cannot be opened, is no capture, or ends in the middle of a packet; what came before is printed.
pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<Exit> {
    let mut capture = Capture::open(&arguments.read)?;
    let mut number = 0;
    while arguments.count.is_none_or(|count| number < count) {
        let frame = capture
            .next()
            .with_context(|| format!("read {}, after packet {number}", arguments.read.display()))?;
        let Some(frame) = frame else { break };
        number += 1;
        let event = decode::frame(number, &frame);
        if output.is_json() {
            output.event("packet", event)?;
        } else {
            output.line(text::line(&event))?;
        }
    }
    Ok(Exit::Success)
}
