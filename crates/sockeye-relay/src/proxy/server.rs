//! The service that reads a header before another service gets the connection, and what is written in the other
//! direction.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use sockeye_endpoint::NetSet;
use sockeye_event_loop::{
    CloseReason, Context, ListenerId, Peer, Sent, ServiceHandle, Stream, StreamId, StreamService, TimerId,
};

use super::encode::{EncodeError, encode_v1, encode_v2};
use super::header::{Addresses, Header, Version};
use super::parse::{Invalid, ParseOptions, Parsed, parse};
use super::tlv::Tlv;

/// What becomes of a connection whose source may not send a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
pub enum Untrusted {
    /// It is reset before anything is read from it.
    #[default]
    Refuse,
    /// It gets to the inner service at once, with its own addresses. A header is then ordinary bytes, which that service
    /// has to refuse: for ports that relays and clients share.
    PassOn,
}

/// Whom to believe, and for how long to wait.
#[derive(Clone, PartialEq, Debug)]
pub struct ServerOptions {
    /// The relays: who connects from here has to send a header, and is believed.
    pub trusted: NetSet,
    /// Whether connections that have no IP address are trusted too: Unix sockets, whose permissions say who may connect,
    /// and pairs inside of the loop.
    pub trust_non_ip: bool,
    /// What becomes of the others.
    pub untrusted: Untrusted,
    /// How long a whole header may take from the opening of the connection.
    pub deadline: Duration,
    /// Bounds on it. `max_len` has to be within the service's `Watermarks::max_tail`.
    pub parse: ParseOptions,
}

impl ServerOptions {
    /// Trusts these networks; refuses all others; five seconds, 4 KiB.
    #[must_use]
    pub fn trusting(trusted: NetSet) -> Self {
        Self {
            trusted,
            trust_non_ip: false,
            untrusted: Untrusted::Refuse,
            deadline: Duration::from_secs(5),
            parse: ParseOptions::default(),
        }
    }
}

/// What became of connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ProxyCounts {
    /// Handed on with the addresses of their header.
    pub relayed: u64,
    /// Handed on with their own addresses, as the header asked: LOCAL, UNKNOWN.
    pub local: u64,
    /// Reset: an untrusted source.
    pub refused: u64,
    /// Handed on without a header: an untrusted source, by [`Untrusted::PassOn`].
    pub passed_on: u64,
    /// Reset: what they sent is no header.
    pub invalid: u64,
    /// Reset: no whole header by the deadline.
    pub late: u64,
    /// Ended before their header did.
    pub cut_short: u64,
}

/// Reads the header of each connection, then hands it on to another service of the loop.
///
/// A trusted source has to send a header: the specification forbids to guess whether there is one (section 4). Whoever is
/// not trusted is refused or passed on, as the options say. A connection that sends no valid header in time is reset. A
/// listener that is lost is told to the service behind.
///
/// ```
/// use sockeye_endpoint::NetSet;
/// use sockeye_event_loop::*;
/// use sockeye_relay::proxy::{self, ProxyServer, ServerOptions};
///
/// struct Greeter;
///
/// impl StreamService for Greeter {
///     type Conn = ();
///     fn on_open(&mut self, stream: &mut Stream<'_>) {
///         // The client's address, not the relay's.
///         let peer = stream.peer_addr();
///         let name = proxy::header_of(stream).and_then(|header| header.authority().map(str::to_owned));
///         let _ = stream.write(format!("hello {peer:?}, you asked for {name:?}\n").as_bytes());
///     }
///     fn on_data(&mut self, _: &mut Stream<'_>, _: &mut (), data: &mut [u8]) -> usize {
///         data.len()
///     }
/// }
///
/// fn serve<B: backend::Backend>(events: &mut EventLoop<B>) -> Result<ListenerId, Box<dyn std::error::Error>> {
///     let mut relays = NetSet::new();
///     relays.insert("10.0.0.0/8".parse()?);
///     let greeter = events.add_stream_service(Greeter, StreamOptions::default());
///     let server = ProxyServer::new(greeter, ServerOptions::trusting(relays));
///     let server = events.add_stream_service(server, StreamOptions::default());
///     Ok(events.listen(server, "[::]:8080".parse()?, &ListenOptions::default())?)
/// }
/// ```
#[derive(Debug)]
pub struct ProxyServer<S: StreamService> {
    inner: ServiceHandle<S>,
    options: ServerOptions,
    counts: ProxyCounts,
    last_invalid: Option<Invalid>,
}

