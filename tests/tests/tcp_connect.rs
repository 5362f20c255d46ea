//! Connecting: every way it can end is one typed outcome, and none takes longer than the caller allows.

#![expect(clippy::unwrap_used, reason = "what a test expects and does not get fails it")]

mod tcp_common;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sockeye::socket::OpError;
use sockeye::tcp::{
    ConnectCause, ConnectError, ConnectOptions, ConnectOutcome, Connecting, ListenOptions, TcpListener,
    TcpStream,
};
use sockeye_tests::netns;
use sockeye_tests::skip::{self, Need};
use tcp_common::{PATIENCE, accept, addr, connect, listener, read_exactly, read_to_end, write_all};

fn failure(to: SocketAddr) -> ConnectError {
    TcpStream::options().connect(to, PATIENCE).unwrap_err()
}

/// An address of the loopback where nothing listens.
fn closed() -> SocketAddr {
    listener().1
}

#[test]
fn a_connection_that_succeeds_is_a_stream() {
    let (listener, address) = listener();
    let connecting = TcpStream::start_connect(address).unwrap();
    assert_eq!(connecting.peer_addr(), address);
    let source = connecting.local_addr().unwrap();
    let stream = connecting.wait(PATIENCE).unwrap();
    assert_eq!(stream.peer_addr().unwrap(), address);
    assert_eq!(accept(&listener).peer_addr().unwrap(), source);
    assert!(!stream.is_connected_to_itself().unwrap());
}

#[test]
fn a_loop_waits_for_a_connection_and_has_it_when_it_is_one() {
    let (listener, address) = listener();
    let mut poll = mio::Poll::new().unwrap();
    let mut events = mio::Events::with_capacity(8);
    for (to, connects) in [(address, true), (closed(), false)] {
        let mut connecting = TcpStream::start_connect(to).unwrap();
        let writable = mio::Interest::WRITABLE;
        poll.registry()
            .register(&mut connecting, mio::Token(0), writable)
            .unwrap();
        poll.poll(&mut events, Some(PATIENCE)).unwrap();
        assert!(events.iter().any(mio::event::Event::is_writable));
        match connecting.outcome() {
            ConnectOutcome::Connected(mut stream) => {
                assert!(connects);
                // The same descriptor, registered already.
                poll.registry()
                    .reregister(&mut stream, mio::Token(1), writable)
                    .unwrap();
            }
            ConnectOutcome::Failed(error) => {
                assert!(!connects);
                assert_eq!(error.cause(), ConnectCause::Refused);
            }
            ConnectOutcome::Pending(_) => panic!("an event, and no outcome"),
        }
    }
    drop(listener);
}

#[test]
fn refused_is_refused_once_and_says_where() {
    let to = closed();
    let error = failure(to);
    assert_eq!(
        (error.cause(), error.kind()),
        (ConnectCause::Refused, ErrorKind::ConnectionRefused)
    );
    assert_eq!(error.raw_os_error(), Some(libc::ECONNREFUSED));
    assert_eq!(
        error.to_string(),
        format!("connect tcp://{to}: Connection refused (nothing listens there)")
    );
    let error = std::io::Error::from(error);
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(
        OpError::of(&error).and_then(OpError::raw_os_error),
        Some(libc::ECONNREFUSED)
    );
}

#[test]
fn so_error_is_consumed_by_reading_so_the_outcome_is_asked_once_and_kept() {
    // mio's way: the second question is answered with silence, as if all were well.
    let stream = TcpStream::connect(closed()).unwrap();
    assert!(stream.wait_writable(PATIENCE).unwrap());
    assert_eq!(
        stream.take_error().unwrap().map(|error| error.kind()),
        Some(ErrorKind::ConnectionRefused)
    );
    assert!(stream.take_error().unwrap().is_none());
    assert_eq!(stream.peer_addr().unwrap_err().kind(), ErrorKind::NotConnected);

    // The typed way, even where somebody else has consumed the error before.
    let connecting = TcpStream::start_connect(closed()).unwrap();
    assert!(connecting.socket().wait_writable(Duration::from_secs(5)).unwrap());
    assert!(connecting.socket().take_error().unwrap().is_some());
    let ConnectOutcome::Failed(error) = connecting.outcome() else {
        panic!("a connection without a peer and without an error is not pending for ever");
    };
    assert_eq!(error.cause(), ConnectCause::Reset);
}

