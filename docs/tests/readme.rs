//! The README against what it speaks of.
#![forbid(unsafe_code)]

const README: &str = include_str!("../../README.md");
const EXAMPLE: &str = include_str!("../../crates/sockeye/examples/echo.rs");

/// The program that is compiled and run elsewhere is, after its first sentence, the one that the README shows.
#[test]
fn the_example_is_the_program() {
    let (_, program) = EXAMPLE.split_once("\n\n").unwrap();
    assert!(README.contains(&format!("```rust,no_run\n{program}```\n")));
}

#[test]
fn the_test_command_is_the_one_that_continuous_integration_runs() {
    let ci = include_str!("../../.ci/run");
    assert!(README.contains("\ncargo xtask ci\n"));
    assert!(ci.contains("SOCKEYE_REQUIRE=all exec cargo xtask ci"));
}
