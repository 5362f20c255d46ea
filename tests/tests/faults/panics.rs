//! Panics in a shard: the thread goes on, and so do the others.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use sockeye_event_loop::{ShardOptions, Shards, Spread, Stream, StreamService};
use sockeye_tests::wait::PATIENCE;

use crate::ground::alone;

/// Answers; a connection that says `!` makes it panic, one that says `?` does when its state is dropped.
struct Touchy;

struct State(bool);

impl Drop for State {
    fn drop(&mut self) {
        assert!(!self.0, "bang in the drop");
    }
}

impl StreamService for Touchy {
    type Conn = State;

    fn on_open(&mut self, _: &mut Stream<'_>) -> State {
        State(false)
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, state: &mut State, data: &mut [u8]) -> usize {
        assert_ne!(data.first(), Some(&b'!'), "bang");
        state.0 = data.first() == Some(&b'?');
        let _ = stream.write(data);
        data.len()
    }
}

fn ask(at: SocketAddr, word: &[u8]) -> Vec<u8> {
    let mut client = TcpStream::connect(at).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(word).unwrap();
    let _ = client.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    // A reset is an answer too.
    let _ = client.read_to_end(&mut answer);
    answer
}

#[test]
fn a_panic_in_a_shard_costs_its_connection() {
    alone("panics::a_panic_in_a_shard_costs_its_connection", || {
        for spread in [Spread::ReusePort, Spread::RoundRobin, Spread::SourceHash] {
            let options = ShardOptions {
                count: 3,
                spread,
                ..ShardOptions::default()
            };
            let at = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let shards = Shards::serve(&[at], &options, |_| Touchy).unwrap();
            let at = shards.local_addrs()[0];
            for _ in 0..20 {
                assert_eq!(ask(at, b"hello"), b"hello");
                assert_eq!(ask(at, b"!"), b"");
                assert_eq!(ask(at, b"?"), b"?");
            }
            assert_eq!(ask(at, b"and still"), b"and still");
            let stats = shards.drain(Duration::from_secs(10)).unwrap();
            assert_eq!(
                (stats.panics, stats.accepted, stats.closed),
                (40, 61, 61),
                "{spread:?}"
            );
        }
    });
}
