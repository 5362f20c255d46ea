//! Every option of streams, listeners and connects with extreme values: refused, or what the kernel has says the same.

#![expect(clippy::unwrap_used, reason = "helpers of tests say what they expect")]

use std::fmt::Debug;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use sockeye_socket::{Domain, OpError, Socket, Type, options};
use sockeye_tcp_stream::{ConnectOptions, Keepalive, ListenOptions, StreamOptions, TcpStream};

const NS: Duration = Duration::from_nanos(1);
const SECOND: Duration = Duration::from_secs(1);
const COUNTS: [u32; 7] = [0, 1, 255, 256, i32::MAX as u32, i32::MAX as u32 + 1, u32::MAX];
const INVALID: Expected<u32> = Err(ErrorKind::InvalidInput);

type Expected<T> = Result<T, ErrorKind>;

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn streams() -> [TcpStream; 2] {
    [Domain::IPV4, Domain::IPV6]
        .map(|domain| TcpStream::from(Socket::new(domain, Type::STREAM, None).unwrap()))
}

/// Sets `value` by the method and by the options of a stream, on both families, and compares what the kernel has then.
#[track_caller]
fn becomes<T: Copy + Debug, R: PartialEq + Copy + Debug>(
    value: T,
    method: impl Fn(&TcpStream, T) -> io::Result<()>,
    option: impl Fn(T) -> StreamOptions,
    get: impl Fn(&TcpStream) -> io::Result<R>,
    expected: Expected<R>,
) {
    for stream in streams() {
        let set = method(&stream, value).map_err(|error| error.kind());
        assert_eq!(
            set.map(|()| get(&stream).unwrap()),
            expected,
            "{value:?} by the method"
        );
    }
    for stream in streams() {
        let set = option(value)
            .apply_to(&stream)
            .map_err(|error| io::Error::from(error).kind());
        assert_eq!(
            set.map(|()| get(&stream).unwrap()),
            expected,
            "{value:?} by the option"
        );
    }
}

#[test]
fn no_linger_is_zero_but_zero() {
    let most = Duration::from_secs(i32::MAX as u64);
    for (value, expected) in [
        (Duration::ZERO, Duration::ZERO),
        (NS, SECOND),
        (SECOND - NS, SECOND),
        (SECOND + NS, 2 * SECOND),
        (most, most),
        (Duration::from_secs(u64::from(u32::MAX) + 1), most),
        (Duration::from_secs(u64::MAX), most),
        (Duration::MAX, most),
    ] {
        let set = |stream: &TcpStream, time| stream.set_linger(Some(time));
        let option = |time| StreamOptions::new().linger(time);
        becomes(value, set, option, TcpStream::linger, Ok(Some(expected)));
    }
}

#[test]
fn a_close_with_the_longest_linger_is_no_reset() {
    use std::io::Read as _;
    let listener = ListenOptions::new().bind(any()).unwrap();
    let client = TcpStream::options()
        .connect(listener.local_addr().unwrap(), 20 * SECOND)
        .unwrap();
    assert!(listener.wait_readable(20 * SECOND).unwrap());
    let (mut server, _) = listener.accept().unwrap();
    client.set_linger(Some(Duration::MAX)).unwrap();
    io::Write::write_all(&mut &client, b"all of it").unwrap();
    drop(client);
    let mut received = Vec::new();
    loop {
        assert!(server.wait_readable(20 * SECOND).unwrap());
        match server.read_to_end(&mut received) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            end => break assert_eq!(end.unwrap(), 9),
        }
    }
}

#[test]
fn a_user_timeout_is_not_cut() {
    let invalid = Err(ErrorKind::InvalidInput);
    let most = Duration::from_millis(i32::MAX as u64);
    for (value, expected) in [
        (Duration::ZERO, Ok(Duration::ZERO)),
        (NS, Ok(Duration::from_millis(1))),
        (most, Ok(most)),
        (most + NS, invalid),
        (Duration::from_millis(1 << 32), invalid),
        (Duration::MAX, invalid),
    ] {
        let option = |time| StreamOptions::new().user_timeout(time);
        becomes(
            value,
            TcpStream::set_user_timeout,
            option,
            TcpStream::user_timeout,
            expected,
        );
    }
}

