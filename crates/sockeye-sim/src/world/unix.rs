//! Unix sockets of streams within a host, by the rules of Linux's `net/unix/af_unix.c`: a connect is decided within its
//! call, what is written lies at the reader at once, and an end that is closed with bytes unread is a reset.
//!
//! Names are a namespace of each host. A path whose listener is gone without having removed it stays: nobody listens there.

use std::collections::{BTreeMap, VecDeque};
use std::net::Shutdown;

use sockeye_endpoint::UnixName;
use sockeye_event_loop::backend::Readiness;

use super::knobs::Call;
use super::stream::{ConnectState, Listener};
use super::{Failed, NONE, UNSPECIFIED, World};
use crate::errno;
use crate::mutant::Mutant;
use crate::trace::Step;

/// What a socket of a pair may have under way, unread: Linux's `net.core.wmem_default`, about.
const SEND_BUFFER: usize = 208 * 1024;

/// What a stream over a Unix socket has beside other streams.
#[derive(Debug)]
pub(crate) struct UnixEnd {
    /// The names of both sides.
    pub(crate) local: UnixName,
    pub(crate) remote: UnixName,
}

/// Who has a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Holder {
    Listener(u32),
    Datagram(u32),
    /// Nobody any more: a path that was left behind.
    Gone,
}

/// What sockets are for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Kind {
    Streams,
    Datagrams,
}

/// A path is one thing, whatever is bound there; an abstract name is looked up with the type of the socket.
type Key = (UnixName, Option<Kind>);

fn key(name: &UnixName, kind: Kind) -> Key {
    (*name, name.as_path_bytes().is_none().then_some(kind))
}

/// The names of a host that are taken.
#[derive(Debug, Default)]
pub(crate) struct Names {
    taken: BTreeMap<Key, Holder>,
    /// Counts the names that the kernel made up.
    made_up: u32,
}

impl Names {
    /// Whether a socket may be bound there.
    fn is_free(&self, key: &Key, take_over: bool) -> bool {
        match self.taken.get(key) {
            None => true,
            Some(Holder::Gone) => take_over,
            Some(_) => false,
        }
    }

    /// Gives a socket of datagrams a name, its own or a made-up one.
    pub(super) fn bind_datagram(
        &mut self,
        name: &UnixName,
        socket: u32,
        take_over: bool,
    ) -> Result<UnixName, i32> {
        if !self.is_free(&key(name, Kind::Datagrams), take_over) {
            return Err(errno::EADDRINUSE);
        }
        let name = if *name == UnixName::UNNAMED {
            self.make_up(Kind::Datagrams)
        } else {
            *name
        };
        self.taken
            .insert(key(&name, Kind::Datagrams), Holder::Datagram(socket));
        Ok(name)
    }

    /// The socket of datagrams at a name.
    pub(super) fn datagram_at(&self, name: &UnixName) -> Result<u32, i32> {
        match self.taken.get(&key(name, Kind::Datagrams)) {
            Some(Holder::Datagram(socket)) => Ok(*socket),
            Some(Holder::Listener(_)) => Err(errno::EPROTOTYPE),
            None if name.as_path_bytes().is_some() => Err(errno::ENOENT),
            Some(Holder::Gone) | None => Err(errno::ECONNREFUSED),
        }
    }

    pub(super) fn free_datagram(&mut self, name: &UnixName, socket: u32, unlink: bool) {
        self.free(&key(name, Kind::Datagrams), Holder::Datagram(socket), unlink);
    }

    fn free(&mut self, key: &Key, holder: Holder, unlink: bool) {
        if self.taken.get(key) != Some(&holder) {
            return;
        }
        if unlink || key.1.is_some() {
            self.taken.remove(key);
        } else {
            self.taken.insert(*key, Holder::Gone);
        }
    }

    /// The next abstract name that is free: five hexadecimal digits, as Linux makes them.
    fn make_up(&mut self, kind: Kind) -> UnixName {
        loop {
            self.made_up = self.made_up.wrapping_add(1);
            let digits = format!("{:05x}", self.made_up & 0xf_ffff);
            match UnixName::from_abstract_name(digits.as_bytes()) {
                Ok(name) if !self.taken.contains_key(&key(&name, kind)) => return name,
                _ => {}
            }
        }
    }
}

