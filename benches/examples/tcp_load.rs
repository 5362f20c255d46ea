//! `tcp_load PORT CONNECTIONS SIZE MESSAGES [PID] [latency]`: the closed loop of [`sockeye_benches::load`] as a program, against
//! an echo server on the loopback, or with `@NAME` for the port at an abstract Unix name. Prints messages a second; with PID
//! the CPU time in nanoseconds that this process spent meanwhile; with `latency` a line `latency PERCENTILE NANOSECONDS`
//! for each of [`PERCENTILES`].

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the rate is this program's data")]

use std::net::{Ipv4Addr, SocketAddr};

use sockeye_benches::load::{Shape, closed_loop, closed_loop_unix};

/// Of round trips: each step is half of those that were slower, or less.
const PERCENTILES: [f64; 17] = [
    0.0, 10.0, 25.0, 50.0, 75.0, 87.5, 90.0, 95.0, 97.5, 99.0, 99.5, 99.75, 99.9, 99.95, 99.975, 99.99, 100.0,
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let timed = arguments.last().is_some_and(|word| word == "latency");
    if timed {
        arguments.pop();
    }
    let [port, connections, size, messages, watched @ ..] = arguments.as_slice() else {
        return Err("arguments: PORT CONNECTIONS SIZE MESSAGES [PID] [latency]".into());
    };
    let shape = Shape {
        connections: connections.parse()?,
        size: size.parse()?,
        messages: messages.parse()?,
        watched: watched.first().map(|pid| pid.parse()).transpose()?,
        timed,
    };
    let measured = match port.strip_prefix('@') {
        Some(name) => closed_loop_unix(name, shape)?,
        None => closed_loop(SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse()?)), shape)?,
    };
    println!(
        "{:.0} messages/s",
        shape.messages as f64 / measured.time.as_secs_f64()
    );
    if let Some(cpu_ns) = measured.cpu_ns {
        println!("cpu {cpu_ns}");
    }
    if let Some(round_trips) = measured.round_trips {
        for percentile in PERCENTILES {
            println!(
                "latency {percentile} {}",
                round_trips.value_at_percentile(percentile)
            );
        }
    }
    Ok(())
}
