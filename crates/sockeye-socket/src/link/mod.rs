//! What packet sockets have beside other sockets: link-layer addresses, metadata of frames, batches, rings. The type of
//! socket is in `sockeye-link`.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::time::SystemTime;

use crate::Socket;
use crate::sys::link as sys;

mod batch;
mod block;
mod ring;

pub use batch::{FrameRecvBatch, FrameSendBatch};
pub use block::{Block, BlockFrames};
pub use ring::{ReceiveBlocks, ReceivedBlock, RingLayout, SendSlot, SendSlots};

/// Whom a frame was for, as the kernel sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PacketType {
    /// This host.
    Host,
    /// All hosts of the link.
    Broadcast,
    /// A group of hosts of the link.
    Multicast,
    /// Another host: seen in promiscuous mode.
    OtherHost,
    /// This host has sent it.
    Outgoing,
    /// Another number (`PACKET_LOOPBACK` and such, which a socket does not normally see).
    Other(u8),
}

impl PacketType {
    /// The type of this number (`PACKET_HOST` and so on).
    #[must_use]
    pub const fn of(number: u8) -> Self {
        match number {
            0 => Self::Host,
            1 => Self::Broadcast,
            2 => Self::Multicast,
            3 => Self::OtherHost,
            4 => Self::Outgoing,
            other => Self::Other(other),
        }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Host => 0,
            Self::Broadcast => 1,
            Self::Multicast => 2,
            Self::OtherHost => 3,
            Self::Outgoing => 4,
            Self::Other(number) => number,
        }
    }
}

/// A link-layer address: an interface, a protocol, and the hardware address of a station on that link.
///
/// # References
/// [packet(7)](https://man7.org/linux/man-pages/man7/packet.7.html), `struct sockaddr_ll`
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[doc(alias = "sockaddr_ll")]
pub struct LinkAddress {
    /// Index of the interface; 0 is any.
    pub interface: u32,
    /// The protocol as an ethertype, in host order: 0x0800 for IPv4.
    pub protocol: u16,
    /// The kind of link (`ARPHRD_ETHER` is 1), of received frames.
    pub hardware_type: u16,
    /// Whom the frame was for, of received frames.
    pub packet_type: PacketType,
    hardware: [u8; 8],
    hardware_len: u8,
}

impl LinkAddress {
    /// An interface and a protocol, without a hardware address.
    #[must_use]
    pub const fn new(interface: u32, protocol: u16) -> Self {
        Self {
            interface,
            protocol,
            hardware_type: 0,
            packet_type: PacketType::Host,
            hardware: [0; 8],
            hardware_len: 0,
        }
    }

    /// The same with the hardware address of a station. A kernel's address has eight bytes at most; more are cut off.
    #[must_use]
    pub fn with_hardware(mut self, address: &[u8]) -> Self {
        self.hardware = [0; 8];
        self.hardware_len = 0;
        for (room, byte) in self.hardware.iter_mut().zip(address) {
            *room = *byte;
            self.hardware_len += 1;
        }
        self
    }

    /// The hardware address: the sender's on a received frame, the receiver's on one to send. Empty where the link has none.
    #[must_use]
    pub fn hardware(&self) -> &[u8] {
        self.hardware.get(..usize::from(self.hardware_len)).unwrap_or(&[])
    }
}

impl fmt::Debug for LinkAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkAddress")
            .field("interface", &self.interface)
            .field("protocol", &format_args!("{:#06x}", self.protocol))
            .field("hardware_type", &self.hardware_type)
            .field("packet_type", &self.packet_type)
            .field("hardware", &format_args!("{:02x?}", self.hardware()))
            .finish()
    }
}

/// A VLAN tag that the kernel or the interface has taken out of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VlanTag {
    /// Priority, drop eligibility and VLAN number, as on the wire (IEEE 802.1Q).
    pub control: u16,
    /// The ethertype in front of it: 0x8100, or 0x88a8 for a service tag.
    pub protocol: u16,
}

impl VlanTag {
    /// The number of the VLAN, 0 to 4095.
    #[must_use]
    pub const fn id(self) -> u16 {
        self.control & 0xfff
    }

