//! What a host knows itself: the hosts file, and the names that RFC 6761 sets apart.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use sockeye_socket::os::AddressFamily;

use crate::dns::answer::{Carrier, Content, Origin};
use crate::dns::message::{Flags, ResponseCode};
use crate::dns::name::Name;
use crate::dns::record::{Record, RecordData, RecordType};
use crate::files::Hosts;

/// The names that are answered without a server.
#[derive(Clone, Debug, Default)]
pub struct LocalNames {
    /// The hosts file.
    pub hosts: Arc<Hosts>,
    /// Ask the servers for `localhost` and the names below `invalid` too: for a tool that shows what a server says.
    pub asks_for_reserved: bool,
}

impl LocalNames {
    /// What this host knows of a name. Addresses are all of the hosts file's, or those of `localhost` and the names below it;
    /// below `invalid` there is nothing.
    ///
    /// `localhost` has addresses of both families (RFC 6761 section 6.3), also where the hosts file has one of them only, as
    /// many do.
    pub(crate) fn answer(&self, name: &Name, record_type: RecordType) -> Option<(Arc<Content>, Origin)> {
        let last = name.labels().last();
        let is_localhost =
            !self.asks_for_reserved && last.is_some_and(|label| label.eq_ignore_ascii_case(b"localhost"));
        let in_hosts = self.in_hosts(name, record_type);
        if let Some(found) = in_hosts.filter(|found| !found.is_empty() || !is_localhost) {
            return Some((content(ResponseCode::NO_ERROR, found), Origin::Hosts));
        }
        if is_localhost {
            let data = match record_type {
                RecordType::A => Some(RecordData::A(Ipv4Addr::LOCALHOST)),
                RecordType::AAAA => Some(RecordData::Aaaa(Ipv6Addr::LOCALHOST)),
                _ => None,
            };
            let records = data
                .map(|data| Record::new(name.clone(), 0, data))
                .into_iter()
                .collect();
            return Some((content(ResponseCode::NO_ERROR, records), Origin::SpecialUse));
        }
        if !self.asks_for_reserved && last?.eq_ignore_ascii_case(b"invalid") {
            return Some((content(ResponseCode::NAME_ERROR, Vec::new()), Origin::SpecialUse));
        }
        None
    }

    /// Whether nothing is known of a name, as far as that can be told at once: the file does not have it, and the last label has
    /// neither the length of `localhost` nor that of `invalid`.
    pub(crate) fn surely_lacks(&self, name: &Name, record_type: RecordType) -> bool {
        let wire = name.as_wire();
        let ends_in = |len: u8| {
            let at = wire.len().checked_sub(usize::from(len) + 2);
            at.is_some_and(|at| wire.get(at) == Some(&len))
        };
        let may_be_in_file = || {
            record_type == RecordType::PTR || HostText::of(name).is_some_and(|text| text.is_in(&self.hosts))
        };
        !ends_in(9) && !ends_in(7) && (self.hosts.is_empty() || !may_be_in_file())
    }

    /// `None` of a name that the file does not have. One that it has in one family only has an empty list in the other.
    fn in_hosts(&self, name: &Name, record_type: RecordType) -> Option<Vec<Record>> {
        if self.hosts.is_empty() {
            return None;
        }
        let record = |data| Record::new(name.clone(), 0, data);
        let family = match record_type {
            RecordType::A => AddressFamily::V4,
            RecordType::AAAA => AddressFamily::V6,
            RecordType::PTR => {
                let names = self.hosts.names(name.reversed()?);
                let pointers = names.filter_map(|text| text.parse().ok()).map(RecordData::Ptr);
                let pointers: Vec<Record> = pointers.map(record).collect();
                return (!pointers.is_empty()).then_some(pointers);
            }
            _ => return None,
        };
        let text = HostText::of(name)?;
        let addresses = self
            .hosts
            .addresses(text.as_str(), family)
            .map(|address| match address.ip() {
                IpAddr::V4(ip) => RecordData::A(ip),
                IpAddr::V6(ip) => RecordData::Aaaa(ip),
            });
        text.is_in(&self.hosts).then(|| addresses.map(record).collect())
    }
}

fn content(code: ResponseCode, records: Vec<Record>) -> Arc<Content> {
    Arc::new(Content {
        code,
        records,
        authorities: Vec::new(),
        flags: Flags::default(),
        server: None,
        carrier: Carrier::Udp,
    })
}

/// A name as a hosts file has it: in lower case, on the stack.
struct HostText {
    bytes: [u8; 255],
    len: usize,
}

impl HostText {
    /// `None` of a name with bytes that no name of the file has.
    fn of(name: &Name) -> Option<Self> {
        let mut text = Self {
            bytes: [0; 255],
            len: 0,
        };
        for label in name.labels() {
            let dot = usize::from(text.len > 0);
            let to = text.bytes.get_mut(text.len..text.len + dot + label.len())?;
            let (before, to) = to.split_at_mut_checked(dot)?;
            before.fill(b'.');
            to.copy_from_slice(label);
            to.make_ascii_lowercase();
            let is_of_hosts = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            if !to.iter().all(is_of_hosts) {
                return None;
            }
            text.len += dot + label.len();
        }
        Some(text)
    }

    fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..self.len).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    fn is_in(&self, hosts: &Hosts) -> bool {
        hosts.contains(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local() -> LocalNames {
        let hosts = Hosts::parse(b"192.0.2.1 web.test My_Host\n", |_| None);
        LocalNames {
            hosts: Arc::new(hosts),
            ..LocalNames::default()
        }
    }

    #[test]
    fn what_is_surely_lacked_is_not_answered() {
        let texts = [
            "web.test",
            "WEB.Test",
            "my_host",
            "other.test",
            "localhost",
            "a.invalid",
            r"we\.b.test",
            ".",
            "1.2.0.192.in-addr.arpa",
            "2.2.0.192.in-addr.arpa",
        ];
        for text in texts {
            let name: Name = text.parse().unwrap();
            for record_type in [RecordType::A, RecordType::AAAA, RecordType::PTR, RecordType::TXT] {
                for local in [local(), LocalNames::default()] {
                    let lacks = local.surely_lacks(&name, record_type);
                    let answer = local.answer(&name, record_type);
                    assert!(!lacks || answer.is_none(), "{text} {record_type}");
                }
            }
        }
        let [other, web] = ["other.test", "Web.test"].map(|text| text.parse::<Name>().unwrap());
        assert!(local().surely_lacks(&other, RecordType::A) && !local().surely_lacks(&web, RecordType::A));
        assert!(local().answer(&web, RecordType::A).is_some());
    }
}
