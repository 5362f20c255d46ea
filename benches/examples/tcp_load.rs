//! `tcp_load PORT CONNECTIONS SIZE MESSAGES [PID]`: the closed loop of [`sockeye_benches::load`] as a program, against
//! an echo server on the loopback, or with `@NAME` for the port at an abstract Unix name. Prints messages a second, and
//! the CPU time in nanoseconds that the process PID spent meanwhile.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the rate is this program's data")]

use std::net::{Ipv4Addr, SocketAddr};

use sockeye_benches::load::{Shape, closed_loop, closed_loop_unix};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, connections, size, messages, watched @ ..] = arguments.as_slice() else {
        return Err("arguments: PORT CONNECTIONS SIZE MESSAGES [PID]".into());
    };
    let shape = Shape {
        connections: connections.parse()?,
        size: size.parse()?,
        messages: messages.parse()?,
        watched: watched.first().map(|pid| pid.parse()).transpose()?,
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
    Ok(())
}
