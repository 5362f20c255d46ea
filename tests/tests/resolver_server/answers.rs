//! Honest answers by UDP.

use std::time::Duration;

use sockeye_resolver::dns::{Edns, Message, Record, RecordData, RecordType, ResponseCode};
use sockeye_sim::names::{Behaviour, CookieSupport, EdnsSupport, NameServer, Rule, Transport};

use super::setting::{Ground, ms, query, wire, zones};

fn ground() -> Ground {
    Ground::new(NameServer::new(zones()))
}

#[test]
fn a_question_is_answered_with_its_id_and_in_its_case() {
    let mut ground = ground();
    let asked = query(0xbeef, "wWw.eXample.Test", RecordType::A);
    let heard = ground.one(&asked);
    let message = heard.message();
    assert_eq!(heard.from, ground.address());
    assert_eq!(heard.addresses(), ["192.0.2.80"]);
    assert_eq!((message.id, message.code), (0xbeef, ResponseCode::NO_ERROR));
    assert!(message.flags.response && message.flags.authoritative && message.flags.recursion_available);
    let (question, asked) = (message.question.unwrap(), asked.question.unwrap());
    assert!(question.name.has_case_of(&asked.name));
    assert_eq!(question.record_type, RecordType::A);
    let counters = ground.server.counters();
    assert_eq!((counters.udp, counters.tcp), (1, 0));
    assert_eq!(counters.answers.get(&ResponseCode::NO_ERROR), Some(&1));
}

#[test]
fn aliases_wildcards_and_what_is_not_there() {
    let mut ground = ground();
    let alias = ground.one(&query(1, "alias.example.test", RecordType::AAAA));
    assert_eq!(alias.message().answers.len(), 2);
    assert_eq!(alias.addresses(), ["2001:db8::80"]);
    let any = ground.one(&query(2, "x.any.example.test", RecordType::A));
    assert_eq!(any.addresses(), ["192.0.2.42"]);
    let missing = ground
        .one(&query(3, "nope.example.test", RecordType::A))
        .message();
    assert_eq!(
        (missing.code, missing.negative_ttl()),
        (ResponseCode::NAME_ERROR, Some(60))
    );
    let none = ground.one(&query(4, "ns.example.test", RecordType::MX)).message();
    assert_eq!(
        (none.code, none.negative_ttl()),
        (ResponseCode::NO_ERROR, Some(60))
    );
    let elsewhere = ground.one(&query(5, "example.org", RecordType::A)).message();
    assert_eq!(elsewhere.code, ResponseCode::REFUSED);
    assert!(!elsewhere.flags.authoritative);
}

#[test]
fn what_does_not_fit_is_truncated_at_the_size_that_was_asked() {
    let mut zones = zones();
    let name = || "big.example.test".parse().unwrap();
    for last in 0..60 {
        zones.insert(Record::new(name(), 60, RecordData::A([192, 0, 2, last].into())));
    }
    let mut ground = Ground::new(NameServer::new(zones));
    // 12 of the header, 22 of the question, 16 for each address, 11 of EDNS.
    let full = 12 + 22 + 60 * 16;
    let mut plain = query(1, "big.example.test", RecordType::A);
    plain.edns = None;
    let sized = |udp_size| {
        let mut query = query(2, "big.example.test", RecordType::A);
        query.edns = Some(Edns {
            udp_size,
            ..Edns::default()
        });
        query
    };
    for (query, is_whole) in [
        (plain, false),
        (sized(0), false),
        (sized(512), false),
        (sized(full + 10), false),
        (sized(full + 11), true),
        (sized(u16::MAX), true),
    ] {
        let heard = ground.one(&query);
        let message = heard.message();
        assert_eq!(message.flags.truncated, !is_whole, "{query:?}");
        assert_eq!(message.answers.len(), if is_whole { 60 } else { 0 });
        assert_eq!(message.edns.is_some(), query.edns.is_some());
    }
    assert_eq!(ground.server.counters().truncated, 4);
}

