//! Every option of a UDP socket with extreme values: refused, or what the kernel has says the same.

#![expect(clippy::unwrap_used, reason = "helpers of tests say what they expect")]

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};

use sockeye_socket::{Dscp, Fault, Outgoing, options};
use sockeye_udp_datagram::{BufferSize, UdpOptions, UdpSocket};

const COUNTS: [u32; 7] = [0, 1, 255, 256, i32::MAX as u32, i32::MAX as u32 + 1, u32::MAX];

fn any() -> [SocketAddr; 2] {
    ["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()]
}

fn kind(error: impl Into<io::Error>) -> ErrorKind {
    error.into().kind()
}

#[test]
fn buffers_grow_with_what_is_asked_for() {
    for local in any() {
        for forced in [false, true] {
            let (mut sent, mut received) = (0, 0);
            for bytes in COUNTS {
                let size = BufferSize { bytes, forced };
                let socket = match UdpOptions::new().send_buffer(size).recv_buffer(size).bind(local) {
                    Ok(socket) => socket,
                    Err(error) => {
                        assert_eq!((forced, kind(error)), (true, ErrorKind::PermissionDenied));
                        continue;
                    }
                };
                let socket = socket.socket();
                let now = (
                    socket.get(options::SO_SNDBUF).unwrap(),
                    socket.get(options::SO_RCVBUF).unwrap(),
                );
                assert!(
                    now.0 >= sent && now.1 >= received,
                    "{size:?}: {now:?} after {sent}, {received}"
                );
                assert!(
                    !forced || bytes < COUNTS[4] || now.0.min(now.1) > 1 << 30,
                    "{size:?}: {now:?}"
                );
                (sent, received) = now;
            }
        }
    }
}

#[test]
fn a_mark_is_as_it_was_given_or_not_permitted() {
    for mark in COUNTS {
        match UdpOptions::new().mark(mark).bind(any()[0]) {
            Ok(socket) => assert_eq!(socket.socket().get(options::SO_MARK).unwrap(), mark),
            Err(error) => assert_eq!(kind(error), ErrorKind::PermissionDenied),
        }
    }
}

#[test]
fn a_device_name_is_not_cut() {
    UdpOptions::new().device("lo").bind(any()[0]).unwrap();
    for name in [
        "lo\0",
        "lo\0else",
        "lo\0-sixteen-bytes",
        "sixteen-bytes-xx",
        &"x".repeat(1 << 20),
    ] {
        let refused = UdpOptions::new()
            .device(name)
            .bind(any()[0])
            .unwrap_err()
            .to_string();
        assert!(refused.contains("no such interface"), "{refused}");
    }
}

#[test]
fn hops_are_what_was_asked_for_or_refused() {
    for local in any() {
        for hops in [0, 1, u8::MAX] {
            let socket = UdpSocket::bind(local).unwrap();
            let set = socket.set_hop_limit(hops);
            let now = match local.is_ipv6() {
                true => socket
                    .socket()
                    .get(options::IPV6_UNICAST_HOPS)
                    .unwrap()
                    .cast_unsigned(),
                false => socket.socket().get(options::IP_TTL).unwrap(),
            };
            match set {
                Ok(()) => assert_eq!(now, hops.into()),
                Err(error) => assert_eq!((hops, kind(error)), (0, ErrorKind::InvalidInput)),
            }
            socket.set_multicast_hops(hops).unwrap();
            let multicast = match local.is_ipv6() {
                true => socket
                    .socket()
                    .get(options::IPV6_MULTICAST_HOPS)
                    .unwrap()
                    .cast_unsigned(),
                false => socket.socket().get(options::IP_MULTICAST_TTL).unwrap(),
            };
            assert_eq!(multicast, hops.into());
        }
        let socket = UdpSocket::bind(local).unwrap();
        for dscp in [0, 1, 63].map(|value| Dscp::new(value).unwrap()) {
            socket.set_dscp(dscp).unwrap();
            assert_eq!(
                socket.socket().get(options::IP_TOS).unwrap(),
                u32::from(dscp.value()) << 2
            );
        }
    }
}

#[test]
fn an_interface_that_is_no_index_is_refused() {
    let groups: [IpAddr; 2] = ["239.1.2.3".parse().unwrap(), "ff02::1:2".parse().unwrap()];
    for (local, group) in any().into_iter().zip(groups) {
        let source = local.ip();
        for index in [i32::MAX as u32, i32::MAX as u32 + 1, u32::MAX] {
            let socket = UdpSocket::bind(local).unwrap();
            socket.set_multicast_interface(index).unwrap_err();
            socket.join_group(group, index).unwrap_err();
            socket.leave_group(group, index).unwrap_err();
            socket.join_source(group, source, index).unwrap_err();
            socket.leave_source(group, source, index).unwrap_err();
        }
    }
}

#[test]
fn what_a_message_carries_is_sent_or_refused() {
    for local in any() {
        let (receiver, sender) = (UdpSocket::bind(local).unwrap(), UdpSocket::bind(local).unwrap());
        let to = receiver.local_addr().unwrap();
        let payload = vec![7; 65_507];
        let message = |len: usize| Outgoing::to(to, &payload[..len]);
        let fault = |message: Outgoing<'_>| sender.send_msg(&message).map_err(|error| error.fault());
        assert_eq!(fault(message(1).hop_limit(1)), Ok(1));
        assert_eq!(fault(message(1).hop_limit(u8::MAX)), Ok(1));
        let no_hops = fault(message(1).hop_limit(0));
        assert!(matches!(no_hops, Ok(1) | Err(Fault::Invalid)), "{no_hops:?}");
        // A segment of nothing is no segmentation; more segments than the kernel cuts, or longer ones, are refused.
        assert_eq!(fault(message(100).segment_size(u16::MAX)), Ok(100));
        fault(message(60_000).segment_size(1)).unwrap_err();
        fault(message(60_000).segment_size(u16::MAX)).map_or_else(drop, |len| assert_eq!(len, 60_000));
        for index in [i32::MAX as u32 + 1, u32::MAX] {
            fault(message(1).interface(index)).unwrap_err();
        }
        let huge = vec![0; 1 << 20];
        assert!(matches!(
            fault(Outgoing::to(to, &huge)),
            Err(Fault::TooBig { .. })
        ));
        assert_eq!(fault(message(1).flow_label(u32::MAX)), Ok(1));
    }
}
