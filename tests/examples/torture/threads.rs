//! What crosses threads: remotes, shards, and names asked for without a loop.

use std::net::SocketAddr;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use sockeye_event_loop::{
    ConnectRequest, Context, EventLoop, Remote, RemoteError, ShardOptions, Shards, Spread, Stream,
    StreamOptions, StreamService,
};
use sockeye_resolver::dns::{Client as Names, DnsOptions, LocalNames};

use crate::datagrams::{name_server, question};
use crate::ground::{Client, DEADLINE, Failure, Notes, finish, loopback, turn_until};

/// Sums what other threads send.
struct Sum(u64);

impl StreamService for Sum {
    type Conn = ();

    fn on_open(&mut self, _: &mut Stream<'_>) {}

    fn on_data(&mut self, _: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        data.len()
    }
}

/// What threads post arrives, all of it.
pub(crate) fn remotes() -> Result<(), Failure> {
    const THREADS: u64 = 2;
    const POSTS: u64 = 50;
    let mut events = EventLoop::new()?;
    let sum = events.add_stream_service(Sum(0), StreamOptions::default());
    let mut threads: Vec<JoinHandle<Result<(), RemoteError>>> = Vec::new();
    for _ in 0..THREADS {
        let remote = events.remote();
        threads.push(Builder::new().spawn(move || {
            for number in 1..=POSTS {
                remote.with(sum, move |sum: &mut Sum, _: &mut Context<'_>| sum.0 += number)?;
            }
            Ok(())
        })?);
    }
    let expected = THREADS * POSTS * (POSTS + 1) / 2;
    let came = turn_until(&mut events, "all posts", |events| {
        events.service(sum).is_none_or(|sum| sum.0 >= expected)
    });
    for thread in threads {
        thread
            .join()
            .map_err(|_| Failure::Wrong("a thread panicked".to_owned()))??;
    }
    came
}

/// Sends back what comes, on a shard.
struct ShardEcho;

impl StreamService for ShardEcho {
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

pub(crate) fn shards() -> Result<(), Failure> {
    sharded(Spread::ReusePort)
}

pub(crate) fn shards_by_hand() -> Result<(), Failure> {
    sharded(Spread::RoundRobin)
}

fn sharded(spread: Spread) -> Result<(), Failure> {
    const CLIENTS: usize = 3;
    let options = ShardOptions {
        count: 2,
        spread,
        ..ShardOptions::default()
    };
    let shards = Shards::serve(&[loopback()], &options, |_| ShardEcho)?;
    let at = *shards
        .local_addrs()
        .first()
        .ok_or_else(|| Failure::Wrong("no address".to_owned()))?;
    let notes = Notes::default();
    let mut events = EventLoop::new()?;
    let client = events.add_stream_service(Client::new(&notes, 8 * 1024), StreamOptions::default());
    for _ in 0..CLIENTS {
        events.connect(client, ConnectRequest::new(at).deadline(DEADLINE));
    }
    let clients = finish(events, &notes, CLIENTS);
    let stats = shards.drain(Duration::from_secs(2));
    match clients {
        // The shard that closed a connection with an error is not asked for it: that it did is in what the client got.
        Err(Failure::Wrong(what)) if what.contains("nobody was told") => {
            stats?;
            Err(Failure::Wrong(what))
        }
        other => {
            stats?;
            other
        }
    }
}

/// A name server in a thread; its address, and what stops it.
fn served() -> Result<(SocketAddr, Remote, JoinHandle<std::io::Result<()>>), Failure> {
    let server = name_server()?;
    let (sender, receiver) = std::sync::mpsc::channel();
    let thread = Builder::new().spawn(move || {
        let mut events = EventLoop::new()?;
        let served = server
            .serve(&mut events, loopback())
            .map_err(std::io::Error::from)?;
        // Nobody waits any more: then there is nothing to serve.
        let _ = sender.send((served.address, events.remote()));
        events.run()
    })?;
    match receiver.recv_timeout(DEADLINE) {
        Ok((address, remote)) => Ok((address, remote, thread)),
        Err(_) => match thread.join() {
            Ok(Err(error)) => Err(error.into()),
            _ => Err(Failure::Wrong("the name server's thread said nothing".to_owned())),
        },
    }
}

pub(crate) fn names_blocking() -> Result<(), Failure> {
    let (address, remote, thread) = served()?;
    let mut client = Names::new(DnsOptions::with_servers([address]), LocalNames::default());
    let results = client.addresses(question()?);
    let stopped = remote.stop();
    let ended = thread
        .join()
        .map_err(|_| Failure::Wrong("the server's thread panicked".to_owned()))?;
    stopped?;
    ended?;
    for result in results.v6.into_iter().chain([results.v4]) {
        let answer = result?;
        if answer.addresses().count() != 1 {
            return Err(Failure::Wrong(format!("other addresses: {answer:?}")));
        }
    }
    Ok(())
}
