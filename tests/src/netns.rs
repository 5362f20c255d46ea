//! Network namespaces and veth pairs, made by a test and gone with it.
//!
//! Nothing is written under `/run/netns`: a namespace lives as long as the process that holds it, and that
//! process ends when its stdin closes, so not even a killed test leaves one behind. Without privileges a user
//! namespace lends them; raw sockets, nftables and low ports work inside as for root.
//!
//! ```
//! use sockeye_tests::netns::World;
//! use sockeye_tests::skip::{self, Need};
//!
//! if skip::require(&[Need::Namespaces, Need::program("ping")]) {
//!     let world = World::new();
//!     let (left, right) = (world.namespace(), world.namespace());
//!     left.veth("l0", &["192.0.2.1/24"], &right, "r0", &["192.0.2.2/24"]);
//!     left.run("ping", &["-c1", "-W5", "192.0.2.2"]);
//! }
//! ```

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::program;
use crate::skip::{CAP_SYS_ADMIN, has_capability};
use crate::wait;

/// How long a set-up command may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(20);

/// Names the test that runs inside a namespace; see [`enter`].
const INSIDE_VARIABLE: &str = "SOCKEYE_INSIDE_NAMESPACE";

/// Whether this process can make namespaces and configure them.
pub fn is_available() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        ["unshare", "nsenter", "ip", "sh", "cat"]
            .iter()
            .all(|name| program::find(name).is_some())
            && Holder::start(unshare_network()).is_ok()
    })
}

/// The namespaces of one test: they share one set of privileges, so that veth pairs can join them.
#[derive(Debug)]
pub struct World {
    /// Holds the user namespace where this process has no privileges of its own.
    user: Option<Holder>,
}

impl World {
    /// An empty world.
    ///
    /// # Panics
    /// Where the machine has no namespaces for us: ask [`is_available`] first.
    #[expect(
        clippy::new_without_default,
        reason = "it starts a process, which a default value should not"
    )]
    pub fn new() -> Self {
        let user = (!is_privileged()).then(|| {
            let mut command = Command::new("unshare");
            command.arg("-Ur");
            Holder::start(command).expect("a user namespace")
        });
        Self { user }
    }

    /// A new network namespace with nothing but `lo`, which is up.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn namespace(&self) -> Namespace {
        let command = match &self.user {
            Some(user) => {
                let mut command = user.enter();
                command.args(["unshare", "-n"]);
                command
            }
            None => unshare_network(),
        };
        let holder = Holder::start(command).expect("a network namespace");
        let namespace = Namespace { holder };
        namespace.ip("link set lo up");
        namespace.trust_addresses();
        namespace
    }
}

/// One network namespace; dropped, it is gone with every interface in it.
#[derive(Debug)]
pub struct Namespace {
    holder: Holder,
}

impl Namespace {
    /// A command that runs inside.
    pub fn command(&self, program: &str) -> Command {
        let path = program::find(program).unwrap_or_else(|| PathBuf::from(program));
        let mut command = self.holder.enter();
        command.arg("-n").arg("--").arg(path);
        command
    }

