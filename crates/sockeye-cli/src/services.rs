//! The small services of the early Internet, on the event loop: echo (RFC 862), discard (RFC 863) and character
//! generator (RFC 864).

use std::time::Duration;

use sockeye::event_loop::{
    Datagram, DatagramService, Datagrams, ReflectorGuard, Sent, Stream, StreamService, Time, WithheldCounts,
};

/// What a service has sent, for those who count it.
pub(crate) trait Sends {
    /// Bytes and messages since the last time, of a callback that was through with so many bytes.
    fn sent(&mut self, consumed: usize) -> (u64, u64);
}

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

/// Sends datagrams back, to those who may have an answer.
#[derive(Debug)]
pub(crate) struct UdpEcho<F, C> {
    guard: ReflectorGuard,
    /// Takes what was withheld so far, each time that something is.
    count: C,
    /// Takes a line about what was withheld.
    tell: F,
    /// What it has been told of.
    told: WithheldCounts,
    /// A timer is set that will tell of more.
    will_tell: bool,
    /// Bytes and datagrams that were sent and not asked for yet.
    sent: (u64, u64),
}

/// From the first answer that is withheld until that is told: one line about many.
const TELL_AFTER: Duration = Duration::from_secs(1);

impl<F: FnMut(Time, String), C: FnMut(&WithheldCounts)> UdpEcho<F, C> {
    pub(crate) fn new(guard: ReflectorGuard, tell: F, count: C) -> Self {
        Self {
            guard,
            count,
            tell,
            told: WithheldCounts::default(),
            will_tell: false,
            sent: (0, 0),
        }
    }

    #[cold]
    fn withheld(&mut self, socket: &mut Datagrams<'_>) {
        (self.count)(&self.guard.withheld());
        if !self.will_tell {
            self.will_tell = true;
            socket.set_timer(TELL_AFTER, 0);
        }
    }
}

impl<F, C> DatagramService for UdpEcho<F, C>
where
    F: FnMut(Time, String) + 'static,
    C: FnMut(&WithheldCounts) + 'static,
{
    fn on_open(&mut self, socket: &mut Datagrams<'_>) {
        if let Ok(own) = socket.local_addr() {
            self.guard.add_own(own);
        }
    }

    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        if self.guard.admit(datagram.source, socket.now()).is_ok() {
            // A datagram that finds the queue full is lost, as datagrams are.
            if socket.send(&datagram.echo()).is_taken() {
                self.sent.0 += datagram.data.len() as u64;
                self.sent.1 += 1;
            }
        } else {
            self.withheld(socket);
        }
    }

    fn on_timer(&mut self, socket: &mut Datagrams<'_>, _key: u64) {
        self.will_tell = false;
        let counts = self.guard.withheld();
        let line = withheld_line(&counts, &self.told);
        self.told = counts;
        (self.tell)(socket.now(), line);
    }
}

impl<F, C> Sends for UdpEcho<F, C> {
    fn sent(&mut self, _consumed: usize) -> (u64, u64) {
        std::mem::take(&mut self.sent)
    }
}

/// What was withheld since the last line.
fn withheld_line(now: &WithheldCounts, before: &WithheldCounts) -> String {
    let reasons = [
        (
            now.own - before.own,
            "claimed to come from this program's own sockets",
        ),
        (
            now.answering_port - before.answering_port,
            "came from ports that answer anything",
        ),
        (
            now.no_source - before.no_source,
            "came from no address of one host",
        ),
        (
            now.source_rate - before.source_rate,
            "were more than --udp-rate allows a source",
        ),
        (
            now.total_rate - before.total_rate,
            "were more than all sources may have",
        ),
    ];
    let said: Vec<String> = reasons
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, why)| format!("{count} {why}"))
        .collect();
    format!("datagrams that were not answered: {}", said.join(", "))
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

impl DatagramService for Discard {
    fn on_datagram(&mut self, _socket: &mut Datagrams<'_>, _datagram: Datagram<'_>) {}
}

/// Sends lines of characters without end to whoever connects, and drops what comes.
#[derive(Debug)]
pub(crate) struct Chargen {
    /// Whole rounds of the pattern, so that one follows another without a seam.
    rounds: std::sync::Arc<[u8]>,
    /// Bytes that were sent and not asked for yet.
    sent: u64,
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
            sent: 0,
        }
    }
}

impl Chargen {
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
