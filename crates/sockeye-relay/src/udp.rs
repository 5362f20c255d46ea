//! Flows of datagrams: each client of a `udp://` listener has a connected socket to its backend, until it has been silent
//! for long enough.
//!
//! What a batch brings for one flow in one size leaves in one call, so that a run that the kernel had merged (GRO) is
//! segmented by it again (GSO).

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use slab::Slab;
use sockeye_event_loop::{
    CloseReason, Context, Datagram, DatagramId, DatagramOptions, DatagramService, Datagrams, Outgoing,
    SendFailure, ServiceHandle, Time, TimerId,
};

use crate::flows::Recency;
use crate::pool::{Nobody, Place};
use crate::record::SessionEnd;
use crate::shared::{Opened, Shared, Visit};

/// The timer of a listener's socket: who has been silent for too long?
const IDLE: u64 = 1;
/// A flow that has been silent for so long has nothing that a drain would wait for: an answer is on its way for less.
const QUIET: Duration = Duration::from_secs(1);
/// Datagrams that leave in one call: what the kernel segments at most on every release that can at all.
const RUN: usize = 64;
/// Bytes of them: the longest UDP payload of IPv4.
const RUN_BYTES: usize = 65_507;

/// Who a flow is: the listener, the client, and the address that it asked.
type Client = (usize, SocketAddr, Option<IpAddr>);

#[derive(Debug)]
struct Flow {
    visit: Visit,
    socket: DatagramId,
    client: Client,
}

/// The flows of one listener.
#[derive(Debug)]
struct Port {
    listener: usize,
    recency: Recency,
    /// When to look for those that have been silent for too long.
    timer: Option<TimerId>,
}

/// Datagrams for one destination that are sent together.
#[derive(Debug)]
struct Run {
    by: DatagramId,
    flow: usize,
    to: Option<SocketAddr>,
    from: Option<IpAddr>,
    size: usize,
    count: usize,
    bytes: Vec<u8>,
    /// A shorter one was the last: none may follow.
    closed: bool,
}

/// All flows of a relay.
#[derive(Debug, Default)]
pub(crate) struct Udp {
    /// The service that this belongs to.
    pub(crate) own: Option<ServiceHandle<UdpService>>,
    flows: Slab<Flow>,
    by_client: HashMap<Client, usize>,
    by_socket: HashMap<DatagramId, usize>,
    ports: BTreeMap<DatagramId, Port>,
    run: Option<Run>,
}

impl Udp {
    pub(crate) fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// Opens a listener's socket, or takes one that is open already.
    pub(crate) fn listen(
        &mut self,
        cx: &mut Context<'_>,
        listener: usize,
        at: SocketAddr,
        inherited: Option<OwnedFd>,
    ) -> Result<DatagramId, sockeye_event_loop::OpError> {
        let options = DatagramOptions {
            // Otherwise there is only one address that replies could leave from.
            packet_info: at.ip().is_unspecified(),
            ..DatagramOptions::default()
        };
        let Some(own) = self.own else {
            let error = io::ErrorKind::NotConnected.into();
            return Err(sockeye_event_loop::OpError::new(
                sockeye_event_loop::Op::Bind,
                sockeye_endpoint::Transport::Udp,
                error,
            ));
        };
        let id = match inherited {
            Some(socket) => cx.adopt_datagrams_for(own, socket, &options),
            None => cx.bind_for(own, at, &options),
        }?;
        let port = Port {
            listener,
            recency: Recency::default(),
            timer: None,
        };
        self.ports.insert(id, port);
        Ok(id)
    }

    /// Ends the flows that have been silent for a while already, and from now on each that falls silent: nothing else tells
    /// that a flow has nothing more to say.
    pub(crate) fn drain(&mut self, shared: &mut Shared, cx: &mut Context<'_>) {
        let ids: Vec<DatagramId> = self.ports.keys().copied().collect();
        for id in ids {
            if let Some(port) = self.ports.get_mut(&id)
                && let Some(timer) = port.timer.take()
            {
                cx.cancel_timer(timer);
            }
            self.expire(shared, cx, id);
        }
    }

