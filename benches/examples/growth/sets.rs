//! Networks, ports and maps.

use std::net::{IpAddr, Ipv4Addr};

use sockeye::endpoint::{NetMap, NetSet, Network, PortSet};

use super::{Cost, Error, measured};

/// The n-th of networks that never touch, in an order that is none.
fn network(n: usize, of: usize) -> Network {
    let shuffled = (n as u64 * 0x9e37_79b9) % of.next_power_of_two() as u64;
    let address = (u32::try_from(shuffled).unwrap_or(0) << 6) + 0x0100_0000;
    Network::of(IpAddr::V4(Ipv4Addr::from_bits(address)), 30).unwrap()
}

pub(super) fn networks_inserted(size: usize) -> Result<Cost, Error> {
    let networks: Vec<Network> = (0..size).map(|n| network(n, size)).collect();
    let mut set = NetSet::new();
    let cost = measured(|| {
        for &network in &networks {
            set.insert(network);
        }
        Ok(size as u64)
    })?;
    assert!(networks.iter().all(|&network| set.contains_network(network)));
    Ok(cost)
}

pub(super) fn networks_at_once(size: usize) -> Result<Cost, Error> {
    let networks: Vec<Network> = (0..size).map(|n| network(n, size)).collect();
    measured(|| {
        let set: NetSet = networks.into_iter().collect();
        assert!(!set.is_empty());
        Ok(size as u64)
    })
}

/// A million lookups in a set of that many networks.
pub(super) fn network_lookups(size: usize) -> Result<Cost, Error> {
    let set: NetSet = (0..size).map(|n| network(n, size)).collect();
    measured(|| {
        let found = (0..1_000_000).filter(|&n| set.contains(network(n, size).address()));
        assert!(found.count() > 0);
        Ok(1_000_000)
    })
}

/// Every other port, in an order that is none.
pub(super) fn ports_inserted(size: usize) -> Result<Cost, Error> {
    measured(|| {
        let mut units = 0;
        // Small sets many times, or there is nothing to measure.
        for _ in 0..(32_000 / size).max(1) {
            let mut set = PortSet::new();
            for n in 0..size {
                let port = (n * 2 * 7919) % 65_536;
                set.insert(u16::try_from(port & !1)?);
                units += 1;
            }
            assert!(!set.is_empty());
        }
        Ok(units)
    })
}

pub(super) fn map_entries(size: usize) -> Result<Cost, Error> {
    let networks: Vec<Network> = (0..size).map(|n| network(n, size)).collect();
    measured(|| {
        let mut map = NetMap::new();
        for (value, &network) in networks.iter().enumerate() {
            map.insert(network, value);
        }
        assert_eq!(map.len(), size);
        Ok(size as u64)
    })
}

pub(super) fn map_lookups(size: usize) -> Result<Cost, Error> {
    let mut map = NetMap::new();
    for n in 0..size {
        map.insert(network(n, size), n);
    }
    measured(|| {
        let found = (0..1_000_000).filter(|&n| map.lookup(network(n, size).address()).is_some());
        assert!(found.count() > 0);
        Ok(1_000_000)
    })
}
