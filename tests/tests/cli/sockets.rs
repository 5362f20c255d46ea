//! `sockeye sockets`: the sockets of the test appear as they are, as `ss` says too.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram, UnixListener, UnixStream};
use std::process::Command;

use serde_json::Value;
use sockeye_tests::netns;
use sockeye_tests::program;
use sockeye_tests::skip::{Need, require};
use sockeye_tests::wait::{self, PATIENCE};

use crate::server::wrapped;

fn sockets(words: &[&str]) -> program::Output {
    program::output(
        Command::new(program::sockeye()).arg("sockets").args(words),
        PATIENCE,
    )
}

/// The events of a run that succeeds, each of them well-formed.
#[track_caller]
fn events(words: &[&str]) -> Vec<Value> {
    let output = sockets(&[words, &["--json"]].concat());
    assert!(
        output.status.success(),
        "{words:?}: {} {}",
        output.status,
        output.stderr
    );
    parsed(&output)
}

fn parsed(output: &program::Output) -> Vec<Value> {
    let text = output.text();
    let events: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line is an event"))
        .collect();
    assert!(events.iter().all(|event| event["schema"] == 1), "{text}");
    assert_eq!(events.last().expect("an end")["event"], "end");
    events
}

/// Runs the rest of a test in a namespace of its own, see `netns::enter`: sockets of others may have the same port.
fn alone(name: &str) -> bool {
    require(&[Need::Namespaces]) && netns::enter(name, |_| {})
}

/// As `/proc` numbers it.
fn inode(socket: &impl AsFd) -> u64 {
    let link = format!("/proc/self/fd/{}", socket.as_fd().as_raw_fd());
    let link = std::fs::read_link(link).expect("a descriptor of ours");
    let number = link.to_str().and_then(|link| link.strip_prefix("socket:["));
    number
        .and_then(|number| number.strip_suffix(']'))
        .expect("a socket")
        .parse()
        .expect("a number")
}

#[track_caller]
fn find(events: &[Value], socket: &impl AsFd) -> Value {
    let inode = inode(socket);
    events
        .iter()
        .find(|event| event["inode"] == inode)
        .unwrap_or_else(|| panic!("inode {inode} is not among {events:#?}"))
        .clone()
}

fn port(address: SocketAddr) -> String {
    address.port().to_string()
}

/// A listener with a connection nobody accepts, and a connection with bytes nobody reads.
struct Streams {
    listener: TcpListener,
    client: TcpStream,
    accepted: TcpStream,
    waiting: TcpStream,
}

impl Streams {
    fn new(address: &str) -> Self {
        let listener = TcpListener::bind(address).expect("a listener");
        let to = listener.local_addr().expect("its address");
        let mut client = TcpStream::connect(to).expect("connected");
        let (accepted, _) = listener.accept().expect("accepted");
        let waiting = TcpStream::connect(to).expect("connected");
        client.write_all(b"unread!").expect("written");
        let mut all = [0; 16];
        wait::until("the bytes to arrive", PATIENCE, || {
            accepted.peek(&mut all).is_ok_and(|n| n == 7)
        });
        Self {
            listener,
            client,
            accepted,
            waiting,
        }
    }
}

fn check_streams(streams: &Streams) {
    let address = streams.listener.local_addr().expect("its address");
    let events = events(&["-a", "-t", "--port", &port(address)]);
    let listener = find(&events, &streams.listener);
    assert_eq!(
        (&listener["type"], &listener["state"]),
        (&"tcp".into(), &"listen".into())
    );
    assert_eq!(listener["recv_queue"], 1, "one connection waits");
    assert_eq!(listener["local"]["address"], address.ip().to_string());
    assert_eq!(listener["local"]["port"], address.port());
    assert_eq!(listener["peer"]["port"], 0);
    let accepted = find(&events, &streams.accepted);
    assert_eq!(
        (&accepted["state"], &accepted["recv_queue"]),
        (&"established".into(), &7.into())
    );
    let client = find(&events, &streams.client);
    assert_eq!(
        (&client["recv_queue"], &client["local"]),
        (&0.into(), &accepted["peer"])
    );
    for event in [&listener, &accepted, &client, &find(&events, &streams.waiting)] {
        let pids: Vec<_> = event["processes"]
            .as_array()
            .expect("an array")
            .iter()
            .map(|p| &p["pid"])
            .collect();
        assert!(pids.contains(&&Value::from(std::process::id())), "{event}");
    }
}

