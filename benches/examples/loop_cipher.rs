//! A cipher on the event loop, to be measured: `loop_cipher MODE PORT`, an echo of what was deciphered behind a XOR.
use std::collections::HashMap;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};

use sockeye::event_loop::codec::Capture;
use sockeye::event_loop::{
    CloseReason, Context, EventLoop, ListenOptions, PairOptions, ServiceHandle, Stream, StreamId,
    StreamOptions, StreamService, Timer, Watermarks,
};

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

fn apply(data: &mut [u8]) {
    for byte in data {
        *byte ^= 0x5a;
    }
}

struct Hooked<S> {
    inner: S,
    capture: Capture,
}

struct HookedConn<T> {
    inner: T,
    plain: Vec<u8>,
}

impl<S: StreamService> Hooked<S> {
    fn run<R>(&mut self, stream: &mut Stream<'_>, call: impl FnOnce(&mut S, &mut Stream<'_>) -> R) -> R {
        let answer = call(&mut self.inner, &mut stream.captured(&mut self.capture));
        apply(self.capture.bytes());
        let _ = stream.write_sealed(self.capture.bytes());
        self.capture.clear();
        self.capture.finish(stream);
        answer
    }

    fn offer(&mut self, stream: &mut Stream<'_>, conn: &mut HookedConn<S::Conn>) {
        let mut plain = std::mem::take(&mut conn.plain);
        if !plain.is_empty() {
            let used = self.run(stream, |inner, stream| {
                inner.on_data(stream, &mut conn.inner, &mut plain)
            });
            plain.drain(..used);
        }
        conn.plain = plain;
    }
}

impl<S: StreamService> StreamService for Hooked<S> {
    type Conn = HookedConn<S::Conn>;
    const WRAPS: bool = true;

    fn on_open(&mut self, stream: &mut Stream<'_>) -> Self::Conn {
        let inner = self.run(stream, |inner, stream| inner.on_open(stream));
        HookedConn {
            inner,
            plain: Vec::new(),
        }
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, conn: &mut Self::Conn, data: &mut [u8]) -> usize {
        if !conn.plain.is_empty() && !stream.is_reading() {
            return 0;
        }
        apply(data);
        conn.plain.extend_from_slice(data);
        self.offer(stream, conn);
        data.len()
    }

    fn on_writable(&mut self, stream: &mut Stream<'_>, conn: &mut Self::Conn) {
        self.run(stream, |inner, stream| inner.on_writable(stream, &mut conn.inner));
        self.offer(stream, conn);
    }

    fn on_timer(&mut self, stream: &mut Stream<'_>, conn: &mut Self::Conn, timer: Timer) {
        self.run(stream, |inner, stream| {
            inner.on_timer(stream, &mut conn.inner, timer)
        });
    }
}

struct Cipher {
    carried: ServiceHandle<Echo>,
    ends: HashMap<StreamId, StreamId>,
}

impl StreamService for Cipher {
    type Conn = StreamId;

    fn on_open(&mut self, stream: &mut Stream<'_>) -> StreamId {
        let id = stream.id();
        if let Some(other) = self.ends.remove(&id) {
            return other;
        }
        let mut context = stream.context();
        let Some(own) = context.handle::<Self>() else {
            return id;
        };
        let Ok((end, _)) = context.pair(own, self.carried, &PairOptions::default()) else {
            stream.abort();
            return id;
        };
        self.ends.insert(end, id);
        end
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, other: &mut StreamId, data: &mut [u8]) -> usize {
        let Some(mut other) = stream.other(*other) else {
            return data.len();
        };
        if other.queued() > 0 {
            other.notify_writable();
            stream.pause();
            return 0;
        }
        apply(data);
        let _ = other.write(data);
        data.len()
    }

    fn on_writable(&mut self, stream: &mut Stream<'_>, other: &mut StreamId) {
        if let Some(mut other) = stream.other(*other) {
            other.resume();
        }
    }

    fn on_close(&mut self, context: &mut Context<'_>, _: StreamId, other: StreamId, _: CloseReason) {
        if let Some(mut other) = context.stream(other) {
            other.close();
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mode = arguments.next().unwrap_or_default();
    let port = arguments.next().unwrap_or_default().parse().unwrap_or(0);
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut events = EventLoop::new()?;
    let options = StreamOptions {
        watermarks: Watermarks {
            high: 4 << 20,
            max_write: 4 << 20,
            ..Watermarks::default()
        },
        ..StreamOptions::default()
    };
    let id = if mode == "hooks" {
        let service = events.add_stream_service(
            Hooked {
                inner: Echo,
                capture: Capture::new(),
            },
            options,
        );
        events.listen(service, at, &ListenOptions::default())?
    } else {
        let carried = events.add_stream_service(Echo, options.clone());
        let service = events.add_stream_service(
            Cipher {
                carried,
                ends: HashMap::new(),
            },
            options,
        );
        events.listen(service, at, &ListenOptions::default())?
    };
    writeln!(std::io::stdout(), "listening on tcp://{}", events.local_addr(id)?)?;
    events.run()?;
    Ok(())
}
