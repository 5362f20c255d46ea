//! Connects to names: the answers as they come, and what is tried first.

use std::time::Duration;

use sockeye_event_loop::ConnectFault;
use sockeye_resolver::dns::{CacheOptions, Record, RecordData, RecordType, Request, ResponseCode};
use sockeye_sim::names::{Behaviour, Lie, Rule};

use super::setting::{AT_ONCE, Ground, TIMEOUT, V4, V6, honest, ms, name, to, unresolved};

/// Beside a good A, AAAA is answered like this.
fn aaaa(behaviour: Behaviour) -> Ground {
    Ground::new(honest().with_rule(Rule::for_type(RecordType::AAAA, behaviour)))
}

fn a(behaviour: Behaviour) -> Ground {
    Ground::new(honest().with_rule(Rule::for_type(RecordType::A, behaviour)))
}

fn silent() -> Behaviour {
    Behaviour {
        loss_ppm: 1_000_000,
        ..Behaviour::default()
    }
}

#[track_caller]
fn connects(ground: &mut Ground, host: &str, expected: std::net::IpAddr) -> Duration {
    let (took, result) = ground.connect(to(host));
    assert_eq!(result.unwrap(), expected);
    took
}

#[test]
fn ipv6_is_first_where_both_are_there() {
    let mut ground = Ground::new(honest());
    let took = connects(&mut ground, "www.example.test", V6);
    assert!(took < AT_ONCE, "{took:?}");
    let stats = ground.stats();
    assert_eq!((stats.lookups, stats.datagrams, stats.retries), (1, 2, 0));
    // The hosts have no address of 192.0.2.80's connection: nobody tried it.
    assert_eq!(ground.sim.on(ground.web).open_streams(), 1);
}

#[test]
fn one_family_is_enough() {
    for (host, expected) in [
        ("v4.example.test", V4),
        ("v6.example.test", V6),
        ("alias.example.test", V6),
    ] {
        let mut ground = Ground::new(honest());
        let took = connects(&mut ground, host, expected);
        assert!(took < AT_ONCE, "{host}: {took:?}");
    }
}

#[test]
fn an_aaaa_that_fails_does_not_hold_up_a_good_a() {
    for code in [
        ResponseCode::SERVER_FAILURE,
        ResponseCode::REFUSED,
        ResponseCode::NOT_IMPLEMENTED,
    ] {
        let mut ground = aaaa(Behaviour::code(code));
        let took = connects(&mut ground, "www.example.test", V4);
        assert!(took < AT_ONCE, "{code}: {took:?}");
        assert!(ground.servers[0].counters().answers[&code] >= 1);
    }
}

#[test]
fn an_aaaa_that_never_comes_is_waited_for_50_ms() {
    let mut ground = aaaa(silent());
    let took = connects(&mut ground, "www.example.test", V4);
    assert!((ms(50)..ms(50) + AT_ONCE).contains(&took), "{took:?}");
    // What is not needed any more is not asked for any more.
    assert_eq!(ground.stats().under_way, 0);
}

#[test]
fn an_a_that_never_comes_is_not_waited_for() {
    let mut ground = a(silent());
    let took = connects(&mut ground, "www.example.test", V6);
    assert!(took < AT_ONCE, "{took:?}");
    assert_eq!(ground.stats().under_way, 0);
}

#[test]
fn an_aaaa_that_comes_late_joins_the_race() {
    // The A record's address is there, and nobody answers at it.
    let mut ground = aaaa(Behaviour::latency(ms(400)));
    ground.servers[0].update(|zones| {
        zones.remove(&name("www.example.test"), Some(RecordType::A));
        let black_hole = RecordData::A([10, 0, 0, 99].into());
        zones.insert(Record::new(name("www.example.test"), 60, black_hole));
    });
    let hole = ground.sim.host([10, 0, 0, 99]);
    ground.sim.partition(ground.client, hole);
    let took = connects(&mut ground, "www.example.test", V6);
    assert!((ms(400)..ms(400) + AT_ONCE).contains(&took), "{took:?}");
}

