//! `cargo xtask package`: every crate that is meant for crates.io is packed as `cargo publish` would pack it, and the list of its
//! files is looked at. `cargo xtask semver`: what changed in their APIs since a baseline.

use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use crate::process::Process;
use crate::workspace;

/// Files without which nobody may use a package, or knows what it is.
const WANTED: [&str; 5] = [
    "Cargo.toml",
    "Cargo.toml.orig",
    "README.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
];
/// What the package of a crate may have besides: its sources, and what its tests and examples read.
const FOLDERS: [&str; 5] = ["src/", "tests/", "examples/", "benches/", "data/"];
/// Files that cargo adds.
const ADDED: [&str; 2] = [".cargo_vcs_info.json", "Cargo.lock"];

#[derive(Debug, Default, clap::Args)]
pub(crate) struct SemverArguments {
    /// A tag, a branch or a commit [default: the last tag, else the branch main]
    #[arg(long, value_name = "REV")]
    baseline: Option<String>,
}

/// What `cargo metadata` says of a package, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Described {
    name: String,
    description: Option<String>,
    license: Option<String>,
    readme: Option<String>,
    /// `None`: to any registry; empty: to none.
    publish: Option<Vec<String>>,
    manifest_path: String,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Described>,
}

/// Packs every crate for crates.io without building it, and checks what is packed.
///
/// # Errors
/// When cargo refuses one, a file is missing or too many, or a package would be published that should not be.
pub(crate) fn package() -> Result<()> {
    let packages = described()?;
    let mut faults = Vec::new();
    let mut process = Process::cargo("package --quiet --no-verify --offline --locked --allow-dirty");
    for package in &packages {
        faults.extend(of_manifest(package));
        if package.publish.is_none() {
            faults.extend(of_files(&package.name, &files(&package.name)?));
            process = process.words("--package").argument(&package.name);
        }
    }
    ensure!(faults.is_empty(), "{}", faults.join("\n       "));
    process.run()
}

/// Compares the APIs of the libraries with those of the baseline, by cargo-semver-checks; where it is not installed that is said.
///
/// # Errors
/// When an API changed more than the version says.
pub(crate) fn semver(arguments: &SemverArguments) -> Result<()> {
    if Command::new("cargo-semver-checks")
        .arg("--version")
        .output()
        .is_err()
    {
        skipped("cargo-semver-checks", "the APIs are not compared");
        return Ok(());
    }
    let baseline = match &arguments.baseline {
        Some(baseline) => baseline.clone(),
        None => last_tag()?.unwrap_or_else(|| "main".to_owned()),
    };
    let mut process = Process::cargo("semver-checks check-release --baseline-rev").argument(baseline);
    for package in described()? {
        // The program has no API.
        if package.publish.is_none() && package.name != "sockeye-cli" {
            process = process.words("--package").argument(package.name);
        }
    }
    process.run()
}

/// Says that a tool is missing, in the form in which tests say it.
pub(crate) fn skipped(tool: &str, consequence: &str) {
    eprintln!("skipped: needs {tool} (install: cargo install --locked {tool}): {consequence}");
}

fn last_tag() -> Result<Option<String>> {
    let output = Process::new("git")
        .words("describe --tags --abbrev=0")
        .command()
        .output()
        .context("start git")?;
    let tag = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok((output.status.success() && !tag.is_empty()).then_some(tag))
}

fn described() -> Result<Vec<Described>> {
    let process = Process::cargo("metadata --format-version 1 --no-deps --offline --locked");
    let output = process
        .command()
        .output()
        .with_context(|| format!("start {process}"))?;
    if !output.status.success() {
        bail!("{process}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("read cargo metadata")?;
    Ok(metadata.packages)
}

/// The files that would be packed.
fn files(package: &str) -> Result<Vec<String>> {
    let process =
        Process::cargo("package --list --offline --locked --allow-dirty --package").argument(package);
    let output = process
        .command()
        .output()
        .with_context(|| format!("start {process}"))?;
    if !output.status.success() {
        bail!("{process}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let listed = String::from_utf8_lossy(&output.stdout);
    Ok(listed.lines().map(str::to_owned).collect())
}

/// Crates for users lie under `crates/` and can be published; nothing else can.
fn of_manifest(package: &Described) -> Vec<String> {
    let path = &package.manifest_path;
    let below = path
        .strip_prefix(&*workspace::root().to_string_lossy())
        .unwrap_or(path);
    let is_ours = below.starts_with("/crates/");
    let mut faults = Vec::new();
    match (is_ours, package.publish.as_deref()) {
        (true, None) | (false, Some([])) => {}
        (true, Some(_)) => faults.push("is under crates/ and cannot be published"),
        (false, _) => faults.push("is for this workspace alone: publish = false"),
    }
    if is_ours {
        let missing = [
            (&package.description, "has no description"),
            (&package.license, "has no license"),
            (&package.readme, "has no readme"),
        ];
        faults.extend(
            missing
                .iter()
                .filter(|(field, _)| field.is_none())
                .map(|(_, fault)| *fault),
        );
    }
    faults
        .iter()
        .map(|fault| format!("{}: {fault}", package.name))
        .collect()
}

/// What is missing in a package, and what does not belong there.
fn of_files(package: &str, files: &[String]) -> Vec<String> {
    let missing = WANTED
        .iter()
        .filter(|wanted| !files.iter().any(|file| file == *wanted))
        .map(|wanted| format!("{package}: {wanted} is not in the package"));
    let strange = files.iter().filter(|file| {
        let expected = WANTED.contains(&file.as_str()) || ADDED.contains(&file.as_str());
        !expected && !FOLDERS.iter().any(|folder| file.starts_with(folder))
    });
    let strange = strange.map(|file| format!("{package}: {file} does not belong into the package"));
    missing.chain(strange).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(path: &str, publish: Option<Vec<String>>) -> Described {
        Described {
            name: "salmon".to_owned(),
            description: Some("Fish.".to_owned()),
            license: Some("MIT".to_owned()),
            readme: Some("README.md".to_owned()),
            publish,
            manifest_path: workspace::root().join(path).to_string_lossy().into_owned(),
        }
    }

    #[test]
    fn crates_are_published_and_tools_are_not() {
        let faults = |path, publish| of_manifest(&described(path, publish));
        assert_eq!(faults("crates/salmon/Cargo.toml", None), [""; 0]);
        assert_eq!(faults("xtask/Cargo.toml", Some(Vec::new())), [""; 0]);
        assert_eq!(faults("crates/salmon/Cargo.toml", Some(Vec::new())).len(), 1);
        assert_eq!(faults("xtask/Cargo.toml", None).len(), 1);
        let bare = Described {
            readme: None,
            license: None,
            ..described("crates/salmon/Cargo.toml", None)
        };
        assert_eq!(
            of_manifest(&bare),
            ["salmon: has no license", "salmon: has no readme"]
        );
    }

    #[test]
    fn a_package_has_its_licences_and_no_strangers() {
        let of = |files: &[&str]| {
            let files: Vec<String> = files.iter().map(|file| (*file).to_owned()).collect();
            of_files("salmon", &files)
        };
        let whole = [&WANTED[..], &ADDED, &["src/lib.rs", "tests/it.rs"]].concat();
        assert_eq!(of(&whole), [""; 0]);
        assert_eq!(of(&whole[1..]), ["salmon: Cargo.toml is not in the package"]);
        let more = [&whole[..], &["capture.pcap"]].concat();
        assert_eq!(
            of(&more),
            ["salmon: capture.pcap does not belong into the package"]
        );
    }
}
