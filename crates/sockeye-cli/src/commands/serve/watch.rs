//! What whoever runs a server has to know: that connections wait, that answers are withheld, that a socket is lost.
//!
//! Lost sockets are told by the loop. For the rest a loop's own watch looks once a second, so that nothing is paid for it
//! while messages are served. What it says is limited: one line of a kind in ten seconds, whatever happens.

use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sockeye::endpoint::Address;
use sockeye::event_loop::{
    CloseReason, Context, Datagram, DatagramId, DatagramService, Datagrams, EventLoop, ListenerId, Remote,
    Stats, Stream, StreamId, StreamOptions, StreamService, Time,
};

use super::counts::{AtAddress, Counts};
use crate::output::warn;
use crate::services::Sends;

/// How often a watch looks.
const EVERY: Duration = Duration::from_secs(1);
/// The pause after a line before another one of its kind.
const QUIET: Duration = Duration::from_secs(10);

/// What is said no more often than the pause allows.
#[derive(Debug, Clone, Copy)]
pub(super) enum Notice {
    Descriptors,
    Connections,
    Withheld,
    Handshake,
}

/// What all loops of the program share.
#[derive(Debug)]
pub(super) struct Shared {
    /// Sockets that still serve, of all loops.
    serving: AtomicUsize,
    /// Ends the main loop when there are none.
    main: Remote,
    /// When each notice was given last, in nanoseconds of the loops' clock; 0 for never.
    told_ns: [AtomicU64; 4],
    /// What is counted.
    pub(super) counts: Counts,
}

impl Shared {
    pub(super) fn new(main: Remote) -> Arc<Self> {
        Arc::new(Self {
            serving: AtomicUsize::new(0),
            main,
            told_ns: Default::default(),
            counts: Counts::default(),
        })
    }

    /// Whether every socket is lost.
    pub(super) fn is_over(&self) -> bool {
        self.serving.load(Ordering::Relaxed) == 0
    }

    /// Says a line unless one of its kind was said a moment ago.
    pub(super) fn tell(&self, notice: Notice, now: Time, line: impl FnOnce() -> String) {
        let told = &self.told_ns[notice as usize];
        let (last_ns, now_ns) = (told.load(Ordering::Relaxed), now.as_nanos());
        let is_due = last_ns == 0 || now.since(Time::from_nanos(last_ns)) >= QUIET;
        // Of two loops that would say it at the same time one does.
        if is_due
            && told
                .compare_exchange(last_ns, now_ns, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            warn(format_args!("sockeye: serve: {}", line()));
        }
    }

    fn lost(&self, address: &Address, why: &dyn std::fmt::Display) {
        warn(format_args!(
            "sockeye: serve: {address} is lost: its socket failed ({why}), and nothing is served there any more"
        ));
        if self.serving.fetch_sub(1, Ordering::Relaxed) == 1 {
            // It fails when the loop has ended by itself.
            let _ = self.main.stop();
        }
    }
}

/// Looks after one loop.
#[derive(Debug)]
struct Watch {
    shared: Arc<Shared>,
    max_connections: usize,
    back_offs: u64,
    /// Where the loop's counters are to be read by others.
    published: Arc<Mutex<Stats>>,
}

/// Has a loop watched.
pub(super) fn start(events: &mut EventLoop, shared: &Arc<Shared>, max_connections: usize) {
    let watch = Watch {
        shared: Arc::clone(shared),
        max_connections,
        back_offs: 0,
        published: shared.counts.of_loop(),
    };
    let service = events.add_stream_service(watch, StreamOptions::default());
    events.with(service, |_, context| context.set_timer(EVERY, 0));
}

impl StreamService for Watch {
    type Conn = ();

    fn on_open(&mut self, _: &mut Stream<'_>) {}

    fn on_data(&mut self, _: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        data.len()
    }

    fn on_service_timer(&mut self, context: &mut Context<'_>, _key: u64) {
        let (stats, now) = (context.stats(), context.now());
        *self.published.lock().unwrap_or_else(PoisonError::into_inner) = stats;
        if stats.accept_back_offs > self.back_offs {
            self.back_offs = stats.accept_back_offs;
            self.shared.tell(Notice::Descriptors, now, no_descriptor);
        }
        if usize::try_from(stats.open).is_ok_and(|open| open >= self.max_connections) {
            self.shared.tell(Notice::Connections, now, || {
                "as many connections as --max-connections allows: others wait until one ends".to_owned()
            });
        }
        context.set_timer(EVERY, 0);
    }
}

/// A service whose sockets are told of when they are lost. `I` names a socket.
#[derive(Debug)]
pub(super) struct Watched<S, I> {
    service: S,
    shared: Arc<Shared>,
    sockets: Vec<(I, Address, Arc<AtAddress>)>,
    /// What comes by none of these, by its port: streams of QUIC.
    carried: Vec<(u16, Arc<AtAddress>)>,
}

/// A connection: the service's state, and where it is counted.
#[derive(Debug)]
pub(super) struct Counted<C> {
    conn: C,
    at: Arc<AtAddress>,
}

impl<S, I: PartialEq> Watched<S, I> {
    pub(super) fn new(service: S, shared: &Arc<Shared>) -> Self {
        Self {
            service,
            shared: Arc::clone(shared),
            sockets: Vec::new(),
            carried: Vec::new(),
        }
    }

