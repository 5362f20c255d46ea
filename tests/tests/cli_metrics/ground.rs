//! Programs with an endpoint, and a client of HTTP that takes nothing on trust.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;

use sockeye_tests::program::{self, Running};
use sockeye_tests::wait::PATIENCE;

/// A program that runs and has an endpoint.
pub(crate) struct Program {
    pub(crate) running: Running,
    /// What follows `listening on`.
    pub(crate) listens: Vec<String>,
    /// What follows `metrics on`.
    pub(crate) metrics: String,
}

impl Program {
    /// Starts `sockeye` with these words; they ask for an endpoint.
    #[track_caller]
    pub(crate) fn start(words: &[&str]) -> Self {
        let running = Running::start(Command::new(program::sockeye()).args(words));
        let mut listens = Vec::new();
        let metrics = loop {
            let line = running.line(PATIENCE);
            if let Some(at) = line.strip_prefix("metrics on ") {
                break at.to_owned();
            }
            if let Some(at) = line.strip_prefix("listening on ") {
                listens.push(at.to_owned());
            }
        };
        Self {
            running,
            listens,
            metrics,
        }
    }

    /// Where its endpoint is.
    #[track_caller]
    pub(crate) fn addr(&self) -> SocketAddr {
        assert!(self.metrics.starts_with("http://"), "{}", self.metrics);
        addr_of(&self.metrics)
    }

    /// Where its listener of that number is.
    #[track_caller]
    pub(crate) fn listener(&self, nth: usize) -> SocketAddr {
        addr_of(&self.listens[nth])
    }

    /// A whole answer with status 200 to a GET.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> String {
        let mut stream = connect(self.addr());
        let answer = ask(
            &mut stream,
            &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        );
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    /// Ends it in order.
    #[track_caller]
    pub(crate) fn end(mut self) {
        self.running.signal(libc::SIGTERM);
        assert_eq!(self.running.wait(PATIENCE).code(), Some(0));
    }
}

#[track_caller]
fn addr_of(at: &str) -> SocketAddr {
    let at = at.split_once("://").expect("a scheme").1;
    at.split([' ', '/'])
        .next()
        .and_then(|at| at.parse().ok())
        .expect("an address")
}

/// A connection whose reads have an end.
#[track_caller]
pub(crate) fn connect(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(at).expect("a place in the backlog");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Lines of the head but the first.
    pub(crate) headers: Vec<String>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.headers.iter().filter_map(|line| line.split_once(": "));
        lines
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

/// Sends a request and reads its answer.
#[track_caller]
pub(crate) fn ask(stream: &mut (impl Read + Write), request: &str) -> Answer {
    stream.write_all(request.as_bytes()).expect("it takes a request");
    answer(stream, !request.starts_with("HEAD"))
}

/// Reads one answer, to its last byte and no further.
#[track_caller]
pub(crate) fn answer(stream: &mut impl Read, has_body: bool) -> Answer {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        assert_eq!(
            stream.read(&mut byte).expect("an answer"),
            1,
            "it ended after {head:?}"
        );
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("text");
    let mut lines = head.trim_end().split("\r\n").map(str::to_owned);
    let first = lines.next().unwrap_or_default();
    let status = first
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3)?.parse().ok())
        .unwrap_or_else(|| panic!("it said {first}"));
    let mut answer = Answer {
        status,
        headers: lines.collect(),
        body: String::new(),
    };
    let len: usize = answer
        .header("content-length")
        .and_then(|len| len.parse().ok())
        .expect("a length");
    if has_body {
        let mut body = vec![0; len];
        stream.read_exact(&mut body).expect("the whole body");
        answer.body = String::from_utf8(body).expect("text");
    }
    answer
}

/// A service that gives back what it gets, and ends when its peer does.
pub(crate) fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut reader = stream.try_clone()?;
                std::io::copy(&mut reader, &mut &stream)?;
                stream.shutdown(Shutdown::Write)
            });
        }
    });
    at
}

/// A session from its start to its end.
#[track_caller]
pub(crate) fn session(at: SocketAddr, text: &str) {
    let mut stream = connect(at);
    stream.write_all(text.as_bytes()).expect("it takes them");
    stream.shutdown(Shutdown::Write).expect("an end");
    let mut back = String::new();
    stream.read_to_string(&mut back).expect("they come back");
    assert_eq!(back, text);
}

/// Writes a file of the folder and says where it is.
pub(crate) fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("a file");
    path.to_str().expect("text").to_owned()
}
