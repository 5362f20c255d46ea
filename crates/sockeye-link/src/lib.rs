//! Frames of a link.
//!
//! | module | what is in it |
//! |---|---|
//! | [`filter`] | capture filters as tcpdump has them: from text to a program for the kernel, or run here |
#![forbid(unsafe_code)]

pub mod filter;
