//! The connections of a client: one that controls the run, and the flows.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use anyhow::anyhow;
use sockeye::event_loop::{
    CloseReason, ConnectFailure, ConnectFault, ConnectOptions, ConnectRequest, Context, DatagramId,
    Datagrams, EventLoop, Message as Told, ServiceHandle, Stream, StreamId, StreamOption, StreamService,
};
use sockeye::measure::run::datagram::{Header, Kind};
use sockeye::measure::run::{MAX_REPLY, MAX_REQUEST, Message, Mode, Parameters, Transport};

use super::super::flows::control::{Reader, keep_alive, open};
use super::super::flows::datagram::{Joining, Sorter, Who};
use super::super::flows::stream::{DUE, StreamFlow};
use super::super::flows::{Flow, Place, Stage, Wake};
use super::super::server::{datagram_options, packet_options};
use super::crr::{Turn, Turns};
use super::driver::Driver;
use super::plan::Way;
use super::secure::Connector;
use crate::exit::{Exit, Failure};

/// For a connection to stand.
const CONNECT: Duration = Duration::from_secs(10);
/// Service timers of crr: this and the number of the flow.
const TURN: u64 = 1 << 32;

/// How the sockets of a run are opened.
#[derive(Debug)]
pub(super) struct Connects {
    way: Way,
    connector: Option<Connector>,
    options: ConnectOptions,
    pub(super) streams: Option<ServiceHandle<Client>>,
    pub(super) datagrams: Option<ServiceHandle<Sorter<Joins>>>,
    /// The one socket of all flows of packets.
    pub(super) packets: Option<DatagramId>,
    /// Of crr.
    pub(super) turns: Option<Turns>,
}

impl Connects {
    pub(super) fn new(way: Way, parameters: &Parameters, connector: Option<Connector>) -> Self {
        let window = parameters.window.and_then(|window| usize::try_from(window).ok());
        let socket =
            window.map(|window| vec![StreamOption::SendBuffer(window), StreamOption::RecvBuffer(window)]);
        Self {
            way,
            connector,
            options: ConnectOptions {
                socket: socket.unwrap_or_default(),
                ..ConnectOptions::default()
            },
            streams: None,
            datagrams: None,
            packets: None,
            turns: (parameters.mode == Mode::Crr).then(|| Turns::new(parameters)),
        }
    }

    /// The flows go to the address that has answered.
    pub(super) fn settle(&mut self, peer: Option<SocketAddr>) {
        if let (Way::Ip(addresses), Some(peer)) = (&mut self.way, peer) {
            *addresses = vec![peer];
        }
    }