    /// Closes the sockets of listeners that leave and have no flow left.
    pub(crate) fn close_unused(&mut self, shared: &mut Shared, cx: &mut Context<'_>) {
        let unused = |(id, port): (&DatagramId, &Port)| {
            let leaving = shared
                .listeners
                .get(port.listener)
                .is_none_or(|listener| listener.leaving);
            (leaving && port.recency.len() == 0).then_some((*id, port.listener))
        };
        let unused: Vec<(DatagramId, usize)> = self.ports.iter().filter_map(unused).collect();
        for (id, key) in unused {
            self.ports.remove(&id);
            cx.close_datagrams(id);
            if let Some(listener) = shared.listeners.get_mut(key) {
                listener.socket = Opened::Closed;
            }
            shared.tidy(key, usize::MAX);
        }
    }

    /// Ends flows whose time is up.
    pub(crate) fn end_those(
        &mut self,
        shared: &mut Shared,
        cx: &mut Context<'_>,
        which: impl Fn(usize, Option<usize>) -> bool,
    ) {
        let over = |(_, flow): &(usize, &Flow)| which(flow.visit.pool, flow.visit.backend);
        let keys: Vec<usize> = self.flows.iter().filter(over).map(|(key, _)| key).collect();
        for key in keys {
            self.end(shared, cx, key, SessionEnd::Drained);
        }
    }

    fn end(&mut self, shared: &mut Shared, cx: &mut Context<'_>, key: usize, end: SessionEnd) {
        let Some(mut flow) = self.flows.try_remove(key) else {
            return;
        };
        let now = cx.now();
        self.by_client.remove(&flow.client);
        self.by_socket.remove(&flow.socket);
        let id = socket_of(shared, flow.client.0);
        if let Some(port) = id.and_then(|id| self.ports.get_mut(&id)) {
            port.recency.remove(index(key));
        }
        cx.close_datagrams(flow.socket);
        flow.visit.ends(end);
        shared.leave(flow.visit, now);
        self.close_unused(shared, cx);
    }

    /// A datagram of a client.
    fn came_from_client(&mut self, shared: &mut Shared, socket: &mut Datagrams<'_>, datagram: &Datagram<'_>) {
        let (id, now) = (socket.id(), socket.now());
        let Some(port) = self.ports.get(&id) else { return };
        let listener = port.listener;
        if let Some(listener) = shared.listeners.get_mut(listener) {
            listener.counters.datagrams_in += 1;
        }
        let client = (listener, datagram.source, datagram.meta.local);
        let known = self.by_client.get(&client).copied();
        let key = known.or_else(|| self.open(shared, socket, client, now));
        let Some((key, flow)) = key.and_then(|key| Some((key, self.flows.get_mut(key)?))) else {
            if let Some(listener) = shared.listeners.get_mut(listener) {
                listener.counters.datagrams_dropped += 1;
            }
            return;
        };
        flow.visit.from_client += datagram.data.len() as u64;
        let by = flow.socket;
        self.touch(shared, socket, id, key, now);
        self.send(shared, socket, (by, key), None, None, datagram.data);
    }

    /// A datagram of a backend.
    fn came_from_backend(
        &mut self,
        shared: &mut Shared,
        socket: &mut Datagrams<'_>,
        key: usize,
        data: &[u8],
    ) {
        let now = socket.now();
        let Some(flow) = self.flows.get_mut(key) else {
            return;
        };
        flow.visit.from_backend += data.len() as u64;
        let (listener, to, from) = flow.client;
        let Some(by) = socket_of(shared, listener) else {
            return;
        };
        if let Some(listener) = shared.listeners.get_mut(listener) {
            listener.counters.datagrams_out += 1;
        }
        self.touch(shared, socket, by, key, now);
        self.send(shared, socket, (by, key), Some(to), from, data);
    }

    /// A flow was active; the first one of a listener sets the timer that looks for those that are not.
    fn touch(&mut self, shared: &Shared, socket: &mut Datagrams<'_>, id: DatagramId, key: usize, now: Time) {
        let Some(port) = self.ports.get_mut(&id) else {
            return;
        };
        port.recency.touch(index(key), now);
        if port.timer.is_none()
            && let Some(silence) = silence(shared, port.listener)
        {
            port.timer = Some(socket.context().datagrams(id).set_timer(silence, IDLE));
        }
    }

