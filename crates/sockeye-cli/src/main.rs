//! The `sockeye` program: what the crates can do, from a shell.
//!
//! | module | what |
//! |---|---|
//! | [`commands`] | one module a subcommand: its arguments and `run` |
//! | [`exit`] | every exit status, and which error gets which |
//! | [`output`] | stdout as text or NDJSON; only the bytes of `connect` go around it |
//! | [`services`] | echo, discard, chargen: what `serve` serves and `bench` measures |
//! | [`names`], [`signals`], [`arguments`] | what several commands share |
//!
//! Data goes to stdout; progress, warnings and errors go to stderr.
#![forbid(unsafe_code)]

mod arguments;
mod commands;
mod exit;
mod names;
mod output;
mod probing;
mod services;
mod signals;

use std::process::ExitCode;

use clap::Parser;

use commands::Command;
use output::Output;

/// The sockets of the Internet from a shell: serve, connect, measure.
#[derive(Debug, Parser)]
#[command(name = "sockeye", version, after_help = exit::HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    // Usage errors end here with status 2, `--help` with 0.
    let arguments = Arguments::parse();
    let mut output = Output::stdout(arguments.command.format());
    let result = arguments.command.run(&mut output);
    exit::finish(result, &mut output)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }
}
