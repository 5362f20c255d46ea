//! The words of `sockeye scan`: which hosts, which ports.

use std::net::{IpAddr, SocketAddr};

use sockeye::endpoint::{
    AddressRange, Network, ParseError, PortRange, PortSet, Transport, parse_ip, services,
};
use sockeye::resolver::files::{Environment, Paths, SystemNames};

use crate::address::place as place_of;
use crate::exit::{Exit, Failure, classify, describe};
use crate::probing::{self, Family};

/// More hosts than this are scanned only if that is meant.
pub(super) const MAX_HOSTS: u128 = 256;

/// What one word stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Place {
    Host(SocketAddr),
    Range(AddressRange),
}

/// Reads `22,80,8000-8100,https` or `all`.
///
/// # Errors
/// The word that is none, and why.
pub(super) fn ports(text: &str, transport: Transport) -> anyhow::Result<PortSet> {
    // nmap's `-p-`.
    if matches!(text, "all" | "-") {
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
            let why = if word.starts_with(|letter: char| letter.is_ascii_alphabetic()) {
                "no service has this name".to_owned()
            } else {
                error.kind.to_string()
            };
            Failure::usage(format!(
                "-p {text}: {word:?}: {why} (ports are 1 to 65535: 22,80,8000-8100,https or all)"
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

/// Reads a name, an address, a range of addresses or a network.
///
/// # Errors
/// What is wrong with it; for a name without an address, who was asked.
pub(super) fn place(text: &str, family: Family, transport: Transport) -> anyhow::Result<Place> {
    if let Some(range) = range(text) {
        let range = range.map_err(|error| Failure::usage(format!("{text:?}: {}", place_of(text, error))))?;
        if !family.admits(&SocketAddr::new(range.first(), 0)) {
            return Err(Failure::usage(format!(
                "{text}: these addresses are of the other family"
            )));
        }
        return Ok(Place::Range(range));
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

/// The addresses of a network or of `FIRST-LAST`; `None` for what is neither: names have hyphens too.
fn range(text: &str) -> Option<Result<AddressRange, ParseError>> {
    if text.contains('/') && !text.contains("://") {
        return Some(text.parse::<Network>().map(AddressRange::from));
    }
    let (first, last) = text.split_once('-')?;
    // `192.0.2.1-dsl.example` is a name, `192.0.2.1-9` is most likely meant for a range.
    let is_range = match parse_ip(first).ok()? {
        IpAddr::V4(_) => last.starts_with(|letter: char| letter.is_ascii_digit() || letter == ':'),
        IpAddr::V6(_) => true,
    };
    is_range.then(|| text.parse())
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
        assert_eq!(
            (read("all"), read("-")),
            ("1-65535".to_owned(), "1-65535".to_owned())
        );
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
    fn places_are_hosts_ranges_and_networks() {
        let read = |text| place(text, Family::default(), Transport::Tcp);
        let count = |text| match read(text).unwrap() {
            Place::Host(_) => 1,
            Place::Range(range) => range.count(),
        };
        assert_eq!(count("192.0.2.0/24"), 256);
        assert_eq!(count("2001:db8::/64"), 1 << 64);
        assert_eq!(count("::/0"), u128::MAX);
        assert_eq!(count("::1"), 1);
        assert_eq!(count("192.0.2.1-192.0.2.9"), 9);
        assert_eq!(count("2001:db8::1-2001:db8::2"), 2);
        for text in [
            "192.0.2.1/24",
            "192.0.2.0/33",
            "127.1",
            "a b",
            "192.0.2.1-9",
            "192.0.2.9-192.0.2.1",
            "192.0.2.1-::1",
            "::1-x",
        ] {
            assert_eq!(classify(&read(text).unwrap_err()), Exit::Usage, "{text}");
        }
        for name in ["a-b.example", "192.0.2.1-dsl.example", "9-192.0.2.1.example"] {
            assert_eq!(range(name), None, "{name}");
        }
    }
}
