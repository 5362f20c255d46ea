//! Internet endpoints: transports, addresses, zones, ports, services, networks and what they are for.
//!
//! An [`Endpoint`] is a transport, an address with its zone, and a port; a [`Target`] is the same before its name is
//! resolved. Both are text first:
//!
//! ```
//! use sockeye_endpoint::{Endpoint, ParseErrorKind, Target, Transport, endpoint};
//!
//! let web: Endpoint = "tcp://127.0.0.1:80".parse()?;
//! let dns = endpoint!("udp://[fe80::1%eth0]:53"); // checked when this is compiled
//! let ospf: Endpoint = "ip+89://10.0.0.1".parse()?;
//! let named: Target = "localhost:http".parse()?;
//! assert_eq!((web.port(), dns.transport(), ospf.transport()), (80, Transport::Udp, Transport::Ip(89)));
//! assert_eq!(named.to_string(), "tcp://localhost:80");
//!
//! // Texts that resolvers, browsers and validators read differently are errors that say where and why.
//! let error = "tcp://0177.0.0.1:80".parse::<Endpoint>().unwrap_err();
//! assert_eq!((error.kind, error.at), (ParseErrorKind::LeadingZero, 6));
//! # Ok::<(), sockeye_endpoint::ParseError>(())
//! ```
//!
//! Nothing here does I/O, makes a system call or panics on any input; parsing an endpoint, classifying an address and
//! looking up a service allocate nothing. The types of `core::net` are the currency.
//!
//! | module or type | what it is |
//! |---|---|
//! | [`Endpoint`], [`endpoint!`], [`Transport`], [`Zone`] | where something can be reached |
//! | [`Target`], [`Host`], [`HostName`] | where to connect, not resolved yet |
//! | [`Address`], [`Carrier`], [`Scheme`], [`UnixName`] | what a program takes as an address: an endpoint, one behind TLS or QUIC, a Unix socket |
//! | [`ServiceName`], [`services`] | what ports stand for, from IANA's registry |
//! | [`special`], [`reachability`], [`multicast_scope`], [`embedded_ipv4`] | what addresses are for, from IANA's registries |
//! | [`PublicOnly`] | a policy that lets through public addresses only |
//! | [`Network`], [`AddressRange`], [`NetSet`], `NetMap` | networks, ranges of addresses, sets of them, longest-prefix match |
//! | [`parse_ip`], [`parse_scoped_ip`], [`parse_socket_addr`] | strict parsers of std's types |
//! | [`PortSet`] | sets of ports |
//! | [`ParseError`] | what is wrong with a text, and at which byte |
//!
//! # Features
//!
//! `std` (default), without which this is `no_std` with `alloc`; `serde`: every type with a text as that text; `idna`:
//! international host names; `lpm`: `NetMap`; `services-full`: every row of the service registry.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod address;
mod address_range;
mod classify;
mod endpoint;
mod error;
#[cfg(feature = "lpm")]
mod lpm;
mod net_set;
mod network;
mod parse;
mod port_set;
mod public_only;
mod ranges;
#[cfg(feature = "serde")]
mod serde_text;
pub mod services;
mod special;
mod strict;
mod target;
mod transport;
mod unix_name;
mod zone;

pub use address::{Address, Carrier, NotServed, Place, Scheme};
pub use address_range::AddressRange;
pub use classify::{
    Embedded, MulticastScope, Reachability, embedded_ipv4, is_globally_reachable, multicast_scope,
    nat64_ipv4, reachability,
};
pub use endpoint::{Endpoint, FlowInfoLost, UnresolvedZone};
pub use error::{ParseError, ParseErrorKind};
/// The crate whose types [`Network`] converts to and from.
pub use ipnet;
#[cfg(feature = "lpm")]
pub use lpm::NetMap;
pub use net_set::NetSet;
pub use network::Network;
pub use port_set::{PortRange, PortSet};
pub use public_only::{NotPublic, PublicOnly, Refusal};
pub use services::ServiceName;
pub use special::{SPECIAL_DATE, Special, special, special_blocks};
pub use strict::{parse_ip, parse_scoped_ip, parse_socket_addr};
pub use target::{Host, HostName, Target, TargetDefaults};
pub use transport::Transport;
pub use unix_name::UnixName;
pub use zone::{Zone, ZoneName};
