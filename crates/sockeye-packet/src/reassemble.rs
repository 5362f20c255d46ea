//! Putting fragments together again: bounded, on the caller's clock, and strict about overlaps.
//!
//! # References
//! RFC 791 section 3.2, RFC 8200 section 4.5, RFC 5722 (overlaps drop the datagram), RFC 6946 (atomic fragments).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use crate::bytes::{be8, low16, put, put16, range};
use crate::error::{Fault, Layer, PacketError};
use crate::ipv4::Ipv4;
use crate::ipv6::{IPV6_HEADER_LEN, Ipv6};
use crate::protocol;

/// What a [`Reassembler`] may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReassemblyLimits {
    /// Datagrams at a time; one more pushes out the oldest.
    pub datagrams: usize,
    /// Bytes of payload of one datagram.
    pub datagram_bytes: usize,
    /// Fragments of one datagram.
    pub fragments: usize,
    /// Bytes held for all datagrams together; what exceeds it is refused.
    pub total_bytes: usize,
    /// How long a datagram may take, from its first fragment on.
    pub timeout: Duration,
}

impl Default for ReassemblyLimits {
    /// 64 datagrams of 65,535 bytes in 128 fragments, 1 MiB in all, 60 seconds (RFC 8200 section 4.5).
    fn default() -> Self {
        Self {
            datagrams: 64,
            datagram_bytes: 65_535,
            fragments: 128,
            total_bytes: 1 << 20,
            timeout: Duration::from_secs(60),
        }
    }
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reassembly<'a> {
    /// It is no fragment; use it as it is.
    Whole,
    /// It was a fragment, or a repetition of one; others are missing.
    Pending,
    /// It was the last one missing: the whole packet, header first, lengths and header checksum set right.
    Complete(&'a [u8]),
}

/// A datagram that was not completed in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired<'a> {
    /// Who sent it.
    pub source: IpAddr,
    /// To whom.
    pub destination: IpAddr,
    /// The header of its first fragment. Only if that has come a "time exceeded", code 1, may be sent (RFC 792, RFC 4443 section 3.3).
    pub first_header: Option<&'a [u8]>,
}

/// What ties fragments together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    source: IpAddr,
    destination: IpAddr,
    id: u32,
    /// 0 for IPv6, where it does not count (RFC 8200 section 4.5).
    protocol: u8,
}

/// A deadline, and a number that tells apart those with the same one.
type Due = (Duration, u64);

#[derive(Debug)]
struct Datagram {
    /// Its place in the order of deadlines.
    due: Due,
    /// Of the fragment at offset 0; empty until that has come.
    header: Vec<u8>,
    data: Vec<u8>,
    /// Start and end of what has come, in order, without overlaps.
    ranges: Vec<(usize, usize)>,
    /// Known once the last fragment has come.
    total: Option<usize>,
    /// A fragment overlapped: this and all that still comes is dropped until the deadline.
    poisoned: bool,
}

/// One fragment on its way in.
struct Piece<'a> {
    key: Key,
    header: &'a [u8],
    offset: usize,
    more: bool,
    payload: &'a [u8],
}

/// Puts fragments together again.
///
/// `now` is any clock that does not go back, as the time since its origin; nothing here reads one.
///
/// ```
/// use std::time::Duration;
/// use sockeye_packet::{Ipv4, Ipv4Builder, Ipv4Fragments, Reassembler, Reassembly, ReassemblyLimits};
/// let mut packet = [0; 1020];
/// Ipv4Builder::new([10, 0, 0, 1].into(), [10, 0, 0, 2].into())
///     .id(7).dont_fragment(false).protocol(253).write(&mut packet, &[7; 1000])?;
/// let mut fragments = Ipv4Fragments::new(Ipv4::new(&packet[..])?, 576)?;
/// let mut reassembler = Reassembler::new(ReassemblyLimits::default());
/// let mut buffer = [0; 576];
/// while let Some(len) = fragments.write_next(&mut buffer)? {
///     match reassembler.push_v4(&Ipv4::new(&buffer[..len])?, Duration::ZERO)? {
///         Reassembly::Complete(whole) => assert_eq!(whole, packet),
///         other => assert_eq!(other, Reassembly::Pending),
///     }
/// }
/// assert!(reassembler.is_empty());
/// # Ok::<(), sockeye_packet::PacketError>(())
/// ```
#[derive(Debug)]
pub struct Reassembler {
    limits: ReassemblyLimits,
    datagrams: BTreeMap<Key, Datagram>,
    /// The same by their deadlines, the next one first.
    order: BTreeMap<Due, Key>,
    opened: u64,
    held_bytes: usize,
    /// The last completed packet, lent to the caller.
    complete: Vec<u8>,
}

