//! What is settled before the first frame comes.

use std::io;

use sockeye_socket::filter::Filter;
use sockeye_socket::link::{LinkAddress, RingLayout};
use sockeye_socket::options::{self, OptionValue, SocketOption};
use sockeye_socket::{Domain, Metadata, Op, Protocol, Socket, Type, os};

use crate::membership::{self, Mode};
use crate::{Fanout, LinkError, LinkSocket, ReceiveRing, SendRing};

/// What is a frame to the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum FrameMode {
    /// The frame as it is on the link, with its header (`SOCK_RAW`).
    #[default]
    Whole,
    /// Without its link header: the kernel tells the addresses beside it, and writes them when sending (`SOCK_DGRAM`).
    Cooked,
}

/// How a packet socket shall be: plain data, applied in the one order that works when the socket is opened.
///
/// Sockets start nonblocking and close-on-exec. The filter is there before the first frame is.
///
/// ```no_run
/// use sockeye_link::{LinkOptions, ethertype};
///
/// // The ARP of a link, and nothing that this host sends itself.
/// let arp = LinkOptions::new()
///     .protocol(ethertype::ARP)
///     .ignore_outgoing(true)
///     .open("eth0")?;
/// # Ok::<(), sockeye_link::LinkError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct LinkOptions {
    mode: FrameMode,
    protocol: u16,
    promiscuous: bool,
    all_multicast: bool,
    ignore_outgoing: bool,
    qdisc_bypass: bool,
    timestamps: bool,
    send_buffer: Option<u32>,
    recv_buffer: Option<u32>,
    filter: Option<Filter>,
    fanout: Option<Fanout>,
}

impl Default for LinkOptions {
    fn default() -> Self {
        Self {
            mode: FrameMode::Whole,
            protocol: Self::ALL_PROTOCOLS,
            promiscuous: false,
            all_multicast: false,
            ignore_outgoing: false,
            qdisc_bypass: false,
            timestamps: true,
            send_buffer: None,
            recv_buffer: None,
            filter: None,
            fanout: None,
        }
    }
}

impl LinkOptions {
    /// Stands for every protocol (`ETH_P_ALL`).
    pub const ALL_PROTOCOLS: u16 = 3;

    /// Whole frames of all protocols, with timestamps.
    pub fn new() -> Self {
        Self::default()
    }

    /// With or without link headers.
    pub fn mode(mut self, mode: FrameMode) -> Self {
        self.mode = mode;
        self
    }

    /// Receives frames of this ethertype only; [`ALL_PROTOCOLS`](Self::ALL_PROTOCOLS) is all of them, 0 none (for sockets that only send).
    ///
    /// Only a socket for all of them sees what this host sends: the kernel shows outgoing frames to no other, and never to
    /// the socket that sent them.
    pub fn protocol(mut self, ethertype: u16) -> Self {
        self.protocol = ethertype;
        self
    }

    /// Takes frames that are for other hosts, too, as long as the socket lives. Not with
    /// [`open_any`](Self::open_any), which leaves the interfaces as they are.
    #[doc(alias = "PACKET_MR_PROMISC")]
    pub fn promiscuous(mut self, on: bool) -> Self {
        self.promiscuous = on;
        self
    }

    /// Takes frames to every group, as long as the socket lives.
    #[doc(alias = "PACKET_MR_ALLMULTI")]
    pub fn all_multicast(mut self, on: bool) -> Self {
        self.all_multicast = on;
        self
    }

    /// Does not receive what this host sends (Linux 4.20).
    #[doc(alias = "PACKET_IGNORE_OUTGOING")]
    pub fn ignore_outgoing(mut self, on: bool) -> Self {
        self.ignore_outgoing = on;
        self
    }

    /// Sends past the queueing discipline of the interface: faster, and lost where the driver has no room.
    #[doc(alias = "PACKET_QDISC_BYPASS")]
    pub fn qdisc_bypass(mut self, on: bool) -> Self {
        self.qdisc_bypass = on;
        self
    }

