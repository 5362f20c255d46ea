//! The same thing measured twice: how large a difference means nothing here. `ch10_noise [ROUNDS]`.
#![expect(clippy::print_stdout, reason = "a program")]

// ANCHOR: program
use std::error::Error;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// A message there and back on one thread, so that no wake-up of another one is measured.
fn round_trips(a: &mut TcpStream, b: &mut TcpStream, count: u32) -> std::io::Result<Duration> {
    let mut message = [0; 64];
    let begun = Instant::now();
    for _ in 0..count {
        a.write_all(&message)?;
        b.read_exact(&mut message)?;
        b.write_all(&message)?;
        a.read_exact(&mut message)?;
    }
    Ok(begun.elapsed() / count)
}

fn median(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times.get(times.len() / 2).map_or(0.0, Duration::as_secs_f64) * 1e6
}

fn main() -> Result<(), Box<dyn Error>> {
    let rounds: u32 = std::env::args().nth(1).map_or(Ok(20), |text| text.parse())?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut a = TcpStream::connect(listener.local_addr()?)?;
    let (mut b, _) = listener.accept()?;
    a.set_nodelay(true)?;
    b.set_nodelay(true)?;
    round_trips(&mut a, &mut b, 2000)?; // warm up: the first ones are of another kind

    let (mut old, mut new) = (Vec::new(), Vec::new());
    for round in 0..2 * rounds {
        let time = round_trips(&mut a, &mut b, 500)?;
        if round % 2 == 0 {
            old.push(time)
        } else {
            new.push(time)
        } // in turns: a slow minute hits both
    }
    let (slowest, fastest) = (new.iter().max().copied(), new.iter().min().copied());
    let (old, new) = (median(&mut old), median(&mut new));
    println!(
        "\"old\" {old:.2} us, \"new\" {new:.2} us: {:+.1} %, and nothing has changed",
        (new / old - 1.0) * 100.0
    );
    let spread =
        slowest.unwrap_or_default().as_secs_f64() / fastest.unwrap_or_default().as_secs_f64().max(1e-9);
    println!("the slowest run took {spread:.2} times as long as the fastest");
    Ok(())
}
// ANCHOR_END: program
