//! `sockeye bench [SOCKET]`: servers and clients of its own over the loopback, every socket type through the event loop.
//!
//! The server's loop runs on a thread, the client's on the main one. Round trips are taken with one message
//! under way, the rate with many.

mod limit;
mod load;
mod report;
mod udp_modes;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::ValueEnum;
use indicatif::ProgressBar;
use serde_json::json;
use sockeye::event_loop::{
    ConnectRequest, DatagramOptions, EventLoop, ListenOptions, Packet, PacketKind, PacketOptions,
    PacketService, Packets, PeerName, ReflectorGuard, ReflectorOptions, Remote, StreamOptions,
    UnixListenOptions, UnixName,
};

use crate::exit::{Exit, classify, describe};
use crate::output::{self, Output, RowFormat, Rows, note};
use crate::privileges;
use crate::services::{Answering, Echo};
use crate::signals::stop_on_signals;
use load::{HEADER_LEN, MessageLoad, Span, StreamLoad, Tally};
use report::{Measured, Outcome, Row};
use udp_modes::Mode;

/// The rows of `--csv`.
pub(crate) const ROWS: Rows = Rows {
    events: &["result"],
    columns: &[
        "socket",
        "mode",
        "size_bytes",
        "messages_per_s",
        "bytes_per_s",
        "rtt_ns.p50",
        "rtt_ns.p99",
        "rtt_ns.p999",
        "limit_ratio",
        "lost",
        "skipped",
    ],
};

// The command around it has a group of that name.
#[derive(Debug, clap::Args)]
#[group(skip)]
#[command(after_help = "\
Examples:\n\
\x20 sockeye bench\n\
\x20 sockeye bench udp --size 1200 --json")]
pub(crate) struct Arguments {
    /// The socket type; all of them when left out
    socket: Option<SocketType>,
    /// Seconds for each socket type
    #[arg(long, default_value_t = 3.0, value_name = "SECONDS", value_parser = crate::arguments::seconds)]
    seconds: f64,
    /// Bytes of a message
    #[arg(long, default_value_t = 64, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(16..=65_000))]
    size: u16,
    /// Messages under way while the rate is measured
    #[arg(long, default_value_t = 64, value_name = "MESSAGES", value_parser = clap::value_parser!(u16).range(1..=4096))]
    in_flight: u16,
    #[command(flatten)]
    pub(crate) format: RowFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SocketType {
    /// Streams
    Tcp,
    /// Datagrams
    Udp,
    /// Streams over a Unix socket
    Unix,
    /// IP packets of the experimental protocol 253 (needs CAP_NET_RAW)
    Raw,
}

/// For experiments and tests (RFC 3692, RFC 4727): nobody else's traffic.
const PROTOCOL: u8 = 253;
/// The server and the client have an address each, so that neither raw socket sees what it has sent itself:
/// both are the loopback's.
const SERVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// What a burst may fill before the loop gets to it. The kernel may grant less.
const BUFFER: usize = 4 << 20;

/// Measures, and reports.
///
/// # Errors
/// When a socket cannot be opened for want of anything but a permission, or a run breaks.
pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<Exit> {
    let sockets = arguments
        .socket
        .map_or_else(|| SocketType::value_variants().to_vec(), |socket| vec![socket]);
    let kept = if sockets.contains(&SocketType::Raw) {
        privileges::RAW
    } else {
        privileges::NONE
    };
    privileges::keep(kept)?;
    let progress = Progress::new(sockets.len());
    let mut rows: Vec<Row> = Vec::new();
    for socket in sockets {
        progress.show(socket.name());
        let outcome = match Plan::new(arguments, socket).measure() {
            Ok(Some(measured)) => Outcome::Measured(measured),
            Ok(None) if rows.is_empty() => {
                progress.finish();
                output.failed("interrupted before there was any result", Exit::Interrupted)?;
                return Ok(Exit::Interrupted);
            }
            Ok(None) => break,
            // Only this row is lost: the sockets after it need no such permission.
            Err(error) if classify(&error) == Exit::Permission => Outcome::Skipped(describe(&error)),
            Err(error) => return Err(error.context(format!("bench {}", socket.name()))),
        };
        let row = Row {
            socket: socket.name(),
            mode: "echo",
            size_bytes: arguments.size.into(),
            outcome,
        };
        output.event("result", row.json())?;
        rows.push(row);
        if arguments.has_udp_modes() {
            for row in udp_modes(arguments)? {
                output.event("result", row.json())?;
                rows.push(row);
            }
        }
    }
    progress.finish();
    output.lines(report::table(&rows).trim_end().lines())?;
    output.event(
        "end",
        json!({ "results": rows.iter().map(Row::json).collect::<Vec<_>>() }),
    )?;
    Ok(Exit::Success)
}

impl Arguments {
    /// UDP alone shows its ways of moving datagrams too; the run of all has one row for each socket type.
    fn has_udp_modes(&self) -> bool {
        self.socket == Some(SocketType::Udp)
    }
}

/// The ways of moving datagrams, each at two sizes. They share half of UDP's time.
///
/// # Errors
/// When a socket cannot be made or breaks.
fn udp_modes(arguments: &Arguments) -> anyhow::Result<Vec<Row>> {
    let entries = Mode::ALL.len() * udp_modes::SIZES.len();
    let time = Duration::from_secs_f64(arguments.seconds / 2.0 / entries as f64);
    let mut rows = Vec::with_capacity(entries);
    for size_bytes in udp_modes::SIZES {
        for mode in Mode::ALL {
            let rate = mode
                .measure(size_bytes, time)
                .with_context(|| format!("bench udp {}", mode.name()))?;
            rows.push(Row {
                socket: SocketType::Udp.name(),
                mode: mode.name(),
                size_bytes,
                outcome: Outcome::Rate(rate),
            });
        }
    }
    Ok(rows)
}

impl SocketType {
    fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Unix => "unix",
            Self::Raw => "raw",
        }
    }
}

