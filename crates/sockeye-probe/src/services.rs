//! The engines on the event loop: sockets opened, probes sent, answers handed in, events handed out.
//!
//! [`ping`], [`trace`], [`watch`] and [`path_mtu`] take an engine and a closure for its events, and open the sockets that the
//! engine needs: a ping socket where the system allows one and a raw one where it must be for ICMP, UDP with the error
//! queue for UDP (no privilege at all), raw TCP and ICMP for TCP. [`Prober::mode`] says which it became.
//!
//! [`scan_tcp`] and [`scan_udp`] do the same for a [`Scanner`](crate::Scanner), by connects and by UDP with the error queue.
//!
//! ```no_run
//! use sockeye_event_loop::EventLoop;
//! use sockeye_probe::services;
//! use sockeye_probe::{PingOptions, PingOutcome, Pinger};
//!
//! let mut pinger = Pinger::new(PingOptions { count: Some(3), ..PingOptions::new(0x5eed) });
//! pinger.add("127.0.0.1:0".parse()?)?;
//!
//! let mut events = EventLoop::new()?;
//! services::ping(&mut events, pinger, |context, pinger, event| {
//!     if let PingOutcome::Reply { rtt, .. } = event.outcome {
//!         println!("{}: {rtt:?}", event.sequence);
//!     }
//!     if pinger.is_finished() {
//!         context.stop();
//!     }
//! })?;
//! events.run()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use sockeye_event_loop::backend::Backend;
use sockeye_event_loop::{
    Context, DatagramOptions, EventLoop, OpError, PacketKind, PacketOptions, ServiceHandle,
};
use sockeye_packet::protocol;

use crate::mtu::{MtuEvent, MtuMethod, PmtuProbe};
use crate::ping::{PingEvent, Pinger};
use crate::trace::{TraceEvent, TraceMethod, Tracer, Watch, WatchEvent};

mod connects;
mod convert;
mod engine;
mod prober;
mod scan;
mod turns;
mod wall;

pub use connects::{ConnectScan, Waiting};
pub use engine::{Engine, Transmit};
use prober::Role;
pub use prober::{Mode, Prober};
pub use scan::{DatagramScan, ScanReport, scan_tcp, scan_udp};

