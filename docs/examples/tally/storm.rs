//! Tally and its clients in a simulated network where links break: what a seed decides, happens again each time.

use std::cell::RefCell;
use std::error::Error;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use sockeye::event_loop::errno::EMFILE;
use sockeye::event_loop::{
    CloseReason, ConnectFailure, ConnectRequest, Context, Deadlines, ListenOptions, Sent, Stream, StreamId,
    StreamOptions, StreamService,
};
use sockeye::sim::{Call, LinkOptions, Random, Sim};

use crate::service::Tally;

/// What each client counts.
pub(crate) const REQUESTS: u64 = 100;
const CLIENTS: u8 = 4;
const SERVER: [u8; 4] = [10, 0, 0, 1];
const PORT: u16 = 7007;

// ANCHOR: habit
/// What a client does about a request whose connection broke before the answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    /// It remembers that it does not know, and goes on with the next.
    GoOn,
    /// It sends the request again.
    SendAgain,
    /// It asks for the total first, by adding 0, and sends again only what is missing.
    AskFirst,
}
// ANCHOR_END: habit

/// What a client knows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// Requests that were answered, or that the total has proved.
    pub(crate) counted: u64,
    /// Requests that may have been counted, or not.
    pub(crate) unsure: u64,
    /// Connections that broke.
    pub(crate) broken: u64,
    /// The total that it was told last.
    pub(crate) total: u64,
}

/// A client, which counts under its own name, one request after another.
struct Client {
    name: String,
    habit: Habit,
    known: Rc<RefCell<Known>>,
    /// How much the request adds that has no answer yet.
    waiting: Option<u64>,
}

// ANCHOR: client
impl Client {
    fn is_done(&self) -> bool {
        let known = self.known.borrow();
        known.counted + known.unsure >= REQUESTS
    }

    fn ask(&mut self, stream: &mut Stream<'_>, number: u64) {
        self.waiting = Some(number);
        let request = format!("{} {number}\n", self.name);
        if !matches!(stream.write(request.as_bytes()), Sent::Sent | Sent::Queued) {
            stream.abort();
        }
    }

    fn answered(&mut self, total: u64) {
        let mut known = self.known.borrow_mut();
        known.total = total;
        match self.waiting.take() {
            Some(0) => known.counted = total, // Nobody else counts under this name.
            Some(_) => known.counted += 1,
            None => {}
        }
    }
}

impl StreamService for Client {
    type Conn = ();

    fn on_open(&mut self, stream: &mut Stream<'_>) {
        let number = if self.habit == Habit::AskFirst { 0 } else { 1 };
        self.ask(stream, number);
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        let Some(end) = data.iter().position(|byte| *byte == b'\n') else {
            return 0; // Half an answer.
        };
        let line = String::from_utf8_lossy(&data[..end]);
        let total = line.rsplit(' ').next().and_then(|total| total.parse().ok());
        self.answered(total.unwrap_or(0));
        if self.is_done() {
            stream.close();
        } else {
            self.ask(stream, 1);
        }
        end + 1
    }

    fn on_close(&mut self, context: &mut Context<'_>, _: StreamId, (): (), reason: CloseReason) {
        if !matches!(reason, CloseReason::Closed) || self.waiting.is_some() {
            let mut known = self.known.borrow_mut();
            known.broken += 1;
            if self.waiting.take() == Some(1) && self.habit == Habit::GoOn {
                known.unsure += 1;
            }
        }
        self.connect_later(context);
    }

    fn on_connect_error(&mut self, context: &mut Context<'_>, _: ConnectFailure) {
        self.connect_later(context);
    }

    fn on_service_timer(&mut self, context: &mut Context<'_>, _: u64) {
        context.connect(ConnectRequest::new(SocketAddr::from((SERVER, PORT))));
    }
}

impl Client {
    /// After a pause, so that a server that has come back is not overrun.
    fn connect_later(&mut self, context: &mut Context<'_>) {
        if !self.is_done() {
            context.set_timer(Duration::from_millis(100), 0);
        }
    }
}
// ANCHOR_END: client

// ANCHOR: run
/// Runs a seed: four clients, a lossy network that is cut again and again.
/// Returns what each client knows.
pub(crate) fn run(seed: u64, habit: Habit) -> Result<Vec<Known>, Box<dyn Error>> {
    let mut sim = Sim::new(seed);
    sim.set_lan(LinkOptions {
        latency: Duration::from_millis(5),
        jitter: Duration::from_millis(5),
        loss_ppm: 20_000, // two packets of a hundred
        ..LinkOptions::default()
    });
    let server = sim.host(SERVER);
    sim.set_short(server, 200_000); // every fifth read or write of the server is cut short
    sim.fail(server, Call::Accept, 3, EMFILE); // and its third accept finds no descriptor left
    let options = StreamOptions {
        deadlines: Deadlines {
            connect: Some(Duration::from_millis(500)),
            idle: Some(Duration::from_millis(500)),
            ..Deadlines::default()
        },
        ..StreamOptions::default()
    };
    let tally = sim
        .on(server)
        .add_stream_service(Tally::over_lines(), options.clone());
    sim.on(server)
        .listen(tally, SocketAddr::from((SERVER, PORT)), &ListenOptions::default())?;

    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let host = sim.host([10, 0, 0, 100 + number]);
        let known = Rc::new(RefCell::new(Known::default()));
        let client = Client {
            name: format!("client{number}"),
            habit,
            known: Rc::clone(&known),
            waiting: None,
        };
        let client = sim.on(host).add_stream_service(client, options.clone());
        let to = ConnectRequest::new(SocketAddr::from((SERVER, PORT)));
        sim.on(host).connect(client, to);
        clients.push((host, known));
    }

    // Ten times one client is cut off, for up to two seconds; then the network is whole again.
    let mut random = Random::new(seed);
    for _ in 0..10 {
        let (host, _) = clients[usize::try_from(random.below(CLIENTS.into()))?];
        sim.partition(server, host);
        sim.run_for(Duration::from_millis(random.between(1, 2000)))?;
        sim.heal(server, host);
        sim.run_for(Duration::from_millis(random.between(1, 300)))?;
    }
    let done = |known: &Known| known.counted + known.unsure >= REQUESTS;
    sim.run_until(Duration::from_secs(120), || {
        clients.iter().all(|(_, known)| done(&known.borrow()))
    })?;
    sim.run_for(Duration::from_secs(60))?;
    let left = sim.leftovers();
    if left.connections + left.streams > 0 {
        return Err(format!("seed {seed}: {left:?} after all clients have gone").into());
    }
    Ok(clients.into_iter().map(|(_, known)| known.take()).collect())
}
// ANCHOR_END: run
