//! Timers: very many, very long, over and over, and clocks that are not what they were.

use std::cell::Cell;
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use sockeye_event_loop::{Deadlines, EventLoop, StreamOptions};
use sockeye_tests::program::{self, Running};
use sockeye_tests::skip::{self, Need};
use sockeye_tests::wait::{self, PATIENCE};

use crate::ground::{again, healthy, is_child, is_served, leaks_nothing, passes, serve_echo};
use crate::probe::{Probe, Told};
use crate::world::{OnKernel, Simulated, World};

in_both_worlds!(
    a_hundred_thousand_in_one_tick_are_each_called_once,
    the_longest_time_there_is_never_comes,
    a_timer_that_sets_itself_for_now_starves_nobody,
);

/// All due at one time, a healthy connection beside them.
fn a_hundred_thousand_in_one_tick_are_each_called_once<W: World>() {
    const MANY: u64 = 100_000;
    let mut world = W::new();
    let (_, at) = serve_echo(&mut world);
    let beside = healthy(&mut world, at);
    let called: Rc<Cell<u64>> = Rc::default();
    let sum: Rc<Cell<u64>> = Rc::default();
    let (count, total) = (Rc::clone(&called), Rc::clone(&sum));
    let probe = Probe::new().service_timer(move |_, key| {
        count.set(count.get() + 1);
        total.set(total.get() + key);
    });
    let service = world.server().add_stream_service(probe, StreamOptions::default());
    let b = beside.log.clone();
    world.until("the healthy one is served", || b.received_len(0) > 100);
    world.server().with(service, |_, context| {
        for key in 0..MANY {
            context.set_timer(Duration::from_millis(300), key);
        }
    });
    let before = b.received_len(0);
    world.until("all of them", || called.get() >= MANY);
    world.until("the healthy one is served meanwhile", || {
        b.received_len(0) > before
    });
    world.pass(Duration::from_millis(5));
    assert_eq!((called.get(), sum.get()), (MANY, MANY * (MANY - 1) / 2));
    assert_eq!(world.server().timers(), 0);
}

/// `Duration::MAX` for every timer and deadline there is: no overflow, no time that is over at once.
fn the_longest_time_there_is_never_comes<W: World>() {
    let mut world = W::new();
    let longest = Some(Duration::MAX);
    let options = StreamOptions {
        deadlines: Deadlines {
            connect: longest,
            idle: longest,
            read: longest,
            write_stall: longest,
        },
        close_timeout: Duration::MAX,
        ..StreamOptions::default()
    };
    let (server, at) = Probe::new()
        .open(|stream| {
            for key in 1..=10 {
                stream.set_timer(Duration::MAX, key);
                stream.set_timer(Duration::MAX - Duration::from_nanos(key), key);
                stream.set_timer(Duration::from_secs(u64::MAX / 1_000_000_000), key);
            }
            stream.set_timer(Duration::from_millis(20), 99);
        })
        .serve(&mut world, options.clone());
    let request = world.request(at);
    let client = Probe::new().connect_with(&mut world, request, options);
    let (s, c) = (server.log.clone(), client.log.clone());
    world.until("the short one", || s.has(&Told::Timer(99)));
    world.pass(Duration::from_millis(50));
    assert_eq!(
        s.all()
            .iter()
            .filter(|told| matches!(told, Told::Timer(_)))
            .count(),
        1
    );
    assert!(!s.has(&Told::Dropped) && !c.has(&Told::Dropped));
    let id = c.id(0);
    world
        .client()
        .with(client.handle, |_, context| context.stream(id).unwrap().close());
    world.until("the end", || c.has(&Told::Dropped) && s.has(&Told::Dropped));
    assert_eq!(
        (s.closes(), c.closes()),
        (vec!["closed".into()], vec!["closed".into()])
    );
    world.server().start_drain(Duration::MAX);
    world.pass(Duration::from_millis(5));
}

fn a_timer_that_sets_itself_for_now_starves_nobody<W: World>() {
    let mut world = W::new();
    let (_, at) = serve_echo(&mut world);
    let rounds: Rc<Cell<u64>> = Rc::default();
    let count = Rc::clone(&rounds);
    let probe = Probe::new().service_timer(move |context, key| {
        count.set(count.get() + 1);
        if key < 200_000 {
            context.set_timer(Duration::ZERO, key + 1);
        }
    });
    let service = world.server().add_stream_service(probe, StreamOptions::default());
    world.server().with(service, |_, context| {
        context.set_timer(Duration::ZERO, 0);
    });
    for _ in 0..20 {
        is_served(&mut world, at);
    }
    assert!(rounds.get() > 0);
}

