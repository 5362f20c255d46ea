//! Asks the tally at a target, by name or address. `ch03_ask [TARGET [NAME [NUMBER]]]`.
#![expect(clippy::print_stdout, reason = "a program")]

// ANCHOR: program
use std::error::Error;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use sockeye::endpoint::{Target, TargetDefaults, Transport};
use sockeye::resolver::resolve;

const PATIENCE: Duration = Duration::from_secs(5);

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let text = words.next().unwrap_or("localhost".to_owned());
    let name = words.next().unwrap_or("salmon".to_owned());
    let number = words.next().unwrap_or("3".to_owned());

    // 1. Text to a target. What the text leaves out, we know.
    let defaults = TargetDefaults {
        transport: Some(Transport::Tcp),
        port: Some(7007),
    };
    let target = Target::parse_with(&text, defaults)?;
    println!("asking {target}");

    // 2. The target to addresses, the best first.
    let addresses = resolve(&target, PATIENCE)?;

    // 3. The first address that answers.
    for address in addresses {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(server) => return ask(server, &name, &number),
            Err(error) => println!("{address}: {error}"),
        }
    }
    Err("none of its addresses answers".into())
}

fn ask(mut server: TcpStream, name: &str, number: &str) -> Result<(), Box<dyn Error>> {
    println!("connected to {}", server.peer_addr()?);
    server.set_read_timeout(Some(PATIENCE))?;
    server.write_all(format!("{name} {number}\n").as_bytes())?;
    let mut answer = String::new();
    BufReader::new(server).read_line(&mut answer)?;
    print!("{answer}");
    Ok(())
}
// ANCHOR_END: program
