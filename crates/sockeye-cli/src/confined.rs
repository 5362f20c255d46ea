//! What only serves gives up the file system and new TCP connections (landlock(7)), once everything is open: a hole in a
//! service then reaches no file and no other host.
//!
//! The kernel confines each thread apart, and those that it starts later; so each thread of a server confines itself. Linux
//! has Landlock since 5.13, for TCP since 6.7; where it is missing or switched off a server serves as before.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreated, RulesetCreatedAttr as _,
};
use sockeye::endpoint::UnixName;

use crate::privileges;

/// The newest rights that are asked for; the kernel's own may be older.
const NEWEST: ABI = ABI::V5;

/// What is still needed while it serves. Landlock grants by folder, since a file may be made anew.
#[derive(Debug, Clone, Default)]
pub(crate) struct Needs {
    reads: Vec<PathBuf>,
    removes: Vec<PathBuf>,
}

impl Needs {
    /// A file that is opened again and again.
    #[must_use]
    pub(crate) fn reading(mut self, file: Option<&Path>) -> Self {
        self.reads.extend(file.map(folder_of));
        self
    }

    /// The paths of Unix sockets, which are removed at the end.
    #[must_use]
    pub(crate) fn removing(mut self, names: impl IntoIterator<Item = UnixName>) -> Self {
        for name in names {
            let path = name
                .as_path_bytes()
                .map(|path| Path::new(OsStr::from_bytes(path)));
            self.removes.extend(path.map(folder_of));
        }
        self
    }
}

/// Gives up every capability of this thread, the file system but for `needs`, and binding and connecting by TCP, for good.
///
/// # Errors
/// When the system refuses: then the command must not go on.
pub(crate) fn only_serve(needs: &Needs) -> anyhow::Result<()> {
    privileges::drop_all()?;
    confine(needs).context("give up the file system")
}

fn confine(needs: &Needs) -> anyhow::Result<()> {
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .create()?;
    for folder in &needs.reads {
        rules = grant(rules, folder, AccessFs::ReadFile.into())?;
    }
    for folder in &needs.removes {
        rules = grant(rules, folder, AccessFs::RemoveFile.into())?;
    }
    rules.restrict_self()?;
    Ok(())
}

/// A folder that is not there has nothing to grant.
fn grant(rules: RulesetCreated, folder: &Path, right: BitFlags<AccessFs>) -> anyhow::Result<RulesetCreated> {
    match PathFd::new(folder) {
        Ok(opened) => Ok(rules.add_rule(PathBeneath::new(opened, right))?),
        Err(_) => Ok(rules),
    }
}

fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::thread;

    use landlock::Compatible as _;

    use super::*;

    /// Whether the kernel of this machine confines files, and TCP as well: without it everything goes on as before.
    fn kernel() -> (bool, bool) {
        let has = |abi| {
            Ruleset::default()
                .set_compatibility(landlock::CompatLevel::HardRequirement)
                .handle_access(AccessFs::from_all(abi))
                .and_then(|rules| match abi {
                    ABI::V4 => rules.handle_access(AccessNet::BindTcp),
                    _ => Ok(rules),
                })
                .and_then(Ruleset::create)
                .is_ok()
        };
        (has(ABI::V1), has(ABI::V4))
    }

    fn is_refused<T>(outcome: io::Result<T>) -> bool {
        outcome.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    }

    #[test]
    fn nothing_is_reached_but_what_is_needed() {
        let (files, ports) = kernel();
        let [read, remove, other] = [(); 3].map(|()| tempfile::tempdir().unwrap());
        for folder in [&read, &remove, &other] {
            for name in ["it", "it2"] {
                fs::write(folder.path().join(name), "salmon").unwrap();
            }
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let socket = UnixName::from_path(remove.path().join("it").as_os_str().as_bytes()).unwrap();
        let needs = Needs::default()
            .reading(Some(&read.path().join("it")))
            .removing([socket]);
        thread::scope(|scope| {
            let confined = scope.spawn(|| {
                only_serve(&needs).unwrap();
                assert_eq!(fs::read(read.path().join("it")).unwrap(), b"salmon");
                assert_eq!(is_refused(fs::write(read.path().join("it"), "salmon")), files);
                assert_eq!(is_refused(fs::read(other.path().join("it"))), files);
                assert_eq!(is_refused(fs::remove_file(read.path().join("it2"))), files);
                assert_eq!(is_refused(fs::read(remove.path().join("it"))), files);
                fs::remove_file(remove.path().join("it")).unwrap();
                assert_eq!(is_refused(TcpStream::connect(at)), ports);
                assert_eq!(is_refused(TcpListener::bind("127.0.0.1:0")), ports);
                UdpSocket::bind("127.0.0.1:0").unwrap();
                // Once more is no error, and gives nothing back.
                only_serve(&Needs::default()).unwrap();
                assert_eq!(is_refused(fs::read(read.path().join("it"))), files);
            });
            confined.join().unwrap();
        });
        // The other threads keep what they have.
        assert_eq!(fs::read(other.path().join("it")).unwrap(), b"salmon");
    }

    #[test]
    fn a_folder_that_is_not_there_grants_nothing_and_is_no_error() {
        let needs = Needs::default().reading(Some(Path::new("/nowhere/at/all")));
        thread::scope(|scope| scope.spawn(|| only_serve(&needs).unwrap()).join().unwrap());
        assert_eq!(folder_of(Path::new("it")), Path::new("."));
        assert_eq!(folder_of(Path::new("/run/utmp")), Path::new("/run"));
    }
}
