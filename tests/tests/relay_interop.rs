//! The relay between programs that nobody here wrote: curl in front of it, nginx behind it.

#![expect(clippy::expect_used, reason = "what a test expects and does not get fails it")]

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use sockeye_event_loop::{EventLoop, Remote};
use sockeye_relay::{Balance, Config, Hooks, ListenerConfig, PoolConfig, Relay, SessionEnd, SessionRecord};
use sockeye_tests::pattern;
use sockeye_tests::program::{self, Running};
use sockeye_tests::skip::{self, Need};
use sockeye_tests::wait::{self, PATIENCE};

/// How long one curl may take.
const CURL_LIMIT: Duration = Duration::from_secs(20);

/// A relay on a thread of its own.
struct OnThread {
    at: SocketAddr,
    remote: Remote,
    records: Receiver<SessionRecord>,
    thread: Option<JoinHandle<()>>,
}

struct Send(std::sync::mpsc::Sender<SessionRecord>);

impl Hooks for Send {
    fn on_session(&mut self, record: &SessionRecord) {
        let _ = self.0.send(record.clone());
    }
}

impl OnThread {
    fn start(backends: &[String]) -> Self {
        let backends: Vec<_> = backends
            .iter()
            .map(|at| at.parse().expect("an address"))
            .collect();
        let (told, records) = channel();
        let (started, ready) = channel();
        let thread = std::thread::spawn(move || {
            let mut pool = PoolConfig::new("nginx", backends);
            pool.balance = Balance::RoundRobin;
            let config = Config {
                listeners: vec![ListenerConfig::new(
                    "tcp://127.0.0.1:0".parse().expect("an address"),
                    "nginx",
                )],
                pools: vec![pool],
                ..Config::default()
            };
            let mut events = EventLoop::new().expect("a loop");
            let relay = Relay::new(config).expect("sound").hooks(Send(told));
            let relay = relay.start(&mut events).expect("it starts");
            let at = relay
                .local_addr(&mut events, "tcp://127.0.0.1:0")
                .expect("it listens");
            started.send((at, events.remote())).expect("somebody waits");
            events.run().expect("the loop runs");
        });
        let (at, remote) = ready.recv_timeout(PATIENCE).expect("it starts");
        Self {
            at,
            remote,
            records,
            thread: Some(thread),
        }
    }

    fn record(&self) -> SessionRecord {
        self.records.recv_timeout(PATIENCE).expect("a record")
    }
}

impl Drop for OnThread {
    fn drop(&mut self) {
        let _ = self.remote.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// An nginx that serves a folder at addresses of its own, in the foreground, ended with this value.
struct Nginx {
    _running: Running,
}

impl Nginx {
    /// `server` is what stands in each server's block.
    fn start(folder: &Path, name: &str, server: &str) -> Self {
        let home = folder.join(name);
        for inner in ["", "logs", "tmp"] {
            fs::create_dir_all(home.join(inner)).expect("a folder");
        }
        let tmp = home.join("tmp");
        let temp_paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("{kind}_temp_path {};\n", tmp.join(kind).display()))
            .collect();
        let config = format!(
            "daemon off;\nmaster_process off;\npid {home}/pid;\nerror_log stderr error;\n\
             events {{ worker_connections 256; }}\n\
             http {{ access_log off;\n{temp_paths}\
             server {{ {server}\nroot {root};\nadd_header X-Served-By {name}; }} }}\n",
            home = home.display(),
            root = folder.join("root").display(),
        );
        let file = home.join("nginx.conf");
        fs::write(&file, config).expect("a file");
        let mut command = Command::new(program::find("nginx").expect("it was asked for"));
        command.arg("-c").arg(&file).arg("-p").arg(&home);
        Self {
            _running: Running::start(&mut command),
        }
    }
}

/// A folder with a file of a MiB to be served.
fn folder() -> (tempfile::TempDir, Vec<u8>) {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("root");
    fs::create_dir(&root).expect("a folder");
    let data = pattern(1 << 20);
    fs::write(root.join("data"), &data).expect("a file");
    // nginx as root may serve as somebody else.
    open_to_all(folder.path(), 0o755);
    (folder, data)
}

fn open_to_all(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("permissions");
}

/// A port that was free a moment ago: nginx takes none of the kernel's choice.
fn free_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address")
}

