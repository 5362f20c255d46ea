//! The flows of a run, the same on both sides: what a client sends on, a server receives on, and the other way round.
//!
//! | module | what |
//! |---|---|
//! | [`control`] | the messages of the control connection |
//! | [`stream`] | a flow that is a connection: sends, receives, answers, asks |
//! | [`datagram`] | a flow of datagrams or IP packets, and the service that sorts them |
//! | [`pace`] | when the next message is due |
//! | [`latency`] | histograms of round trips and delays |
//! | [`cpu`] | processor time, and staying on one CPU |
//!
//! A [`Flow`] is what a flow has counted. Its socket's service counts; whoever runs the measurement reads, and wakes it.

pub(crate) mod control;
pub(crate) mod cpu;
pub(crate) mod datagram;
pub(crate) mod latency;
pub(crate) mod pace;
pub(crate) mod stream;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use sockeye::event_loop::{Context, DatagramId, StreamId, Time};
use sockeye::measure::jitter::Jitter;
use sockeye::measure::run::{Counts, DatagramCounts, FlowReport, FlowTcp, Mode, Parameters};
use sockeye::measure::sequence::Sequence;

use latency::Delays;

/// What a socket of a flow is told to look at its flow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wake;

/// How far a flow is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Stage {
    /// Nobody has joined.
    #[default]
    Absent,
    /// It waits for the start.
    Joined,
    /// It may send.
    Going,
    /// It is to send nothing new.
    Stopping,
}

/// Where its socket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Place {
    #[default]
    Nowhere,
    Stream(StreamId),
    /// The socket, and the key of the flow in its service.
    Datagrams(DatagramId, u64),
}

/// What a flow does on this side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Send,
    Receive,
    Ask,
    Answer,
}

/// What one flow has counted, on this side.
#[derive(Debug)]
pub(crate) struct Flow {
    pub(crate) number: u32,
    pub(crate) role: Role,
    pub(crate) stage: Cell<Stage>,
    pub(crate) place: Cell<Place>,
    /// It has sent all it had to, and what it waited for has come.
    pub(crate) is_done: Cell<bool>,
    /// The other side has ended it.
    pub(crate) has_ended: Cell<bool>,
    /// Something of the above has changed, and nobody has looked yet.
    pub(crate) news: Cell<bool>,
    counts: Cell<Counts>,
    /// What was counted when counting began, and at the end of the last interval.
    omitted: Cell<Counts>,
    before: Cell<Counts>,
    counts_from: Cell<Time>,
    last: Cell<Time>,
    /// Of numbered messages.
    pub(crate) arrivals: RefCell<Option<Arrivals>>,
    tcp_before: Cell<u64>,
    tcp_last: Cell<Option<FlowTcp>>,
}

/// What a receiver of numbered messages knows.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    sequence: Sequence,
    jitter: Jitter,
    omitted: DatagramCounts,
    /// One-way delays, of the mode that measures them.
    pub(crate) delays: Option<Rc<RefCell<Delays>>>,
}

impl Arrivals {
    fn counts(&self) -> DatagramCounts {
        DatagramCounts {
            lost: self.sequence.lost(),
            reordered: self.sequence.reordered(),
            duplicates: self.sequence.duplicates(),
            jitter_ns: nanoseconds(self.jitter.value()),
        }
        .less(&self.omitted)
    }

    /// `true` if it is new.
    pub(crate) fn received(&mut self, number: u64, sent_ns: u64, now_ns: u64) -> bool {
        let is_new = self.sequence.received(number);
        if is_new {
            self.jitter.received(sent_ns, now_ns);
            if let Some(delays) = &self.delays {
                delays.borrow_mut().record(sent_ns, now_ns);
            }
        }
        is_new
    }
}

/// Differences of what was counted.
pub(crate) trait Less {
    fn less(&self, before: &Self) -> Self;
}

impl Less for DatagramCounts {
    fn less(&self, before: &Self) -> Self {
        Self {
            lost: self.lost.saturating_sub(before.lost),
            reordered: self.reordered.saturating_sub(before.reordered),
            duplicates: self.duplicates.saturating_sub(before.duplicates),
            jitter_ns: self.jitter_ns,
        }
    }
}

