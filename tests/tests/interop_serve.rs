//! `sockeye serve` and `sockeye connect` with programs that nobody here wrote at the other end.

#![expect(clippy::expect_used, reason = "what a test expects and does not get fails it")]

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use sockeye_tests::pattern;
use sockeye_tests::program::{self, Running};
use sockeye_tests::skip::{self, Need};
use sockeye_tests::wait::{self, PATIENCE, Readiness};

const MIB: usize = 1 << 20;

/// A `sockeye serve` and where it listens, in the order of its arguments.
struct Server {
    running: Running,
    addresses: Vec<SocketAddr>,
}

impl Server {
    fn start(service: &str, endpoints: &[&str]) -> Self {
        Self::start_with(&["serve", service], endpoints)
    }

    fn start_with(words: &[&str], endpoints: &[&str]) -> Self {
        let mut command = Command::new(program::sockeye());
        command.args(words);
        for endpoint in endpoints {
            command.args(["--listen", endpoint]);
        }
        let running = Running::start(&mut command);
        let addresses = endpoints
            .iter()
            .map(|endpoint| {
                let line = running.line(PATIENCE);
                let transport = endpoint.split("//").next().expect("an endpoint has a transport");
                let address = line.strip_prefix(&format!("listening on {transport}//"));
                address
                    .and_then(|address| address.parse().ok())
                    .unwrap_or_else(|| panic!("it said {line}"))
            })
            .collect();
        Self { running, addresses }
    }
}

/// The words that name one address to socat, after a prefix such as `TCP`.
fn socat_address(prefix: &str, address: SocketAddr) -> String {
    match address.ip() {
        IpAddr::V4(ip) => format!("{prefix}4:{ip}:{}", address.port()),
        IpAddr::V6(ip) => format!("{prefix}6:[{ip}]:{}", address.port()),
    }
}

/// Sends a MiB through a program and its peer, block by block, each block awaited before the next one leaves:
/// datagrams may be dropped where one side runs ahead, and then nothing would be wrong with the server.
fn in_turns(command: &mut Command, block: usize) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let mut stdout = child.stdout.take().expect("stdout is piped");
    let mut back = vec![0; block];
    for piece in pattern(MIB).chunks(block) {
        stdin.write_all(piece).expect("the program reads");
        let mut filled = 0;
        while filled < piece.len() {
            assert!(
                wait::ready(&stdout, Readiness::Readable, PATIENCE),
                "{command:?}: {filled} of {block} came back"
            );
            let count = stdout
                .read(&mut back[filled..])
                .expect("the program's stdout is readable");
            assert_ne!(count, 0, "{command:?} ended");
            filled += count;
        }
        assert!(back[..filled] == *piece, "{command:?}: other bytes came back");
    }
    child.kill().expect("the program is ours");
    child.wait().expect("the program is ours");
}

/// Has a program carry a MiB to an echo server and back, on each of its addresses.
fn a_mib_comes_back_over_tcp(program: &'static str, arguments: impl Fn(SocketAddr) -> Vec<String>) {
    if !skip::require(&[Need::program(program), Need::Ipv6]) {
        return;
    }
    let server = Server::start("echo", &["tcp://127.0.0.1:0", "tcp://[::1]:0"]);
    let sent = pattern(MIB);
    for address in &server.addresses {
        let mut command = Command::new(program);
        let output = program::output_with_input(command.args(arguments(*address)), &sent, PATIENCE);
        assert!(output.status.success(), "{}", output.stderr);
        assert!(
            output.stdout == sent,
            "{address}: {} bytes came back",
            output.stdout.len()
        );
    }
}

