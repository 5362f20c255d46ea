//! The loop core: one turn after another, the same code on the kernel and in the simulation.
//!
//! [`Core`] has the services, [`Inner`] the sockets. A callback gets `Inner` as a [`Host`](crate::host::Host),
//! so that it can act on any connection at once, while its service is borrowed. Callbacks that its actions
//! cause wait in `Shared::pending`.
//!
//! | file | what |
//! |---|---|
//! | `link`, `listener`, `message`, `table` | what the loop keeps of a connection, a listener, a message socket; all of them |
//! | `turn` | one turn: events, left-over work, timers, remotes, deferred callbacks; panics |
//! | `read` | readiness to `on_data`; the fast path |
//! | `write` | writes, queue, watermarks |
//! | `life` | opening, closing, deadlines of a connection |
//! | `held` | reads and writes that are tried again later |
//! | `memory` | the budget for all that is queued and kept |
//! | `clock` | when something happened, without asking the clock |
//! | `accept` | connections in |
//! | `connect`, `attempts`, `lookup`, `race` | connections out: addresses one after another, names |
//! | `relay`, `pipes` | two connections joined |
//! | `pair` | pairs; connections that go from one service to another |
//! | `inbox`, `outbox`, `record` | datagrams and packets: what comes in; what callbacks send |
//! | `scratch` | the memory of a turn |
//! | `host` | what handles may ask |

use std::any::TypeId;
use std::collections::VecDeque;
use std::rc::Rc;

use sockeye_socket::{RecvBatch, SendBatch};

use crate::backend::Backend;
use crate::driver::{BatchPlace, Driver};
use crate::gather::Gather;
use crate::host::Due;
use crate::id::Token;
use crate::options::{LoopOptions, StreamOptions};
use crate::outcome::{CloseReason, ConnectFailure, Message, SendFailure};
use crate::remote::RemoteQueue;
use crate::stats::Stats;
use crate::time::Time;
use crate::wheel::Wheel;

mod accept;
#[cfg(any(feature = "tcp", feature = "unix"))]
mod adopt;
mod attempts;
mod clock;
mod connect;
mod held;
mod host;
mod inbox;
mod life;
mod link;
pub(crate) mod listener;
#[cfg(feature = "resolver")]
mod lookup;
mod memory;
pub(crate) mod message;
mod outbox;
mod pair;
mod pipes;
#[cfg(feature = "resolver")]
mod race;
mod read;
mod record;
mod relay;
pub(crate) mod scratch;
mod table;
mod turn;
mod write;

use table::Table;

/// A callback or a step of work that waits until the present callback has returned.
pub(crate) enum Pending {
    /// The queue has fallen: tell, and read on.
    Writable(Token),
    Message(Token, Message),
    ConnectFailed(u16, ConnectFailure),
    /// A connection was handed to the loop, or made in it: open it.
    Opened(Token),
    /// The socket is closed: `on_close`, then the place is free.
    Finish(Token),
    /// A datagram or packet socket is closed: `on_close`, then the place is free.
    SocketClosed(Token, CloseReason),
    /// A message that was sent from outside of its socket's callbacks did not leave.
    SendFailed(Token, SendFailure),
    /// A listener is of no use any more.
    ListenerLost(u16, Token, std::io::Error),
    /// The memory budget is nearly used up.
    Relieve,
    /// The connection was given to another service.
    Switch(Token, u16),
    /// The peer of a joined connection has ended its side.
    RelayEof(Token),
    /// A datagram socket was opened by a callback.
    SocketOpened(Token),
    /// The loop drains, and the service of a datagram socket has to know.
    SocketDrained(Token),
    /// A lookup of a service has a result.
    #[cfg(feature = "resolver")]
    Answered(u16, Box<sockeye_resolver::dns::Event>),
}

/// Bits of `Shared::duties`: one test tells a turn that there is nothing but events.
pub(crate) mod duty {
    /// The alarm fired: timers may be due.
    pub(crate) const TIMERS: u32 = 1;
    /// Commands wait in the remote queue.
    pub(crate) const COMMANDS: u32 = 2;
    /// `run` is to end.
    pub(crate) const STOP: u32 = 4;
    /// The loop drains.
    pub(crate) const DRAIN: u32 = 8;
    /// There are pairs, or were: they may have events.
    pub(crate) const PAIRS: u32 = 16;
    /// The loop asks again and again before it waits.
    pub(crate) const SPIN: u32 = 32;
    /// Datagram services have asked for the end of a turn.
    pub(crate) const TURN_ENDS: u32 = 64;
    /// What makes a turn return at once.
    pub(crate) const NOW: u32 = TIMERS | COMMANDS | TURN_ENDS;
}

