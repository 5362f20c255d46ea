//! Unix sockets: 64 bytes there and back, and datagrams, on one thread, ours beside the standard library's and mio's; and a
//! bulk transfer of descriptors.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

use std::io::{Read, Write};
use std::os::fd::AsFd as _;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

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

fn streams(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("unix/stream");
    group.throughput(Throughput::Elements(1));
    let (here, there) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut round = there_and_back(here, there);
    group.bench_function("std", |bencher| bencher.iter(&mut round));
    let (here, there) = mio::net::UnixStream::pair().unwrap();
    let mut round = there_and_back(here, there);
    group.bench_function("mio", |bencher| bencher.iter(&mut round));
    let (here, there) = sockeye::unix::UnixStream::pair().unwrap();
    let mut round = there_and_back(here, there);
    group.bench_function("sockeye", |bencher| bencher.iter(&mut round));
}

/// Datagrams that one burst has.
const BURST: usize = 8;

fn datagrams(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("unix/datagram");
    group.throughput(Throughput::Elements(BURST as u64));
    let mut buffer = [0; SIZE];
    let (here, there) = std::os::unix::net::UnixDatagram::pair().unwrap();
    group.bench_function("std", |bencher| {
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
    group.bench_function("sockeye", |bencher| {
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
    group.bench_function("sockeye batch", |bencher| {
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
    criterion.bench_function("unix/descriptor", |bencher| {
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

criterion_group!(benches, streams, datagrams, descriptors);
criterion_main!(benches);
