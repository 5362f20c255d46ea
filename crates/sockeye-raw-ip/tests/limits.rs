//! Every option of raw and ICMP sockets with extreme values: refused, or what the kernel has says the same.

#![expect(clippy::unwrap_used, reason = "helpers of tests say what they expect")]

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use sockeye_raw_ip::{IpOptions, IpSocket, OpError};
use sockeye_socket::{Socket, options};
use sockeye_tests::skip::{self, Need};

const COUNTS: [u32; 7] = [0, 1, 255, 256, i32::MAX as u32, i32::MAX as u32 + 1, u32::MAX];
/// For experiments (RFC 3692).
const PROTOCOL: u8 = 253;

fn any() -> [SocketAddr; 2] {
    ["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()]
}

/// Whether this process may open raw sockets; where not, the skip is printed and counted.
fn may_be_raw() -> bool {
    skip::require(&[Need::NetRaw])
}

fn hop_limit(socket: &Socket, v6: bool) -> u32 {
    match v6 {
        true => socket.get(options::IPV6_UNICAST_HOPS).unwrap().cast_unsigned(),
        false => socket.get(options::IP_TTL).unwrap(),
    }
}

#[test]
fn sizes_and_marks_are_what_was_asked_for() {
    if !may_be_raw() {
        return;
    }
    for local in any() {
        let (mut sent, mut received) = (0, 0);
        for value in COUNTS {
            let socket = IpOptions::new()
                .send_buffer(value)
                .recv_buffer(value)
                .bind(local, PROTOCOL)
                .unwrap();
            let socket: &Socket = socket.as_ref();
            let now = (
                socket.get(options::SO_SNDBUF).unwrap(),
                socket.get(options::SO_RCVBUF).unwrap(),
            );
            assert!(
                now.0 >= sent && now.1 >= received,
                "{value}: {now:?} after {sent}, {received}"
            );
            (sent, received) = now;
            match IpOptions::new().mark(value).bind(local, PROTOCOL) {
                Ok(socket) => assert_eq!(
                    AsRef::<Socket>::as_ref(&socket).get(options::SO_MARK).unwrap(),
                    value
                ),
                Err(error) => assert_eq!(io::Error::from(error).kind(), ErrorKind::PermissionDenied),
            }
        }
    }
}

#[test]
fn hops_are_what_was_asked_for_or_refused() {
    if !may_be_raw() {
        return;
    }
    for local in any() {
        for hops in [0, 1, u8::MAX] {
            match IpOptions::new()
                .hop_limit(hops)
                .min_hops(hops)
                .bind(local, PROTOCOL)
            {
                Ok(socket) => {
                    assert_eq!(hop_limit(socket.as_ref(), local.is_ipv6()), hops.into());
                    socket.set_multicast_hops(hops).unwrap();
                }
                Err(error) => {
                    assert_eq!((hops, local.is_ipv6()), (0, false));
                    assert!(error.to_string().contains("1 to 255"), "{error}");
                }
            }
        }
    }
}

#[test]
fn a_checksums_place_is_where_it_was_put_or_refused() {
    if !may_be_raw() {
        return;
    }
    for offset in [0, 1, 2, 254, 256, u16::MAX - 1, u16::MAX] {
        let bound = IpOptions::new().checksum_offset(offset).bind(any()[1], PROTOCOL);
        match bound {
            Ok(socket) => {
                let socket: &Socket = socket.as_ref();
                assert_eq!(socket.get(options::IPV6_CHECKSUM).unwrap(), i32::from(offset));
            }
            Err(_) => assert_eq!(offset % 2, 1),
        }
    }
}

#[test]
fn a_device_name_or_index_is_not_cut() {
    if !may_be_raw() {
        return;
    }
    let bind =
        |name: &str| -> Result<IpSocket, OpError> { IpOptions::new().device(name).bind(any()[0], PROTOCOL) };
    bind("lo").unwrap();
    for name in [
        "lo\0",
        "lo\0else",
        "lo\0-sixteen-bytes",
        "sixteen-bytes-xx",
        &"x".repeat(1 << 20),
    ] {
        let refused = bind(name).unwrap_err().to_string();
        assert!(refused.contains("no such interface"), "{refused}");
    }
    for local in any() {
        let socket = IpOptions::new().bind(local, PROTOCOL).unwrap();
        for index in [i32::MAX as u32, i32::MAX as u32 + 1, u32::MAX] {
            socket.set_multicast_interface(index).unwrap_err();
        }
    }
}
