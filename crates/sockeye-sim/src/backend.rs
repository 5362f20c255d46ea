//! [`SimBackend`]: the loop's view of one simulated host.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use sockeye_endpoint::{Endpoint, Transport, UnixName};
use sockeye_event_loop::backend::{
    Backend, ConnectProgress, ListenerIo, MessageIo, Ready, SocketRef, StreamIo, Token, UnixPeers, Wake,
};
use sockeye_event_loop::{
    ConnectOptions, DatagramOptions, ListenOptions, PacketKind, PacketOptions, StreamOption, Time,
    UnixDatagramOptions, UnixListenOptions,
};
use sockeye_socket::unix::Credentials;
use sockeye_socket::{
    Dscp, Ecn, Meta, Op, OpError, Outgoing, QueueEntry, RecvBatch, SendBatch, SendError, SendReport,
};

use crate::errno::{self, error};
use crate::mutant::Mutant;
use crate::world::{Call, Failed, MessageKind, Opening, Sending, Shared, SockRef, World, shaped};

/// One simulated host, as the backend of its event loop.
#[derive(Debug)]
pub struct SimBackend {
    world: Shared,
    host: u16,
}

/// The events of one poll.
#[derive(Debug)]
pub struct SimEvents {
    ready: Vec<Ready>,
    capacity: usize,
}

/// A simulated listener.
#[derive(Debug)]
pub struct SimListener {
    world: Shared,
    index: u32,
}

/// A simulated stream.
#[derive(Debug)]
pub struct SimStream {
    world: Shared,
    index: u32,
}

/// A simulated datagram or packet socket.
#[derive(Debug)]
pub struct SimSocket {
    world: Shared,
    index: u32,
    wants: Wants,
    /// Who its peers are, if it is a Unix socket.
    peers: Option<UnixPeers>,
}

/// Which metadata a message socket reports.
#[derive(Clone, Copy, Debug)]
struct Wants {
    destination: bool,
    class: bool,
    hop_limit: bool,
    timestamp: bool,
    gso: bool,
}

impl Wants {
    const NONE: Self = Self {
        destination: false,
        class: false,
        hop_limit: false,
        timestamp: false,
        gso: false,
    };
}

impl SimBackend {
    pub(crate) fn new(world: Shared, host: u16) -> Self {
        {
            let mut world = world.borrow_mut();
            world.hosts[usize::from(host)].has_loop = true;
            world.any_woken.store(true, Ordering::Release);
        }
        Self { world, host }
    }
}

impl Drop for SimBackend {
    fn drop(&mut self) {
        let mut world = self.world.borrow_mut();
        let host = &mut world.hosts[usize::from(self.host)];
        host.has_loop = false;
        host.ready.clear();
    }
}

/// Which call it was, and its error.
fn split(failed: Failed) -> (Op, i32) {
    match failed {
        Failed::Open(number) => (Op::Open, number),
        Failed::Bind(number) => (Op::Bind, number),
        Failed::Listen(number) => (Op::Listen, number),
        Failed::Connect(number) => (Op::Connect, number),
    }
}

fn unix_error(failed: Failed) -> OpError {
    let (op, number) = split(failed);
    OpError::unix(op, error(number))
}

fn no_name() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "only a Unix socket has such a name")
}

/// The answer to whoever asks a Unix socket for an IP address.
fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "a Unix socket has no IP address")
}

fn op_error(
    transport: Transport,
    failed: Failed,
    local: Option<SocketAddr>,
    peer: Option<SocketAddr>,
) -> OpError {
    let (op, number) = split(failed);
    let mut made = OpError::new(op, transport, error(number));
    if let Some(local) = local {
        made = made.with_local(Endpoint::from_socket_addr(transport, local));
    }
    if let Some(peer) = peer {
        made = made.with_peer(Endpoint::from_socket_addr(transport, peer));
    }
    made
}

impl Backend for SimBackend {
    type Listener = SimListener;
    type Stream = SimStream;
    type Datagram = SimSocket;
    type Packet = SimSocket;
    type Events = SimEvents;
    type EventIter<'a> = std::iter::Copied<std::slice::Iter<'a, Ready>>;

