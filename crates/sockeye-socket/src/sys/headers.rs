//! Empty headers and I/O vectors of messages, which whoever sends or receives fills in.

use super::storage::Storage;

/// The most messages, and the most slices of one, that a call takes (`UIO_MAXIOV`).
pub(crate) const MOST: usize = 1024;

/// A message header with nothing in it, padding included.
#[inline]
pub(crate) fn empty_header() -> libc::msghdr {
    // SAFETY: all zeros is a valid msghdr: null pointers and zero lengths.
    unsafe { std::mem::zeroed() }
}

/// Headers for many messages a call.
pub(crate) fn empty_headers(count: usize) -> Storage<libc::mmsghdr> {
    let empty = libc::mmsghdr {
        msg_hdr: empty_header(),
        msg_len: 0,
    };
    Storage::new(empty, count)
}

/// I/O vectors that lead nowhere.
pub(crate) fn empty_iovecs(count: usize) -> Storage<libc::iovec> {
    let empty = libc::iovec {
        iov_base: std::ptr::null_mut(),
        iov_len: 0,
    };
    Storage::new(empty, count)
}
