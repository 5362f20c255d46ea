//! What a loop holds: output, connections, pairs, timers, services, messages from other threads, datagrams.

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sockeye::event_loop::{
    ConnectRequest, Context, Datagram, DatagramOptions, DatagramService, Datagrams, EventLoop, ListenOptions,
    LoopOptions, PairOptions, ReflectorGuard, ReflectorOptions, Stream, StreamId, StreamOptions,
    StreamService, UnixListenOptions, UnixName, Watermarks,
};
use sockeye::socket::Outgoing;
use sockeye::udp::{RecvBatch, SendBatch};

use super::{Cost, Error, measured};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

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

/// Makes so many round trips on each connection, and counts those that are done.
struct Asks {
    trips: u32,
    done: Rc<Cell<usize>>,
}

impl StreamService for Asks {
    type Conn = u32;

    fn on_open(&mut self, stream: &mut Stream<'_>) -> u32 {
        let _ = stream.write(&[7; 64]);
        self.trips
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, left: &mut u32, data: &mut [u8]) -> usize {
        *left -= 1;
        if *left > 0 {
            let _ = stream.write(data);
        } else {
            self.done.set(self.done.get() + 1);
        }
        data.len()
    }
}

/// Reads nothing until it is told to, then everything.
struct Sleeper {
    id: Rc<Cell<Option<StreamId>>>,
    read: Rc<Cell<usize>>,
}

impl StreamService for Sleeper {
    type Conn = ();

    fn on_open(&mut self, stream: &mut Stream<'_>) {
        stream.pause();
        self.id.set(Some(stream.id()));
    }

    fn on_data(&mut self, _: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        self.read.set(self.read.get() + data.len());
        data.len()
    }
}

/// Says which connection it has.
struct Opens(Rc<Cell<Option<StreamId>>>);

impl StreamService for Opens {
    type Conn = ();

    fn on_open(&mut self, stream: &mut Stream<'_>) {
        self.0.set(Some(stream.id()));
    }

    fn on_data(&mut self, _: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        data.len()
    }
}

/// Writes of a KiB to a peer that does not read, `size` of them, and then it reads.
pub(super) fn queued_output(size: usize) -> Result<Cost, Error> {
    let total = size * 1024;
    let mut events = EventLoop::with_options(LoopOptions {
        memory_budget: 4 * total + (64 << 20),
        ..LoopOptions::default()
    })?;
    let high = StreamOptions {
        watermarks: Watermarks {
            high: 2 * total + 1,
            ..Watermarks::default()
        },
        ..StreamOptions::default()
    };
    let (id, read) = (Rc::new(Cell::new(None)), Rc::new(Cell::new(0)));
    let sleeper = Sleeper {
        id: Rc::clone(&id),
        read: Rc::clone(&read),
    };
    let reader = events.add_stream_service(sleeper, StreamOptions::default());
    let listener = events.listen(reader, ANY, &ListenOptions::default())?;
    let at = events.local_addr(listener)?;
    let opened = Rc::new(Cell::new(None));
    let writer = events.add_stream_service(Opens(Rc::clone(&opened)), high);
    events.connect(writer, ConnectRequest::new(at));
    while id.get().is_none() || opened.get().is_none() {
        events.turn(Some(Duration::from_millis(1)))?;
    }
    let out = opened.get().ok_or("no connection")?;
    let kib = [7; 1024];
    measured(|| {
        events.with(writer, |_, context| {
            for _ in 0..size {
                assert!(context.write(out, &kib).is_taken());
            }
        });
        events.with(reader, |_, context| {
            if let Some(mut stream) = id.get().and_then(|id| context.stream(id)) {
                stream.resume();
            }
        });
        while read.get() < total {
            events.turn(Some(Duration::from_millis(100)))?;
        }
        Ok(size as u64)
    })
}

/// Connections to a listener of the same loop, twenty round trips on each.
pub(super) fn connections(size: usize) -> Result<Cost, Error> {
    sockeye::socket::os::raise_nofile_limit(u64::MAX)?;
    let mut events = EventLoop::new()?;
    let echo = events.add_stream_service(Echo, StreamOptions::default());
    let listener = events.listen(echo, ANY, &ListenOptions::default())?;
    let at = events.local_addr(listener)?;
    round_trips(&mut events, size, &|| ConnectRequest::new(at))
}

