//! How many echo round trips a second the simulation does: `cargo run --release --example round_trips`.
#![expect(clippy::print_stdout, reason = "an example shows what it did")]

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use sockeye_event_loop::{ConnectRequest, Stream, StreamOptions, StreamService};
use sockeye_sim::{LinkOptions, Sim};

const CONNECTIONS: u64 = 1000;

struct Echo;

impl StreamService for Echo {
    type Conn = ();

    fn on_open(&mut self, _: &mut Stream<'_>) {}

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        let _ = stream.write(data);
        data.len()
    }
}

/// Sends 64 bytes, waits until they are back, and does it again.
struct PingPong(Rc<Cell<u64>>);

impl StreamService for PingPong {
    type Conn = usize;

    fn on_open(&mut self, stream: &mut Stream<'_>) -> usize {
        let _ = stream.write(&[7; 64]);
        0
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, got: &mut usize, data: &mut [u8]) -> usize {
        *got += data.len();
        if *got >= 64 {
            *got -= 64;
            self.0.set(self.0.get() + 1);
            let _ = stream.write(&[7; 64]);
        }
        data.len()
    }
}

/// What this thread has run, so that a busy machine does not count; without Linux's `/proc` nothing is known.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos: f64 = text
        .split_whitespace()
        .next()
        .and_then(|word| word.parse().ok())
        .unwrap_or(f64::NAN);
    nanos / 1e9
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rough = LinkOptions {
        latency: Duration::from_micros(200),
        jitter: Duration::from_micros(50),
        loss_ppm: 1000,
        bandwidth: Some(40_000_000_000),
        ..LinkOptions::default()
    };
    for (name, link, wanted) in [
        ("ideal", LinkOptions::default(), 20_000_000),
        ("latency, jitter, loss, bandwidth", rough, 5_000_000),
    ] {
        let done = Rc::new(Cell::new(0_u64));
        let mut sim = Sim::new(1);
        sim.set_lan(link);
        let (server, client) = (sim.host([10, 0, 0, 1]), sim.host([10, 0, 0, 2]));
        sim.listen(server, 7, Echo)?;
        let to: SocketAddr = ([10, 0, 0, 1], 7).into();
        let events = sim.on(client);
        let service = events.add_stream_service(PingPong(Rc::clone(&done)), StreamOptions::default());
        for _ in 0..CONNECTIONS {
            events.connect(service, ConnectRequest::new(to));
        }
        sim.run_until(Duration::from_secs(3600), || done.get() >= CONNECTIONS * 20)?;
        let (before, begun, virtual_before) = (done.get(), cpu_seconds(), sim.now());
        sim.run_until(Duration::from_secs(36_000), || done.get() >= before + wanted)?;
        let rate = (done.get() - before) as f64 / (cpu_seconds() - begun) / 1e6;
        let virtual_time = sim.now() - virtual_before;
        println!("{name}: {rate:.2} million round trips a second of CPU, {virtual_time:?} of virtual time");
    }
    Ok(())
}
