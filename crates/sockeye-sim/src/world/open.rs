//! Set-up calls: listen, connect, accept, and who hears a connect request.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::knobs::Call;
use super::stream::{ConnectState, Listener};
use super::{NONE, World, canonical};
use crate::errno;
use crate::mutant::Mutant;
use crate::trace::Step;

/// Which call of a set-up failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Failed {
    Open(i32),
    Bind(i32),
    Listen(i32),
    Connect(i32),
}

impl World {
    /// Whether a socket of the host may have that address.
    pub(crate) fn is_local(&self, host: u16, address: IpAddr) -> bool {
        address.is_unspecified()
            || address.is_loopback()
            || self.hosts[usize::from(host)].addresses.contains(&address)
            || self.mutated(Mutant::ForeignAddressBinds)
    }

    /// listen(2), with the socket(2) and bind(2) before it.
    pub(crate) fn listen(
        &mut self,
        host: u16,
        at: SocketAddr,
        backlog: usize,
        reuse: (bool, bool),
        v6_only: bool,
    ) -> Result<u32, Failed> {
        self.count_call(host, Call::Socket).map_err(Failed::Open)?;
        self.take_descriptor(host).map_err(Failed::Open)?;
        let opened = self.count_call(host, Call::Listen).map_err(Failed::Listen);
        let local = match opened.and_then(|()| {
            self.listen_address(host, at, reuse, v6_only)
                .map_err(Failed::Bind)
        }) {
            Ok(local) => local,
            Err(error) => {
                self.give_descriptor(host);
                return Err(error);
            }
        };
        let listener = Listener {
            in_use: true,
            host,
            token: u64::MAX,
            queued: false,
            local,
            v6_only,
            backlog,
            waiting: std::collections::VecDeque::new(),
            unix: None,
        };
        // Places are not used again: a connection on its way may still name its listener.
        self.listeners.push(listener);
        let index = u32::try_from(self.listeners.len() - 1).unwrap_or(NONE);
        self.hosts[usize::from(host)].listeners.push(index);
        Ok(index)
    }

    fn listen_address(
        &mut self,
        host: u16,
        at: SocketAddr,
        (reuse_address, reuse_port): (bool, bool),
        v6_only: bool,
    ) -> Result<SocketAddr, i32> {
        if !self.is_local(host, canonical(at).ip()) {
            return Err(errno::EADDRNOTAVAIL);
        }
        if at.port() != 0 {
            let taken = self.is_listening(host, at, v6_only) && !reuse_port;
            let slot = &mut self.hosts[usize::from(host)];
            let old = slot.ports.is_waiting(at.port(), self.now) || slot.ports.has_connection(at.port());
            let in_use = taken || (old && !reuse_address && !reuse_port);
            let in_use = in_use && !self.mutated(Mutant::AddressAlwaysFree);
            return if in_use { Err(errno::EADDRINUSE) } else { Ok(at) };
        }
        let taken: Vec<u16> = self.hosts[usize::from(host)]
            .listeners
            .iter()
            .map(|&l| self.listeners[l as usize].local.port())
            .collect();
        let slot = &mut self.hosts[usize::from(host)];
        let port = slot
            .ports
            .pick(|ports, port| !taken.contains(&port) && !ports.has_connection(port));
        Ok(SocketAddr::new(at.ip(), port.ok_or(errno::EADDRINUSE)?))
    }

    /// Whether a listener of the host has that port and an address that overlaps.
    fn is_listening(&self, host: u16, at: SocketAddr, v6_only: bool) -> bool {
        self.hosts[usize::from(host)].listeners.iter().any(|&index| {
            let other = &self.listeners[index as usize];
            let never_free = self.mutated(Mutant::AddressNeverFree);
            (other.in_use || never_free)
                && other.local.port() == at.port()
                && overlap((at.ip(), v6_only), (other.local.ip(), other.v6_only))
        })
    }

