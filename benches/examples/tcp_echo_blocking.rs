//! The practical limit as a program: [`sockeye_benches::blocking_echo`] on a port of the loopback.

#![forbid(unsafe_code)]

fn main() -> std::io::Result<()> {
    let listener = std::net::TcpListener::bind(sockeye_benches::listen_address()?)?;
    sockeye_benches::announce(listener.local_addr()?)?;
    sockeye_benches::blocking_echo::serve(&listener)
}
