//! What a peer sees of a connection that the kernel did not let the loop keep: a reset, never an end in order, which would
//! say that all has come. Found by `cargo xtask torture`.

use sockeye_event_loop::StreamOptions;
use sockeye_sim::Call;

use crate::probe::{Log, Probe, Told};
use crate::world::{Simulated, World};

const ENOSPC: i32 = 28;
const EHOSTUNREACH: i32 = 113;

fn reasons(log: &Log) -> Vec<String> {
    log.0.borrow().reasons.clone()
}

/// epoll_ctl has no room (ENOSPC, ENOMEM) for a connection that was accepted.
#[test]
fn a_connection_without_a_place_in_the_poller_is_reset() {
    let mut world = Simulated::new();
    let (server, at) = Probe::new().serve(&mut world, StreamOptions::default());
    world.fail_at_the_server(Call::Register, 1, ENOSPC);
    let client = Probe::new().connect(&mut world, at);
    let log = client.log.clone();
    world.until("the end", || !reasons(&log).is_empty());
    assert_eq!(server.log.opened(), 0);
    assert!(!log.has(&Told::Eof), "{:?}", log.all());
    let [reason] = &reasons(&log)[..] else {
        panic!("{:?}", log.all());
    };
    assert!(
        reason.ends_with("Connection reset by peer (os error 104)"),
        "{reason}"
    );
    let stats = world.server().stats();
    assert_eq!((stats.accepted, stats.accept_errors), (0, 1));
}

/// An error that ends a connection on this side alone.
#[test]
fn a_connection_that_an_error_ended_is_reset() {
    for call in [Call::Read, Call::Write] {
        let mut world = Simulated::new();
        let (server, at) = Probe::new()
            .data(|stream, data| {
                let _ = stream.write(b"the first half");
                data.len()
            })
            .serve(&mut world, StreamOptions::default());
        let client = Probe::new()
            .open(|stream| assert!(stream.write(b"ask").is_taken()))
            .connect(&mut world, at);
        let (s, c) = (server.log.clone(), client.log.clone());
        world.until("open", || s.opened() == 1);
        world.fail_at_the_server(call, 1, EHOSTUNREACH);
        world.until("the end", || c.closes().len() == 1);
        assert_eq!(
            reasons(&server.log),
            ["No route to host (os error 113)"],
            "{call:?}"
        );
        assert!(!client.log.has(&Told::Eof), "{call:?}: {:?}", client.log.all());
        assert_eq!(
            reasons(&client.log),
            ["Connection reset by peer (os error 104)"],
            "{call:?}"
        );
    }
}
