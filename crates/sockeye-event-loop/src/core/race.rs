//! The lookup of a name and the race of its addresses (RFC 8305).

use std::io;
use std::time::Duration;

use sockeye_resolver::happy_eyeballs::{Attempt, Event, HappyEyeballs, Outcome};
use sockeye_resolver::order::PolicyTable;
use sockeye_resolver::{AddressFamily, LookupError, Progress, Query};

use crate::connect::AddressFilter;
use crate::id::Token;
use crate::outcome::ConnectFault;

/// A lookup and the race of its addresses.
pub(crate) struct Race {
    pub(super) query: Query,
    pub(super) eyeballs: HappyEyeballs,
    pub(super) running: Vec<(Attempt, Token)>,
    pub(super) filter: Option<AddressFilter>,
    /// Why the last family has no addresses.
    pub(super) unresolved: Option<LookupError>,
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
    pub(super) fn take_answers(&mut self, now: Duration) {
        loop {
            let mut answer = match self.query.poll() {
                Progress::Answer(answer) => answer,
                Progress::Pending => return,
                Progress::Done => {
                    // A numeric target has one family: of the other there is nothing to wait for.
                    self.eyeballs.on(now, Event::NoAddresses(AddressFamily::V4));
                    return self.eyeballs.on(now, Event::NoAddresses(AddressFamily::V6));
                }
            };
            match &mut answer.result {
                Ok(addresses) => {
                    if let Some(filter) = &self.filter {
                        addresses.retain(|address| filter(address.ip()));
                    }
                    let ordered = sockeye_resolver::order(addresses, &PolicyTable::default());
                    *addresses = ordered.into_iter().map(|resolved| resolved.address).collect();
                }
                Err(error) => self.unresolved = Some(*error),
            }
            self.eyeballs.on(now, answer.into());
        }
    }

    /// Why it came to nothing; `None` leaves it to the last address's error.
    pub(super) fn fault(&mut self, outcome: Outcome) -> Option<ConnectFault> {
        match outcome {
            Outcome::TimedOut => Some(ConnectFault::TimedOut),
            Outcome::NoAddresses => Some(match self.unresolved.take() {
                Some(error) => ConnectFault::Unresolved(io::Error::other(error)),
                None => ConnectFault::NoAddress,
            }),
            _ => None,
        }
    }
}
