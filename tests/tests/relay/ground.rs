//! A relay between clients and backends: it has the server's loop, they share the client's.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use sockeye_event_loop::{ListenOptions, ListenerId, ServiceHandle, StreamOptions};
use sockeye_relay::{
    Arrival, Condition, Config, Hooks, ListenerConfig, Names, PoolConfig, Relay, RelayStats, Running,
    SessionEnd, SessionRecord, TurnedAway,
};

use crate::probe::{Log, Probe, Served};
use crate::world::World;

/// What the relay told its program.
#[derive(Clone, Default)]
pub struct Told {
    pub records: Rc<RefCell<Vec<SessionRecord>>>,
    pub changes: Rc<RefCell<Vec<(String, Condition)>>>,
    pub refuse: Rc<Cell<bool>>,
    /// Who was turned away, by which listener, and why; and which listeners were lost.
    pub turned_away: Rc<RefCell<Vec<(String, Option<SocketAddr>, String)>>>,
    pub lost: Rc<RefCell<Vec<String>>>,
}

impl Hooks for Told {
    fn admit(&mut self, _: Arrival<'_>) -> bool {
        !self.refuse.get()
    }

    fn on_session(&mut self, record: &SessionRecord) {
        self.records.borrow_mut().push(record.clone());
    }

    fn on_turned_away(&mut self, connection: &TurnedAway<'_>) {
        self.turned_away.borrow_mut().push((
            connection.listener.to_owned(),
            connection.client,
            connection.cause.to_string(),
        ));
    }

    fn on_listener_lost(&mut self, listener: &str, _: &std::io::Error) {
        self.lost.borrow_mut().push(listener.to_owned());
    }

    fn on_backend(&mut self, pool: &str, backend: &str, condition: Condition) {
        self.changes
            .borrow_mut()
            .push((format!("{pool} {backend}"), condition));
    }
}

impl Told {
    pub fn ends(&self) -> Vec<SessionEnd> {
        self.records.borrow().iter().map(|record| record.end).collect()
    }

    pub fn count(&self) -> usize {
        self.records.borrow().len()
    }

    pub fn last(&self) -> SessionRecord {
        self.records.borrow().last().unwrap().clone()
    }

    /// Which backends sessions had, in the order in which they ended.
    pub fn backends(&self) -> Vec<String> {
        let records = self.records.borrow();
        records
            .iter()
            .map(|record| record.backend.as_deref().unwrap_or("-").to_owned())
            .collect()
    }
}

pub struct Ground<W> {
    pub world: W,
    pub told: Told,
    pub relay: Option<Running>,
}

impl<W: World> Ground<W> {
    pub fn new() -> Self {
        Self {
            world: W::new(),
            told: Told::default(),
            relay: None,
        }
    }

    /// A service at a new port of the backends' host.
    pub fn backend(&mut self, probe: Probe) -> Backend {
        let log = probe.log.clone();
        let handle = self
            .world
            .client()
            .add_stream_service(probe, StreamOptions::default());
        let at = SocketAddr::new(self.world.client_ip(), 0);
        let listener = self
            .world
            .client()
            .listen(handle, at, &ListenOptions::default())
            .unwrap();
        let port = self.world.client().local_addr(listener).unwrap().port();
        Backend {
            at: SocketAddr::new(at.ip(), port),
            log,
            handle,
            listener,
        }
    }

    /// A port of the backends' host that nobody listens at.
    pub fn nobody(&mut self) -> SocketAddr {
        let backend = self.backend(Probe::new());
        self.world.client().close_listener(backend.listener);
        backend.at
    }

    /// A port of the backends' host that nobody answers at: its backlog is full, so that each SYN is dropped.
    pub fn hanging(&mut self) -> SocketAddr {
        let handle = self
            .world
            .client()
            .add_stream_service(Probe::new(), StreamOptions::default());
        let options = ListenOptions {
            backlog: 1,
            max_connections: 0,
            ..ListenOptions::default()
        };
        let at = SocketAddr::new(self.world.client_ip(), 0);
        let listener = self.world.client().listen(handle, at, &options).unwrap();
        let port = self.world.client().local_addr(listener).unwrap().port();
        let at = SocketAddr::new(at.ip(), port);
        let fillers = Probe::new().connect(&mut self.world, at);
        for _ in 0..4 {
            let request = self.world.request(at);
            self.world.client().connect(fillers.handle, request);
        }
        let log = fillers.log.clone();
        self.world.until("the backlog is full", || log.opened() >= 2);
        at
    }

