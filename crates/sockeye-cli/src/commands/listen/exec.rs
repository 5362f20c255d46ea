//! A command for each connection, whose stdin and stdout are the connection.
//!
//! The command gets the ends of two socket pairs, which block as it expects; the loop has the other ends as connections,
//! which do not. Two, so that each direction ends by itself: a command that goes without reading all that it was sent
//! breaks the one, and what it has said is still carried by the other.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::json;
use sockeye::event_loop::{
    CloseReason, Context, Deadlines, EventLoop, ListenerId, Sent, ServiceHandle, Stream, StreamId,
    StreamService,
};
use sockeye::unix::UnixStream;

use crate::exit::words;
use crate::output::{Format, Output, note, warn};
use crate::probing::milliseconds;
use crate::talk::carry::Wire;
use crate::talk::stream::{Listening, name_of};
use crate::talk::{End, Talk};

/// The end of a child (signal(7): this number on Linux but for Alpha, MIPS and SPARC, where the ends of its streams tell).
const SIGCHLD: i32 = 17;
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

/// Ends the loop on SIGINT and SIGTERM, and notes the end of a child.
///
/// # Errors
/// When the loop cannot take signals.
pub(super) fn take_signals(events: &mut EventLoop, child_ended: &Rc<Cell<bool>>) -> io::Result<()> {
    let child_ended = Rc::clone(child_ended);
    events.on_signals(&[SIGINT, SIGTERM, SIGCHLD], move |context, signal| {
        if signal == SIGCHLD {
            child_ended.set(true);
        } else {
            context.stop();
        }
    })
}

/// What a connection of the loop is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Peer,
    /// To the command's stdin.
    Input,
    /// From the command's stdout.
    Output,
}

/// A connection and its command.
#[derive(Debug)]
struct Session {
    name: String,
    peer: Option<StreamId>,
    input: Option<StreamId>,
    output: Option<StreamId>,
    /// The streams to the command are on the loop.
    is_adopted: bool,
    peer_ended: bool,
    child: Option<Child>,
    /// Why there was none.
    not_started: Option<io::Error>,
    status: Option<ExitStatus>,
    received: u64,
    sent: u64,
    fault: Option<String>,
    begun: Instant,
}

/// The ends of a new command that are to come onto the loop.
#[derive(Debug)]
struct Ends {
    session: u64,
    input: StdUnixStream,
    output: StdUnixStream,
}

/// The service.
#[derive(Debug)]
pub(super) struct Executor {
    command: String,
    talk: Rc<RefCell<Talk>>,
    max: usize,
    json: bool,
    listening: Listening,
    idle: Option<Duration>,
    sessions: HashMap<u64, Session>,
    roles: HashMap<StreamId, (u64, Role)>,
    /// Connections that wait for a command to end.
    waiting: VecDeque<StreamId>,
    new: Vec<Ends>,
    /// Sessions that have lost a stream since they were looked at.
    touched: Vec<u64>,
}

impl Executor {
    pub(super) fn new(command: &str, talk: Rc<RefCell<Talk>>, max: usize, json: bool) -> Self {
        Self {
            command: command.to_owned(),
            talk,
            max,
            json,
            listening: Listening::default(),
            idle: None,
            sessions: HashMap::new(),
            roles: HashMap::new(),
            waiting: VecDeque::new(),
            new: Vec::new(),
            touched: Vec::new(),
        }
    }

    pub(super) fn listen(&mut self, listening: Listening, idle: Option<Duration>) {
        self.listening = listening;
        self.idle = idle;
    }

