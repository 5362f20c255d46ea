//! Every option with extreme values, read back from the kernel: none is taken for another one than it is.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io;
use std::time::Duration;

use super::*;
use crate::{Domain, Protocol, Socket, Type};

/// How an option is tried.
enum Row {
    Flag(SocketOption<bool>),
    /// A number below zero means something else.
    Signed(SocketOption<i32>),
    /// Read back by the second option.
    Count(SocketOption<u32>, SocketOption<u32>),
    Wide(SocketOption<u64>),
    Time(SocketOption<Option<Duration>>),
    /// Text or a structure: what is longer than the longest is refused.
    Bytes(SocketOption<[u8]>),
    /// Only the kernel sets it.
    ReadOnly(&'static str),
}

fn count(option: SocketOption<u32>) -> Row {
    Row::Count(option, option)
}

#[rustfmt::skip]
fn rows() -> Vec<Row> {
    use Row::{Bytes, Count, Flag, ReadOnly, Signed, Time, Wide};
    vec![
        Flag(SO_REUSEADDR), Flag(SO_REUSEPORT), Flag(SO_BROADCAST), Flag(SO_KEEPALIVE), Flag(SO_OOBINLINE),
        Flag(SO_DONTROUTE), Flag(SO_ZEROCOPY), Flag(SO_NO_CHECK), Signed(SO_INCOMING_CPU), Signed(SO_PEEK_OFF),
        Time(SO_LINGER), count(SO_SNDBUF), count(SO_RCVBUF), Count(SO_SNDBUFFORCE, SO_SNDBUF),
        Count(SO_RCVBUFFORCE, SO_RCVBUF), count(SO_RCVLOWAT), count(SO_MARK), count(SO_PRIORITY),
        Wide(SO_MAX_PACING_RATE), count(SO_BUSY_POLL), Bytes(SO_BINDTODEVICE),
        Flag(SO_PASSCRED), Flag(SO_PASSPIDFD),
        ReadOnly("SO_INCOMING_NAPI_ID"), ReadOnly("SO_COOKIE"), ReadOnly("SO_ACCEPTCONN"), ReadOnly("SO_DOMAIN"),
        ReadOnly("SO_TYPE"), ReadOnly("SO_PROTOCOL"), ReadOnly("SO_ERROR"),

        count(IP_TTL), count(IP_TOS), Flag(IP_TRANSPARENT), Flag(IP_FREEBIND), Flag(IP_BIND_ADDRESS_NO_PORT),
        count(IP_LOCAL_PORT_RANGE), count(IP_MINTTL), Signed(IP_MTU_DISCOVER), ReadOnly("IP_MTU"), Flag(IP_RECVERR),
        Flag(IPV6_V6ONLY), Signed(IPV6_UNICAST_HOPS), Signed(IPV6_TCLASS), Flag(IPV6_TRANSPARENT),
        Flag(IPV6_FREEBIND), count(IPV6_MINHOPCOUNT), Signed(IPV6_MTU_DISCOVER), ReadOnly("IPV6_MTU"),
        Flag(IPV6_RECVERR), ReadOnly("SO_ORIGINAL_DST"), ReadOnly("IP6T_SO_ORIGINAL_DST"),

        Flag(TCP_NODELAY), Flag(TCP_CORK), Flag(TCP_QUICKACK), count(TCP_KEEPIDLE), count(TCP_KEEPINTVL),
        count(TCP_KEEPCNT), count(TCP_USER_TIMEOUT), count(TCP_SYNCNT), Signed(TCP_LINGER2),
        count(TCP_DEFER_ACCEPT), count(TCP_MAXSEG), count(TCP_NOTSENT_LOWAT), count(TCP_WINDOW_CLAMP),
        count(TCP_FASTOPEN), Flag(TCP_FASTOPEN_CONNECT), Flag(TCP_FASTOPEN_NO_COOKIE), Flag(TCP_SAVE_SYN),
        ReadOnly("TCP_SAVED_SYN"), Bytes(TCP_CONGESTION), ReadOnly("TCP_INFO"), ReadOnly("TCP_IS_MPTCP"),
        ReadOnly("MPTCP_INFO"),

        Flag(UDP_GRO), count(UDP_SEGMENT), Flag(UDP_CORK), Flag(UDP_NO_CHECK6_TX), Flag(UDP_NO_CHECK6_RX),
        Flag(IP_MULTICAST_ALL), count(IP_MULTICAST_TTL), Bytes(IP_MULTICAST_IF), Flag(IP_MULTICAST_LOOP),
        Bytes(IP_ADD_MEMBERSHIP), Bytes(IP_DROP_MEMBERSHIP),
        Flag(IPV6_MULTICAST_ALL), Signed(IPV6_MULTICAST_HOPS), Flag(IPV6_MULTICAST_LOOP), count(IPV6_MULTICAST_IF),

        Flag(IP_HDRINCL), Flag(IP_ROUTER_ALERT), Bytes(IP_OPTIONS), Flag(IPV6_HDRINCL), Signed(IPV6_ROUTER_ALERT),
        Bytes(IPV6_HOPOPTS), count(ICMP_FILTER), Signed(IPV6_CHECKSUM), Bytes(ICMPV6_FILTER),

        Flag(PACKET_AUXDATA), Flag(PACKET_QDISC_BYPASS), Flag(PACKET_IGNORE_OUTGOING), Flag(PACKET_LOSS),
        Bytes(PACKET_ADD_MEMBERSHIP), Bytes(PACKET_DROP_MEMBERSHIP), Bytes(PACKET_RX_RING), Bytes(PACKET_TX_RING),
        // They change what the socket is, once: tests of sockeye-link try them.
        ReadOnly("PACKET_VERSION"), ReadOnly("PACKET_FANOUT"), ReadOnly("PACKET_STATISTICS"),
    ]
}

/// A fresh socket of each kind. Raw ones need a capability; their own options are numbers in the kernel, too, and where
/// they cannot be had the rows say nothing of them.
fn sockets() -> Vec<(&'static str, Socket)> {
    let kinds = [
        ("tcp4", Domain::IPV4, Type::STREAM, None),
        ("tcp6", Domain::IPV6, Type::STREAM, None),
        ("udp4", Domain::IPV4, Type::DGRAM, None),
        ("udp6", Domain::IPV6, Type::DGRAM, None),
        ("unix", Domain::UNIX, Type::STREAM, None),
        ("raw4", Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)),
        ("raw6", Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6)),
        ("packet", Domain::PACKET, Type::RAW, Some(Protocol::from(0))),
    ];
    let open = |(name, domain, ty, protocol)| Some((name, Socket::new(domain, ty, protocol).ok()?));
    kinds.into_iter().filter_map(open).collect()
}

