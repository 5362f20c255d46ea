//! A client of the DNS: names, records and messages; the engine, without I/O; and a client that blocks.
//!
//! | type | what it is |
//! |---|---|
//! | [`Client`] | asks and waits, on the caller's thread |
//! | [`Engine`], [`Request`], [`Event`] | the same as a state machine: for loops and simulations |
//! | [`DnsOptions`], [`Server`], [`LocalNames`] | whom to ask, and what is known without asking |
//! | [`Answer`], [`Content`], [`QueryError`] | what became of a question |
//! | [`Name`], [`Record`], [`RecordType`], [`Message`] | what messages are made of |

pub mod answer;
mod cache;
mod client;
pub(crate) mod clients;
pub mod engine;
mod index;
mod keyed;
pub mod message;
pub mod name;
mod random;
pub mod record;

pub use answer::{Answer, Carrier, Content, Finding, Origin, QueryError};
pub use cache::CacheOptions;
pub use client::{Addresses, Client};
pub use engine::{
    DnsOptions, DnsStats, Engine, Event, LocalNames, LookupId, Request, Server, StartError, Transmit, Wanted,
};
pub use message::{Edns, Flags, Message, MessageError, Part, Question, ResponseCode};
pub use name::{Name, NameError};
pub use random::os_random;
pub use record::{Binding, Record, RecordData, RecordType, RecordTypeError, Soa};
