//! A callback that panics costs its own connection and nothing else.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use sockeye_event_loop::{
    Datagram, DatagramOptions, DatagramService, Datagrams, LoopOptions, Outgoing, PanicPolicy, StreamOptions,
};
use std::net::SocketAddr;

use crate::probe::{Probe, Served, Told};
use crate::world::World;

in_all_worlds!(
    in_the_last_callback,
    in_the_drop_of_a_connections_state,
    in_a_remote_action_nothing_behind_it_is_lost,
    outside_of_a_batch_what_was_recorded_is_undone,
    propagated_it_leaves_the_turn_and_the_loop_goes_on;
    on_two_loops:
    in_every_callback_of_a_connection,
    in_the_middle_of_a_batch_the_rest_is_offered,
    ten_thousand_panics_close_ten_thousand_connections;
    by_ip_only:
    in_a_connect_error_and_a_service_timer,
);

/// An echo client that shows that the loop still serves.
fn is_alive<W: World>(world: &mut W, at: SocketAddr) {
    let client = Probe::new()
        .open(|stream| {
            let _ = stream.write(b"alive?");
        })
        .connect(world, at);
    let log = client.log.clone();
    world.until("the loop serves on", || log.received_len(0) == 6);
    let id = client.log.id(0);
    world
        .client()
        .with(client.handle, |_, context| context.stream(id).unwrap().close());
    world.until("and closes", || log.has(&Told::Dropped));
}

fn echo<W: World>(world: &mut W) -> (Served, SocketAddr) {
    let echo = Probe::new().data(|stream, data| {
        if stream.write(data).is_taken() {
            data.len()
        } else {
            0
        }
    });
    echo.serve(world, StreamOptions::default())
}

fn in_every_callback_of_a_connection<W: World>() {
    for callback in [
        "open", "data", "complete", "writable", "eof", "timer", "message", "drain",
    ] {
        let mut world = W::new();
        let (_, echo_at) = echo(&mut world);
        let bang = move |at: &str| assert!(at != callback, "bang in {callback}");
        let (server, at) = Probe::new()
            .open(move |stream| {
                stream.notify_writable();
                stream.set_timer(Duration::from_millis(1), 1);
                let own = stream.id();
                stream.send_message(own, Box::new(7_u64));
                let _ = stream.write(b"gathered and lost");
                bang("open");
            })
            .data(move |stream, data| {
                let _ = stream.write(b"gathered and lost");
                bang("data");
                data.len()
            })
            .complete(move |_| bang("complete"))
            .writable(move |_| bang("writable"))
            .eof(move |stream| {
                bang("eof");
                stream.close();
            })
            .timer(move |_, _| bang("timer"))
            .message(move |_, _| bang("message"))
            .drain(move |_| bang("drain"))
            .serve(&mut world, StreamOptions::default());
        let client = Probe::new()
            .open(move |stream| {
                let _ = stream.write(b"x");
                if callback == "eof" {
                    stream.shutdown_write();
                }
            })
            .connect(&mut world, at);
        if callback == "drain" {
            let log = server.log.clone();
            world.until("data", || log.received_len(0) == 1);
            world.server().start_drain(Duration::from_secs(5));
        }
        let log = client.log.clone();
        let over = |told: &Told| matches!(told, Told::ConnectFailed(_) | Told::Dropped);
        world.until(callback, || log.all().iter().any(over));
        let server_closes = server.log.closes();
        if callback == "open" {
            assert!(server_closes.is_empty(), "never opened, never closed");
            assert!(server.log.count(&Told::Dropped) <= 1);
        } else {
            assert_eq!(server_closes, ["panicked"], "{callback}");
        }
        assert_eq!(world.server().stats().panics, 1, "{callback}");
        if callback == "drain" {
            world.pass(Duration::from_millis(1));
        } else {
            is_alive(&mut world, echo_at);
        }
        assert_eq!(world.server().open_streams(), 0, "{callback}");
    }
}

fn in_the_last_callback<W: World>() {
    let mut world = W::new();
    let (_, echo_at) = echo(&mut world);
    let (server, at) = Probe::new()
        .close(|_, _| panic!("bang"))
        .serve(&mut world, StreamOptions::default());
    let client = Probe::new().open(|stream| stream.close()).connect(&mut world, at);
    let (s, c) = (server.log.clone(), client.log.clone());
    world.until("both gone", || s.has(&Told::Dropped) && c.has(&Told::Dropped));
    assert_eq!(world.server().stats().panics, 1);
    assert_eq!(server.log.closes().len(), 1);
    is_alive(&mut world, echo_at);
    assert_eq!(world.server().open_streams(), 0);
}

