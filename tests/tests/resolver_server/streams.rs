//! Answers by TCP: in pieces, many at once, out of order, and from servers that do not answer as they should.

use std::time::Duration;

use sockeye_resolver::dns::{Record, RecordData, RecordType};
use sockeye_sim::names::{Behaviour, Lie, NameServer, Rule, TcpSupport};

use super::setting::{Ground, Notes, framed, ms, query, zones};

fn ids(notes: &Notes) -> Vec<u16> {
    notes.heard.iter().map(|heard| heard.message().id).collect()
}

fn asked(id: u16) -> Vec<u8> {
    framed(&query(id, "www.example.test", RecordType::A))
}

#[test]
fn many_queries_in_one_piece_and_one_in_many() {
    let mut ground = Ground::new(NameServer::new(zones()));
    let all = (0..20).flat_map(asked).collect();
    let notes = ground.stream(vec![all], false);
    assert_eq!(ids(&notes), (0..20).collect::<Vec<u16>>());
    let pieces = [asked(1), asked(2)]
        .concat()
        .chunks(1)
        .map(<[u8]>::to_vec)
        .collect();
    let notes = ground.stream(pieces, true);
    assert_eq!(ids(&notes), [1, 2]);
    assert_eq!(notes.heard[0].addresses(), ["192.0.2.80"]);
    let counters = ground.server.counters();
    assert_eq!((counters.tcp, counters.udp, counters.connections), (22, 0, 2));
}

#[test]
fn answers_overtake_each_other_and_the_last_one_ends_the_connection() {
    let slow = Rule::for_type(RecordType::AAAA, Behaviour::latency(ms(100)));
    let mut ground = Ground::new(NameServer::new(zones()).with_rule(slow));
    let first = framed(&query(1, "www.example.test", RecordType::AAAA));
    let notes = ground.stream(vec![[first, asked(2)].concat()], true);
    assert_eq!(ids(&notes), [2, 1]);
    // In order and at once, though the client had ended its side long before.
    assert_eq!(notes.closed[0].1, "closed");
    assert!(
        (ms(100)..ms(200)).contains(&notes.closed[0].0),
        "{:?}",
        notes.closed
    );
}

#[test]
fn what_udp_truncates_is_whole_and_lies_are_not_told() {
    let mut zones = zones();
    for place in 0..3_000_u16 {
        let data = RecordData::A(u32::from(place).into());
        zones.insert(Record::new("big.example.test".parse().unwrap(), 60, data));
    }
    let mut ground = Ground::new(NameServer::new(zones).with(Behaviour::lie(Lie::WrongId)));
    let big = framed(&query(1, "big.example.test", RecordType::A));
    let notes = ground.stream(vec![[big, asked(2)].concat()], false);
    assert_eq!(ids(&notes), [1, 2]);
    let message = notes.heard[0].message();
    assert_eq!((message.answers.len(), message.flags.truncated), (3_000, false));
    assert_eq!(ground.server.counters().lied, 0);
}

#[test]
fn a_connection_without_queries_is_closed() {
    let server = NameServer::new(zones());
    server.set_tcp_idle(Duration::from_secs(3));
    let mut ground = Ground::new(server);
    let notes = ground.stream(vec![asked(1)], false);
    assert_eq!(ids(&notes), [1]);
    let (at, _) = notes.closed[0];
    assert!(
        (Duration::from_secs(3)..Duration::from_secs(4)).contains(&at),
        "{at:?}"
    );
}

#[test]
fn servers_that_reset_say_nothing_or_close() {
    let server = |tcp| NameServer::new(zones()).with(Behaviour::tcp(tcp));
    let mut ground = Ground::new(server(TcpSupport::Reset));
    let notes = ground.stream(vec![asked(1)], false);
    // Before the client knows that it is connected, or just after.
    assert_eq!(ids(&notes), [0; 0]);
    assert!(notes.closed[0].1.contains("reset"), "{:?}", notes.closed);

    let mut ground = Ground::new(server(TcpSupport::Silent));
    let notes = ground.stream(vec![asked(1)], true);
    assert_eq!(ids(&notes), [0; 0]);
    assert!(notes.closed[0].0 >= Duration::from_secs(9), "{:?}", notes.closed);
    assert_eq!(
        (ground.server.counters().tcp, ground.server.counters().dropped),
        (1, 1)
    );

    for (after, expected) in [(0, vec![]), (2, vec![0, 1])] {
        let mut ground = Ground::new(server(TcpSupport::ClosesAfter(after)));
        let notes = ground.stream((0..4).map(asked).collect(), false);
        assert_eq!(ids(&notes), expected);
        assert!(notes.closed[0].0 < ms(100), "{:?}", notes.closed);
    }
}

#[test]
fn a_server_may_send_one_byte_a_second() {
    let second = Duration::from_secs(1);
    let mut ground = Ground::new(NameServer::new(zones()).with(Behaviour::tcp(TcpSupport::Slow(second))));
    let notes = ground.stream(vec![asked(1)], false);
    assert_eq!(ids(&notes), [0; 0], "half a minute is not enough for 63 bytes");
    let faster = TcpSupport::Slow(ms(100));
    let mut ground = Ground::new(NameServer::new(zones()).with(Behaviour::tcp(faster)));
    let notes = ground.stream(vec![asked(1)], true);
    assert_eq!(ids(&notes), [1]);
    let bytes = u32::try_from(notes.heard[0].wire.len()).unwrap() + 2;
    let at = notes.heard[0].at;
    assert!(
        (ms(100) * bytes..ms(100) * bytes + ms(50)).contains(&at),
        "{at:?}"
    );
    assert_eq!(notes.closed[0].1, "closed");
}

#[test]
fn an_outage_holds_on_connections_too() {
    let mut ground = Ground::new(NameServer::new(zones()));
    ground.server.set_down(true);
    let notes = ground.stream(vec![asked(1), asked(2)], false);
    assert_eq!(ids(&notes), [0; 0]);
    assert_eq!(ground.server.counters().dropped, 2);
}

#[test]
fn without_its_listener_connections_are_refused_and_udp_goes_on() {
    let mut ground = Ground::new(NameServer::new(zones()));
    let listener = ground.served.listener;
    ground.sim.on(ground.host).close_listener(listener);
    let notes = ground.stream(vec![asked(1)], false);
    assert!(notes.closed[0].1.contains("refused"), "{:?}", notes.closed);
    let heard = ground.one(&query(2, "www.example.test", RecordType::A));
    assert_eq!(heard.addresses(), ["192.0.2.80"]);
}
