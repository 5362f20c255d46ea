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
