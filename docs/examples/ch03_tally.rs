//! Tally at an endpoint that is typed: one client after the other. `ch03_tally [ENDPOINT]`.
#![expect(clippy::print_stdout, reason = "a program")]

// ANCHOR: program
#[path = "tally/counters.rs"]
mod counters;

use std::error::Error;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};

use counters::Counters;
use sockeye::endpoint::{Endpoint, Transport};

fn main() -> Result<(), Box<dyn Error>> {
    let text = std::env::args()
        .nth(1)
        .unwrap_or("tcp://127.0.0.1:7007".to_owned());
    let endpoint: Endpoint = text.parse()?;
    if endpoint.transport() != Transport::Tcp {
        return Err(format!("{endpoint}: this tally speaks TCP alone").into());
    }
    let listener = TcpListener::bind(endpoint.socket_addr()?)?;
    println!("listening on {}", Endpoint::tcp(listener.local_addr()?));
    let mut counters = Counters::default();
    loop {
        let (client, peer) = listener.accept()?;
        println!("{} is here", Endpoint::tcp(peer));
        if let Err(error) = serve(&mut counters, client) {
            println!("{}: {error}", Endpoint::tcp(peer));
        }
    }
}

fn serve(counters: &mut Counters, mut client: TcpStream) -> std::io::Result<()> {
    for request in BufReader::new(client.try_clone()?).lines() {
        let answer = counters.answer(request?.as_bytes());
        client.write_all(format!("{answer}\n").as_bytes())?;
    }
    Ok(())
}
// ANCHOR_END: program
