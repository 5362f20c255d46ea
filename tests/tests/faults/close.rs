//! close: descriptors that come back at once, calls of the end that fail, registrations that are refused.

use std::cell::RefCell;
use std::process::Command;
use std::rc::Rc;

use libc as e;
use sockeye_event_loop::{ConnectRequest, ServiceHandle, StreamId, StreamOptions};
use sockeye_sim::Call;
use sockeye_tests::skip::{self, Need};
use sockeye_tests::wait::PATIENCE;
use sockeye_tests::{pattern, program};

use crate::ground::{again, asker, injected, is_child, is_served, leaks_nothing, passes, serve_echo};
use crate::probe::{Probe, Told};
use crate::world::{OnKernel, Simulated, World};

in_both_worlds!(
    a_descriptor_reused_within_a_batch_hears_nothing_of_the_old_one,
    what_was_written_before_the_close_arrives,
);

/// Forty connections are readable in one batch of events. The first one that is told resets all others and opens as many new
/// ones, which get their descriptors: no event of the old ones reaches the new ones.
fn a_descriptor_reused_within_a_batch_hears_nothing_of_the_old_one<W: World>() {
    const MANY: usize = 40;
    let mut world = W::new();
    let (_, echo_at) = serve_echo(&mut world);
    let ids: Rc<RefCell<Vec<StreamId>>> = Rc::default();
    let fresh = Probe::new().data(|_, data| panic!("{data:?} was never sent to it"));
    let fresh_log = fresh.log.clone();
    let fresh = world.server().add_stream_service(fresh, StreamOptions::default());
    let remote = world.server().remote();
    let (all, request) = (Rc::clone(&ids), world.request(echo_at));
    let (server, at) = Probe::new()
        .open({
            let ids = Rc::clone(&ids);
            move |stream| ids.borrow_mut().push(stream.id())
        })
        .data(move |stream, data| {
            let own = stream.id();
            for id in all.borrow_mut().drain(..).filter(|id| *id != own) {
                if let Some(mut other) = stream.other(id) {
                    other.abort();
                    connect_soon(&remote, fresh, request.clone());
                }
            }
            data.len()
        })
        .serve(&mut world, StreamOptions::default());
    let client = Probe::new();
    let log = client.log.clone();
    let handle = world
        .client()
        .add_stream_service(client, StreamOptions::default());
    for _ in 0..MANY {
        let request = world.request(at);
        world.client().connect(handle, request);
    }
    let s = server.log.clone();
    world.until("open", || s.opened() == MANY && log.opened() == MANY);
    let targets = log.0.borrow().opened.clone();
    world.client().with(handle, |_, context| {
        for id in targets {
            assert!(context.write(id, b"all at once").is_taken());
        }
    });
    world.until("the others are gone, new ones are there", || {
        s.closes().len() == MANY - 1 && fresh_log.opened() == MANY - 1
    });
    is_served(&mut world, echo_at);
    assert!(!fresh_log.has(&Told::Dropped), "{:?}", fresh_log.closes());
    assert_eq!(world.server().stats().panics, 0);
}

fn connect_soon(remote: &sockeye_event_loop::Remote, service: ServiceHandle<Probe>, request: ConnectRequest) {
    remote
        .with(service, move |_, context| {
            context.connect(request);
        })
        .unwrap();
}

/// Four megabytes are written and the connection is closed in the same callback; the reader is slow.
fn what_was_written_before_the_close_arrives<W: World>() {
    let mut world = W::new();
    let data = pattern(4_000_000);
    let mut options = StreamOptions::default();
    options.watermarks.max_write = data.len();
    let written = data.clone();
    let (server, at) = Probe::new()
        .open(move |stream| {
            assert!(stream.write(&written).is_taken());
            stream.close();
        })
        .serve(&mut world, options);
    let client = Probe::new()
        .open(|stream| stream.pause())
        .timer(|stream, _| stream.resume())
        .connect(&mut world, at);
    let (s, c) = (server.log.clone(), client.log.clone());
    world.until("open", || c.opened() == 1 && s.opened() == 1);
    world.pass(std::time::Duration::from_millis(20));
    assert!(!s.has(&Told::Dropped), "it waits for its reader");
    let id = c.id(0);
    world
        .client()
        .with(client.handle, |_, context| context.stream(id).unwrap().resume());
    world.until("the end", || c.has(&Told::Dropped) && s.has(&Told::Dropped));
    assert!(c.received(0) == data);
    assert_eq!(
        (s.closes(), c.closes()),
        (vec!["closed".into()], vec!["closed".into()])
    );
}

/// close(2) that closes and says EINTR or EIO all the same, as Linux does where a file system or a signal has it. strace would
/// fail the call without making it. It ends the program where a number is closed that is not open: a close that is made again.
const FAILING_CLOSE: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
int close(int fd) {
    static int calls;
    const char *text = getenv("SOCKEYE_CLOSE_ERRNO");
    if (fcntl(fd, F_GETFD) == -1 && errno == EBADF) {
        static const char words[] = "closed again\n";
        if (write(2, words, sizeof words - 1) < 0) {}
        abort();
    }
    int done = syscall(SYS_close, fd);
    if (done == 0 && text && ++calls % 2 == 0) {
        errno = atoi(text);
        return -1;
    }
    return done;
}
"#;

