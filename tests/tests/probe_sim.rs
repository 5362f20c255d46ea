//! The probes on the simulated network: the same services, exact times.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use sockeye::event_loop::Context;
use sockeye::probe::services::{self, Mode};
use sockeye::probe::{
    Flow, Limit, MtuEnd, MtuEvent, MtuMethod, MtuOptions, PingEvent, PingOptions, Pinger, PmtuProbe,
    ProbeState, TraceEnd, TraceEvent, TraceMethod, TraceOptions, Tracer, Watch, WatchEvent, WatchOptions,
};
use sockeye::sim::{HostId, LinkId, LinkOptions, Sim};

const LATENCY: Duration = Duration::from_millis(5);
const LIMIT: Duration = Duration::from_secs(120);
const FIRST: [u8; 4] = [10, 1, 0, 254];
const SECOND: [u8; 4] = [10, 2, 0, 254];
const SERVER: [u8; 4] = [10, 3, 0, 1];

struct Path {
    sim: Sim,
    client: HostId,
    /// Between the routers.
    middle: LinkId,
}

/// `client -- first -- second -- server`, five milliseconds a link.
fn path(seed: u64) -> Path {
    let mut sim = Sim::new(seed);
    let (client, server) = (sim.host([10, 0, 0, 1]), sim.host(SERVER));
    let (first, second) = (sim.router(FIRST), sim.router(SECOND));
    let link = LinkOptions {
        latency: LATENCY,
        ..LinkOptions::default()
    };
    sim.link(client, first, link);
    let middle = sim.link(first, second, link);
    sim.link(second, server, link);
    Path { sim, client, middle }
}

fn server(port: u16) -> SocketAddr {
    SocketAddr::from((SERVER, port))
}

