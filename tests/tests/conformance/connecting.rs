//! Listening, connecting, accepting.

use std::net::{IpAddr, Shutdown, SocketAddr};
use std::time::Duration;

use sockeye_event_loop::backend::{Backend, Readiness};
use sockeye_event_loop::{ConnectOptions, ListenOptions};

use crate::ground::{Ground, QUIET};

const READABLE: Readiness = Readiness::READABLE;

fn with_port(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), port)
}

/// A port on which nobody listens.
fn closed_port<B: Backend>(g: &mut Ground<'_, B>, at: &str) -> SocketAddr {
    let listener = g.listen(at);
    let addr = g.addr(listener);
    g.drop(listener);
    addr
}

fn backlog(backlog: u32) -> ListenOptions {
    ListenOptions {
        backlog,
        ..ListenOptions::default()
    }
}

fn from(source: SocketAddr) -> ConnectOptions {
    ConnectOptions {
        source: Some(source),
        ..ConnectOptions::default()
    }
}

fn connect_and_accept<B: Backend>(g: &mut Ground<'_, B>, at: &str) {
    let listener = g.listen(at);
    let to = g.addr(listener);
    let Some(client) = g.connect(to) else { return };
    g.outcome(client);
    let Some(server) = g.accept(listener) else { return };
    for end in [client, server] {
        g.peer(end);
        g.local(end);
    }
}

pub(crate) fn connect_over_ipv4<B: Backend>(g: &mut Ground<'_, B>) {
    connect_and_accept(g, "127.0.0.1:0");
}

pub(crate) fn connect_over_ipv6<B: Backend>(g: &mut Ground<'_, B>) {
    connect_and_accept(g, "[::1]:0");
}

pub(crate) fn a_dual_stack_listener_sees_mapped_peers<B: Backend>(g: &mut Ground<'_, B>) {
    let options = ListenOptions {
        v6_only: Some(false),
        ..ListenOptions::default()
    };
    let Some(listener) = g.listen_with("[::]:0", &options) else {
        return;
    };
    let port = g.addr(listener).port();
    let Some(client) = g.connect(with_port("127.0.0.1", port)) else {
        return;
    };
    g.outcome(client);
    let Some(server) = g.accept(listener) else { return };
    g.peer(server);
    g.local(server);
    g.peer(client);
}

pub(crate) fn an_ipv6_only_listener_refuses_ipv4<B: Backend>(g: &mut Ground<'_, B>) {
    let options = ListenOptions {
        v6_only: Some(true),
        ..ListenOptions::default()
    };
    let Some(listener) = g.listen_with("[::]:0", &options) else {
        return;
    };
    let port = g.addr(listener).port();
    let Some(client) = g.connect(with_port("127.0.0.1", port)) else {
        return;
    };
    g.outcome(client);
}

pub(crate) fn a_mapped_destination_is_ipv4<B: Backend>(g: &mut Ground<'_, B>) {
    let listener = g.listen("127.0.0.1:0");
    let port = g.addr(listener).port();
    let Some(client) = g.connect(with_port("::ffff:127.0.0.1", port)) else {
        return;
    };
    g.outcome(client);
    g.accept(listener);
    g.peer(client);
    g.local(client);
}

pub(crate) fn a_closed_port_refuses<B: Backend>(g: &mut Ground<'_, B>) {
    let to = closed_port(g, "127.0.0.1:0");
    let Some(client) = g.connect(to) else { return };
    g.outcome(client);
}

pub(crate) fn a_closed_port_refuses_over_ipv6<B: Backend>(g: &mut Ground<'_, B>) {
    let to = closed_port(g, "[::1]:0");
    let Some(client) = g.connect(to) else { return };
    g.outcome(client);
}

pub(crate) fn a_refusal_is_told_once<B: Backend>(g: &mut Ground<'_, B>) {
    let to = closed_port(g, "127.0.0.1:0");
    let Some(client) = g.connect(to) else { return };
    g.settle();
    g.progress(client);
    g.progress(client);
}

