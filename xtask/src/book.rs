//! The pages of the book, by mdbook. What the book shows is run by `docs/tests/book`, not here.

use std::process::Command;

use anyhow::Result;

use crate::package::skipped;
use crate::process::Process;

/// The version that the book is written for.
const VERSION: &str = "0.5.4";

/// Builds the pages into `target/book`; where mdbook is not installed, or not in this version, that is said.
///
/// # Errors
/// When mdbook refuses the book.
pub(crate) fn pages() -> Result<()> {
    let installed = Command::new("mdbook").arg("--version").output();
    let is_wanted = installed
        .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim() == format!("mdbook v{VERSION}"));
    if !is_wanted {
        skipped(
            &format!("mdbook@{VERSION}"),
            "the pages of the book are not built",
        );
        return Ok(());
    }
    Process::new("mdbook").words("build docs/book").run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_writes_the_book_is_told_the_version_that_builds_it() {
        let told = include_str!("../../docs/book/README.md");
        assert!(told.contains(&format!("mdbook {VERSION}")));
    }
}
