//! The format of `/etc/services`, for who asks for it: parsing only, the file is the caller's to read.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use crate::transport::Transport;

/// One service of an `/etc/services` file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EtcService {
    /// The official name, as the file spells it.
    pub name: String,
    /// The other names.
    pub aliases: Vec<String>,
    /// The transport: rows of other protocols are not kept.
    pub transport: Transport,
    /// The port in host byte order.
    pub port: u16,
}

/// The services of an `/etc/services` file, in its order.
///
/// ```
/// use sockeye_endpoint::{Transport, services::EtcServices};
///
/// let services = EtcServices::parse("smtp 25/tcp mail # electronic mail\nbroken line\n");
/// assert_eq!(services.port(Transport::Tcp, "mail"), Some(25));
/// assert_eq!(services.name(Transport::Tcp, 25), Some("smtp"));
/// assert_eq!(services.skipped(), 1);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EtcServices {
    services: Vec<EtcService>,
    skipped: usize,
}

impl EtcServices {
    /// The most services that are kept of one file.
    pub const MAX_SERVICES: usize = 65_536;

    /// Reads the text of such a file: name, `port/protocol`, aliases, `#` begins a comment. A line that is not of this
    /// form is counted and left out, as the C library does.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut parsed = Self::default();
        for line in text.lines() {
            let mut words = line
                .split('#')
                .next()
                .unwrap_or_default()
                .split_ascii_whitespace();
            let Some(name) = words.next() else { continue };
            let row = words.next().and_then(|word| word.split_once('/'));
            let service = row.and_then(|(port, protocol)| {
                let transport = match protocol {
                    "tcp" => Transport::Tcp,
                    "udp" => Transport::Udp,
                    "udplite" => Transport::UdpLite,
                    _ => return None,
                };
                let port = crate::parse::port(port.as_bytes(), 0).ok()?;
                let aliases = words.map(ToOwned::to_owned).collect();
                Some(EtcService {
                    name: name.to_owned(),
                    aliases,
                    transport,
                    port,
                })
            });
            match service {
                Some(service) if parsed.services.len() < Self::MAX_SERVICES => parsed.services.push(service),
                _ => parsed.skipped += 1,
            }
        }
        parsed
    }

    /// The first port that the file has for a name or an alias, compared as they are spelled.
    #[must_use]
    pub fn port(&self, transport: Transport, name: &str) -> Option<u16> {
        let named = |service: &&EtcService| {
            service.transport == transport
                && (service.name == name || service.aliases.iter().any(|alias| alias == name))
        };
        self.services.iter().find(named).map(|service| service.port)
    }

    /// The first name that the file has for a port.
    #[must_use]
    pub fn name(&self, transport: Transport, port: u16) -> Option<&str> {
        let on = |service: &&EtcService| service.transport == transport && service.port == port;
        self.services.iter().find(on).map(|service| service.name.as_str())
    }

    /// The services in the file's order.
    #[must_use]
    pub fn services(&self) -> &[EtcService] {
        &self.services
    }

    /// How many lines were not of the form, or of a protocol without a [`Transport`] of its own.
    #[must_use]
    pub fn skipped(&self) -> usize {
        self.skipped
    }
}
