//! `sockeye bench server --iperf3`.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;
use sockeye::endpoint::{Endpoint, Transport};
use sockeye::event_loop::{
    DatagramId, DatagramOptions, EventLoop, ListenOptions, ListenerId, LoopOptions, ServiceHandle,
    StreamOptions,
};
use sockeye::measure::iperf3::{PORT, Timeouts};
use sockeye::socket::{OpError, errno};

use super::super::server::Arguments;
use super::super::server::log::Log;
use super::READ_BUFFER;
use super::hub::{Hub, Limits};
use super::services::{Connections, Sources};
use crate::confined::{self, Needs};
use crate::exit::{Exit, Failure};
use crate::names;
use crate::output::Output;
use crate::output::log::Patient;
use crate::probing;
use crate::signals::stop_on_signals;

/// What a burst of datagrams may fill before the loop gets to it. The kernel may grant less.
const RECV_BUFFER: usize = 4 << 20;
/// How long what was said last may take to leave.
const DRAIN: Duration = Duration::from_secs(1);
/// Free ports of TCP that are tried until one is free for UDP too.
const PORTS: u32 = 16;

/// The services of a server.
struct Services {
    connections: ServiceHandle<Connections>,
    sources: ServiceHandle<Sources>,
}

/// Serves iperf3 clients until a signal ends it.
///
/// # Errors
/// When an address cannot be listened on.
pub(in super::super) fn serve(arguments: &Arguments, output: &mut Output) -> anyhow::Result<Exit> {
    let addresses = addresses(&arguments.listen)?;
    let max_connections = usize::try_from(arguments.max_connections).unwrap_or(usize::MAX);
    // Each connection is a descriptor, and the soft limit is made for programs that use select(2).
    sockeye::socket::os::raise_nofile_limit(u64::MAX).context("raise the limit of descriptors")?;
    let mut events = EventLoop::with_options(LoopOptions {
        read_buffer: READ_BUFFER,
        // Those that are refused have to be heard, too.
        max_connections: max_connections.saturating_mul(2),
        ..LoopOptions::default()
    })
    .context("make an event loop")?;
    stop_on_signals(&mut events).context("take signals")?;
    let log = Log::new();
    let limits = Limits {
        interval: Duration::from_secs_f64(arguments.interval),
        idle: Duration::from_secs_f64(arguments.idle_timeout),
        timeouts: Timeouts::default(),
        max_connections,
    };
    let hub = Rc::new(RefCell::new(Hub::new(limits, log.clone())));
    let connections = Connections {
        hub: Rc::clone(&hub),
        accepted: 0,
    };
    let services = Services {
        connections: events.add_stream_service(connections, StreamOptions::default()),
        sources: events.add_datagram_service(Sources::new(&hub)),
    };
    let mut told = Patient::stdout("bench server", output.format())?;
    for address in addresses {
        let bound = open(&mut events, &services, address)?;
        for transport in [Transport::Tcp, Transport::Udp] {
            let endpoint = Endpoint::from_socket_addr(transport, bound).to_string();
            told.put(|output| {
                output.line(format_args!("listening on {endpoint}"))?;
                output.event("listening", json!({ "endpoint": endpoint }))
            })?;
        }
    }
    confined::only_serve(&Needs::default())?;
    let served = probing::run(&mut events, &log, |_, event| {
        told.put(|output| event.print(output)).map(|()| false)
    });
    events.with(services.connections, |service, context| {
        service.hub.borrow_mut().terminate(context);
    });
    events.drain(DRAIN).context("end the connections")?;
    for event in log.take_all() {
        told.put(|output| event.print(output))?;
    }
    told.finish();
    served?;
    Ok(Exit::Success)
}

