//! A test that runs, on either side: its streams, its intervals, and what came of it.

use std::fs::File;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sockeye::event_loop::Context;
use sockeye::measure::iperf3::{Parameters, Results, StreamResults, stream_id};
use sockeye::measure::run::{Mode, Transport};

use super::super::client::figures::{
    Cpu, DatagramSample, Direction, FlowTotal, Interval, Outcome, Protocol, TcpSample,
};
use super::super::flows::cpu::CpuClock;
use super::flow::{self, Amount, Flow, Place, SharedFlow, Totals, block};

/// Shorter intervals are not told at the end of a test.
const SHORTEST: Duration = Duration::from_millis(50);

/// Which side counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

/// A block, and the file that has it.
type Block = (Arc<[u8]>, Option<Arc<File>>);

/// A test that runs.
#[derive(Debug)]
pub(super) struct Run {
    side: Side,
    pub(super) parameters: Parameters,
    pub(super) flows: Vec<SharedFlow>,
    /// What is sent, and for `-Z` the same in a file. Made with the first stream: a server makes none for a client that only
    /// says what it wants.
    block: Option<Block>,
    /// For each direction: up, down.
    amounts: [Rc<Amount>; 2],
    counts_from: Duration,
    last: Duration,
    is_omitting: bool,
    cpu: CpuClock,
    /// When it ended, and the processor time until then: user and system.
    ended: Option<(Duration, (Duration, Duration))>,
    /// When something was moved last, and how much that made.
    moved: (Duration, u64),
}

impl Run {
    /// A test of these parameters, which are within the limits.
    pub(super) fn new(side: Side, parameters: Parameters) -> Self {
        let wanted = match (side, parameters.num, parameters.blockcount) {
            // The client decides when it is enough.
            (Side::Server, ..) => 0,
            (Side::Client, 0, blocks) => blocks.saturating_mul(parameters.block()),
            (Side::Client, bytes, _) => bytes,
        };
        Self {
            side,
            block: None,
            parameters,
            flows: Vec::new(),
            amounts: [(); 2].map(|()| Rc::new(Amount::new(wanted))),
            counts_from: Duration::ZERO,
            last: Duration::ZERO,
            is_omitting: false,
            cpu: CpuClock::start(),
            ended: None,
            moved: (Duration::ZERO, 0),
        }
    }

    /// Adds the next stream.
    pub(super) fn add(&mut self, place: Place) -> SharedFlow {
        let index = u32::try_from(self.flows.len()).unwrap_or(u32::MAX);
        let server_sends = self.parameters.server_sends(index);
        let (direction, amount) = if server_sends {
            (Direction::Down, &self.amounts[1])
        } else {
            (Direction::Up, &self.amounts[0])
        };
        let sends = server_sends == (self.side == Side::Server);
        let which = (stream_id(index), direction, sends);
        let parameters = &self.parameters;
        let (block, file) = self.block.get_or_insert_with(|| {
            let block = block(parameters);
            let wants_file = parameters.zerocopy && parameters.tcp;
            let file = wants_file.then(|| flow::file(&block)).flatten();
            (block, file)
        });
        let flow = Flow::new(which, place, parameters, (block, file.as_ref()), amount);
        let flow = Rc::new(flow.into());
        self.flows.push(Rc::clone(&flow));
        flow
    }

    /// Data flows from now on.
    pub(super) fn begin(&mut self, now: Duration) {
        self.counts_from = now;
        self.last = now;
        self.moved.0 = now;
        self.is_omitting = self.parameters.omit > 0;
        self.cpu = CpuClock::start();
        for flow in &self.flows {
            flow.borrow_mut().begin(now);
        }
    }

    /// Whether data flows.
    pub(super) fn is_running(&self) -> bool {
        self.ended.is_none() && self.flows.iter().any(|flow| flow.borrow().is_active)
    }

    /// The omitted beginning is over: counting begins anew.
    pub(super) fn omit_over(&mut self, context: &mut Context<'_>, now: Duration) -> Vec<Interval> {
        let intervals = self.sample(context, now);
        for flow in &self.flows {
            let (totals, _) = totals(flow, context);
            flow.borrow_mut().omit(totals);
        }
        for amount in &self.amounts {
            amount.reset();
        }
        self.is_omitting = false;
        self.counts_from = now;
        self.cpu = CpuClock::start();
        intervals
    }

    pub(super) const fn is_omitting(&self) -> bool {
        self.is_omitting
    }

    /// Nothing is sent any more, and time stands still. What a server still receives was sent before, and counts.
    pub(super) fn end(&mut self, now: Duration) {
        if self.ended.is_none() {
            self.ended = Some((now, self.cpu.used()));
            for flow in &self.flows {
                let mut flow = flow.borrow_mut();
                flow.is_active = !flow.sends && self.side == Side::Server;
            }
        }
    }

