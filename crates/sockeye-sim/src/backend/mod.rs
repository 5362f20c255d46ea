//! [`SimBackend`]: the loop's view of one simulated host.

mod message;
mod stream;

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use sockeye_endpoint::{Endpoint, Transport, UnixName};
use sockeye_event_loop::backend::{Backend, Ready, SocketRef, Token, UnixPeers, Wake};
use sockeye_event_loop::{
    ConnectOptions, DatagramOptions, FrameOptions, ListenOptions, PacketKind, PacketOptions, Time,
    UnixDatagramOptions, UnixListenOptions,
};
use sockeye_socket::{Op, OpError};

use crate::errno::{self, error};
use crate::mutant::Mutant;
use crate::world::{Failed, MessageKind, Opening, Shared, SockRef, World, unspecified};

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

    fn has_system(&self) -> bool {
        false
    }

    fn source_of(&mut self, destination: SocketAddr) -> Option<IpAddr> {
        self.world.borrow().source_for(self.host, destination.ip())
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

    /// The one interface of a host, whatever it is called. Filters are the kernel's, and refused.
    fn open_link(&mut self, options: &FrameOptions) -> io::Result<SimSocket> {
        if options.cooked || options.filter.is_some() {
            return Err(error(errno::EOPNOTSUPP));
        }
        if !self.world.borrow().hosts[usize::from(self.host)].raw_allowed {
            return Err(error(errno::EPERM));
        }
        let opening = Opening {
            kind: MessageKind::Link(options.protocol),
            at: SocketAddr::new(unspecified(false), 0),
            reuse: (false, false),
            v6_only: false,
            error_queue: false,
            broadcast: false,
            uncut: true,
            send_buffer: options.send_buffer,
            recv_buffer: options.recv_buffer,
            connect: None,
        };
        let wants = Wants {
            timestamp: options.timestamps,
            ..Wants::NONE
        };
        Ok(self.open(Transport::Ip(255), opening, wants)?)
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

/// A world and nothing else, for those that drive it themselves.
pub(crate) fn shared(world: World) -> Shared {
    std::rc::Rc::new(RefCell::new(world))
}
