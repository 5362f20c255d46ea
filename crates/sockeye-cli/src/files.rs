//! Files that the command line or the configuration names; `-` is stdin, which can be read once.

use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;

use crate::exit::Failure;

/// Reads files.
#[derive(Debug, Default)]
pub(crate) struct Files {
    stdin_is_read: bool,
}

impl Files {
    /// The whole file.
    ///
    /// # Errors
    /// What the system says, with the name of the file; stdin for the second time.
    pub(crate) fn read(&mut self, path: &Path) -> anyhow::Result<Vec<u8>> {
        if !is_stdin(path) {
            return std::fs::read(path).with_context(|| path.display().to_string());
        }
        if self.stdin_is_read {
            return Err(Failure::usage(
                "-: stdin was read already, and cannot be read again",
            ));
        }
        self.stdin_is_read = true;
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).context("stdin")?;
        Ok(bytes)
    }
}

/// Whether the path is that of stdin.
pub(crate) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Refuses two files on one stdin, before either is read.
///
/// # Errors
/// When there are two.
pub(crate) fn one_stdin<'a>(named: impl IntoIterator<Item = (&'a str, &'a Path)>) -> anyhow::Result<()> {
    let on_stdin: Vec<&str> = named
        .into_iter()
        .filter(|(_, path)| is_stdin(path))
        .map(|(name, _)| name)
        .collect();
    match on_stdin.as_slice() {
        [first, second, ..] => Err(Failure::usage(format!(
            "{first} - and {second} -: there is one stdin only; give one of them by the name of a file"
        ))),
        _ => Ok(()),
    }
}
