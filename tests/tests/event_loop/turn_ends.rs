//! The end of a turn, and the end of a loop, for services of datagrams.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use sockeye_event_loop::{
    Datagram, DatagramOptions, DatagramService, Datagrams, EventLoop, PairOptions, StreamOptions,
};
use sockeye_tests::wait::PATIENCE;

use crate::probe::Probe;
use crate::world::World;

type Lines = Rc<RefCell<Vec<String>>>;

/// Writes down what it hears, and asks for the end of the turn with each datagram.
struct Notes {
    lines: Lines,
    asks: usize,
    /// A drain has to wait for it.
    waits: bool,
}

impl DatagramService for Notes {
    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        self.lines
            .borrow_mut()
            .push(format!("datagram {}", datagram.data.len()));
        for _ in 0..3 {
            socket.notify_turn_end();
        }
    }

    fn on_batch_complete(&mut self, _: &mut Datagrams<'_>) {
        self.lines.borrow_mut().push("batch".to_owned());
    }

    fn on_turn_end(&mut self, socket: &mut Datagrams<'_>) {
        self.lines.borrow_mut().push("turn end".to_owned());
        if self.asks > 0 {
            self.asks -= 1;
            socket.notify_turn_end();
        }
    }

    fn on_drain(&mut self, socket: &mut Datagrams<'_>) {
        assert!(socket.context().is_draining());
        self.lines.borrow_mut().push("drain".to_owned());
        if self.waits {
            let id = socket.id();
            socket.context().hold_drain(id, true);
            socket.set_timer(Duration::from_millis(20), 0);
        }
    }

    fn on_timer(&mut self, socket: &mut Datagrams<'_>, _: u64) {
        self.lines.borrow_mut().push("released".to_owned());
        let id = socket.id();
        socket.context().hold_drain(id, false);
    }
}

fn at<W: World>(world: &W) -> SocketAddr {
    SocketAddr::new(world.server_ip(), 0)
}

fn the_end_of_a_turn_comes_once_and_after_everything_else<W: World>() {
    let mut world = W::new();
    let lines = Lines::default();
    let notes = Notes {
        lines: Rc::clone(&lines),
        asks: 2,
        waits: false,
    };
    let at = at(&world);
    let service = world.server().add_datagram_service(notes);
    let socket = world
        .server()
        .bind(service, at, &DatagramOptions::default())
        .unwrap();
    let to = world.server().local_addr(socket).unwrap();
    // What streams write to each other in the same turn comes before it.
    let (heard, told) = (Rc::clone(&lines), Rc::clone(&lines));
    let one = Probe::new().data(move |_, data| {
        heard.borrow_mut().push("stream".to_owned());
        data.len()
    });
    let one = world.server().add_stream_service(one, StreamOptions::default());
    let (first, _) = world.server().pair(one, one, &PairOptions::default()).unwrap();
    world.server().turn(Some(Duration::ZERO)).unwrap();
    world
        .server()
        .with(one, move |_, context| {
            context.notify_turn_end(socket);
            let _ = context.write(first, b"x");
        })
        .unwrap();
    world.until("the stream and the ends that were asked for", || {
        told.borrow().len() == 4
    });
    assert_eq!(*lines.borrow(), ["stream", "turn end", "turn end", "turn end"]);
    lines.borrow_mut().clear();
    world
        .server()
        .with(one, move |_, context| {
            let mut socket = context.datagrams(socket);
            let _ = socket.send_to(b"a", to);
            let _ = socket.send_to(b"bc", to);
        })
        .unwrap();
    let told = Rc::clone(&lines);
    world.until("the end of the turn", || {
        told.borrow().last().is_some_and(|line| line == "turn end")
            && told
                .borrow()
                .iter()
                .filter(|line| line.starts_with("datagram"))
                .count()
                == 2
    });
    let said = lines.borrow().clone();
    let ends = said.iter().filter(|line| *line == "turn end").count();
    let batches = said.iter().filter(|line| *line == "batch").count();
    assert!(ends <= batches, "{said:?}");
    assert_eq!(said[said.len() - 2..], ["batch", "turn end"]);
}

#[test]
fn a_drain_tells_sockets_and_waits_for_those_that_ask_for_it() {
    for waits in [false, true] {
        let lines = Lines::default();
        let notes = Notes {
            lines: Rc::clone(&lines),
            asks: 0,
            waits,
        };
        let mut events = EventLoop::new().unwrap();
        let service = events.add_datagram_service(notes);
        let at = SocketAddr::from(([127, 0, 0, 1], 0));
        let socket = events.bind(service, at, &DatagramOptions::default()).unwrap();
        let begun = Instant::now();
        events.drain(PATIENCE).unwrap();
        assert!(begun.elapsed() < PATIENCE);
        // It was over only when the timer had fired.
        let expected: &[&str] = if waits { &["drain", "released"] } else { &["drain"] };
        assert_eq!(*lines.borrow(), expected);
        // One that is closed holds nothing.
        let closed = events.with(service, move |_, context| {
            context.hold_drain(socket, true);
            context.close_datagrams(socket);
        });
        closed.unwrap();
        events.drain(PATIENCE).unwrap();
        assert!(begun.elapsed() < PATIENCE);
    }
}

in_both_worlds!(the_end_of_a_turn_comes_once_and_after_everything_else);
