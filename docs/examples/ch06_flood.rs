//! A client that sends requests as fast as it can and reads no answer, until the server stops it. Then it reads. `ch06_flood [ADDRESS]`.
#![expect(clippy::print_stdout, reason = "a program")]

use std::error::Error;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

// ANCHOR: program
fn main() -> Result<(), Box<dyn Error>> {
    let at = std::env::args().nth(1).unwrap_or("127.0.0.1:7007".to_owned());
    let mut stream = TcpStream::connect(at)?;
    stream.set_write_timeout(Some(Duration::from_secs(1)))?;
    let requests = "salmon 1\n".repeat(10_000);
    let mut sent = 0;
    loop {
        match stream.write(requests[sent % 9..].as_bytes()) {
            Ok(len) => sent += len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break, // no room for a second: it has stopped reading
            Err(error) => return Err(error.into()),
        }
    }
    println!("stopped after {sent} bytes");

    let reader = BufReader::new(stream.try_clone()?);
    stream.set_write_timeout(None)?;
    let rest = "salmon 1\n"[sent % 9..].to_owned(); // of a request that was cut
    let cut = if sent % 9 == 0 { String::new() } else { rest };
    let expected = (sent + cut.len()) / 9;
    std::thread::spawn(move || stream.write_all(cut.as_bytes()).and_then(|()| stream.shutdown(Shutdown::Write)));
    let mut answers = 0;
    for line in reader.lines() {
        line?;
        answers += 1;
    }
    println!("every request was answered: {}", answers == expected);
    Ok(())
}
// ANCHOR_END: program
