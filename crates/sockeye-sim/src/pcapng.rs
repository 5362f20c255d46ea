//! Captures as pcapng files, for tshark and its like.

use std::borrow::Cow;
use std::io::{self, Write};
use std::time::Duration;

use pcap_file::DataLink;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionBlock;

use crate::sim::Sim;

/// The longest packet that is recorded.
const SNAPLEN: u32 = 65_535;

impl Sim {
    /// Writes what [`capture`](Sim::capture) has recorded as pcapng: raw IP, times from the beginning of the
    /// simulation on, which is the beginning of 1970.
    ///
    /// # Errors
    /// What writing says.
    pub fn write_pcapng(&self, out: impl Write) -> io::Result<()> {
        let other = |error| match error {
            pcap_file::PcapError::IoError(error) => error,
            other => io::Error::other(other),
        };
        let mut writer = PcapNgWriter::new(out).map_err(other)?;
        let interface = InterfaceDescriptionBlock {
            linktype: DataLink::RAW,
            snaplen: SNAPLEN,
            options: Vec::new(),
        };
        writer.write_pcapng_block(interface).map_err(other)?;
        for (at, packet) in self.captured() {
            let block = EnhancedPacketBlock {
                interface_id: 0,
                // Without an if_tsresol option the resolution is a microsecond, and the field counts in it.
                timestamp: Duration::from_nanos(at.as_nanos() / 1000),
                original_len: u32::try_from(packet.len()).unwrap_or(u32::MAX),
                data: Cow::Owned(packet),
                options: Vec::new(),
            };
            writer.write_pcapng_block(block).map_err(other)?;
        }
        Ok(())
    }
}
