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

use super::super::client::{Arguments, ModeArgument};
use super::READ_BUFFER;
use super::client::{CONTROL, Connections, Session, Sockets};
use super::report::Report;
use super::told::Told;
use crate::exit::{Exit, Failure};
use crate::names;
use crate::output::Output;
use crate::privileges;
use crate::probing::{self, Inbox};
use crate::signals::stop_on_signals;

/// For the name, and for the control connection.
const CONNECT: Duration = Duration::from_secs(10);
/// How long what was said last may take to leave.
const DRAIN: Duration = Duration::from_millis(500);
/// As the server's.
const BUFFER: usize = 4 << 20;
/// Bits a second of a stream of UDP, unless another rate is asked for.
const UDP_RATE: u64 = 1_000_000;

/// Measures with an iperf3 server.
///
/// # Errors
/// When the server cannot be reached, or refuses.
pub(in super::super) fn measure(arguments: &Arguments, output: &mut Output) -> anyhow::Result<Exit> {
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
    let parameters = parameters(arguments, is_udp)?;
    let addresses = names::addresses(&target, CONNECT)?;
    if let Some(cpu) = cpu(arguments)? {
        sockeye::socket::os::pin_thread_to_cpu(cpu).with_context(|| format!("-A {cpu}"))?;
    }
    privileges::drop_all()?;
    let mut events = EventLoop::with_options(LoopOptions {
        read_buffer: READ_BUFFER,
        ..LoopOptions::default()
    })
    .context("make an event loop")?;
    stop_on_signals(&mut events).context("take signals")?;
    let inbox = Inbox::new();
    let cookie = Cookie::new([(); 3].map(|()| probing::secret()));
    let interval = Duration::from_secs_f64(arguments.interval);
    let session = Session::new(cookie, parameters, interval, inbox.clone());
    let session = Rc::new(RefCell::new(session));
    let connections = events.add_stream_service(Connections(Rc::clone(&session)), StreamOptions::default());
    let sockets = events.add_datagram_service(Sockets(Rc::clone(&session)));
    events.connect(
        connections,
        ConnectRequest::any_of(addresses).tag(CONTROL).deadline(CONNECT),
    );
    let report = Report { has_many: false };
    let outcome = probing::run(&mut events, &inbox, |events, told| {
        report.print(&told, output)?;
        match told {
            Told::NeedsSocket(server) => bind(events, sockets, server).map(|()| false),
            Told::Broken(error) => Err(error),
            Told::Ended { .. } => Ok(true),
            _ => Ok(false),
        }
    });
    let is_over = outcome.with_context(|| format!("iperf3 server {target}"))?;
    if !is_over {
        events.with(connections, |service, context| {
            service.0.borrow_mut().terminate(context)
        });
    }
    events.drain(DRAIN).context("end the connections")?;
    Ok(if is_over { Exit::Success } else { Exit::Interrupted })
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
    let unknown = [
        ("--mode", arguments.mode != ModeArgument::Stream),
        ("--rate", arguments.rate.is_some()),
        ("--hdr", arguments.hdr.is_some()),
        ("--report", arguments.report.is_some()),
        ("--compare", arguments.compare.is_some()),
        ("--fail-if", !arguments.fail_if.is_empty()),
    ];
    if let Some((option, _)) = unknown.iter().find(|(_, is_there)| *is_there) {
        return Err(Failure::usage(format!(
            "{option}: iperf3 does not have it: leave out --iperf3"
        )));
    }
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

/// The processor of this side; the server's is the server's own.
fn cpu(arguments: &Arguments) -> anyhow::Result<Option<usize>> {
    let Some(text) = &arguments.affinity else {
        return Ok(None);
    };
    let wrong = |_| {
        Failure::usage(format!(
            "-A {text}: with --iperf3 it takes the number of a processor, for this side"
        ))
    };
    text.parse().map(Some).map_err(wrong)
}