pub(crate) fn a_refusal_can_be_read_instead<B: Backend>(g: &mut Ground<'_, B>) {
    let to = closed_port(g, "127.0.0.1:0");
    let Some(client) = g.connect(to) else { return };
    g.settle();
    g.read_now(client, 10);
    g.read_now(client, 10);
}

pub(crate) fn a_refusal_can_be_written_instead<B: Backend>(g: &mut Ground<'_, B>) {
    let to = closed_port(g, "127.0.0.1:0");
    let Some(client) = g.connect(to) else { return };
    g.settle();
    g.write(client, b"x");
    g.write(client, b"x");
}

pub(crate) fn after_a_refusal_nothing_stands<B: Backend>(g: &mut Ground<'_, B>) {
    let to = closed_port(g, "127.0.0.1:0");
    let Some(client) = g.connect(to) else { return };
    g.outcome(client);
    g.peer(client);
    g.shutdown(client, Shutdown::Write);
    g.read_now(client, 10);
    g.write(client, b"x");
    g.local(client);
}

pub(crate) fn a_refusal_is_flagged<B: Backend>(g: &mut Ground<'_, B>) {
    let to = closed_port(g, "127.0.0.1:0");
    let Some(client) = g.connect(to) else { return };
    g.flags_at(client, Readiness::ERROR);
}

pub(crate) fn a_connection_is_flagged_writable<B: Backend>(g: &mut Ground<'_, B>) {
    let listener = g.listen("127.0.0.1:0");
    let to = g.addr(listener);
    let Some(client) = g.connect(to) else { return };
    g.flags_at(client, Readiness::WRITABLE);
}

pub(crate) fn the_unspecified_address_is_the_loopback<B: Backend>(g: &mut Ground<'_, B>) {
    let listener = g.listen("127.0.0.1:0");
    let port = g.addr(listener).port();
    let Some(client) = g.connect(with_port("0.0.0.0", port)) else {
        return;
    };
    g.outcome(client);
    g.peer(client);
}

pub(crate) fn the_unspecified_ipv6_address_is_the_loopback<B: Backend>(g: &mut Ground<'_, B>) {
    let listener = g.listen("[::1]:0");
    let port = g.addr(listener).port();
    let Some(client) = g.connect(with_port("::", port)) else {
        return;
    };
    g.outcome(client);
    g.peer(client);
}

pub(crate) fn a_group_is_no_destination<B: Backend>(g: &mut Ground<'_, B>) {
    g.connect(with_port("224.0.0.1", 80));
}

pub(crate) fn a_broadcast_is_no_destination<B: Backend>(g: &mut Ground<'_, B>) {
    g.connect(with_port("255.255.255.255", 80));
}

pub(crate) fn the_loopbacks_broadcast_is_no_destination<B: Backend>(g: &mut Ground<'_, B>) {
    g.connect(with_port("127.255.255.255", 80));
}

pub(crate) fn an_ended_connection_holds_its_source_port<B: Backend>(g: &mut Ground<'_, B>) {
    let listener = g.listen("127.0.0.1:0");
    let at = g.addr(listener);
    let Some(client) = g.connect(at) else { return };
    g.outcome(client);
    let source = g.addr(client);
    let Some(server) = g.accept(listener) else { return };
    // The client ends first: it is the one that waits.
    g.drop(client);
    g.read_to_end(server);
    g.drop(server);
    g.settle();
    g.connect_with(at, &from(source));
}

pub(crate) fn port_0_refuses<B: Backend>(g: &mut Ground<'_, B>) {
    let Some(client) = g.connect(with_port("127.0.0.1", 0)) else {
        return;
    };
    g.outcome(client);
}

