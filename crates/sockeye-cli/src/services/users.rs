//! Who is logged in, for RFC 866: from the file of the sessions, utmp(5).
//!
//! The file is an array of records of one size. The three fields that count here stand at the same places on all Linux
//! systems, whatever the size of the times behind them; so they are read from the bytes, by no more code than the call of a
//! library would take.

use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sockeye::event_loop::Time;

use crate::output::escaped;

/// Where the sessions are.
pub(crate) const UTMP: &str = "/run/utmp";

/// Bytes of a record: glibc keeps times of 32 bits where there are programs of 32 bits that read the file too.
const RECORD: usize = if cfg!(any(
    target_arch = "x86_64",
    target_arch = "x86",
    target_arch = "arm"
)) {
    384
} else {
    400
};
/// `USER_PROCESS`, as a `short` at the beginning of a record.
const USER_PROCESS: i16 = 7;
/// `ut_line` and `ut_user`: text that ends with a zero or fills the field.
const LINE: std::ops::Range<usize> = 8..40;
const USER: std::ops::Range<usize> = 44..76;

/// What of the file is looked at: 2,700 sessions and more.
const MOST_FILE_BYTES: u64 = 1 << 20;
/// What is said of them, so that one answer is one write.
const MOST_BYTES: usize = 60_000;
/// For so long a list is given again: to be asked often costs nothing.
const FRESH: Duration = Duration::from_secs(1);

/// The list, and when it was made.
#[derive(Debug, Clone)]
pub(crate) struct Users {
    path: PathBuf,
    made: Option<Time>,
    list: Vec<u8>,
}

impl Users {
    /// Those of a file, which is read when somebody asks.
    pub(crate) fn of(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            made: None,
            list: Vec::new(),
        }
    }

    /// The list for the wire, at most a second old: a line each, `USER TERMINAL`. Without a file nobody is known.
    pub(super) fn list(&mut self, now: Time) -> &[u8] {
        if self.made.is_none_or(|made| now.since(made) >= FRESH) {
            self.made = Some(now);
            self.list = listed(&read(&self.path).unwrap_or_default());
        }
        &self.list
    }
}

/// Reads the file of the sessions.
///
/// # Errors
/// What the system says.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(MOST_FILE_BYTES)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The sessions in a file, for the wire, in order.
fn listed(file: &[u8]) -> Vec<u8> {
    let sessions: BTreeSet<String> = file.chunks_exact(RECORD).filter_map(session).collect();
    let mut text = Vec::new();
    for line in &sessions {
        if text.len() + line.len() + 2 > MOST_BYTES {
            break;
        }
        text.extend_from_slice(line.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    if text.is_empty() {
        text.extend_from_slice(b"(none)\r\n");
    }
    text
}

/// The session in a record, if there is one. Names are what somebody has written there: none is obeyed by a terminal.
fn session(record: &[u8]) -> Option<String> {
    let [low, high, ..] = *record else { return None };
    let user = text(record.get(USER)?);
    if i16::from_ne_bytes([low, high]) != USER_PROCESS || user.is_empty() {
        return None;
    }
    let line = format!("{user} {}", text(record.get(LINE)?));
    Some(escaped(line.trim_end()).into_owned())
}

fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(field.get(..end).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: i16, user: &[u8], line: &[u8]) -> Vec<u8> {
        let mut record = vec![0; RECORD];
        record[..2].copy_from_slice(&kind.to_ne_bytes());
        record[LINE.start..][..line.len()].copy_from_slice(line);
        record[USER.start..][..user.len()].copy_from_slice(user);
        record
    }

    fn said(records: &[Vec<u8>]) -> String {
        String::from_utf8(listed(&records.concat())).unwrap()
    }

    #[test]
    fn users_are_listed_with_their_terminals_and_nobody_else() {
        let records = [
            record(2, b"reboot", b"~"),
            record(7, b"vera", b"tty1"),
            record(8, b"gone", b"pts/1"),
            record(7, &[b'a'; 32], b"pts/0"),
            record(7, b"", b"pts/2"),
        ];
        assert_eq!(
            said(&records),
            format!("{} pts/0\r\nvera tty1\r\n", "a".repeat(32))
        );
    }

    #[test]
    fn names_are_shown_and_not_obeyed() {
        let records = [record(7, b"x\x1b[2J\r\nroot", b"t\xff")];
        assert_eq!(said(&records), "x\\u{1b}[2J\\r\\nroot t\u{fffd}\r\n");
    }

    #[test]
    fn a_file_that_is_none_or_too_long_is_harmless() {
        assert_eq!(said(&[]), "(none)\r\n");
        assert_eq!(said(&[vec![7; RECORD - 1]]), "(none)\r\n");
        let many: Vec<_> = (0..100_000)
            .map(|number| record(7, format!("user{number}").as_bytes(), b"pts/0"))
            .collect();
        let text = said(&many);
        assert!((MOST_BYTES - 100..=MOST_BYTES).contains(&text.len()) && text.ends_with("\r\n"));
        let mut users = Users::of(Path::new("/no/such/file"));
        assert_eq!(users.list(Time::from_nanos(5)), b"(none)\r\n");
    }
}
