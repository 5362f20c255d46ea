//! The sockets and connections of a [`Client`](super::Client): what the engine asks for, done on the kernel.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use sockeye_socket::os::{PollFd, poll};
use sockeye_socket::{
    Cause, ConnectStart, Domain, Fault, Outgoing, QueueEntry, SendError, Socket, Type, enable_error_queue,
    options, recv_error, recv_from, send_msg,
};

use super::Clock;
use crate::dns::answer::Carrier;
use crate::dns::engine::{Engine, Transmit};

/// Room for any datagram, and for what is read of a connection at a time.
const BUFFER: usize = 65_536;

/// How often one socket or connection is read before the others and the clock have their turn.
const READS: usize = 64;

/// Everything that is open, by the engine's numbers.
pub(super) struct Transport {
    sockets: BTreeMap<u32, Socket>,
    connections: BTreeMap<u32, Connection>,
    message: Vec<u8>,
    buffer: Box<[u8]>,
}

/// A connection to a server.
struct Connection {
    socket: Socket,
    is_open: bool,
    /// What is still to be written.
    unsent: Vec<u8>,
    /// What was read and is no whole message yet.
    unread: Vec<u8>,
}

/// What to look at after the wait.
#[derive(Clone, Copy)]
enum Waiter {
    Socket(u32),
    Connection(u32),
}

impl Default for Transport {
    fn default() -> Self {
        Self {
            sockets: BTreeMap::new(),
            connections: BTreeMap::new(),
            message: Vec::new(),
            buffer: vec![0; BUFFER].into(),
        }
    }
}

impl Transport {
    /// Does what the engine wants to have done.
    pub(super) fn transmit(&mut self, engine: &mut Engine, clock: Clock) {
        loop {
            let mut message = std::mem::take(&mut self.message);
            while let Some(transmit) = engine.poll_transmit(clock.now(), &mut message) {
                match transmit {
                    Transmit::Datagram { socket, to } => self.send(engine, clock, socket, to, &message),
                    Transmit::CloseSocket { socket } => {
                        self.sockets.remove(&socket);
                    }
                    Transmit::Connect {
                        connection,
                        to,
                        carrier,
                    } => self.connect(engine, clock, connection, to, carrier),
                    Transmit::Stream { connection } => {
                        if let Some(connection) = self.connections.get_mut(&connection) {
                            connection.unsent.extend_from_slice(&message);
                        }
                    }
                    Transmit::CloseConnection { connection } => {
                        self.connections.remove(&connection);
                    }
                }
            }
            self.message = message;
            // All questions to a server leave together. Where a connection fails, there is more to do.
            if !self.flush(engine, clock) {
                return;
            }
        }
    }

