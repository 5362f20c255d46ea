//! PROXY headers and first bytes of programs that nobody here wrote: haproxy and nginx speak PROXY to us and we to them;
//! openssl, ncat, curl and ssh speak to `Mux`.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "what a test expects and does not get fails it"
)]

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use sockeye_endpoint::NetSet;
use sockeye_event_loop::{
    CloseReason, ConnectRequest, Context, EventLoop, ListenOptions, Mio, Remote, ServiceHandle, Stream,
    StreamId, StreamOptions, StreamService,
};
use sockeye_relay::mux::{ClientHello, Mux, MuxOptions, Pattern};
use sockeye_relay::proxy::{self, Addresses, ProxyServer, ServerOptions, SslField, Tlv, Version};
use sockeye_tests::program::{self, Running};
use sockeye_tests::skip::{self, Need};
use sockeye_tests::wait::{self, PATIENCE};

/// Says on a channel what it is told of each connection, answers the first bytes, and closes.
struct Reporter {
    name: &'static str,
    says: Sender<String>,
    answer: &'static [u8],
    speaks_first: bool,
}

impl Reporter {
    fn new(name: &'static str, says: &Sender<String>, answer: &'static [u8]) -> Self {
        Self {
            name,
            says: says.clone(),
            answer,
            speaks_first: false,
        }
    }

    fn answer(&self, stream: &mut Stream<'_>) {
        let (peer, local) = (stream.peer_addr(), stream.local_addr().ok());
        let show = |address: Option<SocketAddr>| {
            address.map_or_else(|| "?".to_owned(), |address| address.to_string())
        };
        let mut line = format!("{} {} {}", self.name, show(peer), show(local));
        if let Some(header) = proxy::header_of(stream) {
            let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
            let tls = header.ssl().and_then(|ssl| ssl.field(SslField::Version));
            line += &format!(
                " {:?} name={:?} id={:?} alpn={:?} sum={} tls={tls:?}",
                header.version,
                header.authority(),
                text(header.unique_id()),
                text(header.alpn()),
                header.is_checksummed(),
            );
        }
        if let Some(hello) = stream.attached::<ClientHello>() {
            let alpn = hello
                .alpn
                .iter()
                .map(|name| String::from_utf8_lossy(name).into_owned());
            line += &format!(" sni={:?} alpn={:?}", hello.server_name, alpn.collect::<Vec<_>>());
        }
        let _ = self.says.send(line);
        let _ = stream.write(self.answer);
        stream.close();
    }
}

impl StreamService for Reporter {
    type Conn = ();

    fn on_open(&mut self, stream: &mut Stream<'_>) {
        if self.speaks_first {
            self.answer(stream);
        }
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        self.answer(stream);
        data.len()
    }
}

/// A loop on a thread of its own, which ends with this.
struct Served {
    addresses: Vec<SocketAddr>,
    said: Receiver<String>,
    remote: Remote,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    /// Serves what `build` adds to the loop, at these addresses.
    fn start<S: StreamService>(
        at: &[IpAddr],
        build: impl FnOnce(&mut EventLoop<Mio>, &Sender<String>) -> ServiceHandle<S> + Send + 'static,
    ) -> Self {
        let (says, said) = channel();
        let (ready, started) = channel();
        let at = at.to_vec();
        let thread = std::thread::spawn(move || {
            let mut events = EventLoop::new().unwrap();
            let service = build(&mut events, &says);
            let listen = |ip| {
                let id = events
                    .listen(service, SocketAddr::new(ip, 0), &ListenOptions::default())
                    .unwrap();
                events.local_addr(id).unwrap()
            };
            let addresses = at.into_iter().map(listen).collect();
            ready.send((addresses, events.remote())).unwrap();
            events.run().unwrap();
        });
        let (addresses, remote) = started.recv_timeout(PATIENCE).expect("the loop starts");
        Self {
            addresses,
            said,
            remote,
            thread: Some(thread),
        }
    }