    fn events(&self, capacity: usize) -> SimEvents {
        SimEvents {
            ready: Vec::with_capacity(capacity.min(64)),
            capacity: capacity.max(1),
        }
    }

    fn iter(events: &SimEvents) -> Self::EventIter<'_> {
        events.ready.iter().copied()
    }

    fn now(&self) -> Time {
        Time::from_nanos(self.world.borrow().clock(self.host))
    }

    fn random(&mut self) -> u64 {
        let mut world = self.world.borrow_mut();
        if world.mutated(Mutant::RandomIsConstant) {
            return 4;
        }
        world.hosts[usize::from(self.host)].random.bits()
    }

    fn poll(&mut self, events: &mut SimEvents, block: bool) -> io::Result<()> {
        self.world
            .borrow_mut()
            .poll(self.host, block, &mut events.ready, events.capacity);
        Ok(())
    }

    fn set_alarm(&mut self, at: Option<Time>) -> io::Result<()> {
        self.world
            .borrow_mut()
            .set_alarm(self.host, at.map(Time::as_nanos));
        Ok(())
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.world.borrow().hosts[usize::from(self.host)].woken.clone()
    }

    fn register(&mut self, socket: SocketRef<'_, Self>, token: Token) -> io::Result<()> {
        self.world
            .borrow_mut()
            .register(place(&socket), token.to_u64())
            .map_err(error)
    }

    fn deregister(&mut self, socket: SocketRef<'_, Self>) -> io::Result<()> {
        self.world.borrow_mut().deregister(place(&socket));
        Ok(())
    }

    fn listen(&mut self, at: SocketAddr, options: &ListenOptions) -> Result<SimListener, OpError> {
        let backlog = usize::try_from(options.backlog).unwrap_or(usize::MAX).min(4096);
        let reuse = (options.reuse_address, options.reuse_port);
        let v6_only = options.v6_only.unwrap_or(false);
        let opened = self
            .world
            .borrow_mut()
            .listen(self.host, at, backlog, reuse, v6_only);
        match opened {
            Ok(index) => Ok(SimListener {
                world: self.world.clone(),
                index,
            }),
            Err(failed) => Err(op_error(Transport::Tcp, failed, Some(at), None)),
        }
    }

    fn connect(&mut self, to: SocketAddr, options: &ConnectOptions) -> Result<SimStream, OpError> {
        let mut world = self.world.borrow_mut();
        let index = world
            .connect(self.host, to, options.source)
            .map_err(|failed| op_error(Transport::Tcp, failed, options.source, Some(to)))?;
        for option in &options.socket {
            // An option that the simulation has no notion of changes nothing in it.
            let _ = world.set_option(index, option);
        }
        world.send_syn(index);
        drop(world);
        Ok(SimStream {
            world: self.world.clone(),
            index,
        })
    }

    fn listen_unix(&mut self, at: &UnixName, options: &UnixListenOptions) -> Result<SimListener, OpError> {
        let backlog = usize::try_from(options.backlog).unwrap_or(usize::MAX).min(4096);
        let opened =
            self.world
                .borrow_mut()
                .listen_unix(self.host, at, backlog, options.take_over, options.unlink);
        match opened {
            Ok(index) => Ok(SimListener {
                world: self.world.clone(),
                index,
            }),
            Err(failed) => Err(unix_error(failed).with_local_name(*at)),
        }
    }

    fn connect_unix(&mut self, to: &UnixName, options: &ConnectOptions) -> Result<SimStream, OpError> {
        let mut world = self.world.borrow_mut();
        let index = world
            .connect_unix(self.host, to)
            .map_err(|failed| unix_error(failed).with_peer_name(*to))?;
        for option in &options.socket {
            let _ = world.set_option(index, option);
        }
        drop(world);
        Ok(SimStream {
            world: self.world.clone(),
            index,
        })
    }

    fn bind(&mut self, at: SocketAddr, options: &DatagramOptions) -> Result<SimSocket, OpError> {
        let opening = Opening {
            kind: MessageKind::Udp,
            at,
            reuse: (options.reuse_address, options.reuse_port),
            v6_only: options.v6_only.unwrap_or(false),
            error_queue: options.error_queue,
            broadcast: options.broadcast,
            uncut: options.probe_mtu,
            send_buffer: options.send_buffer,
            recv_buffer: options.recv_buffer,
            connect: options.connect,
        };
        let wants = Wants {
            destination: options.packet_info,
            class: options.traffic_class,
            hop_limit: options.hop_limit,
            timestamp: options.timestamps,
            gso: options.gso,
        };
        self.open(Transport::Udp, opening, wants)
    }

    fn bind_unix(&mut self, at: &UnixName, options: &UnixDatagramOptions) -> Result<SimSocket, OpError> {
        let path = (options.take_over, options.unlink);
        let opened = self
            .world
            .borrow_mut()
            .bind_unix(self.host, at, options.connect, path);
        match opened {
            Ok(index) => Ok(SimSocket {
                world: self.world.clone(),
                index,
                wants: Wants::NONE,
                peers: Some(UnixPeers::default()),
            }),
            Err(failed) => Err(unix_error(failed).with_local_name(*at)),
        }
    }

    fn open_packet(&mut self, options: &PacketOptions) -> Result<SimSocket, OpError> {
        let v6 = options.local.is_ipv6();
        let icmp = if v6 { Transport::ICMPV6 } else { Transport::ICMP };
        let at = SocketAddr::new(options.local, 0);
        let (raw_allowed, ping) = {
            let world = self.world.borrow();
            let host = &world.hosts[usize::from(self.host)];
            (host.raw_allowed, host.ping_socket)
        };
        let (transport, kind) = match options.kind {
            PacketKind::Icmp if ping => (icmp, MessageKind::Ping),
            PacketKind::Icmp => (icmp, MessageKind::Ip(icmp.protocol())),
            PacketKind::Ip { protocol } => (Transport::Ip(protocol), MessageKind::Ip(protocol)),
            PacketKind::Header { protocol } => (Transport::Ip(protocol), MessageKind::Header(protocol)),
            _ => return Err(op_error(icmp, Failed::Open(errno::EOPNOTSUPP), Some(at), None)),
        };
        let refused = match kind {
            MessageKind::Ip(0) | MessageKind::Header(0)
                if !self.world.borrow().mutated(Mutant::ProtocolZeroIsFine) =>
            {
                Some(errno::EPROTONOSUPPORT)
            }
            MessageKind::Header(_) if v6 => Some(errno::EOPNOTSUPP),
            MessageKind::Ip(_) | MessageKind::Header(_) if !raw_allowed => Some(errno::EPERM),
            _ => None,
        };
        if let Some(number) = refused {
            return Err(op_error(transport, Failed::Open(number), Some(at), None));
        }
        let opening = Opening {
            kind,
            at,
            reuse: (false, false),
            v6_only: v6,
            error_queue: options.error_queue,
            broadcast: false,
            uncut: options.probe_mtu,
            send_buffer: options.send_buffer,
            recv_buffer: options.recv_buffer,
            connect: None,
        };
        let wants = Wants {
            destination: options.packet_info,
            class: false,
            hop_limit: options.hop_limit,
            timestamp: options.timestamps,
            gso: false,
        };
        self.open(transport, opening, wants)
    }
}

