//! Timers, the clock, CPUs, limits and inherited descriptors.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use super::{check, check_len, raw};

const NS_PER_S: u64 = 1_000_000_000;

/// A timer on `CLOCK_MONOTONIC`, nonblocking and close-on-exec.
pub(crate) fn timer_create() -> io::Result<OwnedFd> {
    let flags = libc::TFD_NONBLOCK | libc::TFD_CLOEXEC;
    // SAFETY: no memory is passed.
    let fd = check(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) })?;
    // SAFETY: timerfd_create has just made this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sets when the timer fires, in nanoseconds (0 disarms), and how often after that (0: never again).
#[inline]
pub(crate) fn timer_set(fd: BorrowedFd<'_>, absolute: bool, first_ns: u64, every_ns: u64) -> io::Result<()> {
    let value = libc::itimerspec {
        it_value: timespec(first_ns),
        it_interval: timespec(every_ns),
    };
    let flags = if absolute { libc::TFD_TIMER_ABSTIME } else { 0 };
    // SAFETY: the kernel reads one itimerspec; a null old value is allowed.
    check(unsafe { libc::timerfd_settime(raw(fd), flags, &raw const value, std::ptr::null_mut()) })?;
    Ok(())
}

/// Nanoseconds until the timer fires, 0 where it is disarmed.
pub(crate) fn timer_remaining_ns(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let mut value = libc::itimerspec {
        it_value: timespec(0),
        it_interval: timespec(0),
    };
    // SAFETY: the kernel writes one itimerspec.
    check(unsafe { libc::timerfd_gettime(raw(fd), &raw mut value) })?;
    Ok(nanoseconds(value.it_value))
}

/// How often the timer has fired since it was read last.
#[inline]
pub(crate) fn timer_read(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let mut count = 0_u64;
    // SAFETY: the kernel writes at most eight bytes into a u64.
    check_len(unsafe { libc::read(raw(fd), (&raw mut count).cast(), size_of::<u64>()) })?;
    Ok(count)
}

/// Nanoseconds on `CLOCK_MONOTONIC`.
#[inline]
pub(crate) fn monotonic_ns() -> u64 {
    let mut now = timespec(0);
    // SAFETY: the call writes one timespec. It cannot fail: the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    nanoseconds(now)
}

/// Nanoseconds that this thread has spent on a CPU, in the program and in the kernel for it.
pub(crate) fn thread_cpu_ns() -> u64 {
    let mut spent = timespec(0);
    // SAFETY: the call writes one timespec. It cannot fail: every thread has the clock.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut spent) };
    nanoseconds(spent)
}

/// Processor time of all threads of this process: its own code, and the kernel's work for it.
pub(crate) fn process_cpu() -> io::Result<(Duration, Duration)> {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the call writes one rusage.
    check(unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) })?;
    // SAFETY: all of its fields are numbers, for which zeros are fine; the kernel has filled them in.
    let usage = unsafe { usage.assume_init() };
    let duration = |time: libc::timeval| {
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let micros = u64::try_from(time.tv_usec).unwrap_or(0);
        Duration::from_secs(seconds) + Duration::from_micros(micros)
    };
    Ok((duration(usage.ru_utime), duration(usage.ru_stime)))
}

fn timespec(ns: u64) -> libc::timespec {
    let seconds = libc::time_t::try_from(ns / NS_PER_S).unwrap_or(libc::time_t::MAX);
    let rest = (ns % NS_PER_S) as libc::c_long;
    libc::timespec {
        tv_sec: seconds,
        tv_nsec: rest,
    }
}

#[inline]
fn nanoseconds(time: libc::timespec) -> u64 {
    time.tv_sec
        .cast_unsigned()
        .wrapping_mul(NS_PER_S)
        .wrapping_add(time.tv_nsec.cast_unsigned())
}

/// The CPUs this thread may run on, ascending.
pub(crate) fn allowed_cpus() -> io::Result<Vec<usize>> {
    let mut set = empty_cpu_set();
    // SAFETY: the kernel writes at most the size of the set; 0 means this thread.
    check(unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) })?;
    // SAFETY: every number asked about is below CPU_SETSIZE.
    Ok((0..CPU_LIMIT)
        .filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) })
        .collect())
}

