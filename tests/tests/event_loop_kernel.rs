//! What the event loop does on the real kernel only: descriptors used up, sockets that come and go, threads.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::redundant_clone,
    clippy::type_complexity,
    reason = "what fails in a helper fails the test; a log is cloned for the closure that waits on it"
)]
#![allow(
    unreachable_pub,
    dead_code,
    reason = "the modules of one test target, and it uses a part of them"
)]

#[path = "event_loop/probe.rs"]
mod probe;
#[path = "event_loop/world.rs"]
mod world;

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::rc::Rc;
use std::time::{Duration, Instant};

use sockeye_event_loop::{
    ConnectRequest, Datagram, DatagramOptions, DatagramService, Datagrams, Deadlines, EventLoop,
    ListenOptions, LoopOptions, QueueEntry, RemoteError, ServiceHandle, StreamOption, StreamOptions,
};
use sockeye_tests::pattern;
use sockeye_tests::skip::{self, Need};
use sockeye_tests::wait::{self, PATIENCE};

use probe::{Probe, Told};
use world::{OnKernel, World as _};

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn echo() -> Probe {
    Probe::new().data(|stream, data| {
        if stream.write(data).is_taken() {
            data.len()
        } else {
            0
        }
    })
}

/// Runs this test again as a process of its own, so that it may change what a process has: its limits.
fn in_a_child(test: &str, body: fn()) {
    const CHILD: &str = "SOCKEYE_EVENT_LOOP_CHILD";
    if std::env::var_os(CHILD).is_some_and(|which| which == test) {
        return body();
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads", "1"])
        .env(CHILD, test)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn limit_descriptors(count: u64) {
    let limit = libc::rlimit {
        rlim_cur: count,
        rlim_max: count,
    };
    // SAFETY: setrlimit reads one struct that lives for the call.
    #[expect(unsafe_code, reason = "std has no setrlimit")]
    let done = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    assert_eq!(done, 0);
}

/// CPU time of this thread.
fn cpu() -> Duration {
    Duration::from_nanos(sockeye_socket::os::thread_cpu_ns())
}

/// 64 descriptors, 100 clients: those without one wait, the loop rests meanwhile, and a descriptor that this
/// process frees somewhere else is used within 100 ms though no SYN comes any more.
#[test]
fn descriptors_used_up() {
    in_a_child("descriptors_used_up", || {
        // The clients belong to another process: this one has no descriptors for them.
        let mut events = EventLoop::new().unwrap();
        let probe = echo();
        let log = probe.log.clone();
        let service = events.add_stream_service(probe, StreamOptions::default());
        let listener = events
            .listen(service, loopback(), &ListenOptions::default())
            .unwrap();
        let at = events.local_addr(listener).unwrap();
        let mut spare: Vec<_> = (0..4)
            .map(|_| std::fs::File::open("/dev/null").unwrap())
            .collect();
        let mut clients = std::process::Command::new("bash")
            .arg("-c")
            .arg(format!(
                "for i in $(seq 10 109); do eval \"exec $i<>/dev/tcp/127.0.0.1/{}\"; done; echo ready; read _",
                at.port()
            ))
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 6];
        clients.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
        limit_descriptors(64);
        let begun = Instant::now();
        while events.stats().accept_back_offs == 0 {
            assert!(begun.elapsed() < PATIENCE);
            events.turn(Some(Duration::from_millis(10))).unwrap();
        }
        let full = log.opened();
        assert!((40..64).contains(&full), "{full} accepted");
        let (from, used) = (Instant::now(), cpu());
        while from.elapsed() < Duration::from_secs(1) {
            events.turn(Some(Duration::from_millis(500))).unwrap();
        }
        let busy = cpu() - used;
        assert!(
            busy < from.elapsed() / 50,
            "{busy:?} of CPU in {:?}",
            from.elapsed()
        );
        assert_eq!(log.opened(), full);
        // Freed by somebody else in the process: nothing tells the loop.
        spare.pop();
        let freed = Instant::now();
        while log.opened() == full {
            assert!(freed.elapsed() < PATIENCE);
            events.turn(Some(Duration::from_millis(500))).unwrap();
        }
        assert!(
            freed.elapsed() < Duration::from_millis(100),
            "{:?}",
            freed.elapsed()
        );
        // Freed by a connection of the loop: at once.
        let id = log.id(0);
        events.with(service, |_, context| context.stream(id).unwrap().abort());
        let freed = Instant::now();
        while log.opened() == full + 1 {
            assert!(freed.elapsed() < PATIENCE);
            events.turn(Some(Duration::from_millis(500))).unwrap();
        }
        assert!(
            freed.elapsed() < Duration::from_millis(100),
            "{:?}",
            freed.elapsed()
        );
        drop(clients.stdin.take());
        clients.wait().unwrap();
        let begun = Instant::now();
        while log.closes().len() < 100 {
            assert!(begun.elapsed() < PATIENCE, "{} of 100 served", log.closes().len());
            events.turn(Some(Duration::from_millis(10))).unwrap();
        }
    });
}

/// Thousands that say nothing beside one that works: each of its messages is answered, and the silent ones cost
/// no CPU.
#[test]
fn thousands_of_silent_connections_beside_a_healthy_one() {
    const SILENT: usize = 6_000;
    sockeye_socket::os::raise_nofile_limit(20_000).unwrap();
    let mut world = OnKernel::new();
    let idle = Deadlines {
        idle: Some(Duration::from_secs(60)),
        ..Deadlines::default()
    };
    let options = StreamOptions {
        deadlines: idle,
        ..StreamOptions::default()
    };
    let (server, at) = echo().serve(&mut world, options);
    let silent = Probe::new();
    let log = silent.log.clone();
    let handle = world
        .client()
        .add_stream_service(silent, StreamOptions::default());
    for batch in 1..=SILENT / 500 {
        for _ in 0..500 {
            world.client().connect(handle, ConnectRequest::new(at));
        }
        let s = server.log.clone();
        world.until("five hundred more", || {
            log.opened() == batch * 500 && s.opened() == batch * 500
        });
    }
    let round_trips = |world: &mut OnKernel| {
        let client = Probe::new()
            .open(|stream| {
                let _ = stream.write(b"ping");
            })
            .data(|stream, data| {
                let _ = stream.write(data);
                data.len()
            })
            .connect(world, at);
        let log = client.log.clone();
        let used = cpu();
        world.until("two thousand answers", || log.received_len(0) >= 8_000);
        let used = cpu() - used;
        let id = client.log.id(0);
        world
            .client()
            .with(client.handle, |_, context| context.stream(id).unwrap().abort());
        used
    };
    let beside_many = round_trips(&mut world);
    for nth in 0..SILENT {
        let id = log.id(nth);
        world
            .client()
            .with(handle, |_, context| context.stream(id).unwrap().abort());
    }
    let s = server.log.clone();
    world.until("the silent ones gone", || s.closes().len() >= SILENT);
    let alone = round_trips(&mut world);
    // The same work: what it costs may not grow with those that do nothing. Generous, because caches differ.
    assert!(
        beside_many < alone * 4 + Duration::from_millis(50),
        "{beside_many:?} beside, {alone:?} alone"
    );
    assert_eq!(
        server
            .log
            .closes()
            .iter()
            .filter(|reason| *reason == "panicked")
            .count(),
        0
    );
}

#[test]
fn an_idle_loop_uses_no_cpu() {
    let mut world = OnKernel::new();
    let (server, at) = Probe::new().serve(&mut world, StreamOptions::default());
    let _client = Probe::new().connect(&mut world, at);
    let log = server.log.clone();
    world.until("open", || log.opened() == 1);
    let (turns, used, begun) = (world.server().stats().turns, cpu(), Instant::now());
    while begun.elapsed() < Duration::from_millis(300) {
        world.server().turn(Some(Duration::from_millis(300))).unwrap();
    }
    let turns = world.server().stats().turns - turns;
    assert!(turns < 10, "{turns} turns for nothing");
    assert!(cpu() - used < Duration::from_millis(10));
}

#[test]
fn a_detached_connection_lives_on_elsewhere_and_can_be_adopted() {
    let mut events = EventLoop::new().unwrap();
    let detached = Rc::new(RefCell::new(None));
    let keep = Rc::clone(&detached);
    let probe = Probe::new().data(move |stream, data| {
        let _ = stream.write(b"from the loop, ");
        *keep.borrow_mut() = stream.detach();
        data.len()
    });
    let log = probe.log.clone();
    let service = events.add_stream_service(probe, StreamOptions::default());
    let listener = events
        .listen(service, loopback(), &ListenOptions::default())
        .unwrap();
    let at = events.local_addr(listener).unwrap();
    let mut client = TcpStream::connect(at).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"hello").unwrap();
    while !log.has(&Told::Dropped) {
        events.turn(Some(PATIENCE)).unwrap();
    }
    assert_eq!(
        (log.closes(), events.open_streams()),
        (vec!["detached".into()], 0)
    );
    let stream = detached.borrow_mut().take().expect("it was given away");
    (&stream).write_all(b"from the new owner").unwrap();
    let mut answer = [0; 33];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"from the loop, from the new owner");
    // And onto another loop, by its owner and from another thread.
    let mut other = EventLoop::new().unwrap();
    let adopted = echo();
    let log = adopted.log.clone();
    let service = other.add_stream_service(adopted, StreamOptions::default());
    let peer = client.local_addr().unwrap();
    other.remote().adopt(service, stream, peer).unwrap();
    client.write_all(b"again").unwrap();
    while log.received_len(0) < 5 {
        other.turn(Some(PATIENCE)).unwrap();
    }
    let mut answer = [0; 5];
    client.read_exact(&mut answer).unwrap();
    assert_eq!((&answer, other.stats().accepted), (b"again", 1));
}

