//! What a router told of itself behind the quote of an error: MPLS labels and interfaces.

use std::net::IpAddr;

use sockeye_packet::{ExtensionObject, IcmpExtensions, InterfaceRole, MplsLabel};

use crate::trace::TraceMethod;
use crate::wire::{ECHO_HEADER_LEN, IcmpError};

/// Objects that are kept of one answer; more is noise or an attack.
const MAX_OBJECTS: usize = 16;
/// Routers that quote without saying how much put the extensions behind this many bytes (RFC 4884 section 5.5).
const CLASSIC_QUOTE: usize = 128;

/// The extensions of an answer; both lists are empty for most.
///
/// # References
/// RFC 4884, RFC 4950 (labels), RFC 5837 (interfaces).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// The MPLS label stack with which the probe arrived, outermost first.
    pub labels: Vec<MplsLabel>,
    /// The interfaces it passed.
    pub interfaces: Vec<Interface>,
}

/// An interface as a router tells of it; each part may be absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// What it was to the probe.
    pub role: InterfaceRole,
    /// Its SNMP index.
    pub index: Option<u32>,
    /// An address of it.
    pub address: Option<IpAddr>,
    /// Its name, with what is no UTF-8 replaced.
    pub name: Option<String>,
    /// Its MTU in bytes.
    pub mtu: Option<u32>,
}

impl Extensions {
    /// Whether the router told nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.interfaces.is_empty()
    }

    /// From a whole error message.
    pub(crate) fn of_message(error: &IcmpError<'_>) -> Self {
        error.extensions.map(Self::read).unwrap_or_default()
    }

    /// From an entry of the error queue, which holds what is quoted from the payload (UDP) or the ICMP header on, and
    /// does not say where the quote ends: only a structure with a right checksum at the classic place is believed.
    pub(crate) fn of_queued(v6: bool, method: TraceMethod, payload_len: usize, quoted: &[u8]) -> Self {
        let network = if v6 { 40 } else { 20 };
        let transport = match method {
            TraceMethod::Icmp => 0,
            TraceMethod::Udp | TraceMethod::Tcp { .. } => ECHO_HEADER_LEN,
        };
        let sent = match method {
            TraceMethod::Icmp => ECHO_HEADER_LEN + payload_len,
            TraceMethod::Udp | TraceMethod::Tcp { .. } => payload_len,
        };
        let at = CLASSIC_QUOTE - network - transport;
        // A longer probe puts its own bytes there.
        if sent > at {
            return Self::default();
        }
        match IcmpExtensions::at(quoted, at) {
            Ok(found) if found.stored_checksum() != 0 && found.checksum_ok() => Self::read(found),
            _ => Self::default(),
        }
    }

    fn read(found: IcmpExtensions<'_>) -> Self {
        if !found.checksum_ok() {
            return Self::default();
        }
        let mut extensions = Self::default();
        for object in found.take(MAX_OBJECTS).map_while(Result::ok) {
            match object {
                ExtensionObject::Mpls(_) => extensions.labels.extend(object.labels().take(MAX_OBJECTS)),
                ExtensionObject::Interface(info) => extensions.interfaces.push(Interface {
                    role: info.role,
                    index: info.index,
                    address: info.address,
                    name: info.name.map(|name| String::from_utf8_lossy(name).into_owned()),
                    mtu: info.mtu,
                }),
                _ => {}
            }
        }
        extensions
    }
}