/// Pings from this loop: opens an ICMP socket for each family among the targets.
///
/// # Errors
/// The socket that could not be opened and why; `PermissionDenied` where neither ping sockets nor raw ones are allowed.
pub fn ping<B, F>(
    events: &mut EventLoop<B>,
    pinger: Pinger,
    on_event: F,
) -> Result<ServiceHandle<Prober<Pinger, F>>, OpError>
where
    B: Backend,
    F: FnMut(&mut Context<'_>, &mut Pinger, PingEvent) + 'static,
{
    let families = [false, true].map(|v6| pinger.targets().any(|(_, address)| address.is_ipv6() == v6));
    let service = events.add_packet_service(Prober::new(pinger, on_event));
    for (v6, wanted) in [false, true].into_iter().zip(families) {
        if wanted {
            open(events, service, Role::Icmp, v6, PacketKind::Icmp, false)?;
        }
    }
    Ok(service)
}

/// Traces from this loop, with the sockets that the method needs.
///
/// # Errors
/// The socket that could not be opened and why; `PermissionDenied` where ICMP or TCP lack the privilege.
pub fn trace<B, F>(
    events: &mut EventLoop<B>,
    tracer: Tracer,
    on_event: F,
) -> Result<ServiceHandle<Prober<Tracer, F>>, OpError>
where
    B: Backend,
    F: FnMut(&mut Context<'_>, &mut Tracer, TraceEvent) + 'static,
{
    let (v6, method) = (tracer.destination().is_ipv6(), tracer.method());
    open_for(events, Prober::new(tracer, on_event), v6, method)
}

/// Watches a route from this loop, with the sockets that the method needs.
///
/// # Errors
/// As [`trace`].
pub fn watch<B, F>(
    events: &mut EventLoop<B>,
    watch: Watch,
    on_event: F,
) -> Result<ServiceHandle<Prober<Watch, F>>, OpError>
where
    B: Backend,
    F: FnMut(&mut Context<'_>, &mut Watch, WatchEvent) + 'static,
{
    let (v6, method) = (watch.destination().is_ipv6(), watch.method());
    open_for(events, Prober::new(watch, on_event), v6, method)
}

/// Opens the sockets that a trace by `method` needs.
fn open_for<B, E, F>(
    events: &mut EventLoop<B>,
    prober: Prober<E, F>,
    v6: bool,
    method: TraceMethod,
) -> Result<ServiceHandle<Prober<E, F>>, OpError>
where
    B: Backend,
    E: Engine,
    F: FnMut(&mut Context<'_>, &mut E, E::Event) + 'static,
{
    match method {
        TraceMethod::Icmp => {
            let service = events.add_packet_service(prober);
            open(events, service, Role::Icmp, v6, PacketKind::Icmp, false)?;
            Ok(service)
        }
        TraceMethod::Tcp { .. } => {
            let service = events.add_packet_service(prober);
            open(
                events,
                service,
                Role::Tcp,
                v6,
                PacketKind::Ip {
                    protocol: protocol::TCP,
                },
                false,
            )?;
            // A ping socket would not hear what is said about TCP.
            let icmp = if v6 { protocol::ICMPV6 } else { protocol::ICMPV4 };
            open(
                events,
                service,
                Role::Errors,
                v6,
                PacketKind::Ip { protocol: icmp },
                false,
            )?;
            Ok(service)
        }
        TraceMethod::Udp => bind(events, prober, v6, false),
    }
}

/// Looks for a path MTU from this loop.
///
/// # Errors
/// The socket that could not be opened and why; `PermissionDenied` where ICMP lacks the privilege.
pub fn path_mtu<B, F>(
    events: &mut EventLoop<B>,
    probe: PmtuProbe,
    on_event: F,
) -> Result<ServiceHandle<Prober<PmtuProbe, F>>, OpError>
where
    B: Backend,
    F: FnMut(&mut Context<'_>, &mut PmtuProbe, MtuEvent) + 'static,
{
    let (v6, method) = (probe.destination().is_ipv6(), probe.method());
    let prober = Prober::new(probe, on_event);
    match method {
        MtuMethod::Icmp => {
            let service = events.add_packet_service(prober);
            open(events, service, Role::Icmp, v6, PacketKind::Icmp, true)?;
            Ok(service)
        }
        MtuMethod::Udp => bind(events, prober, v6, true),
    }
}

const fn unspecified(v6: bool) -> IpAddr {
    if v6 {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    } else {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    }
}

fn open<B, E, F>(
    events: &mut EventLoop<B>,
    service: ServiceHandle<Prober<E, F>>,
    role: Role,
    v6: bool,
    kind: PacketKind,
    probe_mtu: bool,
) -> Result<(), OpError>
where
    B: Backend,
    E: Engine,
    F: FnMut(&mut Context<'_>, &mut E, E::Event) + 'static,
{
    let options = PacketOptions {
        hop_limit: true,
        timestamps: true,
        // What comes back about a raw socket's packets comes as ICMP messages too; a ping socket has only this.
        error_queue: role == Role::Icmp,
        recv_buffer: Some(1 << 20),
        probe_mtu,
        ..PacketOptions::new(kind, unspecified(v6))
    };
    if let Some(prober) = events.service(service) {
        prober.expect(role);
    }
    events.open_packet(service, &options).map(drop)
}

fn bind<B, E, F>(
    events: &mut EventLoop<B>,
    prober: Prober<E, F>,
    v6: bool,
    probe_mtu: bool,
) -> Result<ServiceHandle<Prober<E, F>>, OpError>
where
    B: Backend,
    E: Engine,
    F: FnMut(&mut Context<'_>, &mut E, E::Event) + 'static,
{
    let options = DatagramOptions {
        error_queue: true,
        hop_limit: true,
        timestamps: true,
        // Each probe is a packet of its own, there and back.
        gro: false,
        gso: false,
        probe_mtu,
        ..DatagramOptions::default()
    };
    let service = events.add_datagram_service(prober);
    if let Some(prober) = events.service(service) {
        prober.expect(Role::Udp);
    }
    events.bind(service, SocketAddr::new(unspecified(v6), 0), &options)?;
    Ok(service)
}
