//! Certificates, configurations, and a service on QUIC with a client that speaks to it.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use sockeye_event_loop::{DatagramId, EventLoop, ServiceHandle, StreamOptions};
use sockeye_quic::{
    QuicClient, QuicConnect, QuicCounters, QuicHandle, QuicId, QuicServer, rustls, socket_options,
};

use crate::probe::{Log, Probe};
use crate::world::World;

/// A certificate that has signed itself, and its key. Ed25519: its signatures have one length.
#[derive(Clone)]
pub struct Identity {
    pub certificate: CertificateDer<'static>,
    pub key: Vec<u8>,
}

impl Identity {
    pub fn new() -> Self {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let params = CertificateParams::new(["localhost".to_owned(), "other".to_owned()]).unwrap();
        let made = params.self_signed(&key).unwrap();
        Self {
            certificate: made.der().clone(),
            key: key.serialize_der(),
        }
    }

    pub fn server(&self) -> ServerConfig {
        self.server_by(Arc::new(rustls::crypto::ring::default_provider()))
    }

    pub fn server_by(&self, provider: Arc<CryptoProvider>) -> ServerConfig {
        ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![self.certificate.clone()],
                PrivateKeyDer::try_from(self.key.clone()).unwrap(),
            )
            .unwrap()
    }

    pub fn client(&self) -> ClientConfig {
        self.client_by(Arc::new(rustls::crypto::ring::default_provider()))
    }

    pub fn client_by(&self, provider: Arc<CryptoProvider>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }
}

/// A service of the server's loop on QUIC, and a client of the client's loop.
pub struct Setting {
    pub at: SocketAddr,
    pub server: QuicHandle,
    pub client: QuicHandle,
    pub client_socket: DatagramId,
    pub client_service: ServiceHandle<QuicClient>,
    /// What the service inside was told.
    pub inside: Log,
    pub counters: QuicCounters,
    pub client_counters: QuicCounters,
}

/// Puts `inside` on QUIC, and makes a client.
pub fn setting<W: World>(world: &mut W, inside: Probe) -> Setting {
    setting_with(world, inside, |server, _| server, |client, _| client)
}

pub fn setting_with<W: World>(
    world: &mut W,
    inside: Probe,
    server: impl FnOnce(QuicServer, &mut EventLoop<W::Backend>) -> QuicServer,
    client: impl FnOnce(QuicClient, &mut EventLoop<W::Backend>) -> QuicClient,
) -> Setting {
    let identity = Identity::new();
    let (server_tls, client_tls) = (identity.server(), identity.client());
    setting_of(world, server_tls, client_tls, inside, server, client)
}

pub fn setting_of<W: World>(
    world: &mut W,
    server_tls: ServerConfig,
    client_tls: ClientConfig,
    inside: Probe,
    server: impl FnOnce(QuicServer, &mut EventLoop<W::Backend>) -> QuicServer,
    client: impl FnOnce(QuicClient, &mut EventLoop<W::Backend>) -> QuicClient,
) -> Setting {
    let log = inside.log.clone();
    let (counters, client_counters) = (QuicCounters::default(), QuicCounters::default());
    let (at, from) = (
        SocketAddr::new(world.server_ip(), 0),
        SocketAddr::new(world.client_ip(), 0),
    );
    let events = world.server();
    let inside = events.add_stream_service(inside, StreamOptions::default());
    let made = QuicServer::new(server_tls, inside).unwrap().counters(&counters);
    let made = server(made, events);
    let server = made.handle();
    let quic = made.add_to(events);
    let socket = events.bind(quic, at, &socket_options()).unwrap();
    let at = events.local_addr(socket).unwrap();
    let events = world.client();
    let made = QuicClient::new(client_tls).unwrap().counters(&client_counters);
    let made = client(made, events);
    let client = made.handle();
    let client_service = made.add_to(events);
    let client_socket = events.bind(client_service, from, &socket_options()).unwrap();
    Setting {
        at,
        server,
        client,
        client_socket,
        client_service,
        inside: log,
        counters,
        client_counters,
    }
}

/// Opens a connection with one stream, for a probe of the client's loop; its log.
pub fn connect<W: World>(world: &mut W, setting: &Setting, client: Probe) -> Log {
    connect_as(world, setting, client, |request| request).1
}

pub fn connect_as<W: World>(
    world: &mut W,
    setting: &Setting,
    client: Probe,
    change: impl FnOnce(QuicConnect) -> QuicConnect,
) -> (QuicId, Log) {
    connect_to(world, setting, setting.at, client, change)
}

pub fn connect_to<W: World>(
    world: &mut W,
    setting: &Setting,
    at: SocketAddr,
    client: Probe,
    change: impl FnOnce(QuicConnect) -> QuicConnect,
) -> (QuicId, Log) {
    let log = client.log.clone();
    let inner = world
        .client()
        .add_stream_service(client, StreamOptions::default());
    let request = change(QuicConnect::new(at, "localhost").stream(inner, 7));
    let quic = setting.client.clone();
    let asked = world
        .client()
        .with(inner, |_: &mut Probe, context| quic.connect(context, request));
    (asked.unwrap().unwrap(), log)
}

/// Why the first of a log's connections or connects ended, in words.
pub trait Reason {
    fn reason(&self) -> String;
}

impl Reason for Log {
    fn reason(&self) -> String {
        self.0.borrow().reasons.first().cloned().unwrap_or_default()
    }
}

/// Answers with what it receives, with back-pressure.
pub fn echo() -> Probe {
    Probe::new().data(|stream, data| {
        if stream.write(data).is_taken() {
            data.len()
        } else {
            0
        }
    })
}

/// Bytes of which no two neighbourhoods are alike.
pub fn pattern(len: u32) -> Vec<u8> {
    (0..len).map(|n| (n ^ n >> 11).to_le_bytes()[0]).collect()
}
