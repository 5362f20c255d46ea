//! What the words of `sockeye resolve` mean: names, types of records, servers.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use sockeye::endpoint::{HostName, Target, TargetDefaults, Transport};
use sockeye::resolver::dns::{Name, RecordType};

use crate::address::place;
use crate::exit::Failure;
use crate::names;

/// The words in order: `NAME... [TYPE...] [@SERVER...]`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) names: Vec<String>,
    pub(super) types: Vec<RecordType>,
    pub(super) servers: Vec<String>,
}

impl Words {
    /// The first word is a name, whatever it is; after it the types of records are types, in upper or lower case.
    pub(super) fn of(words: &[String]) -> Self {
        let mut all = Self::default();
        for word in words {
            if let Some(server) = word.strip_prefix('@') {
                all.servers.push(server.to_owned());
            } else if let Some(record_type) = record_type(word).filter(|_| !all.names.is_empty()) {
                if !all.types.contains(&record_type) {
                    all.types.push(record_type);
                }
            } else {
                all.names.push(word.clone());
            }
        }
        all
    }

    /// What to tell somebody who has most likely meant a name for a type: `dig` takes types in any place.
    pub(super) fn advice(&self) -> Option<String> {
        let (first, others) = self.names.split_first()?;
        if let (Some(kind), Some(name)) = (record_type(first), others.first()) {
            return Some(format!(
                "{first} is looked up as a name: a type follows the name, as in `{name} {kind}`"
            ));
        }
        let is_upper = |name: &&String| {
            name.bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
        };
        let unknown = others.iter().find(is_upper)?;
        Some(format!(
            "{unknown} is looked up as a name: there is no record type of this name (others are written TYPE and their number)"
        ))
    }
}

/// A word that can only be a type: names of hosts are seldom `mx`.
fn record_type(word: &str) -> Option<RecordType> {
    word.parse()
        .ok()
        .filter(|record_type| *record_type != RecordType::OPT)
}

/// The name of a word: as in a zone file, or of letters beyond ASCII (IDNA), which become `xn--`.
///
/// # Errors
/// What is wrong with it.
pub(super) fn name(text: &str) -> anyhow::Result<Name> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        anyhow::bail!("an address, not a name: sockeye resolve -x {ip} looks up its names");
    }
    anyhow::ensure!(
        !text.contains(':'),
        "records belong to a name alone, without transport and port (a colon in a name is written \\058)"
    );
    if text.is_ascii() {
        return Ok(text.parse()?);
    }
    let host: HostName = text.parse()?;
    Ok(Name::try_from(&host)?)
}

/// The addresses of a server: `192.0.2.53`, `[2001:db8::53]:5353`, `dns.example`.
///
/// # Errors
/// When the text is no server, or its name has no address.
pub(super) fn server(text: &str, port: u16, timeout: Duration) -> anyhow::Result<Vec<SocketAddr>> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let defaults = TargetDefaults {
        transport: Some(Transport::Udp),
        port: Some(port),
    };
    let target = Target::parse_with(&names::bracketed(text), defaults).map_err(|error| {
        Failure::usage(format!(
            "@{text}: {} (a server is an address or a name, with or without a port: @192.0.2.53:5353)",
            place(&names::bracketed(text), error)
        ))
    })?;
    names::addresses(&target, timeout).with_context(|| format!("find the server @{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Words {
        Words::of(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn words_are_told_apart_by_their_form_and_place() {
        let all = words("a.test MX txt TYPE65 @::1 b.test @192.0.2.1:54");
        assert_eq!(all.names, ["a.test", "b.test"]);
        assert_eq!(all.types, [RecordType::MX, RecordType::TXT, RecordType::HTTPS]);
        assert_eq!(all.servers, ["::1", "192.0.2.1:54"]);
        assert_eq!(words("mx").names, ["mx"]);
        assert_eq!(words("@1.1.1.1 a a aaaa A").names, ["a"]);
        assert_eq!(
            words("@1.1.1.1 a a aaaa A").types,
            [RecordType::A, RecordType::AAAA]
        );
    }

    #[test]
    fn what_looks_like_a_type_and_is_none_is_told() {
        let advice = |text| words(text).advice().unwrap_or_default();
        assert!(advice("MX a.test").contains("`a.test MX`"));
        assert!(advice("a.test FOO").starts_with("FOO is looked up as a name"));
        for text in [
            "mx",
            "MX",
            "a.test MX",
            "a.test b.test TYPE65",
            "LOCALHOST",
            "@::1 a.test",
        ] {
            assert_eq!(advice(text), "", "{text}");
        }
    }

    #[test]
    fn names_of_other_scripts_are_put_into_ascii() {
        assert_eq!(
            name("Bücher.example").unwrap().to_string(),
            "xn--bcher-kva.example"
        );
        assert_eq!(name("_sip._udp.a.test").unwrap().to_string(), "_sip._udp.a.test");
        assert!(name("a..b").is_err() && name("\u{200b}.test").is_err());
        for text in ["192.0.2.1", "2001:db8::1", "a.test:80", "udp://a.test"] {
            assert!(name(text).is_err(), "{text}");
        }
    }

    #[test]
    fn servers_are_addresses_with_or_without_a_port() {
        let wait = Duration::from_secs(1);
        for (text, address) in [
            ("192.0.2.1", "192.0.2.1:53"),
            ("::1", "[::1]:53"),
            ("[::1]:54", "[::1]:54"),
            ("192.0.2.1:54", "192.0.2.1:54"),
        ] {
            assert_eq!(
                server(text, 53, wait).unwrap(),
                [address.parse().unwrap()],
                "{text}"
            );
        }
        for text in ["", "192.0.2.1:x", "a b", "127.1"] {
            assert!(server(text, 53, wait).is_err(), "{text}");
        }
    }
}
