//! The two worlds that a behaviour is shown in: the kernel and the simulated network, behind one trait.
//!
//! A world is two event loops, a server's and a client's, that can reach each other. What a test waits for is
//! a condition on what its services wrote down, and has a deadline: in wall-clock time on the kernel, in
//! virtual time in the simulation.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use sockeye_event_loop::backend::Backend;
use sockeye_event_loop::{
    ConnectRequest, EventLoop, ListenOptions, ListenerId, LoopOptions, Mio, ServiceHandle, StreamService,
    UnixListenOptions, UnixName,
};
use sockeye_sim::{Call, HostId, Sim, SimBackend};
use sockeye_tests::wait::PATIENCE;

/// Two loops that can reach each other.
pub trait World: Sized + 'static {
    type Backend: Backend;

    /// A world whose server's loop has these options.
    fn with(options: LoopOptions) -> Self;
    fn server(&mut self) -> &mut EventLoop<Self::Backend>;
    fn client(&mut self) -> &mut EventLoop<Self::Backend>;
    /// Where the server's sockets are.
    fn server_ip(&self) -> IpAddr;
    /// Where the client's sockets are.
    fn client_ip(&self) -> IpAddr;
    /// Turns both loops until `done`.
    ///
    /// # Panics
    /// When it is not done within the world's patience.
    #[track_caller]
    fn until(&mut self, what: &str, done: impl FnMut() -> bool);
    /// Turns both loops for that long on the world's clock, at least: what was due by then has happened.
    fn pass(&mut self, time: Duration);

    fn new() -> Self {
        Self::with(LoopOptions::default())
    }

    /// How to connect to an address that `listen` gave.
    fn request(&self, to: SocketAddr) -> ConnectRequest {
        ConnectRequest::new(to)
    }

    /// A listener of the server's loop, and its address.
    fn listen<S: StreamService>(&mut self, service: ServiceHandle<S>) -> SocketAddr {
        self.listen_with(service, &ListenOptions::default()).1
    }

    fn listen_with<S: StreamService>(
        &mut self,
        service: ServiceHandle<S>,
        options: &ListenOptions,
    ) -> (ListenerId, SocketAddr) {
        let at = SocketAddr::new(self.server_ip(), 0);
        let id = self.server().listen(service, at, options).unwrap();
        let port = self.server().local_addr(id).unwrap().port();
        (id, SocketAddr::new(self.server_ip(), port))
    }
}

/// Both loops on the kernel's loopback, turned by one thread.
pub struct OnKernel {
    server: EventLoop<Mio>,
    client: EventLoop<Mio>,
}

impl OnKernel {
    fn turn(&mut self) {
        self.server.turn(Some(Duration::ZERO)).unwrap();
        let busy = self.server.has_work() || self.client.has_work();
        let rest = if busy {
            Duration::ZERO
        } else {
            Duration::from_micros(200)
        };
        self.client.turn(Some(rest)).unwrap();
    }
}

impl World for OnKernel {
    type Backend = Mio;

    fn with(options: LoopOptions) -> Self {
        Self {
            server: EventLoop::with_options(options).unwrap(),
            client: EventLoop::new().unwrap(),
        }
    }

    fn server(&mut self) -> &mut EventLoop<Mio> {
        &mut self.server
    }

    fn client(&mut self) -> &mut EventLoop<Mio> {
        &mut self.client
    }

    fn server_ip(&self) -> IpAddr {
        Ipv4Addr::LOCALHOST.into()
    }

    fn client_ip(&self) -> IpAddr {
        Ipv4Addr::LOCALHOST.into()
    }

    fn until(&mut self, what: &str, mut done: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !done() {
            assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
            self.turn();
        }
    }

    fn pass(&mut self, time: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < time {
            self.turn();
        }
        // The machine may have kept the thread off the processor for nearly all of it: what was due by now happens now.
        for _ in 0..time.as_millis().clamp(1, 10) {
            self.turn();
        }
    }
}

