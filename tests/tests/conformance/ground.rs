//! What a scenario stands on: a backend, sockets by short names, and a log of everything that came of it.
//!
//! The log is what is compared, so nothing may get into it that differs from run to run on one kernel: no port
//! numbers, no amounts that depend on buffers. Bytes are told together, however they were cut.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use sockeye_event_loop::backend::{
    Backend, ConnectProgress, ListenerIo, MessageIo, Readiness, SocketRef, StreamIo, Token,
};
use sockeye_event_loop::{
    ConnectOptions, DatagramOptions, ListenOptions, OpError, PacketOptions, StreamOption,
    UnixDatagramOptions, UnixListenOptions, UnixName,
};
use sockeye_socket::{Cause, Outgoing, QueueEntry, RecvBatch, SendBatch};

/// How long something that is expected may take, and how long nothing has to happen for it to be said.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
pub(crate) const QUIET: Duration = Duration::from_millis(40);

/// Lets time pass until the backend may have something to tell: by waiting, or by simulating.
pub(crate) trait Pass<B: Backend> {
    /// Waits for the next event or for `limit`; `false` when `limit` has passed.
    fn pass(&mut self, backend: &mut B, events: &mut B::Events, limit: Duration) -> bool;

    /// Lets the program open so many descriptors more and no others; `None` is as many as before.
    fn limit_descriptors(&mut self, more: Option<usize>);
}

/// A listener, stream, datagram or packet socket of the scenario, by the order in which it was made.
pub(crate) type Name = usize;

enum Socket<B: Backend> {
    Listener(B::Listener),
    Stream(B::Stream),
    Datagram(B::Datagram),
    Packet(B::Packet),
    Gone,
}

pub(crate) struct Ground<'a, B: Backend> {
    pub(crate) backend: B,
    events: B::Events,
    pass: &'a mut dyn Pass<B>,
    sockets: Vec<Socket<B>>,
    ready: BTreeMap<u64, Readiness>,
    batch: RecvBatch,
    sender: SendBatch,
    pub(crate) log: Vec<String>,
}

/// An error as it is compared: by its name.
pub(crate) fn named(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => errno_name(number),
        None => format!("{:?}", error.kind()),
    }
}

fn errno_name(number: i32) -> String {
    let known = [
        (1, "EPERM"),
        (4, "EINTR"),
        (11, "EAGAIN"),
        (13, "EACCES"),
        (22, "EINVAL"),
        (24, "EMFILE"),
        (32, "EPIPE"),
        (2, "ENOENT"),
        (89, "EDESTADDRREQ"),
        (91, "EPROTOTYPE"),
        (90, "EMSGSIZE"),
        (93, "EPROTONOSUPPORT"),
        (97, "EAFNOSUPPORT"),
        (98, "EADDRINUSE"),
        (99, "EADDRNOTAVAIL"),
        (101, "ENETUNREACH"),
        (104, "ECONNRESET"),
        (105, "ENOBUFS"),
        (107, "ENOTCONN"),
        (110, "ETIMEDOUT"),
        (111, "ECONNREFUSED"),
        (113, "EHOSTUNREACH"),
    ];
    let name = known.iter().find(|(known, _)| *known == number);
    name.map_or_else(|| number.to_string(), |(_, name)| (*name).to_owned())
}

fn failed(error: &OpError) -> String {
    format!("{} {}", error.op(), named(error.io_error()))
}

fn flag_names(flags: Readiness) -> String {
    let names = [
        (Readiness::READABLE, "readable"),
        (Readiness::WRITABLE, "writable"),
        (Readiness::READ_CLOSED, "read-closed"),
        (Readiness::WRITE_CLOSED, "write-closed"),
        (Readiness::ERROR, "error"),
    ];
    let set: Vec<&str> = names
        .iter()
        .filter(|(flag, _)| flags.any(*flag))
        .map(|(_, name)| *name)
        .collect();
    set.join("+")
}

/// Long data by its length and a sum, short data as text.
fn shown(data: &[u8]) -> String {
    if data.len() <= 40 {
        return format!("{:?}", String::from_utf8_lossy(data));
    }
    let sum = data.iter().fold(0_u64, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u64::from(*byte))
    });
    format!("{} bytes, sum {sum:x}", data.len())
}

