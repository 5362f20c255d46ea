//! The example units for systemd, `docs/systemd`: what they say works, and systemd has nothing against it.

use std::net::TcpListener;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;

use sockeye_tests::program;
use sockeye_tests::skip::{Need, require};
use sockeye_tests::wait::PATIENCE;

use super::managed::{activated, heard};
use super::{Backend, Relay, client_of, finish, name_from};

const UNITS: [&str; 2] = ["sockeye-relay.socket", "sockeye-relay.service"];
/// Where the package puts the program.
const INSTALLED: &str = "/usr/bin/sockeye";
/// The backend that the unit has as an example.
const EXAMPLE: &str = "tcp://127.0.0.1:80";

fn unit(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/systemd");
    std::fs::read_to_string(folder.join(name)).expect("the unit")
}

/// The value of a setting that the unit has once.
fn setting(unit: &str, name: &str) -> String {
    let mut values = unit
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let value = values.next().unwrap_or_else(|| panic!("no {name}"));
    assert_eq!(values.next(), None, "{name} is there once");
    value.to_owned()
}

/// The variables that systemd makes of a value of `Environment`: blanks part them, but for those within quotes
/// (systemd.exec(5)).
fn environment(value: &str) -> Vec<(String, String)> {
    let mut assignments: Vec<String> = Vec::new();
    let (mut is_quoted, mut is_new) = (false, true);
    for letter in value.chars() {
        match letter {
            '"' => is_quoted = !is_quoted,
            ' ' if !is_quoted => is_new = true,
            letter => {
                if std::mem::take(&mut is_new) {
                    assignments.push(String::new());
                }
                assignments.last_mut().expect("one").push(letter);
            }
        }
    }
    let parted = assignments
        .iter()
        .map(|one| one.split_once('=').expect("NAME=VALUE"));
    parted
        .map(|(name, value)| (format!("${name}"), value.to_owned()))
        .collect()
}

#[test]
fn the_command_of_the_unit_serves_whom_systemd_starts_it_for() {
    let (socket, service) = (unit(UNITS[0]), unit(UNITS[1]));
    let backends = [Backend::start("one"), Backend::start("two")];
    // What the comment in the unit tells to do.
    let both = format!("{} {}", backends[0].to(), backends[1].to());
    let command = setting(&service, "ExecStart");
    let example = setting(&service, "Environment");
    assert!(example.contains(EXAMPLE), "{example}");
    let variables = environment(&example.replace(EXAMPLE, &both));
    let [(variable, to)] = variables.as_slice() else {
        panic!("one variable: {variables:?}");
    };
    // systemd splits the value of a variable that is a word of its own.
    let words: Vec<&str> = command
        .split(' ')
        .flat_map(|word| if word == variable { to.as_str() } else { word }.split(' '))
        .collect();
    assert_eq!(words[..2], [INSTALLED, "relay"]);
    assert!(
        backends.iter().all(|one| words.contains(&one.to().as_str())),
        "{words:?}"
    );

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a path");
    manager.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    let places = socket.lines().filter(|line| line.starts_with("ListenStream="));
    assert_eq!(places.count(), listeners.len(), "as many as here");
    // The first client waits, as the one does for whom it is started.
    let first = client_of(listeners[0].local_addr().expect("an address"));
    let fds = [listeners[0].as_raw_fd(), listeners[1].as_raw_fd()];
    let mut command = activated(fds, "", &words[2..]);
    command.env("NOTIFY_SOCKET", &path);
    let mut relay = Relay::of(command, 2);
    assert!(heard(&manager).starts_with("READY=1 "));
    assert!(["one", "two"].contains(&name_from(&first).as_str()));
    finish(first);
    for listener in &listeners {
        let client = client_of(listener.local_addr().expect("an address"));
        assert!(["one", "two"].contains(&name_from(&client).as_str()));
        finish(client);
    }
    assert!(setting(&service, "ExecReload").contains("kill -HUP"));
    relay.running.signal(libc::SIGHUP);
    assert_eq!(heard(&manager), "RELOADING=1");
    assert!(heard(&manager).starts_with("READY=1 "));
    relay.running.signal(libc::SIGTERM);
    assert!(heard(&manager).starts_with("STOPPING=1 "));
    assert_eq!(relay.running.wait(PATIENCE).code(), Some(0));
}

#[test]
fn systemd_has_nothing_against_the_units() {
    if !require(&[Need::program("systemd-analyze")]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let program = program::sockeye().to_str().expect("text");
    let paths: Vec<PathBuf> = UNITS
        .iter()
        .map(|name| {
            let path = folder.path().join(name);
            // The program has to be there; here it is not installed.
            std::fs::write(&path, unit(name).replace(INSTALLED, program)).expect("written");
            path
        })
        .collect();
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no"]).args(&paths);
    let verified = program::output(&mut verify, PATIENCE);
    assert!(
        verified.status.success() && verified.stderr.is_empty(),
        "{}",
        verified.stderr
    );
    // In tenths of its levels, of which 10 is the worst.
    let mut security = Command::new("systemd-analyze");
    security
        .args(["security", "--offline=true", "--threshold=20"])
        .arg(&paths[1]);
    let rated = program::output(&mut security, PATIENCE);
    assert!(rated.status.success(), "{}{}", rated.text(), rated.stderr);
}
