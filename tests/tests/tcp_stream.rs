//! TCP streams on the real kernel: bytes, ends, resets, signals.

#![expect(clippy::unwrap_used, reason = "what a test expects and does not get fails it")]
#![expect(
    unsafe_code,
    reason = "signal handlers and raw reads as the other party to a rule"
)]

mod tcp_common;

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sockeye::socket::Socket;
use sockeye::socket::os::Pipe;
use sockeye::tcp::{TcpState, TcpStream};
use sockeye_tests::{pattern, program, skip, wait};
use tcp_common::{PATIENCE, accept, addr, alone, connect, fill, pair, read_exactly, read_to_end, write_all};

#[test]
fn bytes_arrive_whole_and_in_order_through_every_way_to_write_and_read() {
    let (mut client, mut server) = pair();
    assert_eq!(
        server.read(&mut [0; 8]).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );

    assert_eq!(client.write(b"one ").unwrap(), 4);
    assert_eq!((&client).write(b"two ").unwrap(), 4);
    let slices = [IoSlice::new(b"three "), IoSlice::new(b""), IoSlice::new(b"four ")];
    assert_eq!(client.write_vectored(&slices).unwrap(), 11);
    assert_eq!((&client).write_vectored(&slices[2..]).unwrap(), 5);
    assert_eq!(client.write_more(b"fi").unwrap(), 2);
    client.write_all(b"ve").unwrap();
    client.flush().unwrap();

    let expected = b"one two three four four five";
    wait::until("all bytes have come", PATIENCE, || {
        server.unread().unwrap() == expected.len()
    });
    let mut peeked = [0; 64];
    assert_eq!(server.peek(&mut peeked).unwrap(), expected.len());
    assert_eq!(&peeked[..expected.len()], expected);

    let (mut first, mut second) = ([0; 4], [0; 6]);
    let mut slices = [
        IoSliceMut::new(&mut first),
        IoSliceMut::new(&mut []),
        IoSliceMut::new(&mut second),
    ];
    assert_eq!(server.read_vectored(&mut slices).unwrap(), 10);
    assert_eq!((&first, &second), (b"one ", b"two th"));
    let mut uninit = [MaybeUninit::uninit(); 4];
    assert_eq!(server.read_uninit(&mut uninit).unwrap(), 4);
    assert_eq!(read_exactly(&server, expected.len() - 14), expected[14..]);
}

#[test]
fn more_slices_than_the_kernel_takes_are_a_short_write_not_an_error() {
    let (mut client, server) = pair();
    let slices = vec![IoSlice::new(b"x"); 3000];
    assert_eq!(client.write_vectored(&slices).unwrap(), 1024);
    assert_eq!(read_exactly(&server, 1024), [b'x'; 1024]);
    let mut buffers = vec![[0; 1]; 3000];
    write_all(&client, &[b'y'; 3000]);
    wait::until("all bytes have come", PATIENCE, || {
        server.unread().unwrap() == 3000
    });
    let mut slices: Vec<_> = buffers.iter_mut().map(|byte| IoSliceMut::new(byte)).collect();
    assert_eq!((&server).read_vectored(&mut slices).unwrap(), 1024);
}

#[test]
fn each_half_ends_by_itself() {
    let (client, server) = pair();
    write_all(&client, b"question");
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&server), (b"question".to_vec(), None));
    // The other direction lives on.
    write_all(&server, b"answer");
    assert_eq!(read_exactly(&client, 6), b"answer");
    assert_eq!((&client).write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    drop(server);
    assert_eq!(read_to_end(&client), (Vec::new(), None));
    // The end stays the end.
    assert_eq!((&client).read(&mut [0; 8]).unwrap(), 0);
}

#[test]
fn data_and_fin_together_are_read_to_the_last_byte() {
    for len in [1, 100, 200_000] {
        let (client, server) = pair();
        let data = pattern(len);
        std::thread::scope(|scope| {
            // Gone where it cannot be read: the writer must not wait for it.
            let server = server;
            scope.spawn(|| {
                write_all(&client, &data);
                client.shutdown(Shutdown::Write).unwrap();
            });
            assert_eq!(read_to_end(&server), (data.clone(), None));
        });
    }
}

