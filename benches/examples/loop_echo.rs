//! A server on the event loop, to be measured: `loop_echo KIND PORT [THREADS] [MODE]`.
//!
//! KIND is `tcp` or `udp`, MODE `echo` (default), `sink` or `source`. It listens on 127.0.0.1:PORT (0: a free
//! one, printed on stdout) until it is ended. Each TCP connection has an idle deadline armed, as a service has.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use sockeye::event_loop::{
    Datagram, DatagramOptions, DatagramService, Datagrams, Deadlines, EventLoop, ListenOptions, LoopOptions,
    Sent, Stream, StreamOptions, StreamService, UnixDatagramOptions, UnixListenOptions, UnixName,
};

struct Echo;

impl StreamService for Echo {
    type Conn = ();

    fn on_open(&mut self, _: &mut Stream<'_>) {}

    fn on_data(&mut self, stream: &mut Stream<'_>, _: &mut (), data: &mut [u8]) -> usize {
        if stream.write(data).is_taken() {
            data.len()
        } else {
            0
        }
    }
}

struct Sink;

impl StreamService for Sink {
    type Conn = ();

    fn on_open(&mut self, _: &mut Stream<'_>) {}

    fn on_data(&mut self, _: &mut Stream<'_>, _: &mut (), data: &mut [u8]) -> usize {
        data.len()
    }
}

struct Source(Arc<[u8]>);

impl Source {
    fn fill(&self, stream: &mut Stream<'_>) {
        while stream.write_shared(&self.0) == Sent::Sent {}
        stream.notify_writable();
    }
}

impl StreamService for Source {
    type Conn = ();

    fn on_open(&mut self, stream: &mut Stream<'_>) {
        self.fill(stream);
    }

    fn on_data(&mut self, _: &mut Stream<'_>, _: &mut (), data: &mut [u8]) -> usize {
        data.len()
    }

    fn on_writable(&mut self, stream: &mut Stream<'_>, _: &mut ()) {
        self.fill(stream);
    }
}

struct UdpEcho;

impl DatagramService for UdpEcho {
    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        let _ = socket.send(&datagram.echo());
    }
}

struct UdpSink;

impl DatagramService for UdpSink {
    fn on_datagram(&mut self, _: &mut Datagrams<'_>, _: Datagram<'_>) {}
}

fn serve(kind: &str, port: u16, mode: &str, shared: bool) -> Result<(), Box<dyn std::error::Error>> {
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let read_buffer = if mode == "sink" { 256 * 1024 } else { 64 * 1024 };
    let mut events = EventLoop::with_options(LoopOptions {
        read_buffer,
        ..LoopOptions::default()
    })?;
    if kind == "udp" {
        let four_mib = Some(4 << 20);
        let options = DatagramOptions {
            reuse_port: shared,
            recv_buffer: four_mib,
            send_buffer: four_mib,
            ..DatagramOptions::default()
        };
        let id = if mode == "echo" {
            let service = events.add_datagram_service(UdpEcho);
            events.bind(service, at, &options)?
        } else {
            let service = events.add_datagram_service(UdpSink);
            events.bind(service, at, &options)?
        };
        writeln!(
            std::io::stdout(),
            "listening on {kind}://{}",
            events.local_addr(id)?
        )?;
    } else if kind == "unix-datagram" {
        let name: UnixName = format!("@d{port}").parse()?;
        let service = events.add_datagram_service(UdpEcho);
        events.bind_unix(service, &name, &UnixDatagramOptions::default())?;
        writeln!(std::io::stdout(), "listening on unix:{name}")?;
    } else {
        let deadlines = Deadlines {
            idle: Some(Duration::from_secs(60)),
            ..Deadlines::default()
        };
        let options = StreamOptions {
            deadlines,
            ..StreamOptions::default()
        };
        let how = ListenOptions {
            reuse_port: shared,
            ..ListenOptions::default()
        };
        if kind == "unix" {
            let service = events.add_stream_service(Echo, options);
            let id = events.listen_unix(service, &UnixName::UNNAMED, &UnixListenOptions::default())?;
            writeln!(std::io::stdout(), "listening on unix:{}", events.local_unix(id)?)?;
            return Ok(events.run()?);
        }
        let id = match mode {
            "sink" => {
                let service = events.add_stream_service(Sink, options);
                events.listen(service, at, &how)?
            }
            "source" => {
                let service = events.add_stream_service(Source(vec![b'x'; 256 * 1024].into()), options);
                events.listen(service, at, &how)?
            }
            _ => {
                let service = events.add_stream_service(Echo, options);
                events.listen(service, at, &how)?
            }
        };
        writeln!(
            std::io::stdout(),
            "listening on {kind}://{}",
            events.local_addr(id)?
        )?;
    }
    Ok(events.run()?)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let word = |place: usize, default: &str| words.get(place).cloned().unwrap_or_else(|| default.to_owned());
    let (kind, port, threads, mode) = (
        word(0, "tcp"),
        word(1, "0").parse()?,
        word(2, "1").parse::<usize>()?,
        word(3, "echo"),
    );
    for _ in 1..threads {
        let (kind, mode) = (kind.clone(), mode.clone());
        std::thread::spawn(move || {
            if let Err(error) = serve(&kind, port, &mode, true) {
                eprintln!("{error}");
            }
        });
    }
    serve(&kind, port, &mode, threads > 1)
}
