//! read: readiness that is none, errors in mid-stream, pieces of every size.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use sockeye_event_loop::{EventLoop, StreamOption, StreamOptions};
use sockeye_sim::Call;
use sockeye_tests::pattern;
use sockeye_tests::program;
use sockeye_tests::skip::{self, Need};
use sockeye_tests::wait::PATIENCE;

use libc as e;

use crate::ground::{alone, asker, echo, healthy, injected, is_served, serve_echo};
use crate::probe::{Probe, Told};
use crate::world::{OnKernel, Simulated, World};

in_both_worlds!(
    a_megabyte_through_the_smallest_buffers_is_whole,
    a_question_that_is_never_finished_costs_its_own_connection,
);

/// What ends a connection when a read says so.
const ENDS: [(i32, &str); 6] = [
    (e::ECONNRESET, "ECONNRESET"),
    (e::ETIMEDOUT, "ETIMEDOUT"),
    (e::ECONNABORTED, "ECONNABORTED"),
    (e::EHOSTUNREACH, "EHOSTUNREACH"),
    (e::ENOTCONN, "ENOTCONN"),
    (e::EIO, "EIO"),
];

/// The first read or write of a connection fails for good: that connection is told an error, others are served.
pub fn ends_one_connection<W: World>(world: &mut W, fail: impl FnOnce(&mut W)) {
    let (server, at) = serve_echo(world);
    let bystander = healthy(world, at);
    let (s, b) = (server.log.clone(), bystander.log.clone());
    world.until("the bystander is served", || b.received_len(0) > 100);
    fail(world);
    let client = asker(b"hello".to_vec()).connect(world, at);
    let c = client.log.clone();
    world.until("an error on one side at least", || {
        [&s, &b, &c]
            .iter()
            .any(|log| log.closes().iter().any(|why| why == "error"))
    });
    is_served(world, at);
    for log in [&s, &b, &c] {
        let closes = log.closes();
        assert_eq!(
            log.count(&Told::Dropped),
            closes.len(),
            "each is told its end once"
        );
        assert!(
            closes
                .iter()
                .all(|why| ["closed", "error"].contains(&why.as_str())),
            "{closes:?}"
        );
    }
    assert_eq!(world.client().stats().panics + world.server().stats().panics, 0);
}

#[test]
fn an_error_of_a_read_ends_one_connection_simulated() {
    for (errno, _) in ENDS {
        let mut world = Simulated::new();
        ends_one_connection(&mut world, |world| {
            world.fail_at_the_server(Call::Read, 1, errno);
        });
    }
}

#[test]
fn an_error_of_a_read_ends_one_connection() {
    let injects: Vec<String> = ENDS
        .iter()
        .map(|(_, name)| format!("recvfrom:error={name}:when=200"))
        .collect();
    let injects: Vec<&str> = injects.iter().map(String::as_str).collect();
    injected("read::an_error_of_a_read_ends_one_connection", &injects, || {
        let mut world = OnKernel::new();
        ends_one_connection(&mut world, |_| {});
    });
}

/// Readiness was true when it was told, and is not any more: somebody else with the same socket has read what was there. The
/// read returns EAGAIN; what comes next is heard.
#[test]
fn readiness_that_another_owner_has_used_up_is_forgotten() {
    alone(
        "read::readiness_that_another_owner_has_used_up_is_forgotten",
        || {
            let mut events = EventLoop::new().unwrap();
            let probe = echo();
            let log = probe.log.clone();
            let service = events.add_stream_service(probe, StreamOptions::default());
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            let (stream, peer) = listener.accept().unwrap();
            let mut thief = stream.try_clone().unwrap();
            stream.set_nonblocking(true).unwrap();
            events.adopt(service, stream.into(), peer);
            while log.opened() == 0 {
                events.turn(Some(Duration::ZERO)).unwrap();
            }
            for _ in 0..50 {
                client.write_all(b"stolen").unwrap();
                let mut gone = [0; 6];
                sockeye_tests::wait::ready(&thief, sockeye_tests::wait::Readiness::Readable, PATIENCE);
                thief.read_exact(&mut gone).unwrap();
                // The event is in the poller's queue, the bytes are not in the socket's.
                events.turn(Some(Duration::ZERO)).unwrap();
            }
            assert_eq!(log.received_len(0), 0);
            client.write_all(b"kept").unwrap();
            let begun = Instant::now();
            while log.received_len(0) < 4 {
                assert!(begun.elapsed() < PATIENCE);
                events.turn(Some(Duration::from_millis(20))).unwrap();
            }
            let mut answer = [0; 4];
            client.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"kept");
            assert!(!log.has(&Told::Dropped));
        },
    );
}

/// Polls that report what is not so, every time: nothing is lost, nothing is told twice, nothing spins.
#[test]
fn false_readiness_changes_nothing_simulated() {
    for ppm in [100_000, 1_000_000] {
        let mut world = Simulated::new();
        let (server, at) = serve_echo(&mut world);
        let (sim, left, right) = world.parts();
        sim.set_spurious(left, ppm);
        sim.set_spurious(right, ppm);
        let question = pattern(300_000);
        let client = asker(question.clone()).connect(&mut world, at);
        let log = client.log.clone();
        world.until("answered", || log.has(&Told::Dropped));
        assert!(log.received(0) == question);
        let s = server.log.clone();
        world.until("over", || s.has(&Told::Dropped));
        assert_eq!(
            (s.closes(), log.closes()),
            (vec!["closed".into()], vec!["closed".into()])
        );
    }
}

