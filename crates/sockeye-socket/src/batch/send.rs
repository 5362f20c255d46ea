//! Sending many messages at once.

use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};

use crate::capabilities;
use crate::message::{Outgoing, SendError, send_error_may_be_stale};
use crate::sys::batch::{Coalesce, Failure, Progress, SendVector};

/// Datagrams a message on average for which there is room in one system call.
const DATAGRAMS_A_MESSAGE: usize = 16;
/// Room for one message of as many segments as any kernel takes.
const MIN_DATAGRAMS: usize = 128;
/// Calls for which coalescing pauses after the kernel refused it, at first and at most.
const PAUSE_CALLS: Range<u32> = 16..4096;

/// Headers and vectors for sending many datagrams in few system calls.
///
/// Adjacent datagrams with one destination, one set of extras and one size (the last may be shorter) leave as one
/// message with `UDP_SEGMENT`, which costs the kernel little more than a single datagram does. Where the kernel
/// refuses that, the datagrams concerned are sent one by one in the same call, nothing is lost, and coalescing is
/// tried again some calls later: a refusal may be due to one route, one size or one option, and never switches the
/// offload off for good.
///
/// ```
/// use std::net::UdpSocket;
/// use sockeye_socket::{Outgoing, SendBatch};
///
/// let receiver = UdpSocket::bind("127.0.0.1:0")?;
/// let sender = UdpSocket::bind("127.0.0.1:0")?;
/// let to = receiver.local_addr()?;
/// let payloads = [b"one", b"two"];
/// let sent = SendBatch::new(64).send_with(&sender, 0..2, |i| Outgoing::to(to, payloads[i]));
/// assert_eq!(sent.count, 2);
/// assert!(sent.error.is_none());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct SendBatch {
    vector: SendVector,
    max_segments: usize,
    coalesce: Coalesce,
    pause: Pause,
}

/// What became of a batch: the first [`count`](SendReport::count) datagrams are sent, and if there is an
/// [`error`](SendReport::error) it is that of the next one. None is ever skipped: what follows was not tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "datagrams after the first error were not sent"]
pub struct SendReport {
    /// Datagrams sent, from the start of the range on.
    pub count: usize,
    /// Why the datagram after them was not sent.
    pub error: Option<SendError>,
}

/// For how many calls a refusal is remembered.
#[derive(Debug)]
struct Pause {
    calls_left: u32,
    next_calls: u32,
}

impl SendBatch {
    /// Room for `messages` messages a system call, and coalescing as far as the kernel goes.
    #[must_use]
    pub fn new(messages: usize) -> Self {
        let messages = messages.max(1);
        let datagrams = messages.saturating_mul(DATAGRAMS_A_MESSAGE).max(MIN_DATAGRAMS);
        let max_segments = capabilities::max_segments();
        Self {
            vector: SendVector::new(messages, datagrams),
            max_segments,
            coalesce: Coalesce {
                segments: max_segments,
                ceiling: usize::MAX,
            },
            pause: Pause {
                calls_left: 0,
                next_calls: PAUSE_CALLS.start,
            },
        }
    }

    /// Whether adjacent datagrams may leave as segments of one message; on from the start.
    pub fn set_coalescing(&mut self, on: bool) {
        self.coalesce.segments = if on { self.max_segments } else { 1 };
    }

    /// Whether coalescing is in effect: switched on, and not pausing after a refusal.
    #[must_use]
    pub fn is_coalescing(&self) -> bool {
        self.coalesce.segments > 1 && self.coalesce.ceiling != 0
    }

