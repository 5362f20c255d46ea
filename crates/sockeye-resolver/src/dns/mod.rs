//! The client of the DNS: names, records and messages, without I/O.
pub mod message;
pub mod name;
pub mod record;

pub use message::{Edns, Flags, Message, MessageError, Part, Question, ResponseCode};
pub use name::{Name, NameError};
pub use record::{Binding, Record, RecordData, RecordType, RecordTypeError, Soa};
