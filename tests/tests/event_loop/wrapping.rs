//! Frames, and a cipher around a service: its writes, timers and close go through the wrapper, and so does what
//! others write to the connection.

use std::cell::RefCell;
use std::io::Write as _;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sockeye_event_loop::codec::{
    Capture, Codec, Fixed, FrameError, FrameService, FrameStream, Framed, LengthPrefixed, Lines, Width,
};
use sockeye_event_loop::{
    CloseReason, Context, Sent, Stream, StreamId, StreamOptions, StreamService, Timer, Watermarks,
};
use sockeye_tests::pattern;

use crate::probe::{Probe, Told};
use crate::world::World;

in_both_worlds!(
    lines_come_whole_however_they_are_cut,
    length_prefixed_frames_come_whole,
    fixed_frames_come_whole,
    a_frame_that_is_too_long_is_an_error,
    a_frame_handler_that_closes_gets_no_more_frames,
    a_cipher_seals_everything_the_service_writes,
    a_cipher_in_a_cipher,
    others_write_through_the_cipher_and_close_behind_it,
    what_the_wrapped_service_reaches_through_the_context_is_sealed_too,
    a_file_does_not_pass_a_cipher,
    captured_output_is_bounded_and_complete,
    a_bulk_echo_through_a_cipher_is_complete,
    room_asked_for_while_bytes_wait_for_the_wrapper_is_answered,
);

/// Echoes frames in reverse; keeps what it saw.
#[derive(Default)]
struct Reverse {
    seen: Rc<RefCell<Vec<Vec<u8>>>>,
    errors: Rc<RefCell<Vec<FrameError>>>,
    closes: Rc<RefCell<Vec<String>>>,
}

impl FrameService for Reverse {
    type Conn = ();

    fn on_open(&mut self, _: &mut FrameStream<'_, '_>) {}

    fn on_frame(&mut self, stream: &mut FrameStream<'_, '_>, _: &mut (), frame: &mut [u8]) {
        self.seen.borrow_mut().push(frame.to_vec());
        if frame == b"quit" {
            stream.stream().close();
            return;
        }
        frame.reverse();
        let _ = stream.send(frame).unwrap();
    }

    fn on_frame_error(&mut self, stream: &mut FrameStream<'_, '_>, _: &mut (), error: FrameError) {
        self.errors.borrow_mut().push(error);
        stream.stream().abort();
    }

    fn on_timer(&mut self, stream: &mut FrameStream<'_, '_>, _: &mut (), timer: Timer) {
        let _ = stream.send(format!("timer {}", timer.key).as_bytes()).unwrap();
    }

    fn on_close(&mut self, _: &mut Context<'_>, _: StreamId, (): (), reason: CloseReason) {
        self.closes.borrow_mut().push(reason.name().to_owned());
    }
}

/// Sends `input` cut into pieces of `step` bytes to a framed service, and gives back what it answered.
fn through<W: World, C: Codec + Copy>(
    codec: C,
    input: &[u8],
    step: usize,
    answer: usize,
) -> (Vec<Vec<u8>>, Vec<u8>) {
    let mut world = W::new();
    let service = Reverse::default();
    let seen = Rc::clone(&service.seen);
    let options = StreamOptions {
        watermarks: Watermarks {
            max_tail: 1 << 20,
            ..Watermarks::default()
        },
        ..StreamOptions::default()
    };
    let handle = world
        .server()
        .add_stream_service(Framed::new(codec, service), options);
    let at = world.listen(handle);
    let pieces: Vec<Vec<u8>> = input.chunks(step).map(<[u8]>::to_vec).collect();
    let mut next = 0;
    let client = Probe::new()
        .open(|stream| {
            stream.set_timer(Duration::ZERO, 0);
        })
        .timer(move |stream, _| {
            if let Some(piece) = pieces.get(next)
                && stream.write(piece).is_taken()
            {
                next += 1;
            }
            if next < pieces.len() {
                stream.set_timer(Duration::from_micros(50), 0);
            }
        })
        .connect(&mut world, at);
    let log = client.log.clone();
    world.until("all answered", || log.received_len(0) >= answer);
    let answered = client.log.received(0);
    (seen.borrow().clone(), answered)
}

