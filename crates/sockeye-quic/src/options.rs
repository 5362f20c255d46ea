//! How QUIC connections are: windows, streams, timeouts, bounds. Plain data.

use std::sync::Arc;
use std::time::Duration;

use quinn_proto::congestion::{BbrConfig, CubicConfig, NewRenoConfig};
use quinn_proto::{IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};
use sockeye_event_loop::DatagramOptions;

/// The smallest datagram that every path carries (RFC 9000, section 14).
const MIN_MTU: u16 = 1_200;

/// Which congestion controller a connection has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Congestion {
    /// CUBIC (RFC 9438).
    #[default]
    Cubic,
    /// NewReno (RFC 9002, section 7).
    NewReno,
    /// BBR, version 1: experimental in quinn-proto.
    Bbr,
}

/// What each connection of a service may do and hold. Sizes are in bytes.
///
/// What one connection can make this side keep is at most `receive_window + send_window + datagram_buffer`, and the pairs of
/// its streams, which the loop's memory budget counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuicOptions {
    /// Bidirectional streams that the peer may have open at once.
    pub max_streams: u32,
    /// Unidirectional streams that the peer may have open at once. They are refused where no service is there for them.
    pub max_unidirectional_streams: u32,
    /// What the peer may send on one stream before the service has read it.
    pub stream_window: u32,
    /// The same for all streams of a connection together.
    pub receive_window: u32,
    /// What may be sent and not acknowledged, all streams of a connection together.
    pub send_window: u64,
    /// Unreliable datagrams that wait, in each direction; what comes beyond it drops the oldest. Zero: the peer may send none.
    pub datagram_buffer: usize,
    /// A connection from which nothing has come for so long is over. `None`: only the peer's limit applies.
    pub idle_timeout: Option<Duration>,
    /// After so long without traffic a packet keeps the connection alive. `None`: none does.
    pub keep_alive: Option<Duration>,
    /// The datagram size to begin with, at least 1,200.
    pub initial_mtu: u16,
    /// The largest datagram size that path MTU discovery (RFC 8899) tries. `None`: it stays at `initial_mtu`.
    pub mtu_limit: Option<u16>,
    /// The round-trip time to assume before one is known.
    pub initial_rtt: Duration,
    /// Which congestion controller.
    pub congestion: Congestion,
    /// Streams that a service wants to open and the peer does not allow yet; more than so many fail.
    pub max_waiting_streams: usize,
}

impl Default for QuicOptions {
    /// 100 streams of each kind, windows of 1.25 MB a stream and 8 MB a connection, 30 seconds of idleness.
    fn default() -> Self {
        Self {
            max_streams: 100,
            max_unidirectional_streams: 100,
            stream_window: 1_250_000,
            receive_window: 8_000_000,
            send_window: 8_000_000,
            datagram_buffer: 256 * 1024,
            idle_timeout: Some(Duration::from_secs(30)),
            keep_alive: None,
            initial_mtu: MIN_MTU,
            mtu_limit: Some(1_452),
            initial_rtt: Duration::from_millis(333),
            congestion: Congestion::default(),
            max_waiting_streams: 1_024,
        }
    }
}

impl QuicOptions {
    /// As quinn-proto wants it. `unidirectional` says whether a service is there for the peer's streams of that kind.
    pub(crate) fn transport(&self, unidirectional: bool) -> Arc<TransportConfig> {
        let mut config = TransportConfig::default();
        let uni = if unidirectional {
            self.max_unidirectional_streams
        } else {
            0
        };
        let datagrams = (self.datagram_buffer > 0).then_some(self.datagram_buffer);
        // An idle timeout beyond 2^62 ms is none.
        let idle = self
            .idle_timeout
            .and_then(|time| IdleTimeout::try_from(time).ok());
        let initial_mtu = self.initial_mtu.max(MIN_MTU);
        let discovery = self.mtu_limit.map(|limit| {
            let mut discovery = MtuDiscoveryConfig::default();
            discovery.upper_bound(limit.max(initial_mtu));
            discovery
        });
        config
            .max_concurrent_bidi_streams(self.max_streams.into())
            .max_concurrent_uni_streams(uni.into())
            .stream_receive_window(self.stream_window.into())
            .receive_window(VarInt::from(self.receive_window))
            .send_window(self.send_window)
            .datagram_receive_buffer_size(datagrams)
            .datagram_send_buffer_size(self.datagram_buffer)
            .max_idle_timeout(idle)
            .keep_alive_interval(self.keep_alive)
            .initial_mtu(initial_mtu)
            .mtu_discovery_config(discovery)
            .initial_rtt(self.initial_rtt);
        match self.congestion {
            Congestion::Cubic => config.congestion_controller_factory(Arc::new(CubicConfig::default())),
            Congestion::NewReno => config.congestion_controller_factory(Arc::new(NewRenoConfig::default())),
            Congestion::Bbr => config.congestion_controller_factory(Arc::new(BbrConfig::default())),
        };
        Arc::new(config)
    }
}

/// Bounds of a server: who is let in, and how many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuicLimits {
    /// Connections at once; clients beyond it are refused.
    pub connections: usize,
    /// Handshakes under way at once. When another one begins beyond that, the oldest is given up: those that go on are complete
    /// long before they are the oldest.
    pub handshakes: usize,
    /// How long a handshake may take.
    pub handshake_deadline: Duration,
    /// With so many handshakes under way, a client has to show that it receives what is sent to its address before anything
    /// is kept of it (Retry: RFC 9000, section 8.1.2). Zero: always, which costs each client a round trip.
    pub validate_from: usize,
}

impl Default for QuicLimits {
    /// 65,536 connections, 1,024 handshakes of ten seconds each, addresses validated from 128 handshakes on.
    fn default() -> Self {
        Self {
            connections: 65_536,
            handshakes: 1_024,
            handshake_deadline: Duration::from_secs(10),
            validate_from: 128,
        }
    }
}

/// The options of a datagram socket that QUIC is at its best on: offloads, ECN both ways, packets that are never fragmented,
/// the own address of each datagram, so that replies leave from it, and buffers of 2 MiB, as far as the system allows.
#[must_use]
pub fn socket_options() -> DatagramOptions {
    const BUFFER: usize = 2 * 1024 * 1024;
    DatagramOptions {
        send_buffer: Some(BUFFER),
        recv_buffer: Some(BUFFER),
        gro: true,
        gso: true,
        packet_info: true,
        traffic_class: true,
        probe_mtu: true,
        ..DatagramOptions::default()
    }
}
