//! Two connections under TLS: one ends in order, one is cut by somebody on the way. What is the service told?
#![expect(clippy::print_stdout, reason = "a program")]

use std::error::Error;
use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use sockeye::event_loop::{
    CloseReason, Context, EventLoop, ListenOptions, Stream, StreamId, StreamOptions, StreamService,
};
use sockeye::tls::TlsServer;
use sockeye::tls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sockeye::tls::rustls::{self, ClientConfig, ClientConnection, RootCertStore, ServerConfig};

// ANCHOR: service
/// Says how its connections end.
struct Ends;

impl StreamService for Ends {
    type Conn = ();

    fn on_open(&mut self, _: &mut Stream<'_>) {}

    fn on_data(&mut self, _: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        println!("got {:?}", String::from_utf8_lossy(data));
        data.len()
    }

    fn on_eof(&mut self, stream: &mut Stream<'_>, (): &mut ()) {
        println!("    the client has ended its side");
        stream.close();
    }

    fn on_close(&mut self, _: &mut Context<'_>, _: StreamId, (): (), reason: CloseReason) {
        println!("    closed: {reason}");
    }
}
// ANCHOR_END: service

fn main() -> Result<(), Box<dyn Error>> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
    let certificate = made.cert.der().clone();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)?;
    let mut events = EventLoop::new()?;
    let ends = events.add_stream_service(Ends, StreamOptions::default());
    let tls = events.add_stream_service(TlsServer::new(config, ends), StreamOptions::default());
    let listener = events.listen(tls, "127.0.0.1:0".parse()?, &ListenOptions::default())?;
    let at = events.local_addr(listener)?;
    let remote = events.remote();
    let clients = std::thread::spawn(move || -> Result<(), String> {
        for in_order in [true, false] {
            client(at, certificate.clone(), in_order).map_err(|error| error.to_string())?;
        }
        remote
            .drain(Duration::from_secs(5))
            .map_err(|error| error.to_string())
    });
    events.run()?;
    clients.join().map_err(|_| "the client panicked")??;
    Ok(())
}

/// Sends a request, then ends TLS in order, or lets TCP end under it as somebody on the
/// way could.
fn client(
    at: SocketAddr,
    certificate: CertificateDer<'static>,
    in_order: bool,
) -> Result<(), Box<dyn Error>> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut tls = ClientConnection::new(Arc::new(config), "localhost".try_into()?)?;
    let mut tcp = TcpStream::connect(at)?;
    rustls::Stream::new(&mut tls, &mut tcp).write_all(b"pay 100")?;
    if in_order {
        tls.send_close_notify();
        tls.complete_io(&mut tcp)?;
    }
    tcp.shutdown(Shutdown::Write)?;
    // Until the server has closed too, so that the two clients do not overlap.
    io::copy(&mut tcp, &mut io::sink())?;
    Ok(())
}