fn lines_come_whole_however_they_are_cut<W: World>() {
    let long = "x".repeat(90_000);
    let input = format!("hello\nworld\r\n\n{long}\nend\n").into_bytes();
    let lines: Vec<Vec<u8>> = ["hello", "world", "", &long, "end"]
        .iter()
        .map(|line| line.as_bytes().to_vec())
        .collect();
    let answer = format!("olleh\ndlrow\n\n{long}\ndne\n").into_bytes();
    for step in [977, 65_536, usize::MAX] {
        let (seen, answered) = through::<W, _>(Lines::new(100_000), &input, step, answer.len());
        assert!(seen == lines && answered == answer, "cut by {step}");
    }
    let (seen, answered) = through::<W, _>(Lines::new(100), b"a\r\nbc\r\n\r\nd\n", 1, 8);
    assert_eq!(seen, [&b"a"[..], b"bc", b"", b"d"]);
    assert_eq!(answered, b"a\ncb\n\nd\n");
}

fn length_prefixed_frames_come_whole<W: World>() {
    let frame = |body: &[u8]| [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], body].concat();
    let huge = pattern(300_000);
    let mut reversed = huge.clone();
    reversed.reverse();
    let input = [frame(b"abc"), frame(b""), frame(&huge), frame(b"z")].concat();
    let answer = [frame(b"cba"), frame(b""), frame(&reversed), frame(b"z")].concat();
    for step in [3001, 65_536, usize::MAX] {
        let (seen, answered) = through::<W, _>(
            LengthPrefixed::new(Width::Four, 400_000),
            &input,
            step,
            answer.len(),
        );
        assert!(
            seen.len() == 4 && seen[2] == huge && answered == answer,
            "cut by {step}"
        );
    }
    let (seen, answered) = through::<W, _>(
        LengthPrefixed::new(Width::Two, 10),
        &[0, 2, 7, 8, 0, 0, 0, 1, 9],
        1,
        9,
    );
    assert_eq!(seen, [vec![7, 8], vec![], vec![9]]);
    assert_eq!(answered, [0, 2, 8, 7, 0, 0, 0, 1, 9]);
}

fn fixed_frames_come_whole<W: World>() {
    for step in [1, 4, 7, usize::MAX] {
        let (seen, answered) = through::<W, _>(Fixed::new(5), b"abcdefghijklmno", step, 15);
        assert_eq!(seen, [b"abcde", b"fghij", b"klmno"], "cut by {step}");
        assert_eq!(answered, b"edcbajihgfonmlk");
    }
}

fn a_frame_that_is_too_long_is_an_error<W: World>() {
    let mut world = W::new();
    let service = Reverse::default();
    let (errors, closes) = (Rc::clone(&service.errors), Rc::clone(&service.closes));
    let handle = world
        .server()
        .add_stream_service(Framed::new(Lines::new(10), service), StreamOptions::default());
    let at = world.listen(handle);
    let client = Probe::new()
        .open(|stream| {
            let _ = stream.write(b"short\nfar too long a line");
        })
        .connect(&mut world, at);
    let log = client.log.clone();
    world.until("reset", || log.has(&Told::Dropped));
    assert_eq!(*errors.borrow(), [FrameError::TooLong { len: 19, max: 10 }]);
    assert_eq!(*closes.borrow(), ["aborted"]);
}

fn a_frame_handler_that_closes_gets_no_more_frames<W: World>() {
    let mut world = W::new();
    let service = Reverse::default();
    let (seen, closes) = (Rc::clone(&service.seen), Rc::clone(&service.closes));
    let handle = world
        .server()
        .add_stream_service(Framed::new(Lines::new(10), service), StreamOptions::default());
    let at = world.listen(handle);
    let client = Probe::new()
        .open(|stream| {
            let _ = stream.write(b"one\nquit\ntwo\nthree\n");
        })
        .connect(&mut world, at);
    let log = client.log.clone();
    world.until("closed", || {
        log.has(&Told::Dropped) && !closes.borrow().is_empty()
    });
    assert_eq!(*seen.borrow(), [&b"one"[..], b"quit"]);
    assert_eq!(client.log.received(0), b"eno\n");
    assert_eq!(*closes.borrow(), ["closed"]);
}

/// A cipher that everybody can read: each byte of each direction XOR a key that moves on with every byte.
struct Xor<S> {
    inner: S,
    key: u8,
    capture: Capture,
}

struct XorConn<T> {
    inner: T,
    sent: u8,
    received: u8,
    /// Deciphered, and not yet consumed by the inner service.
    plain: Vec<u8>,
}

impl<S> Xor<S> {
    fn new(key: u8, inner: S) -> Self {
        Self {
            inner,
            key,
            capture: Capture::new(),
        }
    }

    fn apply(key: u8, counter: &mut u8, data: &mut [u8]) {
        for byte in data {
            *byte ^= key ^ *counter;
            *counter = counter.wrapping_add(1);
        }
    }
}