    /// Whether enough was moved in one direction, and everything is out.
    pub(super) fn has_enough(&self, context: &mut Context<'_>) -> bool {
        if self.is_omitting || !self.amounts.iter().any(|amount| amount.is_reached()) {
            return false;
        }
        self.flows.iter().all(|flow| {
            let flow = flow.borrow();
            let waits = match flow.place {
                Place::Connection(id) => context.stream(id).is_some_and(|stream| stream.queued() > 0),
                Place::Datagrams { .. } => false,
            };
            // The other direction goes on until the end.
            !(flow.sends && flow.has_enough() && waits)
        })
    }

    /// How long nothing has moved.
    pub(super) fn still_for(&mut self, context: &mut Context<'_>, now: Duration) -> Duration {
        let bytes = self.flows.iter().map(|flow| totals(flow, context).0.bytes).sum();
        if bytes != self.moved.1 {
            self.moved = (now, bytes);
        }
        now.saturating_sub(self.moved.0)
    }

    /// Whether this side has received less on a connection than the other side has sent, once the test has ended. As long as
    /// something comes time goes on. With an omitted beginning, which each side cuts off by its own clock, what was omitted here
    /// stands for what may be missing.
    pub(super) fn is_short_of(&mut self, theirs: &Results, context: &mut Context<'_>, now: Duration) -> bool {
        let is_short = self.flows.iter().any(|flow| {
            let (totals, _) = totals(flow, context);
            let flow = flow.borrow();
            let sent = theirs.streams.iter().find(|stream| stream.id == flow.id);
            let is_connection = matches!(flow.place, Place::Connection(_));
            !flow.sends && is_connection && sent.is_some_and(|sent| totals.bytes < sent.bytes)
        });
        if is_short && self.still_for(context, now).is_zero() && self.ended.is_some() {
            self.ended = Some((now, self.cpu.used()));
        }
        is_short
    }

    /// Ends an interval: what each stream has moved in it.
    pub(super) fn sample(&mut self, context: &mut Context<'_>, now: Duration) -> Vec<Interval> {
        let from = self.last.saturating_sub(self.counts_from);
        let to = now.saturating_sub(self.counts_from);
        self.last = now;
        let flows = self.flows.iter();
        flows.map(|flow| interval(flow, context, (from, to))).collect()
    }

    /// Payload that has come to this side, and that it has sent, omitted or not.
    pub(super) fn moved_bytes(&self, context: &mut Context<'_>) -> (u64, u64) {
        self.flows.iter().fold((0, 0), |(received, sent), flow| {
            let bytes = totals(flow, context).0.bytes;
            match flow.borrow().sends {
                true => (received, sent + bytes),
                false => (received + bytes, sent),
            }
        })
    }

    /// The rest of the last interval, where it is worth telling.
    pub(super) fn rest(&mut self, context: &mut Context<'_>, now: Duration) -> Vec<Interval> {
        if now.saturating_sub(self.last) < SHORTEST {
            return Vec::new();
        }
        self.sample(context, now)
    }

    /// The time that counts, until now or the end.
    pub(super) fn time(&self, now: Duration) -> Duration {
        let until = self.ended.map_or(now, |(at, _)| at);
        until.saturating_sub(self.counts_from)
    }

    /// What this side has counted, for the other one.
    pub(super) fn results(&self, context: &mut Context<'_>, now: Duration) -> Results {
        let mut results = Results::default();
        let (user, system) = self.ended.map_or_else(Default::default, |(_, used)| used);
        let seconds = self.time(now).as_secs_f64().max(1e-9);
        let percent = |used: Duration| 100.0 * used.as_secs_f64() / seconds;
        results.cpu_util_user = percent(user);
        results.cpu_util_system = percent(system);
        results.cpu_util_total = percent(user + system);
        let mut sends_connections = None;
        for flow in &self.flows {
            let (totals, _) = totals(flow, context);
            let flow = flow.borrow();
            let counted = totals.since(&flow.omitted);
            let mut stream = StreamResults::new(flow.id);
            stream.bytes = counted.bytes;
            stream.end_time = self.time(now).as_secs_f64();
            match flow.place {
                Place::Connection(_) if flow.sends => {
                    stream.retransmits = Some(counted.retransmits);
                    sends_connections = Some(1);
                }
                Place::Connection(_) => {}
                Place::Datagrams { .. } if flow.sends => {
                    stream.packets = totals.messages;
                    stream.omitted_packets = flow.omitted.messages;
                    sends_connections = sends_connections.or(Some(0));
                }
                Place::Datagrams { .. } => {
                    stream.jitter_s = flow.jitter().as_secs_f64();
                    stream.packets = totals.datagrams.highest;
                    stream.omitted_packets = flow.omitted.datagrams.highest;
                    stream.errors = totals.datagrams.lost;
                    stream.omitted_errors = flow.omitted.datagrams.lost;
                }
            }
            results.streams.push(stream);
        }
        results.sender_has_retransmits = sends_connections;
        results
    }

