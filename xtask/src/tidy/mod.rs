//! `cargo xtask tidy`: the invariants of the tree that neither compiler nor clippy holds.
//!
//! Each check is a function from the tree, as text in memory, to what it found, so that each is tested on a
//! tree that breaks it; the last test of this module runs all of them on the real one.
//!
//! | module | holds |
//! |---|---|
//! | [`arrows`] | which package may depend on which, and on what from outside |
//! | [`floors`] | what a file of the event loop may name |
//! | [`manifests`] | licence, edition, lints; every crate in `crates/README.md`; folder name = package name |
//! | [`sources`] | how files begin, what they must not contain, OS `cfg` in one place |
//! | [`properties`] | which tests `cargo xtask prop` finds |
//! | [`unsafety`] | `unsafe` in one crate, each block with its reason, counted |
//! | [`lexer`] | tells code from comments and strings |
//! | [`tree`] | the files |

mod arrows;
mod floors;
mod lexer;
mod manifests;
mod properties;
mod sources;
mod tree;
mod unsafety;

use std::fmt;

use anyhow::{Result, bail};

use crate::workspace;
use tree::Tree;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Write the number of unsafe blocks into docs/ARCHITECTURE.md instead of comparing it
    #[arg(long)]
    fix: bool,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    path: String,
    /// Counted from 1; 0 where the whole file is meant.
    line: usize,
    message: String,
}

impl Finding {
    fn new(path: impl Into<String>, line: usize, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            line,
            message: message.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.message),
            line => write!(f, "{}:{line}: {}", self.path, self.message),
        }
    }
}

type Check = fn(&Tree) -> Vec<Finding>;

/// The checks, under the names that the report uses.
const CHECKS: &[(&str, Check)] = &[
    ("arrows", arrows::own),
    ("dependencies", arrows::third_party),
    ("floors", floors::hold),
    ("manifests", manifests::fields),
    ("crate list", manifests::listed),
    ("first line", sources::opens_with_a_sentence),
    ("unfinished", sources::unfinished),
    ("os cfg", sources::os_cfg),
    ("pure crates", sources::purity),
    ("machine", sources::machine_paths),
    ("properties", properties::are_found),
    ("unsafe", unsafety::only_in_one_crate),
    ("SAFETY", unsafety::reasons),
    ("unsafe count", unsafety::count),
];

/// Runs the command.
///
/// # Errors
/// When something was found.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.fix {
        unsafety::write_count(&Tree::load(workspace::root())?, workspace::root())?;
    }
    check()
}

/// Runs every check on the tree on the disk and prints what they found.
///
/// # Errors
/// When something was found.
pub(crate) fn check() -> Result<()> {
    let tree = Tree::load(workspace::root())?;
    for line in sources::long_files(&tree) {
        eprintln!("note: {line}");
    }
    eprintln!(
        "note: {} unsafe blocks in sockeye-socket",
        unsafety::blocks(&tree)
    );
    let mut count = 0;
    for (name, check) in CHECKS {
        for finding in check(&tree) {
            eprintln!("{finding} [{name}]");
            count += 1;
        }
    }
    if count > 0 {
        bail!("{count} findings");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        let tree = Tree::load(workspace::root()).unwrap();
        let findings: Vec<_> = CHECKS
            .iter()
            .flat_map(|(name, check)| {
                check(&tree)
                    .into_iter()
                    .map(move |finding| format!("{finding} [{name}]"))
            })
            .collect();
        assert!(findings.is_empty(), "{}", findings.join("\n"));
    }
}
