//! A client that connects, sends half a request, and says nothing more. `ch06_quiet [ADDRESS]`.
#![expect(clippy::print_stdout, reason = "a program")]

use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

fn main() -> Result<(), Box<dyn Error>> {
    let at = std::env::args().nth(1).unwrap_or("127.0.0.1:7007".to_owned());
    let begin = Instant::now();
    let mut stream = TcpStream::connect(at)?;
    stream.write_all(b"sal")?;
    let outcome = stream.read(&mut [0; 100]).map_err(|error| error.kind());
    let waited = begin.elapsed() >= Duration::from_secs(1);
    println!("the server ended the connection: {outcome:?}; after a second or more: {waited}");
    Ok(())
}
