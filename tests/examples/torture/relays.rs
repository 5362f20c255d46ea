//! Relays: two connections that are joined, and those of sockeye-relay over TCP, TLS and UDP.

use std::collections::HashMap;
use std::net::SocketAddr;

use rustls::pki_types::ServerName;
use sockeye::tls::{ConnectorOptions, TlsConnector, rustls};
use sockeye_event_loop::{
    CloseReason, ConnectFailure, ConnectRequest, Context, EventLoop, ListenOptions, Stream, StreamId,
    StreamOptions, StreamService,
};
use sockeye_relay::{Config, Hooks, ListenerConfig, PoolConfig, Relay, SessionRecord};

use crate::datagrams::{DatagramEcho, Questions};
use crate::ground::{Client, DEADLINE, Echo, Failure, Notes, finish, loopback};
use crate::streams::certified;

/// Enough for `splice(2)` to take over from copying.
const BYTES: usize = 300 * 1024;

/// Connects to the target for each connection that comes, and joins the two.
struct Joiner {
    to: SocketAddr,
    waiting: HashMap<u64, StreamId>,
    notes: Notes,
}

impl StreamService for Joiner {
    type Conn = ();

    fn on_open(&mut self, stream: &mut Stream<'_>) {
        if let Some(front) = self.waiting.remove(&stream.tag()) {
            if !stream.join(front) {
                stream.abort();
            }
            return;
        }
        let tag = stream.id().to_u64() + 1;
        self.waiting.insert(tag, stream.id());
        stream.pause();
        let request = ConnectRequest::new(self.to).tag(tag).deadline(DEADLINE);
        stream.context().connect(request);
    }

    fn on_data(&mut self, _: &mut Stream<'_>, (): &mut (), _: &mut [u8]) -> usize {
        0
    }

    fn on_connect_error(&mut self, context: &mut Context<'_>, failure: ConnectFailure) {
        self.notes.told(failure.to_string());
        let front = self.waiting.remove(&failure.tag);
        if let Some(mut stream) = front.and_then(|id| context.stream(id)) {
            stream.abort();
        }
    }

    fn on_close(&mut self, _: &mut Context<'_>, _: StreamId, (): (), reason: CloseReason) {
        // The client is to hear of it by itself: that is what is under test.
        let _ = reason;
    }
}

pub(crate) fn tcp_join() -> Result<(), Failure> {
    let notes = Notes::default();
    let mut events = EventLoop::new()?;
    let echo = events.add_stream_service(Echo(notes.clone()), StreamOptions::default());
    let listener = events.listen(echo, loopback(), &ListenOptions::default())?;
    let to = events.local_addr(listener)?;
    let joiner = Joiner {
        to,
        waiting: HashMap::new(),
        notes: notes.clone(),
    };
    let joiner = events.add_stream_service(joiner, StreamOptions::default());
    let listener = events.listen(joiner, loopback(), &ListenOptions::default())?;
    let at = events.local_addr(listener)?;
    let client = events.add_stream_service(Client::new(&notes, BYTES), StreamOptions::default());
    events.connect(client, ConnectRequest::new(at).deadline(DEADLINE));
    finish(events, &notes, 1)
}

/// Writes down how sessions ended.
struct Sessions(Notes);

impl Hooks for Sessions {
    fn on_session(&mut self, record: &SessionRecord) {
        if record.backend.is_none() {
            self.0
                .told(format!("a session without a backend: {}", record.end));
        }
    }
}

fn config(listener: &str, backend: &str) -> Result<Config, Failure> {
    let listener: sockeye_endpoint::Address = listener.parse()?;
    Ok(Config {
        listeners: vec![ListenerConfig::new(listener, "backends")],
        pools: vec![PoolConfig::new("backends", vec![backend.parse()?])],
        ..Config::default()
    })
}

fn not_listening() -> Failure {
    // It has one, unless the kernel would not say.
    Failure::Told("the relay has no address".to_owned())
}

pub(crate) fn tcp() -> Result<(), Failure> {
    let notes = Notes::default();
    let mut events = EventLoop::new()?;
    let echo = events.add_stream_service(Echo(notes.clone()), StreamOptions::default());
    let listener = events.listen(echo, loopback(), &ListenOptions::default())?;
    let backend = events.local_addr(listener)?;
    let front = "tcp://127.0.0.1:0";
    let relay = Relay::new(config(front, &format!("tcp://{backend}"))?)?
        .hooks(Sessions(notes.clone()))
        .start(&mut events)?;
    let at = relay.local_addr(&mut events, front).ok_or_else(not_listening)?;
    let client = events.add_stream_service(Client::new(&notes, BYTES / 3), StreamOptions::default());
    for _ in 0..2 {
        events.connect(client, request(&at.to_string())?);
    }
    finish(events, &notes, 2)
}

/// To an address as the relay prints it.
fn request(at: &str) -> Result<ConnectRequest, Failure> {
    let at = at.rsplit('/').next().unwrap_or(at);
    Ok(ConnectRequest::new(at.parse()?).deadline(DEADLINE))
}

pub(crate) fn tls() -> Result<(), Failure> {
    let (server, client_config) = certified()?;
    let notes = Notes::default();
    let mut events = EventLoop::new()?;
    let echo = events.add_stream_service(Echo(notes.clone()), StreamOptions::default());
    let listener = events.listen(echo, loopback(), &ListenOptions::default())?;
    let backend = events.local_addr(listener)?;
    let front = "tls://127.0.0.1:0";
    let relay = Relay::new(config(front, &format!("tcp://{backend}"))?)?
        .tls_server("", server)
        .hooks(Sessions(notes.clone()))
        .start(&mut events)?;
    let at = relay.local_addr(&mut events, front).ok_or_else(not_listening)?;
    let connector = TlsConnector::new(&mut events, client_config, ConnectorOptions::default());
    let client = events.add_stream_service(Client::new(&notes, BYTES / 3), StreamOptions::default());
    let request = request(&at.to_string())?;
    events
        .with(client, |_, context| {
            connector.connect(context, client, ServerName::try_from("localhost")?, request)?;
            Ok::<(), Failure>(())
        })
        .ok_or_else(|| Failure::Wrong("the service is not on the loop".to_owned()))??;
    finish(events, &notes, 1)
}

pub(crate) fn udp() -> Result<(), Failure> {
    let notes = Notes::default();
    let mut events = EventLoop::new()?;
    let echo = events.add_datagram_service(DatagramEcho(notes.clone()));
    let socket = events.bind(echo, loopback(), &sockeye_event_loop::DatagramOptions::default())?;
    let backend = events.local_addr(socket)?;
    let front = "udp://127.0.0.1:0";
    let relay = Relay::new(config(front, &format!("udp://{backend}"))?)?.start(&mut events)?;
    let at = relay
        .local_addr(&mut events, front)
        .ok_or_else(not_listening)?
        .to_string();
    let at = at.rsplit('/').next().unwrap_or_default().parse()?;
    Questions::ask(events, &notes, at)
}
