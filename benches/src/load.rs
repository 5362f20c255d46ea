//! A closed loop over TCP or a Unix socket: each connection sends a message, waits until all of it has come back, and sends the
//! next one.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Events, Interest, Poll, Token};

use crate::meter::cpu_ns;

/// What to send.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Connections, each with one message under way.
    pub connections: usize,
    /// Bytes of a message.
    pub size: usize,
    /// Messages in all.
    pub messages: u64,
    /// The process whose CPU time is measured meanwhile. With one, each connection sends a few messages before that count for
    /// nothing: by then it is accepted, and what its server makes for it is made.
    pub watched: Option<u32>,
    /// Whether the time of each round trip is recorded: from before its first write to after its last read. The clock is read
    /// twice a message for that.
    pub timed: bool,
}

/// What it took.
#[derive(Debug, Clone)]
pub struct Measured {
    /// From the first byte to the last.
    pub time: Duration,
    /// CPU time of the process that was watched, in nanoseconds.
    pub cpu_ns: Option<u64>,
    /// Round trips in nanoseconds, those that count, to three digits.
    pub round_trips: Option<Histogram<u64>>,
}

/// Messages of each connection before those that count.
const WARM: u64 = 4;

/// Without an answer for so long the server is taken for stuck.
const PATIENCE: Duration = Duration::from_secs(30);

struct Connection<S> {
    stream: S,
    /// Bytes of the message that are still to be written; 0 while the answer is awaited.
    unsent: usize,
    /// Bytes of the answer that are still to come; 0 when there is nothing under way.
    awaited: usize,
    /// When the message under way was begun.
    begun: Instant,
}

/// Three digits of everything from 1 ns to [`PATIENCE`].
fn histogram() -> io::Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, PATIENCE.as_secs() * 1_000_000_000, 3).map_err(io::Error::other)
}

/// Sends exactly `shape.messages` messages to an echo server, and says what that took.
///
/// # Errors
/// When a connection fails or ends, when a byte comes back that was not sent, or `TimedOut` when nothing
/// comes for half a minute.
pub fn closed_loop(server: SocketAddr, shape: Shape) -> io::Result<Measured> {
    run(shape, || {
        // Connected before it is made nonblocking, so that the measurement holds no handshake.
        let stream = std::net::TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(TcpStream::from_std(stream))
    })
}

/// The same over a Unix socket with an abstract name.
///
/// # Errors
/// As [`closed_loop`].
pub fn closed_loop_unix(name: &str, shape: Shape) -> io::Result<Measured> {
    use std::os::linux::net::SocketAddrExt as _;
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
    run(shape, || {
        let stream = std::os::unix::net::UnixStream::connect_addr(&address)?;
        stream.set_nonblocking(true)?;
        Ok(UnixStream::from_std(stream))
    })
}

fn run<S: Read + Write + Source>(
    shape: Shape,
    connect: impl FnMut() -> io::Result<S>,
) -> io::Result<Measured> {
    let mut poll = Poll::new()?;
    let mut connections = open(shape, &poll, connect)?;
    let payload = vec![b'x'; shape.size];
    if shape.watched.is_some() {
        let warm = WARM * shape.connections as u64;
        exchange(&mut poll, &mut connections, &payload, warm, None)?;
    }
    let mut round_trips = shape.timed.then(histogram).transpose()?;
    let cpu_ns = || shape.watched.map(cpu_ns).transpose();
    let (begun, before) = (Instant::now(), cpu_ns()?);
    exchange(
        &mut poll,
        &mut connections,
        &payload,
        shape.messages,
        round_trips.as_mut(),
    )?;
    Ok(Measured {
        time: begun.elapsed(),
        cpu_ns: cpu_ns()?
            .zip(before)
            .map(|(after, before)| after.saturating_sub(before)),
        round_trips,
    })
}