/// Who is being called, in case it panics: if it is nobody else, the present connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Calling {
    Nobody,
    /// A connection's last callback.
    Close(Token),
    /// A service as a whole, or a message socket.
    Service,
}

/// What the core keeps for each stream service.
#[derive(Debug)]
pub(crate) struct ServiceSettings {
    pub(crate) options: Rc<StreamOptions>,
    /// Which type it is, if it is a stream service.
    pub(crate) streams: Option<TypeId>,
    /// Which type it is, if it is a datagram service.
    pub(crate) datagrams: Option<TypeId>,
    /// First ends of pairs that it has: what is carried by its connections.
    pub(crate) carried: usize,
}

/// The part of the loop that does not depend on the backend. In this order, which puts what each turn touches side by side:
/// a simulation of thousands of hosts finds none of it in the cache.
#[repr(C)]
pub(crate) struct Shared {
    /// The number of this turn.
    pub(crate) turn: u64,
    /// What the alarm is set to; `Time::MAX` when it is not.
    pub(crate) alarm: Time,
    /// What has to be looked at beside events: see `duty`.
    pub(crate) duties: u32,
    pub(crate) now_is_fresh: bool,
    /// The connection whose callback runs.
    pub(crate) current: Token,
    pub(crate) calling: Calling,
    pub(crate) pending: VecDeque<Pending>,
    /// Sockets with work left from this turn.
    pub(crate) ready: VecDeque<Token>,
    pub(crate) stats: Stats,
    pub(crate) timers: Wheel<Due>,
    pub(crate) now: Time,
    pub(crate) samples: clock::Samples,
    pub(crate) services: Vec<ServiceSettings>,
    pub(crate) connects: attempts::Connects,
    pub(crate) open_streams: usize,
    /// Of these, ends of pairs.
    pub(crate) open_ends: usize,
    /// Of these, what came through listeners apart.
    pub(crate) open_apart: usize,
    pub(crate) pairs: crate::pair::Events,
    /// A buffer that no end of a pair needs now; without capacity, if there is none.
    pub(crate) spare_end: Vec<u8>,
    /// Listeners that stopped for want of descriptors, memory or places.
    pub(crate) waiting_listeners: Vec<Token>,
    pub(crate) accept_timer: bool,
    pub(crate) held: held::Held,
    pub(crate) memory: memory::Memory,
    pub(crate) outbox: record::Outbox,
    /// Datagram sockets whose services have asked for the end of a turn, each once.
    pub(crate) turn_ends: VecDeque<Token>,
    /// Datagram sockets that a drain waits for.
    pub(crate) holding: usize,
}

/// Sockets, backend and what they share: what a callback acts on. In the order of [`Shared`]'s reason.
#[repr(C)]
pub(crate) struct Inner<B: Backend> {
    pub(crate) table: Table<B>,
    pub(crate) backend: B,
    pub(crate) shared: Shared,
    pub(crate) options: LoopOptions,
    /// For lookups, whose answers come from other threads.
    #[cfg(feature = "resolver")]
    pub(crate) remote: std::sync::Arc<RemoteQueue>,
    /// The client of the DNS; two services of the loop drive it.
    #[cfg(feature = "resolver")]
    pub(crate) names: crate::dns::Shared,
    /// For joined connections: pipes with nothing in them.
    pub(crate) pipes: pipes::Pipes,
    /// Scratch space for sending batches.
    pub(crate) sender: Option<Box<SendBatch>>,
    /// Bytes that the callbacks of one batch may have sent by copy.
    pub(crate) max_lent: usize,
}

/// How a turn waits for its events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wait {
    /// There is something to do now.
    No,
    Block,
    /// Asks again and again for a while, then waits.
    Spin,
}

