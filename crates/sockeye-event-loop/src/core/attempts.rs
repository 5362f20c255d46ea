//! The attempts of connects that are not decided yet.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

#[cfg(feature = "resolver")]
use super::race::Race;
use crate::connect::ConnectId;
use crate::id::{TimerId, Token};
use crate::options::ConnectOptions;
use crate::outcome::PeerName;
use crate::time::Time;

/// The attempts of one request.
#[derive(Debug)]
pub(crate) struct Attempts {
    pub(crate) service: u16,
    pub(crate) tag: u64,
    pub(crate) options: ConnectOptions,
    pub(crate) attempt_delay: Duration,
    pub(crate) waiting: VecDeque<PeerName>,
    pub(crate) running: Vec<Token>,
    pub(crate) failed: Vec<(PeerName, io::Error)>,
    pub(crate) deadline: Option<Time>,
    /// The next moment at which something is to be done: the deadline, or the next attempt.
    pub(crate) timer: Option<TimerId>,
    /// When the next address is tried beside those that run.
    pub(crate) next_attempt: Option<Time>,
    /// How often the backlog of a Unix listener was full.
    pub(crate) full: u32,
    /// The lookup of a name and the race of its addresses.
    #[cfg(feature = "resolver")]
    pub(crate) race: Option<Box<Race>>,
}

/// All connects of a loop that are not decided yet.
#[derive(Debug, Default)]
pub(crate) struct Connects {
    slots: Vec<(u32, Option<Attempts>)>,
    free: Vec<u32>,
}

impl Connects {
    pub(crate) fn insert(&mut self, attempts: Attempts) -> ConnectId {
        if let Some(index) = self.free.pop() {
            let slot = &mut self.slots[index as usize];
            slot.1 = Some(attempts);
            return ConnectId {
                index,
                generation: slot.0,
            };
        }
        let index = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        self.slots.push((0, Some(attempts)));
        ConnectId { index, generation: 0 }
    }

    pub(crate) fn entry(&mut self, id: ConnectId) -> Option<&mut Attempts> {
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.0 == id.generation {
            slot.1.as_mut()
        } else {
            None
        }
    }

    /// Every connect that is not decided.
    pub(crate) fn ids(&self) -> Vec<ConnectId> {
        let open = |(index, slot): (usize, &(u32, Option<Attempts>))| {
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            slot.1.is_some().then_some(ConnectId {
                index,
                generation: slot.0,
            })
        };
        self.slots.iter().enumerate().filter_map(open).collect()
    }

    pub(crate) fn remove(&mut self, id: ConnectId) -> Option<Attempts> {
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.0 != id.generation {
            return None;
        }
        let attempts = slot.1.take()?;
        slot.0 = slot.0.wrapping_add(1);
        self.free.push(id.index);
        Some(attempts)
    }
}
