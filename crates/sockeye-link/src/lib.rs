//! Frames of a link: packet sockets with metadata, batches, rings shared with the kernel, fanout, capture
//! filters.
//!
//! A [`LinkSocket`] carries the frames of an interface as they are on the wire, or without their link header
//! ([`FrameMode`]), of all protocols or of one. It sees what this host receives and sends, before and after the host's
//! own network code. It needs CAP_NET_RAW.
//!
//! ```no_run
//! use std::time::Duration;
//! use sockeye_link::LinkSocket;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let link = LinkSocket::open("eth0")?;
//! let mut buffer = [0; 2048];
//! link.wait_readable(Duration::from_secs(1))?;
//! let frame = link.recv_msg(&mut buffer)?;
//! println!("{} bytes, {:?}", frame.len, frame.meta.source.packet_type);
//! # Ok(())
//! # }
//! ```
//!
//! What to know of the kernel: a frame that this host sends may be longer than the MTU and have no checksum yet, because
//! the interface was to cut it and fill it in. The kernel takes a VLAN tag out of a frame and reports it beside it
//! ([`FrameMeta::vlan`]). One program that receives does not take frames away from another, nor from the host.
//!
//! | module | what it holds |
//! |---|---|
//! | [`LinkSocket`] | the socket: one frame or many a call |
//! | [`LinkOptions`] | everything that is settled before the first frame comes |
//! | [`ReceiveRing`], [`SendRing`] | memory shared with the kernel: no call and no copy for a frame |
//! | [`Fanout`] | several sockets share the frames of an interface |
//! | [`Membership`] | promiscuous and all-multicast mode while it lives |
//! | [`filter`] | capture filters as tcpdump has them: from text to a program for the kernel, or run here |
//! | [`capture`] | captures, pcap and pcapng: a row of frames (feature `capture`) |
//! | [`LinkError`], [`LinkCause`] | why there is no socket |
//! | [`IncomingFrame`], [`LinkAddress`], ... | the messages, from `sockeye-socket` |
//!
//! With the feature `mio` (on by default) sockets and rings are [`mio::event::Source`](https://docs.rs/mio).

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

#[cfg(feature = "capture")]
pub mod capture;
mod error;
mod fanout;
pub mod filter;
mod membership;
mod options;
mod ring;
mod socket;
#[cfg(feature = "mio")]
mod source;

pub use error::{LinkCause, LinkError};
pub use fanout::{Fanout, FanoutKind};
pub use membership::Membership;
pub use options::{FrameMode, LinkOptions};
pub use ring::{ReceiveRing, SendRing};
pub use socket::{LinkSocket, LinkStatistics};

pub use sockeye_packet::ethertype;
pub use sockeye_socket::link::{
    Block, BlockFrames, ChecksumStatus, FrameMeta, FrameRecvBatch, FrameSendBatch, IncomingFrame,
    LinkAddress, PacketType, ReceivedBlock, RingLayout, SendSlot, VlanTag,
};
pub use sockeye_socket::{Op, filter as packet_filter};
