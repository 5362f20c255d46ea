//! `sockeye completions SHELL`: what a shell needs to complete the words of the command line.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::exit::Exit;
use crate::output::Output;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:\n\
\x20 sockeye completions bash > ~/.local/share/bash-completion/completions/sockeye\n\
\x20 sockeye completions zsh > ~/.zfunc/_sockeye      (a folder of $fpath)\n\
\x20 sockeye completions fish > ~/.config/fish/completions/sockeye.fish")]
pub(crate) struct Arguments {
    /// Which shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Prints them.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut crate::Arguments::command(),
        "sockeye",
        &mut script,
    );
    output.file(&script)?;
    Ok(Exit::Success)
}
