//! Address resolution: which link address an IPv4 address has.
//!
//! # References
//! RFC 826, RFC 5227 (probes and announcements), RFC 5494 (numbers).

use core::net::Ipv4Addr;

use crate::bytes::{be8, be16, put, put_slice, put16, range};
use crate::checksum::Pseudo;
use crate::emit::{Emit, room};
use crate::error::{Lax, Layer, PacketError};
use crate::ethertype;
use crate::link::mac::MacAddr;
use crate::view::view;

/// The part before the addresses, in bytes.
pub const ARP_HEADER_LEN: usize = 8;

/// A packet between Ethernet and IPv4 addresses, in bytes.
const ETHERNET_IPV4_LEN: usize = 28;
/// The hardware type of Ethernet.
const ETHERNET: u16 = 1;
const REQUEST: u16 = 1;
const REPLY: u16 = 2;

/// A view of an ARP packet, with addresses of any length.
///
/// The four addresses are slices; [`Arp::sender`] and [`Arp::target`] give those of Ethernet and IPv4 as types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp<T> {
    buffer: T,
}

view!(Arp);

impl<T: AsRef<[u8]>> Arp<T> {
    /// A packet with all four addresses; padding behind them is allowed.
    ///
    /// # Errors
    /// [`crate::Fault::Truncated`] for fewer bytes than header and addresses take.
    #[inline]
    pub fn new(buffer: T) -> Result<Self, PacketError> {
        match Self::check(buffer.as_ref())? {
            None => Ok(Self { buffer }),
            Some(error) => Err(error),
        }
    }

    /// A packet with its first 8 bytes; addresses that are cut off are reported beside the view and come out short.
    ///
    /// # Errors
    /// [`crate::Fault::Truncated`] for fewer than 8 bytes.
    #[inline]
    pub fn lax(buffer: T) -> Result<Lax<Self>, PacketError> {
        let stopped = Self::check(buffer.as_ref())?;
        Ok(Lax {
            view: Self { buffer },
            stopped,
        })
    }

    fn check(data: &[u8]) -> Result<Option<PacketError>, PacketError> {
        if data.len() < ARP_HEADER_LEN {
            return Err(PacketError::truncated(Layer::Arp, 0, ARP_HEADER_LEN, data.len()));
        }
        let required = Arp { buffer: data }.packet_len();
        Ok((data.len() < required).then(|| PacketError::truncated(Layer::Arp, 0, required, data.len())))
    }

    /// Header and addresses, in bytes.
    #[inline]
    pub fn packet_len(&self) -> usize {
        ARP_HEADER_LEN + 2 * (self.hardware_len() + self.protocol_len())
    }

    /// The kind of link (IANA "ARP Parameters"); 1 is Ethernet.
    #[inline]
    pub fn hardware_type(&self) -> u16 {
        be16(self.bytes(), 0)
    }

    /// The kind of addresses that are looked for, as an EtherType.
    #[inline]
    pub fn protocol_type(&self) -> u16 {
        be16(self.bytes(), 2)
    }

    /// Length of a link address, in bytes.
    #[inline]
    pub fn hardware_len(&self) -> usize {
        usize::from(be8(self.bytes(), 4))
    }

    /// Length of a protocol address, in bytes.
    #[inline]
    pub fn protocol_len(&self) -> usize {
        usize::from(be8(self.bytes(), 5))
    }

    /// The operation: 1 is a request, 2 a reply.
    #[inline]
    pub fn operation(&self) -> u16 {
        be16(self.bytes(), 6)
    }

    /// Whether it asks who has an address.
    #[inline]
    pub fn is_request(&self) -> bool {
        self.operation() == REQUEST
    }

    /// Whether it answers.
    #[inline]
    pub fn is_reply(&self) -> bool {
        self.operation() == REPLY
    }

    /// `len` bytes behind `skip` link and protocol addresses.
    fn address(&self, [hardware, protocol]: [usize; 2], len: usize) -> &[u8] {
        let start = ARP_HEADER_LEN + hardware * self.hardware_len() + protocol * self.protocol_len();
        range(self.bytes(), start, start + len)
    }

    /// The sender's link address.
    pub fn sender_hardware(&self) -> &[u8] {
        self.address([0, 0], self.hardware_len())
    }

    /// The sender's protocol address.
    pub fn sender_protocol(&self) -> &[u8] {
        self.address([1, 0], self.protocol_len())
    }

    /// The target's link address; of a request mostly zeros.
    pub fn target_hardware(&self) -> &[u8] {
        self.address([1, 1], self.hardware_len())
    }

    /// The target's protocol address: the one that is asked for.
    pub fn target_protocol(&self) -> &[u8] {
        self.address([2, 1], self.protocol_len())
    }

