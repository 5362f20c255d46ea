//! Tally in a network that breaks, from many seeds: what is counted, and what a client can know. `ch11_sim [SEEDS]`.
#![expect(clippy::print_stdout, reason = "a program")]

// ANCHOR: program
#[path = "tally/counters.rs"]
mod counters;
#[path = "tally/service.rs"]
mod service;
#[path = "tally/storm.rs"]
mod storm;

use std::error::Error;

use storm::{Habit, REQUESTS, run};

fn main() -> Result<(), Box<dyn Error>> {
    let seeds: u64 = std::env::args().nth(1).map_or(Ok(20), |text| text.parse())?;
    let (mut broken, mut unsure) = (0, 0);
    for seed in 0..seeds {
        for known in run(seed, Habit::GoOn)? {
            let possible = known.counted..=known.counted + known.unsure;
            if !possible.contains(&known.total) {
                return Err(format!("seed {seed}: {known:?}").into());
            }
            broken += known.broken;
            unsure += known.unsure;
        }
        if run(seed, Habit::GoOn)? != run(seed, Habit::GoOn)? {
            return Err(format!("seed {seed}: two runs differ").into());
        }
    }
    println!(
        "{seeds} seeds: {broken} connections broke, {unsure} requests nobody knows of, every total is possible"
    );

    for seed in 0..seeds {
        let wrong = run(seed, Habit::SendAgain)?
            .into_iter()
            .find(|known| known.total != REQUESTS);
        if let Some(known) = wrong {
            println!(
                "seed {seed}: sent again, {REQUESTS} requests are counted {} times",
                known.total
            );
            return Ok(());
        }
    }
    Err("no seed shows what is wrong with sending again".into())
}
// ANCHOR_END: program
