//! Internet endpoints: transports, addresses, zones, ports, services, networks and what they are for.
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod endpoint;
mod error;
mod parse;
pub mod services;
mod transport;
mod zone;

pub use endpoint::{Endpoint, FlowInfoLost, UnresolvedZone};
pub use error::{ParseError, ParseErrorKind};
pub use services::ServiceName;
pub use transport::Transport;
pub use zone::{Zone, ZoneName};
