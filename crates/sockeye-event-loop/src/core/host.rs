//! What handles may ask of the loop: each answered by the part of the core that knows.

use std::any::Any;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use sockeye_endpoint::UnixName;
use sockeye_socket::{OpError, Outgoing};

use super::link::{Link, NO_LISTENER, state};
use super::table::{Entry, Socket};
use super::{Inner, Pending, duty};
use crate::backend::{Backend, ListenerIo, StreamIo};
use crate::connect::{ConnectId, ConnectRequest};
use crate::host::{Due, Host};
use crate::id::{ServiceKey, TimerId, Token};
#[cfg(feature = "resolver")]
use crate::names::{Asker, HostNames};
use crate::options::{
    DatagramOptions, Deadlines, ListenOptions, PairOptions, StreamOption, UnixListenOptions, Watermarks,
};
use crate::outcome::{ConnectFailure, Identity, Message, PairError, Peer, PeerName, Sent, SwitchError};
use crate::pair::Wire;
use crate::stats::Stats;
use crate::time::Time;

impl<B: Backend> Host for Inner<B> {
    fn now(&mut self) -> Time {
        Self::now(self)
    }

    fn exact_now(&mut self) -> Time {
        self.backend.now()
    }

    fn random(&mut self) -> u64 {
        self.backend.random()
    }

    fn stats(&self) -> Stats {
        Stats {
            turns: self.shared.turn,
            memory: self.shared.memory.used as u64,
            memory_peak: self.shared.memory.peak as u64,
            open: self.connections() as u64,
            ..self.shared.stats
        }
    }

    fn stop(&mut self) {
        self.shared.duties |= duty::STOP;
    }

    fn is_draining(&self) -> bool {
        self.shared.has(duty::DRAIN)
    }

    fn simulated_seed(&mut self) -> Option<[u8; 32]> {
        if self.backend.has_system() {
            return None;
        }
        let mut seed = [0; 32];
        for word in seed.chunks_exact_mut(8) {
            word.copy_from_slice(&self.backend.random().to_le_bytes());
        }
        Some(seed)
    }

    fn set_timer(&mut self, at: Time, due: Due) -> TimerId {
        self.shared.timers.set(at, due)
    }

    fn cancel_timer(&mut self, id: TimerId) -> bool {
        self.shared.timers.cancel(id)
    }

    fn is_stream(&self, token: Token) -> bool {
        matches!(self.table.get(token), Some(Entry { link, socket: Socket::Stream(_) }) if !link.is(state::CONNECTING))
    }

    fn service_of(&self, token: Token) -> Option<u16> {
        self.table.link(token).map(|link| link.service)
    }

    fn send(&mut self, token: Token, data: &[u8]) -> Sent {
        self.write(token, data)
    }

    fn send_shared(&mut self, token: Token, data: &Arc<[u8]>) -> Sent {
        self.write_shared(token, data)
    }

    fn send_file(&mut self, token: Token, file: &Arc<File>, offset: u64, len: u64) -> Sent {
        self.write_file(token, file, offset, len)
    }

    fn queued(&self, token: Token) -> usize {
        self.table.link(token).map_or(0, |link| link.queued())
    }

    fn set_watermarks(&mut self, token: Token, watermarks: Watermarks) {
        let longest = self
            .options_of(token)
            .map_or(0, |options| options.watermarks.max_tail);
        if let Some((link, _)) = self.table.stream(token) {
            // The read buffer was made for the service's longest tail.
            let max_tail = watermarks.max_tail.min(longest);
            link.extra().watermarks = Some(Watermarks {
                max_tail,
                ..watermarks
            });
            if watermarks.is_tight() {
                link.set(state::TIGHT);
            } else {
                link.clear(state::TIGHT);
            }
        }
    }

    fn notify_writable(&mut self, token: Token) {
        let low = self.watermarks_of(token).low;
        let Some(link) = self.table.link_mut(token) else {
            return;
        };
        let asked = link.is(state::NOTIFY);
        link.set(state::NOTIFY);
        if link.queued() <= low && !asked {
            self.owe_writable(token);
        }
    }

    fn is_reading(&self, token: Token) -> bool {
        let stopped = state::NO_READ | state::CLOSING | state::DEAD | state::JOINED;
        let marks = self.watermarks_of(token);
        let high = self.shared.memory.high_mark(&marks);
        let open = |link: &Link| !link.is(stopped) && link.queued() < high;
        self.table.link(token).is_some_and(open)
    }

    fn pause(&mut self, token: Token) {
        if let Some((link, _)) = self.table.stream(token)
            && !link.is(state::CLOSING | state::JOINED)
        {
            link.set(state::PAUSED);
        }
    }

