//! TCP echo through the event loop, by blocking calls, bare mio by hand and tokio: one message under way on each connection.
//!
//! Over the loopback the kernel is nearly all of the time; see docs/BENCHMARKING.md for what to make of it.

#![forbid(unsafe_code)]
#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot be set up has nothing to measure"
)]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc;
use std::thread;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sockeye::event_loop::{EventLoop, ListenOptions, Stream, StreamOptions, StreamService};
use sockeye_benches::bytes;
use sockeye_benches::load::{Shape, closed_loop};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Connections and bytes of a message.
const SHAPES: [(usize, usize); 3] = [(1, 64), (64, 64), (64, 16 * 1024)];

struct Echo;

impl StreamService for Echo {
    type Conn = ();

    fn on_open(&mut self, _stream: &mut Stream<'_>) {}

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        if stream.write(data).is_taken() {
            data.len()
        } else {
            0
        }
    }
}

/// Starts a server on a thread of its own, which ends with the process, and returns its address.
fn start(serve: impl FnOnce(mpsc::Sender<SocketAddr>) + Send + 'static) -> SocketAddr {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || serve(sender));
    receiver.recv().expect("the server listens")
}

fn sockeye_echo(ready: mpsc::Sender<SocketAddr>) {
    let mut events = EventLoop::new().expect("an event loop");
    let service = events.add_stream_service(Echo, StreamOptions::default());
    let listener = events
        .listen(service, ANY_PORT, &ListenOptions::default())
        .expect("a free port");
    ready
        .send(events.local_addr(listener).expect("its address"))
        .expect("the bench waits");
    events.run().expect("the loop runs");
}

fn mio_echo(ready: mpsc::Sender<SocketAddr>) {
    let listener = mio::net::TcpListener::bind(ANY_PORT).expect("a free port");
    ready
        .send(listener.local_addr().expect("its address"))
        .expect("the bench waits");
    sockeye_benches::mio_echo::serve(listener).expect("the peer runs");
}

/// The least that a server can do: a thread for each connection, which reads and writes.
fn blocking_echo(ready: mpsc::Sender<SocketAddr>) {
    let listener = std::net::TcpListener::bind(ANY_PORT).expect("a free port");
    ready
        .send(listener.local_addr().expect("its address"))
        .expect("the bench waits");
    sockeye_benches::blocking_echo::serve(&listener).expect("the peer runs");
}

fn tokio_echo(ready: mpsc::Sender<SocketAddr>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(ANY_PORT)
            .await
            .expect("a free port");
        ready
            .send(listener.local_addr().expect("its address"))
            .expect("the bench waits");
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                stream.set_nodelay(true).expect("a TCP socket");
                let mut buffer = vec![0; 64 * 1024];
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    if stream.write_all(&buffer[..count]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
}

fn echo(criterion: &mut Criterion) {
    let servers = [
        ("sockeye", start(sockeye_echo)),
        ("blocking", start(blocking_echo)),
        ("mio", start(mio_echo)),
        ("tokio", start(tokio_echo)),
    ];
    for (connections, size) in SHAPES {
        let mut group = criterion.benchmark_group("event_loop/echo");
        group.throughput(Throughput::Elements(1));
        for (name, server) in servers {
            group.bench_function(
                BenchmarkId::new(format!("{connections} x {}", bytes(size)), name),
                |bencher| {
                    bencher.iter_custom(|messages| {
                        closed_loop(
                            server,
                            Shape {
                                connections,
                                size,
                                messages,
                                watched: None,
                                timed: false,
                            },
                        )
                        .expect("the server answers")
                        .time
                    });
                },
            );
        }
        group.finish();
    }
}

criterion_group!(benches, echo);
criterion_main!(benches);
