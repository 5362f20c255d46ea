//! Tally on TCP, on a Unix socket, under TLS, over QUIC and over MPTCP: one service, one set of counters.
//! `ch08_everywhere [HOST]`.
//!
//! It listens on ports 7007 (TCP), 7008 (TLS on TCP, QUIC on UDP) and 7009 (MPTCP), and makes `tally.sock` and `cert.pem` in this folder.
#![expect(clippy::print_stdout, reason = "a program")]

// ANCHOR: program
#[path = "tally/counters.rs"]
mod counters;
#[path = "tally/service.rs"]
mod service;

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sockeye::event_loop::{
    EventLoop, ListenOptions, Remote, ServiceHandle, StreamOptions, UnixListenOptions,
};
use sockeye::quic::{QuicServer, socket_options};
use sockeye::tcp::{AcceptOutcome, ListenOptions as TcpListenOptions, Mptcp, TcpListener};
use sockeye::tls::TlsServer;
use sockeye::tls::rustls::ServerConfig;
use sockeye::tls::rustls::pki_types::PrivateKeyDer;

use service::Tally;

fn main() -> Result<(), Box<dyn Error>> {
    let host: IpAddr = std::env::args()
        .nth(1)
        .unwrap_or("127.0.0.1".to_owned())
        .parse()?;
    let mut events = EventLoop::new()?;
    let tally = events.add_stream_service(Tally::over_lines(), StreamOptions::default());

    // TCP.
    events.listen(tally, SocketAddr::new(host, 7007), &ListenOptions::default())?;

    // A Unix socket: a name in the file system, for this user alone.
    let only_us = UnixListenOptions {
        mode: Some(0o600),
        ..UnixListenOptions::default()
    };
    events.listen_unix(tally, &"tally.sock".parse()?, &only_us)?;

    // TLS: a service that carries another one.
    let config = certificate()?;
    let tls = events.add_stream_service(TlsServer::new(config.clone(), tally), StreamOptions::default());
    events.listen(tls, SocketAddr::new(host, 7008), &ListenOptions::default())?;

    // QUIC: the same, over UDP. Each of its streams is a connection to tally.
    let quic = QuicServer::new(config, tally)?.add_to(&mut events);
    events.bind(quic, SocketAddr::new(host, 7008), &socket_options())?;

    // MPTCP: connections that are accepted elsewhere, and given to the loop.
    let listener = TcpListenOptions::new()
        .mptcp(Mptcp::Prefer)
        .bind(SocketAddr::new(host, 7009))?;
    let remote = events.remote();
    std::thread::spawn(move || accept(&listener, &remote, tally));

    println!("listening on tcp://{host}:7007, unix:tally.sock, tls://{host}:7008, quic://{host}:7008,");
    println!("and by MPTCP on port 7009");
    Ok(events.run()?)
}

/// A certificate for `localhost`, made anew each time; clients find it in `cert.pem`.
fn certificate() -> Result<ServerConfig, Box<dyn Error>> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    std::fs::write("cert.pem", made.cert.pem())?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
    let config = ServerConfig::builder().with_no_client_auth();
    Ok(config.with_single_cert(vec![made.cert.der().clone()], key)?)
}

/// Accepts, and hands each connection to the loop.
fn accept<S>(listener: &TcpListener, remote: &Remote, to: ServiceHandle<S>) {
    loop {
        match listener.accept_outcome() {
            AcceptOutcome::Accepted(stream, peer) => {
                // The loop is full or gone: the connection is closed.
                let _ = remote.adopt(to, stream, peer);
            }
            AcceptOutcome::Empty => {
                let _ = listener.wait_readable(Duration::MAX);
            }
            AcceptOutcome::Retry(_) => {}
            AcceptOutcome::BackOff(_) => std::thread::sleep(Duration::from_millis(50)),
            _ => return,
        }
    }
}
// ANCHOR_END: program
