//! Connections to servers: opened when a question needs one, shared by all that do, closed when none has for a while.

use std::collections::HashMap;
use std::time::Duration;

use super::ids::{MAX_IDS, free_id};
use crate::dns::keyed::Keyed;

/// A connection that the engine wants to have.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Which server's.
    pub(crate) server: usize,
    pub(crate) is_open: bool,
    /// Questions that wait for their answers, by their ids; until it is open, for being sent.
    pub(crate) ids: HashMap<u16, u32, Keyed>,
    /// When an answer came by it last.
    pub(crate) answered: Option<Duration>,
    /// When it is closed if no question comes before.
    pub(crate) idle_at: Option<Duration>,
}

impl Connection {
    pub(crate) fn new(server: usize) -> Self {
        Self {
            server,
            is_open: false,
            ids: HashMap::default(),
            answered: None,
            idle_at: None,
        }
    }

    /// An id that no question of this connection has.
    pub(crate) fn take_id(&mut self, flight: u32, mut random: impl FnMut() -> u64) -> Option<u16> {
        if self.ids.len() >= MAX_IDS {
            return None;
        }
        let id = free_id(&self.ids, &mut random);
        self.ids.insert(id, flight);
        Some(id)
    }

    /// Whether no question uses it.
    pub(crate) fn is_unused(&self) -> bool {
        self.ids.is_empty()
    }

    /// All questions that use it, in order: what follows must not hang on the order of a hash table.
    pub(crate) fn flights(&self) -> Vec<u32> {
        let mut flights: Vec<u32> = self.ids.values().copied().collect();
        flights.sort_unstable();
        flights
    }
}
