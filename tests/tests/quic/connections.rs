//! Connections as a whole: who hears of them, datagrams, addresses that change, who is let in, early data, keys.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use sockeye_event_loop::{Context, StreamOptions};
use sockeye_quic::{
    Admission, ConnectionService, DatagramError, QuicConnect, QuicError, QuicHandle, QuicId, QuicInfo,
    QuicLimits, StreamQuic, socket_options,
};

use crate::probe::{Probe, Told};
use crate::setting::{Reason, connect, connect_as, connect_to, echo, setting, setting_of, setting_with};
use crate::world::World;

/// Writes down what it hears, and answers datagrams.
#[derive(Clone, Default)]
struct Notes {
    lines: Rc<RefCell<Vec<String>>>,
    echo: bool,
}

impl Notes {
    fn has(&self, word: &str) -> bool {
        self.lines.borrow().iter().any(|line| line.contains(word))
    }
}

impl ConnectionService for Notes {
    fn on_open(&mut self, quic: &QuicHandle, _: &mut Context<'_>, id: QuicId, info: &QuicInfo) {
        assert_eq!(info.connection, id);
        assert!(quic.info(id).is_some());
        self.lines.borrow_mut().push("open".to_owned());
    }

    fn on_datagram(&mut self, quic: &QuicHandle, context: &mut Context<'_>, id: QuicId, data: &[u8]) {
        let text = String::from_utf8_lossy(data).into_owned();
        self.lines.borrow_mut().push(format!("datagram {text}"));
        if self.echo {
            quic.send_datagram(context, id, data).unwrap();
        }
    }

    fn on_path_change(&mut self, _: &QuicHandle, _: &mut Context<'_>, _: QuicId, remote: SocketAddr) {
        self.lines.borrow_mut().push(format!("path {}", remote.port()));
    }

    fn on_close(&mut self, _: &QuicHandle, _: &mut Context<'_>, _: QuicId, why: &QuicError) {
        self.lines.borrow_mut().push(format!("close {why}"));
    }
}

fn datagrams_and_connections_are_heard_of<W: World>() {
    let mut world = W::new();
    let (here, there) = (
        Notes::default(),
        Notes {
            echo: true,
            ..Notes::default()
        },
    );
    let (mine, theirs) = (here.clone(), there.clone());
    let setting = setting_with(
        &mut world,
        echo(),
        move |quic, _| quic.connections(theirs),
        move |quic, _| quic.connections(mine),
    );
    let (id, _) = connect_as(&mut world, &setting, Probe::new(), QuicConnect::keep);
    let open = here.clone();
    world.until("it is open", || open.has("open"));
    let quic = setting.client.clone();
    let refused = world
        .client()
        .with(setting.client_service, move |_, context| {
            let most = quic.max_datagram(id).unwrap();
            quic.send_datagram(context, id, b"ping").unwrap();
            quic.send_datagram(context, id, &vec![0; most + 1])
        })
        .unwrap();
    assert_eq!(refused, Err(DatagramError::TooLong));
    let answered = here.clone();
    world.until("an answer", || answered.has("datagram ping"));
    let quic = setting.client.clone();
    world
        .client()
        .with(setting.client_service, move |_, context| {
            quic.abort(context, id, 7, b"bye")
        })
        .unwrap();
    let closed = there.clone();
    world.until("the server hears", || closed.has("close"));
    let lines = there.lines.borrow();
    assert_eq!(
        *lines,
        [
            "open",
            "datagram ping",
            "close QUIC: the peer closed the connection with code 7: bye"
        ]
    );
    assert_eq!(
        here.lines.borrow().last().unwrap(),
        "close QUIC: closed by this side"
    );
}

