//! Messages: what a datagram or packet carries beside its payload, on the way out and on the way in.
//!
//! One type goes out ([`Outgoing`]), one comes in ([`Incoming`]). They are sent and received one at a time here, many
//! at a time by [`SendBatch`](crate::SendBatch) and [`RecvBatch`](crate::RecvBatch), and as segments of one large
//! payload where [`Outgoing::segment_size`] or [`Incoming::segment_size`] says so.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

mod class;
mod incoming;
mod metadata;
mod outgoing;
mod send_error;

pub use class::{Dscp, Ecn};
pub use incoming::{Incoming, Meta, Segments};
pub use metadata::Metadata;
pub use outgoing::Outgoing;
pub use send_error::{Fault, SendError};

pub(crate) use outgoing::{Extras, present};
pub(crate) use send_error::may_be_stale as send_error_may_be_stale;

use crate::sys;

/// Sends one message and returns how many payload bytes left, which for a datagram is all of them.
///
/// An error that an earlier datagram left behind on the socket (an ICMP error, say) and that this call only tripped
/// over is recognised by sending again once: what is returned concerns this datagram, except for
/// [`Fault::Refused`], which always speaks of an earlier one and is returned so that it is not lost.
///
/// # Errors
/// [`SendError`]; [`Fault::WouldBlock`] means that the send buffer is full and nothing was sent.
///
/// # References
/// [sendmsg(2)](https://man7.org/linux/man-pages/man2/sendmsg.2.html),
/// [ip(7)](https://man7.org/linux/man-pages/man7/ip.7.html)
#[doc(alias = "sendmsg")]
pub fn send_msg(socket: impl AsFd, message: &Outgoing<'_>) -> Result<usize, SendError> {
    let fd = socket.as_fd();
    let first = match sys::message::send(fd, message) {
        Ok(sent) => return Ok(sent),
        Err(errno) => errno,
    };
    let errno = if send_error_may_be_stale(first) {
        match sys::message::send(fd, message) {
            Ok(sent) => return Ok(sent),
            Err(errno) => errno,
        }
    } else {
        first
    };
    Err(SendError::of_socket(fd, errno))
}

/// Receives one message into `buffer`, with all metadata the socket was asked for (see [`Metadata::enable`]).
///
/// A datagram longer than `buffer` is cut; [`Incoming::truncated`] says so and [`Incoming::len`] is its true length.
///
/// # Errors
/// `WouldBlock` when nothing is queued. An error that an earlier send left behind (`ConnectionRefused` on a connected
/// socket) is returned once and is no reason to close.
///
/// # References
/// [recvmsg(2)](https://man7.org/linux/man-pages/man2/recvmsg.2.html)
#[doc(alias = "recvmsg")]
pub fn recv_msg(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<Incoming<'_>> {
    sys::message::receive(socket.as_fd(), buffer, sys::message::Peek::No)
}

/// Like [`recv_msg`], and leaves the message in the queue.
///
/// # Errors
/// As [`recv_msg`].
#[doc(alias = "MSG_PEEK")]
pub fn peek_msg(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<Incoming<'_>> {
    sys::message::receive(socket.as_fd(), buffer, sys::message::Peek::Yes)
}

/// Receives one datagram into `buffer` and says who sent it, without metadata: the cheapest receive there is.
///
/// A datagram longer than `buffer` is cut in silence, as the standard library does; [`recv_msg`] says so.
///
/// # Errors
/// As [`recv_msg`].
#[doc(alias = "recvfrom")]
#[inline]
pub fn recv_from(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    sys::message::receive_from(socket.as_fd(), buffer, sys::message::Peek::No)
}

/// Like [`recv_from`], and leaves the datagram in the queue.
///
/// # Errors
/// As [`recv_msg`].
#[doc(alias = "MSG_PEEK")]
#[inline]
pub fn peek_from(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    sys::message::receive_from(socket.as_fd(), buffer, sys::message::Peek::Yes)
}

/// Sends one datagram, with the operating system's plain error, as the standard library does.
///
/// # Errors
/// `WouldBlock` when the send buffer is full. An error that an earlier datagram left on the socket is returned in
/// place of this one's success; [`send_msg`] tells the two apart.
#[doc(alias = "sendto")]
#[inline]
pub fn send_to(socket: impl AsFd, payload: &[u8], destination: SocketAddr) -> io::Result<usize> {
    sys::message::send(socket.as_fd(), &Outgoing::to(destination, payload))
        .map_err(io::Error::from_raw_os_error)
}
