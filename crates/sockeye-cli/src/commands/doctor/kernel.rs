//! Settings of the kernel.

use super::{Finding, read, sysctl};

/// A setting that is better large.
struct Limit {
    name: &'static str,
    least: u64,
    better: u64,
    meaning: &'static str,
    otherwise: &'static str,
}

const LIMITS: [Limit; 4] = [
    Limit {
        name: "net.core.rmem_max",
        least: 1 << 20,
        better: 8 << 20,
        meaning: "bytes that SO_RCVBUF may ask for",
        otherwise: "bytes that SO_RCVBUF may ask for: bursts of datagrams are lost",
    },
    Limit {
        name: "net.core.wmem_max",
        least: 1 << 20,
        better: 8 << 20,
        meaning: "bytes that SO_SNDBUF may ask for",
        otherwise: "bytes that SO_SNDBUF may ask for: large batches of datagrams block",
    },
    Limit {
        name: "net.core.somaxconn",
        least: 1024,
        better: 4096,
        meaning: "connections that may wait for accept",
        otherwise: "connections that may wait for accept: a burst of clients is refused",
    },
    Limit {
        name: "net.ipv4.tcp_max_syn_backlog",
        least: 256,
        better: 4096,
        meaning: "connections that may be half open",
        otherwise: "connections that may be half open: a burst of clients is delayed",
    },
];

/// Ports for outgoing connections below which a relay or a scan runs out of them.
const MIN_PORTS: u32 = 16_384;
/// Share of the connection table that may be in use, in per cent.
const MAX_TRACKED: u64 = 80;

pub(super) fn findings() -> Vec<Finding> {
    let mut findings: Vec<Finding> = LIMITS
        .iter()
        .map(|limit| limited(limit, sysctl(limit.name)))
        .collect();
    findings.push(ports(sysctl("net.ipv4.ip_local_port_range")));
    findings.push(fast_open(sysctl("net.ipv4.tcp_fastopen")));
    findings.push(conntrack(
        sysctl("net.netfilter.nf_conntrack_count"),
        sysctl("net.netfilter.nf_conntrack_max"),
    ));
    findings.push(clock(read(
        "/sys/devices/system/clocksource/clocksource0/current_clocksource",
    )));
    findings
}

fn limited(limit: &Limit, value: Option<String>) -> Finding {
    let Limit {
        name,
        least,
        better,
        meaning,
        otherwise,
    } = limit;
    let Some(value) = value else {
        // rmem_max and wmem_max are seen from the first network namespace only.
        return Finding::ok(name, "not visible", format!("belongs to the host; {meaning}"));
    };
    match value.parse::<u64>() {
        Ok(number) if number >= *least => Finding::ok(name, value, *meaning),
        _ => Finding::hint(name, value, *otherwise, format!("sysctl -w {name}={better}")),
    }
}

fn ports(range: Option<String>) -> Finding {
    const NAME: &str = "net.ipv4.ip_local_port_range";
    let range = range.unwrap_or_default();
    let words: Vec<u32> = range
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    let count = match words.as_slice() {
        [first, last] => last.saturating_sub(*first).saturating_add(1),
        _ => 0,
    };
    let value = range.split_whitespace().collect::<Vec<_>>().join(" to ");
    let meaning = format!("{count} connections to one endpoint from one address");
    if count >= MIN_PORTS {
        Finding::ok(NAME, value, meaning)
    } else {
        Finding::hint(NAME, value, meaning, format!("sysctl -w {NAME}='16384 65535'"))
    }
}

/// Bit 1 for clients, bit 2 for servers.
fn fast_open(value: Option<String>) -> Finding {
    const NAME: &str = "net.ipv4.tcp_fastopen";
    let Some(value) = value else {
        return Finding::ok(NAME, "not visible", "data in the first segment of a connection");
    };
    let missing = match value.parse::<u32>().unwrap_or(0) & 3 {
        3 => return Finding::ok(NAME, value, "data in the first segment, for clients and servers"),
        1 => "for clients only: servers do not take data in the first segment",
        2 => "for servers only: clients do not send data in the first segment",
        _ => "no data in the first segment of a connection",
    };
    Finding::hint(NAME, value, missing, format!("sysctl -w {NAME}=3"))
}

fn conntrack(count: Option<String>, most: Option<String>) -> Finding {
    const NAME: &str = "conntrack";
    let number = |text: Option<String>| text.and_then(|text| text.parse::<u64>().ok());
    let (Some(count), Some(most)) = (number(count), number(most)) else {
        return Finding::ok(
            NAME,
            "not in use",
            "no connection is tracked, none is dropped for it",
        );
    };
    let value = format!("{count} of {most}");
    if count.saturating_mul(100) < most.saturating_mul(MAX_TRACKED) {
        Finding::ok(NAME, value, "connections tracked by the firewall")
    } else {
        let more = most.saturating_mul(2);
        let command = format!("sysctl -w net.netfilter.nf_conntrack_max={more}");
        Finding::warn(
            NAME,
            value,
            "the table is nearly full: new connections are dropped",
            command,
        )
    }
}

fn clock(source: Option<String>) -> Finding {
    const NAME: &str = "clock source";
    match source {
        Some(source) if matches!(source.as_str(), "hpet" | "acpi_pm" | "jiffies" | "pit") => Finding::hint(
            NAME,
            source,
            "each look at the clock is a system call: timers and timestamps cost more",
            "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource",
        ),
        Some(source) => Finding::ok(NAME, source, "the clock is read without a system call"),
        None => Finding::ok(NAME, "not visible", "how the clock is read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::Verdict;

    #[test]
    fn a_table_that_is_nearly_full_is_a_warning() {
        let finding = |count: &str, most: &str| conntrack(Some(count.to_owned()), Some(most.to_owned()));
        assert_eq!(finding("10", "100").verdict, Verdict::Ok);
        let full = finding("80", "100");
        assert_eq!(
            full.command.as_deref(),
            Some("sysctl -w net.netfilter.nf_conntrack_max=200")
        );
        assert_eq!(conntrack(None, None).verdict, Verdict::Ok);
    }

    #[test]
    fn small_limits_come_with_the_command_that_raises_them() {
        for limit in &LIMITS {
            let small = limited(limit, Some("1".to_owned()));
            assert!(
                small.verdict == Verdict::Hint
                    && small.command.is_some_and(|command| command.contains(limit.name))
            );
            assert_eq!(
                limited(limit, Some(limit.better.to_string())).verdict,
                Verdict::Ok
            );
            assert_eq!(limited(limit, None).verdict, Verdict::Ok);
        }
        assert_eq!(ports(Some("32768\t60999".to_owned())).verdict, Verdict::Ok);
        assert_eq!(ports(Some("60000 60999".to_owned())).verdict, Verdict::Hint);
        assert_eq!(ports(None).verdict, Verdict::Hint);
        assert_eq!(fast_open(Some("3".to_owned())).verdict, Verdict::Ok);
        assert_eq!(fast_open(Some("1".to_owned())).verdict, Verdict::Hint);
    }
}
