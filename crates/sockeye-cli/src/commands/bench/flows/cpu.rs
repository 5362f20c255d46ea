//! Processor time, and staying on one CPU.

use std::io;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use sockeye::socket::os::process_cpu;

/// Processor time of this process from a moment on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CpuClock {
    user: Duration,
    system: Duration,
}

impl CpuClock {
    pub(crate) fn start() -> Self {
        let (user, system) = process_cpu().unwrap_or_default();
        Self { user, system }
    }

    /// What was used since: user and system.
    pub(crate) fn used(&self) -> (Duration, Duration) {
        let (user, system) = process_cpu().unwrap_or_default();
        (user.saturating_sub(self.user), system.saturating_sub(self.system))
    }
}

/// This thread on one CPU, and back where it was when this is dropped.
#[derive(Debug)]
pub(crate) struct Pinned(CpuSet);

impl Pinned {
    /// # Errors
    /// Where there is no such CPU, or this process may not use it.
    pub(crate) fn to(cpu: u16) -> io::Result<Self> {
        let before = sched_getaffinity(None)?;
        if usize::from(cpu) >= CpuSet::MAX_CPU || !before.is_set(cpu.into()) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("there is no CPU {cpu} for this process (taskset -p $$ shows those it has)"),
            ));
        }
        let mut one = CpuSet::new();
        one.set(cpu.into());
        sched_setaffinity(None, &one)?;
        Ok(Self(before))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // It was allowed before.
        let _ = sched_setaffinity(None, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_stays_where_it_is_put_and_comes_back() {
        let before = sched_getaffinity(None).unwrap();
        let cpu = (0..CpuSet::MAX_CPU).find(|cpu| before.is_set(*cpu)).unwrap();
        let pinned = Pinned::to(u16::try_from(cpu).unwrap()).unwrap();
        assert_eq!(sched_getaffinity(None).unwrap().count(), 1);
        drop(pinned);
        assert_eq!(sched_getaffinity(None).unwrap().count(), before.count());
        assert!(Pinned::to(u16::MAX).is_err());
    }
}