#[test]
fn a_remote_is_bounded_wakes_once_a_burst_and_knows_the_end() {
    let options = LoopOptions {
        remote_capacity: 100,
        ..LoopOptions::default()
    };
    let mut events = EventLoop::with_options(options).unwrap();
    let service = events.add_stream_service(Probe::new(), StreamOptions::default());
    let remote = events.remote();
    let ran = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let send = || {
        let ran = std::sync::Arc::clone(&ran);
        remote.with(service, move |_, _| {
            ran.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        })
    };
    for _ in 0..100 {
        send().unwrap();
    }
    assert_eq!(send(), Err(RemoteError::Full));
    let before = events.stats();
    events.turn(Some(PATIENCE)).unwrap();
    assert_eq!(ran.load(std::sync::atomic::Ordering::Relaxed), 100);
    assert_eq!(
        events.stats().events,
        before.events + 1,
        "one wake-up for a burst"
    );
    send().unwrap();
    // From another thread while the loop waits.
    let waker = remote.clone();
    let thread = std::thread::spawn(move || waker.stop());
    events.run().unwrap();
    thread.join().unwrap().unwrap();
    assert_eq!(ran.load(std::sync::atomic::Ordering::Relaxed), 101);
    drop(events);
    assert_eq!(remote.stop(), Err(RemoteError::Gone));
}

