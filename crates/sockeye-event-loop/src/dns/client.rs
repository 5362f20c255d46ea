//! The engine, its sockets, and who waits for what.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use sockeye_resolver::dns::{
    Carrier, DnsStats, Engine, Event, LookupId, Request, Server, StartError, Transmit,
};
use sockeye_resolver::files::{Environment, Paths, SystemFiles};
use sockeye_socket::Outgoing;

use super::DnsStreams;
use crate::connect::{ConnectId, ConnectRequest};
use crate::context::Context;
use crate::host::{Due, Host};
use crate::id::{ServiceHandle, StreamServiceId, TimerId, Token};
use crate::names::{Asker, DnsConfig, HostNames, NameSource, Way};
use crate::options::DatagramOptions;
use crate::outcome::Sent;
use crate::time::Time;

/// How often the files are looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long a connection to a server may take to be established: the engine gives up before.
const CONNECT: Duration = Duration::from_secs(30);

/// Results that the owner of the loop may leave untaken; beyond them its lookups are refused.
const MAX_UNTAKEN: usize = 1 << 16;
/// Servers whose last fault is kept.
const MAX_FAULTS: usize = 64;

/// The client as the loop's parts share it.
pub(crate) type Shared = Rc<RefCell<Client>>;

/// A connection to a server.
#[derive(Debug)]
enum Line {
    Connecting(ConnectId),
    /// With what its queue had no room for, in order. It is bounded by the questions under way, each as long as its server's
    /// time.
    Open(Token, VecDeque<Box<[u8]>>),
}

