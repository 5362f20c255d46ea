//! The handle of a name server: what it serves, how it behaves, and what it has counted.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sockeye_event_loop::backend::Backend;
use sockeye_event_loop::{
    DatagramId, DatagramOptions, Deadlines, EventLoop, ListenOptions, ListenerId, OpError, ServiceHandle,
    StreamOptions, Time, Watermarks,
};
use sockeye_resolver::dns::{Question, ResponseCode};

use super::behaviour::{Behaviour, Rule};
use super::tcp::NameServerTcp;
use super::udp::NameServerUdp;
use super::zones::Zones;

/// Questions that are remembered at most.
const MAX_LOG: usize = 100_000;

/// A name server: zones, a behaviour, and counters, shared by its services.
///
/// It is a handle: clones are the same server, and what one changes holds for the next query. Its services run on any loop,
/// in the simulation as on the kernel.
///
/// ```
/// use sockeye_sim::Sim;
/// use sockeye_sim::names::{NameServer, Zones};
///
/// let zones: Zones = "@ 60 SOA ns admin 1 1h 1h 1d 60\nwww.test. 60 A 192.0.2.1".parse()?;
/// let server = NameServer::new(zones);
/// let mut sim = Sim::new(1);
/// let host = sim.host([10, 0, 0, 53]);
/// let served = server.serve(sim.on(host), ([10, 0, 0, 53], 53).into())?;
/// assert_eq!(served.address.port(), 53);
/// server.set_down(true);
/// assert_eq!(server.counters().udp, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct NameServer {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) zones: Zones,
    pub(super) behaviour: Behaviour,
    pub(super) rules: Vec<Rule>,
    pub(super) down: bool,
    pub(super) counters: Counters,
    /// Questions that were answered with a behaviour that rebinds.
    pub(super) seen: HashSet<Question>,
    /// The key of the cookies, drawn when the first one is asked for.
    pub(super) secret: Option<u64>,
    log: Option<VecDeque<Asked>>,
    pub(super) tcp_idle: Duration,
}

/// What a name server has done so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Queries by UDP, whatever became of them.
    pub udp: u64,
    /// Queries by TCP, whatever became of them.
    pub tcp: u64,
    /// Connections that were accepted.
    pub connections: u64,
    /// Honest answers by their code.
    pub answers: BTreeMap<ResponseCode, u64>,
    /// Answers among them that were truncated.
    pub truncated: u64,
    /// Queries that were dropped: lost, in an outage, by TCP to a server that is silent.
    pub dropped: u64,
    /// Messages that were ignored because they are no query: too short for a header, or an answer.
    pub ignored: u64,
    /// Lies that were sent.
    pub lied: u64,
}

/// How a query came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// A datagram.
    Udp,
    /// On a connection.
    Tcp,
}

/// A question that was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Asked {
    /// When, by the loop's clock.
    pub at: Time,
    /// How.
    pub transport: Transport,
    /// Who.
    pub client: SocketAddr,
    /// The id of the message.
    pub id: u16,
    /// What, in the case in which it was asked.
    pub question: Question,
    /// The longest answer by UDP that the client takes, if it said so by EDNS.
    pub udp_size: Option<u16>,
    /// The cookie that came with it.
    pub cookie: Option<Box<[u8]>>,
}

/// Where a server listens, and by which services.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Served {
    /// The address, for UDP and TCP.
    pub address: SocketAddr,
    /// The UDP socket.
    pub socket: DatagramId,
    /// The listener.
    pub listener: ListenerId,
    /// The service by UDP.
    pub udp: ServiceHandle<NameServerUdp>,
    /// The service by TCP.
    pub tcp: ServiceHandle<NameServerTcp>,
}

