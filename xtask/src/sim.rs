//! `cargo xtask sim`: seeds and plans on the simulated network, and the mutants of the simulator.
//!
//! The runs are those of `crates/sockeye-sim/examples/soak.rs`, built twice: with optimisation for the seeds,
//! and without it for the comparison of the two, which the first seeds go through.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};

use crate::process::Process;

/// Seeds whose traces are compared between the two builds.
const COMPARED: u64 = 20;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How many seeds to run, each twice
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Run this plan instead of seeds
    #[arg(long)]
    plan: Option<PathBuf>,
    /// Plant each mutant in the simulator and see that the conformance suite notices it
    #[arg(long)]
    mutants: bool,
}

/// Runs what was asked for.
///
/// # Errors
/// When a run fails, or the two builds differ.
#[expect(clippy::print_stdout, reason = "what came of it")]
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.mutants {
        return Process::cargo("test --release --package sockeye-tests --test conformance --")
            .words("--exact every_mutant_is_noticed_and_every_scenario_notices_one --nocapture")
            .run();
    }
    let release = "--release";
    if let Some(plan) = &arguments.plan {
        // The example runs in the workspace's root, the path is the caller's.
        let plan = std::path::absolute(plan).context("the path of the plan")?;
        return soak(release)
            .argument("--plan")
            .argument(plan.to_string_lossy())
            .run();
    }
    let first = arguments.seed.to_string();
    soak(release)
        .argument("--seeds")
        .argument(arguments.seeds.to_string())
        .argument("--seed")
        .argument(&first)
        .run()?;
    let compared = arguments.seeds.min(COMPARED);
    let optimised = hashes(release, compared, &first)?;
    let plain = hashes("", compared, &first)?;
    ensure!(
        optimised.len() as u64 == compared,
        "{compared} traces asked for, {} came",
        optimised.len()
    );
    if let Some((one, other)) = optimised.iter().zip(&plain).find(|(one, other)| one != other) {
        bail!("the builds differ (seed and trace): {one} optimised, {other} without");
    }
    println!("{compared} seeds have the same trace with and without optimisation");
    Ok(())
}

fn soak(profile: &str) -> Process {
    Process::cargo("run --quiet --package sockeye-sim --features soak --example soak")
        .words(profile)
        .argument("--")
}

/// The seeds with their traces, sorted.
fn hashes(profile: &str, seeds: u64, first: &str) -> Result<Vec<String>> {
    let process = soak(profile)
        .words("--hashes --seeds")
        .argument(seeds.to_string())
        .argument("--seed")
        .argument(first);
    let output = process
        .command()
        .output()
        .with_context(|| format!("start {process}"))?;
    ensure!(
        output.status.success(),
        "{process}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    let mut lines: Vec<String> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect();
    lines.sort();
    Ok(lines)
}
