//! Unix sockets: their names in the kernel's layout, and the calls that take or return one.

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

use sockeye_endpoint::UnixName;

use super::{check, check_len, option, raw};

pub(crate) mod batch;
pub(crate) mod message;

/// `SO_PEERPIDFD` (Linux 6.5); not in every libc.
const SO_PEERPIDFD: i32 = 77;

/// Bytes before `sun_path`.
const OFFSET: usize = size_of::<libc::sa_family_t>();

/// The longest name a kernel reports: 108 bytes of path and the NUL that it appends to them, rounded up.
const NAME_LEN: usize = 112;

/// The same as the kernel counts it.
pub(crate) const NAME_SOCKLEN: libc::socklen_t = 112;

/// A `sockaddr_un` in the kernel's layout.
#[repr(C, align(4))]
#[derive(Clone, Copy)]
pub(crate) struct RawName([u8; NAME_LEN]);

impl RawName {
    pub(crate) const EMPTY: Self = Self([0; NAME_LEN]);

    /// Writes `name` and returns how many bytes of it count.
    #[inline]
    pub(crate) fn set(&mut self, name: &UnixName) -> libc::socklen_t {
        let (family, field) = self.0.split_at_mut(OFFSET);
        #[expect(clippy::cast_possible_truncation, reason = "AF_UNIX is 1")]
        let unix = libc::AF_UNIX as libc::sa_family_t;
        family.copy_from_slice(&unix.to_ne_bytes());
        let (start, bytes, end) = match (name.as_path_bytes(), name.as_abstract_name()) {
            // A NUL behind, unless the path fills the field.
            (Some(path), _) => (0, path, usize::from(path.len() <= UnixName::MAX_LEN)),
            (None, Some(name)) => (1, name, 0),
            (None, None) => (0, &[][..], 0),
        };
        field.fill(0);
        if let Some(room) = field.get_mut(start..start + bytes.len()) {
            room.copy_from_slice(bytes);
        }
        let len = OFFSET + start + bytes.len() + end;
        libc::socklen_t::try_from(len).unwrap_or(NAME_SOCKLEN)
    }

    /// The name in the first `len` bytes; `None` where it is no Unix socket's.
    #[inline]
    pub(crate) fn decode(&self, len: libc::socklen_t) -> Option<UnixName> {
        // A sender without a name is reported with no address at all.
        let Some(bytes) = self
            .0
            .get(..(len as usize).min(NAME_LEN))
            .filter(|bytes| bytes.len() >= OFFSET)
        else {
            return Some(UnixName::UNNAMED);
        };
        let (family, field) = bytes.split_at(OFFSET);
        let family = libc::sa_family_t::from_ne_bytes(family.try_into().ok()?);
        if i32::from(family) != libc::AF_UNIX {
            return None;
        }
        UnixName::from_sun_path(field)
    }

    pub(crate) fn as_ptr<T>(&self) -> *const T {
        self.0.as_ptr().cast()
    }

    pub(crate) fn as_mut_ptr<T>(&mut self) -> *mut T {
        self.0.as_mut_ptr().cast()
    }
}

fn not_unix() -> io::Error {
    io::Error::from_raw_os_error(libc::EAFNOSUPPORT)
}

/// Gives the socket a name; without one in `name`, the kernel makes up an abstract one.
pub(crate) fn bind(fd: BorrowedFd<'_>, name: &UnixName) -> io::Result<()> {
    let mut address = RawName::EMPTY;
    let len = address.set(name);
    // SAFETY: the kernel reads `len` bytes of `address`, which `set` says it has.
    check(unsafe { libc::bind(raw(fd), address.as_ptr(), len) })?;
    Ok(())
}

pub(crate) fn connect(fd: BorrowedFd<'_>, name: &UnixName) -> io::Result<()> {
    let mut address = RawName::EMPTY;
    let len = address.set(name);
    // SAFETY: the kernel reads `len` bytes of `address`, which `set` says it has.
    check(unsafe { libc::connect(raw(fd), address.as_ptr(), len) })?;
    Ok(())
}

/// Accepts one connection, nonblocking and close-on-exec, with the name of its peer.
#[inline]
pub(crate) fn accept(fd: BorrowedFd<'_>) -> io::Result<(OwnedFd, UnixName)> {
    let mut address = RawName::EMPTY;
    let mut len = NAME_SOCKLEN;
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: the kernel writes at most `len` bytes into `address`, which has that many.
    let answer = unsafe { libc::accept4(raw(fd), address.as_mut_ptr(), &raw mut len, flags) };
    let accepted = check(answer)?;
    // SAFETY: accept4 has just made this descriptor; nobody else owns it.
    let accepted = unsafe { OwnedFd::from_raw_fd(accepted) };
    let peer = address.decode(len).ok_or_else(not_unix)?;
    Ok((accepted, peer))
}

pub(crate) fn local(fd: BorrowedFd<'_>) -> io::Result<UnixName> {
    let mut address = RawName::EMPTY;
    let mut len = NAME_SOCKLEN;
    // SAFETY: the kernel writes at most `len` bytes into `address`, which has that many.
    check(unsafe { libc::getsockname(raw(fd), address.as_mut_ptr(), &raw mut len) })?;
    address.decode(len).ok_or_else(not_unix)
}

pub(crate) fn peer(fd: BorrowedFd<'_>) -> io::Result<UnixName> {
    let mut address = RawName::EMPTY;
    let mut len = NAME_SOCKLEN;
    // SAFETY: the kernel writes at most `len` bytes into `address`, which has that many.
    check(unsafe { libc::getpeername(raw(fd), address.as_mut_ptr(), &raw mut len) })?;
    address.decode(len).ok_or_else(not_unix)
}

