//! Handshakes that come to something, by the choices of both sides, and those that do not.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind};
use sockeye::tls::{
    ConnectorOptions, HandshakeLimits, ReloadableConfig, StreamTls, TlsConnector, TlsCounters, TlsServer,
    rustls,
};
use sockeye_event_loop::{ConnectRequest, ServiceHandle, StreamOptions, StreamServiceId};

use crate::probe::{Log, Probe, Told};
use crate::setting::{
    Authority, Reason, Setting, connect, connect_as, localhost, provider, server_config, setting,
    setting_with,
};
use crate::streams::echo;
use crate::world::{Simulated, World};

/// Says hello and what TLS it was, and ends.
fn greeter(greeting: &'static str) -> Probe {
    Probe::new().open(move |stream| {
        let _ = stream.write(greeting.as_bytes());
        stream.close();
    })
}

/// The client's log, once its connect or connection has ended.
fn ended<W: World>(world: &mut W, log: &Log) -> String {
    let seen = log.clone();
    world.until("the client's end", move || !seen.0.borrow().reasons.is_empty());
    log.reason()
}

fn a_name_that_is_not_in_the_certificate_is_refused<W: World>() {
    let mut world = W::new();
    let authority = Authority::new();
    let setting = setting(&mut world, authority.server(), authority.client(), Probe::new());
    let name = ServerName::try_from("example.org").unwrap();
    let connector = setting.connector.clone();
    let client = connect_as(&mut world, &setting, &connector, name, Probe::new());
    let reason = ended(&mut world, &client);
    assert!(reason.contains("is not for example.org, but for "), "{reason}");
    assert_eq!(client.opened(), 0, "the service inside never opened");
    let counters = setting.counters.clone();
    world.until("the server has counted it", move || counters.read().failed == 1);
    assert_eq!(setting.inside.opened(), 0);
}

fn an_unknown_authority_is_refused<W: World>() {
    let mut world = W::new();
    let setting = setting(
        &mut world,
        Authority::new().server(),
        Authority::new().client(),
        Probe::new(),
    );
    let client = connect(&mut world, &setting, Probe::new());
    let reason = ended(&mut world, &client);
    assert!(reason.contains("certificate") && client.opened() == 0, "{reason}");
}

fn an_expired_certificate_is_refused<W: World>() {
    let mut world = W::new();
    let authority = Authority::new();
    let old = authority.sign_with("localhost", |params| {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    });
    let server = server_config(old, rustls::ALL_VERSIONS);
    let setting = setting(&mut world, server, authority.client(), Probe::new());
    let client = connect(&mut world, &setting, Probe::new());
    let reason = ended(&mut world, &client);
    assert!(reason.to_lowercase().contains("expired"), "{reason}");
}

fn no_common_protocol_is_refused<W: World>() {
    let mut world = W::new();
    let authority = Authority::new();
    let (mut server, mut client) = (authority.server(), authority.client());
    server.alpn_protocols = vec![b"h2".to_vec()];
    client.alpn_protocols = vec![b"gopher".to_vec()];
    let setting = setting(&mut world, server, client, Probe::new());
    let client = connect(&mut world, &setting, Probe::new());
    let reason = ended(&mut world, &client);
    assert!(reason.contains("alert no_application_protocol "), "{reason}");
}

fn a_connect_that_is_refused_is_told_by_its_tag<W: World>() {
    let mut world = W::new();
    let authority = Authority::new();
    let mut setting = setting(&mut world, authority.server(), authority.client(), Probe::new());
    setting.at.set_port(1);
    let client = connect(&mut world, &setting, Probe::new());
    let reason = ended(&mut world, &client);
    assert!(reason.to_lowercase().contains("refused"), "{reason}");
}

fn a_client_shows_its_certificate<W: World>() {
    let mut world = W::new();
    let authority = Authority::new();
    let known = authority.sign("client");
    let with_certificate = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(authority.roots())
        .with_client_auth_cert(known.chain.clone(), known.key)
        .unwrap();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let note = Rc::clone(&seen);
    let inside = Probe::new().open(move |stream| {
        note.borrow_mut()
            .clone_from(&stream.tls().unwrap().peer_certificates);
        stream.close();
    });
    let setting = setting(&mut world, authority.server_for_known(), with_certificate, inside);
    let client = connect(&mut world, &setting, Probe::new());
    assert_eq!(ended(&mut world, &client), "closed");
    assert_eq!(*seen.borrow(), known.chain);
    // And without one nobody gets in.
    let without = setting.connector.with_config(authority.client());
    let client = connect_as(&mut world, &setting, &without, localhost(), Probe::new());
    let reason = ended(&mut world, &client);
    assert!(
        reason.contains("CertificateRequired") || reason.contains("certificate"),
        "{reason}"
    );
    assert_eq!(setting.inside.opened(), 1);
}

