//! `bench client --sockperf`: the real `sockperf sr` as the other side. Ping-pong, or with `--rate` under load.

mod exchange;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use sockeye::endpoint::{Address, Transport, UnixName};
use sockeye::event_loop::{
    CloseReason, ConnectFailure, ConnectRequest, Context, Datagram, DatagramOptions, DatagramService,
    Datagrams, EventLoop, Outgoing, Stream, StreamId, StreamOptions, StreamService, Time,
};
use sockeye::measure::run::{self, Mode, Parameters};
use sockeye::measure::sockperf::{HEADER_LEN, Header, MAX_LEN, PORT};

use super::client::figures::{Cpu, Interval, Outcome, Protocol};
use super::client::{Arguments, Live, ModeArgument, plan};
use super::flows::cpu::{CpuClock, Pinned};
use super::flows::nanoseconds;
use crate::exit::Failure;
use crate::privileges;
use crate::probing::{self, Inbox};
use crate::signals::stop_on_signals;
use crate::talk::errors::{connect_error, of_address};
use exchange::Exchange;

/// For the connection.
const CONNECT: Duration = Duration::from_secs(10);
/// The key of the timer that sends.
const SEND: u64 = 0;
/// The key of the one that ends intervals.
const TICK: u64 = 1;

/// What a run tells.
#[derive(Debug)]
enum Told {
    Began,
    Interval(Interval),
    Over,
    Broken(anyhow::Error),
}

/// What is to be measured.
#[derive(Debug)]
pub(super) struct Plan {
    /// In the words of our own runs.
    pub(super) parameters: Parameters,
    place: Place,
    len: usize,
    cpu: Option<u16>,
}

impl Plan {
    /// # Errors
    /// What sockperf does not have, or a name that has no address.
    pub(super) fn new(arguments: &Arguments) -> anyhow::Result<Self> {
        let unknown = [
            (
                "--mode",
                !matches!(arguments.mode, ModeArgument::Stream | ModeArgument::Rr),
            ),
            ("-P", arguments.parallel != 1),
            ("-n", arguments.bytes.is_some()),
            ("-k", arguments.blocks.is_some()),
            ("-b", arguments.bitrate.is_some()),
            ("-w", arguments.window.is_some()),
            ("-R", arguments.reverse),
            ("--bidir", arguments.bidir),
            ("-Z", arguments.zerocopy),
        ];
        plan::refuse(arguments, Protocol::Sockperf, &unknown)?;
        let length = arguments.length.unwrap_or(HEADER_LEN as u64);
        let len = usize::try_from(length).ok();
        let len = len.filter(|len| (HEADER_LEN..=MAX_LEN).contains(len));
        let len = len.ok_or_else(|| {
            Failure::usage(format!(
                "-l: messages of sockperf have {HEADER_LEN} to {MAX_LEN} bytes"
            ))
        })?;
        let place = place(arguments)?;
        let time = |seconds: f64| nanoseconds(Duration::from_secs_f64(seconds));
        let parameters = Parameters {
            mode: Mode::Rr,
            transport: match place {
                Place::Datagrams(_) => run::Transport::Udp,
                Place::Stream(_) => run::Transport::Tcp,
                Place::Unix(_) => run::Transport::Unix,
            },
            up: 1,
            down: 0,
            probe: false,
            length: u32::try_from(len).unwrap_or(u32::MAX),
            time_ns: time(arguments.time),
            omit_ns: time(arguments.omit),
            bytes: None,
            bitrate: None,
            rate: arguments.rate,
            interval_ns: time(arguments.interval),
            window: None,
            zerocopy: false,
            cpu: None,
        };
        let cpu = plan::own_cpu(arguments, Protocol::Sockperf)?;
        Ok(Self {
            parameters,
            place,
            len,
            cpu,
        })
    }
}

/// The run, on a connection or a socket of datagrams.
#[derive(Debug)]
struct Run {
    exchange: Exchange,
    omit: Duration,
    time: Duration,
    every: Duration,
    cpu: CpuClock,
    inbox: Inbox<Told>,
    peer: Option<SocketAddr>,
}

const fn clock(now: Time) -> Duration {
    Duration::from_nanos(now.as_nanos())
}

