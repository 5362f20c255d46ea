//! The error queue: what became of messages that were sent.
//!
//! ICMP errors, local errors, transmit timestamps and zero-copy completions wait in one queue of the socket, apart
//! from received data; [`recv_error`] tells them apart by their origin. Without the queue (see
//! [`enable_error_queue`]) an unconnected socket never learns of an error, and a connected one only of the last.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::SystemTime;

use crate::sys::abi::{self, origin};
use crate::sys::cmsg::{self, ControlMessage};
use crate::sys::{address, control, message, metadata, option};

/// One entry of the error queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueueEntry {
    /// A message did not arrive.
    Error(QueuedError),
    /// A message has left.
    Timestamp(TxTimestamp),
    /// The kernel no longer reads the buffers of these zero-copy sends.
    ZeroCopy(ZeroCopyDone),
    /// A message was dropped because its departure time could not be kept.
    MissedDeparture {
        /// The departure time it asked for, in nanoseconds.
        departure_ns: u64,
    },
    /// An origin this version does not know.
    Unknown {
        /// `ee_origin`.
        origin: u8,
        /// `ee_errno`.
        errno: i32,
    },
}

/// A message that did not arrive, and what is known about why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueuedError {
    /// Where it was sent to.
    pub destination: Option<SocketAddr>,
    /// Who reported the error; `None` where that was this host.
    pub offender: Option<IpAddr>,
    /// The kind of report.
    pub cause: Cause,
    /// What the kernel makes of it: `ECONNREFUSED`, `EHOSTUNREACH`, `EMSGSIZE` and so on.
    pub errno: i32,
    /// The MTU of the link it did not fit, in bytes, where the report says so.
    pub mtu: Option<u32>,
    /// The beginning of the message, as far as the report quotes it: the payload on UDP sockets, from the first byte.
    /// Routers may quote no more than 8 bytes behind the IP header, and then nothing is here.
    pub quoted: Quoted,
    /// When the report came, if the socket asks for timestamps.
    pub timestamp: Option<SystemTime>,
}

impl QueuedError {
    /// A report without further detail.
    #[must_use]
    pub const fn new(destination: Option<SocketAddr>, cause: Cause, errno: i32) -> Self {
        Self {
            destination,
            offender: None,
            cause,
            errno,
            mtu: None,
            quoted: Quoted::EMPTY,
            timestamp: None,
        }
    }

    /// The error as an [`io::Error`] of the same number.
    #[must_use]
    pub fn error(&self) -> io::Error {
        io::Error::from_raw_os_error(self.errno)
    }
}

/// Who found the error, and how it is told in ICMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// This host: no route, or larger than the known path MTU.
    Local,
    /// An ICMP message.
    Icmpv4 {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
    },
    /// An ICMPv6 message.
    Icmpv6 {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
    },
}

/// When a message left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TxTimestamp {
    /// The number given by [`Outgoing::timestamp_id`](crate::Outgoing::timestamp_id).
    pub id: u32,
    /// When the driver took it.
    pub time: SystemTime,
}

/// A range of zero-copy sends whose buffers are free again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ZeroCopyDone {
    /// Number of the first send, counted from 0 for each socket.
    pub first: u32,
    /// Number of the last send.
    pub last: u32,
    /// The kernel copied after all: zero copy was of no use on this path.
    pub copied: bool,
}

/// The beginning of a message that did not arrive, as bytes: at most [`Quoted::MAX_LEN`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Quoted {
    bytes: [u8; Self::MAX_LEN],
    len: u8,
}

impl Quoted {
    /// Bytes kept of a quotation; Linux quotes up to 548. Enough to tell which message it was.
    pub const MAX_LEN: usize = 128;
    /// Nothing quoted.
    pub const EMPTY: Self = Self {
        bytes: [0; Self::MAX_LEN],
        len: 0,
    };

    /// The first bytes of `message`.
    #[must_use]
    pub fn new(message: &[u8]) -> Self {
        let mut quoted = Self::EMPTY;
        for (to, from) in quoted.bytes.iter_mut().zip(message) {
            *to = *from;
            quoted.len += 1;
        }
        quoted
    }
}

impl std::ops::Deref for Quoted {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&[])
    }
}

