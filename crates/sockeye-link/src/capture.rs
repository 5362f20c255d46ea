//! Captures as a row of frames, whichever of the two formats they come in: pcap, or pcapng.
//!
//! ```
//! use sockeye_link::capture::{CaptureError, Reader};
//!
//! // A header of pcap in big-endian order, for raw IP (101), and one packet of two bytes.
//! let mut file = vec![0xa1, 0xb2, 0xc3, 0xd4, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 101];
//! file.extend([0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 60, 0x45, 0]);
//! let mut reader = Reader::new(&file[..])?;
//! let frame = reader.next_frame()?.ok_or(CaptureError::Cut)?;
//! assert_eq!((frame.link_type, frame.len, &frame.data[..]), (101, 60, &[0x45, 0][..]));
//! assert_eq!(frame.time.as_secs(), 7);
//! assert!(reader.next_frame()?.is_none());
//! # Ok::<(), CaptureError>(())
//! ```
//!
//! # References
//! draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.

use std::fmt;
use std::io::{self, BufReader, Chain, Cursor, Read};
use std::time::Duration;

use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::{Block, PcapNgReader};
use pcap_file::{PcapError, TsResolution};
use thiserror::Error;

/// One frame of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapturedFrame {
    /// When, since 1970.
    pub time: Duration,
    /// Bytes it had on the wire.
    pub len: u32,
    /// What it begins with, by the number of the file (LINKTYPE); [`sockeye_packet::LinkType::from_number`] knows some.
    pub link_type: u32,
    /// Its bytes, as far as they were captured.
    pub data: Vec<u8>,
}

/// What is wrong with a capture.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// It ends within the four bytes that say what it is.
    #[error("no capture: it ends within the first four bytes")]
    TooShort,
    /// It begins as neither of the two formats.
    #[error("no capture: neither pcap nor pcapng")]
    Unknown,
    /// It ends in the middle of something. What came before is sound.
    #[error("the capture ends in the middle of a packet or header")]
    Cut,
    /// A packet names an interface that the file has not described.
    #[error("a packet of an interface that was not described")]
    Interface,
    /// Something in it is against its format.
    #[error("the capture is damaged: {0}")]
    Damaged(#[source] PcapError),
    /// Reading failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What is read: the four bytes that were looked at, and the rest.
type Source<R> = Chain<Cursor<[u8; 4]>, BufReader<R>>;

enum Format<R: Read> {
    Pcap(PcapReader<Source<R>>),
    PcapNg(PcapNgReader<Source<R>>),
}

/// A capture being read, one frame at a time.
pub struct Reader<R: Read> {
    format: Format<R>,
}

impl<R: Read> fmt::Debug for Reader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = match &self.format {
            Format::Pcap(_) => "pcap",
            Format::PcapNg(_) => "pcapng",
        };
        f.debug_struct("Reader").field("format", &format).finish()
    }
}

impl<R: Read> Reader<R> {
    /// Looks at the first bytes, and reads the header. Reads are buffered.
    ///
    /// # Errors
    /// [`CaptureError::TooShort`], [`CaptureError::Unknown`], and what is wrong with the header.
    pub fn new(mut source: R) -> Result<Self, CaptureError> {
        let mut magic = [0; 4];
        source
            .read_exact(&mut magic)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => CaptureError::TooShort,
                _ => CaptureError::Io(error),
            })?;
        let source = Cursor::new(magic).chain(BufReader::new(source));
        let format = match u32::from_be_bytes(magic) {
            0x0a0d_0d0a => PcapNgReader::new(source).map(Format::PcapNg),
            0xa1b2_c3d4 | 0xd4c3_b2a1 | 0xa1b2_3c4d | 0x4d3c_b2a1 => {
                PcapReader::new(source).map(Format::Pcap)
            }
            _ => return Err(CaptureError::Unknown),
        };
        format.map(|format| Self { format }).map_err(fault)
    }

    /// The next frame; `None` at the end.
    ///
    /// # Errors
    /// As the kinds of [`CaptureError`] say. Nothing can be read behind an error.
    pub fn next_frame(&mut self) -> Result<Option<CapturedFrame>, CaptureError> {
        match &mut self.format {
            Format::Pcap(reader) => pcap_frame(reader),
            Format::PcapNg(reader) => pcapng_frame(reader),
        }
    }
}

