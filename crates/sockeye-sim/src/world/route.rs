//! Who is connected to whom: nodes, the shortest way between two of them, and what a packet meets on it.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::net::IpAddr;

use super::{NONE, World};
use crate::errno;
use crate::link::{Link, LinkOptions, Passage};

/// A node is a host, or a router that forwards.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) is_router: bool,
    /// Links made for it; a node without any is on the shared LAN.
    pub(crate) links: Vec<u32>,
}

/// Why there is no way to an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum NoRoute {
    /// The routing table has nothing: ENETUNREACH.
    None,
    /// A route of type unreachable: EHOSTUNREACH.
    Unreachable,
    /// A route of type prohibit: EACCES.
    Prohibited,
    /// A route of type blackhole: EINVAL.
    Blackhole,
}

impl NoRoute {
    pub(crate) fn errno(self) -> i32 {
        match self {
            Self::None => errno::ENETUNREACH,
            Self::Unreachable => errno::EHOSTUNREACH,
            Self::Prohibited => errno::EACCES,
            Self::Blackhole => errno::EINVAL,
        }
    }
}

/// One link of a way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hop {
    pub(crate) link: u32,
    pub(crate) side: u8,
    pub(crate) to: u16,
}

/// A way from one node to another.
#[derive(Debug)]
pub(crate) struct Path {
    pub(crate) hops: Vec<Hop>,
    pub(crate) from: u16,
    pub(crate) to: u16,
    /// The way back.
    pub(crate) reverse: u32,
    /// Nothing on it takes time or loses anything now.
    pub(crate) ideal: bool,
    /// The narrowest MTU on it.
    pub(crate) mtu: usize,
    /// Latency and half the jitter of all links.
    pub(crate) one_way_ns: u64,
}

/// The way to oneself.
pub(crate) const LOOPBACK: u32 = 0;
const LOOPBACK_MTU: usize = 65_536;

/// What became of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Transit {
    Arrives {
        at: u64,
        hop_limit: u8,
    },
    Lost,
    /// The hop limit ran out at that router.
    Expired {
        at: u64,
        node: u16,
    },
    /// That node may not cut it, and its next link carries no more than `mtu`.
    TooBig {
        at: u64,
        node: u16,
        mtu: usize,
    },
}

#[derive(Debug)]
pub(crate) struct Routes {
    pub(crate) nodes: Vec<Node>,
    owners: BTreeMap<IpAddr, u16>,
    pub(crate) paths: Vec<Path>,
    known: BTreeMap<(u16, u16), u32>,
    /// Destinations that a host's routing table refuses: host, network as first and last address, why.
    pub(crate) refused: Vec<(u16, IpAddr, IpAddr, NoRoute)>,
    lan: BTreeMap<(u16, u16), u32>,
    pub(crate) lan_options: LinkOptions,
}

impl Routes {
    pub(crate) fn new() -> Self {
        let loopback = Path {
            hops: Vec::new(),
            from: 0,
            to: 0,
            reverse: LOOPBACK,
            ideal: true,
            mtu: LOOPBACK_MTU,
            one_way_ns: 0,
        };
        Self {
            nodes: Vec::new(),
            owners: BTreeMap::new(),
            paths: vec![loopback],
            known: BTreeMap::new(),
            refused: Vec::new(),
            lan: BTreeMap::new(),
            lan_options: LinkOptions::default(),
        }
    }

    pub(crate) fn owner(&self, address: IpAddr) -> Option<u16> {
        self.owners.get(&address).copied()
    }

    pub(crate) fn own(&mut self, address: IpAddr, node: u16) {
        self.owners.insert(address, node);
    }

    fn refusal(&self, host: u16, address: IpAddr) -> Option<NoRoute> {
        let hit = |&&(who, first, last, _): &&(u16, IpAddr, IpAddr, NoRoute)| {
            who == host && (first..=last).contains(&address)
        };
        self.refused.iter().rev().find(hit).map(|&(.., why)| why)
    }
}

impl World {
    /// The link between two nodes of the LAN, made when it is first needed.
    pub(crate) fn lan_link(&mut self, a: u16, b: u16) -> u32 {
        let key = (a.min(b), a.max(b));
        if let Some(&link) = self.routes.lan.get(&key) {
            return link;
        }
        let options = self.routes.lan_options;
        let link = self.add_link(key.0, key.1, options);
        self.routes.lan.insert(key, link);
        link
    }

