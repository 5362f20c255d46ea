//! What the kernel offers beside bytes: options, MPTCP, fast open, urgent data, transfers without a copy, the state of a
//! connection.

#![expect(clippy::unwrap_used, reason = "what a test expects and does not get fails it")]

mod tcp_common;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::process::Command;
use std::time::Duration;

use sockeye::socket::os::Pipe;
use sockeye::tcp::{
    CongestionControl, ConnectOptions, Done, FastOpen, Keepalive, ListenOptions, Mptcp, MptcpState,
    StreamOptions, TcpState, TcpStream, Urgent, ZeroCopy, ZeroCopyBuffer,
};
use sockeye_tests::skip::{self, Need};
use sockeye_tests::{netns, pattern, wait};
use tcp_common::{
    PATIENCE, accept, addr, connect, fill, listener, pair, read_exactly, read_to_end, write_all,
};

#[test]
fn what_is_set_is_what_the_kernel_has() {
    let (stream, _peer) = pair();
    assert!(!stream.nodelay().unwrap());
    stream.set_nodelay(true).unwrap();
    assert!(stream.nodelay().unwrap());
    stream.set_cork(true).unwrap();
    assert!(stream.cork().unwrap());
    stream.set_quickack(true).unwrap();
    assert!(stream.quickack().unwrap());
    stream.set_notsent_lowat(9000).unwrap();
    assert_eq!(stream.notsent_lowat().unwrap(), 9000);
    stream.set_recv_lowat(10).unwrap();
    assert_eq!(stream.recv_lowat().unwrap(), 10);
    stream.set_send_buffer(50_000).unwrap();
    assert_eq!(stream.send_buffer().unwrap(), 100_000);
    stream.set_recv_buffer(50_000).unwrap();
    assert_eq!(stream.recv_buffer().unwrap(), 100_000);
    stream.set_max_pacing_rate(1_000_000).unwrap();
    assert_eq!(stream.max_pacing_rate().unwrap(), 1_000_000);
    stream.set_ttl(99).unwrap();
    assert_eq!(stream.ttl().unwrap(), 99);
    assert_eq!(stream.set_ttl(256).unwrap_err().kind(), ErrorKind::InvalidInput);
    stream.set_traffic_class(0xb8).unwrap();
    stream.set_linger(Some(Duration::from_millis(1500))).unwrap();
    assert_eq!(stream.linger().unwrap(), Some(Duration::from_secs(2)));
    stream.set_linger(None).unwrap();
    assert_eq!(stream.linger().unwrap(), None);
    stream.set_user_timeout(Duration::from_micros(1_234_500)).unwrap();
    assert_eq!(stream.user_timeout().unwrap(), Duration::from_millis(1235));
    stream
        .set_congestion_control(CongestionControl::new("reno").unwrap())
        .unwrap();
    assert_eq!(stream.congestion_control().unwrap().as_str(), "reno");
    let unknown = CongestionControl::new("nonesuch").unwrap();
    assert_eq!(
        stream.set_congestion_control(unknown).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(stream.keepalive().unwrap(), None);
    let keepalive = Keepalive {
        idle: Duration::from_millis(500),
        interval: Duration::from_secs(2),
        count: 4,
    };
    stream.set_keepalive(Some(keepalive)).unwrap();
    // Whole seconds: half a one has become one, not none.
    assert_eq!(
        stream.keepalive().unwrap(),
        Some(Keepalive {
            idle: Duration::from_secs(1),
            ..keepalive
        })
    );
    stream.set_keepalive(None).unwrap();
    assert_eq!(stream.keepalive().unwrap(), None);
    assert_ne!(stream.cookie().unwrap(), 0);
    assert_ne!(stream.cookie().unwrap(), _peer.cookie().unwrap());
}

#[test]
fn options_that_are_refused_say_which() {
    let (listener, address) = listener();
    let unknown = StreamOptions::new().congestion(CongestionControl::new("nonesuch").unwrap());
    let error = ConnectOptions::new().stream(unknown).start(address).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with(&format!("set TCP_CONGESTION tcp://{address}: ")),
        "{error}"
    );
    assert!(
        error.to_string().contains("tcp_available_congestion_control"),
        "{error}"
    );
    let stream = connect(address);
    let error = unknown.apply_to(&stream).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    StreamOptions::new()
        .nodelay(true)
        .recv_buffer(100_000)
        .linger(Duration::ZERO)
        .apply_to(&stream)
        .unwrap();
    assert!(stream.nodelay().unwrap());
    drop(listener);
}

