//! Servers that lie, fail, truncate or stall: each has its outcome and its counter.

use std::net::IpAddr;
use std::time::Duration;

use sockeye_resolver::dns::{
    Answer, Carrier, DnsStats, Finding, QueryError, Record, RecordData, RecordType, Request, ResponseCode,
};
use sockeye_sim::names::{Behaviour, CookieSupport, EdnsSupport, Lie, NameServer, Rule, TcpSupport};

use super::setting::{AT_ONCE, Ground, TIMEOUT, addresses, honest, ms, name};

/// What of the counters is not zero, but for those that every lookup has.
fn counted(stats: DnsStats) -> Vec<(&'static str, u64)> {
    let DnsStats {
        retries,
        timeouts,
        truncated,
        failures,
        wrong_source,
        unexpected,
        wrong_question,
        wrong_case,
        wrong_cookie,
        malformed,
        ..
    } = stats;
    let all = [
        ("retries", retries),
        ("timeouts", timeouts),
        ("truncated", truncated),
        ("failures", failures),
        ("wrong_source", wrong_source),
        ("unexpected", unexpected),
        ("wrong_question", wrong_question),
        ("wrong_case", wrong_case),
        ("wrong_cookie", wrong_cookie),
        ("malformed", malformed),
    ];
    all.into_iter().filter(|(_, count)| *count > 0).collect()
}

const WWW: &str = "www.example.test";

/// The answer was believed, and is the true one.
#[track_caller]
fn assert_true(result: &Result<Answer, QueryError>, carrier: Carrier) {
    let answer = result.as_ref().unwrap();
    assert_eq!(addresses(answer), ["192.0.2.80"]);
    assert_eq!(answer.content.carrier, carrier);
}

fn lying(behaviour: Behaviour) -> Ground {
    Ground::new(honest().with(behaviour))
}

#[test]
fn lies_before_the_truth_are_counted_and_change_nothing() {
    let other: IpAddr = [10, 0, 0, 99].into();
    for (lie, expected) in [
        (Lie::WrongId, "unexpected"),
        (Lie::NotAResponse, "unexpected"),
        (Lie::WrongQuestion, "wrong_question"),
        (Lie::NoQuestion, "wrong_question"),
        (Lie::OtherPort, "wrong_source"),
        (Lie::OtherAddress(other), "wrong_source"),
    ] {
        let mut ground = lying(Behaviour::spoofed(lie));
        let (host, udp) = (ground.hosts[0], ground.served[0].udp);
        ground.sim.add_address(host, other);
        let second = ([0, 0, 0, 0], 5353).into();
        ground
            .sim
            .on(host)
            .bind(udp, second, &NameServer::datagram_options())
            .unwrap();
        let (took, result) = ground.ask(WWW, RecordType::A);
        assert_true(&result, Carrier::Udp);
        assert_eq!(counted(ground.stats()), [(expected, 1)], "{lie:?}");
        assert_eq!(ground.servers[0].counters().lied, 1);
        assert!(took < AT_ONCE, "{lie:?}: {took:?}");
        ground.assert_idle();
    }
}

#[test]
fn lies_that_could_be_forged_are_not_believed() {
    for (lie, expected) in [
        (
            Lie::WrongId,
            &[("retries", 1), ("timeouts", 2), ("unexpected", 2)][..],
        ),
        (
            Lie::NotAResponse,
            &[("retries", 1), ("timeouts", 2), ("unexpected", 2)],
        ),
    ] {
        let mut ground = lying(Behaviour::lie(lie));
        let (took, result) = ground.ask(WWW, RecordType::A);
        let last = Some(Ground::server_at(0));
        assert_eq!(result, Err(QueryError::TimedOut { last }), "{lie:?}");
        assert_eq!(counted(ground.stats()), expected, "{lie:?}");
        assert!(
            (2 * TIMEOUT..2 * TIMEOUT + AT_ONCE).contains(&took),
            "{lie:?}: {took:?}"
        );
        ground.assert_idle();
    }
    // Where somebody seems to guess, the rest is asked by TCP.
    for (lie, expected) in [
        (Lie::WrongQuestion, "wrong_question"),
        (Lie::NoQuestion, "wrong_question"),
    ] {
        let mut ground = lying(Behaviour::lie(lie));
        let (took, result) = ground.ask(WWW, RecordType::A);
        assert_true(&result, Carrier::Tcp);
        assert_eq!(
            counted(ground.stats()),
            [("retries", 1), ("timeouts", 1), (expected, 1)],
            "{lie:?}"
        );
        assert!((TIMEOUT..TIMEOUT + AT_ONCE).contains(&took), "{lie:?}: {took:?}");
        ground.assert_idle();
    }
}

