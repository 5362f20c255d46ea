//! What a QUIC endpoint is made of: quinn-proto's state machines, the sockets below them, and the ends of pairs above them.
//!
//! [`Core`] belongs to two services of the loop: the one of datagrams, which a user adds, and the one that has the first ends
//! of pairs. Both are called by the loop, never one within the other, so that a `RefCell` around it is never borrowed twice.
//! What a user wants to hear of waits in `Core::heard` until it is given back.
//!
//! | file | what |
//! |---|---|
//! | `receive` | datagrams in, clients that come |
//! | `connect` | connections and streams that this side begins |
//! | `connection` | one connection: events, ends |
//! | `send` | datagrams out, timers |
//! | `lane` | one stream and its end of a pair: bytes both ways |

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use quinn_proto::crypto::rustls::{NoInitialCipherSuite, QuicServerConfig};
use quinn_proto::{
    Connection, ConnectionHandle, Dir, Endpoint, EndpointConfig, EndpointEvent, StreamId as WireId, Transmit,
    VarInt,
};
use slab::Slab;
use sockeye_event_loop::{Context, DatagramId, Datagrams, StreamId, StreamServiceId, TimerId};
use sockeye_socket::filter::Filter;

use crate::error::QuicError;
use crate::info::{Direction, QuicId, QuicInfo};
use crate::options::{QuicLimits, QuicOptions};
use crate::seed::{self, Clock, Seeded, Shard};
use crate::server::{Admit, Choose};
use crate::stats::{Count, QuicCounters};

mod connect;
mod connection;
pub(crate) mod lane;
mod receive;
mod send;

/// No connection, in the table by quinn-proto's handles.
const NONE: u32 = u32::MAX;

/// What one side does in its own way.
pub(crate) enum Role {
    Server {
        crypto: Arc<dyn quinn_proto::crypto::ServerConfig>,
        config: Option<Arc<quinn_proto::ServerConfig>>,
        choose: Option<Choose>,
        admit: Option<Admit>,
        limits: QuicLimits,
    },
    Client {
        crypto: Arc<dyn quinn_proto::crypto::ClientConfig>,
        config: Option<quinn_proto::ClientConfig>,
    },
}

/// What a user's service of connections is told.
pub(crate) enum Heard {
    Open(QuicId, Rc<QuicInfo>),
    Datagram(QuicId, Bytes),
    Path(QuicId, SocketAddr),
    Closed(QuicId, QuicError),
}

/// quinn-proto's endpoint, once there is a socket for it.
struct Running {
    endpoint: Endpoint,
    clock: Clock,
    seeded: Option<Seeded>,
}

/// A socket of the endpoint.
struct Socket {
    id: DatagramId,
    local: SocketAddr,
    /// What it had no room for: nothing else is sent before.
    stalled: Option<(Transmit, Vec<u8>)>,
}

/// How far a connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Handshake,
    /// Streams may be opened before the handshake is complete (0-RTT).
    Early,
    Open,
    Lost,
}

/// A stream that waits to be opened.
struct Opening {
    service: StreamServiceId,
    tag: u64,
}

/// A connection.
struct Conn {
    id: QuicId,
    handle: ConnectionHandle,
    quic: Connection,
    socket: DatagramId,
    remote: SocketAddr,
    stage: Stage,
    /// Whether it waits for the end of the turn.
    dirty: bool,
    /// quinn-proto has forgotten it.
    drained: bool,
    timer: Option<(TimerId, Instant)>,
    /// When the handshake has to be complete.
    by: Option<Instant>,
    info: Option<Rc<QuicInfo>>,
    /// What the client asked for.
    server_name: Option<String>,
    /// Where else the server may be, and when the last one of them has to have answered.
    others: VecDeque<SocketAddr>,
    until: Option<Instant>,
    /// Whether this side has asked for 0-RTT.
    early: bool,
    /// Who serves the streams that the peer opens.
    service: Option<StreamServiceId>,
    streams: BTreeMap<WireId, usize>,
    /// Streams that have no pair any more, and of which not all is acknowledged.
    finishing: BTreeSet<WireId>,
    /// Streams that wait for the handshake or for the peer's leave: those of both directions, and of one.
    waiting: [VecDeque<Opening>; 2],
    lost: Option<QuicError>,
    /// Close it in order, with that code, once nothing is open any more.
    closing: Option<(VarInt, Bytes)>,
}

