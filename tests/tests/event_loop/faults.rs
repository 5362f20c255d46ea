//! Errors that pass, ends that are no ends, memory that has a bound in all.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sockeye_event_loop::codec::{FrameService, FrameStream, Framed, LengthPrefixed, Width};
use sockeye_event_loop::{
    ConnectRequest, LoopOptions, Sent, StreamId, StreamOption, StreamOptions, Watermarks,
};
use sockeye_sim::Call;
use sockeye_tests::pattern;

use crate::probe::{Log, Probe, Served, Told};
use crate::world::{Simulated, World};

in_all_worlds!(
    a_relay_tells_what_went_through_it,
    a_reset_of_a_connection_that_waits_for_room_is_told_at_once,
    a_file_without_sendfile_is_read_and_written,
    nothing_is_offered_before_what_was_wanted_is_there,
    the_end_offers_less_than_what_was_wanted,
    what_is_wanted_holds_once,
    frames_of_eight_megabytes_arrive_whole_and_in_order;
    on_two_loops:
    accepting_waits_for_memory;
    by_ip_only:
    a_deadline_of_one_side_of_a_relay_resets_the_other,
    a_directory_is_no_file_to_send,
    a_file_cut_while_it_is_sent_is_a_reset,
    half_an_upload_through_a_relay_does_not_look_whole,
    peers_that_never_read_share_one_budget,
    a_reset_of_a_paused_connection_is_told_at_once,
);

fn echo() -> Probe {
    Probe::new().data(|stream, data| {
        if stream.write(data).is_taken() {
            data.len()
        } else {
            0
        }
    })
}

/// A relay on the server's loop to `to`.
fn relay<W: World>(world: &mut W, to: SocketAddr, options: StreamOptions) -> (Log, SocketAddr) {
    let request = world.request(to).tag(1);
    let front: Rc<Cell<Option<StreamId>>> = Rc::default();
    let probe = Probe::new().open(move |stream| {
        if stream.tag() == 0 {
            stream.pause();
            front.set(Some(stream.id()));
            stream.context().connect(request.clone());
        } else {
            assert!(stream.join(front.take().unwrap()));
        }
    });
    let log = probe.log.clone();
    let handle = world.server().add_stream_service(probe, options);
    let at = world.listen(handle);
    (log, at)
}

fn abort<W: World>(world: &mut W, client: &Served) {
    let id = client.log.id(0);
    world
        .client()
        .with(client.handle, |_, context| context.stream(id).unwrap().abort());
}

fn half_an_upload_through_a_relay_does_not_look_whole<W: World>() {
    let mut world = W::new();
    let (server, target) = Probe::new().serve(&mut world, StreamOptions::default());
    let (relayed, at) = relay(&mut world, target, StreamOptions::default());
    let client = Probe::new()
        .open(|stream| assert!(stream.write(b"half of a docu").is_taken()))
        .connect(&mut world, at);
    let s = server.log.clone();
    world.until("the first half", || s.received_len(0) == 14);
    abort(&mut world, &client);
    world.until("the end", || {
        s.has(&Told::Dropped) && relayed.count(&Told::Dropped) == 2
    });
    assert_eq!(server.log.closes(), ["error"], "a reset, as the client's own was");
    assert!(!server.log.has(&Told::Eof));
    let mut closes = relayed.closes();
    closes.sort();
    assert_eq!(closes, ["error", "partner reset"]);
    assert_eq!(world.server().open_streams(), 0);
}

fn a_relay_tells_what_went_through_it<W: World>() {
    let mut world = W::new();
    let (server, target) = Probe::new()
        .eof(|stream| {
            assert!(stream.write(&pattern(70_000)).is_taken());
            stream.close();
        })
        .serve(&mut world, StreamOptions::default());
    let (relayed, at) = relay(&mut world, target, StreamOptions::default());
    let client = Probe::new()
        .open(|stream| {
            assert!(stream.write(&pattern(300_000)).is_taken());
            stream.shutdown_write();
        })
        .connect(&mut world, at);
    let c = client.log.clone();
    world.until("the end", || {
        c.has(&Told::Dropped) && relayed.count(&Told::Dropped) == 2
    });
    assert!(server.log.received(0) == pattern(300_000) && client.log.received(0) == pattern(70_000));
    assert_eq!(relayed.closes(), ["closed", "closed"]);
    let told: Vec<_> = relayed.all();
    assert!(
        told.contains(&Told::Relayed(300_000, 70_000)),
        "the front: {told:?}"
    );
    assert!(
        told.contains(&Told::Relayed(70_000, 300_000)),
        "the back: {told:?}"
    );
}

