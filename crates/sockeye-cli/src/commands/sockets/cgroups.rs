//! The paths of cgroups by their numbers, which are the inodes of their directories.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::{DirEntryExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// Directories that are looked at; a machine with more leaves some cgroups as numbers.
const MAX_DIRECTORIES: usize = 50_000;

/// The paths below the root of cgroup2, for those that can be found.
pub(super) fn paths(ids: impl Iterator<Item = u64>) -> HashMap<u64, String> {
    let mut wanted: HashSet<u64> = ids.collect();
    let mut found = HashMap::new();
    // The second is where the older hierarchy has the first place.
    let root = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .into_iter()
        .find(|root| {
            Path::new(root).join("cgroup.procs").exists()
                && Path::new(root).join("cgroup.controllers").exists()
        });
    let Some(root) = root.filter(|_| !wanted.is_empty()) else {
        return found;
    };
    if let Some(inode) = fs::metadata(root).ok().map(|meta| meta.ino())
        && wanted.remove(&inode)
    {
        found.insert(inode, "/".to_owned());
    }
    let mut left = vec![PathBuf::from(root)];
    let mut seen = 0;
    while let Some(directory) = left.pop() {
        seen += 1;
        if wanted.is_empty() || seen > MAX_DIRECTORIES {
            break;
        }
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let path = entry.path();
            if wanted.remove(&entry.ino()) {
                let below = path.to_string_lossy();
                found.insert(entry.ino(), below.strip_prefix(root).unwrap_or(&below).to_owned());
            }
            left.push(path);
        }
    }
    found
}
