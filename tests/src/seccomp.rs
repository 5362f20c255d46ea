//! A kernel that lacks socket options, for one thread and the programs that it starts: a seccomp filter answers for it.

use std::io;

/// An option of `setsockopt(2)`: its level and its number.
pub type SocketOption = (i32, i32);

/// Has every `setsockopt` and `getsockopt` of `options` answered with `errno`, from now on, in this thread and what it
/// starts. There is no way back: run it in a thread of its own, as each test is.
///
/// # Errors
/// What `prctl(2)` returns: EINVAL where the kernel has no seccomp filters.
#[expect(unsafe_code, reason = "std has no prctl")]
pub fn refuse(options: &[SocketOption], errno: i32) -> io::Result<()> {
    let program = program(options, errno.unsigned_abs());
    let header = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(io::Error::other)?,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the command takes numbers.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel copies `len` instructions from `filter`, which has as many and lives through the call.
    if unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const header) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Where `struct seccomp_data` has the number of the call, and the lower half of its second and third arguments.
const CALL: u32 = 0;
const HALF: u32 = if cfg!(target_endian = "big") { 4 } else { 0 };
const LEVEL: u32 = 16 + 8 + HALF;
const NAME: u32 = 16 + 16 + HALF;

fn program(options: &[SocketOption], errno: u32) -> Vec<libc::sock_filter> {
    let instruction = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter {
        code: u16::try_from(code).unwrap_or(0),
        jt,
        jf,
        k,
    };
    let load = |offset| instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0);
    let equal = |k, jt, jf| instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, k, jt, jf);
    let answer = |value| instruction(libc::BPF_RET | libc::BPF_K, value, 0, 0);
    let call = |number: libc::c_long| u32::try_from(number).unwrap_or(u32::MAX);
    let mut program = vec![
        load(CALL),
        equal(call(libc::SYS_setsockopt), 2, 0),
        equal(call(libc::SYS_getsockopt), 1, 0),
        answer(libc::SECCOMP_RET_ALLOW),
    ];
    for &(level, name) in options {
        program.extend([
            load(LEVEL),
            equal(level.cast_unsigned(), 0, 3),
            load(NAME),
            equal(name.cast_unsigned(), 0, 1),
            answer(libc::SECCOMP_RET_ERRNO | errno),
        ]);
    }
    program.push(answer(libc::SECCOMP_RET_ALLOW));
    program
}
