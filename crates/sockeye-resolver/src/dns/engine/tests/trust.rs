//! Which answers are believed: ids, questions, sources, the case of letters, cookies, ports.

use super::*;

#[test]
fn an_answer_counts_only_from_the_server_with_the_id_and_the_question() {
    let mut world = World::with(&[FIRST]);
    world.ask("a.example.test", RecordType::A);
    let asked = world.only();
    let good = asked.with_a([192, 0, 2, 80]);

    world.reply_from(at("192.0.2.1:54"), &asked, &good);
    world.reply_from(at("192.0.2.2:53"), &asked, &good);
    world.reply(
        &asked,
        &Message {
            id: good.id ^ 1,
            ..good.clone()
        },
    );
    let mut other = good.clone();
    other.question = Some(Question::new(name("b.example.test"), RecordType::A));
    world.reply(&asked, &other);
    other.question = Some(Question::new(asked.name(), RecordType::AAAA));
    world.reply(&asked, &other);
    let mut query = good.clone();
    query.flags.response = false;
    world.reply(&asked, &query);
    world.quiet();

    world.reply(&asked, &good);
    assert_eq!(world.ips(), ["192.0.2.80"]);
    let stats = world.engine.stats();
    assert_eq!(
        (stats.wrong_source, stats.unexpected, stats.wrong_question),
        (2, 2, 2)
    );

    world.reply(&asked, &good);
    world.quiet();
    assert_eq!(world.engine.stats().unexpected, 3, "the same answer twice");
}

#[test]
fn questions_carry_edns_a_cookie_and_a_case_by_chance() {
    let mut world = World::with(&[FIRST]);
    world.ask("abcdefghijklmnop.example.test", RecordType::AAAA);
    let asked = world.only();
    let edns = asked.query.edns.clone().unwrap();
    assert_eq!(
        (edns.udp_size, edns.version, edns.cookie.unwrap().len()),
        (1_232, 0, 8)
    );
    assert!(asked.query.flags.recursion_desired);
    assert!(!asked.name().has_case_of(&name("abcdefghijklmnop.example.test")));
    assert_eq!(asked.name(), name("abcdefghijklmnop.example.test"));
}

#[test]
fn the_case_is_demanded_once_it_was_given_back() {
    let mut world = World::with(&[FIRST]);
    let folded = |answer: Message| {
        let mut answer = answer;
        let question = answer.question.as_mut().unwrap();
        question.name = question.name.to_string().to_lowercase().parse().unwrap();
        answer
    };
    world.ask("one.example.test", RecordType::A);
    let asked = world.only();
    world.reply(&asked, &asked.with_a([192, 0, 2, 1]));
    assert_eq!(world.ips(), ["192.0.2.1"]);

    world.ask("two.example.test", RecordType::A);
    let asked = world.only();
    world.reply(&asked, &folded(asked.with_a([192, 0, 2, 66])));
    world.quiet();
    assert_eq!(world.engine.stats().wrong_case, 1);

    // It may be another machine behind the same address: a connection says the truth, and what it says is learned.
    world.pass(ms(5_000));
    world.none();
    let (connection, _, carrier) = world.connects[0];
    assert_eq!(carrier, Carrier::Tcp);
    world.engine.on_connected(world.now, connection);
    let asked = world.only();
    world.reply(&asked, &folded(asked.with_a([192, 0, 2, 2])));
    assert_eq!(world.ips(), ["192.0.2.2"]);
}

#[test]
fn a_server_that_folds_the_case_from_the_beginning_is_believed() {
    let mut world = World::with(&[FIRST]);
    for ip in [1, 2] {
        world.ask(&format!("n{ip}.example.test"), RecordType::A);
        let asked = world.only();
        let mut answer = asked.with_a([192, 0, 2, ip]);
        answer.question = Some(Question::new(
            asked.name().to_string().to_lowercase().parse().unwrap(),
            RecordType::A,
        ));
        world.reply(&asked, &answer);
        assert_eq!(world.ips(), [format!("192.0.2.{ip}")]);
    }
}

