//! The whole relay, to be counted beside the bare `join`: `relay_whole_counted BACKEND_PORT` prints where it listens and
//! relays to the loopback, to two backends by the fewest sessions, with its counters, deadlines and records.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};

use sockeye::event_loop::EventLoop;
use sockeye::relay::{Balance, Config, Hooks, ListenerConfig, PoolConfig, Relay, SessionRecord};

/// Adds up what the records say.
#[derive(Default)]
struct Total(u64);

impl Hooks for Total {
    fn on_session(&mut self, record: &SessionRecord) {
        self.0 += record.from_client + record.from_backend;
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = std::env::args().nth(1).ok_or("which port has the backend?")?;
    let backend = format!("tcp://{}", SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse()?)));
    let mut pool = PoolConfig::new("echo", [backend.parse()?, backend.parse()?]);
    pool.balance = Balance::LeastSessions;
    // One server in two roles: to the relay they are two.
    for (backend, name) in pool.backends.iter_mut().zip(["one", "two"]) {
        backend.name = Some(name.to_owned());
    }
    let config = Config {
        listeners: vec![ListenerConfig::new("tcp://127.0.0.1:0".parse()?, "echo")],
        pools: vec![pool],
        ..Config::default()
    };
    let mut events = EventLoop::new()?;
    let relay = Relay::new(config)?.hooks(Total::default()).start(&mut events)?;
    let at = relay.local_addr(&mut events, "tcp://127.0.0.1:0");
    writeln!(
        std::io::stdout(),
        "listening on tcp://{}",
        at.ok_or("it has no address")?
    )?;
    Ok(events.run()?)
}