#[test]
fn a_name_server_that_is_cut_off_is_passed_over() {
    let mut ground = Ground::with(1, [honest(), honest()]);
    ground.cut_off(0);
    let took = connects(&mut ground, "www.example.test", V6);
    assert!((TIMEOUT..TIMEOUT + AT_ONCE).contains(&took), "{took:?}");
    assert_eq!(
        (ground.servers[0].counters().udp, ground.servers[1].counters().udp),
        (0, 2)
    );
    assert_eq!(ground.stats().timeouts, 2);
    // The next time the one that answers is asked first.
    let took = connects(&mut ground, "v4.example.test", V4);
    assert!(took < AT_ONCE, "{took:?}");
    assert_eq!(ground.stats().timeouts, 2);
}

#[test]
fn what_came_before_the_server_was_cut_off_is_used() {
    let mut ground = a(Behaviour::latency(ms(100)));
    let begun = ground.sim.now();
    ground.start(to("www.example.test"));
    ground.sim.run_for(Duration::from_micros(50)).unwrap();
    ground.cut_off(0);
    let (took, result) = ground.decided(begun);
    assert_eq!((result.unwrap(), ground.servers[0].counters().udp), (V6, 2));
    assert!(took < AT_ONCE, "{took:?}");

    let mut ground = aaaa(Behaviour::latency(ms(100)));
    let begun = ground.sim.now();
    ground.start(to("www.example.test"));
    ground.sim.run_for(ms(1)).unwrap();
    ground.cut_off(0);
    let (took, result) = ground.decided(begun);
    assert_eq!(result.unwrap(), V4);
    assert!((ms(50)..ms(50) + AT_ONCE).contains(&took), "{took:?}");
}

#[test]
fn the_cache_outlasts_the_server() {
    let mut ground = Ground::new(honest());
    connects(&mut ground, "www.example.test", V6);
    ground.cut_off(0);
    ground.sim.run_for(Duration::from_secs(200)).unwrap();
    let took = connects(&mut ground, "www.example.test", V6);
    assert!(took < AT_ONCE, "{took:?}");
    assert_eq!(ground.stats().cached, 2);
    // Five minutes are what the zone says.
    ground.sim.run_for(Duration::from_secs(101)).unwrap();
    let (_, result) = ground.connect(to("www.example.test"));
    assert_eq!(
        unresolved(&result.unwrap_err()),
        "no answer from the name servers (last asked: 10.0.0.53:53)"
    );
}

#[test]
fn stale_answers_are_given_on_request() {
    let stale = CacheOptions {
        stale: Duration::from_secs(3_600),
        ..CacheOptions::default()
    };
    let mut ground = Ground::new(honest()).configured(|options| options.cache = stale);
    connects(&mut ground, "brief.example.test", V6);
    ground.sim.run_for(Duration::from_secs(60)).unwrap();
    ground.cut_off(0);
    let took = connects(&mut ground, "brief.example.test", V6);
    // RFC 8767 section 5: 1.8 s for the servers, then what is stale.
    assert!((ms(1_800)..ms(1_800) + AT_ONCE).contains(&took), "{took:?}");
    assert_eq!(ground.stats().stale, 2);
    ground.sim.run_for(Duration::from_secs(3_600)).unwrap();
    let (_, result) = ground.connect(to("brief.example.test"));
    assert!(matches!(result.unwrap_err().cause, ConnectFault::Unresolved(_)));
}

#[test]
fn the_search_list_completes_names() {
    let search = |text: &str, host: &str| {
        let suffixes: Vec<_> = text.split_whitespace().map(name).collect();
        let mut ground = Ground::new(honest()).configured(|options| options.search = suffixes);
        ground.servers[0].log();
        let (_, result) = ground.connect(to(host));
        let asked = ground.servers[0].asked();
        let mut asked: Vec<_> = asked
            .iter()
            .map(|asked| asked.question.name.to_string())
            .collect();
        asked.iter_mut().for_each(|name| name.make_ascii_lowercase());
        asked.dedup();
        (result.ok(), asked)
    };
    let (found, asked) = search("nope.example.test example.test", "www");
    assert_eq!(
        (found, asked),
        (
            Some(V6),
            vec!["www.nope.example.test".into(), "www.example.test".into()]
        )
    );
    // One with a dot is tried alone first, one with a dot at its end alone only.
    let (found, asked) = search("test", "www.example");
    assert_eq!(
        (found, asked),
        (Some(V6), vec!["www.example".into(), "www.example.test".into()])
    );
    let (found, asked) = search("example.test", "www.");
    assert_eq!((found, asked), (None, vec!["www".to_owned()]));
}

