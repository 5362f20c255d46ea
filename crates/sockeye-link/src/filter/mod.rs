//! Capture filters: the part of pcap-filter(7) that people type, to a program of classic BPF.
//!
//! ```
//! use sockeye_link::filter::Expression;
//! use sockeye_packet::LinkType;
//!
//! let filter: Expression = "tcp port 80 and not host 192.0.2.1".parse()?;
//! let program = filter.compile(LinkType::Ethernet)?;
//! assert!(!program.accepts(&[0; 60], 60));
//!
//! let error = "port 80 and".parse::<Expression>().unwrap_err();
//! assert_eq!(error.at, 11);
//! # Ok::<(), sockeye_link::filter::FilterError>(())
//! ```
//!
//! | words | meaning |
//! |---|---|
//! | `host`, `net`, `port`, `portrange`, `proto` | an address, a network (`10/8`, `10.0.0.0/8`, `... mask ...`), ports, a protocol number |
//! | `src`, `dst`, `src or dst`, `src and dst` | before these: which end |
//! | `ether`, `ip`, `ip6`, `arp`, `rarp`, `tcp`, `udp`, `sctp`, `icmp`, `icmp6`, `igmp`, `pim`, `vrrp`, `ah`, `esp` | alone, or before these |
//! | `vlan [ID]` | tagged; what stands behind it in the filter looks behind the tag |
//! | `broadcast`, `multicast`, `less N`, `greater N` | of Ethernet, IPv4, IPv6; length of the packet |
//! | `ip[8] < 5`, `tcp[tcpflags] & (tcp-syn\|tcp-fin) != 0` | bytes (`[place:size]`), computed with and compared |
//! | `and`, `or`, `not`, `&&`, `\|\|`, `!`, parentheses | `and` and `or` bind equally strong, from left to right; `port 80 or 443` means both |
//!
//! Names of hosts and ports are not looked up. Fragments behind the first have no ports. A load behind the end of a packet
//! refuses it, whatever stands behind an `or`. A computation over several protocols takes packets that have all of them, where
//! tcpdump asks for the first one only. `vlan` looks into the frame: on a live socket the kernel may have taken the outermost
//! tag out of it.
//!
//! # References
//! pcap-filter(7), bpf(4).

mod arithmetic;
mod ast;
mod code;
mod compile;
mod compute;
mod error;
mod lex;
mod parse;
#[cfg(test)]
mod tests;
mod vm;

use std::str::FromStr;

use sockeye_packet::LinkType;
use sockeye_socket::filter::{Filter, Instruction};

pub use error::{FilterError, FilterErrorKind};

/// A filter that has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    node: Option<ast::Node>,
}

impl FromStr for Expression {
    type Err = FilterError;

    /// Reads a filter; blanks alone are one that takes everything.
    fn from_str(text: &str) -> Result<Self, FilterError> {
        parse::parse(text).map(|node| Self { node })
    }
}

impl Expression {
    /// The program for frames of this kind of link: Ethernet, both Linux cooked ones, raw IP, and BSD's loopbacks.
    ///
    /// # Errors
    /// What frames of that link do not have, such as `vlan` without Ethernet; computations that are too large.
    pub fn compile(&self, link: LinkType) -> Result<Program, FilterError> {
        compile::compile(self.node.as_ref(), link).map(|instructions| Program { instructions })
    }
}

/// A filter for one kind of link, to be run here or in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    instructions: Vec<Instruction>,
}

impl Program {
    /// Whether it takes a packet of which `captured` is there and `len` bytes were on the wire.
    #[must_use]
    pub fn accepts(&self, captured: &[u8], len: u32) -> bool {
        vm::run(&self.instructions, captured, len) != 0
    }

    /// The instructions.
    #[must_use]
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }

    /// For the kernel, which takes at most 4,096 instructions.
    #[must_use]
    pub fn to_filter(&self) -> Filter {
        Filter::from_instructions(self.instructions.clone())
    }
}
