//! What waits while nobody reads stdout: it is held up, nothing of it is lost, and it has its end.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use sockeye_tests::pattern;
use sockeye_tests::talking::{is_asleep, sockeye_with};
use sockeye_tests::wait::{self, PATIENCE};

use crate::streams::unread;

const MIB: usize = 1 << 20;

/// A program that is killed, by its pid, when this is dropped. Nobody reads its stdout.
struct Unread(Child);

impl Unread {
    fn start(command: &mut Command) -> Self {
        Self::with_stderr(command, Stdio::null())
    }

    fn with_stderr(command: &mut Command, stderr: Stdio) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Self(command.stderr(stderr).spawn().expect("it starts"))
    }

    /// All of its stdout, and its status.
    fn finish(&mut self) -> (Option<i32>, Vec<u8>) {
        let mut stdout = self.0.stdout.take().expect("piped");
        let (sender, all) = channel();
        std::thread::spawn(move || {
            let mut came = Vec::new();
            let _ = stdout.read_to_end(&mut came);
            let _ = sender.send(came);
        });
        let status = wait::value("its end", PATIENCE, || self.0.try_wait().expect("ours"));
        (status.code(), all.recv_timeout(PATIENCE).expect("its stdout"))
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Writes no more than there is room for.
fn nonblocking(stdin: &ChildStdin) {
    // SAFETY: the command takes a number and touches the flags of the descriptor alone, which is open.
    #[expect(unsafe_code, reason = "std has no such mode for pipes")]
    let result = unsafe { libc::fcntl(stdin.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    assert_eq!(result, 0);
}

/// Bytes in the pipe to a program.
fn waiting(stdin: &ChildStdin) -> usize {
    let mut count: libc::c_int = 0;
    // SAFETY: the request writes one int, and `count` is one.
    #[expect(unsafe_code, reason = "std has no call for it")]
    let result = unsafe { libc::ioctl(stdin.as_raw_fd(), libc::FIONREAD, &raw mut count) };
    assert_eq!(result, 0);
    usize::try_from(count).expect("a count")
}

/// Reads all that comes, and counts it.
fn sink(mut peer: TcpStream) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        let mut room = vec![0; 64 * 1024];
        while let Ok(len @ 1..) = peer.read(&mut room) {
            counted.fetch_add(len, Ordering::Relaxed);
        }
    });
    count
}

#[test]
fn a_dump_that_nobody_reads_holds_up_stdin() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("tcp://{}", listener.local_addr().expect("its address"));
    let mut here = Unread::start(&mut sockeye_with(&["connect", "-x", &address]));
    let (peer, _) = listener.accept().expect("it connects");
    let came = sink(peer);
    let mut stdin = here.0.stdin.take().expect("piped");
    nonblocking(&stdin);
    let pid = here.0.id();
    let piece = [b'x'; 4096];
    let mut sent = 0;
    // The peer has all that was read of stdin, there is more to be read, and it is not.
    wait::until("stdin to be held up", PATIENCE, || match stdin.write(&piece) {
        Ok(len) => {
            sent += len;
            assert!(sent < 4 * MIB, "all of it is read, and its dump waits");
            false
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            is_asleep(pid) && came.load(Ordering::Relaxed) + waiting(&stdin) == sent
        }
    });
    drop(stdin);
    let (status, dump) = here.finish();
    assert_eq!(status, Some(0));
    let text = String::from_utf8(dump).expect("a dump is ASCII");
    // Every byte is there: as many rows as there are 16 bytes, no piece ends within one.
    assert_eq!(text.lines().count(), sent / 16);
    assert!(
        text.lines()
            .all(|row| row.starts_with("> ") && row.ends_with("|xxxxxxxxxxxxxxxx|"))
    );
}

/// `connect --datagram WORDS` and a peer that has heard of it, and has sent until the program took no more and slept.
fn overwhelmed(words: &[&str]) -> (Unread, UnixDatagram, Vec<u8>) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("peer");
    let peer = UnixDatagram::bind(&path).expect("a socket");
    peer.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let address = format!("unix:{}", path.display());
    let mut here = Unread::start(sockeye_with(&["connect", &address, "--datagram"]).args(words));
    let stdin = here.0.stdin.as_mut().expect("piped");
    stdin.write_all(b"hi").expect("it reads");
    let mut hi = [0; 2];
    let (_, from) = peer.recv_from(&mut hi).expect("what was sent");
    peer.connect_addr(&from).expect("it has a name");
    peer.set_nonblocking(true).expect("a mode");
    let sent = pattern(4 * MIB);
    let mut pieces = sent.chunks(8192);
    let mut piece = pieces.next().expect("a piece");
    let mut len = 0;
    wait::until("the sender to wait", PATIENCE, || match peer.send(piece) {
        Ok(count) => {
            len += count;
            piece = pieces.next().expect("the sender waits before");
            false
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            // There is more for it, and it sleeps: the pipe is full, and what waits for the pipe as well.
            unread(&here.0) >= 48 * 1024 && is_asleep(here.0.id())
        }
    });
    (here, peer, sent[..len].to_vec())
}

/// So that a limit of time is over, which cannot be seen from outside. Where it is not yet, what is tested holds as well.
fn let_pass(time: Duration) {
    let begun = Instant::now();
    wait::until("time to pass", PATIENCE, || begun.elapsed() > time);
}