#[test]
fn closing_with_unread_data_resets() {
    let (client, server) = pair();
    write_all(&client, b"never read");
    wait::until("the data has come", PATIENCE, || server.unread().unwrap() == 10);
    drop(server);
    assert_eq!(
        read_to_end(&client),
        (Vec::new(), Some(ErrorKind::ConnectionReset))
    );
}

#[test]
fn bytes_that_came_before_a_reset_are_readable_after_it() {
    let (client, server) = pair();
    write_all(&server, b"last words");
    wait::until("the data has come", PATIENCE, || client.unread().unwrap() == 10);
    server.abort().unwrap();
    wait::until("the reset has come", PATIENCE, || {
        client.info().unwrap().state() == TcpState::Closed
    });
    let mut buffer = [0; 32];
    assert_eq!((&client).read(&mut buffer).unwrap(), 10);
    assert_eq!(&buffer[..10], b"last words");
    assert_eq!(
        (&client).read(&mut buffer).unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
    // The error was consumed; what is left is an end.
    assert_eq!((&client).read(&mut buffer).unwrap(), 0);
}

#[test]
fn abort_resets_and_drops_what_was_not_sent() {
    let (client, server) = pair();
    fill(&client);
    client.abort().unwrap();
    let (_, error) = read_to_end(&server);
    assert_eq!(error, Some(ErrorKind::ConnectionReset));
}

#[test]
fn writes_after_a_reset_are_errors_and_then_broken_pipes() {
    let (client, server) = pair();
    server.abort().unwrap();
    wait::until("the reset has come", PATIENCE, || {
        client.info().unwrap().state() == TcpState::Closed
    });
    assert_eq!(
        (&client).write(b"x").unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
    assert_eq!((&client).write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn writes_after_the_peer_has_gone_end_in_an_error() {
    let (client, server) = pair();
    drop(server);
    // The first write goes out and is answered by a reset.
    let error = wait::value("a write fails", PATIENCE, || (&client).write(b"x").err());
    assert!(
        matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset),
        "{error}"
    );
}

static SIGPIPES: AtomicUsize = AtomicUsize::new(0);

#[test]
fn no_call_raises_sigpipe_under_the_default_handler() {
    if !alone("no_call_raises_sigpipe_under_the_default_handler", |_| {}) {
        return;
    }
    // SAFETY: SIG_DFL is a valid disposition; this process is this test's alone.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let broken = || {
        let (client, server) = pair();
        client.shutdown(Shutdown::Write).unwrap();
        (client, server)
    };
    let (client, _server) = broken();
    let expect_pipe = |what: &str, answer: std::io::Result<usize>| {
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::BrokenPipe, "{what}");
    };
    expect_pipe("write", (&client).write(b"x"));
    expect_pipe(
        "write_vectored",
        (&client).write_vectored(&[IoSlice::new(b"x"), IoSlice::new(b"y")]),
    );
    expect_pipe("write_more", client.write_more(b"x"));
    expect_pipe("send_urgent", client.send_urgent(b'!').map(|()| 1));

    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"content").unwrap();
    expect_pipe("send_file", client.send_file(&file, &mut 0, 7));
    let (feeder, fed) = pair();
    write_all(&feeder, b"spliced");
    assert!(fed.wait_readable(PATIENCE).unwrap());
    let mut pipe = Pipe::new().unwrap();
    assert_eq!(fed.splice_into(&mut pipe, 100).unwrap(), 7);
    expect_pipe("splice_from", client.splice_from(&mut pipe, false));
    let mut zero = sockeye::tcp::ZeroCopy::new(&client, 4).unwrap();
    expect_pipe(
        "zero-copy",
        zero.send(&client, &sockeye::tcp::ZeroCopyBuffer::from_static(b"abc"), 0..3),
    );

    // The witness: std's writev does raise it. Counted instead of deadly.
    extern "C" fn count(_signal: libc::c_int) {
        SIGPIPES.fetch_add(1, Ordering::SeqCst);
    }
    // SAFETY: the handler only touches an atomic.
    unsafe { libc::signal(libc::SIGPIPE, count as *const () as libc::sighandler_t) };
    let (client, _server) = broken();
    expect_pipe("write", (&client).write(b"x"));
    expect_pipe("write_vectored", (&client).write_vectored(&[IoSlice::new(b"x")]));
    expect_pipe("send_file", client.send_file(&file, &mut 0, 7));
    assert_eq!(SIGPIPES.load(Ordering::SeqCst), 0);
    let mut peer = std::net::TcpStream::from(client);
    expect_pipe("std", peer.write_vectored(&[IoSlice::new(b"x")]));
    assert_eq!(
        SIGPIPES.load(Ordering::SeqCst),
        1,
        "the trap is not there any more"
    );
}

