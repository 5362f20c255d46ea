//! Processor time of this process, as iperf3 tells it.

use std::time::Duration;

use super::super::client::figures::Cpu;

/// A clock tick of `/proc`: USER_HZ is 100 on every architecture (proc(5)).
const TICK: Duration = Duration::from_millis(10);

/// What this process has used since it began; nothing where the kernel does not tell.
pub(super) fn used() -> Cpu {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name may hold anything, and ends with the last parenthesis; utime and stime are fields 14 and 15, counted from 1.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let mut ticks = fields
        .split_whitespace()
        .skip(11)
        .map(|field| field.parse().unwrap_or(0));
    let mut next = || TICK * ticks.next().unwrap_or(0);
    Cpu {
        user: next(),
        system: next(),
    }
}

/// What was used since `earlier`, in percent of one processor over `time`: user and system.
pub(super) fn percent(earlier: &Cpu, time: Duration) -> (f64, f64) {
    let now = used();
    let share = |now: Duration, earlier: Duration| {
        100.0 * now.saturating_sub(earlier).as_secs_f64() / time.as_secs_f64().max(1e-9)
    };
    (share(now.user, earlier.user), share(now.system, earlier.system))
}
