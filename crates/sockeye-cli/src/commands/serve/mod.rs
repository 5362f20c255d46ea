//! `sockeye serve SERVICE --listen ADDRESS...`: the small services of RFC 862 to 868, for tests and measurements.

mod arguments;
mod counts;
mod watch;

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;
use sockeye::endpoint::{Address, Carrier, Endpoint, Transport, UnixName};
use sockeye::event_loop::{
    Context, DatagramId, DatagramOptions, DatagramService, Deadlines, EventLoop, ListenOptions, ListenerId,
    LoopOptions, ReflectorGuard, ServiceHandle, ShardOptions, Shards, StreamOptions, StreamService,
    UnixDatagramOptions, UnixListenOptions,
};

use crate::confined::{self, Needs};
use crate::exit::{Exit, Failure};
use crate::names;
use crate::output::Output;
use crate::probing;
use crate::secure;
use crate::services::{Answering, Answers, Chargen, Discard, Echo, Said, Sends, Silent, Sockperf};
use crate::signals::stop_on_signals;
pub(crate) use arguments::Arguments;
use arguments::{Plan, Serves};
use watch::{Notice, Shared, Watched};

/// How long connections have to end after a signal; then they are reset.
const DRAIN: Duration = Duration::from_secs(2);
/// What a burst of datagrams may fill before the loop gets to it. The kernel may grant less.
const RECV_BUFFER: usize = 4 << 20;