#[test]
fn the_case_of_letters_is_demanded_of_servers_that_kept_it() {
    // A server that never did is believed.
    let mut ground = lying(Behaviour::lie(Lie::WrongCase));
    let (_, result) = ground.ask(WWW, RecordType::A);
    assert_true(&result, Carrier::Udp);
    assert_eq!(counted(ground.stats()), []);

    let mut ground = Ground::new(honest());
    let (_, result) = ground.ask(WWW, RecordType::AAAA);
    assert!(result.is_ok());
    ground.servers[0].set_behaviour(Behaviour::spoofed(Lie::WrongCase));
    let (took, result) = ground.ask(WWW, RecordType::A);
    assert_true(&result, Carrier::Udp);
    assert!(took < AT_ONCE, "{took:?}");
    assert_eq!(counted(ground.stats()), [("wrong_case", 1)]);
    // A server that has changed its mind is asked by TCP, and not held to it again.
    ground.servers[0].set_behaviour(Behaviour::lie(Lie::WrongCase));
    let (took, result) = ground.ask("v4.example.test", RecordType::A);
    assert_true(&result, Carrier::Tcp);
    assert!((TIMEOUT..TIMEOUT + AT_ONCE).contains(&took), "{took:?}");
    ground.assert_idle();
}

#[test]
fn malformed_answers_pass_the_server_over() {
    for lie in [Lie::Cut, Lie::Nonsense, Lie::ManyRecords] {
        let mut ground = lying(Behaviour::lie(lie));
        let (took, result) = ground.ask(WWW, RecordType::A);
        let server = Ground::server_at(0);
        assert_eq!(result, Err(QueryError::Unusable { server }), "{lie:?}");
        assert_eq!(
            counted(ground.stats()),
            [("retries", 1), ("malformed", 2)],
            "{lie:?}"
        );
        assert!(took < AT_ONCE, "{lie:?}: {took:?}");

        let mut ground = Ground::with(1, [honest().with(Behaviour::lie(lie)), honest()]);
        let (took, result) = ground.ask(WWW, RecordType::A);
        assert_true(&result, Carrier::Udp);
        assert_eq!(result.unwrap().content.server, Some(Ground::server_at(1)));
        assert_eq!(
            counted(ground.stats()),
            [("retries", 1), ("malformed", 1)],
            "{lie:?}"
        );
        assert!(took < AT_ONCE, "{lie:?}: {took:?}");
        ground.assert_idle();
    }
}

#[test]
fn aliases_in_a_circle_or_without_end_are_an_error() {
    for lie in [Lie::AliasLoop, Lie::LongChain(17)] {
        let mut ground = lying(Behaviour::lie(lie));
        let (took, result) = ground.ask(WWW, RecordType::A);
        assert_eq!(result, Err(QueryError::Aliases), "{lie:?}");
        assert!(took < AT_ONCE, "{lie:?}: {took:?}");
        ground.assert_idle();
    }
    // As many as there may be are followed, out of the message too: here to a name of nobody.
    let mut ground = lying(Behaviour::lie(Lie::LongChain(16)));
    ground.servers[0].set_rules(vec![Rule::for_name(
        name("alias-15.test"),
        Behaviour::code(ResponseCode::NAME_ERROR),
    )]);
    let answer = ground.ask(WWW, RecordType::A).1.unwrap();
    assert_eq!(
        (answer.finding(), answer.content.records.len()),
        (Finding::NoName, 16)
    );
}

#[test]
fn an_empty_answer_is_none_and_not_kept() {
    let mut ground = lying(Behaviour::lie(Lie::Empty));
    for asked in 1..=2 {
        let answer = ground.ask(WWW, RecordType::A).1.unwrap();
        assert_eq!(
            (answer.finding(), answer.content.records.len()),
            (Finding::NoRecords, 0)
        );
        assert_eq!(
            ground.stats().kept,
            0,
            "there is no SOA record that says for how long"
        );
        assert_eq!(ground.servers[0].counters().udp, asked);
    }
    assert_eq!(counted(ground.stats()), []);
}

#[test]
fn copies_are_counted() {
    let mut ground = lying(Behaviour {
        duplicates: 3,
        ..Behaviour::default()
    });
    let (_, result) = ground.ask(WWW, RecordType::A);
    assert_true(&result, Carrier::Udp);
    ground.sim.run_for(ms(1)).unwrap();
    assert_eq!(counted(ground.stats()), [("unexpected", 3)]);
}

