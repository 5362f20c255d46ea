//! The `sockeye` program: what the crates can do, from a shell.
//!
//! | module | what |
//! |---|---|
//! | [`commands`] | one module a subcommand: its arguments and `run` |
//! | [`exit`] | every exit status, and which error gets which |
//! | [`everywhere`] | the options of every command |
//! | [`output`] | stdout as text or NDJSON; only the bytes of `connect` go around it |
//! | [`services`] | echo, discard, chargen: what `serve` serves and `bench` measures |
//! | [`talk`] | stdin and stdout with a peer: what `connect` and `listen` share |
//! | [`advice`], [`certificates`], [`identity`], [`secure`], [`files`] | TLS and files that the command line names |
//! | [`habits`] | tips for who knows other programs |
//! | [`metrics`] | `--metrics` of `relay`, `serve` and `ping`: HTTP, OpenMetrics, the status page |
//! | [`sparks`] | the last outcomes as one short line |
//! | `terminal` | the whole terminal for a view, given back on every way out (feature `terminal`) |
//! | [`privileges`] | capabilities that a command gives up once it has opened what needs them |
//! | [`confined`] | files and ports that are out of reach for what only serves |
//! | [`address`], [`names`], [`signals`], [`arguments`] | what several commands share |
//!
//! Data goes to stdout; progress, warnings and errors go to stderr.
#![forbid(unsafe_code)]
#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "the comments of arguments are help texts, where brackets are brackets"
)]

mod address;
#[cfg(feature = "tls")]
mod advice;
mod arguments;
#[cfg(feature = "tls")]
mod certificates;
mod commands;
mod confined;
mod everywhere;
mod exit;
mod files;
mod habits;
#[cfg(any(feature = "relay", feature = "tls"))]
mod identity;
#[cfg(feature = "metrics")]
mod metrics;
mod names;
mod output;
mod privileges;
mod probing;
mod reverse;
mod secure;
mod services;
mod signals;
mod sparks;
mod talk;
#[cfg(feature = "terminal")]
mod terminal;

use std::borrow::Cow;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser};

use commands::Command;
use output::{Output, escaped};

/// The sockets of the Internet from a shell: serve, connect, measure.
#[derive(Debug, Parser)]
#[command(name = "sockeye", version, after_help = exit::HELP)]
struct Arguments {
    #[command(flatten)]
    everywhere: everywhere::Everywhere,
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    // Usage errors end here with status 2, `--help` with 0.
    let color = wanted_color(std::env::args_os());
    let matches = Arguments::command()
        .color(color)
        .try_get_matches()
        .unwrap_or_else(|error| wrong_usage(error));
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| wrong_usage(error));
    let mut output = Output::stdout(arguments.command.format());
    let result = arguments
        .everywhere
        .apply()
        .and_then(|()| arguments.command.run(&mut output));
    exit::finish(result, &mut output)
}

/// What `--color` says: help and errors about the command line are printed before the rest of it is understood.
fn wanted_color(words: impl Iterator<Item = std::ffi::OsString>) -> clap::ColorChoice {
    let mut follows = false;
    for word in words {
        let word = word.to_string_lossy();
        let value = match word.strip_prefix("--color=") {
            Some(value) => value,
            None if follows => &*word,
            None => {
                follows = word == "--color";
                continue;
            }
        };
        return value.parse().unwrap_or_default();
    }
    clap::ColorChoice::Auto
}

/// Ends the program as clap does; whoever asked for events gets one, as of every other error.
fn wrong_usage(mut error: clap::Error) -> ! {
    let words: Vec<String> = std::env::args_os()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    habits::add_tips(&mut error, &words);
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
        let _ = Output::stdout(output::Format::JSON).failed(message, exit::Exit::Usage);
    }
    if words.iter().all(|word| matches!(escaped(word), Cow::Borrowed(_))) {
        error.exit();
    }
    // With the colours, as without them what looks like one in a word is gone too.
    for line in usage(&error.render().ansi().to_string(), &words) {
        output::warn(line);
    }
    std::process::exit(error.exit_code())
}

/// The lines of an error about a command line that has in it what a terminal would obey.
fn usage(text: &str, words: &[String]) -> Vec<String> {
    let mut text = text.to_owned();
    // Lines are told by line feeds, which the words may have too: first these.
    for word in words {
        let value = word.split_once('=').map_or(word.as_str(), |(_, value)| value);
        for said in [word, value] {
            if let Cow::Owned(safe) = escaped(said) {
                text = text.replace(said, &safe);
            }
        }
    }
    let mut plain = String::new();
    for (index, part) in text.split("\u{1b}[").enumerate() {
        // What is left of them are clap's own colours.
        let colour = part.find('m').filter(|_| index > 0).map_or(0, |end| end + 1);
        plain.push_str(part.get(colour..).unwrap_or_default());
    }
    plain.lines().map(|line| escaped(line).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn colours_are_known_before_the_rest() {
        let of = |words: &[&str]| wanted_color(words.iter().map(std::ffi::OsString::from));
        assert_eq!(
            of(&["sockeye", "ping", "--color", "never"]),
            clap::ColorChoice::Never
        );
        assert_eq!(
            of(&["sockeye", "--color=always", "ping"]),
            clap::ColorChoice::Always
        );
        assert_eq!(of(&["sockeye", "--color"]), clap::ColorChoice::Auto);
        assert_eq!(of(&["sockeye", "--color=red"]), clap::ColorChoice::Auto);
    }

    #[test]
    fn the_words_of_a_wrong_command_line_are_shown_on_its_line() {
        let words = ["--listen=tcp://\n\u{1b}[2J".to_owned()];
        let text =
            "\u{1b}[1;31merror:\u{1b}[0m invalid value 'tcp://\n\u{1b}[2J' for '--listen'\n\nUsage: sockeye";
        assert_eq!(
            usage(text, &words),
            [
                "error: invalid value 'tcp://\\n\\u{1b}[2J' for '--listen'",
                "",
                "Usage: sockeye"
            ]
        );
    }
}
