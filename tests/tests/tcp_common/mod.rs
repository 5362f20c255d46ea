//! What the TCP tests share: connected pairs, reads and writes that have a deadline, a process of one's own.

#![allow(dead_code, reason = "each test target uses its part")]
#![allow(unreachable_pub, reason = "a module of several targets")]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use sockeye::tcp::{TcpListener, TcpStream};
use sockeye_tests::program;
pub use sockeye_tests::wait::PATIENCE;

pub fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(addr("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

pub fn connect(to: SocketAddr) -> TcpStream {
    TcpStream::start_connect(to).unwrap().wait(PATIENCE).unwrap()
}

pub fn accept(listener: &TcpListener) -> TcpStream {
    assert!(listener.wait_readable(PATIENCE).unwrap(), "nobody connects");
    listener.accept().unwrap().0
}

/// A connection over the loopback: the end that connected, the end that accepted.
pub fn pair() -> (TcpStream, TcpStream) {
    let (listener, address) = listener();
    let client = connect(address);
    (client, accept(&listener))
}

/// Reads exactly `len` bytes.
#[track_caller]
pub fn read_exactly(mut stream: &TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let mut have = 0;
    while have < len {
        assert!(
            stream.wait_readable(PATIENCE).unwrap(),
            "{have} of {len} bytes came"
        );
        match stream.read(&mut bytes[have..]) {
            Ok(0) => panic!("the stream ended after {have} of {len} bytes"),
            Ok(read) => have += read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("after {have} of {len} bytes: {error}"),
        }
    }
    bytes
}

/// Reads to the end of the stream, or to the error it ends with.
#[track_caller]
pub fn read_to_end(mut stream: &TcpStream) -> (Vec<u8>, Option<ErrorKind>) {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        assert!(
            stream.wait_readable(PATIENCE).unwrap(),
            "no end after {} bytes",
            bytes.len()
        );
        match stream.read(&mut buffer) {
            Ok(0) => return (bytes, None),
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return (bytes, Some(error.kind())),
        }
    }
}

#[track_caller]
pub fn write_all(mut stream: &TcpStream, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        assert!(
            stream.wait_writable(PATIENCE).unwrap(),
            "no room for {} bytes",
            bytes.len()
        );
        match stream.write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Writes until the kernel takes no more, and returns how much it took.
pub fn fill(mut stream: &TcpStream) -> usize {
    let block = vec![0x5a; 64 * 1024];
    let mut written = 0;
    loop {
        match stream.write(&block) {
            Ok(len) => written += len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return written,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Runs the test called `name` in a process of its own, for what changes the whole process: limits, signal handlers,
/// the environment. Returns `true` inside, and `false` outside once the run inside has passed.
#[must_use]
#[track_caller]
pub fn alone(name: &str, prepare: impl FnOnce(&mut Command)) -> bool {
    const INSIDE: &str = "SOCKEYE_TCP_ALONE";
    if std::env::var(INSIDE).is_ok_and(|inside| inside == name) {
        return true;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, name);
    prepare(&mut command);
    let output = program::output(&mut command, Duration::from_secs(120));
    assert!(
        output.status.success(),
        "alone: {}\n{}",
        output.text(),
        output.stderr
    );
    assert!(
        output.text().contains("1 passed"),
        "no test is called {name}: {}",
        output.text()
    );
    false
}