#[test]
fn an_answer_after_the_deadline_is_nobodys() {
    let mut ground = lying(Behaviour::latency(Duration::from_secs(3)));
    let request = Request::records(name(WWW), RecordType::A).within(Duration::from_secs(2));
    let (took, events) = ground.ask_all(vec![request]);
    let last = Some(Ground::server_at(0));
    assert_eq!(events[0].result, Err(QueryError::TimedOut { last }));
    assert!((ms(2_000)..ms(2_000) + AT_ONCE).contains(&took), "{took:?}");
    // The socket is still there when it comes.
    ground.sim.run_for(Duration::from_secs(2)).unwrap();
    assert_eq!(counted(ground.stats()), [("unexpected", 1)]);
    ground.assert_idle();
}

#[test]
fn cookies() {
    // The second answer is believed because it brings the client's own half.
    let mut ground = lying(Behaviour {
        cookies: CookieSupport::Required,
        ..Behaviour::default()
    });
    ground.servers[0].log();
    for record_type in [RecordType::A, RecordType::AAAA] {
        let answer = ground.ask(WWW, record_type).1.unwrap();
        assert_eq!(answer.content.carrier, Carrier::Udp);
    }
    let lens: Vec<_> = ground.servers[0]
        .asked()
        .iter()
        .map(|asked| asked.cookie.as_ref().map(|cookie| cookie.len()))
        .collect();
    assert_eq!(lens, [Some(8), Some(16), Some(16)]);
    assert_eq!(ground.servers[0].counters().answers[&ResponseCode::BAD_COOKIE], 1);
    assert_eq!(counted(ground.stats()), [("retries", 1)]);

    // Somebody else's cookie is not believed.
    let wrong = Behaviour {
        cookies: CookieSupport::Wrong,
        ..Behaviour::default()
    };
    let mut ground = lying(wrong);
    let (took, result) = ground.ask(WWW, RecordType::A);
    assert_true(&result, Carrier::Tcp);
    assert!((TIMEOUT..TIMEOUT + AT_ONCE).contains(&took), "{took:?}");
    assert_eq!(
        counted(ground.stats()),
        [("retries", 1), ("timeouts", 1), ("wrong_cookie", 1)]
    );

    // Nor is an answer without one, where there always was one; the server tells by TCP that it has none any more.
    let mut ground = Ground::new(honest());
    ground.ask(WWW, RecordType::AAAA).1.unwrap();
    ground.servers[0].set_behaviour(Behaviour {
        cookies: CookieSupport::Ignored,
        ..Behaviour::default()
    });
    let (_, result) = ground.ask(WWW, RecordType::A);
    assert_true(&result, Carrier::Tcp);
    assert_eq!(
        counted(ground.stats()),
        [("retries", 1), ("timeouts", 1), ("wrong_cookie", 1)]
    );
    let (_, result) = ground.ask("v4.example.test", RecordType::A);
    assert_true(&result, Carrier::Udp);
}

#[test]
fn servers_from_before_edns_are_asked_without() {
    let mut ground = lying(Behaviour {
        edns: EdnsSupport::FormatError,
        ..Behaviour::default()
    });
    ground.servers[0].log();
    for record_type in [RecordType::A, RecordType::AAAA, RecordType::TXT] {
        assert!(ground.ask(WWW, record_type).1.is_ok());
    }
    let sizes: Vec<_> = ground.servers[0]
        .asked()
        .iter()
        .map(|asked| asked.udp_size)
        .collect();
    assert_eq!(sizes, [Some(1_232), None, None, None]);
    assert_eq!(counted(ground.stats()), [("retries", 1)]);

    let mut ground = lying(Behaviour {
        edns: EdnsSupport::Ignored,
        ..Behaviour::default()
    });
    let (_, result) = ground.ask(WWW, RecordType::A);
    assert_true(&result, Carrier::Udp);
    assert_eq!(counted(ground.stats()), []);
}

