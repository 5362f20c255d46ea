//! What the kernel is asked, and the only place where it is asked without the compiler's protection.
//!
//! # The contract another Unix would have to supply
//!
//! Every function here is safe to call with any arguments: descriptors come as [`BorrowedFd`] or leave as
//! [`OwnedFd`](std::os::fd::OwnedFd), buffers as slices, and a failure as the errno in an [`io::Error`]. A port fills
//! these modules, under these names:
//!
//! | module | supplies |
//! |---|---|
//! | `option` | `get`, `set` for plain values, `get_bytes`, `set_bytes` for the rest |
//! | `stream` | `recv`, `send`, their vectored forms without `SIGPIPE`, `accept`, out-of-band data |
//! | `transfer` | `sendfile`, `splice`, `pipe` |
//! | `message`, `batch` | `sendmsg`, `recvmsg`, many messages a call, the error queue |
//! | `headers` | empty headers and I/O vectors of messages |
//! | `cmsg`, `control`, `metadata` | control messages as bytes, what they mean, the options that ask for them |
//! | `filter`, `interface` | packet filters; interface names, indices and addresses |
//! | `link` | addresses, messages and rings of packet sockets |
//! | `names` | `getaddrinfo` |
//! | `pages` | memory that the kernel may read after it is freed |
//! | `unix` | names, credentials and messages of Unix sockets, with descriptors beside them |
//! | `process` | timers, the clock, CPU affinity, limits, inherited descriptors |
//!
//! A feature that a system lacks is an error of kind [`Unsupported`](io::ErrorKind::Unsupported), never a silent nothing.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

pub(crate) mod abi;
pub(crate) mod address;
pub(crate) mod batch;
pub(crate) mod cmsg;
pub(crate) mod control;
pub(crate) mod filter;
pub(crate) mod headers;
pub(crate) mod interface;
pub(crate) mod link;
pub(crate) mod message;
pub(crate) mod metadata;
pub(crate) mod names;
pub(crate) mod option;
pub(crate) mod pages;
#[cfg(feature = "mio")]
pub(crate) mod poller;
pub(crate) mod process;
pub(crate) mod storage;
pub(crate) mod stream;
pub(crate) mod transfer;
pub(crate) mod unix;

/// The value of a call that answers -1 on failure.
#[inline]
pub(crate) fn check(value: libc::c_int) -> io::Result<libc::c_int> {
    if value == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(value)
    }
}

/// The length that a call which answers -1 on failure has moved.
#[inline]
pub(crate) fn check_len(value: libc::ssize_t) -> io::Result<usize> {
    if value == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(value.cast_unsigned())
    }
}

/// Counts the interruptions of one call: it is made again, but not without end.
#[derive(Default)]
pub(crate) struct Interruptions(u32);

impl Interruptions {
    /// Whether the error is one more interruption after which the call is to be made again.
    #[cold]
    pub(crate) fn allow(&mut self, error: &io::Error) -> bool {
        self.0 += 1;
        error.kind() == io::ErrorKind::Interrupted && self.0 <= 16
    }
}

#[inline]
pub(crate) fn raw(fd: BorrowedFd<'_>) -> RawFd {
    fd.as_raw_fd()
}
