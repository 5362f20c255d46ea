//! UDP: floods of nothing, calls that fail, loss and order.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use libc as e;
use sockeye_event_loop::{Datagram, DatagramOptions, DatagramService, Datagrams, SendFailure};
use sockeye_sim::{Call, LinkOptions};

use crate::ground::{healthy, injected, serve_echo};
use crate::world::{OnKernel, Simulated, World};

in_both_worlds!(
    a_flood_of_empty_datagrams_starves_nobody,
    answers_to_those_who_are_gone_harm_nobody,
);

/// Counts and answers.
#[derive(Clone, Default)]
struct Counter {
    received: Rc<Cell<usize>>,
    bytes: Rc<RefCell<Vec<u8>>>,
    send_errors: Rc<Cell<usize>>,
    closed: Rc<Cell<bool>>,
    answer: bool,
}

impl DatagramService for Counter {
    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        self.received.set(self.received.get() + 1);
        self.bytes.borrow_mut().extend_from_slice(datagram.data);
        if self.answer {
            let _ = socket.send(&datagram.echo());
        }
    }

    fn on_send_error(&mut self, _: &mut Datagrams<'_>, _: SendFailure) {
        self.send_errors.set(self.send_errors.get() + 1);
    }

    fn on_close(
        &mut self,
        _: &mut sockeye_event_loop::Context<'_>,
        _: sockeye_event_loop::DatagramId,
        _: sockeye_event_loop::CloseReason,
    ) {
        self.closed.set(true);
    }
}

/// Sends `each` datagrams a millisecond to `to`, numbered, until it has sent `left`.
struct Sender {
    to: SocketAddr,
    empty: bool,
    each: usize,
    left: usize,
    sent: Rc<Cell<usize>>,
    back: Rc<Cell<usize>>,
    send_errors: Rc<Cell<usize>>,
}

impl Sender {
    fn new(to: SocketAddr, each: usize, left: usize) -> Self {
        Self {
            to,
            empty: false,
            each,
            left,
            sent: Rc::default(),
            back: Rc::default(),
            send_errors: Rc::default(),
        }
    }
}

impl DatagramService for Sender {
    fn on_open(&mut self, socket: &mut Datagrams<'_>) {
        socket.set_timer(Duration::ZERO, 0);
    }

    fn on_datagram(&mut self, _: &mut Datagrams<'_>, _: Datagram<'_>) {
        self.back.set(self.back.get() + 1);
    }

    fn on_timer(&mut self, socket: &mut Datagrams<'_>, _: u64) {
        for _ in 0..self.each.min(self.left) {
            let number = [u8::try_from(self.left % 251).unwrap()];
            let payload: &[u8] = if self.empty { &[] } else { &number };
            let _ = socket.send_to(payload, self.to);
            self.left -= 1;
            self.sent.set(self.sent.get() + 1);
        }
        if self.left > 0 {
            socket.set_timer(Duration::from_millis(1), 0);
        }
    }

    fn on_send_error(&mut self, _: &mut Datagrams<'_>, _: SendFailure) {
        self.send_errors.set(self.send_errors.get() + 1);
    }
}

fn serve<W: World>(world: &mut W, counter: &Counter) -> SocketAddr {
    let service = world.server().add_datagram_service(counter.clone());
    let at = SocketAddr::new(world.server_ip(), 0);
    let options = DatagramOptions {
        error_queue: true,
        ..DatagramOptions::default()
    };
    let id = world.server().bind(service, at, &options).unwrap();
    let port = world.server().local_addr(id).unwrap().port();
    SocketAddr::new(world.server_ip(), port)
}

fn send<W: World>(world: &mut W, sender: Sender) {
    let service = world.client().add_datagram_service(sender);
    let from = SocketAddr::new(world.client_ip(), 0);
    world
        .client()
        .bind(service, from, &DatagramOptions::default())
        .unwrap();
}

/// Zero-length datagrams are no end of anything and count against the budget of a turn: a stream is served beside 10,000.
fn a_flood_of_empty_datagrams_starves_nobody<W: World>() {
    let mut world = W::new();
    let (_, stream_at) = serve_echo(&mut world);
    let beside = healthy(&mut world, stream_at);
    let counter = Counter {
        answer: true,
        ..Counter::default()
    };
    let at = serve(&mut world, &counter);
    let mut sender = Sender::new(at, 200, 10_000);
    sender.empty = true;
    let (sent, back) = (Rc::clone(&sender.sent), Rc::clone(&sender.back));
    let b = beside.log.clone();
    world.until("served before", || b.received_len(0) > 100);
    let before = b.received_len(0);
    send(&mut world, sender);
    world.until("all are sent", || sent.get() == 10_000);
    world.until("served meanwhile", || b.received_len(0) > before + 40);
    world.pass(Duration::from_millis(20));
    // A full buffer may drop some of them; most arrive, and all that do are answered by something as empty.
    assert!(counter.received.get() > 5_000, "{}", counter.received.get());
    assert!(back.get() > 2_500, "{}", back.get());
    assert!(counter.bytes.borrow().is_empty() && !counter.closed.get());
}

