//! The schema of the events (`docs/schema/events.schema.json`) against what the program prints with `--json`.
//!
//! One test, in a network namespace of its own: it runs the commands, takes every line as exactly one definition of its
//! command, and at the end asks which definitions nobody has seen.

#![expect(clippy::expect_used, reason = "what a test expects and does not get fails it")]

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::{Value, json};
use sockeye_packet::LinkType;
use sockeye_tests::netns::{self, Namespace};
use sockeye_tests::program::{self, Running};
use sockeye_tests::skip::{Need, require};
use sockeye_tests::wait::PATIENCE;

const SCHEMA: &str = include_str!("../../docs/schema/events.schema.json");
const ID: &str = "urn:sockeye:events:1";
/// `bench` takes its time.
const LIMIT: Duration = Duration::from_secs(60);

/// Definitions that this test does not see, and why.
const UNSEEN: [(&str, &str); 6] = [
    (
        "dump.summary",
        "needs an interface to listen to: tests/link has it",
    ),
    ("ping.duplicate", "needs a host that answers twice"),
    ("ping.late", "needs a host that answers after its time"),
    ("ping.corrupt", "needs a host that changes the payload"),
    ("listen.lost", "needs a reader of stdout that is too slow"),
    ("relay.lost", "needs a listening socket that fails"),
];

