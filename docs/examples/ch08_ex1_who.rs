//! Chapter 8, exercise 1: a service that tells each client how it is seen. `ch08_ex1_who`.
//!
//! It listens on 127.0.0.1:7007 and at `who.sock`.
#![expect(clippy::print_stdout, reason = "a program")]

// ANCHOR: program
use std::error::Error;

use sockeye::event_loop::{
    EventLoop, ListenOptions, Peer, Stream, StreamOptions, StreamService, UnixListenOptions,
};

/// Tells a client who it is, and closes.
struct Who;

impl StreamService for Who {
    type Conn = ();

    fn on_open(&mut self, stream: &mut Stream<'_>) {
        let text = match stream.peer() {
            Some(Peer::Ip(address)) => format!("a host at {}, or who pretends to be\n", address.ip()),
            Some(Peer::Unix {
                credentials: Some(who),
                ..
            }) => format!("user {} of this machine: its kernel says so\n", who.uid),
            _ => "nobody I know\n".to_owned(),
        };
        let _ = stream.write(text.as_bytes());
        stream.close();
    }

    fn on_data(&mut self, _: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        data.len()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut events = EventLoop::new()?;
    let who = events.add_stream_service(Who, StreamOptions::default());
    events.listen(who, "127.0.0.1:7007".parse()?, &ListenOptions::default())?;
    events.listen_unix(who, &"who.sock".parse()?, &UnixListenOptions::default())?;
    println!("listening on tcp://127.0.0.1:7007 and unix:who.sock");
    Ok(events.run()?)
}
// ANCHOR_END: program