fn a_session_is_resumed<W: World>() {
    let mut world = W::new();
    let authority = Authority::new();
    let kinds = Rc::new(RefCell::new(Vec::new()));
    let note = Rc::clone(&kinds);
    let inside = Probe::new().open(move |stream| {
        note.borrow_mut().push(stream.tls().unwrap().handshake.unwrap());
        // Tickets come after the handshake: the client has read them once it has read this.
        let _ = stream.write(b"hello");
        stream.close();
    });
    let setting = setting(&mut world, authority.server(), authority.client(), inside);
    for _ in 0..2 {
        let client = connect(&mut world, &setting, Probe::new());
        assert_eq!(ended(&mut world, &client), "closed");
    }
    assert_eq!(*kinds.borrow(), [HandshakeKind::Full, HandshakeKind::Resumed]);
    assert_eq!(setting.counters.read().resumed, 1);
}

/// A client whose configuration has early data, with a server that would take it: none is sent, and all else goes on.
fn a_client_sends_no_early_data<W: World>() {
    let mut world = W::new();
    let authority = Authority::new();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let note = Rc::clone(&seen);
    let inside = echo().open(move |stream| {
        let tls = stream.tls().unwrap();
        note.borrow_mut().push((tls.handshake.unwrap(), tls.early_bytes));
    });
    let (mut server, mut client) = (authority.server(), authority.client());
    server.max_early_data_size = 1_000;
    client.enable_early_data = true;
    let setting = setting(&mut world, server, client, inside);
    for _ in 0..2 {
        let client = Probe::new()
            .open(|stream| assert!(stream.write(b"hello").is_taken()))
            .data(|stream, data| {
                stream.close();
                data.len()
            });
        let client = connect(&mut world, &setting, client);
        assert_eq!(ended(&mut world, &client), "closed");
        assert_eq!(client.received(0), b"hello");
    }
    assert_eq!(
        *seen.borrow(),
        [(HandshakeKind::Full, 0), (HandshakeKind::Resumed, 0)]
    );
}

/// By name: another certificate; by protocol: another service.
fn names_and_protocols_choose<W: World>() {
    let mut world = W::new();
    let authority = Authority::new();
    let (one, two) = (authority.sign("one.test"), authority.sign("two.test"));
    let config = |signed| {
        let mut config = server_config(signed, rustls::ALL_VERSIONS);
        config.alpn_protocols = vec![b"a".to_vec(), b"b".to_vec()];
        Arc::new(config)
    };
    let (one, two) = (config(one), config(two));
    let first = world
        .server()
        .add_stream_service(greeter("service a"), StreamOptions::default());
    let second = world
        .server()
        .add_stream_service(greeter("service b"), StreamOptions::default());
    let choices: [StreamServiceId; 2] = [first.into(), second.into()];
    let setting = setting_with(
        &mut world,
        authority.server(),
        authority.client(),
        Probe::new(),
        |server| {
            server
                .choose_config(move |hello| match hello.server_name() {
                    Some("one.test") => Some(Arc::clone(&one)),
                    Some("two.test") => Some(Arc::clone(&two)),
                    _ => None,
                })
                .choose_service(move |info| match info.alpn.as_deref() {
                    Some(b"a") => Some(choices[0]),
                    Some(b"b") => Some(choices[1]),
                    _ => None,
                })
        },
    );
    for (name, protocol, greeting) in [("one.test", b"a", "service a"), ("two.test", b"b", "service b")] {
        let mut config = authority.client();
        config.alpn_protocols = vec![protocol.to_vec()];
        let connector = setting.connector.with_config(config);
        let name = ServerName::try_from(name).unwrap();
        let client = connect_as(&mut world, &setting, &connector, name, Probe::new());
        assert_eq!(ended(&mut world, &client), "closed");
        assert_eq!(client.received(0), greeting.as_bytes());
    }
    let name = ServerName::try_from("three.test").unwrap();
    let connector = setting.connector.clone();
    let client = connect_as(&mut world, &setting, &connector, name, Probe::new());
    let reason = ended(&mut world, &client);
    assert!(reason.contains("alert unrecognized_name "), "{reason}");
    // Without a protocol no service is chosen.
    let name = ServerName::try_from("one.test").unwrap();
    let client = connect_as(&mut world, &setting, &connector, name, Probe::new());
    assert_ne!(ended(&mut world, &client), "closed");
}

