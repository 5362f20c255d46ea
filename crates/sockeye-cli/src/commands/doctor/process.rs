//! What this process may do.

use sockeye::socket::os::nofile_limit;

use super::{Finding, read, sysctl};
use crate::files::this_program;

/// Descriptors below which a server meets its limit early.
const MIN_DESCRIPTORS: u64 = 4_096;

/// What the program can be given by setcap(8): the name, its bit, and what it is good for.
const CAPABILITIES: [(&str, u32, &str); 3] = [
    ("CAP_NET_RAW", NET_RAW, "raw IP sockets, traces by ICMP"),
    ("CAP_NET_ADMIN", 12, "transparent sockets, large buffers by force"),
    (LOW_PORTS, 10, "ports below 1024"),
];
const NET_RAW: u32 = 13;
const LOW_PORTS: &str = "CAP_NET_BIND_SERVICE";

pub(super) fn findings() -> Vec<Finding> {
    let status = read("/proc/self/status").unwrap_or_default();
    let first_port = sysctl("net.ipv4.ip_unprivileged_port_start");
    let mut findings = capabilities(&status, first_port.as_deref());
    findings.extend([
        ping(&status, sysctl("net.ipv4.ping_group_range")),
        descriptors(),
        user_namespaces(),
    ]);
    findings
}

/// A line of `/proc/self/status`.
fn field<'a>(status: &'a str, name: &str) -> &'a str {
    status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .unwrap_or_default()
        .trim()
}

/// Each capability; those that are missing have one command for all, as each setcap(8) takes away what was given before.
fn capabilities(status: &str, first_port: Option<&str>) -> Vec<Finding> {
    let needed = |name: &str| name != LOW_PORTS || first_port != Some("0");
    let names: Vec<String> = CAPABILITIES
        .iter()
        .filter(|(name, ..)| needed(name))
        .map(|(name, ..)| name.to_lowercase())
        .collect();
    let command = format!("setcap {}+ep {}", names.join(","), this_program());
    let finding = |&(name, number, what): &(&'static str, u32, &str)| {
        if has(status, number) {
            Finding::ok(name, "effective", what)
        } else if needed(name) {
            let meaning = format!("not permitted: {what}");
            Finding::warn(name, "not effective", meaning, command.as_str())
        } else {
            Finding::ok(name, "not needed", "every port is open to every process")
        }
    };
    CAPABILITIES.iter().map(finding).collect()
}

/// Whether a capability is effective, by its bit (capabilities(7)).
fn has(status: &str, number: u32) -> bool {
    let effective = u64::from_str_radix(field(status, "CapEff"), 16).unwrap_or(0);
    effective & (1 << number) != 0
}

/// Ping sockets are for the groups of a range, which is empty by default.
fn ping(status: &str, range: Option<String>) -> Finding {
    const NAME: &str = "net.ipv4.ping_group_range";
    let command = format!("sysctl -w {NAME}='0 2147483647'");
    let Some(range) = range else {
        return Finding::warn(NAME, "unknown", "cannot be read", command);
    };
    let words: Vec<u32> = range
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    let [first, last] = words.as_slice() else {
        return Finding::warn(NAME, range, "is not a range of groups", command);
    };
    // The effective one is the second.
    let effective = field(status, "Gid").split_whitespace().nth(1);
    let supplementary = field(status, "Groups").split_whitespace();
    let mut groups = effective.into_iter().chain(supplementary);
    let is_in = groups.any(|group| {
        group
            .parse()
            .is_ok_and(|group: u32| (*first..=*last).contains(&group))
    });
    let value = format!("{first} to {last}");
    if is_in {
        Finding::ok(NAME, value, "ping without privileges")
    } else if has(status, NET_RAW) {
        Finding::hint(
            NAME,
            value,
            "ping takes CAP_NET_RAW, which this process has and others may not",
            command,
        )
    } else {
        Finding::warn(
            NAME,
            value,
            "this process has no group in the range: ping needs CAP_NET_RAW",
            command,
        )
    }
}