#[test]
fn streams_have_their_states_queues_ports_and_processes() {
    check_streams(&Streams::new("127.0.0.1:0"));
    if require(&[Need::Ipv6]) {
        check_streams(&Streams::new("[::1]:0"));
    }
}

#[test]
fn a_peer_that_has_closed_is_seen() {
    if !alone("sockets::a_peer_that_has_closed_is_seen") {
        return;
    }
    let streams = Streams::new("127.0.0.1:0");
    drop(streams.client);
    let port = port(streams.listener.local_addr().expect("its address"));
    wait::until("close-wait", PATIENCE, || {
        let found = sockets(&[
            "-t",
            "--state",
            "close-wait",
            "--local",
            "127.0.0.1",
            "--port",
            &port,
        ]);
        found.status.success() && found.text().lines().count() == 2
    });
}

#[test]
fn datagram_sockets_are_shown_with_what_waits_in_them() {
    let receiver = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let address = receiver.local_addr().expect("its address");
    let sender = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    sender.connect(address).expect("connected");
    sender.send(b"unread").expect("sent");
    receiver.peek(&mut [0; 8]).expect("it has arrived");
    let events = events(&["-a", "-u", "--port", &port(address)]);
    let shown = find(&events, &receiver);
    assert_eq!(
        (&shown["type"], &shown["state"]),
        (&"udp".into(), &"unconnected".into())
    );
    assert!(shown["recv_queue"].as_u64() > Some(0), "{shown}");
    let shown = find(&events, &sender);
    assert_eq!(
        (&shown["state"], &shown["peer"]["port"]),
        (&"established".into(), &address.port().into())
    );
}

#[test]
fn unix_sockets_are_shown_with_their_names_and_peers() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a b.sock");
    let listener = UnixListener::bind(&path).expect("a listener");
    let client = UnixStream::connect(&path).expect("connected");
    let (mut accepted, _) = listener.accept().expect("accepted");
    accepted.write_all(b"unread").expect("written");
    let name = format!("sockeye-test-{}", std::process::id());
    let address = UnixAddress::from_abstract_name(&name).expect("a name");
    let datagrams = UnixDatagram::bind_addr(&address).expect("a socket");
    let events = events(&["-a", "-x"]);
    let shown = find(&events, &listener);
    assert_eq!(
        (&shown["type"], &shown["state"]),
        (&"unix-stream".into(), &"listen".into())
    );
    assert_eq!(shown["local"]["path"], path.to_str().expect("text"));
    let shown = find(&events, &client);
    assert_eq!(
        (&shown["state"], &shown["recv_queue"]),
        (&"established".into(), &6.into())
    );
    assert_eq!(shown["peer"]["path"], path.to_str().expect("text"));
    let shown = find(&events, &datagrams);
    assert_eq!(
        (&shown["type"], &shown["state"]),
        (&"unix-dgram".into(), &"unconnected".into())
    );
    assert_eq!(shown["local"]["abstract"], name);
    let place = format!("unix:{}", path.to_str().expect("text"));
    let output = sockets(&["-x", "-l", "--local", &place]);
    assert_eq!(output.text().lines().count(), 2, "{}", output.text());
}

#[test]
fn raw_sockets_are_shown_with_their_protocol() {
    if !require(&[Need::NetRaw]) {
        return;
    }
    let protocol = Some(socket2::Protocol::ICMPV4);
    let raw = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::RAW, protocol).expect("a socket");
    let shown = find(&events(&["-l", "-w"]), &raw);
    assert_eq!((&shown["type"], &shown["protocol"]), (&"raw".into(), &1.into()));
    let output = sockets(&["-lw", "--process", &std::process::id().to_string()]);
    assert!(output.text().contains("0.0.0.0:icmp"), "{}", output.text());
}

