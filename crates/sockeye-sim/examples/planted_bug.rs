//! A protocol with a planted bug, and how the simulation finds it: `cargo run --example planted_bug`.
//!
//! The service greets by name and believes that one read is one message. On a quiet network that holds, in every
//! test. The simulation cuts reads short and delays the rest, and then it does not.
#![expect(clippy::print_stdout, reason = "an example shows what it did")]

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use sockeye_event_loop::{Stream, StreamService};
use sockeye_sim::Sim;

/// Answers `NAME\n` with `hello NAME\n`.
struct Greeter {
    /// Whether it waits for the end of the line.
    correct: bool,
}

impl StreamService for Greeter {
    type Conn = ();

    fn on_open(&mut self, _: &mut Stream<'_>) {}

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        let line = match data.iter().position(|byte| *byte == b'\n') {
            Some(end) => &data[..=end],
            None if self.correct => return 0,
            // The bug: what came is taken for all there is.
            None => &data[..],
        };
        let answer = [b"hello ", line].concat();
        if stream.write(&answer).is_taken() {
            line.len()
        } else {
            0
        }
    }
}

struct Guest(Rc<RefCell<Vec<u8>>>);

impl StreamService for Guest {
    type Conn = ();

    fn on_open(&mut self, stream: &mut Stream<'_>) {
        let _ = stream.write(b"Grace Hopper\n");
    }

    fn on_data(&mut self, _: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        self.0.borrow_mut().extend_from_slice(data);
        data.len()
    }
}

/// What the guest of that seed hears.
fn greeting(seed: u64, correct: bool) -> Result<String, Box<dyn std::error::Error>> {
    let heard = Rc::new(RefCell::new(Vec::new()));
    let mut sim = Sim::new(seed);
    let (server, client) = (sim.host([10, 0, 0, 1]), sim.host([10, 0, 0, 2]));
    sim.set_short(server, 100_000);
    sim.listen(server, 79, Greeter { correct })?;
    sim.connect(client, ([10, 0, 0, 1], 79).into(), Guest(Rc::clone(&heard)));
    sim.run_until(Duration::from_secs(60), || heard.borrow().ends_with(b"\n"))?;
    let text = String::from_utf8_lossy(&heard.borrow()).into_owned();
    Ok(text)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let wrong = |correct| -> Result<Option<(u64, String)>, Box<dyn std::error::Error>> {
        for seed in 0..1000 {
            let heard = greeting(seed, correct)?;
            if heard != "hello Grace Hopper\n" {
                return Ok(Some((seed, heard)));
            }
        }
        Ok(None)
    };
    let (seed, heard) = wrong(false)?.ok_or("the planted bug was not found")?;
    println!("seed {seed} finds the bug: the guest hears {heard:?}");
    assert_eq!(greeting(seed, false)?, heard, "a seed does the same each time");
    assert_eq!(wrong(true)?, None, "the correct service passes every seed");
    println!("the service that waits for the end of the line passes 1000 seeds");
    Ok(())
}