fn descriptors() -> Finding {
    const NAME: &str = "RLIMIT_NOFILE";
    let ceiling = sysctl("fs.nr_open").unwrap_or_else(|| "unknown".to_owned());
    let Ok((soft, hard)) = nofile_limit() else {
        return Finding::warn(NAME, "unknown", "cannot be read", "ulimit -n");
    };
    let value = format!("{soft}, at most {hard} (fs.nr_open {ceiling})");
    if soft >= MIN_DESCRIPTORS {
        Finding::ok(NAME, value, "sockets and files at once")
    } else if hard >= MIN_DESCRIPTORS {
        Finding::warn(NAME, value, "few sockets at once", format!("ulimit -n {hard}"))
    } else {
        Finding::warn(
            NAME,
            value,
            "few sockets at once, and no right to more",
            "systemd: LimitNOFILE=65536; or /etc/security/limits.conf",
        )
    }
}

fn user_namespaces() -> Finding {
    const NAME: &str = "user namespaces";
    let most = sysctl("user.max_user_namespaces");
    if most.as_deref().is_none_or(|most| most == "0") {
        let value = most.unwrap_or_else(|| "not in this kernel".to_owned());
        let command = "sysctl -w user.max_user_namespaces=15000";
        return Finding::warn(NAME, value, "no networks of one's own by unshare -Urn", command);
    }
    for (name, bad, good) in [
        ("kernel.unprivileged_userns_clone", "0", "1"),
        ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
    ] {
        if sysctl(name).as_deref() == Some(bad) {
            return Finding::warn(
                NAME,
                format!("{name} = {bad}"),
                "only root makes networks by unshare -Urn",
                format!("sysctl -w {name}={good}"),
            );
        }
    }
    Finding::ok(NAME, most.unwrap_or_default(), "test networks by unshare -Urn")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::Verdict;

    #[test]
    fn a_group_in_the_range_is_found_among_all_of_them() {
        let status = "Gid:\t1000\t1000\t1000\t1000\nGroups:\t4 27 \n";
        for (range, is_ok) in [
            ("1 0", false),
            ("0 2147483647", true),
            ("27\t27", true),
            ("28 999", false),
            ("1000 1000", true),
            ("x", false),
        ] {
            let verdict = if is_ok { Verdict::Ok } else { Verdict::Warn };
            assert_eq!(ping(status, Some(range.to_owned())).verdict, verdict, "{range}");
        }
        assert_eq!(ping("", None).verdict, Verdict::Warn);
        let root = format!("{status}CapEff:\t0000000000002000\n");
        assert_eq!(ping(&root, Some("1 0".to_owned())).verdict, Verdict::Hint);
    }

    #[test]
    fn a_capability_is_a_bit_of_the_effective_set() {
        assert!(has("CapPrm:\t0\nCapEff:\t0000000000002000\n", NET_RAW));
        assert!(!has(
            "CapPrm:\t0000000000002000\nCapEff:\t0000000000000000\n",
            NET_RAW
        ));
        assert!(!has("", NET_RAW));
    }

    #[test]
    fn what_is_missing_is_given_by_one_command() {
        let commands = |status, first_port| -> Vec<Option<String>> {
            let findings = capabilities(status, first_port);
            findings.into_iter().map(|finding| finding.command).collect()
        };
        let program = this_program();
        let all = format!("setcap cap_net_raw,cap_net_admin,cap_net_bind_service+ep {program}");
        // The one that there is stays.
        let raw = "CapEff:\t0000000000002000\n";
        assert_eq!(commands(raw, Some("1024")), [None, Some(all.clone()), Some(all)]);
        let without = Some(format!("setcap cap_net_raw,cap_net_admin+ep {program}"));
        assert_eq!(commands("", Some("0")), [without.clone(), without, None]);
    }
}
