//! Tally for many clients: one thread, one event loop. `ch06_server [ADDRESS [IDLE-SECONDS]]`.
#![expect(clippy::print_stdout, reason = "a program")]

// ANCHOR: program
#[path = "tally/counters.rs"]
mod counters;
#[path = "tally/service.rs"]
mod service;

use std::error::Error;
use std::time::Duration;

use sockeye::event_loop::{Deadlines, EventLoop, ListenOptions, StreamOptions, Watermarks};

use service::Tally;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let at = arguments.next().unwrap_or("127.0.0.1:7007".to_owned()).parse()?;
    let idle = arguments.next().map_or(Ok(60), |text| text.parse())?;

    let options = StreamOptions {
        deadlines: Deadlines {
            idle: Some(Duration::from_secs(idle)), // nothing in either direction
            // Answers wait, and the client takes none.
            write_stall: Some(Duration::from_secs(60)),
            ..Deadlines::default()
        },
        watermarks: Watermarks {
            high: 64 * 1024, // so many bytes of answers wait: stop reading requests
            low: 16 * 1024,  // so few: go on
            ..Watermarks::default()
        },
        ..StreamOptions::default()
    };
    let mut events = EventLoop::new()?;
    let tally = events.add_stream_service(Tally::over_lines(), options);
    let listen = ListenOptions {
        max_connections: 10_000,
        ..ListenOptions::default()
    };
    let listener = events.listen(tally, at, &listen)?;
    println!("listening on {}", events.local_addr(listener)?);
    Ok(events.run()?)
}
// ANCHOR_END: program