    /// Starts the command for a connection.
    fn begin(&mut self, stream: &mut Stream<'_>) {
        self.listening.served += 1;
        if !self.listening.keep_open {
            for listener in self.listening.listeners.drain(..) {
                stream.context().close_listener(listener);
            }
        }
        let number = self.listening.served;
        let name = name_of(stream.peer());
        stream.pause();
        stream.set_deadlines(Deadlines {
            idle: self.idle,
            ..Deadlines::default()
        });
        let mut session = Session {
            name: name.clone(),
            peer: Some(stream.id()),
            input: None,
            output: None,
            is_adopted: false,
            peer_ended: false,
            child: None,
            not_started: None,
            status: None,
            received: 0,
            sent: 0,
            fault: None,
            begun: Instant::now(),
        };
        match start(&self.command, &name) {
            Ok((child, input, output)) => {
                session.child = Some(child);
                self.new.push(Ends {
                    session: number,
                    input,
                    output,
                });
            }
            Err(error) => {
                // Else it is the end, and said with it.
                if self.listening.keep_open {
                    warn(format_args!("sockeye: {name}: start /bin/sh: {}", words(&error)));
                }
                session.fault = Some(words(&error));
                session.not_started = Some(error);
                session.is_adopted = true;
                stream.abort();
            }
        }
        self.roles.insert(stream.id(), (number, Role::Peer));
        self.sessions.insert(number, session);
    }

    /// The next connections that wait, as far as there is room.
    fn next(&mut self, context: &mut Context<'_>) {
        while self.sessions.len() < self.max
            && let Some(id) = self.waiting.pop_front()
        {
            if let Some(mut stream) = context.stream(id) {
                self.begin(&mut stream);
            }
        }
    }

    /// A stream to or from the command of this session is on the loop.
    fn adopted(&mut self, context: &mut Context<'_>, number: u64, ends: [Option<StreamId>; 2]) {
        let [input, output] = ends;
        for (id, role) in [(input, Role::Input), (output, Role::Output)] {
            if let Some(id) = id {
                self.roles.insert(id, (number, role));
            }
        }
        let Some(session) = self.sessions.get_mut(&number) else {
            return;
        };
        (session.input, session.output, session.is_adopted) = (input, output, true);
        self.touched.push(number);
        match session.peer.and_then(|peer| context.stream(peer)) {
            Some(mut peer) if input.is_some() && output.is_some() => peer.resume(),
            Some(mut peer) => peer.abort(),
            None => end_command(session, context),
        }
    }

    /// Reaps the commands that have ended, and reports the sessions that are over: of those that have lost a stream or, as
    /// a signal does not say whose command has ended, of all.
    fn reap(&mut self, context: &mut Context<'_>, all: bool) {
        let mut numbers = std::mem::take(&mut self.touched);
        if all {
            numbers = self.sessions.keys().copied().collect();
        }
        let mut over = Vec::new();
        for number in numbers {
            let Some(session) = self.sessions.get_mut(&number) else {
                continue;
            };
            if let Some(child) = &mut session.child
                && let Ok(Some(status)) = child.try_wait()
            {
                session.child = None;
                session.status = Some(status);
            }
            let is_carried = session.is_adopted && session.input.is_none() && session.output.is_none();
            if session.peer.is_none() && session.child.is_none() && is_carried {
                over.push(number);
            }
        }
        for number in over {
            let Some(session) = self.sessions.remove(&number) else {
                continue;
            };
            self.report(&session);
            if !self.listening.keep_open {
                let end = match session.not_started {
                    Some(error) => End::Here(anyhow!(error).context("start /bin/sh")),
                    None => End::Closed,
                };
                self.talk.borrow_mut().ends(end);
            }
        }
        self.next(context);
    }

    /// The line of a session that is over. Stdout that is not read costs lines, and no session.
    fn report(&self, session: &Session) {
        let format = Format {
            json: self.json,
            ..Format::default()
        };
        let mut output = Output::to(Lines(Rc::clone(&self.talk)), format);
        let lost = self.talk.borrow_mut().take_lost();
        let duration = session.begun.elapsed();
        let ended = match (session.status, &session.fault) {
            (_, Some(fault)) => fault.clone(),
            (Some(status), None) => status.to_string(),
            (None, None) => "closed".to_owned(),
        };
        // The place that it is written to takes everything.
        if lost > 0 {
            let _ = output.event("lost", json!({ "events": lost }));
            note(format_args!(
                "sockeye: {lost} lines were lost, as stdout was not read"
            ));
        }
        let _ = output.line(format_args!(
            "{}: received {} bytes, sent {} bytes, {}, {ended}",
            session.name,
            session.received,
            session.sent,
            milliseconds(duration)
        ));
        let _ = output.event(
            "session",
            json!({
                "peer": session.name,
                "received_bytes": session.received,
                "sent_bytes": session.sent,
                "duration_ns": u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX),
                "exit_status": session.status.and_then(|status| status.code()),
                "signal": session.status.and_then(|status| status.signal()),
                "error": session.fault,
            }),
        );
    }

    /// The command has said all: so has this side, and the connection is over where the other one is.
    fn output_ended(&mut self, context: &mut Context<'_>, number: u64) {
        let Some(session) = self.sessions.get_mut(&number) else {
            return;
        };
        session.output = None;
        if let Some(mut peer) = session.peer.and_then(|peer| context.stream(peer)) {
            if session.input.is_none() || session.peer_ended {
                peer.close();
            } else {
                peer.shutdown_write();
            }
        }
    }
}

