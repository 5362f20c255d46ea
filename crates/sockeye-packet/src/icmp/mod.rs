//! ICMP for both families: views, typed messages, quotes, extensions, builders.

mod build;
mod extensions;
mod mld;
mod ndp;
mod quoted;
mod v4;
mod v6;

pub use build::{ExtensionWriter, Icmpv4Builder, Icmpv6Builder};
pub use extensions::{ExtensionObject, IcmpExtensions, InterfaceInfo, InterfaceRole, MplsLabel};
pub use mld::{MldRecord, MldRecords, MulticastReport};
pub use ndp::{NeighbourOption, NeighbourOptions};
pub use quoted::{Quoted, QuotedTransport};
pub use v4::{Icmpv4, Icmpv4Message, icmpv4};
pub use v6::{Icmpv6, Icmpv6Message, icmpv6};

/// The header that all ICMP messages begin with, rest of header included, in bytes.
pub const ICMP_HEADER_LEN: usize = 8;