impl SimBackend {
    fn open(&mut self, transport: Transport, opening: Opening, wants: Wants) -> Result<SimSocket, OpError> {
        match self.world.borrow_mut().open_message(self.host, opening) {
            Ok(index) => Ok(SimSocket {
                world: self.world.clone(),
                index,
                wants,
                peers: None,
            }),
            Err(failed) => Err(op_error(transport, failed, Some(opening.at), opening.connect)),
        }
    }
}

fn place(socket: &SocketRef<'_, SimBackend>) -> SockRef {
    match socket {
        SocketRef::Listener(listener) => SockRef::Listener(listener.index),
        SocketRef::Stream(stream) => SockRef::Stream(stream.index),
        SocketRef::Datagram(socket) | SocketRef::Packet(socket) if socket.peers.is_some() => {
            SockRef::Unix(socket.index)
        }
        SocketRef::Datagram(socket) | SocketRef::Packet(socket) => SockRef::Message(socket.index),
    }
}

impl ListenerIo for SimListener {
    type Stream = SimStream;

    fn accept(&mut self) -> io::Result<(SimStream, Option<SocketAddr>)> {
        let mut world = self.world.borrow_mut();
        let (index, peer) = world.accept(self.index).map_err(error)?;
        let peer = world.streams[index as usize].unix.is_none().then_some(peer);
        drop(world);
        Ok((
            SimStream {
                world: self.world.clone(),
                index,
            },
            peer,
        ))
    }

