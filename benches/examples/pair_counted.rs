//! Two services that send 64 bytes to and fro over a pair, to be counted: `pair_counted MESSAGES`.

use std::time::Duration;

use sockeye::event_loop::{EventLoop, PairOptions, Stream, StreamOptions, StreamService};

/// Sends, and sends again with each answer.
struct Asks {
    left: u64,
}

impl StreamService for Asks {
    type Conn = ();

    fn on_open(&mut self, stream: &mut Stream<'_>) {
        let _ = stream.write(&[7; 64]);
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        self.left -= 1;
        if self.left > 0 {
            let _ = stream.write(data);
        } else {
            stream.context().stop();
        }
        data.len()
    }
}

struct Echo;

impl StreamService for Echo {
    type Conn = ();

    fn on_open(&mut self, _: &mut Stream<'_>) {}

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        let _ = stream.write(data);
        data.len()
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let left = std::env::args().nth(1).ok_or("how many messages?")?.parse()?;
    let mut events = EventLoop::new()?;
    let asks = events.add_stream_service(Asks { left }, StreamOptions::default());
    let echo = events.add_stream_service(Echo, StreamOptions::default());
    events.pair(asks, echo, &PairOptions::default())?;
    while !events.is_stopping() {
        events.turn(Some(Duration::ZERO))?;
    }
    Ok(())
}
