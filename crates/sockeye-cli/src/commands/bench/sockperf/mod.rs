//! `bench client --sockperf`: the real `sockperf sr` as the other side. Ping-pong, or with `--rate` under load.

mod exchange;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use sockeye::endpoint::{Address, Transport, UnixName};
use sockeye::event_loop::{
    CloseReason, ConnectFailure, ConnectRequest, Context, Datagram, DatagramOptions, DatagramService,
    Datagrams, EventLoop, Outgoing, Stream, StreamId, StreamOptions, StreamService, Time,
};
use sockeye::measure::sockperf::{HEADER_LEN, Header, MAX_LEN, PORT};

use super::client::{Arguments, ModeArgument};
use crate::exit::{Exit, Failure};
use crate::names;
use crate::output::Output;
use crate::privileges;
use crate::probing::{self, Inbox, milliseconds};
use crate::signals::stop_on_signals;
use crate::talk::errors::{connect_error, of_address};
use exchange::Exchange;

/// For the name, and for the connection.
const CONNECT: Duration = Duration::from_secs(10);
/// The key of the only timer.
const SEND: u64 = 0;

/// What is measured is over.
#[derive(Debug)]
enum Told {
    Over,
    Broken(anyhow::Error),
}

/// The run, on a connection or a socket of datagrams.
#[derive(Debug)]
struct Run {
    exchange: Exchange,
    omit: Duration,
    time: Duration,
    inbox: Inbox<Told>,
    peer: Option<SocketAddr>,
}

const fn clock(now: Time) -> Duration {
    Duration::from_nanos(now.as_nanos())
}

/// Measures with a sockperf server.
///
/// # Errors
/// When the server cannot be reached, or what it says is not sockperf's.
pub(super) fn measure(arguments: &Arguments, output: &mut Output) -> anyhow::Result<Exit> {
    let exchange = exchange(arguments)?;
    let mut events = EventLoop::new().context("make an event loop")?;
    stop_on_signals(&mut events).context("take signals")?;
    let inbox = Inbox::new();
    let mut run = Run {
        exchange,
        omit: Duration::from_secs_f64(arguments.omit),
        time: Duration::from_secs_f64(arguments.time),
        inbox: inbox.clone(),
        peer: None,
    };
    let print = |_: &mut EventLoop, told| match told {
        Told::Over => Ok(true),
        Told::Broken(error) => Err(error),
    };
    let place = place(&arguments.target, arguments.udp)?;
    privileges::keep(match &place {
        Place::Unix(name) => privileges::for_unix(name),
        _ => privileges::NONE,
    })?;
    let name = format!("sockperf server {}", arguments.target);
    let (is_over, exchange) = if let Place::Datagrams(server) = place {
        run.peer = Some(server);
        let service = events.add_datagram_service(run);
        events.bind(
            service,
            any(server),
            &DatagramOptions {
                connect: Some(server),
                ..DatagramOptions::default()
            },
        )?;
        let is_over = probing::run(&mut events, &inbox, print).context(name)?;
        (
            is_over,
            events.with(service, |run, _| report(&run.exchange, output)),
        )
    } else {
        let request = match place {
            Place::Unix(name) => ConnectRequest::to_unix(name),
            Place::Stream(addresses) => ConnectRequest::any_of(addresses),
            Place::Datagrams(_) => return Ok(Exit::Success),
        };
        let service = events.add_stream_service(run, StreamOptions::default());
        events.connect(service, request.deadline(CONNECT));
        let is_over = probing::run(&mut events, &inbox, print).context(name)?;
        (
            is_over,
            events.with(service, |run, _| report(&run.exchange, output)),
        )
    };
    let has_answers = exchange.transpose()?.unwrap_or(false);
    Ok(match (is_over, has_answers) {
        (_, true) => Exit::Success,
        (true, false) => Exit::Negative,
        (false, false) => Exit::Interrupted,
    })
}

/// Where the server is.
enum Place {
    Stream(Vec<SocketAddr>),
    Datagrams(SocketAddr),
    Unix(UnixName),
}