    fn local_unix(&self) -> io::Result<UnixName> {
        let world = self.world.borrow();
        let unix = world.listeners[self.index as usize].unix;
        unix.map(|(name, _)| name).ok_or_else(no_name)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        let world = self.world.borrow();
        if world.listeners[self.index as usize].unix.is_some() {
            return Err(no_address());
        }
        let mut local = world.listeners[self.index as usize].local;
        if world.mutated(Mutant::LocalPortIsZero) {
            local.set_port(0);
        }
        Ok(local)
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        self.world.borrow_mut().close_listener(self.index);
    }
}

/// Buffers that one vectored write takes (UIO_MAXIOV, writev(2)).
const IOV_MAX: usize = 1024;

impl StreamIo for SimStream {
    #[inline]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.world.borrow_mut().read(self.index, buf).map_err(error)
    }

    #[inline]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.world.borrow_mut().write(self.index, buf).map_err(error)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut world = self.world.borrow_mut();
        if world.mutated(Mutant::VectoredDropsRest) && bufs.len() > 1 {
            let all = bufs.iter().map(|buf| buf.len()).sum();
            return world.write(self.index, &bufs[0]).map(|_| all).map_err(error);
        }
        let mut written = 0;
        let most = if world.mutated(Mutant::AnyNumberOfBuffers) {
            bufs.len()
        } else {
            IOV_MAX.min(bufs.len())
        };
        for buf in bufs[..most].iter().filter(|buf| !buf.is_empty()) {
            match world.write(self.index, buf) {
                Ok(count) => {
                    written += count;
                    if count < buf.len() {
                        break;
                    }
                }
                Err(_) if written > 0 => break,
                Err(number) => return Err(error(number)),
            }
        }
        Ok(written)
    }

    fn connect_progress(&mut self) -> ConnectProgress {
        let mut world = self.world.borrow_mut();
        match world.connect_state(self.index) {
            // What the kernel calls a connection is none: nobody else is there. The TCP crate says so too.
            Ok(true) if world.is_own_peer(self.index) => {
                ConnectProgress::Failed(io::ErrorKind::ConnectionRefused.into())
            }
            Ok(true) => ConnectProgress::Connected,
            Ok(false) => ConnectProgress::Pending,
            Err(number) => ConnectProgress::Failed(error(number)),
        }
    }

    fn shutdown(&mut self, how: Shutdown) -> io::Result<()> {
        self.world.borrow_mut().shutdown(self.index, how).map_err(error)
    }

    fn abort(&mut self) {
        self.world.borrow_mut().streams[self.index as usize].abort = true;
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        let world = self.world.borrow();
        if world.streams[self.index as usize].unix.is_some() {
            return Err(no_address());
        }
        Ok(world.stream_local_addr(self.index))
    }

    fn local_unix(&self) -> io::Result<UnixName> {
        let world = self.world.borrow();
        let end = world.streams[self.index as usize].unix.as_deref();
        end.map(|end| end.local).ok_or_else(no_name)
    }

    /// Each simulated host runs one process, as root: number 1 of its own.
    fn unix_peer(&self) -> Option<(UnixName, Option<Credentials>)> {
        let world = self.world.borrow();
        let end = world.streams[self.index as usize].unix.as_deref()?;
        let credentials = Credentials {
            pid: NonZeroU32::new(1),
            uid: 0,
            gid: 0,
        };
        Some((end.remote, Some(credentials)))
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        if self.world.borrow().streams[self.index as usize].unix.is_some() {
            return Err(no_address());
        }
        self.world.borrow().peer_addr(self.index).map_err(error)
    }

    fn set_option(&mut self, option: &StreamOption) -> io::Result<()> {
        let mut world = self.world.borrow_mut();
        let host = world.streams[self.index as usize].host;
        world.count_call(host, Call::Option).map_err(error)?;
        world.set_option(self.index, option)
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        self.world.borrow_mut().close_stream(self.index);
    }
}