/// Both loops on the kernel, their connections over Unix sockets. The addresses that it gives are none of IP: they stand for
/// names.
pub struct OverUnix {
    kernel: OnKernel,
    names: Vec<UnixName>,
}

/// A listener at a name that the kernel makes up.
fn listen_unix<B: Backend, S: StreamService>(
    events: &mut EventLoop<B>,
    service: ServiceHandle<S>,
    options: &ListenOptions,
) -> (ListenerId, UnixName) {
    let options = UnixListenOptions {
        backlog: options.backlog,
        max_connections: options.max_connections,
        apart: options.apart,
        ..UnixListenOptions::default()
    };
    let id = events.listen_unix(service, &UnixName::UNNAMED, &options).unwrap();
    (id, events.local_unix(id).unwrap())
}

/// The address that stands for the last name.
fn standing_for(names: &[UnixName]) -> SocketAddr {
    let place = u16::try_from(names.len() - 1).unwrap();
    SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), place)
}

impl World for OverUnix {
    type Backend = Mio;

    fn with(options: LoopOptions) -> Self {
        Self {
            kernel: OnKernel::with(options),
            names: Vec::new(),
        }
    }

    fn server(&mut self) -> &mut EventLoop<Mio> {
        &mut self.kernel.server
    }

    fn client(&mut self) -> &mut EventLoop<Mio> {
        &mut self.kernel.client
    }

    fn server_ip(&self) -> IpAddr {
        Ipv4Addr::UNSPECIFIED.into()
    }

    fn client_ip(&self) -> IpAddr {
        Ipv4Addr::UNSPECIFIED.into()
    }

    fn request(&self, to: SocketAddr) -> ConnectRequest {
        ConnectRequest::to_unix(self.names[usize::from(to.port())])
    }

    fn listen_with<S: StreamService>(
        &mut self,
        service: ServiceHandle<S>,
        options: &ListenOptions,
    ) -> (ListenerId, SocketAddr) {
        let (id, name) = listen_unix(&mut self.kernel.server, service, options);
        self.names.push(name);
        (id, standing_for(&self.names))
    }

    fn until(&mut self, what: &str, done: impl FnMut() -> bool) {
        self.kernel.until(what, done);
    }

    fn pass(&mut self, time: Duration) {
        self.kernel.pass(time);
    }
}

/// Both loops on hosts of a simulated network.
pub struct Simulated {
    sim: Sim,
    server: HostId,
    client: HostId,
}

const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

impl World for Simulated {
    type Backend = SimBackend;

    fn with(options: LoopOptions) -> Self {
        let mut sim = Sim::new(7);
        let server = sim.host_with(SERVER, options);
        let client = sim.host(CLIENT);
        Self { sim, server, client }
    }

    fn server(&mut self) -> &mut EventLoop<SimBackend> {
        self.sim.on(self.server)
    }

    fn client(&mut self) -> &mut EventLoop<SimBackend> {
        self.sim.on(self.client)
    }

    fn server_ip(&self) -> IpAddr {
        SERVER
    }

    fn client_ip(&self) -> IpAddr {
        CLIENT
    }

    fn until(&mut self, what: &str, done: impl FnMut() -> bool) {
        // A day of virtual time costs nothing while nothing happens.
        if let Err(error) = self.sim.run_until(Duration::from_secs(86_400), done) {
            panic!("{what}: {error}");
        }
    }

    fn pass(&mut self, time: Duration) {
        self.sim.run_for(time).unwrap();
    }
}

impl Simulated {
    /// Each host may have so many descriptors.
    #[allow(dead_code, reason = "not every test target has that many connections")]
    pub fn set_descriptor_limit(&mut self, limit: usize) {
        self.sim.set_descriptor_limit(self.server, limit);
        self.sim.set_descriptor_limit(self.client, limit);
    }

    /// The next `times` calls of that kind on the client's host fail.
    #[allow(dead_code, reason = "not every test target has a client that fails")]
    pub fn fail_at_the_client(&mut self, call: Call, times: u32, errno: i32) {
        for nth in 1..=times {
            self.sim.fail(self.client, call, nth, errno);
        }
    }

