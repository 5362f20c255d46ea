//! The services in datagrams: no answer is longer than what it answers, and none goes to those who answer anything.

use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::net::UnixDatagram;

use sockeye_tests::netns;
use sockeye_tests::skip::{Need, require};
use sockeye_tests::wait::PATIENCE;

use super::{USERS, check_daytime, check_time, file, seconds_now, serve, text_of, utmp};
use crate::server::Server;

fn client_at(server: &Server) -> UdpSocket {
    let to = server.addresses[0];
    let here = if to.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
    let socket = UdpSocket::bind(here).expect("a port");
    socket.connect(to).expect("a peer");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket
}

#[track_caller]
fn asked(socket: &UdpSocket, question: &[u8]) -> Vec<u8> {
    socket.send(question).expect("sent");
    let mut answer = [0; 2048];
    let len = socket.recv(&mut answer).expect("an answer");
    answer[..len].to_vec()
}

const ENDPOINTS: [&str; 2] = ["udp://127.0.0.1:0", "udp://[::1]:0"];

#[test]
fn no_answer_is_longer_than_its_question() {
    if !require(&[Need::Ipv6, Need::program("utmpdump")]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let quotes = file(&folder, "quotes", "A quote of some length.\n");
    let sessions = utmp(&folder);
    for at in ENDPOINTS {
        let chargen = Server::start(&["chargen"], &[at]);
        let socket = client_at(&chargen);
        for (len, most) in [(1, 1), (100, 100), (512, 512), (1400, 512)] {
            assert_eq!(asked(&socket, &vec![b'x'; len]).len(), most);
        }
        let qotd = Server::start(&["qotd", "--quotes", text_of(&quotes)], &[at]);
        let socket = client_at(&qotd);
        assert_eq!(asked(&socket, b"1234567"), b"A quote");
        assert_eq!(asked(&socket, &[0; 100]), b"A quote of some length.\r\n");
        let users = Server::start(&["active-users", "--utmp", text_of(&sessions)], &[at]);
        let socket = client_at(&users);
        assert_eq!(asked(&socket, &[0; 20]), b"anton tty1\r\n", "a line that fits");
        assert_eq!(asked(&socket, &[0; 100]), USERS.as_bytes());
    }
}

#[test]
fn half_a_time_is_none() {
    if !require(&[Need::Ipv6]) {
        return;
    }
    let begun = seconds_now();
    for at in ENDPOINTS {
        let time = Server::start(&["time"], &[at]);
        let socket = client_at(&time);
        for question in [&b""[..], b"abc"] {
            socket.send(question).expect("sent");
        }
        // Behind the others in the queue, so that theirs would have been first.
        check_time(&asked(&socket, b"four"), begun);
        time.says("2 were shorter than their answer");
        let daytime = Server::start(&["daytime"], &[at]);
        let socket = client_at(&daytime);
        socket.send(&[0; 30]).expect("sent");
        check_daytime(&asked(&socket, &[0; 31]), begun);
        daytime.says("1 were shorter than their answer");
    }
}

#[test]
fn ports_that_answer_anything_have_no_answer() {
    let name = "serve::datagrams::ports_that_answer_anything_have_no_answer";
    if !require(&[Need::Namespaces]) || !netns::enter(name, |_| {}) {
        return;
    }
    for service in ["chargen", "time", "daytime", "qotd", "active-users"] {
        let server = Server::start(&[service], &["udp://127.0.0.1:0"]);
        let ports = [7, 13, 17, 19, 37, 11, 53].map(|port| {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).expect("a free port");
            socket.send_to(&[0; 600], server.addresses[0]).expect("sent");
            socket
        });
        // Behind them in the queue.
        assert!(!asked(&client_at(&server), &[0; 600]).is_empty());
        for socket in &ports {
            socket.set_nonblocking(true).expect("a mode");
            assert!(socket.recv(&mut [0; 8]).is_err(), "{service}: {socket:?}");
        }
        server.says("7 came from ports that answer anything");
    }
}

#[test]
fn a_source_has_no_more_answers_than_its_rate() {
    let server = Server::start(&["time", "--udp-rate", "5"], &["udp://127.0.0.1:0"]);
    let socket = client_at(&server);
    let begun = std::time::Instant::now();
    for _ in 0..200 {
        socket.send(b"four").expect("sent");
    }
    server.says("were more than --udp-rate allows a source");
    socket.set_nonblocking(true).expect("a mode");
    let answers = std::iter::from_fn(|| socket.recv(&mut [0; 8]).ok()).count();
    let most = 6.0 + 5.0 * begun.elapsed().as_secs_f64();
    assert!(answers >= 5 && (answers as f64) <= most, "{answers} of {most}");
}

#[test]
fn on_unix_sockets_the_source_is_proven() {
    let folder = tempfile::tempdir().expect("a folder");
    let begun = seconds_now();
    for (service, check) in [
        ("echo", (|said| assert_eq!(said, b"x")) as fn(&[u8])),
        ("chargen", |said| assert_eq!(said.len(), 512)),
        ("qotd", |said| assert!(said.ends_with(b"\r\n"))),
        ("active-users", |said| assert!(said.ends_with(b"\r\n"))),
        ("time", |said| assert_eq!(said.len(), 4)),
        ("daytime", |said| check_daytime(said, 0)),
    ] {
        let path = folder.path().join(service);
        let at = format!("unix:{}", text_of(&path));
        let (running, lines) = serve(&[service, "--datagram", "--listen", &at], 1);
        assert_eq!(lines, [format!("listening on {at}")]);
        let nobody = UnixDatagram::unbound().expect("a socket");
        nobody.send_to(b"no name", &path).expect("sent");
        let socket = UnixDatagram::bind(folder.path().join(format!("{service}.client"))).expect("a path");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket.send_to(b"x", &path).expect("sent");
        let mut answer = [0; 2048];
        let len = socket.recv(&mut answer).expect("an answer");
        check(&answer[..len]);
        if service == "time" {
            check_time(&answer[..len], begun);
        }
        let said = std::iter::from_fn(|| running.error_line(PATIENCE))
            .find(|line| line.contains("came from no address of one host"));
        assert!(said.is_some(), "{service}: and who has no name is told of");
    }
}
