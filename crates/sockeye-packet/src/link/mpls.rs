//! MPLS: a stack of labels before a packet.
//!
//! # References
//! RFC 3032, RFC 5462 (traffic class).

use crate::bytes::be32;
use crate::error::{Lax, Layer, PacketError};
use crate::icmp::MplsLabel;
use crate::view::view;

/// One label with what belongs to it, in bytes.
pub const MPLS_LABEL_LEN: usize = 4;

const BOTTOM: u32 = 0x100;

/// A view of a stack of labels and the packet under it.
///
/// ```
/// use sockeye_packet::Mpls;
/// let mpls = Mpls::new(&[0, 1, 0, 64, 0, 2, 1, 63, 0x45])?;
/// let labels: Vec<_> = mpls.labels().map(|label| (label.label, label.ttl)).collect();
/// assert_eq!((labels, mpls.payload()), (vec![(16, 64), (32, 63)], &[0x45][..]));
/// # Ok::<(), sockeye_packet::PacketError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mpls<T> {
    buffer: T,
}

view!(Mpls);

impl<T: AsRef<[u8]>> Mpls<T> {
    /// A whole stack: down to the label that says that it is the last one.
    ///
    /// # Errors
    /// [`crate::Fault::Truncated`] if the bytes end before that.
    #[inline]
    pub fn new(buffer: T) -> Result<Self, PacketError> {
        match Self::check(buffer.as_ref())? {
            None => Ok(Self { buffer }),
            Some(error) => Err(error),
        }
    }

    /// A stack of at least one label; what is cut off is reported beside the view.
    ///
    /// # Errors
    /// [`crate::Fault::Truncated`] for fewer than 4 bytes.
    #[inline]
    pub fn lax(buffer: T) -> Result<Lax<Self>, PacketError> {
        let stopped = Self::check(buffer.as_ref())?;
        Ok(Lax {
            view: Self { buffer },
            stopped,
        })
    }

    fn check(data: &[u8]) -> Result<Option<PacketError>, PacketError> {
        let truncated = |required| PacketError::truncated(Layer::Mpls, 0, required, data.len());
        if data.len() < MPLS_LABEL_LEN {
            return Err(truncated(MPLS_LABEL_LEN));
        }
        let (len, whole) = stack_len(data);
        Ok((!whole).then(|| truncated(len + MPLS_LABEL_LEN)))
    }

    /// The labels from the top of the stack to its bottom.
    #[inline]
    pub fn labels(&self) -> impl Iterator<Item = MplsLabel> + '_ {
        let (words, _) = self.bytes().as_chunks::<MPLS_LABEL_LEN>();
        let mut done = false;
        words.iter().map_while(move |word| {
            let label = MplsLabel::from_word(u32::from_be_bytes(*word));
            let this = (!done).then_some(label);
            done |= label.bottom;
            this
        })
    }

    /// Length of the stack, in bytes.
    #[inline]
    pub fn header_len(&self) -> usize {
        stack_len(self.bytes()).0
    }

    /// What stands under the stack. Nothing says what it is: mostly an IP packet, whose first four bits are 4 or 6.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        under(self.bytes())
    }
}

/// How many bytes of whole labels there are, and whether the last one is the bottom.
fn stack_len(data: &[u8]) -> (usize, bool) {
    let mut at = 0;
    while at + MPLS_LABEL_LEN <= data.len() {
        let bottom = be32(data, at) & BOTTOM != 0;
        at += MPLS_LABEL_LEN;
        if bottom {
            return (at, true);
        }
    }
    (at, false)
}

fn under(data: &[u8]) -> &[u8] {
    match stack_len(data) {
        (len, true) => data.get(len..).unwrap_or(&[]),
        // Where the stack goes on behind the end of the bytes, nothing of what is there is the packet.
        (_, false) => &[],
    }
}

impl<'a> Mpls<&'a [u8]> {
    /// Like [`Mpls::payload`], with the lifetime of the bytes and not of the view.
    #[inline]
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        under(self.buffer)
    }
}