/// What is read back after each value on a socket of its own: `None` where it was refused.
fn tried<T: OptionValue + Copy, R: OptionValue>(
    (set, get): (SocketOption<T>, SocketOption<R>),
    values: &[T],
    mut check: impl FnMut(&str, &[(T, Option<R>)]),
) {
    let sockets: Vec<_> = values.iter().map(|_| sockets()).collect();
    for kind in 0..sockets[0].len() {
        let read_back: Vec<_> = values
            .iter()
            .zip(&sockets)
            .map(|(&value, sockets)| {
                let (_, socket) = &sockets[kind];
                let accepted = socket.set(set, value).is_ok();
                (value, accepted.then(|| socket.get(get).unwrap()))
            })
            .collect();
        check(sockets[0][kind].0, &read_back);
    }
}

/// More that was asked for and accepted is never less, and something never nothing. Zero is often the system's choice.
fn never_less<T, R>(what: &str, tried: &[(T, Option<R>)])
where
    T: PartialOrd + Copy + Default + Debug,
    R: PartialOrd + Copy + Default + Debug,
{
    let accepted = tried.iter().filter_map(|&(value, read)| Some((value, read?)));
    let accepted: Vec<_> = accepted.filter(|&(value, _)| value > T::default()).collect();
    for pair in accepted.windows(2) {
        assert!(pair[0].1 <= pair[1].1, "{what}: {pair:?}");
    }
    // TCP keeps the two bits of ECN to itself.
    let mut nothing = accepted.iter().filter(|(_, read)| *read == R::default());
    let is_class = what.starts_with("IP_TOS on tcp") || what.starts_with("IPV6_TCLASS on tcp");
    assert!(is_class || nothing.next().is_none(), "{what}: {accepted:?}");
}