impl std::fmt::Debug for Quoted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Quoted({} B)", self.len)
    }
}

/// Takes one entry from the error queue, `None` when it is empty. Never waits.
///
/// Poll reports a queue that is not empty as an error (`EPOLLERR`), which for a datagram socket does not mean closed:
/// mio shows it as readable = false, write-closed = true.
///
/// # Errors
/// What `recvmsg` returns, other than `EAGAIN`.
///
/// # References
/// `IP_RECVERR` in [ip(7)](https://man7.org/linux/man-pages/man7/ip.7.html)
#[doc(alias = "MSG_ERRQUEUE")]
pub fn recv_error(socket: impl AsFd) -> io::Result<Option<QueueEntry>> {
    let mut buffer = [0; Quoted::MAX_LEN];
    let received = message::receive_raw(
        socket.as_fd(),
        &mut buffer,
        libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT,
        parse,
    );
    let (received, found) = match received {
        Ok(received) => received,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
        Err(error) => return Err(error),
    };
    let quoted = Quoted::new(buffer.get(..received.len).unwrap_or(&buffer));
    Ok(Some(found.entry(received.source, quoted)))
}

/// Queues errors with the message they speak of, for both families on a socket that carries both.
///
/// From then on an error also makes the next call on the socket fail, whichever peer that call is for:
/// [`send_msg`](crate::send_msg) and [`SendBatch`](crate::SendBatch) see to that, and the standard library's calls
/// do not. `ENOBUFS` from the device queue is reported only with this option.
///
/// # Errors
/// What `setsockopt` returns.
#[doc(alias = "IP_RECVERR")]
#[doc(alias = "IPV6_RECVERR")]
pub fn enable_error_queue(socket: impl AsFd, on: bool) -> io::Result<()> {
    let fd = socket.as_fd();
    let v4 = option::set(fd, libc::SOL_IP, libc::IP_RECVERR, i32::from(on));
    if metadata::is_v6(fd)? {
        // Raw v6 sockets carry no IPv4 and do not know its options.
        option::set(fd, libc::SOL_IPV6, libc::IPV6_RECVERR, i32::from(on))
    } else {
        v4
    }
}

/// Prepares the socket for [`Outgoing::timestamp_id`](crate::Outgoing::timestamp_id): the kernel's software
/// timestamps, without a copy of the packet.
///
/// # Errors
/// What `setsockopt` returns.
#[doc(alias = "SO_TIMESTAMPING")]
pub fn enable_tx_timestamps(socket: impl AsFd) -> io::Result<()> {
    let flags = abi::STAMP_REPORT_SOFTWARE | abi::STAMP_OPT_ID | abi::STAMP_OPT_TSONLY;
    option::set(socket.as_fd(), libc::SOL_SOCKET, abi::SO_TIMESTAMPING_NEW, flags)
}

pub(crate) fn tx_timestamps_enabled(fd: BorrowedFd<'_>) -> bool {
    // The kernel answers with flags, or with flags and a PHC index: the first word is the flags.
    let mut answer = [0; 8];
    option::get_bytes(fd, libc::SOL_SOCKET, abi::SO_TIMESTAMPING_NEW, &mut answer).is_ok()
        && answer
            .first_chunk()
            .is_some_and(|flags| u32::from_ne_bytes(*flags) & abi::STAMP_OPT_ID != 0)
}

/// The clock of [`Outgoing::departure_ns`](crate::Outgoing::departure_ns).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DepartureClock {
    /// `CLOCK_MONOTONIC`, for the `fq` queueing discipline.
    Monotonic,
    /// `CLOCK_TAI`, for the `etf` queueing discipline; needs CAP_NET_ADMIN.
    Tai,
}

/// Tells the socket which clock departure times are of, and to report messages that missed theirs.
///
/// Times have an effect only where the interface's queueing discipline is `fq` or `etf`.
///
/// # Errors
/// `PermissionDenied` for [`DepartureClock::Tai`] without CAP_NET_ADMIN.
#[doc(alias = "SO_TXTIME")]
pub fn set_departure_clock(socket: impl AsFd, clock: DepartureClock) -> io::Result<()> {
    const REPORT_ERRORS: i32 = 1 << 1;
    let clock = match clock {
        DepartureClock::Monotonic => libc::CLOCK_MONOTONIC,
        DepartureClock::Tai => libc::CLOCK_TAI,
    };
    option::set(
        socket.as_fd(),
        libc::SOL_SOCKET,
        libc::SO_TXTIME,
        [clock, REPORT_ERRORS],
    )
}