#[inline]
pub(crate) fn send_to(fd: BorrowedFd<'_>, data: &[u8], name: &UnixName) -> io::Result<usize> {
    let mut address = RawName::EMPTY;
    let name_len = address.set(name);
    let (bytes, len) = (data.as_ptr().cast(), data.len());
    let flags = libc::MSG_NOSIGNAL;
    // SAFETY: the kernel reads `len` bytes of `data` and `name_len` bytes of `address`, which `set` says it has.
    check_len(unsafe { libc::sendto(raw(fd), bytes, len, flags, address.as_ptr(), name_len) })
}

/// Receives one datagram without what came beside it: descriptors are closed by the kernel.
#[inline]
pub(crate) fn recv_from(fd: BorrowedFd<'_>, data: &mut [u8], flags: i32) -> io::Result<(usize, UnixName)> {
    let mut address = RawName::EMPTY;
    let mut name_len = NAME_SOCKLEN;
    let (bytes, len) = (data.as_mut_ptr().cast(), data.len());
    // SAFETY: the kernel writes at most `len` bytes into `data` and `name_len` into `address`, which have that many.
    let answer = unsafe {
        libc::recvfrom(
            raw(fd),
            bytes,
            len,
            flags,
            address.as_mut_ptr(),
            &raw mut name_len,
        )
    };
    let len = check_len(answer)?;
    Ok((len, address.decode(name_len).ok_or_else(not_unix)?))
}

/// Two sockets that are connected to each other, nonblocking and close-on-exec.
pub(crate) fn pair(ty: i32) -> io::Result<[OwnedFd; 2]> {
    let mut fds: [RawFd; 2] = [-1; 2];
    let ty = ty | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: the kernel writes two descriptors into `fds`.
    check(unsafe { libc::socketpair(libc::AF_UNIX, ty, 0, fds.as_mut_ptr()) })?;
    // SAFETY: socketpair has just made both descriptors; nobody else owns them.
    Ok(fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// A descriptor of the peer's process.
pub(crate) fn peer_pidfd(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut number: RawFd = -1;
    #[expect(clippy::cast_possible_truncation, reason = "4")]
    let mut len = size_of::<RawFd>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes into `number`, which has that many.
    let answer = unsafe {
        libc::getsockopt(
            raw(fd),
            libc::SOL_SOCKET,
            SO_PEERPIDFD,
            (&raw mut number).cast(),
            &raw mut len,
        )
    };
    check(answer)?;
    if number < 0 {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    // SAFETY: the kernel has just made this descriptor for this call; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// `SO_PEERCRED`: process, user and group.
pub(crate) fn peer_credentials(fd: BorrowedFd<'_>) -> io::Result<[u32; 3]> {
    let mut bytes = [0; 12];
    let len = option::get_bytes(fd, libc::SOL_SOCKET, libc::SO_PEERCRED, &mut bytes)?;
    message::credentials(bytes.get(..len).unwrap_or_default()).ok_or_else(not_unix)
}

/// `SO_PEERGROUPS` into `buffer`, four bytes a group; ERANGE where it is too short.
pub(crate) fn peer_groups(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    option::get_bytes(fd, libc::SOL_SOCKET, libc::SO_PEERGROUPS, buffer)
}

/// The family and the type of the socket, whether it listens.
pub(crate) fn kind(fd: BorrowedFd<'_>) -> io::Result<(i32, i32, bool)> {
    let get = |name| option::get::<i32>(fd, libc::SOL_SOCKET, name);
    Ok((
        get(libc::SO_DOMAIN)?,
        get(libc::SO_TYPE)?,
        get(libc::SO_ACCEPTCONN)? != 0,
    ))
}

/// Takes an exclusive lock of the whole file; `false` where somebody else has it.
pub(crate) fn try_lock(fd: BorrowedFd<'_>) -> io::Result<bool> {
    // SAFETY: no memory is passed.
    match check(unsafe { libc::flock(raw(fd), libc::LOCK_EX | libc::LOCK_NB) }) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lengths_are_those_of_unix_7() {
        let mut raw = RawName::EMPTY;
        assert_eq!(raw.set(&UnixName::UNNAMED), 2);
        assert_eq!(raw.set(&UnixName::from_path(b"/a").unwrap()), 2 + 2 + 1);
        assert_eq!(raw.set(&UnixName::from_abstract_name(b"a").unwrap()), 2 + 1 + 1);
        assert_eq!(raw.set(&UnixName::from_path(&[b'a'; 107]).unwrap()), 110);
        assert_eq!(raw.set(&UnixName::from_sun_path(&[b'a'; 108]).unwrap()), 110);
        assert_eq!(raw.decode(0), Some(UnixName::UNNAMED));
        // What getsockname says of a path of 108 bytes.
        assert_eq!(raw.decode(111), UnixName::from_sun_path(&[b'a'; 108]));
        assert_eq!(RawName::EMPTY.decode(110), None);
    }

    proptest! {
        #[test]
        fn prop_a_name_survives_the_kernel_layout(bytes in proptest::collection::vec(any::<u8>(), 0..=108)) {
            let name = UnixName::from_sun_path(&bytes).unwrap();
            let mut raw = RawName([0xee; NAME_LEN]);
            let len = raw.set(&name);
            prop_assert!(len <= 110);
            prop_assert_eq!(raw.decode(len), Some(name));
        }

        #[test]
        fn prop_any_bytes_decode_without_a_panic(bytes in any::<[[u8; 28]; 4]>(), len in any::<u32>()) {
            let mut raw = RawName::EMPTY;
            raw.0.copy_from_slice(bytes.as_flattened());
            let _ = raw.decode(len);
        }
    }
}
