//! `sockeye serve echo|discard|chargen --listen ENDPOINT...`: small services for tests and measurements.

mod counts;
mod watch;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use serde_json::json;
use sockeye::endpoint::{Address, Endpoint, Scheme, Target, Transport, UnixName};
use sockeye::event_loop::{
    AnswerRate, DatagramId, DatagramOptions, DatagramService, Deadlines, EventLoop, ListenOptions,
    ListenerId, LoopOptions, ReflectorGuard, ReflectorOptions, ServiceHandle, ShardOptions, Shards,
    StreamOptions, StreamService, UnixListenOptions,
};

use crate::exit::{Exit, Failure};
use crate::names;
use crate::output::{Format, Output};
use crate::probing;
use crate::services::{Chargen, Discard, Echo, Sends, UdpEcho};
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
\x20 sockeye serve chargen --listen tcp://127.0.0.1:0 --shards 2\n\
\x20 sockeye serve echo --listen unix:/run/echo.sock --unix-mode 660\n\
\x20 sockeye serve echo --listen tcp://127.0.0.1:7007 --metrics 127.0.0.1:9100\n\n\
Echo over udp: datagrams can claim any sender. None is answered that claims to come from a socket of this\n\
program, or from a port of a service that answers anything (7, 13, 17, 19, 37, 53, 69, 111, 123, 137, 161, 389,\n\
520, 1434, 1900, 3702, 5353, 5683, 11211 and the like), and each source gets --udp-rate answers a second, all\n\
together ten times that. What is withheld is said on stderr.\n\n\
Unix sockets: a path that a program has left behind which is gone is taken over, a live one is an error. The path\n\
goes with the server. With several shards the first one serves them.")]
pub(crate) struct Arguments {
    /// What to serve
    service: Service,
    /// Where, such as tcp://127.0.0.1:7007, udp://[::1]:0 (port 0: any free one, which is printed), unix:/run/echo.sock or
    /// unix:@echo
    #[arg(long, value_name = "ADDRESS", required = true, value_parser = address)]
    listen: Vec<Address>,
    /// Permissions of the paths of Unix sockets, octal, whatever the umask is; who connects needs the right to write
    #[arg(long, value_name = "MODE", value_parser = mode)]
    unix_mode: Option<u32>,
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
    #[cfg(feature = "metrics")]
    #[command(flatten)]
    metrics: crate::metrics::Endpoint,
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
    /// Send characters without end to whoever connects (RFC 864; not over udp: datagrams can claim any sender)
    #[value(alias = "source")]
    Chargen,
}

/// Serves until a signal ends it.
///
/// # Errors
/// When an endpoint cannot be listened on.
pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<Exit> {
    let addresses = arguments
        .listen
        .iter()
        .map(|address| listenable(arguments, address))
        .collect::<Result<Vec<_>, _>>()?;
    distinct(&addresses)?;
    #[cfg(feature = "metrics")]
    arguments.metrics.apart_from(&addresses)?;
    // Each connection is a descriptor, and the soft limit is made for programs that use select(2).
    sockeye::socket::os::raise_nofile_limit(u64::MAX).context("raise the limit of descriptors")?;

    let mut events = EventLoop::with_options(loop_options(arguments)).context("make an event loop")?;
    stop_on_signals(&mut events).context("take signals")?;
    let shared = Shared::new(events.remote());
    // Port 0 has become a real one, which the other shards need too.
    let addresses = open(&mut events, arguments.plan(), &addresses, &shared)?;
    let shards = (arguments.shards > 1)
        .then(|| start_shards(arguments, &addresses, &shared))
        .transpose()?;
    for address in &addresses {
        output.line(format_args!("listening on {address}"))?;
        output.event("listening", json!({ "endpoint": address.to_string() }))?;
    }
    #[cfg(feature = "metrics")]
    serve_metrics(arguments, &mut events, &shared, output)?;
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

#[cfg(feature = "metrics")]
fn serve_metrics(
    arguments: &Arguments,
    events: &mut EventLoop,
    shared: &Arc<Shared>,
    output: &mut Output,
) -> anyhow::Result<()> {
    let (shared, service) = (Arc::clone(shared), arguments.service.name());
    arguments
        .metrics
        .start(events, "serve", output, move |remote, ask| {
            let shared = Arc::clone(&shared);
            remote.post(move |context| {
                let (stats, snapshot) = counts::snapshot(&shared.counts, service, context.stats());
                ask.answer(stats, snapshot);
            })
        })
}

#[cfg(feature = "metrics")]
impl Service {
    const fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Discard => "discard",
            Self::Chargen => "chargen",
        }
    }
}

/// What each loop is told.
#[derive(Debug, Clone, Copy)]
struct Plan {
    service: Service,
    idle: Option<Duration>,
    max_connections: usize,
    reflector: ReflectorOptions,
    unix_mode: Option<u32>,
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
            unix_mode: self.unix_mode,
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
    endpoints: &[Address],
    shared: &Arc<Shared>,
) -> anyhow::Result<Shards> {
    let options = ShardOptions {
        count: usize::from(arguments.shards) - 1,
        each: loop_options(arguments),
        ..ShardOptions::default()
    };
    // A Unix socket has one listener: the first shard's.
    let by_ip = |address: &&Address| matches!(address, Address::Ip { .. });
    let endpoints: Vec<Address> = endpoints.iter().filter(by_ip).copied().collect();
    let (plan, shared) = (arguments.plan(), Arc::clone(shared));
    let shards = Shards::start(&options, move |_shard, events| {
        open(events, plan, &endpoints, &shared)
            .map(|_| ())
            .map_err(io::Error::other)
    });
    shards.context("start the shards")
}

