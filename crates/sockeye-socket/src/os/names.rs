//! Names of hosts.

use std::ffi::CString;
use std::io;
use std::net::SocketAddr;

use thiserror::Error;

use crate::sys::names as sys;

/// Which addresses of a name are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressFamily {
    /// A records.
    V4,
    /// AAAA records.
    V6,
}

/// Why a name has no addresses.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NameError {
    /// There is no such name, or it has no address of the family.
    #[error("no such name, or no address of this family")]
    NotFound,
    /// No answer for now: name servers that do not answer, most often.
    #[error("no answer from the name servers")]
    TryAgain,
    /// The name server says that it will not answer.
    #[error("the name server failed")]
    Failed,
    /// An error of the system underneath.
    #[error("resolve: {0}")]
    System(#[source] io::Error),
    /// Any other of the resolver's codes.
    #[error("the resolver failed with code {0}")]
    Other(i32),
}

/// The addresses that the system's resolver has for a host name, in its order, each once, at most `max`, with port 0.
///
/// It blocks for as long as the system's resolver does, which can be minutes where name servers do not answer, and
/// cannot be interrupted: give it a thread.
///
/// # Errors
///
/// [`NameError`]; a name with a NUL in it is [`NameError::NotFound`].
#[doc(alias = "gethostbyname")]
pub fn getaddrinfo(host: &str, family: AddressFamily, max: usize) -> Result<Vec<SocketAddr>, NameError> {
    let host = CString::new(host).map_err(|_| NameError::NotFound)?;
    let family = match family {
        AddressFamily::V4 => libc::AF_INET,
        AddressFamily::V6 => libc::AF_INET6,
    };
    sys::getaddrinfo(&host, family, max).map_err(|failure| match failure {
        sys::Failure::System(error) => NameError::System(error),
        sys::Failure::Code(libc::EAI_NONAME | libc::EAI_NODATA | EAI_ADDRFAMILY) => NameError::NotFound,
        sys::Failure::Code(libc::EAI_AGAIN) => NameError::TryAgain,
        sys::Failure::Code(libc::EAI_FAIL) => NameError::Failed,
        sys::Failure::Code(code) => NameError::Other(code),
    })
}

/// "The name has no address of this family" (glibc); libc does not name it.
const EAI_ADDRFAMILY: i32 = -9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_is_here_and_an_invalid_name_is_nowhere() {
        let found = getaddrinfo("localhost", AddressFamily::V4, 8).unwrap();
        assert!(
            found
                .iter()
                .all(|address| address.ip().is_loopback() && address.port() == 0)
        );
        assert!(!found.is_empty());
        assert!(getaddrinfo("localhost", AddressFamily::V4, 0).unwrap().is_empty());
        assert!(matches!(
            getaddrinfo("a\0b", AddressFamily::V4, 8),
            Err(NameError::NotFound)
        ));
        assert!(getaddrinfo("..", AddressFamily::V6, 8).is_err());
    }
}
