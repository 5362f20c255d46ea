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
}

impl LocalNames {
    /// What this host knows of a name. Addresses are all of the hosts file's, or those of `localhost` and the names below it;
    /// below `invalid` there is nothing.
    ///
    /// `localhost` has addresses of both families (RFC 6761 section 6.3), also where the hosts file has one of them only, as
    /// many do.
    pub(crate) fn answer(&self, name: &Name, record_type: RecordType) -> Option<(Arc<Content>, Origin)> {
        let last = name.labels().last();
        let is_localhost = last.is_some_and(|label| label.eq_ignore_ascii_case(b"localhost"));
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
        if last?.eq_ignore_ascii_case(b"invalid") {
            return Some((content(ResponseCode::NAME_ERROR, Vec::new()), Origin::SpecialUse));
        }
        None
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
        let text = name.to_string();
        let addresses = self
            .hosts
            .addresses(&text, family)
            .map(|address| match address.ip() {
                IpAddr::V4(ip) => RecordData::A(ip),
                IpAddr::V6(ip) => RecordData::Aaaa(ip),
            });
        self.hosts
            .contains(&text)
            .then(|| addresses.map(record).collect())
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