/// How far the receiving half of a stream is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Half {
    Open,
    /// This side has ended it; the peer has not acknowledged all.
    Finishing,
    /// Over, or never there.
    Done,
}

/// A stream and its end of a pair.
struct Lane {
    conn: QuicId,
    stream: WireId,
    /// The end that belongs to this crate; the other one is the service's.
    end: StreamId,
    direction: Direction,
    recv: Half,
    send: Half,
    /// The peer reads no more, by that code.
    stopped: Option<u64>,
    /// What the end had no room for.
    held: Option<Bytes>,
    /// The end is paused: the stream had no room.
    paused: bool,
    /// The loop has opened the end.
    opened: bool,
    /// The connection knows nothing of it any more.
    orphan: bool,
}

/// The endpoint.
pub(crate) struct Core {
    pub(crate) role: Role,
    pub(crate) options: QuicOptions,
    pub(crate) counters: QuicCounters,
    /// The service that has the first ends.
    pub(crate) ends: Option<StreamServiceId>,
    /// Who serves the streams that peers open.
    pub(crate) inner: Option<StreamServiceId>,
    pub(crate) unidirectional: Option<StreamServiceId>,
    /// Whether 0-RTT was asked for.
    pub(crate) early: bool,
    pub(crate) shard: Shard,
    /// Whether somebody listens to what is heard.
    pub(crate) has_listener: bool,
    pub(crate) heard: VecDeque<Heard>,
    /// The loop is to end.
    draining: bool,
    /// Connections that are not over.
    living: usize,
    running: Option<Running>,
    sockets: Vec<Socket>,
    conns: Slab<Box<Conn>>,
    generation: u32,
    /// Connections by quinn-proto's handles.
    by_handle: Vec<u32>,
    lanes: Slab<Lane>,
    /// Connections that wait for the end of the turn.
    dirty: VecDeque<QuicId>,
    /// Connections that datagrams of this batch were for.
    touched: Vec<QuicId>,
    /// Handshakes of clients, the oldest first; some are over.
    order: VecDeque<QuicId>,
    under_way: usize,
    /// One datagram's answer, or one batch of datagrams out.
    out: Vec<u8>,
    /// Where received datagrams are copied to.
    pool: BytesMut,
}

impl Core {
    pub(crate) fn new(role: Role) -> Self {
        Self {
            role,
            options: QuicOptions::default(),
            counters: QuicCounters::default(),
            ends: None,
            inner: None,
            unidirectional: None,
            early: false,
            shard: Shard::ALONE,
            has_listener: false,
            heard: VecDeque::new(),
            draining: false,
            living: 0,
            running: None,
            sockets: Vec::new(),
            conns: Slab::new(),
            generation: 0,
            by_handle: Vec::new(),
            lanes: Slab::new(),
            dirty: VecDeque::new(),
            touched: Vec::new(),
            order: VecDeque::new(),
            under_way: 0,
            out: Vec::new(),
            pool: BytesMut::new(),
        }
    }

    /// A socket is there. With the first one the endpoint is made.
    pub(crate) fn open(&mut self, socket: &mut Datagrams<'_>) {
        let Ok(local) = socket.local_addr() else { return };
        if self.shard != Shard::ALONE
            && let Some(udp) = socket.udp()
        {
            // Where the kernel refuses it, packets are spread by their addresses: a client that moves then loses its connection.
            let _ = Filter::steer_by_quic_id(self.shard.count.into()).attach_reuse_port(udp);
        }
        self.sockets.push(Socket {
            id: socket.id(),
            local,
            stalled: None,
        });
        if self.running.is_none() {
            self.run(&mut socket.context());
        }
    }

