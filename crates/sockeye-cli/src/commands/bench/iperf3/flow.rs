//! One stream of data of a test, on the side that counts it: what was sent or received, and how sending is kept going.

use std::cell::{Cell, OnceCell, RefCell};
use std::fs::File;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sockeye::event_loop::{DatagramId, Datagrams, Outgoing, Sent, Stream, StreamId, Time};
use sockeye::measure::iperf3::{DatagramCounter, DatagramCounts, DatagramHeader, Pacer, Parameters};

use super::super::client::figures::Direction;

/// Bytes that one callback sends before others get their turn.
const TURN_BYTES: u64 = 8 << 20;
/// Datagrams likewise, of a sender without a rate.
const TURN_DATAGRAMS: u64 = 256;
/// Bytes of datagrams that may leave at once. A sender that was kept from running has more to catch up with than a receiver's
/// buffer holds (212,992 bytes by default, of which a datagram takes more than its own).
const CATCH_UP: u64 = 64 * 1024;
/// The shortest pause of a sender that has sent what was due, unless the client names another one: as iperf3.
const PACING: Duration = Duration::from_millis(1);
/// The pause of a sender that has no rate and has had its turn: the next turn of the loop.
const NEXT_TURN: Duration = Duration::from_micros(1);

/// The loop's clock as the protocol's engines take it.
pub(super) const fn clock(now: Time) -> Duration {
    Duration::from_nanos(now.as_nanos())
}

/// Bytes that end a test, of all streams of one direction together.
#[derive(Debug, Default)]
pub(super) struct Amount {
    /// 0: none do.
    wanted: u64,
    moved: Cell<u64>,
}

impl Amount {
    pub(super) fn new(wanted: u64) -> Self {
        Self {
            wanted,
            moved: Cell::new(0),
        }
    }

    pub(super) fn is_reached(&self) -> bool {
        self.wanted > 0 && self.moved.get() >= self.wanted
    }

    /// The omitted beginning does not count.
    pub(super) fn reset(&self) {
        self.moved.set(0);
    }

    fn add(&self, bytes: u64) {
        self.moved.set(self.moved.get().saturating_add(bytes));
    }
}

/// Where a stream's data goes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    Connection(StreamId),
    /// A socket, and whom it exchanges datagrams with: by which address of this host, where it has several.
    Datagrams {
        socket: DatagramId,
        peer: SocketAddr,
        local: Option<IpAddr>,
    },
}

/// What was counted since the test began.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Totals {
    pub(super) bytes: u64,
    pub(super) messages: u64,
    pub(super) retransmits: u64,
    pub(super) datagrams: DatagramCounts,
}

impl Totals {
    pub(super) fn since(&self, earlier: &Self) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(earlier.bytes),
            messages: self.messages.saturating_sub(earlier.messages),
            retransmits: self.retransmits.saturating_sub(earlier.retransmits),
            datagrams: self.datagrams.since(&earlier.datagrams),
        }
    }
}

/// A stream that several services know.
pub(super) type SharedFlow = Rc<RefCell<Flow>>;

/// The stream of a connection or a source, once all streams of its test are there.
pub(super) type Slot = Rc<OnceCell<SharedFlow>>;

/// One stream.
#[derive(Debug)]
pub(super) struct Flow {
    /// By which number both sides name it.
    pub(super) id: u32,
    pub(super) direction: Direction,
    /// Whether this side sends.
    pub(super) sends: bool,
    pub(super) place: Place,
    /// Data flows.
    pub(super) is_active: bool,
    block: Arc<[u8]>,
    /// The same in a file, where it is to be sent without copying.
    file: Option<Arc<File>>,
    /// Of datagrams: the next one, header and payload.
    datagram: Vec<u8>,
    is_64: bool,
    pacer: Pacer,
    pacing: Duration,
    burst: u64,
    amount: Rc<Amount>,
    /// Taken by the loop for sending, or received.
    bytes: u64,
    messages: u64,
    counter: DatagramCounter,
    /// At the end of the last interval, and of the omitted beginning.
    pub(super) last: Totals,
    pub(super) omitted: Totals,
}

impl Flow {
    pub(super) fn new(
        (id, direction, sends): (u32, Direction, bool),
        place: Place,
        parameters: &Parameters,
        (block, file): (&Arc<[u8]>, Option<&Arc<File>>),
        amount: &Rc<Amount>,
    ) -> Self {
        let is_udp = matches!(place, Place::Datagrams { .. });
        let pacing = Duration::from_micros(parameters.pacing_timer);
        Self {
            id,
            direction,
            sends,
            place,
            is_active: false,
            block: Arc::clone(block),
            file: file.cloned(),
            datagram: if is_udp { block.to_vec() } else { Vec::new() },
            is_64: parameters.udp_counters_64bit,
            pacer: Pacer::new(parameters.bandwidth, Duration::ZERO),
            pacing: if pacing.is_zero() {
                PACING
            } else {
                pacing.min(PACING * 1000)
            },
            burst: parameters.burst.clamp(1, 1000),
            amount: Rc::clone(amount),
            bytes: 0,
            messages: 0,
            counter: DatagramCounter::new(),
            last: Totals::default(),
            omitted: Totals::default(),
        }
    }

    /// Data flows from now on.
    pub(super) fn begin(&mut self, now: Duration) {
        self.is_active = true;
        self.pacer = Pacer::new(self.pacer.bits_per_s(), now);
    }

    /// The omitted beginning is over.
    pub(super) fn omit(&mut self, totals: Totals) {
        self.omitted = totals;
        self.last = totals;
        self.counter.reset_jitter();
    }