    /// Waits until something comes in or a time of the engine has come, and hands in what it is.
    pub(super) fn wait(&mut self, engine: &mut Engine, clock: Clock) {
        let timeout = engine.poll_timeout().map(|at| at.saturating_sub(clock.now()));
        match self.ready(timeout) {
            Ok(ready) => {
                for waiter in ready {
                    match waiter {
                        Waiter::Socket(number) => self.receive(engine, clock, number),
                        Waiter::Connection(number) => self.advance(engine, clock, number),
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => self.lose_all(engine, clock),
        }
        engine.handle_timeout(clock.now());
    }

    /// What has something to read, or room for what is to be written.
    fn ready(&self, timeout: Option<Duration>) -> io::Result<Vec<Waiter>> {
        let sockets = self.sockets.iter().map(|(number, socket)| {
            let fd = PollFd::new(socket.as_fd(), true, false);
            (Waiter::Socket(*number), fd)
        });
        let connections = self.connections.iter().map(|(number, connection)| {
            let writable = !connection.is_open || !connection.unsent.is_empty();
            let fd = PollFd::new(connection.socket.as_fd(), connection.is_open, writable);
            (Waiter::Connection(*number), fd)
        });
        let (waiters, mut fds): (Vec<_>, Vec<_>) = sockets.chain(connections).unzip();
        poll(&mut fds, timeout)?;
        let ready =
            |(waiter, fd): (Waiter, PollFd<'_>)| (fd.is_readable() || fd.is_writable()).then_some(waiter);
        Ok(waiters.into_iter().zip(fds).filter_map(ready).collect())
    }

    /// The kernel cannot wait for what is open: too many descriptors for a limit that was lowered, or no memory.
    fn lose_all(&mut self, engine: &mut Engine, clock: Clock) {
        for number in std::mem::take(&mut self.sockets).into_keys() {
            engine.on_socket_lost(clock.now(), number);
        }
        for number in std::mem::take(&mut self.connections).into_keys() {
            engine.on_disconnected(clock.now(), number);
        }
    }

    /// Sends a question, by a new socket where the number is new.
    fn send(&mut self, engine: &mut Engine, clock: Clock, number: u32, to: SocketAddr, message: &[u8]) {
        let socket = match self.sockets.entry(number) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(place) => match open_datagrams(to) {
                Ok(socket) => place.insert(socket),
                Err(_) => {
                    engine.on_socket_lost(clock.now(), number);
                    return;
                }
            },
        };
        let message = Outgoing::to(to, message);
        let sent = send_msg(&*socket, &message).or_else(|error| match error.fault() {
            // That was an earlier question, of which the error queue knows more.
            Fault::Refused => send_msg(&*socket, &message),
            Fault::WouldBlock => {
                wait_for_room(socket, engine, clock);
                send_msg(&*socket, &message)
            }
            _ => Err(error),
        });
        // One that is lost here is asked again like one that is lost on its way.
        if sent.is_err_and(|error| error.concerns_this_datagram()) {
            engine.on_unreachable(clock.now(), number, to);
        }
    }

    /// Takes in what a socket has received, and what the network says of what it has sent.
    fn receive(&mut self, engine: &mut Engine, clock: Clock, number: u32) {
        let Some(socket) = self.sockets.get(&number) else {
            return;
        };
        for _ in 0..READS {
            match recv_from(socket, &mut self.buffer) {
                Ok((len, from)) => {
                    let bytes = self.buffer.get(..len).unwrap_or_default();
                    engine.on_datagram(clock.now(), number, from, bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // The news of an error, once: the error itself is in the queue.
                Err(_) => {}
            }
        }
        for _ in 0..READS {
            match recv_error(socket) {
                // What this host finds was returned by the send. What is too long for a path is lost, and asked again.
                Ok(Some(QueueEntry::Error(error)))
                    if error.cause != Cause::Local
                        && !matches!(SendError::from_errno(error.errno).fault(), Fault::TooBig { .. }) =>
                {
                    if let Some(server) = error.destination {
                        engine.on_unreachable(clock.now(), number, server);
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
    }

    /// Begins to connect to a server.
    fn connect(&mut self, engine: &mut Engine, clock: Clock, number: u32, to: SocketAddr, carrier: Carrier) {
        let started = if carrier == Carrier::Tcp {
            open_connection(to)
        } else {
            Err(io::ErrorKind::Unsupported.into())
        };
        match started {
            Ok(connection) => {
                let is_open = connection.is_open;
                self.connections.insert(number, connection);
                if is_open {
                    engine.on_connected(clock.now(), number);
                }
            }
            Err(_) => engine.on_disconnected(clock.now(), number),
        }
    }

    /// A connection is established or has failed, has something to read, or has room to write.
    fn advance(&mut self, engine: &mut Engine, clock: Clock, number: u32) {
        let Some(connection) = self.connections.get_mut(&number) else {
            return;
        };
        if !connection.is_open {
            if matches!(connection.socket.take_error(), Ok(None)) {
                connection.is_open = true;
                engine.on_connected(clock.now(), number);
            } else {
                self.lose(engine, clock, number);
            }
            return;
        }
        for _ in 0..READS {
            match connection.socket.recv(&mut self.buffer) {
                Ok(len) if len > 0 => {
                    let bytes = self.buffer.get(..len).unwrap_or_default();
                    connection.unread.extend_from_slice(bytes);
                    let done = engine.on_stream_data(clock.now(), number, &connection.unread);
                    connection.unread.drain(..done);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => {
                    self.lose(engine, clock, number);
                    return;
                }
            }
        }
    }

    /// Writes what the connections take. Says whether one of them has failed.
    fn flush(&mut self, engine: &mut Engine, clock: Clock) -> bool {
        let mut failed = Vec::new();
        for (number, connection) in &mut self.connections {
            if connection.is_open && !connection.write() {
                failed.push(*number);
            }
        }
        for number in &failed {
            self.lose(engine, clock, *number);
        }
        !failed.is_empty()
    }

    fn lose(&mut self, engine: &mut Engine, clock: Clock, number: u32) {
        self.connections.remove(&number);
        engine.on_disconnected(clock.now(), number);
    }
}

impl Connection {
    /// Writes what the connection takes now. `false` if it has failed.
    fn write(&mut self) -> bool {
        let mut written = 0;
        let works = loop {
            match self.unsent.get(written..) {
                None | Some([]) => break true,
                Some(rest) => match self.socket.send(rest) {
                    Ok(len) => written += len,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break true,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => break false,
                },
            }
        };
        self.unsent.drain(..written);
        works
    }
}

/// A socket for questions to servers of one family, on a port by chance.
fn open_datagrams(to: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::DGRAM, None)?;
    let any = match to {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    socket.bind(&any)?;
    // Without it a refusal is not reported, and costs a timeout.
    let _ = enable_error_queue(&socket, true);
    Ok(socket)
}

fn open_connection(to: SocketAddr) -> io::Result<Connection> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    // A question must not wait for the acknowledgement of the one before; without the option it only takes longer.
    let _ = socket.set(options::TCP_NODELAY, true);
    let is_open = socket.connect(&to)? == ConnectStart::Done;
    Ok(Connection {
        socket,
        is_open,
        unsent: Vec::new(),
        unread: Vec::new(),
    })
}

/// Waits until a full send buffer has room, at most until the engine's next time.
fn wait_for_room(socket: &Socket, engine: &Engine, clock: Clock) {
    let mut fds = [PollFd::new(socket.as_fd(), false, true)];
    loop {
        let timeout = engine.poll_timeout().map(|at| at.saturating_sub(clock.now()));
        let waited = poll(&mut fds, timeout);
        if !waited.is_err_and(|error| error.kind() == io::ErrorKind::Interrupted) {
            return;
        }
    }
}