impl World {
    fn set_option(&mut self, stream: u32, option: &StreamOption) -> io::Result<()> {
        let ignored = self.mutated(Mutant::BufferSizesIgnored);
        let slot = &mut self.streams[stream as usize];
        if slot.unix.is_some() {
            return match option {
                StreamOption::SendBuffer(bytes) => {
                    slot.tx_limit = (2 * bytes).max(4608);
                    Ok(())
                }
                StreamOption::RecvBuffer(_) => Ok(()),
                _ => Err(io::ErrorKind::Unsupported.into()),
            };
        }
        match option {
            // The simulation sends every segment at once, and knows no keeping back.
            StreamOption::NoDelay(_) | StreamOption::Cork(_) | StreamOption::TrafficClass(_) => {}
            StreamOption::SendBuffer(_) | StreamOption::RecvBuffer(_) if ignored => {}
            // The kernel doubles what it is told, and has its least.
            StreamOption::SendBuffer(bytes) => slot.tx_limit = (2 * bytes).max(4608),
            StreamOption::RecvBuffer(bytes) => slot.rx_limit = (2 * bytes).max(2304),
            StreamOption::NotSentLowat(_) => {}
            StreamOption::UserTimeout(limit) => {
                slot.user_timeout_ns = limit.map(crate::link::nanos);
                self.probe_window(stream);
            }
            StreamOption::KeepAlive {
                idle,
                interval,
                count,
            } => {
                let (idle, interval, count) =
                    (crate::link::nanos(*idle), crate::link::nanos(*interval), *count);
                self.set_keepalive(stream, idle.max(1), interval.max(1), count.max(1));
            }
            _ => return Err(io::ErrorKind::Unsupported.into()),
        }
        Ok(())
    }
}

impl SimSocket {
    /// Sends one message; a run of segments as the datagrams it stands for.
    fn send_one(&self, world: &mut World, message: &Outgoing<'_>) -> Result<(), i32> {
        let class = message.codepoint().map_or(0, Dscp::value) << 2 | message.ecn_bits().map_or(0, Ecn::bits);
        let sending = Sending {
            payload: message.payload(),
            to: message.destination(),
            source: message.source_address(),
            hop_limit: message.hops(),
            class,
        };
        if world.messages[self.index as usize].kind != MessageKind::Udp {
            return world.send_packet(self.index, &sending);
        }
        match message.segment_bytes() {
            Some(size) if usize::from(size) < sending.payload.len() => {
                if size == 0 || !self.wants.gso {
                    return Err(errno::EINVAL);
                }
                let mut sent = Ok(());
                for payload in sending.payload.chunks(usize::from(size)) {
                    sent = sent.and(world.send_datagram(self.index, &Sending { payload, ..sending }));
                }
                sent
            }
            _ => world.send_datagram(self.index, &sending),
        }
    }

    fn meta(&self, world: &World, flight: u32) -> Meta {
        let arrived = world.flight(flight);
        let mut meta = Meta::NONE;
        if self.wants.destination && !world.mutated(Mutant::DestinationUnknown) {
            let destination = arrived.destination.ip();
            meta.destination = Some(destination);
            let own = !destination.is_multicast() && destination != Ipv4Addr::BROADCAST;
            meta.local = own.then_some(destination);
            meta.interface = Some(1);
        }
        if self.wants.class {
            meta.ecn = Some(Ecn::from_class(arrived.class));
            meta.dscp = Some(Dscp::from_class(arrived.class));
        }
        if self.wants.hop_limit && !world.mutated(Mutant::HopLimitUnknown) {
            meta.hop_limit = Some(arrived.hop_limit);
        }
        if self.wants.timestamp {
            meta.timestamp = Some(SystemTime::UNIX_EPOCH + Duration::from_nanos(arrived.arrived_ns));
        }
        meta
    }
}

