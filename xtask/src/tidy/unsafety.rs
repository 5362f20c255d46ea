//! `unsafe`: in one crate, each block with its reason, and counted.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::Finding;
use super::lexer::{Layers, layers};
use super::tree::{Manifest, Tree};

/// The one crate with unsafe code.
const HOME: &str = "crates/sockeye-socket/";

/// The document that states how many blocks there are, and the words before the number.
const DOCUMENT: &str = "docs/ARCHITECTURE.md";
const BEFORE_COUNT: &str = "Unsafe blocks in `sockeye-socket`: ";

/// Crates that do not forbid unsafe code, and files under `crates/` that use it all the same.
pub(super) fn only_in_one_crate(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for manifest in tree
        .manifests()
        .filter(Manifest::is_public)
        .filter(|manifest| !HOME.starts_with(&manifest.folder))
    {
        let roots = ["lib.rs", "main.rs"].map(|file| format!("{}/src/{file}", manifest.folder));
        for (path, text) in roots.iter().filter_map(|path| Some((path, tree.text(path)?))) {
            if !layers(text)
                .code
                .lines()
                .any(|line| line.trim() == "#![forbid(unsafe_code)]")
            {
                findings.push(Finding::new(path, 0, "does not say `#![forbid(unsafe_code)]`"));
            }
        }
    }
    // Tests, examples and benches of a crate are crates of their own: what their roots forbid does not hold there.
    for (path, text) in tree
        .rust()
        .filter(|(path, _)| path.starts_with("crates/") && !path.starts_with(HOME))
    {
        let code = layers(text).code;
        findings
            .extend(words(&code).map(|line| Finding::new(path, line, format!("`unsafe` outside of {HOME}"))));
    }
    findings
}

/// Unsafe blocks and implementations without a `SAFETY:` comment above them.
pub(super) fn reasons(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.rust() {
        let Layers { code, comments } = layers(text);
        let (code, comments): (Vec<_>, Vec<_>) = (code.lines().collect(), comments.lines().collect());
        for (index, line) in code.iter().enumerate() {
            if (has_block(line) || line.contains("unsafe impl")) && !has_reason(&code, &comments, index) {
                findings.push(Finding::new(
                    path,
                    index + 1,
                    "an unsafe block without a `SAFETY:` comment",
                ));
            }
        }
    }
    findings
}

/// Whether the comment belongs to the line: on it, or above it with nothing between but the beginning of the
/// same statement, attributes and more comment.
fn has_reason(code: &[&str], comments: &[&str], index: usize) -> bool {
    let upwards = code.iter().zip(comments).take(index + 1).rev();
    for (distance, (code, comment)) in upwards.enumerate() {
        // The end of another statement: what stands there and above speaks of that one.
        let ends = code.trim_end();
        if distance > 0 && (ends.ends_with(';') || ends.ends_with('}')) {
            return false;
        }
        if comment.contains("SAFETY:") {
            return true;
        }
    }
    false
}

/// Unsafe blocks in the one crate.
pub(super) fn blocks(tree: &Tree) -> usize {
    tree.rust()
        .filter(|(path, _)| path.starts_with(&format!("{HOME}src/")))
        .map(|(_, text)| layers(text).code.lines().filter(|line| has_block(line)).count())
        .sum()
}

/// The number in the document, where it is not that of the tree.
pub(super) fn count(tree: &Tree) -> Vec<Finding> {
    let count = blocks(tree);
    let Some((_, after)) = tree.text(DOCUMENT).and_then(|text| text.split_once(BEFORE_COUNT)) else {
        return vec![Finding::new(
            DOCUMENT,
            0,
            format!("does not say `{BEFORE_COUNT}{count}`"),
        )];
    };
    let stated: String = after.chars().take_while(char::is_ascii_digit).collect();
    if stated == count.to_string() {
        return Vec::new();
    }
    let message =
        format!("says {stated} unsafe blocks, there are {count}: review, then `cargo xtask tidy --fix`");
    vec![Finding::new(DOCUMENT, 0, message)]
}

