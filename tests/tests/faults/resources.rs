//! Resources: those who hold on to them for nothing beside those who use them, and a limit of memory that the system keeps.

use std::cell::Cell;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use sockeye_event_loop::{EventLoop, ListenOptions, LoopOptions, StreamOptions, Watermarks};
use sockeye_tests::program::Running;
use sockeye_tests::skip;
use sockeye_tests::wait::{self, PATIENCE};

use crate::ground::{abort_all, again, alone, echo, healthy, is_child, is_served};
use crate::probe::{Probe, Served, Told};
use crate::world::{Simulated, World};

/// Names the process that serves.
const SERVER: &str = "SOCKEYE_FAULTS_SERVER";
const SLOW: usize = 15_000;

/// Serves in this process until its stdin ends, and says where.
fn serve_until_the_end(options: LoopOptions, probe: Probe, stream: StreamOptions) {
    sockeye_socket::os::raise_nofile_limit(20_000).unwrap();
    let mut events = EventLoop::with_options(options).unwrap();
    let service = events.add_stream_service(probe, stream);
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = events.listen(service, at, &ListenOptions::default()).unwrap();
    println!("\nat {}", events.local_addr(listener).unwrap());
    let remote = events.remote();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = remote.stop();
    });
    events.run().unwrap();
    println!("\npeak {}", events.stats().memory_peak);
    assert_eq!(events.stats().panics, 0);
}

/// The server in a process of its own: the test again, told to serve.
fn server(test: &str) -> (Running, SocketAddr) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    again(&mut command, test);
    command.env(SERVER, "1").stdin(Stdio::piped());
    let server = Running::start(&mut command);
    let line = server.line_with(PATIENCE, |line| line.starts_with("at "));
    let at = line.trim_start_matches("at ").trim().parse().unwrap();
    (server, at)
}

/// Connects from one of many source addresses, so that ports do not run out for others.
fn client(at: SocketAddr, nth: usize) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let source = Ipv4Addr::new(127, 1, 0, u8::try_from(nth % 200 + 1).unwrap());
    socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    socket.connect(&at.into()).unwrap();
    let client = TcpStream::from(socket);
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.set_nodelay(true).unwrap();
    client
}

/// The 99th percentile of a round trip of those who are healthy, all of which are answered: of nine rounds the one in the
/// middle, for what else runs on the machine takes its time too.
fn p99(healthy: &mut [TcpStream]) -> Duration {
    let mut answer = [0; 64];
    let mut round = || {
        let mut times = Vec::new();
        for _ in 0..50 {
            for client in healthy.iter_mut() {
                let begun = Instant::now();
                client.write_all(&[7; 64]).unwrap();
                client.read_exact(&mut answer).unwrap();
                times.push(begun.elapsed());
            }
        }
        times.sort();
        times[times.len() * 99 / 100]
    };
    let mut rounds: Vec<Duration> = (0..9).map(|_| round()).collect();
    rounds.sort();
    rounds[4]
}