impl MessageIo for SimSocket {
    fn recv_batch(&mut self, batch: &mut RecvBatch) -> io::Result<usize> {
        batch.clear();
        let mut world = self.world.borrow_mut();
        if let Some(peers) = &mut self.peers {
            while batch.len() < batch.capacity() {
                match world.receive_unix(self.index) {
                    Ok((source, payload)) => {
                        batch.push(&payload, peers.address_of(&source), None, Meta::NONE);
                    }
                    Err(_) if !batch.is_empty() => break,
                    Err(number) => return Err(error(number)),
                }
            }
            return Ok(batch.len());
        }
        while batch.len() < batch.capacity() {
            let flight = match world.receive(self.index) {
                Ok(flight) => flight,
                // What came before the error is told first; the error is told at the next call.
                Err(errno::EAGAIN) if !batch.is_empty() => break,
                Err(0) => break,
                Err(number) if !batch.is_empty() => {
                    world.messages[self.index as usize].error = number;
                    break;
                }
                Err(number) => return Err(error(number)),
            };
            let v6 = world.messages[self.index as usize].is_v6();
            let meta = self.meta(&world, flight);
            let arrived = world.flight(flight);
            let source = shaped(arrived.source, v6);
            let payload = match world.mutated(Mutant::NoTruncation) {
                true => &arrived.payload[..arrived.payload.len().min(batch.slot_len())],
                false => arrived.payload.as_slice(),
            };
            batch.push(payload, source, None, meta);
            world.free_flight(flight);
        }
        Ok(batch.len())
    }

    fn send_batch<'a, F>(
        &mut self,
        _storage: &mut SendBatch,
        range: Range<usize>,
        mut message: F,
    ) -> SendReport
    where
        F: FnMut(usize) -> Outgoing<'a>,
    {
        let mut world = self.world.borrow_mut();
        let (start, count) = (range.start, range.len());
        for index in range {
            let message = message(index);
            let sent = match &self.peers {
                Some(peers) => match message.destination().map(|to| peers.name_of(to)) {
                    // A peer without a name, or one that is long forgotten.
                    Some(None) => Err(errno::EDESTADDRREQ),
                    Some(to) => world.send_unix(self.index, message.payload(), to),
                    None => world.send_unix(self.index, message.payload(), None),
                },
                None => self.send_one(&mut world, &message),
            };
            if let Err(number) = sent {
                return SendReport {
                    count: index - start,
                    error: Some(SendError::from_errno(number)),
                };
            }
        }
        SendReport { count, error: None }
    }

    fn local_unix(&self) -> io::Result<UnixName> {
        if self.peers.is_none() {
            return Err(no_name());
        }
        Ok(self.world.borrow().unix_datagrams[self.index as usize].name)
    }

    fn unix_name(&self, address: SocketAddr) -> Option<UnixName> {
        self.peers.as_ref()?.name_of(address)
    }

    fn unix_addr(&mut self, name: &UnixName) -> Option<SocketAddr> {
        Some(self.peers.as_mut()?.address_of(name))
    }

    fn recv_error(&mut self) -> io::Result<Option<QueueEntry>> {
        if self.peers.is_some() {
            return Ok(None);
        }
        Ok(self
            .world
            .borrow_mut()
            .receive_error(self.index)
            .map(QueueEntry::Error))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        if self.peers.is_some() {
            return Err(no_address());
        }
        let world = self.world.borrow();
        let mut local = world.messages[self.index as usize].local;
        if world.mutated(Mutant::LocalPortIsZero) {
            local.set_port(0);
        }
        Ok(local)
    }
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        if self.peers.is_some() {
            return self.world.borrow_mut().close_unix_datagram(self.index);
        }
        self.world.borrow_mut().close_message(self.index);
    }
}

/// A world and nothing else, for those that drive it themselves.
pub(crate) fn shared(world: World) -> Shared {
    std::rc::Rc::new(RefCell::new(world))
}
