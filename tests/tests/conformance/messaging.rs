//! Datagrams, packets, the error queue.

use std::net::{IpAddr, SocketAddr};

use sockeye_event_loop::backend::{Backend, Readiness};
use sockeye_event_loop::{DatagramOptions, PacketKind, PacketOptions};
use sockeye_socket::{Dscp, Ecn, Outgoing, RecvBatch};

use crate::ground::{Ground, Name};

const READABLE: Readiness = Readiness::READABLE;
const WRITABLE: Readiness = Readiness::WRITABLE;
const ERROR: Readiness = Readiness::ERROR;

fn with_port(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), port)
}

fn plain() -> DatagramOptions {
    DatagramOptions {
        gro: false,
        ..DatagramOptions::default()
    }
}

/// Two sockets, and the address of the second.
fn two<B: Backend>(g: &mut Ground<'_, B>) -> (Name, Name, SocketAddr) {
    let (a, b) = (g.bind("127.0.0.1:0"), g.bind("127.0.0.1:0"));
    let to = g.addr(b);
    (a, b, to)
}

fn closed_port<B: Backend>(g: &mut Ground<'_, B>, at: &str) -> SocketAddr {
    let socket = g.bind(at);
    let addr = g.addr(socket);
    g.drop(socket);
    addr
}

fn connected(to: SocketAddr) -> DatagramOptions {
    DatagramOptions {
        connect: Some(to),
        ..plain()
    }
}

pub(crate) fn datagrams_arrive<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b, to) = two(g);
    g.send_to(a, to, b"hello");
    g.receive(b, 1);
}

pub(crate) fn datagrams_arrive_over_ipv6<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = (g.bind("[::1]:0"), g.bind("[::1]:0"));
    let to = g.addr(b);
    g.send_to(a, to, b"hello");
    g.receive(b, 1);
    g.local(b);
}

pub(crate) fn an_answer_finds_its_way<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b, to) = two(g);
    let from = g.addr(a);
    g.send_to(a, to, b"question");
    g.receive_meta(b, move |incoming| {
        format!("from who asked: {}", incoming.source == from)
    });
    g.send_to(b, from, b"answer");
    g.receive(a, 1);
}

pub(crate) fn an_empty_datagram_is_one<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b, to) = two(g);
    g.send_to(a, to, b"");
    g.send_to(a, to, b"x");
    g.receive(b, 2);
}

pub(crate) fn datagrams_keep_their_bounds_and_order<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b, to) = two(g);
    for text in [b"one".as_slice(), b"three", b"", b"seven"] {
        g.send_to(a, to, text);
    }
    g.receive(b, 4);
}

pub(crate) fn a_batch_leaves_in_order<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b, to) = two(g);
    let texts: Vec<String> = (0..10).map(|number| format!("message {number}")).collect();
    let messages: Vec<_> = texts
        .iter()
        .map(|text| Outgoing::to(to, text.as_bytes()))
        .collect();
    g.send_all(a, &messages);
    g.receive(b, 10);
}

pub(crate) fn a_batch_stops_at_the_first_fault<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b, to) = two(g);
    let nowhere = with_port("127.0.0.1", 0);
    g.send_all(
        a,
        &[
            Outgoing::to(to, b"1"),
            Outgoing::to(nowhere, b"22"),
            Outgoing::to(to, b"333"),
        ],
    );
    g.receive(b, 1);
    g.receive_now(b);
}

pub(crate) fn a_batch_has_a_bound<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, _, _) = two(g);
    let b = g.bind_with("127.0.0.1:0", &plain()).expect("a socket");
    let to = g.addr(b);
    for text in [b"1", b"2", b"3"] {
        g.send_to(a, to, text);
    }
    g.settle();
    let mut batch = RecvBatch::new(2, 100);
    for _ in 0..3 {
        let received = g.receive_into(b, &mut batch);
        g.say(format!("{received:?}"));
    }
}