    /// Who hears a connect request to `to`: the listener on exactly that address before one on all.
    pub(crate) fn find_listener(&self, host: u16, to: SocketAddr, from: SocketAddr) -> Option<u32> {
        let dual_is_v6 = self.mutated(Mutant::DualStackIsV6Only);
        let only_is_dual = self.mutated(Mutant::V6OnlyIsDual);
        let mut best: Option<(u8, u32, u32)> = None;
        let mut equals = 0;
        for &index in &self.hosts[usize::from(host)].listeners {
            let other = &self.listeners[index as usize];
            let v6_only = (other.v6_only && !only_is_dual) || dual_is_v6;
            let Some(score) = score(other.local, v6_only, to).filter(|_| other.in_use) else {
                continue;
            };
            equals = match best {
                Some((known, ..)) if known == score => equals + 1,
                Some((known, ..)) if known > score => continue,
                _ => 1,
            };
            // Listeners that share a port share its connections by a hash of the pair.
            let rank = u32::from(from.port())
                .wrapping_mul(0x9e37_79b9)
                .wrapping_add(equals)
                .wrapping_mul(0x85eb_ca6b);
            if best.is_none_or(|(known, highest, _)| score > known || rank > highest) {
                best = Some((score, rank, index));
            }
        }
        best.map(|(.., index)| index)
    }

    /// accept(2). The descriptor comes first, as in the kernel: with none left, an empty backlog says EMFILE too.
    pub(crate) fn accept(&mut self, listener: u32) -> Result<(u32, SocketAddr), i32> {
        let host = self.listeners[listener as usize].host;
        self.count_call(host, Call::Accept)?;
        self.take_descriptor(host)?;
        let Some(child) = self.listeners[listener as usize].waiting.pop_front() else {
            self.give_descriptor(host);
            return Err(if self.mutated(Mutant::EmptyBacklogFails) {
                errno::EINVAL
            } else {
                errno::EAGAIN
            });
        };
        self.step(Step::Accept, child, u64::from(listener));
        let slot = &mut self.streams[child as usize];
        slot.open = true;
        slot.listener = NONE;
        let mut peer = super::shaped(slot.remote, slot.v6);
        if self.mutated(Mutant::AcceptsWrongPeer) {
            peer.set_port(peer.port() ^ 1);
        }
        Ok((child, peer))
    }

    /// close(2) of a listener: who waits to be accepted is reset.
    pub(crate) fn close_listener(&mut self, listener: u32) {
        let host = self.listeners[listener as usize].host;
        self.give_descriptor(host);
        self.free_unix_name(listener);
        let keeps = self.mutated(Mutant::ListenerCloseKeepsBacklog) || self.mutated(Mutant::AddressNeverFree);
        let slot = &mut self.listeners[listener as usize];
        slot.in_use = false;
        slot.token = u64::MAX;
        let waiting = std::mem::take(&mut slot.waiting);
        let crashed = self.hosts[usize::from(host)].state == super::HostState::Crashed;
        if !keeps {
            self.hosts[usize::from(host)]
                .listeners
                .retain(|&other| other != listener);
        }
        for child in waiting {
            if self.streams[child as usize].unix.is_some() {
                self.close_unix(child);
                continue;
            }
            self.streams[child as usize].listener = NONE;
            if crashed || self.streams[child as usize].state == ConnectState::Dead {
                self.forget_stream(child);
            } else if !self.mutated(Mutant::ListenerCloseKeepsBacklog) {
                self.send_reset(child);
            }
        }
    }

    /// The address a socket of the host sends from when it has none of its own.
    pub(crate) fn source_for(&self, host: u16, to: IpAddr) -> Option<IpAddr> {
        match to {
            IpAddr::V4(v4) if v4.is_loopback() => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            IpAddr::V6(v6) if v6.is_loopback() => Some(IpAddr::V6(Ipv6Addr::LOCALHOST)),
            _ if self.hosts[usize::from(host)].addresses.contains(&to) => Some(to),
            _ => self.address_of(host, to.is_ipv4()),
        }
    }

