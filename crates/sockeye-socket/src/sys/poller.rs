//! The descriptor of a mio poller, which mio gives as a number only.

use std::os::fd::{AsRawFd, BorrowedFd};

/// The epoll descriptor.
pub(crate) fn descriptor(poll: &mio::Poll) -> BorrowedFd<'_> {
    // SAFETY: the poller owns its descriptor and keeps it open for as long as it lives, which the lifetime of the
    // result is bound to.
    unsafe { BorrowedFd::borrow_raw(poll.as_raw_fd()) }
}