pub(super) fn unix_connections(size: usize) -> Result<Cost, Error> {
    sockeye::socket::os::raise_nofile_limit(u64::MAX)?;
    let mut events = EventLoop::new()?;
    let echo = events.add_stream_service(Echo, StreamOptions::default());
    let listener = events.listen_unix(echo, &UnixName::UNNAMED, &UnixListenOptions::default())?;
    let name = events.local_unix(listener)?;
    round_trips(&mut events, size, &|| ConnectRequest::to_unix(name))
}

const TRIPS: u32 = 20;

fn round_trips(
    events: &mut EventLoop,
    size: usize,
    request: &dyn Fn() -> ConnectRequest,
) -> Result<Cost, Error> {
    let done = Rc::new(Cell::new(0));
    let asks = Asks {
        trips: TRIPS,
        done: Rc::clone(&done),
    };
    let asks = events.add_stream_service(asks, StreamOptions::default());
    measured(|| {
        for n in 0..size {
            events.connect(asks, request());
            // Not more at a time than the backlog of a Unix listener holds.
            if n % 1_000 == 999 {
                events.turn(Some(Duration::ZERO))?;
            }
        }
        while done.get() < size {
            events.turn(Some(Duration::from_millis(100)))?;
        }
        Ok(u64::from(TRIPS) * size as u64)
    })
}

/// Pairs inside the loop, twenty round trips on each.
pub(super) fn pairs(size: usize) -> Result<Cost, Error> {
    let mut events = EventLoop::new()?;
    let done = Rc::new(Cell::new(0));
    let asks = Asks {
        trips: TRIPS,
        done: Rc::clone(&done),
    };
    let asks = events.add_stream_service(asks, StreamOptions::default());
    let echo = events.add_stream_service(Echo, StreamOptions::default());
    measured(|| {
        for _ in 0..size {
            events.pair(asks, echo, &PairOptions::default())?;
        }
        while done.get() < size {
            events.turn(Some(Duration::ZERO))?;
        }
        Ok(u64::from(TRIPS) * size as u64)
    })
}

struct Fires(Rc<Cell<usize>>);

impl StreamService for Fires {
    type Conn = ();

    fn on_open(&mut self, _: &mut Stream<'_>) {}

    fn on_data(&mut self, _: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        data.len()
    }

    fn on_service_timer(&mut self, _: &mut Context<'_>, _: u64) {
        self.0.set(self.0.get() + 1);
    }
}

/// Timers that are set over a second, of which half are cancelled; the rest fires.
pub(super) fn timers(size: usize) -> Result<Cost, Error> {
    let mut events = EventLoop::new()?;
    let fired = Rc::new(Cell::new(0));
    let service = events.add_stream_service(Fires(Rc::clone(&fired)), StreamOptions::default());
    measured(|| {
        events.with(service, |_, context| {
            for n in 0..size as u64 {
                let after = Duration::from_nanos(n * 7_919 % 200_000_000);
                let timer = context.set_timer(after, n);
                if n % 2 == 1 {
                    context.cancel_timer(timer);
                }
            }
        });
        // Once all are due: turns in between would be counted for few timers.
        std::thread::sleep(Duration::from_millis(250));
        while fired.get() < size.div_ceil(2) {
            events.turn(Some(Duration::from_millis(10)))?;
        }
        Ok(size as u64)
    })
}

/// Services, each with a timer.
pub(super) fn services(size: usize) -> Result<Cost, Error> {
    let mut events = EventLoop::new()?;
    let fired = Rc::new(Cell::new(0));
    measured(|| {
        for _ in 0..size {
            let service = events.add_stream_service(Fires(Rc::clone(&fired)), StreamOptions::default());
            events.with(service, |_, context| context.set_timer(Duration::ZERO, 0));
        }
        while fired.get() < size {
            events.turn(Some(Duration::from_millis(10)))?;
        }
        Ok(size as u64)
    })
}

/// Messages from another thread, all of them there before the loop looks.
pub(super) fn remote_messages(size: usize) -> Result<Cost, Error> {
    let mut events = EventLoop::with_options(LoopOptions {
        remote_capacity: size,
        ..LoopOptions::default()
    })?;
    let done = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let remote = events.remote();
    measured(|| {
        for _ in 0..size {
            let done = Arc::clone(&done);
            remote.post(move |_| {
                done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            })?;
        }
        while done.load(std::sync::atomic::Ordering::Relaxed) < size {
            events.turn(Some(Duration::from_millis(10)))?;
        }
        Ok(size as u64)
    })
}

/// Ten messages to that many ends of pairs at once.
pub(super) fn broadcast(size: usize) -> Result<Cost, Error> {
    let mut events = EventLoop::new()?;
    let read = Rc::new(Cell::new(0));
    let count = Rc::clone(&read);
    let first = events.add_stream_service(Echo, StreamOptions::default());
    let second = events.add_stream_service(Counts(count), StreamOptions::default());
    let mut ids = Vec::new();
    for _ in 0..size {
        ids.push(events.pair(first, second, &PairOptions::default())?.0);
    }
    while events.has_work() {
        events.turn(Some(Duration::ZERO))?;
    }
    let message: Arc<[u8]> = Arc::from([7; 64]);
    measured(|| {
        for round in 1..=10 {
            let sent = events.with(first, |_, context| {
                context.broadcast(&message, ids.iter().copied())
            });
            assert_eq!(sent, Some(size));
            while read.get() < round * size * 64 {
                events.turn(Some(Duration::ZERO))?;
            }
        }
        Ok(10 * size as u64)
    })
}

struct Counts(Rc<Cell<usize>>);

impl StreamService for Counts {
    type Conn = ();

