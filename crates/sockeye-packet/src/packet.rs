//! A whole packet: the network header and what it leads to.

use core::net::IpAddr;

use crate::bytes::be8;
use crate::checksum::{ChecksumStatus, Pseudo};
use crate::error::{Fault, Lax, Layer, PacketError};
use crate::icmp::{Icmpv4, Icmpv6};
use crate::ipv4::Ipv4;
use crate::ipv6::{ExtensionHeaders, IPV6_HEADER_LEN, Ipv6, UpperLayer};
use crate::protocol;
use crate::tcp::Tcp;
use crate::udp::Udp;
use crate::udp_lite::UdpLite;

/// The network header of a [`Packet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network<'a> {
    /// IPv4.
    V4(Ipv4<&'a [u8]>),
    /// IPv6.
    V6(Ipv6<&'a [u8]>),
}

/// What the network header leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transport<'a> {
    /// UDP.
    Udp(Udp<&'a [u8]>),
    /// UDP-Lite.
    UdpLite(UdpLite<&'a [u8]>),
    /// TCP.
    Tcp(Tcp<&'a [u8]>),
    /// ICMP for IPv4.
    Icmpv4(Icmpv4<&'a [u8]>),
    /// ICMP for IPv6.
    Icmpv6(Icmpv6<&'a [u8]>),
    /// A protocol that is not decoded, a fragment that is not the first, or a header that is not sound.
    Other(&'a [u8]),
}

/// A packet decoded from the network header on.
///
/// ```
/// use sockeye_packet::{Packet, Transport};
/// let mut buffer = [0; 64];
/// # use sockeye_packet::{Ipv4Builder, UdpBuilder};
/// let len = Ipv4Builder::new([10, 0, 0, 1].into(), [10, 0, 0, 2].into())
///     .write(&mut buffer, &UdpBuilder::new(1, 2, b"x"))?;
/// match Packet::new(&buffer[..len])?.transport {
///     Transport::Udp(udp) => assert_eq!(udp.destination_port(), 2),
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), sockeye_packet::PacketError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The network header.
    pub network: Network<'a>,
    /// Protocol of what follows the network header and its extensions.
    pub protocol: u8,
    /// Where that begins, in bytes from the start of the packet.
    pub offset: usize,
    /// Place of it in the datagram, in bytes, and whether more follows; `None` where the packet is no fragment.
    pub fragment: Option<(usize, bool)>,
    /// What follows.
    pub transport: Transport<'a>,
}

impl<'a> Packet<'a> {
    /// A packet whose every header is sound. Fragments are: the first may hold less than its transport header says.
    ///
    /// # Errors
    /// The first fault, with its offset from the start of the packet.
    pub fn new(data: &'a [u8]) -> Result<Self, PacketError> {
        let Lax { view, stopped } = Self::lax(data)?;
        match stopped {
            None => Ok(view),
            Some(error) => Err(error),
        }
    }

    /// A packet with a network header; what is sound behind it, and where it stopped.
    ///
    /// # Errors
    /// If there is no network header at all.
    pub fn lax(data: &'a [u8]) -> Result<Lax<Self>, PacketError> {
        match be8(data, 0) >> 4 {
            _ if data.is_empty() => Err(PacketError::truncated(Layer::Ipv4, 0, 1, 0)),
            4 => Self::lax_v4(data),
            6 => Self::lax_v6(data),
            version => Err(PacketError::new(
                Layer::Ipv4,
                Fault::Version,
                0,
                4,
                usize::from(version),
            )),
        }
    }

    fn lax_v4(data: &'a [u8]) -> Result<Lax<Self>, PacketError> {
        let Lax { view, stopped } = Ipv4::lax(data)?;
        let fragment = view
            .is_fragment()
            .then(|| (view.fragment_offset(), view.more_fragments()));
        let (offset, protocol) = (view.header_len(), view.protocol());
        let options = view
            .options()
            .find_map(Result::err)
            .map(|error| error.shifted(20));
        let (transport, fault) = Transport::parse(protocol, view.body(), fragment, 4);
        let stopped = stopped.or(options).or(fault.map(|error| error.shifted(offset)));
        Ok(Lax {
            view: Self {
                network: Network::V4(view),
                protocol,
                offset,
                fragment,
                transport,
            },
            stopped,
        })
    }

    fn lax_v6(data: &'a [u8]) -> Result<Lax<Self>, PacketError> {
        let Lax { view, stopped } = Ipv6::lax(data)?;
        let mut walk = ExtensionHeaders::new(view.next_header(), view.body());
        let broken = walk
            .by_ref()
            .find_map(Result::err)
            .map(|error| error.shifted(IPV6_HEADER_LEN));
        let UpperLayer {
            protocol,
            offset,
            payload,
            fragment,
        } = walk.here();
        let offset = IPV6_HEADER_LEN + offset;
        let fragment = fragment
            .filter(|fragment| !fragment.is_atomic())
            .map(|fragment| (usize::from(fragment.offset), fragment.more));
        let (transport, fault) = match broken {
            Some(_) => (Transport::Other(payload), None),
            None => Transport::parse(protocol, payload, fragment, 6),
        };
        let stopped = stopped.or(broken).or(fault.map(|error| error.shifted(offset)));
        Ok(Lax {
            view: Self {
                network: Network::V6(view),
                protocol,
                offset,
                fragment,
                transport,
            },
            stopped,
        })
    }

    /// Source address.
    #[must_use]
    pub fn source(&self) -> IpAddr {
        match &self.network {
            Network::V4(view) => IpAddr::V4(view.source()),
            Network::V6(view) => IpAddr::V6(view.source()),
        }
    }

    /// Destination address of the network header.
    #[must_use]
    pub fn destination(&self) -> IpAddr {
        match &self.network {
            Network::V4(view) => IpAddr::V4(view.destination()),
            Network::V6(view) => IpAddr::V6(view.destination()),
        }
    }

    /// The addresses for the transport's checksum.
    #[must_use]
    pub fn pseudo(&self) -> Pseudo {
        match &self.network {
            Network::V4(view) => view.pseudo(),
            Network::V6(view) => view.pseudo(),
        }
    }

    /// How the transport's checksum stands; unknown for fragments and where bytes are missing.
    #[must_use]
    pub fn transport_checksum(&self) -> ChecksumStatus {
        if self.fragment.is_some() || self.is_cut() {
            return ChecksumStatus::Unknown;
        }
        match &self.transport {
            Transport::Udp(view) => view.checksum_status(self.pseudo()),
            Transport::UdpLite(view) => view.checksum_status(self.pseudo()),
            Transport::Tcp(view) => view.checksum_status(self.pseudo()),
            Transport::Icmpv4(view) if view.checksum_ok() => ChecksumStatus::Valid,
            Transport::Icmpv4(_) => ChecksumStatus::Invalid,
            Transport::Icmpv6(view) => view.checksum_status(self.pseudo()),
            Transport::Other(_) => ChecksumStatus::Unknown,
        }
    }

    /// Whether fewer bytes are there than the network header says.
    fn is_cut(&self) -> bool {
        match &self.network {
            Network::V4(view) => view.bytes().len() < usize::from(view.total_len()),
            Network::V6(view) => {
                let len = view.jumbo_len().unwrap_or(u32::from(view.payload_len()));
                view.bytes().len() < IPV6_HEADER_LEN.saturating_add(len as usize)
            }
        }
    }
}

impl<'a> Transport<'a> {
    /// Decodes the header of `protocol`; the fault says what is wrong with it, if anything is.
    ///
    /// ICMP is decoded only under its own family: 1 in an IPv6 packet is not ICMP for anybody.
    fn parse(
        protocol: u8,
        data: &'a [u8],
        fragment: Option<(usize, bool)>,
        version: u8,
    ) -> (Self, Option<PacketError>) {
        let other = Self::Other(data);
        if fragment.is_some_and(|(offset, _)| offset != 0) {
            return (other, None);
        }
        let lax = |result: Result<(Self, Option<PacketError>), PacketError>| match result {
            // A first fragment need not hold all that its transport header speaks of.
            Ok((view, Some(fault))) if fragment.is_some() && fault.fault == Fault::Truncated => (view, None),
            Ok(found) => found,
            Err(fault) => (other, Some(fault)),
        };
        match (protocol, version) {
            (protocol::UDP, _) => lax(Udp::lax(data).map(|lax| (Self::Udp(lax.view), lax.stopped))),
            (protocol::TCP, _) => lax(Tcp::lax(data).map(|lax| {
                let options = lax.view.options().find_map(Result::err);
                (
                    Self::Tcp(lax.view),
                    lax.stopped.or(options.map(|error| error.shifted(20))),
                )
            })),
            (protocol::UDP_LITE, _) => lax(UdpLite::new(data).map(|view| (Self::UdpLite(view), None))),
            (protocol::ICMPV4, 4) => lax(Icmpv4::new(data).map(|view| (Self::Icmpv4(view), None))),
            (protocol::ICMPV6, 6) => lax(Icmpv6::new(data).map(|view| (Self::Icmpv6(view), None))),
            _ => (other, None),
        }
    }
}
