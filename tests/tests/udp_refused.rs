//! Kernels that lack options: what is optional is left out and told, what was asked for is an error.

#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

mod udp_common;

use std::cell::Cell;
use std::net::{SocketAddr, UdpSocket as StdSocket};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use sockeye::raw::IpOptions;
use sockeye::udp::{Metadata, Outgoing, RecvBatch, SendBatch, UdpOptions, UdpSocket};
use sockeye_event_loop::{Datagram, DatagramOptions, DatagramService, Datagrams, EventLoop};
use sockeye_tests::program::{self, Running};
use sockeye_tests::seccomp::{self, SocketOption};
use sockeye_tests::skip::{self, Need};
use sockeye_tests::wait;
use udp_common::{PATIENCE, Path, addr};

const GRO: SocketOption = (libc::SOL_UDP, libc::UDP_GRO);
const GSO: SocketOption = (libc::SOL_UDP, libc::UDP_SEGMENT);
const MULTICAST_ALL: SocketOption = (libc::SOL_IP, libc::IP_MULTICAST_ALL);
/// `IPV6_MULTICAST_ALL`, in Linux since 4.20.
const MULTICAST_ALL_V6: SocketOption = (libc::SOL_IPV6, 29);
/// `SO_TIMESTAMPNS_NEW`, in Linux since 5.1.
const TIMESTAMP: SocketOption = (libc::SOL_SOCKET, 64);

const REFUSALS: [i32; 4] = [libc::ENOPROTOOPT, libc::EOPNOTSUPP, libc::EINVAL, libc::EPERM];

/// Runs `test` in a thread for which the kernel lacks `options`.
fn without(options: &[SocketOption], errno: i32, test: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            seccomp::refuse(options, errno).unwrap();
            test();
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

#[test]
fn gro_that_the_kernel_refuses_is_left_out_and_told() {
    for errno in REFUSALS {
        for path in [Path::V4, Path::V6] {
            without(&[GRO], errno, || {
                let receiver = UdpOptions::new().gro(true).bind(path.loopback(0)).unwrap();
                assert!(!receiver.capabilities().unwrap().coalesced_receive);
                // Asked for by itself it is an answer.
                assert_eq!(receiver.set_gro(true).unwrap_err().raw_os_error(), Some(errno));
                let sender = UdpSocket::bind(path.loopback(0)).unwrap();
                let to = receiver.local_addr().unwrap();
                let mut outbox = SendBatch::new(8);
                assert_eq!(
                    outbox
                        .send_with(&sender, 0..8, |_| Outgoing::to(to, b"one of many"))
                        .count,
                    8
                );
                let mut inbox = RecvBatch::new(8, 2048);
                let mut seen = 0;
                while seen < 8 {
                    assert!(receiver.wait_readable(Duration::from_secs(20)).unwrap());
                    seen += receiver.recv_batch(&mut inbox).unwrap();
                }
                assert_eq!(seen, 8);
            });
        }
    }
}

#[test]
fn a_kernel_that_cannot_keep_to_its_own_groups_still_binds_and_tells() {
    let own = UdpSocket::bind(addr("[::1]:0")).unwrap().capabilities().unwrap();
    assert!(own.own_groups_only);
    for errno in [libc::ENOPROTOOPT, libc::EOPNOTSUPP] {
        without(&[MULTICAST_ALL, MULTICAST_ALL_V6], errno, || {
            for path in [Path::V4, Path::V6] {
                let socket = UdpOptions::new().bind(path.loopback(0)).unwrap();
                assert!(!socket.capabilities().unwrap().own_groups_only);
                UdpOptions::new()
                    .multicast_all(true)
                    .bind(path.loopback(0))
                    .unwrap();
                assert_eq!(
                    socket.set_multicast_all(false).unwrap_err().raw_os_error(),
                    Some(errno)
                );
            }
        });
    }
}

#[test]
fn a_raw_socket_binds_as_well() {
    if !skip::require(&[Need::NetRaw]) {
        return;
    }
    without(&[MULTICAST_ALL, MULTICAST_ALL_V6], libc::ENOPROTOOPT, || {
        for path in [Path::V4, Path::V6] {
            IpOptions::new().bind(path.loopback(0), 253).unwrap();
        }
    });
}

#[test]
fn capabilities_say_what_is_there_on_a_kernel_that_lacks_some() {
    for errno in [libc::ENOPROTOOPT, libc::EOPNOTSUPP] {
        without(&[TIMESTAMP, GSO, GRO], errno, || {
            for path in [Path::V4, Path::V6] {
                let options = UdpOptions::new().metadata(Metadata::HOP_LIMIT);
                let socket = options.bind(path.loopback(0)).unwrap();
                let found = socket.capabilities().unwrap();
                assert_eq!(found.metadata, Metadata::HOP_LIMIT);
                assert_eq!((found.segmentation, found.max_segments), (false, 1));
                // Not to be reported is what it does.
                socket.set_metadata(Metadata::TRAFFIC_CLASS).unwrap();
                assert_eq!(socket.capabilities().unwrap().metadata, Metadata::TRAFFIC_CLASS);
                assert_eq!(
                    socket
                        .set_metadata(Metadata::TIMESTAMP)
                        .unwrap_err()
                        .raw_os_error(),
                    Some(errno)
                );
                // What was asked for and cannot be had is an error that names it.
                UdpOptions::new()
                    .metadata(Metadata::TIMESTAMP)
                    .bind(path.loopback(0))
                    .unwrap_err();
            }
        });
    }
}

struct Echo(Rc<Cell<usize>>);

impl DatagramService for Echo {
    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        self.0.set(self.0.get() + 1);
        let _ = socket.send(&datagram.echo());
    }
}

