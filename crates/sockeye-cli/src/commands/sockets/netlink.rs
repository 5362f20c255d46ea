//! The sockets by NETLINK_SOCK_DIAG (sock_diag(7)): what `ss` asks too.
//!
//! Answers are taken apart attribute by attribute: one that is longer, shorter or newer than expected costs only itself.

use std::io;
use std::net::IpAddr;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload, NlasIterator,
    Parseable as _,
};
use netlink_packet_sock_diag::inet::{
    ExtensionFlags, InetRequest, InetResponseHeader, SocketId, StateFlags, Timer as DiagTimer,
};
use netlink_packet_sock_diag::unix::{ShowFlags, StateFlags as UnixStates, UnixRequest, UnixResponseHeader};
use netlink_packet_sock_diag::{AF_INET, AF_INET6, AF_UNIX, SOCK_DIAG_BY_FAMILY, SockDiagMessage};
use netlink_sys::{Socket as Netlink, SocketAddr, protocols::NETLINK_SOCK_DIAG};
use sockeye::socket::errno;

use super::Wanted;
use super::socket::{Kind, Side, Socket, State, Timer, unix_name};

/// The kernel sends at most 32 KiB at once to a reader with room for them.
const BUFFER: usize = 64 * 1024;
/// Behind the fixed part of an answer: attributes (`struct inet_diag_msg`, `struct unix_diag_msg`).
const INET_HEADER: usize = 72;
const UNIX_HEADER: usize = 16;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

// linux/inet_diag.h
const INET_DIAG_INFO: u16 = 2;
const INET_DIAG_CONG: u16 = 4;
const INET_DIAG_PROTOCOL: u16 = 10;
const INET_DIAG_CGROUP_ID: u16 = 21;
// linux/unix_diag.h
const UNIX_DIAG_NAME: u16 = 0;
const UNIX_DIAG_PEER: u16 = 2;
const UNIX_DIAG_RQLEN: u16 = 4;
const UNIX_DIAG_UID: u16 = 7;
/// `UDIAG_SHOW_UID`, since Linux 5.3.
const SHOW_UID: u32 = 0x40;

/// A question of one family and protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    Inet { v6: bool, kind: Kind },
    Unix,
}

/// The kernel's side.
#[derive(Debug)]
pub(super) struct Diag {
    netlink: Netlink,
    buffer: Vec<u8>,
    sequence: u32,
}

impl Diag {
    /// A connection to the kernel.
    ///
    /// # Errors
    /// Where the system allows none: sandboxes often do not.
    pub(super) fn new() -> io::Result<Self> {
        let netlink = Netlink::new(NETLINK_SOCK_DIAG)?;
        netlink.connect(&SocketAddr::new(0, 0))?;
        // The kernel makes the next part of the answer while this one is read: there is never anything to wait for.
        netlink.set_non_blocking(true)?;
        Ok(Self {
            netlink,
            buffer: Vec::with_capacity(BUFFER),
            sequence: 0,
        })
    }

    /// The sockets of one table, in the kernel's order.
    ///
    /// # Errors
    /// What the kernel answers: ENOENT where it has no module for this kind.
    pub(super) fn dump(
        &mut self,
        table: Table,
        wanted: &Wanted,
        sockets: &mut Vec<Socket>,
    ) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = request(table, wanted, self.sequence);
        self.netlink.send(&request, 0)?;
        loop {
            self.buffer.clear();
            match self.netlink.recv(&mut self.buffer, 0) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            if read(&self.buffer, table, self.sequence, sockets)? {
                return Ok(());
            }
        }
    }
}