#[test]
fn keepalive_is_not_cut() {
    let usual = Keepalive {
        idle: SECOND,
        interval: SECOND,
        count: 1,
    };
    let longest = Duration::from_secs(32_767);
    let invalid = Err(ErrorKind::InvalidInput);
    let with = |idle, interval, count| Keepalive {
        idle,
        interval,
        count,
    };
    let mut cases = vec![
        (with(NS, NS, 1), Ok(Some(usual))),
        (with(longest, longest, 127), Ok(Some(with(longest, longest, 127)))),
    ];
    for time in [
        Duration::ZERO,
        longest + NS,
        Duration::from_secs(1 << 32),
        Duration::from_secs((1 << 32) + 1),
        Duration::MAX,
    ] {
        cases.push((Keepalive { idle: time, ..usual }, invalid));
        cases.push((
            Keepalive {
                interval: time,
                ..usual
            },
            invalid,
        ));
    }
    for count in [0, 128, 256, 257, u32::MAX] {
        cases.push((Keepalive { count, ..usual }, invalid));
    }
    for (value, expected) in cases {
        let set = |stream: &TcpStream, value| stream.set_keepalive(Some(value));
        becomes(
            value,
            set,
            |value| StreamOptions::new().keepalive(value),
            TcpStream::keepalive,
            expected,
        );
    }
}

#[test]
fn hops_and_classes_fit_a_byte() {
    for value in COUNTS {
        let expected = if (1..=255).contains(&value) {
            Ok(value)
        } else {
            INVALID
        };
        becomes(
            value,
            TcpStream::set_ttl,
            |ttl| StreamOptions::new().ttl(ttl),
            TcpStream::ttl,
            expected,
        );
        let listener = ListenOptions::new().bind(any()).unwrap();
        let set = listener.set_ttl(value).map_err(|error| error.kind());
        assert_eq!(set.map(|()| listener.ttl().unwrap()), expected);

        let min_ttl = |stream: &TcpStream| {
            let v6 = stream.socket().is_ipv6()?;
            stream.socket().get(if v6 {
                options::IPV6_MINHOPCOUNT
            } else {
                options::IP_MINTTL
            })
        };
        let expected = if value <= 255 { Ok(value) } else { INVALID };
        becomes(
            value,
            TcpStream::set_min_ttl,
            |ttl| StreamOptions::new().min_ttl(ttl),
            min_ttl,
            expected,
        );
    }
    for (class, expected) in [(0, 0), (0xb8, 0xb8), (u8::MAX, 0xfc)] {
        let get = |stream: &TcpStream| match stream.socket().is_ipv6()? {
            true => stream.socket().get(options::IPV6_TCLASS).map(i32::cast_unsigned),
            false => stream.socket().get(options::IP_TOS),
        };
        let option = |class| StreamOptions::new().traffic_class(class);
        becomes(class, TcpStream::set_traffic_class, option, get, Ok(expected));
    }
}

#[test]
fn sizes_grow_with_what_is_asked_for() {
    type Get = fn(&TcpStream) -> io::Result<u32>;
    type Set = fn(&TcpStream, u32) -> io::Result<()>;
    type Build = fn(u32) -> StreamOptions;
    let sizes: [(Set, Build, Get); 3] = [
        (
            TcpStream::set_send_buffer,
            |size| StreamOptions::new().send_buffer(size),
            TcpStream::send_buffer,
        ),
        (
            TcpStream::set_recv_buffer,
            |size| StreamOptions::new().recv_buffer(size),
            TcpStream::recv_buffer,
        ),
        (
            TcpStream::set_recv_lowat,
            |_| StreamOptions::new(),
            TcpStream::recv_lowat,
        ),
    ];
    for (set, build, get) in sizes {
        for by_method in [true, false] {
            let mut before = 0;
            for value in COUNTS {
                let [stream, _] = streams();
                match by_method {
                    true => set(&stream, value).unwrap(),
                    false => build(value).apply_to(&stream).unwrap(),
                }
                let now = get(&stream).unwrap();
                assert!(now >= before, "{value}: {now} after {before}");
                before = now;
            }
        }
    }
    for value in COUNTS {
        let lowat = |value| StreamOptions::new().notsent_lowat(value);
        becomes(
            value,
            TcpStream::set_notsent_lowat,
            lowat,
            TcpStream::notsent_lowat,
            Ok(value),
        );
    }
    for value in [0, 1, u64::from(u32::MAX), 1 << 32, u64::MAX - 1, u64::MAX] {
        let rate = |rate| StreamOptions::new().max_pacing_rate(rate);
        becomes(
            value,
            TcpStream::set_max_pacing_rate,
            rate,
            TcpStream::max_pacing_rate,
            Ok(value),
        );
    }
    for (value, expected) in [
        (0, Ok(536)),
        (1, INVALID),
        (88, Ok(88)),
        (32_767, Ok(32_767)),
        (32_768, INVALID),
        (u32::MAX, INVALID),
    ] {
        let set = |stream: &TcpStream, size| stream.socket().set(options::TCP_MAXSEG, size);
        let get = |stream: &TcpStream| stream.socket().get(options::TCP_MAXSEG);
        becomes(
            value,
            set,
            |size| StreamOptions::new().max_segment(size),
            get,
            expected,
        );
    }
}

