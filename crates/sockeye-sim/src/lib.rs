//! A deterministic simulated network: the other backend of the Sockeye event loop.
#![forbid(unsafe_code)]

mod backend;
mod capture;
mod errno;
mod link;
mod mutant;
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
