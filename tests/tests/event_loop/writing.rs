//! What writes answer, what waits, and who is told when there is room.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::Write as _;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sockeye_event_loop::{Sent, Stream, StreamOptions, Watermarks};
use sockeye_tests::pattern;
use sockeye_tests::wait::PATIENCE;

use crate::probe::{Probe, Served, Told};
use crate::world::World;

in_all_worlds!(
    answers_are_true_at_the_marks,
    small_marks_hold_for_gathered_writes_too,
    writable_is_told_exactly_when_owed,
    asking_for_room_that_is_there_is_answered,
    a_peer_that_never_reads_costs_no_more_than_the_marks,
    reading_goes_on_while_output_waits_and_stops_at_what_is_left,
    a_bulk_echo_with_small_marks_is_complete,
    a_write_from_another_connection_is_as_true,
    what_is_written_keeps_its_order,
    shared_bytes_are_broadcast_without_copies,
    a_file_is_sent_in_its_place,
    a_file_counts_until_it_is_out,
    remotes_write_and_close;
    by_ip_only:
    a_file_shorter_than_said_is_a_reset,
);

fn marks(high: usize, low: usize, max_write: usize) -> StreamOptions {
    let watermarks = Watermarks {
        high,
        low,
        max_write,
        ..Watermarks::default()
    };
    StreamOptions {
        watermarks,
        ..StreamOptions::default()
    }
}

/// A client that is connected, and reads only when it is told to.
fn reluctant<W: World>(world: &mut W, at: std::net::SocketAddr) -> Served {
    Probe::new().open(|stream| stream.pause()).connect(world, at)
}

fn let_read<W: World>(world: &mut W, client: &Served) {
    let id = client.log.id(0);
    world
        .client()
        .with(client.handle, |_, context| context.stream(id).unwrap().resume());
}

/// Writes until it is refused, checking each answer against the queue.
fn fill(stream: &mut Stream<'_>, piece: &[u8], marks: &Watermarks) -> usize {
    let mut taken = 0;
    loop {
        let before = stream.queued();
        let sent = stream.write(piece);
        let after = stream.queued();
        match sent {
            Sent::Sent => assert!(before == 0 || after <= before + piece.len()),
            Sent::Queued => {
                assert!(before < marks.high, "taken at {before}, above the mark");
                assert!(after > 0 && after <= before + piece.len());
            }
            Sent::Full => {
                assert!(before >= marks.high, "refused at {before}, below the mark");
                assert_eq!(after, before, "nothing was taken");
                return taken;
            }
            other => panic!("{other:?}"),
        }
        assert!(after < marks.high + marks.max_write, "{after} bytes wait");
        taken += piece.len();
    }
}

fn answers_are_true_at_the_marks<W: World>() {
    let mut world = W::new();
    let options = marks(100_000, 50_000, 30_000);
    let bounds = options.watermarks;
    let total = Rc::new(Cell::new(0));
    let sum = Rc::clone(&total);
    let (server, at) = Probe::new()
        .open(move |stream| {
            assert_eq!(stream.write(&[0; 30_001]), Sent::TooLarge);
            assert_eq!(stream.queued(), 0);
            sum.set(fill(stream, &[1; 30_000], &bounds));
            assert_eq!(
                stream.write(&[0; 30_001]),
                Sent::TooLarge,
                "it never will be taken, full or not"
            );
            assert_eq!(stream.write(b""), Sent::Full);
            assert!(!stream.is_reading());
        })
        .serve(&mut world, options);
    let client = reluctant(&mut world, at);
    let (s, c) = (server.log.clone(), client.log.clone());
    world.until("open", || s.opened() == 1 && c.opened() == 1);
    assert_eq!(server.log.count(&Told::Writable), 0);
    assert!(world.server().stats().full >= 2);
    let_read(&mut world, &client);
    world.until("everything", || c.received_len(0) == total.get());
    world.until("told of room", || s.has(&Told::Writable));
    world.pass(Duration::from_millis(5));
    assert_eq!(
        server.log.count(&Told::Writable),
        1,
        "once for any number of refusals"
    );
    assert_eq!(world.server().stats().panics, 0);
}

