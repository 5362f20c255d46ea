//! Chapter 5, exercise 2: sends all of stdin and prints all answers, without a deadlock. `ch05_ex2_client [ADDRESS]`.

// ANCHOR: program
use std::error::Error;
use std::io;
use std::net::{Shutdown, TcpStream};

fn main() -> Result<(), Box<dyn Error>> {
    let at = std::env::args().nth(1).unwrap_or("127.0.0.1:7007".to_owned());
    let stream = TcpStream::connect(at)?;
    let mut sending = stream.try_clone()?;
    // Sending and receiving at once: neither waits for the other.
    let sender = std::thread::spawn(move || {
        io::copy(&mut io::stdin(), &mut sending)?;
        sending.shutdown(Shutdown::Write) // half-close: "these were all my requests"
    });
    io::copy(&mut &stream, &mut io::stdout())?; // until the server has ended its side too
    sender.join().map_err(|_| "the sender panicked")??;
    Ok(())
}
// ANCHOR_END: program
