//! Chapter 6, exercise 3: slow work goes to a thread, and its answer comes back by a `Remote`.
#![expect(clippy::print_stdout, reason = "a program")]

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use sockeye::event_loop::{EventLoop, ListenOptions, Remote, Stream, StreamId, StreamOptions, StreamService};

// ANCHOR: program
type Job = (StreamId, Vec<u8>);

/// Answers what it gets; a line that begins with `s` takes a second, on another thread.
struct Sleepy {
    jobs: SyncSender<Job>,
}

impl StreamService for Sleepy {
    type Conn = ();

    fn on_open(&mut self, _: &mut Stream<'_>) {}

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        if data.first() != Some(&b's') {
            let _ = stream.write(data);
        } else if self.jobs.try_send((stream.id(), data.to_vec())).is_err() {
            // The queue of jobs has a bound: better to refuse than to hoard.
            let _ = stream.write(b"? busy\n");
        }
        data.len()
    }
}

fn work(jobs: &Receiver<Job>, remote: &Remote) {
    while let Ok((id, answer)) = jobs.recv() {
        std::thread::sleep(Duration::from_secs(1));
        // The connection may be gone by now: then nothing happens, as its id is never
        // given to another one.
        let _ = remote.send(id, answer);
    }
}
// ANCHOR_END: program

fn main() -> Result<(), Box<dyn Error>> {
    let mut events = EventLoop::new()?;
    let remote = events.remote();
    let (jobs, queue) = sync_channel(100);
    let at_work = remote.clone();
    std::thread::spawn(move || work(&queue, &at_work));
    let service = events.add_stream_service(Sleepy { jobs }, StreamOptions::default());
    let listener = events.listen(service, "127.0.0.1:0".parse()?, &ListenOptions::default())?;
    let at = events.local_addr(listener)?;
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
    slow.write_all(b"slow\n")?;
    quick.write_all(b"quick\n")?;
    for stream in [quick, slow] {
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        print!("{line}");
    }
    Ok(())
}
