//! The subcommands: one module each, with its arguments and `run`.
//!
//! A subcommand is an `Arguments` struct and `run(arguments, output) -> anyhow::Result<Exit>`. What it found
//! goes to `output` as lines for people and as events for programs; an error it returns is reported, and gets
//! its status, in [`exit`](crate::exit).

use clap::Subcommand;

use crate::exit::Exit;
use crate::output::{Format, Output};

/// What `sockeye` can be told to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {}

impl Command {
    /// The format that the subcommand was asked for.
    pub(crate) fn format(&self) -> Format {
        match *self {}
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// Whatever ended it early.
    pub(crate) fn run(self, _output: &mut Output) -> anyhow::Result<Exit> {
        match self {}
    }
}
