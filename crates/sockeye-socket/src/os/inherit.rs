//! Descriptors that the parent process has left open: systemd's socket activation.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

use crate::sys::process as sys;

/// The first descriptor of the protocol (`SD_LISTEN_FDS_START`).
const FIRST: RawFd = 3;

/// A descriptor that was passed to this process, and the name it was given.
#[derive(Debug)]
pub struct Inherited {
    /// The descriptor, now close-on-exec; otherwise as the parent has left it, blocking mostly.
    pub fd: OwnedFd,
    /// Its name (`FileDescriptorName=` in the unit), `None` where it has none.
    pub name: Option<String>,
}

/// The descriptors that a service manager has opened for this process, in their order; none where there is no such
/// manager, or `LISTEN_PID` names another process.
///
/// The environment is read and left as it is. A descriptor can be owned once only: what an earlier call has returned is
/// not returned again.
///
/// # Errors
///
/// `InvalidData` where a variable is no number, or counts a descriptor that is not open.
///
/// # References
///
/// [sd_listen_fds(3)](https://man7.org/linux/man-pages/man3/sd_listen_fds.3.html)
#[doc(alias = "LISTEN_FDS")]
#[doc(alias = "sd_listen_fds")]
pub fn inherited_fds() -> io::Result<Vec<Inherited>> {
    let variable = |name| std::env::var(name).ok();
    let passed = Passed::parse(
        variable("LISTEN_PID").as_deref(),
        variable("LISTEN_FDS").as_deref(),
        variable("LISTEN_FDNAMES").as_deref(),
        std::process::id(),
    )
    .ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "LISTEN_PID or LISTEN_FDS is no number",
        )
    })?;

    static TAKEN: Mutex<BTreeSet<RawFd>> = Mutex::new(BTreeSet::new());
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    // All or none: a count that is too high is a lie about the others, too.
    if let Some(closed) = passed.fds().find(|fd| !taken.contains(fd) && !sys::is_open(*fd)) {
        let message = format!("LISTEN_FDS counts descriptor {closed}, which is not open");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    let mut inherited = Vec::new();
    for (fd, name) in passed.fds().zip(passed.names) {
        if taken.insert(fd) {
            inherited.push(Inherited {
                fd: sys::adopt(fd)?,
                name,
            });
        }
    }
    Ok(inherited)
}

/// What the environment says: a name for each descriptor from [`FIRST`] on.
#[derive(Debug, PartialEq, Eq)]
struct Passed {
    names: Vec<Option<String>>,
}

impl Passed {
    /// The most descriptors taken over; far above what any unit passes, far below what a corrupt number might say.
    const MAX: usize = 4096;

    fn parse(pid: Option<&str>, count: Option<&str>, names: Option<&str>, own_pid: u32) -> Option<Self> {
        let none = Self { names: Vec::new() };
        let (Some(pid), Some(count)) = (pid, count) else {
            return Some(none);
        };
        if pid.parse::<u32>().ok()? != own_pid {
            return Some(none);
        }
        let count = count.parse::<usize>().ok().filter(|&count| count <= Self::MAX)?;
        let mut given = names.unwrap_or_default().split(':');
        let name = |_| given.next().filter(|name| !name.is_empty()).map(str::to_owned);
        Some(Self {
            names: (0..count).map(name).collect(),
        })
    }

    fn fds(&self) -> impl Iterator<Item = RawFd> + use<> {
        (FIRST..).take(self.names.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pid: &str, count: &str, names: Option<&str>) -> Option<Vec<Option<String>>> {
        Passed::parse(Some(pid), Some(count), names, 42).map(|passed| passed.names)
    }

    #[test]
    fn names_go_with_descriptors_in_order() {
        let some = |name: &str| Some(name.to_owned());
        assert_eq!(
            names("42", "2", Some("http:https")),
            Some(vec![some("http"), some("https")])
        );
        assert_eq!(
            names("42", "3", Some("http::")),
            Some(vec![some("http"), None, None])
        );
        assert_eq!(names("42", "1", None), Some(vec![None]));
        assert_eq!(names("42", "0", None), Some(vec![]));
    }

    #[test]
    fn another_process_is_not_meant() {
        assert_eq!(names("43", "2", None), Some(vec![]));
        assert_eq!(
            Passed::parse(None, Some("2"), None, 42),
            Some(Passed { names: vec![] })
        );
        assert_eq!(
            Passed::parse(Some("42"), None, None, 42),
            Some(Passed { names: vec![] })
        );
    }

    #[test]
    fn what_is_no_number_or_beyond_reason_is_an_error() {
        for count in ["", "-1", "two", "4097", "99999999999999999999"] {
            assert_eq!(names("42", count, None), None, "{count:?}");
        }
        assert_eq!(names("self", "1", None), None);
    }

    #[test]
    fn without_a_manager_nothing_is_inherited() {
        assert!(inherited_fds().unwrap().is_empty());
    }
}
