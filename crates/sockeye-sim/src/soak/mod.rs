//! What `cargo xtask sim` runs on a plan: five workloads at once, and what must hold in the end.
//!
//! Echo, relay, chat, request/response with deadlines, and UDP with retries run on all hosts of the plan while
//! its faults happen. After it is healed everything must finish: every connection that was broken has been made
//! anew, every byte is where it belongs, and when all is closed nothing is left: no connection, no timer, no
//! byte in a buffer.
//!
//! It is here, and not in a test, so that a fuzzer and a user's own plans can run it too.

mod clients;
mod servers;
mod shrink;

use std::cell::RefCell;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use sockeye_event_loop::{DatagramOptions, Deadlines, ListenOptions, StreamOptions, Time, Watermarks};

pub use shrink::smaller;

use crate::plan::Plan;
use crate::sim::{HostId, Leftovers, Sim, SimError, SimLoop};

/// How long after the healing everything may take, on the virtual clock: a connection whose peer is gone
/// without a word notices after a few deadlines.
const PATIENCE: Duration = Duration::from_secs(600);
/// After all clients are done: how long the last ends may linger (FIN_WAIT, minus what is left of it).
const LINGER: Duration = Duration::from_secs(400);

/// How long a program that could not start is left alone.
const RESTART: Duration = Duration::from_millis(50);

const ECHO: u16 = 7;
const RELAY: u16 = 1080;
const CHAT: u16 = 6667;
const ASK: u16 = 80;
const DATAGRAMS: u16 = 53;

/// What a run came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// See [`Sim::trace_hash`].
    pub trace_hash: u64,
    /// Steps of the simulated kernels.
    pub steps: u64,
    /// Messages that went there and back.
    pub messages: u64,
    /// Connections that broke and were made anew.
    pub reconnects: u64,
}

/// Why a run failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Failure {
    /// Not everything had finished; how many clients were done, of how many, and what the first other one said.
    Unfinished {
        /// Clients that were done.
        done: usize,
        /// Clients.
        of: usize,
        /// Where the first one stands that was not.
        first: String,
    },
    /// Bytes were not what they had to be.
    Wrong(String),
    /// Something was left when all was closed.
    Left(Leftovers, Option<String>),
    /// A loop failed.
    Loop(SimError),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unfinished { done, of, first } => write!(f, "{done} of {of} clients finished; {first}"),
            Self::Wrong(what) => write!(f, "wrong bytes: {what}"),
            Self::Left(left, which) => write!(f, "left over: {left:?}, {which:?}"),
            Self::Loop(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for Failure {}

/// What clients report, and outlives crashes of their hosts.
#[derive(Debug, Default)]
struct Board {
    clients: Vec<Progress>,
    wrong: Option<String>,
    reconnects: u64,
    /// Hosts whose programs could not start, and when they are started again.
    failed: Vec<(u16, Time)>,
}

/// How far a client is.
#[derive(Clone, Debug)]
struct Progress {
    host: u16,
    kind: Kind,
    server: SocketAddr,
    wanted: u32,
    done: u32,
}

impl Progress {
    fn is_done(&self) -> bool {
        self.done >= self.wanted
    }
}

/// What a client does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Echo,
    Relay,
    Chat,
    Ask,
    Datagrams,
}

type Shared = Rc<RefCell<Board>>;

impl Board {
    fn wrong(&mut self, what: impl FnOnce() -> String) {
        if self.wrong.is_none() {
            self.wrong = Some(what());
        }
    }

    fn is_finished(&self) -> bool {
        self.wrong.is_some() || self.clients.iter().all(Progress::is_done)
    }
}

fn address(host: u16) -> IpAddr {
    let [high, low] = (host + 1).to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(10, 0, high, low))
}