pub(crate) fn what_does_not_fit_is_cut<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, _, _) = two(g);
    let b = g.bind_with("127.0.0.1:0", &plain()).expect("a socket");
    let to = g.addr(b);
    g.send_to(a, to, b"0123456789");
    g.send_to(a, to, b"0123");
    g.settle();
    let mut batch = RecvBatch::new(2, 4);
    let received = g.receive_into(b, &mut batch);
    let told: Vec<_> = batch
        .iter()
        .map(|i| (i.payload.len(), i.len, i.truncated))
        .map(|told| format!("{told:?}"))
        .collect();
    g.say(format!("{received:?} {told:?}"));
}

pub(crate) fn the_longest_datagram<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b, to) = two(g);
    g.send_to(a, to, &vec![7; 65_507]);
    g.receive(b, 1);
    g.send_to(a, to, &vec![7; 65_508]);
}

pub(crate) fn the_longest_datagram_over_ipv6<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = (g.bind("[::1]:0"), g.bind("[::1]:0"));
    let to = g.addr(b);
    g.send_to(a, to, &vec![7; 65_527]);
    g.receive(b, 1);
    g.send_to(a, to, &vec![7; 65_528]);
}

pub(crate) fn port_0_is_no_destination<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, ..) = two(g);
    g.send_to(a, with_port("127.0.0.1", 0), b"x");
}

pub(crate) fn a_destination_is_needed<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, ..) = two(g);
    g.send(a, Outgoing::connected(b"x"));
}

pub(crate) fn a_connected_socket_needs_none<B: Backend>(g: &mut Ground<'_, B>) {
    let (_, b, to) = two(g);
    let Some(a) = g.bind_with("127.0.0.1:0", &connected(to)) else {
        return;
    };
    g.send(a, Outgoing::connected(b"x"));
    g.receive(b, 1);
}

pub(crate) fn a_connected_socket_hears_its_peer_only<B: Backend>(g: &mut Ground<'_, B>) {
    let (stranger, b, to) = two(g);
    let Some(a) = g.bind_with("127.0.0.1:0", &connected(to)) else {
        return;
    };
    let at = g.addr(a);
    g.send_to(stranger, at, b"not for you");
    g.settle();
    g.receive_now(a);
    g.send_to(b, at, b"for you");
    g.receive(a, 1);
}

pub(crate) fn a_connected_socket_knows_its_address<B: Backend>(g: &mut Ground<'_, B>) {
    let (_, _, to) = two(g);
    let Some(a) = g.bind_with("0.0.0.0:0", &connected(to)) else {
        return;
    };
    g.local(a);
}

pub(crate) fn a_refusal_meets_the_next_receive<B: Backend>(g: &mut Ground<'_, B>) {
    let to = closed_port(g, "127.0.0.1:0");
    let Some(a) = g.bind_with("127.0.0.1:0", &connected(to)) else {
        return;
    };
    g.send(a, Outgoing::connected(b"x"));
    g.settle();
    g.receive_now(a);
    g.receive_now(a);
}

pub(crate) fn a_refusal_meets_the_next_send<B: Backend>(g: &mut Ground<'_, B>) {
    let to = closed_port(g, "127.0.0.1:0");
    let Some(a) = g.bind_with("127.0.0.1:0", &connected(to)) else {
        return;
    };
    g.send(a, Outgoing::connected(b"x"));
    g.settle();
    g.send(a, Outgoing::connected(b"y"));
    g.settle();
    g.receive_now(a);
}

pub(crate) fn a_refusal_over_ipv6<B: Backend>(g: &mut Ground<'_, B>) {
    let to = closed_port(g, "[::1]:0");
    let Some(a) = g.bind_with("[::1]:0", &connected(to)) else {
        return;
    };
    g.send(a, Outgoing::connected(b"x"));
    g.settle();
    g.receive_now(a);
}

pub(crate) fn a_refusal_is_an_event<B: Backend>(g: &mut Ground<'_, B>) {
    let to = closed_port(g, "127.0.0.1:0");
    let Some(a) = g.bind_with("127.0.0.1:0", &connected(to)) else {
        return;
    };
    g.forget_events(a);
    g.send(a, Outgoing::connected(b"x"));
    g.expect(a, ERROR);
}

pub(crate) fn an_unconnected_socket_hears_of_no_refusal<B: Backend>(g: &mut Ground<'_, B>) {
    let to = closed_port(g, "127.0.0.1:0");
    let a = g.bind("127.0.0.1:0");
    g.forget_events(a);
    g.send_to(a, to, b"x");
    g.expect_quiet(a, ERROR);
    g.receive_now(a);
    g.send_to(a, to, b"y");
}

