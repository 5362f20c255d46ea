//! The servers and the relay, on a thread of their own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::Duration;

use rcgen::CertifiedKey;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use sockeye::tls::{TlsServer, rustls};
use sockeye_event_loop::{
    Datagram, DatagramOptions, DatagramService, Datagrams, EventLoop, ListenOptions, Remote, Stream,
    StreamOptions, StreamService, UnixListenOptions, UnixName,
};
use sockeye_relay::{Config, ListenerConfig, PoolConfig, Relay};

use crate::Error;

/// One in so many deliveries of data resets the connection instead.
const RESETS: u64 = 4_000;

/// Where everything is, and what stops it.
pub(crate) struct Serving {
    pub(crate) tcp: SocketAddr,
    pub(crate) tls: SocketAddr,
    pub(crate) relay: SocketAddr,
    pub(crate) relay_tls: SocketAddr,
    pub(crate) udp: SocketAddr,
    pub(crate) relay_udp: SocketAddr,
    pub(crate) unix: UnixName,
    pub(crate) trust: ClientConfig,
    resets: Arc<AtomicU64>,
    remote: Remote,
    thread: JoinHandle<Result<(), Error>>,
    _folder: tempfile::TempDir,
}

/// What the thread says once it serves.
struct Places {
    tcp: SocketAddr,
    tls: SocketAddr,
    relay: SocketAddr,
    relay_tls: SocketAddr,
    udp: SocketAddr,
    relay_udp: SocketAddr,
    remote: Remote,
}

impl Serving {
    /// Starts it all; the relay has backends at these ports.
    pub(crate) fn start(backends: Vec<u16>) -> Result<Self, Error> {
        let folder = tempfile::tempdir()?;
        let unix: UnixName = folder.path().join("echo").to_string_lossy().parse()?;
        let (server, trust) = certified()?;
        let resets = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&resets);
        let (sender, receiver) = channel();
        let thread = std::thread::spawn(move || {
            let mut events = EventLoop::new()?;
            let places = serve(&mut events, &backends, unix, server, counted)?;
            sender.send(places).map_err(|_| "nobody waits")?;
            events.run()?;
            events.drain(Duration::from_secs(5))?;
            Ok(())
        });
        let Ok(places) = receiver.recv_timeout(Duration::from_secs(20)) else {
            return Err(match thread.join() {
                Ok(Err(error)) => error,
                _ => "the servers did not start".into(),
            });
        };
        let Places {
            tcp,
            tls,
            relay,
            relay_tls,
            udp,
            relay_udp,
            remote,
        } = places;
        Ok(Self {
            tcp,
            tls,
            relay,
            relay_tls,
            udp,
            relay_udp,
            unix,
            trust,
            resets,
            remote,
            thread,
            _folder: folder,
        })
    }

    /// Ends the thread; how many connections the servers have reset.
    pub(crate) fn stop(self) -> Result<u64, Error> {
        self.remote.stop()?;
        self.thread.join().map_err(|_| "the servers' thread panicked")??;
        Ok(self.resets.load(Ordering::Relaxed))
    }
}

/// Sends back what comes, and now and then resets the connection.
struct Echo(Arc<AtomicU64>);

impl StreamService for Echo {
    type Conn = ();

    fn on_open(&mut self, _: &mut Stream<'_>) {}

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        if stream.random().is_multiple_of(RESETS) {
            self.0.fetch_add(1, Ordering::Relaxed);
            stream.abort();
            return data.len();
        }
        if stream.write(data).is_taken() {
            data.len()
        } else {
            0
        }
    }
}

struct DatagramEcho;

impl DatagramService for DatagramEcho {
    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        // What is lost is asked for again.
        let _ = socket.send(&datagram.echo());
    }
}

fn serve(
    events: &mut EventLoop,
    backends: &[u16],
    unix: UnixName,
    server: ServerConfig,
    resets: Arc<AtomicU64>,
) -> Result<Places, Error> {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let echo = events.add_stream_service(Echo(resets), StreamOptions::default());
    let tcp = events.listen(echo, loopback, &ListenOptions::default())?;
    let tcp = events.local_addr(tcp)?;
    events.listen_unix(echo, &unix, &UnixListenOptions::default())?;
    let tls = events.add_stream_service(TlsServer::new(server.clone(), echo), StreamOptions::default());
    let tls = events.listen(tls, loopback, &ListenOptions::default())?;
    let tls = events.local_addr(tls)?;
    let udp = events.add_datagram_service(DatagramEcho);
    let udp = events.bind(udp, loopback, &DatagramOptions::default())?;
    let udp = events.local_addr(udp)?;

    let pool = |name: &str, addresses: Vec<String>| -> Result<PoolConfig, Error> {
        let backends = addresses.iter().map(|address| address.parse());
        let mut pool = PoolConfig::new(name, backends.collect::<Result<Vec<_>, _>>()?);
        // A backend that was killed is back at once: the others must not be out when it is the next one's turn.
        pool.health.out = Duration::from_millis(300);
        Ok(pool)
    };
    let processes = backends.iter().map(|port| format!("tcp://127.0.0.1:{port}"));
    let fronts = ["tcp://127.0.0.1:0", "tls://127.0.0.1:0", "udp://127.0.0.1:0"];
    let config = Config {
        listeners: vec![
            ListenerConfig::new(fronts[0].parse()?, "processes"),
            ListenerConfig::new(fronts[1].parse()?, "unix"),
            ListenerConfig::new(fronts[2].parse()?, "udp"),
        ],
        pools: vec![
            pool("processes", processes.collect())?,
            pool("unix", vec![format!("unix:{unix}")])?,
            pool("udp", vec![format!("udp://{udp}")])?,
        ],
        ..Config::default()
    };
    let relay = Relay::new(config)?.tls_server("", server).start(events)?;
    let mut place = |front: &str| -> Result<SocketAddr, Error> {
        let at = relay
            .local_addr(events, front)
            .ok_or("the relay has no address")?
            .to_string();
        Ok(at.rsplit('/').next().unwrap_or_default().parse()?)
    };
    let (relay_tcp, relay_tls, relay_udp) = (place(fronts[0])?, place(fronts[1])?, place(fronts[2])?);
    Ok(Places {
        tcp,
        tls,
        relay: relay_tcp,
        relay_tls,
        udp,
        relay_udp,
        remote: events.remote(),
    })
}

/// A certificate of the moment for localhost, and who trusts it.
fn certified() -> Result<(ServerConfig, ClientConfig), Error> {
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            vec![cert.der().clone()],
            PrivateKeyDer::try_from(signing_key.serialize_der())?,
        )?;
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone())?;
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok((server, client))
}