#[test]
fn filters_leave_the_others_out() {
    if !alone("sockets::filters_leave_the_others_out") {
        return;
    }
    let streams = Streams::new("127.0.0.1:0");
    let listener = streams.listener.local_addr().expect("its address");
    let client = streams.client.local_addr().expect("its address");
    let pid = std::process::id().to_string();
    let port = port(listener);
    let count = |words: &[&str]| {
        let output = sockets(&[words, &["--port", &port]].concat());
        let lines = output.text().lines().count();
        assert_eq!(
            output.status.code(),
            Some(i32::from(lines == 1)),
            "{words:?}: {}",
            output.stderr
        );
        lines - 1
    };
    // Both ends of two connections, one of which was not accepted and has no process yet.
    assert_eq!(count(&["-t"]), 4);
    assert_eq!(count(&["-ta"]), 5);
    assert_eq!(count(&["-tl"]), 1);
    assert_eq!(count(&["-tulpn"]), 1, "as ss is typed");
    assert_eq!(count(&["-u"]), 0);
    assert_eq!(count(&["-6"]), 0);
    assert_eq!(count(&["-4ta"]), 5);
    assert_eq!(count(&["-t", "--state", "listen"]), 1);
    assert_eq!(count(&["-t", "--state", "listen,established"]), 5);
    assert_eq!(count(&["-t", "--local", "127.0.0.0/8"]), 4);
    assert_eq!(count(&["-t", "--local", "10.0.0.0/8"]), 0);
    assert_eq!(count(&["-t", "--local", &client.to_string()]), 1);
    assert_eq!(count(&["-t", "--peer", &format!("tcp://{client}")]), 1);
    assert_eq!(count(&["-t", "--peer", &format!("udp://{client}")]), 0);
    assert_eq!(count(&["-t", "--peer", &listener.to_string()]), 2);
    assert_eq!(count(&["-ta", "--process", &pid]), 4);
    assert_eq!(count(&["-ta", "--process", "no-such-program"]), 0);
    let name = std::fs::read_to_string("/proc/self/comm").expect("our name");
    assert_eq!(count(&["-ta", "--process", name.trim_end()]), 4);
}

#[test]
fn bad_filters_are_usage_errors() {
    for words in [
        &["--port", "x"][..],
        &["--port", "70000"],
        &["--port", ""],
        &["--local", "1.2.3"],
        &["--local", "010.0.0.1"],
        &["--local", "10.0.0.1/8"],
        &["--peer", "tcp://nobody"],
        &["--state", "open"],
        &["--process", ""],
        &["--watch", "0"],
        &["--rounds", "2"],
        &["-4", "-6"],
        &["-a", "--state", "listen"],
    ] {
        let output = sockets(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {}", output.stderr);
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn info_says_what_the_connection_has_carried() {
    let streams = Streams::new("127.0.0.1:0");
    let port = port(streams.listener.local_addr().expect("its address"));
    let events = events(&["-ati", "--port", &port]);
    let accepted = find(&events, &streams.accepted);
    assert_eq!(accepted["tcp_info"]["bytes_received"], 7, "{accepted}");
    assert!(
        accepted["tcp_info"]["cwnd_segments"].as_u64() > Some(0),
        "{accepted}"
    );
    let client = find(&events, &streams.client);
    assert!(client["tcp_info"]["rtt_ns"].as_u64() > Some(0), "{client}");
    assert!(client["congestion"].is_string(), "{client}");
    assert!(find(&events, &streams.listener)["tcp_info"].is_null());
    let text = sockets(&["-ti", "--port", &port]).text();
    assert!(text.contains("received 7 B") && text.contains("rtt "), "{text}");
}

#[test]
fn it_says_that_the_processes_of_others_were_not_seen() {
    let setpriv = Need::Program {
        name: "setpriv",
        package: "util-linux",
    };
    // Only root can become somebody else.
    if !require(&[setpriv, Need::NetAdmin])
        || !std::path::Path::new("/proc/1/fd")
            .read_dir()
            .is_ok_and(|mut fds| fds.next().is_some())
    {
        return;
    }
    // Where anybody can start it.
    let folder = tempfile::tempdir().expect("a folder");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), mode).expect("ours");
    let copy = folder.path().join("sockeye");
    std::fs::copy(program::sockeye(), &copy).expect("copied");
    let streams = Streams::new("127.0.0.1:0");
    let port = port(streams.listener.local_addr().expect("its address"));
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&copy)
        .args(["sockets", "-ta", "--json", "--port", &port]);
    let output = program::output(&mut command, PATIENCE);
    assert!(
        output.stderr.contains("of other users could not be seen"),
        "{}",
        output.stderr
    );
    let events = parsed(&output);
    assert_eq!(
        find(&events, &streams.accepted)["processes"],
        Value::Array(Vec::new())
    );
    assert!(events.last().expect("an end")["hidden_processes"].as_u64() > Some(0));
}

