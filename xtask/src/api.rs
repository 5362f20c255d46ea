//! `cargo xtask api`: what each library offers, a line an item: to be read with a stranger's eyes, and compared by `diff`.
//!
//! rustdoc's JSON is for nightly toolchains only, so the stable one is told to take itself for one.

use std::io::{self, Write as _};

use anyhow::{Context as _, Result, ensure};

use crate::process::Process;
use crate::workspace::{self, Workspace};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only the libraries with this in their name: `udp`, `event-loop`
    name: Option<String>,
}

/// Prints the public items of the libraries with all features, without what is derived.
///
/// # Errors
/// When a library does not compile, no name fits, or this toolchain's JSON is of another version.
pub(crate) fn run(arguments: &Arguments, workspace: &Workspace) -> Result<()> {
    let wanted = arguments.name.as_deref().unwrap_or_default();
    // The program has no library.
    let libraries = workspace
        .packages()
        .iter()
        .filter(|package| package.is_public && package.name != "sockeye-cli")
        .filter(|package| package.name.contains(wanted));
    let mut count = 0;
    for library in libraries {
        count += 1;
        for line in items(&library.name)? {
            match writeln!(io::stdout(), "{line}") {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                outcome => outcome.context("write to stdout")?,
            }
        }
    }
    ensure!(count > 0, "no library has {wanted:?} in its name");
    Ok(())
}

fn items(library: &str) -> Result<Vec<String>> {
    Process::cargo("rustdoc --quiet --all-features --package")
        .argument(library)
        .words("-- -Z unstable-options --output-format json --cap-lints allow")
        .with("RUSTC_BOOTSTRAP", "1")
        .run()?;
    let file = workspace::target_folder()
        .join("doc")
        .join(library.replace('-', "_"))
        .with_extension("json");
    let api = public_api::Builder::from_rustdoc_json(&file)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()
        .with_context(|| format!("read {}", file.display()))?;
    Ok(api.items().map(ToString::to_string).collect())
}