pub(crate) fn a_source_address_is_kept<B: Backend>(g: &mut Ground<'_, B>) {
    let listener = g.listen("127.0.0.1:0");
    let to = g.addr(listener);
    let Some(client) = g.connect_with(to, &from(with_port("127.0.0.2", 0))) else {
        return;
    };
    g.outcome(client);
    g.accept(listener);
    g.local(client);
}

pub(crate) fn a_foreign_source_is_refused<B: Backend>(g: &mut Ground<'_, B>) {
    let listener = g.listen("127.0.0.1:0");
    let to = g.addr(listener);
    g.connect_with(to, &from(with_port("192.0.2.77", 0)));
}

pub(crate) fn a_source_of_the_other_family_is_refused<B: Backend>(g: &mut Ground<'_, B>) {
    let listener = g.listen("127.0.0.1:0");
    let to = g.addr(listener);
    g.connect_with(to, &from(with_port("::1", 0)));
}

pub(crate) fn a_connect_to_itself_stands<B: Backend>(g: &mut Ground<'_, B>) {
    let own = closed_port(g, "127.0.0.1:0");
    let Some(client) = g.connect_with(own, &from(own)) else {
        return;
    };
    g.outcome(client);
    g.write(client, b"mine");
    g.read(client, 4);
    let (peer, local) = (g.addr(client), own);
    g.say(format!("the same: {}", peer == local));
    g.shutdown(client, Shutdown::Write);
    g.read_to_end(client);
}

pub(crate) fn the_peer_is_known_before_accept<B: Backend>(g: &mut Ground<'_, B>) {
    let listener = g.listen("127.0.0.1:0");
    let to = g.addr(listener);
    let Some(client) = g.connect(to) else { return };
    g.outcome(client);
    g.peer(client);
    g.write(client, b"early");
    let Some(server) = g.accept(listener) else { return };
    g.read(server, 5);
}

pub(crate) fn an_empty_backlog_would_block<B: Backend>(g: &mut Ground<'_, B>) {
    let listener = g.listen("127.0.0.1:0");
    g.try_accept(listener);
    g.expect_quiet(listener, READABLE);
}

pub(crate) fn connections_are_accepted_in_order<B: Backend>(g: &mut Ground<'_, B>) {
    let listener = g.listen("127.0.0.1:0");
    let to = g.addr(listener);
    for text in [b"one", b"two"] {
        let Some(client) = g.connect(to) else { return };
        g.outcome(client);
        g.write(client, text);
    }
    for _ in 0..2 {
        let Some(server) = g.try_accept(listener) else {
            return;
        };
        g.read(server, 3);
    }
    g.try_accept(listener);
}

pub(crate) fn accept_after_the_peer_has_closed<B: Backend>(g: &mut Ground<'_, B>) {
    let listener = g.listen("127.0.0.1:0");
    let to = g.addr(listener);
    let Some(client) = g.connect(to) else { return };
    g.outcome(client);
    g.drop(client);
    let Some(server) = g.accept(listener) else { return };
    g.read_to_end(server);
    g.peer(server);
}

pub(crate) fn accept_after_data_and_close<B: Backend>(g: &mut Ground<'_, B>) {
    let listener = g.listen("127.0.0.1:0");
    let to = g.addr(listener);
    let Some(client) = g.connect(to) else { return };
    g.outcome(client);
    g.write(client, b"and gone");
    g.drop(client);
    let Some(server) = g.accept(listener) else { return };
    g.read_to_end(server);
}

pub(crate) fn accept_after_a_reset<B: Backend>(g: &mut Ground<'_, B>) {
    let listener = g.listen("127.0.0.1:0");
    let to = g.addr(listener);
    let Some(client) = g.connect(to) else { return };
    g.outcome(client);
    g.abort(client);
    let Some(server) = g.accept(listener) else { return };
    g.peer(server);
    g.read_now(server, 10);
    g.read_now(server, 10);
}