/// Who is at the other side of a Unix socket, without what differs from run to run.
fn unix_peer(stream: &impl StreamIo) -> String {
    match stream.unix_peer() {
        Some((name, credentials)) => {
            let form = match (name.as_path_bytes(), name.as_abstract_name()) {
                (Some(_), _) => "a path",
                (None, Some(_)) => "an abstract name",
                (None, None) => "no name",
            };
            format!("unix, {form}, known: {}", credentials.is_some())
        }
        None => "nobody".to_owned(),
    }
}

impl<'a, B: Backend> Ground<'a, B> {
    pub(crate) fn new(backend: B, pass: &'a mut dyn Pass<B>) -> Self {
        let events = backend.events(64);
        Self {
            backend,
            events,
            pass,
            sockets: Vec::new(),
            ready: BTreeMap::new(),
            batch: RecvBatch::new(16, 65_536),
            sender: SendBatch::new(16),
            log: Vec::new(),
        }
    }

    pub(crate) fn say(&mut self, line: impl Into<String>) {
        self.log.push(line.into());
    }

    fn add(&mut self, socket: Socket<B>, register: bool) -> Name {
        let name = self.sockets.len();
        self.sockets.push(socket);
        if register {
            self.register(name);
        }
        name
    }

    pub(crate) fn register(&mut self, name: Name) {
        self.poller(name, "register", |backend, socket| {
            backend.register(socket, Token::from_u64(name as u64))
        });
    }

    pub(crate) fn deregister(&mut self, name: Name) {
        self.poller(name, "deregister", Backend::deregister);
    }

    /// Messages of a socket wait for room from now on.
    pub(crate) fn watch_writable(&mut self, name: Name) {
        self.poller(name, "watch", |backend, socket| {
            backend.watch_writable(socket, Token::from_u64(name as u64), true)
        });
    }

