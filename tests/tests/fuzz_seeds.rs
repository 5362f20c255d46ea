//! Every seed of the fuzzer, and every input that once broke a target, goes through its target again.
//!
//! `tests/fuzz/seeds/TARGET` has both: what the fuzzer finds is put there under a name that says what it was.

#![expect(clippy::unwrap_used, reason = "what a test expects and does not get fails it")]

#[path = "../fuzz/targets/mod.rs"]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a target fails by a panic"
)]
mod targets;

use std::path::{Path, PathBuf};

use targets::TARGETS;

fn seeds() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds")
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn every_target_has_seeds_and_every_seed_a_target() {
    let known: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names(&seeds()), known);
    for name in known {
        assert!(!names(&seeds().join(name)).is_empty(), "{name} has no seed");
    }
}

#[test]
fn every_seed_keeps_its_promises() {
    for (name, run) in TARGETS {
        let folder = seeds().join(name);
        for seed in names(&folder) {
            // The panic's message does not say which input it was.
            eprintln!("{name}/{seed}");
            let bytes = std::fs::read(folder.join(&seed)).unwrap();
            run(&bytes);
            // And cut at every place: a seed is right, its beginnings are not.
            for len in 0..bytes.len().min(300) {
                run(&bytes[..len]);
            }
        }
    }
}
