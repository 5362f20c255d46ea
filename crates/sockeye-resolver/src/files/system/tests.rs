//! Files that are missing, unreadable, too large, changed and replaced.

use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicU32, Ordering};

use sockeye_socket::os::AddressFamily;

use super::*;

/// A folder of the test's own, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "sockeye-files-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn paths(&self) -> Paths {
        Paths {
            resolv_conf: self.0.join("resolv.conf"),
            hosts: self.0.join("hosts"),
            nsswitch: self.0.join("nsswitch.conf"),
        }
    }

    fn load(&self) -> SystemFiles {
        SystemFiles::load(&self.paths(), &Environment::default(), Duration::from_secs(1))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// As editors and package managers do it: the new file has another inode.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, path).unwrap();
}

fn server(files: &SystemFiles) -> String {
    files.names().resolv_conf.servers[0].ip().to_string()
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn the_files_of_the_machine_are_the_default() {
    let paths = Paths::default();
    assert_eq!(paths.resolv_conf, Path::new("/etc/resolv.conf"));
    assert_eq!(paths.hosts, Path::new("/etc/hosts"));
    assert_eq!(paths.nsswitch, Path::new("/etc/nsswitch.conf"));
    let names = SystemNames::load(&paths, &Environment::from_process());
    assert!(!names.resolv_conf.servers.is_empty());
}

#[test]
fn missing_files_are_their_defaults_and_no_problem() {
    let folder = Folder::new();
    let names = SystemNames::load(&folder.paths(), &Environment::default());
    assert_eq!(names.resolv_conf, ResolvConf::default());
    assert_eq!(names.nsswitch, NsSwitch::default());
    assert!(names.hosts.is_empty() && names.problems.is_empty());
    // A folder that is a file is a file that is missing.
    fs::write(folder.0.join("file"), "").unwrap();
    let paths = Paths {
        hosts: folder.0.join("file/hosts"),
        ..folder.paths()
    };
    assert!(
        SystemNames::load(&paths, &Environment::default())
            .problems
            .is_empty()
    );
}

#[test]
fn all_three_are_read_and_the_environment_counts() {
    let folder = Folder::new();
    let paths = folder.paths();
    fs::write(&paths.resolv_conf, "nameserver fe80::1%lo\nsearch a.example\n").unwrap();
    fs::write(&paths.hosts, "192.0.2.1 a\n").unwrap();
    fs::write(&paths.nsswitch, "hosts: dns files ldap\n").unwrap();
    let environment = Environment {
        local_domain: Some("b.example".to_owned()),
        options: Some("ndots:4".to_owned()),
        host_name: None,
    };
    let names = SystemNames::load(&paths, &environment);
    let scope = os::interface_index("lo").unwrap();
    assert_eq!(
        names.resolv_conf.servers[0].to_string(),
        format!("[fe80::1%{scope}]:53")
    );
    assert_eq!(*names.resolv_conf.search, [Box::from("b.example")]);
    assert_eq!(names.resolv_conf.options.ndots, 4);
    assert_eq!(names.hosts.addresses("a", AddressFamily::V4).count(), 1);
    assert_eq!(names.nsswitch.needs_system(), Some("ldap"));
}

#[test]
fn what_is_no_file_is_a_problem_and_does_not_block() {
    let folder = Folder::new();
    let paths = folder.paths();
    fs::create_dir(&paths.resolv_conf).unwrap();
    let _socket = UnixListener::bind(&paths.hosts).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &paths.nsswitch).unwrap();
    let environment = Environment {
        options: Some("rotate".to_owned()),
        ..Environment::default()
    };
    let names = SystemNames::load(&paths, &environment);
    let problems: Vec<_> = names
        .problems
        .iter()
        .map(|problem| (&problem.path, problem.error))
        .collect();
    let wanted = [&paths.resolv_conf, &paths.hosts, &paths.nsswitch].map(|path| (path, FileError::NotAFile));
    assert_eq!(problems, wanted);
    assert_eq!(
        names.problems[0].to_string(),
        format!(
            "read {}: not a regular file but a directory, device, pipe or socket",
            paths.resolv_conf.display()
        )
    );
    assert_eq!(names.resolv_conf.servers, ResolvConf::default().servers);
    assert!(names.resolv_conf.options.rotate);
}

#[test]
fn a_loop_of_links_is_a_problem() {
    let folder = Folder::new();
    let paths = folder.paths();
    std::os::unix::fs::symlink(&paths.hosts, &paths.hosts).unwrap();
    let names = SystemNames::load(&paths, &Environment::default());
    assert!(
        matches!(names.problems[0].error, FileError::System(_)),
        "{:?}",
        names.problems
    );
}

