//! `echo PATH`: answers one connection after another at a path, and says who each is.
//!
//! Try it with `socat - UNIX-CONNECT:PATH`. It blocks, without an event loop. The path goes when the listener is dropped, not
//! when a signal kills the program; what an earlier run has left is taken over.

use std::error::Error;
use std::io::{self, Read as _, Write as _};
use std::time::Duration;

use sockeye_unix::{AcceptOutcome, ListenOptions, UnixStream, name_of_path};

/// How long a peer may say nothing.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: echo PATH")?;
    let listener = ListenOptions::new().mode(0o600).bind(&name_of_path(&path)?)?;
    loop {
        listener.wait_readable(Duration::MAX)?;
        match listener.accept_outcome() {
            AcceptOutcome::Accepted(stream, _) => {
                let peer = stream.peer_credentials()?;
                writeln!(io::stdout(), "process {:?} of user {}", peer.pid, peer.uid)?;
                if let Err(error) = serve(stream) {
                    writeln!(io::stderr(), "{error}")?;
                }
            }
            AcceptOutcome::Fatal(error) => return Err(error.into()),
            _ => {}
        }
    }
}

fn serve(mut stream: UnixStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        if !stream.wait_readable(PATIENCE)? {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let len = stream.read(&mut buffer)?;
        if len == 0 {
            return Ok(());
        }
        let mut rest = &buffer[..len];
        while !rest.is_empty() {
            match stream.write(rest) {
                Ok(taken) => rest = &rest[taken..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !stream.wait_writable(PATIENCE)? {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
}
