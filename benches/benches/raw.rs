//! Raw IP over the loopback in batches, beside the same calls by hand on libc.
//!
//! Both sides send or receive 64 packets of 64 bytes a system call and look at every payload and source. Needs CAP_NET_RAW; where
//! it is missing the benchmark says so and ends.

#![expect(unsafe_code, reason = "the peer is libc by hand")]
#![expect(clippy::print_stdout, reason = "the ratio is part of the result")]

use std::hint::black_box;
use std::mem;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sockeye::raw::{IpSocket, Outgoing, RecvBatch, SendBatch};

/// A protocol for experiments (RFC 3692).
const PROTOCOL: u8 = 253;
const BATCH: usize = 64;
const SIZE: usize = 64;
const CASE: &str = "64 x 64 B";
const SLOT: usize = 2048;
const TO: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Vectors, names and headers for `BATCH` messages, as a program by hand has them.
struct Bare {
    headers: Vec<libc::mmsghdr>,
    vectors: Vec<libc::iovec>,
    names: Vec<libc::sockaddr_in>,
    slots: Vec<u8>,
}

impl Bare {
    fn new(slot: usize) -> Self {
        let mut slots = vec![7; BATCH * slot];
        let vectors = slots
            .chunks_exact_mut(slot)
            .map(|slot| libc::iovec {
                iov_base: slot.as_mut_ptr().cast(),
                iov_len: slot.len(),
            })
            .collect();
        let name = libc::sockaddr_in {
            sin_family: 2,
            sin_port: 0,
            sin_addr: libc::in_addr {
                s_addr: u32::from(Ipv4Addr::LOCALHOST).to_be(),
            },
            sin_zero: [0; 8],
        };
        Self {
            headers: Vec::with_capacity(BATCH),
            vectors,
            names: vec![name; BATCH],
            slots,
        }
    }

    /// Sets every header up as before each call: the kernel overwrites names' lengths.
    fn arm(&mut self) {
        self.headers.clear();
        for (vector, name) in self.vectors.iter_mut().zip(&mut self.names) {
            // SAFETY: a message header of zeros is one without name, vectors and control data.
            let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
            header.msg_hdr.msg_name = (&raw mut *name).cast();
            header.msg_hdr.msg_namelen = 16;
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            self.headers.push(header);
        }
    }

    fn send(&mut self, fd: i32) -> usize {
        self.arm();
        // SAFETY: the headers point to names and vectors of `self`, which live on.
        let sent = unsafe { libc::sendmmsg(fd, self.headers.as_mut_ptr(), 64, 0) };
        usize::try_from(sent).unwrap_or(0)
    }

    /// Receives, and adds up what a program would look at.
    fn receive(&mut self, fd: i32) -> (usize, u64) {
        self.arm();
        // SAFETY: the headers point to names and vectors of `self`, which live on.
        let got = unsafe { libc::recvmmsg(fd, self.headers.as_mut_ptr(), 64, 0, std::ptr::null_mut()) };
        let got = usize::try_from(got).unwrap_or(0);
        let mut seen = 0;
        for ((header, name), slot) in self
            .headers
            .iter()
            .zip(&self.names)
            .zip(self.slots.chunks_exact(SLOT))
            .take(got)
        {
            let packet = slot
                .get(..usize::try_from(header.msg_len).unwrap_or(0))
                .unwrap_or(&[]);
            let header_len = packet.first().map_or(0, |first| usize::from(first & 0xf) * 4);
            seen += packet.get(header_len..).map_or(0, |payload| {
                u64::from(payload.iter().next().copied().unwrap_or(0))
            });
            seen += u64::from(name.sin_addr.s_addr);
        }
        (got, seen)
    }
}

