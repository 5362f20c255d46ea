//! The two halves of the traffic class octet: the DSCP and ECN.

/// Explicit congestion notification: the low two bits of the traffic class.
///
/// # References
/// [RFC 3168](https://www.rfc-editor.org/rfc/rfc3168) section 5
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Ecn {
    /// The sender does not take part.
    NotEct = 0b00,
    /// ECN-capable transport, codepoint 1 (used by L4S, RFC 9331).
    Ect1 = 0b01,
    /// ECN-capable transport, codepoint 0.
    Ect0 = 0b10,
    /// Congestion experienced: a router on the path would have dropped it.
    Ce = 0b11,
}

impl Ecn {
    /// The codepoint in the low two bits of a traffic class octet.
    #[inline]
    pub const fn from_class(octet: u8) -> Self {
        match octet & 0b11 {
            0b00 => Self::NotEct,
            0b01 => Self::Ect1,
            0b10 => Self::Ect0,
            _ => Self::Ce,
        }
    }

    /// The two bits.
    #[inline]
    pub const fn bits(self) -> u8 {
        self as u8
    }
}

/// Differentiated services codepoint: the high six bits of the traffic class, 0 to 63.
///
/// # References
/// [RFC 2474](https://www.rfc-editor.org/rfc/rfc2474); the values are those of the IANA registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Dscp(u8);

impl Dscp {
    /// Best effort, the default forwarding class.
    pub const DEFAULT: Self = Self(0);
    /// Expedited forwarding ([RFC 3246](https://www.rfc-editor.org/rfc/rfc3246)).
    pub const EF: Self = Self(46);
    /// Assured forwarding class 1, low drop precedence.
    pub const AF11: Self = Self(10);
    /// Assured forwarding class 4, low drop precedence.
    pub const AF41: Self = Self(34);
    /// Class selector 1.
    pub const CS1: Self = Self(8);
    /// Class selector 6: network control.
    pub const CS6: Self = Self(48);
    /// Lower effort ([RFC 8622](https://www.rfc-editor.org/rfc/rfc8622)).
    pub const LE: Self = Self(1);

    /// The codepoint `value`, or `None` above 63.
    #[inline]
    pub const fn new(value: u8) -> Option<Self> {
        if value < 64 { Some(Self(value)) } else { None }
    }

    /// The codepoint in the high six bits of a traffic class octet.
    #[inline]
    pub const fn from_class(octet: u8) -> Self {
        Self(octet >> 2)
    }

    /// 0 to 63.
    #[inline]
    pub const fn value(self) -> u8 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_octet_splits_into_both_and_back() {
        for octet in 0..=255u8 {
            let (dscp, ecn) = (Dscp::from_class(octet), Ecn::from_class(octet));
            assert_eq!(dscp.value() << 2 | ecn.bits(), octet);
        }
        // RFC 3246: EF is 101110.
        assert_eq!(Dscp::EF, Dscp::from_class(0b1011_1000));
        assert_eq!(Dscp::new(64), None);
    }
}