    /// Whether it speaks of Ethernet and IPv4 addresses, and of nothing else.
    pub fn is_ethernet_ipv4(&self) -> bool {
        self.hardware_type() == ETHERNET
            && self.protocol_type() == ethertype::IPV4
            && (self.hardware_len(), self.protocol_len()) == (6, 4)
    }

    fn pair(&self, hardware: &[u8], protocol: &[u8]) -> Option<(MacAddr, Ipv4Addr)> {
        if !self.is_ethernet_ipv4() {
            return None;
        }
        let protocol: [u8; 4] = protocol.try_into().ok()?;
        Some((MacAddr(hardware.try_into().ok()?), protocol.into()))
    }

    /// The sender's addresses if they are Ethernet's and IPv4's, and whole.
    ///
    /// In a probe (RFC 5227) the IPv4 address is 0.0.0.0: there is nothing to learn from that.
    pub fn sender(&self) -> Option<(MacAddr, Ipv4Addr)> {
        self.pair(self.sender_hardware(), self.sender_protocol())
    }

    /// The target's addresses if they are Ethernet's and IPv4's, and whole.
    pub fn target(&self) -> Option<(MacAddr, Ipv4Addr)> {
        self.pair(self.target_hardware(), self.target_protocol())
    }
}

/// An ARP packet between Ethernet and IPv4 addresses to be written, as the payload of an [`crate::EthernetBuilder`].
///
/// ```
/// use sockeye_packet::{Arp, ArpBuilder, Emit, MacAddr, Pseudo};
/// let (me, you) = (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
/// let mut buffer = [0; 28];
/// ArpBuilder::request(me, [192, 0, 2, 1].into(), [192, 0, 2, 2].into()).emit(&mut buffer, Pseudo::None)?;
/// let request = Arp::new(buffer)?;
/// assert!(request.is_request());
/// let answer = ArpBuilder::reply(you, [192, 0, 2, 2].into(), me, [192, 0, 2, 1].into());
/// assert_eq!(ArpBuilder::answer(&request, you), Some(answer));
/// # Ok::<(), sockeye_packet::PacketError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct ArpBuilder {
    operation: u16,
    sender: (MacAddr, Ipv4Addr),
    target: (MacAddr, Ipv4Addr),
}

impl ArpBuilder {
    /// Any operation (IANA "ARP Parameters").
    pub const fn new(operation: u16, sender: (MacAddr, Ipv4Addr), target: (MacAddr, Ipv4Addr)) -> Self {
        Self {
            operation,
            sender,
            target,
        }
    }

    /// Who has `wanted`? To be sent to everybody.
    pub const fn request(sender: MacAddr, sender_ip: Ipv4Addr, wanted: Ipv4Addr) -> Self {
        Self::new(REQUEST, (sender, sender_ip), (MacAddr::ZERO, wanted))
    }

    /// `sender_ip` is at `sender`. To be sent to `target`.
    pub const fn reply(sender: MacAddr, sender_ip: Ipv4Addr, target: MacAddr, target_ip: Ipv4Addr) -> Self {
        Self::new(REPLY, (sender, sender_ip), (target, target_ip))
    }

    /// Asks whether anybody has `wanted` already, before using it (RFC 5227 section 2.1.1): the sender has no address yet.
    pub const fn probe(sender: MacAddr, wanted: Ipv4Addr) -> Self {
        Self::request(sender, Ipv4Addr::UNSPECIFIED, wanted)
    }

    /// Tells everybody that `address` is at `sender` (RFC 5227 section 2.3).
    pub const fn announce(sender: MacAddr, address: Ipv4Addr) -> Self {
        Self::request(sender, address, address)
    }

    /// The reply to `request` from who has the address that it asks for; `None` if it is not a request for one.
    pub fn answer<T: AsRef<[u8]>>(request: &Arp<T>, own: MacAddr) -> Option<Self> {
        if !request.is_request() {
            return None;
        }
        let (asker, asker_ip) = request.sender()?;
        let (_, wanted) = request.target()?;
        Some(Self::reply(own, wanted, asker, asker_ip))
    }
}

impl Emit for ArpBuilder {
    fn emitted_len(&self) -> usize {
        ETHERNET_IPV4_LEN
    }

    fn ethertype(&self) -> Option<u16> {
        Some(ethertype::ARP)
    }

    fn emit(&self, out: &mut [u8], _under: Pseudo) -> Result<usize, PacketError> {
        let out = room(out, ETHERNET_IPV4_LEN, Layer::Arp)?;
        put16(out, 0, ETHERNET);
        put16(out, 2, ethertype::IPV4);
        put(out, 4, [6, 4]);
        put16(out, 6, self.operation);
        for (at, (hardware, protocol)) in [(8, self.sender), (18, self.target)] {
            put_slice(out, at, &hardware.octets());
            put_slice(out, at + 6, &protocol.octets());
        }
        Ok(ETHERNET_IPV4_LEN)
    }
}
