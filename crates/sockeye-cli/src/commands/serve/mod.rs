//! `sockeye serve echo|discard|chargen --listen ENDPOINT...`: small services for tests and measurements.

mod watch;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use serde_json::json;
use sockeye::endpoint::{Endpoint, Target, Transport};
use sockeye::event_loop::{
    AnswerRate, DatagramOptions, DatagramService, Deadlines, EventLoop, ListenOptions, LoopOptions,
    ReflectorGuard, ReflectorOptions, ShardOptions, Shards, StreamOptions, StreamService,
};

use crate::exit::{Exit, Failure};
use crate::names;
use crate::output::{Format, Output};
use crate::probing;
use crate::services::{Chargen, Discard, Echo, UdpEcho};
use crate::signals::stop_on_signals;
use watch::{Notice, Shared, Watched};

/// How long connections have to end after a signal; then they are reset.
const DRAIN: Duration = Duration::from_secs(2);
/// What a burst of datagrams may fill before the loop gets to it. The kernel may grant less.
const RECV_BUFFER: usize = 4 << 20;
/// Answers that all sources may have for each that one may.
const ALL_SOURCES: u32 = 10;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:\n\
\x20 sockeye serve echo --listen tcp://127.0.0.1:7007 --listen udp://[::1]:7007\n\
\x20 sockeye serve chargen --listen tcp://127.0.0.1:0 --shards 2\n\n\
Echo over udp: datagrams can claim any sender. None is answered that claims to come from a socket of this\n\
program, or from a port of a service that answers anything (7, 13, 17, 19, 37, 53, 69, 111, 123, 137, 161, 389,\n\
520, 1434, 1900, 3702, 5353, 5683, 11211 and the like), and each source gets --udp-rate answers a second, all\n\
together ten times that. What is withheld is said on stderr.")]
pub(crate) struct Arguments {
    /// What to serve
    service: Service,
    /// Where, such as tcp://127.0.0.1:7007 or udp://[::1]:0 (port 0: any free one, which is printed)
    #[arg(long, value_name = "ENDPOINT", required = true, value_parser = endpoint)]
    listen: Vec<Endpoint>,
    /// Threads, each with a loop of its own; the kernel spreads connections and flows over them
    #[arg(long, default_value_t = 1, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1024))]
    shards: u16,
    /// Seconds without a byte in either direction that end a connection; 0: none do
    #[arg(long, default_value_t = 600.0, value_name = "SECONDS", value_parser = crate::probing::interval)]
    idle_timeout: f64,
    /// Connections at a time, of all shards together; others wait in the backlog
    #[arg(long, default_value_t = 65_536, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    max_connections: u32,
    /// Answers a second to one source of datagrams: an IPv4 address, or a /64 of IPv6; 0: no limit
    #[arg(long, default_value_t = 10_000, value_name = "COUNT")]
    udp_rate: u32,
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
    let endpoints = arguments
        .listen
        .iter()
        .map(|e| listenable(arguments.service, e))
        .collect::<Result<Vec<_>, _>>()?;
    distinct(&endpoints)?;
    // Each connection is a descriptor, and the soft limit is made for programs that use select(2).
    sockeye::socket::os::raise_nofile_limit(u64::MAX).context("raise the limit of descriptors")?;

    let mut events = EventLoop::with_options(loop_options(arguments)).context("make an event loop")?;
    stop_on_signals(&mut events).context("take signals")?;
    let shared = Shared::new(events.remote());
    // Port 0 has become a real one, which the other shards need too.
    let endpoints = open(&mut events, arguments.plan(), &endpoints, &shared)?;
    let shards = (arguments.shards > 1)
        .then(|| start_shards(arguments, &endpoints, &shared))
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
    if shared.is_over() {
        return Err(Failure::with(
            Exit::Io,
            "serve: every socket is lost, nothing is left to serve",
        ));
    }
    Ok(Exit::Success)
}

/// What each loop is told.
#[derive(Debug, Clone, Copy)]
struct Plan {
    service: Service,
    idle: Option<Duration>,
    max_connections: usize,
    reflector: ReflectorOptions,
    is_shared: bool,
}

