//! The clients of the DNS, the loop's and the one that blocks, with servers that nobody here wrote: unbound and dnsmasq, on the
//! loopback.

#![expect(clippy::unwrap_used, reason = "what a test expects and does not get fails it")]
#![allow(unreachable_pub, dead_code, reason = "the modules of several test targets")]

#[path = "resolver_interop/daemon.rs"]
mod daemon;
#[path = "resolver_loop/serving.rs"]
mod serving;

use std::net::IpAddr;

use sockeye_resolver::dns::{Carrier, Finding, Name, Origin, Record, RecordData, RecordType, ResponseCode};
use sockeye_sim::names::{NameServer, Zones};

use daemon::{Asking, Daemon};
use serving::Serving;

/// What both servers know, as their zone would say it: how it is asked for, and what is answered.
const COMMON: &[(&str, RecordType, &[&str])] = &[
    ("www.example.test", RecordType::A, &["192.0.2.80"]),
    ("www.example.test", RecordType::AAAA, &["2001:db8::80"]),
    ("example.test", RecordType::MX, &["10 mail.example.test."]),
    ("text.example.test", RecordType::TXT, &[r#""one" "two""#]),
    (
        "_sip._udp.example.test",
        RecordType::SRV,
        &["0 5 5060 www.example.test."],
    ),
    ("example.test", RecordType::CAA, &[r#"0 issue "ca.example.test""#]),
    ("alias.example.test", RecordType::CNAME, &["www.example.test."]),
    (
        "chain.example.test",
        RecordType::A,
        &["alias.example.test.", "www.example.test.", "192.0.2.80"],
    ),
    (
        "chain.example.test",
        RecordType::AAAA,
        &["alias.example.test.", "www.example.test.", "2001:db8::80"],
    ),
    ("80.2.0.192.in-addr.arpa", RecordType::PTR, &["www.example.test."]),
];

/// Text of more bytes than a datagram has, in 20 records.
fn long_texts() -> Vec<String> {
    (0..20).map(|n| format!("{n:03}").repeat(60)).collect()
}

#[track_caller]
fn knows_the_common(asking: &mut Asking) {
    for (name, record_type, expected) in COMMON {
        let answers = asking.ask(&name.parse().unwrap(), *record_type);
        for answer in answers {
            let records = &answer.content.records;
            let said: Vec<_> = records.iter().map(|record| record.data.to_string()).collect();
            assert_eq!(said, *expected, "{name} {record_type}");
            assert_eq!(answer.content.carrier, Carrier::Udp);
            assert_eq!(answer.finding(), Finding::Records);
        }
    }
}

#[track_caller]
fn gives_long_texts_by_tcp(asking: &mut Asking, name: &str) {
    for answer in asking.ask(&name.parse().unwrap(), RecordType::TXT) {
        assert_eq!(answer.content.carrier, Carrier::Tcp);
        let mut said: Vec<_> = answer
            .content
            .records
            .iter()
            .map(|record| record.data.to_string().trim_matches('"').to_owned())
            .collect();
        said.sort_unstable();
        assert_eq!(said, long_texts());
    }
    for stats in asking.stats() {
        assert_eq!((stats.truncated, stats.streamed), (1, 1));
    }
}

#[test]
fn unbound_answers_both_clients() {
    let Some(unbound) = Daemon::unbound(&[]) else {
        return;
    };
    let mut asking = Asking::new(unbound.address, Carrier::Udp);
    knows_the_common(&mut asking);
    let https = asking.ask(&"example.test".parse().unwrap(), RecordType::HTTPS);
    for answer in https {
        let said = answer.content.records[0].data.to_string();
        assert_eq!(said, "1 . alpn=h2,h3 port=8443 ipv4hint=192.0.2.80");
    }
    for stats in asking.stats() {
        assert_eq!(
            (
                stats.malformed,
                stats.unexpected,
                stats.wrong_case,
                stats.failures
            ),
            (0, 0, 0, 0)
        );
    }
}

#[test]
fn unbound_says_no_and_for_how_long() {
    let Some(unbound) = Daemon::unbound(&[]) else {
        return;
    };
    let mut asking = Asking::new(unbound.address, Carrier::Udp);
    let missing: Name = "nope.example.test".parse().unwrap();
    let there: Name = "www.example.test".parse().unwrap();
    for (name, record_type, finding, code) in [
        (&missing, RecordType::A, Finding::NoName, ResponseCode::NAME_ERROR),
        (&there, RecordType::MX, Finding::NoRecords, ResponseCode::NO_ERROR),
    ] {
        for origin in [Origin::Server, Origin::Cache] {
            for answer in asking.ask(name, record_type) {
                assert_eq!((answer.finding(), answer.content.code), (finding, code));
                assert_eq!(
                    answer.origin, origin,
                    "{name} {record_type}: the SOA record says 60 s"
                );
                assert_eq!(answer.content.authorities[0].record_type(), RecordType::SOA);
            }
        }
    }
    // It is not responsible for these, and is told to ask nobody.
    let elsewhere: Name = "example.org".parse().unwrap();
    for error in asking.fail(&elsewhere, RecordType::A) {
        assert!(error.to_string().contains("REFUSED"), "{error}");
    }
}

#[test]
fn unbound_gives_long_texts_by_tcp() {
    let Some(unbound) = Daemon::unbound(&[]) else {
        return;
    };
    gives_long_texts_by_tcp(
        &mut Asking::new(unbound.address, Carrier::Udp),
        "big.example.test",
    );
    let mut asking = Asking::new(unbound.address, Carrier::Tcp);
    for answer in asking.ask(&"www.example.test".parse().unwrap(), RecordType::A) {
        assert_eq!(answer.content.carrier, Carrier::Tcp);
    }
}

#[test]
fn unbound_asks_our_server_for_us() {
    let mut zones: Zones = "
$ORIGIN served.test.
@     300 SOA   ns admin 1 2h 15m 14d 60
@     300 NS    ns
ns    300 A     127.0.0.1
www   300 A     192.0.2.80
one   300 CNAME two
two   300 CNAME three
three 300 CNAME www
"
    .parse()
    .unwrap();
    for text in long_texts() {
        let data = RecordData::Txt(vec![text.into_bytes().into()]);
        zones.insert(Record::new("big.served.test".parse().unwrap(), 300, data));
    }
    let serving = Serving::new(NameServer::new(zones));
    let Some(unbound) = Daemon::unbound(&[("served.test", serving.address)]) else {
        return;
    };
    let mut asking = Asking::new(unbound.address, Carrier::Udp);
    for answer in asking.ask(&"one.served.test".parse().unwrap(), RecordType::A) {
        let records = &answer.content.records;
        let said: Vec<_> = records.iter().map(|record| record.data.to_string()).collect();
        assert_eq!(
            said,
            [
                "two.served.test.",
                "three.served.test.",
                "www.served.test.",
                "192.0.2.80"
            ]
        );
        assert!(answer.content.flags.recursion_available && !answer.content.flags.authoritative);
    }
    gives_long_texts_by_tcp(&mut asking, "big.served.test");
    for answer in asking.ask(&"nope.served.test".parse().unwrap(), RecordType::A) {
        assert_eq!(answer.finding(), Finding::NoName);
    }
    let counters = serving.server.counters();
    assert!(counters.udp > 0 && counters.tcp > 0, "{counters:?}");
}

#[test]
fn dnsmasq_answers_both_clients() {
    let Some(dnsmasq) = Daemon::dnsmasq() else { return };
    let mut asking = Asking::new(dnsmasq.address, Carrier::Udp);
    knows_the_common(&mut asking);
    // What everything below a name has.
    for answer in asking.ask(&"a.b.wild.test".parse().unwrap(), RecordType::A) {
        let addresses: Vec<IpAddr> = answer.addresses().collect();
        assert_eq!(addresses, [IpAddr::from([10, 1, 2, 3])]);
    }
}

#[test]
fn dnsmasq_says_no_without_a_time() {
    let Some(dnsmasq) = Daemon::dnsmasq() else { return };
    let mut asking = Asking::new(dnsmasq.address, Carrier::Udp);
    for _ in 0..2 {
        for answer in asking.ask(&"nope.example.test".parse().unwrap(), RecordType::A) {
            assert_eq!(answer.finding(), Finding::NoName);
            // Without an SOA record nothing says how long it holds (RFC 2308 section 5).
            assert_eq!(
                (answer.origin, answer.content.authorities.len()),
                (Origin::Server, 0)
            );
        }
    }
}

#[test]
fn dnsmasq_gives_long_texts_by_tcp() {
    let Some(dnsmasq) = Daemon::dnsmasq() else { return };
    gives_long_texts_by_tcp(
        &mut Asking::new(dnsmasq.address, Carrier::Udp),
        "big.example.test",
    );
}
