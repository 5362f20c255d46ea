//! What a connection still has to send: chunks in order, counted in bytes, whether they are in memory or in files.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice};
use std::sync::Arc;

use crate::backend::{SendFileError, StreamIo};
use crate::fault::{Fault, REPEATS, repeated};

/// Owned chunks are filled up to this before another one is begun.
const CHUNK: usize = 64 * 1024;
/// Bytes of a file that one call sends.
const FILE_STEP: usize = 1 << 20;
/// Buffers handed to the kernel in one call.
const VECTORS: usize = 64;

/// A piece of output.
#[derive(Debug)]
enum Chunk {
    /// Bytes copied from a write, from `start` on.
    Owned { bytes: Vec<u8>, start: usize },
    /// Bytes that many connections share, from `start` on.
    /// `held` is the share of their memory that was counted for this connection.
    Shared {
        bytes: Arc<[u8]>,
        start: usize,
        held: usize,
    },
    /// A part of a file, read when its turn comes.
    File { file: Arc<File>, offset: u64, left: u64 },
}

impl Chunk {
    /// The memory it keeps.
    fn held(&self) -> usize {
        match self {
            Self::Owned { bytes, .. } => bytes.capacity(),
            Self::Shared { held, .. } => *held,
            Self::File { .. } => 0,
        }
    }
}

/// How a flush ended.
#[derive(Debug)]
pub(crate) enum Flush {
    /// Everything went out.
    Empty,
    /// The kernel took no more.
    Blocked,
    /// The system had no memory for it now.
    Later,
    /// A file cannot be read, or is shorter than was promised: the peer must not take what it has for the whole.
    Cut(io::Error),
    /// Writing is over.
    Failed(io::Error),
}

/// What a write that failed means for the queue.
fn stop(error: io::Error) -> Flush {
    match Fault::of(&error) {
        Fault::Blocked => Flush::Blocked,
        Fault::Repeat | Fault::Later => Flush::Later,
        Fault::Over => Flush::Failed(error),
    }
}

fn send_file<S: StreamIo>(
    socket: &mut S,
    file: &File,
    offset: u64,
    len: usize,
) -> Result<usize, SendFileError> {
    for _ in 0..REPEATS {
        match socket.send_file(file, offset, len) {
            Err(SendFileError::Stream(error) | SendFileError::File(error))
                if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
    Err(SendFileError::NotYet)
}

/// The queue of one connection.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    chunks: VecDeque<Chunk>,
    /// What is left to send, in memory and of files.
    bytes: u64,
    /// Memory that the chunks keep.
    held: usize,
}

impl Queue {
    /// Bytes that wait, those of files as well.
    pub(crate) fn bytes(&self) -> usize {
        usize::try_from(self.bytes).unwrap_or(usize::MAX)
    }

    /// Memory that it keeps; of what is shared, its share.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Appends a copy.
    pub(crate) fn push(&mut self, data: &[u8]) {
        self.add(data.len() as u64);
        if let Some(Chunk::Owned { bytes, .. }) = self.chunks.back_mut()
            && bytes.len() + data.len() <= CHUNK
        {
            self.held -= bytes.capacity();
            bytes.extend_from_slice(data);
            self.held += bytes.capacity();
            return;
        }
        if !data.is_empty() {
            self.held += data.len();
            self.chunks.push_back(Chunk::Owned {
                bytes: data.to_vec(),
                start: 0,
            });
        }
    }

    /// Appends shared bytes from `start` on, without a copy.
    pub(crate) fn push_shared(&mut self, bytes: Arc<[u8]>, start: usize) {
        if start < bytes.len() {
            self.add((bytes.len() - start) as u64);
            // One of them is the caller's: what many hold is counted about once in all.
            let held = bytes.len() / (Arc::strong_count(&bytes) - 1).max(1);
            self.held += held;
            self.chunks.push_back(Chunk::Shared { bytes, start, held });
        }
    }

    /// Appends a part of a file.
    pub(crate) fn push_file(&mut self, file: Arc<File>, offset: u64, len: u64) {
        if len > 0 {
            self.add(len);
            self.chunks.push_back(Chunk::File {
                file,
                offset,
                left: len,
            });
        }
    }

    /// Saturates: a caller may promise more of a file than any file has.
    fn add(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Writes as much as the socket takes, and says how much that was.
    pub(crate) fn flush<S: StreamIo>(&mut self, socket: &mut S) -> (u64, Flush) {
        let mut sent = 0;
        loop {
            let step = match self.chunks.front_mut() {
                None => return (sent, Flush::Empty),
                Some(Chunk::File { .. }) => self.write_file(socket),
                Some(_) => self.write_memory(socket),
            };
            match step {
                Ok((taken, wanted)) => {
                    sent += taken as u64;
                    // A short write says that the kernel is full; the next event says when it is not.
                    if taken < wanted {
                        return (sent, Flush::Blocked);
                    }
                }
                Err(stop) => return (sent, stop),
            }
        }
    }

    /// One write of the leading piece of a file. How much it offered is not known: whoever sends it asks again.
    fn write_file<S: StreamIo>(&mut self, socket: &mut S) -> Result<(usize, usize), Flush> {
        let Some(Chunk::File { file, offset, left }) = self.chunks.front_mut() else {
            return Ok((0, 0));
        };
        let want = usize::try_from(*left).unwrap_or(usize::MAX).min(FILE_STEP);
        let taken = match send_file(socket, file, *offset, want) {
            // The file is shorter than was said.
            Ok(0) => return Err(Flush::Cut(io::ErrorKind::UnexpectedEof.into())),
            Ok(taken) => taken,
            Err(SendFileError::Stream(error)) => return Err(stop(error)),
            Err(SendFileError::File(error)) => return Err(Flush::Cut(error)),
            Err(SendFileError::NotYet) => return Err(Flush::Later),
        };
        *offset += taken as u64;
        *left = left.saturating_sub(taken as u64);
        if *left == 0 {
            self.chunks.pop_front();
        }
        self.bytes = self.bytes.saturating_sub(taken as u64);
        Ok((taken, 0))
    }

    /// One gathered write of the leading chunks in memory: how much was taken, and how much it offered.
    fn write_memory<S: StreamIo>(&mut self, socket: &mut S) -> Result<(usize, usize), Flush> {
        let mut slices = [IoSlice::new(&[]); VECTORS];
        let mut count = 0;
        let mut wanted = 0;
        for (slot, chunk) in slices.iter_mut().zip(&self.chunks) {
            let data = match chunk {
                Chunk::Owned { bytes, start } => &bytes[*start..],
                Chunk::Shared { bytes, start, .. } => &bytes[*start..],
                Chunk::File { .. } => break,
            };
            *slot = IoSlice::new(data);
            wanted += data.len();
            count += 1;
        }
        let taken = repeated(|| socket.write_vectored(&slices[..count])).map_err(stop)?;
        self.consume(taken);
        Ok((taken, wanted))
    }

    fn consume(&mut self, mut taken: usize) {
        self.bytes = self.bytes.saturating_sub(taken as u64);
        while taken > 0 {
            let (start, len) = match self.chunks.front_mut() {
                Some(Chunk::Owned { bytes, start }) => (start, bytes.len()),
                Some(Chunk::Shared { bytes, start, .. }) => (start, bytes.len()),
                Some(Chunk::File { .. }) | None => return,
            };
            let step = taken.min(len - *start);
            *start += step;
            taken -= step;
            if *start == len {
                let gone = self.chunks.pop_front();
                self.held -= gone.as_ref().map_or(0, Chunk::held);
            }
        }
    }
}