#[test]
fn a_stalled_peer_is_a_deadline_of_the_callers() {
    let (client, _server) = pair();
    client.set_send_buffer(4096).unwrap();
    // Until the peer's buffer is full too: what is under way makes room for a moment.
    while client.wait_writable(Duration::from_millis(100)).unwrap() {
        fill(&client);
    }
    let begun = Instant::now();
    assert!(!client.wait_writable(Duration::from_millis(400)).unwrap());
    assert!((400..4000).contains(&begun.elapsed().as_millis()));
    // The peer answers the kernel's probes, so for TCP all is well.
    assert_eq!(client.info().unwrap().state(), TcpState::Established);
    assert!(client.take_error().unwrap().is_none());
}

static SIGNALS: AtomicUsize = AtomicUsize::new(0);

#[test]
fn a_signal_does_not_end_a_wait() {
    if !alone("a_signal_does_not_end_a_wait", |_| {}) {
        return;
    }
    extern "C" fn count(_signal: libc::c_int) {
        SIGNALS.fetch_add(1, Ordering::SeqCst);
    }
    // SAFETY: all zero bits are a sigaction without flags, SA_RESTART among them.
    let mut action = unsafe { MaybeUninit::<libc::sigaction>::zeroed().assume_init() };
    action.sa_sigaction = count as *const () as libc::sighandler_t;
    // SAFETY: the handler only touches an atomic.
    unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) };

    let (client, _server) = pair();
    // SAFETY: the call has no arguments.
    let waiting = unsafe { libc::pthread_self() };
    std::thread::scope(|scope| {
        scope.spawn(move || {
            wait::until("signals have come", PATIENCE, || {
                // SAFETY: the scope keeps the waiting thread alive.
                unsafe { libc::pthread_kill(waiting, libc::SIGUSR1) };
                SIGNALS.load(Ordering::SeqCst) >= 20
            });
        });
        let begun = Instant::now();
        assert!(!client.wait_readable(Duration::from_millis(300)).unwrap());
        assert!(begun.elapsed() >= Duration::from_millis(300));
        wait::until("the signals are over", PATIENCE, || {
            SIGNALS.load(Ordering::SeqCst) >= 20
        });
    });
}

#[test]
fn a_duplicated_descriptor_goes_on_delivering_events() {
    let (client, server) = pair();
    let mut poll = mio::Poll::new().unwrap();
    let mut events = mio::Events::with_capacity(8);
    let mut polled = server.try_clone().unwrap();
    poll.registry()
        .register(&mut polled, mio::Token(1), mio::Interest::READABLE)
        .unwrap();
    let kept = polled.try_clone().unwrap();
    drop(polled);
    write_all(&client, b"x");
    poll.poll(&mut events, Some(PATIENCE)).unwrap();
    assert_eq!(
        events.iter().map(mio::event::Event::token).collect::<Vec<_>>(),
        [mio::Token(1)]
    );

    // Deregistered first, it is silent.
    let mut polled = kept;
    poll.registry()
        .register(&mut polled, mio::Token(2), mio::Interest::READABLE)
        .unwrap();
    poll.registry().deregister(&mut polled).unwrap();
    drop(polled);
    write_all(&client, b"y");
    wait::until("the byte has come", PATIENCE, || server.unread().unwrap() == 2);
    poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
    assert!(events.iter().all(|event| event.token() != mio::Token(2)));
}

