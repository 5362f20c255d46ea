//! Descriptors and credentials beside messages. Each test counts the descriptors of this process before and after, so they
//! run one after another.

#![allow(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::num::NonZeroU32;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::process::Command;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use sockeye_unix::{
    Credentials, MAX_PASSED_FDS, PeerProcess, UnixDatagram, UnixListener, UnixName, UnixOutgoing,
    UnixRecvBatch, UnixSeqpacket, UnixStream,
};

static ALONE: Mutex<()> = Mutex::new(());

/// Holds the count of descriptors, and compares it in the end.
struct Counted {
    before: usize,
    _alone: MutexGuard<'static, ()>,
}

impl Counted {
    fn new() -> Self {
        let alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Self {
            before: open(),
            _alone: alone,
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(open(), self.before, "descriptors are left open");
        }
    }
}

fn open() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn pair() -> (UnixStream, UnixStream) {
    UnixStream::pair().unwrap()
}

fn null() -> File {
    File::open("/dev/null").unwrap()
}

#[test]
fn descriptors_arrive_owned_and_close_on_exec() {
    let _counted = Counted::new();
    let (one, other) = pair();
    let (mut inside, outside) = pair();
    let sent = UnixOutgoing::new(b"x");
    let fds = [outside.as_fd()];
    assert_eq!(one.send_msg(&sent.fds(&fds)).unwrap(), 1);
    drop(outside);
    let mut buffer = [0; 8];
    let got = other.recv_msg(&mut buffer).unwrap();
    assert_eq!((got.len, got.fds.len(), got.fds_lost), (1, 1, false));
    let flags = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", got.fds[0].as_raw_fd())).unwrap();
    let flags = flags
        .lines()
        .find_map(|line| line.strip_prefix("flags:"))
        .unwrap();
    let flags = i32::from_str_radix(flags.trim(), 8).unwrap();
    assert_ne!(flags & 0o2_000_000, 0, "close-on-exec: {flags:o}");
    let mut outside = UnixStream::from(got.fds.into_iter().next().unwrap());
    inside.write_all(b"through").unwrap();
    assert_eq!(outside.read(&mut buffer).unwrap(), 7);
}

