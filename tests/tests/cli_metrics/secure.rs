//! Connections under TLS are counted like others.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use sockeye_tests::wait::{self, PATIENCE};

use crate::ground::{Program, connect, file};
use crate::reader;

fn client(cert: CertificateDer<'static>, at: SocketAddr) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(cert).expect("a root");
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("a client");
    StreamOwned::new(connection, connect(at))
}

#[test]
fn a_server_counts_what_comes_under_tls() {
    let folder = tempfile::tempdir().expect("a folder");
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let pem = file(folder.path(), "cert.pem", &cert.pem());
    let key = file(folder.path(), "key.pem", &signing_key.serialize_pem());
    let words = [
        "serve",
        "echo",
        "--listen",
        "tls://127.0.0.1:0",
        "--listen",
        "tcp://127.0.0.1:0",
        "--cert",
        &pem,
        "--key",
        &key,
        "--metrics",
        "127.0.0.1:0",
    ];
    let program = Program::start(&words);
    let mut stream = client(cert.der().clone(), program.listener(0));
    stream.write_all(b"salmon").expect("room");
    stream.read_exact(&mut [0; 6]).expect("an answer");
    let labels = [("address", program.listens[0].as_str())];
    let read = || reader::read(&program.get("/metrics"));
    let now = read();
    assert_eq!(now.value("sockeye_serve_connections_total", &labels), 1.0);
    assert_eq!(now.value("sockeye_serve_open_connections", &labels), 1.0);
    // What is counted is what the service sees, as of a connection without TLS.
    assert_eq!(now.value("sockeye_serve_received_bytes_total", &labels), 6.0);
    assert_eq!(now.value("sockeye_serve_sent_bytes_total", &labels), 6.0);
    assert_eq!(now.sum("sockeye_serve_connections_total"), 1.0);
    stream.conn.send_close_notify();
    stream.flush().expect("sent");
    wait::until("it is gone", PATIENCE, || {
        read().value("sockeye_serve_closed_connections_total", &labels) == 1.0
    });
    program.end();
}