impl Less for Counts {
    fn less(&self, before: &Self) -> Self {
        Self {
            sent_bytes: self.sent_bytes - before.sent_bytes,
            sent_messages: self.sent_messages - before.sent_messages,
            received_bytes: self.received_bytes - before.received_bytes,
            received_messages: self.received_messages - before.received_messages,
        }
    }
}

impl Flow {
    pub(crate) fn new(number: u32, role: Role, arrivals: Option<Arrivals>) -> Rc<Self> {
        Rc::new(Self {
            number,
            role,
            stage: Cell::default(),
            place: Cell::default(),
            is_done: Cell::default(),
            has_ended: Cell::default(),
            news: Cell::default(),
            counts: Cell::default(),
            omitted: Cell::default(),
            before: Cell::default(),
            counts_from: Cell::default(),
            last: Cell::default(),
            arrivals: RefCell::new(arrivals),
            tcp_before: Cell::default(),
            tcp_last: Cell::default(),
        })
    }

    pub(crate) fn sent(&self, bytes: usize, messages: u64) {
        let mut counts = self.counts.get();
        counts.sent_bytes += bytes as u64;
        counts.sent_messages += messages;
        self.counts.set(counts);
    }

    pub(crate) fn received(&self, bytes: usize, messages: u64, at: Time) {
        let mut counts = self.counts.get();
        counts.received_bytes += bytes as u64;
        counts.received_messages += messages;
        self.counts.set(counts);
        self.last.set(at);
    }

    pub(crate) fn may_send(&self) -> bool {
        self.stage.get() == Stage::Going
    }

    pub(crate) fn done(&self) {
        if !self.is_done.replace(true) {
            self.news.set(true);
        }
    }

    pub(crate) fn ended(&self) {
        if !self.has_ended.replace(true) {
            self.news.set(true);
        }
    }

    /// Everything from the first byte on, omitted or not.
    pub(crate) fn all(&self) -> Counts {
        self.counts.get()
    }

    pub(crate) fn counted(&self) -> Counts {
        self.counts.get().less(&self.omitted.get())
    }

    /// Counting begins; `anew`, without what was counted before.
    pub(crate) fn begin(&self, now: Time, anew: bool) {
        self.counts_from.set(now);
        self.last.set(now);
        if !anew {
            return;
        }
        self.omitted.set(self.counts.get());
        self.before.set(self.counts.get());
        if let Some(arrivals) = &mut *self.arrivals.borrow_mut() {
            arrivals.omitted = DatagramCounts::default();
            arrivals.omitted = arrivals.counts();
            if let Some(delays) = &arrivals.delays {
                delays.borrow_mut().clear();
            }
        }
    }

    /// From when counting began until the last byte.
    pub(crate) fn elapsed(&self) -> Duration {
        self.last.get().since(self.counts_from.get())
    }

    /// Since the interval before.
    pub(crate) fn interval(&self) -> Counts {
        let now = self.counts.get();
        now.less(&self.before.replace(now))
    }

    pub(crate) fn datagrams(&self) -> Option<DatagramCounts> {
        self.arrivals.borrow().as_ref().map(Arrivals::counts)
    }

    /// The same at the end, when it is known how many were sent.
    pub(crate) fn datagrams_of(&self, sent: u64) -> Option<DatagramCounts> {
        let arrivals = self.arrivals.borrow();
        let arrivals = arrivals.as_ref()?;
        let lost = arrivals.sequence.lost_of(sent);
        Some(DatagramCounts {
            lost: lost.saturating_sub(arrivals.omitted.lost),
            ..arrivals.counts()
        })
    }

    /// Whether all of so many messages have come.
    pub(crate) fn has_all_of(&self, sent: u64) -> bool {
        let arrivals = self.arrivals.borrow();
        arrivals
            .as_ref()
            .is_none_or(|arrivals| arrivals.sequence.received_distinct() >= sent)
    }

    /// TCP_INFO of its connection, where this side sends; retransmissions since counting began.
    pub(crate) fn tcp(&self, context: &mut Context<'_>) -> Option<FlowTcp> {
        if let Some(now) = self.tcp_now(context) {
            self.tcp_last.set(Some(now));
        }
        // As it was, where the connection is gone.
        self.tcp_last.get()
    }