fn a_client_that_moves_keeps_its_streams<W: World>() {
    let mut world = W::new();
    let notes = Notes::default();
    let there = notes.clone();
    let setting = setting_with(
        &mut world,
        echo(),
        move |quic, _| quic.connections(there),
        |quic, _| quic,
    );
    let client = Probe::new().open(|stream| {
        let _ = stream.write(b"before");
    });
    let (id, log) = connect_as(&mut world, &setting, client, |request| request);
    let answered = log.clone();
    world.until("an answer", || answered.received_len(0) == 6);
    let from = SocketAddr::new(world.client_ip(), 0);
    let other = world
        .client()
        .bind(setting.client_service, from, &socket_options())
        .unwrap();
    let port = world.client().local_addr(other).unwrap().port();
    let (quic, stream) = (setting.client.clone(), log.id(0));
    world
        .client()
        .with(setting.client_service, move |_, context| {
            quic.migrate(context, id, other).unwrap();
            assert!(context.write(stream, b" after").is_taken());
        })
        .unwrap();
    let moved = notes.clone();
    let answered = log.clone();
    world.until("the server sees the new address", || {
        moved.has(&format!("path {port}")) && answered.received_len(0) == 12
    });
    assert_eq!(log.received(0), b"before after");
    // The old socket is of no use any more.
    let (old, quic) = (setting.client_socket, setting.client.clone());
    world
        .client()
        .with(setting.client_service, move |_, context| {
            context.close_datagrams(old);
            assert!(context.write(stream, b"!").is_taken());
        })
        .unwrap();
    let answered = log.clone();
    world.until("it goes on", || answered.received_len(0) == 13);
    assert_eq!(quic.connections(), 1);
}

fn keys_are_renewed_under_way<W: World>() {
    let mut world = W::new();
    let setting = setting(&mut world, echo());
    let client = Probe::new().open(|stream| {
        let _ = stream.write(b"0");
    });
    let (id, log) = connect_as(&mut world, &setting, client, |request| request);
    for nth in 1..6 {
        let answered = log.clone();
        world.until("an answer", || answered.received_len(0) == nth);
        let (quic, stream) = (setting.client.clone(), log.id(0));
        world
            .client()
            .with(setting.client_service, move |_, context| {
                assert!(quic.refresh_keys(context, id));
                assert!(context.write(stream, b"x").is_taken());
            })
            .unwrap();
    }
    let answered = log.clone();
    world.until("the last answer", || answered.received_len(0) == 6);
}

fn the_service_is_chosen_by_protocol_and_name<W: World>() {
    let mut world = W::new();
    let identity = crate::setting::Identity::new();
    let (mut server, mut client) = (identity.server(), identity.client());
    server.alpn_protocols = vec![b"good".to_vec(), b"bad".to_vec()];
    client.alpn_protocols = vec![b"bad".to_vec()];
    let other = Probe::new();
    let chosen = other.log.clone();
    let setting = setting_of(
        &mut world,
        server,
        client,
        Probe::new(),
        move |quic, events| {
            let other = events.add_stream_service(other, StreamOptions::default());
            quic.choose_service(move |info| {
                assert_eq!(info.alpn.as_deref(), Some(&b"bad"[..]));
                (info.server_name.as_deref() == Some("other")).then(|| other.into())
            })
        },
        |quic, _| quic,
    );
    let hello = || {
        Probe::new().open(|stream| {
            let _ = stream.write(b"hello");
        })
    };
    let log = connect(&mut world, &setting, hello());
    let refused = log.clone();
    world.until("it is refused", || refused.closes().len() == 1);
    assert!(log.reason().contains("no service"), "{}", log.reason());
    let probe = hello();
    let inner = world.client().add_stream_service(probe, StreamOptions::default());
    let (quic, request) = (
        setting.client.clone(),
        QuicConnect::new(setting.at, "other").stream(inner, 1),
    );
    world
        .client()
        .with(inner, move |_, context| quic.connect(context, request).unwrap())
        .unwrap();
    let there = chosen.clone();
    world.until("the other has it", || there.received_len(0) == 5);
    assert_eq!(setting.inside.opened(), 0);
}

fn addresses_are_validated_when_asked_for<W: World>() {
    let mut world = W::new();
    let setting = setting_with(
        &mut world,
        echo(),
        |quic, _| {
            quic.limits(QuicLimits {
                validate_from: 0,
                ..QuicLimits::default()
            })
        },
        |quic, _| quic,
    );
    let client = Probe::new().open(|stream| {
        let _ = stream.write(b"hello");
    });
    let log = connect(&mut world, &setting, client);
    let answered = log.clone();
    world.until("an answer", || answered.received_len(0) == 5);
    let stats = setting.counters.read();
    assert_eq!((stats.retried, stats.begun, stats.completed), (1, 1, 1));
}

