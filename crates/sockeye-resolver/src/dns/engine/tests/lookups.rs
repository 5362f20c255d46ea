//! Deadlines, cancels, bounds, aliases, and the names of this host.

use super::*;

#[test]
fn a_deadline_ends_a_lookup_and_its_answer_comes_too_late() {
    let mut world = World::with(&[FIRST]);
    let request = Request::records(name("a.test"), RecordType::A).within(ms(300));
    world.engine.lookup(world.now, request).unwrap();
    let asked = world.only();
    world.pass(ms(300));
    assert_eq!(
        world.event().result.unwrap_err(),
        QueryError::TimedOut {
            last: Some(at(FIRST))
        }
    );
    world.reply(&asked, &asked.with_a([192, 0, 2, 1]));
    world.quiet();
    assert_eq!(
        (world.engine.stats().unexpected, world.engine.stats().under_way),
        (1, 0)
    );
}

#[test]
fn a_cancelled_lookup_says_nothing_and_asks_nothing() {
    let mut world = World::with(&[FIRST]);
    let (first, second) = (
        world.ask("a.test", RecordType::A),
        world.ask("a.test", RecordType::A),
    );
    let asked = world.only();
    assert_eq!(world.engine.stats().shared, 1);
    assert!(world.engine.cancel(world.now, first) && !world.engine.cancel(world.now, first));
    world.reply(&asked, &asked.with_a([192, 0, 2, 1]));
    assert_eq!(world.event().lookup, second);
    world.quiet();

    let third = world.ask("b.test", RecordType::A);
    world.engine.cancel(world.now, third);
    world.none();
    assert_eq!(world.engine.stats().under_way, 0);
    assert_eq!(
        world.engine.poll_timeout(),
        Some(world.now + ms(2_000)),
        "but for the idle socket"
    );
}

#[test]
fn many_who_come_and_go_while_one_waits_leave_nothing_behind() {
    let mut world = World::with(&[FIRST]);
    let first = world.ask("a.test", RecordType::A);
    let asked = world.only();
    for _ in 0..100_000 {
        let other = world.ask("a.test", RecordType::A);
        world.engine.cancel(world.now, other);
    }
    world.reply(&asked, &asked.with_a([192, 0, 2, 1]));
    assert_eq!(world.event().lookup, first);
    world.quiet();
}

#[test]
fn aliases_are_followed_and_their_number_is_bounded() {
    let mut world = World::with(&[FIRST]);
    world.ask("n0.test", RecordType::A);
    let mut count = 0;
    while let Some(asked) = world.asked().pop_front() {
        let mut answer = asked.answer();
        count += 1;
        let target = name(&format!("n{count}.test"));
        answer
            .answers
            .push(Record::new(asked.name(), 9, RecordData::Cname(target)));
        world.reply(&asked, &answer);
    }
    assert_eq!(count, 17);
    assert_eq!(world.event().result.unwrap_err(), QueryError::Aliases);

    world.ask("www.test", RecordType::A);
    let asked = world.only();
    let mut answer = asked.answer();
    answer
        .answers
        .push(Record::new(asked.name(), 9, RecordData::Cname(name("host.test"))));
    world.reply(&asked, &answer);
    let asked = world.only();
    assert_eq!(asked.name(), name("host.test"));
    world.reply(&asked, &asked.with_a([192, 0, 2, 1]));
    let answer = world.event().result.unwrap();
    assert_eq!(
        (answer.question.name.clone(), answer.content.records.len()),
        (name("www.test"), 2)
    );
}

#[test]
fn a_good_a_does_not_wait_for_a_failing_aaaa() {
    let mut world = World::with(&[FIRST, SECOND]);
    world.addresses("a.example.test");
    let asked = world.asked();
    assert_eq!(asked.len(), 2);
    for asked in &asked {
        let answer = match asked.query.question.as_ref().unwrap().record_type {
            RecordType::A => asked.with_a([192, 0, 2, 1]),
            _ => asked.code(ResponseCode::SERVER_FAILURE),
        };
        world.reply(asked, &answer);
    }
    let event = world.event();
    assert_eq!(
        (event.record_type, event.is_last, event.result.unwrap().took),
        (RecordType::A, false, Duration::ZERO)
    );
    world.quiet();
    while let Some(asked) = world.asked().pop_front() {
        world.reply(&asked, &asked.code(ResponseCode::SERVER_FAILURE));
    }
    let event = world.event();
    assert!(event.is_last && matches!(event.result, Err(QueryError::Failed { .. })));
}