#[test]
fn what_is_no_query_is_answered_with_a_header_or_not_at_all() {
    let mut ground = ground();
    let mut answer = query(1, "www.example.test", RecordType::A);
    answer.flags.response = true;
    let good = wire(&query(2, "www.example.test", RecordType::A));
    let silent = [wire(&answer), Vec::new(), good[..11].to_vec()];
    let one_by_one = |wires: &[Vec<u8>]| (0..).map(ms).zip(wires.iter().cloned()).collect();
    assert_eq!(ground.send(ground.address(), one_by_one(&silent)), []);
    assert_eq!(ground.server.counters().ignored, 3);

    let mut update = good.clone();
    update[2] |= 5 << 3;
    let mut two = good.clone();
    two[5] = 2;
    let no_question = vec![0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let wires = [update, two, good[..20].to_vec(), no_question];
    let heard = ground.send(ground.address(), one_by_one(&wires));
    let headers: Vec<Vec<u8>> = heard.into_iter().map(|heard| heard.wire).collect();
    // QR, the opcode and RD; then the code.
    let bare = |flags, code| vec![0, 2, flags, code, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(
        headers,
        [bare(0xa9, 4), bare(0x81, 1), bare(0x81, 1), bare(0x81, 1)]
    );
}

#[test]
fn other_classes_and_transfers_are_refused() {
    let mut ground = ground();
    let transfer = ground.one(&query(1, "example.test", RecordType(252)));
    assert_eq!(transfer.message().code, ResponseCode::REFUSED);
    let mut chaos = query(2, "www.example.test", RecordType::TXT);
    chaos.edns = None;
    let mut chaos = wire(&chaos);
    let class = chaos.len() - 1;
    chaos[class] = 3;
    let heard = ground.send(ground.address(), vec![(Duration::ZERO, chaos.clone())]);
    assert_eq!(heard[0].message().code, ResponseCode::REFUSED);
    assert_eq!(
        heard[0].wire[12..],
        chaos[12..],
        "the question is the same, its class too"
    );
}

#[test]
fn it_answers_from_the_address_that_was_asked() {
    let mut ground = ground();
    ground.sim.add_address(ground.host, [10, 0, 0, 54]);
    let to = ([10, 0, 0, 54], 53).into();
    let asked = wire(&query(1, "www.example.test", RecordType::A));
    let heard = ground.send(to, vec![(Duration::ZERO, asked)]);
    assert_eq!(heard[0].from, to);
}

fn with_cookie(id: u16, cookie: &[u8]) -> Message {
    let mut query = query(id, "www.example.test", RecordType::A);
    query.edns = Some(Edns {
        udp_size: 1_232,
        cookie: Some(cookie.into()),
        ..Edns::default()
    });
    query
}

#[test]
fn cookies_are_answered_and_known_again() {
    let mut ground = ground();
    let cookie = |message: Message| message.edns.unwrap().cookie;
    let first = cookie(ground.one(&with_cookie(1, &[7; 8])).message()).unwrap();
    assert_eq!((first.len(), &first[..8]), (16, &[7; 8][..]));
    let other = cookie(ground.one(&with_cookie(2, &[8; 8])).message()).unwrap();
    assert_ne!(first[8..], other[8..]);
    assert_eq!(
        cookie(ground.one(&query(3, "www.example.test", RecordType::A)).message()),
        None
    );
    for malformed in [&[7; 7][..], &[7; 9], &[7; 15], &[7; 41]] {
        let message = ground.one(&with_cookie(4, malformed)).message();
        assert_eq!(message.code, ResponseCode::FORMAT_ERROR, "{malformed:?}");
    }

    let cookies = CookieSupport::Required;
    ground.server.set_behaviour(Behaviour {
        cookies,
        ..Behaviour::default()
    });
    for (cookie, code) in [
        (&[7; 8][..], ResponseCode::BAD_COOKIE),
        (&[7; 16], ResponseCode::BAD_COOKIE),
        (&first, ResponseCode::NO_ERROR),
    ] {
        let message = ground.one(&with_cookie(5, cookie)).message();
        assert_eq!(message.code, code);
        assert_eq!(message.edns.unwrap().cookie.as_ref(), Some(&first));
    }
}

#[test]
fn servers_from_before_edns() {
    let mut ground = ground();
    let edns = EdnsSupport::FormatError;
    ground.server.set_behaviour(Behaviour {
        edns,
        ..Behaviour::default()
    });
    let mut asked = query(1, "www.example.test", RecordType::A);
    let refused = ground.one(&asked).message();
    assert_eq!((refused.code, refused.edns), (ResponseCode::FORMAT_ERROR, None));
    asked.edns = None;
    assert_eq!(ground.one(&asked).addresses(), ["192.0.2.80"]);

    ground.server.set_behaviour(Behaviour {
        edns: EdnsSupport::Ignored,
        ..Behaviour::default()
    });
    let ignored = ground.one(&with_cookie(2, &[7; 8])).message();
    assert_eq!((ignored.code, ignored.edns), (ResponseCode::NO_ERROR, None));

    ground.server.set_behaviour(Behaviour::default());
    let mut newer = query(3, "www.example.test", RecordType::A);
    newer.edns = Some(Edns {
        udp_size: 1_232,
        version: 1,
        ..Edns::default()
    });
    let refused = ground.one(&newer).message();
    assert_eq!(
        (refused.code, refused.edns.unwrap().version),
        (ResponseCode::BAD_VERSION, 0)
    );
}

#[test]
fn some_questions_are_answered_otherwise() {
    let failing = Behaviour::code(ResponseCode::SERVER_FAILURE);
    let server = NameServer::new(zones())
        .with_rule(Rule::for_type(RecordType::AAAA, failing))
        .with_rule(Rule::for_name(
            "ns.example.test".parse().unwrap(),
            Behaviour::code(ResponseCode::NOT_IMPLEMENTED),
        ));
    let mut ground = Ground::new(server);
    let code =
        |ground: &mut Ground, name, record_type| ground.one(&query(1, name, record_type)).message().code;
    assert_eq!(
        code(&mut ground, "www.example.test", RecordType::A),
        ResponseCode::NO_ERROR
    );
    assert_eq!(
        code(&mut ground, "www.example.test", RecordType::AAAA),
        ResponseCode::SERVER_FAILURE
    );
    assert_eq!(
        code(&mut ground, "ns.example.test", RecordType::A),
        ResponseCode::NOT_IMPLEMENTED
    );
}

#[test]
fn questions_are_remembered_on_request() {
    let mut ground = ground();
    let _ = ground.one(&query(1, "www.example.test", RecordType::A));
    assert_eq!(ground.server.asked(), []);
    ground.server.log();
    let _ = ground.one(&query(7, "wwW.example.test", RecordType::MX));
    let asked = ground.server.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!((asked[0].id, asked[0].transport), (7, Transport::Udp));
    assert_eq!(asked[0].question.to_string(), "wwW.example.test MX");
    assert_eq!(asked[0].client.ip().to_string(), "10.0.0.1");
    assert_eq!(asked[0].udp_size, Some(1_232));
}
