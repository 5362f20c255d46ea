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
    ConnectFailure, ConnectFault, ConnectOptions, ConnectRequest, Context, EventLoop, PeerName, Stream,
    StreamOptions, StreamService,
};
use sockeye::socket::errno;
use sockeye::socket::os::{PollFd, poll};
use sockeye::udp::UdpSocket;

use super::{Arguments, udp_options};
use crate::exit::Exit;
use crate::output::Output;
use crate::privileges;
use crate::signals::stop_on_signals;
use crate::talk::errors::{connect_error, of_address};

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

    /// What an error says of the port; `None` where it says that this side could not ask.
    fn of(error: &io::Error, is_ipv6: bool) -> Option<Self> {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::ConnectionRefused | Kind::ConnectionReset | Kind::NotFound => return Some(Self::Closed),
            Kind::TimedOut | Kind::HostUnreachable | Kind::NetworkUnreachable => return Some(Self::Silent),
            _ => {}
        }
        match error.raw_os_error()? {
            // The other errors that the kernel makes of ICMP's unreachables (Linux, net/ipv4/icmp.c and net/ipv6/icmp.c).
            errno::EHOSTDOWN | errno::ENONET | errno::ENOPROTOOPT | errno::EOPNOTSUPP | errno::EPROTO => {
                Some(Self::Silent)
            }
            errno::EACCES if is_ipv6 => Some(Self::Silent),
            _ => None,
        }
    }

    /// What an error of a datagram to `to` says of the port, or why this side could not ask.
    fn of_datagram(error: io::Error, to: SocketAddr) -> anyhow::Result<Self> {
        Self::of(&error, to.is_ipv6()).ok_or_else(|| of_address(Transport::Udp, error, to))
    }
}