/// What is called for a signal.
pub(crate) type OnSignal = Box<dyn FnMut(&mut crate::context::Context<'_>, i32)>;

/// Bytes of messages that may be recorded by copy before they are sent.
const MAX_LENT: usize = 4 * 1024 * 1024;

/// The loop without its event storage. In the order of [`Shared`]'s reason.
#[repr(C)]
pub(crate) struct Core<B: Backend> {
    pub(crate) inner: Inner<B>,
    pub(crate) drivers: Vec<Box<dyn Driver>>,
    /// The one read buffer: a short kept tail in front, `read_buffer` bytes behind it. Never cleared.
    pub(crate) buffer: Vec<u8>,
    /// `LoopOptions::read_buffer`, at least 1.
    pub(crate) read_size: usize,
    /// What the callback that runs has written in small pieces.
    pub(crate) out: Gather,
    /// What an end of a pair is offered: exchanged for what was written to it.
    pub(crate) inbound: Vec<u8>,
    pub(crate) budgets: turn::Budgets,
    pub(crate) inbox: Option<Box<RecvBatch>>,
    /// The batch that is being offered, should a callback panic in the middle.
    pub(crate) open_batch: Option<(Token, BatchPlace)>,
    pub(crate) remote: std::sync::Arc<RemoteQueue>,
    /// By when a drain has to be over.
    pub(crate) drain_by: Option<Time>,
    pub(crate) on_signal: Option<OnSignal>,
}

/// A service that there is none of. Not `u16::MAX`, which marks a free place.
#[cfg(feature = "tcp")]
pub(crate) const NO_SERVICE: u16 = u16::MAX - 1;

/// No socket: an index that no table reaches.
pub(crate) const NOBODY: Token = Token::new(u32::MAX - 8, u32::MAX);

impl<B: Backend> Core<B> {
    pub(crate) fn new(mut backend: B, options: LoopOptions) -> Self {
        let spins = !options.spin.is_zero() && backend.spins(options.spin);
        let now = backend.now();
        let remote = std::sync::Arc::new(RemoteQueue::new(backend.waker(), options.remote_capacity));
        let shared = Shared {
            now,
            now_is_fresh: false,
            turn: 0,
            samples: clock::Samples::default(),
            current: NOBODY,
            calling: Calling::Nobody,
            timers: Wheel::new(now),
            alarm: Time::MAX,
            duties: if spins { duty::SPIN } else { 0 },
            pending: VecDeque::new(),
            ready: VecDeque::new(),
            services: Vec::new(),
            connects: attempts::Connects::default(),
            open_streams: 0,
            open_ends: 0,
            open_apart: 0,
            pairs: crate::pair::Events::default(),
            spare_end: Vec::new(),
            waiting_listeners: Vec::new(),
            accept_timer: false,
            held: held::Held::default(),
            memory: memory::Memory::new(options.memory_budget),
            outbox: record::Outbox::default(),
            turn_ends: VecDeque::new(),
            holding: 0,
            stats: Stats::default(),
        };
        let read_size = options.read_buffer.max(1);
        Self {
            inner: Inner {
                backend,
                table: Table::new(),
                shared,
                options,
                #[cfg(feature = "resolver")]
                remote: std::sync::Arc::clone(&remote),
                #[cfg(feature = "resolver")]
                names: crate::dns::new_client(),
                pipes: pipes::Pipes::default(),
                sender: None,
                max_lent: MAX_LENT,
            },
            drivers: Vec::new(),
            buffer: Vec::new(),
            read_size,
            inbound: Vec::new(),
            out: Gather::default(),
            inbox: None,
            open_batch: None,
            remote,
            budgets: turn::Budgets::default(),
            drain_by: None,
            on_signal: None,
        }
    }

    /// Adds a service.
    pub(crate) fn add_streams(
        &mut self,
        driver: Box<dyn Driver>,
        options: StreamOptions,
        streams: Option<TypeId>,
    ) -> u16 {
        let index = self.drivers.len();
        assert!(
            index < usize::from(u16::MAX),
            "more than 65,534 services on one loop"
        );
        self.drivers.push(driver);
        self.inner.shared.services.push(ServiceSettings {
            options: Rc::new(options),
            streams,
            datagrams: None,
            carried: 0,
        });
        u16::try_from(index).unwrap_or(u16::MAX)
    }

    /// Adds a service for datagram sockets.
    pub(crate) fn add_datagrams(&mut self, driver: Box<dyn Driver>, kind: TypeId) -> u16 {
        let index = self.add_streams(driver, StreamOptions::default(), None);
        if let Some(settings) = self.inner.shared.services.last_mut() {
            settings.datagrams = Some(kind);
        }
        index
    }
}

impl Shared {
    #[inline]
    pub(crate) fn has(&self, duties: u32) -> bool {
        self.duties & duties != 0
    }

    /// How a turn begins when there is more to heed than events.
    #[cold]
    fn wait(&self) -> Wait {
        if self.has(duty::NOW) || !self.pairs.is_empty() {
            Wait::No
        } else if self.has(duty::SPIN) {
            Wait::Spin
        } else {
            Wait::Block
        }
    }

    /// Remembers a socket that has work left, unless it is remembered already.
    pub(crate) fn list(&mut self, link: &mut link::Link, token: Token) {
        if !link.is(link::state::LISTED) {
            link.set(link::state::LISTED);
            self.ready.push_back(token);
        }
    }
}
