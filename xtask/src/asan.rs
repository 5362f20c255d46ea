//! `cargo xtask asan`: the tests of the workspace, every access to memory checked by AddressSanitizer, and every leak.
//!
//! One crate has unsafe code; all others use it, and libraries with unsafe code of their own. The standard library stays as
//! it is: no nightly sources are needed.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::process::Process;
use crate::step::{Action, Step};
use crate::workspace::{Workspace, root, target_folder, targets};

/// Named, so that the flags stay away from build scripts and macros.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// Integration tests that are left out, by the beginning of their names, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    ("cli_", "runs the program, which has no unsafe code, as a process"),
    (
        "transcripts",
        "runs the program, which has no unsafe code, as a process",
    ),
    (
        "interop_",
        "runs the program, which has no unsafe code, as a process",
    ),
    (
        "endpoint_alloc",
        "counts allocations, with an allocator of its own",
    ),
    ("udp_alloc", "counts allocations, with an allocator of its own"),
    ("probe_memory", "counts bytes, with an allocator of its own"),
    (
        "event_loop_kernel",
        "runs itself under strace, where leaks cannot be looked for",
    ),
];

/// Tests in the crates that are left out, by name, and why.
const LEFT_OUT_IN_CRATES: &[(&str, &str)] = &[(
    "models",
    "loom switches stacks itself, which a sanitizer cannot follow; the models have no memory of their own",
)];

/// Crates that are left out, and why.
const LEFT_OUT_CRATES: &[(&str, &str)] = &[(
    "sockeye-cli",
    "has no unsafe code; what it is made of is tested here",
)];

/// The tests of the crates, then those that cross them, then what was left out.
///
/// # Errors
/// When the tests cannot be listed.
pub(crate) fn asan(workspace: &Workspace) -> Result<Vec<Step>> {
    let is_left_out = |name: &str| LEFT_OUT_CRATES.iter().any(|(left_out, _)| *left_out == name);
    let mut crates = Process::cargo("test --all-features --lib --no-fail-fast");
    let mut tests = BTreeSet::new();
    let chosen = workspace
        .packages()
        .iter()
        .filter(|package| package.is_public && !is_left_out(&package.name));
    for package in chosen {
        crates = crates.argument("--package").argument(&package.name);
        tests.extend(targets(&root().join("crates").join(&package.name).join("tests"))?);
    }
    let is_known = |test: &String| LEFT_OUT_IN_CRATES.iter().all(|(name, _)| name != test);
    for test in tests.into_iter().filter(is_known) {
        crates = crates.argument("--test").argument(test);
    }
    let across = targets(&root().join("tests/tests"))?
        .into_iter()
        .filter(|name| reason(name).is_none())
        .fold(
            Process::cargo("test --package sockeye-tests --no-fail-fast"),
            |run, name| run.argument("--test").argument(name),
        );
    Ok(vec![
        Step::new("asan", "in the crates", sanitized(crates)),
        Step::new("asan", "across the crates", sanitized(across)),
        Step {
            section: "asan",
            name: "left out".to_owned(),
            action: Action::Call(left_out),
        },
    ])
}

fn sanitized(run: Process) -> Process {
    let known = root().join("xtask/known_leaks.txt");
    run.argument("--target")
        .argument(TRIPLE)
        .with("RUSTC_BOOTSTRAP", "1")
        .with("RUSTFLAGS", "-Zsanitizer=address")
        .with(
            "LSAN_OPTIONS",
            format!("suppressions={}:print_suppressions=0", known.display()),
        )
        .with("CARGO_TARGET_DIR", target_folder().join("asan").to_string_lossy())
}

/// Why that integration test is left out, if it is.
fn reason(name: &str) -> Option<&'static str> {
    let known = LEFT_OUT.iter().find(|(start, _)| name.starts_with(start));
    known.map(|(_, reason)| *reason)
}

#[expect(clippy::print_stdout, reason = "the list is this command's data")]
fn left_out() -> Result<()> {
    for (name, reason) in LEFT_OUT_CRATES.iter().chain(LEFT_OUT_IN_CRATES) {
        println!("{name}: {reason}");
    }
    for name in targets(&root().join("tests/tests"))? {
        if let Some(reason) = reason(&name) {
            println!("{name}: {reason}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_there() {
        let known = targets(&root().join("tests/tests")).unwrap();
        for (start, _) in LEFT_OUT {
            assert!(known.iter().any(|name| name.starts_with(start)), "{start}");
        }
        let titles: String = asan(&Workspace::load().unwrap())
            .unwrap()
            .iter()
            .map(Step::title)
            .collect();
        assert!(titles.contains("--package sockeye-socket") && titles.contains("--test event_loop "));
        assert!(!titles.contains("--package sockeye-cli") && !titles.contains("--test udp_alloc"));
        assert!(titles.contains("--test hostile") && !titles.contains("--test models"));
    }
}
