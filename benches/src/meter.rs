//! CPU time and memory of another process, as Linux counts them.
//!
//! # References
//! proc(5): `/proc/PID/task/TID/schedstat`, `/proc/PID/status`.

use std::io;

/// Nanoseconds that the threads of a process have spent on a CPU, in user space and in the kernel; those of threads that
/// have ended are not in it.
///
/// # Errors
/// When there is no such process.
pub fn cpu_ns(pid: u32) -> io::Result<u64> {
    let mut sum = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        match std::fs::read_to_string(thread?.path().join("schedstat")) {
            Ok(text) => sum += number(text.split_whitespace().next())?,
            // It has ended since the folder was read.
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sum)
}

/// Bytes of memory that a process has resident.
///
/// # Errors
/// When there is no such process.
pub fn resident_bytes(pid: u32) -> io::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    Ok(number(line.and_then(|line| line.split_whitespace().next()))? * 1_024)
}

/// Whether there is no such thread any more: the file is not there, or it was opened just before (proc(5)).
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(sockeye_socket::errno::ESRCH)
}

fn number(word: Option<&str>) -> io::Result<u64> {
    word.and_then(|word| word.parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc says no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_process_does_is_counted() {
        let pid = std::process::id();
        let before = cpu_ns(pid).unwrap();
        let memory = resident_bytes(pid).unwrap();
        let touched = std::hint::black_box(vec![1_u8; 64 << 20]);
        assert!(touched.iter().map(|byte| u64::from(*byte)).sum::<u64>() == 64 << 20);
        assert!(resident_bytes(pid).unwrap() >= memory + (60 << 20));
        // The kernel adds up at each tick and each switch: one of them has to pass. A thread of another test may end
        // meanwhile, and what it has spent goes with it.
        while cpu_ns(pid).unwrap() == before {
            std::thread::yield_now();
        }
    }

    #[test]
    fn nobody_is_an_error() {
        assert!(cpu_ns(u32::MAX).is_err());
        assert!(resident_bytes(u32::MAX).is_err());
    }
}
