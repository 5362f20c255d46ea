//! VLAN tags: 802.1Q, and several of them (802.1ad, QinQ).
//!
//! # References
//! IEEE 802.1Q clause 9.6.

use crate::bytes::{be16, low16, put16, range_mut};
use crate::checksum::Pseudo;
use crate::emit::{Emit, room};
use crate::error::{Fault, Lax, Layer, PacketError};
use crate::ethertype;
use crate::link::ethernet::{carried, check_type, type_or_length};
use crate::view::view;

/// A tag as it stands behind its EtherType, with the type that follows: in bytes.
pub const VLAN_TAG_LEN: usize = 4;

const ID: u16 = 0x0fff;
const DROP_ELIGIBLE: u16 = 0x1000;

/// A view of a VLAN tag and what it tags, from behind the EtherType that announces it ([`ethertype::is_vlan`]).
///
/// ```
/// use sockeye_packet::Vlan;
/// let tag = Vlan::new(&[0xa0, 5, 8, 0, 0x45])?;
/// assert_eq!((tag.id(), tag.priority(), tag.ethertype(), tag.payload()), (5, 5, Some(0x0800), &[0x45][..]));
/// # Ok::<(), sockeye_packet::PacketError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vlan<T> {
    buffer: T,
}

view!(Vlan);

impl<T: AsRef<[u8]>> Vlan<T> {
    /// A whole tag; where a length follows also what it covers is whole.
    ///
    /// # Errors
    /// [`Fault::Truncated`] and [`Fault::Value`] as [`crate::Ethernet::new`].
    #[inline]
    pub fn new(buffer: T) -> Result<Self, PacketError> {
        match Self::check(buffer.as_ref())? {
            None => Ok(Self { buffer }),
            Some(error) => Err(error),
        }
    }

    /// A whole tag; what is cut off behind it or lies about its length is reported beside the view.
    ///
    /// # Errors
    /// [`Fault::Truncated`] for fewer than 4 bytes.
    #[inline]
    pub fn lax(buffer: T) -> Result<Lax<Self>, PacketError> {
        let stopped = Self::check(buffer.as_ref())?;
        Ok(Lax {
            view: Self { buffer },
            stopped,
        })
    }

    #[inline]
    fn check(data: &[u8]) -> Result<Option<PacketError>, PacketError> {
        if data.len() < VLAN_TAG_LEN {
            return Err(PacketError::truncated(Layer::Vlan, 0, VLAN_TAG_LEN, data.len()));
        }
        Ok(check_type(Layer::Vlan, be16(data, 2), 2, data.len()))
    }

    /// The tag's 16 bits: priority, drop eligible, number.
    #[inline]
    pub fn control(&self) -> u16 {
        be16(self.bytes(), 0)
    }

    /// The number of the VLAN, 12 bits; 0 stands for a tag with a priority only.
    #[inline]
    pub fn id(&self) -> u16 {
        self.control() & ID
    }

    /// The priority, 3 bits.
    #[inline]
    pub fn priority(&self) -> u8 {
        let [high, _] = self.control().to_be_bytes();
        high >> 5
    }

    /// Whether the frame is to be dropped first where there is not enough room.
    #[inline]
    pub fn drop_eligible(&self) -> bool {
        self.control() & DROP_ELIGIBLE != 0
    }

    /// The field behind the tag as it is: an EtherType from 0x0600 on, else a length in bytes.
    #[inline]
    pub fn type_or_length(&self) -> u16 {
        be16(self.bytes(), 2)
    }

    /// What the tag carries; `None` where a length stands, as in 802.3.
    #[inline]
    pub fn ethertype(&self) -> Option<u16> {
        Some(self.type_or_length()).filter(|field| ethertype::is_ethertype(*field))
    }

    /// What stands behind the tag and its type.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        carried(self.bytes(), VLAN_TAG_LEN, self.type_or_length())
    }
}

