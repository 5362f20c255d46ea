//! The packages of the workspace, read from their manifests.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// Where the workspace is.
pub(crate) fn root() -> &'static Path {
    // xtask sits one level below it.
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
}

/// Where cargo puts what it builds.
pub(crate) fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |folder| root().join(folder))
}

/// The packages, in the order of their folders' names.
#[derive(Debug)]
pub(crate) struct Workspace {
    packages: Vec<Package>,
    /// The integration tests: the stems of `tests/tests/*.rs`.
    test_targets: Vec<String>,
}

/// One package.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// Whether it lies under `crates/`: what users see.
    pub(crate) is_public: bool,
}

impl Workspace {
    /// Reads what is on the disk.
    ///
    /// # Errors
    /// When a manifest cannot be read or has no name.
    pub(crate) fn load() -> Result<Self> {
        let mut packages = Vec::new();
        for folder in sorted(&root().join("crates"))? {
            if folder.join("Cargo.toml").is_file() {
                packages.push(Package {
                    name: name_of(&folder)?,
                    is_public: true,
                });
            }
        }
        for folder in ["xtask", "tests", "benches", "docs"] {
            packages.push(Package {
                name: name_of(&root().join(folder))?,
                is_public: false,
            });
        }
        Ok(Self {
            packages,
            test_targets: targets(&root().join("tests/tests"))?,
        })
    }

    /// All packages.
    pub(crate) fn packages(&self) -> &[Package] {
        &self.packages
    }

    /// What `test udp` means: the package of that area, if there is one, and the integration tests that carry
    /// its name.
    ///
    /// # Errors
    /// When nothing goes by that name; the message lists what does.
    pub(crate) fn area(&self, name: &str) -> Result<Area<'_>> {
        let dashed = name.replace('_', "-");
        let prefix = format!("sockeye-{dashed}");
        let package = self.packages.iter().find(|package| {
            package.name == dashed
                || package
                    .name
                    .strip_prefix(&prefix)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        });
        let word = name.replace('-', "_");
        let tests: Vec<&str> = self
            .test_targets
            .iter()
            .map(String::as_str)
            .filter(|stem| has_word(stem, &word))
            .collect();
        if package.is_none() && tests.is_empty() {
            let packages = self.packages.iter().map(|package| package.name.as_str());
            let known: Vec<_> = packages
                .chain(self.test_targets.iter().map(String::as_str))
                .collect();
            bail!(
                "no package and no test is called {name}; there are: {}",
                known.join(", ")
            );
        }
        Ok(Area {
            package: package.map(|package| package.name.as_str()),
            tests,
        })
    }
}

/// A part of the workspace under one name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Area<'a> {
    pub(crate) package: Option<&'a str>,
    pub(crate) tests: Vec<&'a str>,
}

/// Whether `word` is one or several whole words of the snake-case `name`.
fn has_word(name: &str, word: &str) -> bool {
    format!("_{name}_").contains(&format!("_{word}_"))
}

fn name_of(folder: &Path) -> Result<String> {
    let path = folder.join("Cargo.toml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let manifest: toml::Table = text
        .parse()
        .with_context(|| format!("parse {}", path.display()))?;
    let name = manifest
        .get("package")
        .and_then(|package| package.get("name"))
        .and_then(toml::Value::as_str);
    name.map(str::to_owned)
        .with_context(|| format!("{} names no package", path.display()))
}

/// The targets in a folder, as cargo finds them: `NAME.rs` and `NAME/main.rs`; none where there is no folder.
pub(crate) fn targets(folder: &Path) -> Result<Vec<String>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let paths = sorted(folder)?;
    let is_target = |path: &&PathBuf| {
        path.extension().is_some_and(|ending| ending == "rs") || path.join("main.rs").is_file()
    };
    Ok(paths
        .iter()
        .filter(is_target)
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect())
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    let mut paths = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Workspace {
        let names = [
            "sockeye",
            "sockeye-event-loop",
            "sockeye-socket",
            "sockeye-udp-datagram",
            "sockeye-tests",
        ];
        let packages = names
            .iter()
            .map(|name| Package {
                name: (*name).to_owned(),
                is_public: true,
            })
            .collect();
        let tests = [
            "event_loop",
            "event_loop_udp",
            "interop_udp",
            "prop_udp",
            "udpish",
        ];
        Workspace {
            packages,
            test_targets: tests.map(str::to_owned).to_vec(),
        }
    }

    #[test]
    fn an_area_is_a_package_and_the_tests_with_its_name() {
        let workspace = example();
        let area = workspace.area("udp").unwrap();
        assert_eq!(area.package, Some("sockeye-udp-datagram"));
        assert_eq!(area.tests, ["event_loop_udp", "interop_udp", "prop_udp"]);
        let area = workspace.area("event-loop").unwrap();
        assert_eq!(area.package, Some("sockeye-event-loop"));
        assert_eq!(area.tests, ["event_loop", "event_loop_udp"]);
        let area = workspace.area("interop").unwrap();
        assert_eq!((area.package, area.tests), (None, vec!["interop_udp"]));
        assert_eq!(workspace.area("sockeye").unwrap().package, Some("sockeye"));
        assert_eq!(workspace.area("sock").ok(), None);
    }

    #[test]
    fn an_unknown_area_lists_the_known_ones() {
        let error = example().area("sctp").unwrap_err().to_string();
        assert!(
            error.contains("sctp") && error.contains("sockeye-udp-datagram") && error.contains("interop_udp")
        );
    }

    #[test]
    fn targets_are_files_and_folders_with_a_main() {
        let folder = std::env::temp_dir().join(format!("sockeye-targets-{}", std::process::id()));
        for path in ["one.rs", "two/main.rs", "common/mod.rs", "notes.md"] {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let found = targets(&folder);
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(found.unwrap(), ["one", "two"]);
        assert_eq!(targets(&folder).unwrap(), [""; 0]);
    }

    #[test]
    fn the_real_workspace_loads() {
        let workspace = Workspace::load().unwrap();
        let public = workspace.packages().iter().filter(|package| package.is_public);
        assert!(public.clone().any(|package| package.name == "sockeye-endpoint"));
        assert!(
            workspace
                .packages()
                .iter()
                .any(|package| package.name == "xtask" && !package.is_public)
        );
    }
}
