//! The sockets from `/proc/net`, where netlink is not permitted: no TCP_INFO, no cgroup, no peers of Unix sockets.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::netlink::Table;
use super::socket::{Kind, Side, Socket, State, Timer, unix_name};

/// The sockets of one table.
///
/// # Errors
/// When the file is not there or cannot be read.
pub(super) fn read(table: Table, sockets: &mut Vec<Socket>) -> io::Result<()> {
    let path = match table {
        Table::Unix => "/proc/net/unix".to_owned(),
        Table::Inet { v6, kind } => format!("/proc/net/{}{}", kind.name(), if v6 { "6" } else { "" }),
    };
    let text = std::fs::read(path)?;
    for line in text.split(|byte| *byte == b'\n').skip(1) {
        sockets.extend(match table {
            Table::Unix => unix(line),
            Table::Inet { kind, .. } => std::str::from_utf8(line).ok().and_then(|line| inet(kind, line)),
        });
    }
    Ok(())
}

/// `sl local rem st tx:rx tr:when retransmits uid timeout inode ...` (proc_pid_net(5)).
fn inet(kind: Kind, line: &str) -> Option<Socket> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [
        _,
        local,
        peer,
        state,
        queues,
        timer,
        retransmits,
        uid,
        _,
        inode,
        ..,
    ] = words.as_slice()
    else {
        return None;
    };
    let state = State::of(u8::from_str_radix(state, 16).ok()?)?;
    let (local_ip, mut local_port) = address(local)?;
    let (peer_ip, peer_port) = address(peer)?;
    let kind = match kind {
        Kind::Raw(_) => {
            let protocol = u8::try_from(std::mem::take(&mut local_port)).unwrap_or(255);
            Kind::Raw(protocol)
        }
        other => other,
    };
    let mut socket = Socket::new(
        kind,
        state,
        Side::Ip(local_ip, local_port),
        Side::Ip(peer_ip, peer_port),
    );
    let (send, receive) = queues.split_once(':')?;
    socket.send_queue = u32::from_str_radix(send, 16).ok()?;
    socket.recv_queue = u32::from_str_radix(receive, 16).ok()?;
    socket.uid = uid.parse().ok();
    socket.inode = inode.parse().ok()?;
    if kind == Kind::Tcp {
        socket.timer = running(timer, retransmits);
    }
    Some(socket)
}

/// In hundredths of a second (`USER_HZ`).
fn running(timer: &str, retransmits: &str) -> Option<Timer> {
    let (number, left) = timer.split_once(':')?;
    let name = match number.trim_start_matches('0') {
        "1" => "retransmit",
        "2" => "keep-alive",
        "3" => "time-wait",
        "4" => "probe",
        _ => return None,
    };
    let left = u64::from_str_radix(left, 16).ok()?;
    Some(Timer {
        name,
        left_ms: Some(left.saturating_mul(10)),
        retransmits: u8::from_str_radix(retransmits, 16).unwrap_or(u8::MAX),
    })
}

/// `0100007F:1F90`: words of the address in the order of this machine, then the port.
fn address(text: &str) -> Option<(IpAddr, u16)> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let digits = ip.get(at * 8..at * 8 + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    match ip.len() {
        8 => Some((Ipv4Addr::from(word(0)?).into(), port)),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            let mut octets = [0; 16];
            for (to, from) in octets.iter_mut().zip(words.as_flattened()) {
                *to = *from;
            }
            Some((Ipv6Addr::from(octets).into(), port))
        }
        _ => None,
    }
}

/// `Num RefCount Protocol Flags Type St Inode Path`; the path is whatever follows one blank.
fn unix(line: &[u8]) -> Option<Socket> {
    let mut rest = line;
    let mut words = [""; 7];
    for word in &mut words {
        rest = rest.trim_ascii_start();
        let end = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
        *word = std::str::from_utf8(rest.get(..end)?).ok()?;
        rest = rest.get(end..)?;
    }
    let [_, _, _, flags, kind, state, inode] = words;
    let inode: u64 = inode.parse().ok()?;
    // SO_ACCEPTCON
    let is_listening = u32::from_str_radix(flags, 16).ok()? & 0x1_0000 != 0;
    let state = match state {
        _ if is_listening => State::Listen,
        "03" => State::Established,
        "02" => State::SynSent,
        _ => State::Unconnected,
    };
    let name = rest.get(1..).unwrap_or_default();
    let local = match name {
        [b'@', name @ ..] => Some(Side::Abstract(name.to_vec())),
        name => unix_name(name),
    };
    let mut socket = Socket::new(
        Kind::of_unix(u32::from_str_radix(kind, 16).ok()?),
        state,
        local.unwrap_or(Side::Unnamed(Some(inode))),
        Side::Unnamed(None),
    );
    socket.inode = inode;
    Some(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel_are_read() {
        let line =
            "  0: 0100007F:1F90 00000000:0000 0A 00000000:00000002 00:00000000 00000000  1000 0 4711 1 0";
        let socket = inet(Kind::Tcp, line).unwrap();
        if cfg!(target_endian = "little") {
            assert_eq!(socket.local, Side::Ip(Ipv4Addr::LOCALHOST.into(), 8080));
        }
        assert_eq!((socket.state, socket.recv_queue), (State::Listen, 2));
        assert_eq!((socket.inode, socket.uid), (4711, Some(1000)));
        let socket = unix(b"0000000000000000: 00000002 00000000 00010000 0001 01 4712 /run/a b").unwrap();
        assert_eq!(socket.local, Side::Path(b"/run/a b".to_vec()));
        assert_eq!((socket.state, socket.inode), (State::Listen, 4712));
    }

    #[test]
    fn other_lines_are_left_out() {
        for line in [
            "",
            "0:",
            "0: x y z",
            "0: 0100007F:1F90 é: 0A 0:0 0:0 0 0 0 1",
            "0: : : : : : : : : :",
        ] {
            assert_eq!(inet(Kind::Tcp, line), None, "{line}");
            assert_eq!(unix(line.as_bytes()), None, "{line}");
        }
    }
}
