//! Listeners: accepting under every fault, adopting, sharing, and what is set before bind.

#![expect(clippy::unwrap_used, reason = "what a test expects and does not get fails it")]
#![expect(unsafe_code, reason = "limits of the process")]

mod tcp_common;

use std::io::{ErrorKind, Write as _};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, FromRawFd as _, IntoRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::time::{Duration, Instant};

use sockeye::socket::os::{nofile_limit, recv_fds, send_fds};
use sockeye::socket::{Op, OpError, options};
use sockeye::tcp::{AcceptOutcome, ListenOptions, StreamOptions, TcpListener};
use sockeye_tests::skip::{self, Need};
use sockeye_tests::{netns, wait};
use tcp_common::{PATIENCE, accept, addr, alone, connect, listener, read_exactly, write_all};

#[test]
fn nobody_waiting_is_empty() {
    let (listener, _) = listener();
    assert!(matches!(listener.accept_outcome(), AcceptOutcome::Empty));
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn what_is_accepted_is_nonblocking_close_on_exec_and_knows_its_peer() {
    let (listener, address) = listener();
    let client = connect(address);
    assert!(listener.wait_readable(PATIENCE).unwrap());
    let AcceptOutcome::Accepted(stream, peer) = listener.accept_outcome() else {
        panic!("nobody waits")
    };
    assert_eq!(peer, client.local_addr().unwrap());
    // SAFETY: the command takes no argument.
    let status = unsafe { libc::fcntl(stream.as_raw_fd(), libc::F_GETFL) };
    // SAFETY: likewise.
    let descriptor = unsafe { libc::fcntl(stream.as_raw_fd(), libc::F_GETFD) };
    assert_ne!(status & libc::O_NONBLOCK, 0);
    assert_ne!(descriptor & libc::FD_CLOEXEC, 0);
}

/// Uses up every descriptor that this process may have, until they are dropped.
fn exhaust_descriptors() -> Vec<std::fs::File> {
    let (_, hard) = nofile_limit().unwrap();
    let limit = libc::rlimit {
        rlim_cur: 64,
        rlim_max: hard,
    };
    // SAFETY: the kernel reads one rlimit.
    let answer = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    assert_eq!(answer, 0);
    let mut held = Vec::new();
    loop {
        match std::fs::File::open("/dev/null") {
            Ok(file) => held.push(file),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
                return held;
            }
        }
    }
}

#[test]
fn after_emfile_an_edge_triggered_listener_is_silent_until_the_next_connection() {
    let name = "after_emfile_an_edge_triggered_listener_is_silent_until_the_next_connection";
    if !alone(name, |_| {}) {
        return;
    }
    let (mut listener, address) = listener();
    let mut poll = mio::Poll::new().unwrap();
    let mut events = mio::Events::with_capacity(8);
    poll.registry()
        .register(&mut listener, mio::Token(0), mio::Interest::READABLE)
        .unwrap();
    let first = connect(address);
    poll.poll(&mut events, Some(PATIENCE)).unwrap();
    assert!(!events.is_empty());

    let mut held = exhaust_descriptors();
    let AcceptOutcome::BackOff(error) = listener.accept_outcome() else {
        panic!("a descriptor too many")
    };
    assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
    let error = OpError::new(Op::Accept, sockeye::endpoint::Transport::Tcp, error);
    assert!(error.to_string().contains("ulimit -n"), "{error}");

    // A descriptor is free again, and no event says that somebody waits.
    held.truncate(held.len() - 8);
    poll.poll(&mut events, Some(Duration::from_millis(200))).unwrap();
    assert!(events.is_empty());
    // So the loop has to come back by itself.
    let AcceptOutcome::Accepted(stream, _) = listener.accept_outcome() else {
        panic!("nobody waits")
    };
    drop((first, stream));
    // The next one is reported again.
    let _second = connect(address);
    poll.poll(&mut events, Some(PATIENCE)).unwrap();
    assert!(!events.is_empty());
}

#[test]
fn a_connection_reset_before_accept_is_accepted_and_says_so_itself() {
    let (listener, address) = listener();
    let client = connect(address);
    client.abort().unwrap();
    assert!(listener.wait_readable(PATIENCE).unwrap());
    let AcceptOutcome::Accepted(stream, _) = listener.accept_outcome() else {
        panic!("nobody waits")
    };
    assert_eq!(
        stream.take_error().unwrap().map(|error| error.kind()),
        Some(ErrorKind::ConnectionReset)
    );
    assert_eq!(stream.peer_addr().unwrap_err().kind(), ErrorKind::NotConnected);
}

