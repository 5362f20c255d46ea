//! Tally with everything that keeps it alive. `ch11_server [ADDRESS]`; SIGTERM and Ctrl-C end it in order.
#![expect(clippy::print_stdout, reason = "a program")]

// ANCHOR: program
#[path = "tally/counters.rs"]
mod counters;
#[path = "tally/service.rs"]
mod service;

use std::error::Error;
use std::time::Duration;

use sockeye::event_loop::{Deadlines, EventLoop, ListenOptions, LoopOptions, StreamOptions, Watermarks};

use service::Tally;

const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

/// What one client may cost.
fn for_each_client() -> StreamOptions {
    StreamOptions {
        deadlines: Deadlines {
            idle: Some(Duration::from_secs(60)), // it says nothing and hears nothing
            write_stall: Some(Duration::from_secs(2)), // it does not read what it asked for
            ..Deadlines::default()
        },
        watermarks: Watermarks {
            high: 64 * 1024,    // so much unread, and we stop reading its requests
            low: 16 * 1024,     // so little, and we go on
            max_tail: 4 * 1024, // the longest half request that is kept
            ..Watermarks::default()
        },
        close_timeout: Duration::from_secs(5),
        ..StreamOptions::default()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let at = std::env::args()
        .nth(1)
        .unwrap_or("127.0.0.1:7007".to_owned())
        .parse()?;
    let all_clients = LoopOptions {
        memory_budget: 32 * 1024 * 1024, // queues and half requests of all together
        ..LoopOptions::default()
    };
    let mut events = EventLoop::with_options(all_clients)?;
    let tally = events.add_stream_service(Tally::over_lines(), for_each_client());
    let listen = ListenOptions {
        max_connections: 10_000, // the others wait in the kernel, which costs us nothing
        ..ListenOptions::default()
    };
    let listener = events.listen(tally, at, &listen)?;
    events.on_signals(&[SIGTERM, SIGINT], |context, _| context.stop())?;
    println!("listening on {}", events.local_addr(listener)?);

    events.run()?;
    println!("ending; connections still open: {}", events.open_streams());
    events.drain(Duration::from_secs(10))?; // answers for those that are there, and no new ones

    let stats = events.stats();
    println!(
        "{} accepted, {} ended by a deadline",
        stats.accepted, stats.timed_out
    );
    println!(
        "{} pauses because descriptors were used up",
        stats.accept_back_offs
    );
    println!(
        "at most {} KiB were kept for all of them",
        stats.memory_peak / 1024
    );
    Ok(())
}
// ANCHOR_END: program
