//! One fuzzer for all targets: `SOCKEYE_FUZZ_TARGET` names the one that it runs. `cargo xtask fuzz` builds and starts it.
#![no_main]

#[path = "../targets/mod.rs"]
mod targets;

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

/// What this process does with bytes.
static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();

fn chosen() -> fn(&[u8]) {
    let name = std::env::var("SOCKEYE_FUZZ_TARGET").unwrap_or_default();
    match targets::TARGETS.iter().find(|(known, _)| *known == name) {
        Some((_, run)) => *run,
        None => panic!("SOCKEYE_FUZZ_TARGET={name} is no target"),
    }
}

fuzz_target!(|data: &[u8]| TARGET.get_or_init(chosen)(data));