    fn run(&mut self, context: &mut Context<'_>) {
        let seeded = context.simulated_seed().map(Seeded::new);
        let mut config = match &seeded {
            Some(seeded) => seeded.endpoint(self.shard),
            None if self.shard != Shard::ALONE => seed::marked(self.shard),
            None => EndpointConfig::default(),
        };
        // What is received has room for the longest there is; the path decides what is sent.
        let _ = config.max_udp_payload_size(65_527);
        let transport = |streams: bool, core: &Self| {
            let mut options = core.options.clone();
            if !streams {
                options.max_streams = 0;
            }
            options.transport(core.unidirectional.is_some())
        };
        let transport = transport(self.inner.is_some(), self);
        let mut server = None;
        match &mut self.role {
            Role::Server { crypto, config, .. } => {
                let mut made = quinn_proto::ServerConfig::with_crypto(Arc::clone(crypto));
                made.transport_config(transport);
                if let Some(seeded) = &seeded {
                    seeded.server(&mut made);
                }
                let made = Arc::new(made);
                server = Some(Arc::clone(&made));
                *config = Some(made);
            }
            Role::Client { crypto, config } => {
                let mut made = quinn_proto::ClientConfig::new(Arc::clone(crypto));
                made.transport_config(transport);
                if let Some(seeded) = &seeded {
                    seeded.client(&mut made);
                }
                *config = Some(made);
            }
        }
        let allow_mtud = self.options.mtu_limit.is_some();
        self.running = Some(Running {
            endpoint: Endpoint::new(Arc::new(config), server, allow_mtud, None),
            clock: Clock::new(context.now()),
            seeded,
        });
    }

    /// New connections get this configuration; those that stand keep theirs.
    pub(crate) fn replace(&mut self, tls: &rustls::ServerConfig) -> Result<(), NoInitialCipherSuite> {
        let mut tls = tls.clone();
        tls.max_early_data_size = if self.early { u32::MAX } else { 0 };
        let Role::Server { crypto, config, .. } = &mut self.role else {
            return Ok(());
        };
        *crypto = Arc::new(QuicServerConfig::try_from(tls)?);
        if let (Some(running), Some(old)) = (&mut self.running, config.as_ref()) {
            let mut made = quinn_proto::ServerConfig::clone(old);
            made.crypto = Arc::clone(crypto);
            let made = Arc::new(made);
            running.endpoint.set_server_config(Some(Arc::clone(&made)));
            *config = Some(made);
        }
        Ok(())
    }

    /// A socket is gone, and with it the connections that went through it.
    pub(crate) fn close_socket(&mut self, context: &mut Context<'_>, socket: DatagramId) {
        self.sockets.retain(|known| known.id != socket);
        let lost: Vec<QuicId> = self
            .conns
            .iter()
            .filter(|(_, conn)| conn.socket == socket)
            .map(|(_, conn)| conn.id)
            .collect();
        for id in lost {
            self.lose(context, id, QuicError::NoSocket);
            self.drop_quic(id);
            self.forget_if_over(context, id);
        }
    }

    /// The moment now, for quinn-proto.
    fn now(&self, context: &mut Context<'_>) -> Instant {
        let now = context.now();
        match &self.running {
            Some(running) => {
                if let Some(seeded) = &running.seeded {
                    seeded.time.set(now);
                }
                running.clock.instant(now)
            }
            // There is no connection then, and nobody to ask.
            None => Instant::now(),
        }
    }

    fn conn(&mut self, id: QuicId) -> Option<&mut Conn> {
        let conn = self.conns.get_mut(id.index as usize)?;
        (conn.id == id).then_some(&mut **conn)
    }

