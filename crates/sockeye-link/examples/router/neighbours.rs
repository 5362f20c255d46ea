//! Who has which link address: learnt by ARP (RFC 826) and neighbour discovery (RFC 4861), and what waits for an answer.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use sockeye_packet::MacAddr;

/// Entries in all, packets that wait for one, and questions before it counts as unreachable.
const MAX_ENTRIES: usize = 4096;
const MAX_WAITING: usize = 16;
const MAX_QUESTIONS: u32 = 3;
/// Between two questions, and how long an answer holds.
const ASK_EVERY: Duration = Duration::from_secs(1);
const HOLDS: Duration = Duration::from_secs(60);

/// On which interface, and which address.
pub(crate) type Key = (usize, IpAddr);

#[derive(Debug)]
enum State {
    Known {
        mac: MacAddr,
        until: Duration,
    },
    Asking {
        questions: u32,
        next: Duration,
        waiting: Vec<Vec<u8>>,
    },
}

/// What to do with a packet for a neighbour.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Send(MacAddr),
    /// It waits; ask who has the address if this is the first one.
    Wait {
        ask: bool,
    },
    /// The table or the queue is full.
    Drop,
}

/// What time has brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Ask(Key),
    /// Nobody has answered: these packets are told to be unreachable.
    Unreachable(Vec<Vec<u8>>),
}

#[derive(Debug, Default)]
pub(crate) struct Neighbours {
    entries: HashMap<Key, State>,
}

impl Neighbours {
    /// Where to send `packet`, which is kept where that is not known yet.
    pub(crate) fn find(&mut self, key: Key, packet: &[u8], now: Duration) -> Answer {
        match self.entries.get_mut(&key) {
            Some(State::Known { mac, until }) if *until > now => return Answer::Send(*mac),
            Some(State::Asking { waiting, .. }) => {
                if waiting.len() >= MAX_WAITING {
                    return Answer::Drop;
                }
                waiting.push(packet.to_vec());
                return Answer::Wait { ask: false };
            }
            _ => {}
        }
        if self.entries.len() >= MAX_ENTRIES && !self.entries.contains_key(&key) {
            self.entries
                .retain(|_, state| matches!(state, State::Known { until, .. } if *until > now));
            if self.entries.len() >= MAX_ENTRIES {
                return Answer::Drop;
            }
        }
        let asking = State::Asking {
            questions: 1,
            next: now + ASK_EVERY,
            waiting: vec![packet.to_vec()],
        };
        self.entries.insert(key, asking);
        Answer::Wait { ask: true }
    }

    /// Somebody has said that he has the address; returns what has waited for that. Nobody is learnt who was not asked
    /// for: a stranger cannot fill the table.
    pub(crate) fn learn(&mut self, key: Key, mac: MacAddr, now: Duration) -> Vec<Vec<u8>> {
        let Some(state) = self.entries.get_mut(&key) else {
            return Vec::new();
        };
        let known = State::Known {
            mac,
            until: now + HOLDS,
        };
        match std::mem::replace(state, known) {
            State::Asking { waiting, .. } => waiting,
            State::Known { .. } => Vec::new(),
        }
    }

    /// Questions to ask again, and packets whose neighbour does not answer.
    pub(crate) fn due(&mut self, now: Duration) -> Vec<Due> {
        let mut due = Vec::new();
        self.entries.retain(|key, state| match state {
            State::Known { until, .. } => *until > now,
            State::Asking { next, .. } if *next > now => true,
            State::Asking {
                questions, waiting, ..
            } if *questions >= MAX_QUESTIONS => {
                due.push(Due::Unreachable(std::mem::take(waiting)));
                false
            }
            State::Asking { questions, next, .. } => {
                *questions += 1;
                *next = now + ASK_EVERY;
                due.push(Due::Ask(*key));
                true
            }
        });
        due
    }
}
