//! Stdout, written without ever blocking, and without being switched to non-blocking for others who have it.

use std::fs::{self, File, FileType};
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt as _;

use sockeye::socket::os::reopen_nonblocking;

/// What a descriptor takes in one write without blocking, once poll(2) has said that it is writable: PIPE_BUF.
const PIECE: usize = 4096;

/// The program's stdout.
#[derive(Debug)]
pub(crate) struct Stdout {
    file: File,
    /// The most that one write is given.
    piece: usize,
}

impl Stdout {
    /// Pipes and terminals are opened once more, non-blocking; regular files never block; of what else there is, and
    /// where opening fails, a write takes no more than a page.
    ///
    /// # Errors
    /// Without a descriptor for it.
    pub(crate) fn open() -> io::Result<Self> {
        let stdout = io::stdout();
        let kind = fs::metadata("/proc/self/fd/1").map(|meta| meta.file_type());
        if kind.as_ref().is_ok_and(may_block)
            && let Ok(file) = reopen_nonblocking(&stdout)
        {
            return Ok(Self {
                file,
                piece: usize::MAX,
            });
        }
        let piece = if kind.is_ok_and(|kind| kind.is_file()) {
            usize::MAX
        } else {
            PIECE
        };
        let file = stdout.as_fd().try_clone_to_owned()?.into();
        Ok(Self { file, piece })
    }

    /// Writes as much as does not block, once it is writable; 0 where that is nothing after all.
    ///
    /// # Errors
    /// What `write(2)` says, but for `WouldBlock` and `Interrupted`.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.file.write(bytes.split_at(bytes.len().min(self.piece)).0) {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                Ok(0)
            }
            outcome => outcome,
        }
    }
}

/// Bytes that wait for stdout. What was written is moved out of the way no oftener than as many bytes were written, so that
/// the cost is that of the bytes, however small the writes.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    bytes: Vec<u8>,
    written: usize,
}

impl Backlog {
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    /// What is to be written next.
    pub(super) fn rest(&self) -> &[u8] {
        self.bytes.get(self.written..).unwrap_or_default()
    }

    /// Where more is put.
    pub(super) fn end(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// So many bytes of [`rest`](Self::rest) are written.
    pub(super) fn wrote(&mut self, len: usize) {
        self.written = (self.written + len).min(self.bytes.len());
        if self.written >= self.len() {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
    }

    /// Nobody will have it.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

fn may_block(kind: &FileType) -> bool {
    kind.is_fifo() || kind.is_char_device()
}

impl AsFd for Stdout {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_is_written_in_its_order_whatever_comes_between() {
        let (mut backlog, mut came) = (Backlog::default(), Vec::new());
        let sent: Vec<u8> = (0..=255).cycle().take(10_000).collect();
        for (piece, len) in sent.chunks(100).zip((0..150).cycle().step_by(7)) {
            backlog.end().extend_from_slice(piece);
            let len = backlog.len().min(len);
            came.extend_from_slice(&backlog.rest()[..len]);
            backlog.wrote(len);
        }
        came.extend_from_slice(backlog.rest());
        backlog.wrote(backlog.len());
        assert!(came == sent);
        assert_eq!((backlog.len(), backlog.bytes.len()), (0, 0));
    }
}
