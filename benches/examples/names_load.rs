//! Clients of the DNS that ask for addresses of names that nobody has asked for before, one question a name.
//!
//! `names_load CLIENT SERVER UNDER_WAY QUERIES` keeps so many questions under way until so many are answered, and prints what
//! that took: `time NANOSECONDS` and `cpu NANOSECONDS`, of all threads. `names_load CLIENT SERVER UNDER_WAY memory` asks a server
//! that never answers and prints `memory BYTES`, by which the program grew meanwhile. The clients:
//!
//! - `event-loop`: the client of `sockeye-event-loop`, as it comes but for the cache;
//! - `hickory`: hickory-resolver on a runtime of tokio with one thread, as it comes but for the cache and the hosts file;
//! - `by-hand`: one connected socket, two calls a question, and no more is done than to compare the numbers: what the kernel takes
//!   of one question at a time;
//! - `getaddrinfo`: a thread for each question that is under way; who is asked says `/etc/resolv.conf`.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RecordType as HickoryType;
use sockeye::event_loop::EventLoop;
use sockeye::event_loop::names::{DnsConfig, NameSource};
use sockeye::resolver::dns::{CacheOptions, DnsOptions, Message, Name, Question, RecordType, Request};
use sockeye::socket::os::{AddressFamily, getaddrinfo};
use sockeye_benches::meter::{cpu_ns, resident_bytes};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Questions before those that count, for each that is under way: by then sockets and tables are made.
const WARM: usize = 2;

/// Without an answer for so long the server is taken for stuck.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is asked for, by numbers that no other has.
fn name(number: usize) -> String {
    format!("q{number}.bench.test.")
}

/// What is to be done.
#[derive(Clone, Copy)]
struct Shape {
    server: SocketAddr,
    under_way: usize,
    /// `None`: measure memory.
    queries: Option<usize>,
}

impl Shape {
    fn warm(self) -> usize {
        WARM * self.under_way
    }
}

/// The clocks at the beginning.
struct Begun(Instant, u64);

impl Begun {
    fn now() -> Result<Self, Error> {
        // What a thread has spent so far is counted when it yields.
        std::thread::yield_now();
        Ok(Self(Instant::now(), cpu_ns(std::process::id())?))
    }

    fn report(self) -> Result<String, Error> {
        let time = self.0.elapsed().as_nanos();
        std::thread::yield_now();
        let cpu = cpu_ns(std::process::id())? - self.1;
        Ok(format!("time {time}\ncpu {cpu}"))
    }
}

fn memory_since(before: u64) -> Result<String, Error> {
    let bytes = resident_bytes(std::process::id())?.saturating_sub(before);
    Ok(format!("memory {bytes}"))
}

fn event_loop(shape: Shape) -> Result<String, Error> {
    let mut events = EventLoop::new()?;
    let mut options = DnsOptions::with_servers([shape.server]);
    options.cache = CacheOptions {
        max_entries: 0,
        ..options.cache
    };
    events.set_names(NameSource::Dns(Box::new(DnsConfig {
        options,
        ..DnsConfig::default()
    })));
    let mut asked = 0;
    let mut ask = |events: &mut EventLoop| -> Result<(), Error> {
        let name: Name = name(asked).parse()?;
        asked += 1;
        events.resolve(Request::records(name, RecordType::A))?;
        Ok(())
    };
    let Some(queries) = shape.queries else {
        let before = resident_bytes(std::process::id())?;
        while events.dns_stats().datagrams < shape.under_way as u64 {
            ask(&mut events)?;
            if events.dns_stats().lookups.is_multiple_of(100) {
                events.turn(Some(Duration::ZERO))?;
            }
        }
        events.turn(Some(Duration::ZERO))?;
        assert_eq!(events.dns_stats().under_way, shape.under_way);
        return memory_since(before);
    };
    let mut exchange = |count: usize| -> Result<(), Error> {
        let (mut started, mut answered, begun) = (0, 0, Instant::now());
        while started < count.min(shape.under_way) {
            ask(&mut events)?;
            started += 1;
        }
        while answered < count {
            events.turn(Some(PATIENCE))?;
            let before = answered;
            while let Some(event) = events.next_answer() {
                let answer = event.result?;
                if answer.addresses().count() != 1 {
                    return Err("an answer without an address".into());
                }
                answered += 1;
                if started < count {
                    ask(&mut events)?;
                    started += 1;
                }
            }
            if before == answered && begun.elapsed() > PATIENCE {
                return Err("the server does not answer".into());
            }
        }
        Ok(())
    };
    exchange(shape.warm())?;
    let begun = Begun::now()?;
    exchange(queries)?;
    begun.report()
}

