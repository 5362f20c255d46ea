//! The kernel as a backend: mio's poller, the sockets of the other crates, a timerfd.
//!
//! Which sockets there are is a matter of the features `tcp`, `udp` and `raw`; without one of them its
//! operations say that they are unsupported.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::SocketAddr;
#[cfg(any(feature = "tcp", feature = "udp", feature = "unix"))]
use std::os::fd::OwnedFd;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Poll};
#[cfg(feature = "unix")]
use sockeye_endpoint::UnixName;
use sockeye_socket::OpError;
use sockeye_socket::os::{TimerFd, monotonic_ns};

use crate::backend::{Backend, Readiness, Ready, SocketRef, Wake};
use crate::id::Token;
use crate::options::{ConnectOptions, DatagramOptions, ListenOptions, PacketOptions};
#[cfg(feature = "unix")]
use crate::options::{UnixDatagramOptions, UnixListenOptions};
use crate::time::Time;

mod absent;
#[cfg(any(feature = "udp", feature = "unix"))]
mod datagram;
#[cfg(feature = "link")]
mod link;
#[cfg(feature = "raw")]
mod packet;
#[cfg(any(feature = "tcp", feature = "unix"))]
mod stream;
#[cfg(feature = "tcp")]
mod tcp;
#[cfg(feature = "unix")]
mod unix;
#[cfg(feature = "unix")]
mod unix_datagram;

/// The kernel: the backend of every real loop.
pub struct Mio {
    poll: Poll,
    waker: Arc<MioWaker>,
    alarm: TimerFd,
    random: u64,
    /// Microseconds for which a socket's device is asked instead of its interrupt awaited.
    busy_poll: Option<u32>,
    #[cfg(feature = "signals")]
    signals: Option<signal_hook_mio::v1_0::Signals>,
}

// By hand: the signals have no `Debug`.
impl fmt::Debug for Mio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mio")
            .field("poll", &self.poll)
            .field("alarm", &self.alarm)
            .finish_non_exhaustive()
    }
}

/// Where signals are announced.
#[cfg(feature = "signals")]
const SIGNALS: Token = Token::new(Token::FIRST_SPECIAL_INDEX, 0);

impl Mio {
    /// A poller, a waker and a timer.
    ///
    /// # Errors
    /// `EMFILE` and its like: three descriptors are needed.
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(MioWaker(mio::Waker::new(poll.registry(), to_mio(Token::WAKE))?));
        let alarm = TimerFd::new()?;
        // Edge-triggered, each expiry is an event of its own: the timer never has to be read.
        poll.registry().register(
            &mut SourceFd(&alarm.as_raw_fd()),
            to_mio(Token::ALARM),
            Interest::READABLE,
        )?;
        let random = RandomState::new().build_hasher().finish();
        Ok(Self {
            poll,
            waker,
            alarm,
            random,
            busy_poll: None,
            #[cfg(feature = "signals")]
            signals: None,
        })
    }

    /// Delivers signals as events of the loop.
    #[cfg(feature = "signals")]
    pub(crate) fn listen_for_signals(&mut self, which: &[i32]) -> io::Result<()> {
        let mut signals = signal_hook_mio::v1_0::Signals::new(which)?;
        self.poll
            .registry()
            .register(&mut signals, to_mio(SIGNALS), Interest::READABLE)?;
        self.signals = Some(signals);
        Ok(())
    }
}

impl Mio {
    /// A signal came in between. If they come without end, the thread rests in between too.
    #[cold]
    fn poll_again(&mut self, events: &mut mio::Events, timeout: Option<Duration>) -> io::Result<()> {
        for interruptions in 1_u32.. {
            match self.poll.poll(events, timeout) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    if interruptions % 16 == 0 {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                }
                outcome => return outcome,
            }
        }
        Ok(())
    }
}

impl AsFd for Mio {
    /// The epoll descriptor: readable when the loop has something to do.
    fn as_fd(&self) -> BorrowedFd<'_> {
        sockeye_socket::os::poller_fd(&self.poll)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "Linux on 64-bit machines; checked below"
)]
#[inline]
const fn to_mio(token: Token) -> mio::Token {
    const { assert!(usize::BITS == 64, "a token is 64 bits") };
    mio::Token(token.to_u64() as usize)
}

fn set_busy_poll(socket: &SocketRef<'_, Mio>, microseconds: u32) {
    #[cfg(any(feature = "tcp", feature = "udp"))]
    use sockeye_socket::options::SO_BUSY_POLL;
    match socket {
        #[cfg(feature = "tcp")]
        SocketRef::Stream(stream) => {
            let _ = stream.socket().set(SO_BUSY_POLL, microseconds);
        }
        #[cfg(feature = "udp")]
        SocketRef::Datagram(datagram) => {
            use crate::backend::MessageIo as _;
            let _ = datagram
                .udp()
                .map(|udp| udp.socket().set(SO_BUSY_POLL, microseconds));
        }
        _ => {
            let _ = microseconds;
        }
    }
}

