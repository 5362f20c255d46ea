//! Two words through a stream that come out apart. `ch01_ex3_apart`.
#![expect(clippy::print_stdout, reason = "a program")]

use std::io::{BufRead as _, BufReader, Result, Write as _};
use std::net::{TcpListener, TcpStream};

fn main() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    // ANCHOR: apart
    client.write_all(b"sock\n")?;
    client.write_all(b"eye\n")?;
    drop(client);
    for word in BufReader::new(server).lines() {
        println!("stream: {}", word?);
    }
    // ANCHOR_END: apart
    Ok(())
}
