//! Asks tally for one count, and hangs up when stdin says so. `ch02_ask [NAME [NUMBER]]`.
#![expect(clippy::print_stdout, reason = "a program")]

// ANCHOR: program
use std::io::{BufRead as _, BufReader, Result, Write as _, stdin};
use std::net::TcpStream;

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let name = words.next().unwrap_or("salmon".to_owned());
    let number = words.next().unwrap_or("3".to_owned());

    let mut server = TcpStream::connect("127.0.0.1:7007")?;
    server.write_all(format!("{name} {number}\n").as_bytes())?;
    let mut answer = String::new();
    BufReader::new(&server).read_line(&mut answer)?;
    print!("{answer}");

    // The connection lives until Enter, or Ctrl-D.
    stdin().lock().read_line(&mut answer)?;
    Ok(())
}
// ANCHOR_END: program
