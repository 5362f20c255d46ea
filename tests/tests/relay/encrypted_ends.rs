//! Ends of sessions whose TLS ends or begins at the relay: each is what it would be without it.

use std::cell::RefCell;
use std::io::Write as _;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, Connection, ServerConnection};
use sockeye::tls::rustls;
use sockeye_event_loop::Stream;
use sockeye_relay::SessionEnd;

use crate::ground::{Ground, asks, keeps};
use crate::probe::{Probe, Served, Told};
use crate::secure::{
    PLACES, between, client, close, config, secure_backend, server_of, start, until_heard, until_over,
};
use crate::setting::Authority;
use crate::world::World;

in_both_worlds!(
    a_half_close_passes_through_tls,
    an_end_of_the_backend_passes_through_tls,
    a_reset_of_the_backend_is_no_end,
    a_reset_of_the_client_is_no_end,
    a_client_cut_short_is_no_end,
    a_client_cut_short_at_once_leaves_nothing,
    a_backend_cut_short_is_no_end,
    an_idle_session_ends_under_tls,
);

fn a_half_close_passes_through_tls<W: World>() {
    for place in PLACES {
        let mut ground = Ground::<W>::new();
        let ours = Probe::new().open(|stream| {
            assert!(stream.write(b"all").is_taken());
            stream.shutdown_write();
        });
        let theirs = Probe::new().eof(|stream| {
            assert!(stream.write(b"after your end").is_taken());
            stream.close();
        });
        let (client, backend) = between(&mut ground, place, ours, theirs);
        ground.until_ended(1);
        until_heard(&mut ground, &client, b"after your end");
        assert_eq!(backend.log.received(0), b"all");
        assert_eq!(ground.told.ends(), [SessionEnd::Done]);
        assert_eq!(until_over(&mut ground, &client.log), ["closed"]);
        assert_eq!(until_over(&mut ground, &backend.log), ["closed"]);
    }
}

fn an_end_of_the_backend_passes_through_tls<W: World>() {
    for place in PLACES {
        let mut ground = Ground::<W>::new();
        // It speaks first, and ends; what the client says then still arrives.
        let theirs = Probe::new().open(|stream| {
            assert!(stream.write(b"hello and goodbye").is_taken());
            stream.shutdown_write();
        });
        let ours = Probe::new().eof(|stream| {
            assert!(stream.write(b"goodbye").is_taken());
            stream.close();
        });
        let (client, backend) = between(&mut ground, place, ours, theirs);
        ground.until_ended(1);
        assert_eq!(client.log.received(0), b"hello and goodbye");
        assert_eq!(until_over(&mut ground, &backend.log), ["closed"]);
        assert_eq!(backend.log.received(0), b"goodbye");
        assert_eq!(ground.told.ends(), [SessionEnd::Done]);
    }
}

fn a_reset_of_the_backend_is_no_end<W: World>() {
    for place in PLACES {
        let mut ground = Ground::<W>::new();
        let theirs = Probe::new().data(|stream, data| {
            stream.abort();
            data.len()
        });
        let (client, _backend) = between(&mut ground, place, asks(), theirs);
        ground.until_ended(1);
        assert_eq!(until_over(&mut ground, &client.log), ["error"], "{place:?}");
        assert!(!client.log.has(&Told::Eof), "{place:?}");
        assert_eq!(ground.told.ends(), [SessionEnd::BackendReset], "{place:?}");
        assert_eq!(ground.stats().pool("out").unwrap().backends[0].counters.failed, 1);
    }
}

fn a_reset_of_the_client_is_no_end<W: World>() {
    for place in PLACES {
        let mut ground = Ground::<W>::new();
        let ours = asks().data(|stream, data| {
            stream.abort();
            data.len()
        });
        let (_client, backend) = between(&mut ground, place, ours, keeps());
        ground.until_ended(1);
        assert_eq!(until_over(&mut ground, &backend.log), ["error"], "{place:?}");
        assert!(!backend.log.has(&Told::Eof), "{place:?}");
        assert_eq!(ground.told.ends(), [SessionEnd::ClientReset], "{place:?}");
    }
}

/// When somebody says its half of something, and ends without `close_notify`.
#[derive(Clone, Copy, PartialEq)]
enum Says {
    /// Says it as soon as it may, and ends when there is an answer.
    First,
    /// Says it, and ends, when it was spoken to.
    Second,
    /// Says it, and ends, as soon as it may.
    AtOnce,
}

/// Speaks TLS by itself on a plain connection, which ends without `close_notify`.
fn cut_short(says: Says, connection: impl Into<Connection>) -> Probe {
    let connection: Rc<RefCell<Connection>> = Rc::new(RefCell::new(connection.into()));
    let again = Rc::clone(&connection);
    let flush = |connection: &mut Connection, stream: &mut Stream<'_>| {
        let mut bytes = Vec::new();
        while connection.wants_write() {
            connection.write_tls(&mut bytes).unwrap();
        }
        assert!(bytes.is_empty() || stream.write(&bytes).is_taken());
    };
    let (mut is_said, mut is_over) = (false, false);
    Probe::new()
        .open(move |stream| flush(&mut connection.borrow_mut(), stream))
        .data(move |stream, data| {
            let mut connection = again.borrow_mut();
            let (mut rest, mut heard): (&[u8], usize) = (data, 0);
            while !rest.is_empty() && !is_over {
                connection.read_tls(&mut rest).unwrap();
                heard += connection
                    .process_new_packets()
                    .unwrap()
                    .plaintext_bytes_to_read();
            }
            let may_say = !connection.is_handshaking() && (says != Says::Second || heard > 0);
            if may_say && !std::mem::replace(&mut is_said, true) {
                connection.writer().write_all(b"half of someth").unwrap();
            }
            if is_over {
                return data.len();
            }
            flush(&mut connection, stream);
            is_over = is_said && (says != Says::First || heard > 0);
            if is_over {
                stream.shutdown_write();
            }
            data.len()
        })
}