    /// Where datagrams go.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        let Way::Ip(addresses) = &self.way else {
            return None;
        };
        let first = *addresses.first()?;
        let port = if self.packets.is_some() { 0 } else { first.port() };
        Some(SocketAddr::new(first.ip(), port)).map(|peer| match (peer, first) {
            // With the zone.
            (SocketAddr::V6(_), SocketAddr::V6(mut first)) => {
                first.set_port(port);
                SocketAddr::V6(first)
            }
            (peer, _) => peer,
        })
    }

    fn connect(&self, context: &mut Context<'_>, tag: u64) -> bool {
        let Some(service) = self.streams else {
            return false;
        };
        let request = match &self.way {
            Way::Ip(addresses) => ConnectRequest::any_of(addresses.iter().copied()),
            Way::Unix(name) => ConnectRequest::to_unix(*name),
        };
        let request = request.tag(tag).deadline(CONNECT).options(self.options.clone());
        match &self.connector {
            Some(connector) => connector.connect(context, service, request),
            None => context.connect_for(service, request).is_ok(),
        }
    }

    /// Connects to control a run.
    pub(super) fn control(&self, context: &mut Context<'_>) -> bool {
        self.connect(context, 0)
    }

    /// Connects a flow, of crr for one turn.
    pub(super) fn flow(&mut self, context: &mut Context<'_>, number: u32) {
        if let Some(turns) = &mut self.turns {
            turns.begins(number);
        }
        let _ = self.connect(context, u64::from(number) + 1);
    }

    /// A socket for a flow of datagrams, and where it sends to.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn datagrams(
        &self,
        context: &mut Context<'_>,
        window: Option<u32>,
    ) -> anyhow::Result<(DatagramId, SocketAddr)> {
        let peer = self.peer().ok_or_else(|| anyhow!("datagrams go to addresses"))?;
        if let Some(socket) = self.packets {
            return Ok((socket, peer));
        }
        let service = self
            .datagrams
            .ok_or_else(|| anyhow!("there is no service of datagrams"))?;
        let any: IpAddr = match peer {
            SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
        };
        let at = SocketAddr::new(any, 0);
        let mut options = datagram_options(at);
        options.connect = Some(peer);
        options.packet_info = false;
        if let Some(window) = window.and_then(|window| usize::try_from(window).ok()) {
            options.recv_buffer = Some(window);
            options.send_buffer = Some(window);
        }
        Ok((context.bind_for(service, at, &options)?, peer))
    }

    /// Opens what a run over that transport needs before it begins.
    ///
    /// # Errors
    /// What the system says: raw sockets need a capability.
    pub(super) fn prepare(
        &mut self,
        events: &mut EventLoop,
        parameters: &Parameters,
        sorter: impl Fn() -> Sorter<Joins>,
    ) -> anyhow::Result<()> {
        match parameters.transport {
            Transport::Udp => self.datagrams = Some(events.add_datagram_service(sorter())),
            Transport::Raw => {
                let Way::Ip(addresses) = &self.way else {
                    return Ok(());
                };
                let any: IpAddr = match addresses.first() {
                    Some(SocketAddr::V6(_)) => std::net::Ipv6Addr::UNSPECIFIED.into(),
                    _ => std::net::Ipv4Addr::UNSPECIFIED.into(),
                };
                let service = events.add_packet_service(sorter());
                self.packets = Some(events.open_packet(service, &packet_options(any))?);
            }
            _ => {}
        }
        Ok(())
    }
}

/// The service of all connections.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) driver: Rc<RefCell<Driver>>,
}

/// What a connection is.
#[derive(Debug)]
pub(super) enum Conn {
    Control(Reader),
    /// It has asked to join.
    Joining(Reader, u32),
    Flow(Box<StreamFlow>),
    /// One turn of crr.
    Turn(Reader, Turn),
    Over,
}

impl Client {
    /// Looks at the run where a flow has news.
    fn look(&self, stream: &mut Stream<'_>, flow: &Flow) {
        if flow.news.get() {
            self.driver.borrow_mut().look(&mut stream.context());
        }
    }

    fn fail(&self, error: anyhow::Error) {
        self.driver.borrow_mut().fail(error);
    }

    /// What the server says on the connection of a flow before it is one.
    fn join(&self, stream: &mut Stream<'_>, number: u32, message: &Message) -> Conn {
        let mut driver = self.driver.borrow_mut();
        let flow = usize::try_from(number)
            .ok()
            .and_then(|at| driver.flows.get(at))
            .cloned();
        match (message, flow) {
            (Message::Joined, Some(flow)) => {
                flow.place.set(Place::Stream(stream.id()));
                let round_trips = if number == 0 {
                    &driver.probe
                } else {
                    &driver.round_trips
                };
                match StreamFlow::new(flow, &driver.parameters, Some(round_trips), &driver.block) {
                    Ok(joined) => {
                        driver.joined(number);
                        return Conn::Flow(Box::new(joined));
                    }
                    Err(error) => driver.fail(anyhow!(error).context("make a file for -Z")),
                }
            }
            (Message::Refused { reason }, _) => {
                driver.fail(Failure::with(
                    Exit::Io,
                    format!("flow {number}: the server refuses: {reason}"),
                ));
            }
            _ => driver.fail(anyhow!("flow {number}: the server says what has no place there")),
        }
        Conn::Over
    }

