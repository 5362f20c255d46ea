//! What `cargo xtask soak` runs: hours of mixed load with faults, in which memory and descriptors stay flat and every byte is
//! checked.
//!
//! `soak SECONDS` has a thread that serves (TCP, Unix sockets, TLS, UDP, and a relay of each), the clients on this thread,
//! and two backends of the relay as processes of their own, one of which is killed every now and then. Clients reset, end
//! early, read slowly; servers reset. It prints a line every few seconds, and fails where a byte is wrong, a connection ends
//! early without an error or stands still, memory or descriptors grow after the warm-up, or something is left open at the end.
//!
//! `soak backend PORT` is one of those backends.

mod backends;
mod clients;
mod datagrams;
mod serving;
mod watch;

use std::cell::RefCell;
use std::io::Write as _;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use sockeye_event_loop::EventLoop;

use backends::Backends;
use clients::{Kind, Totals};
use serving::Serving;
use watch::Watch;

/// Any error of the crates.
type Error = Box<dyn std::error::Error + Send + Sync>;

/// Between two lines.
const REPORT: Duration = Duration::from_secs(5);
/// Between two kills of a backend.
const KILL: Duration = Duration::from_secs(3);
/// How long the rest may take at the end.
const END: Duration = Duration::from_secs(30);

const USAGE: &str = "usage: soak SECONDS";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match &arguments[..] {
        [word, port] if word == "backend" => backends::serve(port),
        [seconds] => seconds
            .parse()
            .map_err(|_| USAGE.into())
            .and_then(|seconds| run(Duration::from_secs(seconds))),
        _ => Err(USAGE.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("soak: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn run(length: Duration) -> Result<(), Error> {
    // Threads, timers and what libraries open once are there from the beginning.
    let mut watch = Watch::new();
    let backends = Backends::start()?;
    let serving = Serving::start(backends.ports())?;
    let totals = Rc::new(RefCell::new(Totals::default()));
    let mut events = EventLoop::new()?;
    clients::start(&mut events, &serving, &totals)?;
    datagrams::start(&mut events, &serving, &totals)?;
    let begun = Instant::now();
    let (mut next_line, mut next_kill) = (REPORT, KILL);
    let mut backends = backends;
    while begun.elapsed() < length {
        events.turn(Some(Duration::from_millis(50)))?;
        let now = begun.elapsed();
        if now >= next_kill {
            next_kill += KILL;
            // Before and after: this thread stands still meanwhile, and what it then sees may be from either side.
            totals.borrow_mut().kills += 1;
            backends.kill_one()?;
        }
        if now >= next_line {
            next_line += REPORT;
            let sample = watch.sample(now);
            say(&format!(
                "{:5.0} s  {sample}  {}",
                now.as_secs_f64(),
                totals.borrow()
            ));
        }
        if let Some(wrong) = totals.borrow().wrong.first() {
            return Err(wrong.clone().into());
        }
    }
    end(events, serving, backends, &totals)?;
    say(&totals.borrow().table());
    watch.judge()?;
    say("memory and descriptors are flat, every byte was right");
    Ok(())
}

/// Ends everything in order, and sees that nothing is left.
fn end(
    mut events: EventLoop,
    serving: Serving,
    backends: Backends,
    totals: &Rc<RefCell<Totals>>,
) -> Result<(), Error> {
    totals.borrow_mut().stopping = true;
    let begun = Instant::now();
    while events.open_streams() > 0 && begun.elapsed() < END {
        events.turn(Some(Duration::from_millis(50)))?;
    }
    let open = events.open_streams();
    drop(events);
    let faults = serving.stop()?;
    drop(backends);
    let totals = totals.borrow();
    if let Some(wrong) = totals.wrong.first() {
        return Err(wrong.clone().into());
    }
    if open > 0 {
        return Err(format!("{open} connections never ended").into());
    }
    // Without a backend in between, what broke was broken by a server on purpose.
    let direct: u64 = Kind::ALL
        .iter()
        .filter(|kind| !kind.has_backend())
        .map(|kind| totals.of(*kind).broken)
        .sum();
    if direct > faults {
        return Err(format!("{direct} connections broke, servers reset {faults}").into());
    }
    Ok(())
}
