//! The files of the workspace as text in memory.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};

/// Folders that hold what tools have made.
const GENERATED: &[&str] = &["target", ".git", "corpus", "artifacts", "proptest-regressions"];

/// Path below the root, with `/`, to text. What is not UTF-8 is left out.
#[derive(Debug, Clone, Default)]
pub(super) struct Tree {
    files: BTreeMap<String, String>,
}

impl Tree {
    /// Reads what is on the disk.
    ///
    /// # Errors
    /// When a folder or file cannot be read.
    pub(super) fn load(root: &Path) -> Result<Self> {
        let mut tree = Self::default();
        tree.add_folder(root, "")?;
        Ok(tree)
    }

    fn add_folder(&mut self, folder: &Path, prefix: &str) -> Result<()> {
        let entries = std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{prefix}{name}");
            let kind = entry.file_type()?;
            // `.git` is a file in a worktree of git's.
            if GENERATED.contains(&name.as_str()) {
                continue;
            }
            if kind.is_dir() {
                self.add_folder(&entry.path(), &format!("{path}/"))?;
            } else if kind.is_file() {
                let bytes = std::fs::read(entry.path()).with_context(|| format!("read {path}"))?;
                if let Ok(text) = String::from_utf8(bytes) {
                    self.files.insert(path, text);
                }
            }
        }
        Ok(())
    }

    /// A tree of these files, for tests.
    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        Self {
            files: files
                .iter()
                .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
                .collect(),
        }
    }

    /// What a check finds more in the tree on the disk once one of its files is changed, for tests.
    #[cfg(test)]
    pub(super) fn found_after(
        check: super::Check,
        path: &str,
        change: impl FnOnce(&str) -> String,
    ) -> Vec<super::Finding> {
        let before = Self::load(crate::workspace::root()).unwrap();
        let mut after = before.clone();
        let text = change(before.text(path).unwrap());
        assert_ne!(
            Some(text.as_str()),
            before.text(path),
            "the change changes something"
        );
        after.files.insert(path.to_owned(), text);
        let known = check(&before);
        check(&after)
            .into_iter()
            .filter(|found| !known.contains(found))
            .collect()
    }

    /// The text of one file.
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// All files, in the order of their paths.
    pub(super) fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The Rust files.
    pub(super) fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files().filter(|(path, _)| path.ends_with(".rs"))
    }

    /// The manifests of packages, each with the folder it lies in and as a table (empty where it is no TOML,
    /// which cargo says better).
    pub(super) fn manifests(&self) -> impl Iterator<Item = Manifest> {
        self.files().filter_map(|(path, text)| {
            let folder = path.strip_suffix("/Cargo.toml")?;
            Some(Manifest {
                path: path.to_owned(),
                folder: folder.to_owned(),
                table: text.parse().unwrap_or_default(),
            })
        })
    }
}

/// One package's manifest.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) path: String,
    pub(super) folder: String,
    pub(super) table: toml::Table,
}

impl Manifest {
    /// The package's name.
    pub(super) fn name(&self) -> &str {
        self.field("name")
            .and_then(toml::Value::as_str)
            .unwrap_or_default()
    }

    /// A field of `[package]`.
    pub(super) fn field(&self, name: &str) -> Option<&toml::Value> {
        self.table.get("package")?.get(name)
    }

    /// Whether it lies under `crates/`: what users see.
    pub(super) fn is_public(&self) -> bool {
        self.folder.starts_with("crates/")
    }

    /// The names in the dependency tables of that kind (`dependencies`, `dev-dependencies`,
    /// `build-dependencies`), those for single platforms included.
    pub(super) fn dependencies(&self, kind: &str) -> Vec<&str> {
        let platforms = self.table.get("target").and_then(toml::Value::as_table);
        let tables = platforms
            .into_iter()
            .flat_map(|platforms| platforms.values())
            .filter_map(|platform| platform.get(kind));
        self.table
            .get(kind)
            .into_iter()
            .chain(tables)
            .filter_map(toml::Value::as_table)
            .flat_map(|table| {
                table
                    .iter()
                    .map(|(name, value)| value.get("package").and_then(toml::Value::as_str).unwrap_or(name))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_found_wherever_a_manifest_may_state_them() {
        let tree = Tree::of(&[(
            "crates/a/Cargo.toml",
            "[package]\nname = 'a'\n[dependencies]\nb = '1'\nc.workspace = true\nd = { package = 'real-d', version = '1' }\n\
             [target.'cfg(unix)'.dependencies]\ne = '1'\n[dev-dependencies]\nf = '1'",
        )]);
        let manifest = tree.manifests().next().unwrap();
        assert_eq!(manifest.name(), "a");
        assert_eq!(manifest.dependencies("dependencies"), ["b", "c", "real-d", "e"]);
        assert_eq!(manifest.dependencies("dev-dependencies"), ["f"]);
    }
}
