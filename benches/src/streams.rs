//! One thread, both ends of a connection: what a bare stream costs, ours, mio's and the standard library's, by the same
//! code.
//!
//! Over the loopback the kernel delivers within the call that sends, so the other end finds the bytes there.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use sockeye_socket::os::thread_cpu_ns;

/// A kind of stream.
pub trait Kind {
    /// As the table calls it.
    const NAME: &'static str;
    /// Its listener.
    type Listener;
    /// Its stream, nonblocking.
    type Stream: Read + Write;

    /// Listens at `addr`.
    ///
    /// # Errors
    /// The kernel's.
    fn bind(addr: SocketAddr) -> io::Result<Self::Listener>;

    /// Where it listens.
    ///
    /// # Errors
    /// The kernel's.
    fn local_addr(listener: &Self::Listener) -> io::Result<SocketAddr>;

    /// Starts to connect.
    ///
    /// # Errors
    /// The kernel's.
    fn connect(addr: SocketAddr) -> io::Result<Self::Stream>;

    /// Accepts.
    ///
    /// # Errors
    /// The kernel's.
    fn accept(listener: &Self::Listener) -> io::Result<Self::Stream>;
}

/// This workspace's types.
#[derive(Debug)]
pub struct Ours;

impl Kind for Ours {
    const NAME: &'static str = "sockeye";
    type Listener = sockeye_tcp_stream::TcpListener;
    type Stream = sockeye_tcp_stream::TcpStream;

    fn bind(addr: SocketAddr) -> io::Result<Self::Listener> {
        Self::Listener::bind(addr)
    }

    fn local_addr(listener: &Self::Listener) -> io::Result<SocketAddr> {
        listener.local_addr()
    }

    fn connect(addr: SocketAddr) -> io::Result<Self::Stream> {
        Self::Stream::connect(addr)
    }

    fn accept(listener: &Self::Listener) -> io::Result<Self::Stream> {
        Ok(listener.accept()?.0)
    }
}

/// mio's types.
#[derive(Debug)]
pub struct Mio;

impl Kind for Mio {
    const NAME: &'static str = "mio";
    type Listener = mio::net::TcpListener;
    type Stream = mio::net::TcpStream;

    fn bind(addr: SocketAddr) -> io::Result<Self::Listener> {
        Self::Listener::bind(addr)
    }

    fn local_addr(listener: &Self::Listener) -> io::Result<SocketAddr> {
        listener.local_addr()
    }

    fn connect(addr: SocketAddr) -> io::Result<Self::Stream> {
        Self::Stream::connect(addr)
    }

    fn accept(listener: &Self::Listener) -> io::Result<Self::Stream> {
        Ok(listener.accept()?.0)
    }
}

/// The standard library's types, made nonblocking.
#[derive(Debug)]
pub struct Std;

impl Kind for Std {
    const NAME: &'static str = "std";
    type Listener = TcpListener;
    type Stream = TcpStream;

    fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
        let listener = TcpListener::bind(addr)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    fn local_addr(listener: &TcpListener) -> io::Result<SocketAddr> {
        listener.local_addr()
    }

    fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(addr)?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    }

    fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
        let stream = listener.accept()?.0;
        stream.set_nonblocking(true)?;
        Ok(stream)
    }
}

/// Again where the kernel was not ready, which over the loopback is rare.
fn until_ready<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
            answer => return answer,
        }
    }
}

/// A connection with both its ends.
#[derive(Debug)]
pub struct Pair<K: Kind> {
    near: K::Stream,
    far: K::Stream,
    buffer: Vec<u8>,
}

impl<K: Kind> Pair<K> {
    /// Connects, with room for messages of `size` bytes.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(size: usize) -> io::Result<Self> {
        let door = Door::<K>::new()?;
        let (near, far) = door.enter()?;
        Ok(Self {
            near,
            far,
            buffer: vec![0x5a; size],
        })
    }

    /// A message there and back.
    ///
    /// # Errors
    /// The kernel's.
    pub fn round_trip(&mut self) -> io::Result<()> {
        pass(&mut self.near, &mut self.far, &mut self.buffer)?;
        pass(&mut self.far, &mut self.near, &mut self.buffer)
    }

    /// A message there.
    ///
    /// # Errors
    /// The kernel's.
    pub fn one_way(&mut self) -> io::Result<()> {
        pass(&mut self.near, &mut self.far, &mut self.buffer)
    }
}

