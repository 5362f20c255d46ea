//! What is kept, for how long, and what is given where nobody answers.

use super::*;

#[test]
fn answers_are_kept_for_their_time_and_told_with_their_age() {
    let mut world = World::with(&[FIRST]);
    world.ask("a.test", RecordType::A);
    let asked = world.only();
    world.reply(&asked, &asked.with_a([192, 0, 2, 1]));
    assert_eq!(world.event().result.unwrap().origin, Origin::Server);
    world.pass(ms(299_900));
    world.none();
    world.ask("A.TEST", RecordType::A);
    world.none();
    let answer = world.event().result.unwrap();
    assert_eq!(
        (answer.origin, answer.ttl_left(&answer.content.records[0])),
        (Origin::Cache, 1)
    );
    world.pass(ms(100));
    world.ask("a.test", RecordType::A);
    world.only();
    assert_eq!(world.engine.stats().cached, 1);

    let fresh = Request {
        fresh: true,
        ..Request::records(name("a.test"), RecordType::A)
    };
    world.engine.lookup(world.now, fresh).unwrap();
    assert_eq!(world.engine.stats().shared, 1);
}

#[test]
fn no_is_kept_as_the_zone_allows_and_not_without_a_zone() {
    let mut world = World::with(&[FIRST]);
    world.ask("no.test", RecordType::A);
    let asked = world.only();
    world.reply(&asked, &asked.no_name());
    assert_eq!(world.event().result.unwrap().finding(), Finding::NoName);
    world.pass(ms(59_000));
    world.none();
    world.ask("no.test", RecordType::A);
    world.none();
    assert_eq!(world.event().result.unwrap().finding(), Finding::NoName);
    world.pass(ms(1_000));
    world.ask("no.test", RecordType::A);
    let asked = world.only();
    // Empty answers: "no such records", by whom is not said.
    world.reply(&asked, &asked.answer());
    assert_eq!(world.event().result.unwrap().finding(), Finding::NoRecords);
    world.ask("no.test", RecordType::A);
    world.only();
}

#[test]
fn a_cache_has_a_bound_and_the_longest_unused_goes() {
    let mut options = DnsOptions::with_servers([at(FIRST)]);
    options.cache = CacheOptions {
        max_entries: 2,
        ..CacheOptions::default()
    };
    let mut world = World::new(options);
    for text in ["a.test", "b.test", "a.test", "c.test"] {
        world.ask(text, RecordType::A);
        for asked in world.asked() {
            world.reply(&asked, &asked.with_a([192, 0, 2, 1]));
        }
        world.event();
    }
    assert_eq!((world.engine.stats().kept, world.engine.stats().cached), (2, 1));
    world.ask("a.test", RecordType::A);
    world.none();
    world.ask("b.test", RecordType::A);
    world.only();
}

#[test]
fn a_cache_bound_in_bytes_holds() {
    let mut options = DnsOptions::with_servers([at(FIRST)]);
    options.cache = CacheOptions {
        max_bytes: 20_000,
        ..CacheOptions::default()
    };
    let mut world = World::new(options);
    for number in 0..200 {
        world.ask(&format!("n{number}.test"), RecordType::A);
        let asked = world.only();
        world.reply(&asked, &asked.with_a([192, 0, 2, 1]));
        world.event();
        assert!(world.engine.stats().kept_bytes <= 20_000);
    }
    assert!(world.engine.stats().kept > 10);
}

#[test]
fn stale_answers_are_given_where_nobody_answers_and_only_then() {
    let mut options = DnsOptions::with_servers([at(FIRST)]);
    options.cache.stale = Duration::from_secs(3_600);
    let mut world = World::new(options);
    world.ask("a.test", RecordType::A);
    let asked = world.only();
    world.reply(&asked, &asked.with_a([192, 0, 2, 1]));
    world.event();
    world.pass(Duration::from_secs(400));
    world.asked();

    world.ask("a.test", RecordType::A);
    let asked = world.only();
    world.quiet();
    world.pass(ms(1_800));
    let answer = world.event().result.unwrap();
    assert_eq!((answer.origin, answer.took), (Origin::Stale, ms(1_800)));
    // The question is still under way, and the next who asks is given its answer.
    world.reply(&asked, &asked.with_a([192, 0, 2, 2]));
    world.quiet();
    world.ask("a.test", RecordType::A);
    assert_eq!(world.ips(), ["192.0.2.2"]);
    world.pass(Duration::from_secs(400));
    world.asked();

    world.ask("a.test", RecordType::A);
    let asked = world.only();
    world.reply(&asked, &asked.code(ResponseCode::SERVER_FAILURE));
    let asked = world.only();
    world.reply(&asked, &asked.code(ResponseCode::SERVER_FAILURE));
    assert_eq!(world.event().result.unwrap().origin, Origin::Stale);
    world.pass(Duration::from_secs(3_600));
    world.asked();
    world.ask("a.test", RecordType::A);
    world.only();
}

