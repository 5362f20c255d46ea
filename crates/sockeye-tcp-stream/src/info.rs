//! [`TcpInfo`]: what the kernel knows of a connection, and what became of MPTCP and fast open.

use std::fmt;
use std::io;
use std::time::Duration;

use sockeye_socket::{Protocol, errno, options};

use crate::TcpStream;

/// The state of a connection (RFC 9293, section 3.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TcpState {
    /// Open in both directions.
    Established,
    /// The SYN has been sent.
    SynSent,
    /// A SYN has come, and the handshake is not over.
    SynReceived,
    /// Closed on this side; the FIN is not acknowledged.
    FinWait1,
    /// Closed on this side; the peer's FIN is awaited.
    FinWait2,
    /// Closed on both sides; late segments are awaited.
    TimeWait,
    /// No connection.
    Closed,
    /// The peer has closed; this side has not.
    CloseWait,
    /// Closed on both sides, the peer first; the FIN is not acknowledged.
    LastAck,
    /// Waiting for connections.
    Listen,
    /// Both sides have closed at once.
    Closing,
    /// A number this crate does not know.
    Other(u8),
}

impl TcpState {
    /// From the numbers of linux/tcp_states.h.
    const fn of(number: u8) -> Self {
        match number {
            1 => Self::Established,
            2 => Self::SynSent,
            3 => Self::SynReceived,
            4 => Self::FinWait1,
            5 => Self::FinWait2,
            6 => Self::TimeWait,
            7 => Self::Closed,
            8 => Self::CloseWait,
            9 => Self::LastAck,
            10 => Self::Listen,
            11 => Self::Closing,
            other => Self::Other(other),
        }
    }
}

/// What became of the data that went with the SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FastOpen {
    /// There was none in the SYN, or it was not acknowledged with it.
    Unused,
    /// The peer has taken it in with the SYN.
    Accepted,
}

/// What became of MPTCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MptcpState {
    /// The socket is one of plain TCP.
    Off,
    /// The socket is one of MPTCP, and speaks plain TCP because the peer, or something on the way, has none.
    FellBack,
    /// The connection speaks MPTCP.
    Active {
        /// Paths beside the first.
        extra_subflows: u8,
    },
}

/// The most this crate reads of `struct tcp_info`; a newer kernel's is longer.
const LEN: usize = 256;

/// What the kernel knows of a connection, at one moment.
///
/// `None` is what this kernel does not report; a zero is a zero.
#[derive(Clone, Copy)]
pub struct TcpInfo {
    bytes: [u8; LEN],
    len: usize,
}

