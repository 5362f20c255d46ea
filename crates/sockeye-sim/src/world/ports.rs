//! Which ports of a host are taken, by whom, and which one is next.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use crate::random::Random;

/// A hash for ports: they are spread well enough. It also makes the tables the same in every run.
#[derive(Default, Debug)]
pub(crate) struct PortHasher(u64);

impl Hasher for PortHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0.rotate_left(5) ^ u64::from(byte)).wrapping_mul(0x517c_c1b7_2722_0a95);
        }
    }

    fn write_u16(&mut self, port: u16) {
        self.0 = u64::from(port).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

pub(crate) type ByPort<T> = HashMap<u16, T, BuildHasherDefault<PortHasher>>;

/// A connection's place in the port table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Pair {
    local: SocketAddr,
    remote: SocketAddr,
}

/// The ports of one host.
#[derive(Debug)]
pub(crate) struct PortTable {
    /// Where ephemeral ports come from; the default is Linux's.
    pub(crate) ephemeral: RangeInclusive<u16>,
    connections: ByPort<Vec<Pair>>,
    /// Ends of connections that this side closed first, and until when they wait.
    time_wait: ByPort<Vec<u64>>,
    /// Datagram and ping sockets by port.
    pub(crate) messages: ByPort<Vec<u32>>,
    random: Random,
}

/// Linux's default of `net.ipv4.ip_local_port_range`.
pub(crate) const EPHEMERAL: RangeInclusive<u16> = 32_768..=60_999;

impl PortTable {
    pub(crate) fn new(seed: u64, host: u16) -> Self {
        Self {
            ephemeral: EPHEMERAL,
            connections: ByPort::default(),
            time_wait: ByPort::default(),
            messages: ByPort::default(),
            random: Random::stream(seed, 51, u64::from(host)),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.connections.clear();
        self.time_wait.clear();
        self.messages.clear();
    }

    /// A port from the ephemeral range that `is_free` accepts, or none.
    pub(crate) fn pick(&mut self, mut is_free: impl FnMut(&Self, u16) -> bool) -> Option<u16> {
        let (low, high) = (*self.ephemeral.start(), *self.ephemeral.end());
        if low > high {
            return None;
        }
        let count = u32::from(high - low) + 1;
        let start = self.random.below(u64::from(count));
        (0..u64::from(count)).find_map(|step| {
            let offset = u16::try_from((start + step) % u64::from(count)).ok()?;
            let port = low + offset;
            is_free(self, port).then_some(port)
        })
    }

    pub(crate) fn has_pair(&self, local: SocketAddr, remote: SocketAddr) -> bool {
        self.connections
            .get(&local.port())
            .is_some_and(|pairs| pairs.contains(&Pair { local, remote }))
    }

    pub(crate) fn has_connection(&self, port: u16) -> bool {
        self.connections.get(&port).is_some_and(|pairs| !pairs.is_empty())
    }

    pub(crate) fn add_pair(&mut self, local: SocketAddr, remote: SocketAddr) {
        self.connections
            .entry(local.port())
            .or_default()
            .push(Pair { local, remote });
    }

    pub(crate) fn remove_pair(&mut self, local: SocketAddr, remote: SocketAddr) {
        if let Some(pairs) = self.connections.get_mut(&local.port())
            && let Some(at) = pairs.iter().position(|pair| *pair == Pair { local, remote })
        {
            pairs.swap_remove(at);
        }
    }

    pub(crate) fn wait(&mut self, port: u16, until: u64) {
        self.time_wait.entry(port).or_default().push(until);
    }

    pub(crate) fn is_waiting(&mut self, port: u16, now: u64) -> bool {
        self.time_wait.get_mut(&port).is_some_and(|ends| {
            ends.retain(|&end| end > now);
            !ends.is_empty()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_gives_each_port_once_and_then_none() {
        let mut table = PortTable::new(1, 0);
        table.ephemeral = 40_000..=40_009;
        let mut taken = Vec::new();
        while let Some(port) = table.pick(|_, port| !taken.contains(&port)) {
            taken.push(port);
        }
        taken.sort_unstable();
        assert_eq!(taken, (40_000..=40_009).collect::<Vec<_>>());
    }

    #[test]
    fn waiting_ends() {
        let mut table = PortTable::new(1, 0);
        table.wait(80, 100);
        assert!(table.is_waiting(80, 99));
        assert!(!table.is_waiting(80, 100));
        assert!(!table.is_waiting(81, 0));
    }
}
