//! Unix sockets of streams: names, connecting, ends and resets, and the events that tell of them.

use std::net::Shutdown;

use sockeye_event_loop::backend::{Backend, Readiness};
use sockeye_event_loop::{Outgoing, StreamOption, UnixDatagramOptions, UnixListenOptions, UnixName};

use crate::ground::{Ground, Name};

const READABLE: Readiness = Readiness::READABLE;
const WRITABLE: Readiness = Readiness::WRITABLE;
const READ_CLOSED: Readiness = Readiness::READ_CLOSED;
const ERROR: Readiness = Readiness::ERROR;

/// An abstract name that no other scenario of this process has.
fn a_name() -> UnixName {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!(
        "sockeye-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    );
    UnixName::from_abstract_name(name.as_bytes()).unwrap()
}

/// A path in a folder of its own.
fn a_path() -> (tempfile::TempDir, UnixName) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let name = path.to_str().unwrap().parse().unwrap();
    (folder, name)
}

fn listen<B: Backend>(g: &mut Ground<'_, B>, name: &UnixName) -> Name {
    g.listen_unix(name, &UnixListenOptions::default())
        .expect("a listener")
}

pub(crate) fn bytes_arrive_both_ways<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.unix_pair();
    g.write(a, b"hello");
    g.read(b, 5);
    g.write_vectored(b, &[b"hello ", b"", b"yourself"]);
    g.read(a, 14);
    g.read_now(a, 10);
}

pub(crate) fn large_transfers_are_whole<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.unix_pair();
    let data: Vec<u8> = (0..100_000_u32)
        .map(|at| (at * 7 + at / 251).to_le_bytes()[0])
        .collect();
    g.write(a, &data);
    g.read(b, data.len());
}

pub(crate) fn both_sides_know_names<B: Backend>(g: &mut Ground<'_, B>) {
    let listener = listen(g, &a_name());
    let name = g.unix_name(listener);
    let client = g.connect_unix(&name).expect("a connect");
    g.outcome(client);
    let server = g.accept(listener).expect("a connection");
    g.unix_peer(client);
    g.unix_peer(server);
    g.peer(client);
    g.option(client, &StreamOption::NoDelay(true));
    g.option(client, &StreamOption::SendBuffer(65_536));
}

pub(crate) fn no_name_becomes_an_abstract_one<B: Backend>(g: &mut Ground<'_, B>) {
    let first = listen(g, &UnixName::UNNAMED);
    let second = listen(g, &UnixName::UNNAMED);
    let names = [g.unix_name(first), g.unix_name(second)];
    let lens = names.map(|name| name.as_abstract_name().map(<[u8]>::len));
    g.say(format!("{lens:?}, different: {}", names[0] != names[1]));
}

pub(crate) fn nobody_listens<B: Backend>(g: &mut Ground<'_, B>) {
    g.connect_unix(&a_name());
    let (_folder, path) = a_path();
    g.connect_unix(&path);
}

pub(crate) fn a_name_is_taken_once<B: Backend>(g: &mut Ground<'_, B>) {
    let name = a_name();
    let first = listen(g, &name);
    g.listen_unix(&name, &UnixListenOptions::default());
    g.drop(first);
    g.listen_unix(&name, &UnixListenOptions::default());
}

pub(crate) fn a_path_is_taken_once<B: Backend>(g: &mut Ground<'_, B>) {
    let (_folder, name) = a_path();
    let first = listen(g, &name);
    g.listen_unix(&name, &UnixListenOptions::default());
    g.drop(first);
    g.connect_unix(&name);
    g.listen_unix(&name, &UnixListenOptions::default());
}

/// What a program leaves behind that does not clean up is taken over, or not, as was asked.
pub(crate) fn a_path_that_is_left_behind<B: Backend>(g: &mut Ground<'_, B>) {
    let (_folder, name) = a_path();
    let stays = UnixListenOptions {
        unlink: false,
        ..UnixListenOptions::default()
    };
    let first = g.listen_unix(&name, &stays).expect("a listener");
    g.drop(first);
    g.connect_unix(&name);
    let not_over = UnixListenOptions {
        take_over: false,
        ..UnixListenOptions::default()
    };
    g.listen_unix(&name, &not_over);
    let second = listen(g, &name);
    let client = g.connect_unix(&name).expect("a connect");
    g.outcome(client);
    g.accept(second);
}

