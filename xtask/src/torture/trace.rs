//! What strace writes: which calls a run makes, which of them failed on demand, and whether a descriptor was closed twice.

use std::collections::BTreeMap;

/// What is in the lines of the calls that begin and end what is under test.
#[derive(Debug, Clone, Copy)]
pub(super) struct Marks {
    pub(super) begin: &'static str,
    pub(super) end: &'static str,
}

/// A call that can be made to fail: the `n`-th of its name, counted for each thread as strace counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) call: String,
    pub(super) n: usize,
    /// As strace has printed it.
    pub(super) line: String,
}

/// The calls between the marks, in the order of their names and numbers.
///
/// Of threads other than the first, those calls count whose number the first thread has passed before the scenario begins:
/// else the dynamic linker's call of that number would fail as well.
pub(super) fn points(trace: &str, marks: Marks) -> Vec<Point> {
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut before: BTreeMap<&str, usize> = BTreeMap::new();
    let mut found: BTreeMap<(&str, usize), &str> = BTreeMap::new();
    let mut first = None;
    let (mut has_begun, mut has_ended) = (false, false);
    for line in trace.lines() {
        let Some((thread, rest)) = line.split_once(' ') else {
            continue;
        };
        let rest = rest.trim_start();
        let first = *first.get_or_insert(thread);
        let Some(call) = call_of(rest) else {
            continue;
        };
        if thread == first && rest.contains(marks.begin) {
            has_begun = true;
            *counts.entry((thread, call)).or_default() += 1;
            before = counts
                .iter()
                .filter(|((of, _), _)| *of == first)
                .map(|((_, call), n)| (*call, *n))
                .collect();
            continue;
        }
        has_ended |= thread == first && rest.contains(marks.end);
        let n = counts.entry((thread, call)).or_default();
        *n += 1;
        if has_begun && !has_ended && *n > before.get(call).copied().unwrap_or(0) {
            found.entry((call, *n)).or_insert(rest);
        }
    }
    found
        .into_iter()
        .map(|((call, n), line)| Point {
            call: call.to_owned(),
            n,
            line: line.to_owned(),
        })
        .collect()
}

/// The name of the call that a line begins; `None` for the rest of one that was interrupted, and for signals and ends.
fn call_of(rest: &str) -> Option<&str> {
    let (name, _) = rest.split_once('(')?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    (!name.is_empty() && name.chars().all(plain)).then_some(name)
}

/// The lines of the calls that failed on demand.
pub(super) fn injected(trace: &str) -> impl Iterator<Item = &str> {
    trace.lines().filter(|line| line.ends_with("(INJECTED)"))
}

/// The first line on which a descriptor was closed that was not open.
pub(super) fn closed_twice(trace: &str) -> Option<&str> {
    let of_close = |line: &&str| line.contains(" close(") || line.contains("close resumed>");
    trace
        .lines()
        .filter(of_close)
        .find(|line| line.contains("EBADF") && !line.ends_with("(INJECTED)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKS: Marks = Marks {
        begin: "/sockeye-torture/begin",
        end: "/sockeye-torture/end",
    };

    const TRACE: &str = "\
10 openat(AT_FDCWD, \"/lib/libc.so.6\", O_RDONLY) = 3
10 openat(AT_FDCWD, \"/proc/self/maps\", O_RDONLY) = 3
10 statx(AT_FDCWD, \"/sockeye-torture/begin\", 0) = -1 ENOENT
10 openat(AT_FDCWD, \"/etc/resolv.conf\", O_RDONLY) = 3
11 socket(AF_INET, SOCK_STREAM, 0 <unfinished ...>
11 openat(AT_FDCWD, \"/etc/hosts\", O_RDONLY) = 4
10 accept4(3<TCP:[1]>, NULL, NULL, 0) = 5
11 <... socket resumed>) = 6
10 --- SIGUSR1 {si_signo=SIGUSR1} ---
10 accept4(3<TCP:[1]>, NULL, NULL, 0) = -1 EAGAIN
10 statx(AT_FDCWD, \"/sockeye-torture/end\", 0) = -1 ENOENT
10 openat(AT_FDCWD, \"/proc/self/fd\", O_RDONLY) = 3
10 +++ exited with 0 +++
";

    #[test]
    fn the_calls_of_the_scenario_are_found_and_numbered_as_strace_does() {
        let found: Vec<_> = points(TRACE, MARKS)
            .into_iter()
            .map(|point| format!("{} {}", point.call, point.n))
            .collect();
        assert_eq!(found, ["accept4 1", "accept4 2", "openat 3", "socket 1"]);
    }

    #[test]
    fn a_descriptor_that_is_closed_twice_is_seen() {
        let trace = "10 close(5) = -1 EBADF (Bad file descriptor) (INJECTED)\n10 close(6) = -1 EBADF (Bad file descriptor)";
        assert_eq!(
            closed_twice(trace),
            Some("10 close(6) = -1 EBADF (Bad file descriptor)")
        );
        assert_eq!(closed_twice("10 close(6) = 0"), None);
        assert_eq!(injected(trace).count(), 1);
    }
}
