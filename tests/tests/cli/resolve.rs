//! `sockeye resolve` and name servers of a test: what it prints, and how it ends.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use serde_json::Value;
use sockeye_resolver::dns::{Record, RecordData, RecordType, ResponseCode};
use sockeye_sim::names::{Behaviour, NameServer, Rule, Zones};
use sockeye_tests::program::{self, Output};
use sockeye_tests::wait::PATIENCE;

use crate::certificates::Authority;
use crate::serving::{Refusing, Serving};

fn zones() -> Zones {
    r#"
$ORIGIN example.test.
$TTL 300
@     SOA   ns admin 1 2h 15m 14d 60
@     MX    10 mail
@     TXT   "one" "two"
www   A     192.0.2.80
www   AAAA  2001:db8::80
alias CNAME www
in-addr.arpa. SOA . . 1 1 1 1 60
80.2.0.192.in-addr.arpa. PTR www
"#
    .parse()
    .unwrap()
}

fn serving() -> Serving {
    Serving::new(NameServer::new(zones()))
}

fn resolve(words: &[&str]) -> Output {
    let mut command = Command::new(program::sockeye());
    program::output(command.arg("resolve").args(words), PATIENCE)
}

/// Asks this server.
fn at(serving: &Serving, words: &[&str]) -> Output {
    let server = format!("@{}", serving.address);
    resolve(&[words, &[&server]].concat())
}

/// One that answers nothing.
fn silent() -> Serving {
    let server = NameServer::new(zones());
    server.set_down(true);
    Serving::new(server)
}

/// Its stdout as JSON, an object a line, each with these keys and no others.
#[track_caller]
fn objects(output: &Output, keys: &[&str]) -> Vec<Value> {
    let parse =
        |line: &str| serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let objects: Vec<Value> = output.text().lines().map(parse).collect();
    for object in &objects {
        let mut has: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
        has.retain(|key| !["schema", "event"].contains(key));
        has.sort_unstable();
        assert_eq!(has, keys, "{object}");
    }
    assert!(!objects.is_empty());
    objects
}

const ANSWER: &[&str] = &[
    "authority",
    "carrier",
    "code",
    "error",
    "flags",
    "input",
    "name",
    "ok",
    "origin",
    "records",
    "server",
    "took_ns",
    "type",
];

#[test]
fn localhost_needs_no_server() {
    let output = resolve(&["localhost", "A", "AAAA"]);
    // A hosts file may have one family of it: RFC 6761 has the other.
    assert!(output.status.success(), "{}", output.stderr);
    for record in ["A 127.0.0.1", "AAAA ::1"] {
        assert!(
            output.text().contains(&format!("\n  localhost. 0 IN {record}\n")),
            "{}",
            output.text()
        );
    }
    let output = resolve(&["a.localhost", "A", "AAAA", "--short"]);
    assert_eq!(
        (output.status.code(), output.text()),
        (Some(0), "127.0.0.1\n::1\n".to_owned())
    );
}

#[test]
fn a_server_that_is_named_is_asked_for_what_this_machine_knows_too() {
    let zones = "
localhost. SOA . . 1 1 1 1 60
localhost. A 192.0.2.99
invalid. SOA . . 1 1 1 1 60
host.invalid. A 192.0.2.99
";
    let serving = Serving::new(NameServer::new(zones.parse().unwrap()));
    for words in [
        &["localhost", "A", "--short"][..],
        &["localhost", "--short"],
        &["host.invalid", "A", "--short"],
    ] {
        let output = at(&serving, words);
        assert_eq!(
            (output.status.code(), output.text()),
            (Some(0), "192.0.2.99\n".to_owned()),
            "{words:?}: {}",
            output.stderr
        );
    }
}

#[test]
fn a_script_never_takes_an_error_for_data() {
    for words in [
        &["no-such.invalid", "--short"][..],
        &["192.0.2.1", "A", "--short"],
        &["a.test:80", "MX", "--short"],
    ] {
        let output = resolve(words);
        assert_eq!(
            (output.status.code(), output.text()),
            (Some(3), String::new()),
            "{words:?}"
        );
        assert!(
            output.stderr.starts_with(words[0]),
            "{words:?}: {}",
            output.stderr
        );
    }
    let output = resolve(&["MX", "localhost"]);
    assert!(output.stderr.contains("`localhost MX`"), "{}", output.stderr);
}

