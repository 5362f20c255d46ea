//! Tally over TCP, line by line, one client after the other. `ch05_server [ADDRESS]`.
#![expect(clippy::print_stdout, reason = "a program")]

// ANCHOR: program
#[path = "tally/counters.rs"]
mod counters;

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use counters::{Counters, MAX_LINE};

/// How long a client may say nothing, or take nothing.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> Result<(), Box<dyn Error>> {
    let at = std::env::args().nth(1).unwrap_or("127.0.0.1:7007".to_owned());
    let listener = TcpListener::bind(at)?;
    println!("listening on {}", listener.local_addr()?);
    let mut counters = Counters::default();
    loop {
        let (mut stream, peer) = listener.accept()?;
        match serve(&mut stream, &mut counters) {
            Ok(requests) => println!("{peer}: {requests} requests, then its end"),
            Err(error) => println!("{peer}: {error}"),
        }
        let _ = finish(stream);
    }
}

/// Answers requests until the client ends its side; returns how many.
fn serve(stream: &mut TcpStream, counters: &mut Counters) -> io::Result<u64> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let mut kept = Vec::new(); // the beginning of a line whose end has not come yet
    let mut buffer = [0; 4096];
    let mut requests = 0;
    loop {
        let len = stream.read(&mut buffer)?;
        if len == 0 {
            return Ok(requests); // the client has ended its side
        }
        kept.extend_from_slice(&buffer[..len]);
        let mut answers = Vec::new();
        let mut begin = 0;
        while let Some(len) = kept[begin..].iter().position(|&byte| byte == b'\n') {
            let answer = counters.answer(&kept[begin..begin + len]);
            answers.extend_from_slice(answer.as_bytes());
            answers.push(b'\n');
            begin += len + 1;
            requests += 1;
        }
        kept.drain(..begin);
        if kept.len() > MAX_LINE {
            answers.extend_from_slice(b"? the line is too long\n");
            stream.write_all(&answers)?;
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a line without an end",
            ));
        }
        // One write for all of them; goes on after short writes.
        stream.write_all(&answers)?;
    }
}

/// Ends our side first, and reads what the client still sends, so that it gets our last
/// answer and no reset.
fn finish(mut stream: TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut rest = [0; 4096];
    for _ in 0..256 {
        if stream.read(&mut rest)? == 0 {
            break;
        }
    }
    Ok(())
}
// ANCHOR_END: program