pub(crate) fn a_full_backlog_would_block<B: Backend>(g: &mut Ground<'_, B>) {
    let options = UnixListenOptions {
        backlog: 1,
        ..UnixListenOptions::default()
    };
    let listener = g.listen_unix(&UnixName::UNNAMED, &options).expect("a listener");
    let name = g.unix_name(listener);
    for _ in 0..3 {
        g.connect_unix(&name);
    }
    g.accept(listener);
    g.connect_unix(&name);
    g.connect_unix(&name);
}

pub(crate) fn connections_are_accepted_in_order<B: Backend>(g: &mut Ground<'_, B>) {
    let listener = listen(g, &UnixName::UNNAMED);
    let name = g.unix_name(listener);
    for word in [&b"first"[..], b"second", b"third"] {
        let client = g.connect_unix(&name).expect("a connect");
        g.write(client, word);
    }
    for len in [5, 6, 5] {
        let server = g.accept(listener).expect("a connection");
        g.read(server, len);
    }
    g.try_accept(listener);
}

/// Also: what was written before the accept is there, and an end before it.
pub(crate) fn accept_after_data_and_close<B: Backend>(g: &mut Ground<'_, B>) {
    let listener = listen(g, &UnixName::UNNAMED);
    let name = g.unix_name(listener);
    let client = g.connect_unix(&name).expect("a connect");
    g.write(client, b"and gone");
    g.drop(client);
    let server = g.accept(listener).expect("a connection");
    g.read_to_end(server);
    g.write(server, b"too late");
}

pub(crate) fn closing_a_listener_resets_who_waits<B: Backend>(g: &mut Ground<'_, B>) {
    let listener = listen(g, &UnixName::UNNAMED);
    let name = g.unix_name(listener);
    let client = g.connect_unix(&name).expect("a connect");
    g.write(client, b"lost");
    g.settle();
    g.drop(listener);
    g.expect(client, ERROR);
    g.read_to_end(client);
    g.read_now(client, 10);
    g.write(client, b"x");
}

pub(crate) fn an_end_is_an_end<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.unix_pair();
    g.write(a, b"last");
    g.shutdown(a, Shutdown::Write);
    g.flags_at(b, READ_CLOSED);
    g.read_to_end(b);
    g.read_now(b, 10);
    g.write(a, b"more");
    g.write(b, b"half-open");
    g.read(a, 9);
    g.shutdown(a, Shutdown::Write);
}

pub(crate) fn a_close_in_order_is_an_end<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.unix_pair();
    g.write(a, b"last");
    g.drop(a);
    g.flags_at(b, READ_CLOSED);
    g.read_to_end(b);
    g.write(b, b"x");
    g.shutdown(b, Shutdown::Write);
}

pub(crate) fn closing_with_unread_data_resets<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.unix_pair();
    g.write(a, b"never read");
    g.write(b, b"before");
    g.settle();
    g.drop(b);
    g.flags_at(a, ERROR);
    g.read_to_end(a);
    g.read_now(a, 10);
    g.write(a, b"x");
}

pub(crate) fn a_reset_does_not_undo_the_connect<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.unix_pair();
    g.write(a, b"never read");
    g.settle();
    g.drop(b);
    g.settle();
    g.progress(a);
    g.read_now(a, 10);
    g.read_now(a, 10);
}

pub(crate) fn a_reset_can_be_written_instead<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.unix_pair();
    g.write(a, b"never read");
    g.settle();
    g.drop(b);
    g.write(a, b"x");
    g.write(a, b"x");
    g.read_now(a, 10);
}

/// There is no reset to ask for: who aborts ends.
pub(crate) fn an_abort_is_an_end<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.unix_pair();
    g.write(a, b"a part");
    g.abort(a);
    g.read_to_end(b);
}

pub(crate) fn shutdown_of_reading_is_told_to_the_writer<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.unix_pair();
    g.write(a, b"kept");
    g.settle();
    g.shutdown(b, Shutdown::Read);
    g.write(a, b"refused");
    g.read_to_end(b);
    g.write(b, b"the other way");
    g.read(a, 13);
}

pub(crate) fn a_full_buffer_would_block_and_drains<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.unix_pair();
    let filled = g.fill(a);
    g.forget_events(a);
    g.expect_quiet(a, WRITABLE);
    let (data, end) = g.collect(b, filled);
    g.say(format!("all of it: {}{end}", data.len() == filled));
    g.expect(a, WRITABLE);
    g.write(a, b"again");
    g.read(b, 5);
}

pub(crate) fn events_are_told<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.unix_pair();
    g.expect_quiet(b, READABLE);
    g.write(a, b"x");
    g.flags_at(b, READABLE);
    g.expect_quiet(b, READABLE);
    g.write(a, b"y");
    g.expect(b, READABLE);
    g.read(b, 2);
    g.deregister(b);
    g.write(a, b"z");
    g.expect_quiet(b, READABLE);
    g.register(b);
    g.expect(b, READABLE);
}