impl Reassembler {
    /// An empty one.
    #[must_use]
    pub const fn new(limits: ReassemblyLimits) -> Self {
        Self {
            limits,
            datagrams: BTreeMap::new(),
            order: BTreeMap::new(),
            opened: 0,
            held_bytes: 0,
            complete: Vec::new(),
        }
    }

    /// Datagrams waiting for fragments, those refused for an overlap included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.datagrams.len()
    }

    /// Whether nothing is waiting.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    /// Bytes of payload held for unfinished datagrams.
    #[must_use]
    pub const fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// When [`Reassembler::expire`] has something to do next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        self.order.keys().next().map(|&(deadline, _)| deadline)
    }

    /// Drops what was not completed in time and tells of each.
    pub fn expire(&mut self, now: Duration, mut on_expired: impl FnMut(Expired<'_>)) {
        while let Some(next) = self.order.first_entry()
            && next.key().0 <= now
        {
            let key = next.remove();
            let Some(datagram) = self.datagrams.remove(&key) else {
                continue;
            };
            self.held_bytes -= datagram.data.len();
            on_expired(Expired {
                source: key.source,
                destination: key.destination,
                first_header: Some(datagram.header.as_slice()).filter(|header| !header.is_empty()),
            });
        }
    }

    /// Takes in an IPv4 packet.
    ///
    /// # Errors
    /// [`Fault::Overlap`], [`Fault::Limit`], [`Fault::TooLarge`] beyond 65,535 bytes, [`Fault::LengthField`] for a fragment
    /// other than the last whose length is no multiple of 8. After the first, the datagram is dropped and what still comes of it too.
    pub fn push_v4<T: AsRef<[u8]>>(
        &mut self,
        packet: &Ipv4<T>,
        now: Duration,
    ) -> Result<Reassembly<'_>, PacketError> {
        if !packet.is_fragment() {
            return Ok(Reassembly::Whole);
        }
        let piece = Piece {
            key: Key {
                source: IpAddr::V4(packet.source()),
                destination: IpAddr::V4(packet.destination()),
                id: u32::from(packet.id()),
                protocol: packet.protocol(),
            },
            header: packet.header(),
            offset: packet.fragment_offset(),
            more: packet.more_fragments(),
            payload: packet.payload(),
        };
        let Some(datagram) = self.insert(&piece, now)? else {
            return Ok(Reassembly::Pending);
        };
        self.finish(&datagram);
        let total = self.complete.len();
        let mut header = Ipv4::unchecked(self.complete.as_mut_slice());
        header.set_total_len(low16(total));
        header.set_fragment(0, false);
        header.fill_checksum();
        Ok(Reassembly::Complete(&self.complete))
    }

    /// Takes in an IPv6 packet. An atomic fragment comes back complete, without its fragment header.
    ///
    /// # Errors
    /// As [`Reassembler::push_v4`], and faults of the chain of extension headers.
    pub fn push_v6<T: AsRef<[u8]>>(
        &mut self,
        packet: &Ipv6<T>,
        now: Duration,
    ) -> Result<Reassembly<'_>, PacketError> {
        let mut next_at = 6;
        let mut walk = packet.extensions();
        let found = loop {
            match walk.next() {
                None => return Ok(Reassembly::Whole),
                Some(Err(error)) => return Err(error.shifted(IPV6_HEADER_LEN)),
                Some(Ok(header)) if header.protocol == protocol::FRAGMENT => break header,
                Some(Ok(header)) => next_at = IPV6_HEADER_LEN + header.offset,
            }
        };
        let here = walk.here();
        let Some(fragment) = here.fragment else {
            return Ok(Reassembly::Whole);
        };
        // The header as it goes into the whole packet: without the fragment header, and naming what followed it.
        let mut header = range(packet.bytes(), 0, IPV6_HEADER_LEN + found.offset).to_vec();
        put(&mut header, next_at, [found.next_header]);
        if fragment.is_atomic() {
            self.complete.clear();
            self.complete.extend_from_slice(&header);
            self.complete.extend_from_slice(here.payload);
        } else {
            let piece = Piece {
                key: Key {
                    source: IpAddr::V6(packet.source()),
                    destination: IpAddr::V6(packet.destination()),
                    id: fragment.id,
                    protocol: 0,
                },
                header: &header,
                offset: usize::from(fragment.offset),
                more: fragment.more,
                payload: here.payload,
            };
            let Some(datagram) = self.insert(&piece, now)? else {
                return Ok(Reassembly::Pending);
            };
            self.finish(&datagram);
        }
        let payload_len = self.complete.len() - IPV6_HEADER_LEN;
        put16(&mut self.complete, 4, low16(payload_len));
        Ok(Reassembly::Complete(&self.complete))
    }

    /// Puts header and payload of a finished datagram into the buffer that is lent out.
    fn finish(&mut self, datagram: &Datagram) {
        self.complete.clear();
        self.complete.extend_from_slice(&datagram.header);
        self.complete.extend_from_slice(&datagram.data);
    }

    /// Takes in one fragment; gives the datagram out once it is complete.
    fn insert(&mut self, piece: &Piece<'_>, now: Duration) -> Result<Option<Datagram>, PacketError> {
        self.expire(now, |_| {});
        if !self.datagrams.contains_key(&piece.key) {
            self.open(piece.key, now)?;
        }
        let Some(datagram) = self.datagrams.get_mut(&piece.key) else {
            return Ok(None);
        };
        let before = datagram.data.len();
        let room = self.limits.total_bytes - self.held_bytes;
        let result = datagram.add(piece, &self.limits, room);
        if result.is_err() {
            datagram.poison();
        }
        self.held_bytes = self.held_bytes - before + datagram.data.len();
        if result? {
            return Ok(self.take(&piece.key));
        }
        Ok(None)
    }

    /// Takes a datagram out.
    fn take(&mut self, key: &Key) -> Option<Datagram> {
        let datagram = self.datagrams.remove(key)?;
        self.order.remove(&datagram.due);
        self.held_bytes -= datagram.data.len();
        Some(datagram)
    }

    /// Makes a place for a datagram, at the cost of the oldest if there is none.
    fn open(&mut self, key: Key, now: Duration) -> Result<(), PacketError> {
        if self.limits.datagrams == 0 {
            return Err(PacketError::new(Layer::Fragment, Fault::Limit, 0, 0, 1));
        }
        if self.datagrams.len() >= self.limits.datagrams
            && let Some(oldest) = self.order.values().next().copied()
        {
            self.take(&oldest);
        }
        self.opened += 1;
        let due = (now.saturating_add(self.limits.timeout), self.opened);
        self.order.insert(due, key);
        let datagram = Datagram {
            due,
            header: Vec::new(),
            data: Vec::new(),
            ranges: Vec::new(),
            total: None,
            poisoned: false,
        };
        self.datagrams.insert(key, datagram);
        Ok(())
    }
}

