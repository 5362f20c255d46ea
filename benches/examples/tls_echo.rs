//! An echo under TLS on the event loop, to be measured: `tls_echo PORT` listens on 127.0.0.1:PORT (0: a free one, printed).

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};

use sockeye::event_loop::{EventLoop, ListenOptions, Stream, StreamOptions, StreamService};
use sockeye::tls::TlsServer;

struct Echo;

impl StreamService for Echo {
    type Conn = ();

    fn on_open(&mut self, _: &mut Stream<'_>) {}

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        if stream.write(data).is_taken() {
            data.len()
        } else {
            0
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = std::env::args().nth(1).ok_or("which port?")?.parse()?;
    let mut events = EventLoop::new()?;
    let echo = events.add_stream_service(Echo, StreamOptions::default());
    let tls = TlsServer::new(sockeye_benches::tls::server_config()?, echo);
    let tls = events.add_stream_service(tls, StreamOptions::default());
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let listener = events.listen(tls, at, &ListenOptions::default())?;
    writeln!(
        std::io::stdout(),
        "listening on tls://{}",
        events.local_addr(listener)?
    )?;
    Ok(events.run()?)
}