/// Writes the number into the document.
///
/// # Errors
/// When the document cannot be read or written, or has no place for it.
pub(super) fn write_count(tree: &Tree, root: &Path) -> Result<()> {
    let text = tree
        .text(DOCUMENT)
        .with_context(|| format!("{DOCUMENT} is missing"))?;
    let (before, after) = text
        .split_once(BEFORE_COUNT)
        .with_context(|| format!("{DOCUMENT} has no `{BEFORE_COUNT}`"))?;
    let after = after.trim_start_matches(|c: char| c.is_ascii_digit());
    let text = format!("{before}{BEFORE_COUNT}{}{after}", blocks(tree));
    std::fs::write(root.join(DOCUMENT), text).with_context(|| format!("write {DOCUMENT}"))
}

fn has_block(line: &str) -> bool {
    line.match_indices("unsafe").any(|(at, word)| {
        line.get(at + word.len()..)
            .is_some_and(|rest| rest.trim_start().starts_with('{'))
    })
}

/// The lines, counted from 1, on which the keyword stands.
fn words(code: &str) -> impl Iterator<Item = usize> {
    (1..).zip(code.lines()).filter_map(|(number, line)| {
        let is_word = line
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .any(|word| word == "unsafe");
        is_word.then_some(number)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_that_does_not_forbid_unsafe_code_is_found() {
        let findings = Tree::found_after(
            only_in_one_crate,
            "crates/sockeye-tcp-stream/src/lib.rs",
            |text| text.replace("#![forbid(unsafe_code)]", "// #![forbid(unsafe_code)]"),
        );
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(findings[0].path, "crates/sockeye-tcp-stream/src/lib.rs");
    }

    #[test]
    fn unsafe_in_the_tests_of_another_crate_is_found() {
        let text = "//! A.\n// unsafe is a word here\nfn a() { unsafe { b() } }\n";
        let tree = Tree::of(&[("crates/sockeye-packet/tests/a.rs", text)]);
        let lines: Vec<_> = only_in_one_crate(&tree)
            .into_iter()
            .map(|found| found.line)
            .collect();
        assert_eq!(lines, [3]);
    }

    #[test]
    fn a_block_needs_a_reason_of_its_own() {
        let lines = |text: &str| {
            let tree = Tree::of(&[("crates/sockeye-socket/src/sys/a.rs", text)]);
            reasons(&tree)
                .into_iter()
                .map(|found| found.line)
                .collect::<Vec<_>>()
        };
        assert_eq!(lines("//! A.\nfn a() {\n    unsafe { b() }\n}\n"), [3]);
        assert_eq!(
            lines("//! A.\nfn a() {\n    // SAFETY: fine.\n    unsafe { b() }\n}\n"),
            [0; 0]
        );
        assert_eq!(
            lines(
                "//! A.\nfn a() {\n    // SAFETY: fine,\n    // really.\n    let c =\n        unsafe { b() };\n}\n"
            ),
            [0; 0]
        );
        let second = "//! A.\nfn a() {\n    // SAFETY: fine.\n    unsafe { b() };\n    unsafe { c() };\n}\n";
        assert_eq!(lines(second), [5]);
        assert_eq!(lines("//! A.\nunsafe impl Send for A {}\n"), [2]);
        assert_eq!(lines("//! A.\nconst A: &str = \"unsafe { b() }\";\n"), [0; 0]);
    }

    #[test]
    fn the_number_in_the_document_is_compared() {
        let source = "//! A.\nfn a() { unsafe { b() } }\nunsafe fn c() { unsafe { d() } }\n";
        let tree = |number: &str| {
            let document = format!("# A\n{BEFORE_COUNT}{number}, each\n");
            Tree::of(&[
                ("crates/sockeye-socket/src/sys/a.rs", source),
                (DOCUMENT, &document),
            ])
        };
        assert_eq!(blocks(&tree("2")), 2);
        assert_eq!(count(&tree("2")), []);
        assert!(
            count(&tree("1"))[0]
                .message
                .contains("says 1 unsafe blocks, there are 2")
        );
        assert!(count(&tree(""))[0].message.contains("says  unsafe blocks"));
    }
}
