//! Memory in pages of its own, which the kernel may go on reading after the program has let go of it.

use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// A private anonymous mapping, all zero at first.
///
/// Freeing is unmapping. A page that the kernel still refers to, for a send without a copy, leaves the program and not
/// the memory: it keeps its bytes until the last reference is gone, and nothing else is put there before. Memory of the
/// allocator would go to its next owner at once.
pub(crate) struct Pages {
    first: NonNull<u8>,
    len: usize,
}

// SAFETY: it owns its bytes as a `Box<[u8]>` does, and no thread is special to a mapping.
unsafe impl Send for Pages {}
// SAFETY: shared access only reads, and nothing inside has interior mutability.
unsafe impl Sync for Pages {}

impl Pages {
    /// `len` zero bytes, which cost no memory until they are touched.
    pub(crate) fn zeroed(len: usize) -> io::Result<Self> {
        if len == 0 {
            let first = NonNull::dangling();
            return Ok(Self { first, len });
        }
        // No slice may be longer, and rounding up to whole pages must not overflow.
        if isize::try_from(len).is_err() {
            return Err(io::Error::from_raw_os_error(libc::ENOMEM));
        }
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let anywhere = std::ptr::null_mut();
        // SAFETY: a new mapping where the kernel finds room: it takes the place of nothing.
        let start = unsafe { libc::mmap(anywhere, len, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let first = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { first, len })
    }
}

impl Deref for Pages {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: `len` bytes are mapped from `first` on until drop, zeroed by the kernel; without any, `first` is
        // dangling, not null.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.len) }
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.first.as_ptr(), self.len) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        if self.len > 0 {
            // It fails only where the process has as many mappings as it may (`vm.max_map_count`) and this one had been
            // merged with its neighbours: then it stays, unused.
            // SAFETY: the mapping is this value's own, and nothing borrows from it any more.
            unsafe { libc::munmap(self.first.as_ptr().cast(), self.len) };
        }
    }
}