    /// Sends the datagrams that `make` returns for the indices in `range`, in order, until all are sent or one fails.
    ///
    /// `make` is asked for the indices in rising order, and again for some of them after a refusal or a full window;
    /// it must give the same datagram each time.
    ///
    /// On an error, [`SendReport::count`] tells which datagram it is. After [`Fault::WouldBlock`](crate::Fault::WouldBlock)
    /// go on from that one when the socket is writable; where
    /// [`concerns_this_datagram`](SendError::concerns_this_datagram) holds, go on from the next.
    ///
    /// The kernel swallows the news that an earlier datagram was refused when it arises in the middle of a batch:
    /// only the error queue is sure to tell.
    ///
    /// # References
    /// [sendmmsg(2)](https://man7.org/linux/man-pages/man2/sendmmsg.2.html), `UDP_SEGMENT` in
    /// [udp(7)](https://man7.org/linux/man-pages/man7/udp.7.html)
    #[doc(alias = "sendmmsg")]
    #[doc(alias = "UDP_SEGMENT")]
    #[inline]
    pub fn send_with<'m>(
        &mut self,
        socket: impl AsFd,
        range: Range<usize>,
        mut make: impl FnMut(usize) -> Outgoing<'m>,
    ) -> SendReport {
        let fd = socket.as_fd();
        self.pause.count_down(&mut self.coalesce);
        let mut next = range.start;
        let mut retried = None;
        while next < range.end {
            let progress = self
                .vector
                .send(fd, self.coalesce, range.end - next, |i| make(next + i));
            next += progress.sent;
            let Some(failure) = progress.failure else {
                self.pause.forget_after(&progress, self.coalesce);
                continue;
            };
            if failure.datagrams > 1 && may_be_due_to_coalescing(failure.errno) {
                match self.send_singly(fd, failure, |i| make(next + i)) {
                    (sent, None) => next += sent,
                    (sent, Some(errno)) => return Self::stopped(fd, next + sent - range.start, errno),
                }
            } else if send_error_may_be_stale(failure.errno) && retried != Some(next) {
                retried = Some(next);
            } else {
                return Self::stopped(fd, next - range.start, failure.errno);
            }
        }
        SendReport {
            count: next.saturating_sub(range.start),
            error: None,
        }
    }

    /// Sends the datagrams of a message that was refused as a whole, each on its own.
    #[cold]
    fn send_singly<'m>(
        &mut self,
        fd: BorrowedFd<'_>,
        refused: Failure,
        mut make: impl FnMut(usize) -> Outgoing<'m>,
    ) -> (usize, Option<i32>) {
        let segment_len = make(0).payload().len();
        let singly = Coalesce {
            segments: 1,
            ceiling: 0,
        };
        let mut sent = 0;
        let mut retried = None;
        while sent < refused.datagrams {
            let progress = self
                .vector
                .send(fd, singly, refused.datagrams - sent, |i| make(sent + i));
            sent += progress.sent;
            match progress.failure {
                Some(failure) if send_error_may_be_stale(failure.errno) && retried != Some(sent) => {
                    retried = Some(sent);
                }
                Some(failure) => {
                    // The first one fails alone as well: the fault is its own, and says nothing about coalescing.
                    if sent > 0 {
                        self.pause.begin(&mut self.coalesce, refused.errno, segment_len);
                    }
                    return (sent, Some(failure.errno));
                }
                None => {}
            }
        }
        self.pause.begin(&mut self.coalesce, refused.errno, segment_len);
        (sent, None)
    }

    #[cold]
    fn stopped(fd: BorrowedFd<'_>, count: usize, errno: i32) -> SendReport {
        SendReport {
            count,
            error: Some(SendError::of_socket(fd, errno)),
        }
    }
}

impl Pause {
    /// One call later; at the end of the pause coalescing is tried again.
    #[inline]
    fn count_down(&mut self, coalesce: &mut Coalesce) {
        if self.calls_left != 0 {
            self.calls_left -= 1;
            if self.calls_left == 0 {
                coalesce.ceiling = usize::MAX;
            }
        }
    }

    /// Coalesced messages left without a limit: the next refusal is news again.
    #[inline]
    fn forget_after(&mut self, progress: &Progress, coalesce: Coalesce) {
        if self.next_calls != PAUSE_CALLS.start
            && coalesce.ceiling == usize::MAX
            && progress.sent > progress.messages
        {
            self.next_calls = PAUSE_CALLS.start;
        }
    }

    /// Datagrams of `segment_len` bytes left singly, after `errno` when they were coalesced.
    fn begin(&mut self, coalesce: &mut Coalesce, errno: i32, segment_len: usize) {
        // Segments above the MTU are refused even where fragments are allowed; smaller ones are not concerned.
        let ceiling = if errno == libc::EMSGSIZE {
            segment_len.saturating_sub(1)
        } else {
            0
        };
        coalesce.ceiling = coalesce.ceiling.min(ceiling);
        self.calls_left = self.next_calls;
        self.next_calls = (self.next_calls * 2).min(PAUSE_CALLS.end);
    }
}

/// Errnos with which a kernel or a device refuses segmentation, and which can have other reasons as well.
fn may_be_due_to_coalescing(errno: i32) -> bool {
    matches!(
        errno,
        libc::EINVAL | libc::EMSGSIZE | libc::EIO | libc::EOPNOTSUPP
    )
}
