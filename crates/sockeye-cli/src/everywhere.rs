//! The options that every command takes, and what they change for the whole process.
//!
//! What they ask for is set once, before the command starts, and read by [`output`].

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

#[cfg(feature = "log")]
use crate::exit::{Exit, Failure};
use crate::output;

#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Everywhere {
    /// Write to FILE what would go to stdout; "-" is stdout
    #[arg(short, long, global = true, value_name = "FILE", display_order = 900)]
    output: Option<PathBuf>,
    /// Less output: results, warnings and errors, and of what goes on only the summary; no notes, no progress
    #[arg(short, long, global = true, conflicts_with = "verbose", display_order = 901)]
    quiet: bool,
    /// Log what the event loop does to stderr (-vv: everything); SOCKEYE_LOG=TARGET=LEVEL,... says it finer
    #[cfg(feature = "log")]
    #[arg(short, long, global = true, action = clap::ArgAction::Count, display_order = 902)]
    verbose: u8,
    /// Colours: where a terminal shows them and NO_COLOR is not set, always, or never
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        display_order = 903
    )]
    pub(crate) color: clap::ColorChoice,
    /// No progress on stderr
    #[arg(long, global = true, display_order = 904)]
    no_progress: bool,
}

impl Everywhere {
    /// Makes it so for the process.
    ///
    /// # Errors
    /// When the file of `--output` cannot be written, or SOCKEYE_LOG is not understood.
    pub(crate) fn apply(&self) -> anyhow::Result<()> {
        output::set_manner(output::Manner {
            quiet: self.quiet,
            progress: !self.quiet && !self.no_progress,
            color: self.color,
            #[cfg(feature = "log")]
            verbosity: self.verbose,
            #[cfg(not(feature = "log"))]
            verbosity: 0,
            output: self.file().map(Path::to_owned),
        });
        #[cfg(feature = "log")]
        log(self.verbose)?;
        self.file().map_or(Ok(()), redirect)
    }

    fn file(&self) -> Option<&Path> {
        self.output.as_deref().filter(|path| *path != Path::new("-"))
    }
}

/// From here on stdout is the file: for the commands that write lines, and for those that write bytes.
fn redirect(path: &Path) -> anyhow::Result<()> {
    let file = File::create(path).with_context(|| {
        format!(
            "--output {}: open it (is there such a folder, and may you write there?)",
            path.display()
        )
    })?;
    rustix::stdio::dup2_stdout(&file).with_context(|| format!("--output {}", path.display()))
}

/// Has the events of `tracing` written to stderr: those of SOCKEYE_LOG, else those of `-v`.
#[cfg(feature = "log")]
fn log(verbose: u8) -> anyhow::Result<()> {
    use tracing_subscriber::filter::{LevelFilter, Targets};
    use tracing_subscriber::layer::SubscriberExt as _;

    let wanted = std::env::var("SOCKEYE_LOG").unwrap_or_default();
    let filter = match (wanted.trim(), verbose) {
        ("", 0) => return Ok(()),
        ("", 1) => Targets::new().with_target("sockeye", LevelFilter::DEBUG),
        ("", _) => Targets::new().with_default(LevelFilter::TRACE),
        (wanted, _) => wanted.parse().map_err(|error| {
            Failure::with(
                Exit::Usage,
                format!("SOCKEYE_LOG={wanted}: {error}; expected LEVEL or TARGET=LEVEL,..., such as sockeye_event_loop=debug"),
            )
        })?,
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(|| output::Notes);
    let subscriber = tracing_subscriber::registry().with(lines).with(filter);
    tracing::subscriber::set_global_default(subscriber).context("start the log")
}