    fn resume(&mut self, token: Token) {
        let turn = self.shared.turn;
        let Some((link, _)) = self.table.stream(token) else {
            return;
        };
        if link.is(state::PAUSED) {
            link.clear(state::PAUSED);
            // The peer was not asked for anything while we did not listen.
            link.last_read = turn;
            self.read_on(token);
            self.rearm_deadline(token);
        }
    }

    fn shutdown_write(&mut self, token: Token) {
        self.shutdown_write_now(token);
    }

    fn close(&mut self, token: Token) {
        self.close_in_order(token);
    }

    fn abort(&mut self, token: Token) {
        self.abort_now(token);
    }

    fn abort_with(&mut self, token: Token, error: io::Error) {
        if let Some((_, Wire::Pair(end))) = self.table.stream(token) {
            end.set_fault(error);
        }
        self.abort_now(token);
    }

    fn shutdown_write_with(&mut self, token: Token, error: io::Error) {
        if let Some((_, Wire::Pair(end))) = self.table.stream(token) {
            end.set_fault(error);
        }
        self.shutdown_write(token);
    }

    fn is_closing(&self, token: Token) -> bool {
        self.table.link(token).is_some_and(|link| link.is(state::CLOSING))
    }

    fn join(&mut self, a: Token, b: Token) -> bool {
        self.join_now(a, b)
    }

    fn set_deadlines(&mut self, token: Token, deadlines: Deadlines) {
        let turn = self.shared.turn;
        let Some((link, _)) = self.table.stream(token) else {
            return;
        };
        link.last_read = turn;
        link.last_write = turn;
        link.extra().deadlines = Some(deadlines);
        self.arm_deadline(token);
    }