    /// A new flow: a backend, and a socket to it.
    fn open(
        &mut self,
        shared: &mut Shared,
        socket: &mut Datagrams<'_>,
        client: Client,
        now: Time,
    ) -> Option<usize> {
        let most = shared.listeners.get(client.0)?.config.udp.max_flows;
        let port = self.ports.get(&socket.id())?;
        if port.recency.len() >= most
            && let Some((oldest, _)) = port.recency.oldest()
        {
            self.flush(shared, socket);
            self.end(
                shared,
                &mut socket.context(),
                oldest as usize,
                SessionEnd::GivenUp,
            );
        }
        let mut visit = shared.arrive(client.0, Some(client.1), 0, now)?;
        if visit.end.is_some() {
            shared.leave(visit, now);
            return None;
        }
        let pool = shared.pools.get_mut(visit.pool)?;
        let backend = match pool.pick(now, visit.hash, &[]) {
            Ok(backend) => backend,
            Err(nobody) => {
                visit.ends(match nobody {
                    Nobody::Full => SessionEnd::AllFull,
                    _ => SessionEnd::AllDown,
                });
                shared.leave(visit, now);
                return None;
            }
        };
        shared.tries(&mut visit, backend);
        let Some(id) = self.bind(shared, socket, &visit) else {
            shared.not_reached(&mut visit, false, now);
            visit.ends(SessionEnd::NoRoom);
            if let Some(listener) = shared.listeners.get_mut(client.0) {
                listener.counters.no_socket += 1;
            }
            shared.leave(visit, now);
            return None;
        };
        shared.serves(&mut visit, now);
        let key = self.flows.insert(Flow {
            visit,
            socket: id,
            client,
        });
        self.by_client.insert(client, key);
        self.by_socket.insert(id, key);
        Some(key)
    }

    /// A socket that is connected to the backend of a visit.
    fn bind(&self, shared: &Shared, socket: &mut Datagrams<'_>, visit: &Visit) -> Option<DatagramId> {
        let backend = shared.pools.get(visit.pool)?.backend(visit.backend?)?;
        let Place::Ip(addresses) = &backend.place else {
            return None;
        };
        let address = *addresses.first()?;
        let any: IpAddr = match address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let options = DatagramOptions {
            connect: Some(address),
            ..DatagramOptions::default()
        };
        socket
            .context()
            .bind_for(self.own?, SocketAddr::new(any, 0), &options)
            .ok()
    }

    /// Sends a datagram by another socket, together with those before and after it that go the same way.
    fn send(
        &mut self,
        shared: &mut Shared,
        socket: &mut Datagrams<'_>,
        (by, flow): (DatagramId, usize),
        to: Option<SocketAddr>,
        from: Option<IpAddr>,
        data: &[u8],
    ) {
        let fits = |run: &Run| {
            run.by == by
                && run.flow == flow
                && !run.closed
                && run.count < RUN
                && (1..=run.size).contains(&data.len())
                && run.bytes.len() + data.len() <= RUN_BYTES
        };
        if !self.run.as_ref().is_some_and(fits) {
            self.flush(shared, socket);
        }
        let run = self.run.get_or_insert_with(|| Run {
            by,
            flow,
            to,
            from,
            size: data.len(),
            count: 0,
            bytes: Vec::new(),
            closed: false,
        });
        run.count += 1;
        run.bytes.extend_from_slice(data);
        run.closed = data.len() < run.size || data.is_empty();
    }

    /// Sends what has been put together.
    fn flush(&mut self, shared: &mut Shared, socket: &mut Datagrams<'_>) {
        let Some(run) = self.run.take() else { return };
        let message = match run.to {
            Some(to) => Outgoing::to(to, &run.bytes),
            None => Outgoing::connected(&run.bytes),
        };
        let message = match run.from {
            Some(from) => message.source(from),
            None => message,
        };
        let sent = socket
            .context()
            .datagrams(run.by)
            .send_segments(&message, run.size);
        if !sent.is_taken()
            && let Some(flow) = self.flows.get(run.flow)
            && let Some(listener) = shared.listeners.get_mut(flow.client.0)
        {
            listener.counters.datagrams_dropped += run.count as u64;
        }
    }

