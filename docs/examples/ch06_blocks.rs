//! A callback that blocks, and what it does to everybody else.
#![expect(clippy::print_stdout, reason = "a program")]

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use sockeye::event_loop::{EventLoop, ListenOptions, Stream, StreamOptions, StreamService};

// ANCHOR: service
/// Answers what it gets; a line that begins with `s` takes it a second.
struct Sleepy;

impl StreamService for Sleepy {
    type Conn = ();

    fn on_open(&mut self, _: &mut Stream<'_>) {}

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        if data.first() == Some(&b's') {
            std::thread::sleep(Duration::from_secs(1)); // wrong: the loop stands still
        }
        let _ = stream.write(data);
        data.len()
    }
}
// ANCHOR_END: service

fn main() -> Result<(), Box<dyn Error>> {
    let mut events = EventLoop::new()?;
    let service = events.add_stream_service(Sleepy, StreamOptions::default());
    let listener = events.listen(service, "127.0.0.1:0".parse()?, &ListenOptions::default())?;
    let at = events.local_addr(listener)?;
    let remote = events.remote();
    let clients = std::thread::spawn(move || -> std::io::Result<()> {
        clients(at)?;
        remote.stop().map_err(std::io::Error::other)
    });
    events.run()?;
    clients.join().map_err(|_| "a client panicked")??;
    Ok(())
}

fn clients(at: SocketAddr) -> std::io::Result<()> {
    let mut slow = TcpStream::connect(at)?;
    let mut quick = TcpStream::connect(at)?;
    let begin = Instant::now();
    slow.write_all(b"slow\n")?;
    let mut line = String::new();
    quick.write_all(b"quick\n")?;
    BufReader::new(&quick).read_line(&mut line)?;
    let late = begin.elapsed() > Duration::from_millis(500);
    println!(
        "the answer to {:?} took more than half a second: {late}",
        line.trim()
    );
    Ok(())
}