#[test]
fn prefetch_asks_before_the_time_is_over_if_wanted() {
    for prefetch in [false, true] {
        let mut options = DnsOptions::with_servers([at(FIRST)]);
        options.cache.prefetch = prefetch;
        let mut world = World::new(options);
        world.ask("a.test", RecordType::A);
        let asked = world.only();
        world.reply(&asked, &asked.with_a([192, 0, 2, 1]));
        world.event();
        world.pass(Duration::from_secs(280));
        world.none();
        world.ask("a.test", RecordType::A);
        assert_eq!(world.ips(), ["192.0.2.1"]);
        let asked = world.asked();
        assert_eq!(asked.len(), usize::from(prefetch));
        if let Some(asked) = asked.front() {
            world.reply(asked, &asked.with_a([192, 0, 2, 2]));
            world.quiet();
            world.ask("a.test", RecordType::A);
            assert_eq!(world.ips(), ["192.0.2.2"]);
        }
    }
}

/// An engine that gives stale answers.
fn stale() -> World {
    let mut options = DnsOptions::with_servers([at(FIRST)]);
    options.search = vec![name("one.test")];
    options.cache.stale = Duration::from_secs(3_600);
    World::new(options)
}

#[test]
fn what_comes_after_a_stale_answer_is_no_second_answer() {
    let mut world = stale();
    world.ask("a.test", RecordType::AAAA);
    let asked = world.only();
    world.reply(&asked, &asked.no_name());
    world.event();
    world.pass(Duration::from_secs(100));
    world.none();

    let request = Request::addresses(name("a.test"));
    world.engine.lookup(world.now, request).unwrap();
    let asked = world.asked();
    world.pass(ms(1_800));
    let event = world.event();
    assert_eq!((event.record_type, event.is_last), (RecordType::AAAA, false));
    for asked in &asked {
        world.reply(asked, &asked.with_a([192, 0, 2, 1]));
    }
    let event = world.event();
    assert_eq!((event.record_type, event.is_last), (RecordType::A, true));
    world.quiet();
}

#[test]
fn an_answer_that_comes_after_the_stale_one_is_not_taken_for_the_next_names() {
    let mut world = stale();
    let ask = |world: &mut World| {
        let request = Request::records(name("host"), RecordType::A).with_search();
        world.engine.lookup(world.now, request).unwrap();
    };
    ask(&mut world);
    for _ in 0..2 {
        let asked = world.only();
        world.reply(&asked, &asked.no_name());
    }
    world.event();
    world.pass(Duration::from_secs(100));
    world.none();

    ask(&mut world);
    let first = world.only();
    assert_eq!(first.name(), name("host.one.test"));
    world.pass(ms(1_800));
    let second = world.only();
    assert_eq!(second.name(), name("host"));
    world.reply(&first, &first.with_a([192, 0, 2, 66]));
    world.quiet();
    world.reply(&second, &second.with_a([192, 0, 2, 1]));
    let answer = world.event().result.unwrap();
    assert_eq!(answer.question.name, name("host"));
    assert_eq!(answer.addresses().next(), Some([192, 0, 2, 1].into()));
    world.quiet();
}

#[test]
fn who_wants_it_fresh_is_given_nothing_that_was_kept() {
    let mut world = stale();
    world.ask("a.test", RecordType::A);
    let asked = world.only();
    world.reply(&asked, &asked.with_a([192, 0, 2, 1]));
    world.event();
    let fresh = Request {
        fresh: true,
        ..Request::records(name("a.test"), RecordType::A)
    };
    for fails in [true, false] {
        let request = fresh.clone().within(ms(3_000));
        world.engine.lookup(world.now, request).unwrap();
        while let Some(asked) = world.asked().pop_front().filter(|_| fails) {
            world.reply(&asked, &asked.code(ResponseCode::REFUSED));
        }
        world.pass(ms(3_000));
        assert!(world.event().result.is_err());
        world.quiet();
    }
    assert_eq!(world.engine.stats().stale, 0);
}

#[test]
fn questions_of_the_cache_are_not_counted_as_shared() {
    let mut options = DnsOptions::with_servers([at(FIRST)]);
    options.cache.prefetch = true;
    let mut world = World::new(options);
    world.ask("a.test", RecordType::A);
    let asked = world.only();
    world.reply(&asked, &asked.with_a([192, 0, 2, 1]));
    world.event();
    world.pass(Duration::from_secs(280));
    world.asked();
    for _ in 0..3 {
        world.ask("a.test", RecordType::A);
        world.event();
    }
    world.only();
    assert_eq!(world.engine.stats().shared, 0);
}

#[test]
fn other_bounds_of_the_cache_apply_with_the_same_servers() {
    let mut options = DnsOptions::with_servers([at(FIRST)]);
    let mut world = World::new(options.clone());
    options.cache.max_entries = 0;
    world.engine.reconfigure(world.now, options);
    world.ask("a.test", RecordType::A);
    let asked = world.only();
    world.reply(&asked, &asked.with_a([192, 0, 2, 1]));
    assert_eq!(world.engine.stats().kept, 0);
}