fn a_deadline_of_one_side_of_a_relay_resets_the_other<W: World>() {
    let mut world = W::new();
    let (server, target) = Probe::new().serve(&mut world, StreamOptions::default());
    let mut options = StreamOptions::default();
    options.deadlines.idle = Some(Duration::from_millis(30));
    let (relayed, at) = relay(&mut world, target, options);
    let client = Probe::new()
        .open(|stream| assert!(stream.write(b"begun").is_taken()))
        .connect(&mut world, at);
    let (s, c) = (server.log.clone(), client.log.clone());
    world.until("the end", || {
        s.has(&Told::Dropped) && c.has(&Told::Dropped) && relayed.count(&Told::Dropped) == 2
    });
    // Which of the two is given up first decides who sees the reset; that a half-told story ends in order does not.
    let mut closes = relayed.closes();
    closes.sort();
    assert_eq!(closes, ["idle deadline", "partner reset"]);
    assert!([server.log.closes(), client.log.closes()].contains(&vec!["error".to_owned()]));
}

fn a_reset_of_a_paused_connection_is_told_at_once<W: World>() {
    let mut world = W::new();
    let (server, at) = Probe::new()
        .open(|stream| stream.pause())
        .serve(&mut world, StreamOptions::default());
    let client = Probe::new()
        .open(|stream| assert!(stream.write(b"arrived and never read").is_taken()))
        .connect(&mut world, at);
    let (s, c) = (server.log.clone(), client.log.clone());
    world.until("open", || s.opened() == 1 && c.opened() == 1);
    world.pass(Duration::from_millis(5));
    abort(&mut world, &client);
    world.until("told, though nobody reads", || s.has(&Told::Dropped));
    assert_eq!(server.log.closes(), ["error"]);
    assert_eq!(server.log.received_len(0), 0);
}

fn a_reset_of_a_connection_that_waits_for_room_is_told_at_once<W: World>() {
    let mut world = W::new();
    let (server, at) = echo().serve(&mut world, StreamOptions::default());
    let client = Probe::new()
        .open(|stream| {
            stream.pause();
            stream.set_timer(Duration::ZERO, 0);
        })
        .timer(|stream, _| while stream.write(&[7; 100_000]).is_taken() {})
        .connect(&mut world, at);
    let s = server.log.clone();
    let mut before = 0;
    // Until the whole way is full: nothing moves any more.
    loop {
        world.pass(Duration::from_millis(20));
        if s.received_len(0) == before && before > 0 {
            break;
        }
        before = s.received_len(0);
    }
    abort(&mut world, &client);
    world.until("told", || s.has(&Told::Dropped));
    assert_eq!(server.log.closes(), ["error"]);
    assert_eq!(world.server().stats().memory, 0, "what was kept is given back");
}

fn file_of(bytes: &[u8]) -> Arc<File> {
    use std::io::Write as _;
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Arc::new(file)
}

fn a_file_cut_while_it_is_sent_is_a_reset<W: World>() {
    let mut world = W::new();
    let file = file_of(&pattern(40_000_000));
    let shorter = Arc::clone(&file);
    let (server, at) = Probe::new()
        .open(move |stream| {
            assert!(stream.send_file(&file, 0, 40_000_000).is_taken());
            stream.close();
        })
        .serve(&mut world, StreamOptions::default());
    let client = Probe::new().open(|stream| stream.pause()).connect(&mut world, at);
    let (s, c) = (server.log.clone(), client.log.clone());
    world.until("open", || s.opened() == 1 && c.opened() == 1);
    world.pass(Duration::from_millis(5));
    shorter.set_len(1_000).unwrap();
    let id = client.log.id(0);
    world
        .client()
        .with(client.handle, |_, context| context.stream(id).unwrap().resume());
    world.until("the end", || s.has(&Told::Dropped) && c.has(&Told::Dropped));
    assert_eq!(
        (server.log.closes(), client.log.closes()),
        (vec!["error".into()], vec!["error".into()])
    );
    assert!(!client.log.has(&Told::Eof), "what arrived does not look whole");
}

