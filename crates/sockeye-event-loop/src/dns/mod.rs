//! Names on the loop: the client of the DNS, driven by sockets of the loop's own backend.
//!
//! The engine of `sockeye-resolver` says what to send; two services of the loop, which every loop with the feature
//! `resolver` has, do it: one owns the datagram sockets, one the connections. So names are looked up in a simulation as on
//! the kernel, by the same code.

mod client;
mod services;

use std::cell::RefCell;
use std::rc::Rc;

use sockeye_resolver::dns::{LookupId, Request, StartError};

pub(crate) use client::{Client, Shared, pump};
pub(crate) use services::{DnsDatagrams, DnsStreams};

use crate::host::Host;
use crate::names::Asker;

/// A client whose services have no places yet.
pub(crate) fn new_client() -> Shared {
    Rc::new(RefCell::new(Client::new()))
}

/// Begins a lookup.
pub(crate) fn resolve(
    client: &Shared,
    host: &mut dyn Host,
    request: Request,
    asker: Asker,
) -> Result<LookupId, StartError> {
    let id = client.borrow_mut().lookup(host, request, asker)?;
    pump(client, host);
    Ok(id)
}

/// Gives a lookup up.
pub(crate) fn cancel(client: &Shared, host: &mut dyn Host, id: LookupId) -> bool {
    let known = client.borrow_mut().cancel(host, id);
    pump(client, host);
    known
}