impl NameServer {
    /// A server that answers truthfully and at once.
    #[must_use]
    pub fn new(zones: Zones) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                zones,
                behaviour: Behaviour::default(),
                rules: Vec::new(),
                down: false,
                counters: Counters::default(),
                seen: HashSet::new(),
                secret: None,
                log: None,
                tcp_idle: Duration::from_secs(10),
            })),
        }
    }

    /// The same server, with this behaviour.
    #[must_use]
    pub fn with(self, behaviour: Behaviour) -> Self {
        self.set_behaviour(behaviour);
        self
    }

    /// The same server, with another behaviour for some questions. Of several rules the first that fits decides.
    #[must_use]
    pub fn with_rule(self, rule: Rule) -> Self {
        self.state().rules.push(rule);
        self
    }

    /// Behaves like this from now on.
    pub fn set_behaviour(&self, behaviour: Behaviour) {
        self.state().behaviour = behaviour;
    }

    /// Replaces the behaviours for some questions.
    pub fn set_rules(&self, rules: Vec<Rule>) {
        self.state().rules = rules;
    }

    /// An outage from now on, or its end: queries are dropped, connections stay open and are not answered.
    pub fn set_down(&self, down: bool) {
        self.state().down = down;
    }

    /// Changes the zones.
    pub fn update<R>(&self, change: impl FnOnce(&mut Zones) -> R) -> R {
        change(&mut self.state().zones)
    }

    /// After how long a connection without queries is closed: 10 seconds by default. For connections to come.
    pub fn set_tcp_idle(&self, idle: Duration) {
        self.state().tcp_idle = idle;
    }

    /// What it has done so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.state().counters.clone()
    }

    /// Remembers questions from now on: the last 100,000 of them.
    pub fn log(&self) {
        self.state().log.get_or_insert_default();
    }

    /// The questions that are remembered, in the order in which they were asked; they are forgotten.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.state()
            .log
            .iter_mut()
            .flat_map(|log| log.drain(..))
            .collect()
    }

    /// Its service for UDP sockets. Options for the sockets: [`datagram_options`](Self::datagram_options).
    ///
    /// Sockets of one such service answer on their own, but for [`Lie::OtherPort`](super::Lie::OtherPort), whose answers leave
    /// through the next one.
    #[must_use]
    pub fn udp(&self) -> NameServerUdp {
        NameServerUdp::new(self.clone())
    }

    /// Its service for connections. Options for it: [`stream_options`](Self::stream_options).
    #[must_use]
    pub fn tcp(&self) -> NameServerTcp {
        NameServerTcp::new(self.clone())
    }

    /// How its UDP sockets should be: they report the address that was asked, so that it is the one that answers.
    #[must_use]
    pub fn datagram_options() -> DatagramOptions {
        DatagramOptions {
            packet_info: true,
            max_queue: 4 << 20,
            ..DatagramOptions::default()
        }
    }

    /// How its connections should be: there is room for the longest query.
    #[must_use]
    pub fn stream_options(&self) -> StreamOptions {
        StreamOptions {
            deadlines: Deadlines {
                idle: Some(self.state().tcp_idle),
                ..Deadlines::default()
            },
            watermarks: Watermarks {
                max_tail: 2 * (usize::from(u16::MAX) + 2),
                ..Watermarks::default()
            },
            ..StreamOptions::default()
        }
    }

    /// Serves on an address, by UDP and TCP; port 0 finds one that is free for both.
    ///
    /// # Errors
    /// The operation that failed, on which address, and why.
    pub fn serve<B: Backend>(&self, events: &mut EventLoop<B>, at: SocketAddr) -> Result<Served, OpError> {
        let tcp = events.add_stream_service(self.tcp(), self.stream_options());
        let udp = events.add_datagram_service(self.udp());
        let mut tries = 0;
        loop {
            let listener = events.listen(tcp, at, &ListenOptions::default())?;
            let port = events
                .local_addr(listener)
                .map_or(at.port(), |bound| bound.port());
            let address = SocketAddr::new(at.ip(), port);
            tries += 1;
            match events.bind(udp, address, &Self::datagram_options()) {
                Ok(socket) => {
                    return Ok(Served {
                        address,
                        socket,
                        listener,
                        udp,
                        tcp,
                    });
                }
                // Somebody else has the port for UDP: the system gives another one.
                Err(error) => {
                    events.close_listener(listener);
                    if at.port() != 0 || tries == 10 {
                        return Err(error);
                    }
                }
            }
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // Nothing is half done between two fields: a panic elsewhere leaves a state that can be used.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(super) fn remember(&mut self, asked: impl FnOnce() -> Asked) {
        if let Some(log) = &mut self.log {
            if log.len() == MAX_LOG {
                log.pop_front();
            }
            log.push_back(asked());
        }
    }
}
