//! The name server on the kernel, asked by `dig`: a client that nobody here wrote reads every answer.
//!
//! The server's loop has a thread of its own; traffic stays on the loopback.

#![expect(clippy::unwrap_used, reason = "what a test expects and does not get fails it")]

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::Command;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use sockeye_event_loop::{EventLoop, Remote};
use sockeye_resolver::dns::{Record, RecordData, RecordType, ResponseCode};
use sockeye_sim::names::{Behaviour, CookieSupport, EdnsSupport, Lie, NameServer, Rule, Zones};
use sockeye_tests::program;
use sockeye_tests::skip::{self, Need};
use sockeye_tests::wait::PATIENCE;

const ZONE: &str = r#"
$ORIGIN example.test.
$TTL 300
@       SOA    ns admin.example.test. 7 2h 15m 14d 60
        NS     ns
        MX     10 mail
        TXT    "two \"quoted\" words" "and; more"
        CAA    0 issue "ca.example.test"
        HTTPS  1 . alpn="h2,h3" port=8443 ipv4hint=192.0.2.80 ipv6hint=2001:db8::80
        TYPE65400 \# 3 010203
ns      A      192.0.2.53
mail    A      192.0.2.25
www  60 A      192.0.2.80
     60 A      192.0.2.81
        AAAA   2001:db8::80
web     CNAME  www
*.any   A      192.0.2.42
_sip._udp SRV  0 5 5060 www
80.2.0.192.in-addr.arpa. PTR www
in-addr.arpa. SOA . . 1 1 1 1 60
"#;

/// A server on a thread, until it is dropped.
struct Serving {
    server: NameServer,
    address: SocketAddr,
    remote: Remote,
    thread: Option<JoinHandle<()>>,
}

impl Serving {
    fn new(server: NameServer) -> Self {
        Self::on(server, (Ipv4Addr::LOCALHOST, 0).into())
    }

    fn on(server: NameServer, at: SocketAddr) -> Self {
        let (told, tell) = mpsc::channel();
        let handle = server.clone();
        let thread = thread::spawn(move || {
            let mut events = EventLoop::new().unwrap();
            let served = handle.serve(&mut events, at).unwrap();
            told.send((served.address, events.remote())).unwrap();
            events.run().unwrap();
        });
        let (address, remote) = tell.recv_timeout(PATIENCE).unwrap();
        Self {
            server,
            address,
            remote,
            thread: Some(thread),
        }
    }

    /// What `dig` prints for these arguments, one try of three seconds.
    fn dig(&self, arguments: &str) -> String {
        self.dig_at(self.address, arguments)
    }

    fn dig_at(&self, at: SocketAddr, arguments: &str) -> String {
        let server = format!("@{}", at.ip());
        let port = at.port().to_string();
        let mut command = Command::new("dig");
        command.args(["-r", &server, "-p", &port, "+time=3", "+tries=1"]);
        command.args(arguments.split_whitespace());
        program::output(&mut command, PATIENCE).text()
    }

    /// The answer's lines, with single blanks.
    fn lines(&self, arguments: &str) -> Vec<String> {
        let text = self.dig(&format!("+noall +answer {arguments}"));
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        text.lines().map(words).filter(|line| !line.is_empty()).collect()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.remote.stop();
        let thread = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            thread.unwrap().unwrap();
        }
    }
}

fn serving() -> Option<Serving> {
    let zones: Zones = ZONE.parse().unwrap();
    skip::require(&[Need::program("dig")]).then(|| Serving::new(NameServer::new(zones)))
}