#[test]
fn a_listener_that_was_shut_down_is_fatal_not_an_endless_retry() {
    let (listener, _) = listener();
    listener.socket().shutdown(std::net::Shutdown::Both).unwrap();
    assert!(matches!(listener.accept_outcome(), AcceptOutcome::Fatal(_)));
}

#[test]
fn set_up_errors_name_the_address_and_the_remedy() {
    let (_held, address) = listener();
    let error = ListenOptions::new().bind(address).unwrap_err();
    assert_eq!((error.op(), error.kind()), (Op::Bind, ErrorKind::AddrInUse));
    assert_eq!(
        error.to_string(),
        format!(
            "bind tcp://{address}: Address already in use (another socket holds this address: ss -anp shows which)"
        )
    );
    // mio's call keeps the errno as it is.
    assert_eq!(
        TcpListener::bind(address).unwrap_err().raw_os_error(),
        Some(libc::EADDRINUSE)
    );

    let error = ListenOptions::new().bind(addr("192.0.2.77:0")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
    assert!(error.to_string().contains("freebind"), "{error}");
    drop(
        ListenOptions::new()
            .freebind(true)
            .bind(addr("192.0.2.77:0"))
            .unwrap(),
    );

    let error = ListenOptions::new()
        .device("no-such-device0")
        .bind(addr("127.0.0.1:0"))
        .unwrap_err();
    assert_eq!(error.op(), Op::Set("SO_BINDTODEVICE"));
    assert!(
        error
            .to_string()
            .starts_with("set SO_BINDTODEVICE tcp://127.0.0.1:0: "),
        "{error}"
    );
    let error = ListenOptions::new()
        .device("a-name-that-is-too-long")
        .bind(addr("127.0.0.1:0"))
        .unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
}

#[test]
fn a_low_port_without_the_capability_says_which_one() {
    let name = "a_low_port_without_the_capability_says_which_one";
    // SAFETY: the call has no arguments.
    let is_root = unsafe { libc::geteuid() } == 0;
    let lower = |command: &mut std::process::Command| {
        if is_root {
            command.uid(65534).gid(65534);
        }
    };
    // Another user may not be allowed to run what is under root's home.
    let binary = std::env::current_exe().unwrap();
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let _copy = is_root.then(|| {
        let copy = folder.path().join("test");
        std::fs::copy(&binary, &copy).unwrap();
        let open = |path: &std::path::Path| {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        open(folder.path());
        open(&copy);
        copy
    });
    let inside = |program: Option<&std::path::PathBuf>| {
        let mut command = std::process::Command::new(program.unwrap_or(&binary));
        command
            .args(["--exact", name, "--nocapture"])
            .env("SOCKEYE_TCP_LOW_PORT", "1");
        lower(&mut command);
        sockeye_tests::program::output(&mut command, PATIENCE)
    };
    if std::env::var_os("SOCKEYE_TCP_LOW_PORT").is_none() {
        let output = inside(_copy.as_ref());
        assert!(output.status.success(), "{}\n{}", output.text(), output.stderr);
        return;
    }
    let start = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    if start.trim().parse::<u16>().unwrap() <= 80 {
        skip::missing(
            "protected ports",
            "sysctl net.ipv4.ip_unprivileged_port_start=1024",
        );
        return;
    }
    let error = ListenOptions::new().bind(addr("127.0.0.1:80")).unwrap_err();
    assert!(
        error.to_string().starts_with(
            "bind tcp://127.0.0.1:80: Permission denied (needs CAP_NET_BIND_SERVICE: setcap cap_net_bind_service+ep"
        ),
        "{error}"
    );
    assert_eq!(std::io::Error::from(error).kind(), ErrorKind::PermissionDenied);
}

#[test]
fn streams_inherit_what_the_listener_was_given() {
    let stream = StreamOptions::new()
        .nodelay(true)
        .notsent_lowat(16_384)
        .user_timeout(Duration::from_millis(1500))
        .keepalive(sockeye::tcp::Keepalive {
            idle: Duration::from_secs(30),
            interval: Duration::from_secs(5),
            count: 3,
        })
        .congestion(sockeye::tcp::CongestionControl::new("reno").unwrap())
        .ttl(17)
        .priority(3);
    let listener = ListenOptions::new()
        .stream(stream)
        .bind(addr("127.0.0.1:0"))
        .unwrap();
    let _client = connect(listener.local_addr().unwrap());
    let accepted = accept(&listener);
    assert!(accepted.nodelay().unwrap());
    assert_eq!(accepted.notsent_lowat().unwrap(), 16_384);
    assert_eq!(accepted.user_timeout().unwrap(), Duration::from_millis(1500));
    let keepalive = accepted.keepalive().unwrap().unwrap();
    assert_eq!(
        (
            keepalive.idle.as_secs(),
            keepalive.interval.as_secs(),
            keepalive.count
        ),
        (30, 5, 3)
    );
    assert_eq!(accepted.congestion_control().unwrap().as_str(), "reno");
    assert_eq!((accepted.ttl().unwrap(), listener.ttl().unwrap()), (17, 17));
    // The kernel's one exception.
    assert_eq!(accepted.priority().unwrap(), 0);
}

#[test]
fn reuse_port_shares_an_address_and_without_it_nobody_does() {
    let shared = || ListenOptions::new().reuse_port(true);
    let one = shared().bind(addr("127.0.0.1:0")).unwrap();
    let address = one.local_addr().unwrap();
    let other = shared().bind(address).unwrap();
    assert_eq!(
        ListenOptions::new().bind(address).unwrap_err().kind(),
        ErrorKind::AddrInUse
    );
    let clients: Vec<_> = (0..64).map(|_| connect(address)).collect();
    let (ours, theirs) = (one.queue().unwrap().waiting, other.queue().unwrap().waiting);
    assert_eq!(ours + theirs, 64);
    assert!(ours > 0 && theirs > 0, "{ours} and {theirs}");
    drop(clients);
}

#[test]
fn reuse_address_binds_where_connections_are_still_closing() {
    let (listener, address) = listener();
    let client = connect(address);
    let server = accept(&listener);
    // This end closes first, so this end keeps the address in TIME_WAIT.
    drop(server);
    tcp_common::read_to_end(&client);
    drop((client, listener));
    assert!(ListenOptions::new().reuse_address(false).bind(address).is_err());
    drop(TcpListener::bind(address).unwrap());
}

#[test]
fn deferred_accept_waits_for_data() {
    let listener = ListenOptions::new()
        .defer_accept(Duration::from_secs(10))
        .bind(addr("127.0.0.1:0"))
        .unwrap();
    let client = connect(listener.local_addr().unwrap());
    assert!(!listener.wait_readable(Duration::from_millis(150)).unwrap());
    write_all(&client, b"now");
    let server = accept(&listener);
    assert_eq!(server.unread().unwrap(), 3);
}

#[test]
fn a_saved_syn_can_be_read_once() {
    let listener = ListenOptions::new()
        .save_syn(true)
        .bind(addr("127.0.0.1:0"))
        .unwrap();
    let client = connect(listener.local_addr().unwrap());
    let server = accept(&listener);
    assert_eq!(
        server.saved_syn(&mut [0; 8]).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    let mut headers = [0; 128];
    let len = server.saved_syn(&mut headers).unwrap();
    // IPv4 without options, then TCP: source port first, SYN alone among the flags.
    assert_eq!(headers[0], 0x45);
    assert_eq!(
        u16::from_be_bytes([headers[20], headers[21]]),
        client.local_addr().unwrap().port()
    );
    assert_eq!(headers[33] & 0x3f, 0x02);
    assert!(len >= 40);
    assert_eq!(server.saved_syn(&mut headers).unwrap(), 0);
}

#[test]
fn device_and_transparent_are_set_before_bind() {
    if !skip::require(&[Need::Namespaces]) {
        return;
    }
    let up = |namespace: &netns::Namespace| drop(namespace.ip("link set lo up"));
    if !netns::enter("device_and_transparent_are_set_before_bind", up) {
        return;
    }
    let foreign = addr("203.0.113.9:0");
    assert_eq!(
        ListenOptions::new().bind(foreign).unwrap_err().kind(),
        ErrorKind::AddrNotAvailable
    );
    let listener = ListenOptions::new()
        .transparent(true)
        .device("lo")
        .bind(foreign)
        .unwrap();
    assert!(listener.socket().get(options::IP_TRANSPARENT).unwrap());
    let mut name = [0; 16];
    let len = listener
        .socket()
        .get_bytes(options::SO_BINDTODEVICE, &mut name)
        .unwrap();
    assert_eq!(&name[..len], b"lo\0");
}

#[test]
fn adoption_takes_listeners_and_nothing_else() {
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap();
    // Blocking as it comes, nonblocking as it is adopted.
    let adopted = TcpListener::adopt(OwnedFd::from(held)).unwrap();
    assert_eq!(adopted.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    let _client = connect(address);
    drop(accept(&adopted));

    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let (stream, _peer) = tcp_common::pair();
    let file = tempfile::tempfile().unwrap();
    for fd in [OwnedFd::from(udp), OwnedFd::from(stream), OwnedFd::from(file)] {
        let error = TcpListener::adopt(fd).unwrap_err();
        assert_eq!(error.op(), Op::Adopt);
    }
}

#[test]
fn a_listener_passed_to_another_owner_goes_on() {
    let (listener, address) = listener();
    let (here, there) = std::os::unix::net::UnixStream::pair().unwrap();
    send_fds(&here, b"l", &[std::os::fd::AsFd::as_fd(&listener)]).unwrap();
    drop(listener);
    let mut fds = Vec::new();
    recv_fds(&there, &mut [0], &mut fds).unwrap();
    let listener = TcpListener::adopt(fds.pop().unwrap()).unwrap();
    let client = connect(address);
    write_all(&client, b"x");
    assert_eq!(read_exactly(&accept(&listener), 1), b"x");
}

#[test]
fn systemd_listeners_are_inherited_once_and_the_environment_is_left_alone() {
    let name = "systemd_listeners_are_inherited_once_and_the_environment_is_left_alone";
    let (first, second) = (listener(), listener());
    let activate = |command: &mut std::process::Command| {
        // LISTEN_PID is the child's, which only a shell between here and exec can know.
        let program = command.get_program().to_owned();
        let arguments: Vec<_> = command.get_args().map(std::ffi::OsStr::to_owned).collect();
        let environment: Vec<_> = command
            .get_envs()
            .map(|(key, value)| (key.to_owned(), value.map(ToOwned::to_owned)))
            .collect();
        let mut shell = std::process::Command::new("sh");
        shell
            .args(["-c", "LISTEN_PID=$$ exec \"$0\" \"$@\""])
            .arg(program)
            .args(arguments);
        for (key, value) in environment {
            shell.env(key, value.unwrap_or_default());
        }
        shell.env("LISTEN_FDS", "2").env("LISTEN_FDNAMES", "http:");
        shell.env("SOCKEYE_TCP_EXPECTED", format!("{},{}", first.1, second.1));
        let fds = [first.0.as_raw_fd(), second.0.as_raw_fd()];
        let place = move || {
            // Out of the way first: one of the sources may be 3 or 4 itself.
            // SAFETY: fcntl and dup2 are safe between fork and exec, and touch descriptors only.
            let moved = fds.map(|fd| unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 100) });
            for (target, fd) in (3..).zip(moved) {
                // SAFETY: likewise.
                if unsafe { libc::dup2(fd, target) } != target {
                    return Err(std::io::Error::last_os_error());
                }
            }
            Ok(())
        };
        // SAFETY: `place` allocates nothing and takes no lock.
        unsafe { shell.pre_exec(place) };
        *command = shell;
    };
    if !alone(name, activate) {
        return;
    }
    let before: Vec<_> = std::env::vars_os().collect();
    let inherited = TcpListener::inherited().unwrap();
    let expected = std::env::var("SOCKEYE_TCP_EXPECTED").unwrap();
    let expected: Vec<SocketAddr> = expected.split(',').map(addr).collect();
    let found: Vec<_> = inherited
        .iter()
        .map(|(_, listener)| listener.local_addr().unwrap())
        .collect();
    assert_eq!(found, expected);
    assert_eq!(inherited[0].0.as_deref(), Some("http"));
    assert_eq!(inherited[1].0, None);
    assert_eq!(before, std::env::vars_os().collect::<Vec<_>>());
    // Owned once: a second call has nothing to give.
    assert!(TcpListener::inherited().unwrap().is_empty());
    let client = connect(expected[1]);
    let server = accept(&inherited[1].1);
    write_all(&client, b"x");
    assert_eq!(read_exactly(&server, 1), b"x");
}

#[test]
fn raw_descriptors_come_and_go() {
    let (listener, address) = listener();
    let fd = listener.into_raw_fd();
    // SAFETY: `into_raw_fd` has just given the descriptor up.
    let listener = unsafe { TcpListener::from_raw_fd(fd) };
    let mut client = std::net::TcpStream::connect(address).unwrap();
    client.write_all(b"x").unwrap();
    assert_eq!(read_exactly(&accept(&listener), 1), b"x");
    let listener = TcpListener::from_std(std::net::TcpListener::from(listener));
    assert!(format!("{listener:?}").contains(&format!("tcp://{address}")));
    let begun = Instant::now();
    assert!(!listener.wait_readable(Duration::from_millis(50)).unwrap());
    assert!(begun.elapsed() >= Duration::from_millis(50));
    wait::until("the queue is empty", PATIENCE, || {
        listener.queue().unwrap().waiting == 0
    });
}
