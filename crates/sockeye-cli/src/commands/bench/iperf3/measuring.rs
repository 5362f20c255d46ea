//! `sockeye bench client --iperf3`.

use std::cell::RefCell;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context as _;
use sockeye::endpoint::Transport;
use sockeye::event_loop::{
    ConnectRequest, DatagramOptions, EventLoop, LoopOptions, ServiceHandle, StreamOptions,
};
use sockeye::measure::iperf3::{Cookie, PORT, Parameters, Protocol};
use sockeye::measure::run;

use super::super::client::figures::{self, Outcome};
use super::super::client::{Arguments, Live, ModeArgument, plan};
use super::super::flows::cpu::Pinned;
use super::client::{CONTROL, Connections, Session, Sockets};
use super::told::Told;
use super::{READ_BUFFER, parameters_of};
use crate::exit::Failure;
use crate::privileges;
use crate::probing::{self, Inbox};
use crate::signals::on_signals;

/// For the control connection.
const CONNECT: Duration = Duration::from_secs(10);
/// How long what was said last may take to leave.
const DRAIN: Duration = Duration::from_millis(500);
/// As the server's.
const BUFFER: usize = 4 << 20;
/// Bits a second of a stream of UDP, unless another rate is asked for.
const UDP_RATE: u64 = 1_000_000;

/// What is to be measured.
#[derive(Debug)]
pub(in super::super) struct Plan {
    /// In the words of our own runs.
    pub(in super::super) parameters: run::Parameters,
    test: Parameters,
    addresses: Vec<SocketAddr>,
    cpu: Option<u16>,
}

impl Plan {
    /// # Errors
    /// What iperf3 does not have, or a name that has no address.
    pub(in super::super) fn new(arguments: &Arguments) -> anyhow::Result<Self> {
        let target = probing::target(&arguments.target, Transport::Tcp, PORT)?;
        let is_udp = match target.transport() {
            Transport::Tcp => arguments.udp,
            Transport::Udp => true,
            _ => {
                return Err(Failure::usage(format!(
                    "{target}: iperf3 is measured over tcp:// and udp://"
                )));
            }
        };
        let unknown = [
            ("--mode", arguments.mode != ModeArgument::Stream),
            ("--rate", arguments.rate.is_some()),
        ];
        plan::refuse(arguments, figures::Protocol::Iperf3, &unknown)?;
        let test = parameters(arguments, is_udp)?;
        Ok(Self {
            parameters: parameters_of(&test, Duration::from_secs_f64(arguments.interval)),
            test,
            cpu: plan::own_cpu(arguments, figures::Protocol::Iperf3)?,
            addresses: plan::addresses(arguments, &target)?,
        })
    }
}

/// Measures with an iperf3 server; `None` when a signal ended it before there was anything.
///
/// # Errors
/// When the server cannot be reached, or refuses.
pub(in super::super) fn measure(
    arguments: &Arguments,
    plan: &Plan,
    live: &mut Live<'_>,
) -> anyhow::Result<Option<Outcome>> {
    let _pinned = plan.cpu.map(Pinned::to).transpose().context("-A")?;
    privileges::drop_all()?;
    let mut events = EventLoop::with_options(LoopOptions {
        read_buffer: READ_BUFFER,
        ..LoopOptions::default()
    })
    .context("make an event loop")?;
    let inbox = Inbox::new();
    let cookie = Cookie::new([(); 3].map(|()| probing::secret()));
    let interval = Duration::from_secs_f64(arguments.interval);
    let target = arguments.target.clone();
    let session = Session::new(cookie, target, plan.test.clone(), interval, inbox.clone());
    let session = Rc::new(RefCell::new(session));
    let interrupted = Rc::clone(&session);
    on_signals(&mut events, move |context| {
        if !interrupted.borrow_mut().interrupt(context) {
            context.stop();
        }
    })
    .context("take signals")?;
    let connections = events.add_stream_service(Connections(Rc::clone(&session)), StreamOptions::default());
    let sockets = events.add_datagram_service(Sockets(Rc::clone(&session)));
    let server = ConnectRequest::any_of(plan.addresses.clone());
    events.connect(connections, server.tag(CONTROL).deadline(CONNECT));
    let mut result = None;
    let is_over = probing::run(&mut events, &inbox, |events, told| {
        match told {
            Told::Began => live.started()?,
            Told::Intervals(rows) => live.intervals(&rows)?,
            Told::NeedsSocket(server) => bind(events, sockets, server)?,
            Told::Broken(error) => return Err(error),
            Told::Ended(outcome) => {
                result = Some(*outcome);
                return Ok(true);
            }
        }
        Ok(false)
    });
    let is_over = is_over.with_context(|| format!("iperf3 server {}", arguments.target))?;
    if !is_over {
        events.with(connections, |service, context| {
            service.0.borrow_mut().terminate(context)
        });
    }
    events.drain(DRAIN).context("end the connections")?;
    Ok(result)
}

/// Opens a socket for one stream of datagrams.
fn bind(events: &mut EventLoop, sockets: ServiceHandle<Sockets>, server: SocketAddr) -> anyhow::Result<()> {
    let any = match server {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let options = DatagramOptions {
        connect: Some(server),
        recv_buffer: Some(BUFFER),
        send_buffer: Some(BUFFER),
        max_queue: BUFFER,
        ..DatagramOptions::default()
    };
    events.bind(sockets, any, &options)?;
    Ok(())
}

/// What the server is told.
fn parameters(arguments: &Arguments, is_udp: bool) -> anyhow::Result<Parameters> {
    let protocol = if is_udp { Protocol::Udp } else { Protocol::Tcp };
    let mut parameters = Parameters::new(protocol);
    parameters.omit = whole("-O", arguments.omit)?;
    parameters.num = arguments.bytes.unwrap_or(0);
    parameters.blockcount = arguments.blocks.unwrap_or(0);
    if parameters.num == 0 && parameters.blockcount == 0 {
        parameters.time = whole("-t", arguments.time)?;
    }
    parameters.parallel = arguments.parallel.into();
    parameters.reverse = arguments.reverse;
    parameters.bidirectional = arguments.bidir;
    parameters.window = arguments.window.unwrap_or(0);
    parameters.len = arguments.length.unwrap_or(0);
    // The server has another default, which depends on what it knows of the path.
    parameters.len = parameters.block();
    parameters.bandwidth = arguments.bitrate.unwrap_or(if is_udp { UDP_RATE } else { 0 });
    parameters.zerocopy = arguments.zerocopy;
    parameters.get_server_output = arguments.get_server_output;
    parameters.udp_counters_64bit = is_udp;
    parameters.client_version = Some("3.12".to_owned());
    let checked = parameters.check();
    checked.map_err(|error| Failure::usage(format!("--iperf3: {error}")))?;
    Ok(parameters)
}

/// iperf3 knows whole seconds only.
fn whole(option: &str, seconds: f64) -> anyhow::Result<u32> {
    let text = seconds.to_string();
    let wrong = |_| Failure::usage(format!("{option} {text}: with --iperf3 it takes whole seconds"));
    text.parse().map_err(wrong)
}