fn an_address_that_does_not_answer_is_given_up_for_the_next<W: World>() {
    let mut world = W::new();
    let setting = setting(&mut world, echo());
    let client = Probe::new().open(|stream| {
        let _ = stream.write(b"hello");
    });
    // Nobody listens at a port beside the server's, and none of the client's sockets reaches the other family.
    let nobody = SocketAddr::new(setting.at.ip(), setting.at.port() ^ 1);
    let other_family = SocketAddr::new(
        if setting.at.is_ipv4() {
            IpAddr::from([1; 16])
        } else {
            IpAddr::from([1; 4])
        },
        1,
    );
    let server = setting.at;
    let (id, log) = connect_to(&mut world, &setting, other_family, client, |request| {
        request.alternatives([nobody, server])
    });
    let answered = log.clone();
    world.until("an answer", || answered.received_len(0) == 5);
    let stats = setting.client_counters.read();
    assert_eq!((stats.begun, stats.completed, stats.timed_out), (1, 1, 0));
    let quic = setting.client.clone();
    assert_eq!(quic.info(id).map(|info| info.connection), Some(id));
}

fn the_deadline_is_one_for_all_addresses<W: World>() {
    let mut world = W::new();
    let setting = setting(&mut world, echo());
    let nobody = SocketAddr::new(setting.at.ip(), setting.at.port() ^ 1);
    let (_, log) = connect_to(&mut world, &setting, nobody, Probe::new(), |request| {
        request
            .alternatives([nobody; 3])
            .deadline(Duration::from_millis(1500))
    });
    let failed = log.clone();
    world.until("it fails", || !failed.0.borrow().reasons.is_empty());
    assert!(log.reason().contains("not complete in time"), "{}", log.reason());
    let quic = setting.client.clone();
    world.until("nothing is left", move || quic.connections() == 0);
}

fn who_is_not_admitted_is_refused<W: World>() {
    let mut world = W::new();
    let setting = setting_with(
        &mut world,
        echo(),
        |quic, _| {
            quic.admit(|client| {
                assert!(client.remote.port() != 0 && !client.validated);
                Admission::Refuse
            })
        },
        |quic, _| quic,
    );
    let log = connect(&mut world, &setting, Probe::new());
    let refused = log.clone();
    world.until("it is refused", || !refused.0.borrow().reasons.is_empty());
    assert!(log.reason().contains("connection refused"), "{}", log.reason());
    assert_eq!(setting.counters.read().refused, 1);
    assert_eq!(setting.server.connections(), 0);
}

fn early_data_is_taken_only_where_both_ask_for_it<W: World>() {
    for (server_asks, client_asks) in [(true, true), (false, true), (true, false)] {
        let mut world = W::new();
        let early = Rc::new(Cell::new(0));
        let seen = Rc::clone(&early);
        let inside = echo().open(move |stream| {
            if stream.quic().unwrap().early {
                seen.set(seen.get() + 1);
            }
        });
        let setting = setting_with(
            &mut world,
            inside,
            |quic, _| if server_asks { quic.early_data() } else { quic },
            |quic, _| if client_asks { quic.early_data() } else { quic },
        );
        let hello = || {
            Probe::new()
                .open(|stream| {
                    let _ = stream.write(b"hello");
                })
                .data(|stream, data| {
                    if data.len() == 5 {
                        stream.close();
                    }
                    data.len()
                })
        };
        for nth in 0..2 {
            let (_, log) = connect_as(&mut world, &setting, hello(), QuicConnect::early_data);
            let answered = log.clone();
            world.until("an answer and the end", || !answered.closes().is_empty());
            let quic = setting.client.clone();
            world.until("the connection is over", move || quic.connections() == 0);
            assert_eq!(log.received(0), b"hello", "{server_asks} {client_asks} {nth}");
            assert_eq!(log.count(&Told::Close("closed".to_owned())), 1);
        }
        let both = usize::from(server_asks && client_asks);
        assert_eq!(early.get(), both, "server {server_asks}, client {client_asks}");
    }
}

in_both_worlds!(
    datagrams_and_connections_are_heard_of,
    a_client_that_moves_keeps_its_streams,
    keys_are_renewed_under_way,
    the_service_is_chosen_by_protocol_and_name,
    addresses_are_validated_when_asked_for,
    an_address_that_does_not_answer_is_given_up_for_the_next,
    the_deadline_is_one_for_all_addresses,
    who_is_not_admitted_is_refused,
    early_data_is_taken_only_where_both_ask_for_it,
);
