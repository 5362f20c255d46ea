//! The services on connections: echo, discard and the character generator, and those that say something and close.

use sockeye::event_loop::{Sent, Stream, StreamService};

use super::Sends;
use super::message::Said;

/// Sends back what comes on connections.
#[derive(Debug, Default)]
pub(crate) struct Echo;

impl StreamService for Echo {
    type Conn = ();

    fn on_open(&mut self, _stream: &mut Stream<'_>) {}

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        match stream.write(data) {
            // The peer does not read: what it sent is offered again once it does.
            Sent::Full => 0,
            _ => data.len(),
        }
    }
}

impl Sends for Echo {
    fn sent(&mut self, consumed: usize) -> (u64, u64) {
        (consumed as u64, 0)
    }
}

/// Reads and drops.
#[derive(Debug, Default)]
pub(crate) struct Discard;

impl StreamService for Discard {
    type Conn = ();

    fn on_open(&mut self, _stream: &mut Stream<'_>) {}

    fn on_data(&mut self, _stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        data.len()
    }
}

impl Sends for Discard {
    fn sent(&mut self, _consumed: usize) -> (u64, u64) {
        (0, 0)
    }
}

/// Sends lines of characters without end to whoever connects, and drops what comes.
#[derive(Debug)]
pub(crate) struct Chargen {
    /// Whole rounds of the pattern, so that one follows another without a seam.
    rounds: std::sync::Arc<[u8]>,
    /// The first line of the next datagram.
    line: usize,
    /// Bytes that were sent on connections and not asked for yet.
    sent: u64,
}

/// Characters of a line (RFC 864, "Data Syntax").
const LINE_CHARS: usize = 72;
/// The most that a datagram has (RFC 864, "UDP Based Character Generator Service").
const DATAGRAM_BYTES: usize = 512;
/// The printable characters, the blank among them.
const PRINTABLE: std::ops::RangeInclusive<u8> = b' '..=b'~';

impl Default for Chargen {
    fn default() -> Self {
        let printable: Vec<u8> = PRINTABLE.collect();
        let mut round = Vec::new();
        for first in 0..printable.len() {
            round.extend(printable.iter().cycle().skip(first).take(LINE_CHARS));
            round.extend(b"\r\n");
        }
        Self {
            rounds: round.repeat(8).into(),
            line: 0,
            sent: 0,
        }
    }
}

impl Chargen {
    /// The characters of one more datagram, at most 512; each begins with another line.
    pub(super) fn datagram(&mut self, most: usize) -> &[u8] {
        let from = self.line * (LINE_CHARS + 2);
        self.line = (self.line + 1) % PRINTABLE.count();
        let text = self.rounds.get(from..).unwrap_or_default();
        text.get(..most.min(DATAGRAM_BYTES)).unwrap_or(text)
    }

    /// Until the queue is full: `on_writable` goes on.
    fn fill(&mut self, stream: &mut Stream<'_>) {
        while stream.write_shared(&self.rounds).is_taken() {
            self.sent += self.rounds.len() as u64;
        }
    }
}

impl Sends for Chargen {
    fn sent(&mut self, _consumed: usize) -> (u64, u64) {
        (std::mem::take(&mut self.sent), 0)
    }
}

impl StreamService for Chargen {
    type Conn = ();

    fn on_open(&mut self, stream: &mut Stream<'_>) {
        self.fill(stream);
    }

    fn on_data(&mut self, _stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        data.len()
    }

    fn on_writable(&mut self, stream: &mut Stream<'_>, (): &mut ()) {
        self.fill(stream);
    }

    /// The peer may have ended its side and still want to read (`nc HOST 19 </dev/null`): it goes on until the
    /// peer closes.
    fn on_eof(&mut self, _stream: &mut Stream<'_>, (): &mut ()) {}
}

/// Says it and closes. What comes is dropped, as RFC 865 to 868 want it.
impl StreamService for Said {
    type Conn = ();

    fn on_open(&mut self, stream: &mut Stream<'_>) {
        let (now, random) = (stream.now(), stream.random());
        let text = self.say(now, random);
        if !text.is_empty() {
            // A new connection has room for it: all of them are far below what a write takes at once.
            let len = text.len() as u64;
            if stream.write(text).is_taken() {
                self.count(len);
            }
        }
        stream.close();
    }

    fn on_data(&mut self, _stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        data.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pattern_is_that_of_rfc_864() {
        let chargen = Chargen::default();
        let lines: Vec<_> = chargen.rounds.chunks(LINE_CHARS + 2).collect();
        assert!(lines[0].starts_with(b" !\"#$%") && lines[0].ends_with(b"efg\r\n"));
        assert!(lines[1].starts_with(b"!\"#$%&") && lines[1].ends_with(b"fgh\r\n"));
        assert!(lines[94].starts_with(b"~ !\"#$") && lines[94].ends_with(b"def\r\n"));
        assert_eq!(lines[95], lines[0]);
    }
    #[test]
    fn each_datagram_begins_with_another_line_and_has_512_characters_at_most() {
        let mut chargen = Chargen::default();
        assert_eq!(chargen.datagram(10), b" !\"#$%&'()");
        assert_eq!(chargen.datagram(10), b"!\"#$%&'()*");
        for _ in 0..93 {
            assert_eq!(chargen.datagram(usize::MAX).len(), 512);
        }
        assert_eq!(chargen.datagram(3), b" !\"", "and the first again");
        assert_eq!(chargen.datagram(0), b"");
    }
}