#[test]
fn asked_too_early_the_outcome_is_pending() {
    if !skip::require(&[Need::Namespaces]) {
        return;
    }
    if !netns::enter("asked_too_early_the_outcome_is_pending", silent_host) {
        return;
    }
    let mut connecting = TcpStream::start_connect(addr("192.0.2.2:80")).unwrap();
    for _ in 0..3 {
        connecting = match connecting.outcome() {
            ConnectOutcome::Pending(connecting) => connecting,
            other => panic!("{other:?}"),
        };
    }
}

/// A neighbour whose hardware address nobody has: what is sent to it vanishes.
fn silent_host(namespace: &netns::Namespace) {
    namespace.ip("link add v0 type veth peer name v1");
    namespace.ip("link set v1 up");
    namespace.ip("address add 192.0.2.1/24 dev v0");
    namespace.ip("link set v0 up");
    namespace.ip("neighbour add 192.0.2.2 lladdr 02:00:00:00:00:99 dev v0 nud permanent");
}

#[test]
fn a_silent_host_is_a_deadline_and_never_a_hang() {
    if !skip::require(&[Need::Namespaces]) {
        return;
    }
    if !netns::enter("a_silent_host_is_a_deadline_and_never_a_hang", silent_host) {
        return;
    }
    let begun = Instant::now();
    let error = TcpStream::options()
        .connect(addr("192.0.2.2:80"), Duration::from_millis(300))
        .unwrap_err();
    assert_eq!(
        (error.cause(), error.kind()),
        (ConnectCause::Deadline, ErrorKind::TimedOut)
    );
    assert_eq!(
        error.to_string(),
        "connect tcp://192.0.2.2:80: no answer before the deadline"
    );
    assert!((300..3000).contains(&begun.elapsed().as_millis()));

    // And the kernel's own, after as many SYNs as it was told to send.
    let begun = Instant::now();
    let error = ConnectOptions::new()
        .syn_count(1)
        .connect(addr("192.0.2.2:80"), PATIENCE)
        .unwrap_err();
    assert_eq!(
        (error.cause(), error.raw_os_error()),
        (ConnectCause::TimedOut, Some(libc::ETIMEDOUT))
    );
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn routes_that_lead_nowhere_are_told_apart() {
    if !skip::require(&[Need::Namespaces]) {
        return;
    }
    let routes = |namespace: &netns::Namespace| {
        namespace.ip("link set lo up");
        namespace.ip("route add unreachable 198.51.100.0/26");
        namespace.ip("route add prohibit 198.51.100.64/26");
        namespace.ip("route add blackhole 198.51.100.128/26");
        namespace.ip("-6 route add unreachable 2001:db8:1::/48");
        namespace.ip("-6 route add prohibit 2001:db8:2::/48");
        namespace.ip("-6 route add blackhole 2001:db8:3::/48");
    };
    if !netns::enter("routes_that_lead_nowhere_are_told_apart", routes) {
        return;
    }
    let cases = [
        (
            "198.51.100.1:80",
            ConnectCause::HostUnreachable,
            libc::EHOSTUNREACH,
        ),
        ("198.51.100.65:80", ConnectCause::Prohibited, libc::EACCES),
        ("198.51.100.129:80", ConnectCause::Blackholed, libc::EINVAL),
        ("203.0.113.1:80", ConnectCause::NoRoute, libc::ENETUNREACH),
        (
            "[2001:db8:1::1]:80",
            ConnectCause::HostUnreachable,
            libc::EHOSTUNREACH,
        ),
        ("[2001:db8:2::1]:80", ConnectCause::Prohibited, libc::EACCES),
        ("[2001:db8:3::1]:80", ConnectCause::Blackholed, libc::EINVAL),
        ("[2001:db8:4::1]:80", ConnectCause::NoRoute, libc::ENETUNREACH),
    ];
    for (to, cause, errno) in cases {
        let error = failure(addr(to));
        assert_eq!(
            (error.cause(), error.raw_os_error()),
            (cause, Some(errno)),
            "{to}: {error}"
        );
        assert!(
            error.to_string().starts_with(&format!("connect tcp://{to}: ")),
            "{error}"
        );
        // mio's call says the same with the bare errno.
        assert_eq!(
            TcpStream::connect(addr(to)).unwrap_err().raw_os_error(),
            Some(errno),
            "{to}"
        );
    }
}

#[test]
fn a_firewall_that_rejects_is_refused_and_one_that_drops_is_a_deadline() {
    if !skip::require(&[Need::Namespaces, Need::program("nft")]) {
        return;
    }
    let rules = |namespace: &netns::Namespace| {
        namespace.ip("link set lo up");
        namespace.run("nft", &["add table inet t"]);
        namespace.run(
            "nft",
            &["add chain inet t in { type filter hook input priority 0; }"],
        );
        namespace.run("nft", &["add rule inet t in tcp dport 81 reject with tcp reset"]);
        namespace.run("nft", &["add rule inet t in tcp dport 82 drop"]);
    };
    let name = "a_firewall_that_rejects_is_refused_and_one_that_drops_is_a_deadline";
    if !netns::enter(name, rules) {
        return;
    }
    assert_eq!(failure(addr("127.0.0.1:81")).cause(), ConnectCause::Refused);
    let error = TcpStream::options()
        .connect(addr("127.0.0.1:82"), Duration::from_millis(200))
        .unwrap_err();
    assert_eq!(error.cause(), ConnectCause::Deadline);
}

#[test]
fn no_ephemeral_port_is_said_and_late_ports_are_shared_among_peers() {
    if !skip::require(&[Need::Namespaces]) {
        return;
    }
    let two_ports = |namespace: &netns::Namespace| {
        namespace.ip("link set lo up");
        namespace.sysctl("net/ipv4/ip_local_port_range", "40000 40001");
    };
    if !netns::enter(
        "no_ephemeral_port_is_said_and_late_ports_are_shared_among_peers",
        two_ports,
    ) {
        return;
    }
    let listen = |port| TcpListener::bind(addr(&format!("127.0.0.1:{port}"))).unwrap();
    let (first, second) = (listen(1001), listen(1002));
    let (one, other) = (first.local_addr().unwrap(), second.local_addr().unwrap());
    let held = [connect(one), connect(one)];
    let error = failure(one);
    assert_eq!(
        (error.cause(), error.raw_os_error()),
        (ConnectCause::NoLocalAddress, Some(libc::EADDRNOTAVAIL))
    );
    assert!(error.to_string().contains("no ephemeral port is free"), "{error}");
    // Reset, so that no port is left waiting for late segments.
    held.into_iter().for_each(|stream| stream.abort().unwrap());

    // Bound to an address and no port: early, each socket needs a port of its own; late, peers share.
    let late = ConnectOptions::new().local(addr("127.0.0.1:0")).late_port(true);
    let streams: Vec<_> = [one, one, other, other]
        .iter()
        .map(|&to| late.connect(to, PATIENCE))
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(streams.len(), 4);
    let early = ConnectOptions::new().local(addr("127.0.0.1:0"));
    let error = early.connect(other, PATIENCE).unwrap_err();
    assert_eq!(error.cause(), ConnectCause::LocalAddressInUse, "{error}");
}

#[test]
fn a_socket_that_connects_to_itself_is_no_connection() {
    // The port that the kernel has just given is the one that is connected to.
    let taken = TcpListener::bind(addr("127.0.0.1:0")).unwrap();
    let own = taken.local_addr().unwrap();
    drop(taken);
    let error = ConnectOptions::new()
        .local(own)
        .connect(own, PATIENCE)
        .unwrap_err();
    assert_eq!(
        (error.cause(), error.kind()),
        (ConnectCause::Itself, ErrorKind::ConnectionRefused)
    );
    assert!(error.to_string().contains("connected to itself"), "{error}");
}

#[test]
fn an_ephemeral_port_that_meets_itself_is_found_out() {
    if !skip::require(&[Need::Namespaces]) {
        return;
    }
    // Linux deals odd and even ports out to bind and connect; one port leaves it no choice.
    let one_port = |namespace: &netns::Namespace| {
        namespace.ip("link set lo up");
        namespace.sysctl("net/ipv4/ip_local_port_range", "40000 40000");
    };
    if !netns::enter("an_ephemeral_port_that_meets_itself_is_found_out", one_port) {
        return;
    }
    let to = addr("127.0.0.1:40000");
    // mio's call cannot say no; the stream can be asked.
    let stream = TcpStream::connect(to).unwrap();
    assert!(stream.wait_writable(PATIENCE).unwrap());
    assert!(stream.is_connected_to_itself().unwrap());
    stream.abort().unwrap();
    assert_eq!(failure(to).cause(), ConnectCause::Itself);
}

#[test]
fn a_source_is_kept_and_one_that_is_not_ours_is_refused() {
    let (listener, address) = listener();
    let options = ConnectOptions::new().local(addr("127.0.0.2:0"));
    let stream = options.connect(address, PATIENCE).unwrap();
    assert_eq!(stream.local_addr().unwrap().ip(), addr("127.0.0.2:0").ip());
    assert_eq!(
        accept(&listener).peer_addr().unwrap(),
        stream.local_addr().unwrap()
    );

    let error = ConnectOptions::new()
        .local(addr("192.0.2.77:0"))
        .start(address)
        .unwrap_err();
    assert_eq!(error.cause(), ConnectCause::NoLocalAddress);
    assert!(
        error
            .to_string()
            .starts_with(&format!("bind tcp://192.0.2.77:0 -> tcp://{address}: ")),
        "{error}"
    );

    let taken = stream.local_addr().unwrap();
    let error = ConnectOptions::new().local(taken).start(address).unwrap_err();
    assert_eq!(error.cause(), ConnectCause::LocalAddressInUse);
}

#[test]
fn a_full_backlog_drops_the_syn_and_the_deadline_is_the_callers() {
    let listener = ListenOptions::new().backlog(1).bind(addr("127.0.0.1:0")).unwrap();
    let to = listener.local_addr().unwrap();
    assert_eq!(listener.queue().unwrap().limit, 1);
    let mut waiting = Vec::new();
    let error = loop {
        match TcpStream::options().connect(to, Duration::from_millis(400)) {
            Ok(stream) => waiting.push(stream),
            Err(error) => break error,
        }
        assert!(waiting.len() < 10, "the backlog has no end");
    };
    assert_eq!(error.cause(), ConnectCause::Deadline);
    assert_eq!(waiting.len(), 2, "one more than the backlog says");
    assert_eq!(listener.queue().unwrap().waiting, 2);
    // Room again, and the kernel's next SYN gets in.
    let again = TcpStream::start_connect(to).unwrap();
    drop(accept(&listener));
    drop(again.wait(PATIENCE).unwrap());
}

#[test]
fn the_default_backlog_is_more_than_mios() {
    let (listener, _) = listener();
    let most: u32 = std::fs::read_to_string("/proc/sys/net/core/somaxconn")
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert_eq!(listener.queue().unwrap().limit, most.min(4096));
}

#[test]
fn a_reset_at_each_stage_has_its_own_place_to_show() {
    // Before accept: accept succeeds, and the stream says what happened.
    let (listener, address) = listener();
    connect(address).abort().unwrap();
    let stream = accept(&listener);
    assert_eq!(
        read_to_end(&stream),
        (Vec::new(), Some(ErrorKind::ConnectionReset))
    );
    assert_eq!(stream.peer_addr().unwrap_err().kind(), ErrorKind::NotConnected);

    // After accept, before data.
    let client = connect(address);
    accept(&listener).abort().unwrap();
    assert_eq!(
        read_to_end(&client),
        (Vec::new(), Some(ErrorKind::ConnectionReset))
    );

    // Between connecting and asking: the connection is over, and not pending.
    let connecting = TcpStream::start_connect(address).unwrap();
    accept(&listener).abort().unwrap();
    assert_eq!(settle(connecting).unwrap_err().cause(), ConnectCause::Reset);

    // In the middle of data.
    let client = connect(address);
    let server = accept(&listener);
    write_all(&client, b"first");
    assert_eq!(read_exactly(&server, 5), b"first");
    client.abort().unwrap();
    assert_eq!(
        read_to_end(&server),
        (Vec::new(), Some(ErrorKind::ConnectionReset))
    );
}

/// Waits until a reset has certainly come, then asks.
fn settle(connecting: Connecting) -> Result<TcpStream, ConnectError> {
    let hung_up = || {
        let mut buffer = [0; 1];
        connecting
            .socket()
            .peek(&mut buffer)
            .is_err_and(|error| error.kind() != ErrorKind::WouldBlock)
    };
    // The look takes the error away as SO_ERROR would: the state has to tell.
    sockeye_tests::wait::until("the reset has come", PATIENCE, hung_up);
    connecting.wait(PATIENCE)
}