impl Datagram {
    /// Forgets all but the key, which goes on refusing.
    fn poison(&mut self) {
        self.poisoned = true;
        self.data = Vec::new();
        self.ranges = Vec::new();
        self.header = Vec::new();
    }

    /// Adds a fragment; `true` once nothing is missing. `room` is what may still be held in all.
    fn add(
        &mut self,
        piece: &Piece<'_>,
        limits: &ReassemblyLimits,
        room: usize,
    ) -> Result<bool, PacketError> {
        let fail = |fault, required, actual| {
            Err(PacketError::new(
                Layer::Fragment,
                fault,
                piece.offset,
                required,
                actual,
            ))
        };
        let (start, len) = (piece.offset, piece.payload.len());
        let end = start + len;
        if self.poisoned {
            return fail(Fault::Overlap, 0, len);
        }
        if piece.more && (len == 0 || len % 8 != 0) {
            return fail(Fault::LengthField, len.next_multiple_of(8).max(8), len);
        }
        if end > usize::from(u16::MAX) {
            return fail(Fault::TooLarge, usize::from(u16::MAX), end);
        }
        if end > limits.datagram_bytes {
            return fail(Fault::Limit, limits.datagram_bytes, end);
        }
        let place = self.ranges.partition_point(|(from, _)| *from < start);
        if let Some(known) = self.repetition(place, piece) {
            return if known {
                Ok(false)
            } else {
                fail(Fault::Overlap, 0, len)
            };
        }
        if self.ranges.len() >= limits.fragments {
            return fail(Fault::Limit, limits.fragments, self.ranges.len() + 1);
        }
        let grown = end.saturating_sub(self.data.len());
        if grown > room {
            return fail(Fault::Limit, room, grown);
        }
        let reach = self.ranges.last().map_or(0, |(_, end)| *end);
        let total = if piece.more { self.total } else { Some(end) };
        // Two ends, or something behind the end: as much a contradiction as an overlap.
        if self.total.is_some() && total != self.total
            || total.is_some_and(|total| end > total || reach > total)
        {
            return fail(Fault::Overlap, self.total.unwrap_or(end), end.max(reach));
        }
        self.total = total;
        if self.data.len() < end {
            self.data.resize(end, 0);
        }
        if let Some(room) = self.data.get_mut(start..end) {
            room.copy_from_slice(piece.payload);
        }
        if len > 0 {
            self.ranges.insert(place, (start, end));
        }
        if start == 0 {
            self.header = piece.header.to_vec();
        }
        if !self.is_complete() {
            return Ok(false);
        }
        // Total length of IPv4, payload length of IPv6.
        let counted = if be8(&self.header, 0) >> 4 == 4 {
            0
        } else {
            IPV6_HEADER_LEN
        };
        let whole = self.header.len() + self.data.len() - counted;
        if whole > usize::from(u16::MAX) {
            return fail(Fault::TooLarge, usize::from(u16::MAX), whole);
        }
        Ok(true)
    }

    /// `Some(true)` if the fragment has come before, byte for byte; `Some(false)` if it overlaps another; `None` if it is new.
    fn repetition(&self, place: usize, piece: &Piece<'_>) -> Option<bool> {
        let (start, end) = (piece.offset, piece.offset + piece.payload.len());
        if start == end {
            return None;
        }
        if self.ranges.get(place) == Some(&(start, end)) {
            return Some(
                self.data.get(start..end) == Some(piece.payload) && (piece.more || self.total == Some(end)),
            );
        }
        let before = place.checked_sub(1).and_then(|before| self.ranges.get(before));
        let overlaps = before.is_some_and(|(_, before_end)| *before_end > start)
            || self.ranges.get(place).is_some_and(|(next, _)| *next < end);
        overlaps.then_some(false)
    }

    fn is_complete(&self) -> bool {
        let Some(total) = self.total else { return false };
        let mut reach = 0;
        for (start, end) in &self.ranges {
            if *start != reach {
                return false;
            }
            reach = *end;
        }
        reach == total && !self.header.is_empty()
    }
}
