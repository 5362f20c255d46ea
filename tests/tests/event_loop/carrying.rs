//! A service that carries another one on a pair (here a cipher): all that the carried one and everybody else does to its
//! connection goes through the carrier, and nothing leads around it.

use std::cell::RefCell;
use std::io::Write as _;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sockeye_event_loop::codec::{FrameService, FrameStream, Framed, Lines};
use sockeye_event_loop::{
    CloseReason, Context, ListenOptions, ListenerId, PairOptions, Sent, ServiceHandle, Stream, StreamId,
    StreamOptions, Watermarks,
};
use sockeye_tests::pattern;

use crate::cipher::{behind_cipher, seal};
use crate::frames::Reverse;
use crate::probe::{Log, Probe, Told};
use crate::world::World;

in_all_worlds!(
    a_cipher_seals_everything_the_service_writes,
    a_cipher_in_a_cipher,
    others_write_through_the_cipher_and_close_behind_it,
    what_the_carried_service_reaches_through_the_context_is_sealed_too,
    a_file_passes_a_cipher,
    carried_output_is_bounded_and_complete,
    a_bulk_echo_through_ciphers_is_complete,
    room_asked_for_while_the_pair_is_full_is_answered,
    what_is_carried_has_the_listener_of_what_carries_it,
);

/// An echo of lines that greets, sets a timer and says goodbye.
struct Greeter(Reverse);

impl FrameService for Greeter {
    type Conn = ();

    fn on_open(&mut self, stream: &mut FrameStream<'_, '_>) {
        assert!(stream.send(b"welcome").unwrap().is_taken());
        stream.stream().set_timer(Duration::from_millis(2), 17);
    }

    fn on_frame(&mut self, stream: &mut FrameStream<'_, '_>, conn: &mut (), frame: &mut [u8]) {
        self.0.on_frame(stream, conn, frame);
    }

    fn on_timer(&mut self, stream: &mut FrameStream<'_, '_>, conn: &mut (), key: u64) {
        self.0.on_timer(stream, conn, key);
    }

    fn on_close(&mut self, context: &mut Context<'_>, id: StreamId, conn: (), reason: CloseReason) {
        self.0.on_close(context, id, conn, reason);
    }
}

/// A greeter on the server's loop, and why its connections ended.
fn greeter<W: World>(world: &mut W) -> (ServiceHandle<Framed<Lines, Greeter>>, Rc<RefCell<Vec<String>>>) {
    let service = Reverse::default();
    let closes = Rc::clone(&service.closes);
    let framed = Framed::new(Lines::new(100), Greeter(service));
    let handle = world
        .server()
        .add_stream_service(framed, StreamOptions::default());
    (handle, closes)
}

fn probe<W: World>(world: &mut W, probe: Probe, watermarks: Watermarks) -> (ServiceHandle<Probe>, Log) {
    let log = probe.log.clone();
    let options = StreamOptions {
        watermarks,
        ..StreamOptions::default()
    };
    (world.server().add_stream_service(probe, options), log)
}

/// A client that has received the greeting and what the timer says, then sends these bytes.
fn asks(bytes: Vec<u8>) -> Probe {
    let mut missing = b"welcome\ntimer 17\n".len();
    Probe::new().data(move |stream, data| {
        if missing > 0 {
            missing = missing.saturating_sub(data.len());
            if missing == 0 {
                assert!(stream.write(&bytes).is_taken());
            }
        }
        data.len()
    })
}

fn a_cipher_seals_everything_the_service_writes<W: World>() {
    let mut world = W::new();
    let (carried, closes) = greeter(&mut world);
    let handle = behind_cipher(&mut world, carried, 0x5a);
    let at = world.listen(handle);
    let client = asks(seal(0x5a, b"abc\nde\nquit\n")).connect(&mut world, at);
    let log = client.log.clone();
    world.until("closed", || {
        log.has(&Told::Dropped) && !closes.borrow().is_empty()
    });
    assert_eq!(
        seal(0x5a, &client.log.received(0)),
        b"welcome\ntimer 17\ncba\ned\n"
    );
    assert_eq!(*closes.borrow(), ["closed"]);
    assert_eq!(world.server().stats().panics, 0);
}

