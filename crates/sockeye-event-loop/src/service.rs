//! What runs at an endpoint: the traits that a user implements, one for each kind of socket.
//!
//! A service never names the backend, a thread, the wall clock or a random source: what it needs of them it
//! asks its [`Stream`], [`Datagrams`], [`Packets`] or [`Context`]. So the same service runs on the kernel and
//! in the simulated network. Callbacks must not block: everything else on the loop waits for them.

use std::io;

use sockeye_socket::QueueEntry;

use crate::context::Context;
use crate::datagrams::{Datagram, Datagrams};
use crate::frames::Frame;
use crate::id::{DatagramId, ListenerId, StreamId};
use crate::outcome::{CloseReason, ConnectFailure, Message, Relayed, SendFailure};
use crate::stream::Stream;

/// What runs on connections.
///
/// One value serves all connections of a service; what belongs to one of them is its `Conn`. For each
/// connection the order is `on_open`, then anything else, then `on_close` once and last. No callback is
/// called while another one runs.
///
/// ```
/// use sockeye_event_loop::{CloseReason, Context, Stream, StreamId, StreamService};
///
/// /// Adds up what each connection sends, and says it when the connection has ended.
/// #[derive(Default)]
/// struct Counter {
///     connections: u64,
/// }
///
/// impl StreamService for Counter {
///     type Conn = u64;
///
///     fn on_open(&mut self, _: &mut Stream<'_>) -> u64 {
///         self.connections += 1;
///         0
///     }
///
///     fn on_data(&mut self, _: &mut Stream<'_>, bytes: &mut u64, data: &mut [u8]) -> usize {
///         *bytes += data.len() as u64;
///         data.len() // all of it is done with
///     }
///
///     fn on_eof(&mut self, stream: &mut Stream<'_>, bytes: &mut u64) {
///         // The peer has ended its side and may still read: the answer, then this side's end.
///         let _ = stream.write(format!("{bytes} bytes\n").as_bytes());
///         stream.close();
///     }
///
///     fn on_close(&mut self, _: &mut Context<'_>, id: StreamId, bytes: u64, reason: CloseReason) {
///         println!("{id:?}: {bytes} bytes, {reason:?}");
///     }
/// }
/// # fn main() {}
/// ```
pub trait StreamService: 'static {
    /// State of one connection.
    type Conn: 'static;

    /// A connection stands, accepted or connected.
    fn on_open(&mut self, stream: &mut Stream<'_>) -> Self::Conn;

    /// Bytes have arrived. Says how many of them are done with; the rest is offered again, with what comes
    /// after it. `data` may be changed in place.
    fn on_data(&mut self, stream: &mut Stream<'_>, conn: &mut Self::Conn, data: &mut [u8]) -> usize;

    /// Everything that had arrived has been offered: a good moment to send what was gathered.
    fn on_read_complete(&mut self, stream: &mut Stream<'_>, conn: &mut Self::Conn) {
        let _ = (stream, conn);
    }

    /// After a [`Sent::Full`](crate::Sent::Full), or a [`Stream::notify_writable`]: the queue is at or below the low watermark.
    fn on_writable(&mut self, stream: &mut Stream<'_>, conn: &mut Self::Conn) {
        let _ = (stream, conn);
    }

    /// The peer has ended its side. All its bytes were offered before. Closes in order by default; a service
    /// that still has something to say overrides it.
    fn on_eof(&mut self, stream: &mut Stream<'_>, conn: &mut Self::Conn) {
        let _ = conn;
        stream.close();
    }

    /// A timer of the connection fired: `key` is the number it was set with.
    fn on_timer(&mut self, stream: &mut Stream<'_>, conn: &mut Self::Conn, key: u64) {
        let _ = (stream, conn, key);
    }

    /// A message for the connection.
    fn on_message(&mut self, stream: &mut Stream<'_>, conn: &mut Self::Conn, message: Message) {
        let _ = (stream, conn, message);
    }

    /// The loop is to end. Everything that had arrived was offered before. Closes in order by default.
    fn on_drain(&mut self, stream: &mut Stream<'_>, conn: &mut Self::Conn) {
        let _ = conn;
        stream.close();
    }

    /// A connect failed.
    fn on_connect_error(&mut self, context: &mut Context<'_>, failure: ConnectFailure) {
        let _ = (context, failure);
    }

    /// A listener of this service is of no use any more: it was shut down, or its descriptor closed, by somebody else.
    /// Connections that it had accepted go on.
    fn on_listener_lost(&mut self, context: &mut Context<'_>, listener: ListenerId, error: io::Error) {
        let _ = (context, listener, error);
    }

    /// A timer of the service, not of a connection, fired.
    fn on_service_timer(&mut self, context: &mut Context<'_>, key: u64) {
        let _ = (context, key);
    }

    /// A lookup that was begun by [`Context::resolve`] has a result.
    ///
    /// A lookup of records has one. A lookup of addresses has one for AAAA and one for A, in the order in which they come;
    /// [`is_last`](sockeye_resolver::dns::Event::is_last) marks the second. `event.lookup` says which lookup it is.
    #[cfg(feature = "resolver")]
    fn on_answer(&mut self, context: &mut Context<'_>, event: sockeye_resolver::dns::Event) {
        let _ = (context, event);
    }

    /// The connection is [joined](Stream::join) and its peer has ended its side; the other one has been told. The
    /// other direction goes on: a service that does not want to wait for it as long as before sets other deadlines.
    fn on_relay_eof(&mut self, stream: &mut Stream<'_>, conn: &mut Self::Conn) {
        let _ = (stream, conn);
    }

    /// The connection had been [joined](Stream::join) and is gone: what went through it. `on_close` follows, and says
    /// why.
    fn on_relayed(&mut self, conn: &mut Self::Conn, relayed: Relayed) {
        let _ = (conn, relayed);
    }

    /// The connection is gone, and this is its last callback.
    fn on_close(&mut self, context: &mut Context<'_>, id: StreamId, conn: Self::Conn, reason: CloseReason) {
        let _ = (context, id, conn, reason);
    }
}

/// What runs on datagram sockets. One value may serve several sockets.
///
/// ```
/// use sockeye_event_loop::{Datagram, DatagramOptions, DatagramService, Datagrams, EventLoop};
/// # use std::time::Duration;
///
/// /// Answers each datagram by its length.
/// struct Length;
///
/// impl DatagramService for Length {
///     fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
///         let answer = datagram.data.len().to_string();
///         // From the address that was asked. What cannot leave is lost, as datagrams are.
///         let _ = socket.send(&datagram.reply(answer.as_bytes()));
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut events = EventLoop::new()?;
/// let length = events.add_datagram_service(Length);
/// let socket = events.bind(length, "127.0.0.1:0".parse()?, &DatagramOptions::default())?;
///
/// let client = std::net::UdpSocket::bind("127.0.0.1:0")?;
/// client.connect(events.local_addr(socket)?)?;
/// client.send(b"salmon")?;
/// # client.set_nonblocking(true)?;
/// # let mut answer = [0; 16];
/// # let len = loop {
/// #     events.turn(Some(Duration::from_millis(1)))?;
/// #     if let Ok(len) = client.recv(&mut answer) { break len; }
/// # };
/// // `events.run()?`, and the client reads:
/// assert_eq!(&answer[..len], b"6");
/// # Ok(())
/// # }
/// ```
pub trait DatagramService: 'static {
    /// The socket is on the loop.
    fn on_open(&mut self, socket: &mut Datagrams<'_>) {
        let _ = socket;
    }

    /// A datagram has arrived.
    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>);

    /// The datagrams of one batch have all been offered.
    fn on_batch_complete(&mut self, socket: &mut Datagrams<'_>) {
        let _ = socket;
    }

    /// After a [`Sent::Full`](crate::Sent::Full): the loop's queue of the socket is empty again.
    fn on_writable(&mut self, socket: &mut Datagrams<'_>) {
        let _ = socket;
    }

    /// Something came out of the error queue: an ICMP error, a send timestamp.
    fn on_error(&mut self, socket: &mut Datagrams<'_>, entry: QueueEntry) {
        let _ = (socket, entry);
    }

    /// A datagram was not sent. It concerns that datagram only.
    fn on_send_error(&mut self, socket: &mut Datagrams<'_>, failure: SendFailure) {
        let _ = (socket, failure);
    }

    /// A receive failed: a refusal of something that was sent before, or an error of the system. The socket goes on, after
    /// a pause if the error comes again and again.
    fn on_recv_error(&mut self, socket: &mut Datagrams<'_>, error: io::Error) {
        let _ = (socket, error);
    }

    /// A timer of the socket fired.
    fn on_timer(&mut self, socket: &mut Datagrams<'_>, key: u64) {
        let _ = (socket, key);
    }

    /// A message for the service.
    fn on_message(&mut self, socket: &mut Datagrams<'_>, message: Message) {
        let _ = (socket, message);
    }

    /// After a [`Datagrams::notify_turn_end`] or [`Context::notify_turn_end`]: everything else of this turn has been handled,
    /// what streams wrote by it included. A good moment to send what belongs together: it leaves in one go.
    fn on_turn_end(&mut self, socket: &mut Datagrams<'_>) {
        let _ = socket;
    }

    /// The loop is to end. It waits for streams, and for this socket if it is asked to by [`Context::hold_drain`].
    fn on_drain(&mut self, socket: &mut Datagrams<'_>) {
        let _ = socket;
    }

    /// A lookup of this service, begun by `socket.context().resolve(...)`, has a result: see
    /// [`StreamService::on_answer`]. [`Context::datagrams`] gives a socket to act on it.
    #[cfg(feature = "resolver")]
    fn on_answer(&mut self, context: &mut Context<'_>, event: sockeye_resolver::dns::Event) {
        let _ = (context, event);
    }

    /// The socket is gone, and this is its last callback: closed by its service, of no use any more, or the loop ended.
    fn on_close(&mut self, context: &mut Context<'_>, id: DatagramId, reason: CloseReason) {
        let _ = (context, id, reason);
    }
}

