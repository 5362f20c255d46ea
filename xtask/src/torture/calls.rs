//! Which system calls are made to fail, and with which errors: only such as the kernel really returns.
//!
//! Left out are:
//!
//! - `EAGAIN`, from what has data or room: an edge-triggered poller need not report again what the kernel never denied;
//! - `close`: an injected error keeps strace from making the call, so that the descriptor would stay open;
//! - `EINTR` from a nonblocking `connect`, for the same reason: the connection would go on being made;
//! - `ENOTCONN` from `getpeername`: where the kernel says so, an event follows that tells what became of the connection;
//! - reads and writes of eventfd and timerfd, `timerfd_settime`, and `epoll_ctl` other than ADD: they cannot fail as we call them.

/// What a call may answer.
type Errors = &'static [&'static str];

/// Everything that is traced, for strace's `trace=`.
pub(super) const TRACED: &[&str] = &[
    "socket",
    "socketpair",
    "bind",
    "listen",
    "accept4",
    "connect",
    "shutdown",
    "getsockname",
    "getpeername",
    "getsockopt",
    "setsockopt",
    "read",
    "readv",
    "recvfrom",
    "recvmsg",
    "recvmmsg",
    "write",
    "writev",
    "sendto",
    "sendmsg",
    "sendmmsg",
    "splice",
    "sendfile",
    "pipe2",
    "epoll_create1",
    "epoll_ctl",
    "epoll_wait",
    "poll",
    "eventfd2",
    "timerfd_create",
    "fcntl",
    "dup",
    "openat",
    "flock",
    "unlink",
    "clone3",
];

const DESCRIPTORS: Errors = &["EMFILE", "ENFILE", "ENOMEM"];

/// The errors that a call may answer, by its name and what strace prints of it; none if it is not to fail.
pub(super) fn errors(call: &str, line: &str) -> Errors {
    match call {
        "socket" => &["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EACCES", "EAFNOSUPPORT"],
        "socketpair" | "pipe2" | "epoll_create1" | "eventfd2" | "timerfd_create" => DESCRIPTORS,
        "bind" => &["EADDRINUSE", "EACCES", "EADDRNOTAVAIL", "ENOMEM"],
        "listen" => &["EADDRINUSE", "ENOBUFS"],
        "accept4" => &[
            "EMFILE",
            "ENFILE",
            "ENOBUFS",
            "ENOMEM",
            "ECONNABORTED",
            "EINTR",
            "EPROTO",
            "EPERM",
            "ENETDOWN",
        ],
        "connect" => &[
            "ECONNREFUSED",
            "EADDRNOTAVAIL",
            "ENETUNREACH",
            "EHOSTUNREACH",
            "EPERM",
            "ENOBUFS",
        ],
        "shutdown" => &["ENOTCONN"],
        "getsockname" | "getpeername" => &["ENOBUFS"],
        // ENOPROTOOPT from an older kernel, EPERM from a BPF program of the control group.
        "getsockopt" => &["EPERM", "ENOPROTOOPT"],
        "setsockopt" => &["ENOPROTOOPT", "ENOMEM", "EPERM"],
        "read" | "readv" | "write" | "writev" if !is_of_the_process(line) => &["EINTR", "EIO", "ENOMEM"],
        "recvfrom" | "recvmsg" | "recvmmsg" if is_datagram(line) => {
            &["EINTR", "ENOBUFS", "ECONNREFUSED", "ENOMEM", "EHOSTUNREACH"]
        }
        "recvfrom" | "recvmsg" | "recvmmsg" => &[
            "EINTR",
            "ECONNRESET",
            "ENOMEM",
            "ENOBUFS",
            "ETIMEDOUT",
            "EHOSTUNREACH",
        ],
        "sendto" | "sendmsg" | "sendmmsg" if is_datagram(line) => &[
            "EINTR",
            "ENOBUFS",
            "EPERM",
            "ECONNREFUSED",
            "ENETUNREACH",
            "EHOSTUNREACH",
            "ENOMEM",
        ],
        "sendto" | "sendmsg" | "sendmmsg" => {
            &["EINTR", "EPIPE", "ENOBUFS", "ECONNRESET", "ENOMEM", "ETIMEDOUT"]
        }
        "splice" => &["EINTR", "ENOMEM", "ECONNRESET", "EPIPE"],
        "sendfile" => &["EINTR", "ENOMEM", "EPIPE", "ECONNRESET", "EIO"],
        "epoll_ctl" if line.contains("EPOLL_CTL_ADD") => &["ENOMEM", "ENOSPC"],
        "epoll_wait" => &["EINTR"],
        "poll" => &["EINTR", "ENOMEM"],
        "fcntl" if line.contains("F_DUPFD") => &["EMFILE"],
        "fcntl" if line.contains("F_SETPIPE_SZ") => &["EPERM", "ENOMEM"],
        "dup" => &["EMFILE"],
        "openat" => &["EMFILE", "ENFILE", "EACCES", "ENOENT", "ENOMEM"],
        "flock" => &["EINTR", "ENOLCK"],
        "unlink" => &["EACCES", "ENOENT"],
        "clone3" => &["EAGAIN"],
        _ => &[],
    }
}

/// A datagram or packet socket, as `strace -yy` shows descriptors.
fn is_datagram(line: &str) -> bool {
    ["<UDP", "<RAW", "<PING", "<ICMP", "UNIX-DGRAM"]
        .iter()
        .any(|kind| line.contains(kind))
}

/// The waker, the timer, and the standard streams.
fn is_of_the_process(line: &str) -> bool {
    ["eventfd", "timerfd", "(0<", "(1<", "(2<"]
        .iter()
        .any(|kind| line.contains(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_is_refused_and_a_stream_reset() {
        let udp = errors("sendto", "sendto(5<UDP:[127.0.0.1:9]>, \"x\", 1, MSG_NOSIGNAL");
        let tcp = errors(
            "sendto",
            "sendto(5<TCP:[127.0.0.1:9->127.0.0.1:8]>, \"x\", 1, MSG_NOSIGNAL",
        );
        assert!(udp.contains(&"EPERM") && !udp.contains(&"EPIPE"));
        assert!(tcp.contains(&"EPIPE") && !tcp.contains(&"EPERM"));
    }

    #[test]
    fn what_cannot_fail_does_not() {
        assert!(errors("write", "write(4<anon_inode:[eventfd]>, ").is_empty());
        assert!(errors("fcntl", "fcntl(4<UDP:[1]>, F_GETFD)").is_empty());
        assert!(errors("epoll_ctl", "epoll_ctl(3, EPOLL_CTL_MOD, 5, ").is_empty());
        assert!(!errors("epoll_ctl", "epoll_ctl(3, EPOLL_CTL_ADD, 5, ").is_empty());
    }

    #[test]
    fn every_call_that_fails_is_traced() {
        for call in TRACED {
            let line = "(9<TCP:[1]>, EPOLL_CTL_ADD F_DUPFD";
            assert!(!errors(call, line).is_empty(), "{call}");
        }
    }
}
