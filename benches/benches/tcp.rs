//! Bare TCP streams: ours beside mio's and the standard library's, and a file by sendfile beside reads and writes.
//!
//! One thread has both ends, so what is measured is two ends' calls and the kernel between them. The kernel is nearly all
//! of it: a ratio of 1.00 is what to expect, and `cargo xtask bench tcp --instructions` counts our part alone.

#![forbid(unsafe_code)]
#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot be set up has nothing to measure"
)]

use std::io;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sockeye_benches::streams::{Door, FileServer, Kind, Mio, Ours, Pair, Std};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

fn round_trip<K: Kind>(group: &mut BenchmarkGroup<'_, WallTime>, size: usize) {
    let mut pair = Pair::<K>::new(size).expect("a connection");
    group.throughput(Throughput::Elements(1));
    group.bench_function(
        BenchmarkId::new(format!("round trip {size} B"), K::NAME),
        |bencher| {
            bencher.iter(|| pair.round_trip().expect("a round trip"));
        },
    );
}

fn bulk<K: Kind>(group: &mut BenchmarkGroup<'_, WallTime>, size: usize) {
    let mut pair = Pair::<K>::new(size).expect("a connection");
    group.throughput(Throughput::Bytes(size as u64));
    group.bench_function(
        BenchmarkId::new(format!("bulk {} KiB", size / KIB), K::NAME),
        |bencher| {
            bencher.iter(|| pair.one_way().expect("bytes there"));
        },
    );
}

fn connect<K: Kind>(group: &mut BenchmarkGroup<'_, WallTime>) {
    let door = Door::<K>::new().expect("a listener");
    group.throughput(Throughput::Elements(1));
    group.bench_function(BenchmarkId::new("connect accept close", K::NAME), |bencher| {
        bencher.iter(|| door.come_and_go().expect("a connection"));
    });
}

/// What the sender spends on a CPU.
fn file(group: &mut BenchmarkGroup<'_, WallTime>) {
    const LEN: usize = 16 * MIB;
    let mut server = FileServer::new(LEN).expect("a file and a peer");
    let mut cpu = |name, send: fn(&mut FileServer) -> io::Result<u64>| {
        group.bench_function(BenchmarkId::new("sender's CPU, file 16 MiB", name), |bencher| {
            bencher.iter_custom(|times| {
                let spent_ns = (0..times).map(|_| send(&mut server).expect("the file goes"));
                Duration::from_nanos(spent_ns.sum())
            });
        });
    };
    cpu("sendfile", FileServer::sendfile);
    cpu("read and write", FileServer::read_and_write);
}

fn tcp(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tcp");
    group
        .sample_size(30)
        .measurement_time(Duration::from_secs(2))
        .warm_up_time(Duration::from_millis(500));
    for size in [64, 16 * KIB] {
        round_trip::<Ours>(&mut group, size);
        round_trip::<Mio>(&mut group, size);
        round_trip::<Std>(&mut group, size);
    }
    for size in [64 * KIB, MIB] {
        bulk::<Ours>(&mut group, size);
        bulk::<Mio>(&mut group, size);
        bulk::<Std>(&mut group, size);
    }
    connect::<Ours>(&mut group);
    connect::<Mio>(&mut group);
    connect::<Std>(&mut group);
    file(&mut group);
    group.finish();
}

criterion_group!(benches, tcp);
criterion_main!(benches);
