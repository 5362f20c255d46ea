//! write: peers that stop, that are gone, a network that loses, pipes that fail between two sockets.

use std::cell::Cell;
use std::process::Command;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use libc as e;
use sockeye_event_loop::{ConnectRequest, StreamId, StreamOptions};
use sockeye_sim::{Call, LinkOptions};
use sockeye_tests::pattern;
use sockeye_tests::program::Running;
use sockeye_tests::skip::{self, Need};
use sockeye_tests::wait::PATIENCE;

use crate::ground::{alone, asker, healthy, injected, is_served, serve_echo};
use crate::probe::{Log, Probe, Told};
use crate::read::ends_one_connection;
use crate::world::{OnKernel, Simulated, World};

in_both_worlds!(
    writes_into_a_connection_that_was_reset_end_it_and_nothing_else,
    an_endless_producer_is_held_back_and_ended,
);

const ENDS: [(i32, &str); 4] = [
    (e::EPIPE, "EPIPE"),
    (e::ECONNRESET, "ECONNRESET"),
    (e::ETIMEDOUT, "ETIMEDOUT"),
    (e::EIO, "EIO"),
];

#[test]
fn an_error_of_a_write_ends_one_connection_simulated() {
    for (errno, _) in ENDS {
        let mut world = Simulated::new();
        ends_one_connection(&mut world, |world| {
            world.fail_at_the_server(Call::Write, 1, errno);
        });
    }
}

#[test]
fn an_error_of_a_write_ends_one_connection() {
    let injects: Vec<String> = ENDS
        .iter()
        .map(|(_, name)| format!("sendto:error={name}:when=200"))
        .collect();
    let injects: Vec<&str> = injects.iter().map(String::as_str).collect();
    injected("write::an_error_of_a_write_ends_one_connection", &injects, || {
        let mut world = OnKernel::new();
        ends_one_connection(&mut world, |_| {});
    });
}

/// A write or a read fails although the connection itself would go on: what was promised is not sent, and the peer must not
/// take what it has for the whole.
#[test]
fn an_error_is_no_end_for_the_peer_simulated() {
    for (call, nth) in [(Call::Write, 2), (Call::Read, 1)] {
        let mut world = Simulated::new();
        let (server, at) = Probe::new()
            .open(|stream| {
                assert!(stream.write(&[7; 50_000]).is_taken());
                let _ = stream.write(&[7; 50_000]);
            })
            .serve(&mut world, StreamOptions::default());
        let client = Probe::new()
            .open(|stream| assert!(stream.write(b"please").is_taken()))
            .connect(&mut world, at);
        let (sim, host, _) = world.parts();
        sim.fail(host, call, nth, e::EIO);
        let (s, c) = (server.log.clone(), client.log.clone());
        world.until("over", || s.has(&Told::Dropped) && c.has(&Told::Dropped));
        assert_eq!(
            (s.closes(), c.closes()),
            (vec!["error".into()], vec!["error".into()])
        );
        assert!(!c.has(&Told::Eof), "{call:?}: it looks whole");
    }
}

/// A hundred times: the peer resets while there is always something to write.
fn writes_into_a_connection_that_was_reset_end_it_and_nothing_else<W: World>() {
    const MANY: usize = 100;
    let mut world = W::new();
    let (_, echo_at) = serve_echo(&mut world);
    let bystander = healthy(&mut world, echo_at);
    let push = |stream: &mut sockeye_event_loop::Stream<'_>| while stream.write(&[7; 60_000]).is_taken() {};
    let (server, at) = Probe::new()
        .open(push)
        .writable(push)
        .serve(&mut world, StreamOptions::default());
    let mut left = 100_000_usize;
    let client = Probe::new().data(move |stream, data| {
        left = left.saturating_sub(data.len());
        if left == 0 {
            left = 100_000;
            stream.abort();
        }
        data.len()
    });
    let log = client.log.clone();
    let handle = world
        .client()
        .add_stream_service(client, StreamOptions::default());
    for _ in 0..MANY {
        let request = world.request(at);
        world.client().connect(handle, request);
    }
    let (s, b) = (server.log.clone(), bystander.log.clone());
    world.until("all over", || {
        // What was counted for one connection may have come on another: those that are left are reset at the end.
        log.closes().len() + 1 >= MANY / 2 && s.closes().len() >= MANY / 2
    });
    let before = b.received_len(0);
    world.until("the bystander is served", || b.received_len(0) > before + 40);
    assert!(s.closes().iter().all(|why| why == "error"), "{:?}", s.closes());
    assert!(!b.has(&Told::Dropped));
    assert_eq!(world.server().stats().panics, 0);
}