/// Asks every port, prints what each is; the status is 0 where at least one is open.
///
/// # Errors
/// When this side cannot ask one of them, which says nothing of the port: the first of these errors.
pub(super) fn run(
    arguments: &Arguments,
    addresses: &[SocketAddr],
    ports: &[u16],
    output: &mut Output,
) -> anyhow::Result<Exit> {
    privileges::keep(arguments.needed_to_connect())?;
    let mut any_open = false;
    let is_udp =
        matches!(&arguments.target, Address::Ip { endpoint, .. } if endpoint.transport() == Transport::Udp);
    for window in ports.chunks(WINDOW) {
        let answers = if is_udp {
            datagrams(arguments, addresses, window)?
        } else {
            match streams(arguments, addresses, window)? {
                Some(answers) => answers,
                None => {
                    return Ok(if any_open {
                        Exit::Success
                    } else {
                        Exit::Interrupted
                    });
                }
            }
        };
        let mut fault = None;
        for (port, answer) in window.iter().zip(answers) {
            let name = at_port(&arguments.target, *port);
            let state = match answer {
                Ok(state) => state,
                Err(error) => {
                    fault.get_or_insert_with(|| error.context(format!("connect {name}")));
                    continue;
                }
            };
            any_open |= state == State::Open;
            output.line(format_args!("{name} {}", state.name()))?;
            output.event(
                "port",
                json!({ "address": name.to_string(), "state": state.name() }),
            )?;
        }
        if let Some(fault) = fault {
            return Err(fault);
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
    answers: Rc<RefCell<Vec<Option<anyhow::Result<State>>>>>,
}

impl Asked {
    fn set(&self, tag: u64, answer: anyhow::Result<State>) {
        let place = usize::try_from(tag).unwrap_or(usize::MAX);
        if let Some(known) = self.answers.borrow_mut().get_mut(place) {
            *known = Some(answer);
        }
    }
}

impl StreamService for Asked {
    type Conn = ();

    fn on_open(&mut self, stream: &mut Stream<'_>) {
        self.set(stream.tag(), Ok(State::Open));
        stream.abort();
    }

    fn on_data(&mut self, _: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        data.len()
    }

    fn on_connect_error(&mut self, _: &mut Context<'_>, failure: ConnectFailure) {
        let tag = failure.tag;
        let said = |(to, error): &(PeerName, io::Error)| {
            State::of(error, matches!(to, PeerName::Ip(address) if address.is_ipv6()))
        };
        // One address that answers, or does not, is enough.
        let state = match &failure.cause {
            ConnectFault::TimedOut => Some(State::Silent),
            _ => failure.attempts.iter().rev().find_map(said),
        };
        self.set(tag, state.ok_or_else(|| connect_error(failure)));
    }
}

/// `None` where a signal ended it.
fn streams(
    arguments: &Arguments,
    addresses: &[SocketAddr],
    ports: &[u16],
) -> anyhow::Result<Option<Vec<anyhow::Result<State>>>> {
    let mut events = EventLoop::new().context("make an event loop")?;
    stop_on_signals(&mut events).context("take signals")?;
    let answers: Vec<Option<anyhow::Result<State>>> = ports.iter().map(|_| None).collect();
    let answers = Rc::new(RefCell::new(answers));
    let asked = Asked {
        answers: Rc::clone(&answers),
    };
    let service = events.add_stream_service(asked, StreamOptions::default());
    for (port, tag) in ports.iter().zip(0..) {
        let request = match &arguments.target {
            Address::Unix(name) => ConnectRequest::to_unix(*name),
            Address::Ip { .. } => ConnectRequest::any_of(addresses.iter().map(|at| with_port(*at, *port))),
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
    while answers.borrow().iter().any(Option::is_none) {
        events.turn(None).context("run the event loop")?;
        if events.is_stopping() {
            return Ok(None);
        }
    }
    let answers = answers.take().into_iter().flatten().collect();
    Ok(Some(answers))
}

/// The same address, its zone too, with another port.
fn with_port(mut address: SocketAddr, port: u16) -> SocketAddr {
    address.set_port(port);
    address
}

/// An empty datagram to each port, and another one when half of the time is over: they may get lost.
fn datagrams(
    arguments: &Arguments,
    addresses: &[SocketAddr],
    ports: &[u16],
) -> anyhow::Result<Vec<anyhow::Result<State>>> {
    let address = addresses.first().context("no address")?;
    let within = arguments.timeout.map_or(UDP_TIMEOUT, Duration::from_secs_f64);
    let mut sockets = Vec::new();
    for port in ports {
        let at = with_port(*address, *port);
        let socket = udp_options(arguments).connect(arguments.source, at)?;
        let mut asked = Datagram {
            socket,
            at,
            answer: None,
        };
        asked.send();
        sockets.push(asked);
    }
    let begun = Instant::now();
    let mut sent_again = false;
    loop {
        let passed = begun.elapsed();
        if passed >= within / 2 && !std::mem::replace(&mut sent_again, true) {
            for asked in sockets.iter_mut().filter(|asked| asked.answer.is_none()) {
                asked.send();
            }
        }
        let waiting: Vec<&mut Datagram> = sockets
            .iter_mut()
            .filter(|asked| asked.answer.is_none())
            .collect();
        if waiting.is_empty() || passed >= within {
            break;
        }
        let mut ready: Vec<PollFd<'_>> = waiting
            .iter()
            .map(|asked| PollFd::new(asked.socket.as_fd(), true, false))
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
        for (asked, _) in waiting.into_iter().zip(is_ready).filter(|(_, ready)| *ready) {
            asked.receive();
        }
    }
    let answers = sockets
        .into_iter()
        .map(|asked| asked.answer.unwrap_or(Ok(State::OpenOrSilent)));
    Ok(answers.collect())
}

/// A port of UDP that is asked.
#[derive(Debug)]
struct Datagram {
    socket: UdpSocket,
    at: SocketAddr,
    answer: Option<anyhow::Result<State>>,
}

impl Datagram {
    fn send(&mut self) {
        if let Err(error) = self.socket.send(b"") {
            self.answer = Some(State::of_datagram(error, self.at));
        }
    }

    fn receive(&mut self) {
        match self.socket.recv(&mut [0; 1]) {
            Ok(_) => self.answer = Some(Ok(State::Open)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => self.answer = Some(State::of_datagram(error, self.at)),
        }
    }
}