    fn on_open(&mut self, _: &mut Stream<'_>) {}

    fn on_data(&mut self, _: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        self.0.set(self.0.get() + data.len());
        data.len()
    }
}

/// Answers those whom the guard lets through.
struct Reflects {
    guard: ReflectorGuard,
    answered: Rc<Cell<usize>>,
}

impl DatagramService for Reflects {
    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        let now = socket.now();
        if self.guard.admit(datagram.source, now).is_ok() {
            let _ = socket.send(&datagram.echo());
        }
        self.answered.set(self.answered.get() + 1);
    }
}

/// Peers of one socket, each with ten datagrams, a hundred peers at a time.
pub(super) fn udp_peers(size: usize) -> Result<Cost, Error> {
    sockeye::socket::os::raise_nofile_limit(u64::MAX)?;
    let mut events = EventLoop::new()?;
    let answered = Rc::new(Cell::new(0));
    let options = ReflectorOptions {
        total: None,
        ..ReflectorOptions::default()
    };
    let service = events.add_datagram_service(Reflects {
        guard: ReflectorGuard::new(options, 0x5eed),
        answered: Rc::clone(&answered),
    });
    let options = DatagramOptions {
        recv_buffer: Some(4 << 20),
        ..DatagramOptions::default()
    };
    let socket = events.bind(service, ANY, &options)?;
    let at = events.local_addr(socket)?;
    let peers: Vec<UdpSocket> = (0..size)
        .map(|_| UdpSocket::bind(ANY))
        .collect::<Result<_, _>>()?;
    let mut sent = 0;
    measured(|| {
        for _ in 0..10 {
            for some in peers.chunks(100) {
                for peer in some {
                    peer.send_to(&[7; 64], at)?;
                    sent += 1;
                }
                while answered.get() < sent {
                    events.turn(Some(Duration::from_millis(10)))?;
                }
            }
        }
        Ok(sent as u64)
    })
}

/// A hundred thousand datagrams in batches of that many.
pub(super) fn udp_batch(size: usize) -> Result<Cost, Error> {
    let options = sockeye::udp::UdpOptions::new().recv_buffer(4 << 20);
    let to = options.bind(ANY)?;
    let from = sockeye::udp::UdpSocket::bind(ANY)?;
    let at = to.local_addr()?;
    let (mut sender, mut receiver) = (SendBatch::new(size), RecvBatch::new(size, 2_048));
    let message = Outgoing::to(at, &[7; 64]);
    measured(|| {
        let mut units = 0;
        while units < 100_000 {
            let mut sent = 0;
            while sent < size {
                sent += from.send_batch(&mut sender, sent..size, |_| message).count;
                let mut received = 0;
                while let Ok(count) = to.recv_batch(&mut receiver) {
                    received += count;
                }
                units += received as u64;
            }
        }
        Ok(units)
    })
}
