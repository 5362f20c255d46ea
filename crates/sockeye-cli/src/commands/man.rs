//! `sockeye man [DIR]`: the manual, made from the help texts.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_mangen::Man;

use crate::exit::Exit;
use crate::output::Output;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:\n\
\x20 sockeye man | man -l -\n\
\x20 sockeye man ~/.local/share/man/man1")]
pub(crate) struct Arguments {
    /// Write sockeye.1 and a page for each command there; the folder is made if there is none
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// Prints the first page, or writes them all and says which.
///
/// # Errors
/// When the folder or a page cannot be written.
pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<Exit> {
    let command = crate::Arguments::command().disable_help_subcommand(true);
    let Some(folder) = &arguments.folder else {
        output.file(&page(command).1)?;
        return Ok(Exit::Success);
    };
    std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    let mut command = command;
    // Gives the subcommands their full names.
    command.build();
    for (name, text) in pages(&command) {
        write(folder, &name, &text, output)?;
    }
    Ok(Exit::Success)
}

fn write(folder: &Path, name: &str, text: &[u8], output: &mut Output) -> anyhow::Result<()> {
    let path = folder.join(name);
    std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    output.line(path.display())?;
    Ok(())
}

/// The pages of a command and of those below it.
fn pages(command: &clap::Command) -> Vec<(String, Vec<u8>)> {
    let mut all = vec![page(command.clone())];
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        all.extend(pages(below));
    }
    all
}

/// Its file name and text.
fn page(command: clap::Command) -> (String, Vec<u8>) {
    let command = command.version(env!("CARGO_PKG_VERSION"));
    let man = Man::new(command)
        .manual("Sockeye")
        .source(concat!("sockeye ", env!("CARGO_PKG_VERSION")));
    let mut text = Vec::new();
    // Writing to a Vec does not fail.
    let _ = man.render(&mut text);
    (man.get_filename(), text)
}