fn queueing() -> DatagramOptions {
    DatagramOptions {
        error_queue: true,
        ..plain()
    }
}

pub(crate) fn the_error_queue_says_who_refused<B: Backend>(g: &mut Ground<'_, B>) {
    let to = closed_port(g, "127.0.0.1:0");
    let Some(a) = g.bind_with("127.0.0.1:0", &queueing()) else {
        return;
    };
    g.forget_events(a);
    g.send_to(a, to, b"quoted");
    g.expect(a, ERROR);
    g.queued_error(a);
    g.queued_error_now(a);
}

pub(crate) fn what_is_too_long_is_queued_too<B: Backend>(g: &mut Ground<'_, B>) {
    for (at, lens) in [
        ("127.0.0.1:0", [65_508, 65_535, 65_536]),
        ("[::1]:0", [65_528, 65_535, 65_536]),
    ] {
        let Some(a) = g.bind_with(at, &queueing()) else {
            return;
        };
        let to = g.addr(a);
        for len in lens {
            g.send_to(a, to, &vec![7; len]);
            g.drain_errors(a);
        }
        g.send_to(a, to, &vec![7; lens[0]]);
        g.queued_error(a);
        // It is no error of the next call.
        g.send_to(a, to, b"short");
        g.receive(a, 1);
    }
}

pub(crate) fn the_error_queue_over_ipv6<B: Backend>(g: &mut Ground<'_, B>) {
    let to = closed_port(g, "[::1]:0");
    let Some(a) = g.bind_with("[::1]:0", &queueing()) else {
        return;
    };
    g.send_to(a, to, b"quoted");
    g.queued_error(a);
}

pub(crate) fn a_queued_error_meets_an_innocent_send<B: Backend>(g: &mut Ground<'_, B>) {
    let to = closed_port(g, "127.0.0.1:0");
    let b = g.bind("127.0.0.1:0");
    let innocent = g.addr(b);
    let Some(a) = g.bind_with("127.0.0.1:0", &queueing()) else {
        return;
    };
    g.send_to(a, to, b"x");
    g.settle();
    g.send_to(a, innocent, b"first");
    g.send_to(a, innocent, b"second");
    g.receive(b, 1);
}

pub(crate) fn taking_the_queued_error_clears_it<B: Backend>(g: &mut Ground<'_, B>) {
    let to = closed_port(g, "127.0.0.1:0");
    let b = g.bind("127.0.0.1:0");
    let innocent = g.addr(b);
    let Some(a) = g.bind_with("127.0.0.1:0", &queueing()) else {
        return;
    };
    g.send_to(a, to, b"x");
    g.settle();
    g.queued_error(a);
    g.send_to(a, innocent, b"through");
    g.receive(b, 1);
}

pub(crate) fn an_error_comes_before_data<B: Backend>(g: &mut Ground<'_, B>) {
    let b = g.bind("127.0.0.1:0");
    let to = g.addr(b);
    let Some(a) = g.bind_with("127.0.0.1:0", &connected(to)) else {
        return;
    };
    let at = g.addr(a);
    g.send_to(b, at, b"before");
    g.drop(b);
    g.send(a, Outgoing::connected(b"refused"));
    g.settle();
    g.receive_now(a);
    g.receive_now(a);
}

pub(crate) fn several_refusals_queue_up<B: Backend>(g: &mut Ground<'_, B>) {
    let (first, second) = (closed_port(g, "127.0.0.1:0"), closed_port(g, "127.0.0.2:0"));
    let Some(a) = g.bind_with("0.0.0.0:0", &queueing()) else {
        return;
    };
    g.send_to(a, first, b"one");
    g.settle();
    g.queued_error(a);
    g.send_to(a, second, b"two");
    g.settle();
    g.queued_error(a);
    g.queued_error_now(a);
}

pub(crate) fn nothing_there_would_block<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, ..) = two(g);
    g.receive_now(a);
    g.queued_error_now(a);
}

pub(crate) fn an_address_is_taken_once<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, ..) = two(g);
    let at = g.addr(a);
    g.bind_at(at, &plain());
    g.bind_at(with_port("0.0.0.0", at.port()), &plain());
}