#[derive(Debug)]
struct MioWaker(mio::Waker);

impl Wake for MioWaker {
    fn wake(&self) {
        // It fails only when the eventfd's counter is full: then a wake-up is on its way already.
        let _ = self.0.wake();
    }
}

/// Walks over the events of a poll.
#[derive(Debug)]
pub struct MioEvents<'a>(mio::event::Iter<'a>);

impl Iterator for MioEvents<'_> {
    type Item = Ready;

    #[inline]
    fn next(&mut self) -> Option<Ready> {
        let event = self.0.next()?;
        // Without these there is no write end either: a hang-up is both.
        let flags = if event.is_error() || event.is_priority() || event.is_read_closed() {
            exceptional(event)
        } else {
            // READABLE and WRITABLE are the two lowest bits.
            Readiness(u32::from(event.is_readable()) | u32::from(event.is_writable()) << 1)
        };
        Some(Ready {
            token: Token::from_u64(event.token().0 as u64),
            flags,
        })
    }
}

/// The flags of an event that is more than readable and writable.
#[cold]
fn exceptional(event: &mio::event::Event) -> Readiness {
    [
        (event.is_readable(), Readiness::READABLE),
        (event.is_writable(), Readiness::WRITABLE),
        (event.is_read_closed(), Readiness::READ_CLOSED),
        (event.is_write_closed(), Readiness::WRITE_CLOSED),
        (event.is_error(), Readiness::ERROR),
        (event.is_priority(), Readiness::URGENT),
    ]
    .into_iter()
    .filter(|(is, _)| *is)
    .fold(Readiness::NONE, |flags, (_, flag)| flags.with(flag))
}

impl Backend for Mio {
    #[cfg(any(feature = "tcp", feature = "unix"))]
    type Listener = stream::KernelListener;
    #[cfg(not(any(feature = "tcp", feature = "unix")))]
    type Listener = absent::Absent;
    #[cfg(any(feature = "tcp", feature = "unix"))]
    type Stream = stream::KernelStream;
    #[cfg(not(any(feature = "tcp", feature = "unix")))]
    type Stream = absent::Absent;
    #[cfg(any(feature = "udp", feature = "unix"))]
    type Datagram = datagram::KernelDatagram;
    #[cfg(not(any(feature = "udp", feature = "unix")))]
    type Datagram = absent::Absent;
    #[cfg(feature = "link")]
    type Packet = link::KernelPacketOrFrame;
    #[cfg(all(feature = "raw", not(feature = "link")))]
    type Packet = packet::KernelPacket;
    #[cfg(not(feature = "raw"))]
    type Packet = absent::Absent;
    type Events = mio::Events;
    type EventIter<'a> = MioEvents<'a>;

    fn events(&self, capacity: usize) -> mio::Events {
        mio::Events::with_capacity(capacity)
    }

