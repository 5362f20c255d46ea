//! `relay LISTEN BACKEND...` relays streams to the backend with the fewest sessions, and datagrams if all are `udp://`:
//! `cargo run -p sockeye-relay --features resolver --example relay -- tcp://127.0.0.1:8080 tcp://127.0.0.1:80 unix:/run/web.sock`.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use sockeye_event_loop::EventLoop;
use sockeye_relay::{Balance, Config, Hooks, ListenerConfig, PoolConfig, Relay, SessionRecord};

/// Prints a line for each session.
struct Log;

impl Hooks for Log {
    fn on_session(&mut self, record: &SessionRecord) {
        let backend = record.backend.as_deref().unwrap_or("-");
        let (up, down) = (record.from_client, record.from_backend);
        let line = format_args!("{:?} {backend} {up}+{down} bytes {}", record.client, record.end);
        // A log that nobody reads any more is no reason to end.
        let _ = writeln!(std::io::stderr(), "{line} after {:?}", record.lasted);
    }
}

fn main() -> ExitCode {
    let outcome = run();
    if let Err(error) = &outcome {
        let _ = writeln!(std::io::stderr(), "relay: {error}");
    }
    ExitCode::from(u8::from(outcome.is_err()))
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let at = arguments.next().ok_or("usage: relay LISTEN BACKEND...")?;
    let backends = arguments
        .map(|backend| backend.parse())
        .collect::<Result<Vec<_>, _>>()?;
    let mut pool = PoolConfig::new("backends", backends);
    pool.balance = Balance::LeastSessions;
    let config = Config {
        listeners: vec![ListenerConfig::new(at.parse()?, "backends")],
        pools: vec![pool],
        ..Config::default()
    };
    let mut events = EventLoop::new()?;
    let relay = Relay::new(config)?.hooks(Log).start(&mut events)?;
    if let Some(at) = relay.local_addr(&mut events, &at) {
        writeln!(std::io::stdout(), "listening on {at}")?;
    }
    Ok(events.run()?)
}