impl World {
    /// A listener at a name, with what `sockeye-unix` does about a path that is there.
    pub(crate) fn listen_unix(
        &mut self,
        host: u16,
        name: &UnixName,
        backlog: usize,
        take_over: bool,
        unlink: bool,
    ) -> Result<u32, Failed> {
        self.count_call(host, Call::Socket).map_err(Failed::Open)?;
        self.take_descriptor(host).map_err(Failed::Open)?;
        let counted = self.count_call(host, Call::Listen).map_err(Failed::Listen);
        let anywhere = self.mutated(Mutant::UnixNameAlwaysFree);
        let names = &mut self.hosts[usize::from(host)].unix;
        let free = anywhere || names.is_free(&key(name, Kind::Streams), take_over);
        let outcome = counted.and(if free {
            Ok(())
        } else {
            Err(Failed::Bind(errno::EADDRINUSE))
        });
        if let Err(failed) = outcome {
            self.give_descriptor(host);
            return Err(failed);
        }
        let repeats = self.mutated(Mutant::UnixNamesRepeat);
        let names = &mut self.hosts[usize::from(host)].unix;
        if repeats {
            *names = Names::default();
        }
        let name = if *name == UnixName::UNNAMED {
            names.make_up(Kind::Streams)
        } else {
            *name
        };
        let index = u32::try_from(self.listeners.len()).unwrap_or(NONE);
        names
            .taken
            .insert(key(&name, Kind::Streams), Holder::Listener(index));
        self.listeners.push(Listener {
            in_use: true,
            host,
            token: u64::MAX,
            queued: false,
            local: UNSPECIFIED,
            v6_only: false,
            backlog,
            waiting: VecDeque::new(),
            unix: Some((name, unlink)),
        });
        Ok(index)
    }

    /// connect(2): decided when it returns.
    pub(crate) fn connect_unix(&mut self, host: u16, name: &UnixName) -> Result<u32, Failed> {
        self.count_call(host, Call::Socket).map_err(Failed::Open)?;
        self.take_descriptor(host).map_err(Failed::Open)?;
        let counted = self.count_call(host, Call::Connect);
        match counted.and_then(|()| self.find_unix(host, name)) {
            Ok(listener) => Ok(self.connect_unix_ends(host, listener, *name)),
            Err(number) => {
                self.give_descriptor(host);
                Err(Failed::Connect(number))
            }
        }
    }

    /// The listener at a name, if it has room for one more.
    fn find_unix(&self, host: u16, name: &UnixName) -> Result<u32, i32> {
        let names = &self.hosts[usize::from(host)].unix;
        let listener = match names.taken.get(&key(name, Kind::Streams)) {
            Some(Holder::Listener(listener)) => *listener,
            Some(Holder::Datagram(_)) => return Err(errno::EPROTOTYPE),
            Some(Holder::Gone) => return Err(errno::ECONNREFUSED),
            None if name.as_path_bytes().is_some() && !self.mutated(Mutant::UnixMissingRefuses) => {
                return Err(errno::ENOENT);
            }
            None => return Err(errno::ECONNREFUSED),
        };
        let slot = &self.listeners[listener as usize];
        // `unix_recvq_full`: one more than the backlog says.
        if slot.waiting.len() > slot.backlog && !self.mutated(Mutant::UnixBacklogUnbounded) {
            return Err(errno::EAGAIN);
        }
        Ok(listener)
    }

    fn connect_unix_ends(&mut self, host: u16, listener: u32, name: UnixName) -> u32 {
        let (client, server) = (self.new_stream(host), self.new_stream(host));
        let remote = if self.mutated(Mutant::UnixPeerIsUnnamed) {
            UnixName::UNNAMED
        } else {
            name
        };
        for (this, peer, local, remote) in [
            (client, server, UnixName::UNNAMED, remote),
            (server, client, name, UnixName::UNNAMED),
        ] {
            let peer_generation = self.streams[peer as usize].generation;
            let slot = &mut self.streams[this as usize];
            slot.state = ConnectState::Established;
            slot.peer = peer;
            slot.peer_generation = peer_generation;
            slot.tx_limit = SEND_BUFFER;
            slot.open = true;
            slot.unix = Some(Box::new(UnixEnd { local, remote }));
        }
        let slot = &mut self.streams[server as usize];
        slot.open = false;
        slot.listener = listener;
        self.listeners[listener as usize].waiting.push_back(server);
        self.step(Step::Connect, client, u64::from(listener));
        self.wake_listener(listener);
        client
    }

    /// The name of a listener is free again, or its path stays behind.
    pub(crate) fn free_unix_name(&mut self, listener: u32) {
        let slot = &mut self.listeners[listener as usize];
        let Some((name, unlink)) = slot.unix.take() else {
            return;
        };
        let host = slot.host;
        let stays = self.mutated(Mutant::UnixNameNeverFree);
        let names = &mut self.hosts[usize::from(host)].unix;
        if stays {
            names.taken.insert(key(&name, Kind::Streams), Holder::Gone);
        } else {
            names.free(&key(&name, Kind::Streams), Holder::Listener(listener), unlink);
        }
    }