    #[track_caller]
    fn said(&self) -> String {
        self.said
            .recv_timeout(PATIENCE)
            .expect("a connection is reported")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.remote.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A program that listens at ports which `config` is written for. They are free a moment before: one that has been taken
/// meanwhile ends the program, and others are tried.
struct Program {
    _running: Running,
    at: Vec<SocketAddr>,
    _folder: tempfile::TempDir,
}

impl Program {
    fn start(
        at: &[IpAddr],
        config: impl Fn(&Path, &[SocketAddr]) -> String,
        command: impl Fn(&Path) -> Command,
    ) -> Self {
        for _ in 0..5 {
            let free = at.iter().map(|ip| TcpListener::bind((*ip, 0)).unwrap());
            let free: Vec<TcpListener> = free.collect();
            let at: Vec<SocketAddr> = free
                .iter()
                .map(|listener| listener.local_addr().unwrap())
                .collect();
            drop(free);
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("config"), config(folder.path(), &at)).unwrap();
            let mut running = Running::start(&mut command(folder.path()));
            let is_up = wait::value("it listens or ends", PATIENCE, || {
                let up = at.iter().all(|at| TcpStream::connect(at).is_ok());
                (up || !running.is_running()).then_some(up)
            });
            if is_up && running.is_running() {
                return Self {
                    _running: running,
                    at,
                    _folder: folder,
                };
            }
            let said: Vec<String> =
                std::iter::from_fn(|| running.error_line(Duration::from_millis(100))).collect();
            assert!(
                said.iter().any(|line| line.contains("in use")),
                "it does not start: {said:#?}"
            );
        }
        panic!("no port stays free");
    }
}

fn haproxy(at: &[IpAddr], config: impl Fn(&Path, &[SocketAddr]) -> String) -> Program {
    let whole = |folder: &Path, at: &[SocketAddr]| {
        format!(
            "global\n    maxconn 100\ndefaults\n    timeout connect 10s\n    timeout client 10s\n    timeout server 10s\n{}",
            config(folder, at)
        )
    };
    Program::start(at, whole, |folder| {
        let mut command = Command::new(program::find("haproxy").unwrap());
        command.args(["-db", "-f"]).arg(folder.join("config"));
        command
    })
}

const STREAM_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// nginx, with this behind `events`.
fn nginx(at: &[IpAddr], config: impl Fn(&Path, &[SocketAddr]) -> String) -> Program {
    let whole = |folder: &Path, at: &[SocketAddr]| {
        let module = if Path::new(STREAM_MODULE).exists() {
            format!("load_module {STREAM_MODULE};\n")
        } else {
            String::new()
        };
        format!(
            "{module}daemon off;\nmaster_process off;\npid {0}/pid;\nerror_log stderr;\nevents {{ }}\n{1}",
            folder.display(),
            config(folder, at)
        )
    };
    Program::start(at, whole, |folder| {
        let mut command = Command::new(program::find("nginx").unwrap());
        command.arg("-p").arg(folder).arg("-c").arg(folder.join("config"));
        command.args(["-e", "stderr"]);
        command
    })
}

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

fn loopback() -> NetSet {
    let mut set = NetSet::new();
    set.insert("127.0.0.0/8".parse().unwrap());
    set.insert("::1/128".parse().unwrap());
    set
}

/// A reporter behind a `ProxyServer`.
fn proxied() -> Served {
    Served::start(&[V4, V6], |events, says| {
        let reporter = Reporter::new("proxied", says, b"hello\n");
        let inner = events.add_stream_service(reporter, StreamOptions::default());
        let server = ProxyServer::new(inner, ServerOptions::trusting(loopback()));
        events.add_stream_service(server, StreamOptions::default())
    })
}

/// Says something to an address, which answers, and gives back the address that it came from.
fn greet(to: SocketAddr) -> SocketAddr {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"hello").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "hello\n");
    stream.local_addr().unwrap()
}

