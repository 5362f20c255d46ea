//! Who has a local address, for errors that say that it is taken.

use std::net::SocketAddr;

use sockeye::endpoint::{Transport, UnixName};

use super::holders::Holders;
use super::netlink::Table;
use super::socket::{Kind, Side, Socket, State};
use super::{Snapshot, Wanted, gather};

/// Holders that are named.
const MAX_NAMED: usize = 4;

/// The processes that have a local address of TCP or UDP, such as `python3 (4711)`. `None` where nobody is seen: the
/// socket may be another user's.
pub(crate) fn by_address(transport: Transport, at: SocketAddr) -> Option<String> {
    let (kind, states) = match transport {
        Transport::Tcp => (Kind::Tcp, vec![State::Listen]),
        Transport::Udp => (Kind::Udp, State::ALL.to_vec()),
        _ => return None,
    };
    let tables = [false, true].map(|v6| Table::Inet { v6, kind });
    // A wildcard of either family may be in the way of any address.
    let in_the_way = |side: &Side| match side {
        Side::Ip(ip, port) => {
            *port == at.port()
                && (ip.is_unspecified()
                    || at.ip().is_unspecified()
                    || ip.to_canonical() == at.ip().to_canonical())
        }
        _ => false,
    };
    named(&tables, states, |socket| in_the_way(&socket.local))
}

/// The processes that have the name of a Unix socket.
pub(crate) fn by_name(name: &UnixName) -> Option<String> {
    named(&[Table::Unix], State::ALL.to_vec(), |socket| {
        match &socket.local {
            Side::Path(path) => name.as_path_bytes() == Some(path),
            Side::Abstract(bytes) => name.as_abstract_name() == Some(bytes),
            _ => false,
        }
    })
}

fn named(tables: &[Table], states: Vec<State>, is_it: impl Fn(&Socket) -> bool) -> Option<String> {
    let mut snapshot = Snapshot::default();
    let wanted = Wanted { info: false, states };
    gather(tables, &wanted, &mut snapshot).ok()?;
    snapshot
        .sockets
        .retain(|socket| wanted.states.contains(&socket.state) && is_it(socket));
    if snapshot.sockets.is_empty() {
        return None;
    }
    let holders = Holders::read().ok()?;
    let mut names: Vec<String> = Vec::new();
    for socket in &snapshot.sockets {
        for process in holders.of(socket.inode) {
            let name = format!("{} ({})", process.name, process.pid);
            if names.len() < MAX_NAMED && !names.contains(&name) {
                names.push(name);
            }
        }
    }
    (!names.is_empty()).then(|| names.join(", "))
}
