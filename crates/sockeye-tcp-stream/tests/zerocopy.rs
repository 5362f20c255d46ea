//! What was sent without a copy arrives as it was, whatever is dropped and whatever takes its place in memory.

#![expect(clippy::unwrap_used, reason = "helpers of tests say what they expect")]

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use sockeye_tcp_stream::{Done, ListenOptions, StreamOptions, TcpStream, ZeroCopy, ZeroCopyBuffer};

const PATIENCE: Duration = Duration::from_secs(20);
const LEN: usize = 40_000;

/// A connection whose receiver takes little and whose sender takes much: what is sent waits in the sender's kernel.
fn pair() -> (TcpStream, TcpStream) {
    let small = StreamOptions::new().recv_buffer(4096);
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let listener = ListenOptions::new().stream(small).bind(any).unwrap();
    let large = TcpStream::options().stream(StreamOptions::new().send_buffer(4 << 20));
    let client = large.connect(listener.local_addr().unwrap(), PATIENCE).unwrap();
    assert!(listener.wait_readable(PATIENCE).unwrap());
    (client, listener.accept().unwrap().0)
}

/// Writes `x` until the peer's window is full, and returns how many.
fn fill_the_window(mut stream: &TcpStream) -> usize {
    let mut filled = 0;
    while stream.unsent().unwrap() == 0 {
        filled += stream.write(&[b'x'; 4096]).unwrap();
    }
    filled
}

fn letters(letter: u8) -> ZeroCopyBuffer {
    ZeroCopyBuffer::with(LEN, |bytes| bytes.fill(letter)).unwrap()
}

/// Memory of the same size and more of it, from the allocator and from the kernel, all of it `S`.
fn secrets() -> (Vec<Vec<u8>>, Vec<ZeroCopyBuffer>) {
    let heap = (0..64).map(|_| vec![b'S'; LEN]).collect();
    (heap, (0..64).map(|_| letters(b'S')).collect())
}

fn read_all(mut stream: &TcpStream) -> (Vec<u8>, Option<ErrorKind>) {
    let (mut all, mut buffer) = (Vec::new(), [0; 65_536]);
    loop {
        assert!(
            stream.wait_readable(PATIENCE).unwrap(),
            "no end after {} bytes",
            all.len()
        );
        match stream.read(&mut buffer) {
            Ok(0) => return (all, None),
            Ok(len) => all.extend_from_slice(&buffer[..len]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return (all, Some(error.kind())),
        }
    }
}

/// Fills the window, sends `A` without a copy, lets `drop_all` have everything, puts secrets into memory, and only then
/// lets the peer read.
#[track_caller]
fn only_what_was_sent_arrives(drop_all: impl FnOnce(TcpStream, ZeroCopy, ZeroCopyBuffer)) {
    let (client, server) = pair();
    let filled = fill_the_window(&client);
    let mut sends = ZeroCopy::new(&client, 8).unwrap();
    let buffer = letters(b'A');
    let sent = sends.send(&client, &buffer, 0..LEN).unwrap();
    assert_eq!((sent, sends.pending()), (LEN, 1));
    drop_all(client, sends, buffer);
    let secrets = secrets();
    let (received, end) = read_all(&server);
    let wrong = received[filled..].iter().filter(|&&byte| byte != b'A').count();
    assert_eq!((received.len() - filled, wrong, end), (LEN, 0, None));
    drop(secrets);
}

#[test]
fn the_count_and_the_buffer_may_go_first() {
    only_what_was_sent_arrives(|client, sends, buffer| {
        drop((sends, buffer));
        let secrets = secrets();
        drop((client, secrets));
    });
}

#[test]
fn the_stream_may_go_first() {
    only_what_was_sent_arrives(|client, sends, buffer| {
        drop(client);
        drop(buffer);
        drop(sends);
    });
}

#[test]
fn a_clone_of_the_descriptor_may_stay_and_the_rest_go() {
    only_what_was_sent_arrives(|client, sends, buffer| {
        let clone = OwnedFd::from(client.try_clone().unwrap());
        drop((client, sends, buffer));
        let secrets = secrets();
        drop((clone, secrets));
    });
}

#[test]
fn a_descriptor_taken_out_may_be_wrapped_again() {
    only_what_was_sent_arrives(|client, sends, buffer| {
        let fd = OwnedFd::from(client);
        drop((sends, buffer));
        let again = TcpStream::from(fd);
        // Nobody knows any more what was sent on this connection.
        assert_eq!(
            ZeroCopy::new(&again, 8).unwrap_err().kind(),
            ErrorKind::AlreadyExists
        );
    });
}

static FORGOTTEN: Mutex<Vec<ZeroCopy>> = Mutex::new(Vec::new());

#[test]
fn a_forgotten_count_frees_nothing_it_should_not() {
    only_what_was_sent_arrives(|client, sends, buffer| {
        // As `std::mem::forget`, and no leak to who looks for leaks.
        FORGOTTEN.lock().unwrap().push(sends);
        drop((buffer, client));
    });
}

#[test]
fn a_panic_drops_them_as_it_unwinds() {
    only_what_was_sent_arrives(|client, sends, buffer| {
        let unwound = std::thread::spawn(move || {
            let _all = (buffer, client, sends);
            std::panic::resume_unwind(Box::new("on purpose"));
        });
        unwound.join().unwrap_err();
    });
}

#[test]
fn a_bare_socket_counts_nothing_and_is_as_safe() {
    let (client, server) = pair();
    let filled = fill_the_window(&client);
    let _on = ZeroCopy::new(&client, 1).unwrap();
    assert_eq!(
        client.socket().send_zerocopy(&letters(b'A'), 0..LEN).unwrap(),
        LEN
    );
    let secrets = secrets();
    drop((client, secrets));
    let (received, _) = read_all(&server);
    assert!(received[filled..].iter().all(|&byte| byte == b'A'));
    assert_eq!(received.len(), filled + LEN);
}

#[test]
fn an_aborted_connection_tells_nothing_else() {
    let (client, server) = pair();
    let filled = fill_the_window(&client);
    let mut sends = ZeroCopy::new(&client, 8).unwrap();
    sends.send(&client, &letters(b'A'), 0..LEN).unwrap();
    client.abort().unwrap();
    drop(sends);
    let secrets = secrets();
    let (received, end) = read_all(&server);
    assert!(received.iter().skip(filled).all(|&byte| byte == b'A'));
    assert_eq!(end, Some(ErrorKind::ConnectionReset));
    drop(secrets);
}

/// Reads `stream` to nothing in the background of `f`.
fn while_read<T>(stream: &TcpStream, f: impl FnOnce() -> T) -> T {
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| read_all(stream));
        let value = f();
        reader.join().unwrap();
        value
    })
}