#[test]
fn the_end_of_a_loop_is_told_to_every_connection() {
    let mut world = OnKernel::new();
    let (server, at) = Probe::new().serve(&mut world, StreamOptions::default());
    let clients: Vec<_> = (0..5).map(|_| TcpStream::connect(at).unwrap()).collect();
    let log = server.log.clone();
    world.until("open", || log.opened() == 5);
    drop(world);
    assert_eq!(log.closes(), vec!["loop ended"; 5]);
    for mut client in clients {
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }
}

#[test]
fn a_loop_inside_another_poller_is_readable_when_it_has_work() {
    let mut world = OnKernel::new();
    let (server, at) = echo().serve(&mut world, StreamOptions::default());
    while world.server().has_work() {
        world.server().turn(Some(Duration::ZERO)).unwrap();
    }
    world.server().turn(Some(Duration::ZERO)).unwrap();
    assert!(!wait::ready(
        &world.server().as_fd(),
        wait::Readiness::Readable,
        Duration::from_millis(5)
    ));
    let mut client = TcpStream::connect(at).unwrap();
    client.write_all(b"x").unwrap();
    while server.log.received_len(0) == 0 {
        assert!(wait::ready(
            &world.server().as_fd(),
            wait::Readiness::Readable,
            PATIENCE
        ));
        world.server().turn(Some(Duration::ZERO)).unwrap();
        while world.server().has_work() {
            world.server().turn(Some(Duration::ZERO)).unwrap();
        }
    }
}

