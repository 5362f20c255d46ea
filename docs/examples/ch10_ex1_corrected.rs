//! What a closed loop would have seen, computed from what it saw. `ch10_ex1_corrected`.
#![expect(clippy::print_stdout, reason = "a program")]

#[path = "tally/counters.rs"]
mod counters;
#[path = "tally/load.rs"]
mod load;
#[path = "tally/service.rs"]
mod service;

use std::error::Error;
use std::time::Duration;

use load::{INTERVAL, Way, measure, row};

// ANCHOR: corrected
/// Adds the requests that were not sent while one was waited for: each would have waited an interval less.
fn corrected(times: &[Duration]) -> Vec<Duration> {
    let mut all = times.to_vec();
    for time in times {
        let mut missed = time.saturating_sub(INTERVAL);
        while !missed.is_zero() {
            all.push(missed);
            missed = missed.saturating_sub(INTERVAL);
        }
    }
    all.sort_unstable();
    all
}
// ANCHOR_END: corrected

fn main() -> Result<(), Box<dyn Error>> {
    let closed = measure(Way::AfterTheAnswer)?;
    println!("{}", row("after the answer", &closed));
    println!("{}", row("corrected", &corrected(&closed)));
    println!("{}", row("on schedule", &measure(Way::OnSchedule)?));
    Ok(())
}