impl TcpInfo {
    fn u8(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    /// The field at `at`, where the kernel has written that far.
    fn u32(&self, at: usize) -> Option<u32> {
        let field = self.bytes.get(..self.len)?.get(at..at + 4)?;
        Some(u32::from_ne_bytes(field.try_into().ok()?))
    }

    fn u64(&self, at: usize) -> Option<u64> {
        let field = self.bytes.get(..self.len)?.get(at..at + 8)?;
        Some(u64::from_ne_bytes(field.try_into().ok()?))
    }

    fn micros(&self, at: usize) -> Option<Duration> {
        self.u32(at).map(|us| Duration::from_micros(us.into()))
    }

    fn millis(&self, at: usize) -> Option<Duration> {
        self.u32(at).map(|ms| Duration::from_millis(ms.into()))
    }

    /// The state of the connection.
    #[must_use]
    pub fn state(&self) -> TcpState {
        TcpState::of(self.u8(0))
    }

    /// What became of the data that went with the SYN (`TCPI_OPT_SYN_DATA`).
    #[must_use]
    pub fn fast_open(&self) -> FastOpen {
        if self.u8(5) & 32 != 0 {
            FastOpen::Accepted
        } else {
            FastOpen::Unused
        }
    }

    /// Whether selective acknowledgements were agreed on (RFC 2018).
    #[must_use]
    pub fn has_sack(&self) -> bool {
        self.u8(5) & 2 != 0
    }

    /// Whether timestamps were agreed on (RFC 7323).
    #[must_use]
    pub fn has_timestamps(&self) -> bool {
        self.u8(5) & 1 != 0
    }

    /// Whether explicit congestion notification was agreed on (RFC 3168).
    #[must_use]
    pub fn has_ecn(&self) -> bool {
        self.u8(5) & 8 != 0
    }

    /// The smoothed round-trip time.
    #[must_use]
    pub fn rtt(&self) -> Option<Duration> {
        self.micros(68)
    }

    /// The mean deviation of the round-trip time.
    #[must_use]
    pub fn rtt_variance(&self) -> Option<Duration> {
        self.micros(72)
    }

    /// The smallest round-trip time of late; `None` also before the first was measured.
    #[must_use]
    pub fn min_rtt(&self) -> Option<Duration> {
        self.u32(148)
            .filter(|&us| us != u32::MAX)
            .map(|us| Duration::from_micros(us.into()))
    }

    /// The retransmission timeout.
    #[must_use]
    pub fn retransmission_timeout(&self) -> Option<Duration> {
        self.micros(8)
    }

    /// Segments retransmitted, ever.
    #[must_use]
    pub fn retransmissions(&self) -> Option<u32> {
        self.u32(100)
    }

    /// Segments taken for lost at this moment.
    #[must_use]
    pub fn lost(&self) -> Option<u32> {
        self.u32(32)
    }

    /// Segments sent and not acknowledged.
    #[must_use]
    pub fn unacked(&self) -> Option<u32> {
        self.u32(24)
    }

    /// The congestion window, in segments.
    #[must_use]
    pub fn congestion_window(&self) -> Option<u32> {
        self.u32(80)
    }

    /// Where slow start ends, in segments; `None` also while it has not been set.
    #[must_use]
    pub fn slow_start_threshold(&self) -> Option<u32> {
        self.u32(76).filter(|&segments| segments < 0x7fff_ffff)
    }

    /// The largest segment that is sent, in bytes of payload.
    #[must_use]
    pub fn send_segment(&self) -> Option<u32> {
        self.u32(16)
    }

    /// The path MTU in bytes.
    #[must_use]
    pub fn path_mtu(&self) -> Option<u32> {
        self.u32(60)
    }

    /// The rate at which data was delivered of late, in bytes a second.
    #[must_use]
    pub fn delivery_rate(&self) -> Option<u64> {
        self.u64(160)
    }

    /// The rate at which data is paced, in bytes a second; `None` also where it is not.
    #[must_use]
    pub fn pacing_rate(&self) -> Option<u64> {
        self.u64(104).filter(|&rate| rate != u64::MAX)
    }

    /// Bytes that the peer has acknowledged.
    #[must_use]
    pub fn bytes_acked(&self) -> Option<u64> {
        self.u64(120)
    }

    /// Bytes that have come, and were acknowledged.
    #[must_use]
    pub fn bytes_received(&self) -> Option<u64> {
        self.u64(128)
    }

    /// Bytes of payload sent, retransmitted ones counted again.
    #[must_use]
    pub fn bytes_sent(&self) -> Option<u64> {
        self.u64(200)
    }

    /// Bytes of payload retransmitted.
    #[must_use]
    pub fn bytes_retransmitted(&self) -> Option<u64> {
        self.u64(208)
    }

    /// Bytes written and not sent yet.
    #[must_use]
    pub fn unsent(&self) -> Option<u32> {
        self.u32(144)
    }

    /// Segments sent.
    #[must_use]
    pub fn segments_sent(&self) -> Option<u32> {
        self.u32(136)
    }

    /// Segments received.
    #[must_use]
    pub fn segments_received(&self) -> Option<u32> {
        self.u32(140)
    }

    /// Time since data was sent last.
    #[must_use]
    pub fn since_sent(&self) -> Option<Duration> {
        self.millis(44)
    }

    /// Time since data came last.
    #[must_use]
    pub fn since_received(&self) -> Option<Duration> {
        self.millis(52)
    }
}

impl fmt::Debug for TcpInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpInfo")
            .field("state", &self.state())
            .field("rtt", &self.rtt())
            .field("rtt_variance", &self.rtt_variance())
            .field("congestion_window", &self.congestion_window())
            .field("retransmissions", &self.retransmissions())
            .field("unacked", &self.unacked())
            .field("bytes_acked", &self.bytes_acked())
            .field("bytes_received", &self.bytes_received())
            .field("delivery_rate", &self.delivery_rate())
            .finish_non_exhaustive()
    }
}

impl TcpStream {
    /// What the kernel knows of the connection.
    ///
    /// # Errors
    ///
    /// The errno of `getsockopt(2)`.
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use sockeye_tcp_stream::{TcpListener, TcpStream};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0".parse().expect("an address"))?;
    /// let mut client = TcpStream::connect(listener.local_addr()?)?;
    /// # client.wait_writable(std::time::Duration::from_secs(1))?;
    /// client.write_all(b"salmon")?;
    /// let info = client.info()?;
    /// println!("{:?}, round trip {:?}, window {:?} segments", info.state(), info.rtt(), info.congestion_window());
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "TCP_INFO")]
    pub fn info(&self) -> io::Result<TcpInfo> {
        let mut bytes = [0; LEN];
        let len = self.socket.get_bytes(options::TCP_INFO, &mut bytes)?;
        Ok(TcpInfo { bytes, len })
    }

    /// Whether the connection speaks MPTCP, and if not, whether it was to.
    ///
    /// # Errors
    ///
    /// The errno of `getsockopt(2)`.
    ///
    /// # References
    ///
    /// [RFC 8684](https://www.rfc-editor.org/rfc/rfc8684)
    #[doc(alias = "MPTCP_INFO")]
    pub fn mptcp(&self) -> io::Result<MptcpState> {
        if self.socket.get(options::SO_PROTOCOL)? != i32::from(Protocol::MPTCP) {
            return Ok(MptcpState::Off);
        }
        // struct mptcp_info begins with the number of extra subflows.
        let mut info = [0; 64];
        match self.socket.get_bytes(options::MPTCP_INFO, &mut info) {
            Ok(_) => Ok(MptcpState::Active {
                extra_subflows: info[0],
            }),
            Err(error) if matches!(error.raw_os_error(), Some(errno::EOPNOTSUPP | errno::ENOPROTOOPT)) => {
                Ok(MptcpState::FellBack)
            }
            Err(error) => Err(error),
        }
    }
}
