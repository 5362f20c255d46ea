//! UDP: bursts of 64 datagrams over loopback, sent and received on one thread, beside the bare system calls, the
//! standard library, tokio and quinn-udp.
//!
//! After criterion's own figures come ratios: the contenders of a group take turns, so that whatever else the machine
//! does falls on all of them; CPU time is counted, and the median is taken of each round's ratio to the group's first.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]
#![expect(clippy::print_stdout, reason = "ratios are for whoever runs it")]
#![expect(clippy::cast_possible_truncation, reason = "sizes are constants that fit")]

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};

mod udp_peers;

use sockeye_benches::{KIB, bytes, is_smoke};
use udp_peers::{BURST, Contender, MAX_MESSAGE, bare, libraries, ours};

/// From a small message to the longest.
const UDP_SIZES: [usize; 6] = [64, 256, KIB, 4 * KIB, 16 * KIB, MAX_MESSAGE];

/// A group: its name, and its contenders with the reference first.
fn groups(size: usize) -> [(&'static str, Vec<Contender>); 3] {
    [
        ("batch", vec![bare::mmsg(size), ours::batch(size, false)]),
        (
            "segments",
            vec![
                bare::segments(size),
                bare::scattered_segments(size),
                ours::segments(size),
                ours::batch(size, true),
                ours::scattered_batch(size),
                libraries::quinn_segments(size),
            ],
        ),
        (
            "single",
            vec![
                libraries::std_single(size, BURST),
                ours::single(size, BURST),
                ours::single_message(size),
                libraries::tokio_single(size, BURST),
            ],
        ),
    ]
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20)
        .configure_from_args();
    for size in [64, 1200] {
        for (name, contenders) in groups(size) {
            let mut group = criterion.benchmark_group(format!("udp/{name}"));
            group.throughput(Throughput::Elements(BURST as u64));
            for mut contender in contenders {
                group.bench_function(BenchmarkId::new(bytes(size), contender.name), |bencher| {
                    bencher.iter(&mut contender.round)
                });
            }
        }
    }
    for size in UDP_SIZES {
        one_way(&mut criterion, size);
    }
    criterion.final_summary();
    // Smoke runs and listings measure no ratios.
    if !is_smoke() && !std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        for size in [64, 1200] {
            for (name, contenders) in groups(size) {
                ratios(name, size, contenders);
            }
        }
    }
}

/// Bytes a second by the size of a datagram: a call for each.
fn one_way(criterion: &mut Criterion, size: usize) {
    // What waits in the receiver's buffer has to fit, also where the system allows no more than its default.
    let burst = (128 * KIB / (size + KIB)).clamp(1, BURST);
    let mut group = criterion.benchmark_group("udp/one way");
    group.throughput(Throughput::Bytes((burst * size) as u64));
    for mut contender in [
        ours::single(size, burst),
        libraries::std_single(size, burst),
        libraries::tokio_single(size, burst),
    ] {
        group.bench_function(BenchmarkId::new(bytes(size), contender.name), |bencher| {
            bencher.iter(&mut contender.round)
        });
    }
}

const ROUNDS: usize = 101;
/// How long a contender runs in each round.
const TURN: Duration = Duration::from_millis(3);

fn ratios(name: &str, size: usize, mut contenders: Vec<Contender>) {
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); contenders.len()];
    for round in 0..ROUNDS {
        for turn in 0..contenders.len() {
            // Another one begins each round.
            let index = (round + turn) % contenders.len();
            let contender = &mut contenders[index];
            let start = bare::cpu_time();
            let mut bursts = 0;
            while (bare::cpu_time() - start) < TURN {
                (contender.round)();
                bursts += BURST;
            }
            times[index].push((bare::cpu_time() - start).as_nanos() as f64 / bursts as f64);
        }
    }
    // What one round did to all of them cancels out in the ratio of that round.
    let reference = times[0].clone();
    for (contender, times) in contenders.iter().zip(&times) {
        let ratio = median(
            times
                .iter()
                .zip(&reference)
                .map(|(time, reference)| time / reference)
                .collect(),
        );
        let time = median(times.clone());
        println!(
            "udp/{name} {size:>4} B  {:<26} {time:>8.1} ns of CPU a datagram  ratio {ratio:.3}",
            contender.name
        );
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
