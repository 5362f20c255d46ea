//! Control messages: written into and read from plain bytes, without a pointer or an aligned read.
//!
//! The layout is the kernel's: a length as wide as a pointer, level and type as `i32`, then the data, each message
//! padded to the width of a pointer. C's macros walk the same bytes with casts, and libc's `CMSG_NXTHDR` has walked
//! past the end of hostile buffers; slices cannot.

const WORD: usize = size_of::<usize>();
/// Bytes of a header before its data.
pub(crate) const HEADER_LEN: usize = WORD + 8;

/// Bytes a message with `data` bytes takes, padding included (`CMSG_SPACE`).
pub(crate) const fn space(data: usize) -> usize {
    HEADER_LEN + data.next_multiple_of(WORD)
}

/// Room for every control message an IP socket can deliver with one datagram, all of them at once.
///
/// A peer that sized its buffer for the usual ones lost ECN whenever GRO added its own.
pub(crate) const RECV_CONTROL_LEN: usize = space(12)   // IP_PKTINFO
    + space(20)                                        // IPV6_PKTINFO
    + 2 * space(4)                                     // IP_TOS, IPV6_TCLASS
    + 2 * space(4)                                     // IP_TTL, IPV6_HOPLIMIT
    + space(16)                                        // SO_TIMESTAMPNS
    + space(48)                                        // SCM_TIMESTAMPING
    + space(16)                                        // SCM_TIMESTAMPING_PKTINFO
    + space(4)                                         // UDP_GRO
    + space(4)                                         // SO_RXQ_OVFL
    + space(4)                                         // SO_MARK
    + space(16) + space(28)                            // IP_ORIGDSTADDR, IPV6_ORIGDSTADDR
    + space(16 + 28)                                   // IP_RECVERR or IPV6_RECVERR
    + space(4); // IPV6_FLOWINFO

/// Room for every control message a datagram can be sent with.
pub(crate) const SEND_CONTROL_LEN: usize = space(12)   // IP_PKTINFO
    + space(20)                                        // IPV6_PKTINFO
    + 2 * space(4)                                     // IP_TOS, IPV6_TCLASS
    + 2 * space(4)                                     // IP_TTL, IPV6_HOPLIMIT
    + space(4)                                         // IPV6_FLOWINFO
    + space(2)                                         // UDP_SEGMENT
    + space(8)                                         // SCM_TXTIME
    + space(4)                                         // SO_TIMESTAMPING
    + space(4); // SCM_TS_OPT_ID

/// One control message as it was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ControlMessage<'a> {
    pub(crate) level: i32,
    pub(crate) kind: i32,
    pub(crate) data: &'a [u8],
}

impl ControlMessage<'_> {
    /// The first four bytes as an `i32`; the kernel sends TOS as one byte and everything else as four.
    #[inline]
    pub(crate) fn as_i32(&self) -> Option<i32> {
        match self.data {
            [only] => Some(i32::from(*only)),
            data => Some(i32::from_ne_bytes(data.get(..4)?.try_into().ok()?)),
        }
    }

    /// Four bytes from `at` on, in host order.
    #[inline]
    pub(crate) fn u32_at(&self, at: usize) -> Option<u32> {
        Some(u32::from_ne_bytes(
            self.data.get(at..at.checked_add(4)?)?.try_into().ok()?,
        ))
    }

    /// Eight bytes from `at` on, in host order.
    #[inline]
    pub(crate) fn i64_at(&self, at: usize) -> Option<i64> {
        Some(i64::from_ne_bytes(
            self.data.get(at..at.checked_add(8)?)?.try_into().ok()?,
        ))
    }
}

/// The control messages in a received buffer; ends at the first header that does not fit.
#[derive(Clone, Debug)]
pub(crate) struct ControlMessages<'a>(&'a [u8]);

/// Iterates over the control messages of `buffer`, which holds what the kernel said it wrote and no more.
#[inline]
pub(crate) fn messages(buffer: &[u8]) -> ControlMessages<'_> {
    ControlMessages(buffer)
}

impl<'a> Iterator for ControlMessages<'a> {
    type Item = ControlMessage<'a>;

    #[inline]
    fn next(&mut self) -> Option<ControlMessage<'a>> {
        let buffer = self.0;
        // Whatever is wrong below ends the walk for good: there is no second header to trust after a bad first one.
        self.0 = &[];
        let header = buffer.get(..HEADER_LEN)?;
        let length = usize::from_ne_bytes(header.get(..WORD)?.try_into().ok()?);
        let level = i32::from_ne_bytes(header.get(WORD..WORD + 4)?.try_into().ok()?);
        let kind = i32::from_ne_bytes(header.get(WORD + 4..)?.try_into().ok()?);
        let data = buffer.get(HEADER_LEN..length)?;
        // The last message may lack its padding.
        self.0 = length
            .checked_next_multiple_of(WORD)
            .and_then(|next| buffer.get(next..))
            .unwrap_or(&[]);
        Some(ControlMessage { level, kind, data })
    }
}

/// Control messages under construction in a caller's buffer.
#[derive(Debug)]
pub(crate) struct ControlWriter<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

