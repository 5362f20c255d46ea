//! TLS that ends at the relay, and TLS that begins there.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::{Backend, Relay, file};

/// An authority, and the files of what it has signed.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new([]).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Its certificates have another name: else openssl takes them for their own issuers.
        params
            .distinguished_name
            .push(DnType::CommonName, "authority of a test");
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        Self { issuer }
    }

    /// A certificate for the loopback and its key, as PEM.
    pub(crate) fn sign(&self) -> [String; 2] {
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("parameters");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        [certificate.pem(), key.serialize_pem()]
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A client of this authority's servers.
    pub(crate) fn connects(&self, tcp: TcpStream) -> StreamOwned<ClientConnection, TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("a root");
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        let connection = ClientConnection::new(Arc::new(config), name).expect("a client");
        StreamOwned::new(connection, tcp)
    }
}

/// A server of TLS that says `secure`; it goes on after handshakes that fail.
fn backend_of(authority: &Authority) -> String {
    let [cert, key] = authority.sign();
    let cert = CertificateDer::from_pem_slice(cert.as_bytes()).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert], key)
        .expect("a configuration");
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for tcp in listener.incoming().flatten() {
            let connection = ServerConnection::new(Arc::clone(&config)).expect("a server");
            let mut stream = StreamOwned::new(connection, tcp);
            if stream.write_all(b"secure\n").is_ok() {
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
    });
    format!("tls://{at}")
}

fn first_line(stream: &mut impl std::io::Read) -> std::io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte)? == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

#[test]
fn tls_ends_at_the_relay() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().expect("a folder"));
    let [cert, key] = authority.sign();
    let (cert, key) = (file(&folder, "cert.pem", &cert), file(&folder, "key.pem", &key));
    let backend = Backend::start("plain");
    let words = [
        "--listen",
        "tls://127.0.0.1:0",
        "--cert",
        &cert,
        "--key",
        &key,
        "--to",
        &backend.to(),
    ];
    let relay = Relay::start(&words, 1);
    assert!(relay.at[0].starts_with("tls://127.0.0.1:"), "{:?}", relay.at);
    let mut client = authority.connects(relay.client());
    assert_eq!(first_line(&mut client).expect("a line"), "plain");
    client.write_all(b"through it").expect("it takes them");
    let mut back = [0; 10];
    client.read_exact(&mut back).expect("they come back");
    assert_eq!(&back, b"through it");
    client.conn.send_close_notify();
    client.flush().expect("sent");
    assert!(relay.logs().ends_with(", done"));
    // Plain text is no session.
    let mut plain = relay.client();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("it takes them");
    assert!(relay.logs().contains("turned away"));
    relay.end();
}

#[test]
fn tls_begins_at_the_relay() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().expect("a folder"));
    let ca = file(&folder, "ca.pem", &authority.pem());
    let other = file(&folder, "other.pem", &Authority::new().pem());
    let to = backend_of(&authority);
    for trust in [&["--ca", &ca][..], &["--insecure"]] {
        let words = [&["--listen", "127.0.0.1:0", "--to", &to][..], trust].concat();
        let relay = Relay::start(&words, 1);
        assert_eq!(
            first_line(&mut relay.client()).expect("a line"),
            "secure",
            "{trust:?}"
        );
        assert!(relay.logs().contains(&to));
        relay.end();
    }
    let relay = Relay::start(&["--listen", "127.0.0.1:0", "--to", &to, "--ca", &other], 1);
    let _ = first_line(&mut relay.client());
    let line = relay.logs();
    let why = line.split_once(" connect-failed (TLS: ");
    assert!(why.is_some_and(|(_, why)| why.contains("certificate")), "{line}");
    relay.end();
}

#[test]
fn new_clients_get_the_new_certificate() {
    let (old, new) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().expect("a folder");
    let [cert, key] = old.sign();
    let files = [file(&folder, "cert.pem", &cert), file(&folder, "key.pem", &key)];
    let backend = Backend::start("plain");
    let words = [
        "--listen",
        "tls://127.0.0.1:0",
        "--cert",
        &files[0],
        "--key",
        &files[1],
        "--to",
        &backend.to(),
    ];
    let mut relay = Relay::start(&words, 1);
    let mut before = old.connects(relay.client());
    assert_eq!(first_line(&mut before).expect("a line"), "plain");
    // Half of a renewal is refused.
    let [cert, key] = new.sign();
    file(&folder, "cert.pem", &cert);
    relay.running.signal(libc::SIGHUP);
    let said = relay.says("not reloaded");
    assert!(
        said.contains("key.pem is not the key of the certificate"),
        "{said}"
    );
    assert_eq!(
        first_line(&mut old.connects(relay.client())).expect("a line"),
        "plain"
    );
    file(&folder, "key.pem", &key);
    relay.running.signal(libc::SIGHUP);
    relay.says("reloaded");
    assert_eq!(
        first_line(&mut new.connects(relay.client())).expect("a line"),
        "plain"
    );
    assert!(
        first_line(&mut old.connects(relay.client())).is_err(),
        "no client of the old authority"
    );
    before.write_all(b"x").expect("the old session goes on");
    before.read_exact(&mut [0]).expect("the old session goes on");
}