    /// Ends the flows of a listener that have been silent for too long, and looks again when the next one may have been.
    fn expire(&mut self, shared: &mut Shared, cx: &mut Context<'_>, id: DatagramId) {
        let now = cx.now();
        let Some(silence) = self
            .ports
            .get(&id)
            .and_then(|port| silence(shared, port.listener))
        else {
            return;
        };
        let end = if shared.draining {
            SessionEnd::Drained
        } else {
            SessionEnd::Idle
        };
        while let Some(key) = self
            .ports
            .get(&id)
            .and_then(|port| port.recency.silent_for(silence, now))
        {
            self.end(shared, cx, key as usize, end);
        }
        if let Some(port) = self.ports.get_mut(&id) {
            let oldest = port.recency.oldest();
            port.timer = oldest.map(|(_, last)| {
                let after = (last + silence).since(now);
                cx.datagrams(id).set_timer(after, IDLE)
            });
        }
    }
}

/// How long a flow of a listener may be silent.
fn silence(shared: &Shared, listener: usize) -> Option<Duration> {
    let idle = shared.listeners.get(listener)?.config.udp.idle;
    Some(if shared.draining { idle.min(QUIET) } else { idle })
}

/// The socket of a listener for datagrams.
fn socket_of(shared: &Shared, listener: usize) -> Option<DatagramId> {
    match shared.listeners.get(listener)?.socket {
        Opened::Datagrams(id) => Some(id),
        Opened::Streams(_) | Opened::Closed => None,
    }
}

/// A flow's key for the order of activity. Flows have descriptors: there are never 2^32 of them.
fn index(key: usize) -> u32 {
    u32::try_from(key).unwrap_or(u32::MAX - 1)
}

/// The relay's datagram service.
pub(crate) struct UdpService {
    pub(crate) shared: Rc<RefCell<Shared>>,
    pub(crate) udp: Rc<RefCell<Udp>>,
}

impl DatagramService for UdpService {
    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        let (shared, udp) = (&mut *self.shared.borrow_mut(), &mut *self.udp.borrow_mut());
        match udp.by_socket.get(&socket.id()).copied() {
            Some(key) => udp.came_from_backend(shared, socket, key, datagram.data),
            None => udp.came_from_client(shared, socket, &datagram),
        }
    }

    fn on_batch_complete(&mut self, socket: &mut Datagrams<'_>) {
        self.udp.borrow_mut().flush(&mut self.shared.borrow_mut(), socket);
    }

    fn on_send_error(&mut self, socket: &mut Datagrams<'_>, failure: SendFailure) {
        // A refusal of an earlier datagram may be told by the next send instead.
        self.on_recv_error(socket, failure.error.into());
    }

    fn on_recv_error(&mut self, socket: &mut Datagrams<'_>, error: io::Error) {
        let udp = &mut *self.udp.borrow_mut();
        let refused = matches!(
            error.kind(),
            io::ErrorKind::ConnectionRefused
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable
        );
        if refused && let Some(key) = udp.by_socket.get(&socket.id()).copied() {
            let shared = &mut *self.shared.borrow_mut();
            udp.end(shared, &mut socket.context(), key, SessionEnd::BackendReset);
        }
    }

    fn on_timer(&mut self, socket: &mut Datagrams<'_>, _: u64) {
        let id = socket.id();
        self.udp
            .borrow_mut()
            .expire(&mut self.shared.borrow_mut(), &mut socket.context(), id);
    }

    fn on_close(&mut self, context: &mut Context<'_>, id: DatagramId, reason: CloseReason) {
        let udp = &mut *self.udp.borrow_mut();
        // Of those that the relay closed itself nothing is known any more.
        if let Some(key) = udp.by_socket.get(&id).copied() {
            let end = match reason {
                CloseReason::LoopEnded => SessionEnd::LoopEnded,
                _ => SessionEnd::BackendReset,
            };
            udp.end(&mut self.shared.borrow_mut(), context, key, end);
        }
    }
}
