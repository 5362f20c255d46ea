//! Name servers of a few lines, in threads that end with them.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use sockeye_resolver::dns::{Message, Record, RecordData, RecordType};

/// Runs until it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    asked: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// The answer of a server that recurses, without records.
pub(crate) fn answer(query: &Message) -> Message {
    let mut answer = Message::answer_to(query);
    answer.flags.recursion_available = true;
    answer
}

/// An address for every name: for `n12.test` 192.0.2.12, or 2001:db8::12.
pub(crate) fn address(query: &Message) -> Message {
    let mut answer = answer(query);
    let question = query.question.clone().unwrap();
    let digits: String = question.name.to_string();
    let digits: String = digits.chars().filter(char::is_ascii_digit).collect();
    let number: u16 = digits.parse().unwrap_or(1);
    let [high, low] = number.to_be_bytes();
    let data = match question.record_type {
        RecordType::A => RecordData::A([192, 0, 2 + high, low].into()),
        RecordType::AAAA => RecordData::Aaaa([0x2001, 0xdb8, 0, 0, 0, 0, 0, number].into()),
        _ => return answer,
    };
    answer.answers.push(Record::new(question.name, 60, data));
    answer
}

/// An answer that does not fit into a datagram.
pub(crate) fn truncated(query: &Message) -> Message {
    let mut answer = answer(query);
    answer.flags.truncated = true;
    answer
}

pub(crate) fn wire(message: &Message) -> Vec<u8> {
    let mut wire = Vec::new();
    message.write(65_535, &mut wire);
    wire
}

impl Server {
    /// Answers datagrams.
    pub(crate) fn udp(ip: &str, reply: impl Fn(&Message) -> Message + Send + 'static) -> Self {
        let socket = UdpSocket::bind((ip.parse::<IpAddr>().unwrap(), 0)).unwrap();
        let mut server = Self::at(socket.local_addr().unwrap());
        server.answer_datagrams(socket, reply);
        server
    }

    /// Answers datagrams, and has connections of the same port served by `serve`.
    pub(crate) fn both(
        reply: impl Fn(&Message) -> Message + Send + 'static,
        serve: impl Fn(TcpStream) + Send + 'static,
    ) -> Self {
        // Both ports or none: another test may have the second one.
        let (socket, listener) = (0..100)
            .find_map(|_| {
                let listener = TcpListener::bind("127.0.0.1:0").ok()?;
                let socket = UdpSocket::bind(listener.local_addr().ok()?).ok()?;
                Some((socket, listener))
            })
            .unwrap();
        let mut server = Self::at(socket.local_addr().unwrap());
        server.answer_datagrams(socket, reply);
        let stopped = Arc::clone(&server.stopped);
        server.threads.push(thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                serve(stream.unwrap());
            }
        }));
        server
    }

    /// Never answers, and does not refuse either.
    pub(crate) fn silent() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut server = Self::at(socket.local_addr().unwrap());
        let stopped = Arc::clone(&server.stopped);
        server.threads.push(thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                let _ = socket.recv_from(&mut [0; 1_500]);
            }
        }));
        server
    }

    fn at(address: SocketAddr) -> Self {
        Self {
            address,
            asked: Arc::default(),
            stopped: Arc::default(),
            threads: Vec::new(),
        }
    }

    fn answer_datagrams(&mut self, socket: UdpSocket, reply: impl Fn(&Message) -> Message + Send + 'static) {
        let (asked, stopped) = (Arc::clone(&self.asked), Arc::clone(&self.stopped));
        self.threads.push(thread::spawn(move || {
            let mut buffer = [0; 1_500];
            while let Ok((len, from)) = socket.recv_from(&mut buffer) {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(query) = Message::parse(&buffer[..len]) else {
                    continue;
                };
                asked.fetch_add(1, Ordering::SeqCst);
                let _ = socket.send_to(&wire(&reply(&query)), from);
            }
        }));
    }

    /// How many datagrams have asked it.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn stop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Whatever waits is woken.
        let any = SocketAddr::new(self.address.ip(), 0);
        let _ = UdpSocket::bind(any).and_then(|socket| socket.send_to(&[], self.address));
        let _ = TcpStream::connect(self.address);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A port that refuses datagrams for as long as this is there: nobody else can have it, and only one stranger is let in.
pub(crate) struct Refusing {
    pub(crate) address: SocketAddr,
    _socket: UdpSocket,
}

impl Refusing {
    pub(crate) fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect("127.0.0.1:9").unwrap();
        Self {
            address: socket.local_addr().unwrap(),
            _socket: socket,
        }
    }
}

/// The next question of a connection; `None` at its end.
pub(crate) fn next_query(stream: &mut TcpStream) -> Option<Message> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).ok()?;
    let mut body = vec![0; u16::from_be_bytes(head).into()];
    stream.read_exact(&mut body).ok()?;
    Message::parse(&body).ok()
}

/// An answer with its length in front.
pub(crate) fn framed(message: &Message) -> Vec<u8> {
    let wire = wire(message);
    let mut framed = u16::try_from(wire.len()).unwrap().to_be_bytes().to_vec();
    framed.extend_from_slice(&wire);
    framed
}

/// Writes an answer, a byte a second, until the client has gone.
pub(crate) fn one_byte_a_second(mut stream: TcpStream) {
    let Some(query) = next_query(&mut stream) else {
        return;
    };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
    for byte in framed(&address(&query)) {
        if stream.write_all(&[byte]).is_err() {
            return;
        }
        match stream.read(&mut [0; 512]) {
            Ok(0) => return,
            Err(error) if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return,
            _ => {}
        }
    }
}