/// What runs on raw IP and ICMP sockets: the same shape as [`DatagramService`], without ports.
///
/// ```
/// use sockeye_event_loop::{EventLoop, Packet, PacketKind, PacketOptions, PacketService, Packets};
///
/// /// Counts the echo replies that come in. An ICMP socket sees those to its own requests.
/// #[derive(Default)]
/// struct Replies(u64);
///
/// impl PacketService for Replies {
///     fn on_packet(&mut self, _: &mut Packets<'_>, packet: Packet<'_>) {
///         // ICMP, after the IP header: type 0 is an echo reply.
///         if packet.data.first() == Some(&0) {
///             self.0 += 1;
///         }
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut events = EventLoop::new()?;
/// let replies = events.add_packet_service(Replies::default());
/// match events.open_packet(replies, &PacketOptions::new(PacketKind::Icmp, "127.0.0.1".parse()?)) {
///     Ok(_) => events.turn(Some(std::time::Duration::ZERO))?, // or `events.run()?`
///     // Neither ping_group_range nor CAP_NET_RAW allows it: the error says what would.
///     Err(error) => println!("{error}"),
/// }
/// # Ok(())
/// # }
/// ```
pub trait PacketService: 'static {
    /// The socket is on the loop.
    fn on_open(&mut self, socket: &mut Packets<'_>) {
        let _ = socket;
    }

    /// A packet has arrived. Its payload begins after the IP header.
    fn on_packet(&mut self, socket: &mut Packets<'_>, packet: Packet<'_>);

    /// The packets of one batch have all been offered.
    fn on_batch_complete(&mut self, socket: &mut Packets<'_>) {
        let _ = socket;
    }

    /// After a [`Sent::Full`](crate::Sent::Full): the loop's queue of the socket is empty again.
    fn on_writable(&mut self, socket: &mut Packets<'_>) {
        let _ = socket;
    }

    /// Something came out of the error queue: an ICMP error, a send timestamp.
    fn on_error(&mut self, socket: &mut Packets<'_>, entry: QueueEntry) {
        let _ = (socket, entry);
    }

    /// A packet was not sent. It concerns that packet only.
    fn on_send_error(&mut self, socket: &mut Packets<'_>, failure: SendFailure) {
        let _ = (socket, failure);
    }

    /// A receive failed: a refusal of something that was sent before, or an error of the system. The socket goes on, after
    /// a pause if the error comes again and again.
    fn on_recv_error(&mut self, socket: &mut Packets<'_>, error: io::Error) {
        let _ = (socket, error);
    }

    /// A timer of the socket fired.
    fn on_timer(&mut self, socket: &mut Packets<'_>, key: u64) {
        let _ = (socket, key);
    }

    /// A message for the service.
    fn on_message(&mut self, socket: &mut Packets<'_>, message: Message) {
        let _ = (socket, message);
    }

    /// A lookup of this service, begun by `socket.context().resolve(...)`, has a result: see
    /// [`StreamService::on_answer`]. [`Context::datagrams`] gives a socket to act on it.
    #[cfg(feature = "resolver")]
    fn on_answer(&mut self, context: &mut Context<'_>, event: sockeye_resolver::dns::Event) {
        let _ = (context, event);
    }

    /// The socket is gone, and this is its last callback: closed by its service, of no use any more, or the loop ended.
    fn on_close(&mut self, context: &mut Context<'_>, id: DatagramId, reason: CloseReason) {
        let _ = (context, id, reason);
    }
}