/// Marks below what the loop gathers before it writes: they hold all the same.
fn small_marks_hold_for_gathered_writes_too<W: World>() {
    let mut world = W::new();
    let options = marks(1000, 500, 100);
    let bounds = options.watermarks;
    let total = Rc::new(Cell::new(0));
    let sum = Rc::clone(&total);
    let (server, at) = Probe::new()
        .open(move |stream| {
            assert_eq!(stream.write(&[0; 101]), Sent::TooLarge);
            sum.set(fill(stream, &[1; 100], &bounds));
        })
        .data(move |stream, data| {
            assert_eq!(stream.write(&[0; 101]), Sent::TooLarge);
            data.len()
        })
        .serve(&mut world, options);
    let client = reluctant(&mut world, at);
    let (s, c) = (server.log.clone(), client.log.clone());
    world.until("open", || s.opened() == 1 && c.opened() == 1);
    let_read(&mut world, &client);
    world.until("everything", || {
        c.received_len(0) == total.get() && s.has(&Told::Writable)
    });
    let id = client.log.id(0);
    let _ = world
        .client()
        .with(client.handle, |_, context| context.write(id, b"x"));
    world.until("data", || s.has(&Told::Data(1)));
    // The same for one connection, set in a callback that has gathered something already.
    let (tight, at) = Probe::new()
        .open(move |stream| {
            assert_eq!(stream.write(&[0; 1000]), Sent::Sent);
            stream.set_watermarks(bounds);
            assert_eq!(stream.write(&[0; 101]), Sent::TooLarge);
            assert!(stream.write(&[0; 100]).is_taken());
        })
        .serve(&mut world, StreamOptions::default());
    let client = Probe::new().connect(&mut world, at);
    let c = client.log.clone();
    world.until("everything", || c.received_len(0) == 1100);
    assert_eq!(tight.log.opened(), 1);
    assert_eq!(world.server().stats().panics, 0);
}

fn writable_is_told_exactly_when_owed<W: World>() {
    let mut world = W::new();
    let options = marks(200_000, 10_000, 100_000);
    let bounds = options.watermarks;
    let written = Rc::new(Cell::new(0));
    let (w, w2) = (Rc::clone(&written), Rc::clone(&written));
    let (server, at) = Probe::new()
        .open(move |stream| w.set(fill(stream, &[1; 50_000], &bounds)))
        .writable(move |stream| {
            assert!(stream.queued() <= 10_000, "{} wait", stream.queued());
            if w2.get() < 10_000_000 {
                w2.set(w2.get() + fill(stream, &[1; 50_000], &bounds));
            }
        })
        .serve(&mut world, options);
    let client = reluctant(&mut world, at);
    let (s, c) = (server.log.clone(), client.log.clone());
    world.until("open", || s.opened() == 1 && c.opened() == 1);
    world.pass(Duration::from_millis(10));
    assert_eq!(server.log.count(&Told::Writable), 0, "there is no room yet");
    let_read(&mut world, &client);
    world.until("ten megabytes", || {
        c.received_len(0) >= 10_000_000 && c.received_len(0) == written.get()
    });
    let stats = world.server().stats();
    world.pass(Duration::from_millis(5));
    let told = u64::try_from(server.log.count(&Told::Writable)).unwrap();
    assert_eq!(told, stats.full, "one refusal, one answer");
    assert_eq!(stats.panics, 0);
}

fn asking_for_room_that_is_there_is_answered<W: World>() {
    let mut world = W::new();
    let (server, at) = Probe::new()
        .open(|stream| {
            stream.notify_writable();
            stream.notify_writable();
        })
        .serve(&mut world, StreamOptions::default());
    let _client = Probe::new().connect(&mut world, at);
    let s = server.log.clone();
    world.until("the answer", || s.has(&Told::Writable));
    world.pass(Duration::from_millis(2));
    assert_eq!(server.log.all(), [Told::Open, Told::Writable]);
}

