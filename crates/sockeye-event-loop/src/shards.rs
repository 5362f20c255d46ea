//! One loop a core: threads, each with an event loop of its own, and connections spread over them.
//!
//! Nothing is shared between shards but what the caller shares. Who accepts is a choice:
//!
//! - [`Spread::ReusePort`]: every shard listens on the same port and the kernel spreads connections by their
//!   addresses (SO_REUSEPORT). No hand-over; a shard that is slow keeps what was given to it.
//! - [`Spread::RoundRobin`], [`Spread::SourceHash`]: one thread accepts and hands out, evenly or so that all
//!   connections of one source address meet on one shard.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use sockeye_socket::os;

use crate::event_loop::EventLoop;
use crate::options::{ListenOptions, LoopOptions, StreamOptions};
use crate::remote::{Remote, RemoteError};
use crate::stats::Stats;

#[cfg(feature = "tcp")]
mod serve;

/// How connections come to the shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Spread {
    /// Each shard listens; the kernel spreads (SO_REUSEPORT).
    #[default]
    ReusePort,
    /// One thread accepts and hands out in turn.
    RoundRobin,
    /// One thread accepts; a source address always goes to the same shard.
    SourceHash,
}

/// How many shards, where, and how they are fed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardOptions {
    /// Shards; at least one.
    pub count: usize,
    /// Binds shard *i* to the *i*-th of the CPUs that this process may use, round and round.
    pub pin: bool,
    /// How connections come to them.
    pub spread: Spread,
    /// Sizes and budgets of each loop.
    pub each: LoopOptions,
    /// What every connection gets.
    pub stream: StreamOptions,
    /// How to listen. `reuse_port` follows from `spread`.
    pub listen: ListenOptions,
}

impl Default for ShardOptions {
    /// A shard for each CPU that this process may use, fed by the kernel.
    fn default() -> Self {
        Self {
            count: os::allowed_cpus().map_or(1, |cpus| cpus.len().max(1)),
            pin: false,
            spread: Spread::default(),
            each: LoopOptions::default(),
            stream: StreamOptions::default(),
            listen: ListenOptions::default(),
        }
    }
}

/// Threads with an event loop each. Dropped, they are stopped; [`drain`](Self::drain) ends them in order.
///
/// ```
/// use std::time::Duration;
/// use sockeye_event_loop::{ShardOptions, Shards, Stream, StreamService};
///
/// struct Echo;
///
/// impl StreamService for Echo {
///     type Conn = ();
///     fn on_open(&mut self, _: &mut Stream<'_>) {}
///     fn on_data(&mut self, stream: &mut Stream<'_>, _: &mut (), data: &mut [u8]) -> usize {
///         if stream.write(data).is_taken() { data.len() } else { 0 }
///     }
/// }
///
/// # #[cfg(feature = "tcp")]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let options = ShardOptions { count: 2, ..ShardOptions::default() };
/// let shards = Shards::serve(&["127.0.0.1:0".parse()?], &options, |_shard| Echo)?;
/// println!("listening on {:?}", shards.local_addrs());
/// // Later: connections that are open have two seconds to end.
/// let stats = shards.drain(Duration::from_secs(2))?;
/// println!("{} were accepted", stats.accepted);
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "tcp"))]
/// # fn main() {}
/// ```
#[derive(Debug)]
pub struct Shards {
    shards: Vec<Shard>,
    acceptor: Option<Shard>,
    local_addrs: Vec<SocketAddr>,
}

#[derive(Debug)]
struct Shard {
    remote: Remote,
    thread: Option<JoinHandle<io::Result<Stats>>>,
}

impl Shards {
    /// Starts shards that a caller sets up: `setup` runs on each shard's thread, with its number and its loop, and
    /// adds what is to run there. For datagram sockets, and for several services on a shard.
    ///
    /// # Errors
    /// The first error of a thread, a loop or a `setup`; the shards that had started are stopped.
    pub fn start<F>(options: &ShardOptions, setup: F) -> io::Result<Self>
    where
        F: Fn(usize, &mut EventLoop) -> io::Result<()> + Send + Clone + 'static,
    {
        let mut shards = Self {
            shards: Vec::new(),
            acceptor: None,
            local_addrs: Vec::new(),
        };
        for index in 0..options.count.max(1) {
            let setup = setup.clone();
            let (shard, ()) = start(index, options, move |events| setup(index, events))?;
            shards.shards.push(shard);
        }
        Ok(shards)
    }

