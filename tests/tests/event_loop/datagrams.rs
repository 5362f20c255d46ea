//! Datagrams: in batches, in order, answered from where they lie, and errors told for each.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use sockeye_event_loop::{
    AnswerRate, CloseReason, Context, Datagram, DatagramId, DatagramOptions, DatagramService, Datagrams,
    Outgoing, ReflectorGuard, ReflectorOptions, SendFailure, Sent,
};

use sockeye_sim::Call;
use sockeye_socket::errno;

use crate::world::{Simulated, World};

in_both_worlds!(
    an_echo_of_bursts_keeps_order_and_sizes,
    without_offloads_it_is_the_same,
    a_lent_buffer_is_sent_as_it_was_filled,
    an_empty_datagram_is_real,
    a_failure_is_told_for_its_datagram_only,
    an_error_of_a_connected_socket_is_told,
    a_socket_that_closes_itself_sends_what_it_said_and_hears_no_more,
    one_socket_sends_through_another,
    a_socket_is_opened_in_a_callback,
    a_payload_is_sent_in_segments_through_any_socket,
    a_failure_of_a_socket_that_another_sends_through_is_told,
    timers_of_a_closed_socket_do_not_fire,
    any_number_of_refusals_leaves_the_socket,
    the_end_of_the_loop_is_told_to_each_socket,
    two_guarded_echoes_fall_silent,
);

