//! Who answers for names: what a loop can be told, and what it says.

use std::sync::Arc;

use sockeye_resolver::dns::{DnsOptions, LocalNames};
use sockeye_resolver::files::SystemNames;

pub use sockeye_resolver::files::Way;

use crate::connect::ConnectId;

/// Who waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    /// A connect to a name.
    Connect(ConnectId),
    /// A service as a whole.
    Service(u16),
    /// Whoever owns the loop.
    Owner,
}

/// Who answers for names.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum NameSource {
    /// As the files of this machine say: the DNS and the hosts file, if nsswitch.conf asks for nothing else, else the system.
    /// They are read again when they change. In a simulation: what the simulated host was given.
    #[default]
    Auto,
    /// The system's own resolver (getaddrinfo(3)), on threads.
    System,
    /// These servers and this hosts file.
    Dns(Box<DnsConfig>),
}

/// Whom to ask, and what is known without asking.
#[derive(Clone, Debug, Default)]
pub struct DnsConfig {
    /// Servers, search list, timeouts, cache.
    pub options: DnsOptions,
    /// The hosts file.
    pub local: LocalNames,
}

impl DnsConfig {
    /// What resolv.conf and the hosts file say.
    #[must_use]
    pub fn of(names: &SystemNames) -> Self {
        Self {
            options: DnsOptions::from_resolv_conf(&names.resolv_conf),
            local: LocalNames {
                hosts: Arc::clone(&names.hosts),
            },
        }
    }
}

/// What a backend's host knows of names.
#[derive(Debug)]
#[non_exhaustive]
pub enum HostNames {
    /// The files of this machine.
    Machine,
    /// What a simulated host was given.
    Given(Box<DnsConfig>),
}