fn hickory(shape: Shape) -> Result<String, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut connection = ConnectionConfig::udp();
    connection.port = shape.server.port();
    let server = NameServerConfig::new(shape.server.ip(), true, vec![connection]);
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    let options = builder.options_mut();
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    options.max_active_requests = 1 << 20;
    if shape.queries.is_none() {
        options.timeout = Duration::from_secs(120);
    }
    let resolver = Arc::new(builder.build()?);
    let numbers = Arc::new(AtomicUsize::new(0));
    let exchange = async |count: usize| -> Result<(), Error> {
        let first = numbers.load(Ordering::Relaxed);
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..shape.under_way {
            let (resolver, numbers) = (Arc::clone(&resolver), Arc::clone(&numbers));
            tasks.spawn(async move {
                loop {
                    let number = numbers.load(Ordering::Relaxed);
                    if number >= first + count {
                        return Ok::<_, Error>(());
                    }
                    numbers.store(number + 1, Ordering::Relaxed);
                    let answer = resolver.lookup(name(number), HickoryType::A).await?;
                    if answer.answers().len() != 1 {
                        return Err("an answer without an address".into());
                    }
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        Ok(())
    };
    let Some(queries) = shape.queries else {
        let before = resident_bytes(std::process::id())?;
        return runtime.block_on(async {
            let all = async {
                let answered = exchange(shape.under_way).await;
                Err::<String, Error>(format!("an end without an answer: {answered:?}").into())
            };
            let sent = async {
                // It opens a socket for each question.
                while std::fs::read_dir("/proc/self/fd")?.count() < shape.under_way {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
                memory_since(before)
            };
            tokio::select! {
                ended = all => ended,
                sent = sent => sent,
            }
        });
    };
    runtime.block_on(exchange(shape.warm()))?;
    let begun = Begun::now()?;
    runtime.block_on(exchange(queries))?;
    begun.report()
}

fn by_hand(shape: Shape) -> Result<String, Error> {
    let queries = shape.queries.ok_or("it has no memory of queries")?;
    if shape.under_way != 1 {
        return Err("one at a time".into());
    }
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(shape.server)?;
    let mut wire = Vec::new();
    let mut answer = [0; 512];
    let mut exchange = |numbers: Range<usize>| -> Result<(), Error> {
        for number in numbers {
            let id = u16::try_from(number & 0xffff)?;
            let question = Question::new(name(number).parse()?, RecordType::A);
            wire.clear();
            Message::query(id, question).write(512, &mut wire);
            socket.send(&wire)?;
            socket.recv(&mut answer)?;
            if answer[..2] != wire[..2] {
                return Err("an answer to another question".into());
            }
        }
        Ok(())
    };
    exchange(0..shape.warm())?;
    let begun = Begun::now()?;
    exchange(shape.warm()..shape.warm() + queries)?;
    begun.report()
}

fn by_threads(shape: Shape) -> Result<String, Error> {
    let queries = shape.queries.ok_or("the memory of threads is not measured")?;
    let numbers = AtomicUsize::new(0);
    let (warm, all) = (shape.warm(), shape.warm() + queries);
    // Everybody is ready; everybody is done, and still there: what ended threads have spent is nowhere to be read.
    let barriers: [Barrier; 3] = std::array::from_fn(|_| Barrier::new(shape.under_way + 1));
    let ask_up_to = |limit: usize| {
        loop {
            let number = numbers.fetch_add(1, Ordering::Relaxed);
            if number >= limit {
                return;
            }
            let found = getaddrinfo(&name(number), AddressFamily::V4, 8);
            assert!(matches!(&found, Ok(found) if found.len() == 1), "{found:?}");
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..shape.under_way {
            scope.spawn(|| {
                ask_up_to(warm);
                barriers[0].wait();
                // The main thread sets the counter meanwhile.
                barriers[1].wait();
                ask_up_to(all);
                barriers[2].wait();
                barriers[0].wait();
            });
        }
        barriers[0].wait();
        numbers.store(warm, Ordering::Relaxed);
        let begun = Begun::now();
        barriers[1].wait();
        barriers[2].wait();
        let report = begun.and_then(Begun::report);
        barriers[0].wait();
        report
    })
}

#[expect(clippy::print_stdout, reason = "the figures are this program's data")]
fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [client, server, under_way, queries] = &arguments[..] else {
        return Err("names_load CLIENT SERVER UNDER_WAY QUERIES".into());
    };
    let shape = Shape {
        server: server.parse()?,
        under_way: under_way.parse()?,
        queries: match queries.as_str() {
            "memory" => None,
            number => Some(number.parse()?),
        },
    };
    let report = match client.as_str() {
        "event-loop" => event_loop(shape)?,
        "hickory" => hickory(shape)?,
        "by-hand" => by_hand(shape)?,
        "getaddrinfo" => by_threads(shape)?,
        _ => return Err("no such client".into()),
    };
    println!("{report}");
    Ok(())
}