fn in_the_drop_of_a_connections_state<W: World>() {
    let mut world = W::new();
    let (_, echo_at) = echo(&mut world);
    let (server, at) = Probe::new()
        .dropped(|| panic!("bang"))
        .serve(&mut world, StreamOptions::default());
    let client = Probe::new().open(|stream| stream.close()).connect(&mut world, at);
    let (s, c) = (server.log.clone(), client.log.clone());
    world.until("both gone", || s.has(&Told::Dropped) && c.has(&Told::Dropped));
    assert_eq!(world.server().stats().panics, 1);
    is_alive(&mut world, echo_at);
    assert_eq!(world.server().open_streams(), 0);
}

fn in_a_connect_error_and_a_service_timer<W: World>() {
    let mut world = W::new();
    let nobody = SocketAddr::new(world.server_ip(), 9);
    let client = Probe::new()
        .connect_error(|_| panic!("bang"))
        .service_timer(|_, key| assert!(key != 1, "bang"))
        .connect(&mut world, nobody);
    world.client().with(client.handle, |_, context| {
        context.set_timer(Duration::from_millis(1), 1);
        context.set_timer(Duration::from_millis(2), 2);
    });
    let log = client.log.clone();
    let failed = |told: &Told| matches!(told, Told::ConnectFailed(_));
    world.until("all told", || {
        log.has(&Told::ServiceTimer(2)) && log.all().iter().any(failed)
    });
    assert_eq!(world.client().stats().panics, 2);
    assert_eq!(world.client().open_streams(), 0);
}

fn in_a_remote_action_nothing_behind_it_is_lost<W: World>() {
    let mut world = W::new();
    let (server, _) = Probe::new().serve(&mut world, StreamOptions::default());
    let remote = world.server().remote();
    remote.with(server.handle, |_, _| panic!("bang")).unwrap();
    remote
        .with(server.handle, |_, context| {
            context.set_timer(Duration::ZERO, 5);
        })
        .unwrap();
    let log = server.log.clone();
    world.until("the action behind it", || log.has(&Told::ServiceTimer(5)));
    // And a burst that comes later finds a queue that still wakes the loop.
    remote
        .with(server.handle, |_, context| {
            context.set_timer(Duration::ZERO, 6);
        })
        .unwrap();
    world.until("the next burst", || log.has(&Told::ServiceTimer(6)));
    assert_eq!(world.server().stats().panics, 1);
}

/// Echoes datagrams; one that begins with `!` makes it panic after it has answered.
struct Touchy {
    seen: Rc<Cell<usize>>,
    batches: Rc<Cell<usize>>,
}

impl DatagramService for Touchy {
    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        self.seen.set(self.seen.get() + 1);
        let _ = socket.send(&datagram.echo());
        assert!(datagram.data.first() != Some(&b'!'), "bang");
    }

    fn on_batch_complete(&mut self, _: &mut Datagrams<'_>) {
        self.batches.set(self.batches.get() + 1);
    }

    fn on_timer(&mut self, socket: &mut Datagrams<'_>, key: u64) {
        if key == 1 {
            let to = SocketAddr::new(socket.local_addr().unwrap().ip(), 9);
            let _ = socket.send_to(b"never to leave", to);
            panic!("bang");
        }
    }
}

/// Sends `count` datagrams when it is told to open, and counts what comes back.
struct Burst {
    to: SocketAddr,
    bang_at: usize,
    count: usize,
    back: Rc<Cell<usize>>,
}

impl DatagramService for Burst {
    fn on_open(&mut self, socket: &mut Datagrams<'_>) {
        for i in 0..self.count {
            let payload = if i == self.bang_at { [b'!'; 8] } else { [b'.'; 8] };
            let _ = socket.send(&Outgoing::to(self.to, &payload));
        }
    }

    fn on_datagram(&mut self, _: &mut Datagrams<'_>, _: Datagram<'_>) {
        self.back.set(self.back.get() + 1);
    }
}

fn in_the_middle_of_a_batch_the_rest_is_offered<W: World>() {
    let mut world = W::new();
    let (seen, batches) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let touchy = Touchy {
        seen: Rc::clone(&seen),
        batches: Rc::clone(&batches),
    };
    let service = world.server().add_datagram_service(touchy);
    let at = SocketAddr::new(world.server_ip(), 0);
    let id = world
        .server()
        .bind(service, at, &DatagramOptions::default())
        .unwrap();
    let port = world.server().local_addr(id).unwrap().port();
    let back = Rc::new(Cell::new(0));
    let to = SocketAddr::new(world.server_ip(), port);
    let burst = world.client().add_datagram_service(Burst {
        to,
        bang_at: 10,
        count: 40,
        back: Rc::clone(&back),
    });
    let from = SocketAddr::new(world.client_ip(), 0);
    world
        .client()
        .bind(burst, from, &DatagramOptions::default())
        .unwrap();
    world.until("all answered", || back.get() == 40);
    assert_eq!((seen.get(), world.server().stats().panics), (40, 1));
    assert_eq!(world.server().stats().datagrams_in, 40);
    assert_eq!(world.server().stats().datagrams_out, 40);
    assert!(batches.get() > 0);
}

