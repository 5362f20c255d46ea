//! Names of backends, looked up again and again.

use std::time::Duration;

use sockeye_endpoint::{Address, Target};
use sockeye_event_loop::Time;

use crate::config::{NameRules, reaches};
use crate::names::Names;
use crate::shared::Shared;

/// Between two questions whether an answer has come.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// One name.
#[derive(Debug)]
struct Lookup {
    target: Target,
    /// When it is looked up next.
    next: Time,
    /// Until when an answer is awaited.
    awaited_until: Option<Time>,
}

/// All names of the configuration, and who knows them.
pub(crate) struct Lookups {
    names: Box<dyn Names>,
    rules: NameRules,
    lookups: Vec<Lookup>,
    pub(crate) failed: u64,
}

impl Lookups {
    pub(crate) fn new(names: Box<dyn Names>) -> Self {
        Self {
            names,
            rules: NameRules::default(),
            lookups: Vec::new(),
            failed: 0,
        }
    }

    /// Takes over the names of a new configuration; those that are known already keep their times.
    pub(crate) fn reload(&mut self, shared: &Shared, rules: NameRules, now: Time) {
        self.rules = rules;
        let mut wanted: Vec<Target> = Vec::new();
        for (_, pool) in &shared.pools {
            for (_, backend) in pool.backends() {
                if let Address::Ip { endpoint, .. } = &backend.config.at
                    && endpoint.endpoint().is_none()
                {
                    wanted.push(endpoint.clone());
                }
            }
        }
        wanted.sort();
        wanted.dedup();
        self.lookups
            .retain(|lookup| wanted.binary_search(&lookup.target).is_ok());
        let known: Vec<Target> = self.lookups.iter().map(|lookup| lookup.target.clone()).collect();
        for target in wanted {
            if !known.contains(&target) {
                self.lookups.push(Lookup {
                    target,
                    next: now,
                    awaited_until: None,
                });
            }
        }
        // A backend that is new may have a name that is known: it must not wait for an interval.
        self.lookups.iter_mut().for_each(|lookup| lookup.next = now);
    }

    /// Begins and ends lookups. Says how long to wait for the next time, if ever, and whether addresses have changed.
    pub(crate) fn drive(&mut self, shared: &mut Shared, now: Time) -> (Option<Duration>, bool) {
        let mut changed = false;
        let mut wait: Option<Duration> = None;
        for lookup in &mut self.lookups {
            if lookup.awaited_until.is_none() && lookup.next <= now {
                self.names.start(&lookup.target, self.rules.deadline);
                lookup.awaited_until = Some(now + self.rules.deadline);
            }
            if let Some(until) = lookup.awaited_until {
                let answer = self.names.poll(&lookup.target);
                let late = until <= now;
                if let Some(Ok(addresses)) = &answer
                    && !addresses.is_empty()
                {
                    set_addresses(shared, &lookup.target, addresses);
                    changed = true;
                } else if answer.is_some() || late {
                    self.failed += 1;
                }
                if answer.is_some() || late {
                    lookup.awaited_until = None;
                    lookup.next = now + self.rules.interval;
                }
            }
            let next = match lookup.awaited_until {
                Some(_) => ASK_AGAIN,
                None => lookup.next.since(now).max(Duration::from_millis(1)),
            };
            wait = Some(wait.map_or(next, |wait| wait.min(next)));
        }
        (wait, changed)
    }
}

/// Gives a name's addresses to its backends, those apart that lead back to a listener.
fn set_addresses(shared: &mut Shared, target: &Target, addresses: &[std::net::SocketAddr]) {
    let listeners: Vec<_> = shared
        .listeners
        .iter()
        .filter_map(|(_, listener)| match &listener.config.at {
            Address::Ip { endpoint, .. } => Some(*endpoint),
            Address::Unix(_) => None,
        })
        .filter(|endpoint| endpoint.transport() == target.transport() && endpoint.port() == target.port())
        .collect();
    let in_circles =
        |address: &std::net::SocketAddr| listeners.iter().any(|listener| reaches(listener, address.ip()));
    let addresses: Vec<_> = addresses
        .iter()
        .copied()
        .filter(|address| !in_circles(address))
        .collect();
    for (_, pool) in &mut shared.pools {
        pool.set_addresses(target, &addresses);
    }
}
