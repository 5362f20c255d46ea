//! The safe functions of `os` with arguments that nobody should give them: an answer or an error, never a panic.

#![expect(clippy::unwrap_used, reason = "helpers of tests say what they expect")]

use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::Duration;

use sockeye_socket::{Socket, os};

const HUGE: [usize; 6] = [
    usize::MAX,
    usize::MAX - 1,
    isize::MAX as usize + 1,
    isize::MAX as usize,
    u32::MAX as usize + 1,
    i32::MAX as usize + 1,
];
const OFFSETS: [u64; 6] = [
    u64::MAX,
    i64::MAX as u64 + 1,
    i64::MAX as u64,
    i64::MAX as u64 - 4096,
    u32::MAX as u64 + 1,
    1 << 40,
];

/// A connected pair, nonblocking.
fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let other = listener.accept().unwrap().0;
    for stream in [&one, &other] {
        stream.set_nonblocking(true).unwrap();
    }
    (one, other)
}

fn unix() -> (UnixStream, UnixStream) {
    let (one, other) = UnixStream::pair().unwrap();
    for stream in [&one, &other] {
        stream.set_nonblocking(true).unwrap();
    }
    (one, other)
}

/// Descriptors of every kind that comes to mind, none of which blocks.
fn all_kinds() -> Vec<(&'static str, OwnedFd)> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_nonblocking(true).unwrap();
    let datagram = UnixDatagram::unbound().unwrap();
    datagram.set_nonblocking(true).unwrap();
    let closed = tcp().0;
    let pipe = os::Pipe::new().unwrap();
    let (tcp, unix) = (tcp(), unix());
    vec![
        (
            "a file",
            File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
                .unwrap()
                .into(),
        ),
        ("a file to write to", tempfile()),
        ("a directory", File::open("/").unwrap().into()),
        (
            "/dev/null",
            File::options()
                .read(true)
                .write(true)
                .open("/dev/null")
                .unwrap()
                .into(),
        ),
        ("/dev/zero", File::open("/dev/zero").unwrap().into()),
        ("/proc", File::open("/proc/self/maps").unwrap().into()),
        ("a pipe to read", pipe.read_end().try_clone_to_owned().unwrap()),
        ("a pipe to write", pipe.write_end().try_clone_to_owned().unwrap()),
        (
            "a timer",
            os::TimerFd::new().unwrap().as_fd().try_clone_to_owned().unwrap(),
        ),
        ("a listener", listener.into()),
        ("udp", udp.into()),
        ("a unix datagram", datagram.into()),
        ("tcp", tcp.0.into()),
        ("tcp whose peer is gone", closed.into()),
        ("unix whose peer is gone", unix.0.into()),
    ]
}

