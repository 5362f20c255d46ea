//! What a client's test tells while it runs and when it is over, apart from how it is printed.

use std::net::SocketAddr;

use super::super::client::figures::{Interval, Outcome};

/// Something that is to be told, or done.
#[derive(Debug)]
pub(super) enum Told {
    /// Data flows from now on.
    Began,
    /// All streams within one interval that counts.
    Intervals(Vec<Interval>),
    /// It is over, and both sides have told what they counted.
    Ended(Box<Outcome>),
    /// Another socket of datagrams is needed, to this server. Sockets are made between two turns of the loop.
    NeedsSocket(SocketAddr),
    /// The connects, or the sockets, failed: with its status.
    Broken(anyhow::Error),
}
