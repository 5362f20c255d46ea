//! Names of Unix sockets where addresses of IP are expected.

use std::collections::HashMap;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};

use sockeye_endpoint::UnixName;

/// Peers that one socket knows at a time.
const MOST: usize = 4096;

/// The peers of a Unix socket of datagrams, each with an address that stands for its name, so that a service written for UDP
/// serves it unchanged.
///
/// The addresses are of the discard-only block `100::/64` (RFC 6666), which no packet is sent to. The last 4,096 peers are
/// known; an address of one before them stands for nobody.
///
/// ```
/// use sockeye_event_loop::backend::UnixPeers;
/// use sockeye_event_loop::UnixName;
///
/// let mut peers = UnixPeers::default();
/// let name: UnixName = "/run/app.sock".parse()?;
/// let address = peers.address_of(&name);
/// assert_eq!(peers.name_of(address), Some(name));
/// assert_eq!(peers.address_of(&name), address, "the same again");
/// let nobody = peers.address_of(&UnixName::UNNAMED);
/// assert_eq!(peers.name_of(nobody), None, "who has no name cannot be answered");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct UnixPeers {
    places: HashMap<UnixName, u32>,
    /// The peer of each number, counted from 1; the next one takes the place of the oldest.
    names: Vec<(u32, UnixName)>,
    last: u32,
    /// Who was asked for last: who sends once mostly sends again.
    recent: u32,
}

impl UnixPeers {
    /// The address that stands for a name, from now on; that of a peer without a name stands for nobody.
    pub fn address_of(&mut self, name: &UnixName) -> SocketAddr {
        if *name == UnixName::UNNAMED {
            return standing_for(0);
        }
        if let Some((number, known)) = self.names.get(self.recent as usize % MOST)
            && *number == self.recent
            && known == name
        {
            return standing_for(self.recent);
        }
        if let Some(&number) = self.places.get(name) {
            self.recent = number;
            return standing_for(number);
        }
        self.last = self.last.wrapping_add(1).max(1);
        let place = self.last as usize % MOST;
        if place < self.names.len() {
            let (_, oldest) = std::mem::replace(&mut self.names[place], (self.last, *name));
            self.places.remove(&oldest);
        } else {
            // Places fill in order, but for the first one, which the numbers come to last.
            self.names.resize(place + 1, (0, UnixName::UNNAMED));
            self.names[place] = (self.last, *name);
        }
        self.places.insert(*name, self.last);
        self.recent = self.last;
        standing_for(self.last)
    }

    /// The name that an address stands for.
    #[must_use]
    pub fn name_of(&self, address: SocketAddr) -> Option<UnixName> {
        let SocketAddr::V6(address) = address else {
            return None;
        };
        let [0x100, 0, 0, 0, 0, 0, high, low] = address.ip().segments() else {
            return None;
        };
        let number = u32::from(high) << 16 | u32::from(low);
        let (known, name) = self.names.get(number as usize % MOST)?;
        (number != 0 && *known == number).then_some(*name)
    }
}

fn standing_for(number: u32) -> SocketAddr {
    let ip = Ipv6Addr::from_bits(0x0100 << 112 | u128::from(number));
    SocketAddr::V6(SocketAddrV6::new(ip, 0, 0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_peers_are_known_and_no_others() {
        let mut peers = UnixPeers::default();
        let name = |n: usize| UnixName::from_abstract_name(&n.to_ne_bytes()).unwrap();
        let addresses: Vec<SocketAddr> = (0..3 * MOST).map(|n| peers.address_of(&name(n))).collect();
        for (n, address) in addresses.iter().enumerate() {
            let known = peers.name_of(*address);
            assert_eq!(known, (n >= 2 * MOST).then(|| name(n)), "{n}");
        }
        assert_eq!(peers.places.len(), MOST);
        assert_eq!(peers.name_of("[100::]:0".parse().unwrap()), None);
        assert_eq!(peers.name_of("192.0.2.1:0".parse().unwrap()), None);
    }
}
