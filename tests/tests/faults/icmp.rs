//! ICMP: answers and errors that somebody else has made up, beside those that are true.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use sockeye::packet::checksum;
use sockeye::probe::services;
use sockeye::probe::{Pace, PingOptions, PingOutcome, Pinger};
use sockeye_event_loop::{Packet, PacketKind, PacketOptions, PacketService, Packets};
use sockeye_tests::netns;
use sockeye_tests::skip::{self, Need};

use crate::world::{OnKernel, Simulated, World};

/// Forged messages of every bad kind: replies that were never asked for, replies with the identifier of somebody else, errors
/// that quote nothing, too little, or what nobody has sent, lengths that lie, MTUs of 0 and 68.
fn forged(turn: u16, victim: IpAddr) -> Vec<Vec<u8>> {
    let [high, low] = turn.to_be_bytes();
    let IpAddr::V4(to) = victim else { return Vec::new() };
    let octets = to.octets();
    // A quoted IPv4 header of 20 bytes, with what follows it.
    let quote = |ihl: u8, length: u16, protocol: u8, rest: &[u8]| {
        let [l0, l1] = length.to_be_bytes();
        let mut bytes = vec![0x40 | ihl, 0, l0, l1, high, low, 0, 0, 64, protocol, 0, 0];
        bytes.extend_from_slice(&octets);
        bytes.extend_from_slice(&octets);
        bytes.extend_from_slice(rest);
        bytes
    };
    let error = |kind: u8, code: u8, word: [u8; 4], quoted: &[u8]| {
        let mut bytes = vec![kind, code, 0, 0];
        bytes.extend_from_slice(&word);
        bytes.extend_from_slice(quoted);
        bytes
    };
    let echo = [8, 0, 0, 0, high, low, 0, 1];
    let mut all = vec![
        vec![0, 0, 0, 0, high, low, 0, 1],
        [&[0, 0, 0, 0, high, low, low, high][..], &[0xaa; 56]].concat(),
        error(3, 3, [0; 4], &[]),
        error(3, 1, [0; 4], &quote(5, 84, 1, &echo[..4])),
        error(3, 1, [0; 4], &quote(5, 84, 1, &echo)),
        error(3, 4, [0, 0, 0, 0], &quote(5, 84, 1, &echo)),
        error(3, 4, [0, 0, 0, 68], &quote(5, 84, 17, &[0, 1, 0, 2, 0, 3, 0, 0])),
        error(11, 0, [0; 4], &quote(15, 0xffff, 1, &echo)),
        error(11, 0, [0, 255, 0, 0], &quote(5, 1, 1, &echo)),
        error(12, 0, [200, 0, 0, 0], &quote(4, 0, 6, &[0; 8])),
        error(5, 1, octets, &quote(5, 84, 1, &echo)),
        vec![0],
        vec![3, 3],
    ];
    for message in &mut all {
        if message.len() >= 4 {
            let sum = checksum(message);
            message[2..4].copy_from_slice(&sum.to_be_bytes());
        }
    }
    all
}

const IDENTIFIER: u16 = 24_301;

/// Sends them, all kinds every millisecond.
struct Forger {
    victim: IpAddr,
    turn: u16,
    sent: Rc<Cell<usize>>,
}

impl PacketService for Forger {
    fn on_open(&mut self, socket: &mut Packets<'_>) {
        socket.set_timer(Duration::ZERO, 0);
    }

    fn on_packet(&mut self, _: &mut Packets<'_>, _: Packet<'_>) {}

    fn on_timer(&mut self, socket: &mut Packets<'_>, _: u64) {
        for message in forged(self.turn, self.victim) {
            let _ = socket.send_to(&message, SocketAddr::new(self.victim, 0));
            self.sent.set(self.sent.get() + 1);
        }
        self.turn = self.turn.wrapping_add(257);
        // Whoever guesses the identifier and the number of a request may say anything of it: 32 bits are no proof.
        if self.turn == IDENTIFIER {
            self.turn += 1;
        }
        socket.set_timer(Duration::from_millis(1), 0);
    }
}

/// A ping of a true host while all that is forged comes in beside it: each request has its one reply, and no forged one counts.
fn forgeries_are_strangers<W: World>(world: &mut W) {
    let sent: Rc<Cell<usize>> = Rc::default();
    let forger = Forger {
        victim: world.client_ip(),
        turn: 1,
        sent: Rc::clone(&sent),
    };
    let from = world.server_ip();
    let forger = world.server().add_packet_service(forger);
    let options = PacketOptions::new(PacketKind::Ip { protocol: 1 }, from);
    world.server().open_packet(forger, &options).unwrap();
    let mut pinger = Pinger::new(PingOptions {
        count: Some(50),
        identifier: Some(IDENTIFIER),
        pace: Pace::Every(Duration::from_millis(2)),
        timeout: Duration::from_secs(10),
        ..PingOptions::new(7)
    });
    let target = pinger.add(SocketAddr::new(world.server_ip(), 0)).unwrap();
    let finished: Rc<Cell<bool>> = Rc::default();
    let flag = Rc::clone(&finished);
    let told: Rc<Cell<usize>> = Rc::default();
    let count = Rc::clone(&told);
    let service = services::ping(world.client(), pinger, move |_, pinger, event| {
        if let PingOutcome::Reply { .. } = event.outcome {
            count.set(count.get() + 1);
        }
        flag.set(pinger.is_finished());
    })
    .unwrap();
    world.until("fifty replies", || finished.get());
    let prober = world.client().service(service).unwrap();
    let counts = prober.engine().counts(target);
    assert_eq!(
        (counts.sent, counts.received, counts.lost),
        (50, 50, 0),
        "{counts:?}"
    );
    assert_eq!((counts.duplicates, counts.corrupt), (0, 0), "{counts:?}");
    assert_eq!(told.get(), 50);
    assert!(sent.get() > 500, "{} were forged", sent.get());
    assert_eq!(world.client().stats().panics, 0);
}

#[test]
fn forged_messages_are_strangers_to_a_ping() {
    if !skip::require(&[Need::Namespaces]) {
        return;
    }
    if netns::enter("icmp::forged_messages_are_strangers_to_a_ping", |_| {}) {
        forgeries_are_strangers(&mut OnKernel::new());
    }
}

#[test]
fn forged_messages_are_strangers_to_a_ping_simulated() {
    let mut world = Simulated::new();
    let (sim, server, client) = world.parts();
    sim.set_raw(server, true, false);
    sim.set_raw(client, true, false);
    forgeries_are_strangers(&mut world);
}
