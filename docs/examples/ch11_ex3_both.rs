//! Tally over TCP and UDP with the same counters. `ch11_ex3_both [ADDRESS]`.
#![expect(clippy::print_stdout, reason = "a program")]

#[path = "tally/counters.rs"]
mod counters;

use std::cell::RefCell;
use std::error::Error;
use std::hash::{BuildHasher as _, RandomState};
use std::rc::Rc;

use sockeye::event_loop::codec::{FrameService, FrameStream, Framed, Lines};
use sockeye::event_loop::{
    Datagram, DatagramOptions, DatagramService, Datagrams, EventLoop, ListenOptions, ReflectorGuard,
    ReflectorOptions, StreamOptions,
};

use counters::{Counters, MAX_LINE};

// ANCHOR: both
struct OverStreams(Rc<RefCell<Counters>>);

impl FrameService for OverStreams {
    type Conn = ();

    fn on_open(&mut self, _: &mut FrameStream<'_, '_>) {}

    fn on_frame(&mut self, stream: &mut FrameStream<'_, '_>, (): &mut (), line: &mut [u8]) {
        let answer = self.0.borrow_mut().answer(line);
        if !stream.send(answer.as_bytes()).is_ok_and(|sent| sent.is_taken()) {
            stream.stream().abort();
        }
    }
}

struct OverDatagrams {
    counters: Rc<RefCell<Counters>>,
    /// Whom we may answer, and how often: a source may be forged.
    guard: ReflectorGuard,
}

impl DatagramService for OverDatagrams {
    fn on_open(&mut self, socket: &mut Datagrams<'_>) {
        if let Ok(own) = socket.local_addr() {
            self.guard.add_own(own); // never to ourselves, whoever asks for it
        }
    }

    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        if datagram.truncated || self.guard.admit(datagram.source, socket.now()).is_err() {
            return; // over UDP, silence is an answer too
        }
        let answer = self.counters.borrow_mut().answer(datagram.data.trim_ascii_end());
        let _ = socket.send(&datagram.reply(answer.as_bytes()));
    }
}
// ANCHOR_END: both

fn main() -> Result<(), Box<dyn Error>> {
    let at = std::env::args()
        .nth(1)
        .unwrap_or("127.0.0.1:7007".to_owned())
        .parse()?;
    let mut events = EventLoop::new()?;
    let counters = Rc::new(RefCell::new(Counters::default()));
    let streams = Framed::new(Lines::new(MAX_LINE), OverStreams(Rc::clone(&counters)));
    let streams = events.add_stream_service(streams, StreamOptions::default());
    let listener = events.listen(streams, at, &ListenOptions::default())?;
    let seed = RandomState::new().hash_one(0); // which nobody can guess
    let datagrams = OverDatagrams {
        counters,
        guard: ReflectorGuard::new(ReflectorOptions::default(), seed),
    };
    let datagrams = events.add_datagram_service(datagrams);
    let options = DatagramOptions {
        packet_info: true, // answer from the address that was asked
        ..DatagramOptions::default()
    };
    events.bind(datagrams, events.local_addr(listener)?, &options)?;
    println!("listening on {}", events.local_addr(listener)?);
    Ok(events.run()?)
}