/// Who produces without end is held back by `Full`, and ended by the write-stall deadline when nobody reads.
fn an_endless_producer_is_held_back_and_ended<W: World>() {
    let mut world = W::new();
    let mut options = StreamOptions::default();
    options.deadlines.write_stall = Some(Duration::from_millis(300));
    let queued = Rc::new(Cell::new(0));
    let (most, again) = (Rc::clone(&queued), Rc::clone(&queued));
    let push = move |stream: &mut sockeye_event_loop::Stream<'_>, most: &Cell<usize>| {
        while stream.write(&[7; 10_000]).is_taken() {}
        most.set(most.get().max(stream.queued()));
    };
    let bound = options.watermarks.high + options.watermarks.max_write;
    let (server, at) = Probe::new()
        .open(move |stream| push(stream, &most))
        .writable(move |stream| push(stream, &again))
        .serve(&mut world, options);
    let client = Probe::new().open(|stream| stream.pause()).connect(&mut world, at);
    let (s, c) = (server.log.clone(), client.log.clone());
    world.until("ended", || s.has(&Told::Dropped));
    assert_eq!(s.closes(), ["write-stall deadline"]);
    assert!(queued.get() <= bound, "{} of {bound}", queued.get());
    world.until("told", || c.has(&Told::Dropped));
    assert_eq!(world.server().stats().memory, 0);
}

/// A real process reads from a connection of the server's loop until it is stopped. `Running` and what it will say at the end.
fn reader(at: std::net::SocketAddr) -> Running {
    let script = format!("exec 3<>/dev/tcp/{}/{}; exec cksum <&3", at.ip(), at.port());
    let mut command = Command::new("bash");
    command.args(["-c", &script]);
    Running::start(&mut command)
}

fn is_stopped(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") T "))
}

/// SIGSTOP in the middle of sixteen megabytes: a neighbour is served, nothing is lost, and after SIGCONT all arrives.
#[test]
fn a_stopped_peer_is_waited_for_and_gets_all() {
    if !skip::require(&[Need::program("bash"), Need::program("cksum")]) {
        return;
    }
    let mut world = OnKernel::new();
    let (_, echo_at) = serve_echo(&mut world);
    let bystander = healthy(&mut world, echo_at);
    let data = pattern(16 << 20);
    let sent = Rc::new(data.clone());
    let (server, at) = Probe::new().serve(&mut world, StreamOptions::default());
    let mut peer = reader(at);
    let (s, b) = (server.log.clone(), bystander.log.clone());
    world.until("open", || s.opened() == 1);
    peer.signal(libc::SIGSTOP);
    let pid = peer.pid();
    world.until("stopped", || is_stopped(pid));
    let id = s.id(0);
    let mut done = 0;
    world.until("the way is full, and the bystander is served", || {
        b.received_len(0) > 100
    });
    for _ in 0..200 {
        let bytes = Rc::clone(&sent);
        let taken = world.server().with(server.handle, move |_, context| {
            let mut taken = 0;
            while let Some(piece) = bytes.get(done + taken..) {
                let piece = &piece[..piece.len().min(60_000)];
                if piece.is_empty() || !context.write(id, piece).is_taken() {
                    break;
                }
                taken += piece.len();
            }
            taken
        });
        done += taken.unwrap();
        world.pass(Duration::from_millis(1));
    }
    assert!(done < data.len(), "a stopped peer took all of it");
    let before = b.received_len(0);
    world.until("the bystander is served", || b.received_len(0) > before + 400);
    assert!(!s.has(&Told::Dropped));
    peer.signal(libc::SIGCONT);
    while done < data.len() {
        let piece = &data[done..data.len().min(done + 60_000)];
        let taken = world
            .server()
            .with(server.handle, |_, context| context.write(id, piece).is_taken());
        if taken.unwrap() {
            done += piece.len();
        }
        world.pass(Duration::from_micros(100));
    }
    world
        .server()
        .with(server.handle, |_, context| context.stream(id).unwrap().close());
    world.until("all is read", || s.has(&Told::Dropped));
    let line = peer.line(PATIENCE);
    let mut check = Command::new("cksum");
    let expected = sockeye_tests::program::output_with_input(&mut check, &data, PATIENCE).text();
    assert_eq!(line.trim(), expected.trim());
    assert!(peer.wait(PATIENCE).success());
}

