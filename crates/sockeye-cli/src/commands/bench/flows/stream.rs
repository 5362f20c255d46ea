//! A flow that is a connection: TCP, TLS, a Unix socket. The handshake that joins it is over.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::io::Write as _;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sockeye::event_loop::{Sent, Stream, Time, Watermarks};
use sockeye::measure::run::datagram::{STREAM_HEADER_LEN, parse_stream_header, stream_header};
use sockeye::measure::run::{MAX_REPLY, MAX_REQUEST, Mode, Parameters};
use sockeye::socket::os::monotonic_ns;

use super::latency::RoundTrips;
use super::pace::Pace;
use super::{Flow, Role, Stage, length_of, nanoseconds};

/// Blocks that one flow sends before others get their turn.
const BURST: usize = 4;
/// Requests on schedule that may be without an answer; those after them are sent later, and their latencies say so.
const MAX_UNANSWERED: usize = 4096;
/// Between two round trips beside a load.
const PROBE_EVERY: Duration = Duration::from_millis(10);
/// The timer of a flow that sends on schedule.
pub(crate) const DUE: u64 = 1 << 40;

/// What a connection of a run may hold: enough blocks to keep the kernel busy, and no more than is needed, as what waits here
/// adds to what waits in the network.
pub(crate) fn watermarks(max_tail: usize) -> Watermarks {
    Watermarks {
        high: 384 * 1024,
        low: 128 * 1024,
        // A block, and a report.
        max_write: (16 << 20).max(MAX_REPLY + 16),
        max_tail,
    }
}

/// What all flows of a run send.
pub(crate) fn block_of(parameters: &Parameters) -> Arc<[u8]> {
    vec![b's'; length_of(parameters, 1)].into()
}

/// Bytes that the flows of a run take on a side, apart from what waits in the loop. Messages with a header in each are the
/// flow's own; all others are shared.
pub(crate) fn memory_of(parameters: &Parameters) -> u64 {
    let is_own =
        parameters.transport.is_datagrams() || parameters.mode == Mode::Oneway || parameters.zerocopy;
    let copies = if is_own { parameters.flows() } else { 1 };
    u64::from(parameters.length).saturating_mul(copies.into())
}

/// The unread rest of a connection on the side of the server: a message of a client.
pub(crate) const SERVER_TAIL: usize = MAX_REQUEST + 64;
/// The same on the side of the client.
pub(crate) const CLIENT_TAIL: usize = MAX_REPLY + 64;

/// The connection of a flow.
#[derive(Debug)]
pub(crate) struct StreamFlow {
    pub(crate) flow: Rc<Flow>,
    work: Work,
}

#[derive(Debug)]
enum Work {
    Send(Sender),
    Count,
    Messages(Messages),
    Ask(Asker),
    Answer(Answerer),
}

impl StreamFlow {
    /// # Errors
    /// When the file for `-Z` cannot be made.
    pub(crate) fn new(
        flow: Rc<Flow>,
        parameters: &Parameters,
        round_trips: Option<&Rc<RefCell<RoundTrips>>>,
        block: &Arc<[u8]>,
    ) -> std::io::Result<Self> {
        let length = length_of(parameters, flow.number);
        // Those of the round trips beside a load are shorter.
        let block = match block.len() == length {
            true => Arc::clone(block),
            false => vec![b's'; length].into(),
        };
        let work = match (flow.role, round_trips) {
            (Role::Send, _) => Work::Send(Sender::new(&flow, parameters, length, block)?),
            (Role::Receive, _) if parameters.mode == Mode::Oneway => Work::Messages(Messages::new(length)),
            (Role::Ask, Some(round_trips)) => {
                Work::Ask(Asker::new(&flow, parameters, length, Rc::clone(round_trips)))
            }
            (Role::Receive | Role::Ask, _) => Work::Count,
            (Role::Answer, _) => Work::Answer(Answerer::new(
                block,
                parameters.mode == Mode::Crr && flow.number > 0,
            )),
        };
        Ok(Self { flow, work })
    }

    /// The stage of the flow has changed, or it may write again.
    pub(crate) fn go_on(&mut self, stream: &mut Stream<'_>) {
        match &mut self.work {
            Work::Send(sender) => sender.send(&self.flow, stream),
            Work::Ask(asker) => asker.ask(&self.flow, stream),
            Work::Answer(answerer) => answerer.answer(&self.flow, stream),
            Work::Count | Work::Messages(_) => {}
        }
    }

    /// Bytes have come. All of them are taken.
    pub(crate) fn take(&mut self, stream: &mut Stream<'_>, data: &[u8]) {
        let now = stream.now();
        match &mut self.work {
            Work::Messages(messages) => messages.take(&self.flow, data, now),
            Work::Ask(asker) => {
                let answered = asker.answered(data.len());
                self.flow.received(data.len(), answered, now);
                asker.ask(&self.flow, stream);
            }
            Work::Answer(answerer) => {
                self.flow.received(data.len(), answerer.asked(data.len()), now);
                answerer.answer(&self.flow, stream);
            }
            Work::Count | Work::Send(_) => self.flow.received(data.len(), 1, now),
        }
    }