pub(crate) fn sockets_may_share_an_address<B: Backend>(g: &mut Ground<'_, B>) {
    let options = DatagramOptions {
        reuse_port: true,
        ..plain()
    };
    let Some(first) = g.bind_with("127.0.0.1:0", &options) else {
        return;
    };
    let at = g.addr(first);
    g.bind_at(at, &options);
    g.bind_at(at, &plain());
}

pub(crate) fn a_foreign_address_is_not_bound<B: Backend>(g: &mut Ground<'_, B>) {
    g.bind_with("192.0.2.77:0", &plain());
}

pub(crate) fn an_address_is_free_again<B: Backend>(g: &mut Ground<'_, B>) {
    let at = closed_port(g, "127.0.0.1:0");
    let Some(b) = g.bind_at(at, &plain()) else { return };
    g.local(b);
}

pub(crate) fn a_dual_stack_socket_hears_ipv4<B: Backend>(g: &mut Ground<'_, B>) {
    let options = DatagramOptions {
        v6_only: Some(false),
        ..plain()
    };
    let Some(b) = g.bind_with("[::]:0", &options) else {
        return;
    };
    let port = g.addr(b).port();
    let a = g.bind("127.0.0.1:0");
    g.send_to(a, with_port("127.0.0.1", port), b"mapped");
    g.receive(b, 1);
    let to = g.addr(a).port();
    g.send_to(b, with_port("::ffff:127.0.0.1", to), b"and back");
    g.receive(a, 1);
}

pub(crate) fn an_ipv6_only_socket_does_not<B: Backend>(g: &mut Ground<'_, B>) {
    let options = DatagramOptions {
        v6_only: Some(true),
        ..plain()
    };
    let Some(b) = g.bind_with("[::]:0", &options) else {
        return;
    };
    let port = g.addr(b).port();
    let Some(a) = g.bind_with("127.0.0.1:0", &connected(with_port("127.0.0.1", port))) else {
        return;
    };
    g.send(a, Outgoing::connected(b"x"));
    g.settle();
    g.receive_now(b);
    g.receive_now(a);
}

pub(crate) fn an_ipv6_only_socket_sends_no_ipv4<B: Backend>(g: &mut Ground<'_, B>) {
    let options = DatagramOptions {
        v6_only: Some(true),
        ..plain()
    };
    let Some(b) = g.bind_with("[::]:0", &options) else {
        return;
    };
    let a = g.bind("127.0.0.1:0");
    let to = g.addr(a).port();
    g.send_to(b, with_port("::ffff:127.0.0.1", to), b"x");
}

pub(crate) fn an_ipv4_socket_sends_no_ipv6<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, ..) = two(g);
    let b = g.bind("[::1]:0");
    let to = g.addr(b);
    g.send_to(a, to, b"x");
}

pub(crate) fn the_destination_is_reported<B: Backend>(g: &mut Ground<'_, B>) {
    let options = DatagramOptions {
        packet_info: true,
        ..plain()
    };
    let Some(b) = g.bind_with("0.0.0.0:0", &options) else {
        return;
    };
    let port = g.addr(b).port();
    let a = g.bind("127.0.0.1:0");
    g.send_to(a, with_port("127.0.0.2", port), b"x");
    g.receive_meta(b, |incoming| {
        format!("{:?} {:?}", incoming.meta.destination, incoming.meta.local)
    });
}

pub(crate) fn the_destination_is_not_reported_unasked<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b, to) = two(g);
    g.send_to(a, to, b"x");
    g.receive_meta(b, |incoming| format!("{:?}", incoming.meta));
}

pub(crate) fn the_hop_limit_is_reported<B: Backend>(g: &mut Ground<'_, B>) {
    let options = DatagramOptions {
        hop_limit: true,
        ..plain()
    };
    let Some(b) = g.bind_with("127.0.0.1:0", &options) else {
        return;
    };
    let to = g.addr(b);
    let a = g.bind("127.0.0.1:0");
    g.send_to(a, to, b"x");
    g.receive_meta(b, |incoming| format!("{:?}", incoming.meta.hop_limit));
    g.send(a, Outgoing::to(to, b"x").hop_limit(5));
    g.receive_meta(b, |incoming| format!("{:?}", incoming.meta.hop_limit));
}