    pub(crate) fn add_link(&mut self, a: u16, b: u16, options: LinkOptions) -> u32 {
        let index = u32::try_from(self.links.len()).unwrap_or(NONE);
        // The stream of chance belongs to the pair, so that it does not matter which link was first used.
        let key = u32::from(a.min(b)) << 16 | u32::from(a.max(b));
        self.links.push(Link::new(self.seed, key, [a, b], options));
        index
    }

    /// The links between two nodes, made if they share the LAN.
    pub(crate) fn links_between(&mut self, a: u16, b: u16) -> Vec<u32> {
        let made: Vec<u32> = self.routes.nodes[usize::from(a)]
            .links
            .iter()
            .copied()
            .filter(|&link| self.links[link as usize].ends.contains(&b))
            .collect();
        if made.is_empty() && self.on_lan(a) && self.on_lan(b) && a != b {
            vec![self.lan_link(a, b)]
        } else {
            made
        }
    }

    fn on_lan(&self, node: u16) -> bool {
        self.routes.nodes[usize::from(node)].links.is_empty()
    }

    /// The way from a host to an address, or why there is none: an address that nobody has is a way to
    /// nobody, `NONE`.
    pub(crate) fn route(&mut self, host: u16, address: IpAddr) -> Result<u32, i32> {
        if let Some(why) = self.routes.refusal(host, address) {
            return Err(why.errno());
        }
        match self.host_of(host, address) {
            Some(other) => Ok(self.path(host, other).unwrap_or(NONE)),
            None => {
                let slot = &self.hosts[usize::from(host)];
                let has_family = slot
                    .addresses
                    .iter()
                    .any(|own| own.is_ipv4() == address.is_ipv4());
                if has_family {
                    Ok(NONE)
                } else {
                    Err(errno::ENETUNREACH)
                }
            }
        }
    }

    /// The way between two nodes.
    pub(crate) fn path(&mut self, from: u16, to: u16) -> Option<u32> {
        if from == to {
            return Some(LOOPBACK);
        }
        if let Some(&path) = self.routes.known.get(&(from, to)) {
            return Some(path).filter(|&path| path != NONE);
        }
        let hops = self.shortest(from, to);
        let Some(hops) = hops else {
            self.routes.known.insert((from, to), NONE);
            return None;
        };
        let back: Vec<Hop> = hops
            .iter()
            .rev()
            .map(|hop| {
                let link = &self.links[hop.link as usize];
                Hop {
                    link: hop.link,
                    side: 1 - hop.side,
                    to: link.ends[usize::from(hop.side)],
                }
            })
            .collect();
        let there = u32::try_from(self.routes.paths.len()).unwrap_or(NONE);
        let empty = |from, to, hops, reverse| Path {
            hops,
            from,
            to,
            reverse,
            ideal: false,
            mtu: 0,
            one_way_ns: 0,
        };
        self.routes.paths.push(empty(from, to, hops, there + 1));
        self.routes.paths.push(empty(to, from, back, there));
        self.routes.known.insert((from, to), there);
        self.routes.known.insert((to, from), there + 1);
        self.refresh_path(there);
        self.refresh_path(there + 1);
        Some(there)
    }

    fn shortest(&mut self, from: u16, to: u16) -> Option<Vec<Hop>> {
        if self.on_lan(from) && self.on_lan(to) {
            let link = self.lan_link(from, to);
            let side = u8::from(self.links[link as usize].ends[0] != from);
            return Some(vec![Hop { link, side, to }]);
        }
        let mut came_by: BTreeMap<u16, Hop> = BTreeMap::new();
        let mut frontier = VecDeque::from([from]);
        while let Some(node) = frontier.pop_front() {
            if node != from && !self.routes.nodes[usize::from(node)].is_router {
                continue;
            }
            for &link in &self.routes.nodes[usize::from(node)].links {
                let ends = self.links[link as usize].ends;
                let side = u8::from(ends[0] != node);
                let next = ends[usize::from(1 - side)];
                if next != from && !came_by.contains_key(&next) {
                    came_by.insert(next, Hop { link, side, to: next });
                    frontier.push_back(next);
                }
            }
        }
        let mut hops = Vec::new();
        let mut node = to;
        while node != from {
            let hop = *came_by.get(&node)?;
            node = self.links[hop.link as usize].ends[usize::from(hop.side)];
            hops.push(hop);
        }
        hops.reverse();
        Some(hops)
    }

