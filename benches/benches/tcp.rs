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

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sockeye_benches::streams::{Door, FileServer, Kind, Mio, Ours, Pair, Std};
use sockeye_benches::{KIB, MIB, SIZES, bytes, is_smoke};

fn round_trip<K: Kind>(criterion: &mut Criterion, size: usize) {
    let mut pair = Pair::<K>::new(size).expect("a connection");
    let mut group = criterion.benchmark_group("tcp/round trip");
    group.throughput(Throughput::Elements(1));
    group.bench_function(BenchmarkId::new(bytes(size), K::NAME), |bencher| {
        bencher.iter(|| pair.round_trip().expect("a round trip"));
    });
}

fn one_way<K: Kind>(criterion: &mut Criterion, size: usize) {
    let mut pair = Pair::<K>::new(size).expect("a connection");
    let mut group = criterion.benchmark_group("tcp/one way");
    group.throughput(Throughput::Bytes(size as u64));
    group.bench_function(BenchmarkId::new(bytes(size), K::NAME), |bencher| {
        bencher.iter(|| pair.one_way().expect("bytes there"));
    });
}

fn connect<K: Kind>(criterion: &mut Criterion) {
    let door = Door::<K>::new().expect("a listener");
    let mut group = criterion.benchmark_group("tcp/connection");
    group.throughput(Throughput::Elements(1));
    group.bench_function(BenchmarkId::new("connect accept close", K::NAME), |bencher| {
        bencher.iter(|| door.come_and_go().expect("a connection"));
    });
}

/// What the sender spends on a CPU.
fn file(criterion: &mut Criterion) {
    let len = if is_smoke() { MIB } else { 16 * MIB };
    let mut server = FileServer::new(len).expect("a file and a peer");
    let mut group = criterion.benchmark_group("tcp/sender's CPU");
    let mut cpu = |name, send: fn(&mut FileServer) -> io::Result<u64>| {
        group.bench_function(BenchmarkId::new("file of 16 MiB", name), |bencher| {
            bencher.iter_custom(|times| {
                let spent_ns = (0..times).map(|_| send(&mut server).expect("the file goes"));
                Duration::from_nanos(spent_ns.sum())
            });
        });
    };
    cpu("sockeye", FileServer::sendfile);
    cpu("read and write", FileServer::read_and_write);
}

fn tcp(criterion: &mut Criterion) {
    for size in [64, 16 * KIB] {
        round_trip::<Ours>(criterion, size);
        round_trip::<Mio>(criterion, size);
        round_trip::<Std>(criterion, size);
    }
    for size in SIZES.into_iter().chain([MIB]) {
        one_way::<Ours>(criterion, size);
        one_way::<Mio>(criterion, size);
        one_way::<Std>(criterion, size);
    }
    connect::<Ours>(criterion);
    connect::<Mio>(criterion);
    connect::<Std>(criterion);
    file(criterion);
}

criterion_group!(benches, tcp);
criterion_main!(benches);
