//! [`LinkSocket`]: one frame or many a call.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use sockeye_socket::filter::Filter;
use sockeye_socket::link::{
    FrameRecvBatch, FrameSendBatch, IncomingFrame, LinkAddress, recv_frame, send_frame,
};
use sockeye_socket::{Socket, options, os};

use crate::membership::Mode;
use crate::{FrameMode, LinkError, LinkOptions, Membership};

/// A packet socket: frames of one interface or of all, nonblocking.
pub struct LinkSocket {
    socket: Socket,
    interface: u32,
    mode: FrameMode,
}

/// What the kernel has counted for a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkStatistics {
    /// Frames that were for the socket, those that were dropped included.
    pub frames: u32,
    /// Frames that were dropped, because the receive buffer or the ring was full.
    pub drops: u32,
    /// How often a receive ring was full.
    pub freezes: u32,
}

/// Reads the counters and sets them to zero.
pub(crate) fn take_statistics(socket: &Socket) -> io::Result<LinkStatistics> {
    let mut bytes = [0; 12];
    socket.get_bytes(options::PACKET_STATISTICS, &mut bytes)?;
    let [a, b, c, d, e, f, g, h, i, j, k, l] = bytes;
    Ok(LinkStatistics {
        frames: u32::from_ne_bytes([a, b, c, d]),
        drops: u32::from_ne_bytes([e, f, g, h]),
        freezes: u32::from_ne_bytes([i, j, k, l]),
    })
}

impl LinkSocket {
    pub(crate) fn new(socket: Socket, interface: u32, mode: FrameMode) -> Self {
        Self {
            socket,
            interface,
            mode,
        }
    }

    /// Opens a socket for whole frames of all protocols on the interface of this name. For more see [`LinkOptions`].
    ///
    /// # Errors
    /// As [`LinkOptions::open`].
    pub fn open(interface: &str) -> Result<Self, LinkError> {
        LinkOptions::new().open(interface)
    }

    /// Opens a socket on all interfaces, without link headers.
    ///
    /// # Errors
    /// As [`LinkOptions::open_any`].
    pub fn open_any() -> Result<Self, LinkError> {
        LinkOptions::new().mode(FrameMode::Cooked).open_any()
    }

    /// The index of the interface, 0 for all of them.
    #[must_use]
    pub fn interface(&self) -> u32 {
        self.interface
    }

    /// Whether frames have link headers.
    #[must_use]
    pub fn mode(&self) -> FrameMode {
        self.mode
    }

    /// Whether the interface that the socket was opened on exists no more. `NetworkDown` says once that it is down or gone;
    /// this says which. One that is down comes back by itself, one that is gone never does for this socket.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.interface != 0 && os::interface_name(self.interface).is_err()
    }

    /// Receives a frame and returns how many bytes of it are in `buffer`; what exceeds `buffer` is lost in silence.
    ///
    /// # Errors
    /// `WouldBlock` when none is queued; `NetworkDown` once when the interface goes down or vanishes.
    #[inline]
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.recv(buffer)
    }

    /// As [`recv`](Self::recv), and says who sent it.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    #[inline]
    pub fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, LinkAddress)> {
        let frame = recv_frame(self, buffer)?;
        Ok((frame.bytes.len(), frame.meta.source))
    }

    /// Receives one frame with everything that is known of it.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    #[inline]
    pub fn recv_msg<'b>(&self, buffer: &'b mut [u8]) -> io::Result<IncomingFrame<'b>> {
        recv_frame(self, buffer)
    }

    /// Receives what is queued into `batch`; returns how many frames.
    ///
    /// # Errors
    /// As [`FrameRecvBatch::recv`].
    #[inline]
    pub fn recv_batch(&self, batch: &mut FrameRecvBatch) -> io::Result<usize> {
        batch.recv(self)
    }

    /// Sends a whole frame through the interface that the socket was opened on. A cooked socket sends to a station:
    /// [`send_to`](Self::send_to).
    ///
    /// # Errors
    /// `WouldBlock` when the send buffer is full, ENXIO where there is no interface, `NetworkDown`, EMSGSIZE beyond the MTU,
    /// ENOBUFS where the queue of the interface is full, EINVAL for a frame shorter than its header.
    #[inline]
    pub fn send(&self, frame: &[u8]) -> io::Result<usize> {
        send_frame(self, frame, None)
    }

    /// Sends through the interface of `to`: a whole frame, or on a cooked socket a payload to its hardware address.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    #[inline]
    pub fn send_to(&self, frame: &[u8], to: &LinkAddress) -> io::Result<usize> {
        send_frame(self, frame, Some(to))
    }

    /// Sends frames in order, each to the address beside it or through the socket's interface; returns how many went.
    ///
    /// # Errors
    /// As [`FrameSendBatch::send`].
    #[inline]
    pub fn send_batch<'m>(
        &self,
        batch: &mut FrameSendBatch,
        frames: impl IntoIterator<Item = (&'m [u8], Option<LinkAddress>)>,
    ) -> io::Result<usize> {
        batch.send(self, frames)
    }

    /// Reads what the kernel has counted since this was last asked: reading sets the counters to zero.
    ///
    /// # Errors
    /// What `getsockopt` returns.
    #[doc(alias = "PACKET_STATISTICS")]
    pub fn take_statistics(&self) -> io::Result<LinkStatistics> {
        take_statistics(&self.socket)
    }

    /// Takes frames that are for other hosts, too, until the guard is dropped or the socket is closed.
    ///
    /// # Errors
    /// ENODEV where the interface is gone, or the socket is on all interfaces.
    #[doc(alias = "PACKET_MR_PROMISC")]
    pub fn promiscuous(&self) -> io::Result<Membership<'_>> {
        Membership::new(&self.socket, self.interface, Mode::Promiscuous)
    }

    /// Takes frames to every group, until the guard is dropped or the socket is closed.
    ///
    /// # Errors
    /// As [`promiscuous`](Self::promiscuous).
    #[doc(alias = "PACKET_MR_ALLMULTI")]
    pub fn all_multicast(&self) -> io::Result<Membership<'_>> {
        Membership::new(&self.socket, self.interface, Mode::AllMulticast)
    }

    /// Receives only what this filter takes from now on: what is queued already stays.
    ///
    /// # Errors
    /// As [`Filter::attach`].
    #[doc(alias = "SO_ATTACH_FILTER")]
    pub fn set_filter(&self, filter: &Filter) -> io::Result<()> {
        filter.attach(self)
    }

    /// The pending error, which reading it clears.
    ///
    /// # Errors
    /// What `getsockopt` itself returns.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.socket.take_error()
    }

    /// Waits until there is something to receive (`true`) or `timeout` has passed (`false`). For programs without a loop.
    ///
    /// # Errors
    /// The errno of `poll(2)`; `Interrupted` is not among them.
    pub fn wait_readable(&self, timeout: Duration) -> io::Result<bool> {
        self.socket.wait_readable(timeout)
    }

    /// The socket under it, for every other option.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        &self.socket
    }
}

impl fmt::Debug for LinkSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkSocket")
            .field("interface", &self.interface)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

impl AsRef<Socket> for LinkSocket {
    fn as_ref(&self) -> &Socket {
        &self.socket
    }
}

impl AsFd for LinkSocket {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for LinkSocket {
    #[inline]
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl From<LinkSocket> for Socket {
    fn from(socket: LinkSocket) -> Self {
        socket.socket
    }
}

impl From<LinkSocket> for OwnedFd {
    fn from(socket: LinkSocket) -> Self {
        socket.socket.into()
    }
}
