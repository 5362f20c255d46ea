//! Hosts, links and connections of a simulated network.

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use sockeye::event_loop::{Stream, StreamService};
use sockeye::sim::{HostId, LinkOptions, Sim};

use super::{Cost, Error, measured};

struct Echo;

impl StreamService for Echo {
    type Conn = ();

    fn on_open(&mut self, _: &mut Stream<'_>) {}

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        let _ = stream.write(data);
        data.len()
    }
}

/// Makes `left` round trips on each of its connections.
struct Asks {
    left: u64,
    done: Rc<Cell<u64>>,
}

impl StreamService for Asks {
    type Conn = u64;

    fn on_open(&mut self, stream: &mut Stream<'_>) -> u64 {
        let _ = stream.write(&[7; 64]);
        self.left
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, left: &mut u64, data: &mut [u8]) -> usize {
        *left -= 1;
        if *left > 0 {
            let _ = stream.write(data);
        } else {
            self.done.set(self.done.get() + 1);
        }
        data.len()
    }
}

fn at(n: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a00_0001 + u32::try_from(n).unwrap_or(0))
}

fn with_hosts(count: usize) -> (Sim, Vec<HostId>) {
    let mut sim = Sim::new(1);
    let hosts = (0..count).map(|n| sim.host(at(n))).collect();
    (sim, hosts)
}

pub(super) fn hosts(size: usize) -> Result<Cost, Error> {
    measured(|| {
        let (_sim, hosts) = with_hosts(size);
        Ok(hosts.len() as u64)
    })
}

/// A million round trips between that many hosts, half of which ask the other half.
pub(super) fn round_trips(size: usize) -> Result<Cost, Error> {
    let (mut sim, hosts) = with_hosts(size);
    let pairs = (size / 2) as u64;
    let trips = 1_000_000 / pairs;
    let done = Rc::new(Cell::new(0));
    for pair in hosts.chunks_exact(2).enumerate() {
        let (n, [server, client]) = pair else { continue };
        sim.listen(*server, 80, Echo)?;
        let asks = Asks {
            left: trips,
            done: Rc::clone(&done),
        };
        sim.connect(*client, SocketAddr::from((at(2 * n), 80)), asks);
    }
    let finished = Rc::clone(&done);
    measured(|| {
        sim.run_until(Duration::from_secs(3_600), move || finished.get() == pairs)?;
        Ok(trips * pairs)
    })
}

/// Links with a latency, from one host to each of that many others, and a round trip over each.
pub(super) fn links(size: usize) -> Result<Cost, Error> {
    let (mut sim, hosts) = with_hosts(size + 1);
    let done = Rc::new(Cell::new(0));
    sim.listen(hosts[0], 80, Echo)?;
    for &client in &hosts[1..] {
        sim.link(hosts[0], client, LinkOptions::latency(Duration::from_millis(1)));
        let asks = Asks {
            left: 100,
            done: Rc::clone(&done),
        };
        sim.connect(client, SocketAddr::from((at(0), 80)), asks);
    }
    let finished = Rc::clone(&done);
    measured(|| {
        sim.run_until(Duration::from_secs(3_600), move || finished.get() == size as u64)?;
        Ok(100 * size as u64)
    })
}

/// Connections between two hosts, and a hundred round trips on each.
pub(super) fn connections(size: usize) -> Result<Cost, Error> {
    let (mut sim, hosts) = with_hosts(2);
    let done = Rc::new(Cell::new(0));
    sim.listen(hosts[0], 80, Echo)?;
    let asks = Asks {
        left: 100,
        done: Rc::clone(&done),
    };
    let events = sim.on(hosts[1]);
    let service = events.add_stream_service(asks, Default::default());
    for _ in 0..size {
        events.connect(
            service,
            sockeye::event_loop::ConnectRequest::new(SocketAddr::from((at(0), 80))),
        );
    }
    let finished = Rc::clone(&done);
    measured(|| {
        sim.run_until(Duration::from_secs(3_600), move || finished.get() == size as u64)?;
        Ok(100 * size as u64)
    })
}
