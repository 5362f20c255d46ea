//! The floors of the event loop: a file names only files below it, in the order that `docs/ARCHITECTURE.md` draws.

use std::collections::HashMap;

use super::Finding;
use super::lexer::layers;
use super::tree::Tree;

/// The document with the drawing: a block that begins with this line.
const DRAWING: &str = "docs/ARCHITECTURE.md";
const BLOCK: &str = "```floors";
/// Where the files are.
const SOURCE: &str = "crates/sockeye-event-loop/src/";

/// Files that name one of a higher floor, or stand on none.
pub(super) fn hold(tree: &Tree) -> Vec<Finding> {
    let ranks = ranks(tree.text(DRAWING).unwrap_or_default());
    let mut findings = Vec::new();
    for (path, text) in tree.rust() {
        let Some(file) = path
            .strip_prefix(SOURCE)
            .and_then(|file| file.strip_suffix(".rs"))
        else {
            continue;
        };
        if file == "lib" {
            continue;
        }
        let Some((own, rank)) = place(&ranks, file) else {
            let message = format!("stands on no floor of {DRAWING}");
            findings.push(Finding::new(path, 0, message));
            continue;
        };
        let code = layers(text).code;
        let shipped = code.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        for (number, line) in (1..).zip(shipped.lines()) {
            for name in named(line, file) {
                match place(&ranks, &name) {
                    Some((other, above)) if above > rank => {
                        let message = format!("`{own}` names `{other}`, which stands above it");
                        findings.push(Finding::new(path, number, message));
                    }
                    Some(_) => {}
                    None => {
                        let message = format!("`{name}` is no file: name the one it comes from");
                        findings.push(Finding::new(path, number, message));
                    }
                }
            }
        }
    }
    findings
}

/// The names in the drawing and their places from below. The first word of a line is the floor's own name.
fn ranks(document: &str) -> HashMap<&str, usize> {
    document
        .lines()
        .skip_while(|line| *line != BLOCK)
        .skip(1)
        .take_while(|line| !line.starts_with("```"))
        .flat_map(|line| line.split_whitespace().skip(1))
        .enumerate()
        .map(|(rank, name)| (name, rank))
        .collect()
}

/// The entry of the drawing that a file belongs to: its own, or that of its folder.
fn place<'a>(ranks: &HashMap<&'a str, usize>, file: &str) -> Option<(&'a str, usize)> {
    let folder = file.split('/').next().unwrap_or(file);
    let entry = ranks
        .get_key_value(file)
        .or_else(|| ranks.get_key_value(folder))?;
    Some((entry.0, *entry.1))
}

/// The files that a line of `file` names, by `crate::` and `super::`.
fn named(line: &str, file: &str) -> Vec<String> {
    let mut names = Vec::new();
    let folder = file.split_once('/').map_or("", |(folder, _)| folder);
    for (start, prefix) in [("crate::", ""), ("super::", folder)] {
        for (at, _) in line.match_indices(start) {
            let rest = line.get(at + start.len()..).unwrap_or_default();
            let end = rest
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len());
            let name = rest.get(..end).unwrap_or_default();
            if name.is_empty() || name == "super" {
                continue;
            }
            let is_type = name.starts_with(char::is_uppercase);
            names.push(match (prefix, is_type) {
                ("", _) => name.to_owned(),
                (folder, true) => folder.to_owned(),
                (folder, false) => format!("{folder}/{name}"),
            });
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWN: &str =
        "# A\n```floors\ndata   id options\nsockets core/link core/table\nworkings core\n```\n";

    fn found(file: &str, text: &str) -> Vec<String> {
        let tree = Tree::of(&[(DRAWING, DRAWN), (&format!("{SOURCE}{file}"), text)]);
        hold(&tree).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn a_file_names_only_what_stands_below_it() {
        assert_eq!(found("options.rs", "//! O.\nuse crate::id::Token;\n"), [""; 0]);
        assert_eq!(
            found("id.rs", "//! I.\nuse crate::options::A;\n"),
            ["`id` names `options`, which stands above it"]
        );
        assert_eq!(
            found("core/table.rs", "//! T.\nuse super::link::Link;\n"),
            [""; 0]
        );
        assert_eq!(
            found(
                "core/link.rs",
                "//! L.\nuse super::table::Table;\nuse super::Inner;\n"
            ),
            [
                "`core/link` names `core/table`, which stands above it",
                "`core/link` names `core`, which stands above it"
            ]
        );
        assert_eq!(
            found(
                "core/turn.rs",
                "//! T.\nuse super::write::A;\nuse super::Inner;\n"
            ),
            [""; 0]
        );
    }

    #[test]
    fn a_file_on_no_floor_and_a_name_of_no_file_are_told() {
        assert_eq!(found("new.rs", "//! N.\n").len(), 1);
        assert_eq!(
            found("id.rs", "//! I.\nfn f(a: crate::Token) {}\n"),
            ["`Token` is no file: name the one it comes from"]
        );
        let test = "//! I.\n#[cfg(test)]\nmod tests {\n    use crate::options::A;\n}\n";
        assert_eq!(found("id.rs", test), [""; 0]);
    }
}