#[test]
fn as_many_as_a_message_carries_arrive_and_no_more_are_sent() {
    let _counted = Counted::new();
    let (one, other) = pair();
    let file = null();
    let most: Vec<BorrowedFd<'_>> = vec![file.as_fd(); MAX_PASSED_FDS];
    assert_eq!(one.send_msg(&UnixOutgoing::new(b"x").fds(&most)).unwrap(), 1);
    let got = other.recv_msg(&mut [0; 8]).unwrap();
    assert_eq!((got.fds.len(), got.fds_lost), (253, false));
    drop(got);
    let more: Vec<BorrowedFd<'_>> = vec![file.as_fd(); MAX_PASSED_FDS + 1];
    let error = one.send_msg(&UnixOutgoing::new(b"x").fds(&more)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    let nothing = other.recv_msg(&mut [0; 8]).unwrap_err();
    assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn what_was_never_received_is_closed_with_the_socket() {
    let _counted = Counted::new();
    let (one, other) = pair();
    let (inside, outside) = pair();
    for _ in 0..50 {
        one.send_msg(&UnixOutgoing::new(b"x").fds(&[outside.as_fd()]))
            .unwrap();
    }
    drop((one, other, outside));
    let mut inside = inside;
    assert_eq!(inside.read(&mut [0; 1]).unwrap(), 0, "nobody holds the other end");
}

/// A plain read takes the bytes: what came beside them is closed by the kernel.
#[test]
fn a_plain_read_leaks_nothing() {
    let _counted = Counted::new();
    let (one, mut other) = pair();
    let (mut inside, outside) = pair();
    one.send_msg(&UnixOutgoing::new(b"x").fds(&[outside.as_fd()]))
        .unwrap();
    drop(outside);
    assert_eq!(other.read(&mut [0; 8]).unwrap(), 1);
    assert_eq!(inside.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn at_the_limit_of_descriptors_what_is_missing_is_told() {
    let _counted = Counted::new();
    let (soft, _hard) = sockeye_socket::os::nofile_limit().unwrap();
    let (one, other) = pair();
    let file = null();
    let fds = vec![file.as_fd(); 20];
    one.send_msg(&UnixOutgoing::new(b"x").fds(&fds)).unwrap();
    // Room for five.
    let mut hogs = Vec::new();
    while let Ok(hog) = file.try_clone() {
        hogs.push(hog);
        assert!(hogs.len() as u64 <= soft);
    }
    hogs.truncate(hogs.len() - 5);
    let got = other.recv_msg(&mut [0; 8]);
    drop(hogs);
    let got = got.unwrap();
    assert!(got.fds_lost);
    assert_eq!((got.len, got.fds.len()), (1, 5));
}

#[test]
fn descriptors_without_a_byte_are_refused_on_a_stream() {
    let _counted = Counted::new();
    let (one, other) = pair();
    let file = null();
    let error = one
        .send_msg(&UnixOutgoing::new(b"").fds(&[file.as_fd()]))
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    let (one, two) = UnixSeqpacket::pair().unwrap();
    assert_eq!(
        one.send_msg(&UnixOutgoing::new(b"").fds(&[file.as_fd()]))
            .unwrap(),
        0
    );
    assert_eq!(
        two.recv_msg(&mut [0; 1]).unwrap().fds.len(),
        1,
        "a packet may be empty"
    );
    drop(other);
}

#[test]
fn a_seqpacket_keeps_borders_descriptors_and_its_end() {
    let _counted = Counted::new();
    let (one, two) = UnixSeqpacket::pair().unwrap();
    let file = null();
    one.send(b"first").unwrap();
    one.send_msg(&UnixOutgoing::new(b"second").fds(&[file.as_fd()]))
        .unwrap();
    one.send(b"").unwrap();
    let mut buffer = [0; 3];
    let got = two.recv_msg(&mut buffer).unwrap();
    assert_eq!(
        (got.len, got.full_len, got.truncated(), got.fds.len()),
        (3, 5, true, 0)
    );
    let got = two.recv_msg(&mut [0; 16]).unwrap();
    assert_eq!((got.len, got.truncated(), got.fds.len()), (6, false, 1));
    assert_eq!(two.recv_message(&mut [0; 16]).unwrap(), Some(0), "an empty one");
    drop(one);
    assert_eq!(two.recv_message(&mut [0; 16]).unwrap(), None, "the end");
}

#[test]
fn a_batch_closes_what_came_beside_and_says_so() {
    let _counted = Counted::new();
    let (one, two) = UnixDatagram::pair().unwrap();
    let file = null();
    one.send(b"plain").unwrap();
    one.send_msg(&UnixOutgoing::new(b"with").fds(&[file.as_fd()]))
        .unwrap();
    let mut batch = UnixRecvBatch::new(8, 16);
    assert_eq!(two.recv_batch(&mut batch).unwrap(), 2);
    let got: Vec<_> = batch
        .iter()
        .map(|datagram| (datagram.payload, datagram.fds_lost))
        .collect();
    assert_eq!(got, [(b"plain".as_slice(), false), (b"with".as_slice(), true)]);
}

#[test]
fn the_peer_is_known_by_process_user_and_group() {
    let _counted = Counted::new();
    let (one, other) = pair();
    let peer = one.peer_credentials().unwrap();
    assert_eq!(peer.pid.map(NonZeroU32::get), Some(std::process::id()));
    other.set_pass_credentials(true).unwrap();
    let mut one = one;
    one.write_all(b"x").unwrap();
    let got = other.recv_msg(&mut [0; 8]).unwrap();
    assert_eq!(got.credentials, Some(peer));
    match one.peer_process().unwrap() {
        PeerProcess::Pidfd(fd) => drop(fd),
        PeerProcess::Unsupported => {}
        other => panic!("{other:?}"),
    }
    let unconnected = UnixDatagram::unbound().unwrap();
    assert_eq!(
        unconnected.peer_credentials().unwrap_err().kind(),
        io::ErrorKind::NotConnected
    );
}

#[test]
fn credentials_of_another_process_take_a_capability() {
    let _counted = Counted::new();
    let (one, other) = pair();
    other.set_pass_credentials(true).unwrap();
    let own = one.peer_credentials().unwrap();
    let nobody = Credentials {
        pid: NonZeroU32::new(u32::MAX >> 1),
        ..own
    };
    let error = one
        .send_msg(&UnixOutgoing::new(b"x").credentials(nobody))
        .unwrap_err();
    // Without the capability EPERM, with it ESRCH: there is no such process.
    assert!(matches!(error.raw_os_error(), Some(1 | 3)), "{error}");
    one.send_msg(&UnixOutgoing::new(b"x").credentials(own)).unwrap();
    assert_eq!(other.recv_msg(&mut [0; 8]).unwrap().credentials, Some(own));
}

/// Names the path that the child of the next test connects to.
const CHILD: &str = "SOCKEYE_UNIX_CHILD";

#[test]
fn connects_as_another_process() {
    // Called by the next test; by itself there is nothing to connect to.
    if let Some(path) = std::env::var_os(CHILD) {
        drop(UnixStream::connect(path).unwrap());
    }
}

/// The process that connected is gone: its number stays what it was, and its descriptor says that it is gone.
#[test]
fn the_credentials_of_a_process_that_is_gone_stay_what_they_were() {
    let _counted = Counted::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "connects_as_another_process"])
        .env(CHILD, &path)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let pid = child.id();
    assert!(listener.wait_readable(Duration::from_secs(20)).unwrap());
    let (stream, _) = listener.accept().unwrap();
    assert!(child.wait().unwrap().success());
    let peer = stream.peer_credentials().unwrap();
    assert_eq!(peer.pid.map(NonZeroU32::get), Some(pid));
    match stream.peer_process().unwrap() {
        // Readable, as the process has exited.
        PeerProcess::Pidfd(fd) => drop(fd),
        PeerProcess::Gone | PeerProcess::Unsupported => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_no_unix_socket_is_refused() {
    let _counted = Counted::new();
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let file = null();
    let fds = [file.as_fd()];
    let error = sockeye_socket::unix::send_unix_msg(&udp, &UnixOutgoing::new(b"x").fds(&fds)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    let error = sockeye_socket::unix::recv_unix_msg(&udp, &mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    let error = UnixListener::adopt(OwnedFd::from(udp)).unwrap_err();
    assert!(error.to_string().contains("no listening Unix socket"), "{error}");
    let (one, _other) = pair();
    UnixListener::adopt(OwnedFd::from(one)).unwrap_err();
}

#[test]
fn a_thousand_errors_leak_nothing() {
    let _counted = Counted::new();
    let folder = tempfile::tempdir().unwrap();
    let name = sockeye_unix::name_of_path(folder.path().join("none.sock")).unwrap();
    let directory = sockeye_unix::name_of_path(folder.path()).unwrap();
    for _ in 0..1_000 {
        UnixStream::start_connect(&name).unwrap_err();
        sockeye_unix::ListenOptions::new()
            .bind(&directory)
            .map(drop)
            .unwrap_err();
        UnixDatagram::unbound().unwrap().connect_name(&name).unwrap_err();
    }
    assert!(UnixName::from_path(b"").is_err());
}
