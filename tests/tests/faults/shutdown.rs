//! Shutdown: asked for with thousands connected, and not asked for at all.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use sockeye_event_loop::{ShardOptions, Shards, Stream, StreamOptions, StreamService};
use sockeye_tests::program::{self, Running};
use sockeye_tests::wait::PATIENCE;

use crate::ground::{alone, echo, leaks_nothing};
use crate::probe::{Probe, Told};
use crate::world::{Simulated, World};

const MANY: usize = 10_000;

fn connect(at: SocketAddr, nth: usize) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    // Many source addresses: ports do not run out for others.
    let source = Ipv4Addr::new(127, 2, 0, u8::try_from(nth % 200 + 1).unwrap());
    socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    socket.connect(&at.into()).unwrap();
    let client = TcpStream::from(socket);
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

/// `sockeye serve echo` with ten thousand connections is told to end: each client sees its end, the program is gone with 0.
#[test]
fn a_program_with_ten_thousand_connections_ends_when_it_is_told_to() {
    alone(
        "shutdown::a_program_with_ten_thousand_connections_ends_when_it_is_told_to",
        || {
            sockeye_socket::os::raise_nofile_limit(20_000).unwrap();
            let mut command = Command::new(program::sockeye());
            command.args(["serve", "echo", "--listen", "tcp://127.0.0.1:0"]);
            command.args(["--max-connections", "12000"]);
            let mut server = Running::start(&mut command);
            let line = server.line_with(PATIENCE, |line| line.contains("tcp://"));
            let at: SocketAddr = line.rsplit("tcp://").next().unwrap().trim().parse().unwrap();
            let mut clients: Vec<TcpStream> = (0..MANY).map(|nth| connect(at, nth)).collect();
            let mut answer = [0; 5];
            for client in &mut clients {
                client.write_all(b"hello").unwrap();
                client.read_exact(&mut answer).unwrap();
                assert_eq!(&answer, b"hello");
            }
            server.signal(libc::SIGTERM);
            for client in &mut clients {
                // It has said all it had to say: its end, or a reset.
                assert!(client.read(&mut answer).map_or(true, |len| len == 0));
            }
            drop(clients);
            assert!(server.wait(PATIENCE).success());
        },
    );
}

#[test]
fn a_loop_with_ten_thousand_connections_drains_simulated() {
    let mut world = Simulated::new();
    world.set_descriptor_limit(40_000);
    let (server, at) = echo().serve(&mut world, StreamOptions::default());
    let client = Probe::new().open(|stream| assert!(stream.write(b"hello").is_taken()));
    let log = client.log.clone();
    let handle = world
        .client()
        .add_stream_service(client, StreamOptions::default());
    for batch in 1..=MANY / 500 {
        for _ in 0..500 {
            let request = world.request(at);
            world.client().connect(handle, request);
        }
        world.until("five hundred more", || log.opened() == batch * 500);
    }
    let s = server.log.clone();
    world.until("all served", || {
        s.opened() == MANY && log.received_len(MANY - 1) == 5
    });
    world.server().start_drain(Duration::from_secs(10));
    world.until("all ended", || {
        s.count(&Told::Dropped) == MANY && log.count(&Told::Dropped) == MANY
    });
    assert!(s.closes().iter().all(|why| why == "closed"));
    assert!(log.closes().iter().all(|why| why == "closed"));
    assert_eq!(world.server().open_streams(), 0);
    assert_eq!(world.server().stats().memory, 0);
}

/// Answers with its name in front.
struct Named;

impl StreamService for Named {
    type Conn = ();
    fn on_open(&mut self, _: &mut Stream<'_>) {}
    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        let _ = stream.write(data);
        data.len()
    }
}

/// `sockeye relay` with a socket that somebody else has opened, as systemd passes it.
fn activated(listener: &TcpListener, to: SocketAddr) -> Running {
    let mut command = Command::new("sh");
    // LISTEN_PID is the child's, which only a shell between here and exec can know.
    command.args(["-c", "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\""]);
    command
        .arg(program::sockeye())
        .args(["relay", "--to", &format!("tcp://{to}")]);
    let fd = listener.as_raw_fd();
    let place = move || {
        // SAFETY: dup is safe between fork and exec; the copy is never 3, so that dup2 makes one that stays open.
        #[expect(unsafe_code, reason = "descriptors of a child")]
        let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 100) };
        // SAFETY: as above.
        #[expect(unsafe_code, reason = "descriptors of a child")]
        match unsafe { libc::dup2(copy, 3) } {
            3 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: `place` makes only calls that are safe between fork and exec, and allocates nothing.
    #[expect(unsafe_code, reason = "descriptors of a child")]
    unsafe {
        command.pre_exec(place)
    };
    Running::start(&mut command)
}

fn asks(client: &mut TcpStream) {
    client.write_all(b"still there?").unwrap();
    let mut answer = [0; 12];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"still there?");
}

/// A process is killed; the socket is somebody else's and stays. Those who connect meanwhile wait in its backlog, and the next
/// process serves them.
#[test]
fn who_connects_after_a_kill_is_served_by_the_next_process() {
    let shards = Shards::serve(
        &[SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
        &ShardOptions {
            count: 1,
            ..ShardOptions::default()
        },
        |_| Named,
    )
    .unwrap();
    let to = shards.local_addrs()[0];
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let mut relay = activated(&listener, to);
    for round in 0..3 {
        let mut served = connect(at, round);
        asks(&mut served);
        relay.signal(libc::SIGKILL);
        assert!(!relay.wait(PATIENCE).success());
        // Who was being served sees the end of it.
        assert!(served.read(&mut [0; 4]).map_or(true, |len| len == 0));
        let mut waiting: Vec<TcpStream> = (0..30).map(|nth| connect(at, nth)).collect();
        relay = activated(&listener, to);
        for client in &mut waiting {
            asks(client);
        }
    }
    relay.signal(libc::SIGTERM);
    assert!(relay.wait(PATIENCE).success());
    shards.drain(PATIENCE).unwrap();
}

/// The end of a loop in the middle of everything: connects under way, output queued, timers set. Every descriptor is closed.
#[test]
fn a_loop_that_is_dropped_in_the_middle_leaves_nothing() {
    use crate::world::OnKernel;
    alone(
        "shutdown::a_loop_that_is_dropped_in_the_middle_leaves_nothing",
        || {
            leaks_nothing(|| {
                let mut world = OnKernel::new();
                let push = |stream: &mut Stream<'_>| {
                    stream.set_timer(Duration::from_secs(1_000), 0);
                    while stream.write(&[7; 60_000]).is_taken() {}
                };
                let (server, at) = Probe::new()
                    .open(push)
                    .serve(&mut world, StreamOptions::default());
                let client = Probe::new().open(|stream| stream.pause());
                let log = client.log.clone();
                let handle = world
                    .client()
                    .add_stream_service(client, StreamOptions::default());
                for _ in 0..50 {
                    let request = world.request(at);
                    world.client().connect(handle, request);
                }
                let s = server.log.clone();
                world.until("some are open", || log.opened() > 10 && s.opened() > 10);
                for _ in 0..50 {
                    let request = world.request(at);
                    world.client().connect(handle, request);
                }
                drop(world);
                let closes = log.closes();
                assert!(!closes.is_empty() && closes.iter().all(|why| why == "loop ended"));
                assert_eq!(s.count(&Told::Dropped), s.opened());
            });
        },
    );
}