/// A handle for packet sockets: the operations are those of [`Datagrams`]; ports are 0 and ignored.
pub type Packets<'a> = Datagrams<'a>;

/// A received packet: as a [`Datagram`]; its `data` begins after the IP header.
pub type Packet<'a> = Datagram<'a>;

/// What runs on packet sockets, which carry the frames of a link: the same shape as [`PacketService`].
///
/// In a simulation hosts speak IP alone: frames are Ethernet with addresses that are made up, around the datagrams and packets
/// that arrive; what is sent finds its way by the IP packet in it, without ARP.
///
/// ```no_run
/// use sockeye_event_loop::{EventLoop, Frame, FrameOptions, FrameService, Frames};
///
/// struct Counter(u64);
/// impl FrameService for Counter {
///     fn on_frame(&mut self, _: &mut Frames<'_>, frame: Frame<'_>) {
///         self.0 += frame.len as u64;
///     }
/// }
///
/// let mut events = EventLoop::new()?;
/// let counter = events.add_frame_service(Counter(0));
/// // With the feature `link`, and CAP_NET_RAW.
/// events.open_link(counter, &FrameOptions::new("eth0"))?;
/// events.run()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait FrameService: 'static {
    /// The socket is on the loop.
    fn on_open(&mut self, socket: &mut Frames<'_>) {
        let _ = socket;
    }

    /// A frame has arrived.
    fn on_frame(&mut self, socket: &mut Frames<'_>, frame: Frame<'_>);

    /// The frames of one batch have all been offered.
    fn on_batch_complete(&mut self, socket: &mut Frames<'_>) {
        let _ = socket;
    }

    /// After a [`Sent::Full`](crate::Sent::Full): the loop's queue of the socket is empty again.
    fn on_writable(&mut self, socket: &mut Frames<'_>) {
        let _ = socket;
    }

    /// A frame was not sent. It concerns that frame only.
    fn on_send_error(&mut self, socket: &mut Frames<'_>, failure: SendFailure) {
        let _ = (socket, failure);
    }

    /// A receive failed: `NetworkDown` once when the interface goes down or vanishes. The socket goes on, and frames come
    /// again when the interface is up.
    fn on_recv_error(&mut self, socket: &mut Frames<'_>, error: io::Error) {
        let _ = (socket, error);
    }

    /// A timer of the socket fired.
    fn on_timer(&mut self, socket: &mut Frames<'_>, key: u64) {
        let _ = (socket, key);
    }

    /// A message for the service.
    fn on_message(&mut self, socket: &mut Frames<'_>, message: Message) {
        let _ = (socket, message);
    }

    /// The socket is gone, and this is its last callback: closed by its service, of no use any more, or the loop ended.
    fn on_close(&mut self, context: &mut Context<'_>, id: DatagramId, reason: CloseReason) {
        let _ = (context, id, reason);
    }
}

/// A handle for packet sockets: the operations are those of [`Datagrams`]. A frame is sent as the payload of
/// [`Outgoing::connected`](sockeye_socket::Outgoing::connected), with its link header; it has no destination beside that.
pub type Frames<'a> = Datagrams<'a>;
