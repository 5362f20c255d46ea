//! The client of the DNS: names, records and messages, without I/O.
pub mod answer;
mod cache;
pub mod engine;
mod index;
mod keyed;
pub mod message;
pub mod name;
mod random;
pub mod record;

pub use answer::{Answer, Carrier, Content, Finding, Origin, QueryError};
pub use cache::CacheOptions;
pub use engine::{
    DnsOptions, DnsStats, Engine, Event, LocalNames, LookupId, Request, Server, StartError, Transmit, Wanted,
};
pub use message::{Edns, Flags, Message, MessageError, Part, Question, ResponseCode};
pub use name::{Name, NameError};
pub use random::os_random;
pub use record::{Binding, Record, RecordData, RecordType, RecordTypeError, Soa};
