//! `sockeye scan`: the states of ports as they are, as nmap says too; refusals that say what to do.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{TcpListener, UdpSocket};
use std::process::Command;

use serde_json::Value;
use sockeye_tests::netns::{Namespace, World};
use sockeye_tests::program::{self, Output, Running};
use sockeye_tests::skip::{Need, require};
use sockeye_tests::wait::PATIENCE;

use crate::server::{Server, wrapped};

fn scan(words: &[&str]) -> Output {
    program::output(Command::new(program::sockeye()).arg("scan").args(words), PATIENCE)
}

/// The events of a run.
#[track_caller]
fn events(output: &Output) -> Vec<Value> {
    let text = output.text();
    let events: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line is an event"))
        .collect();
    assert!(events.iter().all(|event| event["schema"] == 1), "{text}");
    events
}

/// States by port.
#[track_caller]
fn states(output: &Output) -> BTreeMap<u64, String> {
    events(output)
        .iter()
        .filter(|event| event["event"] == "port")
        .map(|event| {
            let port = event["port"].as_u64().expect("a port");
            (port, event["state"].as_str().expect("a state").to_owned())
        })
        .collect()
}

#[test]
fn people_read_targets_and_ports_in_order() {
    let text = scan(&["127.0.0.2", "127.0.0.1", "-p", "1-40", "--all"]).text();
    let read = |line: &str| {
        let mut words = line.split_whitespace();
        let host = words.next()?.parse::<std::net::Ipv4Addr>().ok()?;
        let port = words.next()?.strip_suffix("/tcp")?.parse::<u16>().ok()?;
        Some((host.octets()[3], port))
    };
    let found: Vec<(u8, u16)> = text.lines().filter_map(read).collect();
    let wanted: Vec<(u8, u16)> = [2, 1]
        .into_iter()
        .flat_map(|host| (1..=40).map(move |port| (host, port)))
        .collect();
    assert_eq!(found, wanted, "{text}");
}

#[test]
fn open_ports_are_printed_and_the_others_counted() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("its address").port().to_string();
    let output = scan(&["127.0.0.1", "-p", &port]);
    assert_eq!(output.status.code(), Some(0), "{}", output.stderr);
    let text = output.text();
    assert!(
        text.contains(&format!(" {port}/tcp ")) && text.contains(" syn-ack "),
        "{text}"
    );
    assert!(
        text.contains("1 port in") && text.contains(": 1 open, 0 closed, 0 filtered"),
        "{text}"
    );
    assert_eq!(output.stderr, "");
    drop(listener);
    let output = scan(&["127.0.0.1", "-p", &port]);
    assert_eq!(
        (output.status.code(), output.text().lines().count()),
        (Some(1), 1)
    );
    let output = scan(&["127.0.0.1", "-p", &port, "--all", "--json"]);
    let events = events(&output);
    assert_eq!(events[1]["state"], "closed");
    assert_eq!(
        (&events[1]["reason"], &events[1]["attempts"]),
        (&"refused".into(), &1.into())
    );
    assert_eq!(events.last().expect("an end")["closed"], 1);
}

#[test]
fn what_a_server_says_is_shown_and_not_obeyed() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("its address").port().to_string();
    let server = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut client, _) = listener.accept().expect("the scan");
            client.write_all(b"hello \xff\x1b[2J\r\n").expect("written");
            // Until it has read: a reset.
            let _ = std::io::Read::read(&mut client, &mut [0]);
        }
    });
    let words = ["127.0.0.1", "-p", &port, "--banner=60"];
    let output = scan(&words);
    assert!(
        output.text().contains("  hello \\xff\\u{1b}[2J\n"),
        "{}",
        output.text()
    );
    let output = scan(&[&words[..], &["--json"]].concat());
    assert_eq!(events(&output)[1]["banner"], "hello \u{fffd}\u{1b}[2J\r\n");
    server.join().expect("it ends");
}