fn is_echoed_by(server: SocketAddr) {
    let client = StdSocket::bind(if server.is_ipv4() {
        "127.0.0.1:0"
    } else {
        "[::1]:0"
    })
    .unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    for len in [1, 1200, 1200, 9000] {
        client.send_to(&vec![7; len], server).unwrap();
        let mut buffer = vec![0; 65_536];
        assert_eq!(client.recv(&mut buffer).unwrap(), len);
    }
}

#[test]
fn a_loop_serves_datagrams_without_offloads() {
    for errno in REFUSALS {
        without(&[GRO, GSO], errno, || {
            let seen = Rc::new(Cell::new(0));
            let mut events = EventLoop::new().unwrap();
            let service = events.add_datagram_service(Echo(Rc::clone(&seen)));
            let socket = events
                .bind(service, addr("127.0.0.1:0"), &DatagramOptions::default())
                .unwrap();
            let server = events.local_addr(socket).unwrap();
            let client = std::thread::spawn(move || is_echoed_by(server));
            wait::until("four datagrams are answered", PATIENCE, || {
                events.turn(Some(Duration::from_millis(10))).unwrap();
                seen.get() == 4
            });
            client.join().unwrap();
        });
    }
}

#[test]
fn serve_starts_on_a_kernel_without_offloads() {
    program::sockeye();
    without(
        &[GRO, GSO, MULTICAST_ALL, MULTICAST_ALL_V6],
        libc::ENOPROTOOPT,
        || {
            for (endpoint, prefix) in [("udp://127.0.0.1:0", "udp"), ("udp://[::1]:0", "udp")] {
                let mut command = Command::new(program::sockeye());
                command.args(["serve", "echo", "--listen", endpoint]);
                let server = Running::start(&mut command);
                let line = server.line(PATIENCE);
                let address = line
                    .strip_prefix(&format!("listening on {prefix}://"))
                    .map(str::parse);
                is_echoed_by(address.unwrap_or_else(|| panic!("it said {line}")).unwrap());
            }
        },
    );
}