#[test]
fn what_comes_while_a_loop_drains_is_drained_too() {
    let mut events = EventLoop::new().unwrap();
    let probe = echo();
    let log = probe.log.clone();
    let service = events.add_stream_service(probe, StreamOptions::default());
    let own = TcpListener::bind(loopback()).unwrap();
    let mut client = TcpStream::connect(own.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let (stream, peer) = own.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    events.start_drain(PATIENCE);
    events.remote().adopt(service, stream.into(), peer).unwrap();
    client.write_all(b"late").unwrap();
    let begun = Instant::now();
    while log.closes().is_empty() {
        assert!(begun.elapsed() < PATIENCE / 2);
        events.turn(Some(Duration::from_millis(20))).unwrap();
        if log.has(&Told::Drain) {
            client.shutdown(std::net::Shutdown::Write).unwrap_or_default();
        }
    }
    assert!(log.has(&Told::Drain));
    assert_eq!(log.closes(), ["closed"]);
}

/// Serves three connections one after another while a system call of the accept path fails as `inject` says.
fn served_although(name: &str, inject: &str) {
    if !skip::require(&[Need::program("strace")]) {
        return;
    }
    let exe = std::env::current_exe().unwrap();
    let output = std::process::Command::new("strace")
        .args([
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "signal=none",
            "-e",
            &format!("inject={inject}"),
        ])
        .arg(exe)
        .args(["--exact", name, "--nocapture", "--test-threads", "1"])
        .env("SOCKEYE_EVENT_LOOP_INJECTED", inject)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{inject}: {}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn an_accept_that_fails_costs_that_accept() {
    let serve = || {
        let mut world = OnKernel::new();
        let (_, at) = echo().serve(&mut world, StreamOptions::default());
        for _ in 0..3 {
            let client = Probe::new()
                .open(|stream| {
                    let _ = stream.write(b"hello");
                })
                .connect(&mut world, at);
            let log = client.log.clone();
            world.until("served", || log.received_len(0) == 5);
        }
    };
    if std::env::var_os("SOCKEYE_EVENT_LOOP_INJECTED").is_some() {
        return serve();
    }
    for error in [
        "EMFILE",
        "ENFILE",
        "ENOBUFS",
        "ENOMEM",
        "ECONNABORTED",
        "EINTR",
        "EPROTO",
        "EPERM",
    ] {
        let inject = format!("accept4:error={error}:when=1..2");
        served_although("an_accept_that_fails_costs_that_accept", &inject);
    }
}

/// A backlog that is full drops SYNs: nobody answers, until the deadline.
#[test]
fn a_connect_that_nobody_answers_ends_at_its_deadline() {
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&loopback().into()).unwrap();
    listener.listen(0).unwrap();
    let listener = TcpListener::from(listener);
    let at = listener.local_addr().unwrap();
    let mut events = EventLoop::new().unwrap();
    let probe = Probe::new();
    let log = probe.log.clone();
    let deadlines = Deadlines {
        connect: Some(Duration::from_millis(150)),
        ..Deadlines::default()
    };
    let service = events.add_stream_service(
        probe,
        StreamOptions {
            deadlines,
            ..StreamOptions::default()
        },
    );
    let begun = Instant::now();
    for _ in 0..4 {
        events.connect(service, ConnectRequest::new(at));
    }
    let late = Told::ConnectFailed("connect: the deadline passed".into());
    while !log.has(&late) {
        assert!(begun.elapsed() < PATIENCE);
        events.turn(Some(Duration::from_millis(50))).unwrap();
    }
    assert!(
        begun.elapsed() >= Duration::from_millis(150),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn a_connect_to_itself_is_refused() {
    // A port of one's own range at which nobody listens: the kernel may choose it as the source.
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let first: u16 = range.split_whitespace().next().unwrap().parse().unwrap();
    let mut events = EventLoop::new().unwrap();
    let probe = Probe::new();
    let log = probe.log.clone();
    let service = events.add_stream_service(probe, StreamOptions::default());
    for port in first..first + 50 {
        let at = SocketAddr::new(loopback().ip(), port);
        // With the source given, it is certain.
        let options = sockeye_event_loop::ConnectOptions {
            source: Some(at),
            ..Default::default()
        };
        events.connect(service, ConnectRequest::new(at).options(options));
        let told = log.all().len();
        while log.all().len() == told {
            events.turn(Some(PATIENCE)).unwrap();
        }
    }
    assert_eq!(log.opened(), 0);
    assert!(
        log.all()
            .iter()
            .all(|told| matches!(told, Told::ConnectFailed(_)))
    );
}

/// A relay by splice: byte exact from and to peers that are no loops, one of them slow.
#[test]
fn a_spliced_relay_holds_back_for_a_slow_reader() {
    let target = TcpListener::bind(loopback()).unwrap();
    let to = target.local_addr().unwrap();
    let mut events = EventLoop::new().unwrap();
    let waiting: Rc<Cell<Option<sockeye_event_loop::StreamId>>> = Rc::default();
    let first = Rc::clone(&waiting);
    let probe = Probe::new().open(move |stream| {
        if stream.tag() == 0 {
            first.set(Some(stream.id()));
            stream.pause();
            stream.context().connect(ConnectRequest::new(to).tag(1));
        } else {
            assert!(stream.join(waiting.get().unwrap()));
        }
    });
    let log = probe.log.clone();
    let service = events.add_stream_service(probe, StreamOptions::default());
    let listener = events
        .listen(service, loopback(), &ListenOptions::default())
        .unwrap();
    let at = events.local_addr(listener).unwrap();
    let (up, down) = (pattern(10 << 20), pattern(3 << 20));
    let expected = (up.clone(), down.clone());
    let near = std::thread::spawn(move || {
        let stream = TcpStream::connect(at).unwrap();
        let mut writer = stream.try_clone().unwrap();
        let sender = std::thread::spawn(move || {
            writer.write_all(&up).unwrap();
            writer.shutdown(std::net::Shutdown::Write).unwrap();
        });
        let mut received = Vec::new();
        (&stream).read_to_end(&mut received).unwrap();
        sender.join().unwrap();
        received
    });
    let far = std::thread::spawn(move || {
        let (stream, _) = target.accept().unwrap();
        let mut writer = stream.try_clone().unwrap();
        let sender = std::thread::spawn(move || {
            writer.write_all(&down).unwrap();
            writer.shutdown(std::net::Shutdown::Write).unwrap();
        });
        let mut received = Vec::new();
        let mut chunk = vec![0; 100_000];
        loop {
            match (&stream).read(&mut chunk).unwrap() {
                0 => break,
                len => received.extend_from_slice(&chunk[..len]),
            }
            std::thread::yield_now();
        }
        sender.join().unwrap();
        received
    });
    let begun = Instant::now();
    while log.closes().len() < 2 {
        assert!(begun.elapsed() < PATIENCE);
        events.turn(Some(Duration::from_millis(100))).unwrap();
    }
    assert!(far.join().unwrap() == expected.0 && near.join().unwrap() == expected.1);
    assert_eq!(log.closes(), ["closed", "closed"]);
}

/// Counts what it gets, from senders with segmentation, and what the error queue says.
#[derive(Default)]
struct Counter {
    received: Rc<RefCell<Vec<usize>>>,
    refused: Rc<Cell<usize>>,
}

impl DatagramService for Counter {
    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        self.received.borrow_mut().push(datagram.data.len());
        let _ = socket.send(&datagram.echo());
    }

    fn on_error(&mut self, _: &mut Datagrams<'_>, entry: QueueEntry) {
        if let QueueEntry::Error(_) = entry {
            self.refused.set(self.refused.get() + 1);
        }
    }
}

#[test]
fn the_error_queue_tells_each_error_and_the_socket_goes_on() {
    let mut events = EventLoop::new().unwrap();
    let counter = Counter::default();
    let (refused, received) = (Rc::clone(&counter.refused), Rc::clone(&counter.received));
    let service = events.add_datagram_service(counter);
    let options = DatagramOptions {
        error_queue: true,
        ..DatagramOptions::default()
    };
    let id = events.bind(service, loopback(), &options).unwrap();
    let at = events.local_addr(id).unwrap();
    let gone = UdpSocket::bind(loopback()).unwrap();
    let nobody = gone.local_addr().unwrap();
    // Asked from a port that is closed before the answer comes: the answer is refused.
    for _ in 0..20 {
        gone.send_to(b"hello?", at).unwrap();
    }
    drop(gone);
    let begun = Instant::now();
    while refused.get() < 1 || received.borrow().len() < 20 {
        assert!(
            begun.elapsed() < PATIENCE,
            "{} refused by {nobody}",
            refused.get()
        );
        events.turn(Some(Duration::from_millis(20))).unwrap();
    }
    let client = UdpSocket::bind(loopback()).unwrap();
    client.set_nonblocking(true).unwrap();
    client.send_to(b"still there?", at).unwrap();
    let begun = Instant::now();
    loop {
        events.turn(Some(Duration::from_millis(20))).unwrap();
        match client.recv(&mut [0; 100]) {
            Ok(12) => break,
            Err(error) if error.kind() == ErrorKind::WouldBlock => assert!(begun.elapsed() < PATIENCE),
            other => panic!("{other:?}"),
        }
    }
}

/// One byte of urgent data among others, sent to many connections at once: the mark stops a read, not the stream.
#[test]
fn urgent_data_stops_no_stream() {
    let mut world = OnKernel::new();
    let (_, at) = echo().serve(&mut world, StreamOptions::default());
    let clients: Vec<sockeye::tcp::TcpStream> = (0..200)
        .map(|_| {
            let stream = TcpStream::connect(at).unwrap();
            stream.set_nonblocking(true).unwrap();
            stream.into()
        })
        .collect();
    for client in &clients {
        let mut writer = client;
        writer.write_all(b"abc").unwrap();
        client.send_urgent(b'!').unwrap();
        writer.write_all(b"def").unwrap();
    }
    let mut answers = vec![Vec::new(); clients.len()];
    world.until("seven bytes for each", || {
        for (client, answer) in clients.iter().zip(&mut answers) {
            let mut chunk = [0; 16];
            let mut reader = client;
            if let Ok(len) = reader.read(&mut chunk) {
                answer.extend_from_slice(&chunk[..len]);
            }
        }
        answers.iter().all(|answer| answer.len() >= 7)
    });
    // In their place as ordinary bytes (RFC 6093): nothing is lost, and nothing is out of order.
    assert!(answers.iter().all(|answer| answer == b"abc!def"));
}

/// The same through a relay, in small pieces that are copied and in large ones that are spliced.
#[test]
fn urgent_data_passes_a_relay_whole() {
    for size in [3, 1 << 20] {
        let target = TcpListener::bind(loopback()).unwrap();
        let to = target.local_addr().unwrap();
        let (mut events, at, log) = relay_to(to);
        let near = std::thread::spawn(move || {
            let mut stream = TcpStream::connect(at).unwrap();
            for part in 0..4_u8 {
                stream.write_all(&vec![part; size]).unwrap();
                let urgent: sockeye::tcp::TcpStream = stream.try_clone().unwrap().into();
                urgent.send_urgent(b'!').unwrap();
            }
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).unwrap();
        });
        let far = std::thread::spawn(move || {
            let (mut stream, _) = target.accept().unwrap();
            let mut received = Vec::new();
            stream.read_to_end(&mut received).unwrap();
            received
        });
        let begun = Instant::now();
        while log.closes().len() < 2 {
            assert!(begun.elapsed() < PATIENCE, "the relay stands still");
            events.turn(Some(Duration::from_millis(20))).unwrap();
        }
        near.join().unwrap();
        let mut expected = Vec::new();
        for part in 0..4_u8 {
            expected.extend_from_slice(&vec![part; size]);
            expected.push(b'!');
        }
        assert!(far.join().unwrap() == expected, "pieces of {size} bytes");
        assert_eq!(log.closes(), ["closed", "closed"]);
    }
}

/// A loop with a relay to `to`, where it listens, and what it was told.
fn relay_to(to: SocketAddr) -> (EventLoop, SocketAddr, probe::Log) {
    let (events, _, at, log) = relay_service_to(to, StreamOptions::default());
    (events, at, log)
}

/// The same, with the handle of its service, which has these options.
fn relay_service_to(
    to: SocketAddr,
    options: StreamOptions,
) -> (EventLoop, ServiceHandle<Probe>, SocketAddr, probe::Log) {
    let mut events = EventLoop::new().unwrap();
    let front: Rc<Cell<Option<sockeye_event_loop::StreamId>>> = Rc::default();
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
    let service = events.add_stream_service(probe, options);
    let listener = events
        .listen(service, loopback(), &ListenOptions::default())
        .unwrap();
    let at = events.local_addr(listener).unwrap();
    (events, service, at, log)
}

/// An idle pair holds two descriptors, whatever went through it before.
#[test]
fn an_idle_relay_holds_no_pipe() {
    if std::env::var_os("SOCKEYE_EVENT_LOOP_CHILD").is_none() {
        return in_a_child("an_idle_relay_holds_no_pipe", an_idle_relay_holds_no_pipe);
    }
    let target = TcpListener::bind(loopback()).unwrap();
    let to = target.local_addr().unwrap();
    let (mut events, at, _) = relay_to(to);
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = descriptors();
    let mut ends = Vec::new();
    for _ in 0..50 {
        let (near, far) = session(&mut events, at, &target);
        let begun = Instant::now();
        let (data, mut sent, mut received) = (vec![5; 2 << 20], 0, 0);
        let mut chunk = vec![0; 1 << 20];
        while received < data.len() {
            assert!(begun.elapsed() < PATIENCE);
            sent += (&near).write(&data[sent..]).unwrap_or(0);
            events.turn(Some(Duration::ZERO)).unwrap();
            received += (&far).read(&mut chunk).unwrap_or(0);
        }
        ends.push((near, far));
    }
    // Each session has four here, both ends of both connections; the loop keeps a few empty pipes for all.
    let held = descriptors() - before - 4 * ends.len();
    assert!(held <= 2 * 16, "{held} descriptors more than the connections'");
}

/// One connection through a relay: its near end and its far end, neither of them blocking.
fn session(events: &mut EventLoop, at: SocketAddr, target: &TcpListener) -> (TcpStream, TcpStream) {
    let near = TcpStream::connect(at).unwrap();
    near.set_nonblocking(true).unwrap();
    target.set_nonblocking(true).unwrap();
    let begun = Instant::now();
    let far = loop {
        assert!(begun.elapsed() < PATIENCE);
        events.turn(Some(Duration::from_millis(1))).unwrap();
        if let Ok((far, _)) = target.accept() {
            break far;
        }
    };
    far.set_nonblocking(true).unwrap();
    (near, far)
}

/// Where no pipe can be made, large pieces are copied as small ones are: nothing is lost.
#[test]
fn a_relay_without_pipes_copies() {
    if std::env::var_os("SOCKEYE_EVENT_LOOP_CHILD").is_none() {
        return in_a_child("a_relay_without_pipes_copies", a_relay_without_pipes_copies);
    }
    let target = TcpListener::bind(loopback()).unwrap();
    let to = target.local_addr().unwrap();
    let (mut events, at, log) = relay_to(to);
    let (mut near, mut far) = session(&mut events, at, &target);
    far.set_nonblocking(false).unwrap();
    near.set_nonblocking(false).unwrap();
    let begun = Instant::now();
    // What is open stays open, and nothing can be opened beside it.
    limit_descriptors(1);
    assert!(std::io::pipe().is_err(), "a pipe could be made");

    let data = pattern(8 << 20);
    let expected = data.clone();
    let sender = std::thread::spawn(move || {
        near.write_all(&data).unwrap();
        near.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        near.read_to_end(&mut answer).unwrap();
        answer
    });
    let receiver = std::thread::spawn(move || {
        let mut received = Vec::new();
        far.read_to_end(&mut received).unwrap();
        far.write_all(&received).unwrap();
        received
    });
    while log.closes().len() < 2 {
        assert!(begun.elapsed() < PATIENCE, "the relay stands still");
        events.turn(Some(Duration::from_millis(20))).unwrap();
    }
    assert!(receiver.join().unwrap() == expected);
    assert!(sender.join().unwrap() == expected);
    assert_eq!(log.closes(), ["closed", "closed"]);
}

/// A relay that is closed while bytes lie in its pipe still sends them, also where no descriptor can be had.
#[test]
fn a_relay_closed_with_a_full_pipe_loses_nothing() {
    if std::env::var_os("SOCKEYE_EVENT_LOOP_CHILD").is_none() {
        return in_a_child(
            "a_relay_closed_with_a_full_pipe_loses_nothing",
            a_relay_closed_with_a_full_pipe_loses_nothing,
        );
    }
    let target = TcpListener::bind(loopback()).unwrap();
    let to = target.local_addr().unwrap();
    // Buffers that grow by themselves may take all of the data, with nothing left to wait in the relay.
    let options = StreamOptions {
        socket: vec![
            StreamOption::SendBuffer(1 << 20),
            StreamOption::RecvBuffer(1 << 20),
        ],
        ..StreamOptions::default()
    };
    let (mut events, service, at, log) = relay_service_to(to, options);
    let (near, mut far) = session(&mut events, at, &target);
    let data = pattern(24 << 20);
    let (begun, mut sent, mut still) = (Instant::now(), 0, 0);
    // Nobody reads, so that at last nothing goes in any more: then the pipe is in use.
    while still < 20 || events.stats().bytes_in == events.stats().bytes_out {
        assert!(
            begun.elapsed() < PATIENCE,
            "{sent} bytes went in, and it is not full"
        );
        events.turn(Some(Duration::from_millis(1))).unwrap();
        match (&near).write(&data[sent..]) {
            Ok(len) => (sent, still) = (sent + len, 0),
            Err(_) => still += 1,
        }
    }
    let taken = events.stats().bytes_in;
    limit_descriptors(1);
    let id = log.id(0);
    events.with(service, |_, context| context.stream(id).unwrap().close());
    // It has nothing more to say: the loop need not wait for its end.
    drop(near);
    let receiver = std::thread::spawn(move || {
        far.set_nonblocking(false).unwrap();
        let mut received = Vec::new();
        far.read_to_end(&mut received).map(|_| received)
    });
    while log.closes().len() < 2 {
        assert!(begun.elapsed() < PATIENCE, "the relay does not end");
        events.turn(Some(Duration::from_millis(20))).unwrap();
    }
    let received = receiver.join().unwrap().unwrap();
    assert_eq!(received.len() as u64, taken);
    assert!(received == data[..received.len()]);
}

/// A pipe has no offsets and no end that is known: it is spliced, and waited for.
#[test]
fn a_pipe_is_sent_as_a_file_is() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let file = std::sync::Arc::new(std::fs::File::from(std::os::fd::OwnedFd::from(reader)));
    let mut world = OnKernel::new();
    let (_, at) = Probe::new()
        .open(move |stream| {
            assert!(stream.write(b"head:").is_taken());
            assert!(stream.send_file(&file, 0, 11).is_taken());
            assert!(stream.write(b":tail").is_taken());
            stream.close();
        })
        .serve(&mut world, StreamOptions::default());
    let client = Probe::new().connect(&mut world, at);
    let log = client.log.clone();
    world.until("the head", || log.received_len(0) == 5);
    writer.write_all(b"from").unwrap();
    world.until("the first part", || log.received_len(0) == 9);
    writer.write_all(b" a pipe").unwrap();
    world.until("the end", || log.has(&Told::Dropped));
    assert_eq!(log.received(0), b"head:from a pipe:tail");
    assert_eq!(log.closes(), ["closed"]);
}

