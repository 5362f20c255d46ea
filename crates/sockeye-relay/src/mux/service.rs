//! The service that hands connections on.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use sockeye_event_loop::{
    CloseReason, Context, ListenerId, Stream, StreamId, StreamService, StreamServiceId, TimerId,
};

use super::pattern::Pattern;
use super::sniff::{Sniffed, Sniffer};

/// The timers of a connection.
const SILENCE: u64 = 0;
const DEADLINE: u64 = 1;

/// How long to look, and how far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MuxOptions {
    /// From the opening of a connection to the decision. Then what is sure so far holds; see [`Mux::otherwise`].
    pub deadline: Duration,
    /// Bytes after which no more are waited for. It has to be within the service's `Watermarks::max_tail`.
    pub max_bytes: usize,
}

impl Default for MuxOptions {
    /// Five seconds, 64 KiB.
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(5),
            max_bytes: 64 * 1024,
        }
    }
}

/// What became of connections.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MuxCounts {
    /// Handed on, by each rule in its order.
    pub rules: Vec<u64>,
    /// Handed on by [`Mux::when_silent`].
    pub silent: u64,
    /// Handed on by [`Mux::otherwise`].
    pub otherwise: u64,
    /// Reset: no rule claimed what they sent, and there is no default.
    pub unclaimed: u64,
    /// Reset: they had sent nothing by the deadline.
    pub late: u64,
    /// Ended before they had sent anything.
    pub ended: u64,
    /// Those of the others about which a rule still wanted more bytes, and the deadline, the end or `max_bytes` decided.
    pub cut_short: u64,
}

/// Looks at the first bytes of each connection and hands it on, bytes and all, to the service of the first rule that they
/// fit.
///
/// The next service finds everything as the client sent it, and its own `on_open` first. If a rule had to read the whole
/// ClientHello, that is attached to the connection: `stream.attached::<ClientHello>()`. A listener that is lost is told to the
/// service of [`otherwise`](Self::otherwise), without one to that of the last rule.
///
/// ```
/// use std::time::Duration;
/// use sockeye_event_loop::*;
/// use sockeye_relay::mux::{Mux, MuxOptions, Pattern, Verdict};
///
/// fn is_redis(bytes: &[u8]) -> Verdict {
///     match bytes {
///         [] => Verdict::More,
///         [b'*', ..] => Verdict::Yes,
///         _ => Verdict::No,
///     }
/// }
///
/// fn mux<S: StreamService>(web: ServiceHandle<S>, ssh: ServiceHandle<S>, redis: ServiceHandle<S>) -> Mux {
///     Mux::new(MuxOptions::default())
///         .rule(Pattern::server_names(["example.org", "*.example.org"]), web)
///         .rule(Pattern::http1(), web)
///         .rule(Pattern::Ssh, ssh)
///         .rule(Pattern::predicate(is_redis), redis)
///         // Some clients of SSH wait for the server's greeting.
///         .when_silent(Duration::from_millis(500), ssh)
/// }
/// ```
pub struct Mux {
    rules: Vec<Pattern>,
    services: Vec<StreamServiceId>,
    silent: Option<(Duration, StreamServiceId)>,
    otherwise: Option<StreamServiceId>,
    options: MuxOptions,
    counts: MuxCounts,
}

/// A connection about which nothing is decided yet.
#[derive(Debug)]
pub struct MuxConn {
    sniffer: Sniffer,
    silence: Option<TimerId>,
    deadline: Option<TimerId>,
    /// Whether it has sent anything.
    begun: bool,
    /// Whose it is if nothing more comes.
    so_far: Option<usize>,
}

impl Mux {
    /// Without rules.
    #[must_use]
    pub fn new(options: MuxOptions) -> Self {
        Self {
            rules: Vec::new(),
            services: Vec::new(),
            silent: None,
            otherwise: None,
            options,
            counts: MuxCounts::default(),
        }
    }

    /// Adds a rule behind the others: what fits `pattern`, and none of theirs, goes to `service`.
    #[must_use]
    pub fn rule(mut self, pattern: Pattern, service: impl Into<StreamServiceId>) -> Self {
        self.rules.push(pattern);
        self.services.push(service.into());
        self.counts.rules.push(0);
        self
    }

    /// Who has sent nothing for so long goes to `service`: for protocols in which the server speaks first.
    #[must_use]
    pub fn when_silent(mut self, after: Duration, service: impl Into<StreamServiceId>) -> Self {
        self.silent = Some((after, service.into()));
        self
    }

    /// What no rule claims goes to `service`. Without it, it is reset.
    #[must_use]
    pub fn otherwise(mut self, service: impl Into<StreamServiceId>) -> Self {
        self.otherwise = Some(service.into());
        self
    }

