//! `cargo xtask soak`: mixed load with faults for as long as one likes; memory, descriptors and every byte are watched.
//!
//! The load is `tests/examples/soak`, built with debug assertions and overflow checks.

use anyhow::Result;

use crate::process::Process;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How long
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    minutes: u32,
}

/// Builds the load and runs it.
///
/// # Errors
/// When a byte is wrong, a connection stands still or ends early, memory or descriptors grow, or it does not compile.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    Process::cargo("run --package sockeye-tests --example soak --")
        .argument((u64::from(arguments.minutes) * 60).to_string())
        .run()
}
