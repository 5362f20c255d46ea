//! Tally for one client after the other; the totals stay. `ch02_ex1_next`.
#![expect(clippy::print_stdout, reason = "a program")]

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Result, Write as _};
use std::net::{TcpListener, TcpStream};

// ANCHOR: next
fn main() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:7007")?;
    println!("listening on {}", listener.local_addr()?);
    let mut totals = HashMap::new();
    loop {
        let (client, peer) = listener.accept()?;
        match serve(&mut totals, client) {
            Ok(()) => println!("{peer} is gone"),
            // Its connection is lost, not the server.
            Err(error) => println!("{peer}: {error}"),
        }
    }
}
// ANCHOR_END: next

fn serve(totals: &mut HashMap<String, u64>, mut client: TcpStream) -> Result<()> {
    for request in BufReader::new(client.try_clone()?).lines() {
        let answer = count(totals, &request?);
        let answer = answer.unwrap_or("? a request is NAME NUMBER".to_owned());
        client.write_all(format!("{answer}\n").as_bytes())?;
    }
    Ok(())
}

fn count(totals: &mut HashMap<String, u64>, request: &str) -> Option<String> {
    let (name, number) = request.split_once(' ')?;
    let number: u64 = number.parse().ok()?;
    let total = totals.entry(name.to_owned()).or_default();
    *total = total.checked_add(number)?;
    Some(format!("{name} {total}"))
}
