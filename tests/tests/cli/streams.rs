//! stdin, stdout and stderr of `connect`, whatever they are.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::process::{Child, Command, Stdio};

use sockeye_tests::program::{self, Output};
use sockeye_tests::skip::{Need, require};
use sockeye_tests::wait::{self, PATIENCE};
use sockeye_tests::{netns, pattern};

use crate::server::Server;

const MIB: usize = 1 << 20;

fn connect(server: &Server) -> Command {
    let mut command = Command::new(program::sockeye());
    command.args(["connect", &format!("tcp://{}", server.addresses[0])]);
    command
}

/// Runs the command to its end with stdin as it is set.
fn finish(command: &mut Command) -> Output {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdout = Vec::new();
    let mut stderr = String::new();
    child
        .stdout
        .take()
        .expect("piped")
        .read_to_end(&mut stdout)
        .expect("its stdout");
    child
        .stderr
        .take()
        .expect("piped")
        .read_to_string(&mut stderr)
        .expect("its stderr");
    let status = wait::value("its end", PATIENCE, || child.try_wait().expect("ours"));
    Output {
        status,
        stdout,
        stderr,
    }
}

#[test]
fn stdin_may_be_a_file_a_device_or_a_pipe() {
    let server = Server::start(&["echo"], &["tcp://127.0.0.1:0"]);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("input");
    let sent = pattern(4 * MIB);
    std::fs::write(&path, &sent).expect("a file");
    let from_file = finish(connect(&server).stdin(File::open(&path).expect("the file")));
    assert_eq!(from_file.status.code(), Some(0), "{}", from_file.stderr);
    assert!(
        from_file.stdout == sent,
        "{} bytes came back",
        from_file.stdout.len()
    );
    let from_pipe = program::output_with_input(&mut connect(&server), &sent, PATIENCE);
    assert_eq!(from_pipe.status.code(), Some(0), "{}", from_pipe.stderr);
    assert!(
        from_pipe.stdout == sent,
        "{} bytes came back",
        from_pipe.stdout.len()
    );
    let nothing = finish(connect(&server).stdin(Stdio::null()));
    assert_eq!(
        (nothing.status.code(), nothing.stdout.len()),
        (Some(0), 0),
        "{}",
        nothing.stderr
    );
}

#[test]
fn a_stdin_that_cannot_be_read_is_an_error() {
    let server = Server::start(&["echo"], &["tcp://127.0.0.1:0"]);
    let folder = tempfile::tempdir().expect("a folder");
    let output = finish(connect(&server).stdin(File::open(folder.path()).expect("the folder")));
    assert_eq!(output.status.code(), Some(5));
    assert_eq!(output.stderr, "sockeye: read stdin: Is a directory\n");
}

#[test]
fn a_stdout_or_stderr_that_cannot_be_written_is_no_panic() {
    let server = Server::start(&["echo"], &["tcp://127.0.0.1:0"]);
    let full = || File::options().write(true).open("/dev/full").expect("the device");
    let mut child = connect(&server)
        .stdin(Stdio::piped())
        .stdout(full())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    child
        .stdin
        .as_mut()
        .expect("piped")
        .write_all(b"x")
        .expect("it reads");
    let output = child.wait_with_output().expect("its end");
    assert_eq!(output.status.code(), Some(5));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "sockeye: write to stdout: No space left on device\n"
    );
    // The status says it all the same.
    let status = Command::new(program::sockeye())
        .args(["connect", "tcp://no-such-host.invalid:80"])
        .stdin(Stdio::null())
        .stderr(full())
        .status()
        .expect("it starts");
    assert_eq!(status.code(), Some(3));
}

/// Bytes in a pipe that nobody reads.
pub(crate) fn unread(child: &Child) -> libc::c_int {
    let mut count = 0;
    let pipe = child.stdout.as_ref().expect("piped").as_raw_fd();
    // SAFETY: the request writes one int, and `count` is one.
    #[expect(unsafe_code, reason = "std has no call for it")]
    let result = unsafe { libc::ioctl(pipe, libc::FIONREAD, &raw mut count) };
    assert_eq!(result, 0);
    count
}

