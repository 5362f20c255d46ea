//! How a connection ends, and what each end is told.
#![expect(clippy::print_stdout, reason = "a program")]

// ANCHOR: program
use std::error::Error;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use sockeye::tcp::{TcpListener, TcpState, TcpStream};

const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0".parse()?)?;

    let (mut client, server) = connection(&listener)?;
    drop(server);
    println!("the peer closes:                  read: {}", read(&mut client));

    let (mut client, mut server) = connection(&listener)?;
    client.shutdown(Shutdown::Write)?;
    println!("the peer ends its side:           read: {}", read(&mut server));
    server.write_all(b"salmon 3\n")?;
    println!("    and still gets an answer:     read: {}", read(&mut client));

    let (mut client, server) = connection(&listener)?;
    client.write_all(b"salmon 3\n")?;
    server.wait_readable(PATIENCE)?;
    drop(server);
    println!("the peer closes, data unread:     read: {}", read(&mut client));

    let (mut client, server) = connection(&listener)?;
    server.abort()?;
    println!("the peer aborts:                  read: {}", read(&mut client));

    let (mut client, server) = connection(&listener)?;
    drop(server);
    println!(
        "we write to a peer that is gone: write: {}",
        outcome(client.write(b"salmon 3\n"))
    );
    while client.info()?.state() != TcpState::Closed {
        std::thread::yield_now(); // until its reset has come
    }
    println!(
        "    and once more:               write: {}",
        outcome(client.write(b"salmon 3\n"))
    );

    let nobody = listener.local_addr()?;
    drop(listener);
    let refused = TcpStream::options().connect(nobody, PATIENCE);
    println!(
        "nobody listens:                connect: {}",
        outcome(refused.map(|_| 0).map_err(io::Error::from))
    );
    Ok(())
}

/// Both ends of a new connection.
fn connection(listener: &TcpListener) -> Result<(TcpStream, TcpStream), Box<dyn Error>> {
    let client = TcpStream::options().connect(listener.local_addr()?, PATIENCE)?;
    listener.wait_readable(PATIENCE)?;
    Ok((client, listener.accept()?.0))
}

fn read(stream: &mut TcpStream) -> String {
    let mut buffer = [0; 100];
    outcome(
        stream
            .wait_readable(PATIENCE)
            .and_then(|_| stream.read(&mut buffer)),
    )
}

fn outcome(result: io::Result<usize>) -> String {
    match result {
        Ok(len) => format!("{len} bytes"),
        Err(error) => error.kind().to_string(),
    }
}
// ANCHOR_END: program
