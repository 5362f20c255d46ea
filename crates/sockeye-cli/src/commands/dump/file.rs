//! Packets into pcapng files: one, or one after another as they reach a size or an age.
//!
//! A file is complete whenever the capture rests: each holds its own header and interface, and is flushed when everything that
//! has come is written. So whatever ends the program, what is on the disk can be read.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::interface_statistics::{InterfaceStatisticsBlock, InterfaceStatisticsOption};
use pcap_file::{DataLink, PcapError};

/// When a file is full.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rotation {
    /// Bytes.
    pub(super) size: Option<u64>,
    /// Since its first packet.
    pub(super) age: Option<Duration>,
    /// How many files are kept; the oldest is removed for a new one.
    pub(super) keep: Option<usize>,
}

impl Rotation {
    const fn rotates(&self) -> bool {
        self.size.is_some() || self.age.is_some()
    }
}

/// What all files say of the interface.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) name: String,
    pub(super) link: DataLink,
    pub(super) snap_len: u32,
}

/// The way of a packet as pcapng counts it (option `epb_flags`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    In,
    Out,
}

/// A capture being written.
pub(super) struct Files {
    path: PathBuf,
    origin: Origin,
    rotation: Rotation,
    /// Files that were written and are still there.
    written: VecDeque<PathBuf>,
    number: u64,
    current: Option<Current>,
}

struct Current {
    writer: PcapNgWriter<BufWriter<Box<dyn Write>>>,
    len: u64,
    /// The time of its first packet.
    since: Option<Duration>,
}

impl Files {
    /// Opens the first file, so that what cannot be written is known before the capture begins.
    ///
    /// # Errors
    /// When it cannot be created.
    pub(super) fn create(path: &Path, origin: Origin, rotation: Rotation) -> anyhow::Result<Self> {
        let mut files = Self {
            path: path.to_owned(),
            origin,
            rotation,
            written: VecDeque::new(),
            number: 0,
            current: None,
        };
        files.open()?;
        Ok(files)
    }

    /// The name of the file of this number: `capture.pcapng` is `capture.00001.pcapng` and so on where it rotates.
    fn name(&self, number: u64) -> PathBuf {
        if !self.rotation.rotates() {
            return self.path.clone();
        }
        let mut name = self.path.file_stem().unwrap_or_default().to_owned();
        name.push(format!(".{number:05}"));
        if let Some(extension) = self.path.extension() {
            name.push(".");
            name.push(extension);
        }
        self.path.with_file_name(name)
    }

    fn open(&mut self) -> anyhow::Result<()> {
        self.number += 1;
        let path = self.name(self.number);
        let to: Box<dyn Write> = if path == Path::new("-") {
            Box::new(io::stdout())
        } else {
            Box::new(File::create(&path).with_context(|| format!("--write {}", path.display()))?)
        };
        let mut writer = PcapNgWriter::new(BufWriter::with_capacity(1 << 16, to))
            .map_err(cause)
            .with_context(|| format!("--write {}", path.display()))?;
        let interface = InterfaceDescriptionBlock {
            linktype: self.origin.link,
            snaplen: self.origin.snap_len,
            options: vec![
                InterfaceDescriptionOption::IfName(Cow::Borrowed(&self.origin.name)),
                // Nanoseconds.
                InterfaceDescriptionOption::IfTsResol(9),
            ],
        };
        writer
            .write_pcapng_block(interface)
            .map_err(cause)
            .with_context(|| format!("--write {}", path.display()))?;
        self.current = Some(Current {
            writer,
            len: 0,
            since: None,
        });
        self.written.push_back(path);
        // The file that is being written is one of those that are kept.
        while self.rotation.rotates()
            && self
                .rotation
                .keep
                .is_some_and(|keep| self.written.len() > keep.max(1))
        {
            if let Some(oldest) = self.written.pop_front() {
                std::fs::remove_file(&oldest).with_context(|| format!("remove {}", oldest.display()))?;
            }
        }
        Ok(())
    }

