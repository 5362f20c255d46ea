//! How fast this machine could be: the same echo by bare blocking calls, a thread for each side, without a loop.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use sockeye::event_loop::EventLoop;

use super::SocketType;
use crate::signals::stop_on_signals;

/// A datagram that has not come back after so long is lost.
const LOST_AFTER: Duration = Duration::from_millis(200);

/// Half of the round trips are no longer than so many nanoseconds. `None` where there are no such calls, as of raw sockets,
/// which the standard library does not have.
///
/// # Errors
/// What the system says; [`Interrupted`](io::ErrorKind::Interrupted) where a signal has ended it.
pub(super) fn median_ns(socket: SocketType, size: usize, time: Duration) -> anyhow::Result<Option<u64>> {
    if socket == SocketType::Raw {
        return Ok(None);
    }
    // The loop does nothing but take the signals, which a blocking call does not.
    let mut events = EventLoop::new().context("make an event loop")?;
    stop_on_signals(&mut events).context("take signals")?;
    let (remote, over) = (events.remote(), Arc::new(AtomicBool::new(false)));
    let is_over = Arc::clone(&over);
    let measuring = thread::spawn(move || {
        let measured = measure(socket, size, time, &is_over);
        is_over.store(true, Ordering::Relaxed);
        // Where the loop is gone, nobody waits.
        let _ = remote.stop();
        measured
    });
    events.run().context("run the event loop")?;
    if !over.swap(true, Ordering::Relaxed) {
        // It sees that within one round trip.
        let _ = measuring.join();
        return Err(io::Error::from(io::ErrorKind::Interrupted).into());
    }
    let measured = measuring.join().map_err(|_| io::Error::other("it panicked"))?;
    let round_trips = measured.context("measure bare calls")?;
    Ok((!round_trips.is_empty()).then(|| round_trips.value_at_quantile(0.5)))
}

fn measure(
    socket: SocketType,
    size: usize,
    time: Duration,
    is_over: &AtomicBool,
) -> io::Result<Histogram<u64>> {
    let mut round_trips = Histogram::new_with_max(60_000_000_000, 3).map_err(io::Error::other)?;
    let mut message = vec![b's'; size];
    let warm_up = time / 10;
    let start = Instant::now();
    let mut count = |mut once: Once| -> io::Result<()> {
        while start.elapsed() < time && !is_over.load(Ordering::Relaxed) {
            let sent_at = Instant::now();
            if once(&mut message)? && start.elapsed() > warm_up {
                let ns = u64::try_from(sent_at.elapsed().as_nanos()).unwrap_or(u64::MAX);
                round_trips.saturating_record(ns);
            }
        }
        Ok(())
    };
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    match socket {
        SocketType::Tcp => {
            let listener = TcpListener::bind(loopback)?;
            let client = TcpStream::connect(listener.local_addr()?)?;
            let (server, _) = listener.accept()?;
            client.set_nodelay(true)?;
            server.set_nodelay(true)?;
            stream(client, server, size, &mut count)?;
        }
        SocketType::Unix => {
            let (client, server) = UnixStream::pair()?;
            stream(client, server, size, &mut count)?;
        }
        SocketType::Udp => {
            let (client, server) = (UdpSocket::bind(loopback)?, UdpSocket::bind(loopback)?);
            client.connect(server.local_addr()?)?;
            server.connect(client.local_addr()?)?;
            datagrams(client, server, size, &mut count)?;
        }
        SocketType::Raw => {}
    }
    Ok(round_trips)
}

/// One round trip of a message, which says whether it counts.
type Once = Box<dyn FnMut(&mut [u8]) -> io::Result<bool>>;
/// Runs one round trip after another.
type Count<'a> = &'a mut dyn FnMut(Once) -> io::Result<()>;

fn stream<S: Read + Write + Send + 'static>(
    mut client: S,
    mut server: S,
    size: usize,
    count: Count<'_>,
) -> io::Result<()> {
    // It ends with the client's end of the connection.
    let echo = thread::spawn(move || {
        let mut message = vec![0; size];
        while server.read_exact(&mut message).is_ok() && server.write_all(&message).is_ok() {}
    });
    count(Box::new(move |message| {
        client.write_all(message)?;
        client.read_exact(message)?;
        Ok(true)
    }))?;
    echo.join().map_err(|_| io::Error::other("the echo panicked"))
}

fn datagrams(client: UdpSocket, server: UdpSocket, size: usize, count: Count<'_>) -> io::Result<()> {
    client.set_read_timeout(Some(LOST_AFTER))?;
    let to_end = client.try_clone()?;
    let echo = thread::spawn(move || {
        let mut message = vec![0; size];
        // An empty datagram is the end.
        while let Ok(len @ 1..) = server.recv(&mut message) {
            let _ = server.send(message.get(..len).unwrap_or_default());
        }
    });
    let result = count(Box::new(move |message| {
        client.send(message)?;
        match client.recv(message) {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }));
    to_end.send(&[])?;
    let ended = echo.join().map_err(|_| io::Error::other("the echo panicked"));
    result.and(ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_calls_have_a_median_and_end() {
        for socket in [SocketType::Tcp, SocketType::Udp, SocketType::Unix] {
            let is_over = AtomicBool::new(false);
            let measured = measure(socket, 64, Duration::from_millis(30), &is_over).unwrap();
            assert!(!measured.is_empty(), "{socket:?}");
        }
        let is_over = AtomicBool::new(true);
        let measured = measure(SocketType::Tcp, 64, Duration::from_secs(3600), &is_over).unwrap();
        assert!(measured.is_empty());
    }
}
