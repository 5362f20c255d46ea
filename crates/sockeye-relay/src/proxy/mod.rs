//! The PROXY protocol, versions 1 and 2: what a relay says about the connection that it relays, before its first byte.
//!
//! Pure functions first: [`parse`] reads a header from a prefix of bytes, [`encode_v1`] and [`encode_v2`] write one.
//! [`ProxyServer`] is a service that reads the header of a connection and hands it on by
//! [`switch_to`](sockeye_event_loop::Stream::switch_to): the next service's `peer_addr` and `local_addr` answer the
//! original addresses, and [`header_of`] gives it the rest of the header. [`announce`] writes a header to a connection
//! that was made for another one.
//!
//! ```
//! use sockeye_relay::proxy::{self, Addresses, ParseOptions, Parsed, Tlv};
//!
//! let client = Addresses::ip("192.0.2.1:50000".parse()?, "198.51.100.7:443".parse()?);
//! let mut bytes = proxy::encode_v2(Some(&client), &[Tlv::Authority("example.org")], true)?;
//! let header_len = bytes.len();
//! bytes.extend_from_slice(b"what the client sends");
//!
//! let Parsed::Header { consumed, header } = proxy::parse(&bytes, &ParseOptions::default()) else {
//!     panic!("it is whole and valid");
//! };
//! assert_eq!(consumed, header_len);
//! assert_eq!(header.addresses, Some(client));
//! assert_eq!(header.authority(), Some("example.org"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The crate `ppp` is the codec of addresses. How much to read, at which byte something is wrong, the checksum and the
//! meaning of TLVs are decided here: `ppp` judges a header of version 1 that ends before its last port invalid, not
//! incomplete, and checks no checksum.
//!
//! | file | what it holds |
//! |---|---|
//! | `header` | what a header says |
//! | `tlv` | the values behind the addresses of version 2 |
//! | `parse`, `encode` | to and from bytes, no I/O |
//! | `server` | the service, and what a connecting service writes first |
//!
//! # References
//! [The PROXY protocol, versions 1 and 2](https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt)

mod encode;
mod header;
mod parse;
mod server;
#[cfg(test)]
mod tests;
mod tlv;

pub use encode::{EncodeError, encode_v1, encode_v2};
pub use header::{Addresses, Header, Transport, Version};
pub use parse::{HeaderFault, Invalid, ParseOptions, Parsed, parse};
pub use server::{ProxyCounts, ProxyServer, ServerOptions, Untrusted, announce, header_of};
pub use tlv::{Ssl, SslField, Tlv, TlvError};
