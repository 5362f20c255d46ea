//! Descriptors that the parent process has left open: systemd's socket activation.

use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::sys::process::{self as sys, Number};

/// The first descriptor of the protocol (`SD_LISTEN_FDS_START`).
const FIRST: RawFd = 3;

/// A socket that was passed to this process, and the name it was given.
#[derive(Debug)]
pub struct Inherited {
    /// The descriptor, now close-on-exec; otherwise as the parent has left it, blocking mostly.
    pub fd: OwnedFd,
    /// Its name (`FileDescriptorName=` in the unit), `None` where it has none.
    pub name: Option<String>,
}

/// The sockets that a service manager has opened for this process, in their order; none where there is no such manager,
/// or `LISTEN_PID` names another process.
///
/// It answers once a process: a descriptor can be owned once only, so every later call returns none, whatever became of
/// the first. Call it early in `main`. What the environment says is believed only of sockets that are not close-on-exec:
/// Rust's standard library and this crate open nothing like it, so nothing that the program owns is handed out. A
/// descriptor that is not a socket (a FIFO, a file) is left as it is, without an owner. The environment is read and not
/// changed.
///
/// # Errors
///
/// `InvalidData` where a variable is no number, or counts a descriptor that is not open or that was opened by this
/// program; nothing has been taken then.
///
/// # References
///
/// [sd_listen_fds(3)](https://man7.org/linux/man-pages/man3/sd_listen_fds.3.html)
#[doc(alias = "LISTEN_FDS")]
#[doc(alias = "sd_listen_fds")]
pub fn inherited_fds() -> io::Result<Vec<Inherited>> {
    static ASKED: AtomicBool = AtomicBool::new(false);
    if ASKED.swap(true, Ordering::SeqCst) {
        return Ok(Vec::new());
    }
    let variable = |name| std::env::var(name).ok();
    let passed = Passed::parse(
        variable("LISTEN_PID").as_deref(),
        variable("LISTEN_FDS").as_deref(),
        variable("LISTEN_FDNAMES").as_deref(),
        std::process::id(),
    )
    .ok_or_else(|| invalid("LISTEN_PID or LISTEN_FDS is no number".to_owned()))?;

    // All or none: a count that is wrong about one is a lie about the others, too.
    let mut sockets = Vec::new();
    for (fd, name) in passed.fds().zip(passed.names) {
        match Number::of(fd) {
            Number::Socket => sockets.push((fd, name)),
            Number::Other => {}
            Number::Closed => {
                return Err(invalid(format!(
                    "LISTEN_FDS counts descriptor {fd}, which is not open"
                )));
            }
            Number::Own => {
                return Err(invalid(format!(
                    "LISTEN_FDS counts descriptor {fd}, which this program has opened itself: it is close-on-exec"
                )));
            }
        }
    }
    let adopt = |(fd, name)| {
        Ok(Inherited {
            fd: sys::adopt(fd)?,
            name,
        })
    };
    sockets.into_iter().map(adopt).collect()
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
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
    use std::net::UdpSocket;
    use std::os::fd::{AsRawFd as _, FromRawFd as _};
    use std::process::Command;

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

    /// Runs the test called `name` again in a process of its own for which somebody has set `LISTEN_FDS` to 2, without
    /// descriptors 3 to 9. Returns `true` inside, and `false` outside once the run inside has passed.
    fn in_a_process_with_listen_fds(name: &str) -> bool {
        const INSIDE: &str = "SOCKEYE_INHERIT_INSIDE";
        if std::env::var(INSIDE).is_ok_and(|inside| inside == name) {
            return true;
        }
        let script = "LISTEN_PID=$$ exec \"$0\" \"$@\" 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-";
        let status = Command::new("sh")
            .args(["-c", script])
            .arg(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "--test-threads=1",
                &format!("os::inherit::tests::{name}"),
            ])
            .env(INSIDE, name)
            .envs([("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", "one:two")])
            .output()
            .unwrap();
        assert!(
            status.status.success(),
            "{}",
            String::from_utf8_lossy(&status.stdout)
        );
        assert!(String::from_utf8_lossy(&status.stdout).contains("1 passed"));
        false
    }

    /// Puts `fd` where a service manager would: at the number `to`, open across exec, owned by nobody.
    fn leave_open(fd: OwnedFd, to: RawFd) {
        // SAFETY: the command takes a number; out of the way first, `fd` may be `to` itself.
        let away = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 100) };
        drop(fd);
        // SAFETY: dup2 touches the table of descriptors only, where nothing is at `to` in these processes.
        assert_eq!(unsafe { libc::dup2(away, to) }, to);
        // SAFETY: just made by fcntl, and nobody else's.
        drop(unsafe { OwnedFd::from_raw_fd(away) });
    }

    /// Takes descriptors until 3 and 4 are among them.
    fn open_some() -> Vec<UdpSocket> {
        let own: Vec<_> = (0..2).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        assert_eq!((own[0].as_raw_fd(), own[1].as_raw_fd()), (3, 4));
        own
    }

    #[test]
    fn what_the_program_has_opened_is_not_handed_out() {
        if !in_a_process_with_listen_fds("what_the_program_has_opened_is_not_handed_out") {
            return;
        }
        let own = open_some();
        let refused = inherited_fds();
        for socket in &own {
            socket.local_addr().unwrap();
        }
        let refused = refused.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
        assert!(refused.to_string().contains("descriptor 3"), "{refused}");
        assert!(inherited_fds().unwrap().is_empty());
    }

    #[test]
    fn one_of_the_programs_own_among_them_is_enough() {
        if !in_a_process_with_listen_fds("one_of_the_programs_own_among_them_is_enough") {
            return;
        }
        let [_, own] = <[UdpSocket; 2]>::try_from(open_some()).unwrap();
        leave_open(UdpSocket::bind("127.0.0.1:0").unwrap().into(), 3);
        assert!(inherited_fds().unwrap_err().to_string().contains("descriptor 4"));
        own.local_addr().unwrap();
        assert_eq!(Number::of(3), Number::Socket);
    }

    #[test]
    fn what_is_not_a_socket_stays_where_it_is() {
        if !in_a_process_with_listen_fds("what_is_not_a_socket_stays_where_it_is") {
            return;
        }
        leave_open(std::fs::File::open("/dev/null").unwrap().into(), 3);
        leave_open(UdpSocket::bind("127.0.0.1:0").unwrap().into(), 4);
        let inherited = inherited_fds().unwrap();
        let found: Vec<_> = inherited
            .iter()
            .map(|found| (found.fd.as_raw_fd(), found.name.as_deref()))
            .collect();
        assert_eq!(found, [(4, Some("two"))]);
        assert_eq!((Number::of(3), Number::of(4)), (Number::Other, Number::Own));
        drop(inherited);
        assert_eq!(Number::of(4), Number::Closed);
    }

    #[test]
    fn a_descriptor_is_owned_once() {
        if !in_a_process_with_listen_fds("a_descriptor_is_owned_once") {
            return;
        }
        for fd in [3, 4] {
            leave_open(UdpSocket::bind("127.0.0.1:0").unwrap().into(), fd);
        }
        let inherited = inherited_fds().unwrap();
        assert_eq!(inherited.len(), 2);
        // Closed and opened again, the numbers are others', whether close-on-exec or not.
        drop(inherited);
        for fd in [3, 4] {
            leave_open(UdpSocket::bind("127.0.0.1:0").unwrap().into(), fd);
        }
        assert!(inherited_fds().unwrap().is_empty());
    }

    #[test]
    fn a_count_of_what_is_not_open_takes_nothing() {
        if !in_a_process_with_listen_fds("a_count_of_what_is_not_open_takes_nothing") {
            return;
        }
        leave_open(UdpSocket::bind("127.0.0.1:0").unwrap().into(), 3);
        assert_eq!(inherited_fds().unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(Number::of(3), Number::Socket);
    }

    #[test]
    fn without_a_manager_nothing_is_inherited() {
        assert!(inherited_fds().unwrap().is_empty());
    }
}
