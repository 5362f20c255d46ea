//! Tally with a thread for each client; the totals are under a lock. `ch02_ex2_threads`.
#![expect(clippy::print_stdout, reason = "a program")]

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Result, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

// ANCHOR: threads
type Totals = Arc<Mutex<HashMap<String, u64>>>;

fn main() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:7007")?;
    println!("listening on {}", listener.local_addr()?);
    let totals = Totals::default();
    loop {
        let (client, peer) = listener.accept()?;
        let totals = totals.clone();
        thread::spawn(move || match serve(&totals, client) {
            Ok(()) => println!("{peer} is gone"),
            Err(error) => println!("{peer}: {error}"),
        });
    }
}

fn serve(totals: &Totals, mut client: TcpStream) -> Result<()> {
    for request in BufReader::new(client.try_clone()?).lines() {
        // The lock is held while one request is counted,
        // and never while the network is waited for.
        let answer = count(
            &mut totals.lock().unwrap_or_else(PoisonError::into_inner),
            &request?,
        );
        let answer = answer.unwrap_or("? a request is NAME NUMBER".to_owned());
        client.write_all(format!("{answer}\n").as_bytes())?;
    }
    Ok(())
}
// ANCHOR_END: threads

fn count(totals: &mut HashMap<String, u64>, request: &str) -> Option<String> {
    let (name, number) = request.split_once(' ')?;
    let number: u64 = number.parse().ok()?;
    let total = totals.entry(name.to_owned()).or_default();
    *total = total.checked_add(number)?;
    Some(format!("{name} {total}"))
}
