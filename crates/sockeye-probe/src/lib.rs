//! Ping, traceroute, path MTU discovery and port scans as engines without I/O, and services that drive them.
//!
//! An engine is a plain value: the caller sends what `poll_transmit` yields, hands what its sockets receive to
//! `handle_input`, and asks `poll_timeout` when to come back for `poll_transmit` and `poll_event`. Time is a
//! [`Duration`](std::time::Duration) since any origin the caller likes, the only random number is the secret in the
//! options. So the same code runs on the event loop (feature `services`), in a simulation and in a property test.
//!
//! ```
//! use std::time::Duration;
//! use sockeye_probe::{PingOptions, PingOutcome, Pinger};
//!
//! let mut pinger = Pinger::new(PingOptions { count: Some(1), ..PingOptions::new(7) });
//! pinger.add("192.0.2.1:0".parse()?)?;
//!
//! let mut message = Vec::new();
//! let request = pinger.poll_transmit(Duration::ZERO, &mut message).expect("due at once");
//! // ... send `message` to `request.destination` over an ICMP socket; nobody answers ...
//! let deadline = pinger.poll_timeout().expect("a request is in flight");
//! let event = pinger.poll_event(deadline).expect("the request is lost");
//! assert_eq!(event.outcome, PingOutcome::Lost);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Nothing that comes in makes an engine panic, allocate without bound or count twice: what does not carry the tag of
//! a probe in flight is a stranger's.
//!
//! | module | what |
//! |---|---|
//! | [`ping`] | [`Pinger`]: many targets at once |
//! | [`trace`] | [`Tracer`]: the routers on the way, by ICMP, UDP or TCP, classic or Paris; [`Watch`]: round after round, with figures of each hop |
//! | [`mtu`] | [`PmtuProbe`]: the path MTU, with and without ICMP |
//! | [`scan`] | [`Scanner`]: which ports of which hosts are open, by TCP connects or by UDP |
//! | `input` | [`Input`]: what sockets received; [`Cause`]: why a probe came to nothing |
//! | `stats` | [`RttStats`]: round-trip times in constant memory |
//! | `jitter` | [`Jitter`]: the differences between round-trip times, as a mean and as RTP has it |
//! | `history` | [`History`]: the last outcomes, in the order of sending |
//! | `services` | on the event loop (feature `services`) |
//! | `extensions` | [`Extensions`]: MPLS labels and interfaces that routers tell of |
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod extensions;
mod history;
mod input;
mod jitter;
pub mod mtu;
pub mod ping;
pub mod scan;
#[cfg(feature = "services")]
pub mod services;
mod stats;
mod time;
mod token;
pub mod trace;
mod wire;

pub use extensions::{Extensions, Interface};
pub use history::{History, Recent};
pub use input::{Cause, Input, Message};
pub use jitter::Jitter;
pub use mtu::{Limit, MtuEnd, MtuEvent, MtuMethod, MtuOptions, MtuTransmit, PmtuProbe};
pub use ping::{
    AddError, Pace, PingCounts, PingEvent, PingOptions, PingOutcome, PingTransmit, Pinger, TargetId,
};
pub use scan::{
    PortState, ProbeId, Reason, ScanCounts, ScanEvent, ScanMethod, ScanOptions, ScanOutcome, ScanTransmit,
    Scanner, Verdict,
};
pub use sockeye_packet::{InterfaceRole, MplsLabel};
pub use stats::RttStats;
pub use trace::{
    Answer, AnswerKind, Flow, Hop, Path, ProbeState, TraceEnd, TraceEvent, TraceMethod, TraceOptions,
    TraceOptionsError, TraceTransmit, Tracer, Watch, WatchEvent, WatchOptions,
};

#[cfg(test)]
mod prop;