impl<'a> Vlan<&'a [u8]> {
    /// Like [`Vlan::payload`], with the lifetime of the bytes and not of the view.
    #[inline]
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        carried(self.buffer, VLAN_TAG_LEN, self.type_or_length())
    }
}

/// Setters.
impl<T: AsRef<[u8]> + AsMut<[u8]>> Vlan<T> {
    /// Sets the number; only the low 12 bits count.
    pub fn set_id(&mut self, id: u16) {
        let control = (self.control() & !ID) | (id & ID);
        put16(self.buffer.as_mut(), 0, control);
    }

    /// Sets the priority; only the low 3 bits count.
    pub fn set_priority(&mut self, priority: u8) {
        let control = (self.control() & 0x1fff) | (u16::from(priority & 7) << 13);
        put16(self.buffer.as_mut(), 0, control);
    }
}

/// A VLAN tag to be written, as the payload of an [`crate::EthernetBuilder`] or of another tag.
///
/// ```
/// use sockeye_packet::{EthernetBuilder, MacAddr, VlanBuilder};
/// let inner = VlanBuilder::new(7, &[1, 2, 3]).ethertype(0x88cc);
/// let outer = VlanBuilder::new(5, inner).service();
/// let mut buffer = [0; 64];
/// let len = EthernetBuilder::new(MacAddr::ZERO, MacAddr::BROADCAST, outer).write(&mut buffer)?;
/// assert_eq!(buffer[12..len], [0x88, 0xa8, 0, 5, 0x81, 0, 0, 7, 0x88, 0xcc, 1, 2, 3]);
/// # Ok::<(), sockeye_packet::PacketError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct VlanBuilder<P> {
    id: u16,
    priority: u8,
    drop_eligible: bool,
    tag: u16,
    ethertype: Option<u16>,
    payload: P,
}

impl<P: Emit> VlanBuilder<P> {
    /// The VLAN `id`, 12 bits, before `payload`: a tag of 802.1Q.
    pub const fn new(id: u16, payload: P) -> Self {
        Self {
            id,
            priority: 0,
            drop_eligible: false,
            tag: ethertype::VLAN,
            ethertype: None,
            payload,
        }
    }

    /// Makes it the service tag of 802.1ad, the outer one.
    pub fn service(mut self) -> Self {
        self.tag = ethertype::SERVICE_VLAN;
        self
    }

    /// The priority, 3 bits.
    pub fn priority(mut self, priority: u8) -> Self {
        self.priority = priority;
        self
    }

    /// Whether the frame is to be dropped first.
    pub fn drop_eligible(mut self, on: bool) -> Self {
        self.drop_eligible = on;
        self
    }

    /// The EtherType of the payload, where it does not know it itself (plain bytes).
    pub fn ethertype(mut self, ethertype: u16) -> Self {
        self.ethertype = Some(ethertype);
        self
    }
}

impl<P: Emit> Emit for VlanBuilder<P> {
    fn emitted_len(&self) -> usize {
        VLAN_TAG_LEN + self.payload.emitted_len()
    }

    fn ethertype(&self) -> Option<u16> {
        Some(self.tag)
    }

    fn emit(&self, out: &mut [u8], _under: Pseudo) -> Result<usize, PacketError> {
        for (max, value) in [(ID, self.id), (7, u16::from(self.priority))] {
            if value > max {
                let (required, actual) = (usize::from(max), usize::from(value));
                return Err(PacketError::new(Layer::Vlan, Fault::Value, 0, required, actual));
            }
        }
        let total = self.emitted_len();
        let field = type_or_length(Layer::Vlan, self.ethertype, &self.payload)?;
        let out = room(out, total, Layer::Vlan)?;
        let control = usize::from(self.priority) << 13 | usize::from(self.drop_eligible) << 12;
        put16(out, 0, low16(control) | self.id);
        put16(out, 2, field);
        self.payload
            .emit(range_mut(out, VLAN_TAG_LEN, total), Pseudo::None)
            .map_err(|error| error.shifted(VLAN_TAG_LEN))?;
        Ok(total)
    }
}
