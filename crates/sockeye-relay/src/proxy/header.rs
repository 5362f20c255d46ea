//! What a header says: the addresses of the connection that is relayed, and values of version 2.

use std::net::{IpAddr, SocketAddr};

use sockeye_event_loop::{Identity, Peer, PeerName, Stream, UnixName};

use super::tlv::{self, Ssl, Tlv};

/// The two forms of a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Version {
    /// A line of text, at most 107 bytes: addresses of TCP only.
    V1,
    /// Binary, up to 64 KiB: more families, and TLVs.
    V2,
}

/// What the relayed connection consists of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Transport {
    /// A stream: TCP, or a Unix stream socket.
    Stream,
    /// Datagrams: UDP, or a Unix datagram socket.
    Datagram,
}

/// The two ends of the connection that is relayed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Addresses {
    /// By IP.
    Ip {
        /// The client.
        source: SocketAddr,
        /// Where it connected to.
        destination: SocketAddr,
        /// TCP or UDP.
        transport: Transport,
    },
    /// By Unix sockets.
    Unix {
        /// The client's name: mostly none.
        source: UnixName,
        /// What it connected to.
        destination: UnixName,
        /// Which kind.
        transport: Transport,
    },
}

impl Addresses {
    /// Of a TCP connection. Both are brought to one family: IPv4 addresses in IPv6 form become IPv4 if both are, else
    /// an IPv4 address becomes one in IPv6 form. Zones are dropped: they mean nothing elsewhere.
    #[must_use]
    pub fn ip(source: SocketAddr, destination: SocketAddr) -> Self {
        let (source, destination) = one_family(source, destination);
        Self::Ip {
            source,
            destination,
            transport: Transport::Stream,
        }
    }

    /// Of a connection of the loop: its peer and its local address. `None` of a pair without addresses, or when the
    /// connection is gone.
    #[must_use]
    pub fn of(stream: &mut Stream<'_>) -> Option<Self> {
        match stream.peer()? {
            Peer::Ip(source) => Some(Self::ip(source, stream.local_addr().ok()?)),
            Peer::Unix { name, .. } => {
                let id = stream.id();
                let local = stream.context().local_unix(id);
                Some(Self::Unix {
                    source: name,
                    destination: local.unwrap_or(UnixName::UNNAMED),
                    transport: Transport::Stream,
                })
            }
            _ => None,
        }
    }

    /// What a connection has to answer to look like the one that is relayed.
    #[must_use]
    pub fn identity(&self) -> Identity {
        match *self {
            Self::Ip {
                source, destination, ..
            } => Identity {
                peer: Peer::Ip(source),
                local: Some(PeerName::Ip(destination)),
            },
            Self::Unix {
                source, destination, ..
            } => Identity {
                peer: Peer::Unix {
                    name: source,
                    credentials: None,
                },
                local: Some(PeerName::Unix(destination)),
            },
        }
    }
}

/// Both of IPv4, or both of IPv6, without zones.
pub(super) fn one_family(source: SocketAddr, destination: SocketAddr) -> (SocketAddr, SocketAddr) {
    let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let (source, destination) = (plain(source), plain(destination));
    if source.is_ipv4() == destination.is_ipv4() {
        return (source, destination);
    }
    let wide = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    (wide(source), wide(destination))
}

/// A header that was read: whole, well-formed, its checksum right if it has one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// Its form.
    pub version: Version,
    /// Whom the connection is relayed for. `None` if the relay speaks for itself, as in a health check (LOCAL), or does
    /// not know (UNKNOWN, UNSPEC): then the addresses of the connection itself hold.
    pub addresses: Option<Addresses>,
    /// The bytes of all TLVs; they have been checked.
    pub(super) tlvs: Box<[u8]>,
}

impl Header {
    /// The TLVs in their order. A header of version 1 has none.
    pub fn tlvs(&self) -> impl Iterator<Item = Tlv<'_>> {
        // They have been checked: nothing is left out.
        tlv::walk(&self.tlvs)
            .filter_map(|found| found.and_then(|(_, kind, value)| Tlv::read(kind, value)).ok())
    }

    /// The application protocol that the client negotiated (PP2_TYPE_ALPN), as in TLS: `h2`, `http/1.1`.
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.tlvs().find_map(|tlv| match tlv {
            Tlv::Alpn(name) => Some(name),
            _ => None,
        })
    }

    /// The host name that the client asked for (PP2_TYPE_AUTHORITY): mostly TLS's server name.
    #[must_use]
    pub fn authority(&self) -> Option<&str> {
        self.tlvs().find_map(|tlv| match tlv {
            Tlv::Authority(name) => Some(name),
            _ => None,
        })
    }

    /// The relay's name of the connection (PP2_TYPE_UNIQUE_ID), at most 128 bytes of any value.
    #[must_use]
    pub fn unique_id(&self) -> Option<&[u8]> {
        self.tlvs().find_map(|tlv| match tlv {
            Tlv::UniqueId(id) => Some(id),
            _ => None,
        })
    }

    /// What the relay knows of the client's TLS (PP2_TYPE_SSL).
    #[must_use]
    pub fn ssl(&self) -> Option<Ssl<'_>> {
        self.tlvs().find_map(|tlv| match tlv {
            Tlv::Ssl(ssl) => Some(ssl),
            _ => None,
        })
    }

    /// Whether it had a checksum (PP2_TYPE_CRC32C), which was right then.
    #[must_use]
    pub fn is_checksummed(&self) -> bool {
        self.tlvs().any(|tlv| matches!(tlv, Tlv::Crc32c(_)))
    }
}
