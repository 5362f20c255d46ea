//! `cargo xtask prop --explore MINUTES`: the properties with new seeds, and the line that repeats each failure.

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use crate::binaries::{self, Binary, Run};
use crate::workspace::Area;

/// What chooses the cases of a run.
pub(crate) const SEED: &str = "PROPTEST_RNG_SEED";
/// How many there are, where the property does not say.
pub(crate) const CASES: &str = "PROPTEST_CASES";

/// Runs the properties, all or those of an area, with one seed after the other for so many minutes.
///
/// # Errors
/// When one has failed; the lines that repeat the failures are printed.
#[expect(clippy::print_stdout, reason = "the lines are this command's data")]
pub(crate) fn run(area: Option<&Area<'_>>, minutes: u64, cases: Option<u32>) -> Result<()> {
    let mut properties = Vec::new();
    for binary in binaries::build()? {
        let is_chosen = area.is_none_or(|area| binary.is_of(area));
        if is_chosen && (is_all_properties(&binary) || binary.has("prop")?) {
            properties.push(binary);
        }
    }
    ensure!(!properties.is_empty(), "there are no properties");
    let begun = Instant::now();
    let limit = Duration::from_secs(minutes.saturating_mul(60));
    let mut failed = BTreeSet::new();
    let mut seeds = 0_u64;
    while begun.elapsed() < limit {
        let seed = RandomState::new().build_hasher().finish();
        seeds += 1;
        for binary in &properties {
            for test in failures(binary, seed, cases)? {
                let again = repeating(binary, test.as_deref(), seed, cases);
                if failed.insert((binary.title(), test)) {
                    println!("failed; again: {again}");
                }
            }
            if begun.elapsed() >= limit {
                break;
            }
        }
    }
    let binaries = properties.len();
    if !failed.is_empty() {
        bail!("{} properties failed under {seeds} seeds", failed.len());
    }
    println!("{seeds} seeds in {binaries} binaries: no property failed");
    Ok(())
}

/// In `prop_*` every test belongs to a property.
fn is_all_properties(binary: &Binary) -> bool {
    binary.target.starts_with("prop_")
}

fn failures(binary: &Binary, seed: u64, cases: Option<u32>) -> Result<Vec<Option<String>>> {
    let arguments: &[&str] = if is_all_properties(binary) { &[] } else { &["prop"] };
    let mut environment = vec![(SEED, seed.to_string())];
    environment.extend(cases.map(|cases| (CASES, cases.to_string())));
    Ok(match binary.run(arguments, &environment)? {
        Run::Passed => Vec::new(),
        Run::Failed(failures) => failures.into_iter().map(|failure| failure.test).collect(),
    })
}

/// The command line that runs the same cases again.
fn repeating(binary: &Binary, test: Option<&str>, seed: u64, cases: Option<u32>) -> String {
    let cases = cases.map_or(String::new(), |cases| format!("{CASES}={cases} "));
    format!("{SEED}={seed} {cases}{}", binary.command_line(test))
}
