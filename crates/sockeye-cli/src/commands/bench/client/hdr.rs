//! `--hdr FILE`: the latencies as an interval log of HdrHistogram (format V2), which its other implementations read, merge and
//! plot.

use std::fs::File;
use std::io::{self, BufWriter, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, anyhow};
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use super::figures::Outcome;

/// A file that is opened before the run and written after it.
#[derive(Debug)]
pub(crate) struct Kept {
    path: PathBuf,
    file: File,
    option: &'static str,
}

impl Kept {
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn open(path: &Path, option: &'static str) -> anyhow::Result<Self> {
        // What is there stays until there is something to take its place.
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path);
        Ok(Self {
            file: file.with_context(|| format!("{option} {}", path.display()))?,
            path: path.to_owned(),
            option,
        })
    }

    /// # Errors
    /// When it cannot be written.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let mut written = || -> io::Result<()> {
            // A pipe has no length.
            if self.file.metadata()?.is_file() {
                self.file.set_len(0)?;
                self.file.rewind()?;
            }
            self.file.write_all(bytes)?;
            self.file.flush()
        };
        written().with_context(|| format!("{} {}", self.option, self.path.display()))
    }
}

/// Each latency as one interval with its name as the tag, in nanoseconds.
///
/// # Errors
/// When a histogram cannot be encoded.
pub(crate) fn log(outcome: &Outcome, ended: SystemTime) -> anyhow::Result<Vec<u8>> {
    let mut bytes = BufWriter::new(Vec::new());
    let time = outcome
        .sums()
        .map(|(_, sum)| sum.elapsed)
        .max()
        .unwrap_or_default();
    let begun = ended.checked_sub(time).unwrap_or(ended);
    let mut serializer = V2DeflateSerializer::new();
    let mut builder = IntervalLogWriterBuilder::new();
    builder
        .add_comment(&format!(
            "sockeye bench client: {} over {}, nanoseconds",
            outcome.mode, outcome.transport
        ))
        .with_start_time(begun)
        .with_base_time(begun);
    let mut log = builder.begin_log_with(&mut bytes, &mut serializer)?;
    for latency in &outcome.latencies {
        let tag = Tag::new(latency.name);
        log.write_histogram(&latency.histogram, Duration::ZERO, time, tag)
            .map_err(|error| anyhow!("encode the histogram {}: {error}", latency.name))?;
    }
    Ok(bytes.into_inner().map_err(io::IntoInnerError::into_error)?)
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::super::super::flows::latency::histogram;
    use super::super::figures::Latency;
    use super::*;

    #[test]
    fn each_latency_is_an_interval_with_its_name() {
        let mut histogram = histogram().unwrap();
        histogram.record_n(5_000_000, 7).unwrap();
        let mut outcome = Outcome::empty("x".to_owned(), "rr", "tcp");
        for name in ["rtt", "rtt_uncorrected"] {
            let histogram = histogram.clone();
            outcome.latencies.push(Latency { name, histogram });
        }
        let bytes = log(&outcome, SystemTime::UNIX_EPOCH + Duration::from_secs(5)).unwrap();
        let intervals = IntervalLogIterator::new(&bytes).filter_map(|entry| match entry.unwrap() {
            LogEntry::Interval(interval) => Some((interval.tag().unwrap().as_str(), interval.max())),
            _ => None,
        });
        let intervals: Vec<_> = intervals.collect();
        assert_eq!(intervals.len(), 2);
        assert_eq!((intervals[0].0, intervals[1].0), ("rtt", "rtt_uncorrected"));
        assert!((intervals[0].1 - 5e6).abs() < 5e3, "{intervals:?}");
    }
}