    /// Whether it has something to send, of its own accord or as an answer.
    pub(crate) fn sends(&self) -> bool {
        matches!(&self.work, Work::Send(_))
            || matches!(&self.work, Work::Answer(answerer) if answerer.owed > 0)
    }

    /// The other side has ended its half.
    pub(crate) fn ended(&mut self) {
        self.flow.ended();
    }
}

/// What is sent over and over.
#[derive(Debug)]
enum Block {
    Bytes(Arc<[u8]>),
    /// For `-Z`.
    File(Arc<File>),
    /// With a header in front, of `oneway`.
    Numbered(Vec<u8>),
}

#[derive(Debug)]
struct Sender {
    block: Block,
    length: usize,
    /// Bytes that are left to send, if they are given.
    left: Option<u64>,
    parameters: Parameters,
    pace: Option<Pace>,
    has_begun: bool,
    next: u64,
}

impl Sender {
    fn new(flow: &Flow, parameters: &Parameters, length: usize, bytes: Arc<[u8]>) -> std::io::Result<Self> {
        let block = if parameters.mode == Mode::Oneway {
            Block::Numbered(vec![b's'; length])
        } else if parameters.zerocopy {
            Block::File(Arc::new(file_of(length)?))
        } else {
            Block::Bytes(bytes)
        };
        Ok(Self {
            block,
            length,
            left: parameters.bytes_of(flow.number),
            parameters: parameters.clone(),
            pace: None,
            has_begun: false,
            next: 0,
        })
    }

    fn send(&mut self, flow: &Flow, stream: &mut Stream<'_>) {
        if flow.stage.get() == Stage::Stopping {
            return self.finish(flow, stream);
        }
        if !flow.may_send() || flow.is_done.get() {
            return;
        }
        let now = stream.now();
        if !self.has_begun {
            self.has_begun = true;
            self.pace = Pace::of(&self.parameters, flow.number, now);
        }
        for _ in 0..BURST {
            if self.left == Some(0) {
                return self.finish(flow, stream);
            }
            if let Some(wait) = self.pace.and_then(|pace| pace.wait(self.next, now)) {
                stream.set_timer(wait, DUE);
                return;
            }
            let left = self.left.and_then(|left| usize::try_from(left).ok());
            let len = left.map_or(self.length, |left| left.min(self.length));
            let sent = self.write(len, stream);
            if !sent.is_taken() {
                return;
            }
            flow.sent(len, 1);
            self.next += 1;
            self.left = self.left.map(|left| left.saturating_sub(len as u64));
            if sent == Sent::Queued {
                break;
            }
        }
        // Once there is room, or after the others had their turn.
        stream.notify_writable();
    }

    fn write(&mut self, len: usize, stream: &mut Stream<'_>) -> Sent {
        match &mut self.block {
            Block::Bytes(block) if len == block.len() => stream.write_shared(block),
            Block::Bytes(block) => stream.write(block.get(..len).unwrap_or_default()),
            Block::File(file) => stream.send_file(file, 0, len as u64),
            Block::Numbered(message) => {
                if let Some(head) = message.first_chunk_mut() {
                    *head = stream_header(self.next, monotonic_ns());
                }
                stream.write(message)
            }
        }
    }

    fn finish(&mut self, flow: &Flow, stream: &mut Stream<'_>) {
        if !flow.is_done.get() {
            stream.shutdown_write();
            flow.done();
        }
    }
}

