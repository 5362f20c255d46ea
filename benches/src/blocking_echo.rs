//! An echo server by blocking calls, a thread for each connection: the least that a message can cost, as nobody waits for
//! readiness first.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

/// Serves until accepting fails.
///
/// # Errors
/// What the listener says.
pub fn serve(listener: &TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        // A connection that fails has ended.
        std::thread::spawn(move || echo(&stream));
    }
}

fn echo(mut stream: &TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            count => stream.write_all(&buffer[..count])?,
        }
    }
}