    /// Links have been added: ways are found anew. Streams keep theirs.
    pub(crate) fn forget_routes(&mut self) {
        self.routes.known.clear();
    }

    /// A link has changed: what the ways over it are like is computed anew.
    pub(crate) fn refresh_paths(&mut self) {
        for path in 1..self.routes.paths.len() {
            self.refresh_path(u32::try_from(path).unwrap_or(NONE));
        }
    }

    fn refresh_path(&mut self, path: u32) {
        let path = &mut self.routes.paths[path as usize];
        let hops = &path.hops;
        let link = |hop: &Hop| &self.links[hop.link as usize];
        path.ideal = hops.iter().all(|hop| link(hop).is_ideal(usize::from(hop.side)));
        path.mtu = hops
            .iter()
            .map(|hop| link(hop).options.mtu)
            .min()
            .unwrap_or(LOOPBACK_MTU);
        path.one_way_ns = hops.iter().map(|hop| link(hop).one_way_ns()).sum();
    }

    /// Sends a stream's segment of `size` bytes along a way: when it arrives, if it does.
    #[inline]
    pub(crate) fn carry(&mut self, path: u32, size: usize) -> Option<u64> {
        if path == NONE {
            return None;
        }
        let mut at = self.now;
        let way = &self.routes.paths[path as usize];
        let packets = u32::try_from(size.div_ceil(way.mtu.max(1))).unwrap_or(1);
        for hop in &way.hops {
            match self.links[hop.link as usize].pass(usize::from(hop.side), size, packets, at) {
                Passage::Arrives(later) => at = later,
                Passage::Lost => return None,
            }
            if !self.hosts[usize::from(hop.to)].is_up() {
                return None;
            }
        }
        Some(self.tick(at))
    }

    /// Sends a datagram or packet along a way from `start` on: what becomes of it, and what is to be added
    /// to its arrival (held back) and whether it arrives twice.
    pub(crate) fn transit(
        &mut self,
        path: u32,
        size: usize,
        hop_limit: u8,
        whole: bool,
        start: u64,
    ) -> (Transit, u64, bool) {
        let (mut at, mut left, mut held, mut twice) = (start, hop_limit, 0, false);
        if path == NONE {
            return (Transit::Lost, 0, false);
        }
        let way = &self.routes.paths[path as usize];
        let (mut node, destination) = (way.from, way.to);
        let mut piece = size;
        for hop in &way.hops {
            let link = &mut self.links[hop.link as usize];
            let mtu = link.options.mtu;
            if piece > mtu {
                if whole || node != way.from {
                    return (Transit::TooBig { at, node, mtu }, held, twice);
                }
                piece = mtu;
            }
            let fragments = u32::try_from(size.div_ceil(piece.max(1))).unwrap_or(1);
            match link.pass(usize::from(hop.side), size, fragments, at) {
                Passage::Arrives(later) => at = later,
                Passage::Lost => return (Transit::Lost, held, twice),
            }
            held += link.hold_back(usize::from(hop.side));
            twice |= link.duplicates(usize::from(hop.side));
            node = hop.to;
            if node != destination {
                if !self.hosts[usize::from(node)].is_up() {
                    return (Transit::Lost, held, twice);
                }
                left = left.saturating_sub(1);
                if left == 0 {
                    return (Transit::Expired { at, node }, held, twice);
                }
            }
        }
        let at = self.tick(at + held);
        (Transit::Arrives { at, hop_limit: left }, held, twice)
    }

    /// The address that a node answers from, as seen from another: its first of that family.
    pub(crate) fn address_of(&self, node: u16, v4: bool) -> Option<IpAddr> {
        self.hosts[usize::from(node)]
            .addresses
            .iter()
            .copied()
            .find(|address| address.is_ipv4() == v4)
    }
}

impl World {
    /// The links of the LAN that exist.
    pub(crate) fn lan_links(&self) -> Vec<u32> {
        self.routes.lan.values().copied().collect()
    }
}