    fn set_stream_option(&mut self, token: Token, option: &StreamOption) -> io::Result<()> {
        match self.table.stream(token) {
            Some((_, stream)) => stream.set_option(option),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn peer_addr(&self, token: Token) -> Option<SocketAddr> {
        self.table.link(token).and_then(|link| link.peer)
    }

    fn peer(&self, token: Token) -> Option<Peer> {
        let Entry { link, socket } = self.table.get(token)?;
        let Socket::Stream(wire) = socket else { return None };
        if let Some(identity) = link.identity() {
            return Some(identity.peer);
        }
        if let Wire::Pair(_) = wire {
            return Some(Peer::Pair);
        }
        match (link.peer, wire.unix_peer()) {
            (_, Some((name, credentials))) => Some(Peer::Unix { name, credentials }),
            (peer, None) => peer.map(Peer::Ip),
        }
    }

    fn local_unix(&self, token: Token) -> io::Result<UnixName> {
        if let Some(identity) = self.table.link(token).and_then(Link::identity) {
            return match identity.local {
                Some(PeerName::Unix(name)) => Ok(name),
                Some(PeerName::Ip(_)) | None => Err(io::ErrorKind::Unsupported.into()),
            };
        }
        match self.table.get(token).map(|entry| &entry.socket) {
            Some(Socket::Stream(stream)) => stream.local_unix(),
            Some(Socket::Listener(listener)) => listener.io.local_unix(),
            Some(Socket::Message(socket)) => socket.io.local_unix(),
            Some(Socket::Vacant) | None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn local_addr(&self, token: Token) -> io::Result<SocketAddr> {
        if let Some(identity) = self.table.link(token).and_then(Link::identity) {
            return match identity.local {
                Some(PeerName::Ip(address)) => Ok(address),
                Some(PeerName::Unix(_)) | None => Err(io::ErrorKind::Unsupported.into()),
            };
        }
        match self.table.get(token).map(|entry| &entry.socket) {
            Some(Socket::Stream(stream)) => stream.local_addr(),
            Some(Socket::Listener(listener)) => listener.io.local_addr(),
            Some(Socket::Message(socket)) => socket.io.local_addr(),
            Some(Socket::Vacant) | None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn answer_as(&mut self, token: Token, identity: Identity) {
        if let Some((link, _)) = self.table.stream(token) {
            link.peer = match identity.peer {
                Peer::Ip(address) => Some(address),
                Peer::Unix { .. } | Peer::Pair => None,
            };
            link.extra().identity = Some(Box::new(identity));
        }
    }

    fn attach(&mut self, token: Token, value: Rc<dyn Any>) {
        if let Some((link, _)) = self.table.stream(token) {
            let attached = &mut link.extra().attached;
            attached.retain(|other| (**other).type_id() != (*value).type_id());
            attached.push(value);
        }
    }

    fn attached(&self, token: Token) -> &[Rc<dyn Any>] {
        let extra = self.table.link(token).and_then(|link| link.extra.as_ref());
        extra.map_or(&[], |extra| &extra.attached)
    }

    fn tag(&self, token: Token) -> u64 {
        self.table
            .link(token)
            .and_then(|link| link.extra.as_ref())
            .map_or(0, |extra| extra.tag)
    }

    fn owner(&self, token: Token) -> u32 {
        self.owner_of(token)
    }

    fn message(&mut self, token: Token, message: Message) -> bool {
        let there = self
            .table
            .link(token)
            .is_some_and(|link| !link.is(state::DEAD | state::CLOSING | state::JOINED));
        if there {
            self.shared.pending.push_back(Pending::Message(token, message));
        }
        there
    }

    #[cfg(feature = "tcp")]
    fn tcp(&mut self, token: Token) -> Option<&sockeye_tcp_stream::TcpStream> {
        let (link, stream) = self.table.stream(token)?;
        link.set(state::EXPOSED);
        stream.tcp()
    }

    #[cfg(feature = "unix")]
    fn unix(&mut self, token: Token) -> Option<&sockeye_unix::UnixStream> {
        let (link, stream) = self.table.stream(token)?;
        link.set(state::EXPOSED);
        stream.unix()
    }

    #[cfg(feature = "tcp")]
    fn detach(&mut self, token: Token) -> Option<sockeye_tcp_stream::TcpStream> {
        let Entry { link, socket } = self.table.get_mut(token)?;
        if link.is(state::NO_DIRECT_WRITE) || link.queued() > 0 {
            return None;
        }
        if !matches!(socket, Socket::Stream(Wire::World(_))) {
            return None;
        }
        let Socket::Stream(Wire::World(mut stream)) = std::mem::replace(socket, Socket::Vacant) else {
            return None;
        };
        // The new owner keeps the descriptor: the poller must not.
        let _ = self
            .backend
            .deregister(crate::backend::SocketRef::Stream(&mut stream));
        match stream.into_tcp() {
            Ok(stream) => {
                self.finish(token, crate::outcome::CloseReason::Detached);
                Some(stream)
            }
            Err(mut stream) => {
                let _ = self
                    .backend
                    .register(crate::backend::SocketRef::Stream(&mut stream), token);
                if let Some(entry) = self.table.get_mut(token) {
                    entry.socket = Socket::Stream(Wire::World(stream));
                }
                None
            }
        }
    }

    fn pair(
        &mut self,
        first: ServiceKey,
        second: ServiceKey,
        options: &PairOptions,
    ) -> Result<[Token; 2], PairError> {
        self.pair_now(first, second, options)
    }

    fn switch(&mut self, token: Token, to: ServiceKey) -> Result<(), SwitchError> {
        self.switch_now(token, to)
    }

    fn fail_connect(&mut self, service: u16, failure: ConnectFailure) {
        let pending = Pending::ConnectFailed(service, failure);
        self.shared.pending.push_back(pending);
    }

    fn lose_listener(&mut self, service: u16, listener: Token, error: io::Error) {
        let pending = Pending::ListenerLost(service, listener, error);
        self.shared.pending.push_back(pending);
    }

    fn has_streams(&self, service: ServiceKey) -> bool {
        Self::has_streams(self, service)
    }

    fn connect(&mut self, service: u16, request: ConnectRequest) -> ConnectId {
        self.connect_now(service, request)
    }

    fn cancel_connect(&mut self, id: ConnectId) -> bool {
        self.cancel_connect_now(id)
    }

    fn listen(&mut self, service: u16, at: SocketAddr, options: &ListenOptions) -> Result<Token, OpError> {
        self.listen_now(service, at, options)
    }

    fn listen_unix(
        &mut self,
        service: u16,
        at: &UnixName,
        options: &UnixListenOptions,
    ) -> Result<Token, OpError> {
        self.listen_unix_now(service, at, options)
    }

    fn adopt_listener(&mut self, service: u16, socket: OwnedFd, max: usize) -> Result<Token, OpError> {
        self.adopt_listener_now(service, socket, max)
    }

    fn adopt_datagram(
        &mut self,
        service: u16,
        socket: OwnedFd,
        options: &DatagramOptions,
    ) -> Result<Token, OpError> {
        self.adopt_datagram_now(service, socket, options)
    }

    fn set_acceptor(&mut self, listener: Token, service: u16) {
        if let Some(Entry {
            link,
            socket: Socket::Listener(_),
        }) = self.table.get_mut(listener)
        {
            link.service = service;
        }
    }

    fn close_listener(&mut self, token: Token) {
        self.close_listener_now(token);
    }

    fn listener_of(&self, token: Token) -> Option<Token> {
        let link = self.table.link(token)?;
        if link.listener == NO_LISTENER {
            let through = link.extra.as_ref()?.through;
            let entry = self.table.get(through)?;
            return matches!(entry.socket, Socket::Listener(_)).then_some(through);
        }
        let entry = self.table.entries.get(link.listener as usize)?;
        matches!(entry.socket, Socket::Listener(_)).then(|| Token::new(link.listener, entry.link.generation))
    }

    fn set_max_connections(&mut self, listener: Token, max: usize) {
        if let Some(Entry {
            socket: Socket::Listener(listener),
            ..
        }) = self.table.get_mut(listener)
        {
            listener.max = max;
            self.wake_listeners();
        }
    }

    fn bind(&mut self, service: u16, at: SocketAddr, options: &DatagramOptions) -> Result<Token, OpError> {
        self.bind_now(service, at, options)
    }

    fn has_datagrams(&self, service: ServiceKey) -> bool {
        self.shared
            .services
            .get(usize::from(service.index))
            .is_some_and(|settings| settings.datagrams == Some(service.kind))
    }

    #[inline]
    fn send_message(&mut self, token: Token, message: &Outgoing<'_>) -> Sent {
        self.send_message_now(token, message)
    }

    fn send_segments(&mut self, token: Token, message: &Outgoing<'_>, size: usize) -> Sent {
        self.send_segments_now(token, message, size)
    }

    fn lend(&mut self, token: Token, max_len: usize) -> Option<&mut [u8]> {
        self.lend_now(token, max_len)
    }

    fn commit(&mut self, token: Token, message: &Outgoing<'_>, len: usize) -> Sent {
        self.commit_now(token, message, len)
    }

    fn unix_name(&self, token: Token, address: SocketAddr) -> Option<UnixName> {
        match self.table.get(token).map(|entry| &entry.socket) {
            Some(Socket::Message(socket)) => socket.io.unix_name(address),
            _ => None,
        }
    }

    fn unix_addr(&mut self, token: Token, name: &UnixName) -> Option<SocketAddr> {
        match self.table.get_mut(token).map(|entry| &mut entry.socket) {
            Some(Socket::Message(socket)) => socket.io.unix_addr(name),
            _ => None,
        }
    }

    fn notify_turn_end(&mut self, token: Token) {
        self.notify_turn_end_now(token);
    }

    fn hold_drain(&mut self, token: Token, on: bool) {
        self.hold_drain_now(token, on);
    }

    fn must_flush(&self) -> bool {
        self.must_flush_now()
    }

    fn close_socket(&mut self, token: Token) {
        self.close_socket_now(token);
    }

    #[cfg(feature = "resolver")]
    fn host_names(&mut self) -> HostNames {
        self.backend.names()
    }

    #[cfg(feature = "resolver")]
    fn name_randomness(&mut self) -> Box<dyn FnMut() -> u64 + Send> {
        if self.backend.has_system() {
            return Box::new(sockeye_resolver::dns::os_random());
        }
        let mut state = self.backend.random();
        Box::new(move || {
            // SplitMix64 (Steele, Lea, Flood 2014).
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        })
    }

    #[cfg(feature = "resolver")]
    fn resolved(&mut self, connect: ConnectId, event: sockeye_resolver::dns::Event) {
        self.resolved_now(connect, event);
    }

    #[cfg(feature = "resolver")]
    fn answered(&mut self, service: u16, event: sockeye_resolver::dns::Event) {
        self.shared
            .pending
            .push_back(Pending::Answered(service, Box::new(event)));
    }

    #[cfg(feature = "resolver")]
    fn resolve(
        &mut self,
        service: u16,
        request: sockeye_resolver::dns::Request,
    ) -> Result<sockeye_resolver::dns::LookupId, sockeye_resolver::dns::StartError> {
        self.resolve_now(request, Asker::Service(service))
    }

    #[cfg(feature = "resolver")]
    fn cancel_resolve(&mut self, id: sockeye_resolver::dns::LookupId) -> bool {
        self.cancel_resolve_now(id)
    }

    #[cfg(feature = "udp")]
    fn udp(&self, token: Token) -> Option<&sockeye_udp_datagram::UdpSocket> {
        match self.table.get(token).map(|entry| &entry.socket) {
            Some(Socket::Message(socket)) => socket.io.udp(),
            _ => None,
        }
    }
}
