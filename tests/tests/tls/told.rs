//! What the program and the service inside are told besides bytes: handshakes that fail, listeners that are lost, bytes in front
//! of a handshake.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::rc::Rc;

use rustls::pki_types::ServerName;
use sockeye::tls::{TlsError, TlsServer, rustls};
use sockeye_event_loop::{ListenOptions, StreamOptions, Watermarks};
use sockeye_sim::Call;

use crate::probe::{Probe, Told};
use crate::setting::{Authority, Reason, connect, connect_as, localhost, setting, setting_with};
use crate::streams::echo;
use crate::world::{Simulated, World};

in_both_worlds!(
    a_handshake_that_fails_is_told,
    bytes_in_front_of_a_handshake_arrive_first,
    too_many_bytes_in_front_of_a_handshake_fail_the_connect,
);

/// Who it was, whom it asked for, and why.
type Failures = Rc<RefCell<Vec<(Option<SocketAddr>, Option<String>, TlsError)>>>;

fn a_handshake_that_fails_is_told<W: World>() {
    let mut world = W::new();
    let authority = Authority::new();
    let failures = Failures::default();
    let tells = Rc::clone(&failures);
    let setting = setting_with(
        &mut world,
        authority.server(),
        authority.client(),
        echo(),
        |server| {
            server.on_failure(move |context, failure| {
                assert!(failure.listener.is_some());
                assert!(context.stream(failure.stream).is_some());
                let name = failure.server_name.map(str::to_owned);
                tells
                    .borrow_mut()
                    .push((failure.client, name, failure.error.clone()));
            })
        },
    );
    // One that does not trust the server, one that speaks no TLS, and one that is served.
    let connector = setting.connector.with_config(Authority::new().client());
    let stranger = connect_as(&mut world, &setting, &connector, localhost(), Probe::new());
    let seen = Rc::clone(&failures);
    world.until("the first is told", move || seen.borrow().len() == 1);
    assert_eq!(stranger.opened(), 0);
    let plain = Probe::new().open(|stream| assert!(stream.write(b"GET / HTTP/1.1\r\n\r\n").is_taken()));
    let plain = plain.connect(&mut world, setting.at);
    let seen = Rc::clone(&failures);
    world.until("the second is told", move || seen.borrow().len() == 2);
    let id = plain.log.id(0);
    let served = Probe::new().open(|stream| assert!(stream.write(b"hello").is_taken()));
    let served = connect(&mut world, &setting, served);
    world.until("an answer", move || served.received_len(0) == 5);
    let failures = failures.borrow();
    let [(client, name, error), (other, no_name, http)] = &failures[..] else {
        panic!("{failures:?}");
    };
    assert_eq!(client.unwrap().ip(), world.client_ip());
    assert_eq!(name.as_deref(), Some("localhost"));
    assert!(matches!(error, TlsError::Protocol(_)), "{error:?}");
    assert!(matches!(http, TlsError::PlainHttp), "{http:?}");
    assert_eq!(*no_name, None);
    if let Ok(own) = world.client().local_addr(id) {
        assert_eq!(*other, Some(own));
    }
    assert_eq!(setting.counters.read().failed, 2);
}

fn bytes_in_front_of_a_handshake_arrive_first<W: World>() {
    let mut world = W::new();
    let authority = Authority::new();
    let inside = echo();
    let log = inside.log.clone();
    let events = world.server();
    let inside = events.add_stream_service(inside, StreamOptions::default());
    let tls = TlsServer::new(authority.server(), inside);
    let tls = events.add_stream_service(tls, StreamOptions::default());
    // What stands in front of TLS reads its line, and hands on.
    let front = Probe::new().data(move |stream, data| {
        let Some(end) = data.iter().position(|byte| *byte == b'\n') else {
            return 0;
        };
        assert_eq!(data[..=end], *b"for whom it is\n");
        stream.switch_to(tls).unwrap();
        end + 1
    });
    let (_, at) = {
        let handle = world.server().add_stream_service(front, StreamOptions::default());
        world.listen_with(handle, &ListenOptions::default())
    };
    let mut setting = setting(&mut world, authority.server(), authority.client(), Probe::new());
    setting.at = at;
    let connector = setting.connector.with_preamble(*b"for whom it is\n");
    for nth in 0..2 {
        let client = Probe::new().open(|stream| assert!(stream.write(b"hello").is_taken()));
        let client = connect_as(&mut world, &setting, &connector, localhost(), client);
        world.until("an answer", || client.received_len(0) == 5);
        assert_eq!(
            (client.received(0), log.received(nth)),
            (b"hello".to_vec(), b"hello".to_vec())
        );
    }
}

fn too_many_bytes_in_front_of_a_handshake_fail_the_connect<W: World>() {
    let mut world = W::new();
    let authority = Authority::new();
    let setting = setting(&mut world, authority.server(), authority.client(), Probe::new());
    let connector = setting
        .connector
        .with_preamble(vec![0; Watermarks::default().max_write + 1]);
    let name = ServerName::try_from("localhost").unwrap();
    let client = connect_as(&mut world, &setting, &connector, name, Probe::new());
    let seen = client.clone();
    world.until("an error", move || {
        seen.all()
            .iter()
            .any(|told| matches!(told, Told::ConnectFailed(_)))
    });
    assert!(
        client.reason().contains("more bytes before the handshake"),
        "{}",
        client.reason()
    );
    assert_eq!(setting.inside.opened(), 0);
}

#[test]
fn a_listener_that_is_lost_is_told_inside() {
    use sockeye_socket::errno::EBADF;
    let mut world = Simulated::new();
    let authority = Authority::new();
    let setting = setting(&mut world, authority.server(), authority.client(), echo());
    let client = || Probe::new().open(|stream| assert!(stream.write(b"hello").is_taken()));
    let before = connect(&mut world, &setting, client());
    let seen = before.clone();
    world.until("an answer", move || seen.received_len(0) == 5);
    world.fail_at_the_server(Call::Accept, 1, EBADF);
    connect(&mut world, &setting, client());
    let inside = setting.inside.clone();
    let lost = |told: &Told| matches!(told, Told::ListenerLost(kind) if *kind != ErrorKind::WouldBlock);
    world.until("told", move || inside.all().iter().any(lost));
    assert_eq!(setting.inside.all().iter().filter(|told| lost(told)).count(), 1);
    assert!(!setting.inside.has(&Told::Dropped), "what stands goes on");
}
