//! The memory of a thousand idle connections: a thread for each, and all on one loop.
#![expect(clippy::print_stdout, reason = "a program")]

#[path = "tally/counters.rs"]
mod counters;
#[path = "tally/service.rs"]
mod service;

use std::error::Error;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::channel;

use sockeye::event_loop::{EventLoop, ListenOptions, StreamOptions};
use sockeye::socket::os;

use service::Tally;

const CONNECTIONS: usize = 1000;

fn main() -> Result<(), Box<dyn Error>> {
    os::raise_nofile_limit(4096)?; // both ends of each connection are in this process
    // First, so that it does not find memory that the threads have given back.
    let events = on_a_loop()?;
    let threads = with_threads()?;
    println!("a thread for each: {:>6} bytes a connection", threads);
    println!("one event loop:    {:>6} bytes a connection", events);
    println!("the threads take more: {}", threads > events);
    Ok(())
}

// ANCHOR: threads
fn with_threads() -> Result<u64, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let at = listener.local_addr()?;
    let before = resident_bytes()?;
    let (ready, started) = channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let ready = ready.clone();
            std::thread::spawn(move || {
                let _ = ready.send(());
                stream.read(&mut [0; 4096]) // waits for a request that never comes
            });
        }
    });
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(TcpStream::connect(at)?);
        started.recv()?;
    }
    Ok(resident_bytes()?.saturating_sub(before) / CONNECTIONS as u64)
}
// ANCHOR_END: threads

// ANCHOR: events
fn on_a_loop() -> Result<u64, Box<dyn Error>> {
    let mut events = EventLoop::new()?;
    let options = StreamOptions::default();
    let tally = events.add_stream_service(Tally::over_lines(), options);
    let any = "127.0.0.1:0".parse()?;
    let listener = events.listen(tally, any, &ListenOptions::default())?;
    let at = events.local_addr(listener)?;
    let before = resident_bytes()?;
    let clients = std::thread::spawn(move || connect(at));
    while events.open_streams() < CONNECTIONS {
        events.turn(None)?;
    }
    let after = resident_bytes()?;
    let _clients = clients.join().map_err(|_| "the clients panicked")??;
    Ok(after.saturating_sub(before) / CONNECTIONS as u64)
}
// ANCHOR_END: events

fn connect(at: SocketAddr) -> std::io::Result<Vec<TcpStream>> {
    (0..CONNECTIONS).map(|_| TcpStream::connect(at)).collect()
}

/// The memory of this process that is in use (VmRSS of proc(5)).
fn resident_bytes() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|text| text.split_whitespace().next());
    Ok(kib.ok_or("no VmRSS")?.parse::<u64>()? * 1024)
}
