//! What the tests of this crate stand on: a namespace with a pair of interfaces, `a0` and `b0`, that lead to each other.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::process::Command;
use std::time::Duration;

use sockeye_link::{IncomingFrame, LinkSocket};
use sockeye_tests::netns::Namespace;
use sockeye_tests::{program, wait};

/// An ethertype for experiments (IEEE 802, local experimental 1): the kernel sends none by itself.
pub(crate) const EXPERIMENT: u16 = 0x88b5;
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// Opens a namespace for the test, or returns from it.
macro_rules! inside {
    ($name:literal) => {
        use sockeye_tests::{netns, skip};
        if !skip::require(&[skip::Need::Namespaces]) || !netns::enter($name, ground::pair) {
            return;
        }
    };
}
pub(crate) use inside;

/// The two interfaces, up, with addresses that a reader can tell apart.
pub(crate) fn pair(namespace: &Namespace) {
    namespace.ip("link add a0 address 02:00:00:00:00:01 type veth peer name b0 address 02:00:00:00:00:02");
    namespace.ip("link set a0 up");
    namespace.ip("link set b0 up");
    wait::until("a pair that is up", wait::PATIENCE, || {
        namespace.ip("-o link show dev a0").contains("state UP")
            && namespace.ip("-o link show dev b0").contains("state UP")
    });
}

/// Runs `ip` in the namespace that this process is in.
pub(crate) fn ip(words: &str) -> String {
    let mut command = Command::new("ip");
    let output = program::output(command.args(words.split_whitespace()), Duration::from_secs(20));
    assert!(output.status.success(), "ip {words}: {}", output.stderr);
    output.text()
}

pub(crate) fn until_carrier(interface: &str) {
    wait::until("a carrier", wait::PATIENCE, || {
        ip(&format!("-o link show dev {interface}")).contains("state UP")
    });
}

/// An Ethernet frame of the experimental type, sent from `a0`.
pub(crate) fn frame(to: [u8; 6], payload: &[u8]) -> Vec<u8> {
    let mut bytes = to.to_vec();
    bytes.extend_from_slice(&[2, 0, 0, 0, 0, 1]);
    bytes.extend_from_slice(&EXPERIMENT.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// The next frame, waited for.
#[track_caller]
pub(crate) fn receive<'b>(socket: &LinkSocket, buffer: &'b mut [u8]) -> IncomingFrame<'b> {
    assert!(socket.wait_readable(LIMIT).unwrap(), "no frame came");
    socket.recv_msg(buffer).unwrap()
}
