//! What the engines write to and read from the wire, on top of the packet crate.

use std::net::{IpAddr, SocketAddr};

use sockeye_packet::{IcmpExtensions, Icmpv4, Icmpv6, Quoted, checksum, icmpv4, icmpv6, protocol};

use crate::input::Cause;

/// Type, code, checksum, identifier, sequence number.
pub(crate) const ECHO_HEADER_LEN: usize = 8;
/// Where the checksum is.
const CHECKSUM: std::ops::Range<usize> = 2..4;

/// An echo request or reply.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Echo<'a> {
    pub(crate) identifier: u16,
    pub(crate) sequence: u16,
    /// All of it in a reply; as much as was quoted of a request.
    pub(crate) payload: &'a [u8],
}

/// An ICMP error and what it quotes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IcmpError<'a> {
    pub(crate) cause: Cause,
    /// Where the quoted packet was going.
    pub(crate) destination: IpAddr,
    /// Its upper-layer protocol.
    pub(crate) protocol: u8,
    /// What is quoted from the upper-layer header on: eight bytes by the book, and fewer or more.
    pub(crate) transport: &'a [u8],
    pub(crate) extensions: Option<IcmpExtensions<'a>>,
}

/// What an ICMP message is to an engine.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Decoded<'a> {
    EchoReply(Echo<'a>),
    Error(IcmpError<'a>),
}

/// Reads an ICMP message of either family; `None` if it is neither an echo reply nor a readable error.
pub(crate) fn decode(v6: bool, message: &[u8]) -> Option<Decoded<'_>> {
    let (&[kind, code, ..], rest) = (message.first_chunk::<4>()?, message.get(4..8)?);
    let reply = if v6 {
        icmpv6::ECHO_REPLY
    } else {
        icmpv4::ECHO_REPLY
    };
    if kind == reply {
        return echo(message).map(Decoded::EchoReply);
    }
    let rest = u32::from_be_bytes(*rest.first_chunk()?);
    let (cause, extensions_at) = if v6 {
        let view = Icmpv6::new(message).ok()?;
        (
            Cause::from_icmpv6(kind, code, rest)?,
            view.extensions().and_then(Result::ok).map(|found| found.offset()),
        )
    } else {
        let view = Icmpv4::new(message).ok()?;
        (
            Cause::from_icmpv4(kind, code, rest)?,
            view.extensions().and_then(Result::ok).map(|found| found.offset()),
        )
    };
    let quote = message.get(ECHO_HEADER_LEN..extensions_at.unwrap_or(message.len()))?;
    let quoted = if v6 { Quoted::v6(quote) } else { Quoted::v4(quote) }.ok()?;
    if quoted.fragment_offset != 0 {
        // No transport header in there.
        return None;
    }
    Some(Decoded::Error(IcmpError {
        cause,
        destination: quoted.destination,
        protocol: quoted.protocol,
        transport: quoted.payload,
        extensions: extensions_at.and_then(|offset| IcmpExtensions::at(message, offset).ok()),
    }))
}

/// Reads a quoted echo request; `None` if it is none, or too little of it is there.
pub(crate) fn quoted_echo(v6: bool, quoted: &[u8]) -> Option<Echo<'_>> {
    let request = if v6 {
        icmpv6::ECHO_REQUEST
    } else {
        icmpv4::ECHO_REQUEST
    };
    (*quoted.first()? == request).then(|| echo(quoted))?
}

fn echo(message: &[u8]) -> Option<Echo<'_>> {
    let (&[_, _, _, _, id_high, id_low, high, low], payload) = message.split_first_chunk()?;
    Some(Echo {
        identifier: u16::from_be_bytes([id_high, id_low]),
        sequence: u16::from_be_bytes([high, low]),
        payload,
    })
}

/// Whether a quoted packet was ICMP of the family it was sent over.
pub(crate) const fn is_icmp(number: u8, destination: IpAddr) -> bool {
    number
        == if destination.is_ipv6() {
            protocol::ICMPV6
        } else {
            protocol::ICMPV4
        }
}

