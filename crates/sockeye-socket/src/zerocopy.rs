//! [`ZeroCopyBuffer`]: bytes that the kernel may read for as long as it likes.

use std::fmt;
use std::io;
use std::ops::Deref;
use std::sync::Arc;

use crate::sys::pages::Pages;

/// Bytes for [`Socket::send_zerocopy`](crate::Socket::send_zerocopy): shared, and never changed once they are made.
///
/// The kernel reads them after the send has returned: until a peer has acknowledged them, a device has let go of them,
/// or the connection is gone, and closing the socket is none of these. So they lie in memory pages of their own, and to
/// drop the last clone is to unmap the pages: those that the kernel still reads keep their bytes until it is done with
/// them, and are reused by nobody before. Buffers, sockets and their clones may be dropped at any time and in any order.
///
/// To make one costs a system call and a page fault for each 4 KiB, so make one of what is sent many times, or is large.
///
/// ```
/// use sockeye_socket::ZeroCopyBuffer;
///
/// # fn main() -> std::io::Result<()> {
/// let page = ZeroCopyBuffer::with(100_000, |bytes| bytes.fill(b'x'))?;
/// let shared = page.clone();
/// assert_eq!((shared.len(), shared[99_999]), (100_000, b'x'));
/// static GREETING: [u8; 5] = *b"hello";
/// assert_eq!(*ZeroCopyBuffer::from_static(&GREETING), *b"hello");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ZeroCopyBuffer {
    bytes: Bytes,
}

#[derive(Clone)]
enum Bytes {
    Pages(Arc<Pages>),
    Static(&'static [u8]),
}

impl ZeroCopyBuffer {
    /// `len` bytes as `fill` leaves them; they are zero before.
    ///
    /// # Errors
    ///
    /// `OutOfMemory` where there is no room for them.
    pub fn with(len: usize, fill: impl FnOnce(&mut [u8])) -> io::Result<Self> {
        let mut pages = Pages::zeroed(len)?;
        fill(&mut pages);
        let bytes = Bytes::Pages(Arc::new(pages));
        Ok(Self { bytes })
    }

    /// A copy of `bytes`.
    ///
    /// # Errors
    ///
    /// As [`with`](Self::with).
    pub fn copy_of(bytes: &[u8]) -> io::Result<Self> {
        Self::with(bytes.len(), |copy| copy.copy_from_slice(bytes))
    }

    /// Bytes that are there as long as the program is, where they are.
    #[must_use]
    pub const fn from_static(bytes: &'static [u8]) -> Self {
        Self {
            bytes: Bytes::Static(bytes),
        }
    }
}

impl Deref for ZeroCopyBuffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Pages(pages) => pages,
            Bytes::Static(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for ZeroCopyBuffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl TryFrom<&[u8]> for ZeroCopyBuffer {
    type Error = io::Error;

    /// Copies.
    fn try_from(bytes: &[u8]) -> io::Result<Self> {
        Self::copy_of(bytes)
    }
}

impl fmt::Debug for ZeroCopyBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ZeroCopyBuffer({} B)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd as _;

    use super::*;
    use crate::{QueueEntry, Socket, options, recv_error};

    #[test]
    fn any_length_is_bytes_or_an_error() {
        for len in [0, 1, 4095, 4096, 4097, 1 << 20] {
            let buffer = ZeroCopyBuffer::with(len, |bytes| {
                assert!(bytes.len() == len && bytes.iter().all(|&byte| byte == 0));
                bytes.fill(7);
            });
            let buffer = buffer.unwrap();
            assert!(buffer.len() == len && buffer.iter().all(|&byte| byte == 7));
        }
        for len in [
            usize::MAX,
            usize::MAX - 4096,
            1 << 63,
            (1 << 63) - 1,
            (1 << 63) - 4096,
        ] {
            let refused = ZeroCopyBuffer::with(len, |_| unreachable!()).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::OutOfMemory, "{len}");
        }
    }

    #[test]
    fn a_fill_that_panics_leaves_nothing_behind() {
        let unwound = std::thread::spawn(|| {
            let _ = ZeroCopyBuffer::with(8192, |_| std::panic::resume_unwind(Box::new("on purpose")));
        });
        unwound.join().unwrap_err();
    }

    #[test]
    fn a_datagram_is_sent_whole_from_a_buffer_that_is_gone() {
        let (receiver, sender) = (
            UdpSocket::bind("127.0.0.1:0").unwrap(),
            UdpSocket::bind("127.0.0.1:0").unwrap(),
        );
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        let sender = Socket::from(sender);
        sender.set(options::SO_ZEROCOPY, true).unwrap();
        let sends = [
            (
                ZeroCopyBuffer::with(60_000, |bytes| bytes.fill(b'A')).unwrap(),
                0..60_000,
            ),
            (ZeroCopyBuffer::from_static(b"-static-"), 1..7),
            (ZeroCopyBuffer::copy_of(b"").unwrap(), 0..0),
        ];
        for (buffer, range) in sends {
            let expected = buffer[range.clone()].to_vec();
            assert_eq!(sender.send_zerocopy(&buffer, range).unwrap(), expected.len());
            drop(buffer);
            let secret = ZeroCopyBuffer::with(60_000, |bytes| bytes.fill(b'S')).unwrap();
            let mut received = vec![0; 65_536];
            let len = receiver.recv(&mut received).unwrap();
            assert_eq!(received[..len], *expected);
            drop(secret);
        }
        // An empty datagram has nothing to wait for.
        let (mut completed, deadline) = (0, std::time::Instant::now() + std::time::Duration::from_secs(20));
        while completed < 2 {
            assert!(
                std::time::Instant::now() < deadline,
                "{completed} of 2 are complete"
            );
            match recv_error(sender.as_fd()).unwrap() {
                Some(QueueEntry::ZeroCopy(done)) => {
                    assert_eq!((done.first, done.copied), (completed, true));
                    completed = done.last + 1;
                }
                entry => assert_eq!(entry, None),
            }
        }
    }
}