#[test]
fn an_error_of_close_is_not_repeated() {
    let name = "close::an_error_of_close_is_not_repeated";
    let body = || {
        let mut world = OnKernel::new();
        let (server, at) = serve_echo(&mut world);
        for _ in 0..40 {
            is_served(&mut world, at);
        }
        let s = server.log.clone();
        world.until("all are over", || s.closes().len() == 40);
        assert!(s.closes().iter().all(|why| why == "closed"), "{:?}", s.closes());
    };
    if is_child(name) {
        return leaks_nothing(body);
    }
    if !skip::require(&[Need::Program {
        name: "cc",
        package: "gcc",
    }]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (source, library) = (folder.path().join("close.c"), folder.path().join("close.so"));
    std::fs::write(&source, FAILING_CLOSE).unwrap();
    let mut compiler = Command::new("cc");
    compiler
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(&source);
    let compiled = program::output(&mut compiler, PATIENCE);
    assert!(compiled.status.success(), "{}", compiled.stderr);
    for errno in [e::EINTR, e::EIO] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        again(&mut command, name);
        command
            .env("LD_PRELOAD", &library)
            .env("SOCKEYE_CLOSE_ERRNO", errno.to_string());
        passes(&mut command, "a close that fails");
    }
}

/// shutdown(2) fails as it does when a reset has come first: the connection ends, once, others are served.
fn shutdown_fails<W: World>(world: &mut W) {
    let (server, at) = serve_echo(world);
    let client = asker(b"hello".to_vec()).connect(world, at);
    let (s, c) = (server.log.clone(), client.log.clone());
    world.until("over", || s.has(&Told::Dropped) && c.has(&Told::Dropped));
    assert_eq!((s.closes().len(), c.closes().len()), (1, 1));
    is_served(world, at);
    assert_eq!(world.server().open_streams(), 0);
}

#[test]
fn an_error_of_shutdown_ends_the_connection_simulated() {
    for errno in [e::ENOTCONN, e::EPIPE, e::ENOBUFS] {
        let mut world = Simulated::new();
        world.fail_at_the_server(Call::Shutdown, 1, errno);
        world.fail_at_the_client(Call::Shutdown, 1, errno);
        shutdown_fails(&mut world);
    }
}

#[test]
fn an_error_of_shutdown_ends_the_connection() {
    let injects = [
        "shutdown:error=ENOTCONN:when=1",
        "shutdown:error=EPIPE:when=1",
        "shutdown:error=ENOBUFS:when=1",
    ];
    injected(
        "close::an_error_of_shutdown_ends_the_connection",
        &injects,
        || shutdown_fails(&mut OnKernel::new()),
    );
}

fn is_over(told: &Told) -> bool {
    matches!(told, Told::ConnectFailed(_) | Told::Dropped)
}

/// One socket cannot be registered with the poller: it is closed or its connect fails, and everybody else is served.
fn a_registration_fails<W: World>(world: &mut W, at: std::net::SocketAddr) {
    let client = asker(b"hello".to_vec()).connect(world, at);
    let c = client.log.clone();
    world.until("over", || c.all().iter().any(is_over));
    for _ in 0..3 {
        is_served(world, at);
    }
    assert_eq!(world.client().stats().panics + world.server().stats().panics, 0);
}

#[test]
fn a_registration_that_is_refused_costs_its_socket_simulated() {
    for errno in [e::ENOSPC, e::ENOMEM] {
        for client in [true, false] {
            let mut world = Simulated::new();
            let (_, at) = serve_echo(&mut world);
            if client {
                world.fail_at_the_client(Call::Register, 1, errno);
            } else {
                world.fail_at_the_server(Call::Register, 1, errno);
            }
            a_registration_fails(&mut world, at);
            world.pass(std::time::Duration::from_secs(1));
            assert_eq!(
                (world.server().open_streams(), world.client().open_streams()),
                (0, 0)
            );
        }
    }
}

/// epoll_ctl(2) says ENOSPC: the user has no more watches (`fs.epoll.max_user_watches`).
#[test]
fn a_registration_that_is_refused_costs_its_socket() {
    // Those before are the loops' own: wakers, timers, the listener. There are some more than needed: later ones are of
    // connections that follow.
    let injects: Vec<String> = ["ENOSPC", "ENOMEM"]
        .iter()
        .flat_map(|error| (6..10).map(move |nth| format!("epoll_ctl:error={error}:when={nth}")))
        .collect();
    let injects: Vec<&str> = injects.iter().map(String::as_str).collect();
    injected(
        "close::a_registration_that_is_refused_costs_its_socket",
        &injects,
        || {
            let mut world = OnKernel::new();
            let (_, at) = serve_echo(&mut world);
            let client = asker(b"hello".to_vec()).connect(&mut world, at);
            let c = client.log.clone();
            world.until("over", || c.all().iter().any(is_over));
            let mut served = 0;
            for _ in 0..4 {
                let client = asker(b"hello".to_vec()).connect(&mut world, at);
                let c = client.log.clone();
                world.until("over", || c.all().iter().any(is_over));
                served += usize::from(c.received(0) == b"hello");
            }
            assert!(
                served >= 3,
                "one call that fails costs one connection: {served} of 4"
            );
        },
    );
}
