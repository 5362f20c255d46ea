//! What a command has opened it uses without capabilities: /proc says so of every thread of the running program.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use sockeye_tests::netns::{Namespace, World};
use sockeye_tests::program::{self, Running};
use sockeye_tests::skip::{Need, require};
use sockeye_tests::wait::{self, PATIENCE};

/// Numbers from linux/capability.h, as bits.
const NET_BIND_SERVICE: u64 = 1 << 10;
const NET_RAW: u64 = 1 << 13;
const KILL: u64 = 1 << 5;

/// The user `nobody`, who has no capability from the beginning.
const NOBODY: [&str; 4] = ["--reuid", "65534", "--regid", "65534"];

/// A line of a `status` of proc(5): a set of capabilities.
fn set(status: &str, name: &str) -> u64 {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    u64::from_str_radix(line.expect("a set").trim(), 16).expect("bits")
}

/// The `status` of each thread; one that has just ended is left out.
fn threads(pid: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    tasks
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok())
        .collect()
}

/// Whether no thread has more than `kept`, or can get more.
fn has_only(status: &str, kept: u64) -> bool {
    let given_up = ["CapInh", "CapAmb"].iter().all(|name| set(status, name) == 0);
    let left = ["CapEff", "CapPrm"]
        .iter()
        .all(|name| set(status, name) & !kept == 0);
    given_up && left && status.contains("NoNewPrivs:\t1")
}

/// Waits until the program has given up everything but `kept`, which its first thread has.
#[track_caller]
fn check(running: &mut Running, kept: u64, what: &str) {
    wait::until(&format!("{what}: no capability but {kept:#x}"), PATIENCE, || {
        assert!(
            running.is_running(),
            "{what}: it has ended: {:?}",
            running.error_line(PATIENCE)
        );
        let threads = threads(running.pid());
        let first = fs::read_to_string(format!("/proc/{}/status", running.pid())).unwrap_or_default();
        let has_kept = !first.is_empty() && set(&first, "CapEff") == kept;
        has_kept && threads.iter().all(|status| has_only(status, kept))
    });
}

fn sockeye(words: &[&str]) -> Running {
    Running::start(Command::new(program::sockeye()).args(words))
}

/// The endpoint of the next line that names one.
fn listening(running: &Running) -> String {
    let line = running.line_with(PATIENCE, |line| line.starts_with("listening on "));
    line.trim_start_matches("listening on ").to_owned()
}

fn is_root() -> bool {
    require(&[Need::NetRaw, Need::NetAdmin, Need::program("setpriv")])
}

#[test]
fn probes_have_no_capability_once_their_sockets_are_open() {
    if !is_root() {
        return;
    }
    // Bound, and never read: who asks it waits.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port().to_string();
    let at = format!("udp://127.0.0.1:{port}");
    for words in [
        &["ping", "127.0.0.1"][..],
        &["ping", "localhost", "--metrics", "127.0.0.1:0"],
        &["trace", "--report", "100000", "127.0.0.1"],
        &["mtu", &at, "-W", "600"],
        &["scan", "-s", "U", "127.0.0.1", "-p", &port, "--timeout", "600"],
    ] {
        let mut running = sockeye(words);
        check(&mut running, 0, &words.join(" "));
        let bounding = threads(running.pid())
            .iter()
            .all(|status| set(status, "CapBnd") == 0);
        assert!(bounding, "{words:?}");
    }
}

#[test]
fn servers_have_no_capability_on_any_thread() {
    if !is_root() {
        return;
    }
    let any = "127.0.0.1:0";
    let (tcp, udp) = (format!("tcp://{any}"), format!("udp://{any}"));
    for words in [
        &[
            "serve",
            "echo",
            "--listen",
            &tcp,
            "--listen",
            &udp,
            "--shards",
            "3",
            "--metrics",
            any,
        ][..],
        &[
            "relay",
            "--listen",
            &tcp,
            "--to",
            "tcp://127.0.0.1:9",
            "--metrics",
            any,
        ],
        &["bench", "server", "--listen", &tcp],
        &["bench", "server", "--listen", "raw://127.0.0.1:0"],
        &["bench", "server", "--iperf3", "--listen", any],
        &["dump", "--read", "-"],
        &["dump", "-i", "lo"],
    ] {
        check(&mut sockeye(words), 0, &words.join(" "));
    }
    // Raw sockets of the loopback are opened while it measures.
    check(&mut sockeye(&["bench", "--seconds", "600"]), NET_RAW, "bench");
    check(
        &mut sockeye(&["bench", "tcp", "--seconds", "600"]),
        0,
        "bench tcp",
    );
}