/// Reads and writes that the system cannot serve now are tried again; an echo loses no byte by it.
#[test]
fn a_read_or_write_that_fails_in_passing_costs_no_connection() {
    let serve = || {
        let mut world = OnKernel::new();
        let (_, at) = echo().serve(&mut world, StreamOptions::default());
        for _ in 0..3 {
            let mut client = TcpStream::connect(at).unwrap();
            client.set_nonblocking(true).unwrap();
            let data = pattern(300_000);
            let (mut sent, mut received) = (0, Vec::new());
            let mut chunk = vec![0; 64 * 1024];
            world.until("all of it", || {
                // Of the client's own calls some fail too: they are as passing.
                sent += client.write(&data[sent..]).unwrap_or(0);
                let len = client.read(&mut chunk).unwrap_or(0);
                received.extend_from_slice(&chunk[..len]);
                received.len() == data.len()
            });
            assert!(received == data);
        }
    };
    if std::env::var_os("SOCKEYE_EVENT_LOOP_INJECTED").is_some() {
        return serve();
    }
    for call in ["recvfrom", "sendto", "sendmsg"] {
        for error in ["EINTR", "ENOBUFS", "ENOMEM"] {
            let inject = format!("{call}:error={error}:when=2+3");
            served_although(
                "a_read_or_write_that_fails_in_passing_costs_no_connection",
                &inject,
            );
        }
    }
}

