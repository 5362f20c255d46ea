//! Whatever goes wrong on the way, by plans of faults: each session ends, everything is given back, and a run repeats.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use sockeye_event_loop::{
    CloseReason, ConnectFailure, ConnectRequest, Context, ListenOptions, Stream, StreamId, StreamOptions,
    StreamService,
};
use sockeye_relay::{
    Balance, CheckRules, Config, ListenerConfig, PoolConfig, QueueRules, Relay, Running, SessionEnd,
};
use sockeye_sim::{HostId, HostKnob, Plan, Sim, What};

use crate::ground::Told;

pub const RELAY: [u8; 4] = [10, 0, 0, 1];
pub const PEERS: [u8; 4] = [10, 0, 0, 2];
pub const CLIENTS: usize = 40;

/// Echoes, and closes when the other side does.
pub struct Echo;

impl StreamService for Echo {
    type Conn = ();

    fn on_open(&mut self, _: &mut Stream<'_>) {}

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        if stream.write(data).is_taken() {
            data.len()
        } else {
            0
        }
    }
}

/// Sends something, hangs up when it has come back whole, and counts how many are over.
pub struct Client {
    pub over: Rc<Cell<usize>>,
    pub answered: Rc<Cell<usize>>,
}

const QUESTION: [u8; 3000] = [7; 3000];

impl StreamService for Client {
    type Conn = usize;

    fn on_open(&mut self, stream: &mut Stream<'_>) -> usize {
        assert!(stream.write(&QUESTION).is_taken());
        0
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, heard: &mut usize, data: &mut [u8]) -> usize {
        assert!(data.iter().all(|byte| *byte == 7));
        *heard += data.len();
        if *heard == QUESTION.len() {
            self.answered.set(self.answered.get() + 1);
            stream.close();
        }
        data.len()
    }

    fn on_connect_error(&mut self, _: &mut Context<'_>, _: ConnectFailure) {
        self.over.set(self.over.get() + 1);
    }

    fn on_close(&mut self, _: &mut Context<'_>, _: StreamId, heard: usize, _: CloseReason) {
        assert!(heard <= QUESTION.len());
        self.over.set(self.over.get() + 1);
    }
}

/// A network with the faults of this seed.
pub fn sim_of(seed: u64) -> Sim {
    let mut plan = Plan::of_seed(seed);
    // A crash takes a loop with everything on it, and there would be nothing to look at.
    plan.faults.retain(|fault| {
        !matches!(
            fault.what,
            What::Host {
                knob: HostKnob::Crash,
                ..
            }
        )
    });
    Sim::with_plan(&plan)
}

/// One run: its trace, how sessions ended, how many clients were answered.
fn run(seed: u64) -> (u64, Vec<SessionEnd>, usize) {
    let mut sim = sim_of(seed);
    let (relay_host, peers) = (sim.host(RELAY), sim.host(PEERS));
    let told = Told::default();
    let refusing: Rc<RefCell<Vec<SocketAddr>>> = Rc::default();
    for port in [7001, 7002, 7003] {
        let events = sim.on(peers);
        let service = events.add_stream_service(Echo, StreamOptions::default());
        if events
            .listen(service, (PEERS, port).into(), &ListenOptions::default())
            .is_err()
        {
            // The plan has failed it: a backend that refuses.
            refusing.borrow_mut().push((PEERS, port).into());
        }
    }
    let mut pool = PoolConfig::new(
        "out",
        [7001, 7002, 7003].map(|port| format!("tcp://10.0.0.2:{port}").parse().unwrap()),
    );
    pool.balance = [Balance::RoundRobin, Balance::LeastSessions, Balance::SourceHash]
        [usize::try_from(seed % 3).unwrap()];
    pool.backends[0].max_sessions = Some(5);
    pool.queue = QueueRules {
        max: 10,
        deadline: Duration::from_secs(2),
        when_down: seed.is_multiple_of(2),
    };
    pool.health.out = Duration::from_secs(1);
    pool.health.slow_start = Duration::from_secs(1);
    pool.health.check = seed.is_multiple_of(5).then(CheckRules::default);
    let mut listener = ListenerConfig::new("tcp://10.0.0.1:80".parse().unwrap(), "out");
    listener.timeouts.idle = Duration::from_secs(30);
    let config = Config {
        listeners: vec![listener],
        pools: vec![pool],
        ..Config::default()
    };
    let relay = Relay::new(config).unwrap().hooks(told.clone());
    let Ok(relay) = relay.start(sim.on(relay_host)) else {
        return (sim.trace_hash(), Vec::new(), 0);
    };
    let (over, answered) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let client = Client {
        over: Rc::clone(&over),
        answered: Rc::clone(&answered),
    };
    let client = sim.on(peers).add_stream_service(client, StreamOptions::default());
    for _ in 0..CLIENTS {
        let request = ConnectRequest::new((RELAY, 80).into()).deadline(Duration::from_secs(10));
        sim.on(peers).connect(client, request);
        sim.run_for(Duration::from_millis(50)).unwrap();
    }
    let done = sim.run_until(Duration::from_secs(600), || over.get() == CLIENTS);
    assert!(
        done.is_ok(),
        "seed {seed}: {} of {CLIENTS} clients are over",
        over.get()
    );
    sim.run_for(Duration::from_secs(120)).unwrap();
    is_accounted(seed, &mut sim, relay_host, relay, &told);
    (sim.trace_hash(), told.ends(), answered.get())
}

/// Whatever came has ended, and was counted and told once.
pub fn is_accounted(seed: u64, sim: &mut Sim, relay_host: HostId, relay: Running, told: &Told) {
    let stats = relay.stats(sim.on(relay_host));
    if let Some(listener) = stats.listeners.first() {
        let counters = listener.counters;
        assert_eq!(
            (listener.open, counters.ended),
            (0, counters.sessions),
            "seed {seed}"
        );
        assert_eq!(
            counters.sessions,
            told.count() as u64,
            "seed {seed}: a record each"
        );
        let open: u32 = stats.pools[0].backends.iter().map(|backend| backend.open).sum();
        assert_eq!((open, stats.pools[0].waiting), (0, 0), "seed {seed}");
    }
    assert_eq!(sim.on(relay_host).stats().panics, 0, "seed {seed}");
}

#[test]
fn every_session_ends_whatever_happens_and_runs_repeat() {
    let mut answered = 0;
    let mut ends: Vec<SessionEnd> = Vec::new();
    for seed in 0..60 {
        let first = run(seed);
        assert_eq!(run(seed), first, "seed {seed} again");
        answered += first.2;
        ends.extend(first.1);
    }
    assert!(answered > 60 * CLIENTS / 2, "{answered} of {}", 60 * CLIENTS);
    let kinds = [
        SessionEnd::Done,
        SessionEnd::BackendReset,
        SessionEnd::ClientReset,
        SessionEnd::NoRoom,
    ];
    for end in kinds {
        assert!(ends.contains(&end), "no session of all was {end}");
    }
}
