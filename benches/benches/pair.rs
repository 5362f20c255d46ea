//! Pairs of an event loop: a message there and back between two services of one loop, beside the same over a Unix socket and
//! over TCP.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sockeye::event_loop::{
    ConnectRequest, EventLoop, ListenOptions, PairOptions, Stream, StreamOptions, StreamService,
    UnixListenOptions, UnixName,
};
use sockeye_benches::bytes;

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

/// Sends a message once it is open, and again with each answer.
struct Asks {
    message: Vec<u8>,
    answers: Rc<Cell<u64>>,
}

impl StreamService for Asks {
    type Conn = usize;

    fn on_open(&mut self, stream: &mut Stream<'_>) -> usize {
        let _ = stream.write(&self.message);
        self.message.len()
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, missing: &mut usize, data: &mut [u8]) -> usize {
        *missing -= data.len();
        if *missing == 0 {
            self.answers.set(self.answers.get() + 1);
            *missing = self.message.len();
            let _ = stream.write(&self.message);
        }
        data.len()
    }
}

fn round_trips(criterion: &mut Criterion) {
    for size in [64, 16_384] {
        let mut group = criterion.benchmark_group("pair/there and back");
        group.throughput(Throughput::Elements(1));
        for way in ["sockeye", "unix", "tcp"] {
            let answers = Rc::new(Cell::new(0));
            let mut events = EventLoop::new().unwrap();
            let echo = events.add_stream_service(Echo, StreamOptions::default());
            let asks = Asks {
                message: vec![7; size],
                answers: Rc::clone(&answers),
            };
            let asks = events.add_stream_service(asks, StreamOptions::default());
            match way {
                "sockeye" => {
                    events.pair(asks, echo, &PairOptions::default()).unwrap();
                }
                "unix" => {
                    let options = UnixListenOptions::default();
                    let listener = events.listen_unix(echo, &UnixName::UNNAMED, &options).unwrap();
                    let name = events.local_unix(listener).unwrap();
                    events.connect(asks, ConnectRequest::to_unix(name));
                }
                _ => {
                    let any = "127.0.0.1:0".parse().unwrap();
                    let listener = events.listen(echo, any, &ListenOptions::default()).unwrap();
                    let at = events.local_addr(listener).unwrap();
                    events.connect(asks, ConnectRequest::new(at));
                }
            }
            group.bench_function(BenchmarkId::new(bytes(size), way), |bencher| {
                bencher.iter(|| {
                    let until = answers.get() + 1;
                    while answers.get() < until {
                        events.turn(Some(Duration::from_millis(100))).unwrap();
                    }
                });
            });
        }
    }
}

criterion_group!(benches, round_trips);
criterion_main!(benches);