fn a_cipher_in_a_cipher<W: World>() {
    let mut world = W::new();
    let (carried, closes) = greeter(&mut world);
    let inner = behind_cipher(&mut world, carried, 2);
    let outer = behind_cipher(&mut world, inner, 1);
    let at = world.listen(outer);
    let both = |data: &[u8]| seal(1, &seal(2, data));
    let client = asks(both(b"abc\nquit\n")).connect(&mut world, at);
    let log = client.log.clone();
    world.until("closed", || {
        log.has(&Told::Dropped) && !closes.borrow().is_empty()
    });
    assert_eq!(both(&client.log.received(0)), b"welcome\ntimer 17\ncba\n");
    assert_eq!(*closes.borrow(), ["closed"]);
    assert_eq!(world.server().stats().panics, 0);
}

fn others_write_through_the_cipher_and_close_behind_it<W: World>() {
    let mut world = W::new();
    let (carried, inner) = probe(&mut world, Probe::new(), Watermarks::default());
    let handle = behind_cipher(&mut world, carried, 9);
    let at = world.listen(handle);
    let client = Probe::new().connect(&mut world, at);
    let log = client.log.clone();
    world.until("open", || inner.opened() == 1 && log.opened() == 1);
    let id = inner.id(0);
    let remote = world.server().remote();
    remote.send(id, *b"from afar, ").unwrap();
    world.until("the first", || log.received_len(0) == 11);
    world.server().with(carried, |_, context| {
        assert!(context.write(id, b"from near, ").is_taken());
        let mut stream = context.stream(id).unwrap();
        assert!(stream.write_shared(&Arc::from(&b"shared"[..])).is_taken());
        stream.close();
        assert_eq!(stream.write(b"too late"), Sent::Gone, "it is closing");
    });
    world.until("closed", || log.has(&Told::Dropped) && inner.has(&Told::Dropped));
    assert_eq!(seal(9, &client.log.received(0)), b"from afar, from near, shared");
    assert_eq!(inner.closes(), ["closed"]);
}

/// The way out that is not the stream: it must not lead around the carrier.
fn what_the_carried_service_reaches_through_the_context_is_sealed_too<W: World>() {
    let mut world = W::new();
    let answers = Probe::new().data(|stream, data| {
        let own = stream.id();
        assert!(stream.context().write(own, b"by the context").is_taken());
        data.len()
    });
    let (carried, _) = probe(&mut world, answers, Watermarks::default());
    let handle = behind_cipher(&mut world, carried, 33);
    let at = world.listen(handle);
    let client = Probe::new()
        .open(|stream| assert!(stream.write(&seal(33, b"x")).is_taken()))
        .connect(&mut world, at);
    let log = client.log.clone();
    world.until("the answer", || log.received_len(0) == 14);
    assert_eq!(seal(33, &client.log.received(0)), b"by the context");
}

fn a_file_passes_a_cipher<W: World>() {
    let mut world = W::new();
    let mut file = tempfile::tempfile().unwrap();
    let data = pattern(300_000);
    file.write_all(&data).unwrap();
    let file = Arc::new(file);
    let sends = Probe::new().open(move |stream| {
        assert!(stream.send_file(&file, 0, 300_000).is_taken());
        stream.close();
    });
    let (carried, inner) = probe(&mut world, sends, Watermarks::default());
    let handle = behind_cipher(&mut world, carried, 9);
    let at = world.listen(handle);
    let client = Probe::new().connect(&mut world, at);
    let log = client.log.clone();
    world.until("closed", || log.has(&Told::Dropped) && inner.has(&Told::Dropped));
    assert!(client.log.received(0) == seal(9, &data));
    assert_eq!(world.server().stats().panics, 0);
}

fn carried_output_is_bounded_and_complete<W: World>() {
    let mut world = W::new();
    let watermarks = Watermarks {
        high: 100_000,
        low: 10_000,
        max_write: 60_000,
        ..Watermarks::default()
    };
    let data = pattern(3_000_000);
    let expected = data.clone();
    let mut sent = 0;
    let mut fill = move |stream: &mut Stream<'_>| {
        assert_eq!(stream.write(&[0; 60_001]), Sent::TooLarge);
        let mut here = 0;
        while sent < data.len() {
            let len = 60_000.min(data.len() - sent);
            match stream.write(&data[sent..sent + len]) {
                Sent::Full => return,
                taken => assert!(taken.is_taken(), "{taken:?}"),
            }
            sent += len;
            here += len;
            // The queue up to its mark, one write above it, and what the pair holds.
            assert!(here < 160_000 + 64 * 1024, "{here} bytes in one callback");
        }
        stream.close();
    };
    let writes = Probe::new()
        .open(|stream| stream.notify_writable())
        .writable(move |stream| fill(stream));
    let (carried, inner) = probe(&mut world, writes, watermarks);
    let handle = behind_cipher(&mut world, carried, 77);
    let at = world.listen(handle);
    let client = Probe::new().connect(&mut world, at);
    let log = client.log.clone();
    world.until("closed", || log.has(&Told::Dropped) && inner.has(&Told::Dropped));
    assert!(seal(77, &client.log.received(0)) == expected);
    assert_eq!(world.server().stats().panics, 0);
}