type OnDatagram = Box<dyn FnMut(&mut Datagrams<'_>, Datagram<'_>)>;
type OnSocket = Box<dyn FnMut(&mut Datagrams<'_>)>;

/// A datagram service made of closures.
#[derive(Default)]
struct Probe {
    open: Option<OnSocket>,
    datagram: Option<OnDatagram>,
    timer: Option<OnSocket>,
    writable: Option<OnSocket>,
    diary: Diary,
}

#[derive(Clone, Default)]
struct Diary {
    received: Rc<RefCell<Vec<Vec<u8>>>>,
    batches: Rc<Cell<usize>>,
    send_failures: Rc<RefCell<Vec<SendFailure>>>,
    receive_errors: Rc<RefCell<Vec<std::io::ErrorKind>>>,
    errors: Rc<RefCell<Vec<String>>>,
    closes: Rc<RefCell<Vec<(DatagramId, &'static str)>>>,
}

impl Probe {
    fn open(mut self, action: impl FnMut(&mut Datagrams<'_>) + 'static) -> Self {
        self.open = Some(Box::new(action));
        self
    }

    fn datagram(mut self, action: impl FnMut(&mut Datagrams<'_>, Datagram<'_>) + 'static) -> Self {
        self.datagram = Some(Box::new(action));
        self
    }

    fn timer(mut self, action: impl FnMut(&mut Datagrams<'_>) + 'static) -> Self {
        self.timer = Some(Box::new(action));
        self
    }

    fn on_server<W: World>(
        self,
        world: &mut W,
        options: &DatagramOptions,
    ) -> (Diary, DatagramId, SocketAddr) {
        let diary = self.diary.clone();
        let service = world.server().add_datagram_service(self);
        let ip = world.server_ip();
        let id = world
            .server()
            .bind(service, SocketAddr::new(ip, 0), options)
            .unwrap();
        let port = world.server().local_addr(id).unwrap().port();
        (diary, id, SocketAddr::new(ip, port))
    }

    fn on_client<W: World>(self, world: &mut W, options: &DatagramOptions) -> Diary {
        let diary = self.diary.clone();
        let service = world.client().add_datagram_service(self);
        let at = SocketAddr::new(world.client_ip(), 0);
        world.client().bind(service, at, options).unwrap();
        diary
    }
}

impl DatagramService for Probe {
    fn on_open(&mut self, socket: &mut Datagrams<'_>) {
        if let Some(open) = &mut self.open {
            open(socket);
        }
    }

    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        self.diary.received.borrow_mut().push(datagram.data.to_vec());
        if let Some(action) = &mut self.datagram {
            action(socket, datagram);
        }
    }

    fn on_batch_complete(&mut self, _: &mut Datagrams<'_>) {
        self.diary.batches.set(self.diary.batches.get() + 1);
    }

    fn on_timer(&mut self, socket: &mut Datagrams<'_>, _: u64) {
        if let Some(action) = &mut self.timer {
            action(socket);
        }
    }

    fn on_writable(&mut self, socket: &mut Datagrams<'_>) {
        if let Some(action) = &mut self.writable {
            action(socket);
        }
    }

    fn on_send_error(&mut self, _: &mut Datagrams<'_>, failure: SendFailure) {
        self.diary.send_failures.borrow_mut().push(failure);
    }

    fn on_recv_error(&mut self, _: &mut Datagrams<'_>, error: std::io::Error) {
        self.diary.receive_errors.borrow_mut().push(error.kind());
    }

    fn on_error(&mut self, _: &mut Datagrams<'_>, entry: sockeye_event_loop::QueueEntry) {
        self.diary.errors.borrow_mut().push(format!("{entry:?}"));
    }

    fn on_close(&mut self, _: &mut Context<'_>, id: DatagramId, reason: CloseReason) {
        self.diary.closes.borrow_mut().push((id, reason.name()));
    }
}

/// Datagrams of many sizes, runs of one size among them, numbered.
fn burst() -> Vec<Vec<u8>> {
    let sizes = [
        100, 100, 100, 100, 1, 1200, 1200, 1200, 700, 1200, 9, 9, 9, 0, 9, 1400, 2,
    ];
    (0..60_u8)
        .map(|number| vec![number; sizes[usize::from(number) % sizes.len()]])
        .collect()
}

fn echo_bursts<W: World>(options: &DatagramOptions) {
    let mut world = W::new();
    let echo = Probe::default().datagram(|socket, datagram| {
        assert_eq!(socket.send(&datagram.echo()), Sent::Sent);
    });
    let (server, _, at) = echo.on_server(&mut world, options);
    let back = Rc::new(Cell::new(0));
    let count = Rc::clone(&back);
    let client = Probe::default()
        .open(move |socket| {
            for payload in burst() {
                assert_eq!(socket.send_to(&payload, at), Sent::Sent);
            }
        })
        .datagram(move |socket, _| {
            count.set(count.get() + 1);
            if count.get() % 60 == 0 && count.get() < 600 {
                for payload in burst() {
                    assert_eq!(socket.send_to(&payload, at), Sent::Sent);
                }
            }
        })
        .on_client(&mut world, options);
    world.until("ten bursts", || back.get() == 600);
    let expected: Vec<Vec<u8>> = (0..10).flat_map(|_| burst()).collect();
    assert!(
        *server.received.borrow() == expected,
        "in order, each with its size"
    );
    assert!(*client.received.borrow() == expected, "and back");
    let stats = world.server().stats();
    assert_eq!(
        (
            stats.datagrams_in,
            stats.datagrams_out,
            stats.send_errors,
            stats.panics
        ),
        (600, 600, 0, 0)
    );
    assert!(server.batches.get() > 0 && server.batches.get() as u64 == stats.batches);
}

fn an_echo_of_bursts_keeps_order_and_sizes<W: World>() {
    echo_bursts::<W>(&DatagramOptions::default());
}

fn without_offloads_it_is_the_same<W: World>() {
    echo_bursts::<W>(&DatagramOptions {
        gro: false,
        gso: false,
        ..DatagramOptions::default()
    });
}

fn a_lent_buffer_is_sent_as_it_was_filled<W: World>() {
    let mut world = W::new();
    let answer = Probe::default().datagram(|socket, datagram| {
        let to = Outgoing::to(datagram.source, &[]);
        // Written over the last one's place, and longer than is used.
        let sent = socket.send_with(&to, 100, |buffer| {
            assert_eq!(buffer.len(), 100);
            buffer.fill(0xff);
            buffer[..datagram.data.len()].copy_from_slice(datagram.data);
            datagram.data.len()
        });
        assert_eq!(sent, Sent::Sent);
        let nothing = socket.send_with(&to, 0, |buffer| buffer.len());
        assert_eq!(nothing, Sent::Sent);
        assert_eq!(socket.send(&datagram.echo()), Sent::Sent);
    });
    let (_, _, at) = answer.on_server(&mut world, &DatagramOptions::default());
    let client = Probe::default()
        .open(move |socket| {
            for payload in [&b"one"[..], b"three", b"seventeen"] {
                let _ = socket.send_to(payload, at);
            }
        })
        .on_client(&mut world, &DatagramOptions::default());
    world.until("nine answers", || client.received.borrow().len() == 9);
    let words = [
        &b"one"[..],
        b"",
        b"one",
        b"three",
        b"",
        b"three",
        b"seventeen",
        b"",
        b"seventeen",
    ];
    assert_eq!(*client.received.borrow(), words);
}

fn an_empty_datagram_is_real<W: World>() {
    let mut world = W::new();
    let echo = Probe::default().datagram(|socket, datagram| {
        let _ = socket.send(&datagram.echo());
    });
    let (server, _, at) = echo.on_server(&mut world, &DatagramOptions::default());
    let client = Probe::default()
        .open(move |socket| {
            for _ in 0..5 {
                let _ = socket.send_to(b"", at);
            }
        })
        .on_client(&mut world, &DatagramOptions::default());
    world.until("five of nothing", || client.received.borrow().len() == 5);
    assert_eq!(*server.received.borrow(), vec![Vec::<u8>::new(); 5]);
}

/// Too long for UDP, in the middle of others: it is told of, the others leave.
fn a_failure_is_told_for_its_datagram_only<W: World>() {
    let mut world = W::new();
    let (server, _, at) = Probe::default().on_server(&mut world, &DatagramOptions::default());
    let client = Probe::default()
        .open(move |socket| {
            for number in 0..9_u8 {
                let len = if number == 4 { 65_535 } else { 50 };
                assert_eq!(socket.send_to(&vec![number; len], at), Sent::Sent);
            }
        })
        .on_client(&mut world, &DatagramOptions::default());
    world.until("the others", || server.received.borrow().len() == 8);
    let numbers: Vec<u8> = server
        .received
        .borrow()
        .iter()
        .map(|payload| payload[0])
        .collect();
    assert_eq!(numbers, [0, 1, 2, 3, 5, 6, 7, 8]);
    let failures = client.send_failures.borrow();
    assert_eq!(failures.len(), 1);
    assert_eq!((failures[0].destination, failures[0].len), (Some(at), 65_535));
    assert!(
        failures[0].error.concerns_this_datagram(),
        "{:?}",
        failures[0].error
    );
    assert_eq!(world.client().stats().send_errors, 1);
}

/// Nobody is there: the ICMP error comes to the socket, and is no later datagram's fault.
fn an_error_of_a_connected_socket_is_told<W: World>() {
    let mut world = W::new();
    let (_, id, at) = Probe::default().on_server(&mut world, &DatagramOptions::default());
    // Its port is free again, and nobody's.
    let closer = world.server().add_datagram_service(Probe::default());
    world.server().with(closer, |_, _| ());
    let (_, other, _) = Probe::default()
        .open(move |socket| socket.other(id).close())
        .on_server(&mut world, &DatagramOptions::default());
    assert_ne!(other, id);
    assert!(
        world.server().local_addr(id).is_err(),
        "closed by another socket, at once"
    );
    let options = DatagramOptions {
        connect: Some(at),
        ..DatagramOptions::default()
    };
    let client = Probe::default()
        .open(move |socket| {
            let _ = socket.send_to(b"anybody?", at);
        })
        .on_client(&mut world, &options);
    world.until("told", || !client.receive_errors.borrow().is_empty());
    assert_eq!(
        *client.receive_errors.borrow(),
        [std::io::ErrorKind::ConnectionRefused]
    );
    assert!(client.send_failures.borrow().is_empty());
}

fn a_socket_that_closes_itself_sends_what_it_said_and_hears_no_more<W: World>() {
    let mut world = W::new();
    let (server, id, at) = Probe::default()
        .datagram(|socket, datagram| {
            if datagram.data == b"quit" {
                assert_eq!(socket.send(&datagram.reply(b"bye")), Sent::Sent);
                socket.close();
                assert_eq!(socket.send(&datagram.reply(b"too late")), Sent::Gone);
            }
        })
        .on_server(&mut world, &DatagramOptions::default());
    let client = Probe::default()
        .open(move |socket| {
            for payload in [&b"data"[..], b"quit", b"more", b"more"] {
                let _ = socket.send_to(payload, at);
            }
        })
        .on_client(&mut world, &DatagramOptions::default());
    world.until("goodbye", || !client.received.borrow().is_empty());
    world.pass(Duration::from_millis(2));
    assert_eq!(*client.received.borrow(), [b"bye"]);
    assert_eq!(*server.received.borrow(), [b"data", b"quit"]);
    assert!(world.server().local_addr(id).is_err());
    assert_eq!(world.server().stats().panics, 0);
    assert_eq!(*server.closes.borrow(), [(id, "closed")], "told once");
}

fn one_socket_sends_through_another<W: World>() {
    let mut world = W::new();
    let options = DatagramOptions::default();
    let (_, second, second_at) = Probe::default().on_server(&mut world, &options);
    let (_, _, first_at) = Probe::default()
        .datagram(move |socket, datagram| {
            let sent = socket.other(second).send(&datagram.echo());
            assert_eq!(sent, Sent::Sent);
        })
        .on_server(&mut world, &options);
    let from = Rc::new(Cell::new(None));
    let seen = Rc::clone(&from);
    let client = Probe::default()
        .open(move |socket| {
            let _ = socket.send_to(b"to the first", first_at);
        })
        .datagram(move |_, datagram| seen.set(Some(datagram.source)))
        .on_client(&mut world, &options);
    world.until("answered", || from.get().is_some());
    assert_eq!(from.get(), Some(second_at));
    assert_eq!(*client.received.borrow(), [b"to the first"]);
}

fn a_failure_of_a_socket_that_another_sends_through_is_told<W: World>() {
    let mut world = W::new();
    let options = DatagramOptions::default();
    let (second, id, _) = Probe::default().on_server(&mut world, &options);
    let sent = Rc::new(Cell::new(false));
    let done = Rc::clone(&sent);
    // Longer than any datagram.
    let too_long = vec![0; 70_000];
    Probe::default()
        .open(move |socket| {
            socket.set_timer(Duration::from_millis(1), 0);
        })
        .timer(move |socket| {
            let to = SocketAddr::from(([127, 0, 0, 1], 9));
            let _ = socket.other(id).send_to(&too_long, to);
            done.set(true);
        })
        .on_server(&mut world, &options);
    world.until("told", || sent.get() && !second.send_failures.borrow().is_empty());
    assert_eq!(second.send_failures.borrow()[0].len, 70_000);
    assert_eq!(world.server().stats().send_errors, 1);
}

fn timers_of_a_closed_socket_do_not_fire<W: World>() {
    let mut world = W::new();
    let fired = Rc::new(Cell::new(0));
    let count = Rc::clone(&fired);
    let (_, _, at) = Probe::default()
        .open(|socket| {
            socket.set_timer(Duration::from_millis(1), 1);
            socket.set_timer(Duration::from_millis(3), 2);
        })
        .timer(move |socket| {
            count.set(count.get() + 1);
            socket.close();
        })
        .on_server(&mut world, &DatagramOptions::default());
    world.pass(Duration::from_millis(20));
    assert_eq!(fired.get(), 1);
    let _ = at;
}

/// A connected socket whose server is not there: each refusal is told, and once the server is back all is well.
fn any_number_of_refusals_leaves_the_socket<W: World>() {
    let mut world = W::new();
    let (_, id, at) = Probe::default()
        .datagram(|socket, _| socket.close())
        .on_server(&mut world, &DatagramOptions::default());
    // The port is known, and then free.
    let options = DatagramOptions {
        connect: Some(at),
        ..DatagramOptions::default()
    };
    let client = Probe::default()
        .open(|socket| {
            socket.set_timer(Duration::ZERO, 0);
        })
        .timer(move |socket| {
            let _ = socket.send_to(b"anybody?", at);
            socket.set_timer(Duration::from_micros(10), 0);
        })
        .on_client(&mut world, &options);
    world.until("gone", || client.receive_errors.borrow().len() > 1_200);
    assert!(world.server().local_addr(id).is_err());
    let refused = |kind: &std::io::ErrorKind| *kind == std::io::ErrorKind::ConnectionRefused;
    assert!(client.receive_errors.borrow().iter().all(refused));
    assert!(client.closes.borrow().is_empty());
    let echo = Probe::default().datagram(|socket, datagram| {
        let _ = socket.send(&datagram.echo());
    });
    let diary = echo.diary.clone();
    let service = world.server().add_datagram_service(echo);
    world
        .server()
        .bind(service, at, &DatagramOptions::default())
        .unwrap();
    world.until("the server is back", || {
        !client.received.borrow().is_empty() && !diary.received.borrow().is_empty()
    });
}

fn the_end_of_the_loop_is_told_to_each_socket<W: World>() {
    let mut world = W::new();
    let options = DatagramOptions::default();
    let (one, id, _) = Probe::default().on_server(&mut world, &options);
    let (two, other, _) = Probe::default().on_server(&mut world, &options);
    drop(world);
    assert_eq!(*one.closes.borrow(), [(id, "loop ended")]);
    assert_eq!(*two.closes.borrow(), [(other, "loop ended")]);
}

const EIO: i32 = 5;

#[test]
fn errors_of_the_system_pass_and_only_a_bad_descriptor_ends_a_socket() {
    for (number, times, ends) in [
        (EIO, 1_500, false),
        (errno::ENOMEM, 20, false),
        (errno::EINTR, 2_000, false),
        (errno::EHOSTUNREACH, 1_500, false),
        (errno::EBADF, 1, true),
        (errno::ENOTSOCK, 1, true),
    ] {
        let mut world = Simulated::new();
        let (server, id, at) = Probe::default().on_server(&mut world, &DatagramOptions::default());
        world.fail_at_the_server(Call::Receive, times, number);
        Probe::default()
            .open(move |socket| {
                let _ = socket.send_to(b"hello", at);
            })
            .on_client(&mut world, &DatagramOptions::default());
        if ends {
            world.until("the end", || !server.closes.borrow().is_empty());
            assert_eq!(*server.closes.borrow(), [(id, "error")], "errno {number}");
            assert!(world.server().local_addr(id).is_err());
        } else {
            world.until("received after all", || server.received.borrow().len() == 1);
            assert!(server.closes.borrow().is_empty(), "errno {number}");
        }
    }
}

#[test]
fn a_receive_that_fails_for_ever_does_not_spin() {
    for number in [
        EIO,
        errno::ENOMEM,
        errno::ENOBUFS,
        errno::EINTR,
        errno::ECONNREFUSED,
        errno::EPERM,
    ] {
        let mut world = Simulated::new();
        let (_, _, at) = Probe::default().on_server(&mut world, &DatagramOptions::default());
        world.fail_at_the_server(Call::Receive, 20_000, number);
        Probe::default()
            .open(move |socket| {
                let _ = socket.send_to(b"hello", at);
            })
            .on_client(&mut world, &DatagramOptions::default());
        world.pass(Duration::from_secs(60));
        let turns = world.server().stats().turns;
        assert!(turns < 2_000, "errno {number}: {turns} turns in a minute");
    }
}

/// A service that answers those whom its guard lets through.
fn guarded_echo() -> (Probe, Rc<RefCell<ReflectorGuard>>) {
    let options = ReflectorOptions {
        per_source: AnswerRate::per_second(50),
        ..ReflectorOptions::default()
    };
    let guard = Rc::new(RefCell::new(ReflectorGuard::new(options, 7)));
    let shared = Rc::clone(&guard);
    let probe = Probe::default().datagram(move |socket, datagram| {
        if shared.borrow_mut().admit(datagram.source, socket.now()).is_ok() {
            let _ = socket.send(&datagram.echo());
        }
    });
    (probe, guard)
}

/// One datagram from the one to the other, as a forged one would be: it goes to and fro until one has had enough.
fn two_guarded_echoes_fall_silent<W: World>() {
    let mut world = W::new();
    let (echo, one) = guarded_echo();
    let (server, _, at) = echo.on_server(&mut world, &DatagramOptions::default());
    let (echo, other) = guarded_echo();
    let client = echo
        .open(move |socket| {
            let _ = socket.send_to(b"round and round", at);
        })
        .on_client(&mut world, &DatagramOptions::default());
    let withheld = || one.borrow().withheld().source_rate + other.borrow().withheld().source_rate;
    world.until("one to have had enough", || withheld() == 1);
    let received = || server.received.borrow().len() + client.received.borrow().len();
    let before = received();
    world.pass(Duration::from_millis(50));
    assert_eq!(
        (received(), withheld()),
        (before, 1),
        "nothing goes round any more"
    );
    assert!(before >= 100, "{before}: each has its burst");
}

/// A socket for each that comes, as a relay has them: opened where the first datagram is seen.
fn a_socket_is_opened_in_a_callback<W: World>() {
    let mut world = W::new();
    let opened = Rc::new(Cell::new(None));
    let note = Rc::clone(&opened);
    let other = Probe::default().open(move |socket| note.set(Some(socket.id())));
    let diary = other.diary.clone();
    let handle = world.server().add_datagram_service(other);
    let at = SocketAddr::new(world.server_ip(), 0);
    let made = Rc::new(Cell::new(None));
    let make = Rc::clone(&made);
    let streams = world.server().add_stream_service(
        crate::probe::Probe::new(),
        sockeye_event_loop::StreamOptions::default(),
    );
    let (_, _, first_at) = Probe::default()
        .datagram(move |socket, datagram| {
            let mut context = socket.context();
            let options = DatagramOptions {
                connect: Some(datagram.source),
                ..DatagramOptions::default()
            };
            let id = context.bind_for(handle, at, &options).unwrap();
            make.set(Some(id));
            assert_eq!(
                context.datagrams(id).send(&Outgoing::connected(b"from another")),
                Sent::Sent
            );
        })
        .on_server(&mut world, &DatagramOptions::default());
    let client = Probe::default()
        .open(move |socket| {
            let _ = socket.send_to(b"hello", first_at);
        })
        .on_client(&mut world, &DatagramOptions::default());
    world.until("answered", || client.received.borrow().len() == 1);
    assert_eq!(*client.received.borrow(), [b"from another"]);
    assert_eq!(
        (made.get().is_some(), opened.get()),
        (true, made.get()),
        "it was told"
    );
    let id = made.get().unwrap();
    let refused = world.server().with(streams, |_, context| {
        context.close_datagrams(id);
        let backwards = context.bind_for(streams_as_datagrams(), at, &DatagramOptions::default());
        backwards.map_err(|error| std::io::Error::from(error).kind())
    });
    assert_eq!(refused, Some(Err(std::io::ErrorKind::InvalidInput)));
    world.until("closed", || *diary.closes.borrow() == [(id, "closed")]);
}

/// A handle of another loop: there is no such service on the first one.
fn streams_as_datagrams() -> sockeye_event_loop::ServiceHandle<Probe> {
    let mut other = sockeye_event_loop::EventLoop::new().unwrap();
    for _ in 0..7 {
        other.add_datagram_service(Probe::default());
    }
    other.add_datagram_service(Probe::default())
}

fn a_payload_is_sent_in_segments_through_any_socket<W: World>() {
    let mut world = W::new();
    let options = DatagramOptions::default();
    let (_, second, _) = Probe::default().on_server(&mut world, &options);
    let (_, _, first_at) = Probe::default()
        .datagram(move |socket, datagram| {
            let message = datagram.reply(b"aaaabbbbcc");
            assert_eq!(socket.send_segments(&message, 4), Sent::Sent);
            assert_eq!(socket.send_segments(&datagram.reply(b""), 4), Sent::Sent);
            assert_eq!(socket.other(second).send_segments(&message, 5), Sent::Sent);
            assert_eq!(
                socket.other(second).send_segments(&datagram.reply(b""), 0),
                Sent::Sent
            );
        })
        .on_server(&mut world, &options);
    let client = Probe::default()
        .open(move |socket| {
            let _ = socket.send_to(b"begin", first_at);
        })
        .on_client(&mut world, &options);
    world.until("all", || client.received.borrow().len() == 7);
    let mut all = client.received.borrow().clone();
    all.sort();
    let expected: [&[u8]; 7] = [b"", b"", b"aaaa", b"aaaab", b"bbbb", b"bbbcc", b"cc"];
    assert_eq!(all, expected);
}