    /// Runs a command inside to its end and returns its stdout.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = program::output(self.command(program).args(arguments), COMMAND_LIMIT);
        assert!(
            output.status.success(),
            "{program} {arguments:?}: {}: {}{}",
            output.status,
            output.text(),
            output.stderr
        );
        output.text()
    }

    /// `ip` inside, its words separated by blanks: `ns.ip("route add default via 192.0.2.1")`.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn ip(&self, words: &str) -> String {
        self.run("ip", &words.split_whitespace().collect::<Vec<_>>())
    }

    /// Waits until these links can send to groups by IPv6: the kernel adds the route some time after a link is up.
    ///
    /// # Panics
    /// When they cannot after twenty seconds.
    #[track_caller]
    pub fn until_multicast(&self, links: &[&str]) {
        let late = Instant::now() + Duration::from_secs(20);
        for link in links {
            while !self
                .ip(&format!("-6 route show table all type multicast dev {link}"))
                .contains("ff00::/8")
            {
                assert!(Instant::now() < late, "{link} has no route to groups");
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }

    /// Sets a `sysctl` inside, by its path below `/proc/sys`: `net/ipv4/ip_forward`.
    ///
    /// # Panics
    /// When there is no such knob, or it may not be set.
    #[track_caller]
    pub fn sysctl(&self, path: &str, value: &str) {
        self.run("sh", &["-c", &format!("printf %s '{value}' > /proc/sys/{path}")]);
    }

    /// No duplicate address detection: nobody else is here. While a link-local address is detected, which takes seconds on a busy
    /// machine, a router has no source for its neighbour solicitations, and drops what waits for them.
    #[track_caller]
    fn trust_addresses(&self) {
        let unless_without_ipv6 =
            "f=/proc/sys/net/ipv6/conf/default/accept_dad; [ ! -e $f ] || printf 0 > $f";
        self.run("sh", &["-c", unless_without_ipv6]);
    }

    /// Joins this namespace and another by a veth pair, both ends up and with the addresses given as
    /// `address/prefix`. Both carry packets when it returns: a link that was just set up drops them until the kernel has noticed
    /// its carrier. IPv6 addresses are usable at once (no duplicate address detection).
    ///
    /// # Panics
    /// When a name is taken or an address is none, or the kernel does not bring them up in time.
    #[track_caller]
    pub fn veth(
        &self,
        name: &str,
        addresses: &[&str],
        peer: &Self,
        peer_name: &str,
        peer_addresses: &[&str],
    ) {
        self.ip(&format!(
            "link add {name} type veth peer name {peer_name} netns {}",
            peer.holder.child.id()
        ));
        for (namespace, name, addresses) in [(self, name, addresses), (peer, peer_name, peer_addresses)] {
            for address in addresses {
                let nodad = if address.contains(':') { " nodad" } else { "" };
                namespace.ip(&format!("address add {address} dev {name}{nodad}"));
            }
            namespace.ip(&format!("link set {name} up"));
        }
        for (namespace, name) in [(self, name), (peer, peer_name)] {
            wait::until("a link that is up", wait::PATIENCE, || {
                namespace
                    .ip(&format!("-o link show dev {name}"))
                    .contains("state UP")
            });
        }
    }
}

/// Runs a test's body inside a namespace of its own: the test binary is started again in there for this one
/// test.
///
/// ```no_run
/// # mod m {
/// #[test]
/// fn needs_a_network_of_its_own() {
///     if !sockeye_tests::netns::enter("needs_a_network_of_its_own", |_ns| {}) {
///         return;
///     }
///     // ... `lo` is up, nobody else is here, and this process is root in here ...
/// }
/// # }
/// ```
///
/// `name` is the test's full name as `cargo test` prints it; `prepare` may add interfaces and rules from
/// outside. Returns `true` inside, and `false` outside once the run inside has passed.
///
/// # Panics
/// Outside, when the run inside failed, with its output; or when no test has that name.
#[must_use]
#[track_caller]
pub fn enter(name: &str, prepare: impl FnOnce(&Namespace)) -> bool {
    if std::env::var(INSIDE_VARIABLE).is_ok_and(|inside| inside == name) {
        return true;
    }
    let world = World::new();
    let namespace = world.namespace();
    prepare(&namespace);
    let binary = std::env::current_exe().expect("the test binary has a path");
    let mut command = namespace.command(&binary.to_string_lossy());
    command
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE_VARIABLE, name);
    let output = program::output(&mut command, Duration::from_secs(300));
    let text = output.text();
    assert!(
        output.status.success(),
        "inside the namespace: {text}\n{}",
        output.stderr
    );
    assert!(text.contains("1 passed"), "no test is called {name}: {text}");
    false
}

fn is_privileged() -> bool {
    has_capability(CAP_SYS_ADMIN)
}

fn unshare_network() -> Command {
    let mut command = Command::new("unshare");
    command.arg(if is_privileged() { "-n" } else { "-Urn" });
    command
}

/// A process that does nothing but keep its namespaces alive, until its stdin closes.
#[derive(Debug)]
struct Holder {
    child: Child,
}

impl Holder {
    /// Starts the holder under a command that makes namespaces and then runs the words after it.
    fn start(mut command: Command) -> std::io::Result<Self> {
        let mut child = command
            .args(["sh", "-c", "echo held; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            // Comes at once or, where the kernel refuses, the stream ends at once.
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let holder = Self { child };
        if line.trim_end() == "held" {
            Ok(holder)
        } else {
            Err(std::io::ErrorKind::PermissionDenied.into())
        }
    }

    /// A command that starts in the holder's user namespace; `-n` after it enters the network too.
    fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.child.id().to_string()]);
        if !is_privileged() {
            command.args(["-U", "--preserve-credentials"]);
        }
        command
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skip::{Need, require};

    #[test]
    fn two_namespaces_reach_each_other_and_nothing_else() {
        if !require(&[Need::Namespaces, Need::program("ping")]) {
            return;
        }
        let world = World::new();
        let (left, right) = (world.namespace(), world.namespace());
        left.veth(
            "l0",
            &["192.0.2.1/24", "2001:db8::1/64"],
            &right,
            "r0",
            &["192.0.2.2/24", "2001:db8::2/64"],
        );
        left.run("ping", &["-c1", "-W5", "192.0.2.2"]);
        right.run("ping", &["-6", "-c1", "-W5", "2001:db8::1"]);
        let links = left.ip("-o link");
        assert_eq!(links.lines().count(), 2, "lo and l0: {links}");
    }

    #[test]
    fn a_namespace_goes_with_its_value() {
        if !require(&[Need::Namespaces]) {
            return;
        }
        let world = World::new();
        let (left, right) = (world.namespace(), world.namespace());
        left.veth("l0", &[], &right, "r0", &[]);
        drop(right);
        // The kernel takes a dead namespace down in its own time, and the pair with it.
        wait::until("the other end to vanish", wait::PATIENCE, || {
            left.ip("-o link").lines().count() == 1
        });
    }

    #[test]
    fn a_test_can_run_inside() {
        if !require(&[Need::Namespaces]) {
            return;
        }
        if !enter("netns::tests::a_test_can_run_inside", |namespace| {
            namespace.ip("address add 198.51.100.7/32 dev lo");
        }) {
            return;
        }
        assert!(
            std::net::UdpSocket::bind("198.51.100.7:53").is_ok(),
            "the address and the low port are ours"
        );
    }
}