/// Sends so many messages in all, and waits for their answers.
fn exchange<S: Read + Write>(
    poll: &mut Poll,
    connections: &mut [Connection<S>],
    payload: &[u8],
    messages: u64,
    mut round_trips: Option<&mut Histogram<u64>>,
) -> io::Result<()> {
    let mut buffer = vec![0; 256 * 1024];
    let mut events = Events::with_capacity(1024);
    let (mut started, mut finished) = (0, 0);
    for connection in &mut *connections {
        connection.begun = Instant::now();
        connection.start(payload, &mut started, messages)?;
    }
    while finished < messages {
        poll.poll(&mut events, Some(PATIENCE))?;
        if events.is_empty() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        for event in &events {
            let connection = &mut connections[event.token().0];
            if event.is_writable() {
                connection.write(payload)?;
            }
            if event.is_readable() {
                while connection.read(&mut buffer)? {
                    finished += 1;
                    if let Some(round_trips) = &mut round_trips {
                        let spent_ns = connection.begun.elapsed().as_nanos();
                        round_trips.saturating_record(u64::try_from(spent_ns).unwrap_or(u64::MAX).max(1));
                        connection.begun = Instant::now();
                    }
                    connection.start(payload, &mut started, messages)?;
                }
            }
        }
    }
    Ok(())
}

fn open<S: Source>(
    shape: Shape,
    poll: &Poll,
    mut connect: impl FnMut() -> io::Result<S>,
) -> io::Result<Vec<Connection<S>>> {
    (0..shape.connections)
        .map(|index| {
            let mut stream = connect()?;
            poll.registry()
                .register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
            Ok(Connection {
                stream,
                unsent: 0,
                awaited: 0,
                begun: Instant::now(),
            })
        })
        .collect()
}

impl<S: Read + Write> Connection<S> {
    /// Begins the next message, if there is one to begin.
    fn start(&mut self, payload: &[u8], started: &mut u64, messages: u64) -> io::Result<()> {
        if *started == messages {
            return Ok(());
        }
        *started += 1;
        (self.unsent, self.awaited) = (payload.len(), payload.len());
        self.write(payload)
    }

    fn write(&mut self, payload: &[u8]) -> io::Result<()> {
        while self.unsent > 0 {
            match self.stream.write(&payload[payload.len() - self.unsent..]) {
                Ok(count) => self.unsent -= count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what is there; `true` when that completed the answer.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) if count > self.awaited || buffer[..count].iter().any(|byte| *byte != b'x') => {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "an answer that was not asked for",
                    ));
                }
                Ok(count) => {
                    self.awaited -= count;
                    if self.awaited == 0 {
                        return Ok(true);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Serves as many connections as it is told, by blocking copies on threads, and returns the bytes echoed.
    fn echo(listener: TcpListener, connections: usize) -> std::thread::JoinHandle<u64> {
        std::thread::spawn(move || {
            let threads: Vec<_> = (0..connections)
                .map(|_| {
                    let (stream, _) = listener.accept().unwrap();
                    std::thread::spawn(move || io::copy(&mut &stream, &mut &stream).unwrap())
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        })
    }

    #[test]
    fn exactly_the_messages_that_were_asked_for_are_sent() {
        for (connections, size, messages) in [(1, 64, 100), (7, 64, 100), (3, 300_000, 10)] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let server = listener.local_addr().unwrap();
            let echoed = echo(listener, connections);
            let measured = closed_loop(
                server,
                Shape {
                    connections,
                    size,
                    messages,
                    watched: None,
                    timed: true,
                },
            )
            .unwrap();
            assert_eq!(echoed.join().unwrap(), messages * size as u64);
            assert_eq!(measured.round_trips.unwrap().len(), messages);
        }
    }

    #[test]
    fn those_that_warm_up_come_on_top() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        let echoed = echo(listener, 3);
        // Not this process: the time of a thread of another test would go away with it.
        let mut watched = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let shape = Shape {
            connections: 3,
            size: 64,
            messages: 10,
            watched: Some(watched.id()),
            timed: false,
        };
        let measured = closed_loop(server, shape);
        watched.kill().unwrap();
        watched.wait().unwrap();
        assert!(measured.unwrap().cpu_ns.is_some());
        assert_eq!(echoed.join().unwrap(), (10 + 3 * WARM) * 64);
    }

    #[test]
    fn a_server_that_hangs_up_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        let thread = std::thread::spawn(move || drop(listener.accept()));
        let result = closed_loop(
            server,
            Shape {
                connections: 1,
                size: 64,
                messages: 10,
                watched: None,
                timed: false,
            },
        );
        assert!(result.is_err());
        thread.join().unwrap();
    }
}