fn exact<T: PartialEq + Copy + Debug>(what: &str, tried: &[(T, Option<T>)]) {
    for (value, read) in tried {
        assert!(
            read.is_none_or(|read| read == *value),
            "{what}: {value:?} became {read:?}"
        );
    }
}

const COUNTS: [u32; 10] = [
    0,
    1,
    127,
    255,
    256,
    65_535,
    65_536,
    INT_MAX,
    INT_MAX + 1,
    u32::MAX,
];
const NUMBERS: [i32; 9] = [i32::MIN, -2, -1, 0, 1, 255, 256, 65_536, i32::MAX];

#[test]
fn no_value_is_taken_for_another() {
    let mut accepted = 0;
    for row in rows() {
        match row {
            Row::Flag(option) => tried((option, option), &[false, true], |kind, tried| {
                accepted += tried.iter().filter(|(_, read)| read.is_some()).count();
                // Quick acknowledgements are the kernel's own choice; TCP has no broadcast and keeps its own mind on it.
                if option.name() != "TCP_QUICKACK" {
                    exact(&format!("{option:?} on {kind}"), tried);
                }
            }),
            Row::Count(set, get) => tried((set, get), &COUNTS, |kind, tried| {
                accepted += tried.iter().filter(|(_, read)| read.is_some()).count();
                never_less(&format!("{set:?} on {kind}"), tried);
            }),
            Row::Signed(option) => tried((option, option), &NUMBERS, |kind, tried| {
                accepted += tried.iter().filter(|(_, read)| read.is_some()).count();
                never_less(&format!("{option:?} on {kind}"), tried);
            }),
            Row::Wide(option) => {
                let values = [
                    0,
                    1,
                    u64::from(u32::MAX),
                    1 << 32,
                    u64::MAX / 2,
                    u64::MAX - 1,
                    u64::MAX,
                ];
                tried((option, option), &values, |kind, tried| {
                    accepted += tried.iter().filter(|(_, read)| read.is_some()).count();
                    exact(&format!("{option:?} on {kind}"), tried);
                });
            }
            Row::Time(option) => lingers(option),
            Row::Bytes(option) => too_long_is_refused(option),
            Row::ReadOnly(_) => {}
        }
    }
    assert!(
        accepted > 500,
        "{accepted} values were accepted: the table tries nothing"
    );
}

fn lingers(option: SocketOption<Option<Duration>>) {
    let most = Duration::from_secs(i32::MAX.unsigned_abs().into());
    let cases = [
        (None, None),
        (Some(Duration::ZERO), Some(Duration::ZERO)),
        (Some(Duration::from_nanos(1)), Some(Duration::from_secs(1))),
        (Some(Duration::from_millis(1001)), Some(Duration::from_secs(2))),
        (Some(most - Duration::from_nanos(1)), Some(most)),
        (Some(most), Some(most)),
        (Some(Duration::from_secs(u64::from(u32::MAX) + 1)), Some(most)),
        (Some(Duration::from_secs(u64::MAX)), Some(most)),
        (Some(Duration::MAX), Some(most)),
    ];
    for (value, expected) in cases {
        for (kind, socket) in sockets() {
            socket.set(option, value).unwrap();
            assert_eq!(
                socket.get(option).unwrap(),
                expected,
                "{option:?} {value:?} on {kind}"
            );
        }
    }
}

