//! The small services of the early Internet, on the event loop: echo (RFC 862), discard (RFC 863) and character
//! generator (RFC 864).

use sockeye::event_loop::{Datagram, DatagramService, Datagrams, Sent, Stream, StreamService};

/// Sends back what comes, on connections and on datagram sockets.
#[derive(Debug, Default)]
pub(crate) struct Echo;

/// Ports of services that answer whatever they get: echo, daytime, quote of the day, character generator, time.
/// A datagram that claims to come from there would be answered for ever.
const ANSWERING_PORTS: [u16; 5] = [7, 13, 17, 19, 37];

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

impl DatagramService for Echo {
    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        if !ANSWERING_PORTS.contains(&datagram.source.port()) {
            // A datagram that finds the queue full is lost, as datagrams are.
            let _ = socket.send(&datagram.echo());
        }
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

impl DatagramService for Discard {
    fn on_datagram(&mut self, _socket: &mut Datagrams<'_>, _datagram: Datagram<'_>) {}
}

/// Sends lines of characters without end to whoever connects, and drops what comes.
#[derive(Debug)]
pub(crate) struct Chargen {
    /// Whole rounds of the pattern, so that one follows another without a seam.
    rounds: std::sync::Arc<[u8]>,
}

/// Characters of a line (RFC 864, "Data Syntax").
const LINE_CHARS: usize = 72;
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
        }
    }
}

impl Chargen {
    /// Until the queue is full: `on_writable` goes on.
    fn fill(&self, stream: &mut Stream<'_>) {
        while stream.write_shared(&self.rounds).is_taken() {}
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
}