    /// Whether the file that is being written has to end before a packet of that time.
    fn is_full(&self, time: Duration) -> bool {
        let Some(current) = &self.current else { return true };
        let old = current.since.zip(self.rotation.age);
        self.rotation.size.is_some_and(|size| current.len >= size)
            || old.is_some_and(|(since, age)| time.saturating_sub(since) >= age)
    }

    /// Writes a packet, into a new file where the last one is full.
    ///
    /// # Errors
    /// What the disk says, with the name of the file.
    pub(super) fn write(&mut self, time: Duration, len: u32, data: &[u8], way: Way) -> anyhow::Result<()> {
        if self.is_full(time) {
            self.flush()?;
            self.open()?;
        }
        let packet = EnhancedPacketBlock {
            interface_id: 0,
            timestamp: time,
            original_len: len,
            data: Cow::Borrowed(data),
            options: vec![EnhancedPacketOption::Flags(match way {
                Way::In => 1,
                Way::Out => 2,
            })],
        };
        let Some(current) = &mut self.current else {
            return Ok(());
        };
        let written = current.writer.write_pcapng_block(packet).map_err(cause);
        current.len += u64::try_from(written.with_context(|| told(&self.written))?).unwrap_or(u64::MAX);
        current.since.get_or_insert(time);
        Ok(())
    }

    /// Puts what is written on the disk, so that it can be read as it is.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub(super) fn flush(&mut self) -> anyhow::Result<()> {
        let Some(current) = &mut self.current else {
            return Ok(());
        };
        current
            .writer
            .get_mut()
            .flush()
            .with_context(|| told(&self.written))
    }

    /// Says how many packets there were and how many were lost, and ends the file.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub(super) fn finish(mut self, time: Duration, received: u64, dropped: u64) -> anyhow::Result<()> {
        if let Some(current) = &mut self.current {
            // Two words, the high one first (pcapng section 4.6); the library writes one number.
            let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
            let nanos = if cfg!(target_endian = "little") {
                nanos.rotate_left(32)
            } else {
                nanos
            };
            let statistics = InterfaceStatisticsBlock {
                interface_id: 0,
                timestamp: nanos,
                options: vec![
                    InterfaceStatisticsOption::IsbIfRecv(received),
                    InterfaceStatisticsOption::IsbIfDrop(dropped),
                ],
            };
            let written = current.writer.write_pcapng_block(statistics).map_err(cause);
            written.with_context(|| told(&self.written))?;
        }
        self.flush()
    }
}

fn told(written: &VecDeque<PathBuf>) -> String {
    let path = written.back().map(PathBuf::as_path).unwrap_or(Path::new("-"));
    format!("--write {}", path.display())
}

fn cause(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Origin {
        Origin {
            name: "eth0".to_owned(),
            link: DataLink::ETHERNET,
            snap_len: 65_535,
        }
    }

    #[test]
    fn only_what_rotates_has_numbers_in_its_name() {
        let mut files = Files::create(Path::new("-"), origin(), Rotation::default()).unwrap();
        assert_eq!(files.name(7), Path::new("-"));
        files.path = "/captures/a.b.pcapng".into();
        assert_eq!(files.name(7), Path::new("/captures/a.b.pcapng"));
        files.rotation.size = Some(1);
        assert_eq!(files.name(7), Path::new("/captures/a.b.00007.pcapng"));
        files.path = "plain".into();
        assert_eq!(files.name(123_456), Path::new("plain.123456"));
    }

    #[test]
    fn a_full_file_ends_before_the_next_packet() {
        let mut files = Files::create(Path::new("-"), origin(), Rotation::default()).unwrap();
        let current = files.current.as_mut().unwrap();
        (current.len, current.since) = (1000, Some(Duration::from_secs(5)));
        let after = |s| Duration::from_secs(s);
        assert!(!files.is_full(after(1_000_000)));
        files.rotation.size = Some(1001);
        assert!(!files.is_full(after(5)));
        files.rotation.size = Some(1000);
        assert!(files.is_full(after(5)));
        files.rotation = Rotation {
            age: Some(after(10)),
            ..Rotation::default()
        };
        assert!(!files.is_full(after(14)));
        assert!(files.is_full(after(15)));
        assert!(!files.is_full(after(1)), "a clock that was set back");
    }
}