fn outside_of_a_batch_what_was_recorded_is_undone<W: World>() {
    /// Sets the timer that panics on the socket it is told of.
    struct Starter;
    impl DatagramService for Starter {
        fn on_open(&mut self, socket: &mut Datagrams<'_>) {
            socket.set_timer(Duration::from_millis(1), 1);
            socket.set_timer(Duration::from_millis(2), 2);
        }
        fn on_datagram(&mut self, _: &mut Datagrams<'_>, _: Datagram<'_>) {}
        fn on_timer(&mut self, socket: &mut Datagrams<'_>, key: u64) {
            let to = SocketAddr::new(socket.local_addr().unwrap().ip(), 9);
            if key == 1 {
                let _ = socket.send_to(b"never to leave", to);
                panic!("bang");
            }
            let _ = socket.send_to(b"leaves", to);
        }
    }
    let mut world = W::new();
    let service = world.server().add_datagram_service(Starter);
    let at = SocketAddr::new(world.server_ip(), 0);
    world
        .server()
        .bind(service, at, &DatagramOptions::default())
        .unwrap();
    world.pass(Duration::from_millis(30));
    let stats = world.server().stats();
    assert_eq!((stats.panics, stats.datagrams_out), (1, 1));
}

fn propagated_it_leaves_the_turn_and_the_loop_goes_on<W: World>() {
    let mut world = W::with(LoopOptions {
        panic_policy: PanicPolicy::Propagate,
        ..LoopOptions::default()
    });
    let (_, echo_at) = echo(&mut world);
    let (server, at) = Probe::new()
        .data(|_, data| {
            assert!(data.is_empty(), "bang");
            0
        })
        .serve(&mut world, StreamOptions::default());
    let client = Probe::new()
        .open(|stream| {
            let _ = stream.write(b"x");
        })
        .connect(&mut world, at);
    let log = client.log.clone();
    let caught = catch_unwind(AssertUnwindSafe(|| {
        world.until("a panic", || log.has(&Told::Dropped))
    }));
    let message = *caught.expect_err("it is propagated").downcast::<&str>().unwrap();
    assert_eq!(message, "bang");
    world.until("the connection is closed all the same", || {
        log.has(&Told::Dropped)
    });
    assert_eq!(server.log.closes(), ["panicked"]);
    is_alive(&mut world, echo_at);
}

fn ten_thousand_panics_close_ten_thousand_connections<W: World>() {
    const ROUNDS: usize = 100;
    const EACH: usize = 100;
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let mut world = W::new();
    let (echo, echo_at) = echo(&mut world);
    let bystander = Probe::new().connect(&mut world, echo_at);
    let (server, at) = Probe::new()
        .data(|_, _| panic!("bang"))
        .serve(&mut world, StreamOptions::default());
    let log = bystander.log.clone();
    world.until("the bystander", || log.opened() == 1 && echo.log.opened() == 1);
    let clients = Probe::new().open(|stream| {
        let _ = stream.write(b"x");
    });
    let log = clients.log.clone();
    let clients = world
        .client()
        .add_stream_service(clients, StreamOptions::default());
    let files = || std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let before = files();
    for round in 1..=ROUNDS {
        for _ in 0..EACH {
            let request = world.request(at);
            world.client().connect(clients, request);
        }
        world.until("a round", || log.closes().len() == round * EACH);
        log.0.borrow_mut().received.clear();
    }
    std::panic::set_hook(hook);
    let stats = world.server().stats();
    assert_eq!(
        (stats.panics, stats.closed),
        ((ROUNDS * EACH) as u64, (ROUNDS * EACH) as u64)
    );
    assert_eq!(server.log.count(&Told::Close("panicked".into())), ROUNDS * EACH);
    assert_eq!(
        (world.server().open_streams(), world.client().open_streams()),
        (1, 1),
        "the bystander"
    );
    // Other tests of this process open and close descriptors meanwhile: a leak would be ten thousand.
    assert!(files() < before + 5_000, "descriptors leaked");
}