    /// Bytes that this end may still write: what the other one has not read counts.
    fn unix_room(&self, stream: u32) -> usize {
        let slot = &self.streams[stream as usize];
        let unread = self
            .peer_of(stream)
            .map_or(0, |peer| self.streams[peer as usize].rx.len());
        slot.tx_limit.saturating_sub(unread)
    }

    /// `unix_writable`: no more than a quarter is under way.
    fn unix_is_writable(&self, stream: u32) -> bool {
        let limit = self.streams[stream as usize].tx_limit;
        (limit - self.unix_room(stream).min(limit)) * 4 <= limit
    }

    /// What a read with an empty buffer says: `unix_stream_read_generic`.
    pub(crate) fn read_nothing_unix(&mut self, stream: u32) -> Result<usize, i32> {
        let slot = &mut self.streams[stream as usize];
        match std::mem::take(&mut slot.error) {
            0 if slot.is_read_shut() => Ok(0),
            0 => Err(errno::EAGAIN),
            number => Err(number),
        }
    }

    /// The reader has taken something: who had no room may have some.
    pub(crate) fn room_was_made_unix(&mut self, stream: u32) {
        if let Some(peer) = self.peer_of(stream)
            && self.streams[peer as usize].no_space
            && self.unix_is_writable(peer)
            && !self.mutated(Mutant::DrainIsSilent)
        {
            self.streams[peer as usize].no_space = false;
            self.wake_stream(peer);
        }
    }

    /// write(2) of what a stream over a Unix socket has room for: `unix_stream_sendmsg`.
    pub(crate) fn write_unix(&mut self, stream: u32, data: &[u8]) -> Result<usize, i32> {
        // A reset is for the reader: who writes hears that nobody reads.
        let shut = self.streams[stream as usize].is_write_shut();
        let peer = self.peer_of(stream);
        let Some(peer) = peer.filter(|&peer| !shut && !self.streams[peer as usize].read_shut) else {
            return Err(errno::EPIPE);
        };
        let count = data.len().min(self.unix_room(stream));
        if count < data.len() {
            self.streams[stream as usize].no_space = true;
        }
        if count == 0 && !data.is_empty() {
            return Err(errno::EAGAIN);
        }
        if count > 0 {
            self.streams[peer as usize].rx.push(&data[..count]);
            self.wake_stream(peer);
        }
        self.trace.step(self.now, Step::Write, stream, count as u64);
        Ok(count)
    }

    /// shutdown(2): what one side does not read the other does not write, and the other way round.
    pub(crate) fn shutdown_unix(&mut self, stream: u32, how: Shutdown) {
        let (read, write) = match how {
            Shutdown::Read => (true, false),
            Shutdown::Write => (false, true),
            Shutdown::Both => (true, true),
        };
        let slot = &mut self.streams[stream as usize];
        slot.read_shut |= read;
        slot.write_shut |= write;
        self.wake_stream(stream);
        if let Some(peer) = self.peer_of(stream) {
            let slot = &mut self.streams[peer as usize];
            slot.fin_received |= write;
            slot.write_shut |= read;
            self.wake_stream(peer);
        }
    }

    /// close(2): the other side sees an end, or with bytes unread a reset.
    pub(crate) fn close_unix(&mut self, stream: u32) {
        let slot = &self.streams[stream as usize];
        // Who was never accepted leaves a reset too.
        let reset =
            (!slot.rx.is_empty() || slot.listener != NONE) && !self.mutated(Mutant::UnixCloseUnreadIsEnd);
        if let Some(peer) = self.peer_of(stream) {
            let slot = &mut self.streams[peer as usize];
            slot.fin_received = true;
            slot.write_shut = true;
            if reset {
                slot.error = errno::ECONNRESET;
            }
            self.wake_stream(peer);
        }
        self.forget_stream(stream);
    }

    /// `unix_poll`, in the flags that mio makes of epoll's.
    pub(crate) fn unix_flags(&mut self, stream: u32) -> Readiness {
        let writable = self.unix_is_writable(stream);
        let slot = &mut self.streams[stream as usize];
        let mut flags = Readiness::NONE;
        if !slot.rx.is_empty() {
            flags = flags.with(Readiness::READABLE);
        }
        if slot.is_read_shut() {
            flags = flags.with(Readiness::READABLE).with(Readiness::READ_CLOSED);
        }
        if slot.is_read_shut() && slot.is_write_shut() {
            flags = flags.with(Readiness::WRITE_CLOSED);
        }
        if slot.error != 0 {
            flags = flags.with(Readiness::ERROR).with(Readiness::WRITE_CLOSED);
        }
        if writable {
            flags = flags.with(Readiness::WRITABLE);
        } else {
            slot.no_space = true;
        }
        flags
    }
}
