//! Certificates for a relay and its backends, and clients that speak TLS.

use std::net::SocketAddr;

use rustls::ServerConfig;
use rustls::pki_types::ServerName;
use sockeye::tls::{ConnectorOptions, ReloadableConfig, TlsConnector, TlsServer, rustls};
use sockeye_event_loop::{ListenOptions, StreamOptions};
use sockeye_relay::{Config, Relay, SessionEnd};

use crate::ground::{Backend, Ground};
use crate::probe::{Log, Probe, Served, Told};
use crate::setting::{Authority, server_config};
use crate::world::World;

/// A certificate for whoever is at that address.
pub fn server_of(authority: &Authority, at: SocketAddr) -> ServerConfig {
    server_config(authority.sign(&at.ip().to_string()), rustls::ALL_VERSIONS)
}

/// A backend of TLS, its certificates of this authority.
pub fn secure_backend<W: World>(ground: &mut Ground<W>, authority: &Authority, probe: Probe) -> Backend {
    let at = SocketAddr::new(ground.world.client_ip(), 0);
    let config = server_of(authority, at);
    backend_with(ground, config.into(), probe)
}

pub fn backend_with<W: World>(ground: &mut Ground<W>, config: ReloadableConfig, probe: Probe) -> Backend {
    let log = probe.log.clone();
    let at = SocketAddr::new(ground.world.client_ip(), 0);
    let events = ground.world.client();
    let handle = events.add_stream_service(probe, StreamOptions::default());
    let tls = events.add_stream_service(TlsServer::new(config, handle), StreamOptions::default());
    let listener = events.listen(tls, at, &ListenOptions::default()).unwrap();
    let port = events.local_addr(listener).unwrap().port();
    Backend {
        at: SocketAddr::new(at.ip(), port),
        log,
        handle,
        listener,
    }
}

/// Its listener of TLS, or its backends, or both.
pub fn config<W: World>(ground: &Ground<W>, listener: bool, backends: bool, to: &[&Backend]) -> Config {
    let at: Vec<SocketAddr> = to.iter().map(|backend| backend.at).collect();
    let mut config = ground.config(&at);
    if listener {
        config.listeners[0].at = format!("tls://{}:0", ground.world.server_ip()).parse().unwrap();
    }
    if backends {
        for (backend, at) in config.pools[0].backends.iter_mut().zip(&at) {
            backend.at = format!("tls://{at}").parse().unwrap();
        }
    }
    config
}

/// A relay that has certificates of this authority, and trusts it.
pub fn start<W: World>(ground: &mut Ground<W>, config: Config, authority: &Authority) {
    let own = SocketAddr::new(ground.world.server_ip(), 0);
    let relay = Relay::new(config)
        .unwrap()
        .hooks(ground.told.clone())
        .tls_server("", server_of(authority, own))
        .tls_client("", authority.client());
    ground.start_relay(relay);
}

/// A client of the relay's listener, over TLS.
pub fn client<W: World>(ground: &mut Ground<W>, authority: &Authority, probe: Probe) -> Served {
    let at = ground.at("in");
    let request = ground.world.request(at);
    let name = ServerName::from(at.ip());
    let log = probe.log.clone();
    let events = ground.world.client();
    let handle = events.add_stream_service(probe, StreamOptions::default());
    let connector = TlsConnector::new(events, authority.client(), ConnectorOptions::default());
    let asked = events.with(handle, |_: &mut Probe, context| {
        connector.connect(context, handle, name, request)
    });
    asked.unwrap().unwrap();
    Served { log, handle }
}

pub fn close<W: World>(ground: &mut Ground<W>, client: &Served) {
    let id = client.log.id(0);
    let close = |_: &mut Probe, context: &mut sockeye_event_loop::Context<'_>| {
        context.stream(id).unwrap().close();
    };
    ground.world.client().with(client.handle, close).unwrap();
}

#[track_caller]
pub fn until_heard<W: World>(ground: &mut Ground<W>, client: &Served, bytes: &[u8]) {
    let log = client.log.clone();
    ground
        .world
        .until("an answer", || log.received_len(0) >= bytes.len());
    assert!(client.log.received(0) == bytes);
}

#[track_caller]
pub fn until_over<W: World>(ground: &mut Ground<W>, log: &Log) -> Vec<String> {
    let is_over = |told: &Told| matches!(told, Told::ConnectFailed(_) | Told::Dropped);
    ground.world.until("its end", || log.all().iter().any(is_over));
    log.closes()
}

/// One session from the question to its end in order.
#[track_caller]
pub fn session<W: World>(ground: &mut Ground<W>, client: &Served, backend: &Backend) {
    let ended = ground.told.count();
    until_heard(ground, client, b"question");
    let id = client.log.id(0);
    let own = ground.world.client().local_addr(id);
    close(ground, client);
    ground.until_ended(ended + 1);
    let record = ground.told.last();
    assert_eq!(record.end, SessionEnd::Done);
    assert_eq!((record.from_client, record.from_backend), (8, 8));
    assert_eq!(record.client, own.ok());
    let theirs = backend.log.clone();
    ground
        .world
        .until("the backend hears", || theirs.has(&Told::Dropped));
    assert_eq!(
        (theirs.received(0), theirs.closes()),
        (b"question".to_vec(), vec!["closed".to_owned()])
    );
    assert!(theirs.has(&Told::Eof));
    assert_eq!(until_over(ground, &client.log), ["closed"]);
}

/// Where TLS ends: at the listener, at the backend, at both.
pub const PLACES: [(bool, bool); 3] = [(true, false), (false, true), (true, true)];

/// A client and a backend with the relay between them.
pub fn between<W: World>(
    ground: &mut Ground<W>,
    (listener, backends): (bool, bool),
    ours: Probe,
    theirs: Probe,
) -> (Served, Backend) {
    let authority = Authority::new();
    let backend = if backends {
        secure_backend(ground, &authority, theirs)
    } else {
        ground.backend(theirs)
    };
    let config = config(ground, listener, backends, &[&backend]);
    start(ground, config, &authority);
    let served = if listener {
        client(ground, &authority, ours)
    } else {
        ground.client(ours)
    };
    (served, backend)
}
