//! The process and its machine: the clock, the CPUs, the limit of descriptors.

use std::io;
use std::time::Duration;

use crate::sys::process as sys;

/// Nanoseconds on the monotonic clock (`CLOCK_MONOTONIC`), the clock of [`TimerFd`](super::TimerFd) and of
/// [`Instant`](std::time::Instant). Its zero is some time before the process began.
#[must_use]
#[inline]
pub fn monotonic_ns() -> u64 {
    sys::monotonic_ns()
}

/// Nanoseconds of CPU that this thread has used, its own and the kernel's work for it.
#[must_use]
#[doc(alias = "CLOCK_THREAD_CPUTIME_ID")]
pub fn thread_cpu_ns() -> u64 {
    sys::thread_cpu_ns()
}

/// Processor time that all threads of this process have used: for its own code, and for the kernel's work for it.
///
/// # Errors
///
/// None on Linux.
#[doc(alias = "getrusage")]
pub fn process_cpu() -> io::Result<(Duration, Duration)> {
    sys::process_cpu()
}

/// The CPUs that this thread may run on, ascending. CPUs past the 1024th are not seen.
///
/// # Errors
///
/// EINVAL on a machine with more CPUs than a `cpu_set_t` holds.
#[doc(alias = "sched_getaffinity")]
pub fn allowed_cpus() -> io::Result<Vec<usize>> {
    sys::allowed_cpus()
}

/// The CPUs that are switched on, ascending, whether this thread may use them or not.
///
/// # Errors
///
/// Where `/sys/devices/system/cpu/online` cannot be read.
pub fn online_cpus() -> io::Result<Vec<usize>> {
    let list = std::fs::read_to_string("/sys/devices/system/cpu/online")?;
    parse_cpu_list(list.trim()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// `0-3,8`: the kernel's way to write a set of CPUs.
fn parse_cpu_list(list: &str) -> Option<Vec<usize>> {
    // Far above what any kernel is built for (`CONFIG_NR_CPUS`).
    const MOST: usize = 1 << 16;
    let mut cpus = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.parse::<usize>().ok().filter(|&cpu| cpu < MOST);
        cpus.extend(number(first)?..=number(last)?);
    }
    Some(cpus)
}

/// Lets this thread run on `cpu` and nowhere else.
///
/// # Errors
///
/// `InvalidInput` where there is no such CPU, or this thread may not use it.
#[doc(alias = "sched_setaffinity")]
pub fn pin_thread_to_cpu(cpu: usize) -> io::Result<()> {
    sys::pin_thread(cpu)
}

/// The CPU that this thread is running on right now.
///
/// # Errors
///
/// ENOSYS where the kernel cannot say.
#[doc(alias = "sched_getcpu")]
pub fn current_cpu() -> io::Result<usize> {
    sys::current_cpu()
}

/// How many descriptors this process may have: the limit in force, and the one it may be raised to.
///
/// # Errors
///
/// None that Linux gives.
#[doc(alias = "RLIMIT_NOFILE")]
pub fn nofile_limit() -> io::Result<(u64, u64)> {
    sys::nofile()
}

/// Raises the limit of descriptors to `wanted`, or as far as it goes, and returns the one in force. Never lowers it.
///
/// # Errors
///
/// None that Linux gives.
pub fn raise_nofile_limit(wanted: u64) -> io::Result<u64> {
    let (soft, hard) = sys::nofile()?;
    let target = wanted.min(hard);
    if target > soft {
        sys::set_nofile(target)?;
        return Ok(target);
    }
    Ok(soft)
}

/// Seconds that local time is ahead of UTC at a moment, by the time zone of this process (`TZ`, else `/etc/localtime`); 0
/// where the moment is out of all calendars.
///
/// # References
/// tzset(3), localtime_r(3).
#[doc(alias = "localtime_r")]
#[must_use]
pub fn utc_offset_s(unix_s: i64) -> i32 {
    sys::utc_offset_s(unix_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_runs_on_its_cpu() {
        std::thread::spawn(|| {
            let allowed = allowed_cpus().unwrap();
            let online = online_cpus().unwrap();
            for &cpu in &allowed {
                assert!(online.contains(&cpu));
                pin_thread_to_cpu(cpu).unwrap();
                assert_eq!(current_cpu().unwrap(), cpu);
                assert_eq!(allowed_cpus().unwrap(), [cpu]);
            }
            assert!(pin_thread_to_cpu(usize::MAX).is_err());
            assert!(pin_thread_to_cpu(1023).is_err());
        })
        .join()
        .unwrap();
    }

    #[test]
    fn cpu_lists_are_ranges_and_single_ones() {
        assert_eq!(parse_cpu_list("0"), Some(vec![0]));
        assert_eq!(parse_cpu_list("0-2,5,7-8"), Some(vec![0, 1, 2, 5, 7, 8]));
        assert_eq!(parse_cpu_list("0-"), None);
        assert_eq!(parse_cpu_list(""), None);
        assert_eq!(parse_cpu_list("0-18446744073709551615"), None);
    }

    #[test]
    fn the_clock_is_that_of_instant() {
        let (before, start) = (monotonic_ns(), std::time::Instant::now());
        while start.elapsed().as_millis() < 2 {}
        let passed = monotonic_ns() - before;
        assert!(passed >= 2_000_000, "{passed}");
        assert!(u128::from(passed) <= start.elapsed().as_nanos() + 1_000_000_000);
    }

    #[test]
    fn a_thread_that_works_uses_its_cpu() {
        let (start, before) = (monotonic_ns(), thread_cpu_ns());
        while thread_cpu_ns() - before < 2_000_000 {}
        // The two clocks are adjusted apart: one thread cannot have worked much longer than time has passed.
        assert!(monotonic_ns() - start >= 1_000_000);
    }

    #[test]
    fn a_process_has_used_what_its_threads_have() {
        let (start, (user, system)) = (thread_cpu_ns(), process_cpu().unwrap());
        while thread_cpu_ns() - start < 50_000_000 {}
        let (user_now, system_now) = process_cpu().unwrap();
        // It is counted in microseconds, and the two parts are scaled to their sum: far more than half has to be there.
        let used = (user_now + system_now).saturating_sub(user + system);
        assert!(used >= Duration::from_millis(25), "{used:?}");
    }

    #[test]
    fn the_limit_of_descriptors_is_never_lowered() {
        let (soft, hard) = nofile_limit().unwrap();
        assert!(soft <= hard);
        assert_eq!(raise_nofile_limit(1).unwrap(), soft);
        assert_eq!(raise_nofile_limit(u64::MAX).unwrap(), hard);
        assert_eq!(nofile_limit().unwrap(), (hard, hard));
    }
}
