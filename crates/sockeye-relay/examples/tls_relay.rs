//! `tls_relay LISTEN CERTIFICATE KEY BACKEND...` ends TLS and relays what was in it, as in
//! `cargo run -p sockeye-relay --features ring --example tls_relay -- tls://127.0.0.1:8443 cert.pem key.pem tcp://127.0.0.1:80`.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use sockeye_event_loop::EventLoop;
use sockeye_relay::{Config, ListenerConfig, PoolConfig, Relay};
use sockeye_tls::rustls::ServerConfig;
use sockeye_tls::rustls::pki_types::pem::PemObject as _;
use sockeye_tls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

fn main() -> ExitCode {
    let outcome = run();
    if let Err(error) = &outcome {
        let _ = writeln!(std::io::stderr(), "tls_relay: {error}");
    }
    ExitCode::from(u8::from(outcome.is_err()))
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [at, certificate, key, backends @ ..] = &arguments[..] else {
        return Err("usage: tls_relay LISTEN CERTIFICATE KEY BACKEND...".into());
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|error| format!("{certificate}: {error}"))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| format!("{key}: {error}"))?;
    let tls = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    let backends = backends
        .iter()
        .map(|backend| backend.parse())
        .collect::<Result<Vec<_>, _>>()?;
    let config = Config {
        listeners: vec![ListenerConfig::new(at.parse()?, "backends")],
        pools: vec![PoolConfig::new("backends", backends)],
        ..Config::default()
    };
    let mut events = EventLoop::new()?;
    // The empty name: the listener calls for no other.
    let relay = Relay::new(config)?.tls_server("", tls).start(&mut events)?;
    if let Some(at) = relay.local_addr(&mut events, at) {
        writeln!(std::io::stdout(), "listening on tls://{at}")?;
    }
    Ok(events.run()?)
}