fn a_peer_that_never_reads_costs_no_more_than_the_marks<W: World>() {
    let mut world = W::new();
    let options = marks(64 * 1024, 16 * 1024, 64 * 1024);
    let most = Rc::new(Cell::new(0));
    let seen = Rc::clone(&most);
    let (server, at) = Probe::new()
        .data(move |stream, data| {
            let sent = stream.write(data);
            seen.set(seen.get().max(stream.queued()));
            if sent.is_taken() { data.len() } else { 0 }
        })
        .serve(&mut world, options);
    // The client's own marks are out of the way: at them it would not read either, by the same rule.
    let options = marks(1 << 30, 0, 1 << 30);
    let request = world.request(at);
    let client = Probe::new()
        .open(|stream| {
            stream.pause();
            assert!(stream.write(&vec![0; 32 << 20]).is_taken());
        })
        .connect_with(&mut world, request, options);
    let s = server.log.clone();
    world.until("open", || s.opened() == 1);
    // On the kernel, how long it takes to fill what lies between the two depends on the machine.
    let begun = Instant::now();
    let mut in_before = 0;
    loop {
        world.pass(Duration::from_millis(50));
        let bytes_in = world.server().stats().bytes_in;
        if bytes_in == in_before && bytes_in > 0 {
            break;
        }
        in_before = bytes_in;
        assert!(begun.elapsed() < PATIENCE, "it does not stop reading");
    }
    assert!(in_before < 32 << 20, "it has read everything");
    assert!(
        most.get() > 0 && most.get() < 128 * 1024,
        "{} bytes wait",
        most.get()
    );
    let c = client.log.clone();
    let_read(&mut world, &client);
    world.until("it goes on", || c.received_len(0) as u64 > in_before);
    assert!(server.log.closes().is_empty() && client.log.closes().is_empty());
}

/// Output that waits is no reason not to read: only what could not be answered is.
fn reading_goes_on_while_output_waits_and_stops_at_what_is_left<W: World>() {
    let mut world = W::new();
    let options = marks(1000, 0, 4 << 20);
    let (server, at) = Probe::new()
        .open(|stream| {
            // Far more than the kernel takes for a peer that does not read.
            while stream.queued() == 0 {
                assert!(stream.write(&vec![7; 1 << 20]).is_taken());
            }
        })
        .data(|stream, data| {
            assert!(!stream.is_reading(), "its output waits");
            if data[0] == b'?' && !stream.write(b"!").is_taken() {
                0
            } else {
                data.len()
            }
        })
        .serve(&mut world, options);
    let client = Probe::new()
        .open(|stream| {
            stream.pause();
            let _ = stream.write(b"statement");
            stream.set_timer(Duration::from_millis(5), 0);
        })
        .timer(|stream, key| {
            let _ = stream.write(b"?");
            if key < 3 {
                stream.set_timer(Duration::from_millis(5), key + 1);
            }
        })
        .connect(&mut world, at);
    let (s, c) = (server.log.clone(), client.log.clone());
    world.until("the statement is read", || s.received_len(0) == 9);
    world.until("the question is offered", || s.has(&Told::Data(1)));
    world.pass(Duration::from_millis(40));
    assert_eq!(
        server.log.count(&Told::Data(1)),
        1,
        "nothing is read behind what was left"
    );
    assert_eq!((c.opened(), world.server().stats().panics), (1, 0));
}

/// Both sides send as fast as they may, and answer in full: neither may wait for the other for ever.
fn a_bulk_echo_with_small_marks_is_complete<W: World>() {
    let mut world = W::new();
    let (_, at) = Probe::new()
        .data(|stream, data| {
            if stream.write(data).is_taken() {
                data.len()
            } else {
                0
            }
        })
        .serve(&mut world, StreamOptions::default());
    let data = Rc::new(pattern(20 << 20));
    let client = Probe::new().pushing(Rc::clone(&data)).connect(&mut world, at);
    let log = client.log.clone();
    world.until("all of it", || log.received_len(0) == 20 << 20);
    assert!(client.log.received(0) == *data);
}