fn fault(error: PcapError) -> CaptureError {
    match error {
        PcapError::IoError(error) if error.kind() != io::ErrorKind::UnexpectedEof => CaptureError::Io(error),
        PcapError::IoError(_) | PcapError::IncompleteBuffer => CaptureError::Cut,
        other => CaptureError::Damaged(other),
    }
}

/// Raw packets: the checked ones refuse what odd programs write (more captured than sent, fractions of over a second).
fn pcap_frame<R: Read>(reader: &mut PcapReader<R>) -> Result<Option<CapturedFrame>, CaptureError> {
    let header = reader.header();
    let Some(packet) = reader.next_raw_packet() else {
        return Ok(None);
    };
    let packet = packet.map_err(fault)?;
    let fraction = match header.ts_resolution {
        TsResolution::MicroSecond => Duration::from_micros(u64::from(packet.ts_frac)),
        TsResolution::NanoSecond => Duration::from_nanos(u64::from(packet.ts_frac)),
    };
    Ok(Some(CapturedFrame {
        time: Duration::from_secs(u64::from(packet.ts_sec)) + fraction,
        len: packet.orig_len,
        // The high bits of its word say how long the frame check sequence is.
        link_type: u32::from(header.datalink) & 0xffff,
        data: packet.data.into_owned(),
    }))
}

fn pcapng_frame<R: Read>(reader: &mut PcapNgReader<R>) -> Result<Option<CapturedFrame>, CaptureError> {
    loop {
        let Some(block) = reader.next_block() else {
            return Ok(None);
        };
        let (interface, units, len, data) = match block.map_err(fault)? {
            // The library takes the count for nanoseconds, whatever the interface counts in.
            Block::EnhancedPacket(packet) => (
                packet.interface_id,
                packet.timestamp.as_nanos(),
                packet.original_len,
                packet.data.into_owned(),
            ),
            Block::Packet(packet) => (
                u32::from(packet.interface_id),
                u128::from(packet.timestamp),
                packet.original_len,
                packet.data.into_owned(),
            ),
            Block::SimplePacket(packet) => (0, 0, packet.original_len, packet.data.into_owned()),
            _ => continue,
        };
        let interface = usize::try_from(interface)
            .ok()
            .and_then(|index| reader.interfaces().get(index));
        let Some(interface) = interface else {
            return Err(CaptureError::Interface);
        };
        return Ok(Some(CapturedFrame {
            time: time_of(interface, units),
            len,
            link_type: interface.linktype.into(),
            data,
        }));
    }
}

/// A time in the units of its interface.
fn time_of(interface: &InterfaceDescriptionBlock<'_>, units: u128) -> Duration {
    let (mut resolution, mut offset_s) = (6, 0);
    for option in &interface.options {
        match option {
            InterfaceDescriptionOption::IfTsResol(value) => resolution = *value,
            InterfaceDescriptionOption::IfTsOffset(value) => offset_s = *value,
            _ => {}
        }
    }
    let exponent = u32::from(resolution & 0x7f);
    let a_second = if resolution & 0x80 == 0 {
        10_u128.checked_pow(exponent)
    } else {
        1_u128.checked_shl(exponent)
    };
    let nanos = match a_second {
        Some(a_second) if a_second > 0 => units.saturating_mul(1_000_000_000) / a_second,
        _ => 0,
    };
    let seconds = u64::try_from(nanos / 1_000_000_000).unwrap_or(u64::MAX);
    let rest = u32::try_from(nanos % 1_000_000_000).unwrap_or(0);
    // The offset is signed, although the library reads it as unsigned.
    Duration::new(seconds.saturating_add_signed(offset_s.cast_signed()), rest)
}