/// Serves until a signal ends it.
///
/// # Errors
/// When an endpoint cannot be listened on.
pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<Exit> {
    let addresses = arguments.addresses()?;
    #[cfg(feature = "metrics")]
    arguments.metrics.apart_from(&addresses)?;
    let plan = arguments.plan()?;
    // Each connection is a descriptor, and the soft limit is made for programs that use select(2).
    sockeye::socket::os::raise_nofile_limit(u64::MAX).context("raise the limit of descriptors")?;

    let mut events = EventLoop::with_options(loop_options(&plan)).context("make an event loop")?;
    stop_on_signals(&mut events).context("take signals")?;
    let shared = Shared::new(events.remote());
    // Port 0 has become a real one, which the other shards need too.
    let needs = arguments.needs();
    let addresses = open(&mut events, &plan, &addresses, &shared)?;
    let shards = (arguments.shards > 1)
        .then(|| start_shards(arguments.shards, plan, &addresses, &shared, needs.clone()))
        .transpose()?;
    for address in &addresses {
        output.line(format_args!("listening on {address}"))?;
        output.event("listening", json!({ "endpoint": address.to_string() }))?;
    }
    #[cfg(feature = "metrics")]
    serve_metrics(arguments, &mut events, &shared, output)?;
    // The other loops have given theirs up themselves.
    confined::only_serve(&needs)?;
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

fn loop_options(plan: &Plan) -> LoopOptions {
    LoopOptions {
        max_connections: plan.max_connections,
        ..LoopOptions::default()
    }
}

/// The other loops, a thread each; the first one, which takes the signals, is the main thread's.
fn start_shards(
    count: u16,
    plan: Plan,
    endpoints: &[Address],
    shared: &Arc<Shared>,
    needs: Needs,
) -> anyhow::Result<Shards> {
    let options = ShardOptions {
        count: usize::from(count) - 1,
        each: loop_options(&plan),
        ..ShardOptions::default()
    };
    // A Unix socket has one listener: the first shard's.
    let by_ip = |address: &&Address| matches!(address, Address::Ip { .. });
    let endpoints: Vec<Address> = endpoints.iter().filter(by_ip).copied().collect();
    let shared = Arc::clone(shared);
    let shards = Shards::start(&options, move |shard, events| {
        let plan = Plan {
            shard: shard + 1,
            ..plan.clone()
        };
        open(events, &plan, &endpoints, &shared)
            .and_then(|_| confined::only_serve(&needs))
            .map_err(io::Error::other)
    });
    shards.context("start the shards")
}

/// Opens the endpoints on a loop, has them watched, and says where they are.
fn open(
    events: &mut EventLoop,
    plan: &Plan,
    addresses: &[Address],
    shared: &Arc<Shared>,
) -> anyhow::Result<Vec<Address>> {
    let bound = match &plan.serves {
        Serves::Echo => open_for(
            events,
            plan,
            addresses,
            shared,
            Echo,
            answering(plan, shared, Echo),
        ),
        Serves::Discard => open_for(events, plan, addresses, shared, Discard, Silent),
        Serves::Chargen => {
            let datagrams = answering(plan, shared, Chargen::default());
            open_for(events, plan, addresses, shared, Chargen::default(), datagrams)
        }
        Serves::Sockperf => {
            let datagrams = answering(plan, shared, Sockperf::default());
            open_for(events, plan, addresses, shared, Sockperf::default(), datagrams)
        }
        Serves::Message(message) => {
            let [streams, datagrams] = [(); 2].map(|()| Said::new(message.clone()));
            let datagrams = answering(plan, shared, datagrams);
            open_for(events, plan, addresses, shared, streams, datagrams)
        }
    }?;
    watch::start(events, shared, plan.max_connections);
    Ok(bound)
}

/// Answers datagrams within the limits, and tells what it withholds.
fn answering(plan: &Plan, shared: &Arc<Shared>, answers: impl Answers) -> impl DatagramService + Sends {
    let telling = Arc::clone(shared);
    let tell = move |now, line| telling.tell(Notice::Withheld, now, || line);
    let withheld = shared.counts.withheld();
    Answering::new(
        answers,
        ReflectorGuard::new(plan.reflector, probing::secret()),
        tell,
        move |counts: &_, short| withheld.set(counts, short),
    )
}

fn open_for(
    events: &mut EventLoop,
    plan: &Plan,
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
    let streams = events.add_stream_service(Watched::new(streams, shared), options.clone());
    let secure = plan
        .secure
        .as_ref()
        .map(|secure| secure.around(events, streams.into(), options, handshakes(shared)));
    // One for all sockets: what it limits it limits for all of them.
    let datagrams = events.add_datagram_service(Watched::new(datagrams, shared));
    let mut all = Vec::new();
    for address in addresses {
        let bound = match address {
            Address::Unix(name) if plan.by_datagrams => bind_unix(events, plan, datagrams, name),
            Address::Unix(name) => listen_unix(events, plan, streams, name),
            Address::Ip {
                carrier: Some(Carrier::Quic),
                endpoint,
            } => bind_quic(events, plan, streams, endpoint),
            Address::Ip { endpoint, .. } if endpoint.transport() == Transport::Udp => {
                bind(events, plan, datagrams, endpoint)
            }
            Address::Ip { carrier, endpoint } => {
                let around = secure.as_ref().filter(|_| *carrier == Some(Carrier::Tls));
                listen(events, plan, streams, around, endpoint)
            }
        };
        all.push(bound.with_context(|| format!("serve {address}"))?);
    }
    Ok(all)
}

/// Tells of handshakes that failed.
fn handshakes(
    shared: &Arc<Shared>,
) -> impl FnMut(&mut Context<'_>, Option<SocketAddr>, &dyn Display) + 'static {
    let shared = Arc::clone(shared);
    move |context, client, error| {
        shared.tell(Notice::Handshake, context.now(), || {
            let client = client.map(|client| format!(" with {client}")).unwrap_or_default();
            format!("a TLS handshake{client} failed: {error}")
        });
    }
}

type Streams<S> = ServiceHandle<Watched<S, ListenerId>>;
type Messages<S> = ServiceHandle<Watched<S, DatagramId>>;

fn listen<S: StreamService + Sends>(
    events: &mut EventLoop,
    plan: &Plan,
    service: Streams<S>,
    secure: Option<&secure::Service>,
    endpoint: &Endpoint,
) -> anyhow::Result<Address> {
    let at = names::socket_addr(endpoint)?;
    let options = ListenOptions {
        reuse_port: plan.is_shared,
        ..ListenOptions::default()
    };
    let id = match secure {
        Some(secure) => secure.listen(events, at, &options)?,
        None => events.listen(service, at, &options)?,
    };
    let bound = Address::Ip {
        carrier: secure.map(|_| Carrier::Tls),
        endpoint: endpoint.with_port(events.local_addr(id)?.port()),
    };
    events.with(service, |watched, _| watched.add(id, bound));
    Ok(bound)
}

fn listen_unix<S: StreamService + Sends>(
    events: &mut EventLoop,
    plan: &Plan,
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

fn bind_unix<S: DatagramService + Sends>(
    events: &mut EventLoop,
    plan: &Plan,
    service: Messages<S>,
    name: &UnixName,
) -> anyhow::Result<Address> {
    let options = UnixDatagramOptions {
        mode: plan.unix_mode.filter(|_| name.as_path_bytes().is_some()),
        ..UnixDatagramOptions::default()
    };
    let id = events.bind_unix(service, name, &options)?;
    let bound = Address::Unix(*name);
    events.with(service, |watched, _| watched.add(id, bound));
    Ok(bound)
}

fn bind<S: DatagramService + Sends>(
    events: &mut EventLoop,
    plan: &Plan,
    service: Messages<S>,
    endpoint: &Endpoint,
) -> anyhow::Result<Address> {
    let at = names::socket_addr(endpoint)?;
    let id = events.bind(service, at, &datagram_options(plan, at))?;
    let bound = Address::from(endpoint.with_port(events.local_addr(id)?.port()));
    events.with(service, |watched, _| watched.add(id, bound));
    Ok(bound)
}

/// A server of QUIC, whose streams the service has.
#[cfg(feature = "quic")]
fn bind_quic<S: StreamService + Sends>(
    events: &mut EventLoop,
    plan: &Plan,
    service: Streams<S>,
    endpoint: &Endpoint,
) -> anyhow::Result<Address> {
    use sockeye::quic::{QuicLimits, QuicOptions, socket_options};

    let secure = plan
        .secure
        .as_ref()
        .context("a quic:// listener has a certificate")?;
    let quic = secure.quic(service.into())?.limits(QuicLimits {
        connections: plan.max_connections,
        ..QuicLimits::default()
    });
    let quic = quic.options(QuicOptions {
        idle_timeout: plan.idle,
        ..QuicOptions::default()
    });
    let [shard, shards] = [plan.shard, plan.shards].map(u8::try_from);
    let quic = match (shard, shards) {
        (Ok(shard), Ok(shards)) => quic.shard(shard, shards),
        _ => return Err(Failure::usage("--shards: quic:// listeners take 255 at most")),
    };
    let quic = quic.add_to(events);
    let options = DatagramOptions {
        reuse_port: plan.is_shared,
        // What is merged is steered as one, though it may be of several connections.
        gro: !plan.is_shared,
        ..socket_options()
    };
    let id = events.bind(quic, names::socket_addr(endpoint)?, &options)?;
    let at = events.local_addr(id)?;
    let bound = Address::carried(Carrier::Quic, endpoint.with_port(at.port()));
    events.with(service, |watched, _| watched.add_carried(at.port(), bound));
    Ok(bound)
}

#[cfg(not(feature = "quic"))]
fn bind_quic<S: StreamService + Sends>(
    _: &mut EventLoop,
    _: &Plan,
    _: Streams<S>,
    _: &Endpoint,
) -> anyhow::Result<Address> {
    Err(Failure::usage(
        "this program was built without QUIC: build it with the feature `quic`",
    ))
}

fn datagram_options(plan: &Plan, at: SocketAddr) -> DatagramOptions {
    DatagramOptions {
        reuse_port: plan.is_shared,
        recv_buffer: Some(RECV_BUFFER),
        // On a wildcard address only the kernel knows which address was asked; the answer leaves from it.
        packet_info: at.ip().is_unspecified(),
        ..DatagramOptions::default()
    }
}
