//! What a test can set about the network and its hosts.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use sockeye_event_loop::EventLoop;

use super::{HostId, Sim};
use crate::backend::SimBackend;
use crate::capture::Capture;
use crate::link::{LinkId, LinkOptions};
use crate::world::{Call, NoRoute};

impl Sim {
    /// Gives a host another address.
    pub fn add_address(&mut self, host: HostId, address: impl Into<IpAddr>) {
        let address = address.into();
        let mut world = self.world.borrow_mut();
        world.hosts[usize::from(host.0)].addresses.push(address);
        world.routes.own(address, host.0);
    }

    /// How the links of the LAN are, those that exist and those to come.
    pub fn set_lan(&mut self, options: LinkOptions) {
        let links: Vec<u32> = {
            let mut world = self.world.borrow_mut();
            world.routes.lan_options = options;
            world.lan_links()
        };
        for link in links {
            self.set_link(LinkId(link), options);
        }
    }

    /// A link between two nodes. Nodes that have links of their own are no longer on the LAN.
    pub fn link(&mut self, a: HostId, b: HostId, options: LinkOptions) -> LinkId {
        let mut world = self.world.borrow_mut();
        let link = world.add_link(a.0, b.0, options);
        world.routes.nodes[usize::from(a.0)].links.push(link);
        world.routes.nodes[usize::from(b.0)].links.push(link);
        world.forget_routes();
        LinkId(link)
    }

    /// The link between two hosts of the LAN.
    pub fn lan_link(&mut self, a: HostId, b: HostId) -> LinkId {
        LinkId(self.world.borrow_mut().lan_link(a.0, b.0))
    }

    /// Changes a link.
    pub fn set_link(&mut self, link: LinkId, options: LinkOptions) {
        self.base_links.insert(link.0, options);
        self.refresh_links();
    }

    /// How a link is now.
    #[must_use]
    pub fn link_options(&self, link: LinkId) -> LinkOptions {
        self.world.borrow().links[link.0 as usize].options
    }

    /// Nothing passes between the two any more, in either direction.
    pub fn partition(&mut self, a: HostId, b: HostId) {
        self.partition_one_way(a, b);
        self.partition_one_way(b, a);
    }

    /// Nothing passes from the one to the other any more.
    pub fn partition_one_way(&mut self, from: HostId, to: HostId) {
        let links = self.world.borrow_mut().links_between(from.0, to.0);
        for link in links {
            let side = self.side(link, from);
            self.cut.push((link, side));
        }
        self.refresh_links();
    }

    /// Ends every partition between the two.
    pub fn heal(&mut self, a: HostId, b: HostId) {
        let links = self.world.borrow_mut().links_between(a.0, b.0);
        self.cut.retain(|(link, _)| !links.contains(link));
        self.refresh_links();
    }

    pub(super) fn side(&self, link: u32, from: HostId) -> usize {
        usize::from(self.world.borrow().links[link as usize].ends[0] != from.0)
    }

    /// The host's routing table refuses a range of addresses.
    pub fn refuse_route(&mut self, host: HostId, addresses: RangeInclusive<IpAddr>, why: NoRoute) {
        let (first, last) = addresses.into_inner();
        self.world
            .borrow_mut()
            .routes
            .refused
            .push((host.0, first, last, why));
    }

    /// The host's program stops: its kernel goes on, its clock too.
    pub fn pause(&mut self, host: HostId) {
        self.world.borrow_mut().pause(host.0, false);
    }

    /// The host stops altogether, its clock too.
    pub fn suspend(&mut self, host: HostId) {
        self.world.borrow_mut().pause(host.0, true);
    }

    /// Ends a [`pause`](Self::pause) or a [`suspend`](Self::suspend).
    pub fn resume(&mut self, host: HostId) {
        self.world.borrow_mut().resume(host.0);
    }

    /// The host is gone, without a word to anyone. What ran on it is dropped.
    pub fn crash(&mut self, host: HostId) {
        self.world.borrow_mut().crash(host.0);
        self.slots[usize::from(host.0)].events = None;
    }