/// Every read and every write is cut short, down to a byte, in both directions at once, with interrupted calls among them.
#[test]
fn short_reads_and_writes_change_nothing_simulated() {
    for interrupts in [0, 300_000] {
        let mut world = Simulated::new();
        let (_, at) = serve_echo(&mut world);
        let (sim, left, right) = world.parts();
        for host in [left, right] {
            sim.set_short(host, 1_000_000);
            sim.set_interrupts(host, interrupts);
            sim.set_permuted(host, true);
        }
        let question = pattern(200_000);
        let clients: Vec<_> = (0..5)
            .map(|_| asker(question.clone()).connect(&mut world, at))
            .collect();
        world.until("answered", || {
            clients.iter().all(|client| client.log.has(&Told::Dropped))
        });
        for client in &clients {
            assert!(client.log.received(0) == question);
            assert_eq!(client.log.closes(), ["closed"]);
        }
    }
}

/// Buffers of the kernel so small that each write and each read is short.
fn a_megabyte_through_the_smallest_buffers_is_whole<W: World>() {
    let small = StreamOptions {
        socket: vec![
            StreamOption::SendBuffer(4096),
            StreamOption::RecvBuffer(16 * 1024),
        ],
        ..StreamOptions::default()
    };
    let mut world = W::new();
    let (server, at) = echo().serve(&mut world, small.clone());
    let question = pattern(1_000_000);
    let request = world.request(at);
    let client = asker(question.clone()).connect_with(&mut world, request, small);
    let (s, c) = (server.log.clone(), client.log.clone());
    world.until("answered", || c.has(&Told::Dropped) && s.has(&Told::Dropped));
    assert!(c.received(0) == question && s.received(0) == question);
    assert_eq!(
        (s.closes(), c.closes()),
        (vec!["closed".into()], vec!["closed".into()])
    );
}

/// A byte now and then keeps a connection from being idle, and not from its read deadline being held by what a service sets:
/// here the tail is bounded, and the connection of who never finishes is closed alone.
fn a_question_that_is_never_finished_costs_its_own_connection<W: World>() {
    let mut world = W::new();
    let mut options = StreamOptions::default();
    options.watermarks.max_tail = 20;
    let (server, at) = Probe::new()
        .data(|stream, data| {
            // A question ends with a line feed.
            let Some(end) = data.iter().position(|byte| *byte == b'\n') else {
                return 0;
            };
            assert!(stream.write(&data[..=end]).is_taken());
            end + 1
        })
        .serve(&mut world, options);
    let drip = Probe::new()
        .open(|stream| {
            stream.set_timer(Duration::ZERO, 0);
        })
        .timer(|stream, _| {
            let _ = stream.write(b"x");
            stream.set_timer(Duration::from_millis(1), 0);
        })
        .connect(&mut world, at);
    let (s, d) = (server.log.clone(), drip.log.clone());
    world.until("given up", || s.has(&Told::Dropped) && d.has(&Told::Dropped));
    assert_eq!(s.closes().len(), 1);
    assert_ne!(s.closes(), ["closed"]);
    let client = asker(b"a whole line\n".to_vec()).connect(&mut world, at);
    let c = client.log.clone();
    world.until("served", || c.has(&Told::Dropped));
    assert_eq!(c.received(0), b"a whole line\n");
}

/// `ss -K` ends a connection that a loop serves: it is an error for its service, on both sides, and others go on.
#[test]
fn a_served_connection_that_ss_kills_is_told() {
    if !skip::require(&[Need::program("ss"), Need::NetAdmin]) {
        return;
    }
    alone("read::a_served_connection_that_ss_kills_is_told", || {
        let mut world = OnKernel::new();
        let (server, at) = serve_echo(&mut world);
        let bystander = healthy(&mut world, at);
        let b = bystander.log.clone();
        world.until("the bystander is served", || b.received_len(0) > 100);
        let local = std::rc::Rc::new(std::cell::Cell::new(0));
        let port = std::rc::Rc::clone(&local);
        let victim = Probe::new()
            .open(move |stream| port.set(stream.local_addr().unwrap().port()))
            .connect(&mut world, at);
        let (s, v) = (server.log.clone(), victim.log.clone());
        world.until("open", || v.opened() == 1 && s.opened() == 2);
        let mut kill = std::process::Command::new("ss");
        kill.args([
            "-K",
            "-t",
            "src",
            "127.0.0.1",
            "sport",
            "=",
            &local.get().to_string(),
        ]);
        let killed = program::output(&mut kill, PATIENCE);
        // Without CONFIG_INET_DIAG_DESTROY nothing is listed as killed.
        if !killed.text().contains(&local.get().to_string()) {
            skip::missing("a kernel with CONFIG_INET_DIAG_DESTROY", "another kernel");
            return;
        }
        world.until("told", || v.has(&Told::Dropped) && s.has(&Told::Dropped));
        assert_eq!(
            (v.closes(), s.closes()),
            (vec!["error".into()], vec!["error".into()])
        );
        is_served(&mut world, at);
        assert!(!b.has(&Told::Dropped));
    });
}