/// The same in datagrams, `block` bytes at a time.
fn a_mib_comes_back_over_udp(
    program: &'static str,
    block: usize,
    arguments: impl Fn(SocketAddr) -> Vec<String>,
) {
    if !skip::require(&[Need::program(program), Need::Ipv6]) {
        return;
    }
    let server = Server::start("echo", &["udp://127.0.0.1:0", "udp://[::1]:0"]);
    for address in &server.addresses {
        in_turns(Command::new(program).args(arguments(*address)), block);
    }
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

#[test]
fn socat_gets_a_mib_back_over_tcp() {
    a_mib_comes_back_over_tcp("socat", |to| words(["-t20", "-", &socat_address("TCP", to)]));
}

#[test]
fn netcat_gets_a_mib_back_over_tcp() {
    a_mib_comes_back_over_tcp("nc", |to| {
        words(["-N", &to.ip().to_string(), &to.port().to_string()])
    });
}

#[test]
fn socat_gets_a_mib_back_over_udp() {
    // Blocks of 1024 bytes are datagrams of 1024 bytes; sixteen are under way at a time.
    a_mib_comes_back_over_udp("socat", 16 * 1024, |to| {
        words(["-b1024", "-", &socat_address("UDP", to)])
    });
}

#[test]
fn netcat_gets_a_mib_back_over_udp() {
    a_mib_comes_back_over_udp("nc", 8 * 1024, |to| {
        words(["-u", &to.ip().to_string(), &to.port().to_string()])
    });
}

/// Has a program carry a MiB to an echo server at a Unix name and back.
fn a_mib_comes_back_over_unix(program: &'static str, arguments: impl Fn(&str) -> Vec<String>) {
    if !skip::require(&[Need::program(program)]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("echo.sock");
    let path = path.to_str().expect("a path of UTF-8");
    let mut command = Command::new(program::sockeye());
    command.args([
        "serve",
        "echo",
        "--listen",
        &format!("unix:{path}"),
        "--unix-mode",
        "600",
    ]);
    let mut server = Running::start(&mut command);
    assert_eq!(server.line(PATIENCE), format!("listening on unix:{path}"));
    let mut command = Command::new(program);
    let sent = pattern(MIB);
    let output = program::output_with_input(command.args(arguments(path)), &sent, PATIENCE);
    assert!(output.status.success(), "{}", output.stderr);
    assert!(output.stdout == sent, "{} bytes came back", output.stdout.len());
    server.signal(libc::SIGTERM);
    assert_eq!(server.wait(PATIENCE).code(), Some(0));
    assert!(
        !std::path::Path::new(path).exists(),
        "the path goes with the server"
    );
}

#[test]
fn socat_gets_a_mib_back_over_unix() {
    a_mib_comes_back_over_unix("socat", |path| {
        words(["-t20", "-", &format!("UNIX-CONNECT:{path}")])
    });
}

#[test]
fn netcat_gets_a_mib_back_over_unix() {
    a_mib_comes_back_over_unix("nc", |path| words(["-N", "-U", path]));
}

#[test]
fn connect_gets_a_mib_back_over_unix() {
    let program = program::sockeye().to_str().expect("a path of UTF-8").to_owned();
    a_mib_comes_back_over_unix(program.leak(), |path| words(["connect", &format!("unix:{path}")]));
}

#[test]
fn one_process_serves_both_transports_on_one_port() {
    let first = Server::start("echo", &["tcp://127.0.0.1:0"]);
    let port = first.addresses[0].port();
    drop(first);
    let (tcp, udp) = (
        format!("tcp://127.0.0.1:{port}"),
        format!("udp://127.0.0.1:{port}"),
    );
    let server = Server::start("echo", &[&tcp, &udp]);
    assert_eq!(server.addresses[0], server.addresses[1]);

    let mut stream = TcpStream::connect(server.addresses[0]).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"stream").unwrap();
    let mut back = [0; 6];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"stream");

    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send_to(b"datagram", server.addresses[1]).unwrap();
    let mut back = [0; 100];
    let (len, from) = socket.recv_from(&mut back).unwrap();
    assert_eq!((&back[..len], from), (&b"datagram"[..], server.addresses[1]));
}

#[test]
fn a_thousand_connections_at_once_are_all_answered() {
    raise_descriptor_limit();
    let server = Server::start("echo", &["tcp://127.0.0.1:0"]);
    let mut streams: Vec<TcpStream> = (0..1000)
        .map(|_| TcpStream::connect(server.addresses[0]).expect("a place in the backlog"))
        .collect();
    let message = |index: usize| format!("message {index:04}").into_bytes();
    for (index, stream) in streams.iter_mut().enumerate() {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&message(index)).unwrap();
    }
    for (index, stream) in streams.iter_mut().enumerate() {
        let mut back = [0; 12];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(back.to_vec(), message(index));
    }
}

/// A thousand sockets and what the harness holds may be more than the soft limit, which is often 1024.
fn raise_descriptor_limit() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the struct is ours and lives through the call, which fills it.
    #[expect(unsafe_code, reason = "std has no call for it")]
    let read = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    assert_eq!(read, 0);
    limit.rlim_cur = limit.rlim_max.min(4096);
    // SAFETY: the struct is ours and is only read.
    #[expect(unsafe_code, reason = "std has no call for it")]
    let set = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    assert_eq!(set, 0);
}

