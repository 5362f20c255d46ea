//! Echoes every stream of QUIC, and every datagram: `quic_server ADDRESS CERT.pem KEY.pem`.
//!
//! A certificate for the loopback: `openssl req -x509 -newkey ed25519 -nodes -keyout KEY.pem -out CERT.pem -subj /CN=localhost
//! -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE`.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sockeye_event_loop::{Context, EventLoop, Stream, StreamOptions, StreamService};
use sockeye_quic::{ConnectionService, QuicHandle, QuicId, QuicServer, rustls, socket_options};

struct Echo;

impl StreamService for Echo {
    type Conn = ();

    fn on_open(&mut self, _: &mut Stream<'_>) {}

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        if stream.write(data).is_taken() {
            data.len()
        } else {
            0
        }
    }
}

struct EchoDatagrams;

impl ConnectionService for EchoDatagrams {
    fn on_datagram(&mut self, quic: &QuicHandle, context: &mut Context<'_>, id: QuicId, data: &[u8]) {
        // Where there is no room it is lost, as datagrams may be.
        let _ = quic.send_datagram(context, id, data);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [at, cert, key] = words.as_slice() else {
        return Err("quic_server ADDRESS CERT.pem KEY.pem".into());
    };
    let at: SocketAddr = at.parse()?;
    let chain = CertificateDer::pem_file_iter(cert)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
    let mut events = EventLoop::new()?;
    let echo = events.add_stream_service(Echo, StreamOptions::default());
    let quic = QuicServer::new(config, echo)?.connections(EchoDatagrams);
    let quic = quic.add_to(&mut events);
    let socket = events.bind(quic, at, &socket_options())?;
    writeln!(
        std::io::stdout(),
        "listening on quic://{}",
        events.local_addr(socket)?
    )?;
    Ok(events.run()?)
}
