//! `cargo xtask deb`: the Debian package of the program, by cargo-deb and the metadata in `crates/sockeye-cli/Cargo.toml`.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::process::Process;
use crate::running::{PROGRAM, Profile};
use crate::{install, workspace};

/// What the package takes its files from; the metadata names it too.
const STAGE: &str = "target/package/usr";

/// Builds the program, stages what comes with it, strips and packs.
///
/// # Errors
/// When a step fails; without cargo-deb.
pub(crate) fn run() -> Result<()> {
    ensure!(
        Command::new("cargo-deb").arg("--version").output().is_ok(),
        "cargo-deb is not installed; install it with: cargo install cargo-deb"
    );
    Process::cargo("build --release --locked --package sockeye-cli").run()?;
    let stage = workspace::root().join(STAGE);
    if stage.exists() {
        // Pages of commands that are no more.
        std::fs::remove_dir_all(&stage).with_context(|| format!("remove {}", stage.display()))?;
    }
    install::install(&stage, &Profile::Release.executable(PROGRAM))?;
    Process::new("cargo-deb")
        .words("--package sockeye-cli --no-build --locked --strip")
        .run()
}