/// UDP, as sockperf has it, unless the target says otherwise.
fn place(text: &str, is_udp: bool) -> anyhow::Result<Place> {
    if text.starts_with("unix:") {
        return match text.parse::<Address>() {
            Ok(Address::Unix(name)) if !is_udp => Ok(Place::Unix(name)),
            Ok(_) => Err(Failure::usage(format!(
                "{text}: -u is for UDP, and this is a Unix socket"
            ))),
            Err(error) => Err(Failure::usage(format!("{text}: {error}"))),
        };
    }
    let target = probing::target(text, Transport::Udp, PORT)?;
    let addresses = names::addresses(&target, CONNECT)?;
    match target.transport() {
        Transport::Tcp if !is_udp => Ok(Place::Stream(addresses)),
        Transport::Tcp | Transport::Udp => {
            let first = addresses.first().copied();
            first.map(Place::Datagrams).context("no address")
        }
        _ => Err(Failure::usage(format!(
            "{target}: sockperf is measured over udp://, tcp:// and unix:"
        ))),
    }
}

fn any(server: SocketAddr) -> SocketAddr {
    match server {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    }
}

fn exchange(arguments: &Arguments) -> anyhow::Result<Exchange> {
    let unknown = [
        (
            "--mode",
            !matches!(arguments.mode, ModeArgument::Stream | ModeArgument::Rr),
        ),
        ("-P", arguments.parallel != 1),
        ("-n", arguments.bytes.is_some()),
        ("-k", arguments.blocks.is_some()),
        ("-b", arguments.bitrate.is_some()),
        ("-w", arguments.window.is_some()),
        ("-A", arguments.affinity.is_some()),
        ("-R", arguments.reverse),
        ("--bidir", arguments.bidir),
        ("-Z", arguments.zerocopy),
        ("--hdr", arguments.hdr.is_some()),
        ("--report", arguments.report.is_some()),
        ("--compare", arguments.compare.is_some()),
        ("--fail-if", !arguments.fail_if.is_empty()),
    ];
    if let Some((option, _)) = unknown.iter().find(|(_, is_there)| *is_there) {
        return Err(Failure::usage(format!("{option}: not with --sockperf")));
    }
    let len = arguments.length.unwrap_or(HEADER_LEN as u64);
    let len = usize::try_from(len)
        .ok()
        .filter(|len| (HEADER_LEN..=MAX_LEN).contains(len));
    let wrong = || {
        Failure::usage(format!(
            "-l: messages of sockperf have {HEADER_LEN} to {MAX_LEN} bytes"
        ))
    };
    Exchange::new(len.ok_or_else(wrong)?, arguments.rate)
}

impl Run {
    fn begin(&mut self, now: Duration) {
        let (omit, time) = (self.omit, self.time);
        self.exchange.begin(now, omit, time);
    }

    /// Sends what is due, and says when to look again.
    fn send(&mut self, now: Duration, mut send: impl FnMut(&[u8])) -> Option<Duration> {
        for _ in 0..Exchange::burst() {
            let Some(message) = self.exchange.next(now) else {
                break;
            };
            send(message);
        }
        let wait = self.exchange.wait(now);
        if wait.is_none() {
            self.inbox.put(Told::Over);
        }
        wait
    }

    fn break_off(&self, error: anyhow::Error) {
        self.inbox.put(Told::Broken(error));
    }

    fn send_on(&mut self, stream: &mut Stream<'_>) {
        let now = clock(stream.context().exact_now());
        let wait = self.send(now, |message| {
            // A server that does not read has the rest lost, which is told.
            let _ = stream.write(message);
        });
        if let Some(wait) = wait {
            stream.set_timer(wait, SEND);
        }
    }

    fn send_by(&mut self, socket: &mut Datagrams<'_>) {
        let now = clock(socket.exact_now());
        let wait = self.send(now, |message| {
            let _ = socket.send(&Outgoing::connected(message));
        });
        if let Some(wait) = wait {
            socket.set_timer(wait, SEND);
        }
    }

    /// Whether the next message of a ping-pong is to follow at once.
    fn answer(&mut self, header: &Header, now: Duration) -> bool {
        self.exchange.answer(header, now) && !self.exchange.is_scheduled()
    }
}

impl StreamService for Run {
    type Conn = ();