impl<S: StreamService> ProxyServer<S> {
    /// In front of `inner`.
    #[must_use]
    pub fn new(inner: ServiceHandle<S>, options: ServerOptions) -> Self {
        Self {
            inner,
            options,
            counts: ProxyCounts::default(),
            last_invalid: None,
        }
    }

    /// What became of connections so far.
    #[must_use]
    pub fn counts(&self) -> ProxyCounts {
        self.counts
    }

    /// What was wrong with the last invalid header.
    #[must_use]
    pub fn last_invalid(&self) -> Option<Invalid> {
        self.last_invalid
    }

    /// Believes these options from now on; connections that have been opened keep theirs but the bounds on the header.
    pub fn set_options(&mut self, options: ServerOptions) {
        self.options = options;
    }

    fn is_trusted(&self, stream: &Stream<'_>) -> bool {
        match stream.peer() {
            // A listener for both families sees IPv4 in IPv6 form.
            Some(Peer::Ip(peer)) => self.options.trusted.contains(peer.ip().to_canonical()),
            Some(_) => self.options.trust_non_ip,
            None => false,
        }
    }

    fn hand_on(&self, stream: &mut Stream<'_>) {
        if stream.switch_to(self.inner).is_err() {
            // A handle of another loop: nobody else can have it.
            stream.abort();
        }
    }
}

impl<S: StreamService> StreamService for ProxyServer<S> {
    /// The timer of the header's deadline.
    type Conn = Option<TimerId>;

    fn on_open(&mut self, stream: &mut Stream<'_>) -> Option<TimerId> {
        if self.is_trusted(stream) {
            return Some(stream.set_timer(self.options.deadline, 0));
        }
        match self.options.untrusted {
            Untrusted::Refuse => {
                self.counts.refused += 1;
                stream.abort();
            }
            Untrusted::PassOn => {
                self.counts.passed_on += 1;
                self.hand_on(stream);
            }
        }
        None
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, deadline: &mut Self::Conn, data: &mut [u8]) -> usize {
        match parse(data, &self.options.parse) {
            Parsed::Incomplete { needed } => {
                stream.want(needed);
                0
            }
            Parsed::Header { consumed, header } => {
                if let Some(timer) = deadline.take() {
                    stream.cancel_timer(timer);
                }
                match &header.addresses {
                    Some(addresses) => {
                        self.counts.relayed += 1;
                        stream.answer_as(addresses.identity());
                    }
                    None => self.counts.local += 1,
                }
                stream.attach(Rc::new(header));
                self.hand_on(stream);
                consumed
            }
            Parsed::Invalid(invalid) => {
                self.counts.invalid += 1;
                self.last_invalid = Some(invalid);
                stream.abort();
                data.len()
            }
        }
    }

    fn on_eof(&mut self, stream: &mut Stream<'_>, _: &mut Self::Conn) {
        self.counts.cut_short += 1;
        stream.close();
    }

    fn on_timer(&mut self, stream: &mut Stream<'_>, _: &mut Self::Conn, _: u64) {
        self.counts.late += 1;
        stream.abort();
    }

    fn on_listener_lost(&mut self, context: &mut Context<'_>, listener: ListenerId, error: io::Error) {
        let _ = context.lose_listener_for(self.inner, listener, error);
    }

    fn on_close(&mut self, context: &mut Context<'_>, _: StreamId, deadline: Self::Conn, _: CloseReason) {
        if let Some(timer) = deadline {
            context.cancel_timer(timer);
        }
    }
}

/// The header that a connection came with, in the service that a [`ProxyServer`] handed it to, and in whatever that one
/// hands it to or carries on a pair.
#[must_use]
pub fn header_of(stream: &Stream<'_>) -> Option<Rc<Header>> {
    stream.attached()
}

/// Writes a header to a connection that was made for another one: the first that is written to it, in `on_open`.
///
/// `addresses` are those of the other connection ([`Addresses::of`]), or `None` if it is made for nobody, as in a health
/// check. TLVs and the checksum go with version 2 only.
///
/// # Errors
/// [`EncodeError`]; nothing is written then.
pub fn announce(
    stream: &mut Stream<'_>,
    version: Version,
    addresses: Option<&Addresses>,
    tlvs: &[Tlv<'_>],
    checksum: bool,
) -> Result<Sent, EncodeError> {
    let header = match version {
        Version::V1 => encode_v1(addresses),
        Version::V2 => encode_v2(addresses, tlvs, checksum)?,
    };
    Ok(stream.write(&header))
}