/// Sets the flag once every target has finished: looking at a host's loop from outside would wake it each time.
fn finishing(flag: &Rc<Cell<bool>>) -> impl FnMut(&mut Context<'_>, &mut Pinger, PingEvent) + 'static {
    let flag = Rc::clone(flag);
    move |_, pinger, _| flag.set(pinger.is_finished())
}

#[test]
fn a_round_trip_takes_the_time_of_the_links() {
    for ping_sockets in [false, true] {
        let mut path = path(1);
        path.sim.set_raw(path.client, !ping_sockets, ping_sockets);
        let options = PingOptions {
            count: Some(5),
            identifier: Some(9),
            ..PingOptions::new(7)
        };
        let mut pinger = Pinger::new(options);
        let target = pinger.add(server(0)).expect("one host");
        let finished = Rc::new(Cell::new(false));
        let events = path.sim.on(path.client);
        let service = services::ping(events, pinger, finishing(&finished)).expect("ICMP is allowed");
        path.sim
            .run_until(LIMIT, || finished.get())
            .expect("five requests end");
        let prober = path.sim.on(path.client).service(service).expect("it is there");
        assert_eq!(
            prober.mode(),
            if ping_sockets { Mode::PingSocket } else { Mode::Raw }
        );
        let counts = prober.engine().counts(target);
        assert_eq!((counts.sent, counts.received), (5, 5));
        let rtt = prober.engine().rtt(target).expect("a target");
        assert_eq!((rtt.min(), rtt.max()), (Some(6 * LATENCY), Some(6 * LATENCY)));
    }
}

#[test]
fn loss_is_counted_once_whatever_the_seed() {
    for seed in 0..20 {
        let mut path = path(seed);
        let lossy = LinkOptions {
            latency: LATENCY,
            loss_ppm: 200_000,
            duplicate_ppm: 100_000,
            ..LinkOptions::default()
        };
        path.sim.set_link(path.middle, lossy);
        let mut pinger = Pinger::new(PingOptions {
            count: Some(50),
            identifier: Some(9),
            ..PingOptions::new(seed)
        });
        let finished = Rc::new(Cell::new(false));
        let target = pinger.add(server(0)).expect("one host");
        let service =
            services::ping(path.sim.on(path.client), pinger, finishing(&finished)).expect("ICMP is allowed");
        path.sim
            .run_until(LIMIT, || finished.get())
            .expect("fifty requests end");
        let counts = path
            .sim
            .on(path.client)
            .service(service)
            .expect("it is there")
            .engine()
            .counts(target);
        assert_eq!(counts.sent, 50);
        assert_eq!(counts.sent, counts.received + counts.lost, "{counts:?}");
        // 36 % of the round trips: fewer than 5 or more than 35 in 50 happen once in a million runs.
        assert!((5..=35).contains(&counts.lost), "{counts:?}");
        assert_eq!(counts.corrupt, 0);
    }
}

#[test]
fn the_route_is_that_of_the_network() {
    for method in [TraceMethod::Icmp, TraceMethod::Udp] {
        for flow in [Flow::Paris, Flow::Classic] {
            let mut path = path(3);
            let options = TraceOptions {
                flow,
                identifier: Some(9),
                ..TraceOptions::new(method, 7)
            };
            let tracer = Tracer::new(server(33_434), options).expect("sound options");
            let end = Rc::new(RefCell::new(None));
            let told = Rc::clone(&end);
            let service = services::trace(path.sim.on(path.client), tracer, move |_, _, event| {
                if let TraceEvent::Done(how) = event {
                    *told.borrow_mut() = Some(how);
                }
            })
            .expect("the method is allowed");
            path.sim
                .run_until(LIMIT, || end.borrow().is_some())
                .expect("a trace ends");
            assert_eq!(*end.borrow(), Some(TraceEnd::Reached { hop: 3 }));
            let prober = path.sim.on(path.client).service(service).expect("it is there");
            for (hop, address) in (1u8..).zip([FIRST, SECOND, SERVER]) {
                for probe in prober.engine().probes(hop) {
                    let ProbeState::Answered(answer) = probe else {
                        panic!("hop {hop}: {probe:?}")
                    };
                    assert_eq!(answer.from, Some(IpAddr::from(address)));
                    assert_eq!(answer.rtt, 2 * LATENCY * u32::from(hop), "{method:?} {flow:?}");
                }
            }
        }
    }
}

#[test]
fn a_watch_has_the_times_of_the_links_and_the_loss_behind_a_cut() {
    for method in [TraceMethod::Icmp, TraceMethod::Udp] {
        let mut path = path(4);
        let mut options = WatchOptions {
            rounds: Some(20),
            ..WatchOptions::new(method, 7)
        };
        options.trace.identifier = Some(9);
        let watch = Watch::new(server(33_434), options).expect("sound options");
        let (end, answers) = (Rc::new(Cell::new(None)), Rc::new(Cell::new(0)));
        let (told, counted) = (Rc::clone(&end), Rc::clone(&answers));
        let service = services::watch(path.sim.on(path.client), watch, move |_, _, event| match event {
            WatchEvent::Done(how) => told.set(Some(how)),
            WatchEvent::Answer { .. } => counted.set(counted.get() + 1),
            _ => {}
        })
        .expect("the method is allowed");
        // Ten rounds, and then nothing passes between the routers.
        path.sim
            .run_until(LIMIT, || answers.get() >= 30)
            .expect("answers come");
        let cut = LinkOptions {
            loss_ppm: 1_000_000,
            ..path.sim.link_options(path.middle)
        };
        path.sim.set_link(path.middle, cut);
        path.sim
            .run_until(LIMIT, || end.get().is_some())
            .expect("a watch ends");
        assert_eq!(
            end.get(),
            Some(TraceEnd::MaxHops),
            "ten rounds of silence: it is not known any more where the target is"
        );
        let prober = path.sim.on(path.client).service(service).expect("it is there");
        for ((number, hop), address) in prober.engine().hops().zip([FIRST, SECOND, SERVER]) {
            let received = if number == 1 { 20 } else { 10 };
            let counts = (hop.sent, hop.received, hop.lost);
            assert_eq!(counts, (20, received, 20 - received), "{method:?} {number}");
            assert_eq!(hop.paths()[0].address, IpAddr::from(address));
            // The interval does not divide into three whole microseconds, which is what receive times come in.
            let rtt = 2 * LATENCY * u32::from(number);
            let exact = rtt..rtt + Duration::from_micros(1);
            for found in [hop.rtt.min(), hop.rtt.max()] {
                assert!(found.is_some_and(|found| exact.contains(&found)), "{found:?}");
            }
            assert!(hop.jitter.max() < Some(Duration::from_micros(1)));
        }
    }
}

#[test]
fn the_path_mtu_is_that_of_the_narrowest_link() {
    for method in [MtuMethod::Icmp, MtuMethod::Udp] {
        let mut path = path(4);
        path.sim.set_link(
            path.middle,
            LinkOptions {
                latency: LATENCY,
                mtu: 1400,
                ..LinkOptions::default()
            },
        );
        let options = MtuOptions {
            ceiling: 1500,
            identifier: Some(9),
            ..MtuOptions::new(method, 7)
        };
        let probe = PmtuProbe::new(server(9), options);
        let end = Rc::new(RefCell::new(None));
        let told = Rc::clone(&end);
        services::path_mtu(path.sim.on(path.client), probe, move |_, _, event| {
            if let MtuEvent::Done(how) = event {
                *told.borrow_mut() = Some(how);
            }
        })
        .expect("the method is allowed");
        path.sim
            .run_until(LIMIT, || end.borrow().is_some())
            .expect("a search ends");
        let found = MtuEnd::Found {
            mtu: 1400,
            limit: Limit::Router(IpAddr::from(FIRST)),
        };
        assert_eq!(*end.borrow(), Some(found), "{method:?}");
    }
}
