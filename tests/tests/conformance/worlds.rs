//! The two worlds that a scenario runs in, and what differs between them.

use std::time::Duration;

use sockeye_event_loop::Mio;
use sockeye_event_loop::backend::Backend;
use sockeye_sim::{HostId, Mutant, Sim, SimBackend};

use crate::descriptors;
use crate::ground::{Ground, Pass};

/// Waits on the kernel.
struct OnKernel;

impl Pass<Mio> for OnKernel {
    fn pass(&mut self, backend: &mut Mio, events: &mut <Mio as Backend>::Events, limit: Duration) -> bool {
        // A second timer would be needed to bound a poll beside the scenario's own alarm: poll in short steps.
        let end = std::time::Instant::now() + limit;
        loop {
            backend.poll(events, false).expect("a poll");
            if Mio::iter(events).next().is_some() {
                return true;
            }
            if std::time::Instant::now() >= end {
                return false;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    fn limit_descriptors(&mut self, more: Option<usize>) {
        descriptors::limit(more);
    }
}

/// Lets virtual time pass.
struct InSimulation(Sim, HostId);

impl Pass<SimBackend> for InSimulation {
    fn pass(
        &mut self,
        backend: &mut SimBackend,
        events: &mut <SimBackend as Backend>::Events,
        limit: Duration,
    ) -> bool {
        let end = backend.now() + limit;
        loop {
            backend.poll(events, true).expect("a poll");
            if SimBackend::iter(events).next().is_some() {
                return true;
            }
            if backend.now() >= end || !self.0.advance(end - backend.now()) {
                return false;
            }
        }
    }

    fn limit_descriptors(&mut self, more: Option<usize>) {
        let limit = more.map_or(20_000, |more| self.0.descriptors(self.1) + more);
        self.0.set_descriptor_limit(self.1, limit);
    }
}

/// What is said on the kernel.
pub(crate) fn on_kernel(scenario: impl FnOnce(&mut Ground<'_, Mio>)) -> Vec<String> {
    let mut pass = OnKernel;
    let mut ground = Ground::new(Mio::new().expect("an epoll"), &mut pass);
    scenario(&mut ground);
    ground.log
}

/// What is said in the simulation.
pub(crate) fn in_simulation(
    scenario: impl FnOnce(&mut Ground<'_, SimBackend>),
    mutant: Option<Mutant>,
) -> Vec<String> {
    let mut sim = Sim::new(7);
    let host = sim.bare_host([192, 0, 2, 1]);
    sim.add_address(host, std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
    sim.plant(mutant);
    let backend = sim.backend(host);
    let mut pass = InSimulation(sim, host);
    let mut ground = Ground::new(backend, &mut pass);
    scenario(&mut ground);
    std::mem::take(&mut ground.log)
}

/// Both logs, line by line.
pub(crate) fn difference(kernel: &[String], simulation: &[String]) -> String {
    let lines = kernel.len().max(simulation.len());
    let line = |log: &[String], at: usize| log.get(at).cloned().unwrap_or_default();
    (0..lines)
        .map(|at| {
            let (real, simulated) = (line(kernel, at), line(simulation, at));
            if real == simulated {
                format!("    {real}\n")
            } else {
                format!("  K {real}\n  S {simulated}\n")
            }
        })
        .collect()
}
