//! [`UnixListener`]: where streams come in.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;
use std::time::Duration;

use sockeye_socket::unix::UnixName;
use sockeye_socket::{Op, OpError, Socket, Type, os};

use crate::accept::AcceptOutcome;
use crate::common::listener_methods;
use crate::error::BindError;
use crate::name::{name_of_addr, name_of_path};
use crate::options::ListenOptions;
use crate::path::BoundPath;
use crate::stream::UnixStream;

/// A listening socket of streams, nonblocking.
///
/// Every method of `mio::net::UnixListener` is here under its name and with its signature, and means the same: a path that
/// exists is an error, and stays when the listener is dropped. [`options`](Self::options) do better.
///
/// ```
/// use sockeye_unix::{AcceptOutcome, UnixListener, UnixName, UnixStream};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let name = sockeye_unix::name_of_path(folder.path().join("app.sock"))?;
/// // The file that another run has left behind is taken over, and this one goes with the listener.
/// let listener = UnixListener::options().mode(0o660).bind(&name)?;
/// assert!(matches!(listener.accept_outcome(), AcceptOutcome::Empty));
/// let refused = UnixListener::options().bind(&name).unwrap_err();
/// assert!(refused.to_string().contains("a live socket"));
/// # Ok(())
/// # }
/// ```
pub struct UnixListener {
    /// Before the socket: a path is removed while it still answers, so that nobody takes it over in between.
    pub(crate) path: Option<BoundPath>,
    pub(crate) socket: Socket,
}

impl UnixListener {
    /// Listens at a path that does not exist yet.
    ///
    /// # Errors
    ///
    /// `AddrInUse` where it does; `InvalidInput` for a path above 107 bytes; else what the file system says.
    /// [`ListenOptions::bind`] says more in words.
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<Self> {
        plain(&name_of_path(path)?)
    }

    /// Listens at an address, which may be an abstract name.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    pub fn bind_addr(address: &SocketAddr) -> io::Result<Self> {
        plain(&name_of_addr(address)?)
    }

    /// Wraps a listener of the standard library as it is: make it nonblocking first.
    #[must_use]
    pub fn from_std(listener: net::UnixListener) -> Self {
        Socket::from(listener).into()
    }
}

fn plain(name: &UnixName) -> io::Result<UnixListener> {
    ListenOptions::new()
        .take_over(false)
        .unlink(false)
        .bind(name)
        .map_err(BindError::into_cause)
}

listener_methods!(UnixListener, UnixStream, Type::STREAM, "streams");