/// The progress line. Where stderr is no terminal, a line for each socket type.
struct Progress(ProgressBar);

impl Progress {
    fn new(len: usize) -> Self {
        let bar = output::progress(len as u64, "{spinner} {msg} [{pos}/{len}] {elapsed}");
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }

    fn show(&self, what: &'static str) {
        if self.0.is_hidden() {
            note(format_args!("measuring {what} ..."));
        }
        if !self.0.message().is_empty() {
            self.0.inc(1);
        }
        self.0.set_message(format!("measuring {what}"));
    }

    fn finish(&self) {
        self.0.finish_and_clear();
    }
}

/// One socket type, and for how long.
#[derive(Debug, Clone, Copy)]
struct Plan {
    socket: SocketType,
    size: usize,
    in_flight: usize,
    span: Span,
    /// For the same by bare calls.
    limit: Duration,
}

impl Plan {
    /// Two fifths of the time go to the round trips, two to the rate, one to the limit; a tenth of each warms up. UDP alone
    /// keeps half of all for its modes without the loop.
    fn new(arguments: &Arguments, socket: SocketType) -> Self {
        let seconds = if arguments.has_udp_modes() {
            arguments.seconds / 2.0
        } else {
            arguments.seconds
        };
        let fifth = Duration::from_secs_f64(seconds / 5.0);
        let warm_up = fifth / 5;
        let span = Span {
            warm_up,
            counted: fifth * 2 - warm_up,
        };
        Self {
            socket,
            size: arguments.size.into(),
            in_flight: arguments.in_flight.into(),
            span,
            limit: fifth,
        }
    }

    /// `None` when a signal ended it.
    fn measure(self) -> anyhow::Result<Option<Measured>> {
        let server = Server::start(self.socket)?;
        let Some(single) = self.load(&server.at, 1)? else {
            return Ok(None);
        };
        let Some(many) = self.load(&server.at, self.in_flight)? else {
            return Ok(None);
        };
        server.stop()?;
        if single.round_trips.is_empty() || many.messages == 0 {
            return Err(anyhow!(
                "nothing came back (is the loopback up? ip link set lo up; or give it more --seconds)"
            ));
        }
        let limit_ns = match limit::median_ns(self.socket, self.size, self.limit) {
            Ok(limit_ns) => limit_ns,
            Err(error) if is_interrupted(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(Measured {
            limit_ns,
            round_trips: single.round_trips,
            messages: many.messages,
            time: many.time,
            lost: single.lost + many.lost,
        }))
    }

    /// One run of the client; `None` when a signal ended it.
    fn load(self, server: &PeerName, in_flight: usize) -> anyhow::Result<Option<Tally>> {
        let mut events = EventLoop::new().context("make an event loop")?;
        stop_on_signals(&mut events).context("take signals")?;
        let tally = Tally::new(self.span)?;
        let tally = match (self.socket, *server) {
            (SocketType::Tcp | SocketType::Unix, server) => {
                let load =
                    events.add_stream_service(StreamLoad::new(self.size, tally), StreamOptions::default());
                events.with(load, StreamLoad::start);
                for _ in 0..in_flight {
                    events.connect(
                        load,
                        match server {
                            PeerName::Unix(name) => ConnectRequest::to_unix(name),
                            PeerName::Ip(address) => ConnectRequest::new(address),
                            _ => bail!("no such address"),
                        },
                    );
                }
                events.run()?;
                events.service(load).map(|load| load.tally.finish())
            }
            (SocketType::Udp, PeerName::Ip(server)) => {
                let load = events.add_datagram_service(MessageLoad::new(server, self.size, in_flight, tally));
                events.bind(load, SocketAddr::from((CLIENT, 0)), &datagram_options())?;
                events.run()?;
                events.service(load).map(|load| load.tally.finish())
            }
            (SocketType::Raw, PeerName::Ip(server)) => {
                let load = events.add_packet_service(MessageLoad::new(server, self.size, in_flight, tally));
                events.open_packet(load, &packet_options(CLIENT))?;
                events.run()?;
                events.service(load).map(|load| load.tally.finish())
            }
            (SocketType::Udp | SocketType::Raw, _) => bail!("datagrams go to addresses"),
        };
        let tally = tally.context("the client is still on its loop")??;
        Ok((!tally.time.is_zero()).then_some(tally))
    }
}

fn is_interrupted(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::Interrupted)
}