/// Starts a command. Gives this side's ends of its stdin and stdout.
fn start(command: &str, peer: &str) -> io::Result<(Child, StdUnixStream, StdUnixStream)> {
    let (input, its_stdin) = StdUnixStream::pair()?;
    let (output, its_stdout) = StdUnixStream::pair()?;
    input.set_nonblocking(true)?;
    output.set_nonblocking(true)?;
    let child = Command::new("/bin/sh")
        .arg("-c")
        .arg(command)
        .env("SOCKEYE_PEER", peer)
        // What it starts is ended with it; and ^C on a terminal reaches this program alone, which gives it time to end.
        .process_group(0)
        .stdin(Stdio::from(OwnedFd::from(its_stdin)))
        .stdout(Stdio::from(OwnedFd::from(its_stdout)))
        .spawn()?;
    Ok((child, input, output))
}

/// The peer is gone: the command's stdin ends once it has what was received, and nobody reads its stdout.
fn end_command(session: &Session, context: &mut Context<'_>) {
    if let Some(mut input) = session.input.and_then(|id| context.stream(id)) {
        input.close();
    }
    if let Some(mut output) = session.output.and_then(|id| context.stream(id)) {
        output.abort();
    }
}

impl StreamService for Executor {
    type Conn = ();

    fn on_open(&mut self, stream: &mut Stream<'_>) {
        if let Some((number, role)) = self.roles.get(&stream.id()) {
            let session = self.sessions.get(number);
            // The peer may have ended before there was anybody to be told.
            if *role == Role::Input && session.is_none_or(|session| session.peer_ended) {
                stream.shutdown_write();
            }
            return;
        }
        if !self.listening.allow.admits(stream.peer()) {
            if self.listening.sparing.may() {
                let name = name_of(stream.peer());
                note(format_args!("refused {name}: not within --allow"));
            }
            stream.abort();
        } else if !self.listening.keep_open && self.listening.served > 0 {
            stream.abort();
        } else if self.sessions.len() >= self.max {
            stream.pause();
            self.waiting.push_back(stream.id());
        } else {
            self.begin(stream);
        }
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        let Some(&(number, role)) = self.roles.get(&stream.id()) else {
            return 0;
        };
        let Some(session) = self.sessions.get_mut(&number) else {
            return data.len();
        };
        let to = match role {
            Role::Peer if !session.is_adopted => return 0,
            Role::Peer => session.input,
            Role::Output => session.peer,
            Role::Input => return data.len(),
        };
        // Where the command has ended its stdin, the rest has nobody to read it.
        let sent = to.and_then(|to| stream.other(to).map(|mut other| other.write(data)));
        if sent == Some(Sent::Full) {
            stream.pause();
            return 0;
        }
        let len = data.len() as u64;
        if role == Role::Peer {
            session.received += len;
            self.talk.borrow_mut().tee(data);
        } else {
            session.sent += len;
        }
        data.len()
    }

    fn on_writable(&mut self, stream: &mut Stream<'_>, (): &mut ()) {
        let Some(&(number, role)) = self.roles.get(&stream.id()) else {
            return;
        };
        let from = self.sessions.get(&number).and_then(|session| match role {
            Role::Peer => session.output,
            Role::Input => session.peer,
            Role::Output => None,
        });
        if let Some(mut from) = from.and_then(|from| stream.other(from)) {
            from.resume();
        }
    }