    /// The messages of a connection, as long as it has them: how many bytes they take.
    fn messages(&mut self, stream: &mut Stream<'_>, conn: &mut Conn, data: &[u8]) -> usize {
        let mut taken = 0;
        loop {
            let is_turn = matches!(conn, Conn::Turn(..));
            let (Conn::Control(reader) | Conn::Joining(reader, _) | Conn::Turn(reader, _)) = conn else {
                return taken;
            };
            let message = match reader.next(data.get(taken..).unwrap_or_default()) {
                Ok((None, len)) => return taken + len,
                Ok((Some(message), len)) => {
                    taken += len;
                    message
                }
                Err(fault) => {
                    self.fail(anyhow!("the server: {fault}"));
                    *conn = Conn::Over;
                    return data.len();
                }
            };
            match conn {
                Conn::Joining(_, number) => {
                    let number = *number;
                    *conn = self.join(stream, number, &message);
                    if let Conn::Flow(flow) = conn {
                        self.look(stream, &flow.flow);
                        // It may have been told to go meanwhile.
                        flow.go_on(stream);
                    }
                }
                Conn::Turn(_, turn) => match message {
                    Message::Joined => turn.has_joined = true,
                    Message::Refused { reason } => {
                        self.fail(Failure::with(Exit::Io, format!("the server refuses: {reason}")));
                    }
                    _ => self.fail(anyhow!("the server says what has no place there")),
                },
                _ => self.driver.borrow_mut().take(stream, message),
            }
            if is_turn {
                return taken;
            }
        }
    }
}

impl StreamService for Client {
    type Conn = Conn;

    fn on_open(&mut self, stream: &mut Stream<'_>) -> Conn {
        let reader = Reader::of_messages(MAX_REPLY);
        let mut driver = self.driver.borrow_mut();
        if driver.is_over() {
            stream.abort();
            return Conn::Over;
        }
        match stream.tag() {
            0 => {
                keep_alive(stream);
                driver.connected(stream);
                let parameters = Message::Parameters(driver.parameters.clone());
                let _ = open(stream, &parameters, MAX_REQUEST);
                Conn::Control(reader)
            }
            tag => {
                let number = u32::try_from(tag - 1).unwrap_or(u32::MAX);
                let Some(run) = driver.run else {
                    return Conn::Over;
                };
                let _ = open(stream, &Message::Join { run, flow: number }, MAX_REQUEST);
                if driver.parameters.mode == Mode::Crr {
                    let turn = driver.open_turn(stream, number);
                    return turn.map_or(Conn::Over, |turn| Conn::Turn(reader, turn));
                }
                Conn::Joining(reader, number)
            }
        }
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, conn: &mut Conn, data: &mut [u8]) -> usize {
        let taken = match conn {
            Conn::Control(_) | Conn::Joining(..) => self.messages(stream, conn, data),
            Conn::Turn(_, turn) if !turn.has_joined => self.messages(stream, conn, data),
            _ => 0,
        };
        let rest = data.get(taken..).unwrap_or_default();
        match conn {
            Conn::Flow(flow) if !rest.is_empty() => {
                flow.take(stream, rest);
                self.look(stream, &flow.flow);
                data.len()
            }
            Conn::Turn(_, turn) if turn.has_joined && !rest.is_empty() => {
                let round_trips = Rc::clone(&self.driver.borrow().round_trips);
                turn.take(stream, rest.len(), &round_trips);
                data.len()
            }
            Conn::Over => data.len(),
            _ => taken,
        }
    }

    fn on_writable(&mut self, stream: &mut Stream<'_>, conn: &mut Conn) {
        if let Conn::Flow(flow) = conn {
            flow.go_on(stream);
            self.look(stream, &flow.flow);
        }
    }

    fn on_message(&mut self, stream: &mut Stream<'_>, conn: &mut Conn, _: Told) {
        match conn {
            Conn::Control(_) => self.driver.borrow_mut().look(&mut stream.context()),
            _ => self.on_writable(stream, conn),
        }
    }

    fn on_timer(&mut self, stream: &mut Stream<'_>, conn: &mut Conn, key: u64) {
        match conn {
            Conn::Flow(flow) if key == DUE => {
                flow.due(stream);
                self.look(stream, &flow.flow);
            }
            Conn::Control(_) => self.driver.borrow_mut().timer(stream, key),
            _ => {}
        }
    }

    fn on_eof(&mut self, stream: &mut Stream<'_>, conn: &mut Conn) {
        match conn {
            Conn::Flow(flow) => {
                flow.ended();
                self.look(stream, &flow.flow);
                stream.close();
            }
            _ => stream.close(),
        }
    }