    fn tcp_now(&self, context: &mut Context<'_>) -> Option<FlowTcp> {
        if self.role != Role::Send {
            return None;
        }
        let Place::Stream(id) = self.place.get() else {
            return None;
        };
        let mut stream = context.stream(id)?;
        let info = stream.tcp()?.info().ok()?;
        let cwnd = u64::from(info.congestion_window()?) * u64::from(info.send_segment()?);
        Some(FlowTcp {
            retransmits: u64::from(info.retransmissions()?).saturating_sub(self.tcp_before.get()),
            rtt_ns: nanoseconds(info.rtt()?),
            rtt_variation_ns: nanoseconds(info.rtt_variance()?),
            cwnd_bytes: cwnd,
            delivery_bytes_per_s: info.delivery_rate(),
        })
    }

    /// Retransmissions so far are those of the time that does not count.
    pub(crate) fn omit_tcp(&self, context: &mut Context<'_>) {
        self.tcp_before.set(0);
        let so_far = self.tcp_now(context).map_or(0, |tcp| tcp.retransmits);
        self.tcp_before.set(so_far);
    }

    /// What the server says of it.
    pub(crate) fn report(&self, counts: Counts, tcp: Option<FlowTcp>) -> FlowReport {
        FlowReport {
            flow: self.number,
            counts,
            elapsed_ns: nanoseconds(self.elapsed()),
            datagrams: self.datagrams(),
            tcp,
        }
    }

    /// Has its socket look at it.
    pub(crate) fn wake(&self, context: &mut Context<'_>) {
        match self.place.get() {
            Place::Nowhere => {}
            Place::Stream(id) => {
                let _ = context.send_message(id, Box::new(Wake));
            }
            Place::Datagrams(id, key) => {
                context.datagrams(id).set_timer(Duration::ZERO, key);
            }
        }
    }

    /// Sets how far it is, and wakes it.
    pub(crate) fn go_to(&self, stage: Stage, context: &mut Context<'_>) {
        self.stage.set(stage);
        self.wake(context);
    }
}

/// For how many looks in a row nothing has happened: the other side is not there any more once there are too many.
#[derive(Debug, Default)]
pub(crate) struct Stillness {
    looks: u32,
    progress: u64,
}

impl Stillness {
    /// One more look: how many in a row have found nothing new.
    pub(crate) fn look(&mut self, flows: &[Rc<Flow>]) -> u32 {
        let progress = flows.iter().map(|flow| {
            let all = flow.all();
            all.sent_bytes + all.received_bytes + flow.stage.get() as u64
        });
        let before = std::mem::replace(&mut self.progress, progress.sum());
        self.looks = if self.progress == before {
            self.looks + 1
        } else {
            0
        };
        self.looks
    }

    /// Something else has happened.
    pub(crate) const fn broken(&mut self) {
        self.looks = 0;
    }
}

/// What the flow of that number does on the client; the server does the opposite.
pub(crate) fn role_of_client(parameters: &Parameters, number: u32) -> Role {
    match parameters.mode {
        _ if number == 0 => Role::Ask,
        Mode::Rr | Mode::Crr => Role::Ask,
        _ if parameters.is_down(number) => Role::Receive,
        Mode::Stream | Mode::Oneway => Role::Send,
    }
}

impl Role {
    pub(crate) const fn opposite(self) -> Self {
        match self {
            Self::Send => Self::Receive,
            Self::Receive => Self::Send,
            Self::Ask => Self::Answer,
            Self::Answer => Self::Ask,
        }
    }
}

/// What has to be known of messages that a flow receives.
pub(crate) fn arrivals_of(
    parameters: &Parameters,
    role: Role,
    delays: Option<&Rc<RefCell<Delays>>>,
) -> Option<Arrivals> {
    let is_numbered = parameters.transport.is_datagrams() || parameters.mode == Mode::Oneway;
    (role == Role::Receive && is_numbered).then(|| Arrivals {
        delays: delays.cloned(),
        ..Arrivals::default()
    })
}

/// Bytes of a message of that flow: round trips beside the load are small.
pub(crate) fn length_of(parameters: &Parameters, number: u32) -> usize {
    const PROBE: usize = 64;
    if number == 0 {
        return PROBE;
    }
    usize::try_from(parameters.length).unwrap_or(PROBE)
}

/// A duration as a number of the protocol.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
