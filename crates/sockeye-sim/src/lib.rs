//! A deterministic simulated network: the other backend of the Sockeye event loop.
//!
//! The services, the loop core, the timers and the deadlines are those that ship; what is simulated is what lies
//! below them: the kernels of any number of hosts, the links and routers between them, and the clock. Everything
//! that chance decides follows from one seed, so a failure happens again each time.
//!
//! ```
//! use std::{cell::Cell, rc::Rc, time::Duration};
//! use sockeye_event_loop::{Stream, StreamService};
//! use sockeye_sim::{LinkOptions, Sim};
//!
//! struct Echo;
//! impl StreamService for Echo {
//!     type Conn = ();
//!     fn on_open(&mut self, _: &mut Stream<'_>) {}
//!     fn on_data(&mut self, stream: &mut Stream<'_>, _: &mut (), data: &mut [u8]) -> usize {
//!         if stream.write(data).is_taken() { data.len() } else { 0 }
//!     }
//! }
//!
//! struct Caller(Rc<Cell<usize>>);
//! impl StreamService for Caller {
//!     type Conn = ();
//!     fn on_open(&mut self, stream: &mut Stream<'_>) {
//!         let _ = stream.write(b"anyone there?");
//!     }
//!     fn on_data(&mut self, _: &mut Stream<'_>, _: &mut (), data: &mut [u8]) -> usize {
//!         self.0.set(self.0.get() + data.len());
//!         data.len()
//!     }
//! }
//!
//! let heard = Rc::new(Cell::new(0));
//! let mut sim = Sim::new(42);
//! let (server, client) = (sim.host([10, 0, 0, 1]), sim.host([10, 0, 0, 2]));
//! sim.set_lan(LinkOptions { latency: Duration::from_millis(20), loss_ppm: 10_000, ..LinkOptions::default() });
//! sim.listen(server, 7, Echo)?;
//! sim.connect(client, ([10, 0, 0, 1], 7).into(), Caller(Rc::clone(&heard)));
//! sim.run_until(Duration::from_secs(60), || heard.get() == 13)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Sim::on`] gives a host's whole event loop: everything that an `EventLoop` can do, it can do there. From there on:
//!
//! - **Networks.** Hosts share a LAN until a [`link`](Sim::link) is made for them; [`router`](Sim::router)s count
//!   down hop limits and report by ICMP. A link has latency, jitter, loss, duplication, reordering, bandwidth, MTU.
//! - **Faults by hand.** [`partition`](Sim::partition), [`pause`](Sim::pause), [`suspend`](Sim::suspend),
//!   [`crash`](Sim::crash), [`fail`](Sim::fail) a call with any errno, short reads and writes, false events, EINTR,
//!   few descriptors, few ports.
//! - **Faults by plan.** [`Plan::of_seed`] draws one, a text file spells one out, [`Sim::with_plan`] lets it happen.
//! - **Looking.** [`trace_hash`](Sim::trace_hash) is one number for all that happened, [`leftovers`](Sim::leftovers)
//!   is what is still open, [`capture`](Sim::capture) keeps every packet (feature `pcapng` writes them to a file).
//!
//! It is held to the kernel: a conformance suite runs the same scenarios on both and compares every outcome. What it
//! leaves out: link layers (frame services see the datagrams and packets that arrive, in Ethernet frames whose addresses are made
//! up; what they send finds its way by the IP packet inside, without ARP), congestion control and selective acknowledgement (a lost segment holds up those behind it until it is
//! sent again), out-of-band data, multicast, and the options that change nothing one could see (TCP_NODELAY, TCP_CORK).
//!
//! | module of the source | what it holds |
//! |---|---|
//! | `sim` | hosts, the network, faults, and the clock that drives them |
//! | `backend` | one host, as its loop sees it |
//! | `world` | the kernels: streams, handshakes, datagrams, packets, errors, routes, polls |
//! | `link` | what a packet meets on its way |
//! | `plan` | what goes wrong, as data and as text |
//! | `soak` | the workloads and invariants of `cargo xtask sim` (feature `soak`) |
//! | `names` | name servers: zones as plain data, answered honestly or not (feature `names`) |
//! | `mutant` | the simulator made wrong on purpose (feature `mutants`) |
//! | `queue`, `ring`, `random`, `trace`, `errno`, `capture`, `pcapng` | what these are made of |
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod backend;
mod capture;
mod errno;
mod link;
#[cfg_attr(
    not(feature = "mutants"),
    expect(
        dead_code,
        unreachable_pub,
        reason = "without the feature only the names are used"
    )
)]
mod mutant;
#[cfg(feature = "names")]
pub mod names;
#[cfg(feature = "pcapng")]
mod pcapng;
mod plan;
mod queue;
mod random;
mod ring;
mod sim;
#[cfg(feature = "soak")]
pub mod soak;
mod trace;
mod world;

pub use backend::{SimBackend, SimEvents, SimListener, SimSocket, SimStream};
pub use link::{LinkId, LinkOptions};
#[cfg(feature = "mutants")]
pub use mutant::Mutant;
pub use plan::{Fault, HostKnob, LinkKnob, Network, Plan, PlanError, PlanFault, What};
pub use random::Random;
pub use sim::{HostId, Leftovers, Sim, SimError, SimLoop};
pub use world::{Call, NoRoute};
