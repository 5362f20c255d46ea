//! Echo round trips through the simulated network: Sockeye's loop core on an ideal and on a rough network, and
//! turmoil's tokio beside it.
//!
//! A round trip is 64 bytes there and back on one of `CONNECTIONS` connections. Set-up is not counted.
//! `cargo bench --bench sim`

#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot be set up has nothing to measure"
)]

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sockeye::event_loop::{ConnectRequest, Stream, StreamOptions, StreamService};
use sockeye::sim::{LinkOptions, Sim};
use sockeye_benches::is_smoke;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const CONNECTIONS: u64 = 1000;
const SIZE: usize = 64;
const PORT: u16 = 7;
const LONG: Duration = Duration::from_secs(36_000);

struct Echo;

impl StreamService for Echo {
    type Conn = ();

    fn on_open(&mut self, _: &mut Stream<'_>) {}

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        if stream.write(data).is_taken() {
            data.len()
        } else {
            0
        }
    }
}

/// Sends, waits until it is back, sends again.
struct PingPong(Rc<Cell<u64>>);

impl StreamService for PingPong {
    type Conn = usize;

    fn on_open(&mut self, stream: &mut Stream<'_>) -> usize {
        let _ = stream.write(&[7; SIZE]);
        0
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, got: &mut usize, data: &mut [u8]) -> usize {
        *got += data.len();
        if *got >= SIZE {
            *got -= SIZE;
            self.0.set(self.0.get() + 1);
            let _ = stream.write(&[7; SIZE]);
        }
        data.len()
    }
}

/// A network in full swing, and the count of round trips.
fn sockeye(link: LinkOptions) -> (Sim, Rc<Cell<u64>>) {
    let done = Rc::new(Cell::new(0));
    let mut sim = Sim::new(1);
    sim.set_lan(link);
    let (server, client) = (sim.host([10, 0, 0, 1]), sim.host([10, 0, 0, 2]));
    sim.listen(server, PORT, Echo).expect("a free port");
    let events = sim.on(client);
    let service = events.add_stream_service(PingPong(Rc::clone(&done)), StreamOptions::default());
    for _ in 0..CONNECTIONS {
        events.connect(service, ConnectRequest::new(([10, 0, 0, 1], PORT).into()));
    }
    sim.run_until(LONG, || done.get() >= CONNECTIONS * 10)
        .expect("everything to get going");
    (sim, done)
}

fn rough() -> LinkOptions {
    LinkOptions {
        latency: Duration::from_micros(200),
        jitter: Duration::from_micros(50),
        loss_ppm: 1000,
        bandwidth: Some(40_000_000_000),
        ..LinkOptions::default()
    }
}

/// The time that turmoil takes for so many round trips, connecting included: it runs from beginning to end.
fn turmoil(round_trips: u64) -> Duration {
    let each = round_trips.div_ceil(CONNECTIONS);
    let begun = Instant::now();
    let mut sim = turmoil::Builder::new()
        .simulation_duration(LONG)
        .tcp_capacity(1 << 16)
        .build();
    sim.host("server", || async {
        let listener = turmoil::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
        loop {
            let (mut stream, _) = listener.accept().await?;
            tokio::spawn(async move {
                let mut buffer = [0; SIZE];
                while stream.read_exact(&mut buffer).await.is_ok() {
                    if stream.write_all(&buffer).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    sim.client("client", async move {
        let to: SocketAddr = (turmoil::lookup("server"), PORT).into();
        let tasks: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                tokio::spawn(async move {
                    let mut stream = turmoil::net::TcpStream::connect(to).await?;
                    let mut buffer = [7; SIZE];
                    for _ in 0..each {
                        stream.write_all(&buffer).await?;
                        stream.read_exact(&mut buffer).await?;
                    }
                    std::io::Result::Ok(())
                })
            })
            .collect();
        for task in tasks {
            task.await??;
        }
        Ok(())
    });
    sim.run().expect("turmoil to come to an end");
    begun.elapsed()
}

fn round_trips(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sim/echo");
    group.sample_size(10).throughput(Throughput::Elements(1));
    for (name, link) in [("ideal", LinkOptions::default()), ("rough", rough())] {
        group.bench_function(BenchmarkId::new(name, "sockeye"), |bencher| {
            let (mut sim, done) = sockeye(link);
            bencher.iter_custom(|count| {
                let (target, begun) = (done.get() + count, Instant::now());
                sim.run_until(LONG, || done.get() >= target)
                    .expect("the round trips");
                begun.elapsed()
            });
        });
    }
    group.bench_function(BenchmarkId::new("ideal", "turmoil"), |bencher| {
        // Enough that connecting does not count, scaled to what was asked for.
        bencher.iter_custom(|count| {
            let least = if is_smoke() { 1 } else { 20 };
            let run = count.max(least * CONNECTIONS);
            turmoil(run).mul_f64(count as f64 / run as f64)
        });
    });
    group.finish();
}

criterion_group!(benches, round_trips);
criterion_main!(benches);
