//! `sockeye listen --exec`: a command for each connection.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sockeye_tests::pattern;
use sockeye_tests::program::{self, Running};
use sockeye_tests::skip::{Need, require};
use sockeye_tests::talking::{is_asleep, sockeye_with};
use sockeye_tests::wait::{self, PATIENCE};

const MIB: usize = 1 << 20;

/// Starts it, and says where it listens.
fn start(words: &[&str]) -> (Running, String) {
    let running = Running::start(sockeye_with(&["listen"]).args(words));
    let line = running.line(PATIENCE);
    let address = line.rsplit_once("//").expect("an address").1;
    let address = address.trim_end_matches("\"}").to_owned();
    (running, address)
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

fn all_of(mut stream: &TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("an end in order");
    all
}

/// The children of a process, those that have ended and are not reaped too.
fn children(pid: u32) -> usize {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let list = std::fs::read_to_string(path).expect("it runs");
    list.split_whitespace().count()
}

/// The first child of a process, once it has one.
fn child_of(pid: u32) -> u32 {
    let path = format!("/proc/{pid}/task/{pid}/children");
    wait::value("a child", PATIENCE, || {
        let list = std::fs::read_to_string(&path).ok()?;
        list.split_whitespace().next()?.parse().ok()
    })
}

#[test]
fn a_hundred_connections_at_once_have_a_cat_each() {
    let (running, address) = start(&["tcp://127.0.0.1:0", "-k", "--exec", "cat"]);
    let streams: Vec<TcpStream> = (0..100).map(|_| connect(&address)).collect();
    // All of them are served at the same time.
    for (index, mut stream) in streams.iter().enumerate() {
        stream
            .write_all(format!("{index:03}").as_bytes())
            .expect("it reads");
    }
    for (index, mut stream) in streams.iter().enumerate() {
        let mut came = [0; 3];
        stream.read_exact(&mut came).expect("its echo");
        assert_eq!(came, format!("{index:03}").as_bytes());
    }
    assert_eq!(children(running.pid()), 100);
    // Another one waits for a command to end, and is served then.
    let mut another = connect(&address);
    another.write_all(b"late").expect("it is in the backlog");
    for stream in &streams {
        stream.shutdown(Shutdown::Write).expect("an end");
    }
    for stream in &streams {
        assert!(all_of(stream).is_empty());
    }
    another.shutdown(Shutdown::Write).expect("an end");
    assert_eq!(all_of(&another), b"late");
    for _ in 0..101 {
        let line = running.line(PATIENCE);
        assert!(line.contains("exit status: 0"), "{line}");
    }
    wait::until("no child to be left", PATIENCE, || children(running.pid()) == 0);
}

#[test]
fn a_mib_each_way_is_whole_while_nobody_reads() {
    let (_running, address) = start(&["tcp://127.0.0.1:0", "--exec", "cat"]);
    let stream = connect(&address);
    let sent = pattern(4 * MIB);
    let writer = stream.try_clone().expect("a clone");
    let thread = std::thread::spawn({
        let sent = sent.clone();
        move || {
            let mut writer = writer;
            writer.write_all(&sent).expect("it reads");
            writer.shutdown(Shutdown::Write).expect("an end");
        }
    });
    // Nobody reads until the writer is held up: more is sent than all buffers hold, so it cannot be through.
    let mut first = [0; 1];
    let mut reader = &stream;
    reader.read_exact(&mut first).expect("its echo");
    let mut came = first.to_vec();
    came.extend(all_of(&stream));
    thread.join().expect("no panic");
    assert!(came == sent, "{} bytes came back", came.len());
}

#[test]
fn an_answer_is_whole_although_the_command_reads_nothing() {
    let (running, address) = start(&["tcp://127.0.0.1:0", "-k", "--exec", "echo answer; exit 3"]);
    for _ in 0..10 {
        let mut stream = connect(&address);
        // More than the command will ever read. It may be reset while it is written, which is TCP's way to say so.
        let _ = stream.write_all(&[b'x'; 1000]);
        let _ = stream.shutdown(Shutdown::Write);
        assert_eq!(all_of(&stream), b"answer\n");
        let line = running.line(PATIENCE);
        assert!(line.contains("exit status: 3"), "{line}");
    }
}

#[test]
fn the_end_of_either_side_is_told_to_the_other() {
    // The command hears the end of its stdin, and still answers.
    let (_running, address) = start(&["tcp://127.0.0.1:0", "--exec", "wc -c; echo $SOCKEYE_PEER"]);
    let mut stream = connect(&address);
    let local = stream.local_addr().expect("its address");
    stream.write_all(&[0; 12345]).expect("it reads");
    stream.shutdown(Shutdown::Write).expect("an end");
    let text = String::from_utf8(all_of(&stream)).expect("text");
    assert_eq!(text, format!("12345\n{local}\n"));
    // The peer hears the end of the command's stdout while the command still reads.
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("got");
    let command = format!("echo out; exec >&-; cat > {}", path.display());
    let (mut running, address) = start(&["tcp://127.0.0.1:0", "--exec", &command]);
    let mut stream = connect(&address);
    assert_eq!(all_of(&stream), b"out\n");
    stream.write_all(b"still read").expect("it reads");
    stream.shutdown(Shutdown::Write).expect("an end");
    assert_eq!(running.wait(PATIENCE).code(), Some(0));
    assert_eq!(std::fs::read(path).expect("the file"), b"still read");
}

#[test]
fn events_say_who_came_and_how_the_command_ended() {
    let words = [
        "tcp://127.0.0.1:0",
        "-k",
        "--exec",
        "read x; kill -9 $$",
        "--json",
    ];
    let (mut running, address) = start(&words);
    let mut stream = connect(&address);
    stream.write_all(b"x\n").expect("it reads");
    assert!(all_of(&stream).is_empty());
    let line = running.line(PATIENCE);
    let event: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(event["event"], "session");
    assert_eq!(event["received_bytes"], 2);
    assert_eq!(event["signal"], 9);
    assert!(event["exit_status"].is_null());
    running.signal(libc::SIGINT);
    assert_eq!(running.wait(PATIENCE).code(), Some(0));
}

#[test]
fn a_signal_ends_the_commands_and_what_they_have_started_too() {
    // With something behind it the shell starts it, and does not become it.
    for (command, is_started) in [("exec sleep 60", false), ("sleep 60; true", true)] {
        let (mut running, address) = start(&["tcp://127.0.0.1:0", "-k", "--exec", command]);
        let _stream = connect(&address);
        let child = child_of(running.pid());
        let sleeping = if is_started { child_of(child) } else { child };
        running.signal(libc::SIGTERM);
        assert_eq!(running.wait(PATIENCE + Duration::from_secs(5)).code(), Some(0));
        assert!(!Path::new(&format!("/proc/{child}")).exists());
        // What its parent has left behind is for another process to wait for.
        wait::until("the end of sleep", PATIENCE, || {
            let stat = std::fs::read_to_string(format!("/proc/{sleeping}/stat")).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ")
        });
    }
}

#[test]
fn a_command_that_does_not_start_is_an_error() {
    if !require(&[Need::program("prlimit")]) {
        return;
    }
    let few = |words: &[&str]| {
        let (running, address) = start(words);
        let pid = running.pid();
        wait::until("it to wait", PATIENCE, || is_asleep(pid));
        // One number is free, for the connection, and none for its command.
        let mut free = (0..).filter(|number| !Path::new(&format!("/proc/{pid}/fd/{number}")).exists());
        let limit = free.nth(1).expect("a number");
        let mut command = Command::new("prlimit");
        command.args(["--pid", &pid.to_string(), &format!("--nofile={limit}:4096")]);
        assert!(program::output(&mut command, PATIENCE).status.success());
        // It is reset, or ended, without a byte.
        assert_eq!(connect(&address).read(&mut [0]).unwrap_or(0), 0);
        running
    };
    let mut running = few(&["tcp://127.0.0.1:0", "--exec", "echo ran"]);
    assert_eq!(running.wait(PATIENCE).code(), Some(5));
    let said = running.error_line(PATIENCE).expect("why");
    assert_eq!(said, "sockeye: start /bin/sh: Too many open files");
    let line = running.line(PATIENCE);
    assert!(line.ends_with("Too many open files"), "{line}");
    // Others may come, and have more luck.
    let mut running = few(&["tcp://127.0.0.1:0", "-k", "--exec", "echo ran"]);
    let said = running.error_line(PATIENCE).expect("why");
    assert!(said.ends_with("start /bin/sh: Too many open files"), "{said}");
    running.signal(libc::SIGTERM);
    assert_eq!(running.wait(PATIENCE).code(), Some(0));
}

#[test]
fn one_that_ends_costs_one_look_at_the_others() {
    const STRACE: Need = Need::Program {
        name: "strace",
        package: "strace",
    };
    if !require(&[STRACE]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let calls = folder.path().join("calls");
    let mut command = Command::new("strace");
    command.args(["-D", "-e", "trace=wait4,waitid", "-e", "signal=none", "-o"]);
    command.arg(&calls).arg(program::sockeye());
    let running = Running::start(command.args(["listen", "tcp://127.0.0.1:0", "-k", "--exec", "cat"]));
    let line = running.line(PATIENCE);
    let address = line.rsplit_once("//").expect("an address").1.to_owned();
    let serve = |stream: &TcpStream| {
        let mut stream = stream;
        stream.write_all(b"x").expect("it reads");
        stream.read_exact(&mut [0]).expect("its echo");
    };
    let others: Vec<TcpStream> = (0..50).map(|_| connect(&address)).collect();
    others.iter().for_each(serve);
    let looks = || {
        let text = std::fs::read_to_string(&calls).expect("the calls");
        text.lines().filter(|line| line.starts_with("wait")).count()
    };
    let before = looks();
    for _ in 0..20 {
        let stream = connect(&address);
        serve(&stream);
        drop(stream);
        assert!(running.line(PATIENCE).contains("exit status: 0"));
    }
    // One for each at the signal, and a few at the session that has lost its streams.
    let looks = looks() - before;
    assert!(looks <= 20 * (51 + 10), "{looks}");
}
