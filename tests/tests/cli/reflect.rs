//! `serve echo` over UDP answers neither itself nor its like for ever.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use sockeye::packet::{Ipv4Builder, UdpBuilder};
use sockeye::raw::{Family, HeaderSocket};
use sockeye_tests::netns;
use sockeye_tests::skip::{Need, require};
use sockeye_tests::wait::PATIENCE;

use crate::server::Server;

/// Sends a datagram from whomever to whomever. Inside a namespace nobody else hears of it.
fn forge(source: SocketAddr, destination: SocketAddr) {
    let [SocketAddr::V4(from), SocketAddr::V4(to)] = [source, destination] else {
        panic!("IPv4 only")
    };
    let mut packet = [0; 64];
    let datagram = UdpBuilder::new(from.port(), to.port(), b"round and round");
    let len = Ipv4Builder::new(*from.ip(), *to.ip())
        .write(&mut packet, &datagram)
        .expect("it fits");
    let socket = HeaderSocket::open(Family::V4).expect("a raw socket");
    socket.send(&packet[..len]).expect("a packet that leaves");
}

/// Datagrams that UDP sockets of this namespace have received.
fn received() -> u64 {
    let counters = std::fs::read_to_string("/proc/net/snmp").expect("counters");
    let mut lines = counters.lines().filter(|line| line.starts_with("Udp:"));
    let (names, values) = (lines.next().expect("names"), lines.next().expect("values"));
    let place = names
        .split(' ')
        .position(|name| name == "InDatagrams")
        .expect("the name");
    values
        .split(' ')
        .nth(place)
        .and_then(|value| value.parse().ok())
        .expect("a number")
}

#[test]
fn a_datagram_forged_with_the_servers_own_address_is_not_answered() {
    let name = "reflect::a_datagram_forged_with_the_servers_own_address_is_not_answered";
    if !require(&[Need::Namespaces]) || !netns::enter(name, |_| {}) {
        return;
    }
    let server = Server::start(&["echo"], &["udp://127.0.0.1:0", "udp://0.0.0.0:0"]);
    let [one, any] = server.addresses[..] else {
        panic!("two sockets")
    };
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, any.port()));
    let elsewhere = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), any.port()));
    let before = received();
    // Itself, one socket and the other, and one address of a wildcard socket and another.
    for (source, destination) in [(one, one), (one, here), (here, one), (elsewhere, here)] {
        forge(source, destination);
    }
    server.says("4 claimed to come from this program's own sockets");
    assert_eq!(received() - before, 4, "none of them went round");
}

#[test]
fn two_servers_do_not_answer_each_other_for_ever() {
    let name = "reflect::two_servers_do_not_answer_each_other_for_ever";
    if !require(&[Need::Namespaces]) || !netns::enter(name, |_| {}) {
        return;
    }
    let words = ["echo", "--udp-rate", "100"];
    let servers = [(); 2].map(|()| Server::start(&words, &["udp://127.0.0.1:0"]));
    let before = received();
    forge(servers[0].addresses[0], servers[1].addresses[0]);
    // One of them has had enough first, and with that it is over.
    let said = (0..).find_map(|round: u32| {
        assert!(round < 2000, "neither has had enough");
        servers
            .iter()
            .find_map(|server| server.running.error_line(std::time::Duration::from_millis(10)))
    });
    assert!(said.is_some_and(|line| line.contains("1 were more than --udp-rate allows a source")));
    let after = received();
    assert!(
        (100..1000).contains(&(after - before)),
        "{} datagrams",
        after - before
    );
}

#[test]
fn a_port_that_answers_anything_is_not_answered() {
    let name = "reflect::a_port_that_answers_anything_is_not_answered";
    if !require(&[Need::Namespaces]) || !netns::enter(name, |_| {}) {
        return;
    }
    let server = Server::start(&["echo"], &["udp://127.0.0.1:0"]);
    let to = server.addresses[0];
    let ports = [7, 19, 53, 123, 161, 1900, 11211];
    let sockets: Vec<UdpSocket> = ports
        .iter()
        .map(|port| UdpSocket::bind((Ipv4Addr::LOCALHOST, *port)).expect("a free port"))
        .collect();
    for socket in &sockets {
        socket
            .send_to(b"an error, please", to)
            .expect("a datagram that leaves");
    }
    // Behind them in the server's queue, so that its answer is the last that there will be.
    let client = UdpSocket::bind("127.0.0.1:0").expect("a port");
    client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    client.send_to(b"hello", to).expect("a datagram that leaves");
    let mut back = [0; 16];
    let (len, _) = client.recv_from(&mut back).expect("an answer");
    assert_eq!(&back[..len], b"hello");
    for (port, socket) in ports.iter().zip(&sockets) {
        socket.set_nonblocking(true).expect("a mode");
        assert!(socket.recv_from(&mut back).is_err(), "port {port} was answered");
    }
    server.says("7 came from ports that answer anything");
}
