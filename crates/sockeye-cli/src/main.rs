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
#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "the comments of arguments are help texts, where brackets are brackets"
)]

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
    let arguments = Arguments::try_parse().unwrap_or_else(|error| wrong_usage(&error));
    let mut output = Output::stdout(arguments.command.format());
    let result = arguments.command.run(&mut output);
    exit::finish(result, &mut output)
}

/// Ends the program as clap does; whoever asked for events gets one, as of every other error.
fn wrong_usage(error: &clap::Error) -> ! {
    if error.use_stderr() && std::env::args_os().any(|word| word == "--json") {
        let text = error.to_string();
        let message: Vec<&str> = text
            .lines()
            .take_while(|line| !line.is_empty())
            .map(str::trim)
            .collect();
        let message = message.join(" ");
        let message = message.strip_prefix("error: ").unwrap_or(&message);
        // The words on stderr and the status say it too.
        let _ = Output::stdout(output::Format { json: true }).failed(message, exit::Exit::Usage);
    }
    error.exit()
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