pub(crate) fn accept_after_data_and_a_reset<B: Backend>(g: &mut Ground<'_, B>) {
    let listener = g.listen("127.0.0.1:0");
    let to = g.addr(listener);
    let Some(client) = g.connect(to) else { return };
    g.outcome(client);
    g.write(client, b"last words");
    g.settle();
    g.abort(client);
    let Some(server) = g.accept(listener) else { return };
    g.settle();
    g.read_to_end(server);
}

pub(crate) fn a_full_backlog_is_silent<B: Backend>(g: &mut Ground<'_, B>) {
    let Some(listener) = g.listen_with("127.0.0.1:0", &backlog(1)) else {
        return;
    };
    let to = g.addr(listener);
    // A backlog of n holds n + 1.
    for _ in 0..4 {
        let Some(client) = g.connect(to) else { return };
        g.outcome_within(client, QUIET);
    }
}

pub(crate) fn a_backlog_that_was_full_takes_again<B: Backend>(g: &mut Ground<'_, B>) {
    let Some(listener) = g.listen_with("127.0.0.1:0", &backlog(0)) else {
        return;
    };
    let to = g.addr(listener);
    let Some(first) = g.connect(to) else { return };
    g.outcome(first);
    let Some(second) = g.connect(to) else { return };
    g.outcome_within(second, QUIET);
    g.accept(listener);
    // The request is repeated after a second.
    g.outcome_within(second, Duration::from_secs(4));
    g.accept(listener);
}

pub(crate) fn closing_a_listener_resets_who_waits<B: Backend>(g: &mut Ground<'_, B>) {
    let listener = g.listen("127.0.0.1:0");
    let to = g.addr(listener);
    let Some(client) = g.connect(to) else { return };
    g.outcome(client);
    g.drop(listener);
    g.read_to_end(client);
}

pub(crate) fn a_closed_listener_refuses<B: Backend>(g: &mut Ground<'_, B>) {
    let listener = g.listen("127.0.0.1:0");
    let to = g.addr(listener);
    let Some(first) = g.connect(to) else { return };
    g.outcome(first);
    let Some(server) = g.accept(listener) else { return };
    g.drop(listener);
    let Some(second) = g.connect(to) else { return };
    g.outcome(second);
    g.write(first, b"still here");
    g.read(server, 10);
}

pub(crate) fn a_port_is_free_again<B: Backend>(g: &mut Ground<'_, B>) {
    let at = closed_port(g, "127.0.0.1:0");
    let Some(listener) = g.listen_at(at, &ListenOptions::default()) else {
        return;
    };
    let Some(client) = g.connect(at) else { return };
    g.outcome(client);
    g.accept(listener);
}

pub(crate) fn an_address_is_taken_once<B: Backend>(g: &mut Ground<'_, B>) {
    let listener = g.listen("127.0.0.1:0");
    let at = g.addr(listener);
    g.listen_at(at, &ListenOptions::default());
}

pub(crate) fn listeners_may_share_a_port<B: Backend>(g: &mut Ground<'_, B>) {
    let options = ListenOptions {
        reuse_port: true,
        ..ListenOptions::default()
    };
    let Some(first) = g.listen_with("127.0.0.1:0", &options) else {
        return;
    };
    let at = g.addr(first);
    let Some(second) = g.listen_at(at, &options) else {
        return;
    };
    let Some(client) = g.connect(at) else { return };
    g.outcome(client);
    g.settle();
    g.drop(first);
    g.drop(second);
}

pub(crate) fn one_who_does_not_share_is_refused<B: Backend>(g: &mut Ground<'_, B>) {
    let sharing = ListenOptions {
        reuse_port: true,
        ..ListenOptions::default()
    };
    let Some(first) = g.listen_with("127.0.0.1:0", &sharing) else {
        return;
    };
    let at = g.addr(first);
    g.listen_at(at, &ListenOptions::default());
}

