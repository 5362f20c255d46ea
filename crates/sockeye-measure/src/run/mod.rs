//! The protocol of `sockeye bench server` and `sockeye bench client`.
//!
//! A run has one *control connection* and one or more *flows*. The control connection is a stream; it begins with
//! [`HELLO`] and then carries [`Message`]s, JSON behind their length. Who connects names what it wants in the first message:
//!
//! ```text
//! client                                  server
//!   HELLO, Parameters                ->
//!                                    <-  Ready { run }                 or Refused { reason }
//!   Ping { sent_ns }                 ->                                some of them: how far apart the clocks are
//!                                    <-  Pong { sent_ns, at_ns }
//!   (on each flow) HELLO, Join       ->
//!                                    <-  Joined
//!   Start                            ->                                from here on the server sends what is measured
//!                                    <-  Started                       from here on the client does
//!                                    <-  Interval { ... }              again and again: what only the server can see
//!                                    <-  Sent { messages }             once the server has sent all it has to
//!   Finish { messages }              ->                                once the client has
//!                                    <-  Report { ... }
//! ```
//!
//! A flow of a stream transport is a connection to the same address. A flow of datagrams or of IP packets begins with a
//! [`Header`](datagram::Header) of kind `Join`, repeated until it is answered: so a server sends nothing but short answers to
//! a source that has not shown that it knows the run, which only who has read `Ready` does.
//!
//! Both directions of [`Message`] have a bound: [`MAX_REQUEST`] and [`MAX_REPLY`].

pub mod datagram;
mod frame;
mod message;
mod parameters;

pub use frame::{FrameError, HELLO, HELLO_LEN, HelloError, LENGTH_LEN, check_hello, decode, encode};
pub use message::{
    Counts, CpuTime, DatagramCounts, FlowReport, FlowTcp, Message, Mode, NotARun, Report, RunId, Transport,
};
pub use parameters::{Limits, ParameterError, Parameters};

/// The longest message of a client in bytes, without its length.
pub const MAX_REQUEST: usize = 64 * 1024;
/// The longest message of a server in bytes, without its length: a report has a line for each flow, and histograms.
pub const MAX_REPLY: usize = 2 * 1024 * 1024;