#[test]
fn a_summary_counts_by_type_and_state() {
    if !alone("sockets::a_summary_counts_by_type_and_state") {
        return;
    }
    let streams = Streams::new("127.0.0.1:0");
    let _udp = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let count = |events: &[Value], kind: &str, state: &str| {
        let found = events
            .iter()
            .find(|event| event["type"] == kind && event["state"] == state);
        found.map_or(0, |event| event["count"].as_u64().expect("a number"))
    };
    let events = events(&["--summary"]);
    assert_eq!(count(&events, "tcp", "listen"), 1);
    assert_eq!(count(&events, "tcp", "established"), 4);
    assert_eq!(count(&events, "udp", "unconnected"), 1);
    let text = sockets(&["--summary", "-t"]).text();
    assert!(
        text.contains("4 established, 1 listen") && text.contains('5'),
        "{text}"
    );
    drop(streams);
    assert!(sockets(&["-t"]).status.code() == Some(1), "nobody is left");
}

#[test]
fn a_view_is_drawn_again_and_bounded() {
    if !alone("sockets::a_view_is_drawn_again_and_bounded") {
        return;
    }
    let streams = Streams::new("127.0.0.1:0");
    let port = port(streams.listener.local_addr().expect("its address"));
    let words = ["-ta", "--port", &port, "--watch", "0.01", "--rounds", "3"];
    let events = events(&words);
    assert_eq!(events.iter().filter(|event| event["event"] == "end").count(), 3);
    assert_eq!(
        events.iter().filter(|event| event["event"] == "socket").count(),
        15
    );
    let text = sockets(&[&words[..], &["--rows", "2"]].concat()).text();
    assert_eq!(text.matches("and 3 more").count(), 3, "{text}");
}

#[test]
fn names_from_outside_are_escaped() {
    let hostile = format!("{}\u{1b}[31m\u{7}\n\u{202e}", std::process::id());
    let address = UnixAddress::from_abstract_name(&hostile).expect("a name");
    let socket = UnixDatagram::bind_addr(&address).expect("a socket");
    let text = sockets(&["-xa"]).text();
    assert!(text.contains("\\u{1b}[31m\\u{7}\\n\\u{202e}"), "{text}");
    assert!(
        text.chars().all(|letter| letter == '\n' || !letter.is_control()),
        "{text}"
    );
    assert_eq!(find(&events(&["-xa"]), &socket)["local"]["abstract"], hostile);
}

#[test]
fn without_netlink_the_files_say_the_same() {
    let strace = Need::Program {
        name: "strace",
        package: "strace",
    };
    if !require(&[strace, Need::Ipv6]) {
        return;
    }
    let streams = [Streams::new("127.0.0.1:0"), Streams::new("[::1]:0")];
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let folder = tempfile::tempdir().expect("a folder");
    let unix = UnixListener::bind(folder.path().join("a b")).expect("a listener");
    let mut command = wrapped(
        "strace",
        &[
            "-f",
            "-o",
            "/dev/null",
            "-e",
            "trace=socket",
            "-e",
            "inject=socket:error=EACCES",
        ],
    );
    let output = program::output(command.args(["sockets", "-a", "--json"]), PATIENCE);
    assert!(
        output
            .stderr
            .contains("netlink: Permission denied: read from /proc/net, without"),
        "{}",
        output.stderr
    );
    let (files, asked) = (parsed(&output), events(&["-a"]));
    assert_eq!(files.last().expect("an end")["source"], "proc");
    assert_eq!(asked.last().expect("an end")["source"], "netlink");
    let same = |socket: &dyn AsFdDyn| {
        let (file, kernel) = (find(&files, &socket.fd()), find(&asked, &socket.fd()));
        for key in ["type", "state", "recv_queue", "local", "peer", "processes", "uid"] {
            if key == "uid" && file[key].is_null() || key == "recv_queue" && file["type"] == "unix-stream" {
                continue;
            }
            let [file_has, kernel_has] = [&file, &kernel].map(|told| match key {
                // A child that another test has just started has them as well, until it becomes its program.
                "processes" => own(told),
                _ => told[key].clone(),
            });
            assert_eq!(file_has, kernel_has, "{key}: {file} {kernel}");
        }
    };
    for streams in &streams {
        same(&streams.listener);
        same(&streams.accepted);
        same(&streams.client);
    }
    same(&udp);
    same(&unix);
}

