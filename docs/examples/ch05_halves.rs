//! A client that sends one request in two halves, and looks for an answer after each. `ch05_halves [ADDRESS [PATIENCE-MS]]`.
#![expect(clippy::print_stdout, reason = "a program")]

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let at = arguments.next().unwrap_or("127.0.0.1:7007".to_owned());
    let patience_ms: u64 = arguments.next().map_or(Ok(10_000), |text| text.parse())?;
    let mut stream = TcpStream::connect(at)?;
    let mut buffer = [0; 100];
    // ANCHOR: halves
    for (half, patience_ms) in [("sal", patience_ms), ("mon 3\n", 10_000)] {
        stream.write_all(half.as_bytes())?;
        stream.set_read_timeout(Some(Duration::from_millis(patience_ms)))?;
        match stream.read(&mut buffer) {
            Ok(len) => println!("sent {half:?}, got {:?}", String::from_utf8_lossy(&buffer[..len])),
            Err(error) if error.kind() == ErrorKind::WouldBlock => println!("sent {half:?}, no answer"),
            Err(error) => return Err(error.into()),
        }
    }
    // ANCHOR_END: halves
    Ok(())
}