#[test]
fn a_mark_needs_its_capability() {
    if !skip::require(&[Need::NetAdmin]) {
        return;
    }
    let (stream, _peer) = pair();
    stream.set_mark(0x5ea).unwrap();
    assert_eq!(stream.mark().unwrap(), 0x5ea);
}

#[test]
fn info_counts_what_went_and_came() {
    let (client, server) = pair();
    let data = pattern(300_000);
    std::thread::scope(|scope| {
        scope.spawn(|| write_all(&client, &data));
        assert_eq!(read_exactly(&server, data.len()), data);
    });
    wait::until("all is acknowledged", PATIENCE, || client.unacked().unwrap() == 0);
    let (sent, received) = (client.info().unwrap(), server.info().unwrap());
    assert_eq!(sent.state(), TcpState::Established);
    // The SYN counts for one.
    assert_eq!(sent.bytes_acked(), Some(data.len() as u64 + 1));
    assert_eq!(
        sent.bytes_sent(),
        Some(data.len() as u64 + sent.bytes_retransmitted().unwrap())
    );
    assert_eq!(received.bytes_received(), Some(data.len() as u64));
    assert!(sent.rtt().unwrap() > Duration::ZERO && sent.rtt().unwrap() < Duration::from_secs(5));
    assert!(sent.rtt_variance().is_some() && sent.min_rtt().unwrap() <= sent.rtt().unwrap() * 8);
    assert!(sent.congestion_window().unwrap() >= 1);
    assert!(sent.delivery_rate().unwrap() > 0);
    assert_eq!(
        (sent.unacked(), sent.unsent(), sent.lost()),
        (Some(0), Some(0), Some(0))
    );
    assert!(sent.segments_sent().unwrap() >= 5 && sent.retransmissions().is_some());
    assert!(sent.send_segment().unwrap() > 500 && sent.path_mtu().unwrap() > 500);
    assert!(received.since_received().unwrap() < PATIENCE && sent.since_sent().unwrap() < PATIENCE);
    assert!(sent.retransmission_timeout().unwrap() >= Duration::from_millis(1));
    assert!(sent.has_sack() && sent.has_timestamps() && !sent.has_ecn());
    assert_eq!((client.unsent().unwrap(), server.unread().unwrap()), (0, 0));
    client.shutdown(Shutdown::Write).unwrap();
    wait::until("the end has come", PATIENCE, || {
        server.info().unwrap().state() == TcpState::CloseWait
    });
    wait::until("it is acknowledged", PATIENCE, || {
        client.info().unwrap().state() == TcpState::FinWait2
    });
}

#[test]
fn what_waits_unsent_is_counted() {
    let (client, server) = pair();
    let written = fill(&client);
    assert!(client.unacked().unwrap() > 0);
    assert!(client.unsent().unwrap() <= client.unacked().unwrap());
    wait::until("the peer's buffer is full", PATIENCE, || {
        server.unread().unwrap() > 0
    });
    assert!(server.unread().unwrap() <= written);
}

/// Whether the kernel has MPTCP, be it switched on here or not.
fn has_mptcp() -> bool {
    let has = std::path::Path::new("/proc/sys/net/mptcp/enabled").exists();
    if !has {
        skip::missing("MPTCP", "a kernel with CONFIG_MPTCP");
    }
    has
}

