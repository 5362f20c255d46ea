//! Tally: named counters for one client, over one blocking TCP connection. `ch02_tally`.
#![expect(clippy::print_stdout, reason = "a program")]

// ANCHOR: program
use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Result, Write as _};
use std::net::TcpListener;

fn main() -> Result<()> {
    // The first socket only waits for clients.
    let listener = TcpListener::bind("127.0.0.1:7007")?;
    println!("listening on {}", listener.local_addr()?);
    // The second one is the connection to a client.
    let (mut client, peer) = listener.accept()?;
    println!("{peer} is here");
    let mut totals = HashMap::new();
    for request in BufReader::new(client.try_clone()?).lines() {
        let answer = count(&mut totals, &request?);
        let answer = answer.unwrap_or("? a request is NAME NUMBER".to_owned());
        client.write_all(format!("{answer}\n").as_bytes())?;
    }
    println!("{peer} is gone");
    Ok(())
}

fn count(totals: &mut HashMap<String, u64>, request: &str) -> Option<String> {
    let (name, number) = request.split_once(' ')?;
    let number: u64 = number.parse().ok()?;
    let total = totals.entry(name.to_owned()).or_default();
    *total = total.checked_add(number)?;
    Some(format!("{name} {total}"))
}
// ANCHOR_END: program
