//! What handles ask of the loop, without its backend in the types: so a service compiles once for both worlds.

use std::any::Any;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sockeye_endpoint::UnixName;
use sockeye_socket::{OpError, Outgoing};

use crate::connect::{ConnectId, ConnectRequest};
use crate::id::{ServiceKey, TimerId, Token};
#[cfg(feature = "resolver")]
use crate::names::HostNames;
use crate::options::{
    DatagramOptions, Deadlines, ListenOptions, PairOptions, StreamOption, UnixListenOptions, Watermarks,
};
use crate::outcome::{ConnectFailure, Deadline, Identity, Message, PairError, Peer, Sent, SwitchError};
use crate::stats::Stats;
use crate::time::Time;

/// Whom a timer is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Due {
    /// A callback of a connection.
    Stream {
        token: Token,
        key: u64,
        /// Which of the services that had the connection set it.
        owner: u32,
    },
    /// A callback of a datagram or packet socket.
    Socket { token: Token, key: u64 },
    /// A callback of a stream service as a whole.
    Service { service: u16, key: u64 },
    /// The deadlines of a connection: whichever is first.
    Deadline {
        token: Token,
        /// The turn in which it was set: if nothing happened since, it holds.
        set_in: u64,
        /// Which of them was first then.
        which: Deadline,
    },
    /// The loop looks at the clock.
    Sample,
    /// Listeners that backed off try again.
    Accept,
    /// Reads and writes that were put off are tried again.
    Held,
    /// Whether the memory budget is still nearly used up is looked at again.
    Relieve,
    /// Memory that was kept for the next long frame is given back.
    Spare,
    /// A connect: its deadline, or time for the next address.
    Connect(ConnectId),
}

/// The loop, as its handles see it.
pub(crate) trait Host {
    fn now(&mut self) -> Time;
    fn exact_now(&mut self) -> Time;
    fn random(&mut self) -> u64;
    fn stats(&self) -> Stats;
    fn stop(&mut self);
    fn is_draining(&self) -> bool;
    fn simulated_seed(&mut self) -> Option<[u8; 32]>;

    fn set_timer(&mut self, at: Time, due: Due) -> TimerId;
    fn cancel_timer(&mut self, id: TimerId) -> bool;

    fn is_stream(&self, token: Token) -> bool;
    fn service_of(&self, token: Token) -> Option<u16>;
    fn send(&mut self, token: Token, data: &[u8]) -> Sent;
    fn send_shared(&mut self, token: Token, data: &Arc<[u8]>) -> Sent;
    fn send_file(&mut self, token: Token, file: &Arc<File>, offset: u64, len: u64) -> Sent;
    fn queued(&self, token: Token) -> usize;
    fn set_watermarks(&mut self, token: Token, watermarks: Watermarks);
    fn notify_writable(&mut self, token: Token);
    fn is_reading(&self, token: Token) -> bool;
    fn pause(&mut self, token: Token);
    fn resume(&mut self, token: Token);
    fn shutdown_write(&mut self, token: Token);
    fn close(&mut self, token: Token);
    fn abort(&mut self, token: Token);
    /// As `abort`; the other end of a pair hears `error`.
    fn abort_with(&mut self, token: Token, error: io::Error);
    fn join(&mut self, a: Token, b: Token) -> bool;
    fn set_deadlines(&mut self, token: Token, deadlines: Deadlines);
    fn set_stream_option(&mut self, token: Token, option: &StreamOption) -> io::Result<()>;
    fn peer_addr(&self, token: Token) -> Option<SocketAddr>;
    fn peer(&self, token: Token) -> Option<Peer>;
    fn local_addr(&self, token: Token) -> io::Result<SocketAddr>;
    fn local_unix(&self, token: Token) -> io::Result<UnixName>;
    fn answer_as(&mut self, token: Token, identity: Identity);
    /// As `shutdown_write`; the other end of a pair hears `error` in place of an end.
    fn shutdown_write_with(&mut self, token: Token, error: io::Error);
    fn is_closing(&self, token: Token) -> bool;
    fn attach(&mut self, token: Token, value: Rc<dyn Any>);
    fn attached(&self, token: Token) -> &[Rc<dyn Any>];
    fn tag(&self, token: Token) -> u64;
    fn owner(&self, token: Token) -> u32;
    fn message(&mut self, token: Token, message: Message) -> bool;
    #[cfg(feature = "tcp")]
    fn tcp(&mut self, token: Token) -> Option<&sockeye_tcp_stream::TcpStream>;
    #[cfg(feature = "unix")]
    fn unix(&mut self, token: Token) -> Option<&sockeye_unix::UnixStream>;
    #[cfg(feature = "tcp")]
    fn detach(&mut self, token: Token) -> Option<sockeye_tcp_stream::TcpStream>;