    /// The priority, 0 to 7.
    #[must_use]
    pub const fn priority(self) -> u16 {
        self.control >> 13
    }
}

/// What the kernel knows of the transport checksum of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum ChecksumStatus {
    /// Nothing: whoever wants to know computes it.
    #[default]
    Unknown,
    /// The interface has found it right.
    Valid,
    /// It is not filled in: the frame comes from this host and the interface was to do it.
    NotReady,
}

/// What is known of a frame beside its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FrameMeta {
    /// The interface, the protocol and the sender.
    pub source: LinkAddress,
    /// The tag that was taken out of the frame, where it had one.
    pub vlan: Option<VlanTag>,
    /// The state of its transport checksum.
    pub checksum: ChecksumStatus,
    /// When it came, where timestamps are asked for (a ring always has them), in nanoseconds.
    pub timestamp: Option<SystemTime>,
    /// Whether frames were lost just before this one (rings only).
    pub after_loss: bool,
}

impl FrameMeta {
    /// A frame from this source of which nothing else is known.
    #[must_use]
    pub const fn new(source: LinkAddress) -> Self {
        Self {
            source,
            vlan: None,
            checksum: ChecksumStatus::Unknown,
            timestamp: None,
            after_loss: false,
        }
    }

    /// Reads `TP_STATUS_*` bits, with the tag beside them.
    pub(crate) fn read_status(&mut self, status: u32, control: u16, protocol: u16) {
        const LOSING: u32 = 1 << 2;
        const CHECKSUM_NOT_READY: u32 = 1 << 3;
        const VLAN_VALID: u32 = 1 << 4;
        const VLAN_PROTOCOL_VALID: u32 = 1 << 6;
        const CHECKSUM_VALID: u32 = 1 << 7;
        self.checksum = if status & CHECKSUM_NOT_READY != 0 {
            ChecksumStatus::NotReady
        } else if status & CHECKSUM_VALID != 0 {
            ChecksumStatus::Valid
        } else {
            ChecksumStatus::Unknown
        };
        self.after_loss = status & LOSING != 0;
        self.vlan = (status & VLAN_VALID != 0).then_some(VlanTag {
            control,
            // Kernels before 3.14 do not say which.
            protocol: if status & VLAN_PROTOCOL_VALID != 0 {
                protocol
            } else {
                0x8100
            },
        });
    }
}

/// A received frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IncomingFrame<'a> {
    /// The frame as far as it fitted or was asked for: with its link header on a socket for whole frames, from the network
    /// header on where they are cooked.
    pub bytes: &'a [u8],
    /// Its length on the link, in the same sense, which may be more.
    pub len: usize,
    /// What is known of it.
    pub meta: FrameMeta,
}

impl<'a> IncomingFrame<'a> {
    /// A frame that is whole, for tests and for networks that are not the kernel's.
    #[must_use]
    pub const fn new(bytes: &'a [u8], meta: FrameMeta) -> Self {
        Self {
            bytes,
            len: bytes.len(),
            meta,
        }
    }

    /// Whether bytes are missing at its end.
    #[must_use]
    pub const fn truncated(&self) -> bool {
        self.len > self.bytes.len()
    }

    /// Writes the Ethernet frame as it was on the link, with its VLAN tag where one was taken out, to the end of `to`.
    /// For whole frames of Ethernet.
    pub fn write_tagged(&self, to: &mut Vec<u8>) {
        // Behind the two addresses.
        const AT: usize = 12;
        match (self.meta.vlan, self.bytes.split_at_checked(AT)) {
            (Some(tag), Some((addresses, rest))) => {
                to.extend_from_slice(addresses);
                to.extend_from_slice(&tag.protocol.to_be_bytes());
                to.extend_from_slice(&tag.control.to_be_bytes());
                to.extend_from_slice(rest);
            }
            _ => to.extend_from_slice(self.bytes),
        }
    }
}

/// Receives one frame into `buffer` with everything the socket was asked to report. What exceeds `buffer` is lost, and
/// [`IncomingFrame::len`] says how long the frame was.
///
/// # Errors
/// `WouldBlock` when there is none; `NetworkDown` once when the interface goes down or vanishes.
pub fn recv_frame(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<IncomingFrame<'_>> {
    let (len, meta) = sys::recv(socket.as_fd(), buffer)?;
    let bytes = buffer.get(..len.min(buffer.len())).unwrap_or(&[]);
    Ok(IncomingFrame { bytes, len, meta })
}

