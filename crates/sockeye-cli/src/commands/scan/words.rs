//! The words of `sockeye scan`: which hosts, which ports.

use std::net::SocketAddr;

use sockeye::endpoint::{Network, PortRange, PortSet, Transport, services};
use sockeye::resolver::files::{Environment, Paths, SystemNames};

use crate::exit::{Exit, Failure, classify, describe};
use crate::probing::{self, Family};

/// Networks with more hosts than this are scanned only if that is meant.
pub(super) const MAX_HOSTS: u128 = 256;

/// What one word stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Place {
    Host(SocketAddr),
    Network(Network),
}

impl Place {
    /// How many hosts there are.
    pub(super) fn hosts(&self) -> u128 {
        match self {
            Self::Host(_) => 1,
            Self::Network(network) => {
                let bits = if network.address().is_ipv4() { 32 } else { 128 };
                let free = bits - u32::from(network.prefix_len());
                1_u128.checked_shl(free).unwrap_or(u128::MAX)
            }
        }
    }
}

/// Reads `22,80,8000-8100,https` or `all`.
///
/// # Errors
/// The word that is none, and why.
pub(super) fn ports(text: &str, transport: Transport) -> anyhow::Result<PortSet> {
    if text == "all" {
        return Ok([PortRange::from(1..=u16::MAX)].into_iter().collect());
    }
    // All at once: a set that grows word by word is made anew each time.
    let mut ranges = Vec::new();
    for word in text.split(',') {
        if let Some(port) = services::port(transport, word) {
            ranges.push(PortRange::from(port));
            continue;
        }
        let ports = word.parse::<PortSet>().map_err(|error| {
            Failure::usage(format!(
                "-p {text}: {word:?}: {error} (ports are 1 to 65535: 22,80,8000-8100,https or all)"
            ))
        })?;
        if ports.is_empty() || ports.contains(0) {
            return Err(Failure::usage(format!(
                "-p {text}: {word:?}: ports are 1 to 65535: 22,80,8000-8100,https or all"
            )));
        }
        ranges.extend(ports.ranges().map(PortRange::from));
    }
    Ok(ranges.into_iter().collect())
}

/// Reads a name, an address or a network.
///
/// # Errors
/// What is wrong with it; for a name without an address, who was asked.
pub(super) fn place(text: &str, family: Family, transport: Transport) -> anyhow::Result<Place> {
    if text.contains('/') && !text.contains("://") {
        let network: Network = text
            .parse()
            .map_err(|error| Failure::usage(format!("{text:?}: {error}")))?;
        if !family.admits(&SocketAddr::new(network.address(), 0)) {
            return Err(Failure::usage(format!("{text} is a network of the other family")));
        }
        return Ok(Place::Network(network));
    }
    let target = probing::target(text, transport, 0)?;
    if target.port() != 0 {
        let (host, port) = (target.host(), target.port());
        return Err(Failure::usage(format!(
            "{text}: a target is a host without a port: sockeye scan {host} -p {port}"
        )));
    }
    match probing::address(&target, family) {
        Ok(address) => Ok(Place::Host(address)),
        Err(error) if classify(&error) == Exit::Resolution => {
            let said = format!("{}{}", describe(&error), asked());
            Err(Failure::with(Exit::Resolution, said))
        }
        Err(error) => Err(error),
    }
}

/// The name servers of this machine, in the words of an error.
fn asked() -> String {
    let names = SystemNames::load(&Paths::default(), &Environment::default());
    let servers: Vec<String> = names
        .resolv_conf
        .servers
        .iter()
        .map(|server| server.ip().to_string())
        .collect();
    format!(" (name servers of this machine: {})", servers.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_numbers_ranges_and_names() {
        let read = |text| ports(text, Transport::Tcp).unwrap().to_string();
        assert_eq!(read("22,80,8000-8002"), "22,80,8000-8002");
        assert_eq!(read("https,ssh"), "22,443");
        assert_eq!(read("all"), "1-65535");
        for text in [
            "0",
            "0-70000",
            "70000",
            "",
            "1,,2",
            "9-8",
            "nothing-such",
            "-1",
            "1-",
        ] {
            let error = ports(text, Transport::Tcp).unwrap_err();
            assert_eq!(classify(&error), Exit::Usage, "{text}");
            assert!(error.to_string().contains("1 to 65535"), "{error}");
        }
    }

    /// With the set made anew by each word this takes half a minute.
    #[test]
    fn as_many_words_as_there_are_odd_ports_are_read_at_once() {
        let words: Vec<String> = (1..=u16::MAX).step_by(2).map(|port| port.to_string()).collect();
        let set = ports(&words.join(","), Transport::Tcp).unwrap();
        assert_eq!((set.len(), set.contains(2)), (32_768, false));
    }

    #[test]
    fn places_are_hosts_and_networks() {
        let read = |text| place(text, Family::default(), Transport::Tcp);
        assert_eq!(read("192.0.2.0/24").unwrap().hosts(), 256);
        assert_eq!(read("2001:db8::/64").unwrap().hosts(), 1 << 64);
        assert_eq!(read("::/0").unwrap().hosts(), u128::MAX);
        assert_eq!(read("::1").unwrap().hosts(), 1);
        for text in ["192.0.2.1/24", "192.0.2.0/33", "127.1", "a b"] {
            assert_eq!(classify(&read(text).unwrap_err()), Exit::Usage, "{text}");
        }
    }
}