pub(crate) fn the_hop_limit_is_reported_over_ipv6<B: Backend>(g: &mut Ground<'_, B>) {
    let options = DatagramOptions {
        hop_limit: true,
        ..plain()
    };
    let Some(b) = g.bind_with("[::1]:0", &options) else {
        return;
    };
    let to = g.addr(b);
    let a = g.bind("[::1]:0");
    g.send(a, Outgoing::to(to, b"x").hop_limit(9));
    g.receive_meta(b, |incoming| format!("{:?}", incoming.meta.hop_limit));
}

pub(crate) fn the_traffic_class_is_reported<B: Backend>(g: &mut Ground<'_, B>) {
    let options = DatagramOptions {
        traffic_class: true,
        ..plain()
    };
    let Some(b) = g.bind_with("127.0.0.1:0", &options) else {
        return;
    };
    let to = g.addr(b);
    let a = g.bind("127.0.0.1:0");
    g.send(a, Outgoing::to(to, b"x").ecn(Ecn::Ect0).dscp(Dscp::EF));
    g.receive_meta(b, |incoming| {
        format!("{:?} {:?}", incoming.meta.ecn, incoming.meta.dscp)
    });
    g.send_to(a, to, b"x");
    g.receive_meta(b, |incoming| {
        format!("{:?} {:?}", incoming.meta.ecn, incoming.meta.dscp)
    });
}

pub(crate) fn a_hop_limit_of_0_is_refused<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, _, to) = two(g);
    g.send(a, Outgoing::to(to, b"x").hop_limit(0));
}

pub(crate) fn a_source_can_be_chosen<B: Backend>(g: &mut Ground<'_, B>) {
    let Some(a) = g.bind_with("0.0.0.0:0", &plain()) else {
        return;
    };
    let b = g.bind("127.0.0.1:0");
    let to = g.addr(b);
    g.send(a, Outgoing::to(to, b"x").source("127.0.0.3".parse().unwrap()));
    g.receive(b, 1);
}

pub(crate) fn a_foreign_source_is_refused<B: Backend>(g: &mut Ground<'_, B>) {
    let Some(a) = g.bind_with("[::]:0", &plain()) else {
        return;
    };
    let b = g.bind("[::1]:0");
    let to = g.addr(b);
    g.send(a, Outgoing::to(to, b"x").source("2001:db8::77".parse().unwrap()));
    g.receive_now(b);
}

pub(crate) fn a_broadcast_needs_permission<B: Backend>(g: &mut Ground<'_, B>) {
    let Some(a) = g.bind_with("0.0.0.0:0", &plain()) else {
        return;
    };
    g.send_to(a, with_port("255.255.255.255", 9), b"x");
}

pub(crate) fn the_unspecified_address_is_the_loopback<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b, to) = two(g);
    g.send_to(a, with_port("0.0.0.0", to.port()), b"x");
    g.receive(b, 1);
}

pub(crate) fn segments_become_datagrams<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b, to) = two(g);
    g.send(a, Outgoing::to(to, b"aaaabbbbcc").segment_size(4));
    g.receive(b, 3);
}

pub(crate) fn a_full_receive_buffer_drops<B: Backend>(g: &mut Ground<'_, B>) {
    let options = DatagramOptions {
        recv_buffer: Some(8192),
        ..plain()
    };
    let Some(b) = g.bind_with("127.0.0.1:0", &options) else {
        return;
    };
    let to = g.addr(b);
    let a = g.bind("127.0.0.1:0");
    for number in 0..200_u8 {
        let log = g.log.len();
        g.send_to(a, to, &[number; 1000]);
        g.log.truncate(log);
    }
    let all = g.count_waiting(b);
    let first = all.first().and_then(|datagram| datagram.first()).copied();
    let in_order = all.windows(2).all(|pair| pair[1][0] == pair[0][0] + 1);
    g.say(format!(
        "some: {}, all: {}, first: {first:?}, in order: {in_order}",
        !all.is_empty(),
        all.len() == 200
    ));
}

