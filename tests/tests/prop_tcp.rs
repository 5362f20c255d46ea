//! A connection against a model of one: random reads, writes, shutdowns, closes and aborts on both ends, and after each
//! step the bytes, their order, and the way every call ends are those of the model.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what a test expects and does not get fails it"
)]

mod tcp_common;

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::Shutdown;

use proptest::prelude::*;
use sockeye::tcp::{TcpState, TcpStream};
use sockeye_tests::wait;
use tcp_common::{PATIENCE, pair};

#[derive(Clone, Copy, Debug)]
enum Way {
    Plain,
    Vectored,
    /// Through `&TcpStream`, and `read_uninit` for reads.
    Other,
}

#[derive(Clone, Debug)]
enum Step {
    Write {
        end: usize,
        len: usize,
        way: Way,
    },
    Read {
        end: usize,
        len: usize,
        way: Way,
    },
    Peek {
        end: usize,
        len: usize,
    },
    Shutdown {
        end: usize,
        how: Shutdown,
    },
    /// Drops the stream: a FIN, or a reset where it has not read everything.
    Close {
        end: usize,
    },
    Abort {
        end: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let end = || 0..2_usize;
    let way = || prop_oneof![Just(Way::Plain), Just(Way::Vectored), Just(Way::Other)];
    let len = || prop_oneof![1..20_usize, 1..2000_usize, 10_000..60_000_usize];
    let how = prop_oneof![4 => Just(Shutdown::Write), 1 => Just(Shutdown::Read), 1 => Just(Shutdown::Both)];
    let step = prop_oneof![
        10 => (end(), len(), way()).prop_map(|(end, len, way)| Step::Write { end, len, way }),
        10 => (end(), len(), way()).prop_map(|(end, len, way)| Step::Read { end, len, way }),
        3 => (end(), len()).prop_map(|(end, len)| Step::Peek { end, len }),
        1 => (end(), how).prop_map(|(end, how)| Step::Shutdown { end, how }),
        1 => end().prop_map(|end| Step::Close { end }),
        1 => end().prop_map(|end| Step::Abort { end }),
    ];
    proptest::collection::vec(step, 1..60)
}

/// The `at`th byte that an end ever sends; far from periodic, so that a lost or swapped piece shows.
fn byte(end: usize, at: u64) -> u8 {
    let mixed = (at + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (end as u64) << 7;
    (mixed >> 29).to_le_bytes()[0]
}

/// What one end should see.
#[derive(Clone, Copy, Debug, Default)]
struct End {
    /// Bytes ever written, and ever read by the other end.
    written: u64,
    taken: u64,
    write_closed: bool,
    read_closed: bool,
    gone: bool,
    /// The other end has reset: the next call that finds nothing else says so.
    reset: bool,
    /// It has been said.
    reset_told: bool,
}

impl End {
    /// Closed, or shut down both ways: data for it is answered by a reset (RFC 1122, section 4.2.2.13).
    fn hears_nothing(&self) -> bool {
        self.gone || (self.read_closed && self.write_closed)
    }
}

/// Bytes under way below which a write may not be refused.
const ROOM: u64 = 4096;

struct Pair {
    streams: [Option<TcpStream>; 2],
    ends: [End; 2],
}

impl Pair {
    fn new() -> Self {
        let (one, other) = pair();
        Self {
            streams: [Some(one), Some(other)],
            ends: [End::default(); 2],
        }
    }

    fn stream(&self, end: usize) -> &TcpStream {
        self.streams[end]
            .as_ref()
            .expect("steps of an end that is gone are left out")
    }

    /// Bytes that `end` can still read.
    fn unread(&self, end: usize) -> u64 {
        self.ends[1 - end].written - self.ends[1 - end].taken
    }

    fn step(&mut self, step: &Step) {
        let (Step::Write { end, .. }
        | Step::Read { end, .. }
        | Step::Peek { end, .. }
        | Step::Shutdown { end, .. }
        | Step::Close { end }
        | Step::Abort { end }) = *step;
        if self.ends[end].gone {
            return;
        }
        match *step {
            Step::Write { len, way, .. } => self.write(end, len, way),
            Step::Read { len, way, .. } => self.read(end, len, Some(way)),
            Step::Peek { len, .. } => self.read(end, len, None),
            Step::Shutdown { how, .. } => self.shutdown(end, how),
            Step::Close { .. } => self.close(end),
            Step::Abort { .. } => self.abort(end),
        }
    }

    fn write(&mut self, end: usize, len: usize, way: Way) {
        let model = self.ends[end];
        if self.ends[1 - end].hears_nothing() && !model.reset {
            // What becomes of bytes for nobody depends on when the answer comes, which is a reset.
            return;
        }
        let data: Vec<u8> = (0..len as u64).map(|at| byte(end, model.written + at)).collect();
        let mut stream = self.stream(end);
        let answer = match way {
            Way::Plain => stream.write(&data),
            Way::Vectored => {
                let (first, rest) = data.split_at(len / 3);
                let (second, third) = rest.split_at(rest.len() / 2);
                stream.write_vectored(&[IoSlice::new(first), IoSlice::new(second), IoSlice::new(third)])
            }
            Way::Other => stream.socket().send(&data),
        };
        let model = &mut self.ends[end];
        match answer {
            Ok(written) => {
                assert!((1..=len).contains(&written), "{written} of {len} bytes");
                assert!(
                    !model.write_closed && !model.reset,
                    "a write after the end: {model:?}"
                );
                model.written += written as u64;
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => {
                    let under_way = model.written - model.taken;
                    assert!(under_way >= ROOM, "no room with {under_way} bytes under way");
                }
                ErrorKind::ConnectionReset => {
                    assert!(model.reset && !model.reset_told, "{model:?}");
                    model.reset_told = true;
                }
                ErrorKind::BrokenPipe => {
                    let told = model.reset && model.reset_told;
                    assert!(told || (model.write_closed && !model.reset), "{model:?}");
                }
                _ => panic!("{error}"),
            },
        }
    }

    /// Reads in some way, or looks without taking.
    fn read(&mut self, end: usize, len: usize, way: Option<Way>) {
        let unread = self.unread(end);
        let (model, other) = (self.ends[end], self.ends[1 - end]);
        let stream = self.stream(end);
        // A deadline where something has to come; where nothing may come, the answer is there at once.
        let ended = other.write_closed || other.gone || model.reset;
        if unread > 0 || ended {
            assert!(
                stream.wait_readable(PATIENCE).unwrap(),
                "nothing of {unread} bytes came"
            );
        }
        if unread > 0 && model.read_closed && !model.reset {
            // Always readable, for the end that reading has; what is under way still comes.
            wait::until("bytes have come", PATIENCE, || stream.unread().unwrap() > 0);
        }
        let answer = take(stream, len, way);
        let Some(bytes) = answer.as_ref().ok().filter(|bytes| !bytes.is_empty()) else {
            return self.nothing_read(end, unread, answer.err());
        };
        assert!(bytes.len() as u64 <= unread, "{} bytes of {unread}", bytes.len());
        for (at, &read) in (other.taken..).zip(bytes) {
            assert_eq!(read, byte(1 - end, at), "byte {at}");
        }
        if way.is_some() {
            self.ends[1 - end].taken += bytes.len() as u64;
        }
    }

    fn nothing_read(&mut self, end: usize, unread: u64, error: Option<io::Error>) {
        assert_eq!(unread, 0, "bytes are missing: {error:?}");
        let other = self.ends[1 - end];
        let model = &mut self.ends[end];
        let finished = other.write_closed || (other.gone && !model.reset);
        match error.map(|error| error.kind()) {
            None => assert!(
                finished || model.read_closed || model.reset_told,
                "an end too early: {model:?}"
            ),
            Some(ErrorKind::WouldBlock) => {
                assert!(
                    !finished && !model.read_closed && !model.reset,
                    "no end: {model:?} {other:?}"
                );
            }
            Some(ErrorKind::ConnectionReset) => {
                assert!(model.reset && !model.reset_told, "{model:?}");
                model.reset_told = true;
            }
            Some(kind) => panic!("{kind:?}"),
        }
    }

    fn shutdown(&mut self, end: usize, how: Shutdown) {
        let answer = self.stream(end).shutdown(how);
        let other_gone = self.ends[1 - end].gone;
        let model = &mut self.ends[end];
        match answer {
            Ok(()) => {
                assert!(!model.reset, "{model:?}");
                model.write_closed |= how != Shutdown::Read;
                model.read_closed |= how != Shutdown::Write;
                let deaf = model.hears_nothing();
                let here = self.stream(end).unread().unwrap_or(0) as u64;
                if deaf && here < self.unread(end) {
                    // Bytes that are still under way will reset the connection, whenever they come.
                    self.ends.iter_mut().for_each(|end| end.gone = true);
                }
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NotConnected);
                // Reset, or ended on both sides.
                assert!(
                    model.reset || (model.write_closed && other_gone) || self.both_ended(),
                    "{error}"
                );
            }
        }
    }

    fn both_ended(&self) -> bool {
        self.ends.iter().all(|end| end.write_closed)
    }

    fn close(&mut self, end: usize) {
        // Everything that is under way has to be here, or the kernel may still find it unread or not.
        let unread = self.unread(end);
        let stream = self.stream(end);
        if unread > 0 && !self.ends[end].reset {
            assert!(stream.wait_readable(PATIENCE).unwrap());
        }
        let resets = unread > 0 && !self.ends[end].reset;
        let stream = self.streams[end].take().expect("it is not gone");
        drop(stream);
        self.left(end, resets);
    }

    fn abort(&mut self, end: usize) {
        let stream = self.streams[end].take().expect("it is not gone");
        stream.abort().unwrap();
        let resets = !self.ends[end].reset;
        self.left(end, resets);
    }

    /// `end` is gone, and may have reset the connection.
    fn left(&mut self, end: usize, resets: bool) {
        self.ends[end].gone = true;
        let other = 1 - end;
        if self.ends[other].gone || !resets {
            return;
        }
        let stream = self.stream(other);
        if self.ends[end].write_closed {
            // Its FIN came first: what was sent before it may be cut, and how it ends depends on what arrived. The model
            // has no more to say.
            self.ends[other].gone = true;
            return;
        }
        wait::until("the reset has come", PATIENCE, || {
            stream.info().unwrap().state() == TcpState::Closed
        });
        // What had arrived is readable; what had not is lost: a piece at the end, never one before it.
        let here = stream.unread().unwrap() as u64;
        let unread = self.unread(other);
        assert!(here <= unread, "{here} of {unread} bytes");
        self.ends[end].written = self.ends[end].taken + here;
        self.ends[other].reset = true;
    }

    /// Reads both directions to their end, whatever that is.
    fn finish(&mut self) {
        for end in 0..2 {
            if !self.ends[end].gone && !self.ends[end].write_closed && !self.ends[end].reset {
                self.shutdown(end, Shutdown::Write);
            }
        }
        for end in 0..2 {
            while !self.ends[end].gone && self.unread(end) > 0 {
                self.read(end, 65_536, Some(Way::Plain));
            }
            if !self.ends[end].gone {
                // The end itself, twice: it stays.
                self.read(end, 16, Some(Way::Plain));
                self.read(end, 16, Some(Way::Plain));
            }
        }
    }
}

fn take(mut stream: &TcpStream, len: usize, way: Option<Way>) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let read = match way {
        None => stream.peek(&mut bytes)?,
        Some(Way::Plain) => stream.read(&mut bytes)?,
        Some(Way::Vectored) => {
            let (first, second) = bytes.split_at_mut(len / 2);
            stream.read_vectored(&mut [IoSliceMut::new(first), IoSliceMut::new(second)])?
        }
        Some(Way::Other) => {
            let mut uninit = vec![MaybeUninit::new(0_u8); len];
            let read = stream.read_uninit(&mut uninit)?;
            for (to, from) in bytes.iter_mut().zip(&uninit[..read]) {
                // The first `read` are initialised, and so were all before.
                *to = initialised(*from);
            }
            read
        }
    };
    bytes.truncate(read);
    Ok(bytes)
}

#[expect(unsafe_code, reason = "the one way to look into what read_uninit has filled")]
fn initialised(byte: MaybeUninit<u8>) -> u8 {
    // SAFETY: the caller made it with `MaybeUninit::new`.
    unsafe { byte.assume_init() }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn prop_a_connection_is_what_its_model_says(steps in steps()) {
        let mut pair = Pair::new();
        for step in &steps {
            pair.step(step);
        }
        pair.finish();
    }
}