#[test]
fn mptcp_is_spoken_where_both_have_it_and_falls_back_and_says_so() {
    if !has_mptcp() || !skip::require(&[Need::Namespaces]) {
        return;
    }
    let on = |namespace: &netns::Namespace| {
        namespace.ip("link set lo up");
        namespace.sysctl("net/mptcp/enabled", "1");
    };
    if !netns::enter(
        "mptcp_is_spoken_where_both_have_it_and_falls_back_and_says_so",
        on,
    ) {
        return;
    }
    let listener = ListenOptions::new()
        .mptcp(Mptcp::Require)
        .bind(addr("127.0.0.1:0"))
        .unwrap();
    let to = listener.local_addr().unwrap();
    let client = ConnectOptions::new()
        .mptcp(Mptcp::Require)
        .connect(to, PATIENCE)
        .unwrap();
    let server = accept(&listener);
    for stream in [&client, &server] {
        assert!(
            matches!(stream.mptcp().unwrap(), MptcpState::Active { .. }),
            "{:?}",
            stream.mptcp()
        );
    }
    write_all(&client, b"over both");
    assert_eq!(read_exactly(&server, 9), b"over both");
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&server), (Vec::new(), None));

    // A TCP client of the same listener, and an MPTCP client of a TCP listener.
    let plain = connect(to);
    assert_eq!(plain.mptcp().unwrap(), MptcpState::Off);
    let accepted = accept(&listener);
    assert!(matches!(
        accepted.mptcp().unwrap(),
        MptcpState::FellBack | MptcpState::Off
    ));
    let (tcp_listener, tcp) = tcp_common::listener();
    let client = ConnectOptions::new()
        .mptcp(Mptcp::Prefer)
        .connect(tcp, PATIENCE)
        .unwrap();
    let server = accept(&tcp_listener);
    assert_eq!(client.mptcp().unwrap(), MptcpState::FellBack);
    write_all(&client, b"all the same");
    assert_eq!(read_exactly(&server, 12), b"all the same");
}

#[test]
fn mptcp_preferred_is_tcp_where_the_kernel_has_it_switched_off() {
    if !has_mptcp() || !skip::require(&[Need::Namespaces]) {
        return;
    }
    let off = |namespace: &netns::Namespace| {
        namespace.ip("link set lo up");
        namespace.sysctl("net/mptcp/enabled", "0");
    };
    if !netns::enter("mptcp_preferred_is_tcp_where_the_kernel_has_it_switched_off", off) {
        return;
    }
    let (listener, to) = listener();
    let error = ConnectOptions::new().mptcp(Mptcp::Require).start(to).unwrap_err();
    assert!(error.to_string().contains("net.mptcp.enabled"), "{error}");
    let stream = ConnectOptions::new()
        .mptcp(Mptcp::Prefer)
        .connect(to, PATIENCE)
        .unwrap();
    assert_eq!(stream.mptcp().unwrap(), MptcpState::Off);
    drop(listener);
}

#[test]
fn fast_open_sends_data_in_the_syn_from_the_second_time_on() {
    if !skip::require(&[Need::Namespaces]) {
        return;
    }
    let allow = |namespace: &netns::Namespace| {
        namespace.ip("link set lo up");
        namespace.sysctl("net/ipv4/tcp_fastopen", "3");
    };
    if !netns::enter("fast_open_sends_data_in_the_syn_from_the_second_time_on", allow) {
        return;
    }
    let listener = ListenOptions::new()
        .fast_open(16)
        .bind(addr("127.0.0.1:0"))
        .unwrap();
    let to = listener.local_addr().unwrap();
    // No cookie yet: the SYN asks for one, and the data is for later.
    let (connecting, taken) = ConnectOptions::new().start_with_data(to, b"hello").unwrap();
    assert_eq!(taken, 0);
    let first = connecting.wait(PATIENCE).unwrap();
    write_all(&first, b"hello");
    assert_eq!(read_exactly(&accept(&listener), 5), b"hello");
    assert_eq!(first.info().unwrap().fast_open(), FastOpen::Unused);

    let (connecting, taken) = ConnectOptions::new().start_with_data(to, b"hello").unwrap();
    assert_eq!(taken, 5);
    let second = connecting.wait(PATIENCE).unwrap();
    assert_eq!(read_exactly(&accept(&listener), 5), b"hello");
    assert_eq!(second.info().unwrap().fast_open(), FastOpen::Accepted);

    // A peer that does not take it: the kernel sends it again, and nothing is lost.
    drop(listener);
    let plain = sockeye::tcp::TcpListener::bind(to).unwrap();
    let (connecting, taken) = ConnectOptions::new().start_with_data(to, b"hello").unwrap();
    assert_eq!(taken, 5);
    let third = connecting.wait(PATIENCE).unwrap();
    assert_eq!(read_exactly(&accept(&plain), 5), b"hello");
    assert_eq!(third.info().unwrap().fast_open(), FastOpen::Unused);
}

