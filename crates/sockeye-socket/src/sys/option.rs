//! `getsockopt` and `setsockopt` for values without pointers.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;

use super::{check, raw};

/// A value that the kernel may read and write byte by byte.
///
/// # Safety
///
/// Every bit pattern is a value of the type, it has no padding, and it holds no pointer.
pub(crate) unsafe trait Plain: Copy {}

// SAFETY: a primitive integer.
unsafe impl Plain for i32 {}
// SAFETY: a primitive integer.
unsafe impl Plain for u32 {}
// SAFETY: a primitive integer.
unsafe impl Plain for u64 {}
// SAFETY: an array of a primitive integer.
unsafe impl Plain for [i32; 2] {}

/// Reads an option of exactly `T`'s size.
pub(crate) fn get<T: Plain>(fd: BorrowedFd<'_>, level: i32, name: i32) -> io::Result<T> {
    let mut value = MaybeUninit::<T>::zeroed();
    let mut len = socklen(size_of::<T>());
    // SAFETY: the kernel writes at most `len` bytes into `value`, which has that many.
    let answer = unsafe { libc::getsockopt(raw(fd), level, name, value.as_mut_ptr().cast(), &raw mut len) };
    check(answer)?;
    // SAFETY: zeroed before, written by the kernel since, and `Plain` accepts every bit pattern.
    Ok(unsafe { value.assume_init() })
}

/// Writes an option of exactly `T`'s size.
pub(crate) fn set<T: Plain>(fd: BorrowedFd<'_>, level: i32, name: i32, value: T) -> io::Result<()> {
    let len = socklen(size_of::<T>());
    // SAFETY: the kernel reads `len` bytes of `value`, which `Plain` says are all initialised and point nowhere.
    check(unsafe { libc::setsockopt(raw(fd), level, name, (&raw const value).cast(), len) })?;
    Ok(())
}

/// Reads an option of any length into `buffer` and returns how many bytes the kernel wrote.
pub(crate) fn get_bytes(fd: BorrowedFd<'_>, level: i32, name: i32, buffer: &mut [u8]) -> io::Result<usize> {
    // The kernel counts in an int and takes more for less than nothing.
    let mut len = socklen(buffer.len().min(i32::MAX as usize));
    // SAFETY: the kernel writes at most `len` bytes into `buffer`, which has at least that many.
    let answer = unsafe { libc::getsockopt(raw(fd), level, name, buffer.as_mut_ptr().cast(), &raw mut len) };
    check(answer)?;
    Ok((len as usize).min(buffer.len()))
}

/// Writes an option whose value is text or a structure without pointers.
pub(crate) fn set_bytes(fd: BorrowedFd<'_>, level: i32, name: i32, value: &[u8]) -> io::Result<()> {
    // SAFETY: the kernel reads `value.len()` bytes of `value`.
    check(unsafe { libc::setsockopt(raw(fd), level, name, value.as_ptr().cast(), socklen(value.len())) })?;
    Ok(())
}

/// Whether an option was refused because the kernel, or this kind of socket, does not have it.
pub(crate) fn is_unknown(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOPROTOOPT | libc::EOPNOTSUPP))
}

/// Option values are small; a longer one is cut here and refused by the kernel.
fn socklen(len: usize) -> libc::socklen_t {
    libc::socklen_t::try_from(len).unwrap_or(libc::socklen_t::MAX)
}
