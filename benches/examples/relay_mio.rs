//! A relay by hand on mio, to be compared with: `relay_mio copy|splice BACKEND_PORT` prints where it listens and relays to the
//! loopback, through one buffer of 64 KiB or through a pipe of 1 MiB for each direction. No deadlines, no limits, no
//! half-close: what the least of a relay costs.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use sockeye_socket::os::Pipe;

/// One way: where it comes from is this place, where it goes its partner.
struct End {
    stream: TcpStream,
    partner: usize,
    /// What the partner did not take.
    waiting: Vec<u8>,
    pipe: Option<Pipe>,
}

const LISTENER: Token = Token(usize::MAX);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let by_splice = arguments.next().as_deref() == Some("splice");
    let port = arguments.next().ok_or("which port has the backend?")?.parse()?;
    let backend = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    writeln!(io::stdout(), "listening on tcp://{}", listener.local_addr()?)?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut ends: Slab<End> = Slab::new();
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((front, _)) = listener.accept() {
                    let back = TcpStream::connect(backend)?;
                    let one = ends.insert(end(front, by_splice)?);
                    let two = ends.insert(end(back, by_splice)?);
                    (ends[one].partner, ends[two].partner) = (two, one);
                    for place in [one, two] {
                        let both = Interest::READABLE | Interest::WRITABLE;
                        poll.registry()
                            .register(&mut ends[place].stream, Token(place), both)?;
                    }
                }
                continue;
            }
            let place = event.token().0;
            let Some(partner) = ends.get(place).map(|end| end.partner) else {
                continue;
            };
            let mut over = false;
            if event.is_writable() {
                over |= flush(&mut ends, partner, place).is_err();
            }
            if event.is_readable() {
                over |= forward(&mut ends, place, partner, &mut buffer).is_err();
            }
            if over {
                ends.remove(place);
                ends.remove(partner);
            }
        }
    }
}

fn end(stream: TcpStream, by_splice: bool) -> io::Result<End> {
    stream.set_nodelay(true)?;
    let pipe = by_splice.then(|| Pipe::with_capacity(1 << 20)).transpose()?;
    Ok(End {
        stream,
        partner: 0,
        waiting: Vec::new(),
        pipe,
    })
}

/// Sends on what `from` has kept for `to`.
fn flush(ends: &mut Slab<End>, from: usize, to: usize) -> io::Result<()> {
    let (source, sink) = ends.get2_mut(from, to).ok_or(io::ErrorKind::NotFound)?;
    if let Some(pipe) = &mut source.pipe {
        while !pipe.is_empty() {
            match pipe.drain_into(&sink.stream, false) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                outcome => outcome?,
            };
        }
        return Ok(());
    }
    while !source.waiting.is_empty() {
        match sink.stream.write(&source.waiting) {
            Ok(count) => drop(source.waiting.drain(..count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Moves what has come until there is no more or the other side takes no more.
fn forward(ends: &mut Slab<End>, from: usize, to: usize, buffer: &mut [u8]) -> io::Result<()> {
    loop {
        flush(ends, from, to)?;
        let (source, sink) = ends.get2_mut(from, to).ok_or(io::ErrorKind::NotFound)?;
        if let Some(pipe) = &mut source.pipe {
            if !pipe.is_empty() {
                return Ok(());
            }
            match pipe.fill_from(&source.stream, 1 << 20) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        if !source.waiting.is_empty() {
            return Ok(());
        }
        match source.stream.read(buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                let sent = match sink.stream.write(&buffer[..count]) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                    outcome => outcome?,
                };
                source.waiting.extend_from_slice(&buffer[sent..count]);
                // A short read says that there is no more.
                if count < buffer.len() {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