#[test]
fn haproxy_tells_us_whom_it_relays() {
    if !skip::require(&[Need::program("haproxy"), Need::Ipv6]) {
        return;
    }
    let served = proxied();
    let to = served.addresses[0];
    let relay = haproxy(&[V4, V6, V4, V6, V4], |_, at| {
        let sends = [
            "send-proxy",
            "send-proxy",
            "send-proxy-v2",
            "send-proxy-v2",
            "send-proxy-v2 proxy-v2-options crc32c,unique-id",
        ];
        let parts = sends.iter().zip(at).map(|(sends, at)| {
            let name = at.port();
            format!(
                "listen l{name}\n    mode tcp\n    bind {at}\n    unique-id-format conn-%fp\n    server s {to} {sends}\n"
            )
        });
        parts.collect()
    });
    // The test's own look at whether it listens is reported too, if haproxy has connected for it: as nothing, since no
    // byte follows.
    for (nth, at) in relay.at.iter().enumerate() {
        let client = greet(*at);
        let version = if nth < 2 { "V1" } else { "V2" };
        let (id, sum) = if nth == 4 {
            (format!("Some(\"conn-{}\")", at.port()), true)
        } else {
            ("None".to_owned(), false)
        };
        let expected =
            format!("proxied {client} {at} {version} name=None id={id} alpn=None sum={sum} tls=None");
        assert_eq!(served.said(), expected);
    }
}

/// A key and a certificate in one file, as haproxy wants it.
fn certificate(folder: &Path) -> PathBuf {
    let (key, cert, both) = (folder.join("key"), folder.join("cert"), folder.join("both.pem"));
    let mut command = Command::new("openssl");
    command.args(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost"
            .split(' '),
    );
    command.arg("-keyout").arg(&key).arg("-out").arg(&cert);
    let output = program::output(&mut command, PATIENCE);
    assert!(output.status.success(), "{}", output.stderr);
    let text = [std::fs::read(cert).unwrap(), std::fs::read(key).unwrap()].concat();
    std::fs::write(&both, text).unwrap();
    both
}

#[test]
fn haproxy_tells_us_of_the_tls_that_it_terminates() {
    if !skip::require(&[Need::program("haproxy"), Need::program("openssl")]) {
        return;
    }
    let served = proxied();
    let to = served.addresses[0];
    let relay = haproxy(&[V4], |folder, at| {
        let pem = certificate(folder);
        format!(
            "listen tls\n    mode tcp\n    bind {} ssl crt {} alpn h2\n    server s {to} send-proxy-v2-ssl proxy-v2-options \
             crc32c,authority,ssl\n",
            at[0],
            pem.display()
        )
    });
    let mut client = Command::new("openssl");
    client.args([
        "s_client",
        "-quiet",
        "-servername",
        "example.org",
        "-alpn",
        "h2",
        "-connect",
    ]);
    let output = program::output_with_input(client.arg(relay.at[0].to_string()), b"hello", PATIENCE);
    assert_eq!(output.text(), "hello\n", "{}", output.stderr);
    let said = served.said();
    assert!(said.starts_with("proxied 127.0.0.1:"), "{said}");
    let rest = "V2 name=Some(\"example.org\") id=None alpn=Some(\"h2\") sum=true tls=Some(\"TLSv1.3\")";
    assert!(said.ends_with(rest), "{said}");
}

#[test]
fn nginx_tells_us_whom_it_relays() {
    if !skip::require(&[Need::program("nginx"), Need::Ipv6]) {
        return;
    }
    if !Path::new(STREAM_MODULE).exists() {
        return skip::missing("nginx's stream module", "apt-get install libnginx-mod-stream");
    }
    let served = proxied();
    let to = served.addresses[0];
    let relay = nginx(&[V4, V6], |_, at| {
        format!(
            "stream {{ server {{ listen {}; listen {}; proxy_pass {to}; proxy_protocol on; }} }}\n",
            at[0], at[1]
        )
    });
    for at in &relay.at {
        let client = greet(*at);
        let expected = format!("proxied {client} {at} V1 name=None id=None alpn=None sum=false tls=None");
        assert_eq!(served.said(), expected);
    }
}

/// Connects, announces a client, and asks for `/`.
struct Announcer {
    version: Version,
    client: Option<Addresses>,
    answer: Vec<u8>,
    ended: bool,
}

impl StreamService for Announcer {
    type Conn = ();

    fn on_open(&mut self, stream: &mut Stream<'_>) {
        let tlvs = [
            Tlv::UniqueId(b"conn-7"),
            Tlv::Authority("example.org"),
            Tlv::Alpn(b"http/1.1"),
        ];
        let sent = proxy::announce(stream, self.version, self.client.as_ref(), &tlvs, true);
        assert!(sent.unwrap().is_taken());
        assert!(stream.write(b"GET / HTTP/1.0\r\n\r\n").is_taken());
    }

    fn on_data(&mut self, _: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        self.answer.extend_from_slice(data);
        data.len()
    }

