//! A conversation between stdin and stdout and a peer: what `connect` and `listen` share.
//!
//! | module | what |
//! |---|---|
//! | [`Talk`] | the side of this program: what waits for the peer, what waits for stdout, and how it ended |
//! | [`options`] | the arguments that both commands have |
//! | [`stream`] | the peer's side, where it is a connection of streams: a service of the event loop |
//! | [`message`] | the peer's side, where messages keep their boundaries: UDP, Unix datagrams and seqpackets |
//! | [`carry`] | the loop that waits for all of them |
//! | [`allow`], [`hex`], [`stdout`], [`trust`] | who may come, the dump, stdout that does not block, TLS |
//! | [`errors`] | what went wrong, and what to do |
//!
//! Messages have no service of the event loop: it takes datagrams as they come, and what stdout does not take would have
//! to be dropped. Here they wait in the kernel, so that a Unix sender is held up and nothing is lost.

pub(crate) mod allow;
pub(crate) mod carry;
pub(crate) mod errors;
mod hex;
pub(crate) mod message;
pub(crate) mod options;
#[cfg(feature = "quic")]
pub(crate) mod quic;
pub(crate) mod stdout;
pub(crate) mod stream;
pub(crate) mod trust;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};

use hex::Dump;
use options::Talking;
use stdout::Backlog;

/// Bytes for stdout that may wait before the peer is not read from any more.
const MAX_WAITING: usize = 64 * 1024;
/// Pieces of stdin for a stream.
pub(crate) const STREAM_PIECE: usize = 64 * 1024;

/// How it ended.
#[derive(Debug)]
pub(crate) enum End {
    Closed,
    /// On the peer's side.
    Peer(anyhow::Error),
    /// On this side: stdin, stdout, a file.
    Here(anyhow::Error),
}

/// How stdin becomes pieces for the peer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    /// The longest piece of what comes as it comes.
    pub(crate) piece: usize,
    /// The longest line that is one piece.
    pub(crate) line: usize,
}

/// This side of the conversation.
#[derive(Debug)]
pub(crate) struct Talk {
    cut: Cut,
    by_line: bool,
    crlf: bool,
    after_cr: bool,
    /// A line of stdin that has not ended yet.
    partial: Vec<u8>,
    pieces: VecDeque<Vec<u8>>,
    pub(crate) input_ended: bool,
    output: Backlog,
    tee: Option<File>,
    dump: Option<Dump>,
    pub(crate) end: Option<End>,
    /// When bytes went either way or to stdout the last time, or the peer came.
    pub(crate) active_at: Instant,
    /// When everything of stdin had gone to the peer.
    pub(crate) done_at: Option<Instant>,
    /// Events that stdout had no room for, of `listen --exec`.
    lost: u64,
}

impl Talk {
    /// # Errors
    /// When the file of `--tee` cannot be made.
    pub(crate) fn new(options: &Talking, cut: Cut) -> anyhow::Result<Self> {
        let create = |path: &PathBuf| File::create(path).with_context(|| format!("--tee {}", path.display()));
        Ok(Self {
            cut,
            by_line: options.line,
            crlf: options.crlf,
            after_cr: false,
            partial: Vec::new(),
            pieces: VecDeque::new(),
            input_ended: false,
            output: Backlog::default(),
            tee: options.tee.as_ref().map(create).transpose()?,
            dump: options.hex.then(Dump::default),
            end: None,
            active_at: Instant::now(),
            done_at: None,
            lost: 0,
        })
    }

    /// A peer is there, or nobody was before it.
    pub(crate) fn begin(&mut self) {
        self.active_at = Instant::now();
        self.done_at = None;
        if let Some(dump) = &mut self.dump {
            *dump = Dump::default();
        }
    }

    /// The first end stays.
    pub(crate) fn ends(&mut self, end: End) {
        self.end.get_or_insert(end);
    }

    /// Whether stdin is to be read: what was read before is gone, and its dump has room.
    pub(crate) fn wants_input(&self) -> bool {
        let has_room = self.dump.is_none() || !self.is_full();
        self.pieces.is_empty() && has_room && !self.input_ended && self.end.is_none()
    }

    /// What a read of stdin returned.
    pub(crate) fn input(&mut self, input: io::Result<&[u8]>) {
        match input {
            Ok([]) => {
                let rest = std::mem::take(&mut self.partial);
                self.push(&rest);
                self.input_ended = true;
            }
            Ok(bytes) if self.by_line => self.lines(bytes),
            Ok(bytes) => self.push(bytes),
            // Somebody else has read it, or has made it non-blocking.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) => {}
            Err(error) => self.ends(End::Here(anyhow!(error).context("read stdin"))),
        }
    }

    /// Lines leave whole. One that is longer than a piece may be leaves in several.
    fn lines(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.partial.extend_from_slice(part);
            if part.ends_with(b"\n") || self.partial.len() >= self.cut.line {
                let line = std::mem::take(&mut self.partial);
                self.push(&line);
            }
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        let longer;
        let bytes = if self.crlf {
            longer = self.with_crlf(bytes);
            longer.as_slice()
        } else {
            bytes
        };
        let len = if self.by_line {
            self.cut.line
        } else {
            self.cut.piece
        };
        self.pieces.extend(bytes.chunks(len.max(1)).map(<[u8]>::to_vec));
    }

    /// Line feeds with the carriage return that they lack.
    fn with_crlf(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut longer = Vec::with_capacity(bytes.len() + 16);
        for byte in bytes {
            if *byte == b'\n' && !self.after_cr {
                longer.push(b'\r');
            }
            self.after_cr = *byte == b'\r';
            longer.push(*byte);
        }
        longer
    }

    /// The next piece for the peer.
    pub(crate) fn piece(&self) -> Option<&[u8]> {
        self.pieces.front().map(Vec::as_slice)
    }