    /// Streams that are carried to that port are served from now on.
    #[cfg(feature = "quic")]
    pub(super) fn add_carried(&mut self, port: u16, address: Address) {
        self.shared.serving.fetch_add(1, Ordering::Relaxed);
        self.carried.push((port, self.shared.counts.at(address)));
    }

    /// Where what comes by another port is counted.
    fn counts_at(&self, port: Option<u16>) -> Option<&Arc<AtAddress>> {
        let mut carried = self.carried.iter();
        carried.find(|(at, _)| Some(*at) == port).map(|(_, at)| at)
    }

    /// The socket serves from now on.
    pub(super) fn add(&mut self, id: I, address: Address) {
        self.shared.serving.fetch_add(1, Ordering::Relaxed);
        self.sockets.push((id, address, self.shared.counts.at(address)));
    }

    /// Where what comes by a socket is counted.
    fn counts(&self, id: Option<I>) -> Option<&Arc<AtAddress>> {
        // There are few sockets.
        let mut sockets = self.sockets.iter();
        sockets
            .find(|(socket, ..)| Some(socket) == id.as_ref())
            .map(|(.., at)| at)
    }

    fn lost(&mut self, id: &I, why: &dyn std::fmt::Display) {
        if let Some(place) = self.sockets.iter().position(|(socket, ..)| socket == id) {
            let (_, address, _) = self.sockets.swap_remove(place);
            self.shared.lost(&address, why);
        }
    }
}

/// The callbacks that the small services have.
impl<S: StreamService + Sends> StreamService for Watched<S, ListenerId> {
    type Conn = Counted<S::Conn>;

    fn on_open(&mut self, stream: &mut Stream<'_>) -> Self::Conn {
        // Of a listener that was lost meanwhile nothing is told any more.
        let counts = self.counts(stream.listener());
        let port = || stream.local_addr().ok().map(|at| at.port());
        let at = counts
            .or_else(|| self.counts_at(port()))
            .map(Arc::clone)
            .unwrap_or_default();
        at.opened.add(1);
        let conn = self.service.on_open(stream);
        at.sent_bytes.add(self.service.sent(0).0);
        Counted { conn, at }
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, conn: &mut Self::Conn, data: &mut [u8]) -> usize {
        let consumed = self.service.on_data(stream, &mut conn.conn, data);
        conn.at.received_bytes.add(consumed as u64);
        conn.at.sent_bytes.add(self.service.sent(consumed).0);
        consumed
    }

    fn on_writable(&mut self, stream: &mut Stream<'_>, conn: &mut Self::Conn) {
        self.service.on_writable(stream, &mut conn.conn);
        conn.at.sent_bytes.add(self.service.sent(0).0);
    }

    fn on_eof(&mut self, stream: &mut Stream<'_>, conn: &mut Self::Conn) {
        self.service.on_eof(stream, &mut conn.conn);
    }

    fn on_listener_lost(&mut self, _: &mut Context<'_>, listener: ListenerId, error: io::Error) {
        self.lost(&listener, &error);
    }

    fn on_close(&mut self, _: &mut Context<'_>, _: StreamId, conn: Self::Conn, _: CloseReason) {
        conn.at.closed.add(1);
    }
}

impl<S: DatagramService + Sends> DatagramService for Watched<S, DatagramId> {
    fn on_open(&mut self, socket: &mut Datagrams<'_>) {
        self.service.on_open(socket);
    }

    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        let (id, len) = (socket.id(), datagram.data.len());
        self.service.on_datagram(socket, datagram);
        let (bytes, datagrams) = self.service.sent(len);
        if let Some(at) = self.counts(Some(id)) {
            at.received_datagrams.add(1);
            at.received_bytes.add(len as u64);
            at.sent_datagrams.add(datagrams);
            at.sent_bytes.add(bytes);
        }
    }

    fn on_batch_complete(&mut self, socket: &mut Datagrams<'_>) {
        self.service.on_batch_complete(socket);
    }

    fn on_timer(&mut self, socket: &mut Datagrams<'_>, key: u64) {
        self.service.on_timer(socket, key);
    }

    fn on_close(&mut self, _: &mut Context<'_>, id: DatagramId, reason: CloseReason) {
        if !matches!(reason, CloseReason::LoopEnded) {
            self.lost(&id, &reason);
        }
    }
}

fn no_descriptor() -> String {
    let limit = sockeye::socket::os::nofile_limit().map_or_else(
        |_| String::new(),
        |(soft, _)| format!(" (this process may have {soft} descriptors: ulimit -n)"),
    );
    format!("no descriptor or no memory is left for another connection: they wait until one ends{limit}")
}
