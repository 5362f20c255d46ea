//! Tally with a deadline for a whole line, against clients that send a byte now and then. `ch11_ex1_drip`.
#![expect(clippy::print_stdout, reason = "a program")]

#[path = "tally/counters.rs"]
mod counters;

use std::error::Error;
use std::io::Write as _;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use sockeye::event_loop::codec::{FrameService, FrameStream, Framed, Lines};
use sockeye::event_loop::{CloseReason, Context, EventLoop, ListenOptions, StreamId, StreamOptions, TimerId};

use counters::Counters;

// ANCHOR: patient
/// How long a client may take for a line.
const LINE: Duration = Duration::from_millis(300);

#[derive(Default)]
struct Tally(Counters);

impl FrameService for Tally {
    /// The deadline of the line that is awaited.
    type Conn = TimerId;

    fn on_open(&mut self, stream: &mut FrameStream<'_, '_>) -> TimerId {
        stream.stream().set_timer(LINE, 0)
    }

    fn on_frame(&mut self, stream: &mut FrameStream<'_, '_>, deadline: &mut TimerId, line: &mut [u8]) {
        stream.stream().cancel_timer(*deadline);
        let answer = self.0.answer(line);
        if stream.send(answer.as_bytes()).is_err() {
            stream.stream().abort();
        }
        *deadline = stream.stream().set_timer(LINE, 0);
    }

    fn on_timer(&mut self, stream: &mut FrameStream<'_, '_>, _: &mut TimerId, _: u64) {
        stream.stream().abort(); // Bytes have come, so no idle deadline passes. No line has.
    }

    fn on_close(&mut self, context: &mut Context<'_>, _: StreamId, deadline: TimerId, _: CloseReason) {
        context.cancel_timer(deadline);
    }
}
// ANCHOR_END: patient

/// Sends a byte every 20 milliseconds until it is thrown out, and says whether that came in time.
fn drip(mut client: TcpStream) -> std::io::Result<bool> {
    for _ in 0..1000 {
        if client.write_all(b"x").is_err() {
            return Ok(true);
        }
        thread::sleep(Duration::from_millis(20)); // This is what a client that drips is like.
    }
    Ok(false)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut events = EventLoop::new()?;
    let tally = Framed::new(Lines::new(2000), Tally::default());
    let tally = events.add_stream_service(tally, StreamOptions::default());
    let listener = events.listen(tally, "127.0.0.1:0".parse()?, &ListenOptions::default())?;
    let at = events.local_addr(listener)?;
    let remote = events.remote();
    let client = thread::spawn(move || {
        let ended = TcpStream::connect(at).and_then(drip);
        let _ = remote.stop();
        ended
    });
    events.run()?;
    let ended = client.join().map_err(|_| "the client panicked")??;
    println!("{}", if ended { "thrown out" } else { "still there" });
    Ok(())
}