#[test]
fn a_server_that_knows_edns_means_the_question_when_it_refuses_it() {
    // It has given a cookie: it is not asked without EDNS, and what it says is not taken for forged.
    for code in [ResponseCode::NOT_IMPLEMENTED, ResponseCode::FORMAT_ERROR] {
        let mut ground =
            Ground::new(honest().with_rule(Rule::for_type(RecordType::AAAA, Behaviour::code(code))));
        assert!(ground.ask(WWW, RecordType::A).1.is_ok());
        let (took, result) = ground.ask(WWW, RecordType::AAAA);
        let server = Ground::server_at(0);
        assert_eq!(result, Err(QueryError::Failed { code, server }));
        assert!(took < AT_ONCE, "{took:?}");
        assert_eq!(counted(ground.stats()), [("retries", 1), ("failures", 2)]);
    }
    // Another one has taken its place, from before EDNS: it tells by TCP that there are no cookies any more.
    let mut ground = Ground::new(honest());
    assert!(ground.ask(WWW, RecordType::A).1.is_ok());
    ground.servers[0].set_behaviour(Behaviour {
        edns: EdnsSupport::FormatError,
        ..Behaviour::default()
    });
    for carrier in [Carrier::Tcp, Carrier::Udp] {
        let asked = if carrier == Carrier::Tcp {
            "v4.example.test"
        } else {
            "brief.example.test"
        };
        let (took, result) = ground.ask(asked, RecordType::A);
        assert_true(&result, carrier);
        assert!(took < AT_ONCE, "{took:?}");
    }
    assert_eq!(counted(ground.stats()), [("retries", 1)]);
}

#[test]
fn servers_that_fail_are_passed_over() {
    let lame = || Behaviour {
        lame: true,
        ..Behaviour::default()
    };
    let codes = [
        ResponseCode::REFUSED,
        ResponseCode::SERVER_FAILURE,
        ResponseCode(9),
    ];
    let failing = codes.map(|code| (Behaviour::code(code), Some(code)));
    for (behaviour, code) in failing.into_iter().chain([(lame(), None)]) {
        let mut ground = Ground::with(1, [honest().with(behaviour.clone()), honest()]);
        let (took, result) = ground.ask(WWW, RecordType::A);
        assert_true(&result, Carrier::Udp);
        assert!(took < AT_ONCE, "{took:?}");
        assert_eq!(counted(ground.stats()), [("retries", 1), ("failures", 1)]);

        let mut ground = lying(behaviour);
        let (_, result) = ground.ask(WWW, RecordType::A);
        let server = Ground::server_at(0);
        let error = match code {
            Some(code) => QueryError::Failed { code, server },
            None => QueryError::Unusable { server },
        };
        assert_eq!(result, Err(error));
        assert_eq!(counted(ground.stats()), [("retries", 1), ("failures", 2)]);
        ground.assert_idle();
    }
}

/// A name with more addresses than fit a datagram.
fn big() -> NameServer {
    let mut zones = super::setting::zones();
    for place in 0..2_000_u32 {
        zones.insert(Record::new(
            name("big.example.test"),
            60,
            RecordData::A(place.into()),
        ));
    }
    NameServer::new(zones)
}

#[test]
fn what_is_truncated_is_asked_by_tcp() {
    let mut ground = Ground::new(big());
    let (took, result) = ground.ask("big.example.test", RecordType::A);
    let answer = result.unwrap();
    assert_eq!(answer.content.carrier, Carrier::Tcp);
    // So many are kept: `max_records`.
    assert_eq!(answer.content.records.len(), 1_024);
    assert!(took < AT_ONCE, "{took:?}");
    assert_eq!(counted(ground.stats()), [("retries", 1), ("truncated", 1)]);
    assert_eq!((ground.stats().datagrams, ground.stats().streamed), (1, 1));
    ground.assert_idle();

    // Small ones too, and all on one connection.
    let mut ground = lying(Behaviour {
        truncate: true,
        ..Behaviour::default()
    });
    let requests = (0..100).map(|n| Request::records(name(&format!("n{n}.example.test")), RecordType::A));
    let (_, events) = ground.ask_all(requests.collect());
    assert!(
        events
            .iter()
            .all(|event| event.result.as_ref().unwrap().finding() == Finding::NoName)
    );
    let counters = ground.servers[0].counters();
    assert_eq!((counters.udp, counters.tcp, counters.connections), (100, 100, 1));
    assert_eq!(counted(ground.stats()), [("retries", 100), ("truncated", 100)]);
    ground.assert_idle();
}

#[test]
fn the_longest_message_is_read() {
    let server = honest();
    server.update(|zones| {
        // Each takes 268 bytes: 65,392 of the 65,535 that a message may have.
        for place in 0..244_u32 {
            let text = format!("{place:03}").repeat(85).into_bytes();
            zones.insert(Record::new(
                name("long.example.test"),
                60,
                RecordData::Txt(vec![text.into()]),
            ));
        }
    });
    let mut ground = Ground::new(server);
    let content = ground
        .ask("long.example.test", RecordType::TXT)
        .1
        .unwrap()
        .content;
    assert_eq!((content.carrier, content.records.len()), (Carrier::Tcp, 244));
}