impl Arguments {
    /// The part of one loop: what is limited in all is shared out.
    fn plan(&self) -> Plan {
        let shards = u32::from(self.shards);
        let part = |rate: u32| AnswerRate::per_second(if rate == 0 { 0 } else { rate.div_ceil(shards) });
        Plan {
            service: self.service,
            idle: (self.idle_timeout > 0.0).then(|| Duration::from_secs_f64(self.idle_timeout)),
            max_connections: usize::try_from(self.max_connections.div_ceil(shards)).unwrap_or(usize::MAX),
            reflector: ReflectorOptions {
                // The kernel may bring all flows of a source to one loop.
                per_source: AnswerRate::per_second(self.udp_rate),
                total: part(self.udp_rate.saturating_mul(ALL_SOURCES)),
                ..ReflectorOptions::default()
            },
            is_shared: self.shards > 1,
        }
    }
}

fn loop_options(arguments: &Arguments) -> LoopOptions {
    LoopOptions {
        max_connections: arguments.plan().max_connections,
        ..LoopOptions::default()
    }
}

/// The other loops, a thread each; the first one, which takes the signals, is the main thread's.
fn start_shards(
    arguments: &Arguments,
    endpoints: &[Endpoint],
    shared: &Arc<Shared>,
) -> anyhow::Result<Shards> {
    let options = ShardOptions {
        count: usize::from(arguments.shards) - 1,
        each: loop_options(arguments),
        ..ShardOptions::default()
    };
    let (plan, endpoints, shared) = (arguments.plan(), endpoints.to_vec(), Arc::clone(shared));
    let shards = Shards::start(&options, move |_shard, events| {
        open(events, plan, &endpoints, &shared)
            .map(|_| ())
            .map_err(io::Error::other)
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

/// Opens the endpoints on a loop, has them watched, and says where they are.
fn open(
    events: &mut EventLoop,
    plan: Plan,
    endpoints: &[Endpoint],
    shared: &Arc<Shared>,
) -> anyhow::Result<Vec<Endpoint>> {
    let bound = match plan.service {
        Service::Echo => {
            let guard = ReflectorGuard::new(plan.reflector, probing::secret());
            let telling = Arc::clone(shared);
            let tell = move |now, line| telling.tell(Notice::Withheld, now, || line);
            open_for(events, plan, endpoints, shared, Echo, UdpEcho::new(guard, tell))
        }
        Service::Discard => open_for(events, plan, endpoints, shared, Discard, Discard),
        // Over UDP it is refused before.
        Service::Chargen => open_for(events, plan, endpoints, shared, Chargen::default(), Discard),
    }?;
    watch::start(events, shared, plan.max_connections);
    Ok(bound)
}

fn open_for(
    events: &mut EventLoop,
    plan: Plan,
    endpoints: &[Endpoint],
    shared: &Arc<Shared>,
    streams: impl StreamService,
    datagrams: impl DatagramService,
) -> anyhow::Result<Vec<Endpoint>> {
    let options = StreamOptions {
        deadlines: Deadlines {
            idle: plan.idle,
            ..Deadlines::default()
        },
        ..StreamOptions::default()
    };
    let streams = events.add_stream_service(Watched::new(streams, shared), options);
    // One for all sockets: what it limits it limits for all of them.
    let datagrams = events.add_datagram_service(Watched::new(datagrams, shared));
    let mut all = Vec::new();
    for endpoint in endpoints {
        let at = names::socket_addr(endpoint)?;
        let failed = || format!("serve {endpoint}");
        let bound = if endpoint.transport() == Transport::Udp {
            let id = events
                .bind(datagrams, at, &datagram_options(plan, at))
                .with_context(failed)?;
            let bound = endpoint.with_port(events.local_addr(id).with_context(failed)?.port());
            events.with(datagrams, |watched, _| watched.add(id, bound));
            bound
        } else {
            let id = events
                .listen(streams, at, &listen_options(plan))
                .with_context(failed)?;
            let bound = endpoint.with_port(events.local_addr(id).with_context(failed)?.port());
            events.with(streams, |watched, _| watched.add(id, bound));
            bound
        };
        all.push(bound);
    }
    Ok(all)
}

fn listen_options(plan: Plan) -> ListenOptions {
    ListenOptions {
        reuse_port: plan.is_shared,
        ..ListenOptions::default()
    }
}

fn datagram_options(plan: Plan, at: SocketAddr) -> DatagramOptions {
    DatagramOptions {
        reuse_port: plan.is_shared,
        recv_buffer: Some(RECV_BUFFER),
        // On a wildcard address only the kernel knows which address was asked; the answer leaves from it.
        packet_info: at.ip().is_unspecified(),
        ..DatagramOptions::default()
    }
}