#[test]
fn names_of_this_host_are_answered_without_a_server() {
    let mut world = World::with(&[]);
    let hosts = Hosts::parse(b"192.0.2.7 box.example.test box\n::7 box\n", |_| None);
    world.engine.set_local_names(LocalNames {
        hosts: Arc::new(hosts),
        ..LocalNames::default()
    });
    for (text, ips) in [
        ("box", vec!["::7", "192.0.2.7"]),
        ("BOX.example.test", vec!["", "192.0.2.7"]),
        ("localhost", vec!["::1", "127.0.0.1"]),
        ("a.b.LocalHost", vec!["::1", "127.0.0.1"]),
    ] {
        world.addresses(text);
        for ip in ips {
            let event = world.event();
            let found = event
                .result
                .map(|answer| answer.addresses().map(|ip| ip.to_string()).collect::<String>());
            assert_eq!(found.unwrap_or_default(), ip, "{text}");
        }
    }
    world.ask("x.invalid", RecordType::A);
    assert_eq!(world.event().result.unwrap().finding(), Finding::NoName);
    world.ask("7.2.0.192.in-addr.arpa", RecordType::PTR);
    let names: Vec<String> = world
        .event()
        .result
        .unwrap()
        .content
        .records
        .iter()
        .map(|record| record.data.to_string())
        .collect();
    assert_eq!(names, ["box.example.test.", "box."]);
    world.ask("other.test", RecordType::A);
    assert_eq!(world.event().result.unwrap_err(), QueryError::NoServers);
    world.none();
}

#[test]
fn localhost_has_both_families_whatever_the_hosts_file_has() {
    let mut world = World::with(&[]);
    let hosts = Hosts::parse(b"127.0.0.1 localhost box\n::7 a.localhost\n", |_| None);
    world.engine.set_local_names(LocalNames {
        hosts: Arc::new(hosts),
        ..LocalNames::default()
    });
    for (text, found) in [
        (
            "localhost",
            [("::1", Origin::SpecialUse), ("127.0.0.1", Origin::Hosts)],
        ),
        (
            "A.LOCALHOST",
            [("::7", Origin::Hosts), ("127.0.0.1", Origin::SpecialUse)],
        ),
        ("box", [("", Origin::Hosts), ("127.0.0.1", Origin::Hosts)]),
    ] {
        world.addresses(text);
        for (ip, origin) in found {
            let answer = world.event().result.unwrap();
            let addresses: String = answer.addresses().map(|ip| ip.to_string()).collect();
            assert_eq!((addresses.as_str(), answer.origin), (ip, origin), "{text}");
        }
    }
}

#[test]
fn too_many_lookups_are_refused() {
    let mut options = DnsOptions::with_servers([at(FIRST)]);
    options.max_lookups = 2;
    let mut world = World::new(options);
    world.ask("a.test", RecordType::A);
    world.ask("a.test", RecordType::A);
    let third = world
        .engine
        .lookup(world.now, Request::records(name("a.test"), RecordType::A));
    assert_eq!(third, Err(StartError::Busy));
}

#[test]
fn a_question_is_sent_once_whatever_had_its_place_before() {
    let mut world = World::with(&[FIRST]);
    for text in ["a.test", "b.test", "c.test"] {
        let id = world.ask(text, RecordType::A);
        world.engine.cancel(world.now, id);
    }
    world.ask("d.test", RecordType::A);
    assert_eq!(world.only().name(), name("d.test"));
    assert_eq!(world.engine.stats().datagrams, 1);
}

#[test]
fn ten_thousand_lookups_that_come_and_go_leave_nothing_behind() {
    let mut world = World::with(&[FIRST, SECOND]);
    let ids: Vec<_> = (0..10_000)
        .map(|number| world.addresses(&format!("n{number}.test")))
        .collect();
    assert_eq!(world.engine.stats().under_way, 20_000);
    let asked = world.asked();
    assert_eq!(asked.len(), 20_000);
    // A third is answered, a third given up, and the rest never hears anything.
    for (number, asked) in asked.iter().enumerate() {
        if number % 6 < 2 {
            world.reply(asked, &asked.with_a([192, 0, 2, 1]));
        }
    }
    for (number, id) in ids.iter().enumerate() {
        if number % 3 == 1 {
            assert!(world.engine.cancel(world.now, *id));
        }
    }
    world.pass(Duration::from_secs(60));
    world.asked();
    world.pass(Duration::from_secs(60));
    world.asked();
    let mut last = 0;
    while let Some(event) = world.engine.poll_event() {
        last += usize::from(event.is_last);
    }
    assert_eq!(last, 6_667);
    let stats = world.engine.stats();
    assert_eq!(
        (stats.under_way, stats.sockets, world.engine.poll_timeout()),
        (0, 0, None)
    );
}