/// Writes an echo request in place of what is in `message`. ICMPv6 is left without a checksum: it covers addresses
/// that only the kernel knows.
pub(crate) fn echo_request(
    message: &mut Vec<u8>,
    v6: bool,
    identifier: u16,
    sequence: u16,
    payload: impl FnOnce(&mut Vec<u8>),
) {
    message.clear();
    message.extend_from_slice(&[
        if v6 {
            icmpv6::ECHO_REQUEST
        } else {
            icmpv4::ECHO_REQUEST
        },
        0,
        0,
        0,
    ]);
    message.extend_from_slice(&identifier.to_be_bytes());
    message.extend_from_slice(&sequence.to_be_bytes());
    payload(message);
    if !v6 {
        let sum = checksum(message);
        if let Some(field) = message.get_mut(CHECKSUM) {
            field.copy_from_slice(&sum.to_be_bytes());
        }
    }
}

/// Bytes that differ from their neighbours, so that a shift shows.
pub(crate) fn pattern(len: usize) -> Box<[u8]> {
    (0..=u8::MAX).cycle().take(len).collect()
}

/// Where `payload` first differs from a tag and the pattern behind it, a difference in length included.
pub(crate) fn first_difference(payload: &[u8], tag: &[u8], pattern: &[u8]) -> Option<usize> {
    let (head, tail) = payload.split_at(payload.len().min(tag.len()));
    if head == tag && tail == pattern {
        return None;
    }
    let expected = tag.iter().chain(pattern);
    let same = payload
        .iter()
        .zip(expected)
        .take_while(|(got, sent)| got == sent)
        .count();
    Some(same)
}

/// What tells one address from another: itself, and the interface where it means nothing without one.
pub(crate) const fn key(address: SocketAddr) -> (IpAddr, u32) {
    match address {
        SocketAddr::V6(v6) => {
            let ip = IpAddr::V6(*v6.ip());
            (ip, scope_for(ip, v6.scope_id()))
        }
        SocketAddr::V4(v4) => (IpAddr::V4(*v4.ip()), 0),
    }
}

/// The scope, if the address has one.
pub(crate) const fn scope_for(address: IpAddr, scope: u32) -> u32 {
    match address {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => scope,
        _ => 0,
    }
}

/// The same address without a port.
pub(crate) const fn portless(mut address: SocketAddr) -> SocketAddr {
    address.set_port(0);
    address
}

/// The half of a number that fits into the field.
#[expect(clippy::cast_possible_truncation, reason = "that is the point")]
pub(crate) const fn low16(number: u32) -> u16 {
    number as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_carries_a_right_checksum() {
        let mut message = vec![9; 3];
        echo_request(&mut message, false, 0x1234, 7, |payload| {
            payload.extend_from_slice(b"abc")
        });
        assert_eq!(message.len(), 11);
        assert!(Icmpv4::new(&message[..]).unwrap().checksum_ok());
        let echo = quoted_echo(false, &message).unwrap();
        assert_eq!(
            (echo.identifier, echo.sequence, echo.payload),
            (0x1234, 7, &b"abc"[..])
        );
        assert!(quoted_echo(true, &message).is_none());
    }

    #[test]
    fn a_difference_is_found_where_it_is() {
        let (tag, pattern) = ([1, 2, 3, 4], [5, 6]);
        let difference = |payload: &[u8]| first_difference(payload, &tag, &pattern);
        assert_eq!(difference(&[1, 2, 3, 4, 5, 6]), None);
        assert_eq!(difference(&[1, 2, 3, 4, 5, 7]), Some(5));
        assert_eq!(difference(&[1, 2, 3, 4, 5]), Some(5));
        assert_eq!(difference(&[1, 2, 3, 4, 5, 6, 7]), Some(6));
        assert_eq!(difference(&[1, 2]), Some(2));
    }

    #[test]
    fn a_scope_counts_only_where_it_means_something() {
        let on = |text: &str| key(text.parse().unwrap()).1;
        assert_eq!(on("[fe80::1%3]:0"), 3);
        assert_eq!(on("[2001:db8::1%3]:0"), 0);
    }
}
