//! One operation of bare streams, ours or a peer's, again and again: what `cargo xtask bench tcp --instructions` counts.
//! `tcp_stream_counted KIND-OPERATION TIMES`, as in `mio-round-trip-64 2000`.
#![forbid(unsafe_code)]

use std::io;
use std::process::ExitCode;

use sockeye_benches::streams::{Door, Kind, Mio, Ours, Pair, Std};

fn repeat(times: u64, mut operation: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    (0..times).try_for_each(|_| operation())
}

fn run<K: Kind>(operation: &str, times: u64) -> io::Result<()> {
    match operation {
        "round-trip-64" => {
            let mut pair = Pair::<K>::new(64)?;
            repeat(times, || pair.round_trip())
        }
        "round-trip-16k" => {
            let mut pair = Pair::<K>::new(16 * 1024)?;
            repeat(times, || pair.round_trip())
        }
        "bulk-64k" => {
            let mut pair = Pair::<K>::new(64 * 1024)?;
            repeat(times, || pair.one_way())
        }
        "connect-accept-close" => {
            let door = Door::<K>::new()?;
            repeat(times, || door.come_and_go())
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "no such operation")),
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let parsed = match arguments.as_slice() {
        [operation, times] => operation.split_once('-').zip(times.parse().ok()),
        _ => None,
    };
    let outcome = match parsed {
        Some(((Ours::NAME, operation), times)) => run::<Ours>(operation, times),
        Some(((Mio::NAME, operation), times)) => run::<Mio>(operation, times),
        Some(((Std::NAME, operation), times)) => run::<Std>(operation, times),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "KIND-OPERATION TIMES",
        )),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
