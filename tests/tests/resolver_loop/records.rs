//! Answers: every type, both ways to ask, and what is kept.

use std::sync::Arc;
use std::time::Duration;

use sockeye_event_loop::names::{DnsConfig, NameSource};
use sockeye_resolver::dns::{
    Carrier, DnsOptions, Finding, LocalNames, Name, Origin, QueryError, RecordType, Request, ResponseCode,
    StartError,
};
use sockeye_resolver::files::Hosts;

use super::setting::{AT_ONCE, Ground, LONG, addresses, honest, name};

#[test]
fn every_type_is_answered() {
    let mut ground = Ground::new(honest());
    for (asked, record_type, expected) in [
        ("www.example.test", RecordType::A, &["192.0.2.80"][..]),
        ("www.example.test", RecordType::AAAA, &["2001:db8::80"]),
        ("alias.example.test", RecordType::CNAME, &["www.example.test."]),
        (
            "alias.example.test",
            RecordType::A,
            &["www.example.test.", "192.0.2.80"],
        ),
        ("example.test", RecordType::MX, &["10 mail.example.test."]),
        ("example.test", RecordType::TXT, &[r#""one" "two; three""#]),
        ("example.test", RecordType::NS, &["ns.example.test."]),
        (
            "example.test",
            RecordType::SOA,
            &["ns.example.test. admin.example.test. 1 7200 900 1209600 60"],
        ),
        ("example.test", RecordType::CAA, &[r#"0 issue "ca.example.test""#]),
        ("example.test", RecordType::HTTPS, &[r#"1 . alpn=h2 port=8443"#]),
        (
            "svc.example.test",
            RecordType::SVCB,
            &["1 www.example.test. port=8443"],
        ),
        (
            "_sip._udp.example.test",
            RecordType::SRV,
            &["0 5 5060 www.example.test."],
        ),
        ("80.2.0.192.in-addr.arpa", RecordType::PTR, &["www.example.test."]),
        ("example.test", RecordType(65_400), &[r"\# 3 010203"]),
    ] {
        let (took, result) = ground.ask(asked, record_type);
        let answer = result.unwrap();
        let said: Vec<_> = answer
            .content
            .records
            .iter()
            .map(|record| record.data.to_string())
            .collect();
        assert_eq!(said, expected, "{asked} {record_type}");
        assert!(took < AT_ONCE, "{took:?}");
        let content = &answer.content;
        assert_eq!((answer.origin, content.carrier), (Origin::Server, Carrier::Udp));
        assert_eq!(content.server, Some(Ground::server_at(0)));
        assert_eq!(content.code, ResponseCode::NO_ERROR);
        assert!(content.flags.authoritative && content.flags.recursion_available && !content.flags.truncated);
        assert_eq!(content.records[0].ttl, 300);
        assert_eq!(answer.finding(), Finding::Records);
        // In the case in which it was asked for, whatever was on the wire.
        assert!(content.records[0].name.has_case_of(&name(asked)), "{content:?}");
    }
    let stats = ground.stats();
    assert_eq!((stats.lookups, stats.datagrams, stats.kept), (14, 14, 14));
    assert_eq!((stats.retries, stats.unexpected, stats.failures), (0, 0, 0));
    ground.assert_idle();
}

#[test]
fn the_case_that_was_drawn_is_not_shown() {
    let mut ground = Ground::new(honest());
    // The authority of the SOA record is compressed, as owners are.
    for asked in ["nope.example.test", "NOPE2.Example.test"] {
        let answer = ground.ask(asked, RecordType::A).1.unwrap();
        let parent = name(asked).parent().unwrap();
        assert!(
            answer.content.authorities[0].name.has_case_of(&parent),
            "{answer:?}"
        );
    }
}

#[test]
fn an_address_is_asked_back() {
    let mut ground = Ground::new(honest());
    let reverse = Name::reverse([192, 0, 2, 80].into());
    let (_, events) = ground.ask_all(vec![Request::records(reverse, RecordType::PTR)]);
    let answer = events[0].result.as_ref().unwrap();
    assert_eq!(answer.content.records[0].data.to_string(), "www.example.test.");
}

#[test]
fn both_families_are_two_events() {
    let mut ground = Ground::new(honest());
    let (_, events) = ground.ask_all(vec![Request::addresses(name("www.example.test"))]);
    let said: Vec<_> = events
        .iter()
        .map(|event| {
            (
                event.record_type,
                addresses(event.result.as_ref().unwrap()),
                event.is_last,
            )
        })
        .collect();
    assert_eq!(
        said,
        [
            (RecordType::AAAA, vec!["2001:db8::80".to_owned()], false),
            (RecordType::A, vec!["192.0.2.80".to_owned()], true),
        ]
    );
}

#[test]
fn the_owner_of_a_loop_takes_answers_himself() {
    let mut ground = Ground::new(honest());
    let events = ground.sim.on(ground.client);
    let request = Request::records(name("www.example.test"), RecordType::A);
    let id = events.resolve(request.clone()).unwrap();
    let gone = events.resolve(request.clone()).unwrap();
    assert!(events.cancel_resolve(gone));
    assert!(!events.cancel_resolve(gone));
    assert_eq!(events.next_answer(), None);
    ground.sim.run_for(LONG).unwrap();
    let events = ground.sim.on(ground.client);
    let event = events.next_answer().unwrap();
    assert_eq!(
        (event.lookup, addresses(&event.result.unwrap())),
        (id, vec!["192.0.2.80".to_owned()])
    );
    assert_eq!(events.next_answer(), None);
    // What was kept is told at once; what was cancelled before it was taken is not told.
    let id = events.resolve(request.clone()).unwrap();
    let gone = events.resolve(request).unwrap();
    assert!(events.cancel_resolve(gone));
    let event = events.next_answer().unwrap();
    assert_eq!((event.lookup, event.result.unwrap().origin), (id, Origin::Cache));
    assert_eq!(events.next_answer(), None);
    assert_eq!(ground.diary.borrow().answers.len(), 0);
}

#[test]
fn the_same_question_is_asked_once() {
    let mut ground = Ground::new(honest());
    let request = Request::records(name("www.example.test"), RecordType::A);
    let other_case = Request::records(name("WWW.Example.TEST"), RecordType::A);
    let mut requests = vec![request; 50];
    requests.push(other_case);
    let (_, events) = ground.ask_all(requests);
    assert!(events.iter().all(|event| event.result.is_ok()));
    let stats = ground.stats();
    assert_eq!((stats.lookups, stats.shared, stats.datagrams), (51, 50, 1));
    assert_eq!(ground.servers[0].counters().udp, 1);
}

#[test]
fn more_lookups_than_there_may_be_are_refused() {
    let mut ground = Ground::new(honest()).configured(|options| options.max_lookups = 3);
    let request = Request::records(name("www.example.test"), RecordType::A);
    let started: Vec<_> = ground
        .sim
        .on(ground.client)
        .with(ground.asker, |_, context| {
            (0..4).map(|_| context.resolve(request.clone())).collect()
        })
        .unwrap();
    let busy: Vec<bool> = started
        .iter()
        .map(|started| *started == Err(StartError::Busy))
        .collect();
    assert_eq!(busy, [false, false, false, true]);
    ground.sim.run_for(LONG).unwrap();
    assert_eq!(ground.diary.borrow().answers.len(), 3);
}

#[test]
fn answers_are_kept_as_long_as_they_say() {
    let mut ground = Ground::new(honest());
    let second = Duration::from_secs(1);
    let mut ask = |after: u32, asked: &str| {
        ground.sim.run_for(second * after).unwrap();
        let answer = ground.ask(asked, RecordType::A).1.unwrap();
        let left = answer
            .content
            .records
            .first()
            .map(|record| answer.ttl_left(record));
        (answer.origin, left)
    };
    assert_eq!(ask(0, "www.example.test"), (Origin::Server, Some(300)));
    assert_eq!(ask(100, "www.example.test"), (Origin::Cache, Some(200)));
    assert_eq!(ask(201, "www.example.test"), (Origin::Server, Some(300)));
    // The SOA record says 60 s for what is not there (RFC 2308 section 5).
    assert_eq!(ask(0, "nope.example.test"), (Origin::Server, None));
    assert_eq!(ask(59, "nope.example.test"), (Origin::Cache, None));
    assert_eq!(ask(2, "nope.example.test"), (Origin::Server, None));
}

#[test]
fn a_cleared_cache_asks_again() {
    let mut ground = Ground::new(honest());
    for cleared in [false, true] {
        if cleared {
            ground.sim.on(ground.client).clear_dns_cache();
        }
        let answer = ground.ask("www.example.test", RecordType::A).1.unwrap();
        assert_eq!(answer.origin, Origin::Server);
        let answer = ground.ask("www.example.test", RecordType::A).1.unwrap();
        assert_eq!(answer.origin, Origin::Cache);
    }
    assert_eq!(ground.stats().kept, 1);
    let fresh = Request {
        fresh: true,
        ..Request::records(name("www.example.test"), RecordType::A)
    };
    let (_, events) = ground.ask_all(vec![fresh]);
    assert_eq!(events[0].result.as_ref().unwrap().origin, Origin::Server);
}

#[test]
fn names_for_special_uses_ask_nobody() {
    let mut ground = Ground::new(honest());
    for (asked, record_type, expected) in [
        ("localhost", RecordType::A, Some("127.0.0.1")),
        ("localhost", RecordType::AAAA, Some("::1")),
        ("a.b.localhost", RecordType::A, Some("127.0.0.1")),
        ("x.invalid", RecordType::A, None),
    ] {
        let answer = ground.ask(asked, record_type).1.unwrap();
        assert_eq!(answer.origin, Origin::SpecialUse);
        assert_eq!(addresses(&answer).first().map(String::as_str), expected);
        let code = expected.map_or(ResponseCode::NAME_ERROR, |_| ResponseCode::NO_ERROR);
        assert_eq!(answer.content.code, code);
    }
    assert_eq!((ground.stats().local, ground.servers[0].counters().udp), (4, 0));
}

#[test]
fn names_of_255_bytes_are_asked_and_longer_completions_left_out() {
    let mut ground = Ground::new(honest()).configured(|options| options.search = vec![name("example.test")]);
    // Three labels of 63, one of 61, and the root: 255 bytes on the wire.
    let label = "a".repeat(63);
    let long = name(&format!("{label}.{label}.{label}.{}", "b".repeat(61)));
    assert_eq!(long.as_wire().len(), 255);
    let request = Request::records(long, RecordType::A).with_search();
    let (_, events) = ground.ask_all(vec![request]);
    let refused = QueryError::Failed {
        code: ResponseCode::REFUSED,
        server: Ground::server_at(0),
    };
    assert_eq!(events[0].result, Err(refused));
    // Asked twice, of a server that is not responsible; not by any longer name.
    assert_eq!(ground.servers[0].counters().udp, 2);
    assert!(format!("{}.test", "a".repeat(64)).parse::<Name>().is_err());
}

#[test]
fn other_servers_take_over_what_is_under_way() {
    let mut ground = Ground::with(1, [honest(), honest()]);
    ground.configure(|options| {
        options.servers.truncate(1);
    });
    ground.cut_off(0);
    ground.resolve(Request::records(name("www.example.test"), RecordType::A));
    ground.sim.run_for(Duration::from_secs(1)).unwrap();
    ground.configure(|options| {
        options.servers.remove(0);
    });
    ground.sim.run_for(AT_ONCE).unwrap();
    let answers = std::mem::take(&mut ground.diary.borrow_mut().answers);
    assert_eq!(answers.len(), 1);
    let content = &answers[0].1.result.as_ref().unwrap().content;
    assert_eq!(content.server, Some(Ground::server_at(1)));
    ground.assert_idle();
}

#[test]
fn the_hosts_file_is_asked_first() {
    let mut ground = Ground::new(honest());
    let hosts = Hosts::parse(
        b"192.0.2.1 box box.example.test\n2001:db8::1 box\n192.0.2.2 WWW.example.test\n",
        |_| None,
    );
    let config = DnsConfig {
        options: DnsOptions::with_servers([Ground::server_at(0)]),
        local: LocalNames {
            hosts: Arc::new(hosts),
            ..LocalNames::default()
        },
    };
    ground
        .sim
        .on(ground.client)
        .set_names(NameSource::Dns(Box::new(config)));
    for (asked, record_type, expected) in [
        ("box", RecordType::A, &["192.0.2.1"][..]),
        ("BOX", RecordType::AAAA, &["2001:db8::1"]),
        // One family in the file is all that there is.
        ("www.example.test", RecordType::A, &["192.0.2.2"]),
        ("www.example.test", RecordType::AAAA, &[]),
    ] {
        let answer = ground.ask(asked, record_type).1.unwrap();
        assert_eq!(
            (answer.origin, addresses(&answer)),
            (Origin::Hosts, expected.iter().map(|&ip| ip.into()).collect())
        );
    }
    let reverse = Request::records(Name::reverse([192, 0, 2, 1].into()), RecordType::PTR);
    let (_, events) = ground.ask_all(vec![reverse]);
    let answer = events[0].result.as_ref().unwrap();
    let names: Vec<_> = answer
        .content
        .records
        .iter()
        .map(|record| record.data.to_string())
        .collect();
    assert_eq!(
        (answer.origin, names),
        (Origin::Hosts, vec!["box.".into(), "box.example.test.".into()])
    );
    assert_eq!((ground.stats().local, ground.servers[0].counters().udp), (5, 0));
    // Of other types it knows nothing.
    assert_eq!(
        ground.ask("www.example.test", RecordType::TXT).1.unwrap().origin,
        Origin::Server
    );
}