#[test]
fn both_sides_of_a_conversation_have_no_capability() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let path = folder.path().join("peer");
    let unix = format!("unix:{}", path.display());
    for address in ["tcp://127.0.0.1:0", "udp://127.0.0.1:0", &unix] {
        let mut listener = sockeye(&["listen", address]);
        let line = listener.error_line(PATIENCE).expect("it says where it listens");
        check(&mut listener, 0, &format!("listen {address}"));
        if address == unix {
            // Only who may do everything can connect to it: it has to, before it gives that up.
            std::os::unix::fs::chown(&path, Some(65_534), Some(65_534)).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
        }
        let at = line.trim_start_matches("listening on ").to_owned();
        let mut peer = sockeye(&["connect", &at]);
        let mut input = peer.stdin();
        input.write_all(b"salmon\n").unwrap();
        assert_eq!(listener.line(PATIENCE), "salmon", "{address}");
        check(&mut peer, 0, &format!("connect {address}"));
    }
}

/// What a command of `--exec` has, started as `setpriv` with these words starts things.
fn of_a_command(setpriv: &[&str]) -> (String, String) {
    let mut listener = Running::start(
        Command::new("setpriv")
            .args(setpriv)
            .arg(program::sockeye())
            .args(["listen", "-k", "tcp://127.0.0.1:0", "--exec"])
            .arg("grep -E 'Cap|NoNew' /proc/self/status"),
    );
    let at = listening(&listener);
    let mut peer = TcpStream::connect(at.trim_start_matches("tcp://")).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut said = String::new();
    peer.read_to_string(&mut said).unwrap();
    let own = threads(listener.pid()).pop().expect("a thread");
    assert!(listener.is_running());
    (own, said)
}

#[test]
fn a_command_has_what_its_user_has_and_nothing_of_the_program() {
    if !is_root() {
        return;
    }
    // Root: the command is root's, as from a shell.
    let (own, command) = of_a_command(&["--clear-groups"]);
    assert_eq!(set(&own, "CapEff"), KILL);
    let of_the_test = fs::read_to_string("/proc/self/status").unwrap();
    assert_eq!(set(&command, "CapEff"), set(&of_the_test, "CapEff"));
    assert!(command.contains("NoNewPrivs:\t0"), "{command}");

    // A service that was given a capability for its port: the command is not.
    let ambient = [
        "--inh-caps",
        "+net_raw",
        "--ambient-caps",
        "+net_raw",
        "--clear-groups",
    ];
    let (own, command) = of_a_command(&[&NOBODY[..], &ambient].concat());
    assert_eq!((set(&own, "CapEff"), set(&own, "CapPrm")), (0, 0));
    for name in ["CapEff", "CapPrm", "CapAmb"] {
        assert_eq!(set(&command, name), 0, "{command}");
    }
}

/// The program with file capabilities, where `nobody` may run it.
fn with_capabilities(folder: &tempfile::TempDir, capabilities: &str) -> PathBuf {
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = folder.path().join("sockeye");
    // By a process of its own: ours hands a file that is open for writing to whatever another test starts meanwhile (ETXTBSY).
    let copied = Command::new("cp").arg(program::sockeye()).arg(&program).status();
    assert!(copied.unwrap().success());
    let set = Command::new("setcap").arg(capabilities).arg(&program).output();
    assert!(set.unwrap().status.success(), "setcap {capabilities}");
    program
}

fn as_nobody(namespace: &Namespace, program: &std::path::Path, words: &[&str]) -> Running {
    let mut command = namespace.command("setpriv");
    command
        .args(NOBODY)
        .arg("--clear-groups")
        .arg(program)
        .args(words);
    Running::start(&mut command)
}

