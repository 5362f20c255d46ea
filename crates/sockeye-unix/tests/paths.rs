//! How paths are taken, kept and given back.

#![allow(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sockeye_unix::{
    AcceptOutcome, BindCause, ConnectCause, ConnectOutcome, DatagramOptions, ListenOptions, UnixListener,
    UnixName, UnixStream, name_of_path,
};

const PATIENCE: Duration = Duration::from_secs(5);

fn folder() -> (tempfile::TempDir, UnixName, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    (folder, name_of_path(&path).unwrap(), path)
}

/// What stands in the folder.
fn entries(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn answers(listener: &UnixListener, name: &UnixName) {
    let mut client = UnixStream::start_connect(name).unwrap().wait(PATIENCE).unwrap();
    client.write_all(b"hello").unwrap();
    let AcceptOutcome::Accepted(mut server, _) = listener.accept_outcome() else {
        panic!("nobody waits");
    };
    let mut buffer = [0; 8];
    assert_eq!(server.read(&mut buffer).unwrap(), 5);
}

#[test]
fn a_path_goes_with_its_listener() {
    let (folder, name, path) = folder();
    let listener = ListenOptions::new().bind(&name).unwrap();
    answers(&listener, &name);
    assert!(fs::symlink_metadata(&path).unwrap().file_type().is_socket());
    drop(listener);
    assert_eq!(entries(folder.path()), [""; 0]);
}

#[test]
fn a_path_stays_where_it_is_to_stay() {
    let (folder, name, _) = folder();
    drop(ListenOptions::new().unlink(false).bind(&name).unwrap());
    assert_eq!(entries(folder.path()), ["app.sock"]);
    let mut listener = ListenOptions::new().bind(&name).unwrap();
    listener.keep_path();
    drop(listener);
    assert_eq!(entries(folder.path()), ["app.sock"]);
}

#[test]
fn what_a_dead_program_left_is_taken_over() {
    let (folder, name, path) = folder();
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let listener = ListenOptions::new().bind(&name).unwrap();
    answers(&listener, &name);
    assert_eq!(entries(folder.path()), ["app.sock"], "no lock is left");
}

#[test]
fn a_live_socket_is_an_error_that_names_it() {
    let (_folder, name, path) = folder();
    let first = ListenOptions::new().bind(&name).unwrap();
    for again in [
        ListenOptions::new().bind(&name).unwrap_err(),
        ListenOptions::new().bind_seqpacket(&name).map(drop).unwrap_err(),
        DatagramOptions::new().bind(&name).map(drop).unwrap_err(),
    ] {
        assert_eq!(again.cause(), BindCause::InUse);
        assert!(again.to_string().contains(path.to_str().unwrap()), "{again}");
    }
    // Nobody came in at it.
    assert!(matches!(first.accept_outcome(), AcceptOutcome::Empty));
    answers(&first, &name);
}

#[test]
fn a_socket_that_is_bound_and_does_not_listen_yet_is_live() {
    use sockeye_socket::{Domain, Socket, Type};
    let (_folder, name, _) = folder();
    for ty in [Type::STREAM, Type::SEQPACKET, Type::DGRAM] {
        let bound = Socket::new(Domain::UNIX, ty, None).unwrap();
        bound.bind_unix(&name).unwrap();
        let error = ListenOptions::new().bind(&name).unwrap_err();
        assert_eq!(error.cause(), BindCause::InUse, "{ty:?}: {error}");
        drop(bound);
        fs::remove_file(_folder.path().join("app.sock")).unwrap();
    }
}

#[test]
fn nothing_that_is_no_socket_is_touched() {
    let (folder, name, path) = folder();
    fs::write(&path, b"a file").unwrap();
    let error = ListenOptions::new().bind(&name).unwrap_err();
    assert_eq!(error.cause(), BindCause::NotASocket);
    assert_eq!(fs::read(&path).unwrap(), b"a file");
    fs::remove_file(&path).unwrap();

    fs::create_dir(&path).unwrap();
    let error = ListenOptions::new().bind(&name).unwrap_err();
    assert_eq!(error.cause(), BindCause::NotASocket);
    assert!(error.to_string().contains("a directory"), "{error}");
    fs::remove_dir(&path).unwrap();

    // A symbolic link, be it to a stale socket: bind does not follow it, and neither does a removal.
    let other = folder.path().join("other.sock");
    drop(std::os::unix::net::UnixListener::bind(&other).unwrap());
    symlink(&other, &path).unwrap();
    let error = ListenOptions::new().bind(&name).unwrap_err();
    assert_eq!(error.cause(), BindCause::NotASocket);
    assert!(error.to_string().contains("a symbolic link"), "{error}");
    assert_eq!(entries(folder.path()), ["app.sock", "other.sock"]);
}

#[test]
fn a_path_that_was_replaced_is_anothers() {
    let (folder, name, path) = folder();
    let listener = ListenOptions::new().bind(&name).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, b"mine").unwrap();
    drop(listener);
    assert_eq!(fs::read(folder.path().join("app.sock")).unwrap(), b"mine");
}

#[test]
fn the_mode_is_exact_whatever_the_umask() {
    let (_folder, name, path) = folder();
    for mode in [0o600, 0o660, 0o666, 0o777, 0o000] {
        let listener = ListenOptions::new().mode(mode).bind(&name).unwrap();
        let is = fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(is, mode, "{is:o}");
        drop(listener);
    }
    let name = UnixName::from_abstract_name(b"sockeye-mode").unwrap();
    let error = ListenOptions::new().mode(0o600).bind(&name).unwrap_err();
    assert_eq!(error.cause(), BindCause::NoMode, "an abstract name has none");
}