impl<S: StreamService> Xor<S> {
    /// Runs a callback of the inner service, seals what it wrote, and does what it did to its stream.
    fn run<R>(
        &mut self,
        stream: &mut Stream<'_>,
        sent: &mut u8,
        call: impl FnOnce(&mut S, &mut Stream<'_>) -> R,
    ) -> R {
        let answer = call(&mut self.inner, &mut stream.captured(&mut self.capture));
        Self::apply(self.key, sent, self.capture.bytes());
        let sealed = stream.write_sealed(self.capture.bytes());
        assert!(sealed.is_taken() || sealed == Sent::Gone, "{sealed:?}");
        self.capture.clear();
        self.capture.finish(stream);
        answer
    }
}

impl<S: StreamService> Xor<S> {
    /// Offers the inner service what it has not consumed yet.
    fn offer(&mut self, stream: &mut Stream<'_>, conn: &mut XorConn<S::Conn>) {
        let mut plain = std::mem::take(&mut conn.plain);
        if !plain.is_empty() {
            let used = self.run(stream, &mut conn.sent, |inner, stream| {
                inner.on_data(stream, &mut conn.inner, &mut plain)
            });
            plain.drain(..used);
        }
        conn.plain = plain;
    }
}

impl<S: StreamService> StreamService for Xor<S> {
    type Conn = XorConn<S::Conn>;
    const WRAPS: bool = true;

    fn on_open(&mut self, stream: &mut Stream<'_>) -> Self::Conn {
        let mut sent = 0;
        let inner = self.run(stream, &mut sent, |inner, stream| inner.on_open(stream));
        XorConn {
            inner,
            sent,
            received: 0,
            plain: Vec::new(),
        }
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, conn: &mut Self::Conn, data: &mut [u8]) -> usize {
        if !conn.plain.is_empty() && !stream.is_reading() {
            return 0;
        }
        Self::apply(self.key, &mut conn.received, data);
        conn.plain.extend_from_slice(data);
        self.offer(stream, conn);
        data.len()
    }

    fn on_writable(&mut self, stream: &mut Stream<'_>, conn: &mut Self::Conn) {
        self.run(stream, &mut conn.sent, |inner, stream| {
            inner.on_writable(stream, &mut conn.inner);
        });
        self.offer(stream, conn);
    }

    fn on_eof(&mut self, stream: &mut Stream<'_>, conn: &mut Self::Conn) {
        self.run(stream, &mut conn.sent, |inner, stream| {
            inner.on_eof(stream, &mut conn.inner)
        });
    }

    fn on_timer(&mut self, stream: &mut Stream<'_>, conn: &mut Self::Conn, timer: Timer) {
        assert!(!timer.is_of(stream), "this wrapper has no timers of its own");
        self.run(stream, &mut conn.sent, |inner, stream| {
            inner.on_timer(stream, &mut conn.inner, timer)
        });
    }

    fn on_outgoing(&mut self, stream: &mut Stream<'_>, conn: &mut Self::Conn, data: &[u8]) {
        // Whoever is inside may wrap too.
        self.run(stream, &mut conn.sent, |inner, stream| {
            if S::WRAPS {
                inner.on_outgoing(stream, &mut conn.inner, data);
            } else {
                let _ = stream.write_sealed(data);
            }
        });
    }

    fn on_close(&mut self, context: &mut Context<'_>, id: StreamId, conn: Self::Conn, reason: CloseReason) {
        self.inner.on_close(context, id, conn.inner, reason);
    }
}

fn xor(key: u8, data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    Xor::<()>::apply(key, &mut 0, &mut data);
    data
}

/// A wrapped echo of lines that greets, sets a timer and says goodbye.
struct Greeter(Reverse);

impl FrameService for Greeter {
    type Conn = ();

    fn on_open(&mut self, stream: &mut FrameStream<'_, '_>) {
        assert_eq!(stream.send(b"welcome").unwrap(), Sent::Queued);
        stream.stream().set_timer(Duration::from_millis(2), 17);
    }

    fn on_frame(&mut self, stream: &mut FrameStream<'_, '_>, conn: &mut (), frame: &mut [u8]) {
        self.0.on_frame(stream, conn, frame);
    }

    fn on_timer(&mut self, stream: &mut FrameStream<'_, '_>, conn: &mut (), timer: Timer) {
        assert!(timer.is_of(stream.stream()), "its own timer");
        self.0.on_timer(stream, conn, timer);
    }