impl<'a> ControlWriter<'a> {
    #[inline]
    pub(crate) fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, len: 0 }
    }

    /// Appends a message. One that does not fit is a fault of this crate's sizes, caught by a test, and left out whole.
    #[inline]
    pub(crate) fn push<const N: usize>(&mut self, level: i32, kind: i32, data: [u8; N]) {
        let Some(room) = self.buffer.get_mut(self.len..self.len + space(N)) else {
            debug_assert!(false, "SEND_CONTROL_LEN has room for all");
            return;
        };
        let (header, body) = room.split_at_mut(HEADER_LEN);
        header[..WORD].copy_from_slice(&(HEADER_LEN + N).to_ne_bytes());
        header[WORD..WORD + 4].copy_from_slice(&level.to_ne_bytes());
        header[WORD + 4..].copy_from_slice(&kind.to_ne_bytes());
        let (data_room, padding) = body.split_at_mut(N);
        data_room.copy_from_slice(&data);
        padding.fill(0);
        self.len += space(N);
    }

    /// As [`push`](Self::push) for data whose length is not known beforehand.
    pub(crate) fn push_bytes(&mut self, level: i32, kind: i32, data: &[u8]) {
        let Some(room) = self.buffer.get_mut(self.len..self.len + space(data.len())) else {
            debug_assert!(false, "the buffer has room for all");
            return;
        };
        let (header, body) = room.split_at_mut(HEADER_LEN);
        header[..WORD].copy_from_slice(&(HEADER_LEN + data.len()).to_ne_bytes());
        header[WORD..WORD + 4].copy_from_slice(&level.to_ne_bytes());
        header[WORD + 4..].copy_from_slice(&kind.to_ne_bytes());
        let (data_room, padding) = body.split_at_mut(data.len());
        data_room.copy_from_slice(data);
        padding.fill(0);
        self.len += space(data.len());
    }

    /// Bytes written so far: what goes into `msg_controllen`.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_layout_is_the_one_of_the_c_macros() {
        // SAFETY: it is arithmetic.
        let space_4 = unsafe { libc::CMSG_SPACE(4) } as usize;
        // SAFETY: likewise.
        let len_0 = unsafe { libc::CMSG_LEN(0) } as usize;
        assert_eq!(space(4), space_4);
        assert_eq!(HEADER_LEN, len_0);
    }

    #[test]
    fn cmsg_reads_are_unaligned() {
        let mut storage = [0u8; 129];
        let mut writer = ControlWriter::new(&mut storage[1..]);
        writer.push(libc::SOL_IP, libc::IP_TTL, 64i32.to_ne_bytes());
        writer.push(libc::SOL_UDP, libc::UDP_GRO, 1200i32.to_ne_bytes());
        let len = writer.len();
        for offset in 0..8 {
            let mut shifted = vec![0u8; offset];
            shifted.extend_from_slice(&storage[1..=len]);
            let read: Vec<_> = messages(&shifted[offset..])
                .map(|m| (m.level, m.kind, m.as_i32()))
                .collect();
            assert_eq!(
                read,
                [
                    (libc::SOL_IP, libc::IP_TTL, Some(64)),
                    (libc::SOL_UDP, libc::UDP_GRO, Some(1200))
                ]
            );
        }
    }

    #[test]
    fn a_length_below_the_header_ends_the_walk() {
        let mut buffer = [0u8; 64];
        for length in 0..HEADER_LEN {
            buffer[..WORD].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(messages(&buffer).next(), None, "length {length}");
        }
        buffer[..WORD].copy_from_slice(&usize::MAX.to_ne_bytes());
        assert_eq!(messages(&buffer).next(), None);
    }

    proptest! {
        /// Any bytes at all: the walk ends, and every message lies inside the buffer.
        #[test]
        fn prop_hostile_control_buffers_are_walked_to_an_end(buffer in proptest::collection::vec(any::<u8>(), 0..600)) {
            let range = buffer.as_ptr_range();
            let mut seen = 0;
            for message in messages(&buffer) {
                seen += 1;
                let data = message.data.as_ptr_range();
                prop_assert!(data.start >= range.start && data.end <= range.end);
                let _ = (message.as_i32(), message.u32_at(0), message.u32_at(usize::MAX), message.i64_at(usize::MAX - 7));
            }
            prop_assert!(seen <= buffer.len() / HEADER_LEN);
        }

        /// Headers whose lengths are near the truth: off by a little, padded or cut.
        #[test]
        fn prop_fabricated_lengths_never_reach_past_the_end(
            lengths in proptest::collection::vec(0usize..80, 1..6),
            cut in 0usize..300,
        ) {
            let mut buffer = Vec::new();
            for length in &lengths {
                buffer.extend_from_slice(&length.to_ne_bytes());
                buffer.extend_from_slice(&libc::SOL_IP.to_ne_bytes());
                buffer.extend_from_slice(&libc::IP_TOS.to_ne_bytes());
                buffer.extend_from_slice(&[0xa5; 24]);
            }
            buffer.truncate(cut);
            let total: usize = messages(&buffer).map(|m| HEADER_LEN + m.data.len()).sum();
            prop_assert!(total <= buffer.len());
        }

        /// What the writer wrote is what the reader reads, in order.
        #[test]
        fn prop_written_messages_read_back(values in proptest::collection::vec((any::<i32>(), any::<i32>(), any::<[u8; 5]>()), 0..8)) {
            let mut buffer = [0xffu8; 8 * space(5)];
            let mut writer = ControlWriter::new(&mut buffer);
            for (level, kind, data) in &values {
                writer.push(*level, *kind, *data);
            }
            let len = writer.len();
            let read: Vec<_> = messages(&buffer[..len]).map(|m| (m.level, m.kind, m.data.to_vec())).collect();
            let expected: Vec<_> = values.iter().map(|(l, k, d)| (*l, *k, d.to_vec())).collect();
            prop_assert_eq!(read, expected);
        }
    }
}
