//! A TCP relay: `cargo run --example relay -- 127.0.0.1:8080 192.0.2.1:80`.

use std::collections::HashMap;
use std::net::SocketAddr;

use sockeye_event_loop::{
    ConnectFailure, ConnectRequest, Context, EventLoop, ListenOptions, Stream, StreamId, StreamOptions,
    StreamService,
};

/// Connects to the target for each connection that comes, and joins the two. Who waits is known by the connect's tag.
struct Relay(SocketAddr, HashMap<u64, StreamId>);

impl StreamService for Relay {
    type Conn = ();

    fn on_open(&mut self, stream: &mut Stream<'_>) {
        if let Some(front) = self.1.remove(&stream.tag()) {
            if !stream.join(front) {
                stream.abort();
            }
            return;
        }
        let tag = stream.id().to_u64() + 1;
        self.1.insert(tag, stream.id());
        // What arrives meanwhile waits in the kernel.
        stream.pause();
        stream.context().connect(ConnectRequest::new(self.0).tag(tag));
    }

    fn on_data(&mut self, _: &mut Stream<'_>, (): &mut (), _: &mut [u8]) -> usize {
        0
    }

    fn on_connect_error(&mut self, context: &mut Context<'_>, failure: ConnectFailure) {
        let front = self.1.remove(&failure.tag);
        if let Some(mut stream) = front.and_then(|id| context.stream(id)) {
            stream.abort();
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let at = arguments.next().ok_or("usage: relay LISTEN TARGET")?.parse()?;
    let to = arguments.next().ok_or("usage: relay LISTEN TARGET")?.parse()?;
    let mut events = EventLoop::new()?;
    let relay = events.add_stream_service(Relay(to, HashMap::new()), StreamOptions::default());
    events.listen(relay, at, &ListenOptions::default())?;
    Ok(events.run()?)
}
