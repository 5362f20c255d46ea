//! The trap of edge-triggered readiness: an event is told once, whether or not everything was read. With mio alone.
#![expect(clippy::print_stdout, reason = "a program")]

// ANCHOR: program
use std::error::Error;
use std::io::{Read, Write};
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};
use sockeye::tcp::{TcpListener, TcpStream};

fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0".parse()?)?;
    let mut client = TcpStream::options().connect(listener.local_addr()?, Duration::from_secs(10))?;
    listener.wait_readable(Duration::from_secs(10))?;
    let (mut server, _) = listener.accept()?;
    let mut poll = Poll::new()?;
    poll.registry()
        .register(&mut server, Token(0), Interest::READABLE)?;

    client.write_all(b"salmon 3\ntrout 1\n")?;
    println!(
        "17 bytes sent;           {}",
        wait(&mut poll, Duration::from_secs(10))?
    );
    let mut buffer = [0; 9];
    println!("one read of 9 bytes;     {} bytes", server.read(&mut buffer)?);
    println!(
        "8 bytes are still there; {}",
        wait(&mut poll, Duration::from_millis(500))?
    );
    println!("a second read;           {} bytes", server.read(&mut buffer)?);
    let third = server.read(&mut buffer);
    println!(
        "a third;                 {}",
        third.map_or_else(|error| error.kind().to_string(), |len| len.to_string())
    );
    client.write_all(b"salmon 2\n")?;
    println!(
        "9 bytes sent;            {}",
        wait(&mut poll, Duration::from_secs(10))?
    );
    Ok(())
}

fn wait(poll: &mut Poll, patience: Duration) -> std::io::Result<&'static str> {
    let mut events = Events::with_capacity(16);
    poll.poll(&mut events, Some(patience))?;
    Ok(if events.is_empty() {
        "no event"
    } else {
        "an event: readable"
    })
}
// ANCHOR_END: program
