//! The HTTP/1.1 server of `--metrics`, as a service of the command's own loop.
//!
//! One request at a time is answered on a connection; what comes meanwhile is not read. A whole request has to come, and an
//! answer has to be taken, within a time; there are [`CONNECTIONS`] at most, and [`BODIES`] answers in memory.

use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Weak};
use std::time::Duration;

use sockeye::event_loop::{
    Context, Deadlines, Message, Remote, RemoteError, Sent, Stream, StreamId, StreamOptions, StreamService,
    TimerId,
};

use super::common::Common;
use super::encoding::{Ask, Body, Job};
use super::http::{self, Form, MAX_HEAD, Read, Request, Status, Wanted};
use super::page;

/// Connections at a time; others wait in the backlog.
pub(super) const CONNECTIONS: usize = 64;
/// Answers in memory, those that slow clients have not taken yet.
const BODIES: usize = 8;
/// For a whole request to come, from the start of a connection or the end of the last answer.
const REQUEST: Duration = Duration::from_secs(60);
/// For an answer to be taken.
const ANSWER: Duration = Duration::from_secs(30);
/// For a command to make an answer.
const MADE: Duration = Duration::from_secs(10);

/// Who makes snapshots: is asked for one, on any thread, and brings the question to where it can be answered.
pub(super) type Source = Box<dyn Fn(&Remote, Ask) -> Result<(), RemoteError>>;

/// The service.
pub(super) struct Server {
    pub(super) common: Common,
    pub(super) source: Source,
    pub(super) jobs: SyncSender<Job>,
    pub(super) remote: Remote,
    /// Hosts that may be asked for besides addresses; `None`: all.
    pub(super) names: Option<Vec<String>>,
    pub(super) forms: [Under; Form::ALL.len()],
    pub(super) serial: u64,
    pub(super) bodies: Vec<Weak<Body>>,
}

/// What is under way of one form.
#[derive(Debug, Default)]
pub(super) struct Under {
    /// The question that was asked last, if it is not answered.
    asked: Option<u64>,
    /// Those who wait for its answer.
    waiting: Vec<StreamId>,
    /// Those who came after its snapshot was made, perhaps, and wait for the next one.
    next: Vec<StreamId>,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Conn {
    state: State,
    keep: bool,
    head_only: bool,
    timer: Option<TimerId>,
}

#[derive(Debug)]
enum State {
    Reading,
    Waiting,
    /// This, from its piece of that number on.
    Sending(Arc<Body>, usize),
    Ending,
}

/// What a connection is told that waits.
enum Told {
    Body(Arc<Body>),
    Refused(Status),
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("common", &self.common)
            .field("forms", &self.forms)
            .finish_non_exhaustive()
    }
}

pub(super) fn stream_options() -> StreamOptions {
    StreamOptions {
        deadlines: Deadlines {
            write_stall: Some(ANSWER),
            ..Deadlines::default()
        },
        // Most of an answer that closes is sent after the close.
        close_timeout: ANSWER,
        ..StreamOptions::default()
    }
}

impl StreamService for Server {
    type Conn = Conn;

    fn on_open(&mut self, stream: &mut Stream<'_>) -> Conn {
        Conn {
            state: State::Reading,
            keep: false,
            head_only: false,
            timer: Some(stream.set_timer(REQUEST, 0)),
        }
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, conn: &mut Conn, data: &mut [u8]) -> usize {
        let mut done = 0;
        while matches!(conn.state, State::Reading) && stream.is_reading() {
            let rest = data.get(done..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            match http::read(rest, self.names.as_deref()) {
                Read::More => break,
                Read::Request(request, len) => {
                    done += len.max(1);
                    self.answer(stream, conn, &request);
                }
                Read::Broken(status) => {
                    conn.keep = false;
                    conn.head_only = false;
                    refuse(stream, conn, status);
                }
            }
        }
        match conn.state {
            // What comes after a request that closes is nobody's.
            State::Ending => data.len(),
            _ => done,
        }
    }

    fn on_message(&mut self, stream: &mut Stream<'_>, conn: &mut Conn, message: Message) {
        if !matches!(conn.state, State::Waiting) {
            return;
        }
        match message.downcast::<Told>().map(|told| *told) {
            Ok(Told::Body(body)) => respond(stream, conn, "200 OK", &[], body),
            Ok(Told::Refused(status)) => refuse(stream, conn, status),
            Err(_) => refuse(stream, conn, Status::Unavailable),
        }
        if matches!(conn.state, State::Reading) {
            stream.resume();
        }
    }

    fn on_writable(&mut self, stream: &mut Stream<'_>, conn: &mut Conn) {
        if matches!(conn.state, State::Sending(..)) {
            send(stream, conn);
            if matches!(conn.state, State::Reading) {
                stream.resume();
            }
        }
    }

    /// Whoever has asked may end its side and still wants the answer.
    fn on_eof(&mut self, stream: &mut Stream<'_>, conn: &mut Conn) {
        conn.keep = false;
        if matches!(conn.state, State::Reading) {
            end(stream, conn);
        }
    }

    /// The time is up: for a request, or for an answer.
    fn on_timer(&mut self, stream: &mut Stream<'_>, conn: &mut Conn, _key: u64) {
        conn.timer = None;
        match conn.state {
            State::Reading => end(stream, conn),
            State::Ending => {}
            State::Waiting | State::Sending(..) => stream.abort(),
        }
    }

    /// A snapshot that was asked for has not come.
    fn on_service_timer(&mut self, context: &mut Context<'_>, serial: u64) {
        for form in Form::ALL {
            let under = &mut self.forms[form as usize];
            if under.asked == Some(serial) {
                under.asked = None;
                let waiting = std::mem::take(&mut under.waiting);
                tell(context, waiting, || Told::Refused(Status::Unavailable));
                self.ask_again(context, form);
            }
        }
    }
}

impl Server {
    fn answer(&mut self, stream: &mut Stream<'_>, conn: &mut Conn, request: &Request) {
        conn.keep = request.keep;
        conn.head_only = request.head_only;
        match request.wants {
            Err(status) => refuse(stream, conn, status),
            Ok(Wanted::Page) => {
                let (body, policy) = page::page(stream.random(), stream.random());
                respond(stream, conn, "200 OK", &[policy], Arc::new(body));
            }
            Ok(Wanted::Report(form)) => {
                conn.state = State::Waiting;
                limit(stream, conn, ANSWER);
                stream.pause();
                let id = stream.id();
                let under = &mut self.forms[form as usize];
                if under.asked.is_some() {
                    under.next.push(id);
                } else {
                    under.waiting.push(id);
                    self.ask(&mut stream.context(), form);
                }
            }
        }
    }

