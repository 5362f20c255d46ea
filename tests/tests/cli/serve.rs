//! `sockeye serve`: what each service says, on every kind of socket.

mod datagrams;
mod interop;
mod refused;
mod streams;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use sockeye_tests::program::{self, Running};
use sockeye_tests::wait::PATIENCE;

/// Seconds between the beginnings of 1900 and 1970 (RFC 868).
const TO_1970: u64 = 2_208_988_800;

fn seconds_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("a clock after 1970").as_secs()
}

/// Whether it is a time of RFC 868 from `begun` on, in seconds since 1970.
#[track_caller]
fn check_time(said: &[u8], begun: u64) {
    let said = u32::from_be_bytes(said.try_into().expect("four bytes"));
    // Both as the wire has it: the count begins again in 2036.
    let low = |seconds: u64| u32::try_from((seconds + TO_1970) % (1 << 32)).expect("32 bits");
    let (age, most) = (said.wrapping_sub(low(begun)), seconds_now() - begun);
    assert!(u64::from(age) <= most, "{said}: {age} s after the beginning");
}

/// Whether it is a date from `begun` on, by date(1).
#[track_caller]
fn check_daytime(said: &[u8], begun: u64) {
    let text = std::str::from_utf8(said).expect("text");
    let text = text.strip_suffix("\r\n").expect("one line");
    let read = program::output(Command::new("date").args(["-u", "-d", text, "+%s"]), PATIENCE);
    let seconds: u64 = read
        .text()
        .trim()
        .parse()
        .unwrap_or_else(|_| panic!("{text}: {}", read.stderr));
    assert!((begun..=seconds_now()).contains(&seconds), "{text}");
    let again = ["-u", "-d", text, "+%a, %d %b %Y %H:%M:%S GMT"];
    let again = program::output(Command::new("date").env("LC_ALL", "C").args(again), PATIENCE);
    assert_eq!(again.text().trim(), text);
}

/// `sockeye serve` with these words, once it listens at `count` addresses; and what it said of them.
fn serve(words: &[&str], count: usize) -> (Running, Vec<String>) {
    let running = Running::start(Command::new(program::sockeye()).arg("serve").args(words));
    let lines = (0..count).map(|_| running.line(PATIENCE)).collect();
    (running, lines)
}

/// What it ends with where it cannot begin.
fn output(words: &[&str]) -> program::Output {
    program::output(
        Command::new(program::sockeye()).arg("serve").args(words),
        PATIENCE,
    )
}

fn text_of(path: &Path) -> &str {
    path.to_str().expect("text")
}

fn file(folder: &tempfile::TempDir, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, text).expect("written");
    path
}

/// A file of sessions as the system keeps it, made by utmpdump(1).
fn utmp(folder: &tempfile::TempDir) -> PathBuf {
    let text = "\
[2] [00000] [~~  ] [reboot  ] [~           ] [6.1.0               ] [0.0.0.0        ] [2026-07-01T10:00:00,000000+00:00]
[7] [00812] [ts/0] [vera    ] [pts/0       ] [192.0.2.7           ] [192.0.2.7      ] [2026-07-01T11:00:00,000000+00:00]
[8] [00813] [ts/1] [gone    ] [pts/1       ] [192.0.2.7           ] [192.0.2.7      ] [2026-07-01T11:30:00,000000+00:00]
[7] [00700] [1   ] [anton   ] [tty1        ] [                    ] [0.0.0.0        ] [2026-07-01T12:00:00,000000+00:00]
";
    let path = folder.path().join("utmp");
    let mut child = Command::new("utmpdump")
        .arg("-r")
        .stdin(Stdio::piped())
        .stdout(std::fs::File::create(&path).expect("a file"))
        .stderr(Stdio::null())
        .spawn()
        .expect("utmpdump starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(text.as_bytes()).expect("it reads");
    drop(stdin);
    assert!(child.wait().expect("an end").success());
    path
}

/// Both sessions of [`utmp`], in order.
const USERS: &str = "anton tty1\r\nvera pts/0\r\n";
