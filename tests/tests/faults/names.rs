//! Names: servers that never answer, and answers of every size.

use std::time::Duration;

use sockeye_resolver::dns::{Record, RecordData, RecordType};
use sockeye_sim::names::NameServer;

use crate::setting::{Ground, V4, addresses, honest, ms, name, to, zones};

/// A zone in which `many` has so many addresses, the last of which somebody has.
fn with_addresses(count: u32) -> NameServer {
    let mut zones = zones();
    for place in 1..count {
        zones.insert(Record::new(
            name("many.example.test"),
            60,
            RecordData::A((0x0a63_0000 + place).into()),
        ));
    }
    if let std::net::IpAddr::V4(web) = V4 {
        zones.insert(Record::new(name("many.example.test"), 60, RecordData::A(web)));
    }
    NameServer::new(zones)
}

/// A thousand addresses are an answer like another; a connect tries no more of them than its bound.
#[test]
fn a_thousand_answers_are_read_and_tried_within_bounds_simulated() {
    let mut ground = Ground::new(with_addresses(1_000));
    let (_, answer) = ground.ask("many.example.test", RecordType::A);
    assert_eq!(addresses(&answer.unwrap()).len(), 1_000);
    let (took, result) = ground.connect(to("many.example.test").deadline(Duration::from_secs(30)));
    match result {
        Ok(ip) => assert_eq!(ip, V4),
        Err(failure) => {
            assert!(
                failure.attempts.len() <= 64,
                "{} attempts",
                failure.attempts.len()
            );
        }
    }
    assert!(took <= Duration::from_secs(30) + ms(10), "{took:?}");
    ground.assert_idle();
}

/// No address at all: an error that says so, at once.
#[test]
fn no_answer_is_an_error_at_once_simulated() {
    let mut ground = Ground::new(honest());
    for host in ["mail.example.test", "nobody.example.test"] {
        let (_, answer) = ground.ask(host, RecordType::AAAA);
        assert!(answer.map_or(true, |answer| addresses(&answer).is_empty()));
    }
    let (took, result) = ground.connect(to("nobody.example.test"));
    assert!(result.is_err());
    assert!(took < ms(100), "{took:?}");
    ground.assert_idle();
}

/// Nobody answers, ever: the connect ends at its deadline, and nothing is left of its question.
#[test]
fn a_hung_server_costs_its_deadline_simulated() {
    let mut ground = Ground::new(honest());
    ground.cut_off(0);
    let (took, result) = ground.connect(to("www.example.test").deadline(Duration::from_secs(3)));
    assert!(result.is_err());
    assert!((ms(2_990)..=ms(3_010)).contains(&took), "{took:?}");
    ground.assert_idle();
}

/// The same on the kernel: a server that reads no question costs its connect, and the loop serves others meanwhile.
#[test]
fn a_hung_server_costs_its_deadline() {
    use crate::ground::{alone, is_served, serve_echo};
    use crate::probe::{Probe, Told};
    use crate::world::{OnKernel, World};
    use sockeye_event_loop::names::{DnsConfig, NameSource};
    use sockeye_resolver::dns::DnsOptions;
    alone("names::a_hung_server_costs_its_deadline", || {
        let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut world = OnKernel::new();
        let config = DnsConfig {
            options: DnsOptions::with_servers([silent.local_addr().unwrap()]),
            ..DnsConfig::default()
        };
        world.client().set_names(NameSource::Dns(Box::new(config)));
        let (_, at) = serve_echo(&mut world);
        let request = to("www.example.test").deadline(ms(300));
        let client = Probe::new().connect_with(&mut world, request, Default::default());
        let log = client.log.clone();
        let failed = |told: &Told| matches!(told, Told::ConnectFailed(_));
        let mut served = 0;
        while !log.all().iter().any(failed) {
            is_served(&mut world, at);
            served += 1;
        }
        assert!(served > 2, "others are served meanwhile: {served}");
        assert_eq!(log.opened(), 0);
    });
}