/// A new certificate for new connections; those that stand go on.
fn certificates_are_renewed_without_an_end<W: World>() {
    let mut world = W::new();
    let authority = Authority::new();
    let config = ReloadableConfig::new(authority.server());
    let inside = world
        .server()
        .add_stream_service(echo(), StreamOptions::default());
    let tls = TlsServer::new(config.clone(), inside);
    let tls = world.server().add_stream_service(tls, StreamOptions::default());
    let setting = setting(&mut world, authority.server(), authority.client(), Probe::new());
    let setting = Setting {
        at: world.listen(tls),
        tls,
        ..setting
    };
    let seen = Rc::new(RefCell::new(Vec::new()));
    let asks = |seen: &Rc<RefCell<Vec<Vec<u8>>>>| {
        let seen = Rc::clone(seen);
        Probe::new().open(move |stream| {
            seen.borrow_mut()
                .push(stream.tls().unwrap().peer_certificates[0].to_vec());
            let _ = stream.write(b"one");
        })
    };
    let ask_again = asks(&seen).message(|stream, _| {
        let _ = stream.write(b"two");
    });
    let standing = ask_again.log.clone();
    let old = connect(&mut world, &setting, ask_again);
    let log = old.clone();
    world.until("the first answer", || log.received_len(0) == 3);
    config.replace(authority.server());
    // A session of before would be resumed with the certificate of before.
    let connector = setting.connector.with_config(authority.client());
    let new = connect_as(&mut world, &setting, &connector, localhost(), asks(&seen));
    let log = new.clone();
    world.until("an answer under the new one", || log.received_len(0) == 3);
    let id = standing.id(0);
    let handle = world
        .client()
        .add_stream_service(Probe::new(), StreamOptions::default());
    let sent = world.client().with(handle, |_: &mut Probe, context| {
        context.send_message(id, Box::new(1_u64))
    });
    assert_eq!(sent, Some(true));
    let log = old.clone();
    world.until("an answer under the old one", || log.received_len(0) == 6);
    let seen = seen.borrow();
    assert_ne!(seen[0], seen[1]);
}

/// Who stops in the handshake is ended at the deadline.
fn a_handshake_that_stands_still_is_ended<W: World>() {
    let mut world = W::new();
    let authority = Authority::new();
    let limits = HandshakeLimits {
        deadline: Duration::from_millis(300),
        ..HandshakeLimits::default()
    };
    let setting = setting_with(
        &mut world,
        authority.server(),
        authority.client(),
        Probe::new(),
        |server| server.limits(limits),
    );
    let silent = Probe::new().open(|stream| {
        let _ = stream.write(&[22, 3, 1, 2, 0, 1]);
    });
    let silent = silent.connect(&mut world, setting.at);
    let log = silent.log.clone();
    world.until("it is ended", move || !log.closes().is_empty());
    let stats = setting.counters.read();
    assert_eq!((stats.timed_out, stats.failed, stats.completed), (1, 1, 0));
}

/// A request's deadline is for the connect and the handshake together.
fn a_server_that_says_nothing_has_the_deadline_of_the_connect<W: World>() {
    let mut world = W::new();
    let authority = Authority::new();
    let (_mute, at) = Probe::new().serve(&mut world, StreamOptions::default());
    let counters = TlsCounters::default();
    let options = ConnectorOptions {
        counters: counters.clone(),
        ..ConnectorOptions::default()
    };
    let connector = TlsConnector::new(world.client(), authority.client(), options);
    let inner = Probe::new();
    let log = inner.log.clone();
    let inner = world.client().add_stream_service(inner, StreamOptions::default());
    let request = world.request(at).deadline(Duration::from_millis(300));
    let begun = world.client().with(inner, |_: &mut Probe, context| {
        connector.connect(context, inner, localhost(), request).unwrap();
        context.now()
    });
    let reason = ended(&mut world, &log);
    let now = world.client().with(inner, |_: &mut Probe, context| context.now());
    let took = now.unwrap().since(begun.unwrap());
    assert!(reason.contains("not complete in time"), "{reason}");
    assert!(took >= Duration::from_millis(300), "{took:?}");
    assert!(took < HandshakeLimits::default().deadline / 2, "{took:?}");
    assert_eq!((counters.read().timed_out, log.opened()), (1, 0));
}

/// Peers that stop in the handshake, many more than may be under way, keep nobody out.
fn those_who_stop_keep_nobody_out<W: World>() {
    stopped::<W>(200, 20);
}

#[test]
fn ten_thousand_who_stop_keep_nobody_out() {
    stopped::<Simulated>(10_000, HandshakeLimits::default().under_way);
}