    /// Has a snapshot made for those who wait for one of this form.
    fn ask(&mut self, context: &mut Context<'_>, form: Form) {
        self.bodies.retain(|body| body.strong_count() > 0);
        self.serial += 1;
        let ask = Ask {
            form,
            serial: self.serial,
            jobs: self.jobs.clone(),
            common: self.common,
        };
        let asked = self.bodies.len() < BODIES && (self.source)(&self.remote, ask).is_ok();
        let under = &mut self.forms[form as usize];
        if asked {
            under.asked = Some(self.serial);
            context.set_timer(MADE, self.serial);
        } else {
            let waiting = std::mem::take(&mut under.waiting);
            tell(context, waiting, || Told::Refused(Status::Unavailable));
        }
    }

    fn ask_again(&mut self, context: &mut Context<'_>, form: Form) {
        let under = &mut self.forms[form as usize];
        under.waiting = std::mem::take(&mut under.next);
        if !under.waiting.is_empty() {
            self.ask(context, form);
        }
    }

    /// An answer was made, or found to be too long.
    pub(super) fn encoded(
        &mut self,
        context: &mut Context<'_>,
        form: Form,
        serial: u64,
        body: Option<&Arc<Body>>,
    ) {
        let under = &mut self.forms[form as usize];
        if under.asked != Some(serial) {
            return;
        }
        under.asked = None;
        let waiting = std::mem::take(&mut under.waiting);
        tell(context, waiting, || match body {
            Some(body) => Told::Body(Arc::clone(body)),
            None => Told::Refused(Status::TooMuch),
        });
        self.bodies.extend(body.map(Arc::downgrade));
        self.ask_again(context, form);
    }
}

fn tell(context: &mut Context<'_>, to: Vec<StreamId>, told: impl Fn() -> Told) {
    for id in to {
        // One that is gone waits no more.
        context.send_message(id, Box::new(told()));
    }
}

/// Another time limit than before.
fn limit(stream: &mut Stream<'_>, conn: &mut Conn, within: Duration) {
    if let Some(timer) = conn.timer.take() {
        stream.cancel_timer(timer);
    }
    conn.timer = Some(stream.set_timer(within, 0));
}

fn refuse(stream: &mut Stream<'_>, conn: &mut Conn, status: Status) {
    let body = Body::of("text/plain; charset=utf-8", status.advice().as_bytes());
    let more: &[String] = match status {
        Status::MethodNotAllowed => &["Allow: GET, HEAD".to_owned()],
        Status::Unavailable => &["Retry-After: 1".to_owned()],
        _ => &[],
    };
    respond(stream, conn, status.line(), more, Arc::new(body));
}

/// Begins an answer. Others than pages have a policy too: nothing of them is to be run or shown as what it is not.
fn respond(stream: &mut Stream<'_>, conn: &mut Conn, status: &str, more: &[String], body: Arc<Body>) {
    let connection = if conn.keep { "keep-alive" } else { "close" };
    let mut head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\nCross-Origin-Resource-Policy: same-origin\r\n\
         Connection: {connection}\r\n",
        body.content_type, body.len
    );
    if !more.iter().any(|line| line.starts_with(page::POLICY)) {
        head.push_str(page::POLICY);
        head.push_str(": default-src 'none'; frame-ancestors 'none'\r\n");
    }
    for line in more {
        head.push_str(line);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    if !stream.write(head.as_bytes()).is_taken() {
        // The queue was below its mark before; now nothing can be said any more.
        conn.state = State::Ending;
        return stream.abort();
    }
    let first = if conn.head_only { body.pieces.len() } else { 0 };
    conn.state = State::Sending(body, first);
    limit(stream, conn, ANSWER);
    send(stream, conn);
}

/// As much of the answer as the queue takes.
fn send(stream: &mut Stream<'_>, conn: &mut Conn) {
    let State::Sending(body, next) = &mut conn.state else {
        return;
    };
    while let Some(piece) = body.pieces.get(*next) {
        match stream.write_shared(piece) {
            Sent::Sent | Sent::Queued => *next += 1,
            // `on_writable` goes on.
            Sent::Full => return stream.pause(),
            Sent::TooLarge | Sent::Gone => {
                conn.state = State::Ending;
                return stream.abort();
            }
        }
    }
    if conn.keep {
        conn.state = State::Reading;
        limit(stream, conn, REQUEST);
    } else {
        end(stream, conn);
    }
}

/// What was written is still sent.
fn end(stream: &mut Stream<'_>, conn: &mut Conn) {
    conn.state = State::Ending;
    stream.close();
}

/// A head fits into what the loop keeps of a connection.
const _: () = assert!(MAX_HEAD < 64 * 1024);