pub(crate) fn a_wildcard_clashes_with_an_address<B: Backend>(g: &mut Ground<'_, B>) {
    let listener = g.listen("127.0.0.1:0");
    let port = g.addr(listener).port();
    g.listen_at(with_port("0.0.0.0", port), &ListenOptions::default());
    g.listen_at(with_port("127.0.0.2", port), &ListenOptions::default());
}

pub(crate) fn a_dual_stack_wildcard_clashes_with_ipv4<B: Backend>(g: &mut Ground<'_, B>) {
    let listener = g.listen("127.0.0.1:0");
    let port = g.addr(listener).port();
    g.listen_at(
        with_port("::", port),
        &ListenOptions {
            v6_only: Some(false),
            ..ListenOptions::default()
        },
    );
    g.listen_at(
        with_port("::", port),
        &ListenOptions {
            v6_only: Some(true),
            ..ListenOptions::default()
        },
    );
}

pub(crate) fn a_foreign_address_is_not_bound<B: Backend>(g: &mut Ground<'_, B>) {
    g.listen_with("192.0.2.77:0", &ListenOptions::default());
}

pub(crate) fn port_0_becomes_two_ports<B: Backend>(g: &mut Ground<'_, B>) {
    let (first, second) = (g.listen("127.0.0.1:0"), g.listen("127.0.0.1:0"));
    g.local(first);
    let (first, second) = (g.addr(first), g.addr(second));
    g.say(format!("different: {}", first != second));
}

pub(crate) fn without_reuse_an_open_connection_blocks_the_port<B: Backend>(g: &mut Ground<'_, B>) {
    let strict = ListenOptions {
        reuse_address: false,
        ..ListenOptions::default()
    };
    let Some(listener) = g.listen_with("127.0.0.1:0", &strict) else {
        return;
    };
    let at = g.addr(listener);
    let Some(client) = g.connect(at) else { return };
    g.outcome(client);
    let Some(_server) = g.accept(listener) else { return };
    g.drop(listener);
    g.listen_at(at, &strict);
}

pub(crate) fn without_reuse_an_ended_connection_blocks_the_port<B: Backend>(g: &mut Ground<'_, B>) {
    let strict = ListenOptions {
        reuse_address: false,
        ..ListenOptions::default()
    };
    let Some(listener) = g.listen_with("127.0.0.1:0", &ListenOptions::default()) else {
        return;
    };
    let at = g.addr(listener);
    let Some(client) = g.connect(at) else { return };
    g.outcome(client);
    let Some(server) = g.accept(listener) else { return };
    g.drop(listener);
    // Who ends first waits.
    g.drop(server);
    g.read_to_end(client);
    g.drop(client);
    g.settle();
    g.listen_at(at, &strict);
    g.listen_at(at, &ListenOptions::default());
}

pub(crate) fn each_connection_gives_an_event<B: Backend>(g: &mut Ground<'_, B>) {
    let listener = g.listen("127.0.0.1:0");
    let to = g.addr(listener);
    let Some(first) = g.connect(to) else { return };
    g.outcome(first);
    g.expect(listener, READABLE);
    // Nothing new, nothing told, though one waits.
    g.expect_quiet(listener, READABLE);
    let Some(second) = g.connect(to) else { return };
    g.outcome(second);
    g.expect(listener, READABLE);
    g.try_accept(listener);
    g.try_accept(listener);
    g.try_accept(listener);
}

pub(crate) fn a_listener_registered_late_hears_of_who_waits<B: Backend>(g: &mut Ground<'_, B>) {
    let listener = g.listen("127.0.0.1:0");
    let to = g.addr(listener);
    g.deregister(listener);
    let Some(client) = g.connect(to) else { return };
    g.outcome(client);
    g.expect_quiet(listener, READABLE);
    g.register(listener);
    g.expect(listener, READABLE);
    g.try_accept(listener);
}