fn a_file_without_sendfile_is_read_and_written<W: World>() {
    let mut world = W::new();
    let expected = std::fs::read("/proc/version").unwrap();
    let len = expected.len() as u64;
    let file = Arc::new(File::open("/proc/version").unwrap());
    let (_, at) = Probe::new()
        .open(move |stream| {
            assert!(stream.write(b"head:").is_taken());
            assert!(stream.send_file(&file, 3, len - 3).is_taken());
            assert!(stream.write(b":tail").is_taken());
            stream.close();
        })
        .serve(&mut world, StreamOptions::default());
    let client = Probe::new().connect(&mut world, at);
    let c = client.log.clone();
    world.until("the end", || c.has(&Told::Dropped));
    assert_eq!(
        client.log.received(0),
        [b"head:", &expected[3..], b":tail"].concat()
    );
    assert_eq!(client.log.closes(), ["closed"]);
}

fn a_directory_is_no_file_to_send<W: World>() {
    let mut world = W::new();
    let file = Arc::new(File::open("/proc").unwrap());
    let (server, at) = Probe::new()
        .data(move |stream, data| {
            assert_eq!(stream.send_file(&file, 0, 10), Sent::Gone);
            data.len()
        })
        .serve(&mut world, StreamOptions::default());
    let client = Probe::new()
        .open(|stream| assert!(stream.write(b"please").is_taken()))
        .connect(&mut world, at);
    let (s, c) = (server.log.clone(), client.log.clone());
    world.until("the end", || s.has(&Told::Dropped) && c.has(&Told::Dropped));
    assert_eq!(
        (server.log.closes(), client.log.closes()),
        (vec!["error".into()], vec!["error".into()])
    );
}

/// Sends the pieces one after another, a millisecond apart, and its end if it is to.
fn sender(pieces: Vec<Vec<u8>>, end: bool) -> Probe {
    let pieces = RefCell::new(pieces.into_iter());
    Probe::new()
        .open(|stream| {
            stream.set_timer(Duration::ZERO, 0);
        })
        .timer(move |stream, _| match pieces.borrow_mut().next() {
            Some(piece) => {
                assert!(stream.write(&piece).is_taken());
                stream.set_timer(Duration::from_millis(1), 0);
            }
            None if end => stream.shutdown_write(),
            None => {}
        })
}

fn nothing_is_offered_before_what_was_wanted_is_there<W: World>() {
    for wanted in [300, 20_000] {
        let mut world = W::new();
        let (server, at) = Probe::new()
            .data(move |stream, data| {
                stream.want(wanted);
                if data.len() < wanted { 0 } else { wanted }
            })
            .serve(&mut world, StreamOptions::default());
        let pieces = pattern(3 * wanted)
            .chunks(wanted / 10)
            .map(<[u8]>::to_vec)
            .collect();
        sender(pieces, false).connect(&mut world, at);
        let s = server.log.clone();
        world.until("three times", || s.received_len(0) == 3 * wanted);
        assert!(server.log.received(0) == pattern(3 * wanted));
        for told in server.log.all() {
            if let Told::Data(len) = told {
                // The first piece of each comes without anything being known.
                assert!(
                    len <= wanted / 10 || len >= wanted,
                    "{len} bytes of {wanted} were offered"
                );
            }
        }
    }
}

fn the_end_offers_less_than_what_was_wanted<W: World>() {
    let mut world = W::new();
    let (server, at) = Probe::new()
        .data(|stream, _| {
            stream.want(1_000);
            0
        })
        .eof(|stream| stream.close())
        .serve(&mut world, StreamOptions::default());
    sender(vec![vec![1; 100], vec![2; 100]], true).connect(&mut world, at);
    let s = server.log.clone();
    world.until("the end", || s.has(&Told::Dropped));
    let data: Vec<_> = server
        .log
        .of(0)
        .into_iter()
        .filter(|told| matches!(told, Told::Data(_) | Told::Eof))
        .collect();
    assert_eq!(data, [Told::Data(100), Told::Data(200), Told::Eof]);
}

fn what_is_wanted_holds_once<W: World>() {
    let mut world = W::new();
    let calls = Rc::new(Cell::new(0));
    let count = Rc::clone(&calls);
    let (server, at) = Probe::new()
        .data(move |stream, data| {
            count.set(count.get() + 1);
            if count.get() == 1 {
                // All is consumed: it waits for nothing.
                stream.want(1_000_000);
                return data.len();
            }
            0
        })
        .serve(&mut world, StreamOptions::default());
    sender(vec![vec![1; 10]; 5], false).connect(&mut world, at);
    let s = server.log.clone();
    world.until("each piece", || calls.get() == 5);
    assert_eq!(s.received_len(0), 10);
    assert!(
        s.has(&Told::Data(40)),
        "a later call does not inherit what an earlier one wanted"
    );
}

