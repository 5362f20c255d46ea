//! Certificates, configurations, and a service behind TLS with a client that speaks to it.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use sockeye::tls::{ConnectorOptions, TlsConnector, TlsCounters, TlsServer, rustls};
use sockeye_event_loop::{ServiceHandle, StreamOptions};
use std::net::SocketAddr;

use crate::probe::{Log, Probe};
use crate::world::World;

/// An authority and what it has signed.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key.
pub struct Signed {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self {
            issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap(),
        }
    }

    pub fn sign(&self, name: &str) -> Signed {
        self.sign_with(name, |_| {})
    }

    pub fn sign_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Signed {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Signed {
            chain: vec![certificate.der().clone()],
            key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        }
    }

    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        roots
    }

    pub fn server(&self) -> ServerConfig {
        server_config(self.sign("localhost"), rustls::ALL_VERSIONS)
    }

    pub fn client(&self) -> ClientConfig {
        self.client_of(rustls::ALL_VERSIONS)
    }

    pub fn client_of(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(self.roots())
            .with_no_client_auth()
    }

    /// A server that wants a certificate of the client.
    pub fn server_for_known(&self) -> ServerConfig {
        let signed = self.sign("localhost");
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots()), provider());
        ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(signed.chain, signed.key)
            .unwrap()
    }
}

pub fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

pub fn server_config(signed: Signed, versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
    ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(signed.chain, signed.key)
        .unwrap()
}

pub fn localhost() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

/// A service of the server's loop behind TLS, and a connector of the client's.
pub struct Setting {
    pub at: SocketAddr,
    pub tls: ServiceHandle<TlsServer>,
    pub connector: TlsConnector,
    /// What the service inside was told.
    pub inside: Log,
    pub counters: TlsCounters,
}

/// Puts `inside` behind TLS, and makes a connector for clients.
pub fn setting<W: World>(
    world: &mut W,
    server: ServerConfig,
    client: ClientConfig,
    inside: Probe,
) -> Setting {
    setting_with(world, server, client, inside, |server| server)
}

pub fn setting_with<W: World>(
    world: &mut W,
    server: ServerConfig,
    client: ClientConfig,
    inside: Probe,
    change: impl FnOnce(TlsServer) -> TlsServer,
) -> Setting {
    let log = inside.log.clone();
    let inside = world
        .server()
        .add_stream_service(inside, StreamOptions::default());
    let counters = TlsCounters::default();
    let server = change(TlsServer::new(server, inside).counters(&counters));
    let tls = world
        .server()
        .add_stream_service(server, StreamOptions::default());
    let at = world.listen(tls);
    let connector = TlsConnector::new(world.client(), client, ConnectorOptions::default());
    Setting {
        at,
        tls,
        connector,
        inside: log,
        counters,
    }
}

/// Connects a probe of the client's loop over TLS; its log.
pub fn connect<W: World>(world: &mut W, setting: &Setting, client: Probe) -> Log {
    connect_as(world, setting, &setting.connector, localhost(), client)
}

pub fn connect_as<W: World>(
    world: &mut W,
    setting: &Setting,
    connector: &TlsConnector,
    name: ServerName<'static>,
    client: Probe,
) -> Log {
    let log = client.log.clone();
    let inner = world
        .client()
        .add_stream_service(client, StreamOptions::default());
    let request = world.request(setting.at).tag(7);
    let connector = connector.clone();
    let asked = world.client().with(inner, |_: &mut Probe, context| {
        connector.connect(context, inner, name, request)
    });
    asked.unwrap().unwrap();
    log
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
