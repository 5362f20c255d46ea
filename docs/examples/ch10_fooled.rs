//! One server, one stall of a second, two answers to "how slow is it?". `ch10_fooled [csv]`.
#![expect(clippy::print_stdout, reason = "a program")]

// ANCHOR: program
#[path = "tally/counters.rs"]
mod counters;
#[path = "tally/load.rs"]
mod load;
#[path = "tally/service.rs"]
mod service;

use std::error::Error;

use load::{Way, measure, percentile, row};

fn main() -> Result<(), Box<dyn Error>> {
    let closed = measure(Way::AfterTheAnswer)?;
    let open = measure(Way::OnSchedule)?;
    if std::env::args().nth(1).as_deref() == Some("csv") {
        println!("permille,closed_ms,open_ms");
        for permille in (800..=1000).step_by(5) {
            let ms = |sorted| percentile(sorted, permille).as_secs_f64() * 1000.0;
            println!("{permille},{:.1},{:.1}", ms(&closed), ms(&open));
        }
        return Ok(());
    }
    println!("{}", row("after the answer", &closed));
    println!("{}", row("on schedule", &open));
    Ok(())
}
// ANCHOR_END: program