    fn poller(
        &mut self,
        name: Name,
        what: &str,
        ask: impl FnOnce(&mut B, SocketRef<'_, B>) -> io::Result<()>,
    ) {
        let socket = match &mut self.sockets[name] {
            Socket::Listener(listener) => SocketRef::Listener(listener),
            Socket::Stream(stream) => SocketRef::Stream(stream),
            Socket::Datagram(socket) => SocketRef::Datagram(socket),
            Socket::Packet(socket) => SocketRef::Packet(socket),
            Socket::Gone => return,
        };
        if let Err(error) = ask(&mut self.backend, socket) {
            self.log.push(format!("{name} {what} {}", named(&error)));
        }
    }

    fn stream(&mut self, name: Name) -> Option<&mut B::Stream> {
        match &mut self.sockets[name] {
            Socket::Stream(stream) => Some(stream),
            _ => None,
        }
    }

    /// Lets the scenario open so many descriptors more; `None` ends the limit.
    pub(crate) fn limit_descriptors(&mut self, more: Option<usize>) {
        self.pass.limit_descriptors(more);
    }

    // Events.

    /// Polls once and remembers what is ready.
    fn gather(&mut self, limit: Duration) -> bool {
        let in_time = self.pass.pass(&mut self.backend, &mut self.events, limit);
        for ready in B::iter(&self.events) {
            let flags = self.ready.entry(ready.token.to_u64()).or_default();
            *flags = flags.with(ready.flags);
        }
        in_time
    }

    /// Waits until the event has one of the flags, and forgets the event. Whether it came.
    fn wait(&mut self, token: u64, flags: Readiness, limit: Duration) -> bool {
        for _ in 0..1000 {
            if self.ready.get(&token).is_some_and(|ready| ready.any(flags)) {
                self.ready.remove(&token);
                return true;
            }
            if !self.gather(limit) {
                break;
            }
        }
        self.ready.get(&token).is_some_and(|ready| ready.any(flags))
    }

    /// Says whether the event comes.
    pub(crate) fn expect(&mut self, name: Name, flags: Readiness) {
        let came = self.wait(name as u64, flags, PATIENCE);
        self.log.push(format!(
            "{name} {} {}",
            flag_names(flags),
            if came { "came" } else { "missing" }
        ));
    }

    /// Says all flags that a socket has at its next event with one of `flags`.
    pub(crate) fn flags_at(&mut self, name: Name, flags: Readiness) {
        self.settle();
        let all = self.ready.get(&(name as u64)).copied().unwrap_or_default();
        let came = self.wait(name as u64, flags, PATIENCE);
        self.log
            .push(format!("{name} flags {} ({came})", flag_names(all)));
    }

    /// Says what was told of a socket since it was asked, apart from these flags.
    #[allow(dead_code, reason = "for calls by chance")]
    pub(crate) fn events_of(&mut self, name: Name, apart_from: &[&str]) {
        let told = self.ready.remove(&(name as u64)).unwrap_or_default();
        let said = flag_names(told);
        let said: Vec<&str> = said
            .split('+')
            .filter(|flag| !flag.is_empty() && !apart_from.contains(flag))
            .collect();
        if !said.is_empty() {
            self.say(format!("{name} told {}", said.join("+")));
        }
    }

    /// Forgets what was told so far.
    #[allow(dead_code, reason = "for calls by chance")]
    pub(crate) fn ignore_events(&mut self) {
        self.ready.clear();
    }

    /// Says whether an event with one of the flags comes although nothing should.
    pub(crate) fn expect_quiet(&mut self, name: Name, flags: Readiness) {
        let came = self.wait(name as u64, flags, QUIET);
        self.log.push(format!(
            "{name} {} {}",
            flag_names(flags),
            if came { "came" } else { "quiet" }
        ));
    }

    /// Lets everything that is on its way arrive.
    pub(crate) fn settle(&mut self) {
        for _ in 0..1000 {
            if !self.gather(QUIET) {
                return;
            }
        }
    }

    /// Forgets events of that socket so far.
    pub(crate) fn forget_events(&mut self, name: Name) {
        self.settle();
        self.ready.remove(&(name as u64));
    }

    pub(crate) fn expect_token(&mut self, token: Token, what: &str, limit: Duration) -> bool {
        for _ in 0..1000 {
            if self.ready.remove(&token.to_u64()).is_some() {
                self.log.push(format!("{what} came"));
                return true;
            }
            if !self.gather(limit) {
                break;
            }
        }
        let came = self.ready.remove(&token.to_u64()).is_some();
        self.log
            .push(format!("{what} {}", if came { "came" } else { "missing" }));
        came
    }

    pub(crate) fn poll_now(&mut self) -> usize {
        let polled = self.backend.poll(&mut self.events, false);
        polled.map_or(usize::MAX, |()| B::iter(&self.events).count())
    }

    // Listeners.

    pub(crate) fn listen_with(&mut self, at: &str, options: &ListenOptions) -> Option<Name> {
        self.listen_at(at.parse().unwrap(), options)
    }

    pub(crate) fn listen_at(&mut self, at: SocketAddr, options: &ListenOptions) -> Option<Name> {
        match self.backend.listen(at, options) {
            Ok(listener) => {
                self.say("listens");
                Some(self.add(Socket::Listener(listener), true))
            }
            Err(error) => {
                self.say(format!("listen: {}", failed(&error)));
                None
            }
        }
    }

    pub(crate) fn listen(&mut self, at: &str) -> Name {
        self.listen_with(at, &ListenOptions::default())
            .expect("a listener on a free port")
    }

    pub(crate) fn addr(&mut self, name: Name) -> SocketAddr {
        match &self.sockets[name] {
            Socket::Listener(listener) => listener.local_addr(),
            Socket::Stream(stream) => stream.local_addr(),
            Socket::Datagram(socket) => socket.local_addr(),
            Socket::Packet(socket) => socket.local_addr(),
            Socket::Gone => Err(io::ErrorKind::NotFound.into()),
        }
        .expect("a local address")
    }

    /// Takes what is there, without waiting.
    pub(crate) fn try_accept(&mut self, listener: Name) -> Option<Name> {
        let Socket::Listener(socket) = &mut self.sockets[listener] else {
            return None;
        };
        match socket.accept() {
            Ok((stream, peer)) => {
                self.say(match peer {
                    Some(peer) => {
                        let port = if peer.port() == 0 { "no port" } else { "a port" };
                        format!("{listener} accepts {} and {port}", peer.ip())
                    }
                    None => format!("{listener} accepts {}", unix_peer(&stream)),
                });
                Some(self.add(Socket::Stream(stream), true))
            }
            Err(error) => {
                self.say(format!("{listener} accept {}", named(&error)));
                None
            }
        }
    }

    /// Whom accept names.
    pub(crate) fn accept_peer(&mut self, listener: Name) -> Option<SocketAddr> {
        let Socket::Listener(socket) = &mut self.sockets[listener] else {
            return None;
        };
        socket.accept().ok().and_then(|(_, peer)| peer)
    }

    pub(crate) fn accept(&mut self, listener: Name) -> Option<Name> {
        self.expect(listener, Readiness::READABLE);
        self.try_accept(listener)
    }

    // Unix sockets.

    pub(crate) fn listen_unix(&mut self, at: &UnixName, options: &UnixListenOptions) -> Option<Name> {
        match self.backend.listen_unix(at, options) {
            Ok(listener) => {
                self.say("listens");
                Some(self.add(Socket::Listener(listener), true))
            }
            Err(error) => {
                self.say(format!("listen: {:?}", error.kind()));
                None
            }
        }
    }

    pub(crate) fn connect_unix(&mut self, to: &UnixName) -> Option<Name> {
        match self.backend.connect_unix(to, &ConnectOptions::default()) {
            Ok(stream) => Some(self.add(Socket::Stream(stream), true)),
            Err(error) => {
                self.say(format!("connect: {:?}", error.kind()));
                None
            }
        }
    }

    pub(crate) fn bind_unix(&mut self, at: &UnixName, options: &UnixDatagramOptions) -> Option<Name> {
        match self.backend.bind_unix(at, options) {
            Ok(socket) => {
                self.say("binds");
                Some(self.add(Socket::Datagram(socket), true))
            }
            Err(error) => {
                self.say(format!("bind: {:?}", error.kind()));
                None
            }
        }
    }

    /// Sends to a name.
    pub(crate) fn send_unix(&mut self, name: Name, to: &UnixName, payload: &[u8]) {
        let Socket::Datagram(socket) = &mut self.sockets[name] else {
            return;
        };
        if let Some(to) = socket.unix_addr(to) {
            self.send_to(name, to, payload);
        }
    }

    /// Receives one datagram without waiting, and says whether it came from that name.
    pub(crate) fn receive_unix(&mut self, name: Name, from: &UnixName) {
        let Socket::Datagram(socket) = &mut self.sockets[name] else {
            return;
        };
        let said = match socket.recv_batch(&mut self.batch) {
            Ok(_) => {
                let all: Vec<String> = self
                    .batch
                    .iter()
                    .map(|incoming| {
                        let source = socket.unix_name(incoming.source);
                        format!("{} (from it: {})", shown(incoming.payload), source == Some(*from))
                    })
                    .collect();
                format!("receives {}", all.join(", "))
            }
            Err(error) => format!("receive {}", named(&error)),
        };
        self.say(format!("{name} {said}"));
    }

    /// The name of a listener.
    pub(crate) fn unix_name(&mut self, listener: Name) -> UnixName {
        match &self.sockets[listener] {
            Socket::Listener(listener) => listener.local_unix().expect("a name"),
            Socket::Datagram(socket) => socket.local_unix().expect("a name"),
            _ => UnixName::UNNAMED,
        }
    }

    /// Both ends of a connection over a Unix socket: who connected, who was accepted.
    pub(crate) fn unix_pair(&mut self) -> (Name, Name) {
        let log = std::mem::take(&mut self.log);
        let options = UnixListenOptions::default();
        let listener = self
            .listen_unix(&UnixName::UNNAMED, &options)
            .expect("a listener");
        let name = self.unix_name(listener);
        let client = self.connect_unix(&name).expect("a connect");
        self.outcome(client);
        let server = self.accept(listener).expect("a connection to accept");
        self.settle();
        self.ready.clear();
        self.drop(listener);
        self.log = log;
        (client, server)
    }

    /// Whom a stream has at its other side.
    pub(crate) fn unix_peer(&mut self, name: Name) {
        let said = self.stream(name).map(|stream| unix_peer(stream));
        self.say(format!("{name} peer {}", said.unwrap_or_default()));
    }

    // Streams.

    pub(crate) fn connect_with(&mut self, to: SocketAddr, options: &ConnectOptions) -> Option<Name> {
        match self.backend.connect(to, options) {
            Ok(stream) => Some(self.add(Socket::Stream(stream), true)),
            Err(error) => {
                self.say(format!("connect: {}", failed(&error)));
                None
            }
        }
    }

    pub(crate) fn connect(&mut self, to: SocketAddr) -> Option<Name> {
        self.connect_with(to, &ConnectOptions::default())
    }

    /// Says how a connect ends.
    pub(crate) fn outcome(&mut self, name: Name) {
        self.outcome_within(name, PATIENCE);
    }

    pub(crate) fn outcome_within(&mut self, name: Name, limit: Duration) {
        let any = Readiness::WRITABLE
            .with(Readiness::ERROR)
            .with(Readiness::WRITE_CLOSED);
        let mut said = "pending".to_owned();
        for _ in 0..20 {
            if !self.wait(name as u64, any, limit) {
                break;
            }
            match self.stream(name).map(StreamIo::connect_progress) {
                Some(ConnectProgress::Connected) => said = "connected".to_owned(),
                Some(ConnectProgress::Failed(error)) => said = format!("failed {}", named(&error)),
                Some(ConnectProgress::Pending) => continue,
                None => {}
            }
            break;
        }
        self.say(format!("{name} {said}"));
    }

    /// Asks for the progress now.
    pub(crate) fn progress(&mut self, name: Name) {
        let said = match self.stream(name).map(StreamIo::connect_progress) {
            Some(ConnectProgress::Connected) => "connected".to_owned(),
            Some(ConnectProgress::Failed(error)) => format!("failed {}", named(&error)),
            Some(ConnectProgress::Pending) => "pending".to_owned(),
            None => "gone".to_owned(),
        };
        self.say(format!("{name} progress {said}"));
    }

    /// A listener on the address, and both ends of a connection to it: who connected, who was accepted.
    pub(crate) fn pair_at(&mut self, at: &str) -> (Name, Name) {
        self.pair_with(at, &[])
    }

    pub(crate) fn pair(&mut self) -> (Name, Name) {
        self.pair_at("127.0.0.1:0")
    }

    pub(crate) fn pair_with(&mut self, at: &str, options: &[StreamOption]) -> (Name, Name) {
        let log = std::mem::take(&mut self.log);
        let listener = self.listen(at);
        let to = self.addr(listener);
        let connect = ConnectOptions {
            socket: options.to_vec(),
            ..ConnectOptions::default()
        };
        let client = self.connect_with(to, &connect).expect("a connect");
        self.outcome(client);
        let server = self.accept(listener).expect("a connection to accept");
        for option in options {
            self.option(server, option);
        }
        self.settle();
        self.ready.clear();
        self.drop(listener);
        self.log = log;
        (client, server)
    }

    pub(crate) fn write(&mut self, name: Name, data: &[u8]) {
        let said = match self.stream(name).map(|stream| stream.write(data)) {
            Some(Ok(count)) if count == data.len() => format!("writes {}", shown(data)),
            Some(Ok(_)) => "writes a part".to_owned(),
            Some(Err(error)) => format!("write {}", named(&error)),
            None => "gone".to_owned(),
        };
        self.say(format!("{name} {said}"));
    }

    pub(crate) fn write_vectored(&mut self, name: Name, parts: &[&[u8]]) {
        let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let said = match self.stream(name).map(|stream| stream.write_vectored(&slices)) {
            Some(Ok(count)) => format!("writes {count} bytes in {} parts", parts.len()),
            Some(Err(error)) => format!("write {}", named(&error)),
            None => "gone".to_owned(),
        };
        self.say(format!("{name} {said}"));
    }

    /// Writes until the kernel takes no more; how much that was.
    pub(crate) fn fill(&mut self, name: Name) -> usize {
        let chunk = [b'f'; 4096];
        let mut total = 0;
        for _ in 0..20_000 {
            match self.stream(name).map(|stream| stream.write(&chunk)) {
                Some(Ok(count)) => total += count,
                Some(Err(error)) => {
                    self.say(format!("{name} is full: {}", named(&error)));
                    return total;
                }
                None => break,
            }
        }
        self.say(format!("{name} never fills"));
        total
    }

    /// Reads once, without waiting, into that much room.
    pub(crate) fn read_now(&mut self, name: Name, room: usize) {
        let mut buffer = vec![0; room];
        let said = match self.stream(name).map(|stream| stream.read(&mut buffer)) {
            Some(Ok(0)) => "reads 0".to_owned(),
            Some(Ok(count)) => format!("reads {}", shown(&buffer[..count])),
            Some(Err(error)) => format!("read {}", named(&error)),
            None => "gone".to_owned(),
        };
        self.say(format!("{name} {said}"));
    }

    /// Reads until `want` bytes are there, or the end, or an error; says it all together.
    pub(crate) fn read(&mut self, name: Name, want: usize) {
        let (data, end) = self.collect(name, want);
        self.say(format!("{name} reads {}{end}", shown(&data)));
    }

    /// Reads until the end or an error.
    pub(crate) fn read_to_end(&mut self, name: Name) {
        self.read(name, usize::MAX);
    }

    pub(crate) fn collect(&mut self, name: Name, want: usize) -> (Vec<u8>, String) {
        let mut data = Vec::new();
        let mut buffer = vec![0; 65_536];
        let any = Readiness::READABLE
            .with(Readiness::READ_CLOSED)
            .with(Readiness::ERROR);
        for _ in 0..10_000 {
            if data.len() >= want {
                return (data, String::new());
            }
            let room = buffer.len().min(want - data.len());
            match self.stream(name).map(|stream| stream.read(&mut buffer[..room])) {
                Some(Ok(0)) => return (data, ", then the end".to_owned()),
                Some(Ok(count)) => data.extend_from_slice(&buffer[..count]),
                Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !self.wait(name as u64, any, PATIENCE) {
                        return (data, ", then nothing".to_owned());
                    }
                }
                Some(Err(error)) => return (data, format!(", then {}", named(&error))),
                None => break,
            }
        }
        (data, ", and no end".to_owned())
    }

