//! A name server on the kernel, in a thread of its own.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use rustls::ServerConfig;
use sockeye::tls::TlsServer;
use sockeye_event_loop::backend::Backend;
use sockeye_event_loop::{EventLoop, ListenOptions, Remote, StreamOptions};
use sockeye_sim::names::NameServer;
use sockeye_tests::wait::PATIENCE;

/// It, until it is dropped.
pub struct Serving {
    pub server: NameServer,
    pub address: SocketAddr,
    remote: Remote,
    thread: Option<JoinHandle<()>>,
}

impl Serving {
    /// By UDP and TCP on the loopback.
    pub fn new(server: NameServer) -> Self {
        Self::on(server, (Ipv4Addr::LOCALHOST, 0).into())
    }

    pub fn on(server: NameServer, at: SocketAddr) -> Self {
        let handle = server.clone();
        Self::with(server, move |events| handle.serve(events, at).unwrap().address)
    }

    /// Over TLS alone.
    pub fn over_tls(server: NameServer, config: ServerConfig) -> Self {
        let handle = server.clone();
        let at = (Ipv4Addr::LOCALHOST, 0).into();
        Self::with(server, move |events| serve_tls(events, &handle, config, at))
    }

    fn with(server: NameServer, serve: impl FnOnce(&mut EventLoop) -> SocketAddr + Send + 'static) -> Self {
        let (told, tell) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut events = EventLoop::new().unwrap();
            let address = serve(&mut events);
            told.send((address, events.remote())).unwrap();
            events.run().unwrap();
        });
        let (address, remote) = tell.recv_timeout(PATIENCE).unwrap();
        Self {
            server,
            address,
            remote,
            thread: Some(thread),
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.remote.stop();
        let thread = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            thread.unwrap().unwrap();
        }
    }
}

/// A port of UDP at which the kernel refuses: its socket keeps it from others, and hears only a peer that there is not.
pub struct Refusing(UdpSocket);

impl Refusing {
    pub fn new() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.connect((Ipv4Addr::LOCALHOST, 9)).unwrap();
        Self(socket)
    }

    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }
}

/// Puts the server's connections behind TLS, on an address of a loop.
pub fn serve_tls<B: Backend>(
    events: &mut EventLoop<B>,
    server: &NameServer,
    config: ServerConfig,
    at: SocketAddr,
) -> SocketAddr {
    let inner = events.add_stream_service(server.tcp(), server.stream_options());
    let tls = events.add_stream_service(TlsServer::new(config, inner), StreamOptions::default());
    let listener = events.listen(tls, at, &ListenOptions::default()).unwrap();
    SocketAddr::new(at.ip(), events.local_addr(listener).unwrap().port())
}
