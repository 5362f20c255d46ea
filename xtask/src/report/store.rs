//! Results as files, below `target/sockeye/bench`.
//!
//! | file | what |
//! |---|---|
//! | `last.json` | the last run |
//! | `smoke.json` | the last run that measured nothing |
//! | `NAME.json` | a run that was kept by `--save NAME` |
//! | `latest/KIND.SECTION.json` | the last values of each kind and section: the page takes from here what a run has not measured |

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use super::model::{Results, SCHEMA, Section};
use crate::workspace::target_folder;

/// Where the results are.
pub(crate) fn folder() -> PathBuf {
    target_folder().join("sockeye/bench")
}

/// Names that the runs themselves use.
const RESERVED: [&str; 2] = ["last", "smoke"];

/// A name for [`path_of`].
///
/// # Errors
/// When it would leave the folder, or could not be typed.
fn check(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    ensure!(
        !name.is_empty() && !name.starts_with('.') && name.len() <= 100 && name.chars().all(plain),
        "a name of results has letters, digits, and -_. within it: {name:?} is not one"
    );
    Ok(())
}

/// A name that a run can be saved under.
///
/// # Errors
/// As [`check`], and when every run uses it.
pub(crate) fn check_new(name: &str) -> Result<()> {
    check(name)?;
    ensure!(
        !RESERVED.contains(&name),
        "{name}.json is written by each run: save this one under another name"
    );
    Ok(())
}

fn path_of(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.json"))
}

/// The run of that name.
///
/// # Errors
/// When there is none, it cannot be read, or it has another form. The message lists the names that there are.
pub(crate) fn load(folder: &Path, name: &str) -> Result<Results> {
    check(name)?;
    let path = path_of(folder, name);
    if !path.is_file() {
        let names = names(folder);
        let known = if names.is_empty() {
            "there are none: make one with --save".to_owned()
        } else {
            format!("there are: {}", names.join(", "))
        };
        bail!("no results are called {name}; {known}");
    }
    read(&path)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".json")?.to_owned()))
        .collect();
    names.sort();
    names
}

/// Results of a file.
///
/// # Errors
/// When it cannot be read, or has another form.
pub(crate) fn read(path: &Path) -> Result<Results> {
    let text = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let value: serde_json::Value =
        serde_json::from_slice(&text).with_context(|| format!("{} is no JSON", path.display()))?;
    let schema = value.get("schema").and_then(serde_json::Value::as_u64);
    ensure!(
        schema == Some(u64::from(SCHEMA)),
        "{} has schema {}, and this program reads {SCHEMA}: measure it again",
        path.display(),
        schema.map_or("unknown".to_owned(), |number| number.to_string())
    );
    serde_json::from_value(value).with_context(|| format!("{} has another form", path.display()))
}

/// Writes a run under a name, whole or not at all.
///
/// # Errors
/// The system's.
pub(crate) fn save(folder: &Path, name: &str, results: &Results) -> Result<PathBuf> {
    std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    let path = path_of(folder, name);
    write(&path, &serde_json::to_vec_pretty(results)?)?;
    Ok(path)
}

/// Writes a file beside its place and moves it there.
///
/// # Errors
/// The system's.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let beside = path.with_extension("part");
    std::fs::write(&beside, bytes).with_context(|| format!("write {}", beside.display()))?;
    std::fs::rename(&beside, path).with_context(|| format!("write {}", path.display()))
}

/// Each kind and section of a run as a file of its own.
///
/// # Errors
/// The system's.
pub(crate) fn keep_latest(folder: &Path, results: &Results) -> Result<()> {
    let mut parts: Vec<(String, Section)> = Vec::new();
    for measurement in &results.measurements {
        let part = (measurement.kind.clone(), measurement.section);
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    for (kind, section) in parts {
        let of_it = results
            .measurements
            .iter()
            .filter(|measurement| measurement.kind == kind && measurement.section == section);
        let part = Results {
            measurements: of_it.cloned().collect(),
            skipped: Vec::new(),
            ..results.clone()
        };
        save(
            &folder.join("latest"),
            &format!("{kind}.{}", section.name()),
            &part,
        )?;
    }
    Ok(())
}

/// The last values of what a run has not measured: an older run for each kind and section. What cannot be read is left out.
pub(crate) fn others(folder: &Path, results: &Results) -> Vec<Results> {
    let latest = folder.join("latest");
    let names = names(&latest);
    let older = names.iter().filter_map(|name| read(&path_of(&latest, name)).ok());
    older
        .filter(|part| {
            part.measurements.first().is_some_and(|first| {
                !results
                    .measurements
                    .iter()
                    .any(|own| own.kind == first.kind && own.section == first.section)
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::tests::example;
    use crate::report::model::{Machine, Role};

    fn results(kind: &str, value: f64) -> Results {
        let mut measurement = example("64 B", "sockeye", Role::Ours, value);
        measurement.kind = kind.to_owned();
        Results {
            schema: SCHEMA,
            smoke: false,
            command: format!("cargo xtask bench {kind}"),
            machine: Machine::default(),
            skipped: Vec::new(),
            measurements: vec![measurement],
        }
    }

    #[test]
    fn what_is_saved_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let saved = results("tcp", 7.0);
        save(folder.path(), "before", &saved).unwrap();
        assert_eq!(load(folder.path(), "before").unwrap(), saved);
    }

    #[test]
    fn a_baseline_that_cannot_be_used_is_an_error_that_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let error = |name: &str| format!("{:#}", load(folder.path(), name).unwrap_err());
        assert!(error("before").contains("there are none: make one with --save"));
        save(folder.path(), "other", &results("tcp", 7.0)).unwrap();
        assert!(error("before").contains("there are: other"));
        assert!(error("../other").contains("letters, digits"));
        std::fs::write(folder.path().join("cut.json"), "{\"schema\": 1").unwrap();
        assert!(error("cut").contains("is no JSON"));
        std::fs::write(folder.path().join("old.json"), "{\"schema\": 0}").unwrap();
        assert!(error("old").contains("has schema 0, and this program reads 1"));
        std::fs::write(folder.path().join("odd.json"), "{\"schema\": 1}").unwrap();
        assert!(error("odd").contains("has another form"));
        assert!(check_new("last").is_err() && check_new("a b").is_err() && check_new("a-1").is_ok());
    }

    #[test]
    fn what_a_run_has_not_measured_comes_from_the_last_that_has() {
        let folder = tempfile::tempdir().unwrap();
        keep_latest(folder.path(), &results("udp", 1.0)).unwrap();
        keep_latest(folder.path(), &results("tcp", 2.0)).unwrap();
        keep_latest(folder.path(), &results("udp", 3.0)).unwrap();
        let others = others(folder.path(), &results("tcp", 4.0));
        assert_eq!(others, [results("udp", 3.0)]);
    }
}