#[test]
fn capabilities_of_the_file_are_used_and_given_up() {
    if !is_root() || !require(&[Need::Namespaces, Need::program("setcap")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let program = with_capabilities(&folder, "cap_net_raw,cap_net_bind_service+ep");
    let world = World::new();
    let here = world.namespace();
    // No ping sockets, as a new namespace has it: only CAP_NET_RAW pings.
    let mut ping = as_nobody(&here, &program, &["ping", "-i", "0.01", "127.0.0.1"]);
    ping.line_with(PATIENCE, |line| {
        line.contains("127.0.0.1") && line.contains(" ms")
    });
    check(&mut ping, 0, "ping");

    let words = ["serve", "echo", "--listen", "tcp://127.0.0.1:7", "--shards", "2"];
    let mut serve = as_nobody(&here, &program, &words);
    assert_eq!(listening(&serve), "tcp://127.0.0.1:7");
    check(&mut serve, 0, "serve");
    let mut peer = here.command(&program.to_string_lossy());
    let echoed = program::output_with_input(peer.args(["connect", "127.0.0.1:7"]), b"salmon", PATIENCE);
    assert_eq!(echoed.text(), "salmon", "{}", echoed.stderr);
}

#[test]
fn a_relay_keeps_what_its_reload_takes() {
    if !is_root() || !require(&[Need::Namespaces, Need::program("setcap")]) {
        return;
    }
    const SIGHUP: i32 = 1;
    let folder = tempfile::tempdir().unwrap();
    let program = with_capabilities(&folder, "cap_net_raw,cap_net_bind_service+ep");
    let file = folder.path().join("relay.toml");
    let configure = |ports: &[u16]| {
        let listener = |port| format!("[[listeners]]\nat = \"tcp://127.0.0.1:{port}\"\nto = \"it\"\n");
        let pool = "[[pools]]\nname = \"it\"\nbackends = [{ at = \"tcp://127.0.0.1:9\" }]\n";
        let text: String = ports.iter().map(listener).chain([pool.to_owned()]).collect();
        fs::write(&file, text).unwrap();
    };
    let world = World::new();
    let here = world.namespace();
    let config = file.to_string_lossy();
    let words = ["relay", "--config", &config];

    configure(&[7]);
    let mut relay = as_nobody(&here, &program, &words);
    assert_eq!(listening(&relay), "tcp://127.0.0.1:7");
    check(&mut relay, NET_BIND_SERVICE, "relay at port 7");
    configure(&[7, 13]);
    relay.signal(SIGHUP);
    assert_eq!(listening(&relay), "tcp://127.0.0.1:13");
    drop(relay);

    configure(&[7007]);
    let mut relay = as_nobody(&here, &program, &words);
    assert_eq!(listening(&relay), "tcp://127.0.0.1:7007");
    check(&mut relay, 0, "relay at port 7007");
    configure(&[7007, 13]);
    relay.signal(SIGHUP);
    let said = wait::value("a word of the reload", PATIENCE, || {
        relay.error_line(Duration::from_millis(10))
    });
    assert!(
        said.contains("not reloaded") && said.contains("start it again"),
        "{said}"
    );
}

/// Records of utmp(5): `USER_PROCESS` of a user at a terminal.
fn session(user: &str, terminal: &str) -> Vec<u8> {
    let mut record = vec![0; if cfg!(target_arch = "x86_64") { 384 } else { 400 }];
    record[0] = 7;
    record[8..8 + terminal.len()].copy_from_slice(terminal.as_bytes());
    record[44..44 + user.len()].copy_from_slice(user.as_bytes());
    record
}

#[test]
fn a_confined_server_still_reads_and_removes_what_is_its_own() {
    const SIGTERM: i32 = 15;
    let folder = tempfile::tempdir().unwrap();
    let [utmp, socket, metrics] = ["utmp", "socket", "metrics"].map(|name| folder.path().join(name));
    let unix = |path: &PathBuf| format!("unix:{}", path.display());
    let utmp_word = utmp.to_string_lossy();
    let mut serve = sockeye(&[
        "serve",
        "active-users",
        "--utmp",
        &utmp_word,
        "--listen",
        &unix(&socket),
        "--metrics",
        &unix(&metrics),
    ]);
    assert_eq!(listening(&serve), unix(&socket));
    serve.line_with(PATIENCE, |line| line.starts_with("metrics on "));
    // Made after it was confined: the right is to the folder.
    fs::write(&utmp, session("salmon", "tty1")).unwrap();
    let ask = |path: &PathBuf| {
        let mut peer = UnixStream::connect(path).unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut said = String::new();
        peer.read_to_string(&mut said).unwrap();
        said
    };
    // A list may be a second old, and nobody has asked before.
    wait::until("the session is told", PATIENCE, || {
        ask(&socket).contains("salmon tty1")
    });
    serve.signal(SIGTERM);
    assert!(serve.wait(PATIENCE).success());
    assert!(
        !socket.exists() && !metrics.exists(),
        "the sockets' names are left"
    );
}

#[test]
fn every_thread_of_a_server_is_confined() {
    if !require(&[Need::program("strace")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("calls");
    let calls = "trace=landlock_create_ruleset,landlock_restrict_self";
    let mut command = Command::new("strace");
    // The server is the child, and strace beside it ends with it.
    command.args(["-D", "-f", "-e", calls, "-o"]).arg(&log);
    command
        .arg(program::sockeye())
        .args(["serve", "echo", "--shards", "3"]);
    command.args(["--listen", "tcp://127.0.0.1:0", "--metrics", "127.0.0.1:0"]);
    let mut serve = Running::start(&mut command);
    listening(&serve);
    // Of this kernel; it is older than Landlock when it has no version to tell.
    let has_landlock = |told: &str| {
        told.lines()
            .any(|line| line.contains("_VERSION") && !line.contains("= -1"))
    };
    // Three loops, and the thread of --metrics.
    wait::until("each thread has confined itself", PATIENCE, || {
        assert!(serve.is_running());
        let told = fs::read_to_string(&log).unwrap_or_default();
        let confined = told
            .lines()
            .filter(|line| line.contains("restrict_self") && line.ends_with("= 0"));
        let asked = told.lines().filter(|line| line.contains("_VERSION"));
        if has_landlock(&told) {
            confined.count() == 4
        } else {
            asked.count() > 0
        }
    });
}
