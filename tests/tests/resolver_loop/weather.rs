//! Loss, outages, servers that nobody reaches; and that a seed does the same twice.

use std::time::Duration;

use sockeye_event_loop::Time;
use sockeye_resolver::dns::{Carrier, QueryError, RecordType, Request, Server};
use sockeye_sim::NoRoute;
use sockeye_sim::names::{Behaviour, NameServer};

use super::setting::{AT_ONCE, Ground, TIMEOUT, addresses, honest, ms, name, to, zones};

const WWW: &str = "www.example.test";

#[test]
fn a_port_that_nobody_listens_at_is_passed_over_at_once() {
    let mut ground = Ground::with(1, [honest(), honest()]);
    let nobody = ground.sim.host([10, 0, 0, 77]);
    ground.configure(|options| {
        let at: std::net::SocketAddr = ([10, 0, 0, 77], 53).into();
        options.servers.insert(0, at.into());
    });
    let (took, result) = ground.ask(WWW, RecordType::A);
    assert_eq!(result.unwrap().content.server, Some(Ground::server_at(0)));
    assert!(took < AT_ONCE, "{took:?}");
    assert_eq!((ground.stats().retries, ground.stats().timeouts), (1, 0));
    // It is asked last for a while.
    let (_, result) = ground.ask(WWW, RecordType::AAAA);
    assert!(result.is_ok());
    assert_eq!(ground.stats().retries, 1);
    ground.assert_idle();
    assert_eq!(ground.sim.descriptors(nobody), 0);

    // With nobody else that is the error.
    let server: std::net::SocketAddr = ([10, 0, 0, 77], 53).into();
    ground.configure(|options| options.servers = vec![server.into()]);
    let (took, result) = ground.ask("v4.example.test", RecordType::A);
    assert_eq!(result, Err(QueryError::Unreachable { server }));
    assert!(took < AT_ONCE, "{took:?}");
    ground.assert_idle();
}

#[test]
fn a_route_that_refuses_is_passed_over_at_once() {
    for why in [NoRoute::Unreachable, NoRoute::Prohibited] {
        let mut ground = Ground::with(1, [honest(), honest()]);
        let first = Ground::server_at(0).ip();
        ground.sim.refuse_route(ground.client, first..=first, why);
        let (took, result) = ground.ask(WWW, RecordType::A);
        assert_eq!(
            result.unwrap().content.server,
            Some(Ground::server_at(1)),
            "{why:?}"
        );
        assert!(took < AT_ONCE, "{why:?}: {took:?}");
        assert_eq!(
            (ground.stats().retries, ground.stats().timeouts),
            (1, 0),
            "{why:?}"
        );
        ground.assert_idle();
    }
}

#[test]
fn loss_costs_time_and_no_answers() {
    let lossy = || {
        honest().with(Behaviour {
            loss_ppm: 300_000,
            latency: ms(5),
            jitter: ms(20),
            ..Behaviour::default()
        })
    };
    let mut ground = Ground::with(4, [lossy(), lossy()]).configured(|options| {
        options.servers = (0..2).map(|place| Ground::server_at(place).into()).collect();
        options.attempts = 5;
        options.timeout = Duration::from_secs(1);
    });
    let requests = (0..200).map(|n| Request::records(name(&format!("n{n}.example.test")), RecordType::A));
    let (_, events) = ground.ask_all(requests.collect());
    assert!(events.iter().all(|event| event.result.is_ok()));
    let lost: u64 = ground
        .servers
        .iter()
        .map(|server| server.counters().dropped)
        .sum();
    let stats = ground.stats();
    assert!(lost > 30, "{lost}");
    assert_eq!((stats.retries, stats.timeouts), (lost, lost));
    assert_eq!(stats.datagrams, 200 + lost);
    ground.assert_idle();
}

#[test]
fn an_outage_is_waited_out() {
    let out = |until| Behaviour {
        outages: vec![Time::ZERO..Time::ZERO + until],
        ..Behaviour::default()
    };
    let mut ground = Ground::new(honest().with(out(TIMEOUT - ms(1))));
    let (took, result) = ground.ask(WWW, RecordType::A);
    assert_eq!(addresses(&result.unwrap()), ["192.0.2.80"]);
    assert!((TIMEOUT..TIMEOUT + AT_ONCE).contains(&took), "{took:?}");
    assert_eq!(ground.servers[0].counters().dropped, 1);

    let mut ground = Ground::new(honest().with(out(3 * TIMEOUT)));
    let (took, result) = ground.ask(WWW, RecordType::A);
    assert_eq!(
        result,
        Err(QueryError::TimedOut {
            last: Some(Ground::server_at(0))
        })
    );
    assert!((2 * TIMEOUT..2 * TIMEOUT + AT_ONCE).contains(&took), "{took:?}");
    assert_eq!((ground.stats().timeouts, ground.stats().retries), (2, 1));
    ground.assert_idle();
}

#[test]
fn servers_take_turns_if_they_are_to() {
    let mut ground =
        Ground::with(1, [honest(), honest(), honest()]).configured(|options| options.rotate = true);
    for n in 0..9 {
        assert!(ground.ask(&format!("n{n}.example.test"), RecordType::A).1.is_ok());
    }
    let counts: Vec<_> = ground
        .servers
        .iter()
        .map(|server| server.counters().udp)
        .collect();
    assert_eq!(counts, [3, 3, 3]);
}

