//! Which processes have a socket: the descriptors in `/proc`, as far as this process may see them.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;

/// A process that has a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) name: String,
}

/// The processes by the inode of the socket.
#[derive(Debug, Default)]
pub(super) struct Holders {
    processes: Vec<Process>,
    by_inode: HashMap<u64, Vec<u32>>,
    /// Processes whose descriptors could not be seen.
    pub(super) hidden: usize,
}

impl Holders {
    /// Walks `/proc`.
    ///
    /// # Errors
    /// When `/proc` itself cannot be read. A process that ends meanwhile is left out.
    pub(super) fn read() -> io::Result<Self> {
        let mut holders = Self::default();
        for entry in fs::read_dir("/proc")? {
            let Ok(entry) = entry else { continue };
            let name = entry.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            match fs::read_dir(entry.path().join("fd")) {
                Ok(descriptors) => holders.process(pid, descriptors),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => holders.hidden += 1,
                Err(_) => {}
            }
        }
        Ok(holders)
    }

    fn process(&mut self, pid: u32, descriptors: fs::ReadDir) {
        let mut index = None;
        for descriptor in descriptors.flatten() {
            let Ok(target) = fs::read_link(descriptor.path()) else {
                continue;
            };
            let Some(inode) = socket_inode(target.as_os_str().as_bytes()) else {
                continue;
            };
            let index = *index.get_or_insert_with(|| {
                let name = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
                let name = String::from_utf8_lossy(name.strip_suffix(b"\n").unwrap_or(&name)).into_owned();
                self.processes.push(Process { pid, name });
                u32::try_from(self.processes.len() - 1).unwrap_or(u32::MAX)
            });
            let all = self.by_inode.entry(inode).or_default();
            // A process can have it twice.
            if all.last() != Some(&index) {
                all.push(index);
            }
        }
    }

    /// Those that have the socket of this inode.
    pub(super) fn of(&self, inode: u64) -> impl Iterator<Item = &Process> {
        self.by_inode
            .get(&inode)
            .into_iter()
            .flatten()
            .filter_map(|index| self.processes.get(*index as usize))
    }
}

/// `socket:[4711]`.
fn socket_inode(target: &[u8]) -> Option<u64> {
    let number = target.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}
