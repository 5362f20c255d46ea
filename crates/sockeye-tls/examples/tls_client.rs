//! `tls_client ADDRESS NAME ROOTS`: connects under TLS, sends a line, prints what comes back, as in
//! `tls_client 127.0.0.1:8443 localhost cert.pem`.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sockeye_event_loop::{
    ConnectFailure, ConnectRequest, Context, EventLoop, Stream, StreamOptions, StreamService,
};
use sockeye_tls::{ConnectorOptions, TlsConnector};

/// Asks once. It does not know that there is TLS around it.
struct Asks;

impl StreamService for Asks {
    type Conn = ();

    fn on_open(&mut self, stream: &mut Stream<'_>) {
        let _ = stream.write(b"GET / HTTP/1.0\r\n\r\n");
        stream.shutdown_write();
    }

    fn on_data(&mut self, _: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        // What a server sends is not for a terminal as it is.
        let _ = writeln!(std::io::stdout(), "{}", data.escape_ascii());
        data.len()
    }

    fn on_close(
        &mut self,
        context: &mut Context<'_>,
        _: sockeye_event_loop::StreamId,
        (): (),
        reason: sockeye_event_loop::CloseReason,
    ) {
        let _ = writeln!(std::io::stderr(), "{reason}");
        context.stop();
    }

    fn on_connect_error(&mut self, context: &mut Context<'_>, failure: ConnectFailure) {
        let _ = writeln!(std::io::stderr(), "{failure}");
        context.stop();
    }
}

fn main() -> ExitCode {
    let outcome = run();
    if let Err(error) = &outcome {
        let _ = writeln!(std::io::stderr(), "tls_client: {error}");
    }
    ExitCode::from(u8::from(outcome.is_err()))
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [at, name, roots] = &arguments[..] else {
        return Err(
            "usage: tls_client ADDRESS NAME ROOTS, as in tls_client 127.0.0.1:8443 localhost cert.pem".into(),
        );
    };
    let mut store = RootCertStore::empty();
    let certificates: Vec<_> = CertificateDer::pem_file_iter(roots)
        .and_then(Iterator::collect)
        .map_err(|error| format!("{roots}: {error}"))?;
    for root in certificates {
        store.add(root)?;
    }
    let config = ClientConfig::builder()
        .with_root_certificates(store)
        .with_no_client_auth();

    let mut events = EventLoop::new()?;
    let tls = TlsConnector::new(&mut events, config, ConnectorOptions::default());
    let asks = events.add_stream_service(Asks, StreamOptions::default());
    let (request, name) = (
        ConnectRequest::new(at.parse()?),
        ServerName::try_from(name.clone())?,
    );
    events.with(asks, |_: &mut Asks, context| {
        tls.connect(context, asks, name, request)
    });
    Ok(events.run()?)
}
