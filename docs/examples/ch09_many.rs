//! Many protocols on one port: lines of tally, a page for browsers, and both behind a PROXY header. `ch09_many [ADDRESS]`.
#![expect(clippy::print_stdout, reason = "a program")]

// ANCHOR: program
#[path = "tally/counters.rs"]
mod counters;
#[path = "tally/service.rs"]
mod service;

use std::error::Error;
use std::time::Duration;

use sockeye::endpoint::NetSet;
use sockeye::event_loop::{Deadlines, EventLoop, ListenOptions, Stream, StreamOptions, StreamService};
use sockeye::relay::mux::{Mux, MuxOptions, Pattern};
use sockeye::relay::proxy::{ProxyServer, ServerOptions};

use service::Tally;

/// A page that tells a browser its own address.
struct Page;

impl StreamService for Page {
    type Conn = ();

    fn on_open(&mut self, _: &mut Stream<'_>) {}

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        if !data.ends_with(b"\r\n\r\n") {
            return 0; // A GET ends with an empty line. Until then: wait for more.
        }
        let peer = stream.peer_addr().map(|peer| peer.ip().to_string());
        let body = format!("you are {}\n", peer.as_deref().unwrap_or("nobody"));
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        let _ = stream.write(head.as_bytes());
        let _ = stream.write(body.as_bytes());
        stream.close();
        data.len()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let at = std::env::args()
        .nth(1)
        .unwrap_or("127.0.0.1:7007".to_owned())
        .parse()?;
    let options = StreamOptions {
        deadlines: Deadlines {
            idle: Some(Duration::from_secs(60)),
            ..Deadlines::default()
        },
        ..StreamOptions::default()
    };
    let mut events = EventLoop::new()?;
    let tally = events.add_stream_service(Tally::over_lines(), options.clone());
    let page = events.add_stream_service(Page, options.clone());

    // Behind a PROXY header either protocol may follow, so there is a second mux.
    let inner = Mux::new(MuxOptions::default())
        .rule(Pattern::http1(), page)
        .otherwise(tally);
    let inner = events.add_stream_service(inner, options.clone());
    let mut relays = NetSet::new();
    relays.insert("127.0.0.2/32".parse()?); // Whom we believe when it says for whom it connects.
    let proxied = ProxyServer::new(inner, ServerOptions::trusting(relays));
    let proxied = events.add_stream_service(proxied, options.clone());

    let first_bytes = Mux::new(MuxOptions::default())
        .rule(Pattern::Proxy, proxied)
        .rule(Pattern::http1(), page)
        .otherwise(tally);
    let first_bytes = events.add_stream_service(first_bytes, options);
    let listener = events.listen(first_bytes, at, &ListenOptions::default())?;
    println!("listening on {}", events.local_addr(listener)?);
    Ok(events.run()?)
}
// ANCHOR_END: program