    /// What came of it, from the results of both sides.
    pub(super) fn outcome(&self, target: String, ours: &Results, theirs: &Results, now: Duration) -> Outcome {
        let time = self.time(now);
        let (client, server) = match self.side {
            Side::Client => (ours, theirs),
            Side::Server => (theirs, ours),
        };
        let used = |percent: f64| {
            let used = Duration::try_from_secs_f64(time.as_secs_f64() * percent / 100.0);
            used.unwrap_or_default()
        };
        let cpu = |results: &Results| Cpu {
            user: used(results.cpu_util_user),
            system: used(results.cpu_util_system),
        };
        let transport = if self.parameters.udp {
            Transport::Udp
        } else {
            Transport::Tcp
        };
        // Version 3.12 also gives to others what one client has asked for.
        let text = theirs.server_output_text.clone();
        Outcome {
            protocol: Protocol::Iperf3,
            flows: self
                .flows
                .iter()
                .map(|flow| self.total(&flow.borrow(), (ours, theirs), time))
                .collect(),
            client_cpu: Some(cpu(client)),
            server_cpu: Some(cpu(server)),
            server_output: text.filter(|_| self.parameters.get_server_output),
            ..Outcome::empty(target, Mode::Stream.name(), transport.name())
        }
    }

    fn total(&self, flow: &Flow, (ours, theirs): (&Results, &Results), time: Duration) -> FlowTotal {
        let of = |results: &Results| {
            let found = results.streams.iter().find(|stream| stream.id == flow.id);
            found.copied().unwrap_or_else(|| StreamResults::new(flow.id))
        };
        let (sent, received) = if flow.sends {
            (of(ours), of(theirs))
        } else {
            (of(theirs), of(ours))
        };
        let elapsed = Duration::try_from_secs_f64(received.end_time - received.start_time);
        let mut total = FlowTotal {
            flow: flow.id,
            direction: flow.direction,
            sent_bytes: sent.bytes,
            sent_messages: 0,
            received_bytes: received.bytes,
            received_messages: 0,
            elapsed: elapsed.ok().filter(|time| !time.is_zero()).unwrap_or(time),
            retransmits: sent.retransmits,
            datagrams: None,
        };
        if let Place::Connection(_) = flow.place {
            let block = self.parameters.block().max(1);
            (total.sent_messages, total.received_messages) = (sent.bytes / block, received.bytes / block);
            return total;
        }
        let lost = received.errors.saturating_sub(received.omitted_errors);
        // Older versions do not say what they have omitted.
        let passed = received.packets.saturating_sub(received.omitted_packets);
        total.sent_messages = sent.packets.saturating_sub(sent.omitted_packets).max(passed);
        total.received_messages = passed.saturating_sub(lost);
        total.datagrams = Some(DatagramSample {
            lost,
            // The results do not have it: only the receiver itself knows.
            reordered: (!flow.sends).then(|| {
                let counted = flow.totals(0, 0).since(&flow.omitted);
                counted.datagrams.out_of_order
            }),
            duplicates: None,
            jitter: Duration::try_from_secs_f64(received.jitter_s).unwrap_or_default(),
        });
        total
    }
}

/// What a stream has moved so far, with what the kernel knows of its connection where this side sends.
fn totals(flow: &SharedFlow, context: &mut Context<'_>) -> (Totals, Option<TcpSample>) {
    let flow = flow.borrow();
    let Place::Connection(id) = flow.place else {
        return (flow.totals(0, 0), None);
    };
    let Some(mut stream) = context.stream(id).filter(|_| flow.sends) else {
        return (flow.totals(0, flow.last.retransmits), None);
    };
    let queued = stream.queued();
    let info = stream.tcp().and_then(|tcp| tcp.info().ok());
    let retransmits = info.as_ref().and_then(|info| info.retransmissions());
    let retransmits = retransmits.map_or(flow.last.retransmits, u64::from);
    let sample = info.and_then(|info| {
        Some(TcpSample {
            retransmits: 0,
            rtt: info.rtt()?,
            rtt_variation: info.rtt_variance()?,
            cwnd_bytes: u64::from(info.congestion_window()?) * u64::from(info.send_segment()?),
            delivery_bytes_per_s: info.delivery_rate(),
        })
    });
    (flow.totals(queued, retransmits), sample)
}

fn interval(flow: &SharedFlow, context: &mut Context<'_>, (from, to): (Duration, Duration)) -> Interval {
    let (totals, tcp) = totals(flow, context);
    let mut flow = flow.borrow_mut();
    let moved = totals.since(&flow.last);
    flow.last = totals;
    let is_receiver_of_datagrams = !flow.sends && matches!(flow.place, Place::Datagrams { .. });
    Interval {
        from,
        to,
        flow: flow.id,
        direction: flow.direction,
        bytes: moved.bytes,
        messages: moved.messages,
        tcp: tcp.map(|tcp| TcpSample {
            retransmits: moved.retransmits,
            ..tcp
        }),
        datagrams: is_receiver_of_datagrams.then(|| DatagramSample {
            lost: moved.datagrams.lost,
            reordered: Some(moved.datagrams.out_of_order),
            duplicates: None,
            jitter: flow.jitter(),
        }),
    }
}
