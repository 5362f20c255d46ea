//! Captures as a row of frames, whichever of the two formats they come in.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::{Block, PcapNgReader};
use pcap_file::{DataLink, PcapError, TsResolution};

use crate::privileges;

/// One frame of a capture.
#[derive(Debug)]
pub(super) struct Frame {
    /// Since 1970.
    pub(super) time: Duration,
    /// Bytes it had on the wire.
    pub(super) len: u32,
    /// What it begins with.
    pub(super) link: DataLink,
    /// Its bytes, as far as they were captured.
    pub(super) data: Vec<u8>,
}

type Source = Box<dyn Read>;

/// A capture being read.
pub(super) enum Capture {
    Pcap(PcapReader<Source>),
    PcapNg(PcapNgReader<Source>),
}

impl Capture {
    /// Opens a file (`-` is stdin), gives up privileges, and looks at its first bytes.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let mut source: Source = if path == Path::new("-") {
            Box::new(io::stdin())
        } else {
            Box::new(File::open(path).with_context(|| format!("open {}", path.display()))?)
        };
        // Before the first byte is looked at.
        privileges::drop_all()?;
        let mut magic = [0; 4];
        source
            .read_exact(&mut magic)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => {
                    anyhow!(
                        "{} is no capture: it ends within the first four bytes",
                        path.display()
                    )
                }
                _ => anyhow!(error).context(format!("read {}", path.display())),
            })?;
        let source: Source = Box::new(io::Cursor::new(magic).chain(BufReader::new(source)));
        let opened = match u32::from_be_bytes(magic) {
            0x0a0d_0d0a => PcapNgReader::new(source).map(Self::PcapNg),
            0xa1b2_c3d4 | 0xd4c3_b2a1 | 0xa1b2_3c4d | 0x4d3c_b2a1 => PcapReader::new(source).map(Self::Pcap),
            _ => bail!("{} is no capture: neither pcap nor pcapng", path.display()),
        };
        opened
            .map_err(readable)
            .with_context(|| format!("read {}", path.display()))
    }

    /// The next frame; `None` at the end.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Frame>> {
        match self {
            Self::Pcap(reader) => pcap_frame(reader),
            Self::PcapNg(reader) => pcapng_frame(reader),
        }
    }
}

/// The library's error with its cause in view.
fn readable(error: PcapError) -> anyhow::Error {
    match error {
        PcapError::IoError(error) if error.kind() != io::ErrorKind::UnexpectedEof => error.into(),
        PcapError::IoError(_) | PcapError::IncompleteBuffer => {
            anyhow!("the capture ends in the middle of a packet or header")
        }
        other => other.into(),
    }
}

/// Raw packets: the checked ones refuse what odd programs write (more captured than sent, fractions of over a second).
fn pcap_frame(reader: &mut PcapReader<Source>) -> anyhow::Result<Option<Frame>> {
    let header = reader.header();
    let Some(packet) = reader.next_raw_packet() else {
        return Ok(None);
    };
    let packet = packet.map_err(readable)?;
    let fraction = match header.ts_resolution {
        TsResolution::MicroSecond => Duration::from_micros(u64::from(packet.ts_frac)),
        TsResolution::NanoSecond => Duration::from_nanos(u64::from(packet.ts_frac)),
    };
    Ok(Some(Frame {
        time: Duration::from_secs(u64::from(packet.ts_sec)) + fraction,
        len: packet.orig_len,
        // The high bits of its word say how long the frame check sequence is.
        link: DataLink::from(u32::from(header.datalink) & 0xffff),
        data: packet.data.into_owned(),
    }))
}

fn pcapng_frame(reader: &mut PcapNgReader<Source>) -> anyhow::Result<Option<Frame>> {
    loop {
        let Some(block) = reader.next_block() else {
            return Ok(None);
        };
        let (interface, units, len, data) = match block.map_err(readable)? {
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
            bail!("a packet of an interface that was not described")
        };
        return Ok(Some(Frame {
            time: time_of(interface, units),
            len,
            link: interface.linktype,
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