    pub(crate) fn shutdown(&mut self, name: Name, how: Shutdown) {
        let said = match self.stream(name).map(|stream| stream.shutdown(how)) {
            Some(Ok(())) => "ok".to_owned(),
            Some(Err(error)) => named(&error),
            None => "gone".to_owned(),
        };
        self.say(format!("{name} shutdown {how:?} {said}"));
    }

    /// Drops the socket so that the peer sees a reset.
    pub(crate) fn abort(&mut self, name: Name) {
        if let Some(stream) = self.stream(name) {
            stream.abort();
        }
        self.drop(name);
    }

    pub(crate) fn drop(&mut self, name: Name) {
        self.sockets[name] = Socket::Gone;
        self.say(format!("{name} dropped"));
    }

    pub(crate) fn peer(&mut self, name: Name) {
        let said = match self.stream(name).map(|stream| stream.peer_addr()) {
            Some(Ok(peer)) => format!(
                "{} and {}",
                peer.ip(),
                if peer.port() == 0 { "no port" } else { "a port" }
            ),
            Some(Err(error)) => named(&error),
            None => "gone".to_owned(),
        };
        self.say(format!("{name} peer {said}"));
    }

    pub(crate) fn local(&mut self, name: Name) {
        let local = self.addr(name);
        let port = if local.port() == 0 { "no port" } else { "a port" };
        self.say(format!("{name} local {} and {port}", local.ip()));
    }