/// Fifteen thousand who send a byte now and then, beside twenty who are served: server and clients are processes apart. That
/// they are served is asserted, how fast is printed (`--nocapture`) and stands in docs/RELIABILITY.md.
#[test]
fn slow_connections_leave_the_healthy_ones_served() {
    let name = "resources::slow_connections_leave_the_healthy_ones_served";
    if std::env::var_os(SERVER).is_some() {
        return serve_until_the_end(LoopOptions::default(), echo(), StreamOptions::default());
    }
    let body = || {
        sockeye_socket::os::raise_nofile_limit(20_000).unwrap();
        let (mut running, at) = server(name);
        let mut healthy: Vec<TcpStream> = (0..20).map(|nth| client(at, nth)).collect();
        p99(&mut healthy);
        let alone = p99(&mut healthy);
        let mut slow: Vec<TcpStream> = (0..SLOW).map(|nth| client(at, nth)).collect();
        for client in &mut slow {
            client.write_all(b"G").unwrap();
        }
        let stop = std::sync::atomic::AtomicBool::new(false);
        let beside = std::thread::scope(|scope| {
            // Each of them has a byte more to say every fifteen seconds.
            scope.spawn(|| {
                for client in slow.iter().cycle() {
                    if stop.load(std::sync::atomic::Ordering::Relaxed) {
                        return;
                    }
                    let mut client = client;
                    let _ = client.write(b"E");
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
            let beside = p99(&mut healthy);
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            beside
        });
        println!("p99 of a round trip: {alone:?} alone, {beside:?} beside {SLOW} slow ones");
        // The slow ones were taken too.
        let mut answer = [0];
        for client in slow.iter_mut().step_by(1_000) {
            client.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"G");
        }
        drop((slow, healthy));
        drop(running.stdin());
        assert!(running.wait(PATIENCE).success());
    };
    if is_child(name) {
        return body();
    }
    alone(name, body);
}

#[test]
fn slow_connections_leave_the_healthy_ones_served_simulated() {
    let mut world = Simulated::new();
    world.set_descriptor_limit(40_000);
    let (server, at) = echo().serve(&mut world, StreamOptions::default());
    let slow = Probe::new()
        .open(|stream| {
            let _ = stream.write(b"G");
            stream.set_timer(Duration::from_secs(5), 0);
        })
        .timer(|stream, _| {
            let _ = stream.write(b"E");
            stream.set_timer(Duration::from_secs(5), 0);
        });
    let log = slow.log.clone();
    let handle = world.client().add_stream_service(slow, StreamOptions::default());
    for batch in 1..=SLOW / 500 {
        for _ in 0..500 {
            let request = world.request(at);
            world.client().connect(handle, request);
        }
        world.until("five hundred more", || log.opened() == batch * 500);
    }
    let s = server.log.clone();
    world.until("all taken", || s.opened() == SLOW);
    let beside = healthy(&mut world, at);
    let b = beside.log.clone();
    world.until("two thousand answers", || b.received_len(0) >= 8_000);
    assert!(!b.has(&Told::Dropped));
    // It would fill the virtual time that follows with its round trips.
    abort_all(&mut world, &beside);
    world.pass(Duration::from_secs(20));
    assert!(!log.has(&Told::Dropped));
    assert!(
        log.received_len(SLOW - 1) >= 4,
        "the slow ones are served as well"
    );
}

/// A folder of the memory controller, of the second version of control groups or the first, with a limit.
struct Group(PathBuf);

impl Group {
    fn with_limit(bytes: u64) -> std::io::Result<Self> {
        let name = format!("sockeye-faults-{}", std::process::id());
        let second = PathBuf::from("/sys/fs/cgroup");
        let unified = std::fs::read_to_string(second.join("cgroup.controllers")).unwrap_or_default();
        let (parent, file) = if unified.split_whitespace().any(|word| word == "memory") {
            (second, "memory.max")
        } else {
            (second.join("memory"), "memory.limit_in_bytes")
        };
        let folder = parent.join(name);
        std::fs::create_dir(&folder)?;
        let group = Self(folder);
        std::fs::write(group.0.join(file), bytes.to_string())?;
        Ok(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// Clients that write without end and never read, to an echo that may queue as much as it likes: the loop's budget keeps the
/// process below a limit at which the system would kill it. Without the budget it would need four times as much.
#[test]
fn the_memory_budget_keeps_a_limit_of_the_system() {
    const LIMIT: u64 = 256 << 20;
    let name = "resources::the_memory_budget_keeps_a_limit_of_the_system";
    if std::env::var_os(SERVER).is_some() {
        let options = LoopOptions {
            memory_budget: 64 << 20,
            ..LoopOptions::default()
        };
        // Answers a hundred bytes for each, whether they are read or not.
        let probe = Probe::new().data(|stream, data| {
            let mut consumed = 0;
            for piece in data.chunks(600) {
                if !stream.write(&piece.repeat(100)).is_taken() {
                    break;
                }
                consumed += piece.len();
            }
            consumed
        });
        let marks = Watermarks {
            high: 16 << 20,
            ..Watermarks::default()
        };
        let stream = StreamOptions {
            watermarks: marks,
            ..StreamOptions::default()
        };
        return serve_until_the_end(options, probe, stream);
    }
    let group = match Group::with_limit(LIMIT) {
        Ok(group) => group,
        Err(error) => {
            skip::missing(
                &format!("a memory control group ({error})"),
                "root, and a writable /sys/fs/cgroup",
            );
            return;
        }
    };
    let (mut running, at) = server(name);
    std::fs::write(group.0.join("cgroup.procs"), running.pid().to_string()).unwrap();
    let mut gluttons: Vec<TcpStream> = (0..64).map(|nth| client(at, nth)).collect();
    for client in &gluttons {
        client.set_nonblocking(true).unwrap();
    }
    let gluttons_count = gluttons.len();
    // Who does not read is not read from in the end, or is reset.
    wait::until("nobody can send more", 3 * PATIENCE, || {
        let refused = |client: &mut TcpStream| client.write(&[7; 8_000]).is_err();
        gluttons
            .iter_mut()
            .filter_map(|client| refused(client).then_some(()))
            .count()
            == gluttons_count
            || !running.is_running()
    });
    assert!(running.is_running(), "the system has ended it");
    drop(gluttons);
    let mut client = client(at, 99);
    client.write_all(b"?").unwrap();
    let mut answer = [0; 100];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [b'?'; 100]);
    drop(client);
    drop(running.stdin());
    let line = running.line_with(PATIENCE, |line| line.starts_with("peak "));
    let peak: u64 = line.trim_start_matches("peak ").trim().parse().unwrap();
    assert!(peak <= 80 << 20, "{peak} bytes");
    assert!(running.wait(PATIENCE).success());
}

/// Nothing of a host is left: no descriptor, no port, no memory. Each lack is told where it is met and passes.
#[test]
fn a_host_without_anything_recovers_simulated() {
    let mut world = Simulated::new();
    let (_, at) = echo().serve(&mut world, StreamOptions::default());
    let failures: Rc<Cell<usize>> = Rc::default();
    let (sim, server, client) = world.parts();
    let (held, kept) = (sim.descriptors(server), sim.descriptors(client));
    sim.set_descriptor_limit(server, held);
    sim.set_descriptor_limit(client, kept + 1);
    sim.set_ephemeral_ports(client, 50_000..=50_000);
    for _ in 0..10 {
        let count = Rc::clone(&failures);
        let _: Served = Probe::new()
            .connect_error(move |_| count.set(count.get() + 1))
            .connect(&mut world, at);
    }
    world.until("all but one have failed", || failures.get() == 9);
    let (sim, server, client) = world.parts();
    sim.set_descriptor_limit(server, 100);
    sim.set_descriptor_limit(client, 100);
    sim.set_ephemeral_ports(client, 40_000..=50_000);
    is_served(&mut world, at);
    assert_eq!(failures.get(), 9);
}