    /// Where [`serve`](Self::serve) listens: port 0 has become the real one.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local_addrs
    }

    /// Handles to the shards' loops, in their order.
    pub fn remotes(&self) -> impl ExactSizeIterator<Item = &Remote> {
        self.shards.iter().map(|shard| &shard.remote)
    }

    /// What all loops have done so far, the acceptor's included. A loop that does not answer within `within` is
    /// not counted: it hangs in a callback.
    #[must_use]
    pub fn stats(&self, within: Duration) -> Stats {
        let (sender, answers) = channel();
        let mut asked = 0;
        for shard in self.shards.iter().chain(&self.acceptor) {
            let sender: Sender<Stats> = sender.clone();
            let answer = move |context: &mut crate::context::Context<'_>| {
                // Nobody waits any more after `within`.
                let _ = sender.send(context.stats());
            };
            asked += usize::from(shard.remote.post(answer).is_ok());
        }
        let mut sum = Stats::default();
        for _ in 0..asked {
            match answers.recv_timeout(within) {
                Ok(stats) => sum += stats,
                Err(_) => break,
            }
        }
        sum
    }

    /// Ends all in order: no new connections, then each loop as by [`EventLoop::drain`], all at once. Returns what
    /// they have done.
    ///
    /// # Errors
    /// The first error that ended a loop; a thread that panicked is `Other`.
    pub fn drain(mut self, within: Duration) -> io::Result<Stats> {
        if let Some(acceptor) = &self.acceptor {
            let _ = acceptor.remote.stop();
        }
        for shard in &self.shards {
            match shard.remote.drain(within) {
                // A full queue is no reason to stay.
                Err(RemoteError::Full) => shard.remote.force_drain(within),
                Ok(()) | Err(RemoteError::Gone) => {}
            }
        }
        self.join()
    }

    /// Waits until every loop has ended, by whatever ended it.
    ///
    /// # Errors
    /// As [`drain`](Self::drain).
    pub fn wait(mut self) -> io::Result<Stats> {
        self.join()
    }

    fn join(&mut self) -> io::Result<Stats> {
        let mut sum = Stats::default();
        let mut outcome = Ok(());
        for shard in self.shards.iter_mut().chain(&mut self.acceptor) {
            let Some(thread) = shard.thread.take() else {
                continue;
            };
            match thread.join() {
                Ok(Ok(stats)) => sum += stats,
                Ok(Err(error)) => outcome = outcome.and(Err(error)),
                Err(_) => outcome = outcome.and(Err(io::Error::other("the thread of a shard panicked"))),
            }
        }
        outcome.map(|()| sum)
    }
}

impl Drop for Shards {
    fn drop(&mut self) {
        for shard in self.shards.iter().chain(&self.acceptor) {
            let _ = shard.remote.stop();
        }
        // What they ended with is of interest to those who call `wait` or `drain`.
        let _ = self.join();
    }
}

/// Starts one shard, and waits until it is set up.
fn start<T: Send + 'static>(
    index: usize,
    options: &ShardOptions,
    setup: impl FnOnce(&mut EventLoop) -> io::Result<T> + Send + 'static,
) -> io::Result<(Shard, T)> {
    let (ready, started) = channel();
    let (mut each, pin) = (options.each.clone(), options.pin);
    // What one loop may keep, all shards together may.
    each.memory_budget /= options.count.max(1);
    let name = if index == usize::MAX {
        "acceptor".to_owned()
    } else {
        format!("shard-{index}")
    };
    let thread = std::thread::Builder::new().name(name).spawn(move || {
        let prepared = prepare(index, pin, each).and_then(|mut events| {
            let set_up = setup(&mut events)?;
            Ok((events, set_up))
        });
        match prepared {
            Ok((mut events, set_up)) => {
                // Whoever started it may have given up on another one by now.
                let _ = ready.send(Ok((events.remote(), set_up)));
                events.run()?;
                Ok(events.stats())
            }
            Err(error) => {
                let _ = ready.send(Err(error));
                Ok(Stats::default())
            }
        }
    })?;
    let gone = |_| io::Error::other("a shard panicked while it was set up");
    let (remote, set_up) = started.recv().map_err(gone)??;
    Ok((
        Shard {
            remote,
            thread: Some(thread),
        },
        set_up,
    ))
}

fn prepare(index: usize, pin: bool, each: LoopOptions) -> io::Result<EventLoop> {
    if pin {
        let cpus = os::allowed_cpus()?;
        if let Some(&cpu) = cpus.get(index % cpus.len().max(1)) {
            os::pin_thread_to_cpu(cpu)?;
        }
    }
    EventLoop::with_options(each)
}