#[test]
fn records_come_with_their_time_their_server_and_their_flags() {
    let serving = serving();
    let output = at(&serving, &["example.test", "MX", "txt"]);
    assert!(output.status.success(), "{}", output.stderr);
    let text = output.text();
    let lines: Vec<&str> = text.lines().collect();
    let from = format!("from {} by udp in ", serving.address);
    assert_eq!(lines.len(), 4, "{text}");
    assert!(
        lines[0].starts_with(&format!("example.test MX: NOERROR, 1 record, {from}")),
        "{text}"
    );
    assert!(lines[0].ends_with(" ms, flags aa rd ra"), "{text}");
    assert_eq!(lines[1], "  example.test. 300 IN MX 10 mail.example.test.");
    assert!(
        lines[2].starts_with("example.test TXT: NOERROR, 1 record, "),
        "{text}"
    );
    assert_eq!(lines[3], r#"  example.test. 300 IN TXT "one" "two""#);
    assert_eq!(serving.server.counters().udp, 2);
}

#[test]
fn addresses_come_with_the_order_of_attempts() {
    let serving = serving();
    let text = at(&serving, &["www.example.test", "A", "AAAA"]).text();
    let (_, order) = text
        .split_once("www.example.test: the order of connection attempts\n")
        .unwrap();
    assert!(
        order.contains("192.0.2.80") && order.contains("2001:db8::80"),
        "{text}"
    );
    let text = at(&serving, &["www.example.test"]).text();
    assert!(text.starts_with("www.example.test\n   1  "), "{text}");
    assert!(
        text.contains(&format!("from {} by udp", serving.address)),
        "{text}"
    );
}

#[test]
fn addresses_are_asked_back() {
    let serving = serving();
    let output = at(&serving, &["-x", "192.0.2.80", "--short"]);
    assert_eq!(
        (output.status.code(), output.text()),
        (Some(0), "www.example.test.\n".to_owned())
    );
    let output = at(&serving, &["-x", "192.0.2.81"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        output.text().contains("NXDOMAIN, no such name"),
        "{}",
        output.text()
    );
    assert_eq!(at(&serving, &["-x", "www.example.test"]).status.code(), Some(2));
}

#[test]
fn tcp_from_the_beginning() {
    let serving = serving();
    let output = at(&serving, &["example.test", "MX", "--tcp"]);
    assert!(
        output
            .text()
            .contains(&format!("from {} by tcp in ", serving.address)),
        "{}",
        output.text()
    );
    let counters = serving.server.counters();
    assert_eq!((counters.udp, counters.tcp), (0, 1));
}

#[test]
fn json_has_the_same_keys_whatever_happens() {
    let serving = serving();
    let failing = Rule::for_type(RecordType::NS, Behaviour::code(ResponseCode::SERVER_FAILURE));
    serving.server.set_rules(vec![failing]);
    let output = at(&serving, &["example.test", "MX", "NS", "SRV", "--json"]);
    assert_eq!(output.status.code(), Some(3));
    let all = objects(&output, ANSWER);
    let server = serving.address.to_string();
    let [mx, ns, srv] = all.as_slice() else {
        panic!("{all:?}")
    };
    assert_eq!(
        (&mx["ok"], &mx["code"], &mx["carrier"]),
        (&true.into(), &"NOERROR".into(), &"udp".into())
    );
    assert_eq!(mx["flags"], serde_json::json!(["aa", "rd", "ra"]));
    assert_eq!(
        mx["records"],
        serde_json::json!([{ "name": "example.test", "type": "MX", "ttl": 300, "data": "10 mail.example.test." }])
    );
    assert_eq!(
        (&srv["ok"], &srv["error"], &srv["authority"][0]["type"]),
        (&false.into(), &Value::Null, &"SOA".into())
    );
    let message = format!("name server {server} answered SERVFAIL");
    assert_eq!(
        (&ns["ok"], &ns["error"]["message"]),
        (&false.into(), &message.into())
    );
    for object in &all {
        assert_eq!(
            (&object["server"], &object["input"]),
            (&server.as_str().into(), &"example.test".into())
        );
    }
    // A name that is none.
    let output = at(&serving, &["a..b", "MX", "--json"]);
    assert_eq!(output.status.code(), Some(3));
    let all = objects(&output, ANSWER);
    assert_eq!(
        (&all[0]["type"], &all[0]["error"]["message"]),
        (&"MX".into(), &"an empty label".into())
    );
    // Targets: the addresses in their order.
    let target = &["addresses", "answers", "error", "input", "ok", "took_ns", "way"];
    for (name, ok) in [("www.example.test", true), ("nope.example.test", false)] {
        let all = objects(&at(&serving, &[name, "--json"]), target);
        assert_eq!((&all[0]["ok"], &all[0]["way"]), (&ok.into(), &"dns".into()));
    }
}

#[test]
fn what_does_not_exist_is_told_by_words_and_status() {
    let serving = serving();
    let output = at(&serving, &["nope.example.test", "A"]);
    assert_eq!(output.status.code(), Some(3));
    let text = output.text();
    assert!(
        text.starts_with("nope.example.test A: NXDOMAIN, no such name, "),
        "{text}"
    );
    assert!(text.contains("\n  authority: example.test. 60 IN SOA "), "{text}");
    let output = at(&serving, &["www.example.test", "MX"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        output
            .text()
            .starts_with("www.example.test MX: NOERROR, no MX records, "),
        "{}",
        output.text()
    );
    // Of several questions one without an answer decides.
    assert_eq!(
        at(&serving, &["example.test", "MX", "SRV"]).status.code(),
        Some(3)
    );
}

#[test]
fn words_that_make_no_sense_are_explained() {
    let serving = serving();
    for (words, said) in [
        (&["example.test", "A", "@"][..], "@: empty text"),
        (&["example.test", "A", "@x:y"], "a server is an address or a name"),
        (&["@127.0.0.1"], "there is no name to look up"),
        (
            &["example.test", "A", "--system"],
            "--system asks for addresses only",
        ),
        (
            &["example.test", "--system", "@127.0.0.1"],
            "--system asks for addresses only",
        ),
        (&["example.test", "A", "--tls-name", "x"], "--tls"),
        (&["example.test", "A", "--tcp", "--tls"], "cannot be used with"),
        (&["example.test", "A", "--timeout", "soon"], "--timeout"),
        (&["-x", "example.test"], "invalid"),
    ] {
        let output = resolve(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {}", output.stderr);
        assert!(output.stderr.contains(said), "{words:?}: {}", output.stderr);
        assert_eq!(output.text(), "", "{words:?}");
    }
    let output = resolve(&["example.test", "A", "@nope.invalid"]);
    assert_eq!(output.status.code(), Some(3), "{}", output.stderr);
    assert!(
        output.stderr.contains("find the server @nope.invalid"),
        "{}",
        output.stderr
    );
    // What is no type is one name more, and told to be none.
    let output = at(&serving, &["www.example.test", "A", "TYPE99999"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        output.text().contains("TYPE99999 A: error: "),
        "{}",
        output.text()
    );
}

#[test]
fn servers_that_do_not_answer_are_named() {
    let serving = silent();
    let output = at(&serving, &["example.test", "A", "--timeout", "1"]);
    assert_eq!(output.status.code(), Some(3));
    let said = format!(
        "example.test A: error: no answer from the name servers (last asked: {})",
        serving.address
    );
    assert!(output.text().starts_with(&said), "{}", output.text());
    let output = at(&serving, &["example.test", "A", "--timeout", "1", "--json"]);
    let all = objects(&output, ANSWER);
    assert_eq!(all[0]["server"], serving.address.to_string());
    let output = at(&serving, &["example.test", "--timeout", "1"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        output.text().contains(&serving.address.to_string()),
        "{}",
        output.text()
    );
    // Nobody there: the kernel says so at once.
    let refusing = Refusing::new();
    let refused = refusing.address();
    let output = resolve(&["example.test", "A", &format!("@{refused}")]);
    assert_eq!(output.status.code(), Some(3));
    let said = format!("name server {refused} cannot be reached");
    assert!(output.text().contains(&said), "{}", output.text());
}

#[test]
fn a_second_server_is_asked_where_the_first_is_not_there() {
    let serving = serving();
    let refusing = Refusing::new();
    let refused = refusing.address();
    let output = at(
        &serving,
        &["example.test", "MX", "--short", &format!("@{refused}")],
    );
    assert_eq!(
        (output.status.code(), output.text()),
        (Some(0), "10 mail.example.test.\n".to_owned())
    );
}

#[test]
fn tls_wants_a_certificate_for_the_address_or_the_name() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let serving = |names| Serving::over_tls(NameServer::new(zones()), authority.server(names));
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let ca = write("ca.pem", authority.pem());
    let other = write("other.pem", Authority::new().pem());
    let by_address = serving(&["127.0.0.1"]);
    let by_name = serving(&["dns.example.test"]);
    let ask =
        |serving: &Serving, more: &[&str]| at(serving, &[&["example.test", "MX", "--tls"], more].concat());
    for (serving, more) in [
        (&by_address, &["--ca", &ca][..]),
        (&by_name, &["--ca", &ca, "--tls-name", "dns.example.test"]),
    ] {
        let output = ask(serving, more);
        assert!(output.status.success(), "{}{}", output.text(), output.stderr);
        assert!(
            output
                .text()
                .contains(&format!("from {} by tls in ", serving.address)),
            "{}",
            output.text()
        );
    }
    let untrusted = "(--ca FILE names the certificates to trust)";
    let for_another = "is not for 127.0.0.1, but for dns.example.test (--tls-name NAME ";
    for (serving, more, why) in [
        (&by_address, &["--ca", &other][..], untrusted),
        (&by_name, &["--ca", &ca], for_another),
        (
            &by_address,
            &["--ca", &ca, "--tls-name", "dns.example.test"],
            "is not for dns.example.test, but for 127.0.0.1 (",
        ),
    ] {
        let output = ask(serving, more);
        assert_eq!(output.status.code(), Some(3), "{more:?}: {}", output.text());
        let said = format!("name server {}: TLS: ", serving.address);
        assert!(output.text().contains(&said), "{more:?}: {}", output.text());
        assert!(output.text().contains(why), "{more:?}: {}", output.text());
    }
    // One that greets as a mail server does, and one that is not there.
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("@{}", plain.local_addr().unwrap());
    let at = plain.local_addr().unwrap();
    let greeting = std::thread::spawn(move || {
        // A client that has never heard of TLS ends it.
        for peer in plain.incoming() {
            let mut peer = peer.unwrap();
            peer.write_all(b"220 mail.example.test\r\n").unwrap();
            let mut said = Vec::new();
            let _ = peer.read_to_end(&mut said);
            if said == b"QUIT" {
                return;
            }
        }
    });
    let words = &["example.test", "MX", "--tls", "--ca", &ca, &server];
    let output = resolve(words);
    let mut client = TcpStream::connect(at).unwrap();
    client.write_all(b"QUIT").unwrap();
    drop(client);
    greeting.join().unwrap();
    assert!(
        output
            .text()
            .contains("what the peer sent is no TLS (does the peer speak TLS? "),
        "{}",
        output.text()
    );
    let output = resolve(words);
    assert!(
        output.text().contains("cannot be reached: Connection refused"),
        "{}",
        output.text()
    );
    let missing = ask(&by_address, &["--ca", "/nonexistent/ca.pem"]);
    assert_eq!(missing.status.code(), Some(5));
    assert!(
        missing
            .stderr
            .contains("read certificates from /nonexistent/ca.pem"),
        "{}",
        missing.stderr
    );
    let empty = write("empty.pem", String::new());
    let empty = ask(&by_address, &["--ca", &empty]);
    assert!(
        !empty.status.success() && empty.stderr.contains("there is no certificate in it"),
        "{}",
        empty.stderr
    );
}

#[test]
fn what_servers_send_is_not_obeyed_by_a_terminal() {
    let mut zones = zones();
    let hostile = b"\x1b[31m\r\n\x07\x9b2J\xe2\x80\xae\x7f".to_vec();
    let name = r"\027[31m\010x\155.example.test".parse().unwrap();
    zones.insert(Record::new(name, 60, RecordData::Txt(vec![hostile.into()])));
    let target = r"\027]0\;x\007.example.test".parse().unwrap();
    zones.insert(Record::new(
        "bad.example.test".parse().unwrap(),
        60,
        RecordData::Cname(target),
    ));
    let serving = Serving::new(NameServer::new(zones));
    let text = r#""\027[31m\013\010\007\1552J\226\128\174\127""#;
    let asked = r"\027[31m\010x\155.example.test";
    let output = at(&serving, &[asked, "TXT", "--short"]);
    assert_eq!(
        (output.status.code(), output.text()),
        (Some(0), format!("{text}\n"))
    );
    for words in [
        &[asked, "TXT"][..],
        &[asked, "TXT", "--json"],
        &["bad.example.test", "CNAME"],
        &["bad.example.test", "CNAME", "--short"],
        &["bad.example.test", "A"],
        &["bad.example.test"],
    ] {
        let output = at(&serving, words);
        let obeyed = |letter: char| letter != '\n' && letter.is_control();
        assert!(!output.text().contains(obeyed), "{words:?}: {:?}", output.text());
        assert!(!output.stderr.contains(obeyed), "{words:?}: {:?}", output.stderr);
    }
    let output = at(&serving, &[asked, "TXT", "--json"]);
    assert_eq!(objects(&output, ANSWER)[0]["records"][0]["data"], text);
}

#[test]
fn the_program_has_no_runtime_of_tokio() {
    let tree = |package: &str| {
        let mut command = program::cargo();
        command
            .args([
                "tree",
                "--offline",
                "--edges",
                "normal",
                "--prefix",
                "none",
                "--package",
                package,
            ])
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        let output = program::output(&mut command, PATIENCE);
        assert!(output.status.success(), "{}", output.stderr);
        output.text()
    };
    let of_program = tree("sockeye-cli");
    assert!(of_program.contains("sockeye-resolver v"), "{of_program}");
    assert!(!of_program.contains("tokio"), "{of_program}");
}
