//! The ports that were found, by target and port: people read them so, and they are found in any order.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use super::report::Found;
use super::words::Place;

/// Ports that are kept to be sorted; with more they are printed in parts.
const MOST: usize = 65_536;

/// Which target of the command line an address belongs to.
#[derive(Debug, Default)]
pub(super) struct Order {
    hosts: HashMap<IpAddr, usize>,
    ranges: Vec<(usize, Place)>,
    len: usize,
}

impl Order {
    /// The next target.
    pub(super) fn push(&mut self, place: Place) {
        match place {
            Place::Host(address) => {
                self.hosts.entry(address.ip()).or_insert(self.len);
            }
            Place::Range(_) => self.ranges.push((self.len, place)),
        }
        self.len += 1;
    }

    fn key(&self, address: SocketAddr) -> (usize, IpAddr, u16) {
        let ip = address.ip();
        let is_in = |(_, place): &&(usize, Place)| match place {
            Place::Range(range) => range.contains(ip),
            Place::Host(_) => false,
        };
        let in_range = self.ranges.iter().find(is_in).map(|(index, _)| *index);
        let host = self.hosts.get(&ip).copied();
        let target = [host, in_range].into_iter().flatten().min().unwrap_or(self.len);
        (target, ip, address.port())
    }
}

/// What was found and is not printed yet.
#[derive(Debug)]
pub(super) struct Sorted {
    /// `None`: nothing is kept back.
    order: Option<Order>,
    found: Vec<Found>,
}

impl Sorted {
    pub(super) fn new(order: Option<Order>) -> Self {
        let found = Vec::new();
        Self { order, found }
    }

    /// Takes more; gives what is to be printed now.
    pub(super) fn put(&mut self, more: Vec<Found>) -> Vec<Found> {
        if self.order.is_none() {
            return more;
        }
        self.found.extend(more);
        if self.found.len() < MOST {
            return Vec::new();
        }
        self.finish()
    }

    /// All that is left, in order.
    pub(super) fn finish(&mut self) -> Vec<Found> {
        let mut found = std::mem::take(&mut self.found);
        if let Some(order) = &self.order {
            found.sort_by_cached_key(|found| order.key(found.destination()));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_come_in_the_order_of_the_command_line() {
        let mut order = Order::default();
        order.push(Place::Host("192.0.2.9:0".parse().unwrap()));
        order.push(Place::Range("192.0.2.0-192.0.2.15".parse().unwrap()));
        order.push(Place::Host("192.0.2.9:0".parse().unwrap()));
        order.push(Place::Host("[::1]:0".parse().unwrap()));
        let mut all = [
            "[::1]:1",
            "192.0.2.10:80",
            "192.0.2.10:9",
            "192.0.2.9:443",
            "192.0.2.2:1",
        ]
        .map(|at| at.parse::<SocketAddr>().unwrap());
        all.sort_by_key(|at| order.key(*at));
        let sorted = all.map(|at| at.to_string());
        assert_eq!(
            sorted,
            [
                "192.0.2.9:443",
                "192.0.2.2:1",
                "192.0.2.10:9",
                "192.0.2.10:80",
                "[::1]:1"
            ]
        );
    }
}
