//! Which server is asked, and what comes after one that fails or is silent.

use super::*;

#[test]
fn servers_that_fail_are_passed_over() {
    for code in [
        ResponseCode::SERVER_FAILURE,
        ResponseCode::REFUSED,
        ResponseCode(9),
    ] {
        let mut world = World::with(&[FIRST, SECOND]);
        world.ask("a.test", RecordType::A);
        let asked = world.only();
        assert_eq!(asked.server, at(FIRST));
        world.reply(&asked, &asked.code(code));
        let asked = world.only();
        assert_eq!(asked.server, at(SECOND));
        world.reply(&asked, &asked.with_a([192, 0, 2, 1]));
        assert_eq!(world.ips(), ["192.0.2.1"]);
    }
}

#[test]
fn a_lame_server_is_passed_over() {
    let mut world = World::with(&[FIRST, SECOND]);
    world.ask("a.test", RecordType::A);
    let asked = world.only();
    let mut referral = asked.answer();
    referral.flags.recursion_available = false;
    referral.authorities = vec![Record::new(name("test"), 60, RecordData::Ns(name("ns.test")))];
    world.reply(&asked, &referral);
    let asked = world.only();
    assert_eq!(asked.server, at(SECOND));
    world.reply(&asked, &asked.with_a([192, 0, 2, 1]));
    assert_eq!(world.ips(), ["192.0.2.1"]);
}

#[test]
fn all_servers_failing_says_which_and_how() {
    let mut world = World::with(&[FIRST, SECOND]);
    world.ask("a.test", RecordType::A);
    let mut count = 0;
    while let Some(asked) = world.asked().pop_front() {
        count += 1;
        world.reply(&asked, &asked.code(ResponseCode::REFUSED));
    }
    assert_eq!(count, 4, "each is asked twice");
    let error = world.event().result.unwrap_err();
    assert_eq!(
        error,
        QueryError::Failed {
            code: ResponseCode::REFUSED,
            server: at(SECOND)
        }
    );
    assert_eq!(error.to_string(), "name server [2001:db8::2]:53 answered REFUSED");
}

#[test]
fn an_old_server_is_asked_without_edns_from_then_on() {
    let mut world = World::with(&[FIRST]);
    world.ask("a.test", RecordType::A);
    let asked = world.only();
    let mut error = asked.code(ResponseCode::FORMAT_ERROR);
    error.question = None;
    world.reply(&asked, &error);
    let asked = world.only();
    assert_eq!((asked.server, &asked.query.edns), (at(FIRST), &None));
    world.reply(&asked, &asked.with_a([192, 0, 2, 1]));
    assert_eq!(world.ips(), ["192.0.2.1"]);
    world.ask("b.test", RecordType::A);
    assert_eq!(world.only().query.edns, None);
}

#[test]
fn a_silent_server_costs_its_timeout_once() {
    let mut world = World::with(&[FIRST, SECOND]);
    world.ask("a.test", RecordType::A);
    assert_eq!(world.only().server, at(FIRST));
    world.pass(ms(4_999));
    world.none();
    world.pass(ms(1));
    let asked = world.only();
    assert_eq!(asked.server, at(SECOND));
    world.reply(&asked, &asked.with_a([192, 0, 2, 1]));
    assert_eq!(world.event().result.unwrap().took, ms(5_000));

    world.ask("b.test", RecordType::A);
    let asked = world.only();
    assert_eq!(
        asked.server,
        at(SECOND),
        "the silent one is asked after the others"
    );
    world.reply(&asked, &asked.with_a([192, 0, 2, 1]));
    world.event();
    world.pass(Duration::from_secs(30));
    world.ask("c.test", RecordType::A);
    assert_eq!(world.only().server, at(FIRST));
}