/// What a socket's event says of this process, which has it.
#[track_caller]
fn own(event: &Value) -> Value {
    let processes = event["processes"].as_array().expect("an array");
    let this = Value::from(std::process::id());
    let own = processes.iter().find(|process| process["pid"] == this);
    own.unwrap_or_else(|| panic!("not ours: {event}")).clone()
}

/// `AsFd` for a list of different sockets.
trait AsFdDyn {
    fn fd(&self) -> std::os::fd::BorrowedFd<'_>;
}

impl<T: AsFd> AsFdDyn for T {
    fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.as_fd()
    }
}

/// The columns of the line of `ss` with this word in it.
#[track_caller]
fn ss(words: &[&str], marker: &str) -> Vec<String> {
    let output = program::output(
        Command::new(program::find("ss").expect("it was there")).args(words),
        PATIENCE,
    );
    let text = output.text();
    let line = text
        .lines()
        .find(|line| line.split_whitespace().any(|word| word == marker))
        .unwrap_or_else(|| panic!("{marker} is not in {text}"));
    line.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn ss_says_the_same() {
    if !require(&[Need::program("ss"), Need::Ipv6]) {
        return;
    }
    let streams = [Streams::new("127.0.0.1:0"), Streams::new("[::1]:0")];
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let connected = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    connected
        .connect(udp.local_addr().expect("its address"))
        .expect("connected");
    connected.send(b"unread").expect("sent");
    udp.peek(&mut [0; 8]).expect("it has arrived");
    let mut inet: Vec<(&str, &dyn AsFdDyn)> = vec![("-u", &udp), ("-u", &connected)];
    for streams in &streams {
        inet.extend([
            ("-t", &streams.listener as &dyn AsFdDyn),
            ("-t", &streams.accepted),
            ("-t", &streams.client),
        ]);
    }
    let events = events(&["-a"]);
    let place = |side: &Value| {
        let (address, port) = (side["address"].as_str().expect("text"), &side["port"]);
        let port = if *port == 0 {
            "*".to_owned()
        } else {
            port.to_string()
        };
        if address.contains(':') {
            format!("[{address}]:{port}")
        } else {
            format!("{address}:{port}")
        }
    };
    for (kind, socket) in inet {
        let ours = find(&events, &socket.fd());
        let theirs = ss(&["-H", "-ane", kind], &format!("ino:{}", ours["inode"]));
        assert_eq!(theirs[0], short(&ours), "{theirs:?} {ours}");
        assert_eq!(
            [&theirs[1], &theirs[2]],
            [&ours["recv_queue"].to_string(), &ours["send_queue"].to_string()]
        );
        assert_eq!(
            [&theirs[3], &theirs[4]],
            [&place(&ours["local"]), &place(&ours["peer"])]
        );
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("listener");
    let listener = UnixListener::bind(&path).expect("a listener");
    let mut client = UnixStream::connect(&path).expect("connected");
    let (accepted, _) = listener.accept().expect("accepted");
    client.write_all(b"unread").expect("written");
    let events = self::events(&["-xa"]);
    for socket in [&listener as &dyn AsFdDyn, &client, &accepted] {
        let ours = find(&events, &socket.fd());
        // u_str STATE RECV-Q SEND-Q NAME INODE PEER'S-NAME PEER'S-INODE
        let output = program::output(
            Command::new(program::find("ss").expect("it was there")).args(["-H", "-xan"]),
            PATIENCE,
        );
        let text = output.text();
        let line = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .find(|words| words.get(5) == Some(&ours["inode"].to_string().as_str()))
            .expect("its line");
        assert_eq!((line[0], line[1]), ("u_str", short(&ours)));
        assert_eq!(
            [line[2], line[3]],
            [&ours["recv_queue"].to_string(), &ours["send_queue"].to_string()]
        );
        assert_eq!(line[4], ours["local"]["path"].as_str().unwrap_or("*"));
    }
}

/// The word of `ss` for the state.
fn short(event: &Value) -> &'static str {
    match event["state"].as_str() {
        Some("established") => "ESTAB",
        Some("listen") => "LISTEN",
        Some("unconnected") => "UNCONN",
        other => panic!("{other:?}"),
    }
}