/// Lets this thread run on `cpu` alone.
pub(crate) fn pin_thread(cpu: usize) -> io::Result<()> {
    if cpu >= CPU_LIMIT {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let mut set = empty_cpu_set();
    // SAFETY: `cpu` is below CPU_SETSIZE.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: the kernel reads the set; 0 means this thread.
    check(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) })?;
    Ok(())
}

const CPU_LIMIT: usize = libc::CPU_SETSIZE as usize;

fn empty_cpu_set() -> libc::cpu_set_t {
    // SAFETY: a set without members is all zero bits.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// The CPU this thread is running on.
pub(crate) fn current_cpu() -> io::Result<usize> {
    // SAFETY: no memory is passed.
    let cpu = check(unsafe { libc::sched_getcpu() })?;
    Ok(usize::try_from(cpu).unwrap_or(0))
}

/// The soft and the hard limit on descriptors.
pub(crate) fn nofile() -> io::Result<(u64, u64)> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel writes one rlimit.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    Ok((limit.rlim_cur, limit.rlim_max))
}

/// Sets the soft limit and leaves the hard one as it is.
pub(crate) fn set_nofile(soft: u64) -> io::Result<()> {
    let (_, hard) = nofile()?;
    let limit = libc::rlimit {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: the kernel reads one rlimit.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })?;
    Ok(())
}

/// What a number of a descriptor is in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    /// No descriptor.
    Closed,
    /// Close-on-exec: it was opened after this program began, and something here owns it.
    Own,
    /// A socket that may have come through exec.
    Socket,
    /// Something else that may have come through exec.
    Other,
}

impl Number {
    pub(crate) fn of(fd: RawFd) -> Self {
        // SAFETY: the command takes no argument, and a number that is no descriptor is answered with EBADF.
        let Ok(flags) = check(unsafe { libc::fcntl(fd, libc::F_GETFD) }) else {
            return Self::Closed;
        };
        if flags & libc::FD_CLOEXEC != 0 {
            return Self::Own;
        }
        let mut status = MaybeUninit::<libc::stat>::zeroed();
        // SAFETY: the kernel writes one stat.
        if check(unsafe { libc::fstat(fd, status.as_mut_ptr()) }).is_err() {
            return Self::Closed;
        }
        // SAFETY: zeroed before, written by the kernel since, and a stat may have any bits.
        let status = unsafe { status.assume_init() };
        match status.st_mode & libc::S_IFMT {
            libc::S_IFSOCK => Self::Socket,
            _ => Self::Other,
        }
    }
}

/// Takes over a socket that the parent process has left open for this one, and makes it close-on-exec.
///
/// The caller asks once a process, and only for a [`Number::Socket`]: `os::inherit` sees to it.
pub(crate) fn adopt(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the command takes flags.
    check(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: the descriptor is open, as the call above has shown. It is not one of the program's, which Rust opens
    // close-on-exec: it came through exec, under the LISTEN_FDS protocol, and each number is taken once a process.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes a descriptor nonblocking or blocking.
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>, nonblocking: bool) -> io::Result<()> {
    let mut on = libc::c_int::from(nonblocking);
    // SAFETY: the kernel reads one int.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONBIO, &raw mut on) })?;
    Ok(())
}

/// `tm_gmtoff` at a moment.
pub(crate) fn utc_offset_s(unix_s: i64) -> i32 {
    let time = unix_s as libc::time_t;
    let mut fields = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: the call reads one number and writes one `tm`.
    let answer = unsafe { libc::localtime_r(&raw const time, fields.as_mut_ptr()) };
    if answer.is_null() {
        return 0;
    }
    // SAFETY: zeroed before, and every field of it is a number or a pointer that may be null.
    let fields = unsafe { fields.assume_init() };
    i32::try_from(fields.tm_gmtoff).unwrap_or(0)
}
