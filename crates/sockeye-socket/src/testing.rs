//! Control messages read from bytes that did not come from a kernel: for tests and fuzzers, by the feature of this name.

use std::net::SocketAddr;

use crate::sys::control;
use crate::{Meta, QueueEntry, errqueue};

/// What the control messages of a received datagram say, and the size of GRO's segments. The bytes are laid out as
/// [cmsg(3)](https://man7.org/linux/man-pages/man3/cmsg.3.html) says; what is cut or unknown is passed over.
#[must_use]
pub fn read_control(control: &[u8]) -> (Meta, Option<usize>) {
    let mut meta = Meta::NONE;
    let segment_size = control::read(control, &mut meta);
    (meta, segment_size)
}

/// The entry of the error queue that comes with these control messages and this quotation, about a message to `destination`.
#[must_use]
pub fn read_queue_entry(control: &[u8], destination: Option<SocketAddr>, quoted: &[u8]) -> QueueEntry {
    errqueue::entry_of(control, destination, quoted)
}