    /// Reports when each frame came, in nanoseconds; on unless switched off. A ring always does.
    #[doc(alias = "SO_TIMESTAMPNS")]
    pub fn timestamps(mut self, on: bool) -> Self {
        self.timestamps = on;
        self
    }

    /// Size of the send buffer, in bytes; the kernel doubles it for its own overhead.
    #[doc(alias = "SO_SNDBUF")]
    pub fn send_buffer(mut self, bytes: u32) -> Self {
        self.send_buffer = Some(bytes);
        self
    }

    /// Size of the receive buffer, in bytes; the kernel doubles it for its own overhead.
    #[doc(alias = "SO_RCVBUF")]
    pub fn recv_buffer(mut self, bytes: u32) -> Self {
        self.recv_buffer = Some(bytes);
        self
    }

    /// Receives only what this filter takes, as far as it takes it
    /// ([`accept_up_to`](crate::packet_filter::Program::accept_up_to) is a snap length).
    #[doc(alias = "SO_ATTACH_FILTER")]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = Some(filter);
        self
    }

    /// Shares the frames with the other sockets of a group.
    pub fn fanout(mut self, fanout: Fanout) -> Self {
        self.fanout = Some(fanout);
        self
    }

    /// Opens a socket on the interface of this name.
    ///
    /// An interface that is down is opened all the same: the first receive returns `NetworkDown`, and frames come once
    /// it is up.
    ///
    /// # Errors
    /// [`LinkError`]: not permitted without CAP_NET_RAW, no such interface, and the option that failed.
    pub fn open(&self, interface: &str) -> Result<LinkSocket, LinkError> {
        let index =
            os::interface_index(interface).map_err(|source| LinkError::new(Op::Bind, interface, source))?;
        self.open_on(interface, index)
    }

    /// Opens a socket on all interfaces, also those that come later.
    ///
    /// Their links differ: [`FrameMode::Cooked`] gives all frames one form.
    ///
    /// # Errors
    /// As [`open`](Self::open); EINVAL for promiscuous or all-multicast mode, which need an interface.
    pub fn open_any(&self) -> Result<LinkSocket, LinkError> {
        self.open_on("any", 0)
    }

    fn open_on(&self, interface: &str, index: u32) -> Result<LinkSocket, LinkError> {
        let socket = self.prepare(interface, index)?;
        self.start(&socket, interface, index)?;
        Ok(LinkSocket::new(socket, index, self.mode))
    }

    /// Opens a receive ring on the interface of this name.
    ///
    /// # Errors
    /// As [`open`](Self::open); a ring that is too large, or whose sizes do not fit.
    #[doc(alias = "PACKET_RX_RING")]
    pub fn open_receive_ring(&self, interface: &str, layout: RingLayout) -> Result<ReceiveRing, LinkError> {
        let index =
            os::interface_index(interface).map_err(|source| LinkError::new(Op::Bind, interface, source))?;
        self.ring_on(interface, index, layout)
    }

    /// As [`open_receive_ring`](Self::open_receive_ring), on all interfaces.
    ///
    /// # Errors
    /// As [`open_receive_ring`](Self::open_receive_ring) and [`open_any`](Self::open_any).
    pub fn open_receive_ring_any(&self, layout: RingLayout) -> Result<ReceiveRing, LinkError> {
        self.ring_on("any", 0, layout)
    }

    fn ring_on(&self, interface: &str, index: u32, layout: RingLayout) -> Result<ReceiveRing, LinkError> {
        let socket = self.prepare(interface, index)?;
        let ring = ReceiveRing::new(socket, index, self.mode, layout)
            .map_err(|source| LinkError::ring(Op::Set("PACKET_RX_RING"), interface, source))?;
        self.start(ring.socket(), interface, index)?;
        Ok(ring)
    }

    /// Opens a send ring on the interface of this name. It receives nothing.
    ///
    /// # Errors
    /// As [`open_receive_ring`](Self::open_receive_ring).
    #[doc(alias = "PACKET_TX_RING")]
    pub fn open_send_ring(&self, interface: &str, layout: RingLayout) -> Result<SendRing, LinkError> {
        let index =
            os::interface_index(interface).map_err(|source| LinkError::new(Op::Bind, interface, source))?;
        let sending = Self {
            protocol: 0,
            fanout: None,
            ..self.clone()
        };
        let socket = sending.prepare(interface, index)?;
        let ring = SendRing::new(socket, layout)
            .map_err(|source| LinkError::ring(Op::Set("PACKET_TX_RING"), interface, source))?;
        sending.start(ring.socket(), interface, index)?;
        Ok(ring)
    }

    /// A socket with everything set that must come before the first frame; it receives none.
    fn prepare(&self, interface: &str, index: u32) -> Result<Socket, LinkError> {
        let kind = match self.mode {
            FrameMode::Whole => Type::RAW,
            FrameMode::Cooked => Type::DGRAM,
        };
        let failed = |op, source| LinkError::new(op, interface, source);
        // Protocol 0: no frames of any interface before the filter is there and the socket is bound.
        let socket = Socket::new(Domain::PACKET, kind, Some(Protocol::from(0)))
            .map_err(|source| failed(Op::Open, source))?;
        let set = |name, result: io::Result<()>| result.map_err(|source| failed(Op::Set(name), source));
        if let Some(bytes) = self.recv_buffer {
            set("SO_RCVBUF", socket.set(options::SO_RCVBUF, bytes))?;
        }
        if let Some(bytes) = self.send_buffer {
            set("SO_SNDBUF", socket.set(options::SO_SNDBUF, bytes))?;
        }
        flag(&socket, interface, options::PACKET_AUXDATA, true)?;
        if self.ignore_outgoing {
            flag(&socket, interface, options::PACKET_IGNORE_OUTGOING, true)?;
        }
        if self.qdisc_bypass {
            flag(&socket, interface, options::PACKET_QDISC_BYPASS, true)?;
        }
        if self.timestamps {
            set("SO_TIMESTAMPNS", timestamps(&socket))?;
        }
        if let Some(filter) = &self.filter {
            set("SO_ATTACH_FILTER", filter.attach(&socket))?;
        }
        for (on, mode) in [
            (self.promiscuous, Mode::Promiscuous),
            (self.all_multicast, Mode::AllMulticast),
        ] {
            if on {
                set("PACKET_ADD_MEMBERSHIP", membership::add(&socket, index, mode))?;
            }
        }
        Ok(socket)
    }

    /// Lets the frames come.
    fn start(&self, socket: &Socket, interface: &str, index: u32) -> Result<(), LinkError> {
        let failed = |op, source| LinkError::new(op, interface, source);
        socket
            .bind_link(&LinkAddress::new(index, self.protocol))
            .map_err(|source| failed(Op::Bind, source))?;
        if let Some(fanout) = &self.fanout {
            socket
                .set(options::PACKET_FANOUT, fanout.value())
                .map_err(|source| failed(Op::Set("PACKET_FANOUT"), source))?;
            if let Some(filter) = fanout.filter() {
                filter
                    .attach_fanout(socket)
                    .map_err(|source| failed(Op::Set("PACKET_FANOUT_DATA"), source))?;
            }
        }
        Ok(())
    }
}

fn flag<T: OptionValue>(
    socket: &Socket,
    interface: &str,
    option: SocketOption<T>,
    value: T,
) -> Result<(), LinkError> {
    socket
        .set(option, value)
        .map_err(|source| LinkError::new(Op::Set(option.name()), interface, source))
}

/// The option of the same name as for other sockets.
fn timestamps(socket: &Socket) -> io::Result<()> {
    Metadata::TIMESTAMP.enable(socket)
}
