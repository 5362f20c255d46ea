//! The clients of the benchmark: each sends a message, waits until it has come back, and sends the next one.
//!
//! Round trips are taken with the process's own clock at the moment of the send and of the receipt: the loop's
//! clock stands still within a turn, which is too coarse for a single round trip.

use std::io;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use hdrhistogram::Histogram;
use sockeye::event_loop::{
    CloseReason, ConnectFailure, ConnectFault, Context, Datagram, DatagramService, Datagrams, Packet,
    PacketService, Packets, Sent, Stream, StreamId, StreamService,
};

/// Longer round trips count as this long.
const LONGEST_NS: u64 = 60_000_000_000;
/// Three digits of each round trip are kept.
const DIGITS: u8 = 3;
/// A message without an answer for so long is taken for lost, and sent again.
const LOST_AFTER: Duration = Duration::from_millis(200);

/// When to count.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    /// Not counted: caches and buffers fill.
    pub(crate) warm_up: Duration,
    /// Counted.
    pub(crate) counted: Duration,
}

/// What the clients of one run have seen.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) round_trips: Histogram<u64>,
    pub(crate) messages: u64,
    pub(crate) lost: u64,
    counts_from: Option<Instant>,
    pub(crate) time: Duration,
    span: Span,
    failure: Option<String>,
}

impl Tally {
    /// An empty one.
    ///
    /// # Errors
    /// None in practice: the bounds are constants.
    pub(crate) fn new(span: Span) -> anyhow::Result<Self> {
        let round_trips = Histogram::new_with_max(LONGEST_NS, DIGITS).context("make a histogram")?;
        Ok(Self {
            round_trips,
            messages: 0,
            lost: 0,
            counts_from: None,
            time: Duration::ZERO,
            span,
            failure: None,
        })
    }

    /// What was counted.
    ///
    /// # Errors
    /// What ended the run early.
    pub(crate) fn finish(&mut self) -> anyhow::Result<Self> {
        if let Some(failure) = self.failure.take() {
            bail!(failure);
        }
        Ok(std::mem::replace(self, Self::new(self.span)?))
    }

    fn came_back(&mut self, sent_at: Instant) {
        if self.counts_from.is_some() {
            let ns = u64::try_from(sent_at.elapsed().as_nanos()).unwrap_or(LONGEST_NS);
            self.round_trips.saturating_record(ns);
            self.messages += 1;
        }
    }

    fn begin(&mut self) {
        self.counts_from = Some(Instant::now());
    }

    fn end(&mut self) {
        self.time = self.counts_from.map_or(Duration::ZERO, |begun| begun.elapsed());
    }

    fn fail(&mut self, failure: String) {
        self.failure.get_or_insert(failure);
    }
}

/// The keys of the timers of both clients.
const BEGIN: u64 = 0;
const END: u64 = 1;
const LOOK_FOR_LOST: u64 = 2;

/// One message under way on each of its connections.
#[derive(Debug)]
pub(crate) struct StreamLoad {
    payload: Vec<u8>,
    pub(crate) tally: Tally,
}

/// The message of one connection.
#[derive(Debug)]
pub(crate) struct UnderWay {
    sent_at: Instant,
    missing: usize,
}

impl StreamLoad {
    pub(crate) fn new(size: usize, tally: Tally) -> Self {
        Self {
            payload: vec![b's'; size],
            tally,
        }
    }

    /// Sets the clock of the run; the connections are started by their `on_open`.
    pub(crate) fn start(&mut self, context: &mut Context<'_>) {
        context.set_timer(self.tally.span.warm_up, BEGIN);
    }

    fn send(&mut self, stream: &mut Stream<'_>) -> UnderWay {
        let sent_at = Instant::now();
        // One message is under way, so the queue is empty.
        let _ = stream.write(&self.payload);
        UnderWay {
            sent_at,
            missing: self.payload.len(),
        }
    }
}

impl StreamService for StreamLoad {
    type Conn = UnderWay;

    fn on_open(&mut self, stream: &mut Stream<'_>) -> UnderWay {
        self.send(stream)
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, message: &mut UnderWay, data: &mut [u8]) -> usize {
        message.missing = message.missing.saturating_sub(data.len());
        if message.missing == 0 {
            self.tally.came_back(message.sent_at);
            *message = self.send(stream);
        }
        data.len()
    }

    fn on_service_timer(&mut self, context: &mut Context<'_>, key: u64) {
        if key == BEGIN {
            self.tally.begin();
            // Set only now: a loop that was kept from running counts for as long all the same.
            context.set_timer(self.tally.span.counted, END);
        } else {
            self.tally.end();
            context.stop();
        }
    }

    fn on_connect_error(&mut self, context: &mut Context<'_>, failure: ConnectFailure) {
        let mut said = failure.to_string();
        if matches!(&failure.cause, ConnectFault::Failed(error) if error.kind() == io::ErrorKind::NetworkUnreachable)
        {
            said.push_str(" (is the loopback up? ip link set lo up)");
        }
        self.tally.fail(said);
        context.stop();
    }

    fn on_close(
        &mut self,
        context: &mut Context<'_>,
        _id: StreamId,
        _message: UnderWay,
        reason: CloseReason,
    ) {
        if !matches!(reason, CloseReason::LoopEnded) {
            self.tally.fail(format!("a connection ended: {reason}"));
            context.stop();
        }
    }
}

