//! Hosts of a simulated network, to be counted: `sim_growth HOSTS TRIPS`. Half of them connect to the other half, and
//! each pair makes its share of the round trips.

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use sockeye::event_loop::{Stream, StreamService};
use sockeye::sim::Sim;

struct Echo;

impl StreamService for Echo {
    type Conn = ();

    fn on_open(&mut self, _: &mut Stream<'_>) {}

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        let _ = stream.write(data);
        data.len()
    }
}

struct Asks {
    left: u64,
    done: Rc<Cell<u64>>,
}

impl StreamService for Asks {
    type Conn = ();

    fn on_open(&mut self, stream: &mut Stream<'_>) {
        let _ = stream.write(&[7; 64]);
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        self.left -= 1;
        if self.left > 0 {
            let _ = stream.write(data);
        } else {
            self.done.set(self.done.get() + 1);
        }
        data.len()
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let hosts: u32 = arguments.next().ok_or("how many hosts?")?.parse()?;
    let trips: u64 = arguments.next().ok_or("how many round trips?")?.parse()?;
    let begun = Instant::now();
    let mut sim = Sim::new(1);
    let at = |n: u32| Ipv4Addr::from_bits(0x0a00_0001 + n);
    let all: Vec<_> = (0..hosts).map(|n| sim.host(at(n))).collect();
    let added = begun.elapsed();
    let pairs = u64::from(hosts / 2);
    let done = Rc::new(Cell::new(0));
    for n in 0..hosts / 2 {
        let (server, client) = (2 * n, 2 * n + 1);
        sim.listen(all[server as usize], 80, Echo)?;
        let asks = Asks {
            left: (trips / pairs).max(1),
            done: Rc::clone(&done),
        };
        sim.connect(all[client as usize], SocketAddr::from((at(server), 80)), asks);
    }
    let begun = Instant::now();
    let finished = Rc::clone(&done);
    sim.run_until(Duration::from_secs(3_600), move || finished.get() == pairs)?;
    let ran = begun.elapsed();
    use std::io::Write as _;
    writeln!(
        std::io::stdout(),
        "{hosts} hosts: added in {added:?}, a round trip {:.0} ns",
        ran.as_nanos() as f64 / trips as f64
    )?;
    Ok(())
}
