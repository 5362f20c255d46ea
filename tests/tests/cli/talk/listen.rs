//! `sockeye listen`: who has stdin and stdout, and for how long.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};

use sockeye_tests::program;
use sockeye_tests::skip::{Need, require};
use sockeye_tests::talking::{Talking, exchange, is_asleep, sockeye_with};
use sockeye_tests::wait::{self, PATIENCE};
use sockeye_tests::{netns, pattern};

use crate::streams::unread;

const MIB: usize = 1 << 20;

fn at(address: &str) -> &str {
    address.split_once("://").expect("a scheme").1
}

#[test]
fn a_mib_each_way_over_every_kind_of_stream() {
    for address in ["tcp://127.0.0.1:0", "tcp://[::1]:0", "unix:@sockeye-talk-"] {
        let name = match address.starts_with("unix") {
            true => format!("{address}{}", std::process::id()),
            false => address.to_owned(),
        };
        let (mut here, address) = Talking::listen(&[&name]);
        let mut there = Talking::start(&mut sockeye_with(&["connect", &address]));
        exchange(&mut here, &mut there, &pattern(MIB));
        here.end_input();
        there.end_input();
        assert_eq!(here.finish().0.code(), Some(0), "{address}");
        assert_eq!(there.finish().0.code(), Some(0), "{address}");
    }
}

#[test]
fn messages_of_unix_sockets_are_all_there_in_their_order() {
    for kind in ["--seqpacket", "--datagram"] {
        let name = format!("unix:@sockeye-messages{kind}-{}", std::process::id());
        let (mut here, address) = Talking::listen(&[&name, kind]);
        let mut there = Talking::start(&mut sockeye_with(&["connect", &address, kind]));
        // More than the kernel and all buffers hold: the sender has to wait.
        let sent = pattern(4 * MIB);
        there.write(&sent);
        assert!(here.has(sent.len()) == sent, "{kind}");
        here.write(b"and back");
        assert_eq!(there.has(8), b"and back", "{kind}");
    }
}