#[test]
fn files_beyond_the_limit_are_problems() {
    let folder = Folder::new();
    let paths = folder.paths();
    // Holes: nothing is written, and nothing is read.
    File::create(&paths.hosts)
        .unwrap()
        .set_len(MAX_HOSTS_BYTES + 1)
        .unwrap();
    File::create(&paths.nsswitch)
        .unwrap()
        .set_len(MAX_CONF_BYTES + 1)
        .unwrap();
    File::create(&paths.resolv_conf)
        .unwrap()
        .set_len(MAX_CONF_BYTES)
        .unwrap();
    let names = SystemNames::load(&paths, &Environment::default());
    let errors: Vec<_> = names.problems.iter().map(|problem| problem.error).collect();
    let too_large = |limit_bytes| FileError::TooLarge { limit_bytes };
    assert_eq!(errors, [too_large(MAX_HOSTS_BYTES), too_large(MAX_CONF_BYTES)]);
    assert!(
        names.problems[0]
            .to_string()
            .ends_with("longer than 67108864 bytes, the most that is read")
    );
}

#[test]
fn a_changed_file_is_read_again_and_the_others_are_not() {
    let folder = Folder::new();
    let paths = folder.paths();
    fs::write(&paths.hosts, "192.0.2.1 a\n").unwrap();
    let mut files = folder.load();
    assert!(!files.reload_if_changed(at(0)));
    // It was missing.
    fs::write(&paths.resolv_conf, "nameserver 192.0.2.1\n").unwrap();
    assert!(files.reload_if_changed(at(1)));
    assert_eq!(server(&files), "192.0.2.1");
    assert!(!files.reload_if_changed(at(2)));
    // The same size.
    replace(&paths.resolv_conf, "nameserver 192.0.2.2\n");
    assert!(files.reload_if_changed(at(3)));
    assert_eq!(server(&files), "192.0.2.2");
    assert!(files.names().hosts.contains("a"));
    // Another size, in place.
    fs::write(&paths.resolv_conf, "nameserver 192.0.2.33\n").unwrap();
    assert!(files.reload_if_changed(at(4)));
    assert_eq!(server(&files), "192.0.2.33");
    fs::remove_file(&paths.resolv_conf).unwrap();
    replace(&paths.nsswitch, "hosts: ldap\n");
    assert!(files.reload_if_changed(at(5)));
    assert_eq!(server(&files), "127.0.0.1");
    assert_eq!(files.names().nsswitch.needs_system(), Some("ldap"));
    assert!(!files.reload_if_changed(at(6)));
}

#[test]
fn a_link_that_leads_elsewhere_is_another_file() {
    let folder = Folder::new();
    let paths = folder.paths();
    for (name, server) in [("one", "192.0.2.1"), ("two", "192.0.2.2")] {
        fs::write(folder.0.join(name), format!("nameserver {server}\n")).unwrap();
    }
    std::os::unix::fs::symlink("one", &paths.resolv_conf).unwrap();
    let mut files = folder.load();
    assert_eq!(server(&files), "192.0.2.1");
    fs::remove_file(&paths.resolv_conf).unwrap();
    std::os::unix::fs::symlink("two", &paths.resolv_conf).unwrap();
    assert!(files.reload_if_changed(at(1)));
    assert_eq!(server(&files), "192.0.2.2");
}

#[test]
fn within_the_interval_nobody_looks() {
    let folder = Folder::new();
    let mut files = folder.load();
    assert!(!files.reload_if_changed(at(100)));
    fs::write(folder.paths().hosts, "192.0.2.1 a\n").unwrap();
    assert!(!files.reload_if_changed(at(100) + Duration::from_millis(999)));
    // A clock that goes back is no reason either.
    assert!(!files.reload_if_changed(at(50)));
    assert!(files.reload_if_changed(at(101)));
    assert!(files.names().hosts.contains("a"));
}

#[test]
fn a_file_that_breaks_keeps_what_it_said_until_it_is_mended() {
    let folder = Folder::new();
    let paths = folder.paths();
    fs::write(&paths.hosts, "192.0.2.1 a\n").unwrap();
    let mut files = folder.load();
    fs::remove_file(&paths.hosts).unwrap();
    fs::create_dir(&paths.hosts).unwrap();
    assert!(files.reload_if_changed(at(1)));
    assert!(files.names().hosts.contains("a"));
    assert_eq!(files.names().problems.len(), 1);
    assert!(!files.reload_if_changed(at(2)));
    fs::remove_dir(&paths.hosts).unwrap();
    fs::write(&paths.hosts, "192.0.2.1 b\n").unwrap();
    assert!(files.reload_if_changed(at(3)));
    assert!(files.names().hosts.contains("b") && !files.names().hosts.contains("a"));
    assert!(files.names().problems.is_empty());
}

#[test]
fn with_no_reload_resolv_conf_is_left_alone() {
    let folder = Folder::new();
    let paths = folder.paths();
    fs::write(&paths.resolv_conf, "nameserver 192.0.2.1\noptions no-reload\n").unwrap();
    let mut files = folder.load();
    replace(&paths.resolv_conf, "nameserver 192.0.2.2\n");
    assert!(!files.reload_if_changed(at(1)));
    replace(&paths.hosts, "192.0.2.1 a\n");
    assert!(files.reload_if_changed(at(2)));
    assert_eq!(server(&files), "192.0.2.1");
}