#[test]
fn cookies_are_learned_and_then_demanded() {
    let mut world = World::with(&[FIRST]);
    let with_cookie = |asked: &Asked, server: &[u8]| {
        let mut answer = asked.with_a([192, 0, 2, 1]);
        let client = asked.query.edns.as_ref().unwrap().cookie.clone().unwrap();
        let cookie = [&client[..8], server].concat();
        answer.edns = Some(Edns {
            udp_size: 1_232,
            cookie: Some(cookie.into()),
            ..Edns::default()
        });
        answer
    };
    world.ask("one.test", RecordType::A);
    let asked = world.only();
    let mut stranger = with_cookie(&asked, &[1; 8]);
    stranger.edns.as_mut().unwrap().cookie = Some(Box::new([0; 16]));
    world.reply(&asked, &stranger);
    world.quiet();
    world.reply(&asked, &with_cookie(&asked, &[1; 8]));
    assert_eq!(world.ips().len(), 1);

    world.ask("two.test", RecordType::A);
    let asked = world.only();
    assert_eq!(
        asked.query.edns.as_ref().unwrap().cookie.as_ref().unwrap()[8..],
        [1; 8]
    );
    world.reply(&asked, &asked.with_a([192, 0, 2, 66]));
    world.quiet();
    assert_eq!(world.engine.stats().wrong_cookie, 2);

    // The server has another secret now: it is asked again with its new cookie, and then by a connection.
    let mut bad = with_cookie(&asked, &[2; 8]);
    (bad.code, bad.answers) = (ResponseCode::BAD_COOKIE, Vec::new());
    world.reply(&asked, &bad);
    let asked = world.only();
    assert_eq!(
        asked.query.edns.as_ref().unwrap().cookie.as_ref().unwrap()[8..],
        [2; 8]
    );
    let mut bad = with_cookie(&asked, &[3; 8]);
    (bad.code, bad.answers) = (ResponseCode::BAD_COOKIE, Vec::new());
    world.reply(&asked, &bad);
    world.none();
    world.engine.on_connected(world.now, world.connects[0].0);
    let asked = world.only();
    world.reply(&asked, &with_cookie(&asked, &[3; 8]));
    assert_eq!(world.ips().len(), 1);
}

#[test]
fn garbage_asks_the_next_server() {
    let mut world = World::with(&[FIRST, SECOND]);
    world.ask("a.test", RecordType::A);
    let asked = world.only();
    let id = asked.query.id.to_be_bytes();
    world.raw(at(FIRST), asked.via, &[]);
    world.raw(at(FIRST), asked.via, &[id[0]]);
    world.none();
    world.raw(
        at(FIRST),
        asked.via,
        &[id[0], id[1], 0x80, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0, 0xc0, 12],
    );
    let asked = world.only();
    assert_eq!((asked.server, world.engine.stats().malformed), (at(SECOND), 3));
}

#[test]
fn every_question_has_a_port_of_its_own_until_there_are_enough() {
    let mut world = World::with(&[FIRST]);
    for number in 0..10_000 {
        world.ask(&format!("n{number}.test"), RecordType::A);
    }
    let asked = world.asked();
    let mut sockets: Vec<_> = asked.iter().map(|asked| format!("{:?}", asked.via)).collect();
    assert_ne!(sockets[0], sockets[1]);
    sockets.sort();
    sockets.dedup();
    assert!((32..=128).contains(&sockets.len()), "{}", sockets.len());
    for asked in &asked {
        world.reply(asked, &asked.with_a([192, 0, 2, 1]));
    }
    assert_eq!(world.engine.stats().under_way, 0);
    world.pass(ms(2_000));
    world.none();
    assert_eq!(
        (world.engine.stats().sockets, world.closed.len()),
        (0, sockets.len())
    );
}

#[test]
fn the_zone_of_a_link_local_server_counts() {
    let mut world = World::with(&["[fe80::1%3]:53"]);
    world.ask("a.test", RecordType::A);
    let asked = world.only();
    let good = asked.with_a([192, 0, 2, 1]);
    world.reply_from(at("[fe80::1%4]:53"), &asked, &good);
    world.quiet();
    world.reply_from(at("[fe80::1%3]:53"), &asked, &good);
    assert_eq!(world.ips(), ["192.0.2.1"]);
}
