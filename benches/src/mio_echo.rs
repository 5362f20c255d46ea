//! An echo server on bare mio, written by hand as well as mio allows: what the event loop is measured against.
//!
//! Edge-triggered, both directions registered once; connections in a slab; one buffer of 64 KiB for all of
//! them, never zeroed again; written at once, only what the kernel does not take is kept; no second read after
//! a short one. It has no deadlines, no limits and no services: what the event loop adds is measured against it.

use std::io::{self, Read as _, Write as _};

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

const LISTENER: Token = Token(usize::MAX);

struct Connection {
    stream: TcpStream,
    /// What the kernel did not take. While there is any nothing more is read.
    unsent: Vec<u8>,
    /// A read may give something: set by an event, cleared by a short read or `WouldBlock`.
    readable: bool,
    /// The peer has shut down its side: a short read is no reason to stop then.
    read_closed: bool,
}

/// Serves until the poller fails.
///
/// # Errors
/// What the poller or the listener says.
pub fn serve(mut listener: TcpListener) -> io::Result<()> {
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
                accept(&listener, &poll, &mut connections)?;
            } else if let Some(connection) = connections.get_mut(event.token().0)
                && !connection.on_event(event, &mut buffer)
            {
                connections.remove(event.token().0);
            }
        }
    }
}

fn accept(listener: &TcpListener, poll: &Poll, connections: &mut Slab<Connection>) -> io::Result<()> {
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
        entry.insert(Connection {
            stream,
            unsent: Vec::new(),
            readable: false,
            read_closed: false,
        });
    }
}

impl Connection {
    /// Whether the connection goes on.
    fn on_event(&mut self, event: &Event, buffer: &mut [u8]) -> bool {
        if event.is_error() {
            return false;
        }
        self.readable |= event.is_readable();
        self.read_closed |= event.is_read_closed();
        if !self.unsent.is_empty() && event.is_writable() {
            let mut unsent = std::mem::take(&mut self.unsent);
            let Ok(written) = self.write(&unsent) else {
                return false;
            };
            unsent.drain(..written);
            self.unsent = unsent;
        }
        while self.readable && self.unsent.is_empty() {
            match self.stream.read(buffer) {
                Ok(0) => return false,
                Ok(count) => {
                    self.readable = count == buffer.len() || self.read_closed;
                    let Ok(written) = self.write(&buffer[..count]) else {
                        return false;
                    };
                    self.unsent.extend_from_slice(&buffer[written..count]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }

    /// Writes until all is gone or the kernel takes no more.
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        while written < bytes.len() {
            match (&self.stream).write(&bytes[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }
}