/// A file of that length which has no name any more.
fn file_of(length: usize) -> std::io::Result<File> {
    let fd = rustix::fs::memfd_create("sockeye-bench", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = File::from(fd);
    file.write_all(&vec![b's'; length])?;
    Ok(file)
}

/// Messages of one length with a header each.
#[derive(Debug)]
struct Messages {
    length: usize,
    head: Vec<u8>,
    /// Bytes of the present message that have come.
    have: usize,
}

impl Messages {
    fn new(length: usize) -> Self {
        Self {
            length,
            head: Vec::with_capacity(STREAM_HEADER_LEN),
            have: 0,
        }
    }

    fn take(&mut self, flow: &Flow, mut data: &[u8], now: Time) {
        let (bytes, mut messages) = (data.len(), 0);
        let now_ns = monotonic_ns();
        while !data.is_empty() {
            let part = (self.length - self.have).min(data.len());
            let (these, rest) = data.split_at(part);
            let missing = STREAM_HEADER_LEN.saturating_sub(self.head.len());
            self.head.extend(these.iter().take(missing));
            self.have += part;
            data = rest;
            if self.have < self.length {
                break;
            }
            if let Some(head) = self.head.first_chunk()
                && let Some(arrivals) = &mut *flow.arrivals.borrow_mut()
            {
                let (number, sent_ns) = parse_stream_header(*head);
                arrivals.received(number, sent_ns, now_ns);
            }
            messages += 1;
            self.have = 0;
            self.head.clear();
        }
        flow.received(bytes, messages, now);
    }
}

/// Sends requests: the next one after an answer, or on schedule.
#[derive(Debug)]
struct Asker {
    request: Vec<u8>,
    /// Times at which those without an answer were due and sent.
    under_way: VecDeque<(u64, u64)>,
    /// Bytes of the answer to the first of them that have not come.
    missing: usize,
    left: Option<u64>,
    parameters: Parameters,
    pace: Option<Pace>,
    begun: Option<u64>,
    next: u64,
    is_probe: bool,
    /// When the last one was sent.
    last_ns: u64,
    timer_is_set: bool,
    round_trips: Rc<RefCell<RoundTrips>>,
}

impl Asker {
    fn new(
        flow: &Flow,
        parameters: &Parameters,
        length: usize,
        round_trips: Rc<RefCell<RoundTrips>>,
    ) -> Self {
        let messages = parameters.bytes_of(flow.number);
        Self {
            request: vec![b's'; length],
            under_way: VecDeque::new(),
            missing: length,
            left: messages.map(|bytes| bytes / length.max(1) as u64),
            parameters: parameters.clone(),
            pace: None,
            begun: None,
            next: 0,
            is_probe: flow.number == 0,
            last_ns: 0,
            timer_is_set: false,
            round_trips,
        }
    }

    /// So many bytes of answers have come: how many are whole now.
    fn answered(&mut self, mut bytes: usize) -> u64 {
        let mut answers = 0;
        while bytes >= self.missing {
            let Some((due, sent)) = self.under_way.pop_front() else {
                // Nobody asked for it.
                return answers;
            };
            bytes -= self.missing;
            self.missing = self.request.len();
            self.round_trips.borrow_mut().answered(due, sent);
            answers += 1;
        }
        self.missing -= bytes;
        answers
    }

    fn ask(&mut self, flow: &Flow, stream: &mut Stream<'_>) {
        if flow.stage.get() == Stage::Stopping || self.left == Some(0) {
            if self.under_way.is_empty() && !flow.is_done.get() {
                stream.shutdown_write();
                flow.done();
            }
            return;
        }
        if !flow.may_send() {
            return;
        }
        let begun = *self.begun.get_or_insert_with(|| {
            self.pace = Pace::of(&self.parameters, flow.number, Time::ZERO);
            monotonic_ns()
        });
        for _ in 0..BURST {
            let now = monotonic_ns();
            let due = match self.pace {
                Some(pace) => {
                    let due = begun + pace.due(self.next).as_nanos();
                    if due > now {
                        return self.wait(Duration::from_nanos(due - now), stream);
                    }
                    if self.under_way.len() >= MAX_UNANSWERED {
                        return;
                    }
                    due
                }
                None if !self.under_way.is_empty() => return,
                None if self.is_probe => {
                    let due = self.last_ns + nanoseconds(PROBE_EVERY);
                    if due > now {
                        return self.wait(Duration::from_nanos(due - now), stream);
                    }
                    now
                }
                None => now,
            };
            if self.left == Some(0) {
                return;
            }
            if !stream.write(&self.request).is_taken() {
                return;
            }
            self.under_way.push_back((due, now));
            self.last_ns = now;
            flow.sent(self.request.len(), 1);
            self.next += 1;
            self.left = self.left.map(|left| left - 1);
        }
        stream.notify_writable();
    }

    fn wait(&mut self, wait: Duration, stream: &mut Stream<'_>) {
        if !self.timer_is_set {
            self.timer_is_set = true;
            stream.set_timer(wait, DUE);
        }
    }

    fn timer_fired(&mut self) {
        self.timer_is_set = false;
    }
}

impl StreamFlow {
    /// The timer [`DUE`] has fired.
    pub(crate) fn due(&mut self, stream: &mut Stream<'_>) {
        if let Work::Ask(asker) = &mut self.work {
            asker.timer_fired();
        }
        self.go_on(stream);
    }
}

/// Answers each request by as many bytes.
#[derive(Debug)]
struct Answerer {
    answer: Arc<[u8]>,
    have: usize,
    /// Answers that are due.
    owed: u64,
    /// Ends the connection after one of them.
    once: bool,
}

impl Answerer {
    fn new(answer: Arc<[u8]>, once: bool) -> Self {
        Self {
            answer,
            have: 0,
            owed: 0,
            once,
        }
    }

    /// So many bytes of requests have come: how many are whole now.
    fn asked(&mut self, bytes: usize) -> u64 {
        let length = self.answer.len().max(1);
        self.have += bytes;
        let asked = (self.have / length) as u64;
        self.have %= length;
        self.owed += asked;
        asked
    }

    fn answer(&mut self, flow: &Flow, stream: &mut Stream<'_>) {
        while self.owed > 0 {
            let sent = if self.answer.len() > 4096 {
                stream.write_shared(&self.answer)
            } else {
                stream.write(&self.answer)
            };
            if !sent.is_taken() {
                // Not read from until there is room: the client waits, and owes no more than it has sent.
                stream.pause();
                return;
            }
            flow.sent(self.answer.len(), 1);
            self.owed -= 1;
            if self.once {
                stream.close();
                return;
            }
        }
        stream.resume();
    }
}
