//! How the program talks: what `--quiet`, `--color` and `--no-progress` change, and the lines on stderr.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write};
use std::path::PathBuf;
use std::sync::OnceLock;

use indicatif::{ProgressBar, ProgressStyle};

use super::escaped;

/// How the program talks, as [`everywhere`](crate::everywhere) has set it.
#[derive(Debug, Clone)]
pub(crate) struct Manner {
    /// No notes.
    pub(crate) quiet: bool,
    /// Progress on stderr, where that is a terminal.
    pub(crate) progress: bool,
    pub(crate) color: clap::ColorChoice,
    /// How often `-v` was given.
    pub(crate) verbosity: u8,
    /// The file of `--output`, which stdout is then.
    pub(crate) output: Option<PathBuf>,
}

static MANNER: OnceLock<Manner> = OnceLock::new();

/// Sets it for the process, once.
pub(crate) fn set_manner(manner: Manner) {
    // A second time would be a mistake of the program, which tests have: the first one stays.
    let _ = MANNER.set(manner);
}

fn manner() -> &'static Manner {
    MANNER.get_or_init(|| Manner {
        quiet: false,
        progress: true,
        color: clap::ColorChoice::Auto,
        verbosity: 0,
        output: None,
    })
}

/// Where data goes, in the words of an error.
pub(super) fn place() -> String {
    let file = manner().output.as_deref();
    file.map_or_else(|| "stdout".to_owned(), |file| file.display().to_string())
}

/// Whether `--quiet` was asked for.
pub(crate) fn is_quiet() -> bool {
    manner().quiet
}

/// How often `-v` was given, for a command that says more then.
pub(crate) fn verbosity() -> u8 {
    manner().verbosity
}

/// Whether progress is to be shown on a terminal.
pub(crate) fn shows_progress() -> bool {
    manner().progress
}

/// A progress line on stderr, by a template of `indicatif`; hidden where stderr is no terminal or nobody wants one.
pub(crate) fn progress(len: u64, template: &str) -> ProgressBar {
    if !shows_progress() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(len);
    let style = ProgressStyle::with_template(template);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar
}

/// Whether lines on stdout may have colours: `--color`, then NO_COLOR, then whether it is a terminal.
pub(crate) fn has_colors() -> bool {
    match manner().color {
        clap::ColorChoice::Always => true,
        clap::ColorChoice::Never => false,
        clap::ColorChoice::Auto => {
            std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
                && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
                && io::stdout().is_terminal()
        }
    }
}

/// A line on stderr that is good to know, escaped; nothing with `--quiet`.
pub(crate) fn note(line: impl Display) {
    if !is_quiet() {
        warn(line);
    }
}

/// A line on stderr that is not to be missed, escaped. That it cannot be written is no reason to do anything else: the
/// status still says how the command ended.
pub(crate) fn warn(line: impl Display) {
    let line = format!("{}\n", escaped(&line.to_string()));
    let _ = io::stderr().write_all(line.as_bytes());
}

/// Stderr for a log: each line escaped.
#[cfg(feature = "log")]
#[derive(Debug)]
pub(crate) struct Notes;

#[cfg(feature = "log")]
impl Write for Notes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for line in String::from_utf8_lossy(bytes).lines() {
            warn(line);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
