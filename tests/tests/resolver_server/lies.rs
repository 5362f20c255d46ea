//! Lies: each is wrong in the one way that it is called after, and counted.

use std::net::IpAddr;

use sockeye_resolver::dns::{Message, MessageError, RecordData, RecordType, ResponseCode};
use sockeye_sim::names::{Behaviour, CookieSupport, Lie, NameServer};

use super::setting::{Ground, Heard, ms, query, zones};

/// The honest answer, and the lie in its place.
fn told(lie: Lie) -> (Heard, Heard) {
    let mut ground = Ground::new(NameServer::new(zones()).with(Behaviour::spoofed(lie)));
    let heard = ground.ask(&[query(7, "wWw.example.test", RecordType::A)]);
    let counters = ground.server.counters();
    assert_eq!(
        (counters.lied, counters.answers.get(&ResponseCode::NO_ERROR)),
        (1, Some(&1))
    );
    let [lie, honest] = <[Heard; 2]>::try_from(heard).unwrap();
    assert_eq!(honest.addresses(), ["192.0.2.80"]);
    assert_eq!(honest.from, ground.address());
    (honest, lie)
}

/// How a lie differs from the answer, as messages.
fn differ(lie: Lie, change: impl FnOnce(&mut Message)) {
    let (honest, heard) = told(lie);
    let mut expected = honest.message();
    change(&mut expected);
    assert_eq!(heard.message(), expected, "{lie:?}");
    assert_ne!(heard.wire, honest.wire, "{lie:?}");
}

#[test]
fn each_lie_is_wrong_in_one_way() {
    differ(Lie::WrongId, |message| message.id = 7 ^ 0x5555);
    differ(Lie::WrongQuestion, |message| {
        message.question.as_mut().unwrap().name = "other.www.example.test".parse().unwrap();
    });
    differ(Lie::NoQuestion, |message| message.question = None);
    differ(Lie::NotAResponse, |message| message.flags.response = false);
    differ(Lie::Empty, |message| message.answers.clear());
    differ(Lie::Address([127, 0, 0, 1].into()), |message| {
        message.answers[0].data = RecordData::A([127, 0, 0, 1].into());
    });
    let (_, lower) = told(Lie::WrongCase);
    assert_eq!(
        lower.message().question.unwrap().name.to_string(),
        "www.example.test"
    );
}

#[test]
fn malformed_lies_are_no_messages() {
    let (honest, cut) = told(Lie::Cut);
    assert!(honest.wire.starts_with(&cut.wire) && cut.wire.len() < honest.wire.len());
    assert!(Message::parse(&cut.wire).is_err());
    assert!(Message::parse(&told(Lie::Nonsense).1.wire).is_err());
    let many = told(Lie::ManyRecords).1;
    assert_eq!(Message::parse(&many.wire), Err(MessageError::TooManyRecords));
}

#[test]
fn chains_lead_round_or_nowhere() {
    let round = told(Lie::AliasLoop).1.message();
    let name = round.question.unwrap().name;
    assert_eq!(round.answers[0].data, RecordData::Cname(name.clone()));
    assert_eq!(round.answers[0].name, name);
    let long = told(Lie::LongChain(20)).1.message();
    assert_eq!(long.answers.len(), 20);
    for pair in long.answers.windows(2) {
        assert_eq!(pair[0].data, RecordData::Cname(pair[1].name.clone()));
    }
}

#[test]
fn answers_come_from_elsewhere() {
    let mut ground = Ground::new(NameServer::new(zones()).with(Behaviour::lie(Lie::OtherPort)));
    let asked = query(1, "www.example.test", RecordType::A);
    assert_eq!(
        ground.ask(std::slice::from_ref(&asked)),
        [],
        "there is no other socket"
    );
    let (udp, other) = (ground.served.udp, ([10, 0, 0, 53], 5_300).into());
    let events = ground.sim.on(ground.host);
    events.bind(udp, other, &NameServer::datagram_options()).unwrap();
    assert_eq!(ground.one(&asked).from, other);

    ground.sim.add_address(ground.host, [10, 0, 0, 66]);
    let stranger: IpAddr = [10, 0, 0, 66].into();
    ground
        .server
        .set_behaviour(Behaviour::lie(Lie::OtherAddress(stranger)));
    assert_eq!(ground.one(&asked).from, (stranger, 53).into());
}

#[test]
fn a_question_that_is_asked_again_leads_to_the_inside() {
    let rebind = vec![[127, 0, 0, 1].into(), IpAddr::from([0; 16])];
    let server = NameServer::new(zones()).with(Behaviour {
        rebind,
        ttl: Some(0),
        ..Behaviour::default()
    });
    let mut ground = Ground::new(server);
    let mut ask = |record_type| ground.one(&query(1, "www.example.test", record_type));
    let first = ask(RecordType::A);
    assert_eq!(
        (first.addresses(), first.message().answers[0].ttl),
        (vec!["192.0.2.80".to_owned()], 0)
    );
    assert_eq!(ask(RecordType::A).addresses(), ["127.0.0.1"]);
    assert_eq!(ask(RecordType::AAAA).addresses(), ["2001:db8::80"]);
    assert_eq!(ask(RecordType::AAAA).addresses(), ["::"]);
}

#[test]
fn answers_are_doubled_and_truncated_on_request() {
    let server = NameServer::new(zones()).with(Behaviour {
        duplicates: 2,
        truncate: true,
        ..Behaviour::default()
    });
    let mut ground = Ground::new(server);
    let heard = ground.ask(&[query(1, "www.example.test", RecordType::A)]);
    assert_eq!(heard.len(), 3);
    for heard in heard {
        let message = heard.message();
        assert!(message.flags.truncated && message.answers.is_empty());
    }
}

#[test]
fn a_wrong_cookie_is_not_the_client_s() {
    let cookies = CookieSupport::Wrong;
    let server = NameServer::new(zones()).with(Behaviour {
        cookies,
        ..Behaviour::default()
    });
    let mut ground = Ground::new(server);
    let mut asked = query(1, "www.example.test", RecordType::A);
    asked.edns.as_mut().unwrap().cookie = Some(Box::new([7; 8]));
    let cookie = ground.one(&asked).message().edns.unwrap().cookie.unwrap();
    assert_eq!(cookie[..8], [!7; 8]);
    assert_eq!(ground.server.counters().lied, 1);
}

#[test]
fn lies_wait_like_answers_and_come_before_them() {
    let behaviour = Behaviour {
        latency: ms(40),
        lies: vec![Lie::WrongId, Lie::Empty, Lie::NoQuestion],
        honest_after: true,
        ..Behaviour::default()
    };
    let mut ground = Ground::new(NameServer::new(zones()).with(behaviour));
    let heard = ground.ask(&[query(1, "www.example.test", RecordType::A)]);
    assert!(heard.iter().all(|heard| heard.at >= ms(40)), "{heard:?}");
    let messages: Vec<Message> = heard.iter().map(Heard::message).collect();
    let right = |message: &Message| {
        (
            message.id == 1,
            !message.answers.is_empty(),
            message.question.is_some(),
        )
    };
    assert_eq!(
        messages.iter().map(right).collect::<Vec<_>>(),
        [
            (false, true, true),
            (true, false, true),
            (true, true, false),
            (true, true, true)
        ]
    );
}