#[test]
fn all_servers_silent_is_a_timeout_after_all_attempts() {
    let mut world = World::with(&[FIRST, SECOND]);
    world.ask("a.test", RecordType::A);
    let mut servers = Vec::new();
    for _ in 0..4 {
        servers.push(world.only().server);
        world.pass(ms(5_000));
    }
    assert_eq!(servers, [at(FIRST), at(SECOND), at(FIRST), at(SECOND)]);
    world.none();
    assert_eq!(
        world.event().result.unwrap_err(),
        QueryError::TimedOut {
            last: Some(at(SECOND))
        }
    );
    assert_eq!(world.engine.stats().under_way, 0);
    assert_eq!(world.engine.stats().timeouts, 4);
}

#[test]
fn a_refusal_by_the_network_asks_the_next_at_once() {
    let mut world = World::with(&[FIRST, SECOND]);
    world.ask("a.test", RecordType::A);
    let asked = world.only();
    let Via::Socket(socket) = asked.via else { panic!() };
    world.engine.on_unreachable(world.now, socket, at(SECOND));
    world.none();
    world.engine.on_unreachable(world.now, socket, at(FIRST));
    let asked = world.only();
    assert_eq!(asked.server, at(SECOND));
    let Via::Socket(socket) = asked.via else { panic!() };
    world.engine.on_socket_lost(world.now, socket);
    assert_eq!(world.only().server, at(FIRST));
}

#[test]
fn other_servers_are_asked_for_what_is_under_way() {
    let mut world = World::with(&[FIRST]);
    world.ask("a.test", RecordType::A);
    let old = world.only();
    world
        .engine
        .reconfigure(world.now, DnsOptions::with_servers([at(SECOND)]));
    let asked = world.only();
    assert_eq!(asked.server, at(SECOND));
    world.reply(&old, &old.with_a([192, 0, 2, 66]));
    world.quiet();
    world.reply(&asked, &asked.with_a([192, 0, 2, 1]));
    assert_eq!(world.ips(), ["192.0.2.1"]);
    world.ask("b.test", RecordType::A);
    world.only();
    world.engine.reconfigure(world.now, DnsOptions::default());
    assert_eq!(world.event().result.unwrap_err(), QueryError::NoServers);
}

#[test]
fn what_the_old_servers_said_does_not_count_of_the_new_ones() {
    let mut world = World::with(&[FIRST]);
    world.ask("a.test", RecordType::A);
    // An alias, and then a server that does not know EDNS.
    let asked = world.only();
    let mut alias = asked.answer();
    alias
        .answers
        .push(Record::new(asked.name(), 9, RecordData::Cname(name("b.test"))));
    world.reply(&asked, &alias);
    let asked = world.only();
    world.reply(&asked, &asked.code(ResponseCode::FORMAT_ERROR));
    assert_eq!(world.only().query.edns, None);
    world
        .engine
        .reconfigure(world.now, DnsOptions::with_servers([at(SECOND)]));
    let asked = world.only();
    assert_eq!((asked.name(), asked.query.edns.is_some()), (name("a.test"), true));
    world.reply(&asked, &asked.with_a([192, 0, 2, 1]));
    assert_eq!(world.event().result.unwrap().content.records.len(), 1);
    world.ask("c.test", RecordType::A);
    assert!(world.only().query.edns.is_some());
}

#[test]
fn rounds_without_end_end() {
    let mut options = DnsOptions::with_servers([at(FIRST)]);
    (options.attempts, options.timeout) = (u32::MAX, Duration::ZERO);
    let mut world = World::new(options);
    world.ask("a.test", RecordType::A);
    let begun = std::time::Instant::now();
    while let Some(asked) = world.asked().pop_front() {
        let Via::Socket(socket) = asked.via else {
            panic!("by datagrams")
        };
        world.engine.on_socket_lost(world.now, socket);
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "it is asked again and again"
        );
    }
    let server = at(FIRST);
    assert_eq!(world.event().result, Err(QueryError::Unreachable { server }));
}