pub(crate) fn both_ends_shut_down<B: Backend>(g: &mut Ground<'_, B>) {
    let (a, b) = g.unix_pair();
    g.shutdown(a, Shutdown::Both);
    g.flags_at(a, READ_CLOSED);
    g.flags_at(b, READ_CLOSED);
    g.read_now(a, 1);
    g.read_now(b, 1);
    g.write(a, b"x");
    g.write(b, b"x");
    g.shutdown(b, Shutdown::Both);
}

pub(crate) fn with_no_descriptor_left_nothing_opens<B: Backend>(g: &mut Ground<'_, B>) {
    let listener = listen(g, &UnixName::UNNAMED);
    let name = g.unix_name(listener);
    let client = g.connect_unix(&name).expect("a connect");
    g.outcome(client);
    g.limit_descriptors(Some(0));
    g.connect_unix(&name);
    g.listen_unix(&UnixName::UNNAMED, &UnixListenOptions::default());
    g.try_accept(listener);
    g.limit_descriptors(None);
    g.accept(listener);
}

pub(crate) fn datagrams_arrive_with_names<B: Backend>(g: &mut Ground<'_, B>) {
    let options = UnixDatagramOptions::default();
    let (one, other) = (a_name(), a_name());
    let a = g.bind_unix(&one, &options).expect("a socket");
    let b = g.bind_unix(&other, &options).expect("a socket");
    g.bind_unix(&one, &options);
    for payload in [&b"hello"[..], b"", b"again"] {
        g.send_unix(a, &other, payload);
    }
    g.expect(b, READABLE);
    g.receive_unix(b, &one);
    g.receive_unix(b, &one);
    g.send_unix(b, &one, b"back");
    g.expect(a, READABLE);
    g.receive_unix(a, &other);
    g.drop(b);
    g.send_unix(a, &other, b"late");
}

pub(crate) fn datagrams_to_nobody<B: Backend>(g: &mut Ground<'_, B>) {
    let options = UnixDatagramOptions::default();
    let socket = g.bind_unix(&a_name(), &options).expect("a socket");
    g.send_unix(socket, &a_name(), b"x");
    let (_folder, path) = a_path();
    g.send_unix(socket, &path, b"x");
    let listener = listen(g, &a_name());
    let name = g.unix_name(listener);
    g.send_unix(socket, &name, b"x");
    let name = g.unix_name(socket);
    g.connect_unix(&name);
    // At a path the type is looked at, and told.
    let (_folder, path) = a_path();
    listen(g, &path);
    g.send_unix(socket, &path, b"x");
    let (_folder, path) = a_path();
    g.bind_unix(&path, &options);
    g.connect_unix(&path);
    // Nothing stands for a socket without a name.
    g.send_unix(socket, &UnixName::UNNAMED, b"x");
    g.send_to(socket, "192.0.2.1:9".parse().unwrap(), b"x");
}

pub(crate) fn a_full_queue_of_datagrams<B: Backend>(g: &mut Ground<'_, B>) {
    let options = UnixDatagramOptions::default();
    let (one, other) = (a_name(), a_name());
    let a = g.bind_unix(&one, &options).expect("a socket");
    let b = g.bind_unix(&other, &options).expect("a socket");
    for _ in 0..11 {
        g.send_unix(a, &other, b"fits");
    }
    g.send_unix(a, &other, b"too many");
    g.receive_unix(b, &one);
    g.send_unix(a, &other, b"fits again");
}

pub(crate) fn a_connected_socket_hears_its_peer_only<B: Backend>(g: &mut Ground<'_, B>) {
    let options = UnixDatagramOptions::default();
    let (one, other) = (a_name(), a_name());
    let a = g.bind_unix(&one, &options).expect("a socket");
    let connected = UnixDatagramOptions {
        connect: Some(one),
        ..UnixDatagramOptions::default()
    };
    let b = g.bind_unix(&other, &connected).expect("a socket");
    let stranger = g.bind_unix(&a_name(), &options).expect("a socket");
    g.send(b, Outgoing::connected(b"to the peer"));
    g.receive_unix(a, &other);
    g.send_unix(a, &other, b"from the peer");
    g.send_unix(stranger, &other, b"from elsewhere");
    g.receive_unix(b, &one);
    let nobody = UnixDatagramOptions {
        connect: Some(a_name()),
        ..UnixDatagramOptions::default()
    };
    g.bind_unix(&a_name(), &nobody);
}