    fn on_close(&mut self, _: &mut Context<'_>, _: StreamId, (): (), _: CloseReason) {
        self.ended = true;
    }
}

/// The body that `/` at that address has for whoever is announced.
fn announced(to: SocketAddr, version: Version, client: Option<Addresses>) -> String {
    let mut events = EventLoop::new().unwrap();
    let service = Announcer {
        version,
        client,
        answer: Vec::new(),
        ended: false,
    };
    let service = events.add_stream_service(service, StreamOptions::default());
    events.connect(service, ConnectRequest::new(to));
    wait::until("the answer", PATIENCE, || {
        events.turn(Some(Duration::from_millis(1))).unwrap();
        events.service(service).unwrap().ended
    });
    let answer = String::from_utf8(events.service(service).unwrap().answer.clone()).unwrap();
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("it answered {answer:?}"));
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    body.trim_end().to_owned()
}

fn clients() -> [Addresses; 2] {
    let addresses = |one: &str, other: &str| Addresses::ip(one.parse().unwrap(), other.parse().unwrap());
    [
        addresses("192.0.2.1:50000", "198.51.100.7:443"),
        addresses("[2001:db8::1]:50000", "[2001:db8::2]:443"),
    ]
}

#[test]
fn we_tell_haproxy_whom_we_relay() {
    if !skip::require(&[Need::program("haproxy")]) {
        return;
    }
    let server = haproxy(&[V4], |_, at| {
        format!(
            "frontend f\n    mode http\n    bind {} accept-proxy\n    http-request return status 200 content-type text/plain \
             lf-string \"%[src] %[src_port] %[dst] %[dst_port] id=%[fc_pp_unique_id] name=%[fc_pp_authority]\"\n",
            at[0]
        )
    });
    let seen = [
        "192.0.2.1 50000 198.51.100.7 443",
        "2001:db8::1 50000 2001:db8::2 443",
    ];
    for (client, seen) in clients().into_iter().zip(seen) {
        assert_eq!(
            announced(server.at[0], Version::V1, Some(client)),
            format!("{seen} id= name=")
        );
        let expected = format!("{seen} id=conn-7 name=example.org");
        assert_eq!(announced(server.at[0], Version::V2, Some(client)), expected);
    }
    for version in [Version::V1, Version::V2] {
        let own = announced(server.at[0], version, None);
        assert!(own.starts_with("127.0.0.1 "), "{own}");
    }
}

#[test]
fn we_tell_nginx_whom_we_relay() {
    if !skip::require(&[Need::program("nginx")]) {
        return;
    }
    let server = nginx(&[V4], |folder, at| {
        let folder = folder.display();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let paths = temporary.map(|name| format!("{name}_temp_path {folder}/{name};"));
        format!(
            "http {{ access_log off; {} server {{ listen {} proxy_protocol; location / {{ return 200 \
             \"$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr $proxy_protocol_server_port\"; }} }} }}\n",
            paths.concat(),
            at[0]
        )
    });
    let seen = [
        "192.0.2.1 50000 198.51.100.7 443",
        "2001:db8::1 50000 2001:db8::2 443",
    ];
    for (client, seen) in clients().into_iter().zip(seen) {
        for version in [Version::V1, Version::V2] {
            assert_eq!(announced(server.at[0], version, Some(client)), seen);
        }
    }
}

/// Many protocols at one address, each with a reporter of its name.
fn many() -> Served {
    Served::start(&[V4], |events, says| {
        let web = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nweb\n";
        let mut add = |name, answer| {
            events.add_stream_service(Reporter::new(name, says, answer), StreamOptions::default())
        };
        let (named, h2_tls, tls) = (add("named", b""), add("alpn", b""), add("tls", b""));
        let (http, h2, ssh) = (add("http", web), add("h2", b""), add("ssh", b""));
        let (socks4, socks5) = (add("socks4", b""), add("socks5", b""));
        let mut greeter = Reporter::new("silent", says, b"220 ready\r\n");
        greeter.speaks_first = true;
        let greeter = events.add_stream_service(greeter, StreamOptions::default());
        let web = Mux::new(MuxOptions::default()).rule(Pattern::http1(), http);
        let web = events.add_stream_service(web, StreamOptions::default());
        let proxied = ProxyServer::new(web, ServerOptions::trusting(loopback()));
        let proxied = events.add_stream_service(proxied, StreamOptions::default());
        let mux = Mux::new(MuxOptions::default())
            .rule(Pattern::server_names(["*.example.org"]), named)
            .rule(Pattern::alpn(["h2"]), h2_tls)
            .rule(Pattern::tls(), tls)
            .rule(Pattern::http1(), http)
            .rule(Pattern::Http2, h2)
            .rule(Pattern::Ssh, ssh)
            .rule(Pattern::Socks4, socks4)
            .rule(Pattern::Socks5, socks5)
            .rule(Pattern::Proxy, proxied)
            .when_silent(Duration::from_millis(200), greeter);
        events.add_stream_service(mux, StreamOptions::default())
    })
}

