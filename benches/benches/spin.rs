//! `cargo xtask bench spin`: how long a message of 64 bytes takes there and back between two cores, both sides polling
//! without waiting: loops with `LoopOptions::spin` beside loops of bare `epoll_wait` calls with a timeout of zero.
//!
//! Eleven rounds, each with both, one after another; the bare loops also against themselves, to show the noise. What
//! is printed is the median of a round's medians, and of the ratios. Both cores have to be free.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark: what fails ends it, what it finds it prints"
)]

use std::cell::{Cell, RefCell};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use sockeye::event_loop::{
    ConnectRequest, Datagram, DatagramOptions, DatagramService, Datagrams, EventLoop, ListenOptions,
    LoopOptions, Stream, StreamOptions, StreamService,
};
use sockeye_socket::os;

const ROUNDS: usize = 11;
const SIZE: usize = 64;

#[derive(Clone, Copy, PartialEq)]
enum Transport {
    Tcp,
    Udp,
}

fn main() {
    let smoke = sockeye_benches::is_smoke() || std::env::args().any(|argument| argument == "--test");
    let cores = os::allowed_cpus().unwrap();
    let (&[near, far, ..], false) = (&cores[..], cores.len() < 2) else {
        println!("spin: not measured: it needs two cores");
        return;
    };
    let (rounds, messages) = if smoke { (1, 200) } else { (ROUNDS, 20_000) };
    println!("spin: a message of {SIZE} bytes there and back, {rounds} rounds of {messages} messages");
    for (transport, name) in [(Transport::Tcp, "tcp"), (Transport::Udp, "udp")] {
        let mut bare = Vec::new();
        let mut own = Vec::new();
        let (mut ratios, mut noise) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let first = bare_round(transport, near, far, messages);
            let ours = loop_round(transport, near, far, messages);
            let again = bare_round(transport, near, far, messages);
            ratios.push(ours / ((first + again) / 2.0));
            noise.push(again / first);
            bare.push(first);
            own.push(ours);
        }
        println!(
            "{name}: bare epoll {:.0} ns, event loop {:.0} ns: {:.3} (at most 1.15); bare again {:.3}",
            median(&mut bare),
            median(&mut own),
            median(&mut ratios),
            median(&mut noise),
        );
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn middle(times: &mut [u64]) -> f64 {
    times.sort_unstable();
    times[times.len() / 2] as f64
}

/// An epoll with one descriptor.
struct Epoll(OwnedFd);

impl Epoll {
    fn of(fd: i32) -> Self {
        // SAFETY: epoll_create1 takes a number.
        #[expect(unsafe_code, reason = "the bare calls are what is compared with")]
        let number = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        assert!(number >= 0, "epoll_create1");
        // SAFETY: the descriptor was just opened, and is nobody else's.
        #[expect(unsafe_code, reason = "the bare calls are what is compared with")]
        let epoll = unsafe { OwnedFd::from_raw_fd(number) };
        let mut event = libc::epoll_event {
            events: (libc::EPOLLIN | libc::EPOLLET).cast_unsigned(),
            u64: 0,
        };
        // SAFETY: epoll_ctl reads one event, which lives for the call.
        #[expect(unsafe_code, reason = "the bare calls are what is compared with")]
        let added = unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event) };
        assert_eq!(added, 0);
        Self(epoll)
    }

    /// Asks until there is something.
    fn spin(&self, stop: &AtomicBool) -> bool {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 64];
        loop {
            // SAFETY: epoll_wait writes at most 64 events into 64 places.
            #[expect(unsafe_code, reason = "the bare calls are what is compared with")]
            let ready = unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), 64, 0) };
            if ready > 0 {
                return true;
            }
            if stop.load(Ordering::Relaxed) {
                return false;
            }
        }
    }
}

/// What both transports do, for the bare loops.
trait Socket: Send + 'static {
    fn fd(&self) -> i32;
    fn receive(&mut self, buffer: &mut [u8]) -> std::io::Result<usize>;
    fn send(&mut self, data: &[u8]);
}

impl Socket for TcpStream {
    fn fd(&self) -> i32 {
        self.as_raw_fd()
    }
    fn receive(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.read(buffer)
    }
    fn send(&mut self, data: &[u8]) {
        self.write_all(data).unwrap();
    }
}

/// A UDP socket that serves whoever asks, as the loop's does: not connected.
struct Unconnected {
    socket: UdpSocket,
    peer: SocketAddr,
}

impl Socket for Unconnected {
    fn fd(&self) -> i32 {
        self.socket.as_raw_fd()
    }
    fn receive(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let (len, from) = self.socket.recv_from(buffer)?;
        self.peer = from;
        Ok(len)
    }
    fn send(&mut self, data: &[u8]) {
        self.socket.send_to(data, self.peer).unwrap();
    }
}

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