    /// A connection that quinn-proto has made.
    fn add(
        &mut self,
        handle: ConnectionHandle,
        quic: Connection,
        socket: DatagramId,
        by: Option<Instant>,
    ) -> QuicId {
        self.generation = self.generation.wrapping_add(1);
        let index = self.conns.vacant_key();
        let id = QuicId {
            index: u32::try_from(index).unwrap_or(NONE),
            generation: self.generation,
        };
        let remote = quic.remote_address();
        self.name(handle, id);
        self.conns.insert(Box::new(Conn {
            id,
            handle,
            quic,
            socket,
            remote,
            stage: Stage::Handshake,
            dirty: false,
            drained: false,
            timer: None,
            by,
            info: None,
            server_name: None,
            others: VecDeque::new(),
            until: None,
            early: false,
            service: self.inner,
            streams: BTreeMap::new(),
            finishing: BTreeSet::new(),
            waiting: [VecDeque::new(), VecDeque::new()],
            lost: None,
            closing: None,
        }));
        self.counters.add(Count::Begun);
        self.living += 1;
        id
    }

    /// From now on quinn-proto's handle means this connection.
    fn name(&mut self, handle: ConnectionHandle, id: QuicId) {
        if self.by_handle.len() <= handle.0 {
            self.by_handle.resize(handle.0 + 1, NONE);
        }
        self.by_handle[handle.0] = id.index;
    }

    /// The connection has something to send, or a timer that changed: at the end of this turn.
    fn mark(&mut self, context: &mut Context<'_>, id: QuicId) {
        let Some(conn) = self.conn(id) else { return };
        let socket = conn.socket;
        if !std::mem::replace(&mut conn.dirty, true) {
            self.dirty.push_back(id);
            context.notify_turn_end(socket);
        }
    }

    /// quinn-proto forgets the connection at once, where it is not to end in its own time.
    fn drop_quic(&mut self, id: QuicId) {
        let Some(conn) = self.conn(id) else { return };
        if std::mem::replace(&mut conn.drained, true) {
            return;
        }
        let handle = conn.handle;
        if let Some(running) = &mut self.running {
            let _ = running.endpoint.handle_event(handle, EndpointEvent::drained());
        }
        if let Some(place) = self.by_handle.get_mut(handle.0) {
            *place = NONE;
        }
    }

    /// The connection goes once it is over, quinn-proto has forgotten it, and no stream of it is left.
    fn forget_if_over(&mut self, context: &mut Context<'_>, id: QuicId) {
        let Some(conn) = self.conn(id) else { return };
        if conn.drained && conn.lost.is_some() && conn.streams.is_empty() {
            let (timer, socket) = (conn.timer.take(), conn.socket);
            if let Some((timer, _)) = timer {
                context.datagrams(socket).cancel_timer(timer);
            }
            self.conns.remove(id.index as usize);
        }
    }

    fn hear(&mut self, heard: Heard) {
        if self.has_listener {
            self.heard.push_back(heard);
        }
    }

    /// The address of this side that the connection's peer knows.
    fn local_of(&self, socket: DatagramId, ip: Option<IpAddr>) -> Option<SocketAddr> {
        let socket = self.sockets.iter().find(|known| known.id == socket)?;
        Some(match ip {
            Some(ip) => SocketAddr::new(ip, socket.local.port()),
            None => socket.local,
        })
    }

    /// Connections that there are now, those that are ending included.
    pub(crate) fn connections(&self) -> usize {
        self.conns.len()
    }

    /// Streams that have a pair now.
    pub(crate) fn streams(&self) -> usize {
        self.lanes.len()
    }
}

/// The place of a direction in `Conn::waiting`.
const fn place(dir: Dir) -> usize {
    match dir {
        Dir::Bi => 0,
        Dir::Uni => 1,
    }
}
