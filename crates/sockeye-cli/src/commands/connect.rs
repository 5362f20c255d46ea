//! `sockeye connect TARGET`: stdin to the peer, the peer to stdout.

use std::io::{self, Read as _, Write as _};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use sockeye::endpoint::{Endpoint, Target, Transport};
use sockeye::event_loop::{
    CloseReason, ConnectFailure, ConnectFault, ConnectRequest, Context, EventLoop, Message, Remote, Sent,
    Stream, StreamId, StreamOptions, StreamService,
};
use sockeye::socket::{Op, OpError};

use crate::exit::{Exit, Failure};
use crate::names;
use crate::output::Output;
use crate::signals::stop_on_signals;

/// Bytes of stdin that are under way to the loop at a time.
const CHUNK: usize = 64 * 1024;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:\n\
\x20 sockeye connect tcp://127.0.0.1:7007\n\
\x20 echo hello | sockeye connect tcp://localhost:echo")]
pub(crate) struct Arguments {
    /// Whom to connect to, such as tcp://127.0.0.1:7007 or tcp://localhost:echo
    #[arg(value_name = "ENDPOINT")]
    target: Target,
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
    if target.transport() != Transport::Tcp {
        return Err(Failure::usage(format!("{target}: connect speaks tcp")));
    }
    let timeout = Duration::from_secs_f64(arguments.timeout);
    let addresses = names::addresses(target, timeout)?;

    let mut events = EventLoop::new().context("make an event loop")?;
    stop_on_signals(&mut events).context("take signals")?;
    let (room, has_room) = mpsc::channel();
    let carrier = Carrier {
        remote: events.remote(),
        room,
        input: Some(has_room),
        end: None,
    };
    let service = events.add_stream_service(carrier, StreamOptions::default());
    events.connect(service, ConnectRequest::any_of(addresses).deadline(timeout));
    events.run().context("run the event loop")?;
    let end = events.service(service).and_then(|carrier| carrier.end.take());
    match end {
        Some(End::Closed) => Ok(Exit::Success),
        Some(End::Failed(error)) => Err(error.context(format!("connect {target}"))),
        None => Ok(Exit::Interrupted),
    }
}

/// How it ended.
#[derive(Debug)]
enum End {
    Closed,
    Failed(anyhow::Error),
}

/// The one connection. Stdin is read on a thread, as files cannot be polled: it hands over one piece at a time
/// and waits until the loop has taken it.
#[derive(Debug)]
struct Carrier {
    remote: Remote,
    /// Tells the reader of stdin that its last piece was taken.
    room: mpsc::Sender<()>,
    /// The other end of it, until the reader starts.
    input: Option<mpsc::Receiver<()>>,
    end: Option<End>,
}

/// What the reader of stdin has to say.
#[derive(Debug)]
enum Input {
    Bytes(Vec<u8>),
    EndOfFile,
}

impl StreamService for Carrier {
    /// The piece that did not fit yet.
    type Conn = Option<Vec<u8>>;

    fn on_open(&mut self, stream: &mut Stream<'_>) -> Self::Conn {
        if let Some(has_room) = self.input.take() {
            let (remote, id) = (self.remote.clone(), stream.id());
            thread::spawn(move || read_stdin(&remote, id, &has_room));
        }
        None
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, _waiting: &mut Self::Conn, data: &mut [u8]) -> usize {
        // Blocks when nobody reads our stdout: then there is nothing else to do than to wait.
        let mut stdout = io::stdout().lock();
        if let Err(error) = stdout.write_all(data).and_then(|()| stdout.flush()) {
            self.end.get_or_insert(match error.kind() {
                io::ErrorKind::BrokenPipe => End::Closed,
                _ => End::Failed(anyhow!(error).context("write to stdout")),
            });
            stream.abort();
        }
        data.len()
    }

    fn on_message(&mut self, stream: &mut Stream<'_>, waiting: &mut Self::Conn, message: Message) {
        match message.downcast::<Input>().map(|input| *input) {
            Ok(Input::Bytes(bytes)) => {
                *waiting = Some(bytes);
                self.send(stream, waiting);
            }
            Ok(Input::EndOfFile) => stream.shutdown_write(),
            Err(_) => {}
        }
    }

    fn on_writable(&mut self, stream: &mut Stream<'_>, waiting: &mut Self::Conn) {
        self.send(stream, waiting);
    }

    fn on_connect_error(&mut self, context: &mut Context<'_>, failure: ConnectFailure) {
        self.end = Some(End::Failed(connect_error(failure)));
        context.stop();
    }

    fn on_close(
        &mut self,
        context: &mut Context<'_>,
        _id: StreamId,
        _waiting: Self::Conn,
        reason: CloseReason,
    ) {
        self.end.get_or_insert(match reason {
            CloseReason::Closed => End::Closed,
            CloseReason::Error(error) => End::Failed(error.into()),
            other => End::Failed(anyhow!("{other}")),
        });
        context.stop();
    }
}

impl Carrier {
    fn send(&self, stream: &mut Stream<'_>, waiting: &mut Option<Vec<u8>>) {
        let Some(bytes) = waiting.take() else { return };
        if stream.write(&bytes) == Sent::Full {
            *waiting = Some(bytes);
        } else {
            // A reader that has ended needs no room.
            let _ = self.room.send(());
        }
    }
}

/// Keeps the cause, so that its status is right, and names the address that was tried last.
fn connect_error(failure: ConnectFailure) -> anyhow::Error {
    let said = failure.to_string();
    match (failure.cause, failure.attempts.last()) {
        (ConnectFault::Failed(error), Some((address, _))) => {
            // For its advice, where the cause has a usual remedy.
            let peer = Endpoint::from_socket_addr(Transport::Tcp, *address);
            anyhow!(OpError::new(Op::Connect, Transport::Tcp, error).with_peer(peer))
        }
        (ConnectFault::Failed(error), None) => error.into(),
        _ => anyhow!(said),
    }
}

fn read_stdin(remote: &Remote, id: StreamId, has_room: &mpsc::Receiver<()>) {
    let mut stdin = io::stdin().lock();
    let mut buffer = vec![0; CHUNK];
    loop {
        let input = match stdin.read(&mut buffer) {
            Ok(0) | Err(_) => Input::EndOfFile,
            Ok(count) => Input::Bytes(buffer.iter().take(count).copied().collect()),
        };
        let is_end = matches!(input, Input::EndOfFile);
        // Either fails when the connection is gone, and the rest of stdin with it.
        if remote.message(id, input).is_err() || is_end || has_room.recv().is_err() {
            return;
        }
    }
}