    /// The simulation that both loops are in, the server's host and the client's.
    #[allow(dead_code, reason = "not every test target turns other knobs")]
    pub fn parts(&mut self) -> (&mut Sim, HostId, HostId) {
        (&mut self.sim, self.server, self.client)
    }

    /// The next `times` calls of that kind on the server's host fail.
    pub fn fail_at_the_server(&mut self, call: Call, times: u32, errno: i32) {
        for nth in 1..=times {
            self.sim.fail(self.server, call, nth, errno);
        }
    }
}

/// One loop on a host of a simulated network, its connections over Unix sockets to itself: they reach no other host.
pub struct OverUnixSimulated {
    sim: Sim,
    host: HostId,
    names: Vec<UnixName>,
}

impl World for OverUnixSimulated {
    type Backend = SimBackend;

    fn with(options: LoopOptions) -> Self {
        let mut sim = Sim::new(7);
        let host = sim.host_with(SERVER, options);
        Self {
            sim,
            host,
            names: Vec::new(),
        }
    }

    fn server(&mut self) -> &mut EventLoop<SimBackend> {
        self.sim.on(self.host)
    }

    fn client(&mut self) -> &mut EventLoop<SimBackend> {
        self.sim.on(self.host)
    }

    fn server_ip(&self) -> IpAddr {
        Ipv4Addr::UNSPECIFIED.into()
    }

    fn client_ip(&self) -> IpAddr {
        Ipv4Addr::UNSPECIFIED.into()
    }

    fn request(&self, to: SocketAddr) -> ConnectRequest {
        ConnectRequest::to_unix(self.names[usize::from(to.port())])
    }

    fn listen_with<S: StreamService>(
        &mut self,
        service: ServiceHandle<S>,
        options: &ListenOptions,
    ) -> (ListenerId, SocketAddr) {
        let (id, name) = listen_unix(self.sim.on(self.host), service, options);
        self.names.push(name);
        (id, standing_for(&self.names))
    }

    fn until(&mut self, what: &str, done: impl FnMut() -> bool) {
        if let Err(error) = self.sim.run_until(Duration::from_secs(86_400), done) {
            panic!("{what}: {error}");
        }
    }

    fn pass(&mut self, time: Duration) {
        self.sim.run_for(time).unwrap();
    }
}

/// Runs each behaviour in both worlds, by IP and over Unix sockets. Behind `on_two_loops` stand those that count on a loop for
/// each side, which simulated Unix sockets do not have, behind `by_ip_only` those about resets, addresses and buffers of
/// TCP, which Unix sockets do not have.
#[macro_export]
macro_rules! in_all_worlds {
    (
        $($(#[$meta:meta])* $name:ident),+ $(,)?
        $(; on_two_loops: $($(#[$two_meta:meta])* $two:ident),+ $(,)?)?
        $(; by_ip_only: $($only:ident),+ $(,)?)?
    ) => {
        in_both_worlds!($($(#[$meta])* $name,)+ $($($(#[$two_meta])* $two,)+)? $($($only,)+)?);
        mod over_unix {
            $($(#[$meta])* #[test] fn $name() { super::$name::<$crate::world::OverUnix>(); })+
            $($($(#[$two_meta])* #[test] fn $two() { super::$two::<$crate::world::OverUnix>(); })+)?
        }
        mod over_unix_simulated {
            $($(#[$meta])* #[test] fn $name() { super::$name::<$crate::world::OverUnixSimulated>(); })+
        }
    };
}

/// Runs each behaviour in both worlds, as two tests.
#[macro_export]
macro_rules! in_both_worlds {
    ($($(#[$meta:meta])* $name:ident),+ $(,)?) => {
        mod on_the_kernel {
            $($(#[$meta])* #[test] fn $name() { super::$name::<$crate::world::OnKernel>(); })+
        }
        mod simulated {
            $($(#[$meta])* #[test] fn $name() { super::$name::<$crate::world::Simulated>(); })+
        }
    };
}
