//! What a connection still has to send: chunks in order, counted in bytes.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice};
use std::sync::Arc;

use crate::backend::StreamIo;

/// Owned chunks are filled up to this before another one is begun.
const CHUNK: usize = 64 * 1024;
/// Buffers handed to the kernel in one call.
const VECTORS: usize = 64;

/// A piece of output.
#[derive(Debug)]
enum Chunk {
    /// Bytes copied from a write, from `start` on.
    Owned { bytes: Vec<u8>, start: usize },
    /// Bytes that many connections share, from `start` on.
    Shared { bytes: Arc<[u8]>, start: usize },
    /// A part of a file, read when its turn comes.
    File { file: Arc<File>, offset: u64, left: u64 },
}

/// How a flush ended.
#[derive(Debug)]
pub(crate) enum Flush {
    /// Everything went out.
    Empty,
    /// The kernel took no more.
    Blocked,
    /// Writing is over.
    Failed(io::Error),
}

/// The queue of one connection.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    chunks: VecDeque<Chunk>,
    /// Bytes in memory; parts of files do not count.
    bytes: usize,
}

impl Queue {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Appends a copy.
    pub(crate) fn push(&mut self, data: &[u8]) {
        self.bytes += data.len();
        if let Some(Chunk::Owned { bytes, .. }) = self.chunks.back_mut()
            && bytes.len() + data.len() <= CHUNK
        {
            bytes.extend_from_slice(data);
            return;
        }
        if !data.is_empty() {
            self.chunks.push_back(Chunk::Owned {
                bytes: data.to_vec(),
                start: 0,
            });
        }
    }

    /// Appends shared bytes from `start` on, without a copy.
    pub(crate) fn push_shared(&mut self, bytes: Arc<[u8]>, start: usize) {
        if start < bytes.len() {
            self.bytes += bytes.len() - start;
            self.chunks.push_back(Chunk::Shared { bytes, start });
        }
    }

    /// Appends a part of a file.
    pub(crate) fn push_file(&mut self, file: Arc<File>, offset: u64, len: u64) {
        if len > 0 {
            self.chunks.push_back(Chunk::File {
                file,
                offset,
                left: len,
            });
        }
    }

    /// Writes as much as the socket takes, and says how much that was.
    pub(crate) fn flush<S: StreamIo>(&mut self, socket: &mut S) -> (u64, Flush) {
        let mut sent = 0;
        loop {
            let (step, wanted) = match self.chunks.front_mut() {
                None => return (sent, Flush::Empty),
                Some(Chunk::File { file, offset, left }) => {
                    let want = usize::try_from(*left).unwrap_or(usize::MAX).min(1 << 20);
                    let step = socket.send_file(file, *offset, want);
                    if let Ok(taken) = step {
                        *offset += taken as u64;
                        // 0: the file is shorter than was said; what is missing cannot be sent.
                        *left = if taken == 0 { 0 } else { *left - taken as u64 };
                        if *left == 0 {
                            self.chunks.pop_front();
                        }
                        sent += taken as u64;
                    }
                    (step.map(|_| 0), 0)
                }
                Some(_) => self.write_memory(socket),
            };
            match step {
                Ok(taken) => {
                    self.consume(taken);
                    sent += taken as u64;
                    // A short write says that the kernel is full; the next event says when it is not.
                    if taken < wanted {
                        return (sent, Flush::Blocked);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return (sent, Flush::Blocked),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (sent, Flush::Failed(error)),
            }
        }
    }

    /// One gathered write of the leading chunks in memory, and how much it offered.
    fn write_memory<S: StreamIo>(&self, socket: &mut S) -> (io::Result<usize>, usize) {
        let mut slices = [IoSlice::new(&[]); VECTORS];
        let mut count = 0;
        let mut wanted = 0;
        for (slot, chunk) in slices.iter_mut().zip(&self.chunks) {
            let data = match chunk {
                Chunk::Owned { bytes, start } => &bytes[*start..],
                Chunk::Shared { bytes, start } => &bytes[*start..],
                Chunk::File { .. } => break,
            };
            *slot = IoSlice::new(data);
            wanted += data.len();
            count += 1;
        }
        (socket.write_vectored(&slices[..count]), wanted)
    }

    fn consume(&mut self, mut taken: usize) {
        self.bytes -= taken;
        while taken > 0 {
            let (start, len) = match self.chunks.front_mut() {
                Some(Chunk::Owned { bytes, start }) => (start, bytes.len()),
                Some(Chunk::Shared { bytes, start }) => (start, bytes.len()),
                Some(Chunk::File { .. }) | None => return,
            };
            let step = taken.min(len - *start);
            *start += step;
            taken -= step;
            if *start == len {
                self.chunks.pop_front();
            }
        }
    }
}
