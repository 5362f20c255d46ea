//! What a test needs from the machine, and what happens where it is missing.
//!
//! ```
//! use sockeye_tests::skip::{self, Need};
//!
//! fn echo_through_socat() {
//!     if !skip::require(&[Need::program("socat"), Need::Ipv6]) {
//!         return;
//!     }
//!     // ... the test ...
//! }
//! # echo_through_socat();
//! ```
//!
//! A skip prints `skipped: needs X (install: ...)` on a line of its own past libtest's capture. Where the
//! environment names a file in `SOCKEYE_SKIP_LOG` the line is appended to it too: that is how
//! `cargo xtask test` counts. `SOCKEYE_REQUIRE=all` turns each skip into a failure.

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::UdpSocket;

use crate::program;

/// Names the file that skips are appended to.
pub const LOG_VARIABLE: &str = "SOCKEYE_SKIP_LOG";
/// Set to `all`, it turns each skip into a failure.
pub const REQUIRE_VARIABLE: &str = "SOCKEYE_REQUIRE";

/// Something a machine may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Need {
    /// A program on the `PATH`, and the Debian package that has it.
    Program {
        /// As it is typed.
        name: &'static str,
        /// What `apt-get install` calls it.
        package: &'static str,
    },
    /// The capability to open raw sockets, in this process.
    NetRaw,
    /// The capability to change interfaces and protected socket options, in this process.
    NetAdmin,
    /// Network namespaces, by capability or through a user namespace.
    Namespaces,
    /// An IPv6 loopback address.
    Ipv6,
}

impl Need {
    /// A program of the interop tests, with the Debian package that brings it.
    pub fn program(name: &'static str) -> Self {
        let package = match name {
            "nc" => "netcat-openbsd",
            "ip" | "ss" | "tc" => "iproute2",
            "gnutls-cli" | "gnutls-serv" => "gnutls-bin",
            "nft" => "nftables",
            "ping" => "iputils-ping",
            "setpriv" | "unshare" | "nsenter" | "utmpdump" => "util-linux",
            "systemd-analyze" => "systemd",
            "mtr" => "mtr-tiny",
            "ssh" => "openssh-client",
            "dig" => "bind9-dnsutils",
            "dnsmasq" => "dnsmasq-base",
            "promtool" => "prometheus",
            other => other,
        };
        Self::Program { name, package }
    }

    /// Whether the machine has it, and this process may use it.
    pub fn is_met(&self) -> bool {
        match self {
            Self::Program { name, .. } => program::find(name).is_some(),
            Self::NetRaw => has_capability(CAP_NET_RAW),
            Self::NetAdmin => has_capability(CAP_NET_ADMIN),
            Self::Namespaces => crate::netns::is_available(),
            Self::Ipv6 => UdpSocket::bind("[::1]:0").is_ok(),
        }
    }

    fn remedy(&self) -> String {
        match self {
            Self::Program { package, .. } => format!("apt-get install {package}"),
            Self::NetRaw => "setcap cap_net_raw+ep PROGRAM, or run under `unshare -Urn`".to_owned(),
            Self::NetAdmin => "setcap cap_net_admin+ep PROGRAM, or run under `unshare -Urn`".to_owned(),
            Self::Namespaces => {
                "apt-get install util-linux iproute2, and sysctl kernel.unprivileged_userns_clone=1"
                    .to_owned()
            }
            Self::Ipv6 => "sysctl net.ipv6.conf.lo.disable_ipv6=0".to_owned(),
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program { name, .. } => f.write_str(name),
            Self::NetRaw => f.write_str("CAP_NET_RAW"),
            Self::NetAdmin => f.write_str("CAP_NET_ADMIN"),
            Self::Namespaces => f.write_str("network namespaces"),
            Self::Ipv6 => f.write_str("IPv6 on the loopback"),
        }
    }
}