#[test]
fn udp_tells_open_closed_and_silent_apart() {
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let silent_port = u64::from(silent.local_addr().expect("its address").port());
    let closed = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let closed_port = u64::from(closed.local_addr().expect("its address").port());
    drop(closed);
    let answering = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let open_port = u64::from(answering.local_addr().expect("its address").port());
    let server = std::thread::spawn(move || {
        let (_, from) = answering.recv_from(&mut [0; 64]).expect("the scan");
        answering.send_to(b"yes", from).expect("answered");
    });
    let ports = format!("{silent_port},{closed_port},{open_port}");
    let output = scan(&["127.0.0.1", "-sU", "-p", &ports, "--all", "--json", "-W", "0.3"]);
    server.join().expect("it ends");
    let expected = [
        (silent_port, "open|filtered"),
        (closed_port, "closed"),
        (open_port, "open"),
    ];
    let expected = expected.map(|(port, state)| (port, state.to_owned()));
    assert_eq!(states(&output), BTreeMap::from(expected));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_range_is_its_addresses_each_once() {
    let output = scan(&[
        "127.0.0.2",
        "127.0.0.1-127.0.0.3",
        "127.0.0.2/31",
        "-p",
        "1",
        "--all",
        "--json",
    ]);
    let events = events(&output);
    let mut addresses: Vec<&str> = events
        .iter()
        .filter(|event| event["event"] == "port")
        .filter_map(|event| event["address"].as_str())
        .collect();
    addresses.sort_unstable();
    assert_eq!(addresses, ["127.0.0.1", "127.0.0.2", "127.0.0.3"]);
    assert_eq!(events[0]["hosts"], 3);
}

#[test]
fn refusals_say_what_to_do() {
    for (words, said) in [
        (&["127.0.0.1", "-p", "0-70000"][..], "1 to 65535"),
        (&["127.0.0.1", "-p", "0"], "1 to 65535"),
        (&["127.0.0.1", "-p", "nothing-such"], "1 to 65535"),
        (&["10.0.0.0/23"], "--yes scans more than 256"),
        (&["10.0.0.0/24", "10.0.1.1"], "--yes scans more than 256"),
        (&["10.0.0.0-10.0.1.0"], "257 hosts up to 10.0.0.0-10.0.1.0: --yes"),
        (&["10.0.0.1-10"], "10.0.0.1-10"),
        (&["::/0"], "--yes"),
        (&["10.0.0.1/8"], "10.0.0.1/8"),
        (&["127.0.0.1", "-sX"], "expected T (TCP connects"),
        (&["127.1"], "127.1"),
        (&[], "TARGET"),
    ] {
        let output = scan(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(output.stderr.contains(said), "{words:?}: {}", output.stderr);
        assert!(output.stdout.is_empty());
        let output = scan(&[words, &["--json"]].concat());
        assert_eq!(events(&output).last().expect("an error")["event"], "error");
    }
}

#[test]
fn an_unknown_host_names_the_servers() {
    if !require(&[Need::Namespaces]) {
        return;
    }
    let world = World::new();
    let program = program::sockeye().to_str().expect("a path in UTF-8");
    let namespace = world.namespace();
    let mut command = namespace.command(program);
    let output = program::output(command.args(["scan", "nobody.invalid", "-p", "1"]), PATIENCE);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        output.stderr.contains("name servers of this machine: "),
        "{}",
        output.stderr
    );
}

#[test]
fn few_descriptors_are_enough_and_none_is_an_error() {
    if !require(&[Need::program("prlimit")]) {
        return;
    }
    let run = |limit: &str| {
        let mut command = wrapped("prlimit", &[&format!("--nofile={limit}:{limit}")]);
        program::output(
            command.args(["scan", "127.0.0.1", "-p", "1-300", "--all", "--json"]),
            PATIENCE,
        )
    };
    assert_eq!(states(&run("28")).len(), 300);
    let output = run("8");
    assert_eq!(output.status.code(), Some(5), "{}", output.stderr);
    assert!(output.stderr.contains("ulimit -n"), "{}", output.stderr);
    let last = events(&output).pop().expect("an error");
    assert_eq!(last["event"], "error", "{}", output.text());
}

const V4: &str = "192.0.2.2";
const V6: &str = "2001:db8::2";
/// Drops the ports that end in 1, and rejects others in several ways.
const RULES: &str = "table inet scanned {
    chain in {
    type filter hook input priority 0
    tcp dport { 7001, 7011 } drop; udp dport { 7001, 7011 } drop
    tcp dport 7002 reject with icmpx type host-unreachable; udp dport 7002 reject with icmpx type host-unreachable
    tcp dport 7003 reject with icmpx type admin-prohibited; udp dport 7003 reject with icmpx type admin-prohibited
    tcp dport 7004 reject with tcp reset; udp dport 7004 reject with icmpx type port-unreachable
    }
}";