    fn iter(events: &mio::Events) -> MioEvents<'_> {
        MioEvents(events.iter())
    }

    #[inline]
    fn now(&self) -> Time {
        Time::from_nanos(monotonic_ns())
    }

    fn random(&mut self) -> u64 {
        // SplitMix64 (Steele, Lea, Flood 2014).
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    #[cfg(feature = "resolver")]
    fn source_of(&mut self, destination: SocketAddr) -> Option<std::net::IpAddr> {
        sockeye_resolver::source_of(destination)
    }

    #[inline]
    fn poll(&mut self, events: &mut mio::Events, block: bool) -> io::Result<()> {
        // The alarm bounds the wait: a poll timeout would be rounded to milliseconds.
        let timeout = if block { None } else { Some(Duration::ZERO) };
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.poll_again(events, timeout),
            outcome => outcome,
        }
    }

    fn spins(&mut self, how_long: Duration) -> bool {
        self.busy_poll = Some(u32::try_from(how_long.as_micros()).unwrap_or(u32::MAX).max(1));
        true
    }

    fn set_alarm(&mut self, at: Option<Time>) -> io::Result<()> {
        match at {
            // Zero would disarm it.
            Some(at) => self.alarm.arm_at_ns(at.as_nanos().max(1)),
            None => self.alarm.disarm(),
        }
    }

    fn waker(&self) -> Arc<dyn Wake> {
        Arc::clone(&self.waker) as Arc<dyn Wake>
    }

    fn register(&mut self, socket: SocketRef<'_, Self>, token: Token) -> io::Result<()> {
        // Both directions once and for good: registering again costs 13 % of an echo.
        if let Some(microseconds) = self.busy_poll {
            // More than `net.core.busy_read` needs CAP_NET_ADMIN: without it the loop spins alone.
            set_busy_poll(&socket, microseconds);
        }
        let registry = self.poll.registry();
        let both = Interest::READABLE.add(Interest::WRITABLE);
        match socket {
            SocketRef::Listener(socket) => registry.register(socket, to_mio(token), Interest::READABLE),
            // A read stops short at an urgent mark: only this event tells that from a socket that is empty.
            SocketRef::Stream(socket) => {
                registry.register(socket, to_mio(token), both.add(Interest::PRIORITY))
            }
            // Each datagram that leaves makes room in the kernel's buffer, which would be an event: a wake-up for each message
            // sent, when nothing waits for room.
            SocketRef::Datagram(socket) => registry.register(socket, to_mio(token), Interest::READABLE),
            SocketRef::Packet(socket) => registry.register(socket, to_mio(token), Interest::READABLE),
        }
    }

    fn watch_writable(&mut self, socket: SocketRef<'_, Self>, token: Token, on: bool) -> io::Result<()> {
        let registry = self.poll.registry();
        let interests = if on {
            Interest::READABLE.add(Interest::WRITABLE)
        } else {
            Interest::READABLE
        };
        match socket {
            SocketRef::Listener(_) | SocketRef::Stream(_) => Ok(()),
            SocketRef::Datagram(socket) => registry.reregister(socket, to_mio(token), interests),
            SocketRef::Packet(socket) => registry.reregister(socket, to_mio(token), interests),
        }
    }

    fn deregister(&mut self, socket: SocketRef<'_, Self>) -> io::Result<()> {
        let registry = self.poll.registry();
        match socket {
            SocketRef::Listener(socket) => registry.deregister(socket),
            SocketRef::Stream(socket) => registry.deregister(socket),
            SocketRef::Datagram(socket) => registry.deregister(socket),
            SocketRef::Packet(socket) => registry.deregister(socket),
        }
    }

    fn listen(&mut self, at: SocketAddr, options: &ListenOptions) -> Result<Self::Listener, OpError> {
        #[cfg(feature = "tcp")]
        return tcp::listen(at, options).map(stream::KernelListener::Tcp);
        #[cfg(not(feature = "tcp"))]
        return absent::without("tcp", at, options);
    }

    fn connect(&mut self, to: SocketAddr, options: &ConnectOptions) -> Result<Self::Stream, OpError> {
        #[cfg(feature = "tcp")]
        return tcp::connect(to, options).map(stream::KernelStream::Tcp);
        #[cfg(not(feature = "tcp"))]
        return absent::without("tcp", to, options);
    }

    #[cfg(feature = "unix")]
    fn listen_unix(&mut self, at: &UnixName, options: &UnixListenOptions) -> Result<Self::Listener, OpError> {
        unix::listen(at, options).map(stream::KernelListener::Unix)
    }

    #[cfg(any(feature = "tcp", feature = "unix"))]
    fn adopt_listener(&mut self, socket: OwnedFd) -> Result<Self::Listener, OpError> {
        stream::adopt_listener(socket)
    }

    #[cfg(feature = "udp")]
    fn adopt_datagram(
        &mut self,
        socket: OwnedFd,
        options: &DatagramOptions,
    ) -> Result<Self::Datagram, OpError> {
        datagram::adopt(socket, options)
    }

    #[cfg(feature = "unix")]
    fn connect_unix(&mut self, to: &UnixName, options: &ConnectOptions) -> Result<Self::Stream, OpError> {
        unix::connect(to, options).map(stream::KernelStream::Unix)
    }

    fn bind(&mut self, at: SocketAddr, options: &DatagramOptions) -> Result<Self::Datagram, OpError> {
        #[cfg(feature = "udp")]
        return datagram::bind(at, options);
        #[cfg(not(feature = "udp"))]
        return absent::without("udp", at, options);
    }

    #[cfg(feature = "unix")]
    fn bind_unix(&mut self, at: &UnixName, options: &UnixDatagramOptions) -> Result<Self::Datagram, OpError> {
        let socket = unix_datagram::bind(at, options)?;
        Ok(datagram::KernelDatagram::Unix(Box::new(socket)))
    }

    fn open_packet(&mut self, options: &PacketOptions) -> Result<Self::Packet, OpError> {
        #[cfg(feature = "link")]
        return packet::open(options).map(link::KernelPacketOrFrame::Packet);
        #[cfg(all(feature = "raw", not(feature = "link")))]
        return packet::open(options);
        #[cfg(not(feature = "raw"))]
        return absent::without("raw", SocketAddr::new(options.local, 0), options);
    }

    #[cfg(feature = "link")]
    fn open_link(&mut self, options: &crate::options::FrameOptions) -> io::Result<Self::Packet> {
        link::open(options)
    }

    #[cfg(feature = "signals")]
    fn take_signal(&mut self) -> Option<i32> {
        self.signals.as_mut().and_then(|signals| signals.pending().next())
    }

    #[cfg(feature = "tcp")]
    fn adopt(&mut self, stream: sockeye_tcp_stream::TcpStream) -> Option<Self::Stream> {
        Some(stream::KernelStream::Tcp(stream))
    }

    #[cfg(feature = "unix")]
    fn adopt_unix(&mut self, stream: sockeye_unix::UnixStream) -> Option<Self::Stream> {
        Some(stream::KernelStream::Unix(stream))
    }
}