/// What is reported of the client that these words start.
fn mux_says_of(served: &Served, words: &str) -> (String, program::Output) {
    let mut words = words.split(' ');
    let mut command = Command::new(program::find(words.next().unwrap()).unwrap());
    let output = program::output(command.args(words), PATIENCE);
    let said = served.said();
    (said, output)
}

#[test]
fn openssl_and_ncat_are_known_by_the_name_they_ask_for() {
    if !skip::require(&[Need::program("openssl"), Need::program("ncat")]) {
        return;
    }
    let served = many();
    let at = served.addresses[0];
    for (words, name, end) in [
        (
            format!("openssl s_client -servername a.Example.org -connect {at}"),
            "named",
            "sni=Some(\"a.example.org\") alpn=[]",
        ),
        (
            format!("openssl s_client -servername example.com -alpn h2,http/1.1 -connect {at}"),
            "alpn",
            "sni=Some(\"example.com\") alpn=[\"h2\", \"http/1.1\"]",
        ),
        (
            format!("openssl s_client -tls1_2 -noservername -connect {at}"),
            "tls",
            "sni=None alpn=[]",
        ),
        (
            format!(
                "ncat --ssl --ssl-servername b.example.org {} {}",
                at.ip(),
                at.port()
            ),
            "named",
            "sni=Some(\"b.example.org\") alpn=[]",
        ),
    ] {
        let (said, _) = mux_says_of(&served, &words);
        assert!(
            said.starts_with(&format!("{name} ")) && said.ends_with(end),
            "{words}: {said}"
        );
    }
}

#[test]
fn curl_is_known_by_what_it_speaks() {
    if !skip::require(&[Need::program("curl")]) {
        return;
    }
    let served = many();
    let at = served.addresses[0];
    for (words, name) in [
        (format!("curl -s http://{at}/"), "http"),
        (format!("curl -s --http2-prior-knowledge http://{at}/"), "h2"),
        (format!("curl -s --socks4 {at} http://192.0.2.1/"), "socks4"),
        (format!("curl -s --socks5 {at} http://192.0.2.1/"), "socks5"),
        (
            format!(
                "curl -s --resolve www.example.org:{0}:127.0.0.1 https://www.example.org:{0}/",
                at.port()
            ),
            "named",
        ),
        (format!("curl -s --haproxy-protocol http://{at}/"), "http"),
    ] {
        let (said, output) = mux_says_of(&served, &words);
        assert!(said.starts_with(&format!("{name} 127.0.0.1:")), "{words}: {said}");
        assert_eq!(said.contains("V1"), words.contains("haproxy"), "{said}");
        assert_eq!(
            output.text(),
            if name == "http" { "web\n" } else { "" },
            "{words}"
        );
    }
}

#[test]
fn ssh_is_known_by_its_greeting_and_silence_by_itself() {
    if !skip::require(&[Need::program("ssh"), Need::program("ncat")]) {
        return;
    }
    let served = many();
    let at = served.addresses[0];
    let words = format!(
        "ssh -F none -o BatchMode=yes -o ConnectTimeout=10 -p {} nobody@127.0.0.1",
        at.port()
    );
    let (said, _) = mux_says_of(&served, &words);
    assert!(said.starts_with("ssh "), "{said}");
    let (said, output) = mux_says_of(&served, &format!("ncat --recv-only {} {}", at.ip(), at.port()));
    assert!(said.starts_with("silent "), "{said}");
    assert_eq!(output.text(), "220 ready\r\n");
}