    fn on_close(&mut self, context: &mut Context<'_>, _: StreamId, conn: Conn, reason: CloseReason) {
        if self.driver.borrow().is_over() {
            return;
        }
        match conn {
            Conn::Control(_) => self.fail(anyhow!("the server has closed the control connection: {reason}")),
            Conn::Joining(_, number) => {
                self.fail(anyhow!(
                    "flow {number}: the server has closed the connection: {reason}"
                ));
            }
            Conn::Flow(flow) if !flow.flow.has_ended.get() || !matches!(reason, CloseReason::Closed) => {
                let number = flow.flow.number;
                // It is told why on the control connection, if it was the server.
                self.fail(anyhow!("flow {number} has ended: {reason}"));
            }
            Conn::Turn(_, turn) if !turn.is_answered() => {
                self.fail(anyhow!(
                    "flow {}: closed without an answer: {reason}",
                    turn.number
                ));
            }
            Conn::Turn(_, turn) => self.next_turn(context, turn.number),
            Conn::Flow(_) | Conn::Over => {}
        }
    }

    fn on_service_timer(&mut self, context: &mut Context<'_>, key: u64) {
        if let Some(number) = key
            .checked_sub(TURN)
            .and_then(|number| u32::try_from(number).ok())
        {
            self.connect_turn(context, number);
        }
    }

    fn on_connect_error(&mut self, _: &mut Context<'_>, failure: ConnectFailure) {
        let hint = match &failure.cause {
            ConnectFault::Failed(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                " (sockeye bench server has to run there)"
            }
            ConnectFault::Failed(error) if error.kind() == std::io::ErrorKind::AddrNotAvailable => {
                " (no port is left: sysctl net.ipv4.ip_local_port_range; or a lower --rate)"
            }
            _ => "",
        };
        self.fail(anyhow!("{failure}{hint}"));
    }
}

impl Client {
    /// The turn before is over: the next one, when it is due.
    fn next_turn(&mut self, context: &mut Context<'_>, number: u32) {
        let mut driver = self.driver.borrow_mut();
        let Some(flow) = usize::try_from(number)
            .ok()
            .and_then(|at| driver.flows.get(at))
            .cloned()
        else {
            return;
        };
        let turns = driver.connects().turns.as_ref();
        let is_done = turns.is_none_or(|turns| turns.is_done(number));
        let wait = turns.and_then(|turns| turns.wait(number));
        if flow.stage.get() == Stage::Stopping || is_done {
            flow.done();
            return driver.look(context);
        }
        match wait {
            Some(wait) => {
                context.set_timer(wait, TURN + u64::from(number));
            }
            None => driver.connects().flow(context, number),
        }
    }

    fn connect_turn(&mut self, context: &mut Context<'_>, number: u32) {
        let mut driver = self.driver.borrow_mut();
        let flow = usize::try_from(number)
            .ok()
            .and_then(|at| driver.flows.get(at))
            .cloned();
        match flow {
            Some(flow) if flow.stage.get() == Stage::Stopping => {
                flow.done();
                driver.look(context);
            }
            Some(_) => driver.connects().flow(context, number),
            None => {}
        }
    }
}

/// Datagrams of a client.
#[derive(Debug)]
pub(super) struct Joins(pub(super) Rc<RefCell<Driver>>);

impl Joins {
    /// The control connection has the timers: it looks at the run.
    fn wake(&self, socket: &mut Datagrams<'_>) {
        if let Some(control) = self.0.borrow().control_id() {
            let _ = socket.send_message(control, Box::new(Wake));
        }
    }
}

impl Joining for Joins {
    fn join(&mut self, socket: &mut Datagrams<'_>, header: Header, _: Who) -> Option<Header> {
        let is_ours = header.kind == Kind::Joined && self.0.borrow().run == Some(header.run());
        if is_ours {
            self.0.borrow_mut().joined(header.flow);
            self.wake(socket);
        }
        None
    }

    fn look(&mut self, socket: &mut Datagrams<'_>) {
        self.wake(socket);
    }

    fn lost(&mut self, _: &mut Datagrams<'_>, error: std::io::Error) {
        let mut driver = self.0.borrow_mut();
        // At the end the server may be gone first.
        if !driver.is_finishing() {
            driver.fail(anyhow!(error).context("receive datagrams"));
        }
    }
}
