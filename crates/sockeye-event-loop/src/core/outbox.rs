//! Datagrams and packets out, as callbacks send them: recorded first, a reply that is a slice of a received datagram as
//! its place in the batch, anything else in a buffer. Then all of it leaves in one go, where runs to one peer of one
//! size become one segmented message.

use sockeye_socket::{Outgoing, SendBatch};

use super::inbox::BATCH;
use super::message::Report;
use super::record::{Outbox, Payloads, Place, Record};
use super::table::{Entry, Socket};
use super::{Calling, Inner, Pending};
use crate::backend::Backend;
use crate::id::Token;
use crate::outcome::{CloseReason, Sent};

/// Recorded messages after which the core sends before more is offered.
const RECORDS: usize = 4096;

/// A part of a message's payload, as a message of its own.
fn piece(message: &Outgoing<'_>, start: usize, len: usize) -> Record {
    Record {
        place: Place::Lent(start),
        len: u32::try_from(len).unwrap_or(u32::MAX),
        message: message.with_payload(&[]),
    }
}

impl<B: Backend> Inner<B> {
    /// Callbacks of a socket begin: what they send is recorded.
    pub(super) fn begin_outbox(&mut self, token: Token, arena: (usize, usize)) {
        let full = self.message_socket(token).is_some_and(|socket| socket.is_full());
        let outbox = &mut self.shared.outbox;
        outbox.socket = Some(token);
        outbox.arena = arena;
        outbox.full = full;
        self.shared.calling = Calling::Service;
    }

    /// Records a message of the socket whose callback runs, or sends one of another socket at once.
    #[inline]
    pub(super) fn send_message_now(&mut self, token: Token, message: &Outgoing<'_>) -> Sent {
        let outbox = &mut self.shared.outbox;
        if outbox.socket != Some(token) {
            return self.send_apart(token, message);
        }
        if outbox.closing {
            return Sent::Gone;
        }
        if outbox.full {
            return self.refuse(token);
        }
        let payload = message.payload();
        let (start, len) = outbox.arena;
        let offset = payload.as_ptr().addr().wrapping_sub(start);
        let place = if offset < len && payload.len() <= len - offset {
            Place::Received(offset)
        } else {
            if outbox.lent.len() + payload.len() > self.max_lent {
                return self.refuse(token);
            }
            let at = outbox.lent.len();
            outbox.lent.extend_from_slice(payload);
            Place::Lent(at)
        };
        self.record(token, place, payload.len(), message)
    }

    fn record(&mut self, token: Token, place: Place, len: usize, message: &Outgoing<'_>) -> Sent {
        let outbox = &mut self.shared.outbox;
        if outbox.records.len() >= 4 * RECORDS {
            return self.refuse(token);
        }
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        outbox.records.push(Record {
            place,
            len,
            message: message.with_payload(&[]),
        });
        Sent::Sent
    }

    /// No room: `on_writable` follows.
    #[cold]
    fn refuse(&mut self, token: Token) -> Sent {
        self.shared.stats.full += 1;
        match self.message_socket(token) {
            Some(socket) => socket.notify = true,
            None => return Sent::Gone,
        }
        self.relist(token);
        Sent::Full
    }

    /// Records the datagrams of one payload, or sends those of another socket at once.
    pub(super) fn send_segments_now(&mut self, token: Token, message: &Outgoing<'_>, size: usize) -> Sent {
        let payload = message.payload();
        let size = size.max(1);
        if self.shared.outbox.socket != Some(token) {
            let starts = (0..payload.len().max(1)).step_by(size);
            let records: Vec<Record> = starts
                .map(|start| piece(message, start, size.min(payload.len() - start)))
                .collect();
            return self.send_all_apart(token, &records, payload);
        }
        if payload.len() <= size {
            return self.send_message_now(token, message);
        }
        let outbox = &self.shared.outbox;
        if outbox.records.len() + payload.len().div_ceil(size) > 4 * RECORDS
            || outbox.lent.len() + payload.len() > self.max_lent
        {
            return self.refuse(token);
        }
        let mut sent = Sent::Sent;
        for segment in payload.chunks(size) {
            sent = self.send_message_now(token, &message.with_payload(segment));
            if !sent.is_taken() {
                break;
            }
        }
        sent
    }

