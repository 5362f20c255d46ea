//! Names on the loop: the client of the DNS, driven by sockets of the loop's own backend.
//!
//! The engine of `sockeye-resolver` says what to send; two services of the loop, which every loop with the feature
//! `resolver` has, do it: one owns the datagram sockets, one the connections. So names are looked up in a simulation as on
//! the kernel, by the same code.

mod client;
mod services;

use std::any::TypeId;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use sockeye_resolver::dns::{DnsOptions, LocalNames, LookupId, Request, StartError};
use sockeye_resolver::files::SystemNames;

use crate::backend::Backend;
use crate::core::Core;
use crate::driver::{ForDatagrams, Messages, Streams};
use crate::host::Host;
use crate::options::StreamOptions;

pub(crate) use client::{Asker, Client, Shared, pump};
pub(crate) use services::{DnsDatagrams, DnsStreams};

/// Gives a loop its client, and the services that drive it.
pub(crate) fn install<B: Backend>(core: &mut Core<B>) {
    let client = unused();
    let datagrams = Box::new(Messages(ForDatagrams(DnsDatagrams(Rc::clone(&client)))));
    let datagrams = core.add_datagrams(datagrams, TypeId::of::<DnsDatagrams>());
    let streams = Box::new(Streams::new(DnsStreams::of(&client)));
    let streams = core.add_streams(
        streams,
        StreamOptions::default(),
        Some(TypeId::of::<DnsStreams>()),
    );
    client.replace(Client::new(datagrams, streams));
    core.inner.names = client;
}

/// What stands in the place of a client until its services are there.
pub(crate) fn unused() -> Shared {
    Rc::new(RefCell::new(Client::new(u16::MAX, u16::MAX)))
}

/// Begins a lookup.
pub(crate) fn resolve(host: &mut dyn Host, request: Request, asker: Asker) -> Result<LookupId, StartError> {
    let client = host.names();
    let id = client.borrow_mut().lookup(host, request, asker)?;
    pump(&client, host);
    Ok(id)
}

/// Gives a lookup up.
pub(crate) fn cancel(host: &mut dyn Host, id: LookupId) -> bool {
    let client = host.names();
    let known = client.borrow_mut().cancel(host, id);
    pump(&client, host);
    known
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
    Dns(DnsConfig),
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

/// Who is asked for names now, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameWay {
    /// The client of the DNS.
    Dns,
    /// The system's own resolver.
    System {
        /// Why: the source that nsswitch.conf asks for, or that it was chosen.
        because: String,
    },
}

impl NameWay {
    /// The system's own resolver, and why.
    #[must_use]
    pub fn system(because: impl Into<String>) -> Self {
        Self::System {
            because: because.into(),
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
    Given(DnsConfig),
}
