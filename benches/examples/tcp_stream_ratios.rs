//! The CPU that bare streams cost beside mio's, and a file sent by sendfile beside reads and writes:
//! `cargo run --release -p sockeye-benches --example tcp_stream_ratios`, on one core by `taskset -c 1`.
//!
//! Round after round the one runs, then the other, and the CPU time of this thread is compared, which other programs on
//! the machine disturb less than the clock; the median of the rounds counts. Above its bound a ratio fails the program.
#![forbid(unsafe_code)]

use std::io;
use std::process::ExitCode;

use sockeye::socket::os::thread_cpu_ns;
use sockeye_benches::streams::{Door, FileServer, Kind, Mio, Ours, Pair};

/// Odd, so that there is one in the middle.
const ROUNDS: usize = 31;

const KIB: usize = 1024;

/// CPU time of `times` calls.
fn cost(times: u32, mut operation: impl FnMut() -> io::Result<()>) -> io::Result<u64> {
    let before = thread_cpu_ns();
    for _ in 0..times {
        operation()?;
    }
    Ok(thread_cpu_ns() - before)
}

/// The median ratio of what the first costs to what the second does, in nanoseconds of CPU as each says itself.
fn ratio(
    mut one: impl FnMut() -> io::Result<u64>,
    mut other: impl FnMut() -> io::Result<u64>,
) -> io::Result<f64> {
    one()?;
    other()?;
    let mut ratios = Vec::with_capacity(ROUNDS);
    for round in 0..ROUNDS {
        // Who begins takes turns.
        let (first, second) = if round % 2 == 0 {
            let first = one()?;
            (first, other()?)
        } else {
            let second = other()?;
            (one()?, second)
        };
        ratios.push(first as f64 / second as f64);
    }
    ratios.sort_by(f64::total_cmp);
    Ok(ratios[ROUNDS / 2])
}

fn round_trip(size: usize, times: u32) -> io::Result<f64> {
    let (mut ours, mut mio) = (Pair::<Ours>::new(size)?, Pair::<Mio>::new(size)?);
    ratio(
        || cost(times, || ours.round_trip()),
        || cost(times, || mio.round_trip()),
    )
}

fn bulk(size: usize, times: u32) -> io::Result<f64> {
    let (mut ours, mut mio) = (Pair::<Ours>::new(size)?, Pair::<Mio>::new(size)?);
    ratio(
        || cost(times, || ours.one_way()),
        || cost(times, || mio.one_way()),
    )
}

fn connect(times: u32) -> io::Result<f64> {
    let (ours, mio) = (Door::<Ours>::new()?, Door::<Mio>::new()?);
    ratio(
        || cost(times, || ours.come_and_go()),
        || cost(times, || mio.come_and_go()),
    )
}

fn file() -> io::Result<f64> {
    let mut server = FileServer::new(16 * KIB * KIB)?;
    let mut same = FileServer::new(16 * KIB * KIB)?;
    ratio(|| server.sendfile(), || same.read_and_write())
}

#[expect(clippy::print_stdout, reason = "the table is this program's data")]
fn run() -> io::Result<bool> {
    let beside = format!("{} / {}", Ours::NAME, Mio::NAME);
    let rows = [
        (
            "64 B there and back",
            beside.as_str(),
            1.02,
            round_trip(64, 2000)?,
        ),
        (
            "16 KiB there and back",
            &beside,
            1.02,
            round_trip(16 * KIB, 1000)?,
        ),
        ("64 KiB one way", &beside, 1.02, bulk(64 * KIB, 400)?),
        ("1 MiB one way", &beside, 1.02, bulk(KIB * KIB, 150)?),
        ("connect accept close", &beside, 1.02, connect(400)?),
        (
            "a file of 16 MiB, its sender",
            "sendfile / read and write",
            0.65,
            file()?,
        ),
    ];
    println!("{:<30} {:<26} {:>6} {:>8}", "what", "CPU of", "ratio", "at most");
    for (what, of, bound, ratio) in rows {
        println!("{what:<30} {of:<26} {ratio:>6.3} {bound:>8.2}");
    }
    Ok(rows.iter().all(|(_, _, bound, ratio)| ratio <= bound))
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("a ratio is above its bound");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