    fn on_close(&mut self, context: &mut Context<'_>, id: StreamId, conn: (), reason: CloseReason) {
        self.0.on_close(context, id, conn, reason);
    }
}

fn a_cipher_seals_everything_the_service_writes<W: World>() {
    let mut world = W::new();
    let service = Reverse::default();
    let closes = Rc::clone(&service.closes);
    let wrapped = Xor::new(0x5a, Framed::new(Lines::new(100), Greeter(service)));
    let handle = world
        .server()
        .add_stream_service(wrapped, StreamOptions::default());
    let at = world.listen(handle);
    let client = Probe::new()
        .open(|stream| {
            stream.set_timer(Duration::from_millis(10), 0);
        })
        .timer(|stream, _| {
            let _ = stream.write(&xor(0x5a, b"abc\nde\nquit\n"));
        })
        .connect(&mut world, at);
    let log = client.log.clone();
    world.until("closed", || {
        log.has(&Told::Dropped) && !closes.borrow().is_empty()
    });
    assert_eq!(
        xor(0x5a, &client.log.received(0)),
        b"welcome\ntimer 17\ncba\ned\n"
    );
    assert_eq!(*closes.borrow(), ["closed"]);
    assert_eq!(world.server().stats().panics, 0);
}

fn a_cipher_in_a_cipher<W: World>() {
    let mut world = W::new();
    let service = Greeter(Reverse::default());
    let wrapped = Xor::new(1, Xor::new(2, Framed::new(Lines::new(100), service)));
    let handle = world
        .server()
        .add_stream_service(wrapped, StreamOptions::default());
    let at = world.listen(handle);
    let both = |data: &[u8]| xor(1, &xor(2, data));
    let client = Probe::new()
        .open(|stream| {
            stream.set_timer(Duration::from_millis(10), 0);
        })
        .timer(move |stream, _| {
            let _ = stream.write(&both(b"abc\nquit\n"));
        })
        .connect(&mut world, at);
    let log = client.log.clone();
    world.until("closed", || log.has(&Told::Dropped));
    assert_eq!(both(&client.log.received(0)), b"welcome\ntimer 17\ncba\n");
    assert_eq!(world.server().stats().panics, 0);
}

fn others_write_through_the_cipher_and_close_behind_it<W: World>() {
    let mut world = W::new();
    let probe = Probe::new();
    let inner = probe.log.clone();
    let handle = world
        .server()
        .add_stream_service(Xor::new(9, probe), StreamOptions::default());
    let at = world.listen(handle);
    let client = Probe::new().connect(&mut world, at);
    let log = client.log.clone();
    world.until("open", || inner.opened() == 1 && log.opened() == 1);
    let id = inner.id(0);
    let remote = world.server().remote();
    remote.send(id, *b"from afar, ").unwrap();
    world.until("the first", || log.received_len(0) == 11);
    world.server().with(handle, |_, context| {
        assert_eq!(context.write(id, b"from near, "), Sent::Queued);
        let mut stream = context.stream(id).unwrap();
        assert_eq!(stream.write_shared(&Arc::from(&b"shared"[..])), Sent::Queued);
        assert_eq!(stream.queued(), 17);
        stream.close();
        assert_eq!(
            stream.write(b"too late"),
            Sent::Gone,
            "it is closing, though the wrapper still has to send"
        );
    });
    world.until("closed", || log.has(&Told::Dropped) && inner.has(&Told::Dropped));
    assert_eq!(xor(9, &client.log.received(0)), b"from afar, from near, shared");
    assert_eq!(inner.closes(), ["closed"]);
}

/// The way out that is not the stream: it must not lead around the wrapper.
fn what_the_wrapped_service_reaches_through_the_context_is_sealed_too<W: World>() {
    let mut world = W::new();
    let probe = Probe::new().data(|stream, data| {
        let own = stream.id();
        assert!(stream.context().write(own, b"by the context").is_taken());
        data.len()
    });
    let handle = world
        .server()
        .add_stream_service(Xor::new(33, probe), StreamOptions::default());
    let at = world.listen(handle);
    let client = Probe::new()
        .open(|stream| {
            let _ = stream.write(&xor(33, b"x"));
        })
        .connect(&mut world, at);
    let log = client.log.clone();
    world.until("the answer", || log.received_len(0) == 14);
    assert_eq!(xor(33, &client.log.received(0)), b"by the context");
}

fn a_file_does_not_pass_a_cipher<W: World>() {
    let mut world = W::new();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"plain").unwrap();
    let file = Arc::new(file);
    let for_inner = Arc::clone(&file);
    let probe =
        Probe::new().open(move |stream| assert_eq!(stream.send_file(&for_inner, 0, 5), Sent::TooLarge));
    let inner = probe.log.clone();
    let handle = world
        .server()
        .add_stream_service(Xor::new(9, probe), StreamOptions::default());
    let at = world.listen(handle);
    let _client = Probe::new().connect(&mut world, at);
    world.until("open", || inner.opened() == 1);
    let id = inner.id(0);
    let sent = world.server().with(handle, |_, context| {
        context.stream(id).unwrap().send_file(&file, 0, 5)
    });
    assert_eq!(sent, Some(Sent::TooLarge));
    assert_eq!(world.server().stats().panics, 0);
}