/// Makes a connection under TLS to a server, for the service of connections.
pub(crate) type TlsConnect =
    Box<dyn FnMut(&mut Context<'_>, StreamServiceId, &Server, ConnectRequest) -> Option<ConnectId>>;

/// A connection under TLS that the engine wants to have: its number, its server, and the request.
type TlsWanted = (u32, Server, ConnectRequest);

/// The engine and what it stands on.
pub(crate) struct Client {
    source: NameSource,
    files: Option<SystemFiles>,
    engine: Option<Engine>,
    way: Way,
    /// The services that own the sockets and the connections.
    datagrams: u16,
    streams: u16,
    /// Who makes connections under TLS, if anybody does.
    tls: Option<TlsConnect>,
    sockets: HashMap<u32, Token>,
    numbers: HashMap<Token, u32>,
    lines: HashMap<u32, Line>,
    askers: HashMap<LookupId, Asker>,
    answers: VecDeque<Event>,
    /// What ended the last connection to a server that failed.
    faults: HashMap<SocketAddr, io::Error>,
    timer: Option<(Time, TimerId)>,
    message: Vec<u8>,
}

fn since_origin(now: Time) -> Duration {
    now.since(Time::ZERO)
}

impl Client {
    pub(crate) fn new() -> Self {
        Self {
            source: NameSource::Auto,
            files: None,
            engine: None,
            way: Way::Dns,
            datagrams: u16::MAX,
            streams: u16::MAX,
            tls: None,
            sockets: HashMap::new(),
            numbers: HashMap::new(),
            lines: HashMap::new(),
            askers: HashMap::new(),
            answers: VecDeque::new(),
            faults: HashMap::new(),
            timer: None,
            message: Vec::new(),
        }
    }

    /// Says which services own the sockets and the connections.
    pub(crate) fn set_services(&mut self, datagrams: u16, streams: u16) {
        (self.datagrams, self.streams) = (datagrams, streams);
    }

    /// Chooses who is asked from now on. What is under way is asked anew.
    pub(crate) fn set_source(&mut self, host: &mut dyn Host, source: NameSource) {
        self.source = source;
        self.files = None;
        self.configure(host);
    }

    pub(crate) fn set_tls(&mut self, connect: TlsConnect) {
        self.tls = Some(connect);
    }

    /// Reads what says who is asked, where that has not been done or has changed.
    fn prepare(&mut self, host: &mut dyn Host) {
        let now = since_origin(host.now());
        let files = self.files.as_mut();
        let changed = files.is_some_and(|files| files.reload_if_changed(now));
        if self.engine.is_none() || changed {
            self.configure(host);
        }
    }

    /// Takes over what says who is asked: by a new engine, or by the one that there is.
    fn configure(&mut self, host: &mut dyn Host) {
        let now = since_origin(host.now());
        let (way, config) = self.choose(host);
        self.way = way;
        match &mut self.engine {
            Some(engine) => {
                engine.set_local_names(config.local);
                engine.reconfigure(now, config.options);
            }
            None => self.engine = Some(started(host, config)),
        }
    }

    fn choose(&mut self, host: &mut dyn Host) -> (Way, DnsConfig) {
        let from_files = |files: &mut Option<SystemFiles>| {
            let load = || SystemFiles::load(&Paths::default(), &Environment::from_process(), LOOK_AGAIN);
            let files = files.get_or_insert_with(load);
            (files.names().way(), DnsConfig::of(files.names()))
        };
        match &self.source {
            NameSource::Dns(config) => (Way::Dns, DnsConfig::clone(config)),
            NameSource::System => {
                let (_, config) = from_files(&mut self.files);
                let because = "it was chosen".to_owned();
                (Way::System { because }, config)
            }
            NameSource::Auto => match host.host_names() {
                HostNames::Given(config) => (Way::Dns, *config),
                HostNames::Machine => from_files(&mut self.files),
            },
        }
    }

    /// Who is asked for the addresses of a target.
    pub(crate) fn way(&mut self, host: &mut dyn Host) -> &Way {
        self.prepare(host);
        &self.way
    }

    pub(crate) fn lookup(
        &mut self,
        host: &mut dyn Host,
        request: Request,
        asker: Asker,
    ) -> Result<LookupId, StartError> {
        self.prepare(host);
        let now = since_origin(host.now());
        let has_room = asker != Asker::Owner || self.answers.len() < MAX_UNTAKEN;
        let Some(engine) = self.engine.as_mut().filter(|_| has_room) else {
            return Err(StartError::Busy);
        };
        let id = engine.lookup(now, request)?;
        self.askers.insert(id, asker);
        Ok(id)
    }

    pub(crate) fn cancel(&mut self, host: &mut dyn Host, id: LookupId) -> bool {
        let now = since_origin(host.now());
        // One whose answers were not taken is not over yet for its owner.
        let untaken = self.answers.len();
        self.answers.retain(|event| event.lookup != id);
        let taken_back = self.answers.len() < untaken;
        self.end(now, id) || taken_back
    }

    /// Gives up a lookup that has nothing among the owner's results.
    pub(crate) fn forget(&mut self, now: Time, id: LookupId) {
        self.end(since_origin(now), id);
    }

    fn end(&mut self, now: Duration, id: LookupId) -> bool {
        let asked = self.askers.remove(&id).is_some();
        self.engine.as_mut().is_some_and(|engine| engine.cancel(now, id)) || asked
    }

    pub(crate) fn next_answer(&mut self) -> Option<Event> {
        self.answers.pop_front()
    }

    pub(crate) fn clear_cache(&mut self) {
        if let Some(engine) = &mut self.engine {
            engine.clear_cache();
        }
    }

    pub(crate) fn stats(&self) -> DnsStats {
        self.engine.as_ref().map(Engine::stats).unwrap_or_default()
    }

    /// Tells the engine something about the socket of a token.
    pub(super) fn with_socket(&mut self, token: Token, tell: impl FnOnce(&mut Engine, u32)) {
        if let (Some(engine), Some(&number)) = (&mut self.engine, self.numbers.get(&token)) {
            tell(engine, number);
        }
    }

    /// A socket of the loop is gone.
    pub(super) fn forget_socket(&mut self, now: Time, token: Token) {
        if let Some(number) = self.numbers.remove(&token) {
            self.sockets.remove(&number);
            if let Some(engine) = &mut self.engine {
                engine.on_socket_lost(since_origin(now), number);
            }
        }
    }

    /// A connection is open.
    pub(super) fn opened(&mut self, now: Time, number: u32, token: Token) -> bool {
        let Some(line) = self.lines.get_mut(&number) else {
            return false;
        };
        *line = Line::Open(token, VecDeque::new());
        if let Some(engine) = &mut self.engine {
            engine.on_connected(since_origin(now), number);
        }
        true
    }

    /// A connection has room again.
    pub(super) fn writable(&mut self, host: &mut dyn Host, number: u32) {
        if let Some(Line::Open(token, waiting)) = self.lines.get_mut(&number) {
            while let Some(message) = waiting.front() {
                if host.send(*token, message) == Sent::Full {
                    return;
                }
                waiting.pop_front();
            }
        }
    }

    /// Bytes of a connection; how many of them are done with.
    pub(super) fn received(&mut self, now: Time, number: u32, bytes: &[u8]) -> usize {
        match &mut self.engine {
            Some(engine) => engine.on_stream_data(since_origin(now), number, bytes),
            None => bytes.len(),
        }
    }

    /// A connection is gone, or was not established.
    pub(super) fn forget_line(&mut self, now: Time, number: u32) {
        if self.lines.remove(&number).is_some()
            && let Some(engine) = &mut self.engine
        {
            engine.on_disconnected(since_origin(now), number);
        }
    }

    /// Keeps what ended a connection, before that is [forgotten](Self::forget_line).
    pub(super) fn keep_fault(&mut self, number: u32, error: io::Error) {
        let engine = self.engine.as_ref();
        let server = engine.and_then(|engine| engine.server_of_connection(number));
        if let Some(server) = server.map(|server| server.address)
            && (self.faults.len() < MAX_FAULTS || self.faults.contains_key(&server))
        {
            self.faults.insert(server, error);
        }
    }

    pub(crate) fn take_fault(&mut self, server: SocketAddr) -> Option<io::Error> {
        self.faults.remove(&server)
    }

    /// The time of the engine has come.
    pub(super) fn timer_fired(&mut self, now: Time) {
        self.timer = None;
        if let Some(engine) = &mut self.engine {
            engine.handle_timeout(since_origin(now));
        }
    }

    /// Does what the engine wants to have done, up to a connection under TLS: whoever makes that one must find the client free.
    fn transmit(&mut self, host: &mut dyn Host) -> Option<TlsWanted> {
        let now = since_origin(host.now());
        let mut message = std::mem::take(&mut self.message);
        let mut wanted = None;
        while let Some(transmit) = self
            .engine
            .as_mut()
            .and_then(|engine| engine.poll_transmit(now, &mut message))
        {
            match transmit {
                Transmit::Datagram { socket, to } => self.send(host, socket, to, &message),
                Transmit::CloseSocket { socket } => {
                    if let Some(token) = self.sockets.remove(&socket) {
                        self.numbers.remove(&token);
                        host.close_socket(token);
                    }
                }
                Transmit::Connect {
                    connection,
                    to,
                    carrier,
                } => {
                    let request = ConnectRequest::new(to).tag(connection.into()).deadline(CONNECT);
                    if carrier == Carrier::Tls {
                        let engine = self.engine.as_ref();
                        let server = engine.and_then(|engine| engine.server_of_connection(connection));
                        wanted = server.map(|server| (connection, server.clone(), request));
                        break;
                    }
                    let id = host.connect(self.streams, request);
                    self.lines.insert(connection, Line::Connecting(id));
                }
                Transmit::Stream { connection } => {
                    if let Some(Line::Open(token, waiting)) = self.lines.get_mut(&connection)
                        && (!waiting.is_empty() || host.send(*token, &message) == Sent::Full)
                    {
                        waiting.push_back(message.as_slice().into());
                    }
                }
                Transmit::CloseConnection { connection } => match self.lines.remove(&connection) {
                    Some(Line::Open(token, _)) => host.close(token),
                    Some(Line::Connecting(id)) => {
                        host.cancel_connect(id);
                    }
                    None => {}
                },
                _ => {}
            }
        }
        self.message = message;
        wanted
    }

    fn send(&mut self, host: &mut dyn Host, number: u32, to: SocketAddr, message: &[u8]) {
        let now = since_origin(host.now());
        let token = match self.sockets.get(&number) {
            Some(token) => Some(*token),
            None => {
                let at = match to {
                    SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
                    SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
                };
                let options = DatagramOptions {
                    v6_only: at.is_ipv6().then_some(true),
                    gro: false,
                    gso: false,
                    error_queue: true,
                    ..DatagramOptions::default()
                };
                let token = host.bind(self.datagrams, at, &options).ok();
                if let Some(token) = token {
                    self.sockets.insert(number, token);
                    self.numbers.insert(token, number);
                }
                token
            }
        };
        match token {
            Some(token) => {
                // What the kernel refuses comes back by `on_send_error`.
                let _ = host.send_message(token, &Outgoing::to(to, message));
            }
            None => {
                if let Some(engine) = &mut self.engine {
                    engine.on_socket_lost(now, number);
                }
            }
        }
    }

    /// A connection under TLS has begun, or none could be.
    fn connecting(&mut self, host: &mut dyn Host, number: u32, id: Option<ConnectId>) {
        let Some(engine) = &mut self.engine else { return };
        match id {
            // It may have been given up meanwhile.
            Some(id) if engine.server_of_connection(number).is_none() => {
                host.cancel_connect(id);
            }
            Some(id) => {
                self.lines.insert(number, Line::Connecting(id));
            }
            None => engine.on_disconnected(since_origin(host.now()), number),
        }
    }

    /// The next result, and whose it is.
    fn poll_event(&mut self) -> Option<(Asker, Event)> {
        loop {
            let event = self.engine.as_mut()?.poll_event()?;
            let asker = if event.is_last {
                self.askers.remove(&event.lookup)
            } else {
                self.askers.get(&event.lookup).copied()
            };
            if let Some(asker) = asker {
                return Some((asker, event));
            }
        }
    }

    /// Sets the loop's timer to the engine's time.
    fn arm(&mut self, host: &mut dyn Host) {
        let wanted = self
            .engine
            .as_ref()
            .and_then(Engine::poll_timeout)
            .map(|at| Time::ZERO + at);
        if self.timer.map(|(at, _)| at) == wanted {
            return;
        }
        // One that fires too early does no harm: a later time is set then.
        if let (Some((at, _)), Some(wanted)) = (self.timer, wanted)
            && at < wanted
        {
            return;
        }
        if let Some((_, timer)) = self.timer.take() {
            host.cancel_timer(timer);
        }
        let due = Due::Service {
            service: self.streams,
            key: 0,
        };
        self.timer = wanted.map(|at| (at, host.set_timer(at, due)));
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("way", &self.way)
            .field("engine", &self.engine)
            .finish_non_exhaustive()
    }
}

fn started(host: &mut dyn Host, config: DnsConfig) -> Engine {
    let random = host.name_randomness();
    let mut engine = Engine::new(config.options, random);
    engine.set_local_names(config.local);
    engine
}

/// Has a connection under TLS made. Who makes it is called while nobody holds the client: it may look names up itself.
fn connect_by_tls(client: &Shared, host: &mut dyn Host, (number, server, request): TlsWanted) {
    let (tls, streams) = {
        let mut client = client.borrow_mut();
        (client.tls.take(), client.streams)
    };
    let id = tls.and_then(|mut connect| {
        let inner = StreamServiceId::from(ServiceHandle::<DnsStreams>::new(streams));
        let id = connect(&mut Context::new(host, streams), inner, &server, request);
        client.borrow_mut().tls.get_or_insert(connect);
        id
    });
    client.borrow_mut().connecting(host, number, id);
}

/// Sends what is to be sent, passes on what is answered, and sets the timer. Nobody may hold the client meanwhile.
pub(crate) fn pump(client: &Shared, host: &mut dyn Host) {
    loop {
        let wanted = client.borrow_mut().transmit(host);
        if let Some(wanted) = wanted {
            connect_by_tls(client, host, wanted);
            continue;
        }
        let Some((asker, event)) = client.borrow_mut().poll_event() else {
            break;
        };
        match asker {
            Asker::Connect(connect) => host.resolved(connect, event),
            Asker::Service(service) => host.answered(service, event),
            Asker::Owner => client.borrow_mut().answers.push_back(event),
        }
    }
    client.borrow_mut().arm(host);
}