pub(crate) fn departure_clock_set(fd: BorrowedFd<'_>) -> bool {
    // The clock's number can be 0; the flags that were set with it cannot.
    option::get::<[i32; 2]>(fd, libc::SOL_SOCKET, libc::SO_TXTIME).is_ok_and(|[_, flags]| flags != 0)
}

/// What the control messages of an entry say.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    error: Option<ExtendedError>,
    offender: Option<SocketAddr>,
    stamp: Option<SystemTime>,
    received: Option<SystemTime>,
}

/// `sock_extended_err`.
#[derive(Clone, Copy, Debug)]
struct ExtendedError {
    errno: i32,
    origin: u8,
    kind: u8,
    code: u8,
    info: u32,
    data: u32,
}

impl ExtendedError {
    const LEN: usize = 16;

    fn read(message: &ControlMessage<'_>) -> Option<Self> {
        let &[_, _, _, _, origin, kind, code, _] = message.data.first_chunk()?;
        Some(Self {
            errno: message.u32_at(0)?.cast_signed(),
            origin,
            kind,
            code,
            info: message.u32_at(8)?,
            data: message.u32_at(12)?,
        })
    }
}

/// An entry of the error queue out of the control messages that come with it.
#[cfg(feature = "testing")]
pub(crate) fn entry_of(control: &[u8], destination: Option<SocketAddr>, quoted: &[u8]) -> QueueEntry {
    parse(control).entry(destination, Quoted::new(quoted))
}

fn parse(control: &[u8]) -> Found {
    let mut found = Found::default();
    for message in cmsg::messages(control) {
        match (message.level, message.kind) {
            (libc::SOL_IP, libc::IP_RECVERR) | (libc::SOL_IPV6, libc::IPV6_RECVERR) => {
                found.error = ExtendedError::read(&message);
                found.offender = message.data.get(ExtendedError::LEN..).and_then(address::decode);
            }
            (libc::SOL_SOCKET, abi::SO_TIMESTAMPING_NEW) => found.stamp = control::timestamp(&message, 0),
            (libc::SOL_SOCKET, abi::SO_TIMESTAMPNS_NEW) => found.received = control::timestamp(&message, 0),
            _ => {}
        }
    }
    found
}

impl Found {
    fn entry(self, destination: Option<SocketAddr>, quoted: Quoted) -> QueueEntry {
        let Some(error) = self.error else {
            return QueueEntry::Unknown { origin: 0, errno: 0 };
        };
        let cause = match error.origin {
            origin::LOCAL => Cause::Local,
            origin::ICMP => Cause::Icmpv4 {
                kind: error.kind,
                code: error.code,
            },
            origin::ICMP6 => Cause::Icmpv6 {
                kind: error.kind,
                code: error.code,
            },
            origin::ZEROCOPY => {
                let copied = error.code & abi::ZEROCOPY_COPIED != 0;
                return QueueEntry::ZeroCopy(ZeroCopyDone {
                    first: error.info,
                    last: error.data,
                    copied,
                });
            }
            origin::TIMESTAMPING => {
                return match self.stamp {
                    Some(time) => QueueEntry::Timestamp(TxTimestamp { id: error.data, time }),
                    None => QueueEntry::Unknown {
                        origin: error.origin,
                        errno: error.errno,
                    },
                };
            }
            origin::TXTIME => {
                let departure_ns = u64::from(error.data) << 32 | u64::from(error.info);
                return QueueEntry::MissedDeparture { departure_ns };
            }
            origin => {
                return QueueEntry::Unknown {
                    origin,
                    errno: error.errno,
                };
            }
        };
        QueueEntry::Error(QueuedError {
            destination,
            offender: self.offender.map(|offender| offender.ip().to_canonical()),
            cause,
            errno: error.errno,
            mtu: (error.errno == libc::EMSGSIZE && error.info != 0).then_some(error.info),
            quoted,
            timestamp: self.received,
        })
    }
}