#[test]
fn marks_and_priorities_are_as_they_were_given_or_not_permitted() {
    for value in COUNTS {
        let [stream, other] = streams();
        for (set, get) in [
            (stream.set_mark(value), stream.mark()),
            (stream.set_priority(value), stream.priority()),
        ] {
            match set {
                Ok(()) => assert_eq!(get.unwrap(), value),
                Err(error) => assert_eq!(error.kind(), ErrorKind::PermissionDenied),
            }
        }
        let both = StreamOptions::new().mark(value).priority(value);
        match both.apply_to(&other) {
            Ok(()) => assert_eq!((other.mark().unwrap(), other.priority().unwrap()), (value, value)),
            Err(error) => assert_eq!(io::Error::from(error).kind(), ErrorKind::PermissionDenied),
        }
    }
}

#[test]
fn a_listeners_counts_saturate() {
    let most = ListenOptions::new()
        .backlog(i32::MAX as u32)
        .bind(any())
        .unwrap()
        .queue()
        .unwrap()
        .limit;
    for (backlog, limit) in [(0, 0), (1, 1), (i32::MAX as u32 + 1, most), (u32::MAX, most)] {
        let listener = ListenOptions::new().backlog(backlog).bind(any()).unwrap();
        assert_eq!(listener.queue().unwrap().limit, limit, "a backlog of {backlog}");
    }
    let deferred = |time| {
        let listener = ListenOptions::new().defer_accept(time).bind(any()).unwrap();
        listener.socket().get(options::TCP_DEFER_ACCEPT).unwrap()
    };
    assert_eq!((deferred(Duration::ZERO), deferred(NS)), (0, 1));
    let longest = deferred(Duration::from_secs(i32::MAX as u64));
    assert!(longest > 20_000);
    for time in [
        Duration::from_secs(1 << 31),
        Duration::from_secs(1 << 32),
        Duration::from_secs((1 << 32) + 1),
        Duration::MAX,
    ] {
        assert_eq!(deferred(time), longest, "{time:?}");
    }
    let queue = |queue| {
        let listener = ListenOptions::new().fast_open(queue).bind(any()).unwrap();
        listener.socket().get(options::TCP_FASTOPEN).unwrap()
    };
    assert_eq!((queue(0), queue(1)), (0, 1));
    assert_eq!(
        (queue(1 << 31), queue(u32::MAX)),
        (queue(i32::MAX as u32), queue(i32::MAX as u32))
    );
}

#[test]
fn a_connects_counts_are_refused_with_their_range() {
    let listener = ListenOptions::new().bind(any()).unwrap();
    let peer = listener.local_addr().unwrap();
    for (count, accepted) in [
        (0, false),
        (1, true),
        (127, true),
        (128, false),
        (256, false),
        (257, false),
        (u32::MAX, false),
    ] {
        match ConnectOptions::new().syn_count(count).start(peer) {
            Ok(connecting) => {
                let socket = connecting.socket();
                assert_eq!(
                    (accepted, socket.get(options::TCP_SYNCNT).unwrap()),
                    (true, count)
                );
            }
            Err(error) => {
                assert!(!accepted, "{error}");
                assert!(error.to_string().contains("1 to 127"), "{error}");
            }
        }
    }
}

#[test]
fn a_range_that_was_missed_is_named() {
    let [stream, _] = streams();
    let usual = Keepalive {
        idle: SECOND,
        interval: SECOND,
        count: 1,
    };
    let options = StreamOptions::new();
    let refused: [(Result<(), OpError>, &str); 5] = [
        (
            options
                .keepalive(Keepalive { count: 0, ..usual })
                .apply_to(&stream),
            "1 to 32767 seconds",
        ),
        (
            options.user_timeout(Duration::MAX).apply_to(&stream),
            "2147483647 milliseconds",
        ),
        (options.max_segment(1).apply_to(&stream), "88 to 32767"),
        (options.ttl(0).apply_to(&stream), "1 to 255"),
        (options.min_ttl(256).apply_to(&stream), "0 to 255"),
    ];
    for (refused, range) in refused {
        let message = refused.unwrap_err().to_string();
        assert!(message.contains(range), "{message}");
    }
}

#[test]
fn a_device_name_is_not_cut() {
    let listen = |name: &str| ListenOptions::new().device(name).bind(any()).map(drop);
    let connect = |name: &str| ConnectOptions::new().device(name).start(any()).map(drop);
    listen("lo").unwrap();
    for name in ["lo\0", "lo\0else", "sixteen-bytes-xx", &"x".repeat(1 << 20)] {
        let listen = io::Error::from(listen(name).unwrap_err());
        let connect = connect(name).unwrap_err();
        assert!(listen.to_string().contains("no such interface"), "{listen}");
        assert!(connect.to_string().contains("no such interface"), "{connect}");
    }
}