fn until_listening(what: &str, at: impl Fn() -> bool) {
    wait::until(what, PATIENCE, at);
}

/// What curl got: the body, and which nginx served it.
fn curl(url: &str, more: &[&str], folder: &Path) -> (Vec<u8>, String) {
    let (body, headers): (PathBuf, PathBuf) = (folder.join("body"), folder.join("headers"));
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--fail", "--max-time", "15"]);
    command
        .args(more)
        .arg("--output")
        .arg(&body)
        .arg("--dump-header")
        .arg(&headers)
        .arg(url);
    let output = program::output(&mut command, CURL_LIMIT);
    assert!(
        output.status.success(),
        "curl: {} {}",
        output.status,
        output.stderr
    );
    let headers = fs::read_to_string(headers).expect("headers");
    let by = headers
        .lines()
        .find_map(|line| line.strip_prefix("X-Served-By: "));
    (
        fs::read(body).expect("a body"),
        by.unwrap_or_default().trim().to_owned(),
    )
}

#[test]
fn curl_through_the_relay_to_nginx() {
    if !skip::require(&[Need::program("nginx"), Need::program("curl")]) {
        return;
    }
    let (folder, data) = folder();
    let socket = folder.path().join("one.sock");
    let port = free_port();
    let one = Nginx::start(
        folder.path(),
        "one",
        &format!("listen unix:{};", socket.display()),
    );
    let _two = Nginx::start(folder.path(), "two", &format!("listen {port};"));
    until_listening("nginx listens at its path", || {
        std::os::unix::net::UnixStream::connect(&socket).is_ok()
    });
    until_listening("nginx listens at its port", || {
        std::net::TcpStream::connect(port).is_ok()
    });
    let relay = OnThread::start(&[format!("unix:{}", socket.display()), format!("tcp://{port}")]);
    let url = format!("http://{}/data", relay.at);
    let mut served = Vec::new();
    for _ in 0..4 {
        let (body, by) = curl(&url, &[], folder.path());
        assert!(body == data, "{} bytes", body.len());
        served.push(by);
        let record = relay.record();
        assert_eq!(record.end, SessionEnd::Done);
        assert!(record.from_backend > 1 << 20, "{record:?}");
    }
    served.sort();
    assert_eq!(served, ["one", "one", "two", "two"]);
    // One of them dies: no client notices.
    drop(one);
    for _ in 0..4 {
        let (body, by) = curl(&url, &[], folder.path());
        assert!(body == data && by == "two", "{} bytes by {by:?}", body.len());
        assert_eq!(relay.record().end, SessionEnd::Done);
    }
}

#[test]
fn curl_speaks_tls_through_the_relay_to_nginx() {
    if !skip::require(&[
        Need::program("nginx"),
        Need::program("curl"),
        Need::program("openssl"),
    ]) {
        return;
    }
    let (folder, data) = folder();
    let (certificate, key) = (folder.path().join("certificate"), folder.path().join("key"));
    let mut command = Command::new("openssl");
    command.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]);
    command.args([
        "-days",
        "2",
        "-subj",
        "/CN=relay.test",
        "-addext",
        "subjectAltName=DNS:relay.test",
    ]);
    command.arg("-out").arg(&certificate).arg("-keyout").arg(&key);
    let output = program::output(&mut command, CURL_LIMIT);
    assert!(output.status.success(), "openssl: {}", output.stderr);
    let port = free_port();
    let server = format!(
        "listen {port} ssl;\nssl_certificate {};\nssl_certificate_key {};",
        certificate.display(),
        key.display()
    );
    let _nginx = Nginx::start(folder.path(), "tls", &server);
    until_listening("nginx listens", || std::net::TcpStream::connect(port).is_ok());
    let relay = OnThread::start(&[format!("tcp://{port}")]);
    let url = format!("https://relay.test:{}/data", relay.at.port());
    let resolve = format!("relay.test:{}:127.0.0.1", relay.at.port());
    let certificate = certificate.to_string_lossy().into_owned();
    let more = ["--cacert", &certificate, "--resolve", &resolve];
    let (body, by) = curl(&url, &more, folder.path());
    assert!(body == data && by == "tls", "{} bytes by {by:?}", body.len());
    assert_eq!(relay.record().end, SessionEnd::Done);
}
