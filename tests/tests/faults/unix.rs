//! Unix sockets: descriptors that nobody asked for, peers that are gone.

use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use sockeye_event_loop::{EventLoop, StreamOptions};
use sockeye_socket::os;
use sockeye_tests::wait::PATIENCE;

use crate::ground::{alone, descriptors, echo};
use crate::probe::Told;

/// A peer sends descriptors beside its bytes, ten thousand of them, to a service that reads bytes: none stays open here.
#[test]
fn a_flood_of_descriptors_leaves_none_open() {
    alone("unix::a_flood_of_descriptors_leaves_none_open", || {
        let mut events = EventLoop::new().unwrap();
        let probe = echo();
        let log = probe.log.clone();
        let service = events.add_stream_service(probe, StreamOptions::default());
        let (mut near, far) = UnixStream::pair().unwrap();
        far.set_nonblocking(true).unwrap();
        near.set_nonblocking(true).unwrap();
        events.adopt_unix(
            service,
            sockeye::unix::UnixStream::from(std::os::fd::OwnedFd::from(far)),
        );
        while log.opened() == 0 {
            events.turn(Some(Duration::ZERO)).unwrap();
        }
        let spare = std::fs::File::open("/dev/null").unwrap();
        let fds = [spare.as_fd(); 100];
        let before = descriptors().len();
        let mut buffer = [0; 64];
        for round in 1..=100 {
            assert_eq!(os::send_fds(&near, b"look what I have", &fds).unwrap(), 16);
            while log.received_len(0) < round * 16 {
                events.turn(Some(PATIENCE)).unwrap();
            }
            assert_eq!(std::io::Read::read(&mut near, &mut buffer).unwrap(), 16);
            assert_eq!(descriptors().len(), before, "round {round}");
        }
        near.write_all(b"and on").unwrap();
        while log.received_len(0) < 1_606 {
            events.turn(Some(PATIENCE)).unwrap();
        }
        drop(near);
        while !log.has(&Told::Dropped) {
            events.turn(Some(PATIENCE)).unwrap();
        }
    });
}

/// The process at the other side is gone: who it was is still known, and its bytes are read to the end.
#[test]
fn a_peer_that_is_gone_is_still_known_and_heard() {
    use sockeye_event_loop::{Peer, UnixListenOptions, UnixName};
    use sockeye_tests::program;
    use sockeye_tests::skip::{self, Need};
    if !skip::require(&[Need::program("socat")]) {
        return;
    }
    let mut events = EventLoop::new().unwrap();
    let known = std::rc::Rc::new(std::cell::RefCell::new(None));
    let who = std::rc::Rc::clone(&known);
    let probe = crate::probe::Probe::new().eof(move |stream| {
        if let Some(Peer::Unix { credentials, .. }) = stream.peer() {
            *who.borrow_mut() = credentials;
        }
        stream.close();
    });
    let log = probe.log.clone();
    let service = events.add_stream_service(probe, StreamOptions::default());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let name = UnixName::from_path(path.as_os_str().as_bytes()).unwrap();
    events
        .listen_unix(service, &name, &UnixListenOptions::default())
        .unwrap();
    let mut command = std::process::Command::new("socat");
    command.args(["-u", "-", &format!("UNIX-CONNECT:{}", path.display())]);
    // It has ended before the loop turns for the first time.
    let output = program::output_with_input(&mut command, b"last words", PATIENCE);
    assert!(output.status.success(), "{}", output.stderr);
    let begun = std::time::Instant::now();
    while !log.has(&Told::Dropped) {
        assert!(begun.elapsed() < PATIENCE);
        events.turn(Some(Duration::from_millis(20))).unwrap();
    }
    assert_eq!(log.received(0), b"last words");
    assert_eq!(log.closes(), ["closed"]);
    assert!(known.borrow().is_some(), "the kernel keeps who connected");
}
