//! What the workspace's crates need of the operating system beyond sockets, safe to call.

mod inherit;
mod interface;
mod names;
mod pass;
mod poll;
mod process;
mod timer;
mod transfer;

pub use inherit::{Inherited, inherited_fds};
pub use interface::{Interface, interface_index, interface_name, interfaces};
pub use names::{AddressFamily, NameError, getaddrinfo};
pub use pass::{MAX_PASSED_FDS, recv_fds, send_fds};
pub use poll::{PollFd, poll, reopen_nonblocking};
pub use process::{
    allowed_cpus, current_cpu, monotonic_ns, nofile_limit, online_cpus, pin_thread_to_cpu, process_cpu,
    raise_nofile_limit, thread_cpu_ns, utc_offset_s,
};
pub use timer::TimerFd;
pub use transfer::{Pipe, sendfile, splice};

/// The descriptor of a mio poller, so that a loop can be waited for by another one: readable when there are events.
#[cfg(feature = "mio")]
#[must_use]
pub fn poller_fd(poll: &mio::Poll) -> std::os::fd::BorrowedFd<'_> {
    crate::sys::poller::descriptor(poll)
}