    fn on_open(&mut self, stream: &mut Stream<'_>) {
        let now = clock(stream.context().exact_now());
        self.begin(now);
        self.send_on(stream);
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        let now = clock(stream.context().exact_now());
        let mut done = 0;
        let mut goes_on = false;
        while let Some(rest) = data.get(done..).filter(|rest| !rest.is_empty()) {
            match Header::parse(rest) {
                Ok(Some(header)) if rest.len() >= header.len => {
                    done += header.len;
                    goes_on |= self.answer(&header, now);
                }
                Ok(_) => break,
                Err(error) => {
                    self.break_off(error.into());
                    return data.len();
                }
            }
        }
        if goes_on {
            // The timer that looks for lost messages stays as it is.
            self.send(now, |message| {
                let _ = stream.write(message);
            });
        }
        done
    }

    fn on_timer(&mut self, stream: &mut Stream<'_>, (): &mut (), _key: u64) {
        self.send_on(stream);
    }

    fn on_connect_error(&mut self, _: &mut Context<'_>, failure: ConnectFailure) {
        self.break_off(connect_error(failure));
    }

    fn on_close(&mut self, _: &mut Context<'_>, _: StreamId, (): (), reason: CloseReason) {
        if !matches!(reason, CloseReason::LoopEnded) {
            self.break_off(anyhow!("the connection ended: {reason}"));
        }
    }
}

impl DatagramService for Run {
    fn on_open(&mut self, socket: &mut Datagrams<'_>) {
        let now = clock(socket.exact_now());
        self.begin(now);
        self.send_by(socket);
    }

    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        let Ok(Some(header)) = Header::parse(datagram.data) else {
            return;
        };
        let now = clock(socket.exact_now());
        if self.answer(&header, now) {
            self.send(now, |message| {
                let _ = socket.send(&Outgoing::connected(message));
            });
        }
    }

    fn on_timer(&mut self, socket: &mut Datagrams<'_>, _key: u64) {
        self.send_by(socket);
    }

    fn on_recv_error(&mut self, _: &mut Datagrams<'_>, error: io::Error) {
        if let Some(server) = self.peer {
            let error = of_address(Transport::Udp, error, server);
            self.break_off(error.context(format!("udp://{server}")));
        }
    }
}

/// Prints what came of it. Whether anything was answered.
fn report(exchange: &Exchange, output: &mut Output) -> io::Result<bool> {
    let lost = exchange.sent.saturating_sub(exchange.answered);
    output.line(format_args!(
        "{} messages, {} answers, {lost} lost",
        exchange.sent, exchange.answered
    ))?;
    let has_answers = exchange.answered > 0;
    let mut fields = json!({
        "sent": exchange.sent,
        "answered": exchange.answered,
        "lost": lost,
    });
    let mut kinds = vec![("rtt", "rtt_ns", &exchange.round_trips)];
    if exchange.is_scheduled() {
        kinds.push(("rtt from the time due", "rtt_from_due_ns", &exchange.from_due));
    }
    for (words, key, histogram) in kinds.into_iter().filter(|_| has_answers) {
        output.line(line(words, histogram))?;
        if let Some(fields) = fields.as_object_mut() {
            fields.insert(key.to_owned(), percentiles(histogram));
        }
    }
    output.event("end", fields)?;
    Ok(has_answers)
}

/// What is told of a distribution, and its names.
const QUANTILES: [(&str, f64); 5] = [
    ("p50", 0.5),
    ("p90", 0.9),
    ("p99", 0.99),
    ("p999", 0.999),
    ("p9999", 0.9999),
];

fn line(words: &str, histogram: &Histogram<u64>) -> String {
    let time = |ns| milliseconds(Duration::from_nanos(ns));
    let mut line = format!("{words}: min {}", time(histogram.min()));
    for (name, quantile) in QUANTILES {
        line.push_str(&format!(
            "  {name} {}",
            time(histogram.value_at_quantile(quantile))
        ));
    }
    line.push_str(&format!("  max {}", time(histogram.max())));
    line
}

fn percentiles(histogram: &Histogram<u64>) -> Value {
    let mut fields = json!({ "min": histogram.min(), "max": histogram.max() });
    if let Some(fields) = fields.as_object_mut() {
        for (name, quantile) in QUANTILES {
            fields.insert(name.to_owned(), histogram.value_at_quantile(quantile).into());
        }
    }
    fields
}
