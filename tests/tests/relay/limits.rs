//! Limits and queues.

use std::time::Duration;

use sockeye_relay::{QueueRules, SessionEnd};

use crate::ground::{Ground, answers, asks, keeps};
use crate::probe::Served;
use crate::world::World;

in_both_worlds!(
    a_source_has_as_many_sessions_as_it_may,
    a_full_backend_gets_no_more_and_without_a_queue_the_client_is_reset,
    who_waits_is_served_in_order,
    who_waits_for_too_long_is_reset,
    a_full_queue_takes_nobody,
    who_goes_while_it_waits_leaves_its_place,
    while_all_are_down_a_queue_may_wait_for_one_to_come_back,
    a_listeners_limit_leaves_clients_in_the_backlog,
);

/// Waits until a client has had its question echoed.
fn until_answered<W: World>(ground: &mut Ground<W>, client: &Served) {
    let log = client.log.clone();
    ground.world.until("an answer", || log.received_len(0) == 8);
}

fn hang_up<W: World>(ground: &mut Ground<W>, client: &Served) {
    let id = client.log.id(0);
    ground
        .world
        .client()
        .with(client.handle, |_, context| context.stream(id).unwrap().close());
}

fn a_source_has_as_many_sessions_as_it_may<W: World>() {
    let mut ground = Ground::<W>::new();
    let backend = ground.backend(keeps());
    let mut config = ground.config(&[backend.at]);
    config.sources.max_sessions = Some(2);
    ground.start(config);
    let clients = [ground.client(asks()), ground.client(asks())];
    clients
        .iter()
        .for_each(|client| until_answered(&mut ground, client));
    ground.client(asks());
    ground.until_ended(1);
    assert_eq!(ground.told.last().end, SessionEnd::TooManyOfSource);
    hang_up(&mut ground, &clients[0]);
    ground.until_ended(2);
    let next = ground.client(asks());
    until_answered(&mut ground, &next);
    let counters = ground.stats().listener("in").unwrap().counters;
    assert_eq!(
        (counters.sessions, counters.too_many_of_source, counters.unserved),
        (4, 1, 1)
    );
}

fn one_at_a_time<W: World>(queue: QueueRules) -> Ground<W> {
    let mut ground = Ground::<W>::new();
    let backend = ground.backend(keeps());
    let mut config = ground.config(&[backend.at]);
    config.pools[0].backends[0].max_sessions = Some(1);
    config.pools[0].queue = queue;
    ground.start(config);
    ground
}

fn a_full_backend_gets_no_more_and_without_a_queue_the_client_is_reset<W: World>() {
    let mut ground = one_at_a_time::<W>(QueueRules::default());
    let first = ground.client(asks());
    until_answered(&mut ground, &first);
    ground.client(asks());
    ground.until_ended(1);
    assert_eq!(ground.told.last().end, SessionEnd::AllFull);
    let stats = ground.stats();
    let pool = stats.pool("out").unwrap();
    assert_eq!((pool.counters.all_full, pool.backends[0].open), (1, 1));
}

fn who_waits_is_served_in_order<W: World>() {
    let queue = QueueRules {
        max: 5,
        deadline: Duration::from_secs(30),
        ..QueueRules::default()
    };
    let mut ground = one_at_a_time::<W>(queue);
    let mut clients = Vec::new();
    for nth in 0..4 {
        let client = ground.client(asks());
        let relay = ground.relay.unwrap();
        // One after the other, so that there is an order.
        if nth == 0 {
            until_answered(&mut ground, &client);
        } else {
            let log = client.log.clone();
            ground.world.until("connected", || log.opened() == 1);
            while relay.stats(ground.world.server()).pool("out").unwrap().waiting < nth {
                ground.world.pass(Duration::from_millis(1));
            }
        }
        clients.push(client);
    }
    for nth in 0..4 {
        until_answered(&mut ground, &clients[nth]);
        let after: Vec<usize> = clients[nth + 1..]
            .iter()
            .map(|client| client.log.received_len(0))
            .collect();
        assert_eq!(after, vec![0; 3 - nth], "only one at a time");
        hang_up(&mut ground, &clients[nth]);
        ground.until_ended(nth + 1);
    }
    assert_eq!(ground.told.ends(), [SessionEnd::Done; 4]);
    let pool = ground.stats().pool("out").unwrap().clone();
    assert_eq!(
        (pool.counters.queued, pool.counters.queue_timeouts, pool.waiting),
        (3, 0, 0)
    );
}

