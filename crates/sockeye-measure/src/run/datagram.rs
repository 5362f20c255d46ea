//! The header of messages that keep their boundaries (UDP, raw IP), and of `oneway` messages in streams.

use super::message::RunId;

/// Bytes of a header.
pub const HEADER_LEN: usize = 32;
/// Bytes in front of each `oneway` message of a stream: its number and when it was sent, big-endian.
pub const STREAM_HEADER_LEN: usize = 16;
/// The longest message, header included: what UDP over IPv4 holds.
pub const MAX_LEN: u32 = 65_507;

const MAGIC: u16 = 0x5342;

/// What a datagram is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Client: this source is that flow. The whole run id stands in it.
    Join,
    /// Server: yes.
    Joined,
    /// Client: a message of `stream` or `oneway`.
    Up,
    /// Server: likewise.
    Down,
    /// Client: asks for an answer of the same length.
    Request,
    /// Server: that answer.
    Response,
}

impl Kind {
    const fn number(self) -> u8 {
        match self {
            Self::Join => 1,
            Self::Joined => 2,
            Self::Up => 3,
            Self::Down => 4,
            Self::Request => 5,
            Self::Response => 6,
        }
    }

    const fn of(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Join,
            2 => Self::Joined,
            3 => Self::Up,
            4 => Self::Down,
            5 => Self::Request,
            6 => Self::Response,
            _ => return None,
        })
    }
}

/// The header: everything big-endian.
///
/// ```text
///  0  magic (2)  version 1 (1)  kind (1)  flow (4)
///  8  the first half of the run id (8)
/// 16  number (8)     of Join: the second half of the run id
/// 24  sent at (8)    nanoseconds on the sender's clock
/// ```
///
/// A receiver believes the first half of the run id together with the address that has joined by the whole of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What it is.
    pub kind: Kind,
    /// The number of the flow.
    pub flow: u32,
    /// Half of the run id.
    pub key: u64,
    /// Its number from 0 on.
    pub number: u64,
    /// When it was sent, in nanoseconds on the sender's clock.
    pub sent_ns: u64,
}

/// The two halves of a run id.
#[must_use]
pub fn halves(run: RunId) -> (u64, u64) {
    let bits = u128::from_be_bytes(run.to_bytes());
    #[expect(clippy::cast_possible_truncation, reason = "the halves of it")]
    ((bits >> 64) as u64, bits as u64)
}

impl Header {
    /// Asks to join.
    #[must_use]
    pub fn join(run: RunId, flow: u32) -> Self {
        let (key, number) = halves(run);
        Self {
            kind: Kind::Join,
            flow,
            key,
            number,
            sent_ns: 0,
        }
    }

    /// The run that a `Join` names.
    #[must_use]
    pub fn run(&self) -> RunId {
        let bits = u128::from(self.key) << 64 | u128::from(self.number);
        RunId::from_bytes(bits.to_be_bytes())
    }

    /// Reads the header of a datagram; `None` where it has none of this protocol.
    #[must_use]
    pub fn parse(data: &[u8]) -> Option<Self> {
        let (head, _) = data.split_first_chunk::<HEADER_LEN>()?;
        let [m0, m1, 1, kind, f0, f1, f2, f3, rest @ ..] = *head else {
            return None;
        };
        if u16::from_be_bytes([m0, m1]) != MAGIC {
            return None;
        }
        let (key, rest) = rest.split_first_chunk::<8>()?;
        let (number, rest) = rest.split_first_chunk::<8>()?;
        let (sent_ns, _) = rest.split_first_chunk::<8>()?;
        Some(Self {
            kind: Kind::of(kind)?,
            flow: u32::from_be_bytes([f0, f1, f2, f3]),
            key: u64::from_be_bytes(*key),
            number: u64::from_be_bytes(*number),
            sent_ns: u64::from_be_bytes(*sent_ns),
        })
    }

    /// Its bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let parts: [&[u8]; 7] = [
            &MAGIC.to_be_bytes(),
            &[1],
            &[self.kind.number()],
            &self.flow.to_be_bytes(),
            &self.key.to_be_bytes(),
            &self.number.to_be_bytes(),
            &self.sent_ns.to_be_bytes(),
        ];
        for (room, byte) in bytes.iter_mut().zip(parts.iter().copied().flatten()) {
            *room = *byte;
        }
        bytes
    }

    /// Writes it over the beginning of a datagram, as far as that reaches.
    pub fn write(self, datagram: &mut [u8]) {
        if let Some(room) = datagram.first_chunk_mut() {
            *room = self.to_bytes();
        }
    }
}

/// The number and the time in front of a `oneway` message of a stream.
#[must_use]
pub fn stream_header(number: u64, sent_ns: u64) -> [u8; STREAM_HEADER_LEN] {
    let bits = u128::from(number) << 64 | u128::from(sent_ns);
    bits.to_be_bytes()
}

/// Reads them.
#[must_use]
pub fn parse_stream_header(bytes: [u8; STREAM_HEADER_LEN]) -> (u64, u64) {
    halves(RunId::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_join_names_the_whole_run() {
        let run = RunId::from_bytes(*b"0123456789abcdef");
        let mut datagram = [0xff; 40];
        Header::join(run, 7).write(&mut datagram);
        assert_eq!(datagram[..8], [0x53, 0x42, 1, 1, 0, 0, 0, 7]);
        assert_eq!(&datagram[8..24], b"0123456789abcdef");
        let header = Header::parse(&datagram).unwrap();
        assert_eq!((header.run(), header.flow, header.kind), (run, 7, Kind::Join));
    }

    #[test]
    fn what_is_short_or_foreign_is_nothing() {
        let bytes = Header::join(RunId::from_bytes([1; 16]), 1).to_bytes();
        assert_eq!(Header::parse(&bytes[..HEADER_LEN - 1]), None);
        for at in 0..4 {
            let mut wrong = bytes;
            wrong[at] ^= 0x80;
            assert_eq!(Header::parse(&wrong), None, "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn prop_a_header_comes_back(kind in 1..7_u8, flow: u32, key: u64, number: u64, sent_ns: u64) {
            let header = Header { kind: Kind::of(kind).unwrap(), flow, key, number, sent_ns };
            prop_assert_eq!(Header::parse(&header.to_bytes()), Some(header));
            prop_assert_eq!(parse_stream_header(stream_header(number, sent_ns)), (number, sent_ns));
        }
    }
}
