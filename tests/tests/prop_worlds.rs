//! Calls by chance on the kernel and in the simulation: what each returns has to be the same in both.
//!
//! The conformance suite compares scenarios that somebody has thought of; here are those that nobody has. A difference is
//! shrunk to its shortest form, and becomes a scenario of the conformance suite with its mend.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what is not there fails the test"
)]
#![allow(
    unreachable_pub,
    dead_code,
    reason = "the ground of the conformance suite, of which a part is used"
)]

#[path = "conformance/descriptors.rs"]
mod descriptors;
#[path = "conformance/ground.rs"]
mod ground;
#[path = "conformance/worlds.rs"]
mod worlds;

use std::net::Shutdown;

use ground::{Ground, Name};
use proptest::prelude::*;
use sockeye_event_loop::Mio;
use sockeye_event_loop::backend::Backend;
use sockeye_event_loop::{DatagramOptions, ListenOptions, UnixListenOptions, UnixName};
use sockeye_sim::SimBackend;
use sockeye_tests::pattern;

/// A call on one of the two ends of a connection.
#[derive(Clone, Debug)]
enum OnStream {
    Write(usize),
    WriteVectored(usize, usize),
    /// With so much room.
    Read(usize),
    /// Everything that has arrived.
    ReadAll,
    Shutdown(u8),
    Abort,
    Drop,
    Peer,
    Progress,
    /// Out of the poller and into it again.
    Register,
}

fn on_stream() -> impl Strategy<Value = OnStream> {
    let len = prop_oneof![0..5_usize, 1..3_000_usize];
    prop_oneof![
        6 => len.clone().prop_map(OnStream::Write),
        1 => (len.clone(), len.clone()).prop_map(|(a, b)| OnStream::WriteVectored(a, b)),
        4 => len.prop_map(OnStream::Read),
        3 => Just(OnStream::ReadAll),
        3 => (0..3_u8).prop_map(OnStream::Shutdown),
        1 => Just(OnStream::Abort),
        1 => Just(OnStream::Drop),
        1 => Just(OnStream::Peer),
        1 => Just(OnStream::Progress),
        1 => Just(OnStream::Register),
    ]
}

/// Makes the call, lets everything that follows from it arrive, and says which events came.
fn call<B: Backend>(ground: &mut Ground<'_, B>, name: Name, other: Name, call: &OnStream) {
    match call {
        OnStream::Write(len) => ground.write(name, &pattern(*len)),
        OnStream::WriteVectored(a, b) => {
            let (a, b) = (pattern(*a), pattern(*b));
            ground.write_vectored(name, &[&a, &b]);
        }
        OnStream::Read(room) => ground.read_now(name, *room),
        OnStream::ReadAll => ground.read_now(name, 65_536),
        OnStream::Shutdown(how) => {
            let how = [Shutdown::Read, Shutdown::Write, Shutdown::Both][usize::from(*how)];
            ground.shutdown(name, how);
        }
        OnStream::Abort => ground.abort(name),
        OnStream::Drop => ground.drop(name),
        OnStream::Peer => ground.peer(name),
        OnStream::Progress => ground.progress(name),
        OnStream::Register => {
            ground.deregister(name);
            ground.register(name);
        }
    }
    ground.settle();
    // The kernel wakes more often than it has something new to tell, at moments that depend on its buffers: what a call causes
    // is compared, and what comes of itself is not.
    match call {
        OnStream::Write(1..)
        | OnStream::WriteVectored(..)
        | OnStream::Shutdown(1..)
        | OnStream::Abort
        | OnStream::Drop => ground.events_of(other, &["writable"]),
        OnStream::Register => ground.events_of(name, &["writable"]),
        _ => {}
    }
    ground.ignore_events();
}

/// A connection, and calls on both ends of it.
fn streams<B: Backend>(ground: &mut Ground<'_, B>, unix: bool, calls: &[(bool, OnStream)]) {
    let (client, server) = if unix { ground.unix_pair() } else { ground.pair() };
    for (near, what) in calls {
        let (name, other) = if *near { (client, server) } else { (server, client) };
        call(ground, name, other, what);
    }
    for name in [client, server] {
        ground.read_now(name, 1 << 20);
        ground.read_now(name, 1 << 20);
    }
}

/// What is done with a listener and with those who connect to it, before anything is said.
#[derive(Clone, Debug)]
enum OnListener {
    Connect,
    Accept,
    /// The n-th of those who have connected.
    AbortClient(usize),
    DropClient(usize),
    WriteClient(usize, usize),
    ReadAccepted(usize),
    DropAccepted(usize),
    CloseListener,
}

fn on_listener() -> impl Strategy<Value = OnListener> {
    prop_oneof![
        5 => Just(OnListener::Connect),
        4 => Just(OnListener::Accept),
        1 => (0..4_usize).prop_map(OnListener::AbortClient),
        1 => (0..4_usize).prop_map(OnListener::DropClient),
        2 => (0..4_usize, 1..100_usize).prop_map(|(nth, len)| OnListener::WriteClient(nth, len)),
        2 => (0..4_usize).prop_map(OnListener::ReadAccepted),
        1 => (0..4_usize).prop_map(OnListener::DropAccepted),
        1 => Just(OnListener::CloseListener),
    ]
}

