//! TCP services on shards: each shard listens, or one thread accepts for all.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::io;
use std::net::SocketAddr;

use super::{ShardOptions, Shards, Spread, start};
use crate::id::ServiceHandle;
use crate::options::ListenOptions;
use crate::remote::Remote;
use crate::service::StreamService;

impl Shards {
    /// Serves TCP on `at` (port 0 is chosen once, for all shards): `factory` makes each shard's service.
    ///
    /// # Errors
    /// The first error of a thread, a loop or a listener; the shards that had started are stopped.
    pub fn serve<S, F>(at: &[SocketAddr], options: &ShardOptions, factory: F) -> io::Result<Self>
    where
        S: StreamService,
        F: Fn(usize) -> S + Send + Clone + 'static,
    {
        match options.spread {
            Spread::ReusePort => Self::listen_each(at, options, factory),
            Spread::RoundRobin | Spread::SourceHash => Self::accept_for_all(at, options, factory),
        }
    }

    fn listen_each<S, F>(at: &[SocketAddr], options: &ShardOptions, factory: F) -> io::Result<Self>
    where
        S: StreamService,
        F: Fn(usize) -> S + Send + Clone + 'static,
    {
        let mut shards = Self {
            shards: Vec::new(),
            acceptor: None,
            local_addrs: at.to_vec(),
        };
        let listen = ListenOptions {
            reuse_port: true,
            ..options.listen.clone()
        };
        for index in 0..options.count.max(1) {
            let (factory, stream, listen) = (factory.clone(), options.stream.clone(), listen.clone());
            // Where the first one listens the others do too.
            let at = shards.local_addrs.clone();
            let (shard, bound) = start(index, options, move |events| {
                let service = events.add_stream_service(factory(index), stream);
                let mut bound = Vec::new();
                for at in at {
                    let listener = events.listen(service, at, &listen)?;
                    bound.push(events.local_addr(listener)?);
                }
                Ok(bound)
            })?;
            shards.local_addrs = bound;
            shards.shards.push(shard);
        }
        Ok(shards)
    }

    fn accept_for_all<S, F>(at: &[SocketAddr], options: &ShardOptions, factory: F) -> io::Result<Self>
    where
        S: StreamService,
        F: Fn(usize) -> S + Send + Clone + 'static,
    {
        let mut shards = Self {
            shards: Vec::new(),
            acceptor: None,
            local_addrs: Vec::new(),
        };
        let mut outlets = Vec::new();
        for index in 0..options.count.max(1) {
            let (factory, stream) = (factory.clone(), options.stream.clone());
            let (shard, service) = start(index, options, move |events| {
                Ok(events.add_stream_service(factory(index), stream))
            })?;
            outlets.push((shard.remote.clone(), service));
            shards.shards.push(shard);
        }
        let (at, listen, spread) = (at.to_vec(), options.listen.clone(), options.spread);
        let (acceptor, bound) = start(
            usize::MAX,
            &ShardOptions {
                pin: false,
                ..options.clone()
            },
            move |events| {
                let mut bound = Vec::new();
                for at in at {
                    let mut dealer = Dealer {
                        outlets: outlets.clone(),
                        spread,
                        next: 0,
                    };
                    let listener =
                        events.hand_over(at, &listen, move |stream, peer| dealer.deal(stream, peer))?;
                    bound.push(events.local_addr(listener)?);
                }
                Ok(bound)
            },
        )?;
        shards.acceptor = Some(acceptor);
        shards.local_addrs = bound;
        Ok(shards)
    }
}

/// Deals connections out to shards.
struct Dealer<S> {
    outlets: Vec<(Remote, ServiceHandle<S>)>,
    spread: Spread,
    next: usize,
}