#[test]
fn a_stream_killed_by_ss_ends_in_connection_aborted() {
    if !skip::require(&[skip::Need::program("ss"), skip::Need::NetAdmin]) {
        return;
    }
    let (client, _server) = pair();
    let port = client.local_addr().unwrap().port().to_string();
    let mut kill = std::process::Command::new("ss");
    kill.args(["-K", "-t", "src", "127.0.0.1", "sport", "=", &port]);
    assert!(program::output(&mut kill, PATIENCE).status.success());
    if !client.wait_readable(Duration::from_secs(2)).unwrap() {
        skip::missing("a kernel with CONFIG_INET_DIAG_DESTROY", "another kernel");
        return;
    }
    assert_eq!(
        (&client).read(&mut [0; 8]).unwrap_err().kind(),
        ErrorKind::ConnectionAborted
    );
    assert_eq!((&client).write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn an_unconnected_stream_is_an_error_at_every_call_and_polls_as_closed() {
    let socket = Socket::new(sockeye::socket::Domain::IPV4, sockeye::socket::Type::STREAM, None).unwrap();
    let stream = TcpStream::from(socket);
    assert_eq!(
        (&stream).read(&mut [0; 8]).unwrap_err().kind(),
        ErrorKind::NotConnected
    );
    assert_eq!((&stream).write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    assert_eq!(stream.peer_addr().unwrap_err().kind(), ErrorKind::NotConnected);
    assert_eq!(
        stream.shutdown(Shutdown::Both).unwrap_err().kind(),
        ErrorKind::NotConnected
    );
    // Writable and hung up at once: readiness alone does not say connected.
    assert!(stream.wait_writable(PATIENCE).unwrap());
    assert!(stream.take_error().unwrap().is_none());
    assert!(format!("{stream:?}").contains("peer: None"));
}

#[test]
fn conversions_keep_the_connection() {
    let (client, server) = pair();
    let fd = client.as_raw_fd();
    let client = TcpStream::from_std(std::net::TcpStream::from(client));
    let client = TcpStream::from(OwnedFd::from(client));
    let client = TcpStream::from(Socket::from(client));
    assert_eq!((client.as_raw_fd(), client.as_fd().as_raw_fd()), (fd, fd));
    write_all(&client, b"still here");
    assert_eq!(read_exactly(&server, 10), b"still here");
    let text = format!("{client:?}");
    for end in [client.local_addr().unwrap(), client.peer_addr().unwrap()] {
        assert!(text.contains(&format!("tcp://{end}")), "{text}");
    }
}

#[test]
fn both_families_work_and_a_dual_stack_listener_takes_both() {
    if !skip::require(&[skip::Need::Ipv6]) {
        return;
    }
    let listener = sockeye::tcp::ListenOptions::new()
        .v6_only(false)
        .bind(addr("[::]:0"))
        .unwrap();
    let port = listener.local_addr().unwrap().port();
    for host in ["127.0.0.1", "[::1]"] {
        let client = connect(addr(&format!("{host}:{port}")));
        let server = accept(&listener);
        write_all(&client, b"x");
        assert_eq!(read_exactly(&server, 1), b"x");
        assert_eq!(
            server.peer_addr().unwrap().ip().to_canonical(),
            client.local_addr().unwrap().ip()
        );
    }
    let only = sockeye::tcp::ListenOptions::new()
        .v6_only(true)
        .bind(addr("[::]:0"))
        .unwrap();
    let port = only.local_addr().unwrap().port();
    let refused = TcpStream::options()
        .connect(addr(&format!("127.0.0.1:{port}")), PATIENCE)
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}
