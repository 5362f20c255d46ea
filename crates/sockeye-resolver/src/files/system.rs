//! The files of the machine: read once, and again when they have changed.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sockeye_socket::os;
use thiserror::Error;

use super::hosts::Hosts;
use super::nsswitch::NsSwitch;
use super::resolv_conf::{Environment, ResolvConf};

/// The largest resolv.conf or nsswitch.conf that is read: 1 MiB.
pub const MAX_CONF_BYTES: u64 = 1 << 20;

/// The largest hosts file that is read: 64 MiB, room for two million lines.
pub const MAX_HOSTS_BYTES: u64 = 64 << 20;

#[cfg(test)]
mod tests;

/// Where the files are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Paths {
    /// resolv.conf(5).
    pub resolv_conf: PathBuf,
    /// hosts(5).
    pub hosts: PathBuf,
    /// nsswitch.conf(5).
    pub nsswitch: PathBuf,
}

impl Default for Paths {
    /// `/etc/resolv.conf`, `/etc/hosts`, `/etc/nsswitch.conf`.
    fn default() -> Self {
        Self {
            resolv_conf: "/etc/resolv.conf".into(),
            hosts: "/etc/hosts".into(),
            nsswitch: "/etc/nsswitch.conf".into(),
        }
    }
}

/// A file that is there and could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("read {}: {error}", path.display())]
pub struct FileProblem {
    /// The file.
    pub path: PathBuf,
    /// The reason.
    pub error: FileError,
}

/// Why a file could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FileError {
    /// It is no regular file, so that reading it could block.
    #[error("not a regular file but a directory, device, pipe or socket")]
    NotAFile,
    /// It is longer than is read: [`MAX_CONF_BYTES`], [`MAX_HOSTS_BYTES`].
    #[error("longer than {limit_bytes} bytes, the most that is read")]
    TooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// The system does not let it be opened or read.
    #[error("{0}")]
    System(io::ErrorKind),
}

/// What the three files say.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SystemNames {
    /// resolv.conf and the environment.
    pub resolv_conf: ResolvConf,
    /// The hosts file.
    pub hosts: Arc<Hosts>,
    /// nsswitch.conf.
    pub nsswitch: NsSwitch,
    /// The files that could not be read; their defaults hold, or what they said before. A missing file is no problem.
    pub problems: Vec<FileProblem>,
}

impl SystemNames {
    /// Reads the files once. It never fails: see [`problems`](Self::problems).
    ///
    /// It blocks for as long as the file system does. Zones are looked up among the interfaces that there are now.
    #[must_use]
    pub fn load(paths: &Paths, environment: &Environment) -> Self {
        SystemFiles::load(paths, environment, Duration::ZERO).names
    }
}

/// The files of the machine, and what they say.
///
/// ```
/// use std::time::Duration;
///
/// use sockeye_resolver::files::{Environment, Paths, SystemFiles};
///
/// let environment = Environment::from_process();
/// let mut files = SystemFiles::load(&Paths::default(), &environment, Duration::from_secs(1));
/// assert!(!files.names().resolv_conf.servers.is_empty());
///
/// // On a loop: whatever the clock says since any beginning.
/// if files.reload_if_changed(Duration::from_secs(60)) {
///     println!("{:?}", files.names().problems);
/// }
/// ```
#[derive(Clone, Debug)]
pub struct SystemFiles {
    environment: Environment,
    check_interval: Duration,
    checked_at: Option<Duration>,
    resolv_conf: Watched,
    hosts: Watched,
    nsswitch: Watched,
    names: SystemNames,
}

impl SystemFiles {
    /// Reads the files. It never fails: see [`SystemNames::problems`].
    ///
    /// `check_interval` is how long [`reload_if_changed`](Self::reload_if_changed) leaves the files alone after it has
    /// looked; a second is short enough for people, and costs nothing.
    #[must_use]
    pub fn load(paths: &Paths, environment: &Environment, check_interval: Duration) -> Self {
        let mut files = Self {
            environment: environment.clone(),
            check_interval,
            checked_at: None,
            resolv_conf: Watched::new(&paths.resolv_conf, MAX_CONF_BYTES),
            hosts: Watched::new(&paths.hosts, MAX_HOSTS_BYTES),
            nsswitch: Watched::new(&paths.nsswitch, MAX_CONF_BYTES),
            // A file that cannot be read is as one that is missing, and the environment applies to that, too.
            names: SystemNames {
                resolv_conf: ResolvConf::default().with_environment(environment),
                ..SystemNames::default()
            },
        };
        files.read_resolv_conf();
        files.read_hosts();
        files.read_nsswitch();
        files
    }