#[test]
fn a_signal_is_heeded_while_nobody_reads_stdout() {
    let server = Server::start(&["chargen"], &["tcp://127.0.0.1:0"]);
    let mut child = connect(&server)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    // A pipe holds 64 KiB, in pages that need not be full.
    wait::until("the pipe to be full", PATIENCE, || unread(&child) >= 48 * 1024);
    let pid = i32::try_from(child.id()).expect("pids are positive i32");
    // SAFETY: kill takes two integers; the child was not reaped yet, so the pid is its own.
    #[expect(unsafe_code, reason = "std sends no signal but SIGKILL")]
    let sent = unsafe { libc::kill(pid, libc::SIGTERM) };
    assert_eq!(sent, 0);
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wait::value("its end", PATIENCE, || child.try_wait().expect("ours"))
    }));
    let _ = child.kill();
    let _ = child.wait();
    assert_eq!(ended.expect("it ends").code(), Some(130));
}

#[test]
fn what_came_while_stdout_was_blocked_is_there_to_the_last_byte() {
    let server = Server::start(&["echo"], &["tcp://127.0.0.1:0"]);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("input");
    let sent = pattern(4 * MIB);
    std::fs::write(&path, &sent).expect("a file");
    let mut child = connect(&server)
        .stdin(File::open(&path).expect("the file"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    wait::until("the pipe to be full", PATIENCE, || unread(&child) >= 48 * 1024);
    let mut back = Vec::new();
    child
        .stdout
        .take()
        .expect("piped")
        .read_to_end(&mut back)
        .expect("its stdout");
    assert_eq!(child.wait().expect("its end").code(), Some(0));
    assert!(back == sent, "{} bytes came back", back.len());
}

#[test]
fn one_thread_does_it() {
    let server = Server::start(&["echo"], &["tcp://127.0.0.1:0"]);
    let mut child = connect(&server)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(b"x").expect("it reads");
    child
        .stdout
        .as_mut()
        .expect("piped")
        .read_exact(&mut [0])
        .expect("its stdout");
    let tasks = std::fs::read_dir(format!("/proc/{}/task", child.id()))
        .expect("it runs")
        .count();
    drop(stdin);
    assert_eq!(child.wait().expect("its end").code(), Some(0));
    assert_eq!(tasks, 1);
}

#[test]
fn too_few_descriptors_are_named() {
    if !require(&[Need::program("prlimit")]) {
        return;
    }
    let server = Server::start(&["echo"], &["tcp://127.0.0.1:0"]);
    let mut enough = 0;
    for limit in 5..16 {
        let mut command = Command::new("prlimit");
        command.arg(format!("--nofile={limit}")).arg(program::sockeye());
        command.args(["connect", &format!("tcp://{}", server.addresses[0])]);
        let output = program::output_with_input(&mut command, b"x", PATIENCE);
        if output.status.success() {
            enough += 1;
            continue;
        }
        assert_eq!(output.status.code(), Some(5), "{limit}: {}", output.stderr);
        assert!(
            output.stderr.contains("Too many open files"),
            "{limit}: {}",
            output.stderr
        );
        assert_eq!(output.stderr.lines().count(), 1, "{limit}: {}", output.stderr);
    }
    assert!((1..11).contains(&enough), "{enough}");
}

#[test]
fn a_deadline_holds_while_the_loop_is_waited_for_from_outside() {
    let name = "streams::a_deadline_holds_while_the_loop_is_waited_for_from_outside";
    let silent = |namespace: &netns::Namespace| {
        // A link on which nobody answers, and an entry that says that somebody would.
        namespace.ip("link add d0 type veth peer name d1");
        namespace.ip("link set d1 up");
        namespace.ip("address add 192.0.2.1/24 dev d0");
        namespace.ip("link set d0 up");
        namespace.ip("neighbour add 192.0.2.2 lladdr 02:00:00:00:00:02 dev d0");
    };
    if !require(&[Need::Namespaces]) || !netns::enter(name, silent) {
        return;
    }
    let mut command = Command::new(program::sockeye());
    command.args(["connect", "tcp://192.0.2.2:80", "--timeout", "0.2"]);
    let output = program::output(&mut command, PATIENCE);
    assert_eq!(output.status.code(), Some(5));
    assert!(output.stderr.contains("deadline"), "{}", output.stderr);
}
