//! Datagrams of iperf3: how a stream begins, the header, and what a receiver counts.

use std::time::Duration;

use crate::jitter::Jitter;

/// Bytes of a greeting and of its answer.
pub const GREETING_LEN: usize = 4;
/// Bytes of a header whose number has 32 bits.
pub const HEADER_LEN: usize = 12;
/// Bytes of a header whose number has 64 bits.
pub const HEADER_LEN_64: usize = 16;

/// The first datagram of a stream, a number in the byte order of the client's machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Greeting([u8; GREETING_LEN]);

/// Greetings and their answers. The number is 0x36373839 since iperf3 3.12, and 123456789 before.
const GREETINGS: [(u32, u32); 2] = [(0x3637_3839, 0x3938_3736), (123_456_789, 987_654_321)];

impl Greeting {
    /// The greeting of today's clients, as a little-endian machine sends it, which most are.
    #[must_use]
    pub const fn new() -> Self {
        Self(GREETINGS[0].0.to_le_bytes())
    }

    /// Reads a greeting; `None` of any other datagram.
    #[must_use]
    pub fn parse(datagram: &[u8]) -> Option<Self> {
        let bytes = <[u8; GREETING_LEN]>::try_from(datagram).ok()?;
        Self::answers(bytes).map(|_| Self(bytes))
    }

    /// The bytes on the wire.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; GREETING_LEN] {
        &self.0
    }

    /// What the server answers, in the byte order of the greeting.
    #[must_use]
    pub fn answer(&self) -> [u8; GREETING_LEN] {
        Self::answers(self.0).unwrap_or(self.0)
    }

    fn answers(bytes: [u8; GREETING_LEN]) -> Option<[u8; GREETING_LEN]> {
        GREETINGS.into_iter().find_map(|(greeting, answer)| {
            if bytes == greeting.to_le_bytes() {
                Some(answer.to_le_bytes())
            } else {
                (bytes == greeting.to_be_bytes()).then(|| answer.to_be_bytes())
            }
        })
    }

    /// Whether a datagram answers any greeting.
    #[must_use]
    pub fn is_answer(datagram: &[u8]) -> bool {
        GREETINGS
            .iter()
            .any(|(_, answer)| datagram == answer.to_le_bytes() || datagram == answer.to_be_bytes())
    }
}

impl Default for Greeting {
    fn default() -> Self {
        Self::new()
    }
}

/// What each datagram of a stream begins with, big-endian: seconds, microseconds, number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatagramHeader {
    /// When it was sent, on the sender's clock, in microseconds precisely.
    pub sent_at: Duration,
    /// Its number, from 1.
    pub number: u64,
}

impl DatagramHeader {
    /// Reads the header of a datagram; `None` of one that has no room for it. `is_64` is
    /// [`udp_counters_64bit`](super::Parameters::udp_counters_64bit).
    #[must_use]
    pub fn parse(datagram: &[u8], is_64: bool) -> Option<Self> {
        let (s, rest) = datagram.split_first_chunk::<4>()?;
        let (us, rest) = rest.split_first_chunk::<4>()?;
        let number = if is_64 {
            u64::from_be_bytes(*rest.first_chunk()?)
        } else {
            u32::from_be_bytes(*rest.first_chunk()?).into()
        };
        let (s, us) = (u32::from_be_bytes(*s), u32::from_be_bytes(*us));
        let sent_at = Duration::from_secs(s.into()) + Duration::from_micros(us.into());
        Some(Self { sent_at, number })
    }

    /// Writes the header to the front of a datagram. A number beyond 32 bits goes on from 0 where it has no more of them;
    /// seconds do too. Nothing of it is written where there is no room.
    pub fn write(&self, datagram: &mut [u8], is_64: bool) {
        let len = if is_64 { HEADER_LEN_64 } else { HEADER_LEN };
        let Some(room) = datagram.get_mut(..len) else {
            return;
        };
        let mut header = [0; HEADER_LEN_64];
        let seconds = low_u32(self.sent_at.as_secs());
        let parts = [seconds, self.sent_at.subsec_micros()].map(u32::to_be_bytes);
        for (to, from) in header.iter_mut().zip(parts.as_flattened()) {
            *to = *from;
        }
        let number = if is_64 {
            self.number.to_be_bytes()
        } else {
            // The first four bytes are what is sent.
            (u64::from(low_u32(self.number)) << 32).to_be_bytes()
        };
        for (to, from) in header.iter_mut().skip(8).zip(number) {
            *to = from;
        }
        for (to, from) in room.iter_mut().zip(header) {
            *to = from;
        }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The low half.
const fn low_u32(number: u64) -> u32 {
    (number & 0xffff_ffff) as u32
}

/// What a receiver has counted of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct DatagramCounts {
    /// Datagrams that arrived.
    pub received: u64,
    /// The highest number that arrived.
    pub highest: u64,
    /// Numbers that were passed over and did not come later.
    pub lost: u64,
    /// Datagrams that came after one of a higher number. One that comes twice is among them, as iperf3 cannot tell either.
    pub out_of_order: u64,
}

impl DatagramCounts {
    /// What was counted since `earlier`. A datagram that was lost then and has come since makes no negative number.
    #[must_use]
    pub const fn since(&self, earlier: &Self) -> Self {
        Self {
            received: self.received.saturating_sub(earlier.received),
            highest: self.highest.saturating_sub(earlier.highest),
            lost: self.lost.saturating_sub(earlier.lost),
            out_of_order: self.out_of_order.saturating_sub(earlier.out_of_order),
        }
    }
}

/// Counts what arrives on one stream as iperf3 does, so that both sides' figures agree.
#[derive(Debug, Clone, Copy, Default)]
pub struct DatagramCounter {
    counts: DatagramCounts,
    jitter: Jitter,
}

impl DatagramCounter {
    /// Nothing has arrived.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A datagram has arrived at that time of the receiver's clock.
    pub fn received(&mut self, header: &DatagramHeader, now: Duration) {
        let counts = &mut self.counts;
        counts.received += 1;
        if header.number > counts.highest {
            counts.lost = counts.lost.saturating_add(header.number - 1 - counts.highest);
            counts.highest = header.number;
        } else {
            counts.out_of_order += 1;
            counts.lost = counts.lost.saturating_sub(1);
        }
        self.jitter
            .received(nanoseconds(header.sent_at), nanoseconds(now));
    }

    /// The jitter begins anew: after the omitted beginning.
    pub fn reset_jitter(&mut self) {
        self.jitter.reset();
    }

    /// What was counted so far.
    #[must_use]
    pub const fn counts(&self) -> DatagramCounts {
        self.counts
    }

    /// The interarrival jitter.
    #[must_use]
    pub fn jitter(&self) -> Duration {
        self.jitter.value()
    }
}
