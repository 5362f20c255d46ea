//! Frames cut out of what arrives, however it is cut.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use sockeye_event_loop::codec::{
    Codec, Fixed, FrameError, FrameService, FrameStream, Framed, LengthPrefixed, Lines, Width,
};
use sockeye_event_loop::{CloseReason, Context, StreamId, StreamOptions, Watermarks};
use sockeye_tests::pattern;

use crate::probe::{Probe, Told};
use crate::world::World;

in_all_worlds!(
    lines_come_whole_however_they_are_cut,
    length_prefixed_frames_come_whole,
    fixed_frames_come_whole,
    a_frame_that_is_too_long_is_an_error,
    a_frame_handler_that_closes_gets_no_more_frames,
);

/// Echoes frames in reverse; keeps what it saw.
#[derive(Default)]
pub struct Reverse {
    seen: Rc<RefCell<Vec<Vec<u8>>>>,
    errors: Rc<RefCell<Vec<FrameError>>>,
    pub closes: Rc<RefCell<Vec<String>>>,
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

    fn on_timer(&mut self, stream: &mut FrameStream<'_, '_>, _: &mut (), key: u64) {
        let _ = stream.send(format!("timer {key}").as_bytes()).unwrap();
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
