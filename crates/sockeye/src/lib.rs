//! The sockets of the Internet, in one dependency: endpoints, TCP streams, UDP datagrams, raw IP, and an
//! event loop that carries all of them.
//!
//! This crate re-exports and adds nothing. Each module is a crate of its own, which can be depended on alone,
//! and is here under the feature of the same name:
//!
//! | module | crate | feature | what |
//! |---|---|---|---|
//! | `endpoint` | `sockeye-endpoint` | `endpoint` (default) | addresses, ports, services, networks; pure |
//! | `packet` | `sockeye-packet` | `packet` | header views, builders, checksums, fragments; pure |
//! | `socket` | `sockeye-socket` | any socket type | the base under every socket: messages, options, errors |
//! | `tcp` | `sockeye-tcp-stream` | `tcp` (default) | listeners and streams |
//! | `udp` | `sockeye-udp-datagram` | `udp` (default) | datagrams, batches, offloads |
//! | `raw` | `sockeye-raw-ip` | `raw` | raw IP and ICMP sockets |
//! | `unix` | `sockeye-unix` | `unix` | Unix sockets: streams, datagrams, seqpackets |
//! | `link` | `sockeye-link` | `link` | frames of a link: packet sockets, rings, fanout, capture filters; captures with `capture` |
//! | `resolver` | `sockeye-resolver` | `resolver` | names to addresses, Happy Eyeballs |
//! | `event_loop` | `sockeye-event-loop` | `event-loop` (default) | services, timers, remotes, shards |
//! | `sim` | `sockeye-sim` | `sim` | the same services on a simulated network |
//! | `probe` | `sockeye-probe` | `probe`, `probe-services` | ping, traceroute, path MTU |
//! | `tls` | `sockeye-tls` | `tls` | TLS on any stream of the loop |
//! | `quic` | `sockeye-quic` | `quic` | QUIC on a datagram socket of the loop |
//! | `relay` | `sockeye-relay` | `relay` | a relay as services, the PROXY protocol, many protocols on one port |
//! | `measure` | `sockeye-measure` | `measure` | loss, jitter, schedules; the protocols of iperf3 and sockperf |
//!
//! Further features are passed on to the crates that have them: `signals` (`EventLoop::on_signals`: end in order on SIGTERM),
//! `serde` (endpoints and the relay's configuration in files), `idna` (names in other scripts), `lpm` (longest-prefix match),
//! `services-full` (all of IANA's services), `tracing`. A relay with `tls://` takes `tls` too, one with host names `resolver`.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

#[cfg(feature = "endpoint")]
#[doc(inline)]
pub use sockeye_endpoint as endpoint;
#[cfg(feature = "event-loop")]
#[doc(inline)]
pub use sockeye_event_loop as event_loop;
#[cfg(feature = "link")]
#[doc(inline)]
pub use sockeye_link as link;
#[cfg(feature = "measure")]
#[doc(inline)]
pub use sockeye_measure as measure;
#[cfg(feature = "packet")]
#[doc(inline)]
pub use sockeye_packet as packet;
#[cfg(feature = "probe")]
#[doc(inline)]
pub use sockeye_probe as probe;
#[cfg(feature = "quic")]
#[doc(inline)]
pub use sockeye_quic as quic;
#[cfg(feature = "raw")]
#[doc(inline)]
pub use sockeye_raw_ip as raw;
#[cfg(feature = "relay")]
#[doc(inline)]
pub use sockeye_relay as relay;
#[cfg(feature = "resolver")]
#[doc(inline)]
pub use sockeye_resolver as resolver;
#[cfg(feature = "sim")]
#[doc(inline)]
pub use sockeye_sim as sim;
#[cfg(any(
    feature = "tcp",
    feature = "udp",
    feature = "raw",
    feature = "unix",
    feature = "link",
    feature = "event-loop"
))]
#[doc(inline)]
pub use sockeye_socket as socket;
#[cfg(feature = "tcp")]
#[doc(inline)]
pub use sockeye_tcp_stream as tcp;
#[cfg(feature = "tls")]
#[doc(inline)]
pub use sockeye_tls as tls;
#[cfg(feature = "udp")]
#[doc(inline)]
pub use sockeye_udp_datagram as udp;
#[cfg(feature = "unix")]
#[doc(inline)]
pub use sockeye_unix as unix;
