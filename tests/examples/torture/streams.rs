//! Streams on the loop: TCP, Unix sockets, TLS, files.

use std::io::Write as _;
use std::sync::Arc;

use rcgen::CertifiedKey;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use sockeye::tls::{ConnectorOptions, TlsConnector, TlsServer, rustls};
use sockeye_event_loop::{
    CloseReason, ConnectRequest, Context, EventLoop, ListenOptions, Stream, StreamId, StreamOptions,
    StreamService, UnixListenOptions,
};

use crate::ground::{Client, Echo, Failure, Notes, finish, loopback};

/// Clients of a scenario, one connection each.
const CLIENTS: usize = 2;
const BYTES: usize = 48 * 1024;

pub(crate) fn tcp_echo() -> Result<(), Failure> {
    let notes = Notes::default();
    let mut events = EventLoop::new()?;
    let echo = events.add_stream_service(Echo(notes.clone()), StreamOptions::default());
    let listener = events.listen(echo, loopback(), &ListenOptions::default())?;
    let at = events.local_addr(listener)?;
    let client = events.add_stream_service(Client::new(&notes, BYTES), StreamOptions::default());
    for _ in 0..CLIENTS {
        events.connect(client, ConnectRequest::new(at).deadline(crate::ground::DEADLINE));
    }
    finish(events, &notes, CLIENTS)
}

/// The first address refuses, the second answers.
pub(crate) fn tcp_connects() -> Result<(), Failure> {
    let notes = Notes::default();
    let mut events = EventLoop::new()?;
    let echo = events.add_stream_service(Echo(notes.clone()), StreamOptions::default());
    let listener = events.listen(echo, loopback(), &ListenOptions::default())?;
    let at = events.local_addr(listener)?;
    // Bound and never listening: nobody else on this machine gets the port meanwhile.
    let closed = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    closed.bind(&loopback().into())?;
    let refused = closed
        .local_addr()?
        .as_socket()
        .ok_or_else(|| Failure::Wrong("an address without a port".to_owned()))?;
    let client = events.add_stream_service(Client::new(&notes, 1000), StreamOptions::default());
    let request = ConnectRequest::any_of([refused, at]).deadline(crate::ground::DEADLINE);
    events.connect(client, request);
    let outcome = finish(events, &notes, 1);
    drop(closed);
    outcome
}

pub(crate) fn unix_echo() -> Result<(), Failure> {
    let notes = Notes::default();
    let folder = tempfile::tempdir()?;
    let name = folder.path().join("echo").to_string_lossy().parse()?;
    let mut events = EventLoop::new()?;
    let echo = events.add_stream_service(Echo(notes.clone()), StreamOptions::default());
    events.listen_unix(echo, &name, &UnixListenOptions::default())?;
    let client = events.add_stream_service(Client::new(&notes, BYTES), StreamOptions::default());
    for _ in 0..CLIENTS {
        let request = ConnectRequest::to_unix(name).deadline(crate::ground::DEADLINE);
        events.connect(client, request);
    }
    finish(events, &notes, CLIENTS)
}

/// A certificate of the moment for localhost, and who trusts it.
pub(crate) fn certified() -> Result<(ServerConfig, ClientConfig), Failure> {
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key =
        PrivateKeyDer::try_from(signing_key.serialize_der()).map_err(|what| Failure::Told(what.into()))?;
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)?;
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone())?;
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok((server, client))
}

pub(crate) fn tls_echo() -> Result<(), Failure> {
    let (server, client_config) = certified()?;
    let notes = Notes::default();
    let mut events = EventLoop::new()?;
    let echo = events.add_stream_service(Echo(notes.clone()), StreamOptions::default());
    let tls = events.add_stream_service(TlsServer::new(server, echo), StreamOptions::default());
    let listener = events.listen(tls, loopback(), &ListenOptions::default())?;
    let at = events.local_addr(listener)?;
    let connector = TlsConnector::new(&mut events, client_config, ConnectorOptions::default());
    let client = events.add_stream_service(Client::new(&notes, BYTES), StreamOptions::default());
    for _ in 0..CLIENTS {
        let request = ConnectRequest::new(at).deadline(crate::ground::DEADLINE);
        let connector = connector.clone();
        events
            .with(client, |_, context| {
                connector.connect(context, client, ServerName::try_from("localhost")?, request)?;
                Ok::<(), Failure>(())
            })
            .ok_or_else(|| Failure::Wrong("the service is not on the loop".to_owned()))??;
    }
    finish(events, &notes, CLIENTS)
}

/// Sends a file to each connection and closes.
struct Files {
    file: Arc<std::fs::File>,
    len: u64,
    notes: Notes,
}

impl StreamService for Files {
    type Conn = ();

    fn on_open(&mut self, stream: &mut Stream<'_>) {
        let _ = stream.send_file(&self.file, 0, self.len);
        stream.shutdown_write();
    }

    fn on_data(&mut self, _: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        data.len()
    }

    fn on_close(&mut self, _: &mut Context<'_>, _: StreamId, (): (), reason: CloseReason) {
        if !matches!(reason, CloseReason::Closed) {
            self.notes.told(format!("the file's connection: {reason}"));
        }
    }
}

/// What `sendfile(2)` sends is what is in the file.
pub(crate) fn tcp_file() -> Result<(), Failure> {
    let notes = Notes::default();
    let mut file = tempfile::tempfile()?;
    file.write_all(&sockeye_tests::pattern(BYTES))?;
    let files = Files {
        file: Arc::new(file),
        len: BYTES as u64,
        notes: notes.clone(),
    };
    let mut events = EventLoop::new()?;
    let files = events.add_stream_service(files, StreamOptions::default());
    let listener = events.listen(files, loopback(), &ListenOptions::default())?;
    let at = events.local_addr(listener)?;
    // What the client sends is read and thrown away.
    let client = events.add_stream_service(Client::new(&notes, BYTES), StreamOptions::default());
    events.connect(client, ConnectRequest::new(at).deadline(crate::ground::DEADLINE));
    finish(events, &notes, 1)
}