/// Reaps until nothing is pending.
fn reap_all(sends: &mut ZeroCopy, stream: &TcpStream) -> Done {
    let (mut total, deadline) = (Done::default(), Instant::now() + PATIENCE);
    while sends.pending() > 0 {
        assert!(Instant::now() < deadline, "{} are pending", sends.pending());
        let done = sends.reap(stream).unwrap();
        total.sends += done.sends;
        total.copied += done.copied;
        std::thread::yield_now();
    }
    total
}

#[test]
fn the_numbers_are_those_of_one_connection() {
    let ((one, one_server), (other, _other_server)) = (pair(), pair());
    let mut sends = ZeroCopy::new(&one, 8).unwrap();
    let kind = |error: std::io::Error| error.kind();
    assert_eq!(
        ZeroCopy::new(&one, 8).map_err(kind).unwrap_err(),
        ErrorKind::AlreadyExists
    );
    let clone = one.try_clone().unwrap();
    assert_eq!(
        ZeroCopy::new(&clone, 8).map_err(kind).unwrap_err(),
        ErrorKind::AlreadyExists
    );

    let buffer = letters(b'A');
    assert_eq!(
        sends.send(&other, &buffer, 0..LEN).map_err(kind),
        Err(ErrorKind::InvalidInput)
    );
    assert_eq!(sends.reap(&other).map_err(kind), Err(ErrorKind::InvalidInput));
    assert_eq!(sends.send(&clone, &buffer, 0..LEN).unwrap(), LEN);
    assert_eq!(sends.send(&one, &buffer, 0..LEN).unwrap(), LEN);
    let done = while_read(&one_server, || {
        let done = reap_all(&mut sends, &one);
        drop((one, clone));
        done
    });
    // The peer is on this host: the kernel has copied, and says so.
    assert_eq!(done, Done { sends: 2, copied: 2 });
}

#[test]
fn somebody_elses_send_is_noticed() {
    let (client, server) = pair();
    let mut sends = ZeroCopy::new(&client, 8).unwrap();
    client.socket().send_zerocopy(&letters(b'B'), 0..LEN).unwrap();
    let error = while_read(&server, || {
        let deadline = Instant::now() + PATIENCE;
        let error = loop {
            assert!(Instant::now() < deadline, "no completion");
            if let Err(error) = sends.reap(&client) {
                break error;
            }
        };
        client.shutdown(std::net::Shutdown::Write).unwrap();
        error
    });
    assert_eq!(error.kind(), ErrorKind::InvalidData);
}

#[test]
fn a_range_outside_and_nothing_are_no_sends() {
    let (client, _server) = pair();
    let mut sends = ZeroCopy::new(&client, 8).unwrap();
    let buffer = letters(b'A');
    #[expect(clippy::reversed_empty_ranges, reason = "on purpose")]
    for range in [
        0..LEN + 1,
        LEN + 1..LEN + 2,
        5..4,
        usize::MAX..usize::MAX,
        0..usize::MAX,
    ] {
        let refused = sends.send(&client, &buffer, range.clone()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{range:?}");
        let refused = client.socket().send_zerocopy(&buffer, range).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    }
    assert_eq!(sends.send(&client, &buffer, LEN..LEN).unwrap(), 0);
    let empty = ZeroCopyBuffer::copy_of(&[]).unwrap();
    assert_eq!(sends.send(&client, &empty, 0..0).unwrap(), 0);
    assert_eq!(sends.pending(), 0);
}
