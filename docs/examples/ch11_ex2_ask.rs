//! The client that asks before it sends again: right from every seed. `ch11_ex2_ask [SEEDS]`.
#![expect(clippy::print_stdout, reason = "a program")]

#[path = "tally/counters.rs"]
mod counters;
#[path = "tally/service.rs"]
mod service;
#[path = "tally/storm.rs"]
#[expect(dead_code, reason = "a habit of clients that another program has")]
mod storm;

use std::error::Error;

use storm::{Habit, REQUESTS, run};

// ANCHOR: program
fn main() -> Result<(), Box<dyn Error>> {
    let seeds: u64 = std::env::args().nth(1).map_or(Ok(20), |text| text.parse())?;
    for seed in 0..seeds {
        for known in run(seed, Habit::AskFirst)? {
            if known.total != REQUESTS || known.counted != REQUESTS {
                return Err(format!("seed {seed}: {known:?}").into());
            }
        }
    }
    println!("{seeds} seeds: each request is counted once");
    Ok(())
}
// ANCHOR_END: program
