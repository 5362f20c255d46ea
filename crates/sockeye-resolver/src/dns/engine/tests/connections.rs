//! Questions by TCP and TLS.

use super::*;

#[test]
fn what_is_truncated_within_a_record_leads_over_to_a_connection() {
    let mut world = World::with(&[FIRST, SECOND]);
    world.ask("one.test", RecordType::A);
    let asked = world.only();
    let mut answer = asked.with_a([192, 0, 2, 1]);
    answer.flags.truncated = true;
    let mut wire = Vec::new();
    answer.write(512, &mut wire);
    wire.truncate(wire.len() - 3);
    world.raw(asked.server, asked.via, &wire);
    world.none();
    assert_eq!(world.engine.stats().truncated, 1);
    assert_eq!(world.connects.len(), 1, "the same server is asked by TCP");
    assert_eq!(world.connects[0].1, at(FIRST));
}

#[test]
fn truncation_leads_over_to_a_connection_that_pipelines() {
    let mut world = World::with(&[FIRST]);
    for text in ["one.test", "two.test"] {
        world.ask(text, RecordType::TXT);
    }
    for asked in world.asked() {
        let mut answer = asked.answer();
        answer.flags.truncated = true;
        world.reply(&asked, &answer);
    }
    world.none();
    assert_eq!(world.connects.len(), 1, "both share one");
    let connection = world.connects[0].0;
    world.engine.on_connected(world.now, connection);
    let asked = world.asked();
    assert_eq!(asked.len(), 2);

    // The answers come in the other order, cut at every byte.
    let mut stream = Vec::new();
    for asked in asked.iter().rev() {
        let mut answer = asked.answer();
        answer.answers.push(Record::new(
            asked.name(),
            9,
            RecordData::Txt(vec![b"x"[..].into(); 900]),
        ));
        let mut wire = Vec::new();
        answer.write(65_535, &mut wire);
        stream.extend_from_slice(&u16::try_from(wire.len()).unwrap().to_be_bytes());
        stream.extend_from_slice(&wire);
    }
    let mut kept = Vec::new();
    for byte in stream {
        kept.push(byte);
        let done = world.engine.on_stream_data(world.now, connection, &kept);
        kept.drain(..done);
    }
    assert!(kept.is_empty());
    for text in ["two.test", "one.test"] {
        let answer = world.event().result.unwrap();
        assert_eq!(
            (answer.question.name.clone(), answer.content.carrier),
            (name(text), Carrier::Tcp)
        );
        assert_eq!(answer.finding(), Finding::Records);
    }

    world.pass(ms(3_000));
    world.none();
    assert!(world.closed.contains(&connection), "an idle connection is closed");
}

#[test]
fn a_server_that_closes_in_the_middle_is_asked_once_more_by_another_connection() {
    let mut options = DnsOptions::with_servers([]);
    options.servers = vec![
        Server::new(at(FIRST)).by(Carrier::Tcp),
        Server::new(at(SECOND)).by(Carrier::Tls),
    ];
    let mut world = World::new(options);
    for text in ["a.test", "b.test"] {
        world.ask(text, RecordType::A);
    }
    world.none();
    let connection = world.connects[0].0;
    world.engine.on_connected(world.now, connection);
    let asked = world.asked();
    world.reply(&asked[0], &asked[0].with_a([192, 0, 2, 1]));
    world.event();
    world.engine.on_disconnected(world.now, connection);
    world.none();
    assert_eq!(
        world.connects[1].1,
        at(FIRST),
        "it had answered, and closed as servers may"
    );
    world.engine.on_disconnected(world.now, world.connects[1].0);
    world.none();
    assert_eq!(
        (world.connects[2].1, world.connects[2].2),
        (at(SECOND), Carrier::Tls)
    );
    world.engine.on_connected(world.now, world.connects[2].0);
    let asked = world.only();
    world.reply(&asked, &asked.with_a([192, 0, 2, 2]));
    assert_eq!(world.event().result.unwrap().content.carrier, Carrier::Tls);
}