#[test]
fn dig_reads_every_type() {
    let Some(serving) = serving() else { return };
    for (asked, expected) in [
        (
            "www.example.test A",
            &[
                "www.example.test. 60 IN A 192.0.2.80",
                "www.example.test. 60 IN A 192.0.2.81",
            ][..],
        ),
        (
            "www.example.test AAAA",
            &["www.example.test. 300 IN AAAA 2001:db8::80"],
        ),
        (
            "example.test MX",
            &["example.test. 300 IN MX 10 mail.example.test."],
        ),
        (
            "example.test TXT",
            &[r#"example.test. 300 IN TXT "two \"quoted\" words" "and; more""#],
        ),
        (
            "_sip._udp.example.test SRV",
            &["_sip._udp.example.test. 300 IN SRV 0 5 5060 www.example.test."],
        ),
        (
            "example.test SOA",
            &["example.test. 300 IN SOA ns.example.test. admin.example.test. 7 7200 900 1209600 60"],
        ),
        ("example.test NS", &["example.test. 300 IN NS ns.example.test."]),
        (
            "example.test CAA",
            &[r#"example.test. 300 IN CAA 0 issue "ca.example.test""#],
        ),
        (
            "example.test HTTPS",
            &[
                r#"example.test. 300 IN HTTPS 1 . alpn="h2,h3" port=8443 ipv4hint=192.0.2.80 ipv6hint=2001:db8::80"#,
            ],
        ),
        (
            "example.test TYPE65400",
            &[r"example.test. 300 IN TYPE65400 \# 3 010203"],
        ),
        (
            "web.example.test A",
            &[
                "web.example.test. 300 IN CNAME www.example.test.",
                "www.example.test. 60 IN A 192.0.2.80",
                "www.example.test. 60 IN A 192.0.2.81",
            ],
        ),
        (
            "x.any.example.test A",
            &["x.any.example.test. 300 IN A 192.0.2.42"],
        ),
        (
            "-x 192.0.2.80",
            &["80.2.0.192.in-addr.arpa. 300 IN PTR www.example.test."],
        ),
    ] {
        assert_eq!(serving.lines(asked), expected, "{asked}");
        assert_eq!(
            serving.lines(&format!("+tcp {asked}")),
            expected,
            "{asked} by TCP"
        );
    }
    let counters = serving.server.counters();
    assert_eq!((counters.udp, counters.tcp, counters.lied), (13, 13, 0));
}

#[test]
fn dig_tells_no_such_name_from_no_such_records() {
    let Some(serving) = serving() else { return };
    let soa = "example.test.\t\t60\tIN\tSOA\tns.example.test. admin.example.test. 7 7200 900 1209600 60";
    let missing = serving.dig("nope.example.test A");
    assert!(
        missing.contains("status: NXDOMAIN") && missing.contains(soa),
        "{missing}"
    );
    assert!(
        missing.contains("flags: qr aa rd ra; QUERY: 1, ANSWER: 0, AUTHORITY: 1"),
        "{missing}"
    );
    let none = serving.dig("www.example.test MX");
    assert!(none.contains("status: NOERROR") && none.contains(soa), "{none}");
    let elsewhere = serving.dig("example.org A");
    assert!(elsewhere.contains("status: REFUSED"), "{elsewhere}");
    let chaos = serving.dig("version.bind TXT CH");
    assert!(chaos.contains("status: REFUSED"), "{chaos}");
    let notify = serving.dig("+opcode=notify example.test SOA");
    assert!(notify.contains("opcode: NOTIFY, status: NOTIMP"), "{notify}");
    let version = serving.dig("+edns=1 +noednsnegotiation www.example.test");
    assert!(version.contains("status: BADVERS"), "{version}");
    for text in [missing, none, elsewhere, chaos, notify, version] {
        assert!(!text.contains("Warning") && !text.contains("malformed"), "{text}");
    }
}

fn big() -> Zones {
    let mut zones: Zones = ZONE.parse().unwrap();
    for last in 0..200 {
        let data = RecordData::A([198, 51, 100, last].into());
        zones.insert(Record::new("big.example.test".parse().unwrap(), 60, data));
    }
    zones
}

#[test]
fn dig_goes_over_to_tcp_where_an_answer_is_truncated() {
    if !skip::require(&[Need::program("dig")]) {
        return;
    }
    let serving = Serving::new(NameServer::new(big()));
    let cut = serving.dig("+ignore +bufsize=512 big.example.test A");
    assert!(
        cut.contains("flags: qr aa tc rd ra; QUERY: 1, ANSWER: 0"),
        "{cut}"
    );
    let plain = serving.dig("+ignore +noedns big.example.test A");
    assert!(
        plain.contains("flags: qr aa tc rd ra; QUERY: 1, ANSWER: 0") && !plain.contains("EDNS"),
        "{plain}"
    );
    let whole = serving.dig("+ignore +bufsize=4096 big.example.test A");
    assert!(
        whole.contains("flags: qr aa rd ra; QUERY: 1, ANSWER: 200"),
        "{whole}"
    );
    let over = serving.dig("+bufsize=1232 big.example.test A");
    assert!(over.contains("Truncated, retrying in TCP mode"), "{over}");
    assert!(over.contains("ANSWER: 200"), "{over}");
    let counters = serving.server.counters();
    assert_eq!((counters.udp, counters.tcp, counters.truncated), (4, 1, 3));
    let many = serving.dig("+tcp +keepopen +noall +answer big.example.test A www.example.test A");
    assert_eq!(many.lines().count(), 202, "{many}");
    assert_eq!(serving.server.counters().connections, 2);
}

#[test]
fn dig_takes_the_cookie() {
    let Some(serving) = serving() else { return };
    let cookie = "0102030405060708";
    let good = serving.dig(&format!("+cookie={cookie} www.example.test A"));
    let line = good.lines().find(|line| line.contains("COOKIE")).unwrap();
    // `dig` says `(good)` of a cookie that begins with its own.
    assert!(line.contains(cookie) && line.ends_with("(good)"), "{good}");
    let none = serving.dig("+nocookie www.example.test A");
    assert!(
        !none.contains("COOKIE") && none.contains("EDNS: version: 0"),
        "{none}"
    );

    let cookies = CookieSupport::Required;
    serving.server.set_behaviour(Behaviour {
        cookies,
        ..Behaviour::default()
    });
    let refused = serving.dig("+nobadcookie www.example.test A");
    assert!(refused.contains("status: BADCOOKIE"), "{refused}");
    let retried = serving.dig("+badcookie www.example.test A");
    assert!(
        retried.contains("status: NOERROR") && retried.contains("192.0.2.80"),
        "{retried}"
    );
}

#[test]
fn dig_sees_through_lies() {
    let Some(serving) = serving() else { return };
    let expected = [
        "www.example.test. 60 IN A 192.0.2.80",
        "www.example.test. 60 IN A 192.0.2.81",
    ];
    for lie in [Lie::WrongId, Lie::WrongQuestion, Lie::Cut] {
        serving.server.set_behaviour(Behaviour::lie(lie));
        let text = serving.dig("+noall +answer +time=1 www.example.test A");
        assert!(!text.contains("192.0.2.81"), "{lie:?}: {text}");
    }
    serving.server.set_behaviour(Behaviour::spoofed(Lie::WrongId));
    let lines = serving.lines("+nocomments www.example.test A");
    // Of the first one it says that its id is not the one it asked with.
    assert!(
        expected
            .iter()
            .all(|line| lines.iter().any(|found| found == line)),
        "{lines:?}"
    );
    assert_eq!(serving.server.counters().lied, 4);

    serving.server.set_behaviour(Behaviour {
        edns: EdnsSupport::FormatError,
        ..Behaviour::default()
    });
    let refused = serving.dig("www.example.test A");
    assert!(refused.contains("status: FORMERR"), "{refused}");
    assert_eq!(serving.lines("+noedns www.example.test A"), expected);
    serving.server.set_behaviour(Behaviour::default());
    let failing = Behaviour::code(ResponseCode::SERVER_FAILURE);
    serving
        .server
        .set_rules(vec![Rule::for_type(RecordType::AAAA, failing)]);
    assert!(serving.dig("www.example.test AAAA").contains("status: SERVFAIL"));
    assert_eq!(serving.lines("www.example.test A"), expected);
}

#[test]
fn answers_leave_from_the_address_that_dig_asked() {
    if !skip::require(&[Need::program("dig"), Need::Ipv6]) {
        return;
    }
    let zones: Zones = ZONE.parse().unwrap();
    let serving = Serving::on(NameServer::new(zones), (Ipv4Addr::UNSPECIFIED, 0).into());
    // `dig` ignores an answer from another address than the one it asked.
    let other = (Ipv4Addr::new(127, 0, 0, 99), serving.address.port()).into();
    let text = serving.dig_at(other, "+short ns.example.test A");
    assert_eq!(text.trim(), "192.0.2.53");
    let zones: Zones = ZONE.parse().unwrap();
    let serving = Serving::on(NameServer::new(zones), (Ipv6Addr::LOCALHOST, 0).into());
    let text = serving.dig("+short ns.example.test A");
    assert_eq!(text.trim(), "192.0.2.53");
}

#[test]
fn the_example_serves_a_file() {
    if !skip::require(&[Need::program("dig")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("zone");
    std::fs::write(&file, "@ 60 SOA ns admin 1 1h 1h 1d 60\nhost 60 A 192.0.2.7\n").unwrap();
    let selection = ["--example", "name_server", "--features", "names"];
    let path = program::build("sockeye-sim", &selection, "name_server");
    let mut command = Command::new(path);
    command.args(["--origin", "file.test"]).arg(&file);
    let serving = program::Running::start(&mut command);
    let line = serving.line(PATIENCE);
    let address = line
        .strip_prefix("serving 2 names on ")
        .and_then(|rest| rest.split_whitespace().next());
    let address: SocketAddr = address.unwrap().parse().unwrap();
    let mut command = Command::new("dig");
    command.args(["-r", "+short", "@127.0.0.1", "-p", &address.port().to_string()]);
    command.args(["host.file.test", "A"]);
    assert_eq!(program::output(&mut command, PATIENCE).text().trim(), "192.0.2.7");
}