fn too_long_is_refused(option: SocketOption<[u8]>) {
    for (kind, socket) in sockets() {
        for len in [16, 41, 4096, 65_536, 1 << 20] {
            // A name that begins as one that is known.
            let mut value = vec![b'x'; len];
            let name: &[u8] = if option.name() == "TCP_CONGESTION" {
                b"reno\0"
            } else {
                b"lo\0"
            };
            value[..name.len()].copy_from_slice(name);
            // 16 bytes are few for a structure.
            if len > 16 || option.name().contains("TCP") || option.name().contains("DEVICE") {
                let set = socket.set_bytes(option, &value);
                assert!(set.is_err(), "{option:?} of {len} bytes on {kind}");
            }
        }
    }
}

/// The counts that the kernel reads as negative numbers, one by one.
#[test]
fn the_most_is_the_most() {
    let read_back = |set: SocketOption<u32>, get: SocketOption<u32>, ty, value| -> io::Result<u32> {
        let socket = Socket::new(Domain::IPV4, ty, None)?;
        socket.set(set, value)?;
        socket.get(get)
    };
    let stream = |option, value| read_back(option, option, Type::STREAM, value);
    for value in [INT_MAX, INT_MAX + 1, u32::MAX] {
        assert!(stream(TCP_DEFER_ACCEPT, value).unwrap() > 20_000, "{value}");
        assert_eq!(stream(TCP_WINDOW_CLAMP, value).unwrap(), INT_MAX);
        assert!(stream(TCP_FASTOPEN, value).unwrap() > 0);
        assert!(stream(SO_RCVLOWAT, value).unwrap() > 1);
        for option in [IP_TTL, IP_TOS] {
            assert_eq!(
                stream(option, value).unwrap_err().raw_os_error(),
                Some(libc::EINVAL),
                "{option:?}"
            );
        }
        let multicast = read_back(IP_MULTICAST_TTL, IP_MULTICAST_TTL, Type::DGRAM, value);
        assert_eq!(multicast.unwrap_err().raw_os_error(), Some(libc::EINVAL));
        for (set, get) in [(SO_SNDBUFFORCE, SO_SNDBUF), (SO_RCVBUFFORCE, SO_RCVBUF)] {
            match read_back(set, get, Type::STREAM, value) {
                Ok(bytes) => assert!(bytes > 1 << 30, "{set:?}: {bytes}"),
                Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EPERM)),
            }
        }
    }
    // A byte in the header: 256 is not 0.
    assert!(stream(IP_TOS, 256).is_err());
}

#[test]
fn the_table_has_every_option() {
    let sources = [
        include_str!("ip.rs"),
        include_str!("packet.rs"),
        include_str!("raw.rs"),
        include_str!("socket.rs"),
        include_str!("tcp.rs"),
        include_str!("udp.rs"),
    ];
    let declared = sources.iter().flat_map(|text| text.lines()).filter_map(|line| {
        let (name, _) = line.strip_prefix("    ")?.split_once(": ")?;
        let is_name = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        name.bytes().all(is_name).then_some(name)
    });
    let tried = rows().into_iter().map(|row| match row {
        Row::Flag(option) => option.name(),
        Row::Signed(option) => option.name(),
        Row::Count(option, _) => option.name(),
        Row::Wide(option) => option.name(),
        Row::Time(option) => option.name(),
        Row::Bytes(option) => option.name(),
        Row::ReadOnly(name) => name,
    });
    let (declared, tried): (BTreeSet<_>, BTreeSet<_>) = (declared.collect(), tried.collect());
    assert_eq!(
        declared.symmetric_difference(&tried).collect::<Vec<_>>(),
        Vec::<&&str>::new()
    );
    assert!(tried.len() > 80);
}