#[test]
fn a_stopped_peer_is_given_up_at_the_deadline() {
    if !skip::require(&[Need::program("bash"), Need::program("cksum")]) {
        return;
    }
    let mut world = OnKernel::new();
    let mut options = StreamOptions::default();
    options.deadlines.write_stall = Some(Duration::from_millis(200));
    let push = |stream: &mut sockeye_event_loop::Stream<'_>| while stream.write(&[7; 60_000]).is_taken() {};
    let (server, at) = Probe::new().writable(push).serve(&mut world, options);
    let mut peer = reader(at);
    let s = server.log.clone();
    world.until("open", || s.opened() == 1);
    peer.signal(libc::SIGSTOP);
    let pid = peer.pid();
    world.until("stopped", || is_stopped(pid));
    let id = s.id(0);
    world.server().with(server.handle, |_, context| {
        context.stream(id).unwrap().notify_writable()
    });
    world.until("given up", || s.has(&Told::Dropped));
    assert_eq!(s.closes(), ["write-stall deadline"]);
    assert_eq!(world.server().stats().memory, 0);
}

/// The program of the peer stands still, its kernel goes on: the same on both counts.
#[test]
fn a_stopped_peer_is_waited_for_or_given_up_simulated() {
    for stall in [None, Some(Duration::from_secs(5))] {
        let mut world = Simulated::new();
        let mut options = StreamOptions::default();
        options.deadlines.write_stall = stall;
        let data = pattern(4_000_000);
        let (server, at) = Probe::new()
            .pushing(Rc::new(data.clone()))
            .serve(&mut world, options);
        let client = Probe::new().connect(&mut world, at);
        let (s, c) = (server.log.clone(), client.log.clone());
        world.until("begun", || c.received_len(0) > 0);
        let (sim, _, host) = world.parts();
        sim.pause(host);
        sim.run_for(Duration::from_secs(60)).unwrap();
        sim.resume(host);
        if stall.is_none() {
            world.until("all", || c.received_len(0) == data.len());
            assert!(c.received(0) == data && !s.has(&Told::Dropped));
        } else {
            world.until("over", || c.has(&Told::Dropped));
            assert_eq!(s.closes(), ["write-stall deadline"]);
            assert!(data.starts_with(&c.received(0)), "no wrong byte");
        }
    }
}

/// A relay of a service with that log: who is accepted is joined with a connection to `to`.
fn relay(to: std::net::SocketAddr) -> (Probe, Log) {
    let front: Rc<Cell<Option<StreamId>>> = Rc::default();
    let probe = Probe::new().open(move |stream| {
        if stream.tag() == 0 {
            stream.pause();
            front.set(Some(stream.id()));
            stream.context().connect(ConnectRequest::new(to).tag(1));
        } else {
            assert!(stream.join(front.take().unwrap()));
        }
    });
    let log = probe.log.clone();
    (probe, log)
}

/// splice(2) fails between the two sides of a relay: all bytes arrive in order, or both sides see a reset.
#[test]
fn a_relay_whose_splice_fails_loses_nothing_unseen() {
    let injects = [
        "splice:error=EINVAL:when=1",
        "splice:error=EINTR:when=1+2",
        "splice:error=ENOMEM:when=2+3",
        "splice:error=EAGAIN:when=3+40",
        "pipe2:error=EMFILE:when=1",
        "pipe2:error=ENFILE:when=1+",
    ];
    injected(
        "write::a_relay_whose_splice_fails_loses_nothing_unseen",
        &injects,
        || {
            let mut world = OnKernel::new();
            let data = pattern(3_000_000);
            let (target, to) = serve_echo(&mut world);
            let (probe, relayed) = relay(to);
            let handle = world.server().add_stream_service(probe, StreamOptions::default());
            let at = world.listen(handle);
            let client = asker(data.clone()).connect(&mut world, at);
            let c = client.log.clone();
            world.until("over", || c.has(&Told::Dropped));
            world.until("the relay too", || relayed.count(&Told::Dropped) == 2);
            assert!(data.starts_with(&c.received(0)), "wrong bytes");
            assert!(data.starts_with(&target.log.received(0)), "wrong bytes");
            if c.received_len(0) < data.len() {
                assert_eq!(c.closes(), ["error"], "half of it looks whole");
            }
        },
    );
}

