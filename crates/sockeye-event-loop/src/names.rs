//! Who answers for names: what a loop can be told, and what it says.
//!
//! A loop has a client of the DNS. [`ConnectRequest::to_target`](crate::ConnectRequest::to_target) connects to names by it,
//! [`Context::resolve`](crate::Context::resolve) looks up any records for a service, and
//! [`EventLoop::resolve`](crate::EventLoop::resolve) does so for the owner of the loop. By default it goes by resolv.conf and
//! the hosts file; [`EventLoop::set_names`](crate::EventLoop::set_names) changes that.
//!
//! ```
//! use sockeye_event_loop::names::{DnsConfig, NameSource};
//! use sockeye_event_loop::{Context, EventLoop, Stream, StreamOptions, StreamService};
//! use sockeye_resolver::dns::{Event, Request};
//!
//! struct Finder;
//!
//! impl StreamService for Finder {
//!     type Conn = ();
//!     fn on_open(&mut self, _: &mut Stream<'_>) {}
//!     fn on_data(&mut self, _: &mut Stream<'_>, _: &mut (), data: &mut [u8]) -> usize {
//!         data.len()
//!     }
//!
//!     // Twice for addresses: AAAA and A.
//!     fn on_answer(&mut self, context: &mut Context<'_>, event: Event) {
//!         match event.result {
//!             Ok(answer) => assert!(answer.addresses().all(|ip| ip.is_loopback())),
//!             Err(error) => eprintln!("{}: {error}", event.record_type),
//!         }
//!         if event.is_last {
//!             context.stop();
//!         }
//!     }
//! }
//!
//! let mut events = EventLoop::new()?;
//! events.set_names(NameSource::Dns(Box::new(DnsConfig::with_servers(["192.0.2.53:53".parse()?]))));
//! let finder = events.add_stream_service(Finder, StreamOptions::default());
//! let request = Request::addresses("localhost".parse()?);
//! // From outside of callbacks; a callback has its `Context` already.
//! events.with(finder, |_, context| context.resolve(request)).expect("it is this loop's")?;
//! events.run()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::net::SocketAddr;
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
    /// They are read again when they change. In a simulation there are no files, and so no name server: only `localhost` and
    /// what else RFC 6761 decides has an answer.
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
    /// These servers with the default options, and no hosts file.
    #[must_use]
    pub fn with_servers(servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self {
            options: DnsOptions::with_servers(servers),
            local: LocalNames::default(),
        }
    }

    /// What resolv.conf and the hosts file say.
    #[must_use]
    pub fn of(names: &SystemNames) -> Self {
        Self {
            options: DnsOptions::from_resolv_conf(&names.resolv_conf),
            local: LocalNames {
                hosts: Arc::clone(&names.hosts),
                ..LocalNames::default()
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