fn captured_output_is_bounded_and_complete<W: World>() {
    let mut world = W::new();
    let watermarks = Watermarks {
        high: 100_000,
        low: 10_000,
        max_write: 60_000,
        ..Watermarks::default()
    };
    let options = StreamOptions {
        watermarks,
        ..StreamOptions::default()
    };
    let data = pattern(3_000_000);
    let expected = data.clone();
    let mut sent = 0;
    let mut fill = move |stream: &mut Stream<'_>| {
        assert_eq!(stream.write(&[0; 60_001]), Sent::TooLarge);
        let mut here = 0;
        while sent < data.len() {
            match stream.write(&data[sent..(sent + 60_000).min(data.len())]) {
                Sent::Full => return,
                taken => assert!(taken.is_taken(), "{taken:?}"),
            }
            let len = 60_000.min(data.len() - sent);
            sent += len;
            here += len;
            assert!(here < 160_000, "{here} bytes in one callback");
        }
        stream.close();
    };
    let probe = Probe::new()
        .open(|stream| stream.notify_writable())
        .writable(move |stream| fill(stream));
    let inner = probe.log.clone();
    let handle = world.server().add_stream_service(Xor::new(77, probe), options);
    let at = world.listen(handle);
    let client = Probe::new().connect(&mut world, at);
    let log = client.log.clone();
    world.until("closed", || log.has(&Told::Dropped) && inner.has(&Told::Dropped));
    assert!(xor(77, &client.log.received(0)) == expected);
    assert_eq!(world.server().stats().panics, 0);
}

fn room_asked_for_while_bytes_wait_for_the_wrapper_is_answered<W: World>() {
    let mut world = W::new();
    let watermarks = Watermarks {
        high: 10_000,
        low: 0,
        ..Watermarks::default()
    };
    let options = StreamOptions {
        watermarks,
        ..StreamOptions::default()
    };
    let probe = Probe::new();
    let inner = probe.log.clone();
    let handle = world.server().add_stream_service(Xor::new(5, probe), options);
    let at = world.listen(handle);
    let client = Probe::new().connect(&mut world, at);
    let log = client.log.clone();
    world.until("open", || inner.opened() == 1 && log.opened() == 1);
    let id = inner.id(0);
    world.server().with(handle, |_, context| {
        assert_eq!(context.write(id, &[0; 20_000]), Sent::Queued);
        assert_eq!(context.write(id, b"x"), Sent::Full);
    });
    world.until("room", || inner.has(&Told::Writable));
    world.until("everything", || log.received_len(0) == 20_000);
    // And reading has gone on too.
    let peer = client.log.id(0);
    let _ = world
        .client()
        .with(client.handle, |_, context| context.write(peer, b"hello"));
    world.until("it reads", || inner.received_len(0) == 5);
}

fn a_bulk_echo_through_a_cipher_is_complete<W: World>() {
    let mut world = W::new();
    let echo = Probe::new().data(|stream, data| {
        if stream.write(data).is_taken() {
            data.len()
        } else {
            0
        }
    });
    let handle = world
        .server()
        .add_stream_service(Xor::new(3, Xor::new(4, echo)), StreamOptions::default());
    let at = world.listen(handle);
    let data = Rc::new(xor(3, &xor(4, &pattern(12 << 20))));
    let sent = Rc::new(std::cell::Cell::new(0));
    let all = Rc::clone(&data);
    let push = move |stream: &mut Stream<'_>| {
        while sent.get() < all.len() {
            let end = all.len().min(sent.get() + 60_000);
            if !stream.write(&all[sent.get()..end]).is_taken() {
                return;
            }
            sent.set(end);
        }
    };
    let again = push.clone();
    let client = Probe::new().open(push).writable(again).connect(&mut world, at);
    let log = client.log.clone();
    world.until("all of it", || log.received_len(0) == 12 << 20);
    assert!(client.log.received(0) == *data);
}
