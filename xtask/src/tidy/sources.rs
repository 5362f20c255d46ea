//! How a source file begins, what it must not contain, and where it may speak of an operating system.

use super::Finding;
use super::lexer::layers;
use super::tree::Tree;

/// Where the operating system may be asked for.
const SYSTEM: &str = "crates/sockeye-socket/src/sys/";

/// Longer files are reported: what is the second idea in them?
const LONG_FILE_LINES: usize = 600;

/// Rust files that do not open with `//!`.
pub(super) fn opens_with_a_sentence(tree: &Tree) -> Vec<Finding> {
    tree.rust()
        .filter(|(_, text)| !text.starts_with("//! "))
        .map(|(path, _)| Finding::new(path, 1, "does not open with `//!`: say what the file is"))
        .collect()
}

/// What somebody meant to finish: in code, in comments, in the examples of documents.
pub(super) fn unfinished(tree: &Tree) -> Vec<Finding> {
    // In two parts, or this file would find itself.
    let notes = [concat!("FIX", "ME"), concat!("TO", "DO"), concat!("XX", "X")];
    let mut findings = Vec::new();
    for (path, text) in tree.rust() {
        let layers = layers(text);
        for (number, line) in (1..).zip(layers.code.lines()) {
            for word in ["todo!", "unimplemented!", "dbg!", "#[ignore", "#![ignore"] {
                if contains_word(line, word) {
                    findings.push(Finding::new(path, number, format!("`{word}` in the code")));
                }
            }
        }
        for (number, line) in (1..).zip(layers.comments.lines()) {
            if let Some(note) = notes.iter().find(|note| contains_word(line, note)) {
                findings.push(Finding::new(path, number, format!("`{note}` in a comment")));
            }
            if line.contains("```") && line.contains("ignore") {
                findings.push(Finding::new(path, number, "an example that is not compiled"));
            }
        }
    }
    for (path, text) in tree.files().filter(|(path, _)| path.ends_with(".md")) {
        for (number, line) in (1..).zip(text.lines()) {
            if line.starts_with("```") && line.contains("ignore") {
                findings.push(Finding::new(path, number, "an example that is not compiled"));
            }
        }
    }
    findings
}

/// Whether the word stands in the line with nothing that would make it a part of another.
fn contains_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        let after = line.get(at + word.len()..).and_then(|after| after.chars().next());
        let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        !is_word(before) && (word.ends_with('!') || !is_word(after))
    })
}

/// `cfg` on an operating system outside of its place, on anything but a line that selects a module.
pub(super) fn os_cfg(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree
        .rust()
        .filter(|(path, _)| path.starts_with("crates/") && !path.starts_with(SYSTEM))
    {
        let code = layers(text).code;
        let lines: Vec<&str> = code.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            if !asks_for_system(line) {
                continue;
            }
            let item = lines
                .iter()
                .skip(index + 1)
                .map(|line| line.trim())
                .find(|line| !line.is_empty() && !line.starts_with("#["));
            if !item.is_some_and(selects_module) {
                let message = format!("an OS `cfg` outside of {SYSTEM}");
                findings.push(Finding::new(path, index + 1, message));
            }
        }
    }
    findings
}

fn asks_for_system(line: &str) -> bool {
    let words = [
        "target_os",
        "target_family",
        "target_env",
        "target_vendor",
        "unix",
        "windows",
    ];
    (line.contains("cfg(") || line.contains("cfg!(") || line.contains("cfg_attr("))
        && words.iter().any(|word| {
            line.split(|c: char| !c.is_alphanumeric() && c != '_')
                .any(|part| part == *word)
        })
}

fn selects_module(item: &str) -> bool {
    let item = item.strip_prefix("pub").map_or(item, |rest| {
        rest.strip_prefix('(')
            .and_then(|rest| rest.split_once(')'))
            .map_or(rest, |(_, rest)| rest)
            .trim_start()
    });
    item.starts_with("mod ") && item.ends_with(';') || item.starts_with("use ")
}

/// I/O in the crates that do none, and clocks, threads and sleep in those that run on a clock that is given
/// to them.
pub(super) fn purity(tree: &Tree) -> Vec<Finding> {
    let io = [
        "TcpStream",
        "TcpListener",
        "UdpSocket",
        "ToSocketAddrs",
        "std::process",
        "std::thread",
        "std::os",
    ];
    let time = [
        "Instant::now",
        "SystemTime::now",
        "thread::sleep",
        "thread::spawn",
    ];
    let rules: [(&str, &[&str]); 4] = [
        ("crates/sockeye-endpoint/src/", &io),
        ("crates/sockeye-packet/src/", &io),
        ("crates/sockeye-probe/src/", &time),
        ("crates/sockeye-sim/src/", &time),
    ];
    let mut findings = Vec::new();
    for (folder, words) in rules {
        for (path, text) in tree.rust().filter(|(path, _)| path.starts_with(folder)) {
            let code = layers(text).code;
            for (number, line) in (1..).zip(code.lines()) {
                if let Some(word) = words.iter().find(|word| contains_word(line, word)) {
                    findings.push(Finding::new(
                        path,
                        number,
                        format!("`{word}` in a crate that does without"),
                    ));
                }
            }
        }
    }
    findings
}