    fn pair(
        &mut self,
        first: ServiceKey,
        second: ServiceKey,
        options: &PairOptions,
    ) -> Result<[Token; 2], PairError>;
    fn switch(&mut self, token: Token, to: ServiceKey) -> Result<(), SwitchError>;
    fn has_streams(&self, service: ServiceKey) -> bool;
    fn fail_connect(&mut self, service: u16, failure: ConnectFailure);
    fn lose_listener(&mut self, service: u16, listener: Token, error: io::Error);

    fn connect(&mut self, service: u16, request: ConnectRequest) -> ConnectId;
    fn cancel_connect(&mut self, id: ConnectId) -> bool;
    fn listen(&mut self, service: u16, at: SocketAddr, options: &ListenOptions) -> Result<Token, OpError>;
    fn listen_unix(
        &mut self,
        service: u16,
        at: &UnixName,
        options: &UnixListenOptions,
    ) -> Result<Token, OpError>;
    fn adopt_listener(&mut self, service: u16, socket: OwnedFd, max: usize) -> Result<Token, OpError>;
    fn adopt_datagram(
        &mut self,
        service: u16,
        socket: OwnedFd,
        options: &DatagramOptions,
    ) -> Result<Token, OpError>;
    fn set_acceptor(&mut self, listener: Token, service: u16);
    fn close_listener(&mut self, token: Token);
    fn listener_of(&self, token: Token) -> Option<Token>;
    fn set_max_connections(&mut self, listener: Token, max: usize);
    fn bind(&mut self, service: u16, at: SocketAddr, options: &DatagramOptions) -> Result<Token, OpError>;
    fn has_datagrams(&self, service: ServiceKey) -> bool;

    fn send_message(&mut self, token: Token, message: &Outgoing<'_>) -> Sent;
    fn send_segments(&mut self, token: Token, message: &Outgoing<'_>, size: usize) -> Sent;
    fn lend(&mut self, token: Token, max_len: usize) -> Option<&mut [u8]>;
    fn commit(&mut self, token: Token, message: &Outgoing<'_>, len: usize) -> Sent;
    fn unix_name(&self, token: Token, address: SocketAddr) -> Option<UnixName>;
    fn unix_addr(&mut self, token: Token, name: &UnixName) -> Option<SocketAddr>;
    fn must_flush(&self) -> bool;
    fn notify_turn_end(&mut self, token: Token);
    fn hold_drain(&mut self, token: Token, on: bool);
    fn close_socket(&mut self, token: Token);
    /// What this host knows of names.
    #[cfg(feature = "resolver")]
    fn host_names(&mut self) -> HostNames;
    /// Where ids and the case of letters come from: unpredictable on the kernel, from the seed in a simulation.
    #[cfg(feature = "resolver")]
    fn name_randomness(&mut self) -> Box<dyn FnMut() -> u64 + Send>;
    /// A lookup of a connect has a result.
    #[cfg(feature = "resolver")]
    fn resolved(&mut self, connect: ConnectId, event: sockeye_resolver::dns::Event);
    /// A lookup of a service has a result.
    #[cfg(feature = "resolver")]
    fn answered(&mut self, service: u16, event: sockeye_resolver::dns::Event);
    /// Looks a name up for a service.
    #[cfg(feature = "resolver")]
    fn resolve(
        &mut self,
        service: u16,
        request: sockeye_resolver::dns::Request,
    ) -> Result<sockeye_resolver::dns::LookupId, sockeye_resolver::dns::StartError>;
    #[cfg(feature = "resolver")]
    fn cancel_resolve(&mut self, id: sockeye_resolver::dns::LookupId) -> bool;
    #[cfg(feature = "udp")]
    fn udp(&self, token: Token) -> Option<&sockeye_udp_datagram::UdpSocket>;
}

impl dyn Host + '_ {
    /// A timer that fires `after` from now.
    pub(crate) fn set_timer_after(&mut self, after: Duration, due: Due) -> TimerId {
        let at = self.now() + after;
        self.set_timer(at, due)
    }
}