fn sockets() -> Option<(IpSocket, IpSocket)> {
    let sender = IpSocket::bind(TO, 254).ok()?;
    drop(sender);
    match (
        IpSocket::bind(TO, PROTOCOL),
        IpSocket::bind(SocketAddr::from(([127, 0, 0, 2], 0)), PROTOCOL),
    ) {
        (Ok(receiver), Ok(sender)) => Some((receiver, sender)),
        (Err(error), _) | (_, Err(error)) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}

fn send_ours(socket: &IpSocket, batch: &mut SendBatch, payload: &[u8]) -> usize {
    socket
        .send_batch(batch, 0..BATCH, |_| Outgoing::to(TO, payload))
        .count
}

fn receive_ours(socket: &IpSocket, batch: &mut RecvBatch) -> (usize, u64) {
    let got = socket.recv_batch(batch).unwrap_or(0);
    let mut seen = 0;
    for packet in socket.packets(batch) {
        seen += u64::from(packet.payload.first().copied().unwrap_or(0));
        if let SocketAddr::V4(source) = packet.source {
            seen += u64::from(u32::from(*source.ip()));
        }
    }
    (got, seen)
}

/// Times `act` alone, with `before` done before each round and outside the clock.
fn timed(rounds: u64, mut before: impl FnMut(), mut act: impl FnMut()) -> Duration {
    let mut total = Duration::ZERO;
    for _ in 0..rounds {
        before();
        let start = Instant::now();
        act();
        total += start.elapsed();
    }
    total
}

fn raw(criterion: &mut Criterion) {
    let Some((receiver, sender)) = sockets() else {
        return;
    };
    let payload = [7; SIZE];
    let (mut send_batch, mut recv_batch) = (SendBatch::new(BATCH), RecvBatch::new(BATCH, SLOT));
    let (mut bare_send, mut bare_recv) = (Bare::new(SIZE), Bare::new(SLOT));

    let drain = |batch: &mut RecvBatch| while receiver.recv_batch(batch).is_ok() {};
    let mut group = criterion.benchmark_group("raw/send");
    group.throughput(Throughput::Elements(64));
    group.bench_function(BenchmarkId::new(CASE, "sockeye"), |b| {
        b.iter_custom(|rounds| {
            timed(
                rounds,
                || drain(&mut recv_batch),
                || {
                    black_box(send_ours(&sender, &mut send_batch, &payload));
                },
            )
        });
    });
    group.bench_function(BenchmarkId::new(CASE, "libc"), |b| {
        b.iter_custom(|rounds| {
            timed(
                rounds,
                || drain(&mut recv_batch),
                || {
                    black_box(bare_send.send(sender.as_raw_fd()));
                },
            )
        });
    });
    group.finish();

    let mut group = criterion.benchmark_group("raw/receive");
    group.throughput(Throughput::Elements(64));
    group.bench_function(BenchmarkId::new(CASE, "sockeye"), |b| {
        b.iter_custom(|rounds| {
            timed(
                rounds,
                || assert_eq!(bare_send.send(sender.as_raw_fd()), BATCH),
                || {
                    assert_eq!(black_box(receive_ours(&receiver, &mut recv_batch)).0, BATCH);
                },
            )
        });
    });
    group.bench_function(BenchmarkId::new(CASE, "libc"), |b| {
        b.iter_custom(|rounds| {
            timed(
                rounds,
                || assert_eq!(bare_send.send(sender.as_raw_fd()), BATCH),
                || {
                    assert_eq!(black_box(bare_recv.receive(receiver.as_raw_fd())).0, BATCH);
                },
            )
        });
    });
    group.finish();
    if !sockeye_benches::is_smoke() {
        interleaved(&receiver, &sender);
    }
}

/// The ratio to the loop by hand from turns taken one after the other, which a busy machine disturbs less.
fn interleaved(receiver: &IpSocket, sender: &IpSocket) {
    let payload = [7; SIZE];
    let (mut send_batch, mut recv_batch) = (SendBatch::new(BATCH), RecvBatch::new(BATCH, SLOT));
    let (mut bare_send, mut bare_recv) = (Bare::new(SIZE), Bare::new(SLOT));
    let mut best = [Duration::MAX; 4];
    let mut keep = |at: usize, start: Instant| {
        if let Some(best) = best.get_mut(at) {
            *best = start.elapsed().min(*best);
        }
    };
    while receiver.recv_batch(&mut recv_batch).is_ok() {}
    for _ in 0..4000 {
        let start = Instant::now();
        send_ours(sender, &mut send_batch, &payload);
        keep(0, start);
        let start = Instant::now();
        let ours = receive_ours(receiver, &mut recv_batch);
        keep(2, start);
        let start = Instant::now();
        bare_send.send(sender.as_raw_fd());
        keep(1, start);
        let start = Instant::now();
        let bare = bare_recv.receive(receiver.as_raw_fd());
        keep(3, start);
        assert_eq!(ours.0, bare.0, "both sides did the same");
    }
    let [ours_send, bare_send, ours_recv, bare_recv] = best.map(|best| best.as_secs_f64());
    println!(
        "raw/ratio to libc, best of 4000 turns: send {:.3}, receive {:.3}",
        ours_send / bare_send,
        ours_recv / bare_recv
    );
}

criterion_group!(benches, raw);
criterion_main!(benches);