fn datagram_options() -> DatagramOptions {
    DatagramOptions {
        recv_buffer: Some(BUFFER),
        send_buffer: Some(BUFFER),
        ..DatagramOptions::default()
    }
}

fn packet_options(local: Ipv4Addr) -> PacketOptions {
    let options = PacketOptions::new(PacketKind::Ip { protocol: PROTOCOL }, IpAddr::V4(local));
    PacketOptions {
        recv_buffer: Some(BUFFER),
        send_buffer: Some(BUFFER),
        ..options
    }
}

/// An echo server of ours on a thread of its own.
struct Server {
    at: PeerName,
    remote: Remote,
    thread: JoinHandle<anyhow::Result<()>>,
}

impl Server {
    fn start(socket: SocketType) -> anyhow::Result<Self> {
        let (started, start) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut events = EventLoop::new().context("make an event loop")?;
            let at = SocketAddr::from((SERVER, 0));
            let bound = match socket {
                SocketType::Tcp => {
                    let echo = events.add_stream_service(Echo, StreamOptions::default());
                    let listener = events.listen(echo, at, &ListenOptions::default())?;
                    PeerName::Ip(events.local_addr(listener)?)
                }
                SocketType::Unix => {
                    let echo = events.add_stream_service(Echo, StreamOptions::default());
                    // Without a name the kernel makes up an abstract one: nothing to clean up.
                    let options = UnixListenOptions::default();
                    let listener = events.listen_unix(echo, &UnixName::UNNAMED, &options)?;
                    PeerName::Unix(events.local_unix(listener)?)
                }
                SocketType::Udp => {
                    // The load is all of one source, and as fast as it can.
                    let options = ReflectorOptions {
                        per_source: None,
                        total: None,
                        ..ReflectorOptions::default()
                    };
                    let unlimited = ReflectorGuard::new(options, 0);
                    let echo =
                        events.add_datagram_service(Answering::new(Echo, unlimited, |_, _| {}, |_, _| {}));
                    let socket = events.bind(echo, at, &datagram_options())?;
                    PeerName::Ip(events.local_addr(socket)?)
                }
                SocketType::Raw => {
                    let echo = events.add_packet_service(PacketEcho);
                    events.open_packet(echo, &packet_options(SERVER))?;
                    PeerName::Ip(at)
                }
            };
            // The receiver waits for this line, or for the error that ends the thread before it.
            let _ = started.send((bound, events.remote()));
            events.run().context("run the server's event loop")
        });
        match start.recv() {
            Ok((at, remote)) => Ok(Self { at, remote, thread }),
            Err(mpsc::RecvError) => Err(join(thread)
                .err()
                .unwrap_or_else(|| anyhow!("the server ended before it began"))),
        }
    }

    fn stop(self) -> anyhow::Result<()> {
        // A server that is gone needs no stop: its thread says why.
        let _ = self.remote.stop();
        join(self.thread)
    }
}

fn join(thread: JoinHandle<anyhow::Result<()>>) -> anyhow::Result<()> {
    thread
        .join()
        .unwrap_or_else(|_| Err(anyhow!("the server panicked")))
}

/// Sends packets back to the client of this benchmark, and to nobody else.
#[derive(Debug)]
struct PacketEcho;

impl PacketService for PacketEcho {
    fn on_packet(&mut self, socket: &mut Packets<'_>, packet: Packet<'_>) {
        if packet.source.ip() == IpAddr::V4(CLIENT) && packet.data.len() >= HEADER_LEN {
            let _ = socket.send(&packet.echo());
        }
    }
}
