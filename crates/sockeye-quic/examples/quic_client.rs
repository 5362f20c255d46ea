//! Sends a line over a stream of QUIC, and prints what comes back: `quic_client ADDRESS NAME CERT.pem LINE`.
//!
//! NAME is in the server's certificate, CERT.pem is who is trusted: with a certificate that has signed itself, that one.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sockeye_event_loop::{
    CloseReason, ConnectFailure, Context, EventLoop, Stream, StreamId, StreamOptions, StreamService,
};
use sockeye_quic::{QuicClient, QuicConnect, rustls, socket_options};

struct Line(String);

impl StreamService for Line {
    type Conn = ();

    fn on_open(&mut self, stream: &mut Stream<'_>) {
        let _ = stream.write(self.0.as_bytes());
        stream.shutdown_write();
    }

    fn on_data(&mut self, _: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        // Nobody who reads it is no reason to fail.
        let _ = std::io::stdout().write_all(data);
        data.len()
    }

    fn on_connect_error(&mut self, context: &mut Context<'_>, failure: ConnectFailure) {
        let _ = writeln!(std::io::stderr(), "{failure}");
        context.stop();
    }

    fn on_close(&mut self, context: &mut Context<'_>, _: StreamId, (): (), reason: CloseReason) {
        let _ = writeln!(std::io::stdout(), "\n{reason}");
        context.stop();
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [at, name, cert, line] = words.as_slice() else {
        return Err("quic_client ADDRESS NAME CERT.pem LINE".into());
    };
    let at: SocketAddr = at.parse()?;
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(cert)? {
        roots.add(certificate?)?;
    }
    let config =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
    let mut events = EventLoop::new()?;
    let own = events.add_stream_service(Line(line.clone()), StreamOptions::default());
    let client = QuicClient::new(config)?;
    let quic = client.handle();
    let client = client.add_to(&mut events);
    let any = if at.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    events.bind(client, any.parse()?, &socket_options())?;
    let request = QuicConnect::new(at, name.as_str()).stream(own, 0);
    if let Some(begun) = events.with(own, |_, context| quic.connect(context, request)) {
        begun?;
    }
    events.run()?;
    // What was said last is acknowledged, and the server hears of the end.
    Ok(events.drain(std::time::Duration::from_secs(1))?)
}
