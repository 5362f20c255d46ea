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

/// Where this program is, as a word of a shell.
pub(crate) fn this_program() -> String {
    match std::env::current_exe() {
        Ok(path) => shell_word(&path.to_string_lossy()),
        Err(_) => "sockeye".to_owned(),
    }
}

/// A command with the path of this program where it has the word PROGRAM.
pub(crate) fn for_this_program(text: &str) -> String {
    let words = "+ep PROGRAM";
    match text.contains(words) {
        true => text.replace(words, &format!("+ep {}", this_program())),
        false => text.to_owned(),
    }
}

/// A word that sh(1) reads as it is.
fn shell_word(text: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+:@%,".contains(letter);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_of_a_shell() {
        for (path, word) in [
            ("/usr/bin/sockeye", "/usr/bin/sockeye"),
            ("/my tools/sockeye", "'/my tools/sockeye'"),
            ("/it's/$HOME", "'/it'\\''s/$HOME'"),
            ("", "''"),
        ] {
            assert_eq!(shell_word(path), word);
        }
    }
}