#[test]
fn a_folder_that_is_not_there_is_told() {
    let (folder, ..) = folder();
    let name = name_of_path(folder.path().join("no/such.sock")).unwrap();
    let error = ListenOptions::new().bind(&name).unwrap_err();
    assert_eq!(error.cause(), BindCause::NoFolder, "{error}");
}

/// Also for root, whom no permission stops: the kernel's own file system takes no socket from anybody.
#[test]
fn a_folder_that_takes_no_socket_is_told() {
    let name = name_of_path("/sys/kernel/sockeye.sock").unwrap();
    let error = ListenOptions::new().bind(&name).unwrap_err();
    assert_eq!(error.cause(), BindCause::NotPermitted, "{error}");
}

#[test]
fn names_are_as_long_as_linux_allows_and_no_longer() {
    let base = tempfile::tempdir_in("/tmp").unwrap();
    let folder = base.path().to_str().unwrap().to_owned();
    let fill = |len: usize| format!("{folder}/{}", "a".repeat(len - folder.len() - 1));
    // 107 bytes and a NUL fill the field.
    let longest: UnixName = fill(107).parse().unwrap();
    let listener = ListenOptions::new().take_over(false).bind(&longest).unwrap();
    assert_eq!(listener.local().unwrap(), longest);
    answers(&listener, &longest);
    fill(109).parse::<UnixName>().unwrap_err();
    "/with\0nul".parse::<UnixName>().unwrap_err();

    // The lock beside it would be longer than a socket's name: it is a file, and may be.
    drop(listener);
    let again = ListenOptions::new().bind(&longest).unwrap();
    answers(&again, &longest);
}

#[test]
fn an_abstract_name_may_hold_any_byte() {
    let bytes = [b"sockeye-\0-".as_slice(), &std::process::id().to_ne_bytes()].concat();
    let name = UnixName::from_abstract_name(&bytes).unwrap();
    let listener = ListenOptions::new().bind(&name).unwrap();
    assert_eq!(
        listener.local().unwrap().as_abstract_name(),
        Some(bytes.as_slice())
    );
    answers(&listener, &name);
    let error = ListenOptions::new().bind(&name).unwrap_err();
    assert_eq!(error.cause(), BindCause::InUse);
    // It is free again at once.
    drop(listener);
    drop(ListenOptions::new().bind(&name).unwrap());
}

#[test]
fn no_name_gets_one_from_the_kernel() {
    let listener = ListenOptions::new().bind(&UnixName::UNNAMED).unwrap();
    let name = listener.local().unwrap();
    assert_eq!(name.as_abstract_name().map(<[u8]>::len), Some(5));
    answers(&listener, &name);
}

#[test]
fn connecting_says_what_is_wrong() {
    let (_folder, name, path) = folder();
    let cause = |name: &UnixName| UnixStream::start_connect(name).unwrap_err().cause();
    assert_eq!(cause(&name), ConnectCause::NoSuchSocket);
    fs::write(&path, b"").unwrap();
    assert_eq!(cause(&name), ConnectCause::Refused);
    fs::remove_file(&path).unwrap();
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert_eq!(cause(&name), ConnectCause::Refused, "stale");
    let datagrams = DatagramOptions::new().bind(&name).unwrap();
    assert_eq!(cause(&name), ConnectCause::WrongType);
    drop(datagrams);
}

#[test]
fn a_full_backlog_is_told_and_waited_for() {
    let (_folder, name, _) = folder();
    let listener = ListenOptions::new().backlog(1).bind(&name).unwrap();
    let mut there = Vec::new();
    let full = loop {
        assert!(there.len() < 100, "the backlog is never full");
        match UnixStream::start_connect(&name).unwrap().outcome() {
            ConnectOutcome::Connected(stream) => there.push(stream),
            ConnectOutcome::Full(connecting) => break connecting,
            other => panic!("{other:?}"),
        }
    };
    let ConnectOutcome::Full(full) = full.outcome() else {
        panic!("there is no room yet");
    };
    assert!(matches!(listener.accept_outcome(), AcceptOutcome::Accepted(..)));
    drop(full.wait(PATIENCE).unwrap());
    let late = UnixStream::start_connect(&name).unwrap();
    let late = if late.is_connected() {
        UnixStream::start_connect(&name).unwrap()
    } else {
        late
    };
    let error = late.wait(Duration::from_millis(20)).unwrap_err();
    assert_eq!(error.cause(), ConnectCause::Deadline, "{error}");
}

/// A hundred programs that start at once on what a dead one has left: one of them has it, the others are told.
#[test]
fn a_stale_path_is_taken_over_by_one() {
    let (folder, name, path) = folder();
    for _ in 0..20 {
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let barrier = std::sync::Barrier::new(8);
        let listeners: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        ListenOptions::new().bind(&name)
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let (won, lost): (Vec<_>, Vec<_>) = listeners.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1);
        for error in lost.into_iter().map(Result::unwrap_err) {
            assert_eq!(error.cause(), BindCause::InUse, "{error}");
        }
        let listener = won.into_iter().next().unwrap().unwrap();
        answers(&listener, &name);
        drop(listener);
        assert_eq!(entries(folder.path()), [""; 0]);
    }
}
