//! `https LISTEN CERTIFICATE KEY`: a service that answers HTTP requests under TLS, as in
//! `https 127.0.0.1:8443 cert.pem key.pem`, then `curl --cacert cert.pem https://localhost:8443/`.
//!
//! A certificate to try it with (without the last extension openssl makes it one of a CA, which rustls takes for no server's):
//! `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=localhost -addext
//! subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE -keyout key.pem -out cert.pem`
//!
//! It is HTTPS as far as it is needed for a page; a whole HTTP server is another matter.

use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sockeye_event_loop::{EventLoop, ListenOptions, Stream, StreamOptions, StreamService};
use sockeye_tls::{StreamTls, TlsServer};

/// Answers each request with what is known of the connection. It would do the same without TLS.
struct Page;

impl StreamService for Page {
    type Conn = ();

    fn on_open(&mut self, _: &mut Stream<'_>) {}

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        let Some(end) = data.windows(4).position(|window| window == b"\r\n\r\n") else {
            return 0; // The rest of the request is to come.
        };
        let mut page = String::new();
        if let Some(peer) = stream.peer_addr() {
            let _ = writeln!(page, "Hello, {peer}.");
        }
        if let Some(tls) = stream.tls() {
            let _ = writeln!(page, "{:?}, {:?}", tls.version, tls.cipher_suite.suite());
        }
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", page.len());
        let _ = stream.write((head + &page).as_bytes());
        end + 4
    }
}

fn main() -> ExitCode {
    let outcome = run();
    if let Err(error) = &outcome {
        let _ = writeln!(std::io::stderr(), "https: {error}");
    }
    ExitCode::from(u8::from(outcome.is_err()))
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [at, certificate, key] = &arguments[..] else {
        return Err("usage: https LISTEN CERTIFICATE KEY, as in https [::1]:8443 cert.pem key.pem".into());
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|error| format!("{certificate}: {error}"))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| format!("{key}: {error}"))?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];

    let mut events = EventLoop::new()?;
    let page = events.add_stream_service(Page, StreamOptions::default());
    let tls = events.add_stream_service(TlsServer::new(config, page), StreamOptions::default());
    let listener = events.listen(tls, at.parse()?, &ListenOptions::default())?;
    let at = events.local_addr(listener)?;
    writeln!(std::io::stdout(), "listening on https://{at}")?;
    Ok(events.run()?)
}
