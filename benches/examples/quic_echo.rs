//! An echo over QUIC on the event loop, to be measured: `quic_echo PORT` listens on 127.0.0.1:PORT (0: a free one, printed).

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};

use sockeye::event_loop::{EventLoop, Stream, StreamOptions, StreamService};
use sockeye::quic::{QuicOptions, QuicServer, socket_options};

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
    let options = QuicOptions::default();
    let quic = QuicServer::new(sockeye_benches::tls::server_config()?, echo)?.options(options);
    let quic = quic.add_to(&mut events);
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let socket = events.bind(quic, at, &socket_options())?;
    writeln!(
        std::io::stdout(),
        "listening on quic://{}",
        events.local_addr(socket)?
    )?;
    Ok(events.run()?)
}