fn stopped<W: World>(peers: u64, under_way: usize) {
    let mut world = W::new();
    let authority = Authority::new();
    let limits = HandshakeLimits {
        under_way,
        ..HandshakeLimits::default()
    };
    let (server, client) = (authority.server(), authority.client());
    let setting = setting_with(&mut world, server, client, echo(), |server| server.limits(limits));
    let stops = Probe::new().open(|stream| {
        let _ = stream.write(&[22, 3, 1, 2, 0, 1]);
    });
    let handle = world.client().add_stream_service(stops, StreamOptions::default());
    for _ in 0..peers {
        let request = world.request(setting.at);
        world.client().connect(handle, request);
    }
    let counters = setting.counters.clone();
    world.until("all have begun", move || counters.read().begun == peers);
    let client = Probe::new().open(|stream| {
        let _ = stream.write(b"healthy");
    });
    let client = connect(&mut world, &setting, client);
    let log = client.clone();
    world.until("a healthy one is served", move || log.received_len(0) == 7);
    let stats = setting.counters.read();
    assert_eq!(stats.completed, 1);
    assert_eq!(stats.given_up, peers + 1 - under_way as u64, "{stats:?}");
    // The connection and the ends of its pair, and those that are not given up yet.
    assert!(world.server().open_streams() < under_way + 3);
}

/// STARTTLS: a plain exchange first, then TLS on the same connection, at both sides.
fn a_connection_turns_to_tls_in_the_middle<W: World>() {
    let mut world = W::new();
    let authority = Authority::new();
    let secret = echo();
    let inside = secret.log.clone();
    let secret = world
        .server()
        .add_stream_service(secret, StreamOptions::default());
    let tls = TlsServer::new(authority.server(), secret);
    let tls: ServiceHandle<TlsServer> = world.server().add_stream_service(tls, StreamOptions::default());
    let plain = Probe::new().data(move |stream, data| {
        if !data.ends_with(b"\n") {
            return 0;
        }
        assert_eq!(data, b"STARTTLS\n");
        let _ = stream.write(b"go\n");
        stream.switch_to(tls).unwrap();
        data.len()
    });
    let plain = world.server().add_stream_service(plain, StreamOptions::default());
    let at = world.listen(plain);
    let connector = TlsConnector::new(world.client(), authority.client(), ConnectorOptions::default());
    let after = Probe::new().open(|stream| {
        assert_eq!(stream.tag(), 9);
        let _ = stream.write(b"secret");
    });
    let log = after.log.clone();
    let after = world.client().add_stream_service(after, StreamOptions::default());
    let before = Probe::new()
        .open(|stream| {
            let _ = stream.write(b"STARTTLS\n");
        })
        .data(move |stream, data| {
            assert_eq!(data, b"go\n");
            connector.start(stream, after, localhost()).unwrap();
            data.len()
        });
    let client = world
        .client()
        .add_stream_service(before, StreamOptions::default());
    let request: ConnectRequest = world.request(at).tag(9);
    world.client().connect(client, request);
    let seen = log.clone();
    world.until("the echo under TLS", move || seen.received_len(0) == 6);
    assert_eq!(inside.received(0), b"secret");
    assert_eq!(log.received(0), b"secret");
}

fn a_drain_ends_what_is_inside_first<W: World>() {
    let mut world = W::new();
    let authority = Authority::new();
    let counters = TlsCounters::default();
    let inside = Probe::new().drain(|stream| {
        let _ = stream.write(b"bye");
        stream.close();
    });
    let setting = setting_with(
        &mut world,
        authority.server(),
        authority.client(),
        inside,
        |server| server.counters(&counters),
    );
    let client = connect(&mut world, &setting, Probe::new());
    let log = client.clone();
    world.until("it stands", move || log.opened() == 1);
    let inside = setting.inside.clone();
    world.until("inside too", move || inside.opened() == 1);
    world.server().remote().drain(Duration::from_secs(5)).unwrap();
    let reason = ended(&mut world, &client);
    assert_eq!((reason.as_str(), client.received(0)), ("closed", b"bye".to_vec()));
    assert!(setting.inside.has(&Told::Drain));
}

in_both_worlds!(
    a_name_that_is_not_in_the_certificate_is_refused,
    an_unknown_authority_is_refused,
    an_expired_certificate_is_refused,
    no_common_protocol_is_refused,
    a_connect_that_is_refused_is_told_by_its_tag,
    a_client_shows_its_certificate,
    a_session_is_resumed,
    a_client_sends_no_early_data,
    names_and_protocols_choose,
    certificates_are_renewed_without_an_end,
    a_handshake_that_stands_still_is_ended,
    a_server_that_says_nothing_has_the_deadline_of_the_connect,
    those_who_stop_keep_nobody_out,
    a_connection_turns_to_tls_in_the_middle,
    a_drain_ends_what_is_inside_first,
);
