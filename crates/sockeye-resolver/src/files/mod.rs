//! The system's name configuration: resolv.conf, hosts and nsswitch.conf, parsed without I/O, and the loader.
//!
//! The parsers take the bytes of a file and never fail: what the C library ignores is ignored, and each file keeps a
//! bounded list of what that was ([`IgnoredLines`]).
//!
//! ```
//! use sockeye_resolver::AddressFamily;
//! use sockeye_resolver::files::{Hosts, NsSwitch, ResolvConf};
//!
//! let conf = ResolvConf::parse(b"nameserver 192.0.2.1\nsearch example.org\noptions ndots:2\n", |_| None);
//! assert_eq!(conf.servers, ["192.0.2.1:53".parse()?]);
//! assert_eq!(conf.options.ndots, 2);
//!
//! let hosts = Hosts::parse(b"192.0.2.7 printer.example.org printer\n", |_| None);
//! let addresses: Vec<_> = hosts.addresses("Printer", AddressFamily::V4).collect();
//! assert_eq!(addresses, ["192.0.2.7:0".parse()?]);
//!
//! let order = NsSwitch::parse(b"hosts: files mdns4_minimal [NOTFOUND=return] dns\n");
//! assert_eq!(order.needs_system(), Some("mdns4_minimal"));
//! # Ok::<(), std::net::AddrParseError>(())
//! ```
//!
//! [`SystemFiles`] reads the three files of the machine, or of any other [`Paths`], and reads them again when they
//! have changed.
//!
//! | type | what it is |
//! |---|---|
//! | [`ResolvConf`], [`ResolvOptions`], [`Environment`] | resolv.conf(5): servers, search list, options, and what the environment changes |
//! | [`Hosts`] | hosts(5): names to addresses and back |
//! | [`NsSwitch`], [`Source`], [`Actions`] | nsswitch.conf(5): which sources are asked in which order |
//! | [`SystemFiles`], [`SystemNames`], [`Paths`] | the files of the machine, loaded and reloaded |
//! | [`Way`] | whether hosts file and DNS are all that is asked |
//! | [`Ignored`], [`IgnoredLines`] | what a parser has ignored, by line |

mod hosts;
mod ignored;
mod nsswitch;
mod resolv_conf;
mod system;
mod text;
mod way;

pub use hosts::{Hosts, MAX_HOST_ENTRIES};
pub use ignored::{Ignored, IgnoredLines, MAX_IGNORED};
pub use nsswitch::{Action, Actions, Entry, NsSwitch, Source, Status};
pub use resolv_conf::{Environment, MAX_SEARCH, MAX_SERVERS, ResolvConf, ResolvOptions};
pub use system::{FileError, FileProblem, MAX_CONF_BYTES, MAX_HOSTS_BYTES, Paths, SystemFiles, SystemNames};
pub use way::Way;