#[test]
fn urgent_data_is_never_something_to_read() {
    let (client, mut server) = pair();
    assert_eq!(server.recv_urgent().unwrap(), Urgent::None);
    client.send_urgent(b'!').unwrap();
    wait::until("it has come", PATIENCE, || {
        server.recv_urgent().unwrap() != Urgent::Announced
    });
    // Read just now or not: it is not in the stream.
    assert!(!server.wait_readable(Duration::from_millis(100)).unwrap());
    assert_eq!(
        server.read(&mut [0; 8]).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );

    write_all(&client, b"before");
    client.send_urgent(b'?').unwrap();
    write_all(&client, b"after");
    // Bytes before, byte beside, bytes after; the mark between.
    wait::until("all has come", PATIENCE, || server.unread().unwrap() >= 6);
    assert!(!server.is_at_urgent_mark().unwrap());
    let mut buffer = [0; 64];
    wait::until("all has come", PATIENCE, || {
        server.peek(&mut buffer).unwrap() == 6
    });
    assert_eq!(server.read(&mut buffer).unwrap(), 6);
    assert_eq!(&buffer[..6], b"before");
    assert!(server.is_at_urgent_mark().unwrap());
    assert_eq!(server.recv_urgent().unwrap(), Urgent::Byte(b'?'));
    assert_eq!(server.recv_urgent().unwrap(), Urgent::None);
    assert_eq!(read_exactly(&server, 5), b"after");

    // Inline, it is a byte like others.
    server.set_urgent_inline(true).unwrap();
    client.send_urgent(b'+').unwrap();
    assert_eq!(read_exactly(&server, 1), b"+");
    assert_eq!(server.recv_urgent().unwrap(), Urgent::None);
}

#[test]
fn a_file_is_sent_whole_from_any_offset_through_any_back_pressure() {
    let (client, server) = pair();
    client.set_send_buffer(8192).unwrap();
    let data = pattern(1_000_000);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&data).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut offset = 1000;
            loop {
                match client.send_file(&file, &mut offset, usize::MAX) {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        assert!(client.wait_writable(PATIENCE).unwrap());
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            assert_eq!(offset, data.len() as u64);
            client.shutdown(Shutdown::Write).unwrap();
        });
        assert_eq!(read_to_end(&server).0, data[1000..]);
    });
}

#[test]
fn splice_relays_a_stream_and_its_end() {
    let (source, from) = pair();
    let (to, sink) = pair();
    let data = pattern(700_000);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            write_all(&source, &data);
            source.shutdown(Shutdown::Write).unwrap();
        });
        scope.spawn(|| {
            let mut pipe = Pipe::with_capacity(256 * 1024).unwrap();
            loop {
                assert!(from.wait_readable(PATIENCE).unwrap());
                match from.splice_into(&mut pipe, usize::MAX) {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
                while !pipe.is_empty() {
                    match to.splice_from(&mut pipe, false) {
                        Ok(_) => {}
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::WouldBlock);
                            assert!(to.wait_writable(PATIENCE).unwrap());
                        }
                    }
                }
            }
            to.shutdown(Shutdown::Write).unwrap();
        });
        assert_eq!(read_to_end(&sink), (data.clone(), None));
    });
}

#[test]
fn zero_copy_counts_what_the_kernel_is_done_with_and_says_that_it_copied() {
    let (client, server) = pair();
    let mut zero = ZeroCopy::new(&client, 8).unwrap();
    let data = ZeroCopyBuffer::copy_of(&pattern(100_000)).unwrap();
    let mut sent = 0;
    let mut total = Done::default();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| read_exactly(&server, data.len()));
        while sent < data.len() {
            match zero.send(&client, &data, sent..data.len().min(sent + 30_000)) {
                Ok(len) => sent += len,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    assert!(client.wait_writable(PATIENCE).unwrap());
                }
            }
        }
        assert!(zero.pending() > 0);
        assert_eq!(reader.join().unwrap(), *data);
    });
    wait::until("the kernel is done", PATIENCE, || {
        let done = zero.reap(&client).unwrap();
        total.sends += done.sends;
        total.copied += done.copied;
        zero.pending() == 0
    });
    assert!(total.sends >= 4);
    // On the loopback the receiver's pages cannot be the sender's: the kernel copies, and says so.
    assert_eq!(total.copied, total.sends);
    assert_eq!(zero.send(&client, &data, 5..5).unwrap(), 0);
    assert_eq!(
        zero.send(&client, &data, 0..200_000).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    assert_eq!(zero.pending(), 0);
}

#[test]
fn zero_copy_is_bounded() {
    let (client, _server) = pair();
    let mut zero = ZeroCopy::new(&client, 3).unwrap();
    let data = ZeroCopyBuffer::copy_of(&pattern(10)).unwrap();
    let sent = (0..10)
        .filter(|_| zero.send(&client, &data, 0..10).is_ok())
        .count();
    assert_eq!((sent, zero.pending()), (3, 3));
}

