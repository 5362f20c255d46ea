//! What the program says, word by word: `tests/transcripts`, a file a command, with its help and its refusals.
//!
//! `TRYCMD=overwrite cargo test --package sockeye-tests --test transcripts` writes down what it says now.

use std::path::{Path, PathBuf};

use sockeye_tests::program;
use sockeye_tests::wait::PATIENCE;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("transcripts")
}

#[test]
fn the_program_says_what_is_written_down() {
    trycmd::TestCases::new()
        .register_bin("sockeye", program::sockeye())
        // Help is wrapped to the width of the terminal, where there is one.
        .env("COLUMNS", "100")
        .env("NO_COLOR", "1")
        .env("LC_ALL", "C")
        .timeout(PATIENCE)
        .case(folder().join("*.trycmd"));
}

#[test]
fn every_command_has_a_transcript_of_its_help_and_of_a_refusal() {
    let commands = program::commands();
    assert!(commands.len() >= 10, "{commands:?}");
    for command in commands {
        let path = folder().join(format!("{command}.trycmd"));
        let text = std::fs::read_to_string(&path);
        let text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let runs: Vec<&str> = text.split("\n$ ").collect();
        let has = |line: &str, status: &str| {
            runs.iter().any(|run| {
                let run = run.trim_start_matches("```\n").trim_start_matches("$ ");
                run.starts_with(line) && run.lines().nth(1).unwrap_or_default().starts_with(status)
            })
        };
        assert!(
            has(&format!("sockeye {command} --help\n"), ""),
            "{}: no --help",
            path.display()
        );
        assert!(
            has(&format!("sockeye {command} "), "? "),
            "{}: nothing that it refuses",
            path.display()
        );
    }
}
