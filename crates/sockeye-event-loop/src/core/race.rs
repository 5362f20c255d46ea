//! The lookup of a name and the race of its addresses (RFC 8305).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sockeye_resolver::dns::{self, LookupId, RecordType};
use sockeye_resolver::happy_eyeballs::{Attempt, Event, HappyEyeballs, Outcome};
use sockeye_resolver::order::PolicyTable;
use sockeye_resolver::{AddressFamily, LookupError, Progress, Query};

use crate::connect::AddressFilter;
use crate::id::Token;
use crate::outcome::ConnectFault;

/// Who was asked.
#[derive(Debug)]
pub(super) enum Asked {
    /// The system, or nobody for an address.
    System(Query),
    /// The client of the DNS.
    Dns {
        lookup: LookupId,
        port: u16,
        /// Results that have come.
        arrived: Vec<dns::Event>,
    },
}

/// What has come of a family.
type Arrival = (AddressFamily, Result<Vec<SocketAddr>, Option<io::Error>>);

/// A lookup and the race of its addresses.
pub(crate) struct Race {
    pub(super) asked: Asked,
    pub(super) eyeballs: HappyEyeballs,
    pub(super) running: Vec<(Attempt, Token)>,
    pub(super) filter: Option<AddressFilter>,
    /// The filter has let an address not through.
    pub(super) filtered: bool,
    /// Why the last family has no addresses.
    pub(super) unresolved: Option<io::Error>,
}

impl std::fmt::Debug for Race {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Race")
            .field("eyeballs", &self.eyeballs)
            .field("running", &self.running)
            .finish_non_exhaustive()
    }
}

impl Race {
    /// Hands the answers that have come to the race. `source_of` gives the address that packets to another would leave from.
    pub(super) fn take_answers(
        &mut self,
        now: Duration,
        mut source_of: impl FnMut(SocketAddr) -> Option<IpAddr>,
    ) {
        for (family, result) in self.arrived() {
            match result {
                Ok(mut addresses) => {
                    if let Some(filter) = &self.filter {
                        let before = addresses.len();
                        addresses.retain(|address| filter(address.ip()));
                        self.filtered |= addresses.len() < before;
                    }
                    let ordered =
                        sockeye_resolver::order_by(&addresses, &PolicyTable::default(), &mut source_of);
                    let addresses = ordered.into_iter().map(|resolved| resolved.address).collect();
                    self.eyeballs.on(now, Event::Addresses(family, addresses));
                }
                Err(error) => {
                    self.unresolved = error.or(self.unresolved.take());
                    self.eyeballs.on(now, Event::NoAddresses(family));
                }
            }
        }
    }

    /// What has come, by family; an error of `None` says that there is nothing to wait for.
    fn arrived(&mut self) -> Vec<Arrival> {
        match &mut self.asked {
            Asked::System(query) => {
                let mut all = Vec::new();
                loop {
                    match query.poll() {
                        Progress::Answer(answer) => {
                            let result = answer.result.map_err(|error| Some(io::Error::other(error)));
                            all.push((answer.family, result));
                        }
                        Progress::Pending => return all,
                        Progress::Done => {
                            // A numeric target has one family: of the other there is nothing to wait for.
                            all.push((AddressFamily::V4, Err(None)));
                            all.push((AddressFamily::V6, Err(None)));
                            return all;
                        }
                    }
                }
            }
            Asked::Dns { port, arrived, .. } => {
                let port = *port;
                let events = std::mem::take(arrived);
                let last = events.iter().any(|event| event.is_last);
                let mut all: Vec<_> = events.into_iter().map(|event| by_family(event, port)).collect();
                if last {
                    // With `no-aaaa` one family is all there is.
                    all.push((AddressFamily::V4, Err(None)));
                    all.push((AddressFamily::V6, Err(None)));
                }
                all
            }
        }
    }

    /// Why it came to nothing; `None` leaves it to the last address's error.
    pub(super) fn fault(&mut self, outcome: Outcome) -> Option<ConnectFault> {
        match outcome {
            Outcome::TimedOut => Some(ConnectFault::TimedOut),
            Outcome::NoAddresses => Some(match self.unresolved.take() {
                // The name does have an address: that the other family has none is not why.
                Some(error) if !self.filtered => ConnectFault::Unresolved(error),
                _ => ConnectFault::NoAddress,
            }),
            _ => None,
        }
    }
}

fn by_family(event: dns::Event, port: u16) -> Arrival {
    let family = match event.record_type {
        RecordType::AAAA => AddressFamily::V6,
        _ => AddressFamily::V4,
    };
    let result = match event.result {
        Ok(answer) => {
            let addresses: Vec<_> = answer.addresses().map(|ip| SocketAddr::new(ip, port)).collect();
            if addresses.is_empty() {
                Err(Some(io::Error::other(LookupError::NotFound)))
            } else {
                Ok(addresses)
            }
        }
        Err(error) => Err(Some(io::Error::other(error))),
    };
    (family, result)
}
