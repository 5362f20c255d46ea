//! How a path is taken, with which permissions, and how it is given back.

use std::ffi::OsString;
use std::fs::{self, File, FileType, Metadata, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use sockeye_socket::unix::{UnixName, open_lock_file, open_path, try_lock};
use sockeye_socket::{Domain, Op, Socket, Type, errno};

use crate::error::{BindCause, BindError};
use crate::name::path_of;

/// What is done about a path.
#[derive(Clone, Debug)]
pub(crate) struct PathPolicy {
    pub(crate) take_over: bool,
    pub(crate) unlink: bool,
    pub(crate) mode: Option<u32>,
}

impl Default for PathPolicy {
    fn default() -> Self {
        Self {
            take_over: true,
            unlink: true,
            mode: None,
        }
    }
}

/// Binds `socket`; what is returned removes the path when it is dropped.
pub(crate) fn bind(
    socket: &Socket,
    name: &UnixName,
    policy: &PathPolicy,
) -> Result<Option<BoundPath>, BindError> {
    let failed = |error| BindError::new(Op::Bind, name, error);
    let Some(path) = path_of(name) else {
        if policy.mode.is_some() {
            let why = "an abstract name has no permissions: whoever is in the network namespace may connect"
                .to_owned();
            return Err(BindError::because(
                BindCause::NoMode,
                name,
                io::ErrorKind::InvalidInput,
                why,
            ));
        }
        socket.bind_unix(name).map_err(failed)?;
        return Ok(None);
    };
    // The process may change its folder later.
    let path = std::path::absolute(path).map_err(failed)?;
    if let Some(mode) = policy.mode {
        restrict(socket, mode).map_err(failed)?;
    }
    let lock = match policy.take_over {
        true => Some(Lock::take(&path, name)?),
        false => None,
    };
    let mut bound = socket.bind_unix(name);
    if policy.take_over
        && bound
            .as_ref()
            .is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
    {
        remove_if_stale(&path, name)?;
        bound = socket.bind_unix(name);
    }
    bound.map_err(failed)?;
    drop(lock);

    if !policy.unlink && policy.mode.is_none() {
        return Ok(None);
    }
    let file = open_path(&path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let mut ours = BoundPath {
        path,
        file: FileId::of(&metadata),
        keep: !metadata.file_type().is_socket(),
    };
    if let Some(mode) = policy.mode {
        widen(&file, &metadata, mode).map_err(failed)?;
    }
    ours.keep |= !policy.unlink;
    Ok(Some(ours))
}

/// Sets the mode of the socket, of which `bind` makes the mode of the path, less the umask: at no time is it more.
fn restrict(socket: &Socket, mode: u32) -> io::Result<()> {
    File::from(socket.as_fd().try_clone_to_owned()?).set_permissions(Permissions::from_mode(mode))
}

/// Gives back what the umask took. The descriptor is of the path itself, so nothing else is changed, whatever the path
/// leads to by now.
fn widen(file: &File, metadata: &Metadata, mode: u32) -> io::Result<()> {
    if metadata.permissions().mode() & 0o7777 == mode || !metadata.file_type().is_socket() {
        return Ok(());
    }
    let itself = format!("/proc/self/fd/{}", file.as_raw_fd());
    fs::set_permissions(itself, Permissions::from_mode(mode))
}

/// Removes a socket file that no socket is bound to; everything else is an error.
fn remove_if_stale(path: &Path, name: &UnixName) -> Result<(), BindError> {
    let failed = |error| BindError::new(Op::Bind, name, error);
    let before = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        // It is gone, which is as good.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if !before.file_type().is_socket() {
        let why = format!("{} is there, and is left as it is", word_for(before.file_type()));
        return Err(BindError::because(
            BindCause::NotASocket,
            name,
            io::ErrorKind::AlreadyExists,
            why,
        ));
    }
    if let Err(alive) = is_stale(name) {
        let why = format!("a live socket has that path{alive}");
        return Err(BindError::because(
            BindCause::InUse,
            name,
            io::ErrorKind::AddrInUse,
            why,
        ));
    }
    // Who does not heed the lock may have put another in its place.
    let now = fs::symlink_metadata(path).map_err(failed)?;
    if FileId::of(&now) != FileId::of(&before) {
        let why = "another program has just bound that path".to_owned();
        return Err(BindError::because(
            BindCause::InUse,
            name,
            io::ErrorKind::AddrInUse,
            why,
        ));
    }
    fs::remove_file(path).map_err(failed)
}

/// Whether no socket is bound to the path; otherwise, why that is not known.
///
/// A socket of datagrams asks. The kernel compares types before anything else, so a socket of another type answers
/// EPROTOTYPE whether it listens yet or not, and no connection comes in at a listener; one of datagrams is connected to,
/// and notices nothing.
fn is_stale(name: &UnixName) -> Result<(), String> {
    let asked = Socket::new(Domain::UNIX, Type::DGRAM, None).and_then(|socket| socket.connect_unix(name));
    match asked {
        Err(error) if error.raw_os_error() == Some(errno::ECONNREFUSED) => Ok(()),
        Err(error) if error.raw_os_error() == Some(errno::EPROTOTYPE) => Err(String::new()),
        // It is connected to another.
        Err(error) if error.raw_os_error() == Some(errno::EPERM) => Err(String::new()),
        Err(error) => Err(format!(", or it cannot be asked: {error}")),
        Ok(()) => Err(String::new()),
    }
}

fn word_for(file: FileType) -> &'static str {
    if file.is_dir() {
        "a directory"
    } else if file.is_symlink() {
        "a symbolic link"
    } else if file.is_file() {
        "a file"
    } else {
        "something that is no socket"
    }
}