#[test]
fn a_minimum_ttl_hears_only_peers_that_are_near() {
    let (client, server) = pair();
    server.set_min_ttl(255).unwrap();
    write_all(&client, b"from afar");
    assert!(!server.wait_readable(Duration::from_millis(150)).unwrap());
    // The retransmission comes with the new value.
    client.set_ttl(255).unwrap();
    assert_eq!(read_exactly(&server, 9), b"from afar");
    assert_eq!(
        server.set_min_ttl(256).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
}

/// Inside a namespace of the test called `name`: what `client` meets once every packet on the loopback is dropped.
/// `None` outside, and where the machine cannot.
fn with_a_silent_peer(name: &str, meet: impl FnOnce(&TcpStream)) -> Option<(ErrorKind, TcpStream)> {
    if !skip::require(&[Need::Namespaces, Need::program("nft")])
        || !netns::enter(name, |namespace| drop(namespace.ip("link set lo up")))
    {
        return None;
    }
    let (client, _server) = pair();
    for rule in [
        "add table inet t",
        "add chain inet t in { type filter hook input priority 0; policy drop; }",
    ] {
        assert!(Command::new("nft").arg(rule).status().unwrap().success());
    }
    meet(&client);
    assert!(client.wait_readable(PATIENCE).unwrap());
    let error = (&client).read(&mut [0; 8]).unwrap_err();
    Some((error.kind(), client))
}

#[test]
fn a_user_timeout_ends_a_connection_whose_peer_fell_silent() {
    let name = "a_user_timeout_ends_a_connection_whose_peer_fell_silent";
    let met = with_a_silent_peer(name, |client| {
        client.set_user_timeout(Duration::from_millis(300)).unwrap();
        write_all(client, b"into the void");
    });
    if let Some((error, client)) = met {
        assert_eq!(error, ErrorKind::TimedOut);
        assert!(client.info().unwrap().retransmissions().unwrap() > 0);
    }
}

#[test]
fn keepalive_finds_a_peer_that_is_gone() {
    let met = with_a_silent_peer("keepalive_finds_a_peer_that_is_gone", |client| {
        let second = Duration::from_secs(1);
        let keepalive = Keepalive {
            idle: second,
            interval: second,
            count: 1,
        };
        client.set_keepalive(Some(keepalive)).unwrap();
    });
    if let Some((error, _)) = met {
        assert_eq!(error, ErrorKind::TimedOut);
    }
}

#[test]
fn a_redirected_connection_knows_where_it_was_going() {
    if !skip::require(&[Need::Namespaces, Need::program("nft")]) {
        return;
    }
    let redirect = |namespace: &netns::Namespace| {
        namespace.ip("link set lo up");
        namespace.run("nft", &["add table ip t"]);
        namespace.run(
            "nft",
            &["add chain ip t out { type nat hook output priority -100; }"],
        );
        namespace.run("nft", &["add rule ip t out tcp dport 81 redirect to :8081"]);
    };
    if !netns::enter("a_redirected_connection_knows_where_it_was_going", redirect) {
        return;
    }
    let listener = sockeye::tcp::TcpListener::bind(addr("127.0.0.1:8081")).unwrap();
    let client = connect(addr("127.0.0.1:81"));
    assert_eq!(
        accept(&listener).original_destination().unwrap(),
        addr("127.0.0.1:81")
    );
    drop(client);
    let _direct = connect(addr("127.0.0.1:8081"));
    // Connection tracking knows this one too: it went where it came.
    assert_eq!(
        accept(&listener).original_destination().unwrap(),
        addr("127.0.0.1:8081")
    );
}

#[test]
fn a_transparent_source_is_one_that_is_not_ours() {
    if !skip::require(&[Need::Namespaces]) {
        return;
    }
    let name = "a_transparent_source_is_one_that_is_not_ours";
    if !netns::enter(name, |namespace| drop(namespace.ip("link set lo up"))) {
        return;
    }
    let (_listener, to) = listener();
    let foreign = ConnectOptions::new().local(addr("203.0.113.9:4000"));
    assert!(foreign.start(to).is_err());
    let connecting = foreign.transparent(true).start(to).unwrap();
    assert_eq!(connecting.local_addr().unwrap(), addr("203.0.113.9:4000"));
}