/// Where to listen; iperf3 uses one port for both TCP and UDP.
fn addresses(listen: &[String]) -> anyhow::Result<Vec<Option<SocketAddr>>> {
    if listen.is_empty() {
        return Ok(vec![None]);
    }
    let address = |text: &String| {
        let wrong = |why: &dyn std::fmt::Display| Failure::usage(format!("--listen {text}: {why}"));
        let target = probing::target(text, Transport::Tcp, PORT).map_err(|error| wrong(&error))?;
        match target.endpoint() {
            Some(endpoint) if endpoint.transport() == Transport::Tcp => {
                names::socket_addr(&endpoint).map(Some)
            }
            Some(_) => Err(wrong(
                &"with --iperf3 it is an address alone or tcp://, and UDP is served beside it",
            )),
            None => Err(wrong(
                &"to listen takes an address, not a name, such as 127.0.0.1:5201",
            )),
        }
    };
    listen.iter().map(address).collect()
}

/// Listens by TCP and UDP. `None`: at all addresses of both families.
fn open(
    events: &mut EventLoop,
    services: &Services,
    address: Option<SocketAddr>,
) -> anyhow::Result<SocketAddr> {
    let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT));
    let at = address.unwrap_or(both);
    let opened = match open_at(events, services, at, address.is_none()) {
        // This machine has no IPv6.
        Err(error) if address.is_none() && has_no_family(&error) => {
            let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT));
            open_at(events, services, v4, false)
        }
        opened => opened,
    };
    opened.with_context(|| format!("serve {at}"))
}

fn has_no_family(error: &OpError) -> bool {
    matches!(
        error.raw_os_error(),
        Some(errno::EAFNOSUPPORT | errno::EADDRNOTAVAIL)
    )
}

fn open_at(
    events: &mut EventLoop,
    services: &Services,
    at: SocketAddr,
    is_dual: bool,
) -> Result<SocketAddr, OpError> {
    let mut tries = 1;
    loop {
        let (listener, bound) = listen(events, services, at, is_dual)?;
        match bind(events, services, bound, is_dual) {
            Ok(_) => return Ok(bound),
            Err(error) => {
                events.close_listener(listener);
                // The port that TCP was given is another socket's of UDP.
                let is_taken = error.raw_os_error() == Some(errno::EADDRINUSE);
                if !(is_taken && at.port() == 0 && tries < PORTS) {
                    return Err(error);
                }
                tries += 1;
            }
        }
    }
}

fn listen(
    events: &mut EventLoop,
    services: &Services,
    at: SocketAddr,
    is_dual: bool,
) -> Result<(ListenerId, SocketAddr), OpError> {
    let options = ListenOptions {
        v6_only: v6_only(at, is_dual),
        ..ListenOptions::default()
    };
    let id = events.listen(services.connections, at, &options)?;
    let bound = events
        .local_addr(id)
        .map_err(|error| lost(Transport::Tcp, at, error))?;
    Ok((id, bound))
}

fn bind(
    events: &mut EventLoop,
    services: &Services,
    at: SocketAddr,
    is_dual: bool,
) -> Result<DatagramId, OpError> {
    let options = DatagramOptions {
        v6_only: v6_only(at, is_dual),
        recv_buffer: Some(RECV_BUFFER),
        send_buffer: Some(RECV_BUFFER),
        // On a wildcard address only the kernel knows which address was asked; the answer leaves from it.
        packet_info: at.ip().is_unspecified(),
        max_queue: RECV_BUFFER,
        ..DatagramOptions::default()
    };
    events.bind(services.sources, at, &options)
}

/// An address that was named is that family's alone.
const fn v6_only(at: SocketAddr, is_dual: bool) -> Option<bool> {
    match at.ip() {
        IpAddr::V6(_) => Some(!is_dual),
        IpAddr::V4(_) => None,
    }
}

fn lost(transport: Transport, at: SocketAddr, error: io::Error) -> OpError {
    let endpoint = Endpoint::from_socket_addr(transport, at);
    OpError::new(sockeye::socket::Op::Bind, transport, error).with_local(endpoint)
}