/// Waits for a second while a call of the loop fails for ever, and counts the turns: a loop that spins makes as many as
/// the machine can.
#[test]
fn no_error_of_the_kernel_makes_the_loop_spin() {
    let serve = || {
        let mut events = EventLoop::new().unwrap();
        let service = events.add_stream_service(echo(), StreamOptions::default());
        let listener = events
            .listen(service, loopback(), &ListenOptions::default())
            .unwrap();
        let at = events.local_addr(listener).unwrap();
        let counter = events.add_datagram_service(Counter::default());
        let socket = events
            .bind(counter, loopback(), &DatagramOptions::default())
            .unwrap();
        let datagrams = events.local_addr(socket).unwrap();
        let _client = TcpStream::connect(at).map(|mut client| {
            let _ = client.write(b"hello");
            client
        });
        let sender = UdpSocket::bind(loopback()).unwrap();
        let _ = sender.send_to(b"hello", datagrams);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(1) {
            events.turn(Some(Duration::from_millis(250))).unwrap();
        }
        let stats = events.stats();
        assert!(stats.turns < 1_000, "{stats:?}");
    };
    if std::env::var_os("SOCKEYE_EVENT_LOOP_INJECTED").is_some() {
        return serve();
    }
    for inject in [
        "accept4:error=EPERM",
        "accept4:error=EACCES",
        "accept4:error=EMFILE",
        "accept4:error=EINVAL",
        "recvfrom:error=EINTR",
        "recvfrom:error=ENOMEM",
        "sendto:error=ENOBUFS",
        "sendto:error=EINTR",
        "recvmmsg:error=EIO",
        "recvmmsg:error=EINTR",
        "recvmmsg:error=ECONNREFUSED",
        "sendmsg:error=ENOBUFS",
        "sendmsg:error=EINTR",
        "sendmmsg:error=ENOBUFS",
        "sendmmsg:error=EINTR",
        "epoll_ctl:error=ENOSPC:when=6+",
        "read:error=EAGAIN:when=50+",
    ] {
        served_although("no_error_of_the_kernel_makes_the_loop_spin", inject);
    }
}

