//! `sockeye relay` as a process: clients and backends are sockets of the test.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use sockeye_tests::program::{self, Output, Running};
use sockeye_tests::wait::PATIENCE;

mod managed;
mod refused;
mod reload;
pub(crate) mod secure;
mod sessions;
mod unit;

/// A relay that runs.
struct Relay {
    running: Running,
    /// What follows `listening on`, in the order of its listeners.
    at: Vec<String>,
}

impl Relay {
    /// Starts `sockeye relay` with these words, which make so many listeners.
    #[track_caller]
    fn start(words: &[&str], listeners: usize) -> Self {
        Self::of(command(words), listeners)
    }

    #[track_caller]
    fn of(mut command: Command, listeners: usize) -> Self {
        let running = Running::start(&mut command);
        let at = (0..listeners)
            .map(|_| {
                let line = running.line(PATIENCE);
                let at = line.strip_prefix("listening on ");
                at.unwrap_or_else(|| panic!("it said {line}")).to_owned()
            })
            .collect();
        Self { running, at }
    }

    /// The address of a listener of IP.
    fn addr(&self, nth: usize) -> SocketAddr {
        let at = self.at[nth].split_once("://").expect("a scheme").1;
        let at = at.split(' ').next().unwrap_or_default();
        at.parse().expect("an address")
    }

    #[track_caller]
    fn client(&self) -> TcpStream {
        client_of(self.addr(0))
    }

    /// Waits for a line on stderr that has these words in it.
    #[track_caller]
    fn says(&self, words: &str) -> String {
        let begun = Instant::now();
        let mut said = Vec::new();
        loop {
            let left = PATIENCE.saturating_sub(begun.elapsed());
            match self.running.error_line(left.max(Duration::from_millis(1))) {
                Some(line) if line.contains(words) => return line,
                Some(line) => said.push(line),
                None => panic!("it did not say {words:?}, but {said:?}"),
            }
        }
    }

    /// The next line of the log.
    #[track_caller]
    fn logs(&self) -> String {
        self.running.line(PATIENCE)
    }

    /// Ends it in order, with no session left.
    #[track_caller]
    fn end(mut self) {
        self.running.signal(libc::SIGTERM);
        assert_eq!(self.running.wait(PATIENCE).code(), Some(0));
    }
}

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(program::sockeye());
    command.arg("relay").args(words);
    command
}

/// Runs it to its end.
#[track_caller]
fn output(words: &[&str]) -> Output {
    program::output(&mut command(words), PATIENCE)
}

#[track_caller]
fn client_of(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(at).expect("a place in the backlog");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// A service that says its name on a line to whoever comes, and then gives back what it gets until the end.
struct Backend {
    at: SocketAddr,
}

impl Backend {
    fn start(name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("an address");
        let name = format!("{name}\n");
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let name = name.clone();
                thread::spawn(move || echo(stream, &name));
            }
        });
        Self { at }
    }

    fn to(&self) -> String {
        format!("tcp://{}", self.at)
    }
}

fn echo(mut stream: TcpStream, name: &str) -> Option<()> {
    stream.write_all(name.as_bytes()).ok()?;
    let mut buffer = [0; 4096];
    loop {
        let len = stream.read(&mut buffer).ok().filter(|len| *len > 0)?;
        stream.write_all(&buffer[..len]).ok()?;
    }
}

/// A port where nobody listens, as its socket is bound and does nothing else.
fn nobody() -> (socket2::Socket, String) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any.into()).expect("a port");
    let at = socket
        .local_addr()
        .expect("an address")
        .as_socket()
        .expect("of IP");
    (socket, format!("tcp://{at}"))
}

/// The line that comes first, which says which backend it is.
#[track_caller]
fn name_from(stream: &TcpStream) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    let mut stream = stream;
    while stream.read(&mut byte).expect("a name") == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    String::from_utf8(line).expect("text")
}

/// A round trip.
#[track_caller]
fn asks(mut stream: &TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).expect("it takes them");
    let mut back = vec![0; text.len()];
    stream.read_exact(&mut back).expect("they come back");
    assert_eq!(back, text.as_bytes());
}

/// Ends a session in order.
#[track_caller]
fn finish(mut stream: TcpStream) {
    stream.shutdown(Shutdown::Write).expect("an end");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("the other end");
    assert!(rest.is_empty(), "{rest:?}");
}

/// Writes a file of the folder and says where it is.
fn file(folder: &tempfile::TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, text).expect("a file");
    text_of(&path)
}

fn text_of(path: &Path) -> String {
    path.to_str().expect("text").to_owned()
}

/// What comes until the end of a line.
fn line_from(stream: &TcpStream) -> String {
    let mut line = String::new();
    let mut reader = BufReader::with_capacity(1, stream);
    reader.read_line(&mut line).expect("a line");
    line
}