#[test]
fn ids_and_ports_are_spread() {
    let mut ground = Ground::new(honest());
    ground.servers[0].log();
    // More at once would not fit the server's receive buffer.
    for batch in 0..5 {
        let requests = (0..200).map(|n| {
            let asked = name(&format!("n{n}.b{batch}.example.test"));
            Request::records(asked, RecordType::A)
        });
        let (_, events) = ground.ask_all(requests.collect());
        assert!(events.iter().all(|event| event.result.is_ok()));
    }
    let asked = ground.servers[0].asked();
    let mut ports: Vec<_> = asked.iter().map(|asked| asked.client.port()).collect();
    let mut ids: Vec<_> = asked.iter().map(|asked| asked.id).collect();
    let steps = ids
        .windows(2)
        .filter(|pair| pair[1] == pair[0].wrapping_add(1))
        .count();
    for all in [&mut ports, &mut ids] {
        all.sort_unstable();
        all.dedup();
    }
    // 16 sockets; of 1,000 ids by chance about 8 meet.
    assert!(ports.len() >= 16, "{ports:?}");
    assert!(ids.len() > 950, "{}", ids.len());
    assert!(steps < 10, "{steps}");
    let cased = asked.iter().filter(|asked| {
        asked
            .question
            .name
            .to_string()
            .contains(|c: char| c.is_ascii_uppercase())
    });
    assert!(cased.count() > 990);
    ground.assert_idle();
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
        let mut ground = Ground::with(seed, [server, honest()]);
        let requests = (0..50).map(|n| Request::addresses(name(&format!("n{n}.example.test"))));
        let (took, events) = ground.ask_all(requests.collect());
        let (connected, _) = ground.connect(to(WWW));
        (ground.sim.trace_hash(), took, events, connected, ground.stats())
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3).0, run(4).0);
}

#[test]
fn without_descriptors_lookups_fail_and_nothing_stays() {
    let mut ground = Ground::new(honest());
    ground.sim.set_descriptor_limit(ground.client, 0);
    let (_, result) = ground.ask(WWW, RecordType::A);
    assert_eq!(
        result,
        Err(QueryError::Unreachable {
            server: Ground::server_at(0)
        })
    );
    ground.sim.set_descriptor_limit(ground.client, 100);
    let (_, result) = ground.ask(WWW, RecordType::A);
    assert!(result.is_ok());
    ground.assert_idle();
}

#[test]
fn a_server_of_ipv6_is_asked_by_it() {
    let mut ground = Ground::new(honest());
    let (host, six) = (
        ground.hosts[0],
        "2001:db8::53".parse::<std::net::IpAddr>().unwrap(),
    );
    ground.sim.add_address(host, six);
    let at = std::net::SocketAddr::new(six, 53);
    ground.servers[0].clone().serve(ground.sim.on(host), at).unwrap();
    for carrier in [Carrier::Udp, Carrier::Tcp] {
        ground.configure(|options| options.servers = vec![Server::new(at).by(carrier)]);
        let content = ground.ask(WWW, RecordType::A).1.unwrap().content;
        assert_eq!((content.server, content.carrier), (Some(at), carrier));
    }
    ground.assert_idle();
}

#[test]
fn a_connection_that_goes_silent_is_replaced() {
    let mut ground = Ground::new(honest()).configured(|options| {
        options.servers[0].carrier = Carrier::Tcp;
        options.idle = Duration::from_secs(60);
    });
    assert!(ground.ask(WWW, RecordType::A).1.is_ok());
    ground.cut_off(0);
    let requests = (0..3).map(|n| Request::records(name(&format!("n{n}.example.test")), RecordType::A));
    for request in requests {
        ground.resolve(request);
    }
    ground.sim.run_for(TIMEOUT - ms(1)).unwrap();
    ground.sim.heal(ground.client, ground.hosts[0]);
    // The old connection's packets come too, but its questions have left it for another one.
    ground.sim.run_for(ms(1) + AT_ONCE).unwrap();
    let answers = std::mem::take(&mut ground.diary.borrow_mut().answers);
    assert!(
        answers.len() == 3 && answers.iter().all(|(_, event)| event.result.is_ok()),
        "{answers:?}"
    );
    assert!(ground.servers[0].counters().connections <= 2);
    ground.assert_idle();
}

#[test]
fn twenty_thousand_questions_on_a_connection() {
    let mut ground = Ground::new(honest()).configured(|options| options.servers[0].carrier = Carrier::Tcp);
    let requests = (0..20_000).map(|n| Request::records(name(&format!("n{n}.example.test")), RecordType::A));
    let (_, events) = ground.ask_all(requests.collect());
    assert!(events.iter().all(|event| event.result.is_ok()));
    let stats = ground.stats();
    assert_eq!((stats.streamed, stats.retries, stats.timeouts), (20_000, 0, 0));
    assert_eq!(ground.servers[0].counters().connections, 1);
    ground.assert_idle();
}
