//! A block of a receive ring (`TPACKET_V3`) as bytes. No offset and no length in it is trusted.

use std::time::{Duration, SystemTime};

use super::{FrameMeta, IncomingFrame};
use crate::sys::link as sys;

/// `struct tpacket_block_desc`: where its numbers stand.
const FRAME_COUNT: usize = 12;
const FIRST_OFFSET: usize = 16;
const SEQUENCE: usize = 24;
/// `sizeof(struct tpacket3_hdr)`, behind which the `sockaddr_ll` of the frame stands.
const FRAME_HEADER: usize = 48;

/// The frames in a block of a receive ring.
///
/// The kernel writes blocks that are sound. These are read with every offset and length checked all the same, so bytes
/// from anywhere are harmless: at worst the frames end early, and [`BlockFrames::is_malformed`] says so.
///
/// # References
/// [packet_mmap](https://docs.kernel.org/networking/packet_mmap.html), `struct tpacket_block_desc`, `struct tpacket3_hdr`
#[derive(Clone, Copy, Debug)]
#[doc(alias = "tpacket_block_desc")]
pub struct Block<'a> {
    bytes: &'a [u8],
}

impl<'a> Block<'a> {
    /// The block in these bytes, whatever they are.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Frames it says that it has.
    #[must_use]
    pub fn frame_count(&self) -> u32 {
        u32_at(self.bytes, FRAME_COUNT).unwrap_or(0)
    }

    /// The number of the block since the ring was made.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        let bytes = self.bytes.get(SEQUENCE..SEQUENCE + 8);
        bytes
            .and_then(|bytes| Some(u64::from_ne_bytes(bytes.try_into().ok()?)))
            .unwrap_or(0)
    }

    /// Its frames, in the order they came.
    #[must_use]
    pub fn frames(&self) -> BlockFrames<'a> {
        BlockFrames {
            bytes: self.bytes,
            at: u32_at(self.bytes, FIRST_OFFSET).map_or(usize::MAX, |offset| offset as usize),
            left: self.frame_count(),
            malformed: false,
        }
    }
}

/// The frames of a [`Block`].
#[derive(Clone, Debug)]
pub struct BlockFrames<'a> {
    bytes: &'a [u8],
    at: usize,
    left: u32,
    malformed: bool,
}

impl<'a> BlockFrames<'a> {
    /// Whether the frames ended before their time, because an offset or a length led out of the block.
    #[must_use]
    pub const fn is_malformed(&self) -> bool {
        self.malformed
    }

    fn frame(&mut self) -> Option<IncomingFrame<'a>> {
        let header = self.bytes.get(self.at..)?;
        let (fields, rest) = header.split_at_checked(FRAME_HEADER)?;
        let [next, seconds, nanos, captured, len, status] =
            [0, 4, 8, 12, 16, 20].map(|at| u32_at(fields, at).unwrap_or(0));
        let start = usize::from(u16_at(fields, 24)?);
        // A frame lies behind its header and its address.
        let end = start.checked_add(captured as usize)?;
        let bytes = header.get(start..end).filter(|_| start >= FRAME_HEADER)?;
        let mut meta = FrameMeta::new(sys::decode(rest.get(..sys::ADDRESS_LEN)?));
        meta.read_status(status, u16_at(fields, 32)?, u16_at(fields, 36)?);
        let since = Duration::new(u64::from(seconds), nanos.min(999_999_999));
        meta.timestamp = SystemTime::UNIX_EPOCH.checked_add(since);
        if self.left > 1 {
            // Forward only, by a header at least: so the frames end.
            let step = next as usize;
            self.at = self.at.checked_add(step).filter(|_| step >= FRAME_HEADER)?;
        }
        Some(IncomingFrame {
            bytes,
            len: (len as usize).max(bytes.len()),
            meta,
        })
    }
}

impl<'a> Iterator for BlockFrames<'a> {
    type Item = IncomingFrame<'a>;

