//! Messages that callbacks want sent, as they are recorded while the callbacks run.

use sockeye_socket::Outgoing;

use crate::id::Token;

/// A message on its way out, as recorded while callbacks run: where its payload lies, and the rest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    pub(crate) place: Place,
    pub(crate) len: u32,
    pub(crate) message: Outgoing<'static>,
}

/// Where the payload of a recorded message lies.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// In the storage of the batch that was received: no copy.
    Received(usize),
    /// In the outbox's own buffer.
    Lent(usize),
}

/// What callbacks want sent on the present message socket.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// The socket whose callback runs.
    pub(crate) socket: Option<Token>,
    pub(crate) records: Vec<Record>,
    pub(crate) lent: Vec<u8>,
    /// Address and length of the received batch's storage, to recognise slices of it.
    pub(crate) arena: (usize, usize),
    /// Bytes at the end of `lent` that a callback is filling.
    pub(crate) lending: usize,
    /// The socket's queue is at its bound: nothing is taken.
    pub(crate) full: bool,
    /// The socket was closed by its own callback: it goes once what was recorded has left.
    pub(crate) closing: bool,
}

/// Recorded payloads: the received batch and the outbox's buffer.
pub(super) struct Payloads<'a> {
    pub(super) received: &'a [u8],
    pub(super) lent: &'a [u8],
}

impl<'a> Payloads<'a> {
    pub(super) fn of(&self, record: &Record) -> &'a [u8] {
        let len = record.len as usize;
        let (bytes, start) = match record.place {
            Place::Received(start) => (self.received, start),
            Place::Lent(start) => (self.lent, start),
        };
        bytes.get(start..start + len).unwrap_or(&[])
    }
}