    /// The peer has that piece.
    pub(crate) fn piece_is_sent(&mut self) {
        let Some(piece) = self.pieces.pop_front() else {
            return;
        };
        self.active_at = Instant::now();
        if let Some(dump) = &mut self.dump {
            dump.sent(&piece, self.output.end());
        }
    }

    /// Whether the peer has all that stdin will ever give.
    pub(crate) fn is_all_sent(&self) -> bool {
        self.input_ended && self.pieces.is_empty()
    }

    /// What came from the peer.
    pub(crate) fn received(&mut self, bytes: &[u8]) {
        self.active_at = Instant::now();
        self.tee(bytes);
        match &mut self.dump {
            Some(dump) => dump.received(bytes, self.output.end()),
            None => self.output.end().extend_from_slice(bytes),
        }
    }

    /// A copy of what came from the peer, and nothing else.
    pub(crate) fn tee(&mut self, bytes: &[u8]) {
        if let Some(file) = &mut self.tee
            && let Err(error) = file.write_all(bytes)
        {
            self.tee = None;
            self.ends(End::Here(anyhow!(error).context("write to the file of --tee")));
        }
    }

    /// Whether the peer has to wait for stdout.
    pub(crate) fn is_full(&self) -> bool {
        self.output.len() >= MAX_WAITING
    }

    pub(crate) fn has_output(&self) -> bool {
        self.output.len() > 0
    }

    /// Writes what waits to stdout, as far as it takes it.
    pub(crate) fn flush(&mut self, stdout: &mut stdout::Stdout) {
        match stdout.write(self.output.rest()) {
            Ok(len) => {
                self.output.wrote(len);
                if len > 0 {
                    self.active_at = Instant::now();
                }
            }
            Err(error) => {
                self.output.clear();
                // Whoever read it has had enough, or it cannot be written: there is no purpose any more.
                self.end = Some(match error.kind() {
                    io::ErrorKind::BrokenPipe => End::Closed,
                    _ => End::Here(anyhow!(error).context("write to stdout")),
                });
            }
        }
    }

    /// A line of a log for stdout, dropped and counted where stdout is not read.
    pub(crate) fn log(&mut self, line: &[u8]) {
        if self.is_full() {
            self.lost += 1;
        } else {
            self.output.end().extend_from_slice(line);
        }
    }

    /// How many lines were dropped since it was said the last time; 0 while there is no room for saying it either.
    pub(crate) fn take_lost(&mut self) -> u64 {
        if self.is_full() {
            return 0;
        }
        std::mem::take(&mut self.lost)
    }
}

/// When waiting is over.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limits {
    /// Without a byte either way.
    pub(crate) idle: Option<Duration>,
    /// After the end of stdin.
    pub(crate) linger: Option<Duration>,
    /// Without a byte, after the end of stdin.
    pub(crate) silence: Option<Duration>,
}

impl Limits {
    /// The first moment at which one of them is over. While stdout does not take what waits, the peer may not be read from:
    /// that it is silent says nothing then.
    pub(crate) fn due(&self, talk: &Talk) -> Option<Instant> {
        let idle = self.idle.map(|idle| talk.active_at + idle);
        let linger = self.linger.zip(talk.done_at).map(|(linger, at)| at + linger);
        let silence = self
            .silence
            .zip(talk.done_at)
            .map(|(silence, at)| at.max(talk.active_at) + silence);
        let [idle, silence] = [idle, silence].map(|at| at.filter(|_| !talk.has_output()));
        [idle, linger, silence].into_iter().flatten().min()
    }
}

/// Notes about peers, one a second at most: a flood of them must not become a flood of lines.
#[derive(Debug, Default)]
pub(crate) struct Sparing {
    last: Option<Instant>,
}

impl Sparing {
    /// Whether it is time for another one.
    pub(crate) fn may(&mut self) -> bool {
        let now = Instant::now();
        let is_time = self
            .last
            .is_none_or(|last| now.duration_since(last) >= Duration::from_secs(1));
        if is_time {
            self.last = Some(now);
        }
        is_time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn talk(line: bool, crlf: bool) -> Talk {
        let options = Talking {
            line,
            crlf,
            ..Talking::default()
        };
        Talk::new(&options, Cut { piece: 4, line: 6 }).unwrap()
    }

    fn pieces(talk: &mut Talk) -> Vec<Vec<u8>> {
        talk.pieces.drain(..).collect()
    }

    #[test]
    fn pieces_are_no_longer_than_the_peer_takes() {
        let mut talk = talk(false, false);
        talk.input(Ok(b"abcdefghij"));
        assert!(!talk.wants_input());
        assert_eq!(pieces(&mut talk), [&b"abcd"[..], b"efgh", b"ij"]);
    }

    #[test]
    fn lines_leave_whole_and_the_last_one_at_the_end() {
        let mut talk = talk(true, false);
        talk.input(Ok(b"a\nbc"));
        talk.input(Ok(b"d\n\nlonger than six"));
        assert_eq!(
            pieces(&mut talk),
            [&b"a\n"[..], b"bcd\n", b"\n", b"longer", b" than ", b"six"]
        );
        talk.input(Ok(b"end"));
        assert!(pieces(&mut talk).is_empty());
        talk.input(Ok(b""));
        assert_eq!(pieces(&mut talk), [&b"end"[..]]);
        assert!(talk.is_all_sent());
    }

    #[test]
    fn a_line_feed_gets_its_carriage_return_once() {
        let mut talk = talk(false, true);
        talk.input(Ok(b"a\nb\r"));
        talk.input(Ok(b"\n\n"));
        assert_eq!(pieces(&mut talk).concat(), b"a\r\nb\r\n\r\n");
    }
}