/// Sends a frame, through the interface of `to` where that is given and else through the one the socket is bound to.
///
/// # Errors
/// `WouldBlock` when the send buffer is full, ENXIO where there is no (such) interface, `NetworkDown`, EMSGSIZE beyond the
/// MTU, ENOBUFS where the queue of the interface is full, EINVAL for a frame shorter than its header.
pub fn send_frame(socket: impl AsFd, frame: &[u8], to: Option<&LinkAddress>) -> io::Result<usize> {
    sys::send(socket.as_fd(), frame, to)
}

/// Calls that speak of the addresses of packet sockets.
impl Socket {
    /// Receives the frames of one interface (0 is all of them) and one protocol from now on (3, `ETH_P_ALL`, is all of
    /// them; 0 is none).
    ///
    /// # Errors
    /// ENODEV where there is no such interface. Where it is down the socket is bound, and `NetworkDown` is its pending
    /// error.
    pub fn bind_link(&self, address: &LinkAddress) -> io::Result<()> {
        sys::bind(self.as_fd(), address)
    }

    /// What the packet socket is bound to.
    ///
    /// # Errors
    /// The errno of `getsockname(2)`.
    pub fn local_link(&self) -> io::Result<LinkAddress> {
        sys::local(self.as_fd())
    }

    /// Hands the frames that wait in a send ring to the interface; returns how many bytes went.
    ///
    /// # Errors
    /// As [`send_frame`]; EINVAL where there is no send ring.
    pub(crate) fn flush_ring(&self) -> io::Result<usize> {
        sys::flush(self.as_fd())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::link::RawLinkAddress;

    #[test]
    fn an_address_survives_the_kernels_layout() {
        for hardware in [&[][..], &[2, 0, 0, 0, 0, 1], &[1, 2, 3, 4, 5, 6, 7, 8]] {
            let mut address = LinkAddress::new(7, 0x0806).with_hardware(hardware);
            address.hardware_type = 1;
            address.packet_type = PacketType::OtherHost;
            let read = RawLinkAddress::of(&address).decode();
            assert_eq!(read, address);
            assert_eq!(read.hardware(), hardware);
        }
        // InfiniBand's have 20.
        assert_eq!(LinkAddress::new(1, 0).with_hardware(&[9; 20]).hardware(), [9; 8]);
    }

    #[test]
    fn a_tag_goes_back_behind_the_addresses() {
        let mut meta = FrameMeta::new(LinkAddress::new(1, 0x0800));
        let frame: Vec<u8> = (0..20).collect();
        let mut out = Vec::new();
        IncomingFrame::new(&frame, meta).write_tagged(&mut out);
        assert_eq!(out, frame);
        meta.read_status(0x50, 0x2064, 0x88a8);
        let tag = meta.vlan.unwrap();
        assert_eq!((tag.id(), tag.priority()), (100, 1));
        out.clear();
        IncomingFrame::new(&frame, meta).write_tagged(&mut out);
        assert_eq!(out[..12], frame[..12]);
        assert_eq!(out[12..16], [0x88, 0xa8, 0x20, 0x64]);
        assert_eq!(out[16..], frame[12..]);
        // Too short to have had one.
        out.clear();
        IncomingFrame::new(&frame[..5], meta).write_tagged(&mut out);
        assert_eq!(out, frame[..5]);
    }

    #[test]
    fn the_status_bits_say_what_they_say() {
        let mut meta = FrameMeta::new(LinkAddress::new(1, 0));
        meta.read_status(0x8 | 0x80, 0, 0);
        assert_eq!((meta.checksum, meta.vlan), (ChecksumStatus::NotReady, None));
        meta.read_status(0x80 | 0x4 | 0x10, 5, 1);
        assert_eq!(meta.checksum, ChecksumStatus::Valid);
        assert!(meta.after_loss);
        assert_eq!(meta.vlan.unwrap().protocol, 0x8100, "an old kernel does not say");
    }
}