    /// What was counted so far: without the bytes that wait in the loop, and with what the kernel has counted.
    pub(super) fn totals(&self, queued: usize, retransmits: u64) -> Totals {
        let bytes = self.bytes.saturating_sub(queued as u64);
        let messages = match self.place {
            Place::Connection(_) => bytes / (self.block.len() as u64).max(1),
            Place::Datagrams { .. } => self.messages,
        };
        Totals {
            bytes,
            messages,
            retransmits,
            datagrams: self.counter.counts(),
        }
    }

    pub(super) fn jitter(&self) -> Duration {
        self.counter.jitter()
    }

    /// Bytes of a connection have arrived. `true` once enough have.
    pub(super) fn received(&mut self, len: usize) -> bool {
        if !self.is_active {
            return false;
        }
        self.bytes += len as u64;
        self.amount.add(len as u64);
        self.amount.is_reached()
    }

    /// A datagram has arrived; one that has no room for a header is none of the test. `true` once enough have.
    pub(super) fn received_datagram(&mut self, datagram: &[u8], now: Duration) -> bool {
        if self.sends || !self.is_active {
            return false;
        }
        let Some(header) = DatagramHeader::parse(datagram, self.is_64) else {
            return false;
        };
        self.counter.received(&header, now);
        self.messages += 1;
        self.received(datagram.len())
    }

    /// Whether it has sent what was wanted.
    pub(super) fn has_enough(&self) -> bool {
        self.amount.is_reached()
    }

    /// Sends on a connection until the kernel is full, or nothing is due. `Some`: call again after so long; else the loop
    /// calls when there is room.
    pub(super) fn fill(&mut self, stream: &mut Stream<'_>) -> Option<Duration> {
        let len = self.block.len() as u64;
        let mut left = TURN_BYTES;
        while self.is_active && self.sends && !self.amount.is_reached() {
            if self.pacer.is_limited() && !self.pacer.may_send(clock(stream.now())) {
                return Some(self.pause(clock(stream.now())));
            }
            for _ in 0..self.burst {
                let sent = self.write_block(stream);
                if sent.is_taken() {
                    self.bytes += len;
                    self.pacer.sent(len);
                    self.amount.add(len);
                }
                match sent {
                    Sent::Sent => {}
                    Sent::Queued => {
                        stream.notify_writable();
                        return None;
                    }
                    // The loop calls when there is room, or the connection is gone.
                    Sent::Full | Sent::TooLarge | Sent::Gone => return None,
                }
                left = left.saturating_sub(len);
            }
            if left == 0 {
                return Some(NEXT_TURN);
            }
        }
        None
    }

    /// Sends one block.
    fn write_block(&self, stream: &mut Stream<'_>) -> Sent {
        match &self.file {
            Some(file) => stream.send_file(file, 0, self.block.len() as u64),
            None => stream.write_shared(&self.block),
        }
    }

    /// Sends datagrams until nothing is due, or the loop is full. `Some`: call again after so long.
    pub(super) fn fill_datagrams(&mut self, socket: &mut Datagrams<'_>) -> Option<Duration> {
        let Place::Datagrams { peer, local, .. } = self.place else {
            return None;
        };
        let mut left = self.turn_bytes();
        while self.is_active && self.sends && !self.amount.is_reached() {
            let now = clock(socket.exact_now());
            if !self.pacer.may_send(now) {
                return Some(self.pause(now));
            }
            for _ in 0..self.burst {
                let header = DatagramHeader {
                    sent_at: now,
                    number: self.messages + 1,
                };
                header.write(&mut self.datagram, self.is_64);
                let mut message = Outgoing::to(peer, &self.datagram);
                if let Some(local) = local {
                    message = message.source(local);
                }
                if !socket.send(&message).is_taken() {
                    return None;
                }
                let len = self.datagram.len() as u64;
                self.messages += 1;
                self.bytes += len;
                self.pacer.sent(len);
                self.amount.add(len);
                left = left.saturating_sub(len);
            }
            if left == 0 {
                let pause = if self.pacer.is_limited() {
                    self.pacing / 4
                } else {
                    NEXT_TURN
                };
                return Some(pause);
            }
        }
        None
    }

    /// Bytes of datagrams that one callback sends.
    fn turn_bytes(&self) -> u64 {
        if !self.pacer.is_limited() {
            return TURN_DATAGRAMS * self.datagram.len() as u64;
        }
        let pacing_us = u64::try_from(self.pacing.as_micros()).unwrap_or(u64::MAX);
        let due = self.pacer.bits_per_s() / 8 * pacing_us / 1_000_000;
        // Four times what is due, four times as often: whatever the rate, there is something to catch up with.
        due.saturating_mul(4).max(CATCH_UP)
    }

    /// Until something is due, and not so short that there would be a wake-up for each of many.
    fn pause(&self, now: Duration) -> Duration {
        self.pacer.next().saturating_sub(now).max(self.pacing)
    }
}

/// A block in a file that is in memory; `None` where the kernel gives none, and it is copied then.
pub(super) fn file(block: &[u8]) -> Option<Arc<File>> {
    let fd = rustix::fs::memfd_create("sockeye-bench", rustix::fs::MemfdFlags::CLOEXEC).ok()?;
    let mut file = File::from(fd);
    file.write_all(block).ok()?;
    Some(Arc::new(file))
}

/// A block to send: iperf3's receivers do not look at it.
pub(super) fn block(parameters: &Parameters) -> Arc<[u8]> {
    let len = usize::try_from(parameters.block()).unwrap_or_default();
    b"0123456789".iter().copied().cycle().take(len).collect()
}
