//! Which way names are looked up: by the DNS, or by whatever else the system knows.

use std::fmt;

use super::nsswitch::{Action, Entry, NsSwitch, Source};
use super::system::SystemNames;

/// Which way names are looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// By the hosts file and the DNS: a client of the DNS gives the answers that other programs get.
    Dns,
    /// By the system's resolver, getaddrinfo(3).
    System {
        /// Why: what nsswitch.conf asks for besides, or that it was chosen.
        because: String,
    },
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns => f.write_str("hosts file and DNS"),
            Self::System { because } => write!(f, "getaddrinfo ({because})"),
        }
    }
}

impl SystemNames {
    /// Which way leads to the answers that other programs on this machine get.
    ///
    /// [`Way::Dns`] if nsswitch.conf asks for `files` and then `dns`, as it does where it is missing. Anything else is the
    /// system's: further sources ([`NsSwitch::needs_system`]), `dns` before `files` or without it, and actions that
    /// make a difference between the two.
    #[must_use]
    pub fn way(&self) -> Way {
        if let Some(source) = self.nsswitch.needs_system() {
            Way::System {
                because: format!("nsswitch.conf asks for {source}"),
            }
        } else if asks_files_then_dns(&self.nsswitch) {
            Way::Dns
        } else {
            Way::System {
                because: "nsswitch.conf does not ask for files and then for dns".to_owned(),
            }
        }
    }
}

/// Whether an address in the hosts file ends the search, and everything else leads to the DNS, which ends it.
fn asks_files_then_dns(switch: &NsSwitch) -> bool {
    let [files, dns, rest @ ..] = switch.entries.as_slice() else {
        return false;
    };
    let is_plain = |entry: &Entry| {
        let actions = entry.actions;
        actions.success == Action::Return
            && actions.not_found == Action::Continue
            && actions.unavailable == Action::Continue
    };
    let is_last = rest.is_empty() || dns.actions.ends();
    files.source == Source::Files && is_plain(files) && dns.source == Source::Dns && is_last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_is_the_dns_where_nothing_else_is_asked() {
        for (line, because) in [
            ("", None),
            ("hosts: files dns", None),
            ("hosts: files dns [!UNAVAIL=return]", None),
            ("hosts: files [TRYAGAIN=return] dns [SUCCESS=continue]", None),
            ("hosts: files dns [!SUCCESS=return] ldap", None),
            (
                "hosts: files mdns4_minimal [NOTFOUND=return] dns",
                Some("mdns4_minimal"),
            ),
            (
                "hosts: files myhostname resolve [!UNAVAIL=return] dns",
                Some("myhostname"),
            ),
            ("hosts: files dns ldap", Some("ldap")),
            ("hosts: dns files", Some("files and then")),
            ("hosts: dns", Some("files and then")),
            ("hosts: files", Some("files and then")),
            ("hosts:", Some("files and then")),
            ("hosts: files [NOTFOUND=return] dns", Some("files and then")),
            ("hosts: files [SUCCESS=merge] dns", Some("files and then")),
            ("hosts: files dns files", Some("files and then")),
        ] {
            let names = SystemNames {
                nsswitch: NsSwitch::parse(line.as_bytes()),
                ..SystemNames::default()
            };
            match (names.way(), because) {
                (Way::Dns, None) => {}
                (way @ Way::System { .. }, Some(word)) => {
                    assert!(way.to_string().contains(word), "{line}: {way}")
                }
                (way, _) => panic!("{line}: {way}"),
            }
        }
    }
}