    /// The crashed host is there again, with a new loop on which its [`boot`](Self::boot) is run.
    pub fn restart(&mut self, host: HostId) {
        self.world.borrow_mut().restart(host.0);
        let backend = SimBackend::new(self.world.clone(), host.0);
        let slot = &mut self.slots[usize::from(host.0)];
        let mut events = EventLoop::with_backend(backend, slot.options.clone());
        if let Some(boot) = &mut slot.boot {
            boot(&mut events);
        }
        slot.events = Some(events);
        self.world.borrow_mut().make_runnable(host.0);
    }

    /// Whether the host is there and runs.
    #[must_use]
    pub fn is_up(&self, host: HostId) -> bool {
        self.world.borrow().hosts[usize::from(host.0)].state == crate::world::HostState::Up
    }

    /// Whether the host has crashed and not booted again.
    #[must_use]
    pub fn is_crashed(&self, host: HostId) -> bool {
        self.world.borrow().hosts[usize::from(host.0)].state == crate::world::HostState::Crashed
    }

    /// How many descriptors the host's program may have open.
    pub fn set_descriptor_limit(&mut self, host: HostId, limit: usize) {
        self.world.borrow_mut().hosts[usize::from(host.0)].descriptor_limit = limit;
    }

    /// Descriptors that the host's program has open.
    #[must_use]
    pub fn descriptors(&self, host: HostId) -> usize {
        self.world.borrow().hosts[usize::from(host.0)].descriptors
    }

    /// Where the host's ephemeral ports come from.
    pub fn set_ephemeral_ports(&mut self, host: HostId, ports: RangeInclusive<u16>) {
        self.world.borrow_mut().hosts[usize::from(host.0)].ports.ephemeral = ports;
    }

    /// Whether the host's programs may open raw sockets, and whether ICMP sockets are unprivileged ones.
    pub fn set_raw(&mut self, host: HostId, raw_allowed: bool, ping_sockets: bool) {
        let mut world = self.world.borrow_mut();
        let slot = &mut world.hosts[usize::from(host.0)];
        slot.raw_allowed = raw_allowed;
        slot.ping_socket = ping_sockets;
    }

    /// The `nth` of the host's following calls of that kind (1 is the next) fails with that error, given by
    /// Linux's number.
    pub fn fail(&mut self, host: HostId, call: Call, nth: u32, errno: i32) {
        self.world.borrow_mut().hosts[usize::from(host.0)]
            .knobs
            .fail(call, nth, errno);
    }

    /// Reads and writes of the host are cut short, in so many millionths of all.
    pub fn set_short(&mut self, host: HostId, ppm: u32) {
        self.world.borrow_mut().hosts[usize::from(host.0)]
            .knobs
            .set_short(ppm);
    }

    /// Polls of the host report readiness that is not there, in so many millionths of all.
    pub fn set_spurious(&mut self, host: HostId, ppm: u32) {
        self.world.borrow_mut().hosts[usize::from(host.0)]
            .knobs
            .set_spurious(ppm);
    }

    /// Calls of the host are interrupted by signals (EINTR), in so many millionths of all.
    pub fn set_interrupts(&mut self, host: HostId, ppm: u32) {
        self.world.borrow_mut().hosts[usize::from(host.0)]
            .knobs
            .set_interrupts(ppm);
    }

    /// Events of the host come in any order.
    pub fn set_permuted(&mut self, host: HostId, on: bool) {
        self.world.borrow_mut().hosts[usize::from(host.0)]
            .knobs
            .set_permute(on);
    }

    /// Times at which something arrives are rounded up to a multiple of this, a microsecond by default.
    pub fn set_tick(&mut self, tick: std::time::Duration) {
        self.world.borrow_mut().tick_ns = crate::link::nanos(tick);
    }

    /// Records every packet from now on.
    pub fn capture(&mut self) {
        self.world.borrow_mut().capture = Some(Capture::default());
    }

    /// The packets recorded so far, from their IP header on, each with when it was sent.
    #[must_use]
    pub fn captured(&self) -> Vec<(sockeye_event_loop::Time, Vec<u8>)> {
        let world = self.world.borrow();
        let packets = world.capture.iter().flat_map(|capture| capture.packets.iter());
        packets
            .map(|(at, packet)| (sockeye_event_loop::Time::from_nanos(*at), packet.clone()))
            .collect()
    }

    /// Plants a mutant in the simulator, or none.
    #[cfg(feature = "mutants")]
    pub fn plant(&mut self, mutant: Option<crate::Mutant>) {
        self.world.borrow_mut().plant(mutant);
    }
}
