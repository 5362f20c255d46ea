//! The relay between programs that nobody here wrote: curl in front of it, nginx behind it.

#![expect(clippy::expect_used, reason = "what a test expects and does not get fails it")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use sockeye::tls::rustls;
use sockeye_event_loop::{EventLoop, Remote};
use sockeye_relay::{
    Balance, Config, Hooks, ListenerConfig, PoolConfig, ProxyIn, ProxyVersion, Relay, ServerNameRoute,
    SessionEnd, SessionRecord,
};
use sockeye_tests::pattern;
use sockeye_tests::ports;
use sockeye_tests::program::{self, Running};
use sockeye_tests::skip::{self, Need};
use sockeye_tests::wait::{self, PATIENCE};

/// How long one curl may take.
const CURL_LIMIT: Duration = Duration::from_secs(20);

/// A relay on a thread of its own.
struct OnThread {
    /// Its first listener.
    at: SocketAddr,
    all: Vec<SocketAddr>,
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
        let config = Config {
            listeners: vec![listener("tcp://127.0.0.1:0", "nginx")],
            pools: vec![pool("nginx", backends)],
            ..Config::default()
        };
        Self::with(config, |relay| relay)
    }

    fn with(config: Config, change: impl FnOnce(Relay) -> Relay + std::marker::Send + 'static) -> Self {
        let (told, records) = channel();
        let (started, ready) = channel();
        let thread = std::thread::spawn(move || {
            let mut events = EventLoop::new().expect("a loop");
            let labels: Vec<String> = config.listeners.iter().map(ListenerConfig::label).collect();
            let relay = change(Relay::new(config).expect("sound").hooks(Send(told)));
            let relay = relay.start(&mut events).expect("it starts");
            let mut at = |label: &String| relay.local_addr(&mut events, label).expect("it listens");
            let at: Vec<SocketAddr> = labels.iter().map(&mut at).collect();
            started.send((at, events.remote())).expect("somebody waits");
            events.run().expect("the loop runs");
        });
        let (all, remote) = ready.recv_timeout(PATIENCE).expect("it starts");
        Self {
            at: all[0],
            all,
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

fn listener(at: &str, to: &str) -> ListenerConfig {
    ListenerConfig::new(at.parse().expect("an address"), to)
}

fn pool(name: &str, backends: &[String]) -> PoolConfig {
    let mut pool = PoolConfig::new(name, backends.iter().map(|at| at.parse().expect("an address")));
    pool.balance = Balance::RoundRobin;
    pool
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
    free_port_of(Ipv4Addr::LOCALHOST.into())
}

fn free_port_of(ip: IpAddr) -> SocketAddr {
    SocketAddr::new(ip, ports::free_port())
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
    until_listening("nginx listens at its port", || TcpStream::connect(port).is_ok());
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
    until_listening("nginx listens", || TcpStream::connect(port).is_ok());
    let relay = OnThread::start(&[format!("tcp://{port}")]);
    let url = format!("https://relay.test:{}/data", relay.at.port());
    let resolve = format!("relay.test:{}:127.0.0.1", relay.at.port());
    let certificate = certificate.to_string_lossy().into_owned();
    let more = ["--cacert", &certificate, "--resolve", &resolve];
    let (body, by) = curl(&url, &more, folder.path());
    assert!(body == data && by == "tls", "{} bytes by {by:?}", body.len());
    assert_eq!(relay.record().end, SessionEnd::Done);
}

/// What a relay and an nginx behind it need for TLS, in files and as settings.
struct Certificates {
    authority: PathBuf,
    /// Settings of a server's block.
    nginx: String,
    server: ServerConfig,
    client: ClientConfig,
}

/// For the loopback addresses, signed by an authority of its own.
fn certificates(folder: &Path) -> Certificates {
    let mut params = CertificateParams::new([]).expect("sound");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed");
    let names = ["127.0.0.1".to_owned(), "::1".to_owned()];
    let mut params = CertificateParams::new(names).expect("sound");
    // Named as its authority is, it would be taken for one that has signed itself.
    params.distinguished_name.push(DnType::CommonName, "relay");
    let key = KeyPair::generate().expect("a key");
    let signed = params.signed_by(&key, &issuer).expect("signed");
    let files = ["authority.pem", "certificate.pem", "key.pem"].map(|name| folder.join(name));
    let texts = [issuer.pem(), signed.pem(), key.serialize_pem()];
    for (file, text) in files.iter().zip(texts) {
        fs::write(file, text).expect("a file");
    }
    let [authority, certificate, key_file] = files;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(issuer.der().clone()).expect("a root");
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    Certificates {
        authority,
        nginx: format!(
            "ssl_certificate {};\nssl_certificate_key {};",
            certificate.display(),
            key_file.display()
        ),
        server: ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![signed.der().clone()], key)
            .expect("a certificate"),
        client: ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth(),
    }
}

#[test]
fn curl_to_nginx_through_tls_that_ends_and_begins_at_the_relay() {
    if !skip::require(&[Need::program("nginx"), Need::program("curl"), Need::Ipv6]) {
        return;
    }
    let (folder, data) = folder();
    let certificates = certificates(folder.path());
    let ips: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let (plain, secure) = (ips.map(free_port_of), ips.map(free_port_of));
    let server = format!("listen {}; listen {};", plain[0], plain[1]);
    let _plain = Nginx::start(folder.path(), "plain", &server);
    let server = format!(
        "listen {} ssl; listen {} ssl;\n{}",
        secure[0], secure[1], certificates.nginx
    );
    let _secure = Nginx::start(folder.path(), "secure", &server);
    for at in plain.iter().chain(&secure) {
        until_listening("nginx listens", || TcpStream::connect(at).is_ok());
    }
    let mut config = Config::default();
    for (nth, ip) in ips.into_iter().enumerate() {
        for (name, backend) in [
            (format!("plain{nth}"), format!("tcp://{}", plain[nth])),
            (format!("secure{nth}"), format!("tls://{}", secure[nth])),
        ] {
            let mut front = listener(&format!("tls://{}", SocketAddr::new(ip, 0)), &name);
            front.name = Some(name.clone());
            config.listeners.push(front);
            config.pools.push(pool(&name, &[backend]));
        }
    }
    let (server, client) = (certificates.server, certificates.client);
    let relay = OnThread::with(config, |relay| {
        relay.tls_server("", server).tls_client("", client)
    });
    let authority = certificates.authority.to_string_lossy().into_owned();
    assert_eq!(relay.all.len(), 4);
    for (nth, at) in relay.all.iter().enumerate() {
        let url = format!("https://{at}/data");
        let (body, by) = curl(&url, &["--cacert", &authority], folder.path());
        let expected = ["plain", "secure"][nth % 2];
        assert!(
            body == data && by == expected,
            "{at}: {} bytes by {by:?}",
            body.len()
        );
        let record = relay.record();
        assert_eq!(record.end, SessionEnd::Done, "{record:?}");
        assert_eq!(record.client.map(|client| client.ip()), Some(at.ip()));
        assert!(record.from_backend > 1 << 20, "{record:?}");
    }
}

/// An haproxy that relays `from` to `to`, and says whom.
fn haproxy(folder: &Path, from: SocketAddr, to: SocketAddr) -> Running {
    let text = format!(
        "global\n    maxconn 100\ndefaults\n    timeout connect 10s\n    timeout client 10s\n    timeout server 10s\n\
         listen l\n    mode tcp\n    bind {from}\n    server s {to} send-proxy-v2\n"
    );
    let file = folder.join("haproxy.cfg");
    fs::write(&file, text).expect("a file");
    let mut command = Command::new(program::find("haproxy").expect("it was asked for"));
    let running = Running::start(command.args(["-db", "-f"]).arg(file));
    until_listening("haproxy listens", || TcpStream::connect(from).is_ok());
    running
}

/// Asks for `/who` there: the answer's body, and who asked.
fn who(at: SocketAddr) -> (String, SocketAddr) {
    let mut stream = TcpStream::connect(at).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    stream.write_all(b"GET /who HTTP/1.0\r\n\r\n").expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    (body.unwrap_or(answer), stream.local_addr().expect("an address"))
}

#[test]
fn haproxy_tells_the_relay_and_the_relay_tells_nginx_who_asks() {
    if !skip::require(&[Need::program("nginx"), Need::program("haproxy"), Need::Ipv6]) {
        return;
    }
    let (folder, _) = folder();
    let port = free_port();
    let server = format!(
        "listen {port} proxy_protocol;\nlocation /who {{ return 200 \"$proxy_protocol_addr $proxy_protocol_port\"; }}"
    );
    let _nginx = Nginx::start(folder.path(), "who", &server);
    until_listening("nginx listens", || TcpStream::connect(port).is_ok());
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        let mut front = listener("tcp://127.0.0.1:0", "nginx");
        front.proxy = Some(ProxyIn {
            trusted: "127.0.0.1/32".parse().expect("a network"),
            deadline: PATIENCE,
        });
        let mut pool = pool("nginx", &[format!("tcp://{port}")]);
        pool.backends[0].proxy = Some(version);
        let config = Config {
            listeners: vec![front],
            pools: vec![pool],
            ..Config::default()
        };
        let relay = OnThread::with(config, |relay| relay);
        for ip in [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()] {
            let from = free_port_of(ip);
            let _haproxy = haproxy(folder.path(), from, relay.at);
            let (answer, asked) = who(from);
            assert_eq!(answer, format!("{} {}", asked.ip(), asked.port()), "{version:?}");
            // The look at whether haproxy listens may have been a session too.
            let told =
                std::iter::from_fn(|| Some(relay.record())).find(|record| record.client == Some(asked));
            assert_eq!(told.map(|record| record.end), Some(SessionEnd::Done));
        }
    }
}

