//! Many protocols on one port: the first bytes of a connection say which service gets it.
//!
//! [`Mux`] looks at them without consuming them and hands the connection on by
//! [`switch_to`](sockeye_event_loop::Stream::switch_to). Rules are asked in their order; a rule that cannot tell yet is
//! waited for, so that an earlier one always wins over a later one, however the bytes arrive. What a rule recognises is a
//! [`Pattern`]: TLS by server name and ALPN, HTTP/1 by method and target, HTTP/2, SSH, SOCKS, a PROXY header, or what a
//! function of the user says.
//!
//! The decision is made without I/O, in [`Sniffer`]:
//!
//! ```
//! use sockeye_relay::mux::{Pattern, Sniffed, Sniffer};
//!
//! let rules = [Pattern::Ssh, Pattern::http1(), Pattern::tls()];
//! let mut sniffer = Sniffer::default();
//! assert!(matches!(sniffer.sniff(&rules, b"GET /index.html HT"), Sniffed::More { .. }));
//! assert_eq!(sniffer.sniff(&rules, b"GET /index.html HTTP/1.1\r\n"), Sniffed::Rule(1));
//! assert_eq!(Sniffer::default().sniff(&rules, b"EHLO example.org\r\n"), Sniffed::Nobody);
//! ```
//!
//! | file | what it holds |
//! |---|---|
//! | `pattern` | what a rule recognises |
//! | `sniff` | which rule gets the bytes, no I/O |
//! | `hello`, `request` | the first message of TLS, the first line of HTTP/1, read as they arrive |
//! | `service` | the service |

mod hello;
mod pattern;
mod request;
mod service;
mod sniff;
#[cfg(test)]
mod tests;

pub use hello::{ClientHello, HelloRead, HelloReader};
pub use pattern::{HttpPattern, Pattern, Predicate, TlsPattern, Verdict};
pub use service::{Mux, MuxCounts, MuxOptions};
pub use sniff::{Sniffed, Sniffer};