#[test]
fn names_that_do_not_exist_fail_at_once_and_are_remembered() {
    let mut ground = Ground::new(honest());
    for cached in [0, 2] {
        let (took, result) = ground.connect(to("nope.example.test").tag(9));
        let failure = result.unwrap_err();
        assert!(took < AT_ONCE, "{took:?}");
        assert_eq!((failure.tag, failure.attempts.len()), (9, 0));
        assert_eq!(unresolved(&failure), "no such name, or no address of this family");
        assert_eq!(ground.stats().cached, cached);
    }
    ground.assert_idle();
}

#[test]
fn without_servers_it_says_so() {
    let mut ground = Ground::of(1, [], &["10.0.0.1"]);
    let (took, result) = ground.connect(to("www.example.test"));
    let failure = result.unwrap_err();
    assert_eq!(took, Duration::ZERO);
    assert!(
        unresolved(&failure).contains("no name server is configured"),
        "{failure}"
    );
    let (_, result) = ground.connect(to("localhost"));
    // Nobody listens there, but the name is known.
    assert!(matches!(result.unwrap_err().cause, ConnectFault::Failed(_)));
}

#[test]
fn servers_that_fail_are_named() {
    let mut ground = Ground::new(honest().with(Behaviour::code(ResponseCode::REFUSED)));
    let (_, result) = ground.connect(to("www.example.test"));
    assert_eq!(
        unresolved(&result.unwrap_err()),
        "name server 10.0.0.53:53 answered REFUSED"
    );
}

#[test]
fn the_deadline_of_a_connect_ends_its_query() {
    let mut ground = Ground::new(honest());
    ground.cut_off(0);
    let within = Duration::from_secs(1);
    let (took, result) = ground.connect(to("www.example.test").deadline(within));
    assert!(matches!(result.unwrap_err().cause, ConnectFault::TimedOut));
    assert!((within..within + AT_ONCE).contains(&took), "{took:?}");
    assert_eq!(ground.stats().under_way, 0);
    ground.assert_idle();
    assert_eq!(ground.stats().datagrams, 2, "nobody goes on to ask");
}

#[test]
fn a_cancelled_connect_asks_no_more() {
    let mut ground = Ground::new(honest());
    ground.cut_off(0);
    let begun = ground.sim.now();
    let id = ground.start(to("www.example.test"));
    ground.sim.run_for(ms(100)).unwrap();
    assert_eq!(ground.stats().under_way, 2);
    let cancelled = ground
        .sim
        .on(ground.client)
        .with(ground.asker, |_, context| context.cancel_connect(id));
    assert_eq!(cancelled, Some(true));
    let (_, result) = ground.decided(begun);
    assert!(matches!(result.unwrap_err().cause, ConnectFault::Cancelled));
    assert_eq!(ground.stats().under_way, 0);
    ground.assert_idle();
    assert_eq!(ground.stats().datagrams, 2, "nobody goes on to ask");
}

#[test]
fn a_name_that_is_rebound_does_not_pass_the_filter() {
    let rebind = Behaviour {
        rebind: vec![[127, 0, 0, 1].into(), std::net::Ipv6Addr::LOCALHOST.into()],
        ttl: Some(0),
        ..Behaviour::default()
    };
    let mut ground = Ground::new(honest().with(rebind));
    // As a service on this host that nobody else is to reach.
    ground.sim.listen(ground.client, 80, Nothing).unwrap();
    let public = |ip: std::net::IpAddr| ip == V4 || ip == V6;
    let (_, result) = ground.connect(to("www.example.test").filter(public));
    assert_eq!(result.unwrap(), V6);
    let (_, result) = ground.connect(to("www.example.test").filter(public));
    let failure = result.unwrap_err();
    assert!(matches!(failure.cause, ConnectFault::NoAddress), "{failure:?}");
    assert_eq!(failure.attempts.len(), 0);
    // Without the filter it is what the name says now: the filter made the difference.
    let (_, result) = ground.connect(to("www.example.test"));
    assert!(result.unwrap().is_loopback());
}