    /// What the files say.
    #[must_use]
    pub fn names(&self) -> &SystemNames {
        &self.names
    }

    /// Reads again what has changed since it was read, and says whether that was anything.
    ///
    /// `now` is the time since any fixed beginning. Within the interval after the last look it does nothing; else it
    /// costs three stat(2) calls, which compare device, inode, size, and the times of modification and change in
    /// nanoseconds. A file rewritten in place with the same size within one tick of the file system's clock (some
    /// milliseconds) is not noticed; one that is renamed over the old one is.
    ///
    /// A file that has gone has its defaults. One that can no longer be read keeps what it said, and is a problem.
    /// With `options no-reload` resolv.conf is left alone, as in glibc.
    pub fn reload_if_changed(&mut self, now: Duration) -> bool {
        let is_early = |at: Duration| now.saturating_sub(at) < self.check_interval;
        if self.checked_at.is_some_and(is_early) {
            return false;
        }
        self.checked_at = Some(now);
        let is_fixed = self.names.resolv_conf.options.no_reload;
        let resolv_conf = !is_fixed && self.resolv_conf.has_changed();
        let hosts = self.hosts.has_changed();
        let nsswitch = self.nsswitch.has_changed();
        if resolv_conf {
            self.read_resolv_conf();
        }
        if hosts {
            self.read_hosts();
        }
        if nsswitch {
            self.read_nsswitch();
        }
        resolv_conf || hosts || nsswitch
    }

    fn read_resolv_conf(&mut self) {
        if let Some(text) = self.resolv_conf.read(&mut self.names.problems) {
            self.names.resolv_conf = ResolvConf::parse(&text, interface).with_environment(&self.environment);
        }
    }

    fn read_hosts(&mut self) {
        if let Some(text) = self.hosts.read(&mut self.names.problems) {
            self.names.hosts = Arc::new(Hosts::parse(&text, interface));
        }
    }

    fn read_nsswitch(&mut self) {
        if let Some(text) = self.nsswitch.read(&mut self.names.problems) {
            self.names.nsswitch = NsSwitch::parse(&text);
        }
    }
}

fn interface(name: &str) -> Option<u32> {
    os::interface_index(name).ok()
}

/// A file, and what it looked like before it was read.
#[derive(Clone, Debug)]
struct Watched {
    path: PathBuf,
    limit_bytes: u64,
    stamp: Stamp,
}

/// What stat(2) says: another answer means another file.
type Stamp = Result<Identity, io::ErrorKind>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

fn stamp(metadata: &io::Result<Metadata>) -> Stamp {
    match metadata {
        Ok(metadata) => Ok(Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }),
        Err(error) => Err(error.kind()),
    }
}

impl Watched {
    fn new(path: &Path, limit_bytes: u64) -> Self {
        Self {
            path: path.to_owned(),
            limit_bytes,
            stamp: Err(io::ErrorKind::NotFound),
        }
    }

    fn has_changed(&self) -> bool {
        stamp(&fs::metadata(&self.path)) != self.stamp
    }

    /// The text of the file, empty where there is none. `None` is a problem, which replaces the file's last one.
    fn read(&mut self, problems: &mut Vec<FileProblem>) -> Option<Vec<u8>> {
        problems.retain(|problem| problem.path != self.path);
        // The stamp is taken first: a change while the file is read shows at the next look.
        let metadata = fs::metadata(&self.path);
        self.stamp = stamp(&metadata);
        let text = metadata
            .map_err(|error| FileError::System(error.kind()))
            .and_then(|metadata| read_file(&self.path, &metadata, self.limit_bytes));
        match text {
            Ok(text) => Some(text),
            Err(FileError::System(io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)) => {
                Some(Vec::new())
            }
            Err(error) => {
                problems.push(FileProblem {
                    path: self.path.clone(),
                    error,
                });
                None
            }
        }
    }
}

fn read_file(path: &Path, metadata: &Metadata, limit_bytes: u64) -> Result<Vec<u8>, FileError> {
    // Before it is opened: opening a pipe blocks.
    if !metadata.is_file() {
        return Err(FileError::NotAFile);
    }
    if metadata.len() > limit_bytes {
        return Err(FileError::TooLarge { limit_bytes });
    }
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(limit_bytes + 1).read_to_end(&mut text));
    match read {
        // It has grown, or is one of those that have no size before they are read.
        Ok(len) if u64::try_from(len).is_ok_and(|len| len > limit_bytes) => {
            Err(FileError::TooLarge { limit_bytes })
        }
        Ok(_) => Ok(text),
        Err(error) => Err(FileError::System(error.kind())),
    }
}
