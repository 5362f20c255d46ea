//! `connect -z`: whether ports are open, without a word to whoever listens.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::json;
use sockeye::endpoint::{Address, Target, Transport};
use sockeye::event_loop::{
    ConnectFailure, ConnectFault, ConnectOptions, ConnectRequest, Context, EventLoop, Stream, StreamOptions,
    StreamService,
};
use sockeye::socket::os::{PollFd, poll};
use sockeye::udp::UdpSocket;

use super::{Arguments, udp_options};
use crate::exit::Exit;
use crate::output::Output;
use crate::signals::stop_on_signals;

/// Ports that are asked at once.
const WINDOW: usize = 64;
/// How long a datagram may take to be answered or refused, unless `-w` says it.
const UDP_TIMEOUT: Duration = Duration::from_secs(2);

/// What a port is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Closed,
    Silent,
    /// Of UDP: nobody refused, and nobody answered.
    OpenOrSilent,
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Silent => "silent",
            Self::OpenOrSilent => "open|silent",
        }
    }

    fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Self::Closed,
            _ => Self::Silent,
        }
    }
}

/// Asks every port, prints what each is; the status is 0 where at least one is open.
///
/// # Errors
/// When no socket can be opened.
pub(super) fn run(
    arguments: &Arguments,
    addresses: &[SocketAddr],
    ports: &[u16],
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let mut any_open = false;
    let is_udp =
        matches!(&arguments.target, Address::Ip { endpoint, .. } if endpoint.transport() == Transport::Udp);
    for window in ports.chunks(WINDOW) {
        let states = if is_udp {
            datagrams(arguments, addresses, window)?
        } else {
            match streams(arguments, addresses, window)? {
                Some(states) => states,
                None => {
                    return Ok(if any_open {
                        Exit::Success
                    } else {
                        Exit::Interrupted
                    });
                }
            }
        };
        for (port, state) in window.iter().zip(states) {
            let name = at_port(&arguments.target, *port);
            any_open |= state == State::Open;
            output.line(format_args!("{name} {}", state.name()))?;
            output.event(
                "port",
                json!({ "address": name.to_string(), "state": state.name() }),
            )?;
        }
    }
    Ok(if any_open { Exit::Success } else { Exit::Negative })
}

/// The same address with another port.
fn at_port(address: &Address<Target>, port: u16) -> Address<Target> {
    match address {
        Address::Ip { carrier, endpoint } => Address::Ip {
            carrier: *carrier,
            endpoint: Target::new(endpoint.transport(), endpoint.host().clone(), port),
        },
        Address::Unix(name) => Address::Unix(*name),
    }
}

/// What came of the connects of a window, by their tags.
#[derive(Debug)]
struct Asked {
    states: Rc<RefCell<Vec<Option<State>>>>,
}

impl Asked {
    fn set(&self, tag: u64, state: State) {
        let place = usize::try_from(tag).unwrap_or(usize::MAX);
        if let Some(known) = self.states.borrow_mut().get_mut(place) {
            *known = Some(state);
        }
    }
}

impl StreamService for Asked {
    type Conn = ();

    fn on_open(&mut self, stream: &mut Stream<'_>) {
        self.set(stream.tag(), State::Open);
        stream.abort();
    }

    fn on_data(&mut self, _: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        data.len()
    }

    fn on_connect_error(&mut self, _: &mut Context<'_>, failure: ConnectFailure) {
        let state = match &failure.cause {
            ConnectFault::Failed(error) => State::of(error),
            _ => State::Silent,
        };
        self.set(failure.tag, state);
    }
}

/// `None` where a signal ended it.
fn streams(
    arguments: &Arguments,
    addresses: &[SocketAddr],
    ports: &[u16],
) -> anyhow::Result<Option<Vec<State>>> {
    let mut events = EventLoop::new().context("make an event loop")?;
    stop_on_signals(&mut events).context("take signals")?;
    let states = Rc::new(RefCell::new(vec![None; ports.len()]));
    let asked = Asked {
        states: Rc::clone(&states),
    };
    let service = events.add_stream_service(asked, StreamOptions::default());
    for (port, tag) in ports.iter().zip(0..) {
        let request = match &arguments.target {
            Address::Unix(name) => ConnectRequest::to_unix(*name),
            Address::Ip { .. } => {
                let at = addresses.iter().map(|at| SocketAddr::new(at.ip(), *port));
                // With its zone, which only the port is changed of.
                let at = at.zip(addresses).map(|(at, whole)| with_scope(at, *whole));
                ConnectRequest::any_of(at)
            }
        };
        let options = ConnectOptions {
            source: arguments.source,
            device: arguments.interface.clone(),
            ..ConnectOptions::default()
        };
        events.connect(
            service,
            request
                .tag(tag)
                .options(options)
                .deadline(arguments.connect_within()),
        );
    }
    while states.borrow().iter().any(Option::is_none) {
        events.turn(None).context("run the event loop")?;
        if events.is_stopping() {
            return Ok(None);
        }
    }
    let states = states.borrow();
    Ok(Some(
        states
            .iter()
            .map(|state| state.unwrap_or(State::Silent))
            .collect(),
    ))
}

fn with_scope(at: SocketAddr, whole: SocketAddr) -> SocketAddr {
    let mut scoped = whole;
    scoped.set_port(at.port());
    scoped
}

/// An empty datagram to each port, and another one when half of the time is over: they may get lost.
fn datagrams(arguments: &Arguments, addresses: &[SocketAddr], ports: &[u16]) -> anyhow::Result<Vec<State>> {
    let address = addresses.first().context("no address")?;
    let within = arguments.timeout.map_or(UDP_TIMEOUT, Duration::from_secs_f64);
    let mut sockets = Vec::new();
    for port in ports {
        let mut at = *address;
        at.set_port(*port);
        let socket = udp_options(arguments).connect(arguments.source, at)?;
        let state = socket.send(b"").err().map(|error| State::of(&error));
        sockets.push((socket, state));
    }
    let begun = Instant::now();
    let mut sent_again = false;
    loop {
        let passed = begun.elapsed();
        if passed >= within / 2 && !std::mem::replace(&mut sent_again, passed >= within / 2) {
            for (socket, state) in &mut sockets {
                if state.is_none() {
                    *state = socket.send(b"").err().map(|error| State::of(&error));
                }
            }
        }
        let waiting: Vec<&mut (UdpSocket, Option<State>)> =
            sockets.iter_mut().filter(|(_, state)| state.is_none()).collect();
        if waiting.is_empty() || passed >= within {
            break;
        }
        let mut ready: Vec<PollFd<'_>> = waiting
            .iter()
            .map(|(socket, _)| PollFd::new(socket.as_fd(), true, false))
            .collect();
        let until = if sent_again { within } else { within / 2 };
        match poll(&mut ready, Some(until.saturating_sub(passed))) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                return Err(error).context("wait for answers");
            }
            _ => {}
        }
        let is_ready: Vec<bool> = ready.iter().map(PollFd::is_readable).collect();
        drop(ready);
        for ((socket, state), _) in waiting.into_iter().zip(is_ready).filter(|(_, ready)| *ready) {
            match socket.recv(&mut [0; 1]) {
                Ok(_) => *state = Some(State::Open),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => *state = Some(State::of(&error)),
            }
        }
    }
    let states = sockets
        .iter()
        .map(|(_, state)| state.unwrap_or(State::OpenOrSilent));
    Ok(states.collect())
}
