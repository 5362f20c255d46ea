//! The handle through which a service acts on a datagram or packet socket, and what it receives.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use sockeye_endpoint::UnixName;

use sockeye_socket::{Meta, Outgoing};

use crate::context::Context;
use crate::host::{Due, Host};
use crate::id::{DatagramId, StreamId, TimerId, Token};
use crate::outcome::{Message, Sent};
use crate::stream::Stream;
use crate::time::Time;

/// A received datagram, or a received packet without its IP header.
#[derive(Debug)]
pub struct Datagram<'a> {
    /// The payload, as far as it fitted. May be changed in place: a reply that is a slice of it leaves without
    /// a copy. Empty datagrams are real.
    pub data: &'a mut [u8],
    /// Who sent it. Port 0 on packet sockets.
    pub source: SocketAddr,
    /// Whether it was longer than what is here.
    pub truncated: bool,
    /// What the socket was asked to tell; absent values are `None`.
    pub meta: Meta,
}

impl Datagram<'_> {
    /// A message back to the sender, from the address that was asked where the socket reports it
    /// ([`packet_info`](crate::DatagramOptions::packet_info)).
    pub fn reply<'b>(&self, payload: &'b [u8]) -> Outgoing<'b> {
        let mut incoming = sockeye_socket::Incoming::new(&[], self.source);
        incoming.meta = self.meta;
        incoming.reply(payload)
    }

    /// The same bytes back to the sender.
    pub fn echo(&self) -> Outgoing<'_> {
        if self.meta.local.is_none() {
            return Outgoing::to(self.source, self.data);
        }
        self.reply(self.data)
    }
}

/// A datagram or packet socket, while one of the loop's callbacks runs.
pub struct Datagrams<'a> {
    host: &'a mut dyn Host,
    token: Token,
    closed: bool,
}

impl<'a> Datagrams<'a> {
    #[inline]
    pub(crate) fn new(host: &'a mut dyn Host, token: Token) -> Self {
        Self {
            host,
            token,
            closed: false,
        }
    }

    /// The loop.
    #[cfg(feature = "resolver")]
    pub(crate) fn host(&mut self) -> &mut dyn Host {
        &mut *self.host
    }

    /// Whether it was closed through this very handle.
    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Who this is.
    #[must_use]
    pub fn id(&self) -> DatagramId {
        DatagramId(self.token)
    }

    /// This side's address.
    ///
    /// # Errors
    /// What `getsockname(2)` says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.host.local_addr(self.token)
    }

    /// Its name, where it is a Unix socket.
    ///
    /// # Errors
    /// `Unsupported` of any other; `NotConnected` if it is gone.
    pub fn local_unix(&self) -> io::Result<UnixName> {
        self.host.local_unix(self.token)
    }

    /// The name of a peer of a Unix socket: the source of its datagram stands for it. `None` of a peer that has none, and of
    /// one before the last 4,096.
    #[must_use]
    pub fn unix_name(&self, address: SocketAddr) -> Option<UnixName> {
        self.host.unix_name(self.token, address)
    }

    /// An address that stands for a name on a Unix socket, to send to somebody who has not sent first. `None` of any other
    /// socket.
    pub fn unix_addr(&mut self, name: &UnixName) -> Option<SocketAddr> {
        self.host.unix_addr(self.token, name)
    }

    /// Sends a message with everything it carries. It leaves with the others of this batch, in order; runs to
    /// one peer of one size leave as one. A payload that is a slice of a received datagram of this batch is not
    /// copied. [`Sent::Full`] takes nothing; what fails later is told to `on_send_error`.
    #[inline]
    pub fn send(&mut self, message: &Outgoing<'_>) -> Sent {
        self.host.send_message(self.token, message)
    }

    /// Sends the payload of a message as datagrams of `size` bytes, of which the last may be shorter: all of them are taken,
    /// or none. In one call where the kernel segments, which for [`other`](Self::other) sockets saves one for each.
    pub fn send_segments(&mut self, message: &Outgoing<'_>, size: usize) -> Sent {
        self.host.send_segments(self.token, message, size)
    }

    /// Sends a payload to an address.
    #[inline]
    pub fn send_to(&mut self, payload: &[u8], to: SocketAddr) -> Sent {
        self.host.send_message(self.token, &Outgoing::to(to, payload))
    }

    /// Sends what `fill` writes into a buffer of `max_len` bytes that the loop lends; `fill` says how many bytes
    /// it wrote. The payload of `message` is ignored. The buffer's old content is whatever it was.
    pub fn send_with(
        &mut self,
        message: &Outgoing<'_>,
        max_len: usize,
        fill: impl FnOnce(&mut [u8]) -> usize,
    ) -> Sent {
        let Some(buffer) = self.host.lend(self.token, max_len) else {
            return Sent::Full;
        };
        let len = fill(buffer).min(max_len);
        self.host.commit(self.token, message, len)
    }

    /// Sets a timer of this socket: `on_timer` with `key`, no earlier than `after` from now.
    pub fn set_timer(&mut self, after: Duration, key: u64) -> TimerId {
        let due = Due::Socket {
            token: self.token,
            key,
        };
        self.host.set_timer_after(after, due)
    }

    /// Cancels a timer; `false` if it has fired or was cancelled.
    pub fn cancel_timer(&mut self, timer: TimerId) -> bool {
        self.host.cancel_timer(timer)
    }

    /// Asks for an [`on_turn_end`](crate::DatagramService::on_turn_end) of this socket's service once everything of this turn
    /// has been handled. However often it is asked for, there is one.
    pub fn notify_turn_end(&mut self) {
        self.host.notify_turn_end(self.token);
    }

    /// Closes the socket. What this callback has sent before still leaves; nothing is called any more.
    pub fn close(&mut self) {
        self.closed = true;
        self.host.close_socket(self.token);
    }

    /// The UDP socket, for what the loop does not offer (groups, path MTU): `None` in a simulation and on packet
    /// sockets.
    #[cfg(feature = "udp")]
    #[must_use]
    pub fn udp(&self) -> Option<&sockeye_udp_datagram::UdpSocket> {
        self.host.udp(self.token)
    }

    /// The clock.
    pub fn now(&mut self) -> Time {
        self.host.now()
    }

    /// The clock, read anew: [`now`](Self::now) is read once a turn. For those who measure.
    pub fn exact_now(&mut self) -> Time {
        self.host.exact_now()
    }

    /// A random number, from the seed in a simulation. Not for keys.
    pub fn random(&mut self) -> u64 {
        self.host.random()
    }

    /// A connection of the loop. `None` if it is gone.
    pub fn stream(&mut self, id: StreamId) -> Option<Stream<'_>> {
        self.host
            .is_stream(id.0)
            .then(|| Stream::new(&mut *self.host, id.0))
    }

    /// Another datagram or packet socket of the loop; what is sent through it leaves at once.
    pub fn other(&mut self, id: DatagramId) -> Datagrams<'_> {
        Datagrams::new(&mut *self.host, id.0)
    }

    /// Sends a message to a connection or another socket: its `on_message` follows. `false` if it is gone.
    pub fn send_message(&mut self, to: StreamId, message: Message) -> bool {
        self.host.message(to.0, message)
    }

    /// What belongs to the loop and not to one socket. Connects and listeners made through it belong to this
    /// service, which has no connections: use it for the clock, statistics, `stop`, and to look up names
    /// (`on_answer` of the service is given the results).
    pub fn context(&mut self) -> Context<'_> {
        Context::of_socket(&mut *self.host, self.token)
    }
}

impl fmt::Debug for Datagrams<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Datagrams")
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}
