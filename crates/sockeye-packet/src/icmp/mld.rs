//! The records of a multicast listener report of version 2.
//!
//! # References
//! RFC 3810 section 5.2.

use core::net::Ipv6Addr;

use crate::bytes::{array, be8, be16, range};
use crate::error::{Layer, PacketError};

/// What a record says of its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MulticastReport {
    /// Only the sources are wanted (1).
    IsInclude,
    /// All but the sources are wanted (2).
    IsExclude,
    /// From now on only the sources (3).
    ToInclude,
    /// From now on all but the sources (4).
    ToExclude,
    /// These sources as well (5).
    AllowNew,
    /// These sources no longer (6).
    BlockOld,
    /// Any other number: the record is ignored.
    Other(u8),
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MldRecord<'a> {
    /// What it says.
    pub report: MulticastReport,
    /// Of which group.
    pub group: Ipv6Addr,
    /// The sources.
    pub sources: &'a [[u8; 16]],
}

/// Walks over the records; ends after the number the header says, or after the first error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MldRecords<'a> {
    data: &'a [u8],
    at: usize,
    left: u16,
}

impl<'a> MldRecords<'a> {
    /// `count` records in the bytes behind the header.
    #[must_use]
    pub const fn new(count: u16, data: &'a [u8]) -> Self {
        Self {
            data,
            at: 0,
            left: count,
        }
    }
}

impl<'a> Iterator for MldRecords<'a> {
    type Item = Result<MldRecord<'a>, PacketError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let rest = self.data.get(self.at..).unwrap_or(&[]);
        let sources = usize::from(be16(rest, 2)) * 16;
        let len = 20 + sources + usize::from(be8(rest, 1)) * 4;
        if rest.len() < len {
            self.left = 0;
            return Some(Err(PacketError::truncated(Layer::Mld, self.at, len, rest.len())));
        }
        self.at += len;
        let report = match be8(rest, 0) {
            1 => MulticastReport::IsInclude,
            2 => MulticastReport::IsExclude,
            3 => MulticastReport::ToInclude,
            4 => MulticastReport::ToExclude,
            5 => MulticastReport::AllowNew,
            6 => MulticastReport::BlockOld,
            other => MulticastReport::Other(other),
        };
        Some(Ok(MldRecord {
            report,
            group: Ipv6Addr::from(array::<16>(rest, 4)),
            sources: range(rest, 20, 20 + sources).as_chunks::<16>().0,
        }))
    }
}

impl core::iter::FusedIterator for MldRecords<'_> {}