struct Frames {
    frames: Rc<RefCell<Vec<Vec<u8>>>>,
    error: Rc<Cell<bool>>,
}

impl FrameService for Frames {
    type Conn = ();

    fn on_open(&mut self, _: &mut FrameStream<'_, '_>) {}

    fn on_frame(&mut self, _: &mut FrameStream<'_, '_>, (): &mut (), frame: &mut [u8]) {
        self.frames.borrow_mut().push(frame.to_vec());
    }

    fn on_frame_error(
        &mut self,
        _: &mut FrameStream<'_, '_>,
        (): &mut (),
        _: sockeye_event_loop::codec::FrameError,
    ) {
        self.error.set(true);
    }
}

fn frames_of_eight_megabytes_arrive_whole_and_in_order<W: World>() {
    const LEN: usize = 8 << 20;
    let mut world = W::new();
    let frames: Rc<RefCell<Vec<Vec<u8>>>> = Rc::default();
    let service = Framed::new(
        LengthPrefixed::new(Width::Four, LEN),
        Frames {
            frames: Rc::clone(&frames),
            error: Rc::default(),
        },
    );
    let options = StreamOptions {
        watermarks: Watermarks {
            max_tail: LEN + 4,
            ..Watermarks::default()
        },
        ..StreamOptions::default()
    };
    let handle = world.server().add_stream_service(service, options);
    let at = world.listen(handle);
    let mut bytes = Vec::new();
    for (number, len) in [(1_u8, LEN), (2, 3), (3, LEN - 5), (4, 0), (5, 70_000)] {
        bytes.extend_from_slice(&u32::try_from(len).unwrap().to_be_bytes());
        let mut frame = pattern(len);
        frame.iter_mut().for_each(|byte| *byte ^= number);
        bytes.extend_from_slice(&frame);
    }
    let options = StreamOptions {
        watermarks: Watermarks {
            max_write: bytes.len(),
            ..Watermarks::default()
        },
        ..StreamOptions::default()
    };
    let request = world.request(at);
    Probe::new()
        .open(move |stream| assert!(stream.write(&bytes).is_taken()))
        .connect_with(&mut world, request, options);
    world.until("five frames", || frames.borrow().len() == 5);
    let mut lens = Vec::new();
    for (number, frame) in (1_u8..).zip(frames.borrow().iter()) {
        let mut expected = pattern(frame.len());
        expected.iter_mut().for_each(|byte| *byte ^= number);
        assert!(*frame == expected, "frame {number}");
        lens.push(frame.len());
    }
    assert_eq!(lens, [LEN, 3, LEN - 5, 0, 70_000]);
    // It waits a while for another long frame.
    for _ in 0..2_000 {
        if world.server().stats().memory == 0 {
            return;
        }
        world.pass(Duration::from_millis(10));
    }
    panic!("the memory is not given back: {:?}", world.server().stats());
}

/// Sends without end and never reads.
fn glutton() -> Probe {
    Probe::new()
        .open(|stream| {
            stream.pause();
            stream.set_timer(Duration::ZERO, 0);
        })
        .timer(|stream, _| while stream.write(&[7; 50_000]).is_taken() {})
        .writable(|stream| while stream.write(&[7; 50_000]).is_taken() {})
}

/// Buffers of the kernel that do not grow. By itself it gives megabytes to each end of a connection that stands still: for
/// 180 of them more than a gigabyte, which takes seconds to fill and is most of what all programs on the machine share
/// (`tcp_mem`).
fn small_buffers() -> StreamOptions {
    StreamOptions {
        socket: vec![
            StreamOption::SendBuffer(32 * 1024),
            StreamOption::RecvBuffer(128 * 1024),
        ],
        ..StreamOptions::default()
    }
}

