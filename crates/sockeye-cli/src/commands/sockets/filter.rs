//! Which sockets are shown.

use std::net::IpAddr;
use std::str::FromStr;

use sockeye::endpoint::{Endpoint, Network, ParseError, PortSet, Transport, UnixName, Zone};
use sockeye::socket::os::interface_index;

use super::holders::Holders;
use super::socket::{Kind, Side, Socket};
use crate::address::place;

/// An end of a socket as it was asked for.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// Any port of a network or an address.
    Network(Network),
    /// One port, of one transport where the scheme says so; 0 is any.
    Endpoint(Endpoint, bool),
    Unix(UnixName),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix("unix:") {
            return name
                .parse()
                .map(Self::Unix)
                .map_err(|error: ParseError| place(name, error));
        }
        if text.contains("://") {
            return text
                .parse()
                .map(|endpoint| Self::Endpoint(endpoint, true))
                .map_err(|error: ParseError| place(text, error));
        }
        if text.contains('/') {
            return text
                .parse()
                .map(Self::Network)
                .map_err(|error: ParseError| place(text, error));
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            let width = if ip.is_ipv4() { 32 } else { 128 };
            return Network::of(ip, width)
                .map(Self::Network)
                .ok_or_else(|| "no address".to_owned());
        }
        format!("tcp://{text}")
            .parse()
            .map(|endpoint| Self::Endpoint(endpoint, false))
            .map_err(|_| {
                "expected an address (192.0.2.1), ADDRESS:PORT ([::1]:80), a network (10.0.0.0/8), an endpoint \
                 (tcp://[::1]:80) or unix:PATH"
                    .to_owned()
            })
    }
}

impl Place {
    fn has(&self, socket: &Socket, side: &Side) -> bool {
        match (self, side) {
            (Self::Network(network), Side::Ip(ip, _)) => {
                network.contains(*ip) || network.contains(ip.to_canonical())
            }
            (Self::Endpoint(endpoint, with_transport), Side::Ip(ip, port)) => {
                let transport = match socket.kind {
                    Kind::Tcp => Transport::Tcp,
                    Kind::Udp => Transport::Udp,
                    Kind::Raw(protocol) => Transport::Ip(protocol),
                    _ => return false,
                };
                (!with_transport || endpoint.transport() == transport)
                    && (endpoint.ip() == *ip || endpoint.ip() == ip.to_canonical())
                    && (endpoint.port() == 0 || endpoint.port() == *port)
                    && endpoint
                        .zone()
                        .is_none_or(|zone| index(zone) == Some(socket.interface))
            }
            (Self::Unix(name), Side::Path(path)) => name.as_path_bytes() == Some(path),
            (Self::Unix(name), Side::Abstract(path)) => name.as_abstract_name() == Some(path),
            (Self::Unix(name), Side::Unnamed(_)) => name.is_unnamed(),
            _ => false,
        }
    }
}

fn index(zone: Zone) -> Option<u32> {
    let text = zone.to_string();
    text.parse().ok().or_else(|| interface_index(&text).ok())
}

/// A process: its number, or its name as `/proc/PID/comm` has it.
#[derive(Debug, Clone)]
pub(super) enum Who {
    Pid(u32),
    Name(String),
}

impl FromStr for Who {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("expected a process number or a name".to_owned());
        }
        Ok(text
            .parse()
            .map_or_else(|_| Self::Name(text.to_owned()), Self::Pid))
    }
}

/// All that was asked for; everything has to hold.
#[derive(Debug, Clone, Default)]
pub(super) struct Filter {
    pub(super) ports: Option<PortSet>,
    pub(super) local: Vec<Place>,
    pub(super) peer: Vec<Place>,
    pub(super) process: Vec<Who>,
}

impl Filter {
    /// Whether it takes every socket.
    pub(super) fn is_empty(&self) -> bool {
        self.ports.is_none() && self.local.is_empty() && self.peer.is_empty() && self.process.is_empty()
    }

    pub(super) fn takes(&self, socket: &Socket, holders: Option<&Holders>) -> bool {
        let has_port = |side: &Side, ports: &PortSet| matches!(side, Side::Ip(_, port) if *port != 0 && ports.contains(*port));
        let any = |places: &[Place], side: &Side| {
            places.is_empty() || places.iter().any(|place| place.has(socket, side))
        };
        self.ports
            .as_ref()
            .is_none_or(|ports| has_port(&socket.local, ports) || has_port(&socket.peer, ports))
            && any(&self.local, &socket.local)
            && any(&self.peer, &socket.peer)
            && (self.process.is_empty() || holders.is_some_and(|holders| self.is_held(socket, holders)))
    }

    fn is_held(&self, socket: &Socket, holders: &Holders) -> bool {
        holders.of(socket.inode).any(|process| {
            self.process.iter().any(|who| match who {
                Who::Pid(pid) => *pid == process.pid,
                Who::Name(name) => *name == process.name,
            })
        })
    }
}
