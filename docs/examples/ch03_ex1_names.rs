//! What a port stands for, on TCP and on UDP. `ch03_ex1_names [PORT...]`.
#![expect(clippy::print_stdout, reason = "a program")]

// ANCHOR: names
use std::error::Error;

use sockeye::endpoint::{ServiceName, Transport};

fn main() -> Result<(), Box<dyn Error>> {
    let mut ports: Vec<u16> = Vec::new();
    for word in std::env::args().skip(1) {
        ports.push(word.parse()?);
    }
    if ports.is_empty() {
        ports = vec![53, 514];
    }
    for port in ports {
        for transport in [Transport::Tcp, Transport::Udp] {
            match ServiceName::of(transport, port) {
                Some(name) => println!("{transport} {port}: {name}"),
                None => println!("{transport} {port}: no name in the table"),
            }
        }
    }
    Ok(())
}
// ANCHOR_END: names