/// Measures with a sockperf server; `None` when a signal ended it before there was anything.
///
/// # Errors
/// When the server cannot be reached, or what it says is not sockperf's.
pub(super) fn measure(
    arguments: &Arguments,
    plan: &Plan,
    live: &mut Live<'_>,
) -> anyhow::Result<Option<Outcome>> {
    let _pinned = plan.cpu.map(Pinned::to).transpose().context("-A")?;
    privileges::keep(match &plan.place {
        Place::Unix(name) => privileges::for_unix(name),
        Place::Stream(_) | Place::Datagrams(_) => privileges::NONE,
    })?;
    let mut events = EventLoop::new().context("make an event loop")?;
    stop_on_signals(&mut events).context("take signals")?;
    let inbox = Inbox::new();
    let mut run = Run {
        exchange: Exchange::new(plan.len, arguments.rate)?,
        omit: Duration::from_secs_f64(arguments.omit),
        time: Duration::from_secs_f64(arguments.time),
        every: Duration::from_secs_f64(arguments.interval),
        cpu: CpuClock::start(),
        inbox: inbox.clone(),
        peer: None,
    };
    let mut print = |_: &mut EventLoop, told| {
        match told {
            Told::Began => live.started()?,
            Told::Interval(interval) => live.intervals(&[interval])?,
            Told::Over => return Ok(true),
            Told::Broken(error) => return Err(error),
        }
        Ok(false)
    };
    let target = arguments.target.clone();
    let name = format!("sockperf server {target}");
    let transport = plan.parameters.transport.name();
    let request = match &plan.place {
        Place::Datagrams(server) => {
            run.peer = Some(*server);
            let service = events.add_datagram_service(run);
            let options = DatagramOptions {
                connect: Some(*server),
                ..DatagramOptions::default()
            };
            events.bind(service, any(*server), &options)?;
            probing::run(&mut events, &inbox, &mut print).context(name)?;
            return Ok(events
                .with(service, |run, context| {
                    run.outcome(target, transport, clock(context.now()))
                })
                .flatten());
        }
        Place::Unix(name) => ConnectRequest::to_unix(*name),
        Place::Stream(addresses) => ConnectRequest::any_of(addresses.clone()),
    };
    let service = events.add_stream_service(run, StreamOptions::default());
    events.connect(service, request.deadline(CONNECT));
    probing::run(&mut events, &inbox, &mut print).context(name)?;
    Ok(events
        .with(service, |run, context| {
            run.outcome(target, transport, clock(context.now()))
        })
        .flatten())
}

/// Where the server is.
#[derive(Debug)]
enum Place {
    Stream(Vec<SocketAddr>),
    Datagrams(SocketAddr),
    Unix(UnixName),
}

/// UDP, as sockperf has it, unless the target says otherwise.
fn place(arguments: &Arguments) -> anyhow::Result<Place> {
    let (text, is_udp) = (arguments.target.as_str(), arguments.udp);
    if text.starts_with("unix:") {
        return match text.parse::<Address>() {
            Ok(Address::Unix(name)) if !is_udp => Ok(Place::Unix(name)),
            Ok(_) => Err(Failure::usage(format!(
                "{text}: -u is for UDP, and this is a Unix socket"
            ))),
            Err(error) => Err(Failure::usage(format!("{text}: {error}"))),
        };
    }
    let target = probing::target(text, Transport::Udp, PORT)?;
    let addresses = plan::addresses(arguments, &target)?;
    match target.transport() {
        Transport::Tcp if !is_udp => Ok(Place::Stream(addresses)),
        Transport::Tcp | Transport::Udp => {
            let first = addresses.first().copied();
            first.map(Place::Datagrams).context("no address")
        }
        _ => Err(Failure::usage(format!(
            "{target}: sockperf is measured over udp://, tcp:// and unix:"
        ))),
    }
}

fn any(server: SocketAddr) -> SocketAddr {
    match server {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    }
}

impl Run {
    fn begin(&mut self, now: Duration) {
        let (omit, time) = (self.omit, self.time);
        self.exchange.begin(now, omit, time);
        self.cpu = CpuClock::start();
        self.inbox.put(Told::Began);
    }

    /// An interval is over: how long the next one takes.
    fn tick(&mut self, now: Duration) -> Duration {
        if let Some(interval) = self.exchange.interval(now) {
            self.inbox.put(Told::Interval(interval));
        }
        self.every
    }