#[test]
fn a_connection_that_hangs_is_given_up_with_its_question() {
    let mut options = DnsOptions::with_servers([]);
    options.servers = vec![Server::new(at(FIRST)).by(Carrier::Tcp)];
    let mut world = World::new(options);
    world.ask("a.test", RecordType::A);
    world.none();
    let first = world.connects[0].0;
    world.engine.on_connected(world.now, first);
    let asked = world.only();
    let mut wire = Vec::new();
    asked.with_a([192, 0, 2, 1]).write(512, &mut wire);
    // A byte a second: two of them before the time is over.
    assert_eq!(world.engine.on_stream_data(world.now, first, &[0]), 0);
    world.pass(ms(5_000));
    world.none();
    assert!(world.closed.contains(&first));
    assert_eq!(world.connects.len(), 2);
}

#[test]
fn all_questions_of_a_connection_that_hangs_are_asked_elsewhere_at_once() {
    let mut options = DnsOptions::with_servers([]);
    options.servers = vec![
        Server::new(at(FIRST)).by(Carrier::Tcp),
        Server::new(at(SECOND)).by(Carrier::Tcp),
    ];
    let mut world = World::new(options);
    for number in 0..1_000 {
        world.ask(&format!("n{number}.test"), RecordType::A);
        world.pass(ms(1));
    }
    world.none();
    world.engine.on_connected(world.now, world.connects[0].0);
    assert_eq!(world.asked().len(), 1_000);
    // The time of the first question is over, and nothing has come for any.
    world.pass(ms(4_000));
    world.none();
    assert_eq!(world.connects[1..], [(1, at(SECOND), Carrier::Tcp)]);
    world.engine.on_connected(world.now, 1);
    let asked = world.asked();
    assert_eq!(asked.len(), 1_000);
    for asked in asked {
        world.reply(&asked, &asked.with_a([192, 0, 2, 1]));
        assert_eq!(world.ips(), ["192.0.2.1"]);
    }
    assert_eq!(world.engine.stats().under_way, 0);
}

#[test]
fn a_server_that_closes_after_each_answer_is_not_asked_without_end() {
    let mut options = DnsOptions::with_servers([]);
    options.servers = vec![Server::new(at(FIRST)).by(Carrier::Tcp), Server::new(at(SECOND))];
    let mut world = World::new(options);
    for number in 0..1_000 {
        world.ask(&format!("n{number}.test"), RecordType::A);
    }
    let (mut by_stream, mut by_datagram) = (0, 0);
    loop {
        let mut asked = world.asked();
        if asked.is_empty() {
            let Some(&(connection, ..)) = world.connects.last() else {
                panic!()
            };
            world.engine.on_connected(world.now, connection);
            asked = world.asked();
        }
        let Some(first) = asked.front() else { break };
        match first.via {
            Via::Connection(connection) => {
                by_stream += asked.len();
                world.reply(first, &first.with_a([192, 0, 2, 1]));
                world.engine.on_disconnected(world.now, connection);
            }
            Via::Socket(_) => {
                for asked in &asked {
                    by_datagram += 1;
                    world.reply(asked, &asked.with_a([192, 0, 2, 2]));
                }
            }
        }
    }
    assert_eq!((by_datagram, world.engine.stats().under_way), (983, 0));
    assert!(by_stream <= 17_000, "{by_stream}");
}

#[test]
fn a_connection_that_ends_before_its_questions_are_written_has_them_written_once() {
    let mut options = DnsOptions::with_servers([]);
    options.servers = vec![Server::new(at(FIRST)).by(Carrier::Tcp)];
    let mut world = World::new(options);
    world.ask("a.test", RecordType::A);
    world.none();
    world.engine.on_connected(world.now, 0);
    world.engine.on_disconnected(world.now, 0);
    world.none();
    world.engine.on_connected(world.now, 1);
    world.engine.on_connected(world.now, 1);
    assert_eq!(world.only().via, Via::Connection(1));
    assert_eq!(world.engine.stats().streamed, 1);
}