/// The bytes of message `number` of a client: their length and content say whose they are.
fn message(client: u32, number: u32, kind: Kind) -> Vec<u8> {
    let mixed = (u64::from(client) << 32 | u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    // Most are short, some are longer than any single read.
    let len = match (kind, mixed >> 60) {
        (Kind::Datagrams, _) => 12 + (mixed >> 40 & 0x1ff),
        (Kind::Chat | Kind::Ask, _) => 12 + (mixed >> 44 & 0xff),
        (_, 0) => 12 + (mixed >> 44 & 0x3fff),
        _ => 12 + (mixed >> 48 & 0xff),
    };
    let len = usize::try_from(len).unwrap_or(12);
    let mut bytes = Vec::with_capacity(len);
    bytes.extend_from_slice(&client.to_be_bytes());
    bytes.extend_from_slice(&number.to_be_bytes());
    bytes.extend_from_slice(&u32::try_from(len).unwrap_or(0).to_be_bytes());
    bytes.extend((12..len).map(|at| (mixed >> (at % 8 * 8)).to_le_bytes()[0] ^ at.to_le_bytes()[0]));
    bytes
}

/// Deadlines short enough that a client notices a dead server long before the patience ends.
fn options() -> StreamOptions {
    StreamOptions {
        deadlines: Deadlines {
            connect: Some(Duration::from_secs(3)),
            idle: Some(Duration::from_secs(8)),
            ..Deadlines::default()
        },
        watermarks: Watermarks {
            high: 64 * 1024,
            low: 16 * 1024,
            max_write: 256 * 1024,
            max_tail: 32 * 1024,
        },
        close_timeout: Duration::from_secs(2),
        ..StreamOptions::default()
    }
}

/// What a host runs, from its first boot on and after each crash.
fn boot(events: &mut SimLoop, host: u16, board: &Shared) {
    let echo = events.add_stream_service(servers::Echo, options());
    let chat = events.add_stream_service(servers::Chat::default(), options());
    let ask = events.add_stream_service(servers::Answer, options());
    let relay = events.add_stream_service(
        servers::Relay {
            to: SocketAddr::new(address(host), ECHO),
            pairs: Vec::new(),
        },
        options(),
    );
    let datagrams = events.add_datagram_service(servers::Reflect);
    let any = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
    let listen = ListenOptions::default();
    let fine = events.listen(echo, any(ECHO), &listen).is_ok()
        & events.listen(chat, any(CHAT), &listen).is_ok()
        & events.listen(ask, any(ASK), &listen).is_ok()
        & events.listen(relay, any(RELAY), &listen).is_ok()
        & events
            .bind(datagrams, any(DATAGRAMS), &DatagramOptions::default())
            .is_ok();
    let own: Vec<u32> = {
        let board = board.borrow();
        let own = board
            .clients
            .iter()
            .zip(0..)
            .filter(|(client, _)| client.host == host && !client.is_done());
        own.map(|(_, index)| index).collect()
    };
    let fine = clients::start(events, own, board) & fine;
    if !fine {
        // The plan leaves no descriptor or port: the program ends, and whoever watches over it tries again.
        let again = events.now() + RESTART;
        board.borrow_mut().failed.push((host, again));
    }
}

/// Runs the plan once.
///
/// # Errors
/// Why it failed.
pub fn run(plan: &Plan) -> Result<Outcome, Failure> {
    run_in(&mut Sim::with_plan(plan), plan)
}

/// Runs the plan in a simulation that was made for it, so that the caller can look into it.
///
/// # Errors
/// Why it failed.
pub fn run_in(sim: &mut Sim, plan: &Plan) -> Result<Outcome, Failure> {
    let board = Rc::new(RefCell::new(Board {
        clients: crew(plan),
        ..Board::default()
    }));
    let loop_options = sockeye_event_loop::LoopOptions {
        read_buffer: 16 * 1024,
        ..Default::default()
    };
    let hosts: Vec<HostId> = (0..plan.hosts)
        .map(|host| sim.host_with(address(host), loop_options.clone()))
        .collect();
    for &host in &hosts {
        let board = Rc::clone(&board);
        sim.boot(host, move |events| boot(events, host.0, &board));
    }
    let healed = Duration::from_micros(plan.healed_at_us);
    let finished = sim.run_until_with(healed + PATIENCE, |sim| {
        supervise(sim, &board);
        sim.is_healed() && board.borrow().is_finished()
    });
    match finished {
        Ok(()) => {}
        Err(SimError::TimedOut(_)) => return Err(unfinished(&board.borrow())),
        Err(other) => return Err(Failure::Loop(other)),
    }
    if let Some(what) = board.borrow_mut().wrong.take() {
        return Err(Failure::Wrong(what));
    }
    for &host in &hosts {
        sim.on(host).start_drain(Duration::from_secs(5));
    }
    let empty =
        |left: &Leftovers| left.connections == 0 && left.timers == 0 && left.streams == 0 && left.bytes == 0;
    match sim.run_until_with(LINGER, |sim| empty(&sim.leftovers())) {
        Ok(()) => {}
        Err(SimError::TimedOut(_)) => return Err(Failure::Left(sim.leftovers(), sim.describe_leftover())),
        Err(other) => return Err(Failure::Loop(other)),
    }
    let board = board.borrow();
    Ok(Outcome {
        trace_hash: sim.trace_hash(),
        steps: sim.steps(),
        messages: board.clients.iter().map(|client| u64::from(client.done)).sum(),
        reconnects: board.reconnects,
    })
}

/// Starts programs again that could not start.
fn supervise(sim: &mut Sim, board: &Shared) {
    if board.borrow().failed.is_empty() {
        return;
    }
    let failed = std::mem::take(&mut board.borrow_mut().failed);
    for (host, again) in failed {
        let id = HostId(host);
        if !sim.is_up(id) {
            // It has crashed meanwhile, or stands still: its next boot tries anyway, or the next look does.
            if !sim.is_crashed(id) {
                board.borrow_mut().failed.push((host, again));
            }
        } else if sim.on(id).now() < again {
            board.borrow_mut().failed.push((host, again));
        } else {
            sim.crash(id);
            sim.restart(id);
        }
    }
}

/// Who does what: kinds and hosts in turn, messages shared out evenly.
fn crew(plan: &Plan) -> Vec<Progress> {
    const KINDS: [Kind; 5] = [Kind::Echo, Kind::Relay, Kind::Chat, Kind::Ask, Kind::Datagrams];
    let each = plan.messages.div_ceil(plan.connections.max(1));
    (0..plan.connections)
        .map(|index| {
            let hosts = u32::from(plan.hosts.max(2));
            let kind = KINDS[index as usize % KINDS.len()];
            let host = index / 5 % hosts;
            let server = (host + 1 + index % (hosts - 1)) % hosts;
            let port = match kind {
                Kind::Echo => ECHO,
                Kind::Relay => RELAY,
                Kind::Chat => CHAT,
                Kind::Ask => ASK,
                Kind::Datagrams => DATAGRAMS,
            };
            let small = |host: u32| u16::try_from(host).unwrap_or(0);
            let server = SocketAddr::new(address(small(server)), port);
            Progress {
                host: small(host),
                kind,
                server,
                wanted: each,
                done: 0,
            }
        })
        .collect()
}

fn unfinished(board: &Board) -> Failure {
    let done = board.clients.iter().filter(|client| client.is_done()).count();
    let first = board
        .clients
        .iter()
        .zip(0..)
        .find(|(client, _)| !client.is_done());
    let first = first.map_or_else(String::new, |(client, index): (_, u32)| {
        format!("client {index}: {client:?}")
    });
    Failure::Unfinished {
        done,
        of: board.clients.len(),
        first,
    }
}
