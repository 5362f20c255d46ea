//! The small services of the early Internet, on the event loop.
//!
//! | module | what |
//! |---|---|
//! | `streams` | on connections: echo (RFC 862), discard (863), chargen (864), and [`Said`] |
//! | `datagrams` | the same in datagrams: who may have an answer, and how long it may be |
//! | `message` | [`Said`]: what those have to say that answer once: qotd (865), active users (866), daytime (867), time (868) |
//! | `sockperf` | what a server of sockperf does |
//! | `quotes`, `users` | where quotes and users come from |
//!
//! They are in the program because each of them is a few lines on the loop. What another program could use of them is in
//! `sockeye-event-loop`: `ReflectorGuard`, which keeps their datagrams from being used against others.

mod datagrams;
mod message;
mod quotes;
mod sockperf;
mod streams;
mod users;

pub(crate) use datagrams::{Answering, Answers, Silent};
pub(crate) use message::{Message, Said};
pub(crate) use quotes::Quotes;
pub(crate) use sockperf::Sockperf;
pub(crate) use streams::{Chargen, Discard, Echo};
pub(crate) use users::{UTMP, Users};

/// What a service has sent, for those who count it.
pub(crate) trait Sends {
    /// Bytes and datagrams since the last time, of a callback that was through with so many bytes.
    fn sent(&mut self, consumed: usize) -> (u64, u64);
}