pub(crate) fn a_datagram_is_an_event<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b, to) = two(g);
    g.forget_events(b);
    g.send_to(a, to, b"x");
    g.expect(b, READABLE);
    g.expect_quiet(b, READABLE);
    g.send_to(a, to, b"y");
    g.expect(b, READABLE);
    g.receive(b, 2);
}

pub(crate) fn a_socket_is_writable_at_once<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, ..) = two(g);
    // A backend need not tell before somebody waits for room.
    g.watch_writable(a);
    g.flags_at(a, WRITABLE);
}

pub(crate) fn a_socket_registered_late_hears_of_what_waits<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b, to) = two(g);
    g.deregister(b);
    g.forget_events(b);
    g.send_to(a, to, b"x");
    g.expect_quiet(b, READABLE);
    g.register(b);
    g.expect(b, READABLE);
    g.receive(b, 1);
}

pub(crate) fn a_wildcard_socket_hears_every_address<B: Backend>(g: &mut Ground<'_, B>) {
    let Some(b) = g.bind_with("0.0.0.0:0", &plain()) else {
        return;
    };
    let port = g.addr(b).port();
    let a = g.bind("127.0.0.1:0");
    for ip in ["127.0.0.1", "127.0.0.2", "127.9.9.9"] {
        g.send_to(a, with_port(ip, port), ip.as_bytes());
    }
    g.receive(b, 3);
}

pub(crate) fn a_bound_address_hears_only_itself<B: Backend>(g: &mut Ground<'_, B>) {
    let Some(b) = g.bind_with("127.0.0.2:0", &plain()) else {
        return;
    };
    let port = g.addr(b).port();
    let Some(a) = g.bind_with("127.0.0.1:0", &connected(with_port("127.0.0.1", port))) else {
        return;
    };
    g.send(a, Outgoing::connected(b"x"));
    g.settle();
    g.receive_now(a);
    g.receive_now(b);
}

// Packets: these need the right to open raw sockets.

fn icmp(local: &str) -> PacketOptions {
    PacketOptions {
        hop_limit: true,
        ..PacketOptions::new(PacketKind::Icmp, local.parse::<IpAddr>().unwrap())
    }
}

