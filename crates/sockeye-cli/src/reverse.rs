//! Names of addresses, found while the output goes on: nobody waits for them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use sockeye::event_loop::EventLoop;
use sockeye::resolver::dns::{LookupId, Name, RecordData, RecordType, Request};

/// How long a name may take to be of use.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Addresses whose names are looked up; those after them have none.
const MAX_ADDRESSES: usize = 4_096;

/// The names of addresses, as far as they are known by now.
#[derive(Debug)]
pub(crate) struct ReverseNames {
    wanted: bool,
    asked: HashMap<LookupId, IpAddr>,
    names: HashMap<IpAddr, Option<String>>,
}

impl ReverseNames {
    /// Names, or none if they are not wanted.
    pub(crate) fn new(wanted: bool) -> Self {
        Self {
            wanted,
            asked: HashMap::new(),
            names: HashMap::new(),
        }
    }

    /// Looks names up from here on, if that was not wanted before.
    #[cfg(feature = "terminal")]
    pub(crate) const fn want(&mut self) {
        self.wanted = true;
    }

    /// Looks up the name of an address, unless that was done before.
    pub(crate) fn ask(&mut self, events: &mut EventLoop, ip: IpAddr) {
        if !self.wanted || self.names.contains_key(&ip) || self.names.len() >= MAX_ADDRESSES {
            return;
        }
        self.names.insert(ip, None);
        let request = Request::records(Name::reverse(ip), RecordType::PTR).within(TIMEOUT);
        if let Ok(id) = events.resolve(request) {
            self.asked.insert(id, ip);
        }
        self.take(events);
    }

    /// Takes in what has been found since.
    pub(crate) fn take(&mut self, events: &mut EventLoop) {
        while let Some(event) = events.next_answer() {
            let Some(ip) = self.asked.remove(&event.lookup) else {
                continue;
            };
            let Ok(answer) = event.result else { continue };
            let pointer = answer
                .content
                .records
                .iter()
                .find_map(|record| match &record.data {
                    RecordData::Ptr(name) => Some(name.to_string()),
                    _ => None,
                });
            self.names.insert(ip, pointer);
        }
    }

    /// The name of an address, if it is known by now.
    pub(crate) fn name(&self, ip: IpAddr) -> Option<&str> {
        self.names.get(&ip)?.as_deref()
    }

    /// `name (address)`, or the address alone.
    pub(crate) fn shown(&self, ip: IpAddr) -> String {
        match self.name(ip) {
            Some(name) => format!("{name} ({ip})"),
            None => ip.to_string(),
        }
    }
}