fn a_write_from_another_connection_is_as_true<W: World>() {
    let mut world = W::new();
    let options = marks(100_000, 50_000, 30_000);
    let bounds = options.watermarks;
    let first = Rc::new(RefCell::new(None));
    let remember = Rc::clone(&first);
    let total = Rc::new(Cell::new(0));
    let sum = Rc::clone(&total);
    let (server, at) = Probe::new()
        .open(move |stream| {
            let id = stream.id();
            remember.borrow_mut().get_or_insert(id);
        })
        .data(move |stream, data| {
            let mut other = stream.other(first.borrow().unwrap()).unwrap();
            assert_eq!(other.write(&[0; 30_001]), Sent::TooLarge);
            sum.set(fill(&mut other, &[1; 30_000], &bounds));
            assert!(!other.is_reading());
            other.close();
            assert_eq!(other.write(b"x"), Sent::Gone);
            data.len()
        })
        .serve(&mut world, options);
    let target = reluctant(&mut world, at);
    let (s, t) = (server.log.clone(), target.log.clone());
    world.until("the first", || s.opened() == 1 && t.opened() == 1);
    let _other = Probe::new()
        .open(|stream| {
            let _ = stream.write(b"x");
        })
        .connect(&mut world, at);
    world.until("filled", || total.get() > 0);
    let_read(&mut world, &target);
    world.until("sent and closed", || t.has(&Told::Dropped));
    assert_eq!(target.log.received_len(0), total.get());
    assert_eq!(
        server
            .log
            .of(0)
            .iter()
            .filter(|told| **told == Told::Writable)
            .count(),
        0,
        "it was closed"
    );
    assert_eq!(world.server().stats().panics, 0);
}

/// Small ones gathered, large ones direct, shared ones, and what others write in between.
fn what_is_written_keeps_its_order<W: World>() {
    let mut world = W::new();
    let data = pattern(200_000);
    let expected = data.clone();
    let (server, at) = Probe::new()
        .open(move |stream| {
            let own = stream.id();
            let mut rest = &data[..];
            let sizes = [1, 100, 5000, 4000, 97, 30_000, 4096, 1, 4097, 65_536, 3];
            for size in sizes.iter().cycle() {
                let (piece, behind) = rest.split_at((*size).min(rest.len()));
                let sent = match size {
                    100 | 4096 => stream.write_shared(&Arc::from(piece)),
                    3 | 97 => stream.context().write(own, piece),
                    _ => stream.write(piece),
                };
                assert!(sent.is_taken(), "{sent:?}");
                rest = behind;
                if rest.is_empty() {
                    break;
                }
            }
            stream.close();
        })
        .serve(&mut world, StreamOptions::default());
    let client = Probe::new().connect(&mut world, at);
    let (s, c) = (server.log.clone(), client.log.clone());
    world.until("the end", || s.has(&Told::Dropped) && c.has(&Told::Dropped));
    assert!(client.log.received(0) == expected);
    assert_eq!(world.server().stats().panics, 0);
}

fn shared_bytes_are_broadcast_without_copies<W: World>() {
    let mut world = W::new();
    let (server, at) = Probe::new().serve(&mut world, StreamOptions::default());
    let clients: Vec<_> = (0..20).map(|_| reluctant(&mut world, at)).collect();
    let s = server.log.clone();
    world.until("all open", || {
        s.opened() == 20 && clients.iter().all(|client| client.log.opened() == 1)
    });
    let ids: Vec<_> = (0..20).map(|nth| server.log.id(nth)).collect();
    let data: Arc<[u8]> = pattern(1 << 20).into();
    let taken = world.server().with(server.handle, |_, context| {
        // Until the kernel takes no more, and then once more.
        for &id in &ids {
            while context.stream(id).unwrap().queued() == 0 {
                assert!(context.write(id, &vec![0; 1 << 20]).is_taken());
            }
        }
        let marks = Watermarks {
            high: usize::MAX,
            ..Watermarks::default()
        };
        for &id in &ids {
            context.stream(id).unwrap().set_watermarks(marks);
        }
        context.broadcast(&data, ids.iter().copied())
    });
    assert_eq!(taken, Some(20));
    assert_eq!(Arc::strong_count(&data), 21, "each waits with the same bytes");
    for client in &clients {
        let_read(&mut world, client);
    }
    world.until("all has left", || Arc::strong_count(&data) == 1);
    let id = server.log.id(3);
    world
        .server()
        .with(server.handle, |_, context| context.stream(id).unwrap().close());
    world.until("one is closed", || {
        clients.iter().any(|client| client.log.has(&Told::Dropped))
    });
    let closed = clients
        .iter()
        .find(|client| client.log.has(&Told::Dropped))
        .unwrap();
    assert!(closed.log.received(0).ends_with(&data));
}

fn file_of(bytes: &[u8]) -> Arc<File> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Arc::new(file)
}

