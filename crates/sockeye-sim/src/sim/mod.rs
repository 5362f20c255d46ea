//! [`Sim`]: hosts with their event loops, the network between them, and the clock that drives both.

mod faults;
mod network;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sockeye_event_loop::{
    ConnectRequest, EventLoop, ListenOptions, LoopOptions, OpError, Scratch, ServiceHandle, StreamOptions,
    StreamService, Time,
};

use crate::backend::{SimBackend, shared};
use crate::link::nanos;
use crate::plan::Plan;
use crate::world::{Host, HostState, Node, Shared, World};

/// A host or a router, by the order in which they were made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct HostId(pub(crate) u16);

/// The event loop of a simulated host.
pub type SimLoop = EventLoop<SimBackend>;

/// What is run on a host when it boots: at once, and after each crash.
type Boot = Box<dyn FnMut(&mut SimLoop)>;

struct Slot {
    events: Option<SimLoop>,
    options: LoopOptions,
    boot: Option<Boot>,
}

/// How long one turn of a loop takes on the virtual clock. It must not be nothing, or two services that
/// answer each other over an ideal link would stop the time.
const TURN_NS: u64 = 1_000;

/// A simulated network. See the [crate] for how to use it.
pub struct Sim {
    world: Shared,
    slots: Vec<Slot>,
    plan: Option<Plan>,
    /// Which faults of the plan are in force.
    in_force: Vec<bool>,
    /// Links as they are while no fault of a plan changes them.
    base_links: BTreeMap<u32, crate::link::LinkOptions>,
    /// What a user has cut by hand.
    cut: Vec<(u32, usize)>,
    /// The hosts' loops take turns, so they share these.
    scratch: Scratch,
}

/// Why a run ended without what it waited for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// The virtual time was up.
    #[error("not within the time: the virtual clock stands at {0:?}")]
    TimedOut(Time),
    /// A host's loop ended with an error.
    #[error("the loop of host {host:?} failed: {error}")]
    Loop {
        /// Which host.
        host: HostId,
        /// What its turn returned.
        #[source]
        error: io::Error,
    },
}

/// What is still there: after everything was closed, it should be nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leftovers {
    /// Connections that loops have open.
    pub connections: usize,
    /// Timers that are set.
    pub timers: usize,
    /// Ends of connections in the simulated kernels, open or lingering.
    pub streams: usize,
    /// Bytes in their buffers.
    pub bytes: usize,
    /// Descriptors open, listeners and datagram sockets among them.
    pub descriptors: usize,
}

