//! The sockets that questions leave by.

use super::*;

#[test]
fn a_socket_that_was_idle_is_not_closed_under_its_next_question() {
    let mut options = DnsOptions::with_servers([at(FIRST)]);
    options.sockets = 1;
    let mut world = World::new(options);
    world.ask("a.test", RecordType::A);
    let asked = world.only();
    world.reply(&asked, &asked.with_a([192, 0, 2, 1]));
    world.event();
    // Nearly all of the 2 s for which an idle socket stays.
    world.pass(ms(1_900));
    world.ask("b.test", RecordType::A);
    let asked = world.only();
    world.pass(ms(1_000));
    world.none();
    assert!(world.closed.is_empty());
    world.reply(&asked, &asked.with_a([192, 0, 2, 2]));
    assert_eq!(world.ips(), ["192.0.2.2"]);
    world.pass(ms(2_000));
    world.none();
    assert_eq!(world.closed.len(), 1);
}

#[test]
fn one_family_does_not_take_the_sockets_of_the_other() {
    let mut options = DnsOptions::with_servers([at(SECOND), at(FIRST)]);
    (options.sockets, options.queries_per_socket) = (1, 1);
    let mut world = World::new(options);
    for number in 0..20 {
        world.ask(&format!("n{number}.test"), RecordType::A);
    }
    let asked = world.asked();
    assert_eq!((asked.len(), world.engine.stats().sockets), (20, 8));
    world.reply(&asked[0], &asked[0].code(ResponseCode::SERVER_FAILURE));
    assert_eq!(world.only().server, at(FIRST));
}

#[test]
fn randomness_that_repeats_itself_does_not_hang() {
    let options = DnsOptions::with_servers([at(FIRST)]);
    let mut engine = Engine::new(options, || 4);
    for number in 0..3_000 {
        let request = Request::records(name(&format!("n{number}.test")), RecordType::A);
        engine.lookup(Duration::ZERO, request).unwrap();
    }
    let mut wire = Vec::new();
    let mut seen = std::collections::HashSet::new();
    while let Some(transmit) = engine.poll_transmit(Duration::ZERO, &mut wire) {
        if let Transmit::Datagram { socket, .. } = transmit {
            assert!(seen.insert((socket, wire[0], wire[1])));
        }
    }
    assert_eq!(seen.len(), 3_000);
}

#[test]
fn the_same_seed_sends_the_same() {
    let run = || {
        let mut options = DnsOptions::with_servers([at(FIRST), at(SECOND)]);
        (options.sockets, options.queries_per_socket) = (2, 8);
        let mut world = World::new(options);
        for number in 0..500 {
            world.ask(&format!("n{number}.test"), RecordType::A);
        }
        let mut log: Vec<String> = Vec::new();
        for round in 0..4 {
            let asked = world.asked();
            log.extend(asked.iter().map(|asked| format!("{asked:?}")));
            for asked in asked.iter().step_by(100) {
                let Via::Socket(socket) = asked.via else { continue };
                if round % 2 == 0 {
                    world.engine.on_unreachable(world.now, socket, asked.server);
                } else {
                    world.engine.on_socket_lost(world.now, socket);
                }
            }
            world.pass(ms(5_000));
        }
        log
    };
    assert!(run() == run());
}
