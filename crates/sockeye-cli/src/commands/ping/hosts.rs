//! Whom to ping: arguments, files, and the addresses of networks and ranges.

use std::io::BufRead as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Context as _;
use sockeye::endpoint::Network;

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
    let ranges: Vec<Range> = ranges.collect::<Result<_, _>>()?;
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
    hosts.extend(ranges.iter().flat_map(Range::addresses).map(|ip| ip.to_string()));
    if hosts.is_empty() {
        return Err(Failure::usage("no hosts to ping"));
    }
    Ok(hosts)
}

/// Addresses of one family as numbers, both ends among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    v6: bool,
    first: u128,
    last: u128,
}

impl Range {
    const fn count(&self) -> u128 {
        (self.last - self.first).saturating_add(1)
    }

    fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let v6 = self.v6;
        (self.first..=self.last).map(move |number| {
            if v6 {
                Ipv6Addr::from_bits(number).into()
            } else {
                Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX)).into()
            }
        })
    }
}

/// `FIRST-LAST` or `ADDRESS/PREFIX`. Of an IPv4 network the addresses of its own and of all hosts are left out, where it has
/// them (RFC 3021).
fn range(text: &str) -> anyhow::Result<Range> {
    let wrong = |why: String| Failure::usage(format!("--generate {text:?}: {why}"));
    if let Some((first, last)) = text.split_once('-') {
        let address = |text: &str| {
            text.trim().parse::<IpAddr>().map_err(|_| {
                wrong(format!(
                    "{text:?} is no address: say FIRST-LAST or ADDRESS/PREFIX"
                ))
            })
        };
        let (first, last) = (address(first)?, address(last)?);
        if first.is_ipv6() != last.is_ipv6() {
            return Err(wrong("the ends are of different families".to_owned()));
        }
        if first > last {
            return Err(wrong("the first address is beyond the last".to_owned()));
        }
        return Ok(Range {
            v6: first.is_ipv6(),
            first: bits(first),
            last: bits(last),
        });
    }
    let (_, network) = Network::parse_interface(text)
        .map_err(|error| wrong(format!("{error}; say ADDRESS/PREFIX or FIRST-LAST")))?;
    let v6 = network.address().is_ipv6();
    let has_ends = !v6 && network.prefix_len() < 31;
    Ok(Range {
        v6,
        first: bits(network.address()) + u128::from(has_ends),
        last: bits(network.last()) - u128::from(has_ends),
    })
}

const fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_bits() as u128,
        IpAddr::V6(ip) => ip.to_bits(),
    }
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
