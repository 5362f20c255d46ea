//! Frames of a link.
//!
//! | module | what is in it |
//! |---|---|
//! | [`capture`] | captures, pcap and pcapng: a row of frames (feature `capture`) |
//! | [`filter`] | capture filters as tcpdump has them: from text to a program for the kernel, or run here |
#![forbid(unsafe_code)]

#[cfg(feature = "capture")]
pub mod capture;
pub mod filter;