#[test]
fn times_are_in_nanoseconds() {
    let schema: Value = serde_json::from_str(SCHEMA).expect("the schema is JSON");
    let mut left = vec![&schema];
    let mut wrong = Vec::new();
    while let Some(value) = left.pop() {
        let properties = value.get("properties").and_then(Value::as_object);
        wrong.extend(
            properties
                .into_iter()
                .flatten()
                .map(|(name, _)| name)
                .filter(|name| {
                    let other = ["_ms", "_us", "_seconds"].iter().any(|unit| name.ends_with(unit));
                    other || ["seconds", "time"].contains(&name.as_str())
                }),
        );
        left.extend(value.as_object().into_iter().flat_map(|object| object.values()));
        left.extend(value.as_array().into_iter().flatten());
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// The definitions, and which of them were seen.
struct Book {
    schemas: Schemas,
    whole: SchemaIndex,
    /// By their names, `command.event`.
    events: Vec<(String, SchemaIndex)>,
    seen: BTreeSet<String>,
    /// Places of objects, by definition, that were found to be closed.
    closed: BTreeSet<(String, String)>,
}

impl Book {
    fn new() -> Self {
        let document: Value = serde_json::from_str(SCHEMA).expect("the schema is JSON");
        assert_eq!(document["$id"], ID);
        let listed: BTreeSet<String> = document["anyOf"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|entry| entry["$ref"].as_str()?.strip_prefix("#/$defs/"))
            .map(str::to_owned)
            .collect();
        let defined: BTreeSet<String> = document["$defs"]
            .as_object()
            .expect("an object")
            .keys()
            .filter(|name| name.contains('.'))
            .cloned()
            .collect();
        assert_eq!(listed, defined, "what has a dot in its name is an event");
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource(ID, document).expect("a resource");
        let mut compile = |at: &str| {
            let compiled = compiler.compile(&format!("{ID}{at}"), &mut schemas);
            compiled.unwrap_or_else(|error| panic!("{at}: {error:#}"))
        };
        let whole = compile("#");
        let events = defined
            .into_iter()
            .map(|name| {
                let index = compile(&format!("#/$defs/{name}"));
                (name, index)
            })
            .collect();
        Self {
            schemas,
            whole,
            events,
            seen: BTreeSet::new(),
            closed: BTreeSet::new(),
        }
    }

    /// A line is one event of its command, and would not be with a field more. Gives the event.
    #[track_caller]
    fn take(&mut self, command: &str, line: &str) -> Value {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let matching: Vec<&String> = self
            .events
            .iter()
            .filter(|(name, _)| is_of(name, command))
            .filter(|(_, index)| self.schemas.validate(&event, *index).is_ok())
            .map(|(name, _)| name)
            .collect();
        let [name] = matching.as_slice() else {
            panic!(
                "{command}: {matching:?} define {line}\n{}",
                self.faults(command, &event)
            );
        };
        let name = (*name).clone();
        assert!(self.schemas.validate(&event, self.whole).is_ok(), "{line}");
        for at in objects(&event) {
            // A map of addresses to names, which has any key.
            if name == "trace.end" && at == "/names" {
                continue;
            }
            // Of a list and of events alike the first ones are enough.
            let place = at.replace(|letter: char| letter.is_ascii_digit(), "");
            if !self.closed.insert((name.clone(), place)) {
                continue;
            }
            let mut more = event.clone();
            more.pointer_mut(&at)
                .and_then(Value::as_object_mut)
                .expect("an object")
                .insert("salmon".to_owned(), json!(1));
            let refused = self.schemas.validate(&more, self.whole).is_err();
            assert!(refused, "{name} is open at {at:?}: {more}");
        }
        self.seen.insert(name);
        event
    }

    /// Why the definitions of an event's name do not fit it.
    fn faults(&self, command: &str, event: &Value) -> String {
        let word = event["event"].as_str().unwrap_or_default();
        let mut text = String::new();
        for (name, index) in &self.events {
            if let (true, Err(error)) = (
                is_of(name, command) && name.ends_with(&format!(".{word}")),
                self.schemas.validate(event, *index),
            ) {
                text.push_str(&format!("{name}: {error:#}\n"));
            }
        }
        text
    }

    /// Runs a command to its end; the events that it printed.
    #[track_caller]
    fn run(&mut self, words: &[&str]) -> Vec<Value> {
        let output = program::output(&mut sockeye(words), LIMIT);
        let text = output.text();
        assert!(!text.is_empty(), "{words:?}: {}", output.stderr);
        text.lines().map(|line| self.take(words[0], line)).collect()
    }

    /// Runs a command that fails: its last event says so, and with which status.
    #[track_caller]
    fn fails(&mut self, words: &[&str], exit: u8) {
        let events = self.run(words);
        let last = events.last().expect("an event");
        assert_eq!(
            (&last["event"], &last["exit"]),
            (&json!("error"), &json!(exit)),
            "{words:?}: {last}"
        );
    }

    /// Takes the lines of a running command until an event of this name.
    #[track_caller]
    fn until(&mut self, running: &Running, command: &str, wanted: &str) -> Value {
        loop {
            let event = self.take(command, &running.line(PATIENCE));
            if event["event"] == wanted {
                return event;
            }
        }
    }
}

/// Whether a definition is one of a command, or of them all.
fn is_of(name: &str, command: &str) -> bool {
    name.split_once('.')
        .is_some_and(|(owner, _)| owner == command || owner == "any")
}

/// Where the objects of a value are, as JSON pointers; itself first.
fn objects(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![(String::new(), value)];
    while let Some((at, value)) = open.pop() {
        match value {
            Value::Object(fields) => {
                open.extend(fields.iter().map(|(key, value)| {
                    let key = key.replace('~', "~0").replace('/', "~1");
                    (format!("{at}/{key}"), value)
                }));
                found.push(at);
            }
            Value::Array(values) => {
                open.extend(
                    (0..)
                        .zip(values)
                        .map(|(index, value)| (format!("{at}/{index}"), value)),
                );
            }
            _ => {}
        }
    }
    found
}

fn sockeye(words: &[&str]) -> Command {
    let mut command = Command::new(program::sockeye());
    command.arg(words[0]).arg("--json").args(&words[1..]);
    command
}

/// `address` of an event's endpoint.
fn address(event: &Value) -> &str {
    let endpoint = event["endpoint"].as_str().expect("an endpoint");
    endpoint.strip_prefix("tcp://").unwrap_or(endpoint)
}

/// Sends a few bytes, and reads until the other side ends.
fn talk(to: &str) {
    let mut stream = TcpStream::connect(to).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    // Whoever is turned away may be reset at any point.
    let _ = stream.write_all(b"salmon");
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.read_to_end(&mut Vec::new());
}

/// A link behind which nobody is: what is sent to 192.0.2.9 vanishes. Packets on the loopback are of 1500 bytes at most.
fn add_links(namespace: &Namespace) {
    for words in [
        "link set lo mtu 1500",
        "link add d0 type veth peer name d1",
        "address add 192.0.2.1/24 dev d0",
        "link set d0 up",
        "link set d1 up",
        "neighbour add 192.0.2.9 lladdr 02:00:00:00:00:09 dev d0 nud permanent",
    ] {
        namespace.ip(words);
    }
}

#[test]
fn every_event_is_in_the_schema() {
    let name = "every_event_is_in_the_schema";
    if !require(&[Need::Namespaces]) {
        return;
    }
    // Built out here: the time of a build is not to count as that of the run inside.
    program::sockeye();
    if !netns::enter(name, add_links) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut book = Book::new();
    probes(&mut book);
    looks(&mut book, folder.path());
    servers(&mut book);
    relays(&mut book, folder.path());
    errors(&mut book);
    let unseen: Vec<&str> = book
        .events
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|name| !book.seen.contains(*name))
        .collect();
    let mut expected = UNSEEN.map(|(name, _)| name);
    expected.sort_unstable();
    assert_eq!(unseen, expected, "definitions that nobody has seen");
}

/// Commands that send probes.
fn probes(book: &mut Book) {
    book.run(&["ping", "-c", "2", "-i", "0.01", "--histogram", "127.0.0.1"]);
    book.run(&["ping", "--alive", "127.0.0.1"]);
    book.run(&["ping", "--unreachable", "-r", "0", "-W", "0.1", "192.0.2.9"]);
    // Lost, refused by this host, and one that has no address of the family.
    book.run(&[
        "ping",
        "-c",
        "1",
        "-W",
        "0.1",
        "-4",
        "192.0.2.9",
        "198.51.100.1",
        "::1",
    ]);
    let mut ping = Running::start(&mut sockeye(&["ping", "-i", "0.01", "127.0.0.1"]));
    book.until(&ping, "ping", "reply");
    ping.signal(libc::SIGINT);
    assert_eq!(book.until(&ping, "ping", "end")["interrupted"], true);
    ping.wait(PATIENCE);

    book.run(&["trace", "127.0.0.1"]);
    book.run(&["trace", "-t", "2", "-W", "0.1", "192.0.2.9"]);
    book.run(&["trace", "--report", "2", "-i", "0.01", "127.0.0.1"]);
    book.run(&["mtu", "127.0.0.1"]);
    book.run(&["mtu", "-c", "1", "-W", "0.1", "192.0.2.9"]);

    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("an address").port().to_string();
    let ports = format!("1-3,{port}");
    book.run(&["scan", "--all", "-p", &ports, "-4", "127.0.0.1", "::1"]);
    book.run(&["scan", "--all", "--banner=0.1", "-p", &ports, "127.0.0.1"]);
    book.run(&["connect", "-z", &format!("tcp://127.0.0.1:{port}")]);
}

/// Commands that look at words, names, sockets, files and the machine.
fn looks(book: &mut Book, folder: &Path) {
    let words = "127.1 10.0.0.0/8 ::1 fe80::1%1 [::1]:53 tcp://example.com:80 udp://localhost:53 :22 domain unix:@a \
                 unix:/run/a tls://192.0.2.1:443 ::ffff:10.0.0.1 ff02::1 0.0.0.0/0 example.com 1.2.3.4.5 :99999";
    let words: Vec<&str> = ["explain"].into_iter().chain(words.split(' ')).collect();
    book.run(&words);
    book.run(&["resolve", "localhost", "tcp://127.0.0.1:80"]);
    book.run(&["resolve", "localhost", "A", "AAAA"]);

    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let at = listener.local_addr().expect("an address");
    let _client = TcpStream::connect(at).expect("a connection");
    let _accepted = listener.accept().expect("a connection");
    let seen = book.run(&["sockets", "-ta", "--info"]);
    assert!(
        seen.iter().any(|socket| socket["tcp_info"].is_object()),
        "{seen:?}"
    );
    book.run(&["sockets", "-a", "--info"]);
    book.run(&["sockets", "--summary"]);
    book.run(&["doctor"]);
    book.run(&["bench", "--seconds", "0.4"]);
    book.run(&["bench", "udp", "--seconds", "0.8"]);
    bench_pair(book, folder);

    for (name, link_type, frames) in captures() {
        let path = folder.join(name);
        std::fs::write(&path, capture(link_type, &frames)).expect("a file");
        let path = path.to_str().expect("a path of text");
        assert_eq!(book.run(&["dump", "--read", path]).len(), frames.len());
    }
}

/// The two sides of a measurement: every mode, and everything that a run may print.
fn bench_pair(book: &mut Book, folder: &Path) {
    let server = "bench-server";
    let (running, at) = serves(book, server, &["bench", "server", "--listen", "127.0.0.1:0"]);
    book.until(&running, server, "listening");
    let udp = at.replace("tcp://", "udp://");
    let mut measure = |words: &[&str]| measure(book, words);
    let stream = measure(&[&at, "-n", "1M", "--bidir", "--idle", "0.1", "-i", "0.02"]);
    let old = folder.join("stream.json");
    std::fs::write(&old, stream).expect("a file");
    let old = old.to_str().expect("a path of text");
    measure(&[
        &at,
        "-n",
        "1M",
        "--idle",
        "0.1",
        "--compare",
        old,
        "--fail-if",
        "p50>1ns",
    ]);
    measure(&[&udp, "-n", "50K", "--bidir", "--idle", "0.1"]);
    measure(&[&at, "--mode", "rr", "-k", "10", "--rate", "1000"]);
    measure(&[&at, "--mode", "crr", "-k", "3"]);
    measure(&[&udp, "--mode", "oneway", "-k", "10"]);
    talk(at.strip_prefix("tcp://").expect("an address"));
    book.until(&running, server, "refused");
    bench_with_others(book);
}

/// Starts a server, whose events are those of `command`, and says where it listens first.
#[track_caller]
fn serves(book: &mut Book, command: &str, words: &[&str]) -> (Running, String) {
    let running = Running::start(Command::new(program::sockeye()).args(words).arg("--json"));
    let listening = book.until(&running, command, "listening");
    let at = listening["endpoint"].as_str().expect("an address").to_owned();
    (running, at)
}

/// Runs `bench client`; what it has printed.
#[track_caller]
fn measure(book: &mut Book, words: &[&str]) -> String {
    let mut command = Command::new(program::sockeye());
    let output = program::output(command.args(["bench", "client", "--json"]).args(words), LIMIT);
    let text = output.text();
    assert!(!text.is_empty(), "{words:?}: {}", output.stderr);
    for line in text.lines() {
        let event = book.take("bench-client", line);
        assert_ne!(event["event"], "error", "{words:?}: {line}");
    }
    text
}

/// The protocols of other programs, whose servers we have too.
fn bench_with_others(book: &mut Book) {
    let server = "bench-server";
    let words = [
        "bench",
        "server",
        "--iperf3",
        "-i",
        "0.2",
        "--listen",
        "127.0.0.1:0",
    ];
    let (running, at) = serves(book, server, &words);
    book.until(&running, server, "listening");
    for words in [
        &["-t", "1", "-i", "0.2", "--bidir", "--get-server-output"][..],
        &["-u", "-t", "1", "-i", "0.2", "--bidir"],
    ] {
        measure(book, &[&[at.as_str(), "--iperf3"], words].concat());
        book.until(&running, server, "run");
    }
    talk(at.strip_prefix("tcp://").expect("an address"));
    book.until(&running, server, "refused");
    let words = ["serve", "sockperf", "--listen", "tcp://127.0.0.1:0"];
    let (_running, at) = serves(book, "serve", &words);
    measure(
        book,
        &[&at, "--sockperf", "-t", "0.3", "-i", "0.1", "--rate", "500"],
    );
}

/// A file of pcap.
fn capture(link_type: u32, frames: &[Vec<u8>]) -> Vec<u8> {
    let words = |words: &[u32]| {
        words
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect::<Vec<u8>>()
    };
    // Version 2.4, no zone, no accuracy, 64 KiB of a packet.
    let mut file = words(&[0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, link_type]);
    for frame in frames {
        let len = u32::try_from(frame.len()).expect("a short frame");
        file.extend(words(&[1_700_000_000, 5, len, len]));
        file.extend(frame);
    }
    file
}

fn captures() -> Vec<(String, u32, Vec<Vec<u8>>)> {
    let udp = ipv4(17, &[0, 53, 0x30, 0x39, 0, 8, 0, 0]);
    // A SYN with MSS, SACK permitted, timestamps, a window scale and no operation.
    let mut syn = vec![
        0x30, 0x39, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0xa0, 2, 0xff, 0xff, 0, 0, 0, 0,
    ];
    syn.extend([2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7]);
    let unreachable = [&[3, 3, 0, 0, 0, 0, 0, 0], udp.as_slice()].concat();
    let mut ipv6 = vec![0x60, 0, 0, 0, 0, 8, 17, 64];
    ipv6.extend([0; 32]);
    ipv6.extend([0, 53, 0x30, 0x39, 0, 8, 0, 0]);
    let raw = vec![
        udp.clone(),
        ipv4(6, &syn),
        ipv4(6, &syn[..6]),
        ipv4(1, &[8, 0, 0, 0, 0, 1, 0, 2]),
        ipv4(1, &unreachable),
        ipv4(136, &[0, 53, 0x30, 0x39, 0, 8, 0, 0]),
        ipv6,
        udp[..14].to_vec(),
    ];
    let link = |kinds: &[u8], rest: &[u8]| [&[2; 12], kinds, rest].concat();
    let ethernet = vec![
        link(&[0x81, 0, 0, 5, 8, 0], &udp),
        link(&[8, 6], &[0; 28]),
        vec![2; 9],
    ];
    let mut captures = vec![
        ("raw.pcap".to_owned(), 101, raw),
        ("ethernet.pcap".to_owned(), 1, ethernet),
        ("usb.pcap".to_owned(), 220, vec![vec![0; 24]]),
    ];
    // The other links and the tunnels: the fuzzer's seeds, whose first byte says which link.
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/layers");
    for seed in std::fs::read_dir(seeds).expect("seeds") {
        let seed = seed.expect("a seed");
        let bytes = std::fs::read(seed.path()).expect("a file");
        let link = LinkType::ALL[usize::from(bytes[0]) % LinkType::ALL.len()];
        let name = format!("{}.pcap", seed.file_name().display());
        captures.push((name, link.number(), vec![bytes[1..].to_vec()]));
    }
    captures
}

/// A packet with a checksum of 0.
fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let len = u8::try_from(20 + payload.len()).expect("a short packet");
    let mut packet = vec![0x45, 0, 0, len, 0, 1, 0, 0, 64, protocol, 0, 0];
    packet.extend([127, 0, 0, 1, 127, 0, 0, 1]);
    packet.extend(payload);
    packet
}

