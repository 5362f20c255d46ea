//! Clients that a server has to survive. `ch11_bully crowd|flood|deaf|endless|goodbye [ADDRESS [PROCESS]]`.
#![expect(clippy::print_stdout, reason = "a program")]

use std::error::Error;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

type Outcome = Result<(), Box<dyn Error>>;

/// No wait lasts longer.
const PATIENCE: Duration = Duration::from_secs(15);

fn connect(to: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

// ANCHOR: crowd
/// Twenty clients at once; each leaves when it has its answer.
fn crowd(to: SocketAddr) -> Outcome {
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = connect(to)?;
        client.write_all(b"visitors 1\n")?;
        clients.push(client);
    }
    println!("{} clients are connected, says their kernel", clients.len());
    let mut last = String::new();
    for client in clients {
        last.clear();
        BufReader::new(client).read_line(&mut last)?; // and the client is dropped
    }
    println!("the last answer: {}", last.trim_end());
    Ok(())
}
// ANCHOR_END: crowd

// ANCHOR: flood
/// Comes and goes two thousand times without a word, and then asks.
fn flood(to: SocketAddr) -> Outcome {
    for _ in 0..2000 {
        connect(to)?;
    }
    let mut client = connect(to)?;
    client.write_all(b"visitors 1\n")?;
    let mut answer = String::new();
    BufReader::new(client).read_line(&mut answer)?;
    println!("{}", answer.trim_end());
    Ok(())
}
// ANCHOR_END: flood

// ANCHOR: deaf
/// Asks and asks, and never reads an answer.
fn deaf(to: SocketAddr) -> Outcome {
    let mut client = connect(to)?;
    println!("asking, and never reading");
    let requests = b"noise 1\n".repeat(1000);
    loop {
        if let Err(error) = client.write_all(&requests) {
            println!("the server has ended it: {error}");
            return Ok(());
        }
    }
}
// ANCHOR_END: deaf

// ANCHOR: endless
/// A line that never ends.
fn endless(to: SocketAddr) -> Outcome {
    let mut client = connect(to)?;
    client.write_all(&b"x".repeat(2000))?;
    let mut answer = String::new();
    client.read_to_string(&mut answer)?;
    println!("{}", answer.trim_end());
    Ok(())
}
// ANCHOR_END: endless

// ANCHOR: goodbye
/// Asks, has the server stopped, and only then reads.
fn goodbye(to: SocketAddr, process: &str) -> Outcome {
    let mut client = connect(to)?;
    client.write_all(b"last 1\n")?;
    Command::new("kill").args(["-TERM", process]).status()?;
    let mut answer = String::new();
    client.read_to_string(&mut answer)?;
    println!("{}, then the end", answer.trim_end());
    Ok(())
}
// ANCHOR_END: goodbye

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().collect();
    let what = arguments.get(1).map_or("crowd", String::as_str);
    let to = arguments
        .get(2)
        .map_or("127.0.0.1:7007", String::as_str)
        .parse()?;
    match (what, arguments.get(3)) {
        ("crowd", _) => crowd(to),
        ("flood", _) => flood(to),
        ("deaf", _) => deaf(to),
        ("endless", _) => endless(to),
        ("goodbye", Some(process)) => goodbye(to, process),
        _ => Err("usage: ch11_bully crowd|flood|deaf|endless|goodbye [ADDRESS [PROCESS]]".into()),
    }
}