/// A file of no name, to write to.
fn tempfile() -> OwnedFd {
    let path = std::env::temp_dir().join(format!(
        "sockeye-hostile-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
        .unwrap();
    std::fs::remove_file(path).unwrap();
    file.into()
}

#[test]
fn sendfile_takes_any_offset_and_any_length() {
    let file = File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
    let size = file.metadata().unwrap().len();
    for start in OFFSETS {
        for len in HUGE.into_iter().chain([0, 1]) {
            let (out, _peer) = tcp();
            let mut offset = start;
            // Beyond the end nothing is left, or the place is none.
            assert_eq!(
                os::sendfile(&out, &file, &mut offset, len).unwrap_or(0),
                0,
                "{start} {len}"
            );
            assert_eq!(offset, start);
        }
    }
    for len in HUGE {
        let (out, _peer) = tcp();
        let mut offset = 0;
        let sent = os::sendfile(&out, &file, &mut offset, len).unwrap();
        assert_eq!((sent as u64, offset), (size, size));
    }
}

#[test]
fn files_and_pieces_of_every_kind_move_or_are_refused() {
    for (_, from) in all_kinds() {
        for (_, to) in all_kinds() {
            for len in [0, 1, usize::MAX] {
                // A pipe as big as a page, so that an endless source ends.
                let len = len.min(4096);
                let mut offset = 0;
                let moved = os::sendfile(&to, &from, &mut offset, len).unwrap_or(0);
                assert!(moved <= len && offset == moved as u64);
                assert!(os::splice(&from, &to, len, true).unwrap_or(0) <= len);
            }
        }
    }
}

#[test]
fn a_pipe_takes_any_length_and_any_end() {
    for bytes in HUGE {
        os::Pipe::with_capacity(bytes).unwrap_err();
    }
    assert!(os::Pipe::with_capacity(0).is_ok_and(|pipe| pipe.capacity() > 0 && pipe.is_empty()));
    for (name, fd) in all_kinds() {
        let mut pipe = os::Pipe::with_capacity(4096).unwrap();
        for len in [0, 1, usize::MAX] {
            let filled = pipe.fill_from(&fd, len).unwrap_or(0);
            assert!(filled <= len && pipe.len() <= pipe.capacity(), "{name}");
            pipe.drain_into(&fd, true)
                .map_or_else(drop, |drained| assert!(drained <= 4096, "{name}"));
        }
    }
    // Its own ends.
    let mut pipe = os::Pipe::new().unwrap();
    let (read, write) = (
        pipe.read_end().try_clone_to_owned().unwrap(),
        pipe.write_end().try_clone_to_owned().unwrap(),
    );
    pipe.fill_from(&read, 10).unwrap_err();
    let mut behind = File::from(write);
    behind.write_all(b"not counted").unwrap();
    assert_eq!((pipe.len(), pipe.drain_into(&behind, false).unwrap()), (0, 0));
    // What is counted and has been taken behind its back.
    let (mut source, from) = tcp();
    source.write_all(b"counted").unwrap();
    while pipe.is_empty() {
        let _ = pipe.fill_from(&from, 7);
    }
    let mut all = [0; 18];
    File::from(read).read_exact(&mut all).unwrap();
    let (to, _sink) = tcp();
    assert_eq!(
        pipe.drain_into(&to, false).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
}

#[test]
fn descriptors_are_passed_over_unix_sockets_only() {
    let null = File::open("/dev/null").unwrap();
    for (name, fd) in all_kinds() {
        // Other sockets send the bytes and drop the descriptors without a word.
        os::send_fds(&fd, b"x", &[null.as_fd()]).expect_err(name);
        let (mut data, mut fds) = ([0; 16], Vec::new());
        let received = os::recv_fds(&fd, &mut data, &mut fds);
        assert!(
            matches!(received, Err(_) | Ok(0)) && fds.is_empty(),
            "{name}: {received:?}"
        );
    }
}

#[test]
fn no_room_for_data_is_not_the_end() {
    let (here, there) = unix();
    let null = File::open("/dev/null").unwrap();
    assert_eq!(os::send_fds(&here, b"x", &[null.as_fd()]).unwrap(), 1);
    let mut fds = Vec::new();
    assert_eq!(
        os::recv_fds(&there, &mut [], &mut fds).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    assert!(fds.is_empty());
    assert_eq!(os::recv_fds(&there, &mut [0; 8], &mut fds).unwrap(), 1);
    assert_eq!(fds.len(), 1);
    assert_eq!(
        os::recv_fds(&there, &mut [0; 8], &mut fds).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    drop(here);
    assert_eq!(os::recv_fds(&there, &mut [0; 8], &mut fds).unwrap(), 0);
}

#[test]
fn a_timer_takes_any_time() {
    let timer = os::TimerFd::new().unwrap();
    for ns in [
        0,
        1,
        999_999_999,
        1_000_000_000,
        i64::MAX as u64,
        i64::MAX as u64 + 1,
        u64::MAX,
    ] {
        timer.arm_after_ns(ns).unwrap();
        timer.arm_every_ns(ns).unwrap();
        timer.arm_at_ns(ns).unwrap();
        timer.disarm().unwrap();
        assert_eq!((timer.remaining_ns().unwrap(), timer.take().unwrap()), (None, 0));
    }
    timer.arm_after_ns(u64::MAX).unwrap();
    assert!(timer.remaining_ns().unwrap().unwrap() > 1 << 62);
}

#[test]
fn names_and_numbers_of_any_kind() {
    let long = "x".repeat(1 << 20);
    for name in ["", "\0", "lo\0", "%", "sixteen-bytes-xx", &long] {
        os::interface_index(name).unwrap_err();
    }
    for index in [0, i32::MAX as u32, i32::MAX as u32 + 1, u32::MAX] {
        os::interface_name(index).unwrap_err();
    }
    // None of them is a name that anybody would be asked about.
    for host in ["\0", "..", &long, &"label.".repeat(10_000)] {
        for family in [os::AddressFamily::V4, os::AddressFamily::V6] {
            os::getaddrinfo(host, family, usize::MAX).unwrap_err();
        }
    }
    for cpu in HUGE.into_iter().chain([1023, 1024, 1025]) {
        os::pin_thread_to_cpu(cpu).unwrap_err();
    }
    assert!(!os::allowed_cpus().unwrap().is_empty());
}

/// Whatever a descriptor is, a socket made of it answers or refuses.
#[test]
fn a_socket_of_any_descriptor() {
    for (name, fd) in all_kinds() {
        let socket = Socket::from(fd);
        let mut buffer = [0; 64];
        let short = |answer: io::Result<usize>| assert!(answer.unwrap_or(0) <= 64, "{name}");
        short(socket.recv(&mut buffer));
        short(socket.peek(&mut buffer));
        short(socket.recv(&mut []));
        short(socket.recv_vectored(&mut []));
        short(socket.send(b"x"));
        short(socket.send(&[]));
        short(socket.send_more(b"x"));
        short(socket.send_vectored(&[]));
        short(socket.send_urgent(b'!'));
        short(socket.recv_urgent().map(usize::from).map(|_| 0));
        let _ = (
            socket.is_at_mark(),
            socket.unread(),
            socket.unacked(),
            socket.unsent(),
        );
        let _ = (
            socket.local_addr(),
            socket.peer_addr(),
            socket.original_destination(),
            socket.take_error(),
        );
        let _ = (
            socket.is_ipv6(),
            socket.accept(),
            socket.disconnect(),
            socket.listen(-1),
            socket.listen(i32::MIN),
        );
        let _ = (
            socket.set_nonblocking(true),
            socket.wait_readable(Duration::ZERO),
            socket.wait_writable(Duration::ZERO),
        );
        let _ = (
            sockeye_socket::recv_error(&socket),
            sockeye_socket::Capabilities::of(&socket),
        );
        let _ = (
            sockeye_socket::recv_from(&socket, &mut buffer),
            sockeye_socket::recv_msg(&socket, &mut buffer),
        );
        assert!(format!("{socket:?}").starts_with("Socket"));
        if let Ok(clone) = socket.try_clone() {
            drop(socket);
            let _ = clone.shutdown(std::net::Shutdown::Both);
        }
    }
}

#[test]
fn an_option_takes_any_buffer() {
    let socket = Socket::from(tcp().0);
    for len in [0, 1, 3, 4, 65_536] {
        let mut buffer = vec![0; len];
        for option in [
            sockeye_socket::options::TCP_INFO,
            sockeye_socket::options::TCP_CONGESTION,
            sockeye_socket::options::TCP_SAVED_SYN,
            sockeye_socket::options::SO_BINDTODEVICE,
            sockeye_socket::options::SO_ORIGINAL_DST,
            sockeye_socket::options::MPTCP_INFO,
            sockeye_socket::options::ICMPV6_FILTER,
        ] {
            assert!(
                socket.get_bytes(option, &mut buffer).unwrap_or(0) <= len,
                "{option:?}"
            );
            if len != 4 {
                let _ = socket.set_bytes(option, &buffer);
            }
        }
    }
    // Longer than the kernel can count: what it has fits all the same.
    let mut large = vec![0; i32::MAX as usize + 4096];
    let len = socket
        .get_bytes(sockeye_socket::options::TCP_INFO, &mut large)
        .unwrap();
    assert!((100..1000).contains(&len), "{len}");
}