fn who_waits_for_too_long_is_reset<W: World>() {
    let queue = QueueRules {
        max: 5,
        deadline: Duration::from_millis(50),
        ..QueueRules::default()
    };
    let mut ground = one_at_a_time::<W>(queue);
    let first = ground.client(asks());
    until_answered(&mut ground, &first);
    ground.client(asks());
    ground.until_ended(1);
    let record = ground.told.last();
    assert_eq!((record.end, record.backend), (SessionEnd::QueueTimeout, None));
    assert!(record.waited >= Duration::from_millis(50));
    let pool = ground.stats().pool("out").unwrap().clone();
    assert_eq!(
        (pool.counters.queued, pool.counters.queue_timeouts, pool.waiting),
        (1, 1, 0)
    );
}

fn a_full_queue_takes_nobody<W: World>() {
    let queue = QueueRules {
        max: 1,
        deadline: Duration::from_secs(30),
        ..QueueRules::default()
    };
    let mut ground = one_at_a_time::<W>(queue);
    let first = ground.client(asks());
    until_answered(&mut ground, &first);
    let _waits = [ground.client(asks()), ground.client(asks())];
    ground.until_ended(1);
    assert_eq!(ground.told.last().end, SessionEnd::AllFull);
    assert_eq!(ground.stats().pool("out").unwrap().waiting, 1);
}

fn who_goes_while_it_waits_leaves_its_place<W: World>() {
    let queue = QueueRules {
        max: 1,
        deadline: Duration::from_secs(30),
        ..QueueRules::default()
    };
    let mut ground = one_at_a_time::<W>(queue);
    let first = ground.client(asks());
    until_answered(&mut ground, &first);
    let gone = ground.client(asks());
    while ground.stats().pool("out").unwrap().waiting == 0 {
        ground.world.pass(Duration::from_millis(1));
    }
    let id = gone.log.id(0);
    ground
        .world
        .client()
        .with(gone.handle, |_, context| context.stream(id).unwrap().abort());
    ground.until_ended(1);
    assert_eq!(ground.told.last().end, SessionEnd::ClientReset);
    let next = ground.client(asks());
    hang_up(&mut ground, &first);
    until_answered(&mut ground, &next);
}

fn while_all_are_down_a_queue_may_wait_for_one_to_come_back<W: World>() {
    let mut ground = Ground::<W>::new();
    let nobody = ground.nobody();
    let mut config = ground.config(&[nobody]);
    config.pools[0].health.failures = 1;
    config.pools[0].health.out = Duration::from_millis(100);
    config.pools[0].connect.retries = 0;
    config.pools[0].queue = QueueRules {
        max: 5,
        deadline: Duration::from_secs(30),
        when_down: true,
    };
    ground.start(config);
    ground.client(asks());
    ground.until_ended(1);
    assert_eq!(ground.told.last().end, SessionEnd::ConnectFailed);
    let waits = ground.client(asks());
    while ground.stats().pool("out").unwrap().waiting == 0 {
        ground.world.pass(Duration::from_millis(1));
    }
    // The backend comes back at the same place.
    let probe = answers(b"answered");
    let events = ground.world.client();
    let handle = events.add_stream_service(probe, sockeye_event_loop::StreamOptions::default());
    events
        .listen(handle, nobody, &sockeye_event_loop::ListenOptions::default())
        .unwrap();
    until_answered(&mut ground, &waits);
    ground.until_ended(2);
    assert_eq!(ground.told.last().end, SessionEnd::Done);
}

fn a_listeners_limit_leaves_clients_in_the_backlog<W: World>() {
    let mut ground = Ground::<W>::new();
    let backend = ground.backend(keeps());
    let mut config = ground.config(&[backend.at]);
    config.listeners[0].max_sessions = Some(1);
    ground.start(config);
    let first = ground.client(asks());
    until_answered(&mut ground, &first);
    let second = ground.client(asks());
    let log = second.log.clone();
    ground
        .world
        .until("connected by the kernel", || log.opened() == 1);
    ground.world.pass(Duration::from_millis(20));
    assert_eq!(
        (
            second.log.received_len(0),
            ground.stats().listener("in").unwrap().open
        ),
        (0, 1)
    );
    hang_up(&mut ground, &first);
    until_answered(&mut ground, &second);
}
