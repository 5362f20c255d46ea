//! Latency, loss and outages: all of them on the virtual clock, all of them the same for a seed.

use std::time::Duration;

use sockeye_event_loop::Time;
use sockeye_resolver::dns::{RecordType, ResponseCode};
use sockeye_sim::names::{Behaviour, NameServer, Rule};

use super::setting::{Ground, LONG, ms, query, wire, zones};

fn at(milliseconds: u64) -> Time {
    Time::ZERO + ms(milliseconds)
}

#[test]
fn answers_take_their_time_and_overtake_each_other() {
    let slow = Rule::for_type(RecordType::AAAA, Behaviour::latency(ms(200)));
    let server = NameServer::new(zones())
        .with(Behaviour::latency(ms(50)))
        .with_rule(slow);
    let mut ground = Ground::new(server);
    let heard = ground.ask(&[
        query(1, "www.example.test", RecordType::AAAA),
        query(2, "www.example.test", RecordType::A),
    ]);
    let ids: Vec<u16> = heard.iter().map(|heard| heard.message().id).collect();
    assert_eq!(ids, [2, 1]);
    for (heard, after) in heard.iter().zip([ms(50), ms(200)]) {
        // The way there and back over an ideal link, and the turns of two loops, take microseconds.
        assert!((after..after + ms(1)).contains(&heard.at), "{:?}", heard.at);
    }
}

#[test]
fn jitter_stays_within_its_bounds_and_varies() {
    let server = NameServer::new(zones()).with(Behaviour {
        latency: ms(10),
        jitter: ms(20),
        ..Behaviour::default()
    });
    let mut ground = Ground::new(server);
    let queries: Vec<_> = (0..100)
        .map(|id| query(id, "www.example.test", RecordType::A))
        .collect();
    let times: Vec<Duration> = ground.ask(&queries).iter().map(|heard| heard.at).collect();
    assert_eq!(times.len(), 100);
    assert!(times.iter().all(|at| (ms(10)..ms(31)).contains(at)), "{times:?}");
    assert!(
        times.last().unwrap().saturating_sub(times[0]) > ms(10),
        "{times:?}"
    );
}

#[test]
fn an_outage_begins_and_ends() {
    let server = NameServer::new(zones()).with(Behaviour {
        outages: vec![at(100)..at(200), at(300)..at(400)],
        ..Behaviour::default()
    });
    let mut ground = Ground::new(server);
    let queries = (0..5_u16).map(|place| {
        let asked = query(place, "www.example.test", RecordType::A);
        (ms(50 + 100 * u64::from(place)), wire(&asked))
    });
    let heard = ground.send(ground.address(), queries.collect());
    let ids: Vec<u16> = heard.iter().map(|heard| heard.message().id).collect();
    assert_eq!(ids, [0, 2, 4]);
    assert_eq!(ground.server.counters().dropped, 2);
}

#[test]
fn a_server_is_cut_off_by_its_handle() {
    let mut ground = Ground::new(NameServer::new(zones()));
    let asked = query(1, "www.example.test", RecordType::A);
    let handle = ground.server.clone();
    handle.set_down(true);
    assert_eq!(ground.ask(std::slice::from_ref(&asked)), []);
    handle.set_down(false);
    assert_eq!(ground.one(&asked).addresses(), ["192.0.2.80"]);
    assert_eq!((handle.counters().udp, handle.counters().dropped), (2, 1));
    handle.update(|zones| zones.remove(&"www.example.test".parse().unwrap(), None));
    assert_eq!(ground.one(&asked).message().answers, []);
}

#[test]
fn lost_queries_are_counted() {
    let server = NameServer::new(zones()).with(Behaviour {
        loss_ppm: 300_000,
        ..Behaviour::default()
    });
    let mut ground = Ground::new(server);
    let queries: Vec<_> = (0..200)
        .map(|id| query(id, "www.example.test", RecordType::A))
        .collect();
    let heard = ground.ask(&queries).len() as u64;
    let counters = ground.server.counters();
    assert_eq!((counters.udp, counters.dropped), (200, 200 - heard));
    assert!((100..180).contains(&heard), "{heard}");
}

#[test]
fn a_seed_does_the_same_twice() {
    let run = |seed| {
        let server = NameServer::new(zones()).with(Behaviour {
            latency: ms(5),
            jitter: ms(100),
            loss_ppm: 200_000,
            duplicates: 1,
            ..Behaviour::default()
        });
        let mut ground = Ground::with_seed(seed, server);
        let queries: Vec<_> = (0..50)
            .map(|id| query(id, "www.example.test", RecordType::A))
            .collect();
        let heard = ground.ask(&queries);
        (ground.sim.trace_hash(), heard, ground.server.counters())
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3).0, run(4).0);
}

#[test]
fn codes_and_lameness_are_what_was_asked_for() {
    for code in [
        ResponseCode::SERVER_FAILURE,
        ResponseCode::REFUSED,
        ResponseCode::FORMAT_ERROR,
        ResponseCode::NOT_IMPLEMENTED,
        ResponseCode::NAME_ERROR,
    ] {
        let mut ground = Ground::new(NameServer::new(zones()).with(Behaviour::code(code)));
        let message = ground.one(&query(1, "www.example.test", RecordType::A)).message();
        assert_eq!((message.code, message.answers.len()), (code, 0));
        assert!(message.question.is_some());
    }
    let lame = Behaviour {
        lame: true,
        ..Behaviour::default()
    };
    let mut ground = Ground::new(NameServer::new(zones()).with(lame));
    let message = ground.one(&query(1, "www.example.test", RecordType::A)).message();
    assert_eq!(
        (message.code, message.answers.len(), message.authorities.len()),
        (ResponseCode::NO_ERROR, 0, 0)
    );
    assert!(!message.flags.authoritative && !message.flags.recursion_available);
}

#[test]
fn nothing_is_left_of_a_server_that_was_stopped() {
    let mut ground = Ground::new(NameServer::new(zones()).with(Behaviour::latency(ms(10))));
    let _ = ground.one(&query(1, "www.example.test", RecordType::A));
    ground.sim.on(ground.host).start_drain(ms(10));
    ground.sim.on(ground.client).start_drain(ms(10));
    ground.sim.run_for(LONG).unwrap();
    let left = ground.sim.leftovers();
    assert_eq!((left.timers, left.connections), (0, 0));
}
