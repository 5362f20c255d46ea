//! A connection over the loopback, driven step by step beside its model.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::Shutdown;

use sockeye::tcp::TcpStream;
use sockeye_tests::wait;

use crate::model::{Event, Model, Outcome};
use crate::tcp_common::{PATIENCE, pair};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    Plain,
    Vectored,
    /// Through `&TcpStream`, and `read_uninit` for reads.
    Other,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Write {
        end: usize,
        len: usize,
        way: Way,
    },
    Read {
        end: usize,
        len: usize,
        way: Way,
        waits: bool,
    },
    Peek {
        end: usize,
        len: usize,
        waits: bool,
    },
    Shutdown {
        end: usize,
        how: Shutdown,
    },
    /// Drops the stream: a FIN, or a reset where something is unread.
    Close {
        end: usize,
    },
    Abort {
        end: usize,
    },
}

/// Writes of one byte and reads of a few.
impl Step {
    pub(crate) const fn write(end: usize) -> Self {
        let way = Way::Plain;
        Self::Write { end, len: 1, way }
    }

    pub(crate) const fn read(end: usize, len: usize) -> Self {
        let (way, waits) = (Way::Plain, false);
        Self::Read { end, len, way, waits }
    }
}

/// The `at`th byte that an end ever sends; far from periodic, so that a lost or swapped piece shows.
fn byte(end: usize, at: u64) -> u8 {
    let mixed = (at + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (end as u64) << 7;
    (mixed >> 29).to_le_bytes()[0]
}

pub(crate) struct Pair {
    streams: [Option<TcpStream>; 2],
    model: Model,
    written: [u64; 2],
    taken: [u64; 2],
}

impl Pair {
    pub(crate) fn new() -> Self {
        let (one, other) = pair();
        Self::of(one, other)
    }

    pub(crate) fn of(one: TcpStream, other: TcpStream) -> Self {
        Self {
            streams: [Some(one), Some(other)],
            model: Model::new(),
            written: [0; 2],
            taken: [0; 2],
        }
    }

    /// Keeps what an end writes under way until [`finish`](Self::finish), for want of a whole segment.
    pub(crate) fn hold(&self, end: usize) {
        self.stream(end).set_cork(true).unwrap();
    }

    fn stream(&self, end: usize) -> &TcpStream {
        self.streams[end]
            .as_ref()
            .expect("steps of an end that is gone are left out")
    }

    #[track_caller]
    fn observe(&mut self, end: usize, event: Event) {
        if let Err(error) = self.model.observe(end, event) {
            panic!("{error}");
        }
    }

    pub(crate) fn step(&mut self, step: Step) {
        let (Step::Write { end, .. }
        | Step::Read { end, .. }
        | Step::Peek { end, .. }
        | Step::Shutdown { end, .. }
        | Step::Close { end }
        | Step::Abort { end }) = step;
        if self.streams[end].is_none() {
            return;
        }
        match step {
            Step::Write { len, way, .. } => self.write(end, len, way),
            Step::Read { len, way, waits, .. } => self.read(end, len, Some(way), waits),
            Step::Peek { len, waits, .. } => self.read(end, len, None, waits),
            Step::Shutdown { how, .. } => self.shutdown(end, how),
            Step::Close { .. } => {
                drop(self.streams[end].take());
                self.observe(end, Event::Close);
            }
            Step::Abort { .. } => {
                let stream = self.streams[end].take().expect("it is not gone");
                stream.abort().unwrap();
                self.observe(end, Event::Abort);
            }
        }
    }

    fn write(&mut self, end: usize, len: usize, way: Way) {
        let data: Vec<u8> = (0..len as u64)
            .map(|at| byte(end, self.written[end] + at))
            .collect();
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
        self.written[end] += answer.as_ref().map_or(0, |&written| written as u64);
        let (len, outcome) = (len as u64, outcome(answer));
        self.observe(end, Event::Write { len, outcome });
    }

    /// Reads in some way, or looks without taking (`None`); first waits for what has to come, or not.
    fn read(&mut self, end: usize, len: usize, way: Option<Way>, waits: bool) {
        if waits && self.model.becomes_readable(end) {
            self.wait_readable(end);
        }
        let answer = take(self.stream(end), len, way);
        let bytes = answer.as_ref().map_or(&[][..], Vec::as_slice);
        for (at, &read) in (self.taken[end]..).zip(bytes) {
            assert_eq!(read, byte(1 - end, at), "byte {at}");
        }
        let takes = way.is_some();
        self.taken[end] += if takes { bytes.len() as u64 } else { 0 };
        let outcome = outcome(answer.map(|bytes| bytes.len()));
        let len = len as u64;
        self.observe(end, Event::Read { len, takes, outcome });
    }

    fn wait_readable(&mut self, end: usize) {
        let is_readable = self.stream(end).wait_readable(PATIENCE).unwrap();
        assert!(is_readable, "nothing came to end {end}: {:?}", self.model);
        self.observe(end, Event::Readable);
    }

    fn shutdown(&mut self, end: usize, how: Shutdown) {
        let done = match self.stream(end).shutdown(how) {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::NotConnected => false,
            Err(error) => panic!("{error}"),
        };
        self.observe(end, Event::Shutdown { how, done });
    }

    /// Ends both directions and reads them to their end, whatever that is.
    pub(crate) fn finish(&mut self) {
        for end in 0..2 {
            if self.streams[end].is_some() {
                self.stream(end).set_cork(false).unwrap();
                self.shutdown(end, Shutdown::Write);
            }
        }
        for end in 0..2 {
            if self.streams[end].is_some() {
                self.read_to_end(end);
            }
        }
    }

    fn read_to_end(&mut self, end: usize) {
        loop {
            if self.model.bytes_come(end) {
                // Always readable where reading is shut, so the bytes are what to wait for.
                let unread = wait::value("bytes have come", PATIENCE, || {
                    self.stream(end).unread().ok().filter(|&unread| unread > 0)
                });
                self.observe(end, Event::Unread(unread as u64));
            } else {
                self.wait_readable(end);
            }
            let before = self.taken[end];
            self.read(end, 65_536, Some(Way::Plain), false);
            if self.taken[end] == before && !self.model.bytes_come(end) {
                break;
            }
        }
        // An end stays.
        self.read(end, 16, Some(Way::Plain), false);
    }
}

fn outcome(answer: io::Result<usize>) -> Outcome {
    match answer {
        Ok(bytes) => Outcome::Bytes(bytes as u64),
        Err(error) => match error.kind() {
            ErrorKind::WouldBlock => Outcome::Blocked,
            ErrorKind::ConnectionReset => Outcome::Reset,
            ErrorKind::BrokenPipe => Outcome::BrokenPipe,
            _ => panic!("{error}"),
        },
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