/// What can be served where.
const SCHEMES: &[Scheme] = &[Scheme::Tcp, Scheme::Udp, Scheme::Unix];

fn listenable(arguments: &Arguments, address: &Address) -> anyhow::Result<Address> {
    let usage = |why: &str| Err(Failure::usage(format!("{address}: {why}")));
    if let Err(refused) = address.must_be(SCHEMES) {
        return usage(&refused.to_string());
    }
    match address.scheme() {
        Scheme::Udp if arguments.service == Service::Chargen => {
            usage("chargen is served over tcp and unix only: datagrams can claim any sender")
        }
        Scheme::Unix if *address == Address::Unix(UnixName::UNNAMED) => usage("a path or an @name is needed"),
        _ => Ok(*address),
    }
}

/// An address on the command line: to listen takes an IP address, which a name is not.
fn address(text: &str) -> Result<Address, String> {
    text.parse().map_err(|error| match text.parse::<Target>() {
        Ok(target) if target.endpoint().is_none() => {
            format!("{error} (a name: give one of its addresses, such as 127.0.0.1)")
        }
        _ => format!("{error}"),
    })
}

/// Permissions in octal, as chmod(1) takes them.
fn mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err("permissions are three octal digits, such as 660".to_owned()),
    }
}

/// Refuses an address that is given twice: shards share their ports, so that the system would not.
fn distinct(addresses: &[Address]) -> anyhow::Result<()> {
    for (index, address) in addresses.iter().enumerate() {
        let any_port = matches!(address, Address::Ip { endpoint, .. } if endpoint.port() == 0);
        if !any_port && addresses.iter().take(index).any(|earlier| earlier == address) {
            return Err(Failure::usage(format!("--listen {address}: given twice")));
        }
    }
    Ok(())
}

/// Opens the endpoints on a loop, has them watched, and says where they are.
fn open(
    events: &mut EventLoop,
    plan: Plan,
    endpoints: &[Address],
    shared: &Arc<Shared>,
) -> anyhow::Result<Vec<Address>> {
    let bound = match plan.service {
        Service::Echo => {
            let guard = ReflectorGuard::new(plan.reflector, probing::secret());
            let telling = Arc::clone(shared);
            let tell = move |now, line| telling.tell(Notice::Withheld, now, || line);
            let withheld = shared.counts.withheld();
            let echo = UdpEcho::new(guard, tell, move |counts: &_| withheld.set(counts));
            open_for(events, plan, endpoints, shared, Echo, echo)
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
    addresses: &[Address],
    shared: &Arc<Shared>,
    streams: impl StreamService + Sends,
    datagrams: impl DatagramService + Sends,
) -> anyhow::Result<Vec<Address>> {
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
    for address in addresses {
        let bound = match address {
            Address::Unix(name) => listen_unix(events, plan, streams, name),
            Address::Ip { endpoint, .. } if endpoint.transport() == Transport::Udp => {
                bind(events, plan, datagrams, endpoint)
            }
            Address::Ip { endpoint, .. } => listen(events, plan, streams, endpoint),
        };
        all.push(bound.with_context(|| format!("serve {address}"))?);
    }
    Ok(all)
}

type Streams<S> = ServiceHandle<Watched<S, ListenerId>>;
type Messages<S> = ServiceHandle<Watched<S, DatagramId>>;

fn listen<S: StreamService + Sends>(
    events: &mut EventLoop,
    plan: Plan,
    service: Streams<S>,
    endpoint: &Endpoint,
) -> anyhow::Result<Address> {
    let at = names::socket_addr(endpoint)?;
    let id = events.listen(service, at, &listen_options(plan))?;
    let bound = Address::from(endpoint.with_port(events.local_addr(id)?.port()));
    events.with(service, |watched, _| watched.add(id, bound));
    Ok(bound)
}

fn listen_unix<S: StreamService + Sends>(
    events: &mut EventLoop,
    plan: Plan,
    service: Streams<S>,
    name: &UnixName,
) -> anyhow::Result<Address> {
    let options = UnixListenOptions {
        mode: plan.unix_mode.filter(|_| name.as_path_bytes().is_some()),
        ..UnixListenOptions::default()
    };
    let id = events.listen_unix(service, name, &options)?;
    let bound = Address::Unix(*name);
    events.with(service, |watched, _| watched.add(id, bound));
    Ok(bound)
}

fn bind<S: DatagramService + Sends>(
    events: &mut EventLoop,
    plan: Plan,
    service: Messages<S>,
    endpoint: &Endpoint,
) -> anyhow::Result<Address> {
    let at = names::socket_addr(endpoint)?;
    let id = events.bind(service, at, &datagram_options(plan, at))?;
    let bound = Address::from(endpoint.with_port(events.local_addr(id)?.port()));
    events.with(service, |watched, _| watched.add(id, bound));
    Ok(bound)
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
