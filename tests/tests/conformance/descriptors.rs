//! How many descriptors this process may open: lowered for a moment, so that the next one fails.
#![expect(unsafe_code, reason = "std has no call for resource limits")]

fn is_open(descriptor: i32) -> bool {
    // SAFETY: F_GETFD takes no argument and changes nothing.
    unsafe { libc::fcntl(descriptor, libc::F_GETFD) >= 0 }
}

fn limits() -> libc::rlimit {
    let mut limits = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer leads to a value of that type, which the call fills.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limits) };
    assert_eq!(result, 0);
    limits
}

/// Lets the process open so many more; `None` is as many as the hard limit allows.
///
/// The kernel gives the lowest free number, and the limit is on numbers.
pub(crate) fn limit(more: Option<usize>) {
    let mut limits = limits();
    limits.rlim_cur = match more {
        Some(more) => {
            let free = (0..)
                .filter(|descriptor| !is_open(*descriptor))
                .nth(more)
                .expect("a free number");
            u64::try_from(free).expect("a positive number")
        }
        None => limits.rlim_max,
    };
    // SAFETY: the pointer leads to a value of that type, which is only read.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limits) };
    assert_eq!(result, 0);
}
