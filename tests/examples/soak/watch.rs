//! Memory and descriptors of this process over time.

use std::fmt;
use std::time::Duration;

use crate::Error;

/// Memory may grow by so much after the warm-up: the allocator's own ups and downs.
const SLACK_KIB: u64 = 3 * 1024;
/// And descriptors: connections begin and end all the time. One that is lost shows at the end, where none may be left.
const SLACK_DESCRIPTORS: u64 = 48;

/// One look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    at: Duration,
    resident_kib: u64,
    descriptors: u64,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:7} KiB {:5} descriptors",
            self.resident_kib, self.descriptors
        )
    }
}

/// All of them, and what was open before anything began.
#[derive(Debug)]
pub(crate) struct Watch {
    before: u64,
    samples: Vec<Sample>,
}

impl Watch {
    pub(crate) fn new() -> Self {
        Self {
            before: descriptors(),
            samples: Vec::new(),
        }
    }

    pub(crate) fn sample(&mut self, at: Duration) -> Sample {
        let sample = Sample {
            at,
            resident_kib: resident_kib(),
            descriptors: descriptors(),
        };
        self.samples.push(sample);
        sample
    }

    /// Compares what was usual after the first quarter, the warm-up, with what was at the end.
    ///
    /// # Errors
    /// When memory or descriptors grew, or a descriptor is left open now.
    pub(crate) fn judge(&self) -> Result<(), Error> {
        let left = descriptors();
        if left > self.before {
            return Err(format!("{} descriptors are left open", left - self.before).into());
        }
        let warm = self.samples.get(self.samples.len() / 4..).unwrap_or_default();
        let third = warm.len() / 3;
        if third == 0 {
            return Err("too short to say whether anything grows".into());
        }
        let (first, last) = (&warm[..third], &warm[warm.len() - third..]);
        let memory = |of: &[Sample]| median(of.iter().map(|sample| sample.resident_kib));
        let open = |of: &[Sample]| median(of.iter().map(|sample| sample.descriptors));
        let minutes = (warm[warm.len() - 1].at - warm[0].at).as_secs_f64() / 60.0;
        crate::say(&format!(
            "after the warm-up, {minutes:.1} minutes: {} KiB at first, {} KiB at last; {} descriptors at first, {} at last",
            memory(first),
            memory(last),
            open(first),
            open(last)
        ));
        if memory(last) > memory(first) + SLACK_KIB {
            return Err("memory grows".into());
        }
        if open(last) > open(first) + SLACK_DESCRIPTORS {
            return Err("descriptors grow".into());
        }
        Ok(())
    }
}

fn median(values: impl Iterator<Item = u64>) -> u64 {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

fn descriptors() -> u64 {
    std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64)
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let of_line = |line: &str| {
        line.strip_prefix("VmRSS:")?
            .trim()
            .strip_suffix(" kB")?
            .trim()
            .parse()
            .ok()
    };
    status.lines().find_map(of_line).unwrap_or(0)
}
