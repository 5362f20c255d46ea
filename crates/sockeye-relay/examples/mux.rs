//! `mux LISTEN BACKEND`: many protocols at one address. A browser gets a page, ssh a greeting, TLS for `*.example.org` is passed
//! on to BACKEND as it is, and everything else is echoed; who says nothing for a second is told what there is.
//!
//! Try `curl http://ADDRESS`, `ssh -p PORT ADDRESS`, `openssl s_client -servername www.example.org -connect ADDRESS` and
//! `nc ADDRESS PORT`.

use std::collections::HashMap;
use std::error::Error;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use sockeye_event_loop::{
    ConnectFailure, ConnectRequest, Context, EventLoop, ListenOptions, Stream, StreamId, StreamOptions,
    StreamService,
};
use sockeye_relay::mux::{Mux, MuxOptions, Pattern};

/// Says one thing, once something has come, and closes.
struct Says(&'static str);

impl StreamService for Says {
    type Conn = ();

    fn on_open(&mut self, _: &mut Stream<'_>) {}

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        let _ = stream.write(self.0.as_bytes());
        stream.close();
        data.len()
    }
}

/// Greets, and says everything again.
struct Echo;

impl StreamService for Echo {
    type Conn = ();

    fn on_open(&mut self, stream: &mut Stream<'_>) {
        let _ = stream.write(b"HTTP, SSH, TLS for example.org, or an echo\n");
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        if stream.write(data).is_taken() {
            data.len()
        } else {
            0
        }
    }
}

/// Joins each connection with one to the backend, the bytes that told its protocol included.
struct Pass {
    to: SocketAddr,
    /// Who waits for its connection to the backend, by the number of the connect.
    waiting: HashMap<u64, StreamId>,
}

impl StreamService for Pass {
    type Conn = ();

    fn on_open(&mut self, stream: &mut Stream<'_>) {
        if stream.tag() != 0 {
            let client = self.waiting.remove(&stream.tag());
            if !client.is_some_and(|client| stream.join(client)) {
                stream.abort();
            }
            return;
        }
        let (id, number) = (stream.id(), stream.id().to_u64());
        stream.pause();
        self.waiting.insert(number, id);
        let request = ConnectRequest::new(self.to).deadline(Duration::from_secs(5));
        stream.context().connect(request.tag(number));
    }

    fn on_data(&mut self, _: &mut Stream<'_>, (): &mut (), _: &mut [u8]) -> usize {
        0
    }

    fn on_connect_error(&mut self, context: &mut Context<'_>, failure: ConnectFailure) {
        let client = self.waiting.remove(&failure.tag);
        if let Some(mut client) = client.and_then(|client| context.stream(client)) {
            client.abort();
        }
    }
}

fn main() -> ExitCode {
    let outcome = run();
    if let Err(error) = &outcome {
        let _ = writeln!(std::io::stderr(), "mux: {error}");
    }
    ExitCode::from(u8::from(outcome.is_err()))
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(at), Some(to)) = (arguments.next(), arguments.next()) else {
        return Err("usage: mux LISTEN BACKEND, as in mux [::1]:7000 127.0.0.1:443".into());
    };
    let mut events = EventLoop::new()?;
    let options = StreamOptions::default;
    let page = "HTTP/1.1 200 OK\r\nContent-Length: 21\r\nConnection: close\r\n\r\nMany protocols here.\n";
    let web = events.add_stream_service(Says(page), options());
    let ssh = events.add_stream_service(Says("SSH-2.0-Sockeye no shell here\r\n"), options());
    let echo = events.add_stream_service(Echo, options());
    let pass = Pass {
        to: to.parse()?,
        waiting: HashMap::new(),
    };
    let pass = events.add_stream_service(pass, options());
    let mux = Mux::new(MuxOptions::default())
        .rule(Pattern::http1(), web)
        .rule(Pattern::Ssh, ssh)
        // Any TLS is `Pattern::tls()`; to end it here, give it the handle of a `TlsServer` (crate `sockeye-tls`).
        .rule(Pattern::server_names(["example.org", "*.example.org"]), pass)
        .when_silent(Duration::from_secs(1), echo)
        .otherwise(echo);
    let mux = events.add_stream_service(mux, options());
    let listener = events.listen(mux, at.parse()?, &ListenOptions::default())?;
    let at = events.local_addr(listener)?;
    writeln!(std::io::stdout(), "listening on tcp://{at}")?;
    events.run()?;
    Ok(())
}