    /// socket(2), bind(2) if asked for, connect(2).
    pub(crate) fn connect(
        &mut self,
        host: u16,
        to: SocketAddr,
        source: Option<SocketAddr>,
    ) -> Result<u32, Failed> {
        self.count_call(host, Call::Socket).map_err(Failed::Open)?;
        self.take_descriptor(host).map_err(Failed::Open)?;
        match self.connect_ends(host, to, source) {
            Ok((local, remote, path)) => {
                let stream = self.new_stream(host);
                let slot = &mut self.streams[stream as usize];
                slot.open = true;
                slot.state = ConnectState::SynSent;
                slot.local = local;
                slot.remote = remote;
                slot.path = path;
                slot.v6 = to.is_ipv6();
                slot.holds_pair = true;
                self.hosts[usize::from(host)].ports.add_pair(local, remote);
                Ok(stream)
            }
            Err(error) => {
                self.give_descriptor(host);
                Err(error)
            }
        }
    }

    fn connect_ends(
        &mut self,
        host: u16,
        to: SocketAddr,
        source: Option<SocketAddr>,
    ) -> Result<(SocketAddr, SocketAddr, u32), Failed> {
        let mut remote = canonical(to);
        match remote.ip() {
            IpAddr::V4(v4) if v4.is_unspecified() => remote.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            IpAddr::V6(v6) if v6.is_unspecified() => remote.set_ip(IpAddr::V6(Ipv6Addr::LOCALHOST)),
            _ if self.mutated(Mutant::GroupsConnect) => {}
            IpAddr::V4(v4) if v4.is_multicast() || self.is_broadcast(v4) => {
                return Err(Failed::Connect(errno::ENETUNREACH));
            }
            IpAddr::V6(v6) if v6.is_multicast() => return Err(Failed::Connect(errno::ENETUNREACH)),
            _ => {}
        }
        let bound = match source {
            Some(bound) => Some(self.connect_source(host, to, canonical(bound))?),
            None => None,
        };
        self.count_call(host, Call::Connect).map_err(Failed::Connect)?;
        let path = self.route(host, remote.ip()).map_err(Failed::Connect)?;
        let own = match bound.map(|bound| bound.ip()).filter(|ip| !ip.is_unspecified()) {
            Some(own) => own,
            None => self
                .source_for(host, remote.ip())
                .ok_or(Failed::Connect(errno::ENETUNREACH))?,
        };
        let listening: Vec<u16> = self.hosts[usize::from(host)]
            .listeners
            .iter()
            .map(|&l| self.listeners[l as usize].local.port())
            .collect();
        let ports = &mut self.hosts[usize::from(host)].ports;
        let port = match bound.map_or(0, |bound| bound.port()) {
            0 => ports.pick(|ports, port| {
                !ports.has_pair(SocketAddr::new(own, port), remote) && !listening.contains(&port)
            }),
            asked => Some(asked),
        };
        let port = port.ok_or(Failed::Connect(errno::EADDRNOTAVAIL))?;
        let local = SocketAddr::new(own, port);
        if ports.has_pair(local, remote) {
            return Err(Failed::Connect(errno::EADDRNOTAVAIL));
        }
        Ok((local, remote, path))
    }

    /// Whether that is a broadcast address that every host has a route to: the limited one, and the loopback's.
    pub(crate) fn is_broadcast(&self, ip: Ipv4Addr) -> bool {
        let of_the_loopback =
            ip == Ipv4Addr::new(127, 255, 255, 255) && !self.mutated(Mutant::OneBroadcastOnly);
        ip.is_broadcast() || of_the_loopback
    }

    /// Whether a connection that ended first on this host still holds the port.
    fn is_remembered(&mut self, host: u16, port: u16) -> bool {
        let now = self.now;
        !self.mutated(Mutant::EndedConnectionsAreForgotten)
            && self.hosts[usize::from(host)].ports.is_waiting(port, now)
    }