fn bare_round(transport: Transport, near: usize, far: usize, messages: usize) -> f64 {
    match transport {
        Transport::Tcp => {
            let listener = TcpListener::bind(loopback()).unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (server, _) = listener.accept().unwrap();
            for stream in [&client, &server] {
                stream.set_nodelay(true).unwrap();
                stream.set_nonblocking(true).unwrap();
            }
            bare(client, server, near, far, messages)
        }
        Transport::Udp => {
            let (client, server) = (
                UdpSocket::bind(loopback()).unwrap(),
                UdpSocket::bind(loopback()).unwrap(),
            );
            let peers = [server.local_addr().unwrap(), client.local_addr().unwrap()];
            for socket in [&client, &server] {
                socket.set_nonblocking(true).unwrap();
            }
            let [client, server] =
                [(client, peers[0]), (server, peers[1])].map(|(socket, peer)| Unconnected { socket, peer });
            bare(client, server, near, far, messages)
        }
    }
}

fn bare<S: Socket>(mut client: S, mut server: S, near: usize, far: usize, messages: usize) -> f64 {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let thread = std::thread::spawn(move || {
        os::pin_thread_to_cpu(far).unwrap();
        let epoll = Epoll::of(server.fd());
        let mut buffer = [0; 65_536];
        while epoll.spin(&stopped) {
            if let Ok(len) = server.receive(&mut buffer) {
                server.send(&buffer[..len]);
            }
        }
    });
    os::pin_thread_to_cpu(near).unwrap();
    let epoll = Epoll::of(client.fd());
    let mut buffer = [0; 65_536];
    let mut times = Vec::with_capacity(messages);
    for _ in 0..messages {
        let begun = os::monotonic_ns();
        client.send(&[7; SIZE]);
        while epoll.spin(&stop) {
            if client.receive(&mut buffer).is_ok() {
                break;
            }
        }
        times.push(os::monotonic_ns() - begun);
    }
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();
    middle(&mut times)
}

struct Echo;

impl StreamService for Echo {
    type Conn = ();

    fn on_open(&mut self, _: &mut Stream<'_>) {}

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        let _ = stream.write(data);
        data.len()
    }
}

impl DatagramService for Echo {
    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        let _ = socket.send(&datagram.echo());
    }
}

/// Sends, waits for the answer, sends again.
struct Pinger {
    to: SocketAddr,
    begun: Cell<u64>,
    left: usize,
    times: Rc<RefCell<Vec<u64>>>,
}

impl Pinger {
    /// Notes one answer. `false` when it was the last.
    fn note(&mut self) -> bool {
        let now = os::monotonic_ns();
        self.times.borrow_mut().push(now - self.begun.get());
        self.left -= 1;
        self.begun.set(os::monotonic_ns());
        self.left > 0
    }
}

impl StreamService for Pinger {
    type Conn = ();

    fn on_open(&mut self, stream: &mut Stream<'_>) {
        self.begun.set(os::monotonic_ns());
        let _ = stream.write(&[7; SIZE]);
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        if self.note() {
            let _ = stream.write(&[7; SIZE]);
        } else {
            stream.context().stop();
        }
        data.len()
    }
}

impl DatagramService for Pinger {
    fn on_open(&mut self, socket: &mut Datagrams<'_>) {
        self.begun.set(os::monotonic_ns());
        let _ = socket.send_to(&[7; SIZE], self.to);
    }

    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, _: Datagram<'_>) {
        if self.note() {
            let _ = socket.send_to(&[7; SIZE], self.to);
        } else {
            socket.context().stop();
        }
    }
}

fn spinning() -> EventLoop {
    let options = LoopOptions {
        spin: Duration::from_secs(10),
        ..LoopOptions::default()
    };
    EventLoop::with_options(options).unwrap()
}

fn loop_round(transport: Transport, near: usize, far: usize, messages: usize) -> f64 {
    let (tell, told) = channel();
    let thread = std::thread::spawn(move || {
        os::pin_thread_to_cpu(far).unwrap();
        let mut events = spinning();
        let at = match transport {
            Transport::Tcp => {
                let service = events.add_stream_service(Echo, StreamOptions::default());
                let listener = events.listen(service, loopback(), &ListenOptions::default());
                events.local_addr(listener.unwrap())
            }
            Transport::Udp => {
                let service = events.add_datagram_service(Echo);
                let socket = events.bind(service, loopback(), &DatagramOptions::default());
                events.local_addr(socket.unwrap())
            }
        };
        tell.send((at.unwrap(), events.remote())).unwrap();
        events.run().unwrap();
    });
    let (to, remote) = told.recv().unwrap();
    os::pin_thread_to_cpu(near).unwrap();
    let mut events = spinning();
    let times: Rc<RefCell<Vec<u64>>> = Rc::default();
    let pinger = Pinger {
        to,
        begun: Cell::new(0),
        left: messages,
        times: Rc::clone(&times),
    };
    match transport {
        Transport::Tcp => {
            let service = events.add_stream_service(pinger, StreamOptions::default());
            events.connect(service, ConnectRequest::new(to));
        }
        Transport::Udp => {
            let service = events.add_datagram_service(pinger);
            events
                .bind(service, loopback(), &DatagramOptions::default())
                .unwrap();
        }
    }
    events.run().unwrap();
    drop(events);
    remote.stop().unwrap();
    thread.join().unwrap();
    middle(&mut times.take())
}