/// A listener that somebody shuts down: its service hears of it, its connections go on.
#[test]
fn a_listener_that_is_shut_down_is_told() {
    if std::env::var_os("SOCKEYE_EVENT_LOOP_CHILD").is_none() {
        return in_a_child(
            "a_listener_that_is_shut_down_is_told",
            a_listener_that_is_shut_down_is_told,
        );
    }
    let mut world = OnKernel::new();
    let (server, at) = echo().serve(&mut world, StreamOptions::default());
    let client = Probe::new().connect(&mut world, at);
    let (s, c) = (server.log.clone(), client.log.clone());
    world.until("open", || s.opened() == 1 && c.opened() == 1);
    // Another owner of the same listener, as a process that it was handed to would be.
    let listener = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| {
            entry
                .unwrap()
                .file_name()
                .into_string()
                .unwrap()
                .parse::<i32>()
                .ok()
        })
        .find(|&fd| is_listening(fd))
        .expect("the listener's descriptor");
    // SAFETY: shutdown takes two numbers.
    #[expect(unsafe_code, reason = "std has no shutdown for listeners")]
    let done = unsafe { libc::shutdown(listener, libc::SHUT_RD) };
    assert_eq!(done, 0);
    world.until("told", || s.has(&Told::ListenerLost(ErrorKind::InvalidInput)));
    assert_eq!(world.server().stats().listeners_lost, 1);
    assert!(!s.has(&Told::Dropped));
}

fn is_listening(fd: i32) -> bool {
    let (mut on, mut len) = (0_i32, 4);
    // SAFETY: getsockopt writes four bytes into an int and their count into another.
    #[expect(unsafe_code, reason = "the descriptor is only known by its number")]
    let answer = unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_ACCEPTCONN,
            (&raw mut on).cast(),
            &raw mut len,
        )
    };
    answer == 0 && on == 1
}