/// A network of two hosts, and the server on the other one.
fn filtered_host(world: &World) -> (Namespace, Namespace, Server) {
    let (client, host) = (world.namespace(), world.namespace());
    client.veth(
        "c0",
        &["192.0.2.1/24", "2001:db8::1/64"],
        &host,
        "h0",
        &["192.0.2.2/24", "2001:db8::2/64"],
    );
    host.run("nft", &[RULES]);
    // All errors are told: what a limit does is told by a test of the engine.
    host.sysctl("net/ipv4/icmp_ratelimit", "0");
    host.sysctl("net/ipv6/icmp/ratelimit", "0");
    let program = program::sockeye().to_str().expect("a path in UTF-8");
    let mut endpoints = Vec::new();
    for port in ["7007", "7008"] {
        for at in [V4, "[2001:db8::2]"] {
            endpoints.extend(["tcp", "udp"].map(|transport| format!("{transport}://{at}:{port}")));
        }
    }
    let endpoints: Vec<&str> = endpoints.iter().map(String::as_str).collect();
    let server = Server::under(host.command(program), &["echo"], &endpoints);
    (client, host, server)
}

/// What nmap makes of the ports of a host.
#[track_caller]
fn nmap(client: &Namespace, how: &str, address: &str, ports: &str) -> BTreeMap<u64, String> {
    let mut words = vec!["-n", "-Pn", how, "-p", ports, "-oG", "-", address];
    if address.contains(':') {
        words.push("-6");
    }
    let text = client.run("nmap", &words);
    let list = text.split_once("Ports: ").expect("ports").1;
    let list = list.split(['\t', '\n']).next().unwrap_or_default();
    let port = |word: &str| {
        let mut fields = word.trim().split('/');
        let port = fields.next()?.parse().ok()?;
        Some((port, fields.next()?.to_owned()))
    };
    list.split(',').filter_map(port).collect()
}

#[test]
fn the_states_are_those_of_nmap() {
    let needs = [Need::Namespaces, Need::program("nmap"), Need::program("nft")];
    if !require(&needs) {
        return;
    }
    let world = World::new();
    let (client, _host, _server) = filtered_host(&world);
    let program = program::sockeye().to_str().expect("a path in UTF-8");
    let ports = "7001-7012";
    for address in [V4, V6] {
        for how in ["-sT", "-sU"] {
            let mut command = client.command(program);
            command.args(["scan", address, how, "-p", ports, "--all", "--json"]);
            let output = program::output(&mut command, PATIENCE);
            let ours = states(&output);
            assert_eq!(ours.len(), 12, "{}", output.stderr);
            assert_eq!(ours, nmap(&client, how, address, ports), "{how} {address}");
            assert_eq!((&*ours[&7007], &*ours[&7009]), ("open", "closed"));
        }
    }
}

#[test]
fn an_interrupted_scan_says_what_it_knows() {
    let needs = [Need::Namespaces, Need::program("nft")];
    if !require(&needs) {
        return;
    }
    let world = World::new();
    let (client, _host, _server) = filtered_host(&world);
    let program = program::sockeye().to_str().expect("a path in UTF-8");
    let mut command = client.command(program);
    command.args(["scan", V4, "-p", "7001,7007", "-W", "3600", "--json"]);
    let mut running = Running::start(&mut command);
    running.line_with(PATIENCE, |line| line.contains("\"port\":7007"));
    running.signal(libc::SIGINT);
    let end = running.line_with(PATIENCE, |line| line.contains("\"event\":\"end\""));
    let end: Value = serde_json::from_str(&end).expect("an event");
    assert_eq!((&end["interrupted"], &end["open"]), (&true.into(), &1.into()));
    assert_eq!(running.wait(PATIENCE).code(), Some(0));
}

#[test]
fn an_interrupted_scan_prints_the_ports_that_have_not_said_anything_yet() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("its address").port();
    let mut command = Command::new(program::sockeye());
    command.args([
        "scan",
        "127.0.0.1",
        "-p",
        &port.to_string(),
        "--banner=3600",
        "--json",
    ]);
    let mut running = Running::start(&mut command);
    // The connection stands on the other side too: its event comes no later than that of the signal.
    let _silent = listener.accept().expect("the scan");
    running.signal(libc::SIGINT);
    let mut events = Vec::new();
    while events.last().is_none_or(|event: &Value| event["event"] != "end") {
        let line = running.line(PATIENCE);
        events.push(serde_json::from_str(&line).expect("an event"));
    }
    let [_begin, open, end] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!((&open["port"], &open["state"]), (&port.into(), &"open".into()));
    assert_eq!(open["banner"], Value::Null);
    assert_eq!((&end["interrupted"], &end["open"]), (&true.into(), &1.into()));
    assert_eq!(running.wait(PATIENCE).code(), Some(0));
}