    fn on_eof(&mut self, stream: &mut Stream<'_>, (): &mut ()) {
        let Some(&(number, role)) = self.roles.get(&stream.id()) else {
            stream.close();
            return;
        };
        let Some(session) = self.sessions.get_mut(&number) else {
            stream.close();
            return;
        };
        match role {
            Role::Input => stream.close(),
            Role::Output => {
                stream.close();
                self.output_ended(&mut stream.context(), number);
            }
            Role::Peer => {
                session.peer_ended = true;
                if session.is_adopted && session.output.is_none() {
                    stream.close();
                }
                if let Some(mut input) = session.input.and_then(|input| stream.other(input)) {
                    input.shutdown_write();
                }
            }
        }
    }

    fn on_listener_lost(&mut self, _: &mut Context<'_>, listener: ListenerId, error: io::Error) {
        self.listening.listeners.retain(|id| *id != listener);
        if self.listening.listeners.is_empty() && self.sessions.is_empty() {
            let error = anyhow!(error).context("the listener is lost");
            self.talk.borrow_mut().ends(End::Here(error));
        }
    }

    fn on_close(&mut self, context: &mut Context<'_>, id: StreamId, (): (), reason: CloseReason) {
        let Some((number, role)) = self.roles.remove(&id) else {
            // It has not had its turn.
            self.waiting.retain(|waiting| *waiting != id);
            return;
        };
        self.touched.push(number);
        if role == Role::Output {
            self.output_ended(context, number);
            return;
        }
        let Some(session) = self.sessions.get_mut(&number) else {
            return;
        };
        if role == Role::Peer {
            session.peer = None;
            let fault = match reason {
                CloseReason::Closed => None,
                // It had nothing more to say, and did not wait for all of the answer.
                CloseReason::Error(error) => Some(words(&error)),
                other => Some(other.to_string()),
            };
            // That the command did not start is why the connection was ended.
            session.fault = session.fault.take().or(fault);
            end_command(session, context);
            return;
        }
        session.input = None;
        if let Some(mut peer) = session.peer.and_then(|peer| context.stream(peer)) {
            if session.output.is_none() {
                peer.close();
            } else {
                // What it still sends is dropped.
                peer.resume();
            }
        }
    }
}

/// Where the lines of sessions go.
struct Lines(Rc<RefCell<Talk>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().log(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The commands, as the loop of the conversation sees them.
#[derive(Debug)]
pub(super) struct Commands {
    service: ServiceHandle<Executor>,
    child_ended: Rc<Cell<bool>>,
}

impl Commands {
    pub(super) fn new(service: ServiceHandle<Executor>, child_ended: Rc<Cell<bool>>) -> Self {
        Self { service, child_ended }
    }

    /// Ends the commands that are left, and says how many connections there were.
    pub(super) fn finish(&mut self, events: &mut EventLoop) -> u64 {
        let Some(executor) = events.service(self.service) else {
            return 0;
        };
        for session in executor.sessions.values_mut() {
            if let Some(mut child) = session.child.take() {
                // It may have ended by itself. Until it is waited for nobody else has its number.
                let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
                let _ = child.wait();
            }
        }
        executor.listening.served
    }
}

impl Wire for Commands {
    fn has_peer(&mut self, _: &mut EventLoop) -> bool {
        false
    }

    fn pump(&mut self, _: &mut EventLoop) {}

    fn expire(&mut self, _: &mut EventLoop) {}

    fn tick(&mut self, events: &mut EventLoop) {
        let service = self.service;
        loop {
            let Some(executor) = events.service(service) else {
                return;
            };
            let new = std::mem::take(&mut executor.new);
            let child_ended = self.child_ended.take();
            let look = child_ended || !executor.touched.is_empty();
            for Ends {
                session,
                input,
                output,
            } in new
            {
                let ends = [input, output].map(|end| events.adopt_unix(service, UnixStream::from_std(end)));
                events.with(service, |executor, context| {
                    executor.adopted(context, session, ends);
                });
            }
            if !look {
                return;
            }
            events.with(service, |executor, context| executor.reap(context, child_ended));
        }
    }
}
