//! A relay, written by hand: each client is joined with a connection to the backend. `ch09_relay [LISTEN [BACKEND]]`.
#![expect(clippy::print_stdout, reason = "a program")]

// ANCHOR: program
use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use sockeye::event_loop::{
    ConnectFailure, ConnectRequest, Context, EventLoop, ListenOptions, Relayed, Stream, StreamId,
    StreamOptions, StreamService,
};

struct Relay {
    backend: SocketAddr,
    /// Clients that wait for their connection to the backend, by the number of the connect.
    waiting: HashMap<u64, StreamId>,
    connects: u64,
}

impl StreamService for Relay {
    /// The client's address; of a connection to the backend, nothing.
    type Conn = Option<SocketAddr>;

    fn on_open(&mut self, stream: &mut Stream<'_>) -> Self::Conn {
        if stream.tag() != 0 {
            // Ours, to the backend: from here on the loop moves the bytes.
            let client = self.waiting.remove(&stream.tag());
            if !client.is_some_and(|client| stream.join(client)) {
                stream.abort(); // The client has gone meanwhile.
            }
            return None;
        }
        // A client. It is not read from until there is somebody to give its bytes to.
        stream.pause();
        self.connects += 1;
        self.waiting.insert(self.connects, stream.id());
        let request = ConnectRequest::new(self.backend).deadline(Duration::from_secs(5));
        stream.context().connect(request.tag(self.connects));
        stream.peer_addr()
    }

    fn on_data(&mut self, _: &mut Stream<'_>, _: &mut Self::Conn, _: &mut [u8]) -> usize {
        0 // Never called: a client is paused, and then joined.
    }

    fn on_connect_error(&mut self, context: &mut Context<'_>, failure: ConnectFailure) {
        println!("{failure}");
        let client = self.waiting.remove(&failure.tag);
        if let Some(mut client) = client.and_then(|client| context.stream(client)) {
            client.abort(); // A reset: an orderly end would look like an empty answer.
        }
    }

    fn on_relayed(&mut self, client: &mut Self::Conn, relayed: Relayed) {
        if let Some(client) = client {
            let (there, back) = (relayed.received, relayed.sent);
            println!("{client}: {there} bytes there, {back} back");
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let at = arguments.next().unwrap_or("127.0.0.1:7008".to_owned()).parse()?;
    let relay = Relay {
        backend: arguments.next().unwrap_or("127.0.0.1:7007".to_owned()).parse()?,
        waiting: HashMap::new(),
        connects: 0,
    };
    let mut events = EventLoop::new()?;
    let relay = events.add_stream_service(relay, StreamOptions::default());
    let listener = events.listen(relay, at, &ListenOptions::default())?;
    println!("listening on {}", events.local_addr(listener)?);
    Ok(events.run()?)
}
// ANCHOR_END: program
