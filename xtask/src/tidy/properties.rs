//! A property is a test with `prop` in its path: that is how `cargo xtask prop` finds it.

use super::Finding;
use super::lexer::layers;
use super::tree::Tree;

/// Properties that `cargo xtask prop` would not run.
pub(super) fn are_found(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.rust().filter(|(path, _)| !path.contains("prop")) {
        for (line, name) in properties(&layers(text).code) {
            if !name.contains("prop") {
                let message =
                    format!("the property `{name}` has no `prop` in its path: call it `prop_{name}`");
                findings.push(Finding::new(path, line, message));
            }
        }
    }
    findings
}

/// The functions right under `#[test]` in `proptest!` blocks, with their lines.
fn properties(code: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    // Depth of braces since the block began; 0 outside.
    let mut depth = 0_usize;
    for (number, line) in (1..).zip(code.lines()) {
        if depth == 1
            && let Some((_, rest)) = line.trim_start().split_once("fn ")
            && let Some((name, _)) = rest.split_once('(')
        {
            found.push((number, name));
        }
        if depth > 0 || line.contains("proptest!") {
            depth = (depth + line.matches('{').count()).saturating_sub(line.matches('}').count());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_that_would_not_be_found_is_told() {
        let text = "//! A.\nproptest! {\n    #[test]\n    fn holds(a in any::<u8>()) {\n        fn inner() {}\n    }\n\
                    \n    #[test]\n    fn prop_b(b in any::<u8>()) {}\n}\nfn other() {}\n";
        let lines = |path| -> Vec<usize> {
            let found = are_found(&Tree::of(&[(path, text)]));
            found.into_iter().map(|finding| finding.line).collect()
        };
        assert_eq!(lines("crates/a/src/ring.rs"), [4]);
        assert_eq!(lines("tests/tests/prop_a.rs"), [0; 0]);
    }
}
