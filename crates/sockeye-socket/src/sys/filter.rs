//! Attaching classic BPF programs.

use std::io;
use std::os::fd::BorrowedFd;

use super::{check, raw};
use crate::filter::Instruction;

/// `BPF_MAXINSNS`.
const MAX_INSTRUCTIONS: usize = 4096;

pub(crate) fn attach(fd: BorrowedFd<'_>, level: i32, option: i32, program: &[Instruction]) -> io::Result<()> {
    const { assert!(size_of::<Instruction>() == size_of::<libc::sock_filter>()) };
    let len = match u16::try_from(program.len()) {
        Ok(len) if program.len() <= MAX_INSTRUCTIONS => len,
        _ => return Err(io::Error::from_raw_os_error(libc::EINVAL)),
    };
    let header = libc::sock_fprog {
        len,
        filter: program.as_ptr().cast_mut().cast(),
    };
    let header_len = libc::socklen_t::try_from(size_of::<libc::sock_fprog>()).unwrap_or(0);
    // SAFETY: the kernel reads the header and `len` instructions behind its pointer, which have the layout of
    // `sock_filter`, and copies both.
    let answer = unsafe { libc::setsockopt(raw(fd), level, option, (&raw const header).cast(), header_len) };
    check(answer)?;
    Ok(())
}