fn listeners<B: Backend>(ground: &mut Ground<'_, B>, unix: bool, calls: &[OnListener]) {
    let listener = if unix {
        ground.listen_unix(&UnixName::UNNAMED, &UnixListenOptions::default())
    } else {
        ground.listen_with("127.0.0.1:0", &ListenOptions::default())
    }
    .expect("a listener");
    let at = (!unix).then(|| ground.addr(listener));
    let name = unix.then(|| ground.unix_name(listener));
    let (mut clients, mut accepted): (Vec<Name>, Vec<Name>) = (Vec::new(), Vec::new());
    for what in calls {
        match what {
            OnListener::Connect => {
                let client = match at {
                    Some(at) => ground.connect(at),
                    None => name.and_then(|name| ground.connect_unix(&name)),
                };
                if let Some(client) = client {
                    ground.settle();
                    ground.progress(client);
                    clients.push(client);
                }
            }
            OnListener::Accept => accepted.extend(ground.try_accept(listener)),
            OnListener::AbortClient(nth) => {
                if let Some(name) = clients.get(*nth) {
                    ground.abort(*name);
                }
            }
            OnListener::DropClient(nth) => {
                if let Some(name) = clients.get(*nth) {
                    ground.drop(*name);
                }
            }
            OnListener::WriteClient(nth, len) => {
                if let Some(name) = clients.get(*nth) {
                    ground.write(*name, &pattern(*len));
                }
            }
            OnListener::ReadAccepted(nth) => {
                if let Some(name) = accepted.get(*nth) {
                    ground.read_now(*name, 4_096);
                }
            }
            OnListener::DropAccepted(nth) => {
                if let Some(name) = accepted.get(*nth) {
                    ground.drop(*name);
                }
            }
            OnListener::CloseListener => ground.drop(listener),
        }
        ground.settle();
        ground.events_of(listener, &["writable"]);
    }
    for name in clients.into_iter().chain(accepted) {
        ground.read_now(name, 4_096);
        ground.events_of(name, &["writable"]);
    }
}

/// A call on one of three datagram sockets: two that know each other, and one whose peer is gone.
#[derive(Clone, Debug)]
enum OnDatagram {
    Send(usize, usize, usize),
    SendToNobody(usize, usize),
    Receive(usize),
    QueuedError(usize),
    Drop(usize),
}

fn on_datagram() -> impl Strategy<Value = OnDatagram> {
    let len = prop_oneof![0..3_usize, 1..2_000_usize, Just(65_507), Just(65_508)];
    prop_oneof![
        5 => (0..3_usize, 0..3_usize, len.clone()).prop_map(|(a, b, len)| OnDatagram::Send(a, b, len)),
        2 => (0..3_usize, len).prop_map(|(a, len)| OnDatagram::SendToNobody(a, len)),
        4 => (0..3_usize).prop_map(OnDatagram::Receive),
        2 => (0..3_usize).prop_map(OnDatagram::QueuedError),
        1 => (0..3_usize).prop_map(OnDatagram::Drop),
    ]
}

fn datagrams<B: Backend>(ground: &mut Ground<'_, B>, error_queue: bool, calls: &[OnDatagram]) {
    let options = DatagramOptions {
        error_queue,
        gro: false,
        ..DatagramOptions::default()
    };
    let nobody = ground.bind("127.0.0.1:0");
    let nobody_at = ground.addr(nobody);
    ground.drop(nobody);
    let sockets: Vec<Name> = (0..3)
        .map(|_| ground.bind_with("127.0.0.1:0", &options).expect("a socket"))
        .collect();
    let addresses: Vec<_> = sockets.iter().map(|name| ground.addr(*name)).collect();
    for what in calls {
        match what {
            OnDatagram::Send(from, to, len) => {
                ground.send_to(sockets[*from], addresses[*to], &pattern(*len));
            }
            OnDatagram::SendToNobody(from, len) => {
                ground.send_to(sockets[*from], nobody_at, &pattern(*len));
            }
            OnDatagram::Receive(at) => ground.receive_now(sockets[*at]),
            OnDatagram::QueuedError(at) => ground.drain_errors(sockets[*at]),
            OnDatagram::Drop(at) => ground.drop(sockets[*at]),
        }
        ground.settle();
        if let OnDatagram::Send(..) | OnDatagram::SendToNobody(..) = what {
            for name in &sockets {
                ground.events_of(*name, &["writable", "write-closed"]);
            }
        }
        ground.ignore_events();
    }
    for name in sockets {
        ground.receive_now(name);
    }
}

/// Runs it in both worlds and compares what was said.
fn compared(
    kernel: impl FnOnce(&mut Ground<'_, Mio>),
    simulated: impl FnOnce(&mut Ground<'_, SimBackend>),
) -> Result<(), TestCaseError> {
    let real = worlds::on_kernel(kernel);
    let simulation = worlds::in_simulation(simulated, None);
    prop_assert!(
        real == simulation,
        "K kernel, S simulation\n{}",
        worlds::difference(&real, &simulation)
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn prop_calls_on_a_connection_return_the_same(
        calls in proptest::collection::vec((any::<bool>(), on_stream()), 1..14),
    ) {
        compared(|ground| streams(ground, false, &calls), |ground| streams(ground, false, &calls))?;
    }

    #[test]
    fn prop_calls_on_a_unix_connection_return_the_same(
        calls in proptest::collection::vec((any::<bool>(), on_stream()), 1..14),
    ) {
        compared(|ground| streams(ground, true, &calls), |ground| streams(ground, true, &calls))?;
    }

    #[test]
    fn prop_calls_on_a_listener_return_the_same(
        unix in any::<bool>(),
        calls in proptest::collection::vec(on_listener(), 1..14),
    ) {
        compared(|ground| listeners(ground, unix, &calls), |ground| listeners(ground, unix, &calls))?;
    }

    #[test]
    fn prop_calls_on_datagram_sockets_return_the_same(
        error_queue in any::<bool>(),
        calls in proptest::collection::vec(on_datagram(), 1..14),
    ) {
        compared(
            |ground| datagrams(ground, error_queue, &calls),
            |ground| datagrams(ground, error_queue, &calls),
        )?;
    }
}
