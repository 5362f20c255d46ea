//! A relay by `join`, to be counted: `relay_counted BACKEND_PORT` prints where it listens and relays to the loopback.

use std::collections::HashMap;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};

use sockeye::event_loop::{
    ConnectRequest, EventLoop, ListenOptions, Stream, StreamId, StreamOptions, StreamService,
};

/// Connects to the backend for each connection that comes, and joins the two.
struct Relay(SocketAddr, HashMap<u64, StreamId>);

impl StreamService for Relay {
    type Conn = ();

    fn on_open(&mut self, stream: &mut Stream<'_>) {
        if let Some(front) = self.1.remove(&stream.tag()) {
            assert!(stream.join(front));
            return;
        }
        let tag = stream.id().to_u64() + 1;
        self.1.insert(tag, stream.id());
        stream.pause();
        stream.context().connect(ConnectRequest::new(self.0).tag(tag));
    }

    fn on_data(&mut self, _: &mut Stream<'_>, (): &mut (), _: &mut [u8]) -> usize {
        0
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = std::env::args()
        .nth(1)
        .ok_or("which port has the backend?")?
        .parse()?;
    let backend = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut events = EventLoop::new()?;
    let relay = events.add_stream_service(Relay(backend, HashMap::new()), StreamOptions::default());
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = events.listen(relay, any, &ListenOptions::default())?;
    writeln!(
        std::io::stdout(),
        "listening on tcp://{}",
        events.local_addr(listener)?
    )?;
    Ok(events.run()?)
}