    /// A message of a socket whose callback does not run: sent now, or queued behind what waits.
    fn send_apart(&mut self, token: Token, message: &Outgoing<'_>) -> Sent {
        let payload = message.payload();
        self.send_all_apart(token, &[piece(message, 0, payload.len())], payload)
    }

    fn send_all_apart(&mut self, token: Token, records: &[Record], payload: &[u8]) -> Sent {
        let sender = self.sender.get_or_insert_with(|| Box::new(SendBatch::new(BATCH)));
        let payloads = Payloads {
            received: &[],
            lent: payload,
        };
        let mut report = Report::default();
        let Some(Entry {
            socket: Socket::Message(socket),
            ..
        }) = self.table.get_mut(token)
        else {
            return Sent::Gone;
        };
        let full = socket.has_no_room(payload.len());
        if !full {
            socket.send(sender, records, &payloads, &mut report);
            socket.watch(&mut self.backend, token);
        }
        let waits = socket.waits();
        self.count_messages(token);
        self.shared.stats.datagrams_out += report.sent as u64;
        self.shared.stats.send_errors += report.failed.len() as u64;
        for failure in report.failed {
            // Its service is told once the present callback has returned: it may be the one that sends.
            self.shared.pending.push_back(Pending::SendFailed(token, failure));
        }
        match (full, waits) {
            (true, _) => self.refuse(token),
            (false, true) => Sent::Queued,
            (false, false) => Sent::Sent,
        }
    }

    pub(super) fn lend_now(&mut self, token: Token, max_len: usize) -> Option<&mut [u8]> {
        let outbox = &mut self.shared.outbox;
        // Outside of its callbacks there is no flush that would take it up.
        if outbox.socket != Some(token)
            || outbox.full
            || outbox.closing
            || outbox.lent.len() + max_len > self.max_lent
        {
            return None;
        }
        let at = outbox.lent.len();
        outbox.lent.resize(at + max_len, 0);
        outbox.lending = max_len;
        outbox.lent.get_mut(at..)
    }

    pub(super) fn commit_now(&mut self, token: Token, message: &Outgoing<'_>, len: usize) -> Sent {
        let outbox = &mut self.shared.outbox;
        let at = outbox
            .lent
            .len()
            .saturating_sub(std::mem::take(&mut outbox.lending));
        outbox.lent.truncate(at + len);
        self.record(token, Place::Lent(at), len, message)
    }

    pub(super) fn must_flush_now(&self) -> bool {
        let outbox = &self.shared.outbox;
        outbox.records.len() >= RECORDS || outbox.lent.len() >= self.max_lent / 2
    }

    /// Sends what the callbacks of a socket recorded.
    pub(super) fn flush_outbox(&mut self, token: Token, received: &[u8]) -> Report {
        let mut report = Report::default();
        if self.shared.outbox.records.is_empty() {
            self.forget_outbox(token);
            return report;
        }
        let Outbox {
            mut records,
            mut lent,
            closing,
            ..
        } = std::mem::take(&mut self.shared.outbox);
        let payloads = Payloads {
            received,
            lent: &lent,
        };
        let sender = self.sender.get_or_insert_with(|| Box::new(SendBatch::new(BATCH)));
        if let Some(Entry {
            socket: Socket::Message(socket),
            ..
        }) = self.table.get_mut(token)
        {
            socket.send(sender, &records, &payloads, &mut report);
            socket.watch(&mut self.backend, token);
            if socket.waits() {
                self.count_messages(token);
            }
        }
        // The storage goes back for the next batch.
        records.clear();
        lent.clear();
        self.shared.outbox = Outbox {
            records,
            lent,
            closing,
            ..Outbox::default()
        };
        self.forget_outbox(token);
        report
    }

    /// Nothing is recorded any more; a socket that was closed meanwhile goes.
    pub(super) fn forget_outbox(&mut self, token: Token) {
        let outbox = &mut self.shared.outbox;
        outbox.records.clear();
        outbox.lent.clear();
        outbox.socket = None;
        outbox.full = false;
        if std::mem::take(&mut outbox.closing) {
            self.end_socket(token, CloseReason::Closed);
        }
    }

    pub(super) fn close_socket_now(&mut self, token: Token) {
        if self.message_socket(token).is_none() {
            return;
        }
        if self.shared.outbox.socket == Some(token) {
            // What its callback has sent before still leaves.
            self.shared.outbox.closing = true;
        } else {
            self.end_socket(token, CloseReason::Closed);
        }
    }
}