    fn next(&mut self) -> Option<IncomingFrame<'a>> {
        if self.left == 0 {
            return None;
        }
        let frame = self.frame();
        if frame.is_some() {
            self.left -= 1;
        } else {
            self.left = 0;
            self.malformed = true;
        }
        frame
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A block as the kernel lays it out.
    fn block(frames: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![0; 48];
        bytes[FRAME_COUNT..FRAME_COUNT + 4]
            .copy_from_slice(&u32::try_from(frames.len()).unwrap().to_ne_bytes());
        bytes[FIRST_OFFSET..FIRST_OFFSET + 4].copy_from_slice(&48u32.to_ne_bytes());
        bytes[SEQUENCE..SEQUENCE + 8].copy_from_slice(&9u64.to_ne_bytes());
        for (index, frame) in frames.iter().enumerate() {
            let start = bytes.len();
            let next = (82 + frame.len()).next_multiple_of(16);
            let len = u32::try_from(frame.len()).unwrap();
            bytes.resize(start + next, 0);
            let header = &mut bytes[start..];
            header[..4].copy_from_slice(&u32::try_from(next).unwrap().to_ne_bytes());
            header[4..8].copy_from_slice(&1_700_000_000u32.to_ne_bytes());
            header[8..12].copy_from_slice(&u32::try_from(index).unwrap().to_ne_bytes());
            header[12..16].copy_from_slice(&len.to_ne_bytes());
            header[16..20].copy_from_slice(&(len + 1).to_ne_bytes());
            header[20..24].copy_from_slice(&0x11u32.to_ne_bytes());
            header[24..26].copy_from_slice(&82u16.to_ne_bytes());
            header[32..36].copy_from_slice(&7u32.to_ne_bytes());
            header[52..56].copy_from_slice(&3u32.to_ne_bytes());
            header[82..82 + frame.len()].copy_from_slice(frame);
        }
        bytes
    }

    #[test]
    fn frames_are_read_in_order_with_what_is_known_of_them() {
        let bytes = block(&[b"one", b"", b"three"]);
        let block = Block::new(&bytes);
        assert_eq!((block.frame_count(), block.sequence()), (3, 9));
        let mut frames = block.frames();
        let read: Vec<_> = frames.by_ref().collect();
        assert!(!frames.is_malformed());
        let payloads: Vec<_> = read.iter().map(|frame| frame.bytes).collect();
        assert_eq!(payloads, [&b"one"[..], b"", b"three"]);
        assert_eq!((read[2].len, read[2].truncated()), (6, true));
        assert_eq!(read[1].meta.source.interface, 3);
        assert_eq!(read[1].meta.vlan.unwrap().id(), 7);
        let time = SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 2);
        assert_eq!(read[2].meta.timestamp, Some(time));
    }

    #[test]
    fn an_offset_that_leads_nowhere_ends_the_frames() {
        let sound = block(&[b"one", b"two"]);
        // The first frame's place, the next frame's, the frame's own, its length.
        for (at, value) in [
            (16, 60_000u32),
            (16, u32::MAX),
            (48, 0),
            (48, 47),
            (48, u32::MAX),
            (60, 5_000),
            (72, 0),
        ] {
            let mut bytes = sound.clone();
            bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
            let mut frames = Block::new(&bytes).frames();
            assert!(frames.by_ref().count() < 2, "{at} {value}");
            assert!(frames.is_malformed(), "{at} {value}");
        }
    }

    proptest! {
        #[test]
        fn prop_blocks_of_any_bytes_are_harmless(
            cut in 0usize..400,
            changes in proptest::collection::vec((0usize..300, any::<u8>()), 0..20),
            noise in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let mut bytes = block(&[b"one", &[7; 60], b"three"]);
            for (at, value) in changes {
                let len = bytes.len();
                bytes[at % len] = value;
            }
            bytes.truncate(cut);
            for bytes in [&bytes, &noise] {
                let frames = Block::new(bytes).frames();
                // Each has a header of its own in the block.
                prop_assert!(frames.clone().count() <= bytes.len() / FRAME_HEADER);
                for frame in frames {
                    prop_assert!(frame.len >= frame.bytes.len());
                }
            }
        }
    }
}