impl<S> Dealer<S> {
    fn deal(&mut self, stream: sockeye_tcp_stream::TcpStream, peer: SocketAddr) {
        let place = match self.spread {
            // Without a secret: which shard a source gets is no secret either.
            Spread::SourceHash => {
                let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(peer.ip().to_canonical());
                usize::try_from(hash % self.outlets.len() as u64).unwrap_or(0)
            }
            Spread::RoundRobin | Spread::ReusePort => {
                self.next = self.next.wrapping_add(1);
                self.next % self.outlets.len()
            }
        };
        // A shard whose queue is full does not keep up: the connection is closed, its client may try again.
        if let Some((remote, service)) = self.outlets.get(place) {
            let _ = remote.adopt(*service, stream, peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, Shutdown, TcpStream};
    use std::sync::mpsc::channel;
    use std::thread::ThreadId;
    use std::time::Duration;

    use super::*;
    use crate::event_loop::EventLoop;
    use crate::stream::Stream;

    /// Answers with the number of its shard, then echoes.
    struct Numbered(u8);

    impl StreamService for Numbered {
        type Conn = ();

        fn on_open(&mut self, stream: &mut Stream<'_>) {
            let _ = stream.write(&[self.0]);
        }

        fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
            if stream.write(data).is_taken() {
                data.len()
            } else {
                0
            }
        }
    }

    fn shards(spread: Spread) -> Shards {
        let options = ShardOptions {
            count: 2,
            spread,
            pin: true,
            ..ShardOptions::default()
        };
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Shards::serve(&[at], &options, |index| Numbered(u8::try_from(index).unwrap())).unwrap()
    }

    fn visit(at: SocketAddr) -> u8 {
        let mut client = TcpStream::connect(at).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        client.write_all(b"hello").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert_eq!(&answer[1..], b"hello");
        answer[0]
    }

    #[test]
    fn every_way_of_spreading_serves_all_and_counts_all() {
        for spread in [Spread::ReusePort, Spread::RoundRobin, Spread::SourceHash] {
            let shards = shards(spread);
            let at = shards.local_addrs()[0];
            let seen: Vec<u8> = (0..64).map(|_| visit(at)).collect();
            let distinct: HashSet<u8> = seen.iter().copied().collect();
            match spread {
                Spread::RoundRobin => assert!(seen.windows(2).all(|pair| pair[0] != pair[1]), "{seen:?}"),
                Spread::SourceHash => assert_eq!(distinct.len(), 1, "one source, one shard"),
                Spread::ReusePort => assert_eq!(distinct.len(), 2, "64 source ports on one of two sockets"),
            }
            let stats = shards.drain(Duration::from_secs(10)).unwrap();
            assert_eq!(stats.accepted, 64, "{spread:?}");
            assert_eq!(stats.closed, 64, "{spread:?}");
        }
    }

    #[test]
    fn each_shard_is_set_up_on_a_thread_of_its_own() {
        let (sender, threads) = channel();
        let options = ShardOptions {
            count: 3,
            ..ShardOptions::default()
        };
        let shards = Shards::start(&options, move |index, _| {
            sender
                .send((index, std::thread::current().id()))
                .map_err(io::Error::other)
        });
        let shards = shards.unwrap();
        let seen: Vec<(usize, ThreadId)> = threads.try_iter().collect();
        assert_eq!(
            seen.iter().map(|&(index, _)| index).collect::<Vec<_>>(),
            [0, 1, 2]
        );
        assert_eq!(
            seen.iter()
                .map(|&(_, thread)| thread)
                .collect::<HashSet<_>>()
                .len(),
            3
        );
        assert!(shards.stats(Duration::from_secs(10)).turns >= 3);
    }

    #[test]
    fn a_setup_that_fails_stops_the_others_and_says_why() {
        let options = ShardOptions {
            count: 2,
            ..ShardOptions::default()
        };
        let fail = |index, _: &mut EventLoop| {
            if index == 1 {
                Err(io::Error::new(io::ErrorKind::AddrInUse, "taken"))
            } else {
                Ok(())
            }
        };
        assert_eq!(
            Shards::start(&options, fail).unwrap_err().kind(),
            io::ErrorKind::AddrInUse
        );
    }
}