/// What a path leads to, under whatever name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

/// A path that a socket of this process is bound to. Dropped before that socket is closed, it is removed while the socket
/// still answers: nobody can have taken it over, and it is not another's.
#[derive(Debug)]
pub(crate) struct BoundPath {
    path: PathBuf,
    file: FileId,
    keep: bool,
}

impl BoundPath {
    /// Leaves it in its place.
    pub(crate) fn keep(mut self) {
        self.keep = true;
    }
}

impl Drop for BoundPath {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        let same = fs::symlink_metadata(&self.path).is_ok_and(|metadata| FileId::of(&metadata) == self.file);
        if same {
            // Where it cannot be removed, it is stale from now on, and the next one takes it over.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The lock under which a path is taken over.
struct Lock {
    path: PathBuf,
    /// Closing it gives the lock back.
    _file: File,
    made: bool,
}

impl Lock {
    /// How often it is tried, a millisecond apart: it is held for a few system calls.
    const TRIES: u32 = 500;

    fn take(path: &Path, name: &UnixName) -> Result<Self, BindError> {
        let mut lock = OsString::from(path);
        lock.push(".lock");
        let path = PathBuf::from(lock);
        let failed = |error| BindError::new(Op::Bind, name, error);
        // Whoever made the file removes it, also where another one was faster to lock it.
        let mut mine = None;
        for _ in 0..Self::TRIES {
            let (file, made) = match open_lock_file(&path) {
                Ok(opened) => opened,
                // Removed between two looks by whoever had it.
                Err(error) if error.kind() == io::ErrorKind::NotFound && parent_exists(&path) => continue,
                Err(error) => return Err(failed(error)),
            };
            let id = FileId::of(&file.metadata().map_err(failed)?);
            if made {
                mine = Some(id);
            }
            if !try_lock(&file).map_err(failed)? {
                thread::sleep(Duration::from_millis(1));
                continue;
            }
            // Whoever had it may have removed it in between, and others lock another by now.
            if fs::symlink_metadata(&path).is_ok_and(|now| FileId::of(&now) == id) {
                return Ok(Self {
                    path,
                    _file: file,
                    made: mine == Some(id),
                });
            }
        }
        let why = format!("another program holds the lock {}", path.display());
        Err(BindError::because(
            BindCause::Locked,
            name,
            io::ErrorKind::AddrInUse,
            why,
        ))
    }
}

fn parent_exists(path: &Path) -> bool {
    path.parent().is_some_and(Path::is_dir)
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.made {
            // While it is still locked.
            let _ = fs::remove_file(&self.path);
        }
    }
}