fn room_asked_for_while_the_pair_is_full_is_answered<W: World>() {
    let mut world = W::new();
    let watermarks = Watermarks {
        high: 10_000,
        low: 0,
        ..Watermarks::default()
    };
    let (carried, inner) = probe(&mut world, Probe::new(), watermarks);
    let handle = behind_cipher(&mut world, carried, 5);
    let at = world.listen(handle);
    let client = Probe::new().connect(&mut world, at);
    let log = client.log.clone();
    world.until("open", || inner.opened() == 1 && log.opened() == 1);
    let id = inner.id(0);
    world.server().with(carried, |_, context| {
        assert_eq!(context.write(id, &[0; 80_000]), Sent::Queued);
        assert_eq!(context.write(id, b"x"), Sent::Full);
    });
    world.until("room", || inner.has(&Told::Writable));
    world.until("everything", || log.received_len(0) == 80_000);
    // And reading has gone on too.
    let peer = client.log.id(0);
    let _ = world
        .client()
        .with(client.handle, |_, context| context.write(peer, b"hello"));
    world.until("it reads", || inner.received_len(0) == 5);
}

fn a_bulk_echo_through_ciphers_is_complete<W: World>() {
    let mut world = W::new();
    let echo = Probe::new().data(|stream, data| {
        if stream.write(data).is_taken() {
            data.len()
        } else {
            0
        }
    });
    let (carried, _) = probe(&mut world, echo, Watermarks::default());
    let inner = behind_cipher(&mut world, carried, 4);
    let outer = behind_cipher(&mut world, inner, 3);
    let at = world.listen(outer);
    let data = Rc::new(seal(3, &seal(4, &pattern(12 << 20))));
    let client = Probe::new().pushing(Rc::clone(&data)).connect(&mut world, at);
    let log = client.log.clone();
    world.until("all of it", || log.received_len(0) == 12 << 20);
    assert!(client.log.received(0) == *data);
    assert_eq!(world.server().stats().panics, 0);
}

fn what_is_carried_has_the_listener_of_what_carries_it<W: World>() {
    let mut world = W::new();
    let seen: Rc<RefCell<Vec<Option<ListenerId>>>> = Rc::default();
    let note = Rc::clone(&seen);
    let carried = Probe::new().open(move |stream| note.borrow_mut().push(stream.listener()));
    let (carried, ends) = probe(&mut world, carried, Watermarks::default());
    let carrier = Probe::new().open(move |stream| {
        if stream.tag() == 9 {
            return;
        }
        let options = PairOptions {
            first_tag: Some(9),
            second_like: Some(stream.id()),
            ..PairOptions::default()
        };
        let mut context = stream.context();
        let own = context.handle::<Probe>().unwrap();
        context.pair(own, carried, &options).unwrap();
    });
    let (carrier, log) = probe(&mut world, carrier, Watermarks::default());
    let one_at_a_time = ListenOptions {
        max_connections: 1,
        ..ListenOptions::default()
    };
    let (one, at_one) = world.listen_with(carrier, &ListenOptions::default());
    let (two, at_two) = world.listen_with(carrier, &one_at_a_time);
    for (nth, at) in [at_one, at_two].into_iter().enumerate() {
        let _ = Probe::new().connect(&mut world, at);
        world.until("carried", || seen.borrow().len() == nth + 1);
    }
    assert_eq!(*seen.borrow(), [Some(one), Some(two)]);
    world.server().close_listener(one);
    // The next one may take its place, and has not accepted them.
    let (_, _) = world.listen_with(carrier, &ListenOptions::default());
    let ids = [ends.id(0), ends.id(1)];
    let later = world.server().with(carried, |_, context| {
        ids.map(|id| context.stream(id).unwrap().listener())
    });
    assert_eq!(later, Some([None, Some(two)]));
    // The place in the listener is the connection's, which stays.
    world
        .server()
        .with(carried, |_, context| context.stream(ids[1]).unwrap().abort());
    world.until("the end is gone", || ends.closes().len() == 1);
    let opened = log.opened();
    let late = Probe::new().connect(&mut world, at_two);
    world.until("in the backlog", || late.log.opened() == 1);
    world.pass(Duration::from_millis(5));
    assert_eq!(log.opened(), opened, "the listener has no place left");
}
