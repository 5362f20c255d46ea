//! `sockeye connect TARGET`: stdin to the peer, the peer to stdout.
//!
//! One thread waits for the loop and for both streams, by poll(2), as epoll(7) refuses regular files. Neither stream is
//! switched to non-blocking, which others who have it would see: stdin is read when it is ready, and what is ready does
//! not block; stdout takes what does not block, and what it does not take waits here while the connection is paused.

mod stdout;

use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use sockeye::endpoint::{Address, Endpoint, Scheme, Target, Transport};
use sockeye::event_loop::{
    CloseReason, ConnectFailure, ConnectFault, ConnectRequest, Context, EventLoop, PeerName, Sent,
    ServiceHandle, Stream, StreamId, StreamOptions, StreamService,
};
use sockeye::socket::os::{PollFd, poll};
use sockeye::socket::{Op, OpError};

use crate::exit::{Exit, Failure, Unreachable};
use crate::names;
use crate::output::Output;
use crate::signals::stop_on_signals;
use stdout::Stdout;

/// Bytes that are read from stdin at a time.
const CHUNK: usize = 64 * 1024;
/// Bytes for stdout that may wait before the connection is paused.
const MAX_WAITING: usize = 64 * 1024;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:\n\
\x20 sockeye connect tcp://127.0.0.1:7007\n\
\x20 sockeye connect unix:/run/echo.sock\n\
\x20 echo hello | sockeye connect tcp://localhost:echo")]
pub(crate) struct Arguments {
    /// Whom to connect to, such as tcp://127.0.0.1:7007, tcp://localhost:echo, unix:/run/echo.sock or unix:@echo
    #[arg(value_name = "ADDRESS")]
    target: Address<Target>,
    /// Seconds until the connection has to stand
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS", value_parser = crate::arguments::seconds)]
    timeout: f64,
}

/// Carries bytes both ways until the peer closes.
///
/// # Errors
/// When the name has no address, nobody answers, or the connection breaks.
pub(crate) fn run(arguments: &Arguments, _output: &mut Output) -> anyhow::Result<Exit> {
    let target = &arguments.target;
    if let Err(refused) = target.must_be(&[Scheme::Tcp, Scheme::Unix]) {
        return Err(Failure::usage(format!("{target}: {refused}")));
    }
    let timeout = Duration::from_secs_f64(arguments.timeout);
    let request = match target {
        Address::Unix(name) => ConnectRequest::to_unix(*name),
        Address::Ip { endpoint, .. } => ConnectRequest::any_of(names::addresses(endpoint, timeout)?),
    };

    let mut events = EventLoop::new().context("make an event loop")?;
    stop_on_signals(&mut events).context("take signals")?;
    let mut stdout = Stdout::open().context("open stdout")?;
    let service = events.add_stream_service(Carrier::default(), StreamOptions::default());
    events.connect(service, request.deadline(timeout));
    match carry(&mut events, service, &mut stdout)? {
        Some(End::Closed) => Ok(Exit::Success),
        Some(End::Peer(error)) => Err(error.context(format!("connect {target}"))),
        Some(End::Here(error)) => Err(error),
        None => Ok(Exit::Interrupted),
    }
}

/// How it ended.
#[derive(Debug)]
enum End {
    Closed,
    /// On the connection's side.
    Peer(anyhow::Error),
    /// On this side: stdin or stdout.
    Here(anyhow::Error),
}

/// Turns the loop and serves both streams until everything has ended; `None` where a signal ended it.
fn carry(
    events: &mut EventLoop,
    service: ServiceHandle<Carrier>,
    stdout: &mut Stdout,
) -> anyhow::Result<Option<End>> {
    let stdin = io::stdin();
    let mut chunk = vec![0; CHUNK];
    loop {
        events.turn(Some(Duration::ZERO)).context("run the event loop")?;
        let timeout = if events.has_work() {
            Some(Duration::ZERO)
        } else {
            events.next_timer().map(|timer| timer.since(events.now()))
        };
        if events.is_stopping() {
            return Ok(None);
        }
        let carrier = events.service(service).context("the service has left the loop")?;
        if carrier.output.is_empty() && carrier.end.is_some() {
            return Ok(carrier.end.take());
        }
        let (reads, writes) = (carrier.wants_input(), !carrier.output.is_empty());
        // A stream that is not waited for is not asked about: its end would be told again and again.
        let mut ready = vec![PollFd::new(events.as_fd(), true, false)];
        if reads {
            ready.push(PollFd::new(stdin.as_fd(), true, false));
        }
        if writes {
            ready.push(PollFd::new(stdout.as_fd(), false, true));
        }
        match poll(&mut ready, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            outcome => outcome.context("wait for the streams")?,
        };
        let read = reads && ready.get(1).is_some_and(PollFd::is_readable);
        let write = writes && ready.last().is_some_and(PollFd::is_writable);
        if read {
            let outcome = stdin.lock().read(&mut chunk);
            let input = outcome.map(|len| chunk.split_at(len).0);
            events.with(service, |carrier, context| carrier.input(context, input));
        }
        if write {
            events.with(service, |carrier, context| carrier.output(context, stdout));
        }
    }
}

