//! `cargo xtask deny`: what dependencies may be, by `deny.toml`: licences, sources, bans, and advisories.
//!
//! cargo-deny does all of it. Where it is not installed, which takes many minutes, licences, sources and bans are checked here from
//! what `cargo metadata` says, with the same file and the parser of licence expressions that cargo-deny uses.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use spdx::{Expression, Licensee, ParseMode};

use crate::package::skipped;
use crate::process::Process;
use crate::workspace;

/// The part of `deny.toml` that is checked here.
#[derive(Debug, Deserialize)]
struct Rules {
    graph: Graph,
    licenses: Licenses,
    bans: Bans,
    sources: Sources,
}

#[derive(Debug, Deserialize)]
struct Graph {
    targets: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Bans {
    deny: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    allow_registry: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    /// `None`: a package of this workspace.
    source: Option<String>,
}

/// Checks every dependency.
///
/// # Errors
/// When one is not what it may be.
pub(crate) fn deny() -> Result<()> {
    if Command::new("cargo-deny").arg("--version").output().is_ok() {
        let process = Process::cargo("deny --offline check");
        // Without a copy of the database there is nothing to check against, and a build does not wait for the network.
        return if has_advisories() {
            process
                .words("--disable-fetch bans licenses sources advisories")
                .run()
        } else {
            eprintln!(
                "skipped: needs a database of advisories (install: cargo deny fetch): advisories are not checked"
            );
            process.words("bans licenses sources").run()
        };
    }
    skipped(
        "cargo-deny",
        "licences, sources and bans are checked without it, advisories are not",
    );
    let path = workspace::root().join("deny.toml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let rules: Rules = toml::from_str(&text).with_context(|| format!("parse {}", path.display()))?;
    let mut packages = BTreeMap::new();
    for target in &rules.graph.targets {
        for package in metadata(target)?.packages {
            packages.insert((package.name.clone(), package.version.clone()), package);
        }
    }
    let packages: Vec<Package> = packages.into_values().collect();
    for line in duplicates(&packages) {
        eprintln!("note: several versions: {line}");
    }
    let faults = faults(&packages, &rules)?;
    ensure!(faults.is_empty(), "{}", faults.join("\n       "));
    eprintln!("{} packages in order", packages.len());
    Ok(())
}

fn has_advisories() -> bool {
    let home = std::env::var_os("CARGO_HOME").map(std::path::PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    home.is_some_and(|home| home.join("advisory-dbs").is_dir())
}

fn metadata(target: &str) -> Result<Metadata> {
    let process = Process::cargo("metadata --format-version 1 --locked --all-features --filter-platform")
        .argument(target);
    let output = process
        .command()
        .output()
        .with_context(|| format!("start {process}"))?;
    if !output.status.success() {
        bail!("{process}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("read cargo metadata")
}

/// What is wrong, a line each.
///
/// # Errors
/// When the rules name a licence that nobody knows.
fn faults(packages: &[Package], rules: &Rules) -> Result<Vec<String>> {
    let licensee = |name: &String| {
        Licensee::parse(name).map_err(|error| anyhow::anyhow!("deny.toml: {name}: {}", error.reason))
    };
    let allowed = rules
        .licenses
        .allow
        .iter()
        .map(licensee)
        .collect::<Result<Vec<_>>>()?;
    let mut faults = Vec::new();
    for package in packages {
        let Package { name, version, .. } = package;
        let mut fault = |what: String| faults.push(format!("{name} {version}: {what}"));
        if !is_allowed(package.license.as_deref(), &allowed) {
            let license = package.license.as_deref().unwrap_or("none");
            fault(format!("its licence is not allowed: {license}"));
        }
        if rules.bans.deny.contains(name) {
            fault("it is banned".to_owned());
        }
        if let Some(source) = &package.source {
            let registry = source.strip_prefix("registry+").unwrap_or(source);
            if !rules
                .sources
                .allow_registry
                .iter()
                .any(|allowed| allowed == registry)
            {
                fault(format!("it comes from {source}"));
            }
        }
    }
    Ok(faults)
}

/// Whether the allowed licences are enough for this expression; an old one with slashes counts as one with OR.
fn is_allowed(license: Option<&str>, allowed: &[Licensee]) -> bool {
    let Some(license) = license else { return false };
    Expression::parse_mode(license, ParseMode::LAX).is_ok_and(|expression| {
        expression.evaluate(|wanted| allowed.iter().any(|license| license.satisfies(wanted)))
    })
}

/// Packages of which there are several versions.
fn duplicates(packages: &[Package]) -> Vec<String> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in packages {
        versions
            .entry(&package.name)
            .or_default()
            .insert(&package.version);
    }
    let line = |(name, versions): (&str, BTreeSet<&str>)| {
        let versions: Vec<&str> = versions.into_iter().collect();
        (versions.len() > 1).then(|| format!("{name} {}", versions.join(", ")))
    };
    versions.into_iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        let text = std::fs::read_to_string(workspace::root().join("deny.toml")).unwrap();
        toml::from_str(&text).unwrap()
    }

    fn package(license: Option<&str>) -> Package {
        Package {
            name: "salmon".to_owned(),
            version: "1.0.0".to_owned(),
            license: license.map(str::to_owned),
            source: Some("registry+https://github.com/rust-lang/crates.io-index".to_owned()),
        }
    }

    #[test]
    fn a_licence_is_one_of_those_that_are_allowed() {
        for (license, is_fine) in [
            (Some("MIT"), true),
            (Some("GPL-3.0-only"), false),
            (Some("GPL-3.0-only OR MIT"), true),
            (Some("MIT AND GPL-3.0-only"), false),
            (Some("Unlicense/MIT"), true),
            (Some("Apache-2.0 WITH LLVM-exception"), true),
            (Some("not a licence"), false),
            (None, false),
        ] {
            let faults = faults(&[package(license)], &rules()).unwrap();
            assert_eq!(faults.is_empty(), is_fine, "{license:?}: {faults:?}");
        }
    }

    #[test]
    fn other_sources_and_banned_names_are_faults() {
        let git = Package {
            source: Some("git+https://example.com/salmon".to_owned()),
            ..package(Some("MIT"))
        };
        let banned = Package {
            name: "openssl-sys".to_owned(),
            ..package(Some("MIT"))
        };
        let faults = faults(&[git, banned], &rules()).unwrap();
        assert_eq!(
            faults,
            [
                "salmon 1.0.0: it comes from git+https://example.com/salmon",
                "openssl-sys 1.0.0: it is banned"
            ]
        );
    }

    #[test]
    fn several_versions_of_one_are_listed() {
        let older = Package {
            version: "0.9.0".to_owned(),
            ..package(None)
        };
        assert_eq!(duplicates(&[package(None), older]), ["salmon 0.9.0, 1.0.0"]);
        assert_eq!(duplicates(&[package(None)]), [""; 0]);
    }
}