#[test]
fn a_signal_ends_it_with_status_0() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let mut server = Server::start("echo", &["tcp://127.0.0.1:0", "udp://127.0.0.1:0"]);
        // With a connection open that says nothing: that must not hold it up.
        let _idle = TcpStream::connect(server.addresses[0]).unwrap();
        server.running.signal(signal);
        assert_eq!(server.running.wait(PATIENCE).code(), Some(0), "signal {signal}");
    }
}

#[test]
fn shards_share_the_endpoints_and_end_together() {
    let mut server = Server::start_with(
        &["serve", "echo", "--shards", "3"],
        &["tcp://127.0.0.1:0", "udp://127.0.0.1:0"],
    );
    assert_eq!(threads_of(server.running.pid()), 3);
    let mut streams: Vec<_> = (0..64)
        .map(|_| TcpStream::connect(server.addresses[0]).unwrap())
        .collect();
    for stream in &mut streams {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"over here").unwrap();
    }
    for stream in &mut streams {
        let mut back = [0; 9];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"over here");
    }
    // Each from a port of its own, so that the kernel's choice falls on different shards.
    for _ in 0..16 {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.send_to(b"over there", server.addresses[1]).unwrap();
        let mut back = [0; 100];
        let (len, from) = socket.recv_from(&mut back).unwrap();
        assert_eq!((&back[..len], from), (&b"over there"[..], server.addresses[1]));
    }
    drop(streams);
    server.running.signal(libc::SIGTERM);
    assert_eq!(server.running.wait(PATIENCE).code(), Some(0));
}

fn threads_of(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task"))
        .expect("the program runs")
        .count()
}

#[test]
fn discard_reads_all_and_says_nothing() {
    let server = Server::start("discard", &["tcp://127.0.0.1:0"]);
    let mut stream = TcpStream::connect(server.addresses[0]).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&pattern(4 * MIB)).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut back = Vec::new();
    stream.read_to_end(&mut back).unwrap();
    assert_eq!(back, b"");
}

#[test]
fn chargen_sends_the_lines_of_rfc_864_without_end() {
    let server = Server::start("chargen", &["tcp://127.0.0.1:0"]);
    let mut stream = TcpStream::connect(server.addresses[0]).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut got = vec![0; 8 * MIB];
    stream.read_exact(&mut got).unwrap();
    // RFC 864, "Data Syntax": 72 printable characters a line, each line beginning one further on.
    let first = b" !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefg\r\n";
    let second = b"!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefgh\r\n";
    assert_eq!(got[..74], *first);
    assert_eq!(got[74..148], *second);
    let round = 95 * 74;
    assert!(
        got.chunks_exact(round).all(|lines| *lines == got[..round]),
        "the lines repeat after 95"
    );
}

#[test]
fn connect_carries_a_mib_to_socat_and_back() {
    if !skip::require(&[Need::program("socat")]) {
        return;
    }
    // Port 0 is no choice with socat that it would tell: ask the system for a free one first.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let listen = format!("TCP4-LISTEN:{port},bind=127.0.0.1,reuseaddr");
    let _peer = Running::start(Command::new("socat").args(["-t20", &listen, "EXEC:cat"]));
    // socat takes one connection, so looking whether it listens must not use it up.
    wait::until("socat to listen", PATIENCE, || {
        let wanted = format!("0100007F:{port:04X} 00000000:0000 0A");
        std::fs::read_to_string("/proc/net/tcp").is_ok_and(|table| table.contains(&wanted))
    });
    let sent = pattern(MIB);
    let mut command = Command::new(program::sockeye());
    command.args(["connect", &format!("tcp://127.0.0.1:{port}")]);
    let output = program::output_with_input(&mut command, &sent, PATIENCE);
    assert_eq!(output.status.code(), Some(0), "{}", output.stderr);
    assert!(
        output.stdout == sent,
        "{} bytes came back: {}",
        output.stdout.len(),
        output.stderr
    );
}

#[test]
fn connect_half_closes_and_ends_with_the_peer() {
    let server = Server::start("echo", &["tcp://127.0.0.1:0"]);
    let mut command = Command::new(program::sockeye());
    command.args(["connect", &format!("tcp://{}", server.addresses[0])]);
    let output = program::output_with_input(&mut command, b"salmon\n", PATIENCE);
    assert_eq!(
        (output.status.code(), output.text().as_str()),
        (Some(0), "salmon\n"),
        "{}",
        output.stderr
    );
}