pub(crate) fn many_connects_at_once<B: Backend>(g: &mut Ground<'_, B>) {
    let listener = g.listen("127.0.0.1:0");
    let to = g.addr(listener);
    let clients: Vec<_> = (0..20).filter_map(|_| g.connect(to)).collect();
    for client in clients {
        g.outcome(client);
    }
    let mut accepted = 0;
    while accepted < 30 && g.try_accept(listener).is_some() {
        accepted += 1;
    }
}

pub(crate) fn a_connect_can_be_dropped<B: Backend>(g: &mut Ground<'_, B>) {
    let Some(listener) = g.listen_with("127.0.0.1:0", &backlog(0)) else {
        return;
    };
    let to = g.addr(listener);
    let Some(first) = g.connect(to) else { return };
    g.outcome(first);
    let Some(second) = g.connect(to) else { return };
    g.drop(second);
    g.accept(listener);
    g.expect_quiet(listener, READABLE);
}

pub(crate) fn who_listens_on_an_address_is_not_heard_on_another<B: Backend>(g: &mut Ground<'_, B>) {
    let listener = g.listen("127.0.0.2:0");
    let port = g.addr(listener).port();
    let Some(wrong) = g.connect(with_port("127.0.0.1", port)) else {
        return;
    };
    g.outcome(wrong);
    let Some(right) = g.connect(with_port("127.0.0.2", port)) else {
        return;
    };
    g.outcome(right);
    let accepted: Option<IpAddr> = g.accept(listener).map(|server| g.addr(server).ip());
    g.say(format!("{accepted:?}"));
}

pub(crate) fn a_write_before_the_connection_stands<B: Backend>(g: &mut Ground<'_, B>) {
    let Some(listener) = g.listen_with("127.0.0.1:0", &backlog(0)) else {
        return;
    };
    let to = g.addr(listener);
    let Some(first) = g.connect(to) else { return };
    g.outcome(first);
    let Some(second) = g.connect(to) else { return };
    g.write(second, b"too early");
    g.read_now(second, 10);
    g.peer(second);
    g.progress(second);
}

pub(crate) fn accept_tells_who_connected<B: Backend>(g: &mut Ground<'_, B>) {
    let listener = g.listen("127.0.0.1:0");
    let to = g.addr(listener);
    let Some(client) = g.connect(to) else { return };
    g.outcome(client);
    g.settle();
    let (told, here) = (g.accept_peer(listener), g.addr(client));
    g.say(format!("the one who connected: {}", told == Some(here)));
}

pub(crate) fn with_no_descriptor_left_accept_fails_and_keeps_the_connection<B: Backend>(
    g: &mut Ground<'_, B>,
) {
    let listener = g.listen("127.0.0.1:0");
    let to = g.addr(listener);
    let Some(client) = g.connect(to) else { return };
    g.outcome(client);
    g.expect(listener, READABLE);
    g.limit_descriptors(Some(0));
    g.try_accept(listener);
    // Descriptors are free again, and nobody says so.
    g.limit_descriptors(None);
    g.expect_quiet(listener, READABLE);
    g.try_accept(listener);
}

pub(crate) fn with_no_descriptor_left_an_empty_backlog_fails_too<B: Backend>(g: &mut Ground<'_, B>) {
    let listener = g.listen("127.0.0.1:0");
    g.limit_descriptors(Some(0));
    g.try_accept(listener);
    g.limit_descriptors(None);
    g.try_accept(listener);
}

pub(crate) fn with_no_descriptor_left_nothing_opens<B: Backend>(g: &mut Ground<'_, B>) {
    let listener = g.listen("127.0.0.1:0");
    let to = g.addr(listener);
    g.limit_descriptors(Some(1));
    let first = g.connect(to);
    let second = g.connect(to);
    g.listen_with("127.0.0.1:0", &ListenOptions::default());
    g.bind_with("127.0.0.1:0", &sockeye_event_loop::DatagramOptions::default());
    if let Some(first) = first {
        g.drop(first);
    }
    let third = g.connect(to);
    g.limit_descriptors(None);
    g.say(format!("{} {}", second.is_some(), third.is_some()));
}