#[test]
fn time_that_is_over_while_nobody_reads_costs_nothing_that_was_received() {
    let (mut here, _peer, sent) = overwhelmed(&["--linger", "0.1"]);
    drop(here.0.stdin.take());
    let_pass(Duration::from_millis(300));
    wait::until("it to sleep", PATIENCE, || is_asleep(here.0.id()));
    let (status, came) = here.finish();
    assert_eq!(status, Some(0));
    // A pipe and as much as waits for it.
    assert!(came.len() >= 112 * 1024, "{} bytes came", came.len());
    assert!(came == sent[..came.len()], "other bytes");
}

#[test]
fn nobody_is_silent_while_stdout_is_not_read() {
    // Datagrams end after a second of silence behind the end of stdin.
    let (mut here, _peer, sent) = overwhelmed(&[]);
    drop(here.0.stdin.take());
    let_pass(Duration::from_millis(1500));
    let (status, came) = here.finish();
    assert_eq!(status, Some(0));
    assert!(came == sent, "{} of {} bytes", came.len(), sent.len());
}

#[test]
fn nobody_is_idle_while_stdout_is_not_read() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("tcp://{}", listener.local_addr().expect("its address"));
    let mut here = Unread::start(&mut sockeye_with(&["connect", &address, "-w", "1"]));
    let (mut peer, _) = listener.accept().expect("it connects");
    peer.set_nonblocking(true).expect("a mode");
    let piece = pattern(64 * 1024);
    let mut sent = 0;
    wait::until("the sender to wait", PATIENCE, || match peer.write(&piece) {
        Ok(count) => {
            sent += count;
            false
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            unread(&here.0) >= 48 * 1024 && is_asleep(here.0.id())
        }
    });
    // The kernel has the rest of it, and its end.
    drop(peer);
    drop(here.0.stdin.take());
    // The second, and another one in which a connection that is ended may still send.
    let_pass(Duration::from_millis(2500));
    let (status, came) = here.finish();
    assert_eq!(status, Some(0));
    assert_eq!(came.len(), sent);
}

#[test]
fn sessions_that_stdout_had_no_room_for_are_counted_once_it_has() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notes");
    let notes = std::fs::File::create(&path).expect("a file");
    let words = ["listen", "tcp://127.0.0.1:0", "-k", "--exec", "exit 0", "--json"];
    let mut here = Unread::with_stderr(&mut sockeye_with(&words), notes.into());
    let mut lines = BufReader::new(here.0.stdout.take().expect("piped")).lines();
    let first = lines.next().expect("a line").expect("a text");
    let address = first.rsplit_once("tcp://").expect("where it listens").1;
    let address = address.trim_end_matches("\"}").to_owned();
    let serve = || {
        let mut peer = TcpStream::connect(&address).expect("it listens");
        peer.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        assert_eq!(peer.read(&mut [0]).expect("the end of the command"), 0);
    };
    // Of more than 170 bytes each: a pipe of 64 KiB and as much that waits for it have no room for so many.
    let mut served = 1000;
    (0..served).for_each(|_| serve());
    assert_eq!(
        std::fs::read_to_string(&path).expect("the notes"),
        "",
        "nobody reads: there is no room for the count either"
    );
    let (sender, events) = channel();
    std::thread::spawn(move || lines.map_while(Result::ok).all(|line| sender.send(line).is_ok()));
    let (mut told, mut lost) = (0, 0);
    let mut count = |line: String| {
        let event: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        match event["event"].as_str() {
            Some("session") => told += 1,
            Some("lost") => lost += event["events"].as_u64().expect("a count"),
            other => panic!("{other:?}"),
        }
        (told, lost)
    };
    // The first one for which there is room again brings the count with it.
    wait::until("the count", PATIENCE, || {
        serve();
        served += 1;
        events.try_iter().any(|line| count(line).1 > 0)
    });
    loop {
        let line = events
            .recv_timeout(PATIENCE)
            .expect("every session is told or lost");
        let (told, lost) = count(line);
        if told + lost == served {
            break;
        }
    }
    let notes = std::fs::read_to_string(&path).expect("the notes");
    assert!(notes.contains("lines were lost"), "{notes}");
}

#[test]
fn a_receiver_of_unix_datagrams_that_is_full_is_waited_for_asleep() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("here");
    // Of short messages the queue is full before the buffer of the sender is, of which the poller would tell.
    let mut command = sockeye_with(&["listen", "--datagram", "--line"]);
    let mut here = Unread::start(command.arg(format!("unix:{}", path.display())));
    let mut stdin = here.0.stdin.take().expect("piped");
    nonblocking(&stdin);
    let pid = here.0.id();
    let peer = UnixDatagram::bind(folder.path().join("peer")).expect("a socket");
    peer.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    wait::until("the path", PATIENCE, || peer.send_to(b"here", &path).is_ok());
    wait::until("the message", PATIENCE, || unread(&here.0) == 4);
    let sent = (0..64 * 1024)
        .map(|line| format!("{line:063}\n"))
        .collect::<String>();
    let mut pieces = sent.as_bytes().chunks(4096);
    let mut piece = pieces.next().expect("a piece");
    let mut len = 0;
    // Who has a peer reads stdin, or waits for room.
    wait::until("it to sleep", PATIENCE, || match stdin.write(piece) {
        Ok(count) => {
            len += count;
            piece = pieces.next().expect("it waits before");
            false
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            is_asleep(pid)
        }
    });
    // And goes on once there is room.
    let (mut came, mut room) = (Vec::new(), vec![0; 64 * 1024]);
    while came.len() < len {
        let count = peer.recv(&mut room).expect("a datagram");
        came.extend_from_slice(&room[..count]);
    }
    assert!(came == sent.as_bytes()[..len], "other bytes");
}