/// The clock of a time namespace (time_namespaces(7)), far ahead and just after its beginning.
#[test]
fn the_clock_of_a_time_namespace_is_as_good() {
    let name = "timers::the_clock_of_a_time_namespace_is_as_good";
    let body = || {
        let mut world = OnKernel::new();
        let mut options = StreamOptions::default();
        options.deadlines.idle = Some(Duration::from_millis(50));
        let (server, at) = Probe::new()
            .open(|stream| {
                stream.set_timer(Duration::from_millis(10), 1);
                stream.set_timer(Duration::MAX, 2);
            })
            .serve(&mut world, options);
        let begun = Instant::now();
        let client = Probe::new().connect(&mut world, at);
        let (s, c) = (server.log.clone(), client.log.clone());
        world.until("the timer", || s.has(&Told::Timer(1)));
        assert!(begun.elapsed() >= Duration::from_millis(10));
        world.until("the deadline", || s.has(&Told::Dropped) && c.has(&Told::Dropped));
        assert!(begun.elapsed() >= Duration::from_millis(50));
        assert_eq!(s.closes(), ["idle deadline"]);
    };
    if is_child(name) {
        return leaks_nothing(body);
    }
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
    let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
    let unshare = |offset: i64| {
        let mut command = Command::new("unshare");
        if !Need::NetAdmin.is_met() {
            command.arg("-Ur");
        }
        let offset = offset.to_string();
        command.args(["-T", "--fork", "--monotonic", &offset, "--boottime", &offset]);
        command
    };
    if !skip::require(&[Need::program("unshare")]) {
        return;
    }
    if !program::output(unshare(1).arg("true"), PATIENCE).status.success() {
        skip::missing("time namespaces", "a kernel with CONFIG_TIME_NS");
        return;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "seconds since the machine started"
    )]
    let back_to_the_start = 2 - uptime as i64;
    for offset in [1, 1_000_000_000, back_to_the_start] {
        let mut command = unshare(offset);
        command.arg(std::env::current_exe().unwrap());
        again(&mut command, name);
        passes(&mut command, &format!("{offset} s"));
    }
}

/// A process that is stopped for longer than its timers and goes on: each is called once, in order, and the connection that
/// was idle meanwhile is closed.
#[test]
fn timers_that_came_due_while_the_process_was_stopped_are_called_in_order() {
    let name = "timers::timers_that_came_due_while_the_process_was_stopped_are_called_in_order";
    if is_child(name) {
        let mut events = EventLoop::new().unwrap();
        let probe = Probe::new();
        let log = probe.log.clone();
        let service = events.add_stream_service(probe, StreamOptions::default());
        events.with(service, |_, context| {
            for key in 0..100 {
                context.set_timer(Duration::from_millis(2_000 + key), key);
            }
        });
        println!("\nready");
        while log.all().len() < 100 {
            events.turn(Some(PATIENCE)).unwrap();
        }
        let expected: Vec<Told> = (0..100).map(Told::ServiceTimer).collect();
        assert_eq!(log.all(), expected);
        return;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    again(&mut command, name);
    let mut child = Running::start(&mut command);
    child.line_with(PATIENCE, |line| line.contains("ready"));
    child.signal(libc::SIGSTOP);
    let pid = child.pid();
    let stat = move || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    wait::until("stopped", PATIENCE, || stat().contains(") T "));
    // The time that passes is what is tested: 100 ms longer than the last of its timers.
    std::thread::sleep(Duration::from_millis(2_200));
    child.signal(libc::SIGCONT);
    assert!(child.wait(PATIENCE).success());
}

#[test]
fn timers_that_came_due_while_the_process_was_stopped_are_called_in_order_simulated() {
    let mut world = Simulated::new();
    let probe = Probe::new();
    let log = probe.log.clone();
    let service = world.server().add_stream_service(probe, StreamOptions::default());
    world.server().with(service, |_, context| {
        for key in 0..100 {
            context.set_timer(Duration::from_millis(100 + key), key);
        }
    });
    let (sim, host, _) = world.parts();
    sim.run_for(Duration::from_millis(50)).unwrap();
    sim.pause(host);
    sim.run_for(Duration::from_secs(10)).unwrap();
    assert!(log.all().is_empty());
    sim.resume(host);
    world.pass(Duration::from_millis(10));
    let expected: Vec<Told> = (0..100).map(Told::ServiceTimer).collect();
    assert_eq!(log.all(), expected);
}