fn a_file_is_sent_in_its_place<W: World>() {
    let mut world = W::new();
    let content = pattern(3_000_000);
    let expected = [b"head:", &content[1000..2_501_000], b":tail", &content[..5]].concat();
    let file = file_of(&content);
    let (server, at) = Probe::new()
        .open(move |stream| {
            assert!(stream.write(b"head:").is_taken());
            assert!(stream.send_file(&file, 1000, 2_500_000).is_taken());
            assert!(stream.write(b":tail").is_taken());
            assert!(stream.send_file(&file, 0, 5).is_taken());
            assert!(stream.send_file(&file, 0, 0).is_taken());
            stream.close();
            assert_eq!(stream.send_file(&file, 0, 5), Sent::Gone);
        })
        .serve(&mut world, marks(4_000_000, 64 * 1024, 1024 * 1024));
    let client = Probe::new().connect(&mut world, at);
    let (s, c) = (server.log.clone(), client.log.clone());
    world.until("the end", || s.has(&Told::Dropped) && c.has(&Told::Dropped));
    assert!(client.log.received(0) == expected);
    assert_eq!(world.server().stats().panics, 0);
}

fn a_file_counts_until_it_is_out<W: World>() {
    const LEN: u64 = 24_000_000;
    let mut world = W::new();
    let file = tempfile::tempfile().unwrap();
    file.set_len(LEN).unwrap();
    let file = Arc::new(file);
    let left = Rc::new(Cell::new(usize::MAX));
    let seen = Rc::clone(&left);
    let (server, at) = Probe::new()
        .open(move |stream| {
            assert!(stream.send_file(&file, 0, LEN).is_taken());
            let queued = stream.queued();
            // The peer does not read, and no kernel takes all of it.
            assert!((300_000..=24_000_000).contains(&queued), "{queued}");
            assert!(!stream.is_reading());
            assert_eq!(stream.send_file(&file, 0, 1), Sent::Full);
            assert_eq!(stream.write(b"x"), Sent::Full);
            assert_eq!(stream.queued(), queued, "nothing was taken");
        })
        .writable(move |stream| {
            seen.set(stream.queued());
            assert!(stream.write(b"behind").is_taken());
            stream.close();
        })
        .serve(&mut world, StreamOptions::default());
    let client = reluctant(&mut world, at);
    let (s, c) = (server.log.clone(), client.log.clone());
    world.until("open", || s.opened() == 1 && c.opened() == 1);
    world.pass(Duration::from_millis(5));
    assert_eq!(left.get(), usize::MAX, "there is no room yet");
    let_read(&mut world, &client);
    world.until("the end", || s.has(&Told::Dropped) && c.has(&Told::Dropped));
    assert!(left.get() <= 64 * 1024, "{} are above the low mark", left.get());
    assert_eq!(client.log.received_len(0), 24_000_006);
    assert_eq!(world.server().stats().panics, 0);
}

fn a_file_shorter_than_said_is_a_reset<W: World>() {
    let mut world = W::new();
    let file = file_of(b"short");
    let (server, at) = Probe::new()
        .data(move |stream, data| {
            assert_eq!(stream.send_file(&file, 2, 1 << 40), Sent::Gone);
            assert_eq!(stream.write(b"|behind"), Sent::Gone);
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
    assert!(!client.log.has(&Told::Eof), "what arrived does not look whole");
}

fn remotes_write_and_close<W: World>() {
    let mut world = W::new();
    let (server, at) = Probe::new().serve(&mut world, StreamOptions::default());
    let client = Probe::new().connect(&mut world, at);
    let (s, c) = (server.log.clone(), client.log.clone());
    world.until("open", || s.opened() == 1 && c.opened() == 1);
    let remote = world.server().remote();
    let id = server.log.id(0);
    let thread = std::thread::spawn(move || {
        for number in 0..1000_u64 {
            remote.send(id, number.to_be_bytes()).unwrap();
        }
        remote.message(id, 42_u64).unwrap();
        remote.close(id).unwrap();
    });
    thread.join().unwrap();
    world.until("the end", || s.has(&Told::Dropped) && c.has(&Told::Dropped));
    let expected: Vec<u8> = (0..1000_u64).flat_map(u64::to_be_bytes).collect();
    assert!(client.log.received(0) == expected);
    assert!(server.log.has(&Told::Message(42)));
    assert_eq!(world.server().stats().remote_commands, 1002);
}