/// An haproxy that wants a header, then TLS, and answers who asks.
fn haproxy_who(folder: &Path, at: SocketAddr) -> Running {
    let text = format!(
        "defaults\n    mode http\n    timeout connect 10s\n    timeout client 10s\n    timeout server 10s\n\
         frontend f\n    bind {at} accept-proxy ssl crt {}\n    \
         http-request return status 200 content-type text/plain lf-string \"%[src] %[src_port]\"\n",
        folder.join("both.pem").display()
    );
    let both = ["certificate.pem", "key.pem"].map(|name| fs::read(folder.join(name)).expect("a file"));
    fs::write(folder.join("both.pem"), both.concat()).expect("a file");
    let file = folder.join("who.cfg");
    fs::write(&file, text).expect("a file");
    let mut command = Command::new(program::find("haproxy").expect("it was asked for"));
    Running::start(command.args(["-db", "-f"]).arg(file))
}

/// The header is in clear, and behind it they end the TLS that begins at the relay.
#[test]
fn the_relay_tells_nginx_and_haproxy_in_front_of_tls_who_asks() {
    if !skip::require(&[Need::program("nginx"), Need::program("haproxy")]) {
        return;
    }
    let (folder, _) = folder();
    let certificates = certificates(folder.path());
    let (one, other) = (free_port(), free_port());
    let server = format!(
        "listen {one} ssl proxy_protocol;\n{}\nlocation /who {{ return 200 \"$proxy_protocol_addr $proxy_protocol_port\"; }}",
        certificates.nginx
    );
    let _nginx = Nginx::start(folder.path(), "who", &server);
    let _haproxy = haproxy_who(folder.path(), other);
    for at in [one, other] {
        until_listening("they listen", || TcpStream::connect(at).is_ok());
        for version in [ProxyVersion::V1, ProxyVersion::V2] {
            let mut pool = pool("who", &[format!("tls://{at}")]);
            pool.backends[0].proxy = Some(version);
            let config = Config {
                listeners: vec![listener("tcp://127.0.0.1:0", "who")],
                pools: vec![pool],
                ..Config::default()
            };
            let client = certificates.client.clone();
            let relay = OnThread::with(config, |relay| relay.tls_client("", client));
            let (answer, asked) = who(relay.at);
            assert_eq!(answer, format!("{} {}", asked.ip(), asked.port()), "{version:?}");
            assert_eq!(relay.record().end, SessionEnd::Done);
        }
    }
}

