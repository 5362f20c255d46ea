//! What a benchmark leaves behind: the table, the results as JSON, and the page.
//!
//! | module | what |
//! |---|---|
//! | [`model`] | a measurement, a run, the machine |
//! | [`roles`] | which contender is ours, the limit or a peer |
//! | [`criterion`] | measurements from what criterion has written |
//! | [`machine`] | what this machine is |
//! | [`compare`], [`table`] | ours beside the others, as rows |
//! | [`charts`], [`page`] | the same to look at |
//! | [`store`] | results as files |

pub(crate) mod charts;
pub(crate) mod compare;
pub(crate) mod criterion;
#[cfg(test)]
pub(crate) mod fixture;
pub(crate) mod machine;
pub(crate) mod model;
pub(crate) mod page;
pub(crate) mod roles;
pub(crate) mod store;
pub(crate) mod table;

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

use crate::workspace::target_folder;
use compare::rows;
use model::{Machine, Measurement, Results, SCHEMA};
use page::Page;

/// Gathers what a run measures and what it has to leave out.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    pub(crate) measurements: Vec<Measurement>,
    skipped: Vec<String>,
}

impl Recorder {
    /// Notes what is not measured because something is missing, and prints it the first time.
    ///
    /// # Errors
    /// When nobody reads.
    pub(crate) fn skip(&mut self, what: &str) -> Result<()> {
        if !self.skipped.iter().any(|skipped| skipped == what) {
            writeln!(std::io::stdout(), "skipped: {what}")?;
            self.skipped.push(what.to_owned());
        }
        Ok(())
    }

    /// Says how many were skipped.
    ///
    /// # Errors
    /// Where `SOCKEYE_REQUIRE` is `all`, when any was.
    pub(crate) fn judge_skipped(&self) -> Result<()> {
        if self.skipped.is_empty() {
            return Ok(());
        }
        writeln!(std::io::stdout(), "{} skipped", self.skipped.len())?;
        ensure!(
            std::env::var_os("SOCKEYE_REQUIRE").is_none_or(|value| value != "all"),
            "SOCKEYE_REQUIRE=all, and something is missing: {}",
            self.skipped.join("; ")
        );
        Ok(())
    }

    /// Puts in what another process of the same run has recorded.
    pub(crate) fn take(&mut self, other: Part) {
        self.measurements.extend(other.measurements);
        for what in other.skipped {
            if !self.skipped.contains(&what) {
                self.skipped.push(what);
            }
        }
    }

    /// What another process of the same run is to get.
    pub(crate) fn into_part(self) -> Part {
        Part {
            measurements: self.measurements,
            skipped: self.skipped,
        }
    }
}

/// What goes from a process to the one that has started it.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Part {
    measurements: Vec<Measurement>,
    skipped: Vec<String>,
}

/// What a run has to be compared with and kept as: looked at before anything is measured.
#[derive(Debug)]
pub(crate) struct Plan {
    save: Option<String>,
    baseline: Option<(String, Results)>,
    smoke: bool,
    /// As it is when the run begins: the tree may change meanwhile.
    machine: Machine,
    /// Only a part of a section is measured: the last whole one stays the latest.
    pub(crate) partial: bool,
}

impl Plan {
    /// # Errors
    /// When the name to save under is no name, or the baseline cannot be used.
    pub(crate) fn new(save: Option<&str>, baseline: Option<&str>, smoke: bool) -> Result<Self> {
        if let Some(name) = save {
            store::check_new(name)?;
        }
        let baseline = baseline
            .map(|name| -> Result<_> {
                let results = store::load(&store::folder(), name).context("--baseline")?;
                ensure!(
                    results.smoke == smoke,
                    "--baseline: {name} and this run cannot be compared: one of them is a smoke run, which measures nothing"
                );
                Ok((name.to_owned(), results))
            })
            .transpose()?;
        Ok(Self {
            save: save.map(str::to_owned),
            baseline,
            smoke,
            machine: machine::this(),
            partial: false,
        })
    }

    /// Prints the table, and writes the results and the page.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(crate) fn finish(&self, mut recorder: Recorder, command: String) -> Result<()> {
        // JSON has no number for what came to nothing, and no chart a place.
        recorder.measurements.retain(|one| one.value.is_finite());
        if recorder.measurements.is_empty() {
            return Ok(());
        }
        let results = Results {
            schema: SCHEMA,
            smoke: self.smoke,
            command,
            machine: self.machine.clone(),
            skipped: recorder.skipped,
            measurements: recorder.measurements,
        };
        let folder = store::folder();
        let mut out = std::io::stdout();
        let baseline = self
            .baseline
            .as_ref()
            .map(|(name, results)| (name.as_str(), results));
        let rows = rows(&results, baseline.map(|(_, results)| results));
        writeln!(
            out,
            "\n{}\n{}",
            table::text(&rows, baseline.is_some()),
            table::LEGEND
        )?;
        let name = if self.smoke { "smoke" } else { "last" };
        let json = store::save(&folder, name, &results)?;
        writeln!(out, "results: {}", json.display())?;
        if let Some(name) = &self.save {
            writeln!(out, "saved: {}", store::save(&folder, name, &results)?.display())?;
        }
        let older = if self.smoke {
            Vec::new()
        } else {
            if !self.partial {
                store::keep_latest(&folder, &results)?;
            }
            store::others(&folder, &results)
        };
        let page = Page {
            results: &results,
            baseline,
            older: &older,
        };
        let path = page_path(self.smoke);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        }
        store::write(&path, page.html()?.as_bytes())?;
        writeln!(out, "page: {}", path.display())?;
        Ok(())
    }
}

/// A smoke run has a page of its own: `ci` does not take the last measurements away.
fn page_path(smoke: bool) -> PathBuf {
    let name = if smoke { "smoke.html" } else { "index.html" };
    target_folder().join("sockeye/report").join(name)
}