fn peers_that_never_read_share_one_budget<W: World>() {
    const BUDGET: usize = 4 << 20;
    let options = LoopOptions {
        memory_budget: BUDGET,
        ..LoopOptions::default()
    };
    let mut world = W::with(options);
    let (server, at) = echo().serve(&mut world, small_buffers());
    let healthy = Probe::new()
        .open(|stream| {
            let _ = stream.write(b"ping");
        })
        .data(|stream, data| {
            if stream.write(data).is_taken() {
                data.len()
            } else {
                0
            }
        })
        .connect(&mut world, at);
    // Each comes to keep about 50 KB before it is not read from any more: far more in all than the budget.
    for _ in 0..180 {
        let request = world.request(at);
        glutton().connect_with(&mut world, request, small_buffers());
    }
    let h = healthy.log.clone();
    let s = server.log.clone();
    world.until("all are open", || s.opened() == 181);
    // Long enough for those that stand still to be noticed.
    for _ in 0..30 {
        let before = h.received_len(0);
        world.until("the healthy one is served", || h.received_len(0) > before + 400);
        world.pass(Duration::from_millis(50));
    }
    let stats = world.server().stats();
    assert!(stats.memory_peak <= (BUDGET + BUDGET / 4) as u64, "{stats:?}");
    assert!(stats.memory_resets > 0, "{stats:?}");
    assert_eq!(
        stats.memory_resets,
        s.closes().iter().filter(|why| *why == "memory budget").count() as u64
    );
    assert!(!h.has(&Told::Dropped), "who reads what it is sent is not touched");
}

fn accepting_waits_for_memory<W: World>() {
    const BUDGET: usize = 1 << 20;
    let options = LoopOptions {
        memory_budget: BUDGET,
        ..LoopOptions::default()
    };
    let mut world = W::with(options);
    let marks = Watermarks {
        max_tail: BUDGET,
        ..Watermarks::default()
    };
    // Keeps what it is sent: a tail that no write mark bounds.
    let (server, at) = Probe::new().data(|_, _| 0).serve(
        &mut world,
        StreamOptions {
            watermarks: marks,
            ..StreamOptions::default()
        },
    );
    let full = Probe::new()
        .open(|stream| assert!(stream.write(&pattern(1_000_000)).is_taken()))
        .connect(&mut world, at);
    let f = full.log.clone();
    world.until("open", || f.opened() == 1);
    // How much room the growing tail takes depends on how the bytes come: it may be too much at once.
    world.until("nearly full", {
        let s = server.log.clone();
        move || {
            let much = |told: &Told| matches!(told, Told::Data(len) if *len > 930_000);
            s.all().iter().any(much) || s.has(&Told::Dropped)
        }
    });
    let late = Probe::new()
        .open(|stream| assert!(stream.write(b"hello").is_taken()))
        .connect(&mut world, at);
    let (s, l) = (server.log.clone(), late.log.clone());
    // It waits in the backlog until the one that stands still has been given up.
    world.until("served", || {
        s.opened() == 2 && l.opened() == 1 && s.closes() == ["memory budget"]
    });
}

/// What a call of a stream may fail with in passing.
const PASSING: [i32; 3] = [
    sockeye_socket::errno::EINTR,
    sockeye_socket::errno::ENOBUFS,
    sockeye_socket::errno::ENOMEM,
];

#[test]
fn passing_errors_of_reads_and_writes_lose_nothing() {
    for call in [Call::Read, Call::Write] {
        for errno in PASSING {
            for times in [1, 3, 40] {
                let mut world = Simulated::new();
                let options = StreamOptions {
                    close_timeout: Duration::from_secs(3_600),
                    ..StreamOptions::default()
                };
                let (server, at) = echo().serve(&mut world, options);
                let client = Probe::new()
                    .open(|stream| {
                        stream.set_timer(Duration::from_millis(1), 0);
                    })
                    .timer(|stream, _| {
                        assert!(stream.write(&pattern(100_000)).is_taken());
                        stream.shutdown_write();
                    })
                    .eof(|stream| stream.close())
                    .connect(&mut world, at);
                let (s, c) = (server.log.clone(), client.log.clone());
                world.until("open", || s.opened() == 1 && c.opened() == 1);
                world.fail_at_the_server(call, times, errno);
                world.until("the end", || c.has(&Told::Dropped));
                assert!(c.received(0) == pattern(100_000), "{call:?} {errno} {times}");
                assert_eq!(
                    (c.closes(), server.log.closes()),
                    (vec!["closed".into()], vec!["closed".into()])
                );
                let stats = world.server().stats();
                assert!(
                    errno == sockeye_socket::errno::EINTR || stats.put_off > 0,
                    "{call:?} {errno} {times} {stats:?}"
                );
                assert!(stats.put_off <= u64::from(times));
            }
        }
    }
}

