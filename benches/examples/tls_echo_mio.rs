//! An echo under TLS on bare mio and rustls, by hand as well as their interfaces allow: what `tls_echo` is measured against.
//! `tls_echo_mio PORT`.
//!
//! Edge-triggered, both directions registered once; rustls reads from the socket and writes to it itself; plaintext goes
//! through one buffer. It has no deadlines, no limits and no services.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use rustls::{ServerConfig, ServerConnection};
use slab::Slab;

const LISTENER: Token = Token(usize::MAX);

struct Connection {
    stream: TcpStream,
    tls: ServerConnection,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = std::env::args().nth(1).ok_or("which port?")?.parse()?;
    let mut listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    writeln!(io::stdout(), "listening on tls://{}", listener.local_addr()?)?;
    let config = sockeye_benches::tls::server_config()?;
    let mut poll = Poll::new()?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut connections = Slab::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut events = Events::with_capacity(1024);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => result?,
        }
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, &poll, &config, &mut connections)?;
            } else if let Some(connection) = connections.get_mut(event.token().0)
                && !matches!(connection.go_on(&mut buffer), Ok(true))
            {
                connections.remove(event.token().0);
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    poll: &Poll,
    config: &Arc<ServerConfig>,
    connections: &mut Slab<Connection>,
) -> io::Result<()> {
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        stream.set_nodelay(true)?;
        let entry = connections.vacant_entry();
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry()
            .register(&mut stream, Token(entry.key()), interest)?;
        let tls = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
        entry.insert(Connection { stream, tls });
    }
}

impl Connection {
    /// Reads, answers and writes until nothing more can be done. Whether the connection goes on.
    fn go_on(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        loop {
            while self.tls.wants_write() {
                match self.tls.write_tls(&mut self.stream) {
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                    Err(error) => return Err(error),
                }
            }
            match self.tls.read_tls(&mut self.stream) {
                Ok(0) => return Ok(false),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
            let state = self.tls.process_new_packets().map_err(io::Error::other)?;
            let mut left = state.plaintext_bytes_to_read();
            while left > 0 {
                let len = self.tls.reader().read(buffer)?;
                self.tls.writer().write_all(&buffer[..len])?;
                left -= len;
            }
        }
    }
}
