//! `cargo xtask release`: the crates go to crates.io and the commit gets its tag, once everything that can be checked before has been.

use anyhow::{Context as _, Result, ensure};

use crate::package::{self, SemverArguments};
use crate::process::Process;
use crate::{deny, workspace};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Upload and tag; without it everything before that is done
    #[arg(long)]
    publish: bool,
}

/// Checks what is to be released, and with `--publish` releases it.
///
/// # Errors
/// When the tree has changes, the changelog does not know the version, the version was released before, or a check fails.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let version = version()?;
    let tag = format!("v{version}");
    let changes = output(&Process::new("git").words("status --porcelain"))?;
    ensure!(
        changes.is_empty(),
        "there are changes that no commit has:\n{changes}"
    );
    let tags = output(&Process::new("git").words("tag --list").argument(&tag))?;
    ensure!(
        tags.is_empty(),
        "{tag} was released before: raise `version` in Cargo.toml"
    );
    let file = workspace::root().join("docs/CHANGELOG.md");
    let changelog = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    ensure!(
        has_section(&changelog, &version),
        "docs/CHANGELOG.md has no section [{version}]: what is under [Unreleased] belongs there"
    );
    deny::deny()?;
    package::package()?;
    package::semver(&SemverArguments::default())?;
    Process::cargo("publish --workspace --locked --dry-run").run()?;
    if !arguments.publish {
        eprintln!("release: {version} could be released; nothing was uploaded (--publish does that)");
        return Ok(());
    }
    Process::cargo("publish --workspace --locked").run()?;
    Process::new("git")
        .words("tag --annotate --message")
        .argument(&version)
        .argument(&tag)
        .run()
}

/// The version that all packages of the workspace have.
fn version() -> Result<String> {
    let text = std::fs::read_to_string(workspace::root().join("Cargo.toml")).context("Cargo.toml")?;
    let manifest: toml::Table = toml::from_str(&text).context("Cargo.toml")?;
    let version = manifest
        .get("workspace")
        .and_then(|workspace| workspace.get("package")?.get("version")?.as_str());
    Ok(version
        .context("Cargo.toml: no workspace.package.version")?
        .to_owned())
}

/// Whether a heading names the version, as Keep a Changelog has it.
fn has_section(changelog: &str, version: &str) -> bool {
    let heading = format!("## [{version}]");
    changelog.lines().any(|line| line.starts_with(&heading))
}

fn output(process: &Process) -> Result<String> {
    let output = process
        .command()
        .output()
        .with_context(|| format!("start {process}"))?;
    ensure!(
        output.status.success(),
        "{process}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_has_to_have_its_section() {
        let changelog = "# Changelog\n\n## [Unreleased]\n\n## [0.1.0] - 2026-11-28\n";
        assert!(has_section(changelog, "0.1.0"));
        assert!(!has_section(changelog, "0.1") && !has_section(changelog, "0.2.0"));
    }

    #[test]
    fn the_workspace_has_one_version() {
        let version = version().unwrap();
        assert_eq!(version.split('.').count(), 3, "{version}");
    }
}