/// Whether the test can go on: every need is met. Else the first one missing is reported.
///
/// # Panics
/// Where a need is missing and `SOCKEYE_REQUIRE=all`.
#[must_use]
#[track_caller]
pub fn require(needs: &[Need]) -> bool {
    for need in needs {
        if !need.is_met() {
            missing(&need.to_string(), &need.remedy());
            return false;
        }
    }
    true
}

/// Reports a need that this module has no word for, such as a kernel feature that was probed.
///
/// # Panics
/// Where `SOCKEYE_REQUIRE=all`.
#[track_caller]
pub fn missing(what: &str, remedy: &str) {
    let line = format!("skipped: needs {what} (install: {remedy})");
    assert!(
        std::env::var_os(REQUIRE_VARIABLE).is_none_or(|value| value != "all"),
        "{line}, and {REQUIRE_VARIABLE}=all allows no skip"
    );
    // Not `eprintln!`: libtest captures that, and a skip that nobody sees is a test that nobody runs. One
    // write, so that lines of parallel tests do not mix; it begins with a line feed because libtest may have
    // printed the test's name without one.
    let _ = std::io::stderr().write_all(format!("\n{line}\n").as_bytes());
    if let Some(path) = std::env::var_os(LOG_VARIABLE)
        && let Ok(mut log) = OpenOptions::new().create(true).append(true).open(path)
    {
        let _ = log.write_all(format!("{line}\n").as_bytes());
    }
}

// Numbers from linux/capability.h.
const CAP_NET_ADMIN: u32 = 12;
const CAP_NET_RAW: u32 = 13;
pub(crate) const CAP_SYS_ADMIN: u32 = 21;

/// Whether this process holds the capability of that number effectively.
pub(crate) fn has_capability(number: u32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    effective_capabilities(&status) & (1 << number) != 0
}

fn effective_capabilities(status: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_from_the_effective_set() {
        let status = "CapPrm:\t000001ffffffffff\nCapEff:\t0000000000002000\nCapBnd:\t000001ffffffffff\n";
        assert_eq!(effective_capabilities(status), 1 << CAP_NET_RAW);
        assert_eq!(effective_capabilities("no such line"), 0);
    }

    #[test]
    fn a_program_is_named_with_its_package() {
        assert_eq!(Need::program("nc").remedy(), "apt-get install netcat-openbsd");
        assert_eq!(Need::program("socat").remedy(), "apt-get install socat");
        assert!(!Need::program("no-such-program-anywhere").is_met());
        assert!(Need::program("sh").is_met());
    }

    /// The two ways a skip can go, in a process of their own because both are steered by its environment.
    #[test]
    fn a_missing_need_skips_or_fails_as_the_environment_says() {
        const CHILD: &str = "SOCKEYE_SKIP_CHILD";
        if std::env::var_os(CHILD).is_some() {
            assert!(!require(&[
                Need::program("sh"),
                Need::program("no-such-program-anywhere")
            ]));
            return;
        }
        let log = std::env::temp_dir().join(format!("sockeye-skip-{}.log", std::process::id()));
        let run = |require: &str| {
            std::process::Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "skip::tests::a_missing_need_skips_or_fails_as_the_environment_says",
                ])
                .env(CHILD, "1")
                .env(LOG_VARIABLE, &log)
                .env(REQUIRE_VARIABLE, require)
                .output()
                .unwrap()
        };
        let line =
            "skipped: needs no-such-program-anywhere (install: apt-get install no-such-program-anywhere)";

        let skipped = run("");
        let logged = std::fs::read_to_string(&log).unwrap();
        std::fs::remove_file(&log).unwrap();
        assert!(skipped.status.success());
        assert!(
            String::from_utf8_lossy(&skipped.stderr)
                .lines()
                .any(|printed| printed == line)
        );
        assert_eq!(logged, format!("{line}\n"));

        assert!(!run("all").status.success());
        assert!(!log.exists(), "a failure is not counted as a skip");
    }
}
