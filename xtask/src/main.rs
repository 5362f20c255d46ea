//! `cargo xtask`: what builds, checks and measures the workspace. Run it without arguments for the list.
//!
//! | module | what |
//! |---|---|
//! | [`ci`] | every check in order, each from the module of its name |
//! | [`tidy`] | what neither compiler nor clippy can hold: arrows, unsafe, documents |
//! | [`build`], [`mod@test`], [`mod@bench`] | cargo's own commands with the workspace's selections |
//! | [`book`] | the pages of the book |
//! | [`asan`] | the tests under AddressSanitizer |
//! | [`flaky`], [`explore`] | the tests many times, the properties with new seeds |
//! | [`fuzz`] | the fuzz targets, by libFuzzer |
//! | [`growth`] | what a unit costs while a user makes things large |
//! | [`latency`] | round trips as a distribution |
//! | [`report`] | what a benchmark leaves behind: table, results, page |
//! | [`instructions`] | instructions a message, counted under callgrind |
//! | [`cpu`] | CPU time a message, beside peers in interleaved rounds |
//! | [`start`] | how large the program is, and what its start costs |
//! | [`deb`] | the Debian package |
//! | [`deny`] | licences, sources and bans of dependencies |
//! | [`release`] | the crates to crates.io, and the tag |
//! | [`api`] | what each library offers |
//! | [`package`] | the packages for crates.io, and their APIs since a baseline |
//! | [`install`] | the program, its completions and its manual below a prefix |
//! | [`names`] | queries a second, CPU time and memory of clients of the DNS, beside peers |
//! | [`running`] | programs that are measured |
//! | [`sim`] | seeds, plans and mutants of the simulated network |
//! | [`torture`] | the n-th system call of a scenario fails, for every n |
//! | [`soak`] | mixed load with faults for minutes or hours |
//! | [`step`], [`process`] | steps as data, run with a clock; commands as data |
//! | [`binaries`] | the test binaries, built once and run directly |
//! | [`workspace`] | the packages, read from their manifests |
#![forbid(unsafe_code)]

mod api;
mod asan;
mod bench;
mod binaries;
mod book;
mod build;
mod ci;
mod cpu;
mod deb;
mod deny;
mod explore;
mod flaky;
mod fuzz;
mod growth;
mod iana;
mod install;
mod instructions;
mod latency;
mod names;
mod package;
mod process;
mod release;
mod report;
mod running;
mod sim;
mod soak;
mod start;
mod step;
mod test;
mod tidy;
mod torture;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use step::Step;

/// What builds, checks and measures the workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Everything that a change has to pass, in order; ends with a table of steps and times
    Ci(ci::Arguments),
    /// Format every package
    Fmt,
    /// Clippy, package by package, warnings denied
    Lint,
    /// Check the invariants of the tree that no compiler holds
    Tidy(tidy::Arguments),
    /// Check each crate alone: without features, with the default ones, with all
    Build,
    /// Run tests: all of them, or one area (`udp`, `event-loop`, `interop`, ...)
    Test(test::Arguments),
    /// Run the property tests: the same cases every time, or with --explore new ones
    Prop(test::PropArguments),
    /// Run the test binaries many times and list what ever failed
    Flaky(flaky::Arguments),
    /// Keep a core busy until stdin ends: what `flaky --load` starts
    #[command(hide = true)]
    Busy,
    /// Run benchmarks, or count instructions; ends with a table and a page
    Bench(bench::Arguments),
    /// Build the documentation with warnings denied, run its examples, and run and build the book
    Doc,
    /// Fuzz one target of tests/fuzz, or all
    Fuzz(fuzz::Arguments),
    /// Make the system calls of small scenarios fail, one in each run (needs: apt-get install strace)
    Torture(torture::Arguments),
    /// Run the tests under AddressSanitizer, and name those that cannot
    Asan,
    /// Run seeds on the simulated network, or a plan, or the mutants of the simulator
    Sim(sim::Arguments),
    /// Run mixed load with faults for minutes or hours: memory and descriptors stay flat, every byte is right
    Soak(soak::Arguments),
    /// Install the program, its completions and its manual below a folder
    Install(install::Arguments),
    /// Check licences, sources, bans and advisories of the dependencies by deny.toml
    Deny,
    /// Pack every crate for crates.io, and check what is in its package
    Package,
    /// Compare the APIs with a baseline (needs: cargo install cargo-semver-checks)
    Semver(package::SemverArguments),
    /// List what each library offers, a line an item
    Api(api::Arguments),
    /// Check everything before a release; with --publish upload the crates and tag the commit
    Release(release::Arguments),
    /// Build the Debian package of the program (needs: cargo install cargo-deb)
    Deb,
    /// Generate the service tables of sockeye-endpoint from IANA's registry
    Iana(iana::Args),
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    let workspace = workspace::Workspace::load()?;
    let steps: Vec<Step> = match command {
        Command::Ci(arguments) => return ci::run(&arguments, &workspace),
        Command::Tidy(arguments) => return tidy::run(&arguments),
        Command::Bench(arguments) => return bench::run(&arguments),
        Command::Prop(arguments) => return test::run_prop(&arguments, &workspace),
        Command::Flaky(arguments) => return flaky::run(&arguments),
        Command::Busy => {
            flaky::busy();
            return Ok(());
        }
        Command::Install(arguments) => return install::run(&arguments),
        Command::Deb => return deb::run(),
        Command::Deny => return deny::deny(),
        Command::Package => return package::package(),
        Command::Release(arguments) => return release::run(&arguments),
        Command::Api(arguments) => return api::run(&arguments, &workspace),
        Command::Semver(arguments) => return package::semver(&arguments),
        Command::Sim(arguments) => return sim::run(&arguments),
        Command::Fuzz(arguments) => return fuzz::run(&arguments),
        Command::Soak(arguments) => return soak::run(&arguments),
        Command::Torture(arguments) => return torture::run(&arguments),
        Command::Iana(arguments) => return iana::run(workspace::root(), &arguments),
        Command::Fmt => build::fmt(),
        Command::Lint => build::lint(&workspace),
        Command::Build => build::build(&workspace),
        Command::Test(arguments) => test::test(&arguments, &workspace)?,
        Command::Doc => [build::doc(), build::book()].into_iter().flatten().collect(),
        Command::Asan => asan::asan(&workspace)?,
    };
    step::run_all(&steps, step::OnFailure::Stop)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }
}
