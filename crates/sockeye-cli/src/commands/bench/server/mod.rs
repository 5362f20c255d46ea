//! `sockeye bench server`: the side that waits, for many clients at once.
//!
//! One loop serves them all. A connection that controls a run and those that are its flows are told apart by their first
//! message ([`service`]); what a run is and how far it is, is in [`runs`].

mod listen;
pub(crate) mod log;
mod runs;
mod service;

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;

use anyhow::Context as _;
use serde_json::json;
use sockeye::event_loop::{EventLoop, LoopOptions, StreamOptions};
use sockeye::measure::run::Limits;

use super::flows::datagram::Table;
use super::flows::stream::{SERVER_TAIL, watermarks};
use super::iperf3;
use crate::confined::{self, Needs};
use crate::exit::{Exit, Failure};
use crate::files::Files;
use crate::output::log::Patient;
use crate::output::{Format, Output};
use crate::probing;
use crate::secure::Secure;
use crate::signals::stop_on_signals;
pub(crate) use listen::{datagram_options, packet_options};
use log::{Event, Log};
use runs::Runs;
use service::Server;

/// The port of both sides, unless another one is given.
pub(crate) const PORT: u16 = 5202;

/// Bytes that are read at once.
pub(crate) const READ_BUFFER: usize = 256 * 1024;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:\n\
\x20 sockeye bench server\n\
\x20 sockeye bench server --listen 192.0.2.1:7000\n\
\x20 sockeye bench server --listen tls://0.0.0.0:5202 --cert C.pem --key K.pem\n\
\x20 sockeye bench server --listen unix:/run/bench.sock --listen raw://127.0.0.1\n\
\x20 sockeye bench server --iperf3\n\n\
Many clients are served at once; a line tells of each when it is over. tcp://\n\
and tls:// are for streams; udp:// and raw:// (IP protocol 253, needs\n\
CAP_NET_RAW) listen on TCP at that port too, for the control connection.\n\
Without a scheme it is TCP and UDP. Whoever reaches the server can have it send\n\
as fast as it can, to the address that has asked: keep it away from the\n\
Internet.")]
pub(crate) struct Arguments {
    /// Where to wait [default: both families, TCP and UDP, port 5202; with --iperf3 port 5201]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Vec<String>,
    /// Our certificate, and those that it was signed with (PEM), for tls://
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// Clients at once; more are refused
    #[arg(long, default_value_t = 256, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) max_clients: u16,
    /// Serve the clients of iperf3 (3.1 and later)
    #[arg(long)]
    pub(crate) iperf3: bool,
    /// Connections at once; more wait (with --iperf3 UDP streams count too, and who needs more is told to try again)
    #[arg(long, default_value_t = 16_384, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) max_connections: u32,
    /// With --iperf3: seconds in which nothing moves that end a test
    #[arg(long, default_value_t = 120.0, value_name = "SECONDS", value_parser = crate::arguments::seconds)]
    pub(crate) idle_timeout: f64,
    /// With --iperf3: seconds between two intervals of the report
    #[arg(short = 'i', long, default_value_t = 1.0, value_name = "SECONDS", value_parser = crate::arguments::seconds)]
    pub(crate) interval: f64,
    #[command(flatten)]
    pub(crate) format: Format,
}

/// How the connections of a run are, on either side.
pub(crate) fn stream_options(max_tail: usize) -> StreamOptions {
    StreamOptions {
        watermarks: watermarks(max_tail),
        ..StreamOptions::default()
    }
}

/// How the loop of a side is: it reads much at once.
pub(crate) fn loop_options() -> LoopOptions {
    LoopOptions {
        read_buffer: READ_BUFFER,
        ..LoopOptions::default()
    }
}

/// Serves until a signal ends it.
///
/// # Errors
/// When an address cannot be listened on.
pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<Exit> {
    if arguments.iperf3 {
        return iperf3::serve(arguments, output);
    }
    let places = listen::places(&arguments.listen)?;
    let identity = arguments.cert.as_deref().zip(arguments.key.as_deref());
    let is_tls = |place: &listen::Place| matches!(place, listen::Place::Tls(_));
    match (places.iter().any(is_tls), identity) {
        (true, None) => return Err(Failure::usage("--listen tls:// needs --cert and --key")),
        (false, Some(_)) => return Err(Failure::usage("--cert and --key are for --listen tls://ADDRESS")),
        _ => {}
    }
    // Each flow is a descriptor, and the soft limit is made for programs that use select(2).
    sockeye::socket::os::raise_nofile_limit(u64::MAX).context("raise the limit of descriptors")?;
    let mut events = EventLoop::with_options(loop_options()).context("make an event loop")?;
    stop_on_signals(&mut events).context("take signals")?;
    let (log, table) = (Log::new(), Table::default());
    let max_runs = usize::from(arguments.max_clients);
    let runs = Runs::new(max_runs, Limits::default(), Rc::clone(&table), log.clone());
    let runs = Rc::new(RefCell::new(runs));
    let streams = events.add_stream_service(Server(Rc::clone(&runs)), stream_options(SERVER_TAIL));
    let tls = identity
        .map(|(cert, key)| Secure::load(cert, key, &mut Files::default()))
        .transpose()?
        .map(|secure| {
            let log = log.clone();
            let options = stream_options(SERVER_TAIL);
            secure.around(&mut events, streams.into(), options, move |_, client, error| {
                log.put(Event::Refused {
                    peer: client.map_or_else(|| "a peer".to_owned(), |at| at.to_string()),
                    reason: format!("the TLS handshake failed: {error}"),
                });
            })
        });
    let max_connections = usize::try_from(arguments.max_connections).unwrap_or(usize::MAX);
    let mut told = Patient::stdout("bench server", output.format())?;
    let mut sockets = listen::Sockets::new(&mut events, streams, &runs, &table, max_connections);
    for place in &places {
        let opened = sockets.open(&mut events, place, tls.as_ref());
        for address in opened.context("bench server")? {
            told.put(|output| {
                output.line(format_args!("listening on {address}"))?;
                output.event("listening", json!({ "endpoint": address }))
            })?;
        }
    }
    let needs = Needs::default().removing(places.iter().filter_map(listen::Place::unix_name));
    confined::only_serve(&needs)?;
    let served = probing::run(&mut events, &log, |_, event| {
        told.put(|output| event.print(output)).map(|()| false)
    });
    told.finish();
    served?;
    Ok(Exit::Success)
}
