//! `sockeye serve echo` loses no byte while the kernel answers its sends and receives with errors that pass.
//!
//! EINTR is no error but a call to be made again; ENOBUFS and ENOMEM say that there is no memory now. All of them leave
//! the connection as it was.

#![expect(clippy::expect_used, reason = "what a test expects and does not get fails it")]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::Command;

use sockeye_tests::pattern;
use sockeye_tests::program::{self, Running};
use sockeye_tests::skip::{self, Need};
use sockeye_tests::wait::PATIENCE;

const STRACE: Need = Need::Program {
    name: "strace",
    package: "strace",
};
/// As many connections, a few of which every injected error meets.
const CONNECTIONS: usize = 20;
/// Bytes of each, in pieces that make many calls.
const BYTES: usize = 256 * 1024;
const PIECE: usize = 4096;

/// Sends and receives a pattern; says what came back.
fn echo(to: SocketAddr) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut back = vec![0; BYTES];
    for (sent, got) in pattern(BYTES).chunks(PIECE).zip(back.chunks_mut(PIECE)) {
        stream.write_all(sent)?;
        stream.read_exact(got)?;
    }
    stream.shutdown(Shutdown::Write)?;
    stream.read_to_end(&mut back)?;
    Ok(back)
}

/// Every seventh call from the third on fails with that error.
fn loses_no_byte(call: &str, error: &str) {
    if !skip::require(&[STRACE]) {
        return;
    }
    let mut command = Command::new("strace");
    command.args(["-D", "-f", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    command.args(["-e", &format!("inject={call}:error={error}:when=3+7")]);
    command
        .arg(program::sockeye())
        .args(["serve", "echo", "--listen", "tcp://127.0.0.1:0"]);
    let mut server = Running::start(&mut command);
    let line = server.line(PATIENCE);
    let address: SocketAddr = line
        .strip_prefix("listening on tcp://")
        .and_then(|address| address.parse().ok())
        .expect("an address");
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|_| std::thread::spawn(move || echo(address)))
        .collect();
    let sent = pattern(BYTES);
    let mut lost = Vec::new();
    for client in clients {
        match client.join().expect("no panic") {
            Ok(back) if back == sent => {}
            Ok(back) => lost.push(format!("{} bytes came back", back.len())),
            Err(error) => lost.push(error.to_string()),
        }
    }
    server.signal(libc::SIGTERM);
    server.wait(PATIENCE);
    assert!(
        lost.is_empty(),
        "{call} with {error}: {} of {CONNECTIONS}: {lost:?}",
        lost.len()
    );
}

#[test]
fn an_interrupted_send_is_made_again() {
    loses_no_byte("sendto", "EINTR");
}

#[test]
fn an_interrupted_receive_is_made_again() {
    loses_no_byte("recvfrom", "EINTR");
}

#[test]
fn a_send_without_buffers_is_made_later() {
    loses_no_byte("sendto", "ENOBUFS");
}

#[test]
fn a_receive_without_buffers_is_made_later() {
    loses_no_byte("recvfrom", "ENOBUFS");
}

#[test]
fn a_send_without_memory_is_made_later() {
    loses_no_byte("sendto", "ENOMEM");
}

#[test]
fn a_receive_without_memory_is_made_later() {
    loses_no_byte("recvfrom", "ENOMEM");
}