    fn connect_source(&mut self, host: u16, to: SocketAddr, bound: SocketAddr) -> Result<SocketAddr, Failed> {
        if bound.is_ipv4() != canonical(to).is_ipv4() && !self.mutated(Mutant::FamiliesMix) {
            return Err(Failed::Bind(errno::EAFNOSUPPORT));
        }
        if !self.is_local(host, bound.ip()) {
            return Err(Failed::Bind(errno::EADDRNOTAVAIL));
        }
        let v6_only = false;
        let taken = bound.port() != 0
            && (self.is_listening(host, bound, v6_only)
                || self.hosts[usize::from(host)].ports.has_connection(bound.port())
                || self.is_remembered(host, bound.port()));
        if taken && !self.mutated(Mutant::AddressAlwaysFree) {
            return Err(Failed::Bind(errno::EADDRINUSE));
        }
        Ok(bound)
    }
}

/// Whether two bound addresses can not both have a port.
pub(crate) fn overlap((a, a_v6_only): (IpAddr, bool), (b, b_v6_only): (IpAddr, bool)) -> bool {
    let all_v4 = |ip: IpAddr, v6_only: bool| match ip {
        IpAddr::V4(v4) => v4.is_unspecified(),
        IpAddr::V6(v6) => v6.is_unspecified() && !v6_only,
    };
    let has_v4 = |ip: IpAddr, v6_only: bool| ip.is_ipv4() || all_v4(ip, v6_only);
    if has_v4(a, a_v6_only) && has_v4(b, b_v6_only) && (all_v4(a, a_v6_only) || all_v4(b, b_v6_only)) {
        return true;
    }
    a == b || (a.is_ipv6() && b.is_ipv6() && (a.is_unspecified() || b.is_unspecified()))
}

/// How well a bound address fits a destination: exactly, or as one that takes all.
pub(crate) fn score(bound: SocketAddr, v6_only: bool, to: SocketAddr) -> Option<u8> {
    if bound.port() != to.port() {
        return None;
    }
    if canonical(bound).ip() == to.ip() {
        return Some(3);
    }
    match (bound.ip(), to.ip()) {
        (IpAddr::V4(all), IpAddr::V4(_)) if all.is_unspecified() => Some(2),
        (IpAddr::V6(all), IpAddr::V6(_)) if all.is_unspecified() => Some(2),
        (IpAddr::V6(all), IpAddr::V4(_)) if all.is_unspecified() && !v6_only => Some(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn bound_addresses_overlap_as_in_the_kernel() {
        for (a, b, clash) in [
            (("0.0.0.0", false), ("127.0.0.1", false), true),
            (("127.0.0.1", false), ("127.0.0.2", false), false),
            (("::", false), ("0.0.0.0", false), true),
            (("::", true), ("0.0.0.0", false), false),
            (("::", false), ("127.0.0.1", false), true),
            (("::1", false), ("127.0.0.1", false), false),
            (("::", true), ("::1", true), true),
        ] {
            assert_eq!(overlap((ip(a.0), a.1), (ip(b.0), b.1)), clash, "{a:?} {b:?}");
            assert_eq!(overlap((ip(b.0), b.1), (ip(a.0), a.1)), clash, "{b:?} {a:?}");
        }
    }

    #[test]
    fn the_exact_address_comes_before_the_wildcard() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let exact = score(at("10.0.0.1:80"), false, at("10.0.0.1:80"));
        let wild = score(at("0.0.0.0:80"), false, at("10.0.0.1:80"));
        let dual = score(at("[::]:80"), false, at("10.0.0.1:80"));
        assert!(exact > wild && wild > dual && dual.is_some());
        assert_eq!(score(at("[::]:80"), true, at("10.0.0.1:80")), None);
        assert_eq!(score(at("10.0.0.1:81"), false, at("10.0.0.1:80")), None);
    }
}