/// Those who asked are gone when they are answered: the refusals come back to the one socket, and others are served by it.
fn answers_to_those_who_are_gone_harm_nobody<W: World>() {
    let mut world = W::new();
    let counter = Counter {
        answer: true,
        ..Counter::default()
    };
    let at = serve(&mut world, &counter);
    /// Asks and closes at once.
    struct Gone(SocketAddr);
    impl DatagramService for Gone {
        fn on_open(&mut self, socket: &mut Datagrams<'_>) {
            let _ = socket.send_to(b"bye", self.0);
            socket.close();
        }
        fn on_datagram(&mut self, _: &mut Datagrams<'_>, _: Datagram<'_>) {}
    }
    for _ in 0..200 {
        let service = world.client().add_datagram_service(Gone(at));
        let from = SocketAddr::new(world.client_ip(), 0);
        world
            .client()
            .bind(service, from, &DatagramOptions::default())
            .unwrap();
    }
    world.until("all have asked", || counter.received.get() >= 200);
    let sender = Sender::new(at, 1, 100);
    let back = Rc::clone(&sender.back);
    send(&mut world, sender);
    world.until("others are answered", || back.get() >= 95);
    assert!(!counter.closed.get());
    assert_eq!(world.server().stats().panics, 0);
}

/// Sends fail with each error that passes: those datagrams are lost and told, the socket goes on.
#[test]
fn an_error_of_a_send_costs_its_datagram_simulated() {
    for errno in [
        e::EPERM,
        e::ENOBUFS,
        e::ENOMEM,
        e::EHOSTUNREACH,
        e::ENETUNREACH,
        e::EACCES,
        e::EINTR,
        e::EIO,
    ] {
        let mut world = Simulated::new();
        let counter = Counter::default();
        let at = serve(&mut world, &counter);
        let sender = Sender::new(at, 1, 100);
        let (sent, errors) = (Rc::clone(&sender.sent), Rc::clone(&sender.send_errors));
        send(&mut world, sender);
        world.until("begun", || sent.get() >= 10);
        world.fail_at_the_client(Call::Send, 5, errno);
        world.until("all sent", || sent.get() == 100);
        world.pass(Duration::from_secs(1));
        let received = counter.received.get();
        assert!(
            received + errors.get() >= 100 && received >= 95,
            "errno {errno}: {received} received, {} told",
            errors.get()
        );
    }
}

#[test]
fn an_error_of_a_send_costs_its_datagram() {
    let injects: Vec<String> = [
        "EPERM",
        "ENOBUFS",
        "ENOMEM",
        "EHOSTUNREACH",
        "ENETUNREACH",
        "EINTR",
        "EIO",
    ]
    .iter()
    .map(|name| format!("sendmsg:error={name}:when=10..14"))
    .collect();
    let injects: Vec<&str> = injects.iter().map(String::as_str).collect();
    injected("udp::an_error_of_a_send_costs_its_datagram", &injects, || {
        let mut world = OnKernel::new();
        let counter = Counter::default();
        let at = serve(&mut world, &counter);
        let sender = Sender::new(at, 1, 100);
        let errors = Rc::clone(&sender.send_errors);
        send(&mut world, sender);
        world.until("received, or told", || {
            counter.received.get() + errors.get() >= 100 && counter.received.get() >= 95
        });
    });
}

/// A receive fails: nothing is lost by it, for what waits is received by the next.
#[test]
fn an_error_of_a_receive_loses_nothing() {
    let injects = [
        "recvmmsg:error=EINTR:when=2..6",
        "recvmmsg:error=ENOMEM:when=2..6",
        "recvmmsg:error=ENOBUFS:when=2..6",
        "recvmmsg:error=EIO:when=2..6",
    ];
    injected("udp::an_error_of_a_receive_loses_nothing", &injects, || {
        let mut world = OnKernel::new();
        let counter = Counter::default();
        let at = serve(&mut world, &counter);
        send(&mut world, Sender::new(at, 1, 100));
        world.until("all of them", || counter.received.get() == 100);
    });
}

/// Lost, doubled and late datagrams: no wrong byte and no datagram that nobody has sent.
#[test]
fn a_bad_link_shows_as_it_is_simulated() {
    for seed in 0..10_u64 {
        let mut world = Simulated::new();
        let counter = Counter::default();
        let at = serve(&mut world, &counter);
        let (sim, ..) = world.parts();
        sim.set_lan(LinkOptions {
            latency: Duration::from_micros(100 + seed * 100),
            jitter: Duration::from_millis(1),
            loss_ppm: 100_000,
            duplicate_ppm: 100_000,
            reorder_ppm: 100_000,
            ..LinkOptions::default()
        });
        send(&mut world, Sender::new(at, 5, 2_000));
        world.pass(Duration::from_secs(10));
        let received = counter.received.get();
        assert!((1_700..2_300).contains(&received), "{received} of 2,000");
        let bytes = counter.bytes.borrow();
        assert!(bytes.len() == received && bytes.iter().all(|byte| *byte < 251));
        assert!(bytes.windows(2).any(|pair| pair[0] < pair[1]), "some are late");
    }
}

/// One datagram in five is thrown away at the receiver (cBPF): the others arrive whole.
#[test]
fn loss_costs_datagrams_and_nothing_else() {
    use sockeye_socket::filter::Filter;
    let mut world = OnKernel::new();
    let receiver = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    Filter::lossy(1, 5).attach(&receiver).unwrap();
    let at = receiver.local_addr().unwrap();
    receiver.set_nonblocking(true).unwrap();
    let sender = Sender::new(at, 10, 2_000);
    let (sent, errors) = (Rc::clone(&sender.sent), Rc::clone(&sender.send_errors));
    send(&mut world, sender);
    let mut received = 0;
    let mut buffer = [0; 8];
    while sent.get() < 2_000 {
        world.pass(Duration::from_millis(1));
        while let Ok(len) = receiver.recv(&mut buffer) {
            assert!(len == 1 && buffer[0] < 251);
            received += 1;
        }
    }
    world.pass(Duration::from_millis(20));
    while receiver.recv(&mut buffer).is_ok() {
        received += 1;
    }
    assert!((1_300..1_900).contains(&received), "{received} of 2,000");
    assert_eq!(errors.get(), 0, "loss is silent");
}