/// Sends the buffer through `from` and reads as much from `to`, piece by piece where it does not go at once.
fn pass(from: &mut impl Write, to: &mut impl Read, buffer: &mut [u8]) -> io::Result<()> {
    let (mut sent, mut received) = (0, 0);
    while received < buffer.len() {
        if let Some(rest) = buffer.get(sent..).filter(|rest| !rest.is_empty()) {
            match from.write(rest) {
                Ok(len) => sent += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        while received < sent {
            // Into the place that has been sent already.
            let Some(room) = buffer.get_mut(received..sent) else {
                break;
            };
            received += until_ready(|| to.read(room))?;
        }
    }
    Ok(())
}

/// A listener, and its own clients.
#[derive(Debug)]
pub struct Door<K: Kind> {
    listener: K::Listener,
    address: SocketAddr,
}

impl<K: Kind> Door<K> {
    /// Listens on the loopback.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new() -> io::Result<Self> {
        let listener = K::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let address = K::local_addr(&listener)?;
        Ok(Self { listener, address })
    }

    /// Connects and accepts; whoever drops the two ends closes them.
    ///
    /// # Errors
    /// The kernel's.
    pub fn enter(&self) -> io::Result<(K::Stream, K::Stream)> {
        let near = K::connect(self.address)?;
        let far = until_ready(|| K::accept(&self.listener))?;
        Ok((near, far))
    }

    /// A connection that is closed by the end that accepted, first, so that its port is not used up: the client's
    /// goes to TIME_WAIT at the server's well-known side.
    ///
    /// # Errors
    /// The kernel's.
    pub fn come_and_go(&self) -> io::Result<()> {
        let (near, far) = self.enter()?;
        drop(far);
        drop(near);
        Ok(())
    }
}

/// A file, and a connection to send it through.
///
/// One thread has both ends here too, and counts the CPU of the calls that send alone: were the reader another thread,
/// the kernel would do the one's work in the other's time, now more, now less.
#[derive(Debug)]
pub struct FileServer {
    file: File,
    len: u64,
    stream: sockeye_tcp_stream::TcpStream,
    peer: sockeye_tcp_stream::TcpStream,
    buffer: Vec<u8>,
}

/// Bytes a call, which the peer takes before the next: more would have the kernel send a part in the peer's time.
const PIECE: usize = 64 * 1024;

impl FileServer {
    /// A file of `len` bytes in the system's temporary folder, unlinked at once, and a connection.
    ///
    /// # Errors
    /// The system's.
    pub fn new(len: usize) -> io::Result<Self> {
        static FILES: AtomicU32 = AtomicU32::new(0);
        let (process, number) = (std::process::id(), FILES.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(format!("sockeye-bench-{process}-{number}"));
        let mut file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        std::fs::remove_file(&path)?;
        file.write_all(&vec![0x5a; len])?;
        let (stream, peer) = Door::<Ours>::new()?.enter()?;
        Ok(Self {
            file,
            len: len as u64,
            stream,
            peer,
            buffer: vec![0; PIECE],
        })
    }

    /// The whole file by sendfile; the nanoseconds of CPU that sending took.
    ///
    /// # Errors
    /// The kernel's.
    pub fn sendfile(&mut self) -> io::Result<u64> {
        self.send(|this, mut offset| this.stream.send_file(&this.file, &mut offset, PIECE))
    }

    /// The whole file by reads and writes of 64 KiB; the nanoseconds of CPU that both took.
    ///
    /// # Errors
    /// The kernel's.
    pub fn read_and_write(&mut self) -> io::Result<u64> {
        self.send(|this, offset| {
            let read = this.file.read_at(&mut this.buffer, offset)?;
            this.stream.write(this.buffer.get(..read).unwrap_or_default())
        })
    }

    /// Sends piece after piece, and takes the time of that alone, less what it takes to look at the clock.
    fn send(&mut self, piece: impl Fn(&mut Self, u64) -> io::Result<usize>) -> io::Result<u64> {
        let looks: Vec<_> = (0..9).map(|_| thread_cpu_ns()).collect();
        let clock_ns = looks.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap_or(0);
        let mut offset = 0;
        let mut spent_ns = 0;
        while offset < self.len {
            let begun_ns = thread_cpu_ns();
            let sent = piece(self, offset)?;
            spent_ns += (thread_cpu_ns() - begun_ns).saturating_sub(clock_ns);
            offset += sent as u64;
            self.drain(sent)?;
        }
        Ok(spent_ns)
    }

    fn drain(&mut self, mut len: usize) -> io::Result<()> {
        while len > 0 {
            len -= until_ready(|| self.peer.read(&mut self.buffer))?;
        }
        Ok(())
    }
}