/// Bytes at the beginning of a message: the run it belongs to, and its number.
pub(crate) const HEADER_LEN: usize = 16;

/// The header of a message: `run` and `number`, little-endian, so that what a former run or a neighbour has
/// sent is not taken for an answer.
fn header(run: u64, number: u64) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    let (first, second) = header.split_at_mut(8);
    first.copy_from_slice(&run.to_le_bytes());
    second.copy_from_slice(&number.to_le_bytes());
    header
}

/// The number in a message of this run.
fn number_of(run: u64, message: &[u8]) -> Option<u64> {
    let (first, rest) = message.split_first_chunk::<8>()?;
    let (second, _) = rest.split_first_chunk::<8>()?;
    (u64::from_le_bytes(*first) == run).then(|| u64::from_le_bytes(*second))
}

/// A window of messages under way on one datagram or packet socket.
#[derive(Debug)]
pub(crate) struct MessageLoad {
    to: std::net::SocketAddr,
    payload: Vec<u8>,
    run: u64,
    next: u64,
    /// The messages under way: number and time. A message's place is that of the one it follows.
    window: Vec<(u64, Instant)>,
    pub(crate) tally: Tally,
}

impl MessageLoad {
    pub(crate) fn new(to: std::net::SocketAddr, size: usize, in_flight: usize, tally: Tally) -> Self {
        let window = vec![(u64::MAX, Instant::now()); in_flight];
        Self {
            to,
            payload: vec![b's'; size.max(HEADER_LEN)],
            run: 0,
            next: 0,
            window,
            tally,
        }
    }

    fn open(&mut self, socket: &mut Datagrams<'_>) {
        self.run = socket.random();
        socket.set_timer(self.tally.span.warm_up, BEGIN);
        socket.set_timer(LOST_AFTER, LOOK_FOR_LOST);
        for place in 0..self.window.len() {
            self.send(socket, place);
        }
    }

    fn send(&mut self, socket: &mut Datagrams<'_>, place: usize) {
        // The number says its place, so that an answer finds it without a search.
        let number = self.next * self.window.len() as u64 + place as u64;
        self.next += 1;
        if let Some(room) = self.payload.first_chunk_mut() {
            *room = header(self.run, number);
        }
        if let Some(message) = self.window.get_mut(place) {
            *message = (number, Instant::now());
        }
        if socket.send_to(&self.payload, self.to) == Sent::Gone {
            self.tally.fail("the socket is gone".to_owned());
            socket.context().stop();
        }
    }

    fn answer(&mut self, socket: &mut Datagrams<'_>, message: &[u8]) {
        let Some(number) = number_of(self.run, message) else {
            return;
        };
        let Ok(place) = usize::try_from(number % self.window.len() as u64) else {
            return;
        };
        if let Some((expected, sent_at)) = self.window.get(place).copied()
            && expected == number
        {
            self.tally.came_back(sent_at);
            self.send(socket, place);
        }
    }

    fn timer(&mut self, socket: &mut Datagrams<'_>, key: u64) {
        match key {
            BEGIN => {
                self.tally.begin();
                socket.set_timer(self.tally.span.counted, END);
            }
            END => {
                self.tally.end();
                socket.context().stop();
            }
            _ => {
                for place in 0..self.window.len() {
                    if self
                        .window
                        .get(place)
                        .is_some_and(|(_, sent_at)| sent_at.elapsed() > LOST_AFTER)
                    {
                        self.tally.lost += 1;
                        self.send(socket, place);
                    }
                }
                socket.set_timer(LOST_AFTER, LOOK_FOR_LOST);
            }
        }
    }
}

impl DatagramService for MessageLoad {
    fn on_open(&mut self, socket: &mut Datagrams<'_>) {
        self.open(socket);
    }

    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        self.answer(socket, datagram.data);
    }

    fn on_timer(&mut self, socket: &mut Datagrams<'_>, key: u64) {
        self.timer(socket, key);
    }
}

impl PacketService for MessageLoad {
    fn on_open(&mut self, socket: &mut Packets<'_>) {
        self.open(socket);
    }

    fn on_packet(&mut self, socket: &mut Packets<'_>, packet: Packet<'_>) {
        self.answer(socket, packet.data);
    }

    fn on_timer(&mut self, socket: &mut Packets<'_>, key: u64) {
        self.timer(socket, key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_another_run_is_no_answer() {
        let mut message = header(7, 42).to_vec();
        message.extend(b"payload");
        assert_eq!(number_of(7, &message), Some(42));
        assert_eq!(number_of(8, &message), None);
        assert_eq!(number_of(7, &message[..HEADER_LEN - 1]), None);
    }

    #[test]
    fn only_what_comes_back_in_the_counted_time_counts() {
        let span = Span {
            warm_up: Duration::ZERO,
            counted: Duration::ZERO,
        };
        let mut tally = Tally::new(span).unwrap();
        tally.came_back(Instant::now());
        assert_eq!(tally.messages, 0);
        tally.begin();
        tally.came_back(Instant::now());
        tally.end();
        let counted = tally.finish().unwrap();
        assert_eq!((counted.messages, counted.round_trips.len()), (1, 1));
        tally.fail("a connection ended: reset".to_owned());
        assert_eq!(
            tally.finish().unwrap_err().to_string(),
            "a connection ended: reset"
        );
    }
}