/// Paths of somebody's machine.
pub(super) fn machine_paths(tree: &Tree) -> Vec<Finding> {
    // In two parts, or this file would find itself.
    let paths = [
        concat!("/ho", "me/"),
        concat!("/ro", "ot/"),
        concat!("/wo", "rk/"),
        concat!("/Us", "ers/"),
        concat!("/t", "mp/"),
        concat!("../sha", "red"),
    ];
    let mut findings = Vec::new();
    for (file, text) in tree.files() {
        for (number, line) in (1..).zip(text.lines()) {
            if let Some(path) = paths.iter().find(|path| line.contains(*path)) {
                findings.push(Finding::new(
                    file,
                    number,
                    format!("`{path}` is a path of one machine"),
                ));
            }
        }
    }
    findings
}

/// A line for each file that is long enough to ask about. Generated tables do not count.
pub(super) fn long_files(tree: &Tree) -> Vec<String> {
    let mut long: Vec<_> = tree
        .rust()
        .filter(|(_, text)| !text.contains("@generated"))
        .map(|(path, text)| (text.lines().count(), path))
        .filter(|(lines, _)| *lines > LONG_FILE_LINES)
        .collect();
    long.sort_unstable_by(|a, b| b.cmp(a));
    long.into_iter()
        .map(|(lines, path)| format!("{path} has {lines} lines"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(check: fn(&Tree) -> Vec<Finding>, path: &str, text: &str) -> Vec<usize> {
        check(&Tree::of(&[(path, text)]))
            .into_iter()
            .map(|found| found.line)
            .collect()
    }

    #[test]
    fn a_file_without_a_first_sentence_is_found() {
        assert_eq!(
            lines(opens_with_a_sentence, "crates/a/src/lib.rs", "use std::fmt;\n"),
            [1]
        );
        assert_eq!(
            lines(opens_with_a_sentence, "crates/a/src/lib.rs", "//! A.\n"),
            [0; 0]
        );
        let found = Tree::found_after(
            opens_with_a_sentence,
            "crates/sockeye-packet/src/lib.rs",
            |text| text.replacen("//!", "//", 1),
        );
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn what_is_unfinished_is_found_in_code_comments_and_examples() {
        let fixme = concat!("// FIX", "ME later");
        let text = format!(
            "//! A.\n{fixme}\n#[ignore = \"slow\"]\nfn a() {{ todo!() }}\n/// ```rust,ignore\nfn b() {{ dbg!(1); }}\n"
        );
        let mut found = lines(unfinished, "crates/a/src/lib.rs", &text);
        found.sort_unstable();
        assert_eq!(found, [2, 3, 4, 5, 6]);
        assert_eq!(lines(unfinished, "README.md", "# A\n```rust,ignore\n"), [2]);
        let innocent = "//! A.\nfn a() { let s = \"todo!() dbg!()\"; ignored(); }\n// a to-do list\n";
        assert_eq!(lines(unfinished, "crates/a/src/lib.rs", innocent), [0; 0]);
    }

    #[test]
    fn an_os_cfg_may_only_select_a_module() {
        let path = "crates/sockeye-udp-datagram/src/lib.rs";
        assert_eq!(
            lines(os_cfg, path, "//! A.\n#[cfg(target_os = \"linux\")]\nfn a() {}\n"),
            [2]
        );
        assert_eq!(lines(os_cfg, path, "//! A.\nfn a() { if cfg!(unix) {} }\n"), [2]);
        assert_eq!(
            lines(
                os_cfg,
                path,
                "//! A.\n#[cfg(unix)]\n#[path = \"x.rs\"]\npub(crate) mod a;\n"
            ),
            [0; 0]
        );
        assert_eq!(
            lines(os_cfg, path, "//! A.\n#[cfg(feature = \"unix\")]\nfn a() {}\n"),
            [0; 0]
        );
        assert_eq!(
            lines(
                os_cfg,
                &format!("{SYSTEM}linux.rs"),
                "//! A.\n#[cfg(unix)]\nfn a() {}\n"
            ),
            [0; 0]
        );
    }

    #[test]
    fn a_pure_crate_opens_no_socket_and_reads_no_clock() {
        let socket = "//! A.\nuse std::net::{IpAddr, UdpSocket};\n";
        assert_eq!(lines(purity, "crates/sockeye-endpoint/src/a.rs", socket), [2]);
        assert_eq!(lines(purity, "crates/sockeye-socket/src/a.rs", socket), [0; 0]);
        let clock = "//! A.\nfn a() { let now = std::time::Instant::now(); }\n";
        assert_eq!(lines(purity, "crates/sockeye-sim/src/a.rs", clock), [2]);
    }

    #[test]
    fn a_path_of_one_machine_is_found() {
        let text = format!("# A\nsee {}\n", concat!("/ho", "me/somebody/notes"));
        assert_eq!(lines(machine_paths, "docs/A.md", &text), [2]);
    }

    #[test]
    fn long_files_are_reported_longest_first() {
        let (long, longer) = ("//! A.\n".repeat(601), "//! A.\n".repeat(700));
        let tree = Tree::of(&[("a.rs", &long), ("b.rs", &longer), ("c.rs", "//! A.\n")]);
        assert_eq!(long_files(&tree), ["b.rs has 700 lines", "a.rs has 601 lines"]);
    }
}