impl Sim {
    /// An empty network. Everything that chance decides in it follows from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            world: shared(World::new(seed)),
            slots: Vec::new(),
            plan: None,
            in_force: Vec::new(),
            base_links: BTreeMap::new(),
            cut: Vec::new(),
            scratch: Scratch::default(),
        }
    }

    /// A network on which `plan` will happen. Its hosts are the caller's to make, in order.
    #[must_use]
    pub fn with_plan(plan: &Plan) -> Self {
        let mut sim = Self::new(plan.seed);
        sim.set_lan(plan.network.options());
        sim.schedule(plan);
        sim
    }

    /// A host with an event loop. Until a link is made for it, it is on the LAN that such hosts share.
    ///
    /// # Panics
    /// With more than 65,534 hosts.
    pub fn host(&mut self, address: impl Into<IpAddr>) -> HostId {
        self.host_with(address, LoopOptions::default())
    }

    /// As [`host`](Self::host), with options for its loop.
    ///
    /// # Panics
    /// With more than 65,534 hosts.
    pub fn host_with(&mut self, address: impl Into<IpAddr>, options: LoopOptions) -> HostId {
        let id = self.node(address.into(), false);
        let backend = SimBackend::new(self.world.clone(), id.0);
        let events = EventLoop::with_backend(backend, options.clone());
        self.slots.push(Slot {
            events: Some(events),
            options,
            boot: None,
        });
        id
    }

    /// A host without an event loop, for those who drive its [`backend`](Self::backend) themselves.
    ///
    /// # Panics
    /// With more than 65,534 hosts.
    pub fn bare_host(&mut self, address: impl Into<IpAddr>) -> HostId {
        let id = self.node(address.into(), false);
        self.slots.push(Slot {
            events: None,
            options: LoopOptions::default(),
            boot: None,
        });
        id
    }

    /// A router: it forwards, counts down hop limits, and says by ICMP what it can not forward.
    ///
    /// # Panics
    /// With more than 65,534 hosts.
    pub fn router(&mut self, address: impl Into<IpAddr>) -> HostId {
        let id = self.node(address.into(), true);
        self.slots.push(Slot {
            events: None,
            options: LoopOptions::default(),
            boot: None,
        });
        id
    }

    fn node(&mut self, address: IpAddr, is_router: bool) -> HostId {
        let mut world = self.world.borrow_mut();
        let index = u16::try_from(world.hosts.len()).unwrap_or(u16::MAX);
        assert!(index < u16::MAX, "more hosts than a simulation can have");
        let host = Host::new(world.seed, index, vec![address], &world.any_woken);
        world.hosts.push(host);
        world.routes.nodes.push(Node {
            is_router,
            links: Vec::new(),
        });
        world.routes.own(address, index);
        HostId(index)
    }

    /// The event loop of a host: to add services, listen, connect, bind.
    ///
    /// # Panics
    /// If it is a router, or has crashed.
    #[expect(
        clippy::expect_used,
        reason = "a host without a loop is a mistake in the test that asks for it"
    )]
    pub fn on(&mut self, host: HostId) -> &mut SimLoop {
        self.world.borrow_mut().make_runnable(host.0);
        self.slots[usize::from(host.0)]
            .events
            .as_mut()
            .expect("a router or a crashed host has no event loop")
    }

    /// The backend of a [`bare_host`](Self::bare_host), for those who test against the seam itself and not
    /// through a loop.
    #[must_use]
    pub fn backend(&self, host: HostId) -> SimBackend {
        SimBackend::new(self.world.clone(), host.0)
    }

    /// Sets a host up, now and again whenever it has crashed and boots.
    pub fn boot(&mut self, host: HostId, mut set_up: impl FnMut(&mut SimLoop) + 'static) {
        set_up(self.on(host));
        self.slots[usize::from(host.0)].boot = Some(Box::new(set_up));
    }

    /// Runs `service` on a port of all addresses of the host.
    ///
    /// # Errors
    /// As [`EventLoop::listen`].
    pub fn listen<S: StreamService>(
        &mut self,
        host: HostId,
        port: u16,
        service: S,
    ) -> Result<ServiceHandle<S>, OpError> {
        let v6 = self.world.borrow().hosts[usize::from(host.0)]
            .addresses
            .iter()
            .any(IpAddr::is_ipv6);
        let events = self.on(host);
        let handle = events.add_stream_service(service, StreamOptions::default());
        let at = SocketAddr::new(crate::world::unspecified(v6), port);
        events.listen(handle, at, &ListenOptions::default())?;
        Ok(handle)
    }

    /// Connects `service` from a host to an address.
    pub fn connect<S: StreamService>(
        &mut self,
        host: HostId,
        to: SocketAddr,
        service: S,
    ) -> ServiceHandle<S> {
        let events = self.on(host);
        let handle = events.add_stream_service(service, StreamOptions::default());
        events.connect(handle, ConnectRequest::new(to));
        handle
    }

    /// The virtual clock.
    #[must_use]
    pub fn now(&self) -> Time {
        Time::from_nanos(self.world.borrow().now)
    }

    /// A number that stands for everything that has happened: two runs that differ in anything differ in it.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.world.borrow().trace.hash()
    }

    /// Steps that the simulated kernels have made.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.world.borrow().trace.steps()
    }

    /// Runs until `done` says so, at most for `limit` on the virtual clock.
    ///
    /// # Errors
    /// [`SimError::TimedOut`] when it does not, [`SimError::Loop`] when a loop fails.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut() -> bool) -> Result<(), SimError> {
        self.run_until_with(limit, |_| done())
    }

    /// As [`run_until`](Self::run_until), with a condition that looks at the simulation, or changes it.
    ///
    /// # Errors
    /// As [`run_until`](Self::run_until).
    pub fn run_until_with(
        &mut self,
        limit: Duration,
        mut done: impl FnMut(&mut Self) -> bool,
    ) -> Result<(), SimError> {
        let until = self.world.borrow().now.saturating_add(nanos(limit));
        loop {
            if done(self) {
                return Ok(());
            }
            if !self.step(until)? {
                return if done(self) {
                    Ok(())
                } else {
                    Err(SimError::TimedOut(self.now()))
                };
            }
        }
    }

    /// Runs for that long on the virtual clock.
    ///
    /// # Errors
    /// [`SimError::Loop`] when a loop fails.
    pub fn run_for(&mut self, time: Duration) -> Result<(), SimError> {
        match self.run_until(time, || false) {
            Err(SimError::TimedOut(_)) => Ok(()),
            other => other,
        }
    }

    /// Goes on to the next thing that happens, if that is within `limit`, and lets it happen; no loop takes a
    /// turn. `false`, and the time is up, when nothing does.
    pub fn advance(&mut self, limit: Duration) -> bool {
        let mut world = self.world.borrow_mut();
        let until = world.now.saturating_add(nanos(limit));
        let happened = world.advance(until);
        if !happened {
            world.now = until;
        }
        happened
    }

    /// One round: every host that has something to do takes a turn, or else the time goes on to the next
    /// thing that happens. `false` when `until` is reached.
    fn step(&mut self, until: u64) -> Result<bool, SimError> {
        let mut hosts = {
            let mut world = self.world.borrow_mut();
            world.notice_wakes();
            std::mem::take(&mut world.runnable)
        };
        if hosts.is_empty() {
            let mut world = self.world.borrow_mut();
            world.runnable = hosts;
            if !world.advance(until) {
                world.now = world.now.max(until);
                return Ok(false);
            }
        } else {
            for &host in &hosts {
                self.turn(host)?;
            }
            hosts.clear();
            let mut world = self.world.borrow_mut();
            if world.runnable.capacity() == 0 {
                world.runnable = hosts;
            } else if world.runnable.is_empty() {
                std::mem::swap(&mut world.runnable, &mut hosts);
            }
            let now = world.now + TURN_NS;
            while world.advance(now) {}
            world.now = now;
            if now > until {
                return Ok(false);
            }
        }
        if !self.world.borrow().due_faults.is_empty() {
            self.faults_are_due();
        }
        Ok(true)
    }

    /// One turn of a host's loop, and another one soon if it has work left.
    fn turn(&mut self, host: u16) -> Result<(), SimError> {
        {
            let slot = &mut self.world.borrow_mut().hosts[usize::from(host)];
            slot.runnable = false;
            if slot.state != HostState::Up {
                return Ok(());
            }
        }
        let Some(events) = &mut self.slots[usize::from(host)].events else {
            return Ok(());
        };
        events.exchange_scratch(&mut self.scratch);
        let turned = events.turn(None);
        events.exchange_scratch(&mut self.scratch);
        turned.map_err(|error| SimError::Loop {
            host: HostId(host),
            error,
        })?;
        let next = events.next_timer();
        let mut again = events.has_work();
        let mut world = self.world.borrow_mut();
        let slot = &world.hosts[usize::from(host)];
        again |= !slot.ready.is_empty() || slot.alarm_due;
        // The loop arms its alarm before it waits: it gets a turn to do so.
        again |= match (next, slot.alarm_at) {
            (Some(next), Some(armed)) => next.as_nanos() < armed,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if again {
            world.make_runnable(host);
        }
        Ok(())
    }

    /// The first end of a connection that is still there, and how it stands.
    #[must_use]
    pub fn describe_leftover(&self) -> Option<String> {
        let world = self.world.borrow();
        let left = world.streams.iter().find(|stream| stream.in_use)?;
        Some(format!(
            "{} to {}, {:?}, open {}, sent {} of its end, heard {} of the other, {} + {} bytes, stalled {}, retries {}",
            left.local,
            left.remote,
            left.state,
            left.open,
            left.fin_sent,
            left.fin_received,
            left.rx.len(),
            left.tx.len(),
            left.stalled,
            left.retries
        ))
    }

    /// What is still there, in loops and in kernels.
    #[must_use]
    pub fn leftovers(&self) -> Leftovers {
        let mut left = Leftovers::default();
        for events in self.slots.iter().filter_map(|slot| slot.events.as_ref()) {
            left.connections += events.open_streams();
            left.timers += events.timers();
        }
        let world = self.world.borrow();
        for stream in world.streams.iter().filter(|stream| stream.in_use) {
            left.streams += 1;
            left.bytes += stream.rx.len() + stream.tx.len();
        }
        left.descriptors = world.hosts.iter().map(|host| host.descriptors).sum();
        left
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sim")
            .field("now", &self.now())
            .field("hosts", &self.slots.len())
            .field("trace_hash", &self.trace_hash())
            .finish_non_exhaustive()
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        // Loops first, while there still is a world that their sockets can be closed in.
        for slot in &mut self.slots {
            slot.boot = None;
            slot.events = None;
        }
    }
}