    pub(crate) fn option(&mut self, name: Name, option: &StreamOption) {
        let said = match self.stream(name).map(|stream| stream.set_option(option)) {
            Some(Ok(())) => "ok".to_owned(),
            Some(Err(error)) => named(&error),
            None => "gone".to_owned(),
        };
        self.say(format!("{name} option {said}"));
    }

    // Datagrams and packets.

    pub(crate) fn bind_with(&mut self, at: &str, options: &DatagramOptions) -> Option<Name> {
        self.bind_at(at.parse().unwrap(), options)
    }

    pub(crate) fn bind_at(&mut self, at: SocketAddr, options: &DatagramOptions) -> Option<Name> {
        match self.backend.bind(at, options) {
            Ok(socket) => Some(self.add(Socket::Datagram(socket), true)),
            Err(error) => {
                self.say(format!("bind: {}", failed(&error)));
                None
            }
        }
    }

    pub(crate) fn bind(&mut self, at: &str) -> Name {
        self.bind_with(at, &DatagramOptions::default())
            .expect("a datagram socket on a free port")
    }

    pub(crate) fn open_packet(&mut self, options: &PacketOptions) -> Option<Name> {
        match self.backend.open_packet(options) {
            Ok(socket) => Some(self.add(Socket::Packet(socket), true)),
            Err(error) => {
                self.say(format!("open: {}", failed(&error)));
                None
            }
        }
    }