#[test]
fn tcp_alone_if_asked_for() {
    let mut ground = Ground::new(honest()).configured(|options| {
        options.servers[0].carrier = Carrier::Tcp;
    });
    let (_, result) = ground.ask(WWW, RecordType::A);
    assert_true(&result, Carrier::Tcp);
    assert_eq!((ground.stats().datagrams, ground.stats().streamed), (0, 1));
    ground.assert_idle();
}

/// A first server that truncates and does this by TCP, and a second one that may be honest.
fn by_tcp(tcp: TcpSupport, second: bool) -> Ground {
    let first = honest().with(Behaviour {
        truncate: true,
        ..Behaviour::tcp(tcp)
    });
    Ground::with(1, [first].into_iter().chain(second.then(honest)))
}

#[test]
fn tcp_that_does_not_come_about() {
    for reset in [true, false] {
        for second in [true, false] {
            let mut ground = by_tcp(TcpSupport::Reset, second);
            if !reset {
                let listener = ground.served[0].listener;
                ground.sim.on(ground.hosts[0]).close_listener(listener);
            }
            let (took, result) = ground.ask(WWW, RecordType::A);
            assert!(took < AT_ONCE, "{took:?}");
            if second {
                assert_true(&result, Carrier::Udp);
                assert_eq!(result.unwrap().content.server, Some(Ground::server_at(1)));
                assert_eq!(counted(ground.stats()), [("retries", 2), ("truncated", 1)]);
            } else {
                let server = Ground::server_at(0);
                let error = result.unwrap_err();
                // The reset may come before the client knows that it is connected.
                assert_eq!(error, QueryError::Unreachable { server });
                assert_eq!(counted(ground.stats()), [("retries", 3), ("truncated", 2)]);
            }
            ground.assert_idle();
        }
    }
}

#[test]
fn tcp_that_stalls_is_given_up_after_the_servers_time() {
    // One byte a second is not an answer within it either.
    for tcp in [TcpSupport::Silent, TcpSupport::Slow(Duration::from_secs(1))] {
        let mut ground = by_tcp(tcp, true);
        let (took, result) = ground.ask(WWW, RecordType::A);
        assert_true(&result, Carrier::Udp);
        assert!((TIMEOUT..TIMEOUT + AT_ONCE).contains(&took), "{tcp:?}: {took:?}");
        assert_eq!(
            counted(ground.stats()),
            [("retries", 2), ("timeouts", 1), ("truncated", 1)],
            "{tcp:?}"
        );
        ground.assert_idle();

        let mut ground = by_tcp(tcp, false);
        let (took, result) = ground.ask(WWW, RecordType::A);
        let last = Some(Ground::server_at(0));
        assert_eq!(result, Err(QueryError::TimedOut { last }), "{tcp:?}");
        assert!(
            (2 * TIMEOUT..2 * TIMEOUT + AT_ONCE).contains(&took),
            "{tcp:?}: {took:?}"
        );
        ground.assert_idle();
    }
    let mut ground = by_tcp(TcpSupport::Slow(ms(10)), false);
    let (took, result) = ground.ask(WWW, RecordType::A);
    assert_true(&result, Carrier::Tcp);
    assert!((ms(500)..TIMEOUT).contains(&took), "{took:?}");
}

#[test]
fn tcp_that_closes_after_some_answers_is_opened_again() {
    let mut ground = by_tcp(TcpSupport::ClosesAfter(3), false);
    let requests = (0..10).map(|n| Request::records(name(&format!("n{n}.example.test")), RecordType::A));
    let (took, events) = ground.ask_all(requests.collect());
    assert!(events.iter().all(|event| event.result.is_ok()));
    assert!(took < AT_ONCE, "{took:?}");
    let connections = ground.servers[0].counters().connections;
    assert!((4..=10).contains(&connections), "{connections}");
    ground.assert_idle();

    let mut ground = by_tcp(TcpSupport::ClosesAfter(0), false);
    let (took, result) = ground.ask(WWW, RecordType::A);
    let server = Ground::server_at(0);
    assert_eq!(result, Err(QueryError::Unusable { server }));
    assert!(took < AT_ONCE, "{took:?}");
    ground.assert_idle();
}
