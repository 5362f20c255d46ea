//! A client that sends as fast as it can and reads no answer, until the server stops it. Then it reads.
//! `ch06_flood [ADDRESS]`.
#![expect(clippy::print_stdout, reason = "a program")]

// ANCHOR: program
use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::{self, Shutdown};
use std::time::Duration;

use sockeye::tcp::{StreamOptions, TcpStream};

fn main() -> Result<(), Box<dyn Error>> {
    let at = std::env::args().nth(1).unwrap_or("127.0.0.1:7007".to_owned());
    // Small buffers in our kernel: otherwise it takes megabytes before anybody is
    // stopped.
    let small = StreamOptions::new().send_buffer(16 * 1024).recv_buffer(16 * 1024);
    let mut stream = TcpStream::options()
        .stream(small)
        .connect(at.parse()?, Duration::from_secs(10))?;
    let requests = "salmon 1\n".repeat(1000);
    let mut sent = 0;
    while stream.wait_writable(Duration::from_secs(1))? {
        // Goes on within a request that was cut.
        sent += stream.write(&requests.as_bytes()[sent % 9..])?;
    }
    println!("stopped after {sent} bytes"); // no room for a whole second

    // From here on as a blocking stream of the standard library.
    let stream = net::TcpStream::from(stream);
    stream.set_nonblocking(false)?;
    let mut sending = stream.try_clone()?;
    let rest = (9 - sent % 9) % 9; // bytes of the last request that are still to be sent
    std::thread::spawn(move || {
        sending.write_all(&requests.as_bytes()[9 - rest..9])?;
        sending.shutdown(Shutdown::Write)
    });
    let mut answers = 0;
    for answer in BufReader::new(stream).lines() {
        answer?;
        answers += 1;
    }
    println!("every request was answered: {}", answers == (sent + rest) / 9);
    Ok(())
}
// ANCHOR_END: program