/// A client that does not end as it should, by itself on TCP.
fn cut_short_client<W: World>(ground: &mut Ground<W>, authority: &Authority, says: Says) -> Served {
    let name = ServerName::from(ground.world.server_ip());
    let connection = ClientConnection::new(Arc::new(authority.client()), name).unwrap();
    ground.client(cut_short(says, connection))
}

fn a_client_cut_short_is_no_end<W: World>() {
    for backends in [false, true] {
        let (mut ground, authority) = (Ground::<W>::new(), Authority::new());
        let backend = if backends {
            secure_backend(&mut ground, &authority, keeps())
        } else {
            ground.backend(keeps())
        };
        let config = config(&ground, true, backends, &[&backend]);
        start(&mut ground, config, &authority);
        cut_short_client(&mut ground, &authority, Says::First);
        ground.until_ended(1);
        assert_eq!(until_over(&mut ground, &backend.log), ["error"]);
        assert_eq!(backend.log.received(0), b"half of someth");
        assert!(!backend.log.has(&Told::Eof), "{:?}", backend.log.all());
        assert_eq!(ground.told.ends(), [SessionEnd::ClientReset]);
    }
}

fn a_client_cut_short_at_once_leaves_nothing<W: World>() {
    let (mut ground, authority) = (Ground::<W>::new(), Authority::new());
    let backend = ground.backend(keeps());
    let config = config(&ground, true, false, &[&backend]);
    start(&mut ground, config, &authority);
    let client = cut_short_client(&mut ground, &authority, Says::AtOnce);
    until_over(&mut ground, &client.log);
    // One that comes after it, and is done: whatever there was of the first is over.
    let next = self::client(&mut ground, &authority, asks());
    until_heard(&mut ground, &next, b"question");
    close(&mut ground, &next);
    let told = ground.told.clone();
    ground
        .world
        .until("the second's end", || told.ends().contains(&SessionEnd::Done));
    let stats = ground.stats();
    let listener = stats.listener("in").unwrap();
    assert_eq!(
        (listener.open, listener.counters.sessions),
        (0, listener.counters.ended)
    );
    let mut ends = ground.told.ends();
    ends.retain(|end| *end != SessionEnd::ClientReset);
    assert_eq!(ends, [SessionEnd::Done]);
    assert_eq!(stats.pool("out").unwrap().backends[0].open, 0);
}

fn a_backend_cut_short_is_no_end<W: World>() {
    for listener in [false, true] {
        for says in [Says::Second, Says::AtOnce] {
            let (mut ground, authority) = (Ground::<W>::new(), Authority::new());
            let at = SocketAddr::new(ground.world.client_ip(), 0);
            let server = Arc::new(server_of(&authority, at));
            let backend = ground.backend(cut_short(says, ServerConnection::new(server).unwrap()));
            let config = config(&ground, listener, true, &[&backend]);
            start(&mut ground, config, &authority);
            let client = if listener {
                client(&mut ground, &authority, asks())
            } else {
                ground.client(asks())
            };
            ground.until_ended(1);
            assert_eq!(until_over(&mut ground, &client.log), ["error"]);
            assert!(!client.log.has(&Told::Eof), "{:?}", client.log.all());
            if says == Says::Second {
                assert_eq!(client.log.received(0), b"half of someth");
                assert_eq!(ground.told.ends(), [SessionEnd::BackendReset]);
            }
        }
    }
}

fn an_idle_session_ends_under_tls<W: World>() {
    // The same as without TLS.
    let places = [(false, false), PLACES[0], PLACES[1], PLACES[2]];
    let ends = places.map(|place| {
        let (mut ground, authority) = (Ground::<W>::new(), Authority::new());
        let backend = if place.1 {
            secure_backend(&mut ground, &authority, keeps())
        } else {
            ground.backend(keeps())
        };
        let mut config = config(&ground, place.0, place.1, &[&backend]);
        config.listeners[0].timeouts.idle = Duration::from_millis(60);
        start(&mut ground, config, &authority);
        let client = if place.0 {
            client(&mut ground, &authority, asks())
        } else {
            ground.client(asks())
        };
        ground.until_ended(1);
        assert_eq!(ground.told.ends(), [SessionEnd::Idle]);
        assert_eq!(client.log.received(0), b"question");
        [
            until_over(&mut ground, &client.log),
            until_over(&mut ground, &backend.log),
        ]
    });
    assert!(ends.iter().all(|end| *end == ends[0]), "{ends:?}");
}