struct Nothing;

impl sockeye_event_loop::StreamService for Nothing {
    type Conn = ();
    fn on_open(&mut self, _: &mut sockeye_event_loop::Stream<'_>) {}
    fn on_data(&mut self, _: &mut sockeye_event_loop::Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        data.len()
    }
}

#[test]
fn addresses_are_in_the_order_of_the_sources_that_a_host_has() {
    // Without an IPv6 address an IPv6 destination cannot be reached (RFC 6724 rule 1): IPv4 wins.
    let mut ground = Ground::of(1, [honest()], &["10.0.0.1"]).configured(|_| {});
    let took = connects(&mut ground, "www.example.test", V4);
    assert!(took <= ms(50) + AT_ONCE, "{took:?}");
    // Without an IPv4 address it cannot ask: its server has none of IPv6.
    let mut ground = Ground::of(1, [honest()], &["2001:db8::1"]).configured(|_| {});
    let (took, result) = ground.connect(to("www.example.test"));
    let failure = result.unwrap_err();
    assert!(
        unresolved(&failure).contains("10.0.0.53:53 cannot be reached"),
        "{failure}"
    );
    assert!(took < AT_ONCE, "{took:?}");
}

#[test]
fn a_lie_that_leads_to_this_host_does_not_pass_the_filter() {
    let mut ground = a(Behaviour::lie(Lie::Address([127, 0, 0, 1].into())));
    ground.sim.listen(ground.client, 80, Nothing).unwrap();
    let public = |ip: std::net::IpAddr| !ip.is_loopback();
    let (_, result) = ground.connect(to("v4.example.test").filter(public));
    assert!(matches!(result.unwrap_err().cause, ConnectFault::NoAddress));
    // The other family told the truth.
    let (_, result) = ground.connect(to("www.example.test").filter(public));
    assert_eq!(result.unwrap(), V6);
}

#[test]
fn who_asks_the_same_does_not_lose_it_with_the_connect() {
    let mut ground = Ground::new(honest().with(Behaviour::latency(ms(100))));
    let begun = ground.sim.now();
    let connect = ground.start(to("www.example.test"));
    ground.resolve(Request::records(name("www.example.test"), RecordType::A));
    let id = ground.resolve(Request::records(name("www.example.test"), RecordType::A));
    assert_eq!((ground.stats().under_way, ground.stats().shared), (2, 2));
    let events = ground.sim.on(ground.client);
    events.with(ground.asker, |_, context| {
        assert!(context.cancel_connect(connect));
        assert!(context.cancel_resolve(id));
        assert!(!context.cancel_resolve(id));
    });
    let (_, result) = ground.decided(begun);
    assert!(matches!(result.unwrap_err().cause, ConnectFault::Cancelled));
    assert_eq!(ground.stats().under_way, 1);
    ground.assert_idle();
    let answers = std::mem::take(&mut ground.diary.borrow_mut().answers);
    assert_eq!(answers.len(), 1);
    assert!(answers[0].1.result.is_ok());
}

#[test]
fn names_in_other_letters_are_asked_in_ascii() {
    let mut ground = Ground::new(honest());
    ground.servers[0].update(|zones| {
        let owner = name("xn--bcher-kva.example.test");
        zones.insert(Record::new(owner, 60, RecordData::A([192, 0, 2, 80].into())));
    });
    connects(&mut ground, "bücher.example.test", V4);
}

#[test]
fn a_loop_may_end_in_the_middle_of_it() {
    let mut ground = Ground::new(honest());
    ground.cut_off(0);
    ground.start(to("www.example.test"));
    ground.resolve(Request::addresses(name("alias.example.test")));
    ground.sim.run_for(ms(10)).unwrap();
    assert_eq!(ground.stats().under_way, 4);
    let diary = std::rc::Rc::clone(&ground.diary);
    drop(ground);
    assert_eq!((diary.borrow().open.len(), diary.borrow().answers.len()), (0, 0));
}
