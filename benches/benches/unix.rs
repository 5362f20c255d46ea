//! Unix sockets: 64 bytes there and back, and datagrams, on one thread, ours beside the standard library's and mio's; and a
//! bulk transfer of descriptors.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

use std::io::{Read, Write};
use std::os::fd::AsFd as _;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sockeye_benches::{SIZES, bytes};

/// Bytes of a message.
const SIZE: usize = 64;

fn there_and_back(mut here: impl Read + Write, mut there: impl Read + Write) -> impl FnMut() {
    let (message, mut buffer) = ([7; SIZE], [0; SIZE]);
    move || {
        here.write_all(&message).unwrap();
        assert_eq!(there.read(&mut buffer).unwrap(), SIZE);
        there.write_all(&buffer).unwrap();
        assert_eq!(here.read(&mut buffer).unwrap(), SIZE);
    }
}

/// A message there, on one thread: the kernel takes up to 64 KiB before anybody reads.
fn there(mut here: impl Write, mut there: impl Read, size: usize) -> impl FnMut() {
    let (message, mut buffer) = (vec![7; size], vec![0; size]);
    move || {
        here.write_all(&message).unwrap();
        there.read_exact(&mut buffer).unwrap();
    }
}

fn one_way(criterion: &mut Criterion) {
    for size in SIZES {
        let mut group = criterion.benchmark_group("unix/one way");
        group.throughput(Throughput::Bytes(size as u64));
        let (near, far) = sockeye::unix::UnixStream::pair().unwrap();
        let mut ours = there(near, far, size);
        group.bench_function(BenchmarkId::new(bytes(size), "sockeye"), |bencher| {
            bencher.iter(&mut ours)
        });
        let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut std = there(near, far, size);
        group.bench_function(BenchmarkId::new(bytes(size), "std"), |bencher| {
            bencher.iter(&mut std)
        });
        let (near, far) = mio::net::UnixStream::pair().unwrap();
        let mut mio = there(near, far, size);
        group.bench_function(BenchmarkId::new(bytes(size), "mio"), |bencher| {
            bencher.iter(&mut mio)
        });
    }
}

fn streams(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("unix/round trip");
    group.throughput(Throughput::Elements(1));
    let (here, there) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut round = there_and_back(here, there);
    group.bench_function("64 B/std", |bencher| bencher.iter(&mut round));
    let (here, there) = mio::net::UnixStream::pair().unwrap();
    let mut round = there_and_back(here, there);
    group.bench_function("64 B/mio", |bencher| bencher.iter(&mut round));
    let (here, there) = sockeye::unix::UnixStream::pair().unwrap();
    let mut round = there_and_back(here, there);
    group.bench_function("64 B/sockeye", |bencher| bencher.iter(&mut round));
}

/// Datagrams that one burst has.
const BURST: usize = 8;

fn datagrams(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("unix/datagram");
    group.throughput(Throughput::Elements(BURST as u64));
    let mut buffer = [0; SIZE];
    let (here, there) = std::os::unix::net::UnixDatagram::pair().unwrap();
    group.bench_function("64 B/std", |bencher| {
        bencher.iter(|| {
            for _ in 0..BURST {
                here.send(&[7; SIZE]).unwrap();
            }
            for _ in 0..BURST {
                there.recv(&mut buffer).unwrap();
            }
        });
    });
    let (here, there) = sockeye::unix::UnixDatagram::pair().unwrap();
    group.bench_function("64 B/sockeye", |bencher| {
        bencher.iter(|| {
            for _ in 0..BURST {
                here.send(&[7; SIZE]).unwrap();
            }
            for _ in 0..BURST {
                there.recv(&mut buffer).unwrap();
            }
        });
    });
    let mut out = sockeye::unix::UnixSendBatch::new(BURST);
    let mut into = sockeye::unix::UnixRecvBatch::new(BURST, SIZE);
    let messages = [(&[7; SIZE][..], None); BURST];
    group.bench_function("64 B/sockeye batch", |bencher| {
        bencher.iter(|| {
            assert_eq!(here.send_batch(&mut out, &messages).unwrap(), BURST);
            assert_eq!(there.recv_batch(&mut into).unwrap(), BURST);
        });
    });
}

/// A descriptor with each message.
fn descriptors(criterion: &mut Criterion) {
    let (here, there) = sockeye::unix::UnixStream::pair().unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    criterion.bench_function("unix/descriptor/1/sockeye", |bencher| {
        bencher.iter_batched(
            || (),
            |()| {
                let fds = [file.as_fd()];
                let message = sockeye::unix::UnixOutgoing::new(b"x").fds(&fds);
                here.send_msg(&message).unwrap();
                assert_eq!(there.recv_msg(&mut [0; 1]).unwrap().fds.len(), 1);
            },
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, streams, one_way, datagrams, descriptors);
criterion_main!(benches);
