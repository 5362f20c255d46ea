//! The services in datagrams.
//!
//! Anybody can write any source into a datagram of UDP. So an answer goes where a [`ReflectorGuard`] lets it go, and is
//! never longer than the datagram that it answers: whoever forges a source sends as much as the victim gets. The names of
//! Unix sockets come from the kernel: they are proven, and answers to them have neither limit.

use std::time::Duration;

use sockeye::event_loop::{Datagram, DatagramService, Datagrams, ReflectorGuard, Sent, Time, WithheldCounts};

use super::Sends;
use super::message::Said;
use super::streams::{Chargen, Echo};

/// The longest answer on a Unix socket, which has to fit into the buffers of both sides.
const UNIX_BYTES: usize = 65_536;
/// From the first answer that is withheld until that is told: one line about many.
const TELL_AFTER: Duration = Duration::from_secs(1);

/// What a datagram is answered with.
pub(crate) trait Answers: 'static {
    /// Sends an answer of at most `most` bytes, and says how many it has. `None` where it would be longer, and nothing was
    /// sent.
    fn answer(&mut self, socket: &mut Datagrams<'_>, datagram: &Datagram<'_>, most: usize) -> Option<Answer>;
}

/// An answer that was given to the loop.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(super) bytes: u64,
    pub(super) sent: Sent,
}

impl Answer {
    /// None, because the datagram asks for none.
    pub(super) const NONE: Self = Self {
        bytes: 0,
        sent: Sent::Gone,
    };
}

impl Answers for Echo {
    #[inline]
    fn answer(
        &mut self,
        socket: &mut Datagrams<'_>,
        datagram: &Datagram<'_>,
        _most: usize,
    ) -> Option<Answer> {
        Some(Answer {
            bytes: datagram.data.len() as u64,
            sent: socket.send(&datagram.echo()),
        })
    }
}

impl Answers for Chargen {
    fn answer(&mut self, socket: &mut Datagrams<'_>, datagram: &Datagram<'_>, most: usize) -> Option<Answer> {
        let text = self.datagram(most);
        if text.is_empty() {
            return None;
        }
        Some(Answer {
            bytes: text.len() as u64,
            sent: socket.send(&datagram.reply(text)),
        })
    }
}

impl Answers for Said {
    fn answer(&mut self, socket: &mut Datagrams<'_>, datagram: &Datagram<'_>, most: usize) -> Option<Answer> {
        let (now, random) = (socket.now(), socket.random());
        let fit = self.fit();
        let text = fit.cut(self.say(now, random), most);
        if text.is_empty() {
            return None;
        }
        Some(Answer {
            bytes: text.len() as u64,
            sent: socket.send(&datagram.reply(text)),
        })
    }
}

/// Reads datagrams and drops them.
#[derive(Debug)]
pub(crate) struct Silent;

impl DatagramService for Silent {
    fn on_datagram(&mut self, _socket: &mut Datagrams<'_>, _datagram: Datagram<'_>) {}
}

impl Sends for Silent {
    fn sent(&mut self, _consumed: usize) -> (u64, u64) {
        (0, 0)
    }
}

/// Answers datagrams, of those who may have an answer.
#[derive(Debug)]
pub(crate) struct Answering<A, F, C> {
    answers: A,
    guard: ReflectorGuard,
    /// Takes what was withheld so far, each time that something is: by the guard, and of short ones.
    count: C,
    /// Datagrams that were shorter than their answers.
    short: u64,
    /// Takes a line about what was withheld.
    tell: F,
    /// What it has been told of: by the guard, and of short ones.
    told: (WithheldCounts, u64),
    /// A timer is set that will tell of more.
    will_tell: bool,
    /// Bytes and datagrams that were sent and not asked for yet.
    sent: (u64, u64),
}

impl<A: Answers, F: FnMut(Time, String), C: FnMut(&WithheldCounts, u64)> Answering<A, F, C> {
    pub(crate) fn new(answers: A, guard: ReflectorGuard, tell: F, count: C) -> Self {
        Self {
            answers,
            guard,
            count,
            short: 0,
            tell,
            told: (WithheldCounts::default(), 0),
            will_tell: false,
            sent: (0, 0),
        }
    }

    /// Whether it had an answer.
    #[inline]
    fn answer(&mut self, socket: &mut Datagrams<'_>, datagram: &Datagram<'_>, most: usize) -> bool {
        let Some(answer) = self.answers.answer(socket, datagram, most) else {
            return false;
        };
        // A datagram that finds the queue full is lost, as datagrams are.
        if answer.sent.is_taken() {
            self.sent.0 += answer.bytes;
            self.sent.1 += 1;
        }
        true
    }

    #[cold]
    fn withheld(&mut self, socket: &mut Datagrams<'_>) {
        (self.count)(&self.guard.withheld(), self.short);
        if !self.will_tell {
            self.will_tell = true;
            socket.set_timer(TELL_AFTER, 0);
        }
    }
}

/// Whether the kernel has named the source, which it does on Unix sockets. What stands for such a name has port 0, so that
/// next to nobody else is looked up.
#[inline]
fn is_proven(socket: &Datagrams<'_>, datagram: &Datagram<'_>) -> bool {
    datagram.source.port() == 0 && socket.unix_name(datagram.source).is_some()
}

impl<A, F, C> Sends for Answering<A, F, C> {
    fn sent(&mut self, _consumed: usize) -> (u64, u64) {
        std::mem::take(&mut self.sent)
    }
}

impl<A, F, C> DatagramService for Answering<A, F, C>
where
    A: Answers,
    F: FnMut(Time, String) + 'static,
    C: FnMut(&WithheldCounts, u64) + 'static,
{
    fn on_open(&mut self, socket: &mut Datagrams<'_>) {
        if let Ok(own) = socket.local_addr() {
            self.guard.add_own(own);
        }
    }

    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        if is_proven(socket, &datagram) {
            self.answer(socket, &datagram, UNIX_BYTES);
        } else if self.guard.admit(datagram.source, socket.now()).is_err() {
            self.withheld(socket);
        } else if !self.answer(socket, &datagram, datagram.data.len()) {
            self.short += 1;
            self.withheld(socket);
        }
    }

    fn on_timer(&mut self, socket: &mut Datagrams<'_>, _key: u64) {
        self.will_tell = false;
        let now = (self.guard.withheld(), self.short);
        let line = withheld_line(&now, &self.told);
        self.told = now;
        (self.tell)(socket.now(), line);
    }
}

/// What was withheld since the last line.
fn withheld_line((now, short): &(WithheldCounts, u64), (before, told): &(WithheldCounts, u64)) -> String {
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
        (short - told, "were shorter than their answer"),
    ];
    let said: Vec<String> = reasons
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, why)| format!("{count} {why}"))
        .collect();
    format!("datagrams that were not answered: {}", said.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_withheld_is_told_once() {
        let (none, mut now) = (WithheldCounts::default(), WithheldCounts::default());
        now.own = 2;
        assert_eq!(
            withheld_line(&(now, 5), &(none, 1)),
            "datagrams that were not answered: 2 claimed to come from this program's own sockets, \
             4 were shorter than their answer"
        );
        assert_eq!(
            withheld_line(&(now, 6), &(now, 5)),
            "datagrams that were not answered: 1 were shorter than their answer"
        );
    }
}