/// The one connection, and what waits on either side of it.
#[derive(Debug, Default)]
struct Carrier {
    stream: Option<StreamId>,
    /// What was read from stdin and has no room on the connection yet.
    input: Vec<u8>,
    input_ended: bool,
    /// What came from the peer and stdout has not taken yet.
    output: Vec<u8>,
    end: Option<End>,
}

impl StreamService for Carrier {
    type Conn = ();

    fn on_open(&mut self, stream: &mut Stream<'_>) {
        self.stream = Some(stream.id());
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        self.output.extend_from_slice(data);
        if self.output.len() >= MAX_WAITING {
            stream.pause();
        }
        data.len()
    }

    fn on_writable(&mut self, stream: &mut Stream<'_>, (): &mut ()) {
        let input = std::mem::take(&mut self.input);
        self.send(stream, &input);
    }

    fn on_connect_error(&mut self, _context: &mut Context<'_>, failure: ConnectFailure) {
        self.end = Some(End::Peer(connect_error(failure)));
    }

    fn on_close(&mut self, _: &mut Context<'_>, _: StreamId, (): (), reason: CloseReason) {
        self.stream = None;
        self.end.get_or_insert_with(|| match reason {
            CloseReason::Closed => End::Closed,
            CloseReason::Error(error) => End::Peer(error.into()),
            other => End::Peer(anyhow!("{other}")),
        });
    }
}

impl Carrier {
    /// Whether stdin is to be read: the connection is established and has taken what was read before.
    fn wants_input(&self) -> bool {
        self.stream.is_some() && self.input.is_empty() && !self.input_ended && self.end.is_none()
    }

    /// What a read of stdin gave.
    fn input(&mut self, context: &mut Context<'_>, input: io::Result<&[u8]>) {
        let Some(mut stream) = self.stream.and_then(|id| context.stream(id)) else {
            return;
        };
        match input {
            Ok([]) => {
                self.input_ended = true;
                stream.shutdown_write();
            }
            Ok(bytes) => self.send(&mut stream, bytes),
            // Somebody else has read it, or has made it non-blocking.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) => {}
            Err(error) => {
                self.end = Some(End::Here(anyhow!(error).context("read stdin")));
                stream.abort();
            }
        }
    }

    fn send(&mut self, stream: &mut Stream<'_>, bytes: &[u8]) {
        if stream.write(bytes) == Sent::Full {
            self.input.extend_from_slice(bytes);
        }
    }

    /// Writes what waits to stdout, as far as it takes it.
    fn output(&mut self, context: &mut Context<'_>, stdout: &mut Stdout) {
        match stdout.write(&self.output) {
            Ok(len) => {
                self.output.drain(..len);
            }
            Err(error) => {
                self.output.clear();
                // Whoever read it has had enough, or it cannot be written: the connection has no purpose any more.
                self.end = Some(match error.kind() {
                    io::ErrorKind::BrokenPipe => End::Closed,
                    _ => End::Here(anyhow!(error).context("write to stdout")),
                });
            }
        }
        if let Some(mut stream) = self.stream.and_then(|id| context.stream(id)) {
            if self.end.is_some() {
                stream.abort();
            } else if self.output.is_empty() {
                stream.resume();
            }
        }
    }
}

/// Keeps the cause, so that its status is right, and names the address that was tried last.
fn connect_error(failure: ConnectFailure) -> anyhow::Error {
    let said = failure.to_string();
    match (failure.cause, failure.attempts.last()) {
        (ConnectFault::Failed(error), Some((PeerName::Unix(name), _))) => {
            anyhow!(OpError::unix(Op::Connect, error).with_peer_name(*name))
        }
        (ConnectFault::Failed(error), Some((PeerName::Ip(address), _))) => {
            if let Some(unreachable) = Unreachable::of(&error, address.ip()) {
                return anyhow!(unreachable);
            }
            // For its advice, where the cause has a usual remedy.
            let peer = Endpoint::from_socket_addr(Transport::Tcp, *address);
            anyhow!(OpError::new(Op::Connect, Transport::Tcp, error).with_peer(peer))
        }
        (ConnectFault::Failed(error), _) => error.into(),
        _ => anyhow!(said),
    }
}
