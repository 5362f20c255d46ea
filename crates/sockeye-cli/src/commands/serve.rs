//! `sockeye serve echo|discard|chargen --listen ENDPOINT...`: small services for tests and measurements.

use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use serde_json::json;
use sockeye::endpoint::{Endpoint, Target, Transport};
use sockeye::event_loop::{
    DatagramOptions, DatagramService, EventLoop, ListenOptions, ShardOptions, Shards, StreamOptions,
    StreamService,
};

use crate::exit::{Exit, Failure};
use crate::names;
use crate::output::{Format, Output};
use crate::services::{Chargen, Discard, Echo};
use crate::signals::stop_on_signals;

/// How long connections have to end after a signal; then they are reset.
const DRAIN: Duration = Duration::from_secs(2);
/// What a burst of datagrams may fill before the loop gets to it. The kernel may grant less.
const RECV_BUFFER: usize = 4 << 20;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:\n\
\x20 sockeye serve echo --listen tcp://127.0.0.1:7007 --listen udp://[::1]:7007\n\
\x20 sockeye serve chargen --listen tcp://127.0.0.1:0 --shards 2")]
pub(crate) struct Arguments {
    /// What to serve
    service: Service,
    /// Where, such as tcp://127.0.0.1:7007 or udp://[::1]:0 (port 0: any free one, which is printed)
    #[arg(long, value_name = "ENDPOINT", required = true, value_parser = endpoint)]
    listen: Vec<Endpoint>,
    /// Threads, each with a loop of its own; the kernel spreads connections and flows over them
    #[arg(long, default_value_t = 1, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1024))]
    shards: u16,
    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Service {
    /// Send back what comes (RFC 862)
    Echo,
    /// Read and drop (RFC 863)
    #[value(alias = "sink")]
    Discard,
    /// Send characters without end to whoever connects (RFC 864; tcp only: datagrams can claim any sender)
    #[value(alias = "source")]
    Chargen,
}

/// Serves until a signal ends it.
///
/// # Errors
/// When an endpoint cannot be listened on.
pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<Exit> {
    let mut endpoints = arguments
        .listen
        .iter()
        .map(|e| listenable(arguments.service, e))
        .collect::<Result<Vec<_>, _>>()?;
    distinct(&endpoints)?;
    // Each connection is a descriptor, and the soft limit is made for programs that use select(2).
    sockeye::socket::os::raise_nofile_limit(u64::MAX).context("raise the limit of descriptors")?;

    let is_shared = arguments.shards > 1;
    let mut events = EventLoop::new().context("make an event loop")?;
    stop_on_signals(&mut events).context("take signals")?;
    for endpoint in &mut endpoints {
        // Port 0 has become a real one, which the other shards need too.
        *endpoint = open(&mut events, arguments.service, *endpoint, is_shared)?;
    }
    let shards = is_shared
        .then(|| start_shards(arguments, &endpoints))
        .transpose()?;
    for endpoint in &endpoints {
        output.line(format_args!("listening on {endpoint}"))?;
        output.event("listening", json!({ "endpoint": endpoint.to_string() }))?;
    }
    events.run().context("run the event loop")?;
    // All at once: the connections of one loop must not wait for those of another.
    let others = shards.map(|shards| thread::spawn(move || shards.drain(DRAIN)));
    events.drain(DRAIN).context("end the connections")?;
    if let Some(others) = others {
        let ended = others
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("it panicked")));
        ended.context("end the shards")?;
    }
    Ok(Exit::Success)
}

/// The other loops, a thread each; the first one, which takes the signals, is the main thread's.
fn start_shards(arguments: &Arguments, endpoints: &[Endpoint]) -> anyhow::Result<Shards> {
    let options = ShardOptions {
        count: usize::from(arguments.shards) - 1,
        ..ShardOptions::default()
    };
    let (service, endpoints) = (arguments.service, endpoints.to_vec());
    let shards = Shards::start(&options, move |_shard, events| {
        for endpoint in &endpoints {
            open(events, service, *endpoint, true).map_err(io::Error::other)?;
        }
        Ok(())
    });
    shards.context("start the shards")
}

fn listenable(service: Service, endpoint: &Endpoint) -> anyhow::Result<Endpoint> {
    match (endpoint.transport(), service) {
        (Transport::Tcp, _) | (Transport::Udp, Service::Echo | Service::Discard) => Ok(*endpoint),
        (Transport::Udp, Service::Chargen) => Err(Failure::usage(format!(
            "{endpoint}: chargen is served over tcp only: datagrams can claim any sender"
        ))),
        _ => Err(Failure::usage(format!("{endpoint}: served are tcp and udp"))),
    }
}

/// An endpoint on the command line: to listen takes an address, which a name is not.
fn endpoint(text: &str) -> Result<Endpoint, String> {
    text.parse().map_err(|error| match text.parse::<Target>() {
        Ok(target) if target.endpoint().is_none() => {
            format!("{error} (a name: give one of its addresses, such as 127.0.0.1)")
        }
        _ => format!("{error}"),
    })
}

/// Refuses an endpoint that is given twice: shards share their ports, so that the system would not.
fn distinct(endpoints: &[Endpoint]) -> anyhow::Result<()> {
    for (index, endpoint) in endpoints.iter().enumerate() {
        if endpoint.port() != 0 && endpoints.iter().take(index).any(|earlier| earlier == endpoint) {
            return Err(Failure::usage(format!("--listen {endpoint}: given twice")));
        }
    }
    Ok(())
}

/// Opens one endpoint and says where it is.
fn open(
    events: &mut EventLoop,
    service: Service,
    endpoint: Endpoint,
    is_shared: bool,
) -> anyhow::Result<Endpoint> {
    let at = names::socket_addr(&endpoint)?;
    let bound = match (endpoint.transport(), service) {
        (Transport::Udp, Service::Echo) => bind(events, Echo, at, is_shared),
        (Transport::Udp, _) => bind(events, Discard, at, is_shared),
        (_, Service::Echo) => listen(events, Echo, at, is_shared),
        (_, Service::Discard) => listen(events, Discard, at, is_shared),
        (_, Service::Chargen) => listen(events, Chargen::default(), at, is_shared),
    };
    let bound = bound.with_context(|| format!("serve {endpoint}"))?;
    Ok(endpoint.with_port(bound.port()))
}

fn listen(
    events: &mut EventLoop,
    service: impl StreamService,
    at: SocketAddr,
    is_shared: bool,
) -> anyhow::Result<SocketAddr> {
    let service = events.add_stream_service(service, StreamOptions::default());
    let options = ListenOptions {
        reuse_port: is_shared,
        ..ListenOptions::default()
    };
    let listener = events.listen(service, at, &options)?;
    Ok(events.local_addr(listener)?)
}

fn bind(
    events: &mut EventLoop,
    service: impl DatagramService,
    at: SocketAddr,
    is_shared: bool,
) -> anyhow::Result<SocketAddr> {
    let service = events.add_datagram_service(service);
    let options = DatagramOptions {
        reuse_port: is_shared,
        recv_buffer: Some(RECV_BUFFER),
        // On a wildcard address only the kernel knows which address was asked; the answer leaves from it.
        packet_info: at.ip().is_unspecified(),
        ..DatagramOptions::default()
    };
    let socket = events.bind(service, at, &options)?;
    Ok(events.local_addr(socket)?)
}
