//! One question: the addresses of a name in one family, asked of whoever knows.

use std::net::SocketAddr;

use sockeye_endpoint::HostName;
use sockeye_socket::os::{self, AddressFamily, NameError};
use thiserror::Error;

/// Who answers lookups. [`SystemLookup`] is the machine's own resolver; tests and hosts with a resolver of their own put
/// another in its place.
pub trait Lookup: Send + Sync {
    /// The addresses of `host` in `family`, at most `max` of them, with port 0.
    ///
    /// It may block, and runs on a thread of the resolver. A panic counts as [`LookupError::Failed`].
    ///
    /// # Errors
    ///
    /// [`LookupError`]; an empty list is no error.
    fn lookup(
        &self,
        host: &HostName,
        family: AddressFamily,
        max: usize,
    ) -> Result<Vec<SocketAddr>, LookupError>;
}

/// The system's resolver: hosts file, name servers and whatever else the machine is configured to ask.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemLookup;

impl Lookup for SystemLookup {
    fn lookup(
        &self,
        host: &HostName,
        family: AddressFamily,
        max: usize,
    ) -> Result<Vec<SocketAddr>, LookupError> {
        os::getaddrinfo(host.as_str(), family, max).map_err(|error| match error {
            NameError::NotFound => LookupError::NotFound,
            NameError::TryAgain => LookupError::TryAgain,
            NameError::System(error) => LookupError::System {
                errno: error.raw_os_error().unwrap_or_default(),
            },
            _ => LookupError::Failed,
        })
    }
}

/// Why a family of a name has no addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum LookupError {
    /// There is no such name, or it has no address of the family.
    #[error("no such name, or no address of this family")]
    NotFound,
    /// The name servers do not answer; they may later.
    #[error("no answer from the name servers")]
    TryAgain,
    /// The name servers refuse, or the resolver itself has failed.
    #[error("the name servers failed")]
    Failed,
    /// The query's deadline has passed.
    #[error("no answer before the deadline")]
    TimedOut,
    /// The system underneath has failed.
    #[error("resolve: {}", std::io::Error::from_raw_os_error(*errno))]
    System {
        /// The error number.
        errno: i32,
    },
}