#[test]
fn reads_and_writes_that_fail_for_ever_end_by_the_deadline_and_do_not_spin() {
    for (call, which) in [
        (Call::Read, "read deadline"),
        (Call::Write, "write-stall deadline"),
    ] {
        for errno in PASSING {
            let mut world = Simulated::new();
            let mut options = StreamOptions::default();
            match call {
                Call::Read => options.deadlines.read = Some(Duration::from_secs(5)),
                _ => options.deadlines.write_stall = Some(Duration::from_secs(5)),
            }
            let (server, at) = echo().serve(&mut world, options);
            let client = Probe::new()
                .open(|stream| {
                    stream.set_timer(Duration::from_millis(1), 0);
                })
                .timer(|stream, _| assert!(stream.write(b"hello").is_taken()))
                .connect(&mut world, at);
            let (s, c) = (server.log.clone(), client.log.clone());
            world.until("open", || s.opened() == 1 && c.opened() == 1);
            world.fail_at_the_server(call, 10_000, errno);
            world.until("the end", || s.has(&Told::Dropped));
            assert_eq!(s.closes(), [which]);
            let stats = world.server().stats();
            assert!(stats.turns < 500, "{call:?} {errno}: {stats:?}");
        }
    }
}

#[test]
fn an_accept_that_is_refused_for_ever_backs_off_and_is_told() {
    use sockeye_socket::errno::{EACCES, ECONNABORTED, EMFILE, EPERM};
    for errno in [EPERM, EACCES, ECONNABORTED, EMFILE] {
        let mut world = Simulated::new();
        let (server, at) = Probe::new().serve(&mut world, StreamOptions::default());
        world.fail_at_the_server(Call::Accept, 3_000, errno);
        Probe::new().connect(&mut world, at);
        world.pass(Duration::from_secs(5));
        let stats = world.server().stats();
        assert!(stats.turns < 500, "errno {errno}: {stats:?}");
        assert!(
            stats.accept_errors > 10 && stats.accept_back_offs > 10,
            "{stats:?}"
        );
        assert!(
            !server
                .log
                .all()
                .iter()
                .any(|told| matches!(told, Told::ListenerLost(_)))
        );
        // Once it is allowed again, who waited is served.
        let s = server.log.clone();
        world.until("accepted", || s.opened() == 1);
    }
}

#[test]
fn a_listener_that_is_lost_is_told() {
    use sockeye_socket::errno::{EBADF, EINVAL};
    for errno in [EINVAL, EBADF] {
        let mut world = Simulated::new();
        let (server, at) = Probe::new().serve(&mut world, StreamOptions::default());
        let before = Probe::new().connect(&mut world, at);
        let (s, b) = (server.log.clone(), before.log.clone());
        world.until("open", || s.opened() == 1 && b.opened() == 1);
        world.fail_at_the_server(Call::Accept, 1, errno);
        Probe::new().connect(&mut world, at);
        let lost = |told: &Told| matches!(told, Told::ListenerLost(_));
        world.until("told", || s.all().iter().any(lost));
        world.pass(Duration::from_millis(100));
        assert_eq!(s.all().iter().filter(|told| lost(told)).count(), 1);
        assert_eq!(world.server().stats().listeners_lost, 1);
        assert!(!s.has(&Told::Dropped), "connections that stood go on");
    }
}

/// Each call of a host, failing for ever with each error that it may have: no loop turns without end.
#[test]
fn no_error_makes_a_loop_spin() {
    use sockeye_socket::errno as e;
    let errors = [
        e::EINTR,
        e::ENOBUFS,
        e::ENOMEM,
        e::EMFILE,
        e::EPERM,
        e::EACCES,
        e::EINVAL,
        e::EBADF,
        e::ECONNRESET,
        e::EPIPE,
        e::ENETUNREACH,
        e::ECONNABORTED,
        5,
    ];
    for call in Call::ALL {
        for errno in errors {
            let mut world = Simulated::new();
            let (_, at) = echo().serve(&mut world, StreamOptions::default());
            let service = world
                .server()
                .add_stream_service(Probe::new(), StreamOptions::default());
            world.server().connect(service, ConnectRequest::new(at));
            let client = Probe::new()
                .open(|stream| {
                    stream.set_timer(Duration::from_millis(2), 0);
                })
                .timer(|stream, _| {
                    let _ = stream.write(b"hello");
                    stream.set_timer(Duration::from_millis(500), 0);
                })
                .connect(&mut world, at);
            world.pass(Duration::from_millis(1));
            world.fail_at_the_server(call, 5_000, errno);
            world.pass(Duration::from_secs(20));
            let stats = world.server().stats();
            assert!(stats.turns < 2_500, "{call:?} {errno}: {stats:?}");
            drop(client);
        }
    }
}
