//! Search lists.

use super::*;

#[test]
fn a_search_list_goes_by_the_dots_and_never_mixes_two_names() {
    let mut options = DnsOptions::with_servers([at(FIRST)]);
    options.search = vec![name("one.test"), name("two.test")];
    let mut world = World::new(options);
    world.addresses("host");
    let mut seen = Vec::new();
    // Only the second suffix has an address, and only of IPv4.
    for _ in 0..2 {
        for asked in world.asked() {
            let question = asked.query.question.clone().unwrap();
            seen.push(question.name.to_string().to_lowercase());
            let answer = match (question.name == name("host.two.test"), question.record_type) {
                (true, RecordType::A) => asked.with_a([192, 0, 2, 1]),
                (true, _) => asked.answer(),
                _ => asked.no_name(),
            };
            world.reply(&asked, &answer);
        }
    }
    assert_eq!(
        seen,
        ["host.one.test", "host.one.test", "host.two.test", "host.two.test"]
    );
    let events = [world.event(), world.event()];
    for event in &events {
        assert_eq!(
            event.result.as_ref().unwrap().question.name,
            name("host.two.test")
        );
    }
    assert!(!events[0].is_last && events[1].is_last);

    world.addresses("host.example");
    assert!(
        world
            .asked()
            .iter()
            .all(|asked| asked.name() == name("host.example")),
        "a dot: alone first"
    );
}

#[test]
fn a_search_that_finds_nothing_tells_the_best_of_what_was_said() {
    let mut options = DnsOptions::with_servers([at(FIRST)]);
    options.search = vec![name("one.test")];
    let mut world = World::new(options);
    world
        .engine
        .lookup(
            world.now,
            Request::records(name("host"), RecordType::A).with_search(),
        )
        .unwrap();
    let asked = world.only();
    world.reply(
        &asked,
        &Message {
            authorities: vec![soa()],
            ..asked.answer()
        },
    );
    let asked = world.only();
    assert_eq!(asked.name(), name("host"));
    world.reply(&asked, &asked.no_name());
    let answer = world.event().result.unwrap();
    assert_eq!(
        (answer.finding(), answer.question.name),
        (Finding::NoRecords, name("host.one.test"))
    );
    world.quiet();
}

#[test]
fn the_longest_names_are_asked_for_and_longer_ones_are_not_made() {
    let long = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
    let mut options = DnsOptions::with_servers([at(FIRST)]);
    options.search = vec![name("example.test")];
    options.ndots = 9;
    let mut world = World::new(options);
    world
        .engine
        .lookup(
            world.now,
            Request::records(name(&long), RecordType::A).with_search(),
        )
        .unwrap();
    assert_eq!(world.only().name(), name(&long));
}

#[test]
fn a_single_label_is_not_asked_alone_where_that_is_forbidden() {
    let mut options = DnsOptions::with_servers([at(FIRST)]);
    options.search = vec![name("one.test")];
    options.no_tld_query = true;
    let mut world = World::new(options.clone());
    let search = |text: &str| Request::records(name(text), RecordType::A).with_search();
    world.engine.lookup(world.now, search("host")).unwrap();
    let asked = world.only();
    assert_eq!(asked.name(), name("host.one.test"));
    let answer = asked.no_name();
    world.reply(&asked, &answer);
    assert!(world.asked().is_empty(), "the name is not tried alone");
    assert_eq!(world.event().result.unwrap().finding(), Finding::NoName);
    // Others are: names with a dot, and complete ones.
    world.engine.lookup(world.now, search("host.example")).unwrap();
    assert_eq!(world.only().name(), name("host.example"));
    world.ask("host", RecordType::A);
    assert_eq!(world.only().name(), name("host"));

    options.search.clear();
    let mut world = World::new(options);
    let hosts = Hosts::parse(b"192.0.2.7 box\n", |_| None);
    world.engine.set_local_names(LocalNames {
        hosts: Arc::new(hosts),
        ..LocalNames::default()
    });
    world.engine.lookup(world.now, search("host")).unwrap();
    assert_eq!(world.event().result.unwrap_err(), QueryError::SingleLabel);
    world.engine.lookup(world.now, search("box")).unwrap();
    assert_eq!(world.event().result.unwrap().origin, Origin::Hosts);
    world.none();
}

/// What is kept of a name of one label does not let it pass either.
#[test]
fn a_single_label_that_is_kept_is_still_not_a_name_to_try() {
    let mut options = DnsOptions::with_servers([at(FIRST)]);
    options.no_tld_query = true;
    let mut world = World::new(options);
    world.ask("test", RecordType::A);
    let asked = world.only();
    world.reply(&asked, &asked.with_a([192, 0, 2, 1]));
    assert_eq!(world.ips(), ["192.0.2.1"]);
    let request = Request::records(name("test"), RecordType::A).with_search();
    world.engine.lookup(world.now, request).unwrap();
    assert_eq!(world.event().result.unwrap_err(), QueryError::SingleLabel);
}
