//! Names as the standard library has them: paths and its socket addresses.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::Path;

use sockeye_socket::Socket;
use sockeye_socket::unix::{ParseError, UnixName};

/// The name of a socket at `path`.
///
/// # Errors
///
/// `InvalidInput` where the path is empty, contains NUL, or has more than 107 bytes.
pub fn name_of_path(path: impl AsRef<Path>) -> io::Result<UnixName> {
    UnixName::from_path(path.as_ref().as_os_str().as_bytes()).map_err(invalid)
}

/// The name that an address of the standard library holds.
///
/// # Errors
///
/// `InvalidInput` for the empty abstract name.
pub fn name_of_addr(addr: &SocketAddr) -> io::Result<UnixName> {
    if let Some(path) = addr.as_pathname() {
        return name_of_path(path);
    }
    match addr.as_abstract_name() {
        Some(name) => UnixName::from_abstract_name(name).map_err(invalid),
        None => Ok(UnixName::UNNAMED),
    }
}

fn invalid(error: ParseError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error.to_string())
}

/// The path, where the name is one.
pub(crate) fn path_of(name: &UnixName) -> Option<&Path> {
    name.as_path_bytes()
        .map(|path| Path::new(OsStr::from_bytes(path)))
}

/// The address of the standard library; it has none for a path of 108 bytes, which another program may have bound.
pub(crate) fn addr_of(name: &UnixName) -> io::Result<SocketAddr> {
    if let Some(name) = name.as_abstract_name() {
        return SocketAddr::from_abstract_name(name);
    }
    // An empty path is how it writes a socket without a name.
    SocketAddr::from_pathname(path_of(name).unwrap_or(Path::new("")))
}

/// The address of this end; where it cannot be made, the standard library asks the kernel itself.
pub(crate) fn local_addr(socket: &Socket) -> io::Result<SocketAddr> {
    addr_of(&socket.local_unix()?).or_else(|_| borrowed(socket)?.local_addr())
}

/// The address of the other end, likewise.
pub(crate) fn peer_addr(socket: &Socket, known: &UnixName) -> io::Result<SocketAddr> {
    addr_of(known).or_else(|_| borrowed(socket)?.peer_addr())
}

fn borrowed(socket: &Socket) -> io::Result<UnixStream> {
    socket.as_fd().try_clone_to_owned().map(UnixStream::from)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn prop_a_name_survives_the_standard_library(
            bytes in proptest::collection::vec(any::<u8>(), 1..108),
            path in any::<bool>(),
        ) {
            let name = if path { UnixName::from_path(&bytes) } else { UnixName::from_abstract_name(&bytes) };
            if let Ok(name) = name {
                prop_assert_eq!(name_of_addr(&addr_of(&name).unwrap()).unwrap(), name);
            }
        }
    }

    #[test]
    fn no_name_stays_none() {
        let unnamed = addr_of(&UnixName::UNNAMED).unwrap();
        assert!(unnamed.is_unnamed());
        assert_eq!(name_of_addr(&unnamed).unwrap(), UnixName::UNNAMED);
    }
}