    pub(crate) fn send(&mut self, name: Name, message: Outgoing<'_>) {
        let len = message.payload().len();
        let sender = &mut self.sender;
        let report = match &mut self.sockets[name] {
            Socket::Datagram(socket) => socket.send_batch(sender, 0..1, |_| message),
            Socket::Packet(socket) => socket.send_batch(sender, 0..1, |_| message),
            _ => return,
        };
        let said = match report.error {
            None => format!("sends {len}"),
            Some(error) => format!("send {}", errno_name(error.errno())),
        };
        self.say(format!("{name} {said}"));
    }

    pub(crate) fn send_to(&mut self, name: Name, to: SocketAddr, payload: &[u8]) {
        self.send(name, Outgoing::to(to, payload));
    }

    pub(crate) fn send_all(&mut self, name: Name, messages: &[Outgoing<'_>]) {
        let sender = &mut self.sender;
        let Socket::Datagram(socket) = &mut self.sockets[name] else {
            return;
        };
        let report = socket.send_batch(sender, 0..messages.len(), |index| messages[index]);
        let end = report.error.map_or_else(String::new, |error| {
            format!(", then {}", errno_name(error.errno()))
        });
        self.say(format!("{name} sends {} messages{end}", report.count));
    }

    /// One receive into a batch of that shape, without waiting.
    pub(crate) fn receive_into(&mut self, name: Name, batch: &mut RecvBatch) -> Result<usize, String> {
        let received = match &mut self.sockets[name] {
            Socket::Datagram(socket) => socket.recv_batch(batch),
            Socket::Packet(socket) => socket.recv_batch(batch),
            _ => return Err("gone".to_owned()),
        };
        received.map_err(|error| named(&error))
    }

    pub(crate) fn receive_now(&mut self, name: Name) {
        let mut batch = std::mem::replace(&mut self.batch, RecvBatch::new(1, 1));
        let line = match self.receive_into(name, &mut batch) {
            Ok(_) => Self::told(&batch),
            Err(error) => error,
        };
        self.batch = batch;
        self.say(format!("{name} receives {line}"));
    }

    fn told(batch: &RecvBatch) -> String {
        let mut lines = Vec::new();
        for incoming in batch.iter() {
            for segment in incoming.segments() {
                let cut = if incoming.truncated { " cut" } else { "" };
                lines.push(format!("{}{cut} from {}", shown(segment), incoming.source.ip()));
            }
        }
        lines.join(", ")
    }

    /// Receives until `want` datagrams are there; says them all together.
    pub(crate) fn receive(&mut self, name: Name, want: usize) {
        let mut batch = std::mem::replace(&mut self.batch, RecvBatch::new(1, 1));
        let mut lines = Vec::new();
        let any = Readiness::READABLE.with(Readiness::ERROR);
        for _ in 0..1000 {
            if lines.len() >= want {
                break;
            }
            match self.receive_into(name, &mut batch) {
                Ok(_) => {
                    for incoming in batch.iter() {
                        for segment in incoming.segments() {
                            lines.push(format!("{} from {}", shown(segment), incoming.source.ip()));
                        }
                    }
                }
                Err(error) if error == "EAGAIN" => {
                    if !self.wait(name as u64, any, PATIENCE) {
                        lines.push("nothing".to_owned());
                        break;
                    }
                }
                Err(error) => {
                    lines.push(error);
                    break;
                }
            }
        }
        self.batch = batch;
        self.say(format!("{name} receives {}", lines.join(", ")));
    }

    /// How many datagrams wait, and what the first one begins with; metadata by `tell`.
    pub(crate) fn receive_meta(
        &mut self,
        name: Name,
        tell: impl Fn(&sockeye_socket::Incoming<'_>) -> String,
    ) {
        let mut batch = std::mem::replace(&mut self.batch, RecvBatch::new(1, 1));
        let mut line = "nothing".to_owned();
        for _ in 0..50 {
            match self.receive_into(name, &mut batch) {
                Ok(_) => {
                    line = batch.get(0).as_ref().map_or_else(String::new, &tell);
                    break;
                }
                Err(error) if error == "EAGAIN" => {
                    if !self.wait(name as u64, Readiness::READABLE, PATIENCE) {
                        break;
                    }
                }
                Err(error) => {
                    line = error;
                    break;
                }
            }
        }
        self.batch = batch;
        self.say(format!("{name} receives {line}"));
    }

    /// Everything that waits, counted.
    pub(crate) fn count_waiting(&mut self, name: Name) -> Vec<Vec<u8>> {
        self.settle();
        let mut batch = std::mem::replace(&mut self.batch, RecvBatch::new(1, 1));
        let mut all = Vec::new();
        while self.receive_into(name, &mut batch).is_ok() {
            for incoming in batch.iter() {
                all.extend(incoming.segments().map(<[u8]>::to_vec));
            }
            if batch.is_empty() || all.len() > 100_000 {
                break;
            }
        }
        self.batch = batch;
        all
    }

    /// Takes one entry from the error queue, waiting for it.
    pub(crate) fn queued_error(&mut self, name: Name) {
        let mut line = "nothing".to_owned();
        for _ in 0..20 {
            let entry = match &mut self.sockets[name] {
                Socket::Datagram(socket) => socket.recv_error(),
                Socket::Packet(socket) => socket.recv_error(),
                _ => return,
            };
            match entry {
                Ok(Some(QueueEntry::Error(error))) => {
                    let cause = match error.cause {
                        Cause::Local => "local".to_owned(),
                        Cause::Icmpv4 { kind, code } => format!("icmp {kind}/{code}"),
                        Cause::Icmpv6 { kind, code } => format!("icmpv6 {kind}/{code}"),
                        _ => "other".to_owned(),
                    };
                    let to = error
                        .destination
                        .map_or_else(|| "nobody".to_owned(), |to| to.ip().to_string());
                    let port = error.destination.is_some_and(|to| to.port() != 0);
                    let quoted = shown(&error.quoted);
                    line = format!(
                        "{} {cause} for {to} (port {port}), quoting {quoted}",
                        errno_name(error.errno)
                    );
                    break;
                }
                Ok(Some(_)) => line = "something else".to_owned(),
                Ok(None) => {
                    if !self.wait(name as u64, Readiness::ERROR, PATIENCE) {
                        break;
                    }
                }
                Err(error) => {
                    line = named(&error);
                    break;
                }
            }
        }
        self.say(format!("{name} error queue: {line}"));
    }

    /// Takes all that the error queue has, and says whether there was anything: one error may be told by two calls.
    pub(crate) fn drain_errors(&mut self, name: Name) {
        let mut found = false;
        for _ in 0..100 {
            let entry = match &mut self.sockets[name] {
                Socket::Datagram(socket) => socket.recv_error(),
                _ => return,
            };
            match entry {
                Ok(Some(_)) => found = true,
                _ => break,
            }
        }
        self.say(format!("{name} error queue had anything: {found}"));
    }

    pub(crate) fn queued_error_now(&mut self, name: Name) {
        let Socket::Datagram(socket) = &mut self.sockets[name] else {
            return;
        };
        let said = match socket.recv_error() {
            Ok(Some(_)) => "something".to_owned(),
            Ok(None) => "nothing".to_owned(),
            Err(error) => named(&error),
        };
        self.say(format!("{name} error queue has {said}"));
    }
}