/// Who serves a client that asks for this name.
fn served_by(at: SocketAddr, name: Option<&str>) -> String {
    let mut command = Command::new("openssl");
    command
        .args(["s_client", "-quiet", "-connect"])
        .arg(at.to_string());
    match name {
        Some(name) => command.args(["-servername", name]),
        None => command.arg("-noservername"),
    };
    let output = program::output_with_input(&mut command, b"HEAD /data HTTP/1.0\r\n\r\n", CURL_LIMIT);
    let text = output.text();
    let by = text.lines().find_map(|line| line.strip_prefix("X-Served-By: "));
    by.unwrap_or_else(|| panic!("{text} {}", output.stderr))
        .trim()
        .to_owned()
}

#[test]
fn openssl_is_routed_by_the_name_that_it_asks_for() {
    if !skip::require(&[Need::program("nginx"), Need::program("openssl")]) {
        return;
    }
    let (folder, _) = folder();
    let certificates = certificates(folder.path());
    let names = ["one", "two", "other"];
    let mut front = listener("tcp://127.0.0.1:0", "other");
    let mut config = Config::default();
    let mut running = Vec::new();
    for name in names {
        let port = free_port();
        let server = format!("listen {port} ssl;\n{}", certificates.nginx);
        running.push(Nginx::start(folder.path(), name, &server));
        until_listening("nginx listens", || TcpStream::connect(port).is_ok());
        config.pools.push(pool(name, &[format!("tcp://{port}")]));
        if name != "other" {
            front.server_names.push(ServerNameRoute {
                names: vec![format!("{name}.test")],
                to: name.to_owned(),
            });
        }
    }
    config.listeners.push(front);
    let relay = OnThread::with(config, |relay| relay);
    let asked = [
        (Some("one.test"), "one"),
        (Some("two.test"), "two"),
        (Some("three.test"), "other"),
        (None, "other"),
    ];
    for (name, by) in asked {
        assert_eq!(served_by(relay.at, name), by, "{name:?}");
        let record = relay.record();
        assert_eq!(&*record.pool, by, "{record:?}");
        // nginx has closed, and resets what openssl still says: its own end.
        let ends = [SessionEnd::Done, SessionEnd::BackendReset];
        assert!(ends.contains(&record.end), "{record:?}");
    }
}