/// sendfile(2) fails in the middle of a file: the peer has all of it, or a reset.
#[test]
fn a_file_whose_sendfile_fails_is_whole_or_a_reset() {
    let injects = [
        "sendfile:error=EINVAL:when=1",
        "sendfile:error=EINTR:when=1+2",
        "sendfile:error=ENOMEM:when=1+2",
        "sendfile:error=EIO:when=2",
        "sendfile:error=EOVERFLOW:when=1",
    ];
    injected(
        "write::a_file_whose_sendfile_fails_is_whole_or_a_reset",
        &injects,
        || {
            use std::io::Write as _;
            let mut world = OnKernel::new();
            let data = pattern(5_000_000);
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&data).unwrap();
            let file = Arc::new(file);
            let (server, at) = Probe::new()
                .open(move |stream| {
                    // An error of the first pieces is answered at once.
                    let _ = stream.send_file(&file, 0, 5_000_000);
                    stream.close();
                })
                .serve(&mut world, StreamOptions::default());
            let client = Probe::new().connect(&mut world, at);
            let (s, c) = (server.log.clone(), client.log.clone());
            // The reset may come before the client has seen that it is connected.
            let failed = |told: &Told| matches!(told, Told::ConnectFailed(_));
            world.until("over", || {
                s.has(&Told::Dropped) && (c.has(&Told::Dropped) || c.all().iter().any(failed))
            });
            assert!(data.starts_with(&c.received(0)), "wrong bytes");
            if c.received_len(0) < data.len() {
                assert_eq!(s.closes(), ["error"]);
                assert!(!c.has(&Told::Close("closed".into())), "a part of it looks whole");
            }
        },
    );
}

/// A tenth of all segments is lost on their way (cBPF at the socket): TCP sends them again, and every byte arrives.
#[test]
fn loss_costs_a_stream_time_and_no_bytes() {
    alone("write::loss_costs_a_stream_time_and_no_bytes", || {
        use sockeye_socket::filter::Filter;
        let mut world = OnKernel::new();
        let lossy = |stream: &mut sockeye_event_loop::Stream<'_>| {
            let tcp = stream.tcp().unwrap();
            Filter::lossy(1, 10).attach(tcp).unwrap();
        };
        let (server, at) = Probe::new()
            .open(lossy)
            .serve(&mut world, StreamOptions::default());
        let data = pattern(400_000);
        let client = Probe::new()
            .pushing(Rc::new(data.clone()))
            .connect(&mut world, at);
        let s = server.log.clone();
        world.until("all of it", || s.received_len(0) == data.len());
        assert!(s.received(0) == data);
        assert!(!client.log.has(&Told::Dropped));
    });
}

#[test]
fn loss_costs_a_stream_time_and_no_bytes_simulated() {
    let mut world = Simulated::new();
    let (server, at) = serve_echo(&mut world);
    let (sim, _, _) = world.parts();
    sim.set_lan(LinkOptions {
        latency: Duration::from_millis(1),
        jitter: Duration::from_millis(2),
        loss_ppm: 100_000,
        duplicate_ppm: 50_000,
        reorder_ppm: 50_000,
        ..LinkOptions::default()
    });
    let data = pattern(400_000);
    let client = asker(data.clone()).connect(&mut world, at);
    let (s, c) = (server.log.clone(), client.log.clone());
    world.until("answered", || c.has(&Told::Dropped) && s.has(&Told::Dropped));
    assert!(c.received(0) == data && s.received(0) == data);
    is_served(&mut world, at);
}