/// Commands that wait for peers, one session each.
fn servers(book: &mut Book) {
    let words = [
        "serve",
        "echo",
        "--listen",
        "tcp://127.0.0.1:0",
        "--metrics",
        "127.0.0.1:0",
    ];
    let mut serve = Running::start(&mut sockeye(&words));
    let listening = book.until(&serve, "serve", "listening");
    book.until(&serve, "serve", "metrics");
    talk(address(&listening));
    serve.signal(libc::SIGTERM);
    assert!(serve.wait(PATIENCE).success());

    let words = ["listen", "-k", "--exec", "cat", "tcp://127.0.0.1:0"];
    let mut listen = Running::start(&mut sockeye(&words));
    let listening = book.until(&listen, "listen", "listening");
    talk(address(&listening));
    assert_eq!(book.until(&listen, "listen", "session")["received_bytes"], 6);
    listen.signal(libc::SIGINT);
    listen.wait(PATIENCE);
}

fn relays(book: &mut Book, folder: &Path) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let backend = format!("tcp://{}", listener.local_addr().expect("an address"));
    let config = format!(
        "[[listeners]]\nname = \"in\"\nat = \"tcp://127.0.0.1:0\"\nto = \"all\"\n\n\
         [[pools]]\nname = \"all\"\nbackends = [{{ at = \"{backend}\" }}]\n"
    );
    let path = folder.join("relay.toml");
    let write = |text: &str| std::fs::write(&path, text).expect("a file");
    write(&config);
    let words = ["relay", "--config", path.to_str().expect("a path of text")];
    book.run(&[&words[..], &["--check-config"]].concat());
    let mut relay = Running::start(&mut sockeye(&words));
    let listening = book.until(&relay, "relay", "listening");
    assert_eq!(listening["listener"], "in");
    let client = TcpStream::connect(address(&listening)).expect("it listens");
    let (session, _) = listener.accept().expect("the relay connects");
    drop((client, session));
    book.until(&relay, "relay", "session");
    relay.signal(libc::SIGHUP);
    book.until(&relay, "relay", "reloaded");
    write("salmon");
    relay.signal(libc::SIGHUP);
    book.until(&relay, "relay", "not-reloaded");
    relay.signal(libc::SIGTERM);
    book.until(&relay, "relay", "draining");
    relay.wait(PATIENCE);

    // Clients have to come from another network, and the backend is gone.
    drop(listener);
    let words = [
        "relay",
        "--listen",
        "127.0.0.1:0",
        "--to",
        &backend,
        "--proxy-in",
        "192.0.2.0/24",
        "--check",
        "connect",
        "--check-interval",
        "0.1",
    ];
    let mut relay = Running::start(&mut sockeye(&words));
    let listening = book.until(&relay, "relay", "listening");
    assert_eq!(book.until(&relay, "relay", "backend")["condition"], "down");
    talk(address(&listening));
    book.until(&relay, "relay", "turned-away");
    relay.signal(libc::SIGTERM);
    book.until(&relay, "relay", "draining");
    relay.wait(PATIENCE);
}

/// Each command fails with an event.
fn errors(book: &mut Book) {
    let commands = "ping trace mtu explain resolve sockets doctor scan bench dump connect listen serve relay";
    for command in commands.split(' ') {
        book.fails(&[command, "--salmon"], 2);
    }
    for command in ["ping", "trace", "mtu", "scan"] {
        book.fails(&[command, "-6", "127.0.0.1"], 3);
    }
    book.fails(&["dump", "--read", "/dev/null"], 5);
    book.fails(&["serve", "echo", "--listen", "tcp://198.51.100.1:0"], 5);
    book.fails(&["listen", "--exec", "cat", "tcp://198.51.100.1:0"], 5);
    book.fails(&["relay", "--config", "/dev/null"], 2);
    book.fails(&["resolve", "@127.0.0.1"], 2);
}