fn request(table: Table, wanted: &Wanted, sequence: u32) -> Vec<u8> {
    let bits = wanted
        .states
        .iter()
        .fold(0, |bits, state| bits | 1u32 << *state as u8);
    // A request that is not yet a connection has a number of its own.
    let bits = if bits & (1 << 3) != 0 {
        bits | 1 << 12
    } else {
        bits
    };
    let message = match table {
        Table::Inet { v6, kind } => {
            let (family, socket_id) = if v6 {
                (AF_INET6, SocketId::new_v6())
            } else {
                (AF_INET, SocketId::new_v4())
            };
            let extensions = if wanted.info && kind == Kind::Tcp {
                ExtensionFlags::INFO | ExtensionFlags::CONG
            } else {
                ExtensionFlags::empty()
            };
            SockDiagMessage::InetRequest(InetRequest {
                family,
                protocol: match kind {
                    Kind::Tcp => 6,
                    Kind::Udp => 17,
                    _ => 255,
                },
                extensions,
                states: StateFlags::from_bits_retain(bits),
                socket_id,
            })
        }
        // All states: a peer's name is the name of another socket.
        Table::Unix => SockDiagMessage::UnixRequest(UnixRequest {
            state_flags: UnixStates::from_bits_retain(u32::MAX),
            inode: 0,
            show_flags: ShowFlags::NAME
                | ShowFlags::PEER
                | ShowFlags::RQLEN
                | ShowFlags::from_bits_retain(SHOW_UID),
            cookie: [0; 8],
        }),
    };
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    header.sequence_number = sequence;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// Reads one part of an answer; `true` at its end. What is cut short, of another question or of no known form is left out.
fn read(mut bytes: &[u8], table: Table, sequence: u32, sockets: &mut Vec<Socket>) -> io::Result<bool> {
    while let Ok(message) = NetlinkBuffer::new_checked(&bytes) {
        let (kind, length) = (message.message_type(), message.length());
        let is_ours = message.sequence_number() == sequence;
        let payload = message.payload();
        match kind {
            _ if !is_ours => {}
            NLMSG_DONE | NLMSG_ERROR => return ended(payload).map(|()| true),
            SOCK_DIAG_BY_FAMILY => sockets.extend(match table {
                Table::Inet { kind, .. } => inet(kind, payload),
                Table::Unix => unix(payload),
            }),
            _ => {}
        }
        // Aligned to four bytes; never 0, or this would not end.
        let next = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(3) & !3;
        bytes = bytes.get(next.max(16)..).unwrap_or_default();
    }
    Ok(false)
}

/// The end of a dump: 0, or a negative errno.
fn ended(payload: &[u8]) -> io::Result<()> {
    match payload.first_chunk().map(|code| i32::from_ne_bytes(*code)) {
        Some(code) if code < 0 => Err(io::Error::from_raw_os_error(code.saturating_neg())),
        _ => Ok(()),
    }
}

fn inet(kind: Kind, payload: &[u8]) -> Option<Socket> {
    if !matches!(payload.first(), Some(&(AF_INET | AF_INET6))) {
        return None;
    }
    let header = InetResponseHeader::parse(payload).ok()?;
    let id = &header.socket_id;
    let side = |ip: IpAddr, port| Side::Ip(ip, port);
    let mut socket = Socket::new(
        kind,
        State::of(header.state)?,
        side(id.source_address, id.source_port),
        side(id.destination_address, id.destination_port),
    );
    socket.recv_queue = header.recv_queue;
    socket.send_queue = header.send_queue;
    socket.uid = Some(header.uid);
    socket.inode = header.inode.into();
    socket.interface = id.interface_id;
    socket.timer = header.timer.map(timer);
    if let (Kind::Raw(_), Side::Ip(_, port)) = (kind, &mut socket.local) {
        // The kernel writes the protocol where the port is; the attribute says it too.
        socket.kind = Kind::Raw(u8::try_from(*port).unwrap_or(255));
        *port = 0;
    }
    for attribute in NlasIterator::new(payload.get(INET_HEADER..)?).flatten() {
        let value = attribute.value();
        match attribute.kind() {
            // Of a listener it says nothing.
            INET_DIAG_INFO if socket.state == State::Listen => {}
            INET_DIAG_INFO => socket.info = Some(value.to_vec()),
            INET_DIAG_CONG => {
                let name: Vec<u8> = value.iter().copied().take_while(|byte| *byte != 0).collect();
                socket.congestion = Some(String::from_utf8_lossy(&name).into_owned());
            }
            INET_DIAG_PROTOCOL => {
                if let (Kind::Raw(protocol), Some(value)) = (&mut socket.kind, value.first()) {
                    *protocol = *value;
                }
            }
            INET_DIAG_CGROUP_ID => socket.cgroup = value.first_chunk().map(|id| u64::from_ne_bytes(*id)),
            _ => {}
        }
    }
    Some(socket)
}

fn timer(timer: DiagTimer) -> Timer {
    let (name, left, retransmits) = match timer {
        DiagTimer::Retransmit(left, retransmits) => ("retransmit", Some(left), retransmits),
        DiagTimer::KeepAlive(left) => ("keep-alive", Some(left), 0),
        DiagTimer::TimeWait => ("time-wait", None, 0),
        DiagTimer::Probe(left) => ("probe", Some(left), 0),
    };
    Timer {
        name,
        left_ms: left.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
        retransmits,
    }
}

fn unix(payload: &[u8]) -> Option<Socket> {
    if payload.first() != Some(&AF_UNIX) {
        return None;
    }
    let header = UnixResponseHeader::parse(payload).ok()?;
    let kind = Kind::of_unix(header.kind.into());
    let mut socket = Socket::new(
        kind,
        State::of(header.state)?,
        Side::Unnamed(Some(header.inode.into())),
        Side::Unnamed(None),
    );
    socket.inode = header.inode.into();
    let number = |value: &[u8], at: usize| {
        let value = value.get(at..)?.first_chunk()?;
        Some(u32::from_ne_bytes(*value))
    };
    for attribute in NlasIterator::new(payload.get(UNIX_HEADER..)?).flatten() {
        let value = attribute.value();
        match attribute.kind() {
            UNIX_DIAG_NAME => {
                if let Some(name) = unix_name(value) {
                    socket.local = name;
                }
            }
            UNIX_DIAG_PEER => {
                socket.peer = Side::Unnamed(number(value, 0).filter(|inode| *inode != 0).map(u64::from));
            }
            UNIX_DIAG_RQLEN => {
                socket.recv_queue = number(value, 0).unwrap_or(0);
                socket.send_queue = number(value, 4).unwrap_or(0);
            }
            UNIX_DIAG_UID => socket.uid = number(value, 0),
            _ => {}
        }
    }
    Some(socket)
}

/// Whether the kernel only lacks the module for this kind.
pub(super) fn is_missing(error: &io::Error) -> bool {
    error.raw_os_error() == Some(errno::ENOENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        Wanted {
            info: true,
            states: State::ALL.to_vec(),
        }
    }

    /// An answer of this kernel to take apart.
    fn answers(table: Table) -> Vec<u8> {
        let Ok(mut diag) = Diag::new() else {
            return Vec::new();
        };
        diag.netlink.send(&request(table, &wanted(), 1), 0).unwrap();
        diag.netlink.recv(&mut diag.buffer, 0).unwrap();
        diag.buffer
    }

    #[test]
    fn whatever_is_cut_or_changed_in_an_answer_does_not_panic() {
        let _listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let _pair = std::os::unix::net::UnixStream::pair().unwrap();
        let tables = [
            Table::Inet {
                v6: false,
                kind: Kind::Tcp,
            },
            Table::Inet {
                v6: false,
                kind: Kind::Raw(0),
            },
            Table::Unix,
        ];
        for table in tables {
            let mut bytes = answers(Table::Unix);
            bytes.extend(answers(table));
            bytes.truncate(4096);
            for length in 0..bytes.len() {
                let _ = read(&bytes[..length], table, 1, &mut Vec::new());
            }
            // Each byte once as the largest, once as the smallest.
            for index in 0..bytes.len() {
                let good = bytes[index];
                for bad in [0, 1, 0x7f, 0xff] {
                    bytes[index] = bad;
                    let _ = read(&bytes, table, 1, &mut Vec::new());
                }
                bytes[index] = good;
            }
        }
    }

    #[test]
    fn an_error_is_the_answer_of_the_kernel() {
        let mut message = vec![36, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
        message.extend((-errno::ENOENT).to_ne_bytes());
        message.extend([0; 16]);
        let error = read(&message, Table::Unix, 1, &mut Vec::new()).unwrap_err();
        assert!(is_missing(&error));
        assert!(
            !read(&message, Table::Unix, 2, &mut Vec::new()).unwrap(),
            "of another question"
        );
    }
}