    /// `None` where there is nothing to tell of.
    fn outcome(&self, target: String, transport: &'static str, now: Duration) -> Option<Outcome> {
        let mut outcome = self.exchange.outcome(target, transport, now);
        if outcome.is_interrupted && self.exchange.answered == 0 {
            return None;
        }
        let (user, system) = self.cpu.used();
        outcome.client_cpu = Some(Cpu { user, system });
        Some(outcome)
    }

    /// Sends what is due, and says when to look again.
    fn send(&mut self, now: Duration, mut send: impl FnMut(&[u8])) -> Option<Duration> {
        for _ in 0..Exchange::burst() {
            let Some(message) = self.exchange.next(now) else {
                break;
            };
            send(message);
        }
        let wait = self.exchange.wait(now);
        if wait.is_none() {
            self.tick(now);
            self.inbox.put(Told::Over);
        }
        wait
    }

    fn break_off(&self, error: anyhow::Error) {
        self.inbox.put(Told::Broken(error));
    }

    fn send_on(&mut self, stream: &mut Stream<'_>) {
        let now = clock(stream.context().exact_now());
        let wait = self.send(now, |message| {
            // A server that does not read has the rest lost, which is told.
            let _ = stream.write(message);
        });
        if let Some(wait) = wait {
            stream.set_timer(wait, SEND);
        }
    }

    fn send_by(&mut self, socket: &mut Datagrams<'_>) {
        let now = clock(socket.exact_now());
        let wait = self.send(now, |message| {
            let _ = socket.send(&Outgoing::connected(message));
        });
        if let Some(wait) = wait {
            socket.set_timer(wait, SEND);
        }
    }

    /// Whether the next message of a ping-pong is to follow at once.
    fn answer(&mut self, header: &Header, now: Duration) -> bool {
        self.exchange.answer(header, now) && !self.exchange.is_scheduled()
    }
}

impl StreamService for Run {
    type Conn = ();

    fn on_open(&mut self, stream: &mut Stream<'_>) {
        let now = clock(stream.context().exact_now());
        self.begin(now);
        stream.set_timer(self.omit + self.every, TICK);
        self.send_on(stream);
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        let now = clock(stream.context().exact_now());
        let mut done = 0;
        let mut goes_on = false;
        while let Some(rest) = data.get(done..).filter(|rest| !rest.is_empty()) {
            match Header::parse(rest) {
                Ok(Some(header)) if rest.len() >= header.len => {
                    done += header.len;
                    goes_on |= self.answer(&header, now);
                }
                Ok(_) => break,
                Err(error) => {
                    self.break_off(error.into());
                    return data.len();
                }
            }
        }
        if goes_on {
            // The timer that looks for lost messages stays as it is.
            self.send(now, |message| {
                let _ = stream.write(message);
            });
        }
        done
    }

    fn on_timer(&mut self, stream: &mut Stream<'_>, (): &mut (), key: u64) {
        if key == TICK {
            let now = clock(stream.context().exact_now());
            let wait = self.tick(now);
            stream.set_timer(wait, TICK);
            return;
        }
        self.send_on(stream);
    }

    fn on_connect_error(&mut self, _: &mut Context<'_>, failure: ConnectFailure) {
        self.break_off(connect_error(failure));
    }

    fn on_close(&mut self, _: &mut Context<'_>, _: StreamId, (): (), reason: CloseReason) {
        if !matches!(reason, CloseReason::LoopEnded) {
            self.break_off(anyhow!("the connection ended: {reason}"));
        }
    }
}

impl DatagramService for Run {
    fn on_open(&mut self, socket: &mut Datagrams<'_>) {
        let now = clock(socket.exact_now());
        self.begin(now);
        socket.set_timer(self.omit + self.every, TICK);
        self.send_by(socket);
    }

    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        let Ok(Some(header)) = Header::parse(datagram.data) else {
            return;
        };
        let now = clock(socket.exact_now());
        if self.answer(&header, now) {
            self.send(now, |message| {
                let _ = socket.send(&Outgoing::connected(message));
            });
        }
    }

    fn on_timer(&mut self, socket: &mut Datagrams<'_>, key: u64) {
        if key == TICK {
            let wait = self.tick(clock(socket.exact_now()));
            socket.set_timer(wait, TICK);
            return;
        }
        self.send_by(socket);
    }

    fn on_recv_error(&mut self, _: &mut Datagrams<'_>, error: io::Error) {
        if let Some(server) = self.peer {
            let error = of_address(Transport::Udp, error, server);
            self.break_off(error.context(format!("udp://{server}")));
        }
    }
}