#[test]
fn while_nobody_reads_stdout_a_sender_of_datagrams_waits_and_nothing_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log");
    let mut command = sockeye_with(&["listen", "--datagram"]);
    let mut child = command
        .arg(format!("unix:{}", path.display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let sender = UnixDatagram::unbound().expect("a socket");
    wait::until("the path", PATIENCE, || sender.connect(&path).is_ok());
    sender.set_nonblocking(true).expect("a mode");
    let sent = pattern(MIB);
    let mut pieces = sent.chunks(8192);
    let mut piece = pieces.next().expect("a piece");
    let mut len = 0;
    // Until the pipe is full and the kernel has no room either. It holds much less than a MiB.
    wait::until("the sender to wait", PATIENCE, || match sender.send(piece) {
        Ok(count) => {
            len += count;
            piece = pieces.next().expect("the sender waits before");
            false
        }
        Err(error) => error.kind() == ErrorKind::WouldBlock && unread(&child) >= 48 * 1024,
    });
    let mut came = vec![0; len];
    let mut stdout = child.stdout.take().expect("piped");
    stdout.read_exact(&mut came).expect("its stdout");
    let _ = child.kill();
    let _ = child.wait();
    assert!(came == sent[..len], "other bytes");
}

#[test]
fn the_first_peer_ends_it_and_with_k_others_follow() {
    let (here, address) = Talking::listen(&["tcp://127.0.0.1:0"]);
    drop(TcpStream::connect(at(&address)).expect("it listens"));
    // Stdin does not end, and the peer has: what is left is for stdin to say.
    let mut here = here;
    here.end_input();
    assert_eq!(here.finish().0.code(), Some(0));

    let (mut here, address) = Talking::listen(&["tcp://127.0.0.1:0", "tcp://[::1]:0", "-k"]);
    let second = here.says("listening on ");
    let second = second
        .split_once("listening on ")
        .expect("an address")
        .1
        .to_owned();
    let mut one = TcpStream::connect(at(&address)).expect("it listens");
    one.write_all(b"one").expect("it reads");
    assert_eq!(here.has(3), b"one");
    // It has to wait for its turn, although its listener is another one.
    let mut two = TcpStream::connect(at(&second)).expect("it listens");
    two.write_all(b"two").expect("it is in the backlog");
    here.write(b"for one");
    let mut came = [0; 7];
    one.read_exact(&mut came).expect("its answer");
    assert_eq!(&came, b"for one");
    assert_eq!(here.has(3), b"one", "the second waits");
    here.end_input();
    one.read_to_end(&mut Vec::new()).expect("an end");
    drop(one);
    assert_eq!(here.has(6), b"onetwo");
    drop(two);
    here.says("closed");
    here.signal(libc::SIGTERM);
    assert_eq!(here.finish().0.code(), Some(0));
}

#[test]
fn udp_keeps_peers_apart() {
    let socket = || {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket
    };
    let (one, two) = (socket(), socket());
    let receive = |socket: &UdpSocket| {
        let mut room = [0; 64];
        let len = socket.recv(&mut room).expect("a datagram");
        room[..len].to_vec()
    };
    let (mut here, address) = Talking::listen(&["udp://127.0.0.1:0"]);
    one.send_to(b"one", at(&address)).expect("it is sent");
    assert_eq!(here.has(3), b"one");
    two.send_to(b"two", at(&address)).expect("it is sent");
    here.says("dropped a datagram");
    one.send_to(b"again", at(&address)).expect("it is sent");
    assert_eq!(here.has(8), b"oneagain");
    here.write(b"for one");
    assert_eq!(receive(&one), b"for one");

    let (mut here, address) = Talking::listen(&["udp://127.0.0.1:0", "-k"]);
    one.send_to(b"one", at(&address)).expect("it is sent");
    here.has(3);
    two.send_to(b"two", at(&address)).expect("it is sent");
    assert_eq!(here.has(6), b"onetwo");
    here.write(b"for two");
    assert_eq!(receive(&two), b"for two", "the one that was heard last");
}

#[test]
fn an_answer_that_is_refused_does_not_hold_up_the_others() {
    let name = "talk::listen::an_answer_that_is_refused_does_not_hold_up_the_others";
    let filter = |namespace: &netns::Namespace| {
        for rule in [
            "add table inet t",
            "add chain inet t out { type filter hook output priority 0; }",
            "add rule inet t out udp length > 100 drop",
        ] {
            namespace.run("nft", &[rule]);
        }
    };
    if !require(&[Need::Namespaces, Need::program("nft")]) || !netns::enter(name, filter) {
        return;
    }
    let (mut here, address) = Talking::listen(&["udp://127.0.0.1:0", "--line"]);
    let peer = UdpSocket::bind("127.0.0.1:0").expect("a port");
    peer.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    peer.send_to(b"here", at(&address)).expect("it is sent");
    assert_eq!(here.has(4), b"here");
    // In one write, so that all of them wait at once.
    let long = "x".repeat(100);
    here.write(format!("one\n{long}\ntwo\n{long}\nthree\n").as_bytes());
    let mut room = [0; 256];
    for expected in ["one\n", "two\n", "three\n"] {
        let len = peer.recv(&mut room).expect("a datagram");
        assert_eq!(&room[..len], expected.as_bytes());
    }
    here.says("an answer was not taken: Operation not permitted");
}

#[test]
fn who_is_not_allowed_is_refused() {
    let (mut here, address) = Talking::listen(&["tcp://127.0.0.1:0", "--allow", "192.0.2.0/24,127.0.0.9"]);
    let mut stranger = TcpStream::connect(at(&address)).expect("the kernel accepts");
    here.says("not within --allow");
    // Reset or ended: in any case nothing comes.
    assert!(stranger.read(&mut [0]).unwrap_or(0) == 0);
    let mut there = Talking::start(&mut sockeye_with(&["connect", &address, "--source", "127.0.0.9"]));
    exchange(&mut here, &mut there, b"hello");
}

#[test]
fn time_without_a_byte_ends_it() {
    let (here, address) = Talking::listen(&["tcp://127.0.0.1:0", "-w", "0.2"]);
    let mut peer = TcpStream::connect(at(&address)).expect("it listens");
    peer.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    assert_eq!(peer.read(&mut [0]).expect("an end"), 0);
    drop(peer);
    assert_eq!(here.finish().0.code(), Some(0));
}

#[test]
fn seqpackets_that_find_no_descriptor_are_waited_for_asleep() {
    if !require(&[Need::program("prlimit")]) {
        return;
    }
    let name = format!("unix:@sockeye-few-{}", std::process::id());
    let (mut here, address) = Talking::listen(&[&name, "--seqpacket"]);
    let pid = here.pid().to_string();
    wait::until("it to wait", PATIENCE, || is_asleep(here.pid()));
    let limit = |descriptors: usize| {
        let mut command = Command::new("prlimit");
        command.args(["--pid", &pid, &format!("--nofile={descriptors}:4096")]);
        assert!(program::output(&mut command, PATIENCE).status.success());
    };
    // Every number below is taken.
    let free = (0..).find(|number| !Path::new(&format!("/proc/{pid}/fd/{number}")).exists());
    limit(free.expect("a number"));
    let there = Talking::start(&mut sockeye_with(&["connect", &address, "--seqpacket"]));
    there.write(b"hello");
    // A connection is established when it waits to be accepted.
    wait::until("the connection", PATIENCE, || is_asleep(there.pid()));
    wait::until("it to sleep", PATIENCE, || is_asleep(here.pid()));
    limit(1024);
    assert_eq!(here.has(5), b"hello");
}