    /// Starts the relay.
    pub fn start(&mut self, config: Config) {
        self.start_with(config, None);
    }

    pub fn start_with(&mut self, config: Config, names: Option<Box<dyn Names>>) {
        let mut relay = Relay::new(config).unwrap().hooks(self.told.clone());
        if let Some(names) = names {
            relay = relay.names(Boxed(names));
        }
        self.start_relay(relay);
    }

    /// Starts a relay that has its hooks.
    pub fn start_relay(&mut self, relay: Relay) {
        self.relay = Some(relay.start(self.world.server()).unwrap());
    }

    /// Where a listener of the relay is.
    pub fn at(&mut self, listener: &str) -> SocketAddr {
        let relay = self.relay.unwrap();
        let port = relay.local_addr(self.world.server(), listener).unwrap().port();
        SocketAddr::new(self.world.server_ip(), port)
    }

    /// A client of the relay's listener.
    pub fn client(&mut self, probe: Probe) -> Served {
        let at = self.at("in");
        probe.connect(&mut self.world, at)
    }

    pub fn stats(&mut self) -> RelayStats {
        self.relay.unwrap().stats(self.world.server())
    }

    pub fn reload(&mut self, config: Config) {
        self.relay.unwrap().reload(self.world.server(), config).unwrap();
    }

    /// A listener `in` to a pool `out` of these backends.
    pub fn config(&self, backends: &[SocketAddr]) -> Config {
        let at = format!("tcp://{}:0", self.world.server_ip());
        let mut listener = ListenerConfig::new(at.parse().unwrap(), "out");
        listener.name = Some("in".to_owned());
        let backends = backends.iter().map(|at| format!("tcp://{at}").parse().unwrap());
        Config {
            listeners: vec![listener],
            pools: vec![PoolConfig::new("out", backends)],
            ..Config::default()
        }
    }

    /// Until so many sessions have ended.
    #[track_caller]
    pub fn until_ended(&mut self, count: usize) {
        let told = self.told.clone();
        self.world.until("sessions ended", || told.count() >= count);
    }

    /// One session after the other: each asks, and has its answer; which backends they had.
    #[track_caller]
    pub fn ask(&mut self, times: usize) -> Vec<String> {
        let before = self.told.count();
        for nth in 1..=times {
            self.client(asks());
            self.until_ended(before + nth);
        }
        self.told.backends().split_off(before)
    }
}

pub struct Backend {
    pub at: SocketAddr,
    pub log: Log,
    pub handle: ServiceHandle<Probe>,
    pub listener: ListenerId,
}

impl Backend {
    pub fn name(&self) -> String {
        format!("tcp://{}", self.at)
    }
}

struct Boxed(Box<dyn Names>);

impl Names for Boxed {
    fn start(&mut self, target: &sockeye_endpoint::Target, within: Duration) {
        self.0.start(target, within);
    }

    fn poll(&mut self, target: &sockeye_endpoint::Target) -> Option<std::io::Result<Vec<SocketAddr>>> {
        self.0.poll(target)
    }
}

/// A backend that answers and closes.
pub fn answers(answer: &'static [u8]) -> Probe {
    Probe::new().data(move |stream, data| {
        assert!(stream.write(answer).is_taken());
        stream.close();
        data.len()
    })
}

/// A backend that answers and keeps the connection.
pub fn keeps() -> Probe {
    Probe::new().data(|stream, data| {
        assert!(stream.write(data).is_taken());
        data.len()
    })
}

/// A client that asks, and closes when the other side does.
pub fn asks() -> Probe {
    Probe::new().open(|stream| assert!(stream.write(b"question").is_taken()))
}