/// An echo request with a checksum.
fn echo_request(v4: bool) -> Vec<u8> {
    let mut message = vec![if v4 { 8 } else { 128 }, 0, 0, 0, 0x12, 0x34, 0, 1];
    message.extend_from_slice(b"are you there?");
    if v4 {
        let sum: u32 = message
            .chunks(2)
            .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
            .sum();
        let folded = (sum & 0xffff) + (sum >> 16);
        let folded = (folded & 0xffff) + (folded >> 16);
        let sum = !u16::try_from(folded).unwrap();
        message[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    message
}

/// Receives until a message of that type comes, and says what it is.
fn await_type<B: Backend>(g: &mut Ground<'_, B>, name: Name, wanted: u8) {
    let mut batch = RecvBatch::new(1, 2048);
    for _ in 0..50 {
        match g.receive_into(name, &mut batch) {
            Ok(_) => {
                let Some(incoming) = batch.get(0) else { continue };
                if incoming.payload.first() == Some(&wanted) {
                    let (data, from) = (
                        incoming.payload.get(8..).unwrap_or_default(),
                        incoming.source.ip(),
                    );
                    let line = format!(
                        "{wanted}: {:?} from {from}, hops {:?}",
                        String::from_utf8_lossy(data),
                        incoming.meta.hop_limit
                    );
                    g.say(line);
                    return;
                }
            }
            Err(error) if error == "EAGAIN" => {
                g.expect(name, READABLE);
                g.log.pop();
            }
            Err(error) => {
                g.say(error);
                return;
            }
        }
    }
    g.say("no such message");
}

pub(crate) fn an_echo_is_answered<B: Backend>(g: &mut Ground<'_, B>) {
    let Some(a) = g.open_packet(&icmp("0.0.0.0")) else {
        return;
    };
    g.send_to(a, with_port("127.0.0.1", 0), &echo_request(true));
    await_type(g, a, 0);
}

pub(crate) fn an_echo_is_answered_over_ipv6<B: Backend>(g: &mut Ground<'_, B>) {
    let Some(a) = g.open_packet(&icmp("::")) else {
        return;
    };
    g.send_to(a, with_port("::1", 0), &echo_request(false));
    await_type(g, a, 129);
}

pub(crate) fn an_own_request_is_heard_too<B: Backend>(g: &mut Ground<'_, B>) {
    let options = PacketOptions::new(PacketKind::Ip { protocol: 1 }, "0.0.0.0".parse().unwrap());
    let Some(a) = g.open_packet(&options) else { return };
    g.send_to(a, with_port("127.0.0.1", 0), &echo_request(true));
    await_type(g, a, 8);
}

pub(crate) fn a_raw_protocol_reaches_its_socket<B: Backend>(g: &mut Ground<'_, B>) {
    let options = PacketOptions::new(PacketKind::Ip { protocol: 253 }, "0.0.0.0".parse().unwrap());
    let (Some(a), Some(b)) = (g.open_packet(&options), g.open_packet(&options)) else {
        return;
    };
    g.send_to(a, with_port("127.0.0.1", 0), b"experiment");
    g.receive(b, 1);
    g.receive(a, 1);
}

pub(crate) fn protocol_0_is_none<B: Backend>(g: &mut Ground<'_, B>) {
    g.open_packet(&PacketOptions::new(
        PacketKind::Ip { protocol: 0 },
        "127.0.0.1".parse().unwrap(),
    ));
}

pub(crate) fn a_raw_socket_sends_no_other_family<B: Backend>(g: &mut Ground<'_, B>) {
    let options = PacketOptions::new(PacketKind::Ip { protocol: 253 }, "0.0.0.0".parse().unwrap());
    let Some(a) = g.open_packet(&options) else { return };
    g.send_to(a, with_port("::1", 0), b"x");
}

pub(crate) fn a_refused_datagram_is_seen_as_icmp<B: Backend>(g: &mut Ground<'_, B>) {
    let Some(raw) = g.open_packet(&icmp("0.0.0.0")) else {
        return;
    };
    let to = closed_port(g, "127.0.0.1:0");
    let a = g.bind("127.0.0.1:0");
    g.send_to(a, to, b"x");
    let mut batch = RecvBatch::new(4, 2048);
    for _ in 0..50 {
        match g.receive_into(raw, &mut batch) {
            Ok(_) => {
                let found = batch
                    .iter()
                    .find(|incoming| incoming.payload.starts_with(&[3, 3]));
                if let Some(quoted) = found.and_then(|incoming| incoming.payload.get(8..)) {
                    let line = format!("quotes protocol {:?} and {} bytes", quoted.get(9), quoted.len());
                    g.say(line);
                    return;
                }
            }
            Err(_) => g.settle(),
        }
    }
    g.say("nothing came");
}

pub(crate) fn the_loopbacks_broadcast_needs_permission<B: Backend>(g: &mut Ground<'_, B>) {
    let sender = g.bind("127.0.0.1:0");
    g.send_to(sender, SocketAddr::from(([127, 255, 255, 255], 9)), b"everybody");
}

pub(crate) fn a_probe_over_ipv6_fits_the_loopback<B: Backend>(g: &mut Ground<'_, B>) {
    let probes = DatagramOptions {
        probe_mtu: true,
        ..DatagramOptions::default()
    };
    let receiver = g.bind("[::1]:0");
    let at = g.addr(receiver);
    let Some(sender) = g.bind_with("[::1]:0", &probes) else {
        return;
    };
    for len in [65_488, 65_489, 65_527, 65_528] {
        g.send_to(sender, at, &vec![7; len]);
    }
    let receiver = g.bind("127.0.0.1:0");
    let at = g.addr(receiver);
    let Some(sender) = g.bind_with("127.0.0.1:0", &probes) else {
        return;
    };
    for len in [65_507, 65_508] {
        g.send_to(sender, at, &vec![7; len]);
    }
}

pub(crate) fn the_longest_datagrams_leave<B: Backend>(g: &mut Ground<'_, B>) {
    for (at, longest) in [("127.0.0.1:0", 65_507), ("[::1]:0", 65_527)] {
        let receiver = g.bind(at);
        let to = g.addr(receiver);
        let sender = g.bind(at);
        for len in [longest, longest + 1] {
            g.send_to(sender, to, &vec![7; len]);
        }
    }
}
