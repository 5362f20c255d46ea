//! Times requests that leave in one write or in two, with and without TCP_NODELAY. `ch05_nagle [csv]`.
#![expect(clippy::print_stdout, reason = "a program")]

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

const REQUESTS: usize = 30;

fn main() -> Result<(), Box<dyn Error>> {
    let two = time(&["salmon", " 1\n"], false)?;
    let two_nodelay = time(&["salmon", " 1\n"], true)?;
    let one = time(&["salmon 1\n"], false)?;
    if std::env::args().nth(1).is_some_and(|word| word == "csv") {
        println!("# cargo run --release -p sockeye-docs --example ch05_nagle -- csv");
        println!("request,two_us,two_nodelay_us,one_us");
        for (at, ((two, two_nodelay), one)) in two.iter().zip(&two_nodelay).zip(&one).enumerate() {
            println!(
                "{},{},{},{}",
                at + 1,
                two.as_micros(),
                two_nodelay.as_micros(),
                one.as_micros()
            );
        }
        return Ok(());
    }
    println!("two writes:              {:>8.2?} a request", median(two));
    println!("two writes, TCP_NODELAY: {:>8.2?} a request", median(two_nodelay));
    println!("one write:               {:>8.2?} a request", median(one));
    Ok(())
}

// ANCHOR: time
/// Sends requests one after the other, each in these pieces, and times the answers.
fn time(pieces: &[&str], nodelay: bool) -> Result<Vec<Duration>, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    std::thread::spawn(move || answer_each_line(server));
    client.set_nodelay(nodelay)?;
    let mut answers = BufReader::new(client.try_clone()?);
    let mut times = Vec::new();
    for _ in 0..REQUESTS {
        let begin = Instant::now();
        for piece in pieces {
            client.write_all(piece.as_bytes())?;
        }
        answers.read_line(&mut String::new())?;
        times.push(begin.elapsed());
    }
    Ok(times)
}
// ANCHOR_END: time

fn answer_each_line(stream: TcpStream) -> std::io::Result<()> {
    let mut requests = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    while requests.read_line(&mut line)? > 0 {
        (&stream).write_all(line.as_bytes())?;
        line.clear();
    }
    Ok(())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