    /// What became of connections so far.
    #[must_use]
    pub fn counts(&self) -> &MuxCounts {
        &self.counts
    }

    /// Hands a connection to the service of a rule, or to the default.
    fn hand_on(&mut self, stream: &mut Stream<'_>, conn: &mut MuxConn, rule: Option<usize>) {
        conn.stop(stream);
        if let Some(hello) = conn.sniffer.take_hello() {
            stream.attach(Rc::new(hello));
        }
        let rule = rule.and_then(|nth| self.services.get(nth).zip(self.counts.rules.get_mut(nth)));
        let found = rule.or_else(|| self.otherwise.as_ref().zip(Some(&mut self.counts.otherwise)));
        give(stream, found, &mut self.counts.unclaimed);
    }
}

/// Gives a connection away and counts it; resets it if there is nobody to give it to.
fn give(stream: &mut Stream<'_>, to: Option<(&StreamServiceId, &mut u64)>, nobody: &mut u64) {
    if let Some((service, count)) = to
        && stream.switch_to(*service).is_ok()
    {
        *count += 1;
    } else {
        *nobody += 1;
        stream.abort();
    }
}

impl MuxConn {
    fn stop(&mut self, stream: &mut Stream<'_>) {
        for timer in [self.silence.take(), self.deadline.take()].into_iter().flatten() {
            stream.cancel_timer(timer);
        }
    }
}

impl StreamService for Mux {
    type Conn = MuxConn;

    fn on_open(&mut self, stream: &mut Stream<'_>) -> MuxConn {
        let silence = self
            .silent
            .as_ref()
            .map(|(after, _)| stream.set_timer(*after, SILENCE));
        MuxConn {
            sniffer: Sniffer::default(),
            silence,
            deadline: Some(stream.set_timer(self.options.deadline, DEADLINE)),
            begun: false,
            so_far: None,
        }
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, conn: &mut MuxConn, data: &mut [u8]) -> usize {
        conn.begun = true;
        if let Some(timer) = conn.silence.take() {
            stream.cancel_timer(timer);
        }
        match conn.sniffer.sniff(&self.rules, data) {
            Sniffed::Rule(nth) => self.hand_on(stream, conn, Some(nth)),
            Sniffed::Nobody => self.hand_on(stream, conn, None),
            Sniffed::More { so_far, .. } if data.len() >= self.options.max_bytes => {
                self.counts.cut_short += 1;
                self.hand_on(stream, conn, so_far);
            }
            Sniffed::More { needed, so_far } => {
                conn.so_far = so_far;
                stream.want(needed.min(self.options.max_bytes));
            }
        }
        // Every byte is for the next service.
        0
    }

    fn on_eof(&mut self, stream: &mut Stream<'_>, conn: &mut MuxConn) {
        if conn.begun {
            self.counts.cut_short += 1;
            self.hand_on(stream, conn, conn.so_far);
        } else {
            self.counts.ended += 1;
            stream.close();
        }
    }

    fn on_timer(&mut self, stream: &mut Stream<'_>, conn: &mut MuxConn, key: u64) {
        if conn.begun {
            self.counts.cut_short += 1;
            return self.hand_on(stream, conn, conn.so_far);
        }
        conn.stop(stream);
        // The deadline of one that is silent may come first.
        let silent = self.silent.as_ref().map(|(_, service)| service);
        let otherwise = self.otherwise.as_ref().filter(|_| key == DEADLINE);
        let counts = &mut self.counts;
        let found = match (silent, otherwise) {
            (Some(service), _) => Some((service, &mut counts.silent)),
            (None, Some(service)) => Some((service, &mut counts.otherwise)),
            (None, None) => None,
        };
        give(stream, found, &mut counts.late);
    }

    fn on_listener_lost(&mut self, context: &mut Context<'_>, listener: ListenerId, error: io::Error) {
        if let Some(service) = self.otherwise.or(self.services.last().copied()) {
            let _ = context.lose_listener_for(service, listener, error);
        }
    }

    fn on_close(&mut self, context: &mut Context<'_>, _: StreamId, conn: MuxConn, _: CloseReason) {
        for timer in [conn.silence, conn.deadline].into_iter().flatten() {
            context.cancel_timer(timer);
        }
    }
}

impl fmt::Debug for Mux {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mux")
            .field("rules", &self.rules)
            .field("when_silent", &self.silent.as_ref().map(|(after, _)| after))
            .field("otherwise", &self.otherwise.is_some())
            .field("options", &self.options)
            .field("counts", &self.counts)
            .finish()
    }
}
