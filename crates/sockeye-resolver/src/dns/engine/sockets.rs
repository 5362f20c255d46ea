//! The sockets that questions leave by: several, each with a port by chance, none for long.

use std::collections::HashMap;
use std::time::Duration;

use super::ids::{MAX_IDS, free_id};
use super::options::DnsOptions;
use crate::dns::keyed::Keyed;

/// A socket that the engine wants to have.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) is_v6: bool,
    /// How many questions have left by it.
    asked: u32,
    /// The questions that wait, by their ids.
    pub(crate) ids: HashMap<u16, u32, Keyed>,
    /// When it is closed if no question comes before.
    pub(crate) idle_at: Option<Duration>,
}

/// All sockets, by their numbers.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    slots: HashMap<u32, Slot, Keyed>,
    /// Sockets of each family that may ask further questions.
    fresh: [Vec<u32>; 2],
    /// How many sockets there are of each family.
    counts: [usize; 2],
    next: u32,
}

impl Sockets {
    pub(crate) fn slot(&mut self, socket: u32) -> Option<&mut Slot> {
        self.slots.get_mut(&socket)
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// All numbers, in order.
    pub(crate) fn numbers(&self) -> Vec<u32> {
        let mut numbers: Vec<u32> = self.slots.keys().copied().collect();
        numbers.sort_unstable();
        numbers
    }

    /// The questions that wait for answers by a socket, in order: what follows must not hang on the order of a hash table.
    pub(crate) fn flights(&self, socket: u32) -> Vec<u32> {
        let ids = self.slots.get(&socket).map(|slot| slot.ids.values().copied());
        let mut flights: Vec<u32> = ids.into_iter().flatten().collect();
        flights.sort_unstable();
        flights
    }

    /// Takes a socket and an id for a question of `flight`: a new socket until there are enough, then any of them. `None`
    /// where every id is taken. The socket may have a time to be closed at, which is the caller's to clear.
    pub(crate) fn place(
        &mut self,
        is_v6: bool,
        flight: u32,
        options: &DnsOptions,
        mut random: impl FnMut() -> u64,
    ) -> Option<(u32, u16)> {
        let enough = options.sockets.max(1);
        let fresh = &mut self.fresh[usize::from(is_v6)];
        let chance = random();
        let count = &mut self.counts[usize::from(is_v6)];
        let socket = if fresh.len() < enough && *count < enough.saturating_mul(8) {
            *count += 1;
            let socket = self.next;
            self.next = self.next.wrapping_add(1);
            fresh.push(socket);
            let slot = Slot {
                is_v6,
                asked: 0,
                ids: HashMap::default(),
                idle_at: None,
            };
            self.slots.insert(socket, slot);
            socket
        } else {
            let pick = usize::try_from(chance >> 32)
                .unwrap_or_default()
                .checked_rem(fresh.len());
            match pick.and_then(|place| fresh.get(place)) {
                Some(&socket) => socket,
                // All have asked what they may, and wait for answers: one of them asks more.
                None => {
                    let all = self.slots.iter().filter(|(_, slot)| slot.is_v6 == is_v6);
                    *all.min_by_key(|(number, slot)| (slot.ids.len(), **number))?.0
                }
            }
        };
        let slot = self.slots.get_mut(&socket)?;
        if slot.ids.len() >= MAX_IDS {
            return None;
        }
        let id = free_id(&slot.ids, &mut random);
        slot.ids.insert(id, flight);
        slot.asked += 1;
        if slot.asked >= options.queries_per_socket.max(1) {
            fresh.retain(|other| *other != socket);
        }
        Some((socket, id))
    }

    /// Gives an id back. Says what becomes of the socket: `true` if it has no question left.
    pub(crate) fn give_back(&mut self, socket: u32, id: u16) -> bool {
        self.slots.get_mut(&socket).is_some_and(|slot| {
            slot.ids.remove(&id);
            slot.ids.is_empty()
        })
    }

    /// Whether the socket may ask no more.
    pub(crate) fn is_spent(&self, socket: u32, options: &DnsOptions) -> bool {
        self.slots
            .get(&socket)
            .is_some_and(|slot| slot.asked >= options.queries_per_socket.max(1))
    }

    /// Forgets a socket; the questions that waited for answers by it.
    pub(crate) fn remove(&mut self, socket: u32) -> Vec<u32> {
        let flights = self.flights(socket);
        if let Some(slot) = self.slots.remove(&socket) {
            let family = usize::from(slot.is_v6);
            self.fresh[family].retain(|other| *other != socket);
            self.counts[family] -= 1;
        }
        flights
    }
}
