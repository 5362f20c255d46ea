//! The relay, and it tells the backend for whom it connects. `ch09_ex1_announce [LISTEN [BACKEND [SOURCE]]]`.
#![expect(clippy::print_stdout, reason = "a program")]

use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use sockeye::event_loop::{
    ConnectFailure, ConnectOptions, ConnectRequest, Context, EventLoop, ListenOptions, Stream, StreamId,
    StreamOptions, StreamService,
};
use sockeye::relay::proxy::{self, Addresses, Version};

struct Relay {
    backend: SocketAddr,
    source: SocketAddr,
    /// Clients that wait, and what will be said of them.
    waiting: HashMap<u64, (StreamId, Option<Addresses>)>,
    connects: u64,
}

// ANCHOR: announce
impl StreamService for Relay {
    type Conn = ();

    fn on_open(&mut self, stream: &mut Stream<'_>) {
        if stream.tag() != 0 {
            let joined = self
                .waiting
                .remove(&stream.tag())
                .is_some_and(|(client, addresses)| {
                    // The header goes first: what is joined later cannot overtake it.
                    proxy::announce(stream, Version::V1, addresses.as_ref(), &[], false).is_ok()
                        && stream.join(client)
                });
            if !joined {
                stream.abort();
            }
            return;
        }
        stream.pause();
        self.connects += 1;
        let client = (stream.id(), Addresses::of(stream));
        self.waiting.insert(self.connects, client);
        let options = ConnectOptions {
            source: Some(self.source), // The backend believes only this address.
            ..ConnectOptions::default()
        };
        let request = ConnectRequest::new(self.backend).options(options);
        let request = request.deadline(Duration::from_secs(5)).tag(self.connects);
        stream.context().connect(request);
    }
    // ANCHOR_END: announce

    fn on_data(&mut self, _: &mut Stream<'_>, (): &mut (), _: &mut [u8]) -> usize {
        0
    }

    fn on_connect_error(&mut self, context: &mut Context<'_>, failure: ConnectFailure) {
        println!("{failure}");
        let client = self.waiting.remove(&failure.tag);
        if let Some(mut client) = client.and_then(|(client, _)| context.stream(client)) {
            client.abort();
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let at = arguments.next().unwrap_or("127.0.0.1:7008".to_owned()).parse()?;
    let relay = Relay {
        backend: arguments.next().unwrap_or("127.0.0.1:7007".to_owned()).parse()?,
        source: arguments.next().unwrap_or("127.0.0.2:0".to_owned()).parse()?,
        waiting: HashMap::new(),
        connects: 0,
    };
    let mut events = EventLoop::new()?;
    let relay = events.add_stream_service(relay, StreamOptions::default());
    let listener = events.listen(relay, at, &ListenOptions::default())?;
    println!("listening on {}", events.local_addr(listener)?);
    Ok(events.run()?)
}
