//! `cargo xtask install --prefix DIR`: the program, its completions and its manual where a system looks for them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::process::Process;
use crate::running::{PROGRAM, Profile};

/// Where the completions of each shell belong, below the prefix.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "share/bash-completion/completions/sockeye"),
    ("zsh", "share/zsh/site-functions/_sockeye"),
    ("fish", "share/fish/vendor_completions.d/sockeye.fish"),
];
const MANUAL: &str = "share/man/man1";

/// Where to.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The folder to install below: /usr/local, ~/.local, or the root of a package with /usr behind it
    #[arg(long, value_name = "DIR")]
    prefix: PathBuf,
    /// Install this program instead of building one in release
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

/// Builds, copies, and says what it has installed.
///
/// # Errors
/// When the program does not build or run, or a file cannot be written.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let built = match &arguments.program {
        Some(program) => program.clone(),
        None => {
            Process::cargo("build --release --locked --package sockeye-cli").run()?;
            Profile::Release.executable(PROGRAM)
        }
    };
    install(&arguments.prefix, &built)
}

/// Installs a program that is built below a folder, and says what it has installed.
///
/// # Errors
/// When it does not run, or a file cannot be written.
#[expect(
    clippy::print_stdout,
    reason = "the list of what is installed is this command's data"
)]
pub(crate) fn install(prefix: &Path, built: &Path) -> Result<()> {
    let program = prefix.join("bin/sockeye");
    prepare(&program)?;
    // A program that runs cannot be written to, but replaced.
    let fresh = program.with_extension("new");
    std::fs::copy(built, &fresh)
        .with_context(|| format!("copy {} to {}", built.display(), fresh.display()))?;
    std::fs::rename(&fresh, &program).with_context(|| format!("write {}", program.display()))?;
    println!("{}", program.display());
    for (shell, place) in COMPLETIONS {
        let path = prefix.join(place);
        prepare(&path)?;
        std::fs::write(&path, said(&program, &["completions", shell])?)
            .with_context(|| format!("write {}", path.display()))?;
        println!("{}", path.display());
    }
    let manual = prefix.join(MANUAL);
    let folder = manual.to_str().context("the prefix is not UTF-8")?;
    print!("{}", String::from_utf8_lossy(&said(&program, &["man", folder])?));
    Ok(())
}

fn prepare(path: &Path) -> Result<()> {
    let folder = path.parent().context("no folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))
}

/// What the installed program writes to its stdout.
fn said(program: &Path, words: &[&str]) -> Result<Vec<u8>> {
    // A relative path without a slash would be looked for on the PATH.
    let program = std::path::absolute(program).context("the current folder is gone")?;
    let output = Command::new(&program)
        .args(words)
        .output()
        .with_context(|| format!("start {}", program.display()))?;
    if !output.status.success() {
        bail!(
            "{} {}: {}: {}",
            program.display(),
            words.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(output.stdout)
}
