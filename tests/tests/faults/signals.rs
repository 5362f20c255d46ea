//! Signals: in the middle of every call, and the one that ends who writes to nobody.

use std::rc::Rc;
use std::sync::Arc;

use sockeye_event_loop::{ConnectRequest, Stream, StreamOptions};
use sockeye_tests::pattern;

use crate::ground::{alone, asker, injected, is_served, serve_echo};
use crate::probe::{Probe, Told};
use crate::world::{OnKernel, Simulated, World};

fn nothing() {}

/// A handler that does nothing, without SA_RESTART, so that every call that can be interrupted is, every `micros`.
fn storm(micros: i32) {
    extern "C" fn handler(_: libc::c_int) {
        nothing();
    }
    // SAFETY: an all-zero sigaction is valid: no flags, an empty mask.
    #[expect(unsafe_code, reason = "std has no sigaction")]
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as extern "C" fn(libc::c_int) as usize;
    let every = libc::timeval {
        tv_sec: 0,
        tv_usec: micros.into(),
    };
    let timer = libc::itimerval {
        it_interval: every,
        it_value: every,
    };
    // SAFETY: it reads one struct that lives for the call; the handler touches nothing.
    #[expect(unsafe_code, reason = "std has no sigaction")]
    let done = unsafe { libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()) };
    assert_eq!(done, 0);
    // SAFETY: it reads one struct that lives for the call.
    #[expect(unsafe_code, reason = "std has no setitimer")]
    let done = unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
    assert_eq!(done, 0);
}

fn echoes<W: World>(world: &mut W) {
    let data = pattern(2_000_000);
    let (server, at) = serve_echo(world);
    let clients: Vec<_> = (0..4).map(|_| asker(data.clone()).connect(world, at)).collect();
    world.until("all answers", || {
        clients.iter().all(|client| client.log.has(&Told::Dropped))
    });
    for client in &clients {
        assert!(client.log.received(0) == data);
        assert_eq!(client.log.closes(), ["closed"]);
    }
    let s = server.log.clone();
    world.until("the end", || s.count(&Told::Dropped) == 4);
    assert_eq!(world.server().stats().panics, 0);
}

/// A signal every 50 microseconds.
#[test]
fn a_storm_of_signals_changes_nothing() {
    alone("signals::a_storm_of_signals_changes_nothing", || {
        storm(50);
        echoes(&mut OnKernel::new());
        storm(0);
    });
}

/// Every second call of each kind is interrupted.
#[test]
fn calls_that_are_interrupted_are_made_again() {
    let injects = [
        "epoll_wait:error=EINTR:when=1+2",
        "recvfrom:error=EINTR:when=1+2",
        "sendto:error=EINTR:when=1+2",
        "accept4:error=EINTR:when=1+2",
    ];
    injected(
        "signals::calls_that_are_interrupted_are_made_again",
        &injects,
        || echoes(&mut OnKernel::new()),
    );
}

#[test]
fn calls_that_are_interrupted_are_made_again_simulated() {
    for ppm in [1_000, 500_000, 900_000] {
        let mut world = Simulated::new();
        let (sim, left, right) = world.parts();
        sim.set_interrupts(left, ppm);
        sim.set_interrupts(right, ppm);
        echoes(&mut world);
    }
}

/// A host program has set SIGPIPE to its default, which is to end the program. Writes, files and relays meet connections that
/// are reset: nothing raises it.
#[test]
fn nothing_raises_sigpipe() {
    alone("signals::nothing_raises_sigpipe", || {
        // SAFETY: the default action needs no handler.
        #[expect(unsafe_code, reason = "std ignores SIGPIPE, a host program may not")]
        unsafe {
            libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        }
        let mut world = OnKernel::new();
        let (_, echo_at) = serve_echo(&mut world);
        let file = {
            use std::io::Write as _;
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&pattern(4_000_000)).unwrap();
            Arc::new(file)
        };
        let push = |stream: &mut Stream<'_>| while stream.write(&[7; 60_000]).is_taken() {};
        let (writes, writes_at) = Probe::new()
            .open(push)
            .writable(push)
            .serve(&mut world, StreamOptions::default());
        let (files, files_at) = Probe::new()
            .open(move |stream| {
                let _ = stream.send_file(&file, 0, 4_000_000);
            })
            .serve(&mut world, StreamOptions::default());
        let front = Rc::new(std::cell::Cell::new(None));
        let (relays, relay_at) = Probe::new()
            .open(move |stream| {
                if stream.tag() == 0 {
                    stream.pause();
                    front.set(Some(stream.id()));
                    stream.context().connect(ConnectRequest::new(writes_at).tag(1));
                } else if let Some(front) = front.take() {
                    let _ = stream.join(front);
                }
            })
            .serve(&mut world, StreamOptions::default());
        for at in [writes_at, files_at, relay_at] {
            for _ in 0..20 {
                let client = Probe::new()
                    .data(|stream, data| {
                        stream.abort();
                        data.len()
                    })
                    .connect(&mut world, at);
                let log = client.log.clone();
                world.until("reset by the client", || log.has(&Told::Dropped));
            }
        }
        let over = |log: &crate::probe::Log| log.closes().len() >= log.opened() && log.opened() >= 20;
        let (w, f, r) = (writes.log.clone(), files.log.clone(), relays.log.clone());
        world.until("all over", || over(&w) && over(&f) && over(&r));
        is_served(&mut world, echo_at);
    });
}
