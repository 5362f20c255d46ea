//! Whom to ping: arguments, files, and the addresses of networks and ranges.

use std::io::BufRead as _;

use anyhow::Context as _;
use sockeye::endpoint::{AddressRange, Network};

use super::Arguments;
use crate::exit::Failure;

/// More than these want `--yes`: a network is typed faster than pinged.
const UNASKED: u128 = 65_536;
/// More than these are refused: each takes some hundred bytes while it is pinged.
const MOST: u128 = 1 << 20;

/// The hosts in the order in which they were named.
///
/// # Errors
/// When a file cannot be read, a range is none or too large, or nobody is left to ping.
pub(super) fn hosts(arguments: &Arguments) -> anyhow::Result<Vec<String>> {
    let mut hosts = arguments.hosts.clone();
    if let Some(path) = &arguments.file {
        let reader: Box<dyn std::io::Read> = if path == "-" {
            Box::new(std::io::stdin())
        } else {
            Box::new(std::fs::File::open(path).with_context(|| format!("open {path}"))?)
        };
        for line in std::io::BufReader::new(reader).lines() {
            let line = line.with_context(|| format!("read {path}"))?;
            let host = line.split('#').next().unwrap_or_default().trim();
            if !host.is_empty() {
                hosts.push(host.to_owned());
            }
        }
    }
    let ranges = arguments.generate.iter().map(|text| range(text));
    let ranges: Vec<AddressRange> = ranges.collect::<Result<_, _>>()?;
    let count = ranges
        .iter()
        .fold(0u128, |sum, range| sum.saturating_add(range.count()));
    if count > MOST {
        return Err(Failure::usage(format!(
            "--generate: {count} hosts are too many: at most {MOST} in one run"
        )));
    }
    if count > UNASKED && !arguments.yes {
        return Err(Failure::usage(format!(
            "--generate: {count} hosts are more than {UNASKED}: --yes pings them"
        )));
    }
    hosts.extend(
        ranges
            .iter()
            .flat_map(AddressRange::addresses)
            .map(|ip| ip.to_string()),
    );
    if hosts.is_empty() {
        return Err(Failure::usage("no hosts to ping"));
    }
    Ok(hosts)
}

/// `FIRST-LAST` or `ADDRESS/PREFIX`: of a network the addresses of its hosts.
fn range(text: &str) -> anyhow::Result<AddressRange> {
    let range = if text.contains('-') {
        text.parse()
    } else {
        Network::parse_interface(text).map(|(_, network)| network.hosts())
    };
    range.map_err(|error| {
        Failure::usage(format!(
            "--generate {text:?}: {error}; say FIRST-LAST or ADDRESS/PREFIX"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<String> {
        range(text)
            .unwrap()
            .addresses()
            .map(|ip| ip.to_string())
            .collect()
    }

    #[test]
    fn networks_are_their_hosts() {
        assert_eq!(all("192.0.2.0/30"), ["192.0.2.1", "192.0.2.2"]);
        assert_eq!(all("192.0.2.77/30"), ["192.0.2.77", "192.0.2.78"]);
        assert_eq!(all("192.0.2.0/31"), ["192.0.2.0", "192.0.2.1"]);
        assert_eq!(all("192.0.2.9/32"), ["192.0.2.9"]);
        assert_eq!(all("2001:db8::/127"), ["2001:db8::", "2001:db8::1"]);
        assert_eq!(range("0.0.0.0/0").unwrap().count(), (1 << 32) - 2);
        assert_eq!(range("::/0").unwrap().count(), u128::MAX);
    }

    #[test]
    fn ranges_have_both_their_ends() {
        assert_eq!(all("192.0.2.254-192.0.3.1").len(), 4);
        assert_eq!(
            all("2001:db8::ffff-2001:db8::1:0"),
            ["2001:db8::ffff", "2001:db8::1:0"]
        );
        for text in [
            "192.0.2.2-192.0.2.1",
            "192.0.2.1-::1",
            "192.0.2.1-9",
            "x-y",
            "192.0.2.1",
            "",
            "-",
            "1/2/3",
        ] {
            let error = range(text).unwrap_err().to_string();
            assert!(error.starts_with("--generate"), "{error}");
        }
    }
}
