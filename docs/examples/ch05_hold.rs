//! Sends requests, reads no answer, and stays: something to look at. `ch05_hold [ADDRESS [REQUESTS]]`.
#![expect(clippy::print_stdout, reason = "a program")]

use std::error::Error;
use std::io::Write;
use std::net::TcpStream;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let at = arguments.next().unwrap_or("127.0.0.1:7007".to_owned());
    let requests: usize = arguments.next().map_or(Ok(10), |text| text.parse())?;
    let mut stream = TcpStream::connect(at)?;
    stream.write_all("salmon 1\n".repeat(requests).as_bytes())?;
    // The last answer is `salmon REQUESTS`: wait until all are here, and leave them
    // unread.
    let expected: usize = (1..=requests)
        .map(|total| format!("salmon {total}\n").len())
        .sum();
    let mut answers = vec![0; expected];
    while stream.peek(&mut answers)? < expected {
        std::thread::yield_now();
    }
    println!("{requests} requests sent, {expected} bytes of answers not read");
    loop {
        std::thread::park(); // until Ctrl-C
    }
}
