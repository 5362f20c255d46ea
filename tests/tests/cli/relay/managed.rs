//! A service manager by hand: sockets that it has opened, and what it is told.

use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use sockeye_tests::program;
use sockeye_tests::wait::PATIENCE;

use super::{Backend, Relay, asks, client_of, command, file, finish, name_from, output, text_of};

/// `sockeye relay` with these words, started as systemd starts a service with these sockets.
pub(super) fn activated<const N: usize>(fds: [RawFd; N], names: &str, words: &[&str]) -> Command {
    let mut shell = Command::new("sh");
    // LISTEN_PID is the child's, which only a shell between here and exec can know.
    shell.args(["-c", "LISTEN_PID=$$ exec \"$0\" \"$@\""]);
    shell.arg(program::sockeye()).arg("relay").args(words);
    shell
        .env("LISTEN_FDS", N.to_string())
        .env("LISTEN_FDNAMES", names);
    let place = move || {
        // Out of the way first: one of the sources may be 3 or 4 itself.
        // SAFETY: fcntl is safe between fork and exec, and touches descriptors only.
        #[expect(unsafe_code, reason = "descriptors of a child")]
        let moved = fds.map(|fd| unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 100) });
        for (from, to) in moved.into_iter().zip(3..) {
            // SAFETY: as above; dup2 makes descriptors that stay open.
            #[expect(unsafe_code, reason = "descriptors of a child")]
            if unsafe { libc::dup2(from, to) } != to {
                return Err(std::io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: `place` makes only calls that are safe between fork and exec, and allocates nothing.
    #[expect(unsafe_code, reason = "descriptors of a child")]
    unsafe {
        shell.pre_exec(place)
    };
    shell
}

#[test]
fn sockets_that_were_passed_are_listened_at() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("passed.sock");
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
    let unix = UnixListener::bind(&path).expect("a path");
    let at = tcp.local_addr().expect("an address");
    // It waits in the backlog, as the client does for whom systemd starts a service.
    let client = client_of(at);
    let backend = Backend::start("one");
    let words = ["--listen", "fd:web", "fd:1", "--to", &backend.to()];
    let command = activated([tcp.as_raw_fd(), unix.as_raw_fd()], "web:", &words);
    let relay = Relay::of(command, 2);
    assert_eq!(
        relay.at,
        [format!("tcp://{at}"), format!("unix:{}", text_of(&path))]
    );
    assert_eq!(name_from(&client), "one");
    asks(&client, "hello");
    finish(client);
    assert!(relay.logs().starts_with(&format!("tcp://{at} ")));
    let mut relay = relay;
    relay.running.signal(libc::SIGHUP);
    relay.says("reloaded");
    let client = relay.client();
    assert_eq!(name_from(&client), "one");
    finish(client);
    relay.end();
    assert!(path.exists(), "the path is the manager's");
    // The next one gets the same sockets.
    let none: [&str; 2] = ["--to", &backend.to()];
    let relay = Relay::of(activated([tcp.as_raw_fd()], "", &none), 1);
    assert_eq!(name_from(&relay.client()), "one");
}

#[test]
fn a_file_has_the_sockets_with_the_addresses_of_its_listeners() {
    let (tcp, udp) = (
        TcpListener::bind("127.0.0.1:0").expect("a port"),
        UdpSocket::bind("127.0.0.1:0").expect("a port"),
    );
    let spare = TcpListener::bind("127.0.0.1:0").expect("a port");
    let [at, datagrams, unused] =
        [tcp.local_addr(), udp.local_addr(), spare.local_addr()].map(|at| at.expect("one"));
    let (backend, answers) = (
        Backend::start("one"),
        UdpSocket::bind("127.0.0.1:0").expect("a port"),
    );
    answers.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let folder = tempfile::tempdir().expect("a folder");
    let text = format!(
        "[[listeners]]\nat = \"tcp://{at}\"\nto = \"a\"\n[[listeners]]\nat = \"udp://{datagrams}\"\nto = \"b\"\n\
         [[pools]]\nname = \"a\"\nbackends = [{{ at = \"{}\" }}]\n\
         [[pools]]\nname = \"b\"\nbackends = [{{ at = \"udp://{}\" }}]\n",
        backend.to(),
        answers.local_addr().expect("an address"),
    );
    let path = file(&folder, "relay.toml", &text);
    let fds = [udp.as_raw_fd(), tcp.as_raw_fd(), spare.as_raw_fd()];
    let relay = Relay::of(activated(fds, "", &["--config", &path]), 2);
    assert!(relay.says("left alone").contains(&unused.to_string()));
    assert_eq!(name_from(&relay.client()), "one");
    let client = UdpSocket::bind("127.0.0.1:0").expect("a port");
    client.send_to(b"ask", datagrams).expect("sent");
    let (len, _) = answers.recv_from(&mut [0; 8]).expect("a datagram");
    assert_eq!(len, 3);
}

#[test]
fn a_socket_that_was_not_passed_or_does_not_listen_is_an_error() {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
    let to = "tcp://127.0.0.1:9";
    let run = |command: &mut Command| program::output(command, PATIENCE);
    let missing = run(&mut activated(
        [tcp.as_raw_fd()],
        "web",
        &["--listen", "fd:api", "--to", to],
    ));
    assert_eq!(missing.status.code(), Some(2), "{}", missing.stderr);
    let at = tcp.local_addr().expect("an address");
    let says = format!("--listen fd:api: there is no such socket: passed were tcp://{at} (passed as web)");
    assert!(missing.stderr.contains(&says), "{}", missing.stderr);
    let client = client_of(at);
    let deaf = run(&mut activated(
        [client.as_raw_fd()],
        "web",
        &["--listen", "fd:web", "--to", to],
    ));
    assert_eq!(deaf.status.code(), Some(5), "{}", deaf.stderr);
    assert!(
        deaf.stderr.contains("(web): it does not listen"),
        "{}",
        deaf.stderr
    );
    let none = output(&["--listen", "fd:web", "--to", to]);
    assert_eq!(none.status.code(), Some(2), "{}", none.stderr);
    assert!(none.stderr.contains("no socket was passed"), "{}", none.stderr);
}

/// The next message, without the clock.
pub(super) fn heard(manager: &UnixDatagram) -> String {
    let mut buffer = [0; 512];
    let len = manager.recv(&mut buffer).expect("a message");
    let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
    text.lines()
        .filter(|line| !line.starts_with("MONOTONIC_USEC="))
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn the_manager_is_told_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a path");
    manager.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let backend = Backend::start("one");
    let mut command = command(&["--listen", "127.0.0.1:0", "--to", &backend.to()]);
    command.env("NOTIFY_SOCKET", &path);
    let mut relay = Relay::of(command, 1);
    assert!(heard(&manager).starts_with("READY=1 STATUS=0 sessions open"));
    let client = relay.client();
    assert_eq!(name_from(&client), "one");
    relay.running.signal(libc::SIGHUP);
    assert_eq!(heard(&manager), "RELOADING=1");
    assert!(heard(&manager).starts_with("READY=1 STATUS=1 sessions open"));
    relay.running.signal(libc::SIGTERM);
    assert_eq!(heard(&manager), "STOPPING=1 STATUS=1 session left");
    finish(client);
    assert_eq!(relay.running.wait(PATIENCE).code(), Some(0));
    manager.set_nonblocking(true).expect("a mode");
    assert!(manager.recv(&mut [0; 8]).is_err(), "and nothing else");
}
