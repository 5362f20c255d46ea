//! Longest-prefix match: which of many networks an address belongs to most closely.

use core::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;

use crate::network::Network;

/// A map from networks to values, looked up by address: the value of the longest prefix wins, as in a routing table.
///
/// ```
/// use sockeye_endpoint::NetMap;
///
/// let mut routes = NetMap::new();
/// routes.insert("0.0.0.0/0".parse()?, "uplink");
/// routes.insert("10.0.0.0/8".parse()?, "office");
/// let (network, via) = routes.lookup("10.9.8.7".parse().unwrap()).unwrap();
/// assert_eq!((network.to_string().as_str(), *via), ("10.0.0.0/8", "office"));
/// # Ok::<(), sockeye_endpoint::ParseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct NetMap<V> {
    v4: PrefixMap<Ipv4Net, V>,
    v6: PrefixMap<Ipv6Net, V>,
}

impl<V> Default for NetMap<V> {
    fn default() -> Self {
        Self {
            v4: PrefixMap::new(),
            v6: PrefixMap::new(),
        }
    }
}

impl<V> NetMap<V> {
    /// A map of no network.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the value of a network; what it was before comes back.
    pub fn insert(&mut self, network: Network, value: V) -> Option<V> {
        match network.ipnet() {
            IpNet::V4(net) => self.v4.insert(net, value),
            IpNet::V6(net) => self.v6.insert(net, value),
        }
    }

    /// Takes out exactly that network.
    pub fn remove(&mut self, network: Network) -> Option<V> {
        match network.ipnet() {
            IpNet::V4(net) => self.v4.remove(&net),
            IpNet::V6(net) => self.v6.remove(&net),
        }
    }

    /// The value of exactly that network.
    #[must_use]
    pub fn get(&self, network: Network) -> Option<&V> {
        match network.ipnet() {
            IpNet::V4(net) => self.v4.get(&net),
            IpNet::V6(net) => self.v6.get(&net),
        }
    }

    /// The longest network that holds the address, and its value.
    #[must_use]
    pub fn lookup(&self, ip: IpAddr) -> Option<(Network, &V)> {
        self.lookup_network(Network::from(ip))
    }

    /// The longest network that holds the whole of `network`, and its value.
    #[must_use]
    pub fn lookup_network(&self, network: Network) -> Option<(Network, &V)> {
        match network.ipnet() {
            IpNet::V4(net) => self
                .v4
                .get_lpm(&net)
                .map(|(net, value)| (IpNet::V4(net).into(), value)),
            IpNet::V6(net) => self
                .v6
                .get_lpm(&net)
                .map(|(net, value)| (IpNet::V6(net).into(), value)),
        }
    }

    /// How many networks have a value.
    #[must_use]
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether no network has a value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<V> FromIterator<(Network, V)> for NetMap<V> {
    fn from_iter<I: IntoIterator<Item = (Network, V)>>(rows: I) -> Self {
        let mut map = Self::new();
        rows.into_iter().for_each(|(network, value)| {
            map.insert(network, value);
        });
        map
    }
}
