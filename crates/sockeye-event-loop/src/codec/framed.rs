//! Frames cut out of a stream, for services that think in messages.

use std::fmt;
use std::ops::Range;

use crate::context::Context;
use crate::id::{ListenerId, StreamId};
use crate::outcome::{CloseReason, ConnectFailure, Message, Relayed, Sent};
use crate::service::StreamService;
use crate::stream::Stream;

/// What a codec found at the beginning of the bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    /// No whole frame yet; the first so many bytes need not be looked at again.
    Partial {
        /// Bytes that were searched.
        searched: usize,
        /// Bytes that the frame takes up with everything around it; 0 while that is not known. Until so many are there
        /// nothing is looked at again.
        len: usize,
    },
    /// A frame.
    Frame {
        /// Where its content is.
        content: Range<usize>,
        /// Bytes it takes up with everything around it.
        len: usize,
    },
}

/// Bytes that are no frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A frame is longer than is allowed, or will be.
    #[error("frame of {len} bytes, {max} are allowed")]
    TooLong {
        /// Its length as far as it is known.
        len: usize,
        /// The cap.
        max: usize,
    },
    /// A frame to be sent cannot be written in this codec: a line with a line break, a wrong length.
    #[error("the codec cannot carry this frame")]
    Unsendable,
}

/// How frames are cut and written.
pub trait Codec: 'static {
    /// Looks for a frame at the beginning of `data`, of which `searched` bytes were looked at before.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] as soon as it is certain.
    fn find(&self, data: &[u8], searched: usize) -> Result<Found, FrameError>;

    /// Appends a frame to `out`.
    ///
    /// # Errors
    /// When it is longer than is allowed or cannot be carried; `out` is as before then.
    fn encode(&self, frame: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError>;
}

/// A connection that carries frames, while a callback runs.
pub struct FrameStream<'a, 's> {
    stream: &'a mut Stream<'s>,
    codec: &'a dyn Codec,
    scratch: &'a mut Vec<u8>,
}

impl<'s> FrameStream<'_, 's> {
    /// Sends a frame, whole or not at all.
    ///
    /// # Errors
    /// When the codec cannot carry it. What became of it otherwise is in the answer.
    pub fn send(&mut self, frame: &[u8]) -> Result<Sent, FrameError> {
        self.scratch.clear();
        self.codec.encode(frame, self.scratch)?;
        Ok(self.stream.write(self.scratch))
    }

    /// The stream below: everything but writing goes through it.
    pub fn stream(&mut self) -> &mut Stream<'s> {
        self.stream
    }
}

impl fmt::Debug for FrameStream<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stream.fmt(f)
    }
}

/// What runs on a connection that carries frames. The callbacks are those of [`StreamService`].
pub trait FrameService: 'static {
    /// State of one connection.
    type Conn: 'static;

    /// A connection stands.
    fn on_open(&mut self, stream: &mut FrameStream<'_, '_>) -> Self::Conn;

    /// A frame has arrived. While output is at the high watermark, and while reading is paused, none is offered.
    fn on_frame(&mut self, stream: &mut FrameStream<'_, '_>, conn: &mut Self::Conn, frame: &mut [u8]);

    /// What arrived is no frame. Aborts by default: where the next one begins, nobody knows.
    fn on_frame_error(&mut self, stream: &mut FrameStream<'_, '_>, conn: &mut Self::Conn, error: FrameError) {
        let _ = (conn, error);
        stream.stream().abort();
    }

    /// As [`StreamService::on_writable`].
    fn on_writable(&mut self, stream: &mut FrameStream<'_, '_>, conn: &mut Self::Conn) {
        let _ = (stream, conn);
    }

    /// As [`StreamService::on_eof`]; a frame that was cut off is gone.
    fn on_eof(&mut self, stream: &mut FrameStream<'_, '_>, conn: &mut Self::Conn) {
        let _ = conn;
        stream.stream().close();
    }

    /// As [`StreamService::on_timer`].
    fn on_timer(&mut self, stream: &mut FrameStream<'_, '_>, conn: &mut Self::Conn, key: u64) {
        let _ = (stream, conn, key);
    }

    /// As [`StreamService::on_message`].
    fn on_message(&mut self, stream: &mut FrameStream<'_, '_>, conn: &mut Self::Conn, message: Message) {
        let _ = (stream, conn, message);
    }

    /// As [`StreamService::on_drain`].
    fn on_drain(&mut self, stream: &mut FrameStream<'_, '_>, conn: &mut Self::Conn) {
        let _ = conn;
        stream.stream().close();
    }

    /// As [`StreamService::on_connect_error`].
    fn on_connect_error(&mut self, context: &mut Context<'_>, failure: ConnectFailure) {
        let _ = (context, failure);
    }

    /// As [`StreamService::on_listener_lost`].
    fn on_listener_lost(&mut self, context: &mut Context<'_>, listener: ListenerId, error: std::io::Error) {
        let _ = (context, listener, error);
    }

    /// As [`StreamService::on_service_timer`].
    fn on_service_timer(&mut self, context: &mut Context<'_>, key: u64) {
        let _ = (context, key);
    }

    /// As [`StreamService::on_relayed`].
    fn on_relayed(&mut self, conn: &mut Self::Conn, relayed: Relayed) {
        let _ = (conn, relayed);
    }

    /// As [`StreamService::on_close`].
    fn on_close(&mut self, context: &mut Context<'_>, id: StreamId, conn: Self::Conn, reason: CloseReason) {
        let _ = (context, id, conn, reason);
    }
}

/// A frame service as a stream service.
///
/// The service's `max_tail` has to hold a frame: with a smaller one the connection ends by
/// [`CloseReason::TailTooLong`] before the codec's cap is reached.
///
/// ```
/// use sockeye_event_loop::codec::{FrameService, FrameStream, Framed, Lines};
/// use sockeye_event_loop::{EventLoop, StreamOptions};
///
/// /// Answers each line by the same in capitals.
/// struct Shout;
///
/// impl FrameService for Shout {
///     type Conn = ();
///     fn on_open(&mut self, _: &mut FrameStream<'_, '_>) {}
///     fn on_frame(&mut self, stream: &mut FrameStream<'_, '_>, _: &mut (), line: &mut [u8]) {
///         line.make_ascii_uppercase();
///         let _ = stream.send(line);
///     }
/// }
///
/// # fn main() -> std::io::Result<()> {
/// let mut events = EventLoop::new()?;
/// // Lines of up to 1,024 bytes; a longer one ends its connection.
/// let shout = events.add_stream_service(Framed::new(Lines::new(1024), Shout), StreamOptions::default());
/// # let _ = shout;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Framed<C, S> {
    codec: C,
    service: S,
    scratch: Vec<u8>,
}

/// State of a connection that carries frames.
#[derive(Debug)]
pub struct FramedConn<T> {
    conn: T,
    /// Bytes of the unfinished frame that need not be searched again.
    searched: usize,
}

impl<C: Codec, S: FrameService> Framed<C, S> {
    /// `service`, fed by `codec`.
    pub fn new(codec: C, service: S) -> Self {
        Self {
            codec,
            service,
            scratch: Vec::new(),
        }
    }

    /// The service inside.
    pub fn service(&mut self) -> &mut S {
        &mut self.service
    }

    fn parts<'a, 's>(&'a mut self, stream: &'a mut Stream<'s>) -> (&'a mut S, FrameStream<'a, 's>) {
        let frames = FrameStream {
            stream,
            codec: &self.codec,
            scratch: &mut self.scratch,
        };
        (&mut self.service, frames)
    }
}

impl<C: Codec, S: FrameService> StreamService for Framed<C, S> {
    type Conn = FramedConn<S::Conn>;

    fn on_open(&mut self, stream: &mut Stream<'_>) -> Self::Conn {
        let (service, mut frames) = self.parts(stream);
        FramedConn {
            conn: service.on_open(&mut frames),
            searched: 0,
        }
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, conn: &mut Self::Conn, data: &mut [u8]) -> usize {
        let mut consumed = 0;
        // A reply that filled the queue, a pause or a close: the rest waits, or is of no interest.
        while stream.is_reading() {
            let rest = &mut data[consumed..];
            match self.codec.find(rest, conn.searched) {
                Ok(Found::Frame { content, len }) => {
                    conn.searched = 0;
                    consumed += len;
                    let (service, mut frames) = self.parts(stream);
                    let frame = rest.get_mut(content).unwrap_or_default();
                    service.on_frame(&mut frames, &mut conn.conn, frame);
                }
                Ok(Found::Partial { searched, len }) => {
                    conn.searched = searched;
                    stream.want(len);
                    break;
                }
                Err(error) => {
                    let (service, mut frames) = self.parts(stream);
                    service.on_frame_error(&mut frames, &mut conn.conn, error);
                    return data.len();
                }
            }
        }
        consumed
    }

    fn on_writable(&mut self, stream: &mut Stream<'_>, conn: &mut Self::Conn) {
        let (service, mut frames) = self.parts(stream);
        service.on_writable(&mut frames, &mut conn.conn);
    }

    fn on_eof(&mut self, stream: &mut Stream<'_>, conn: &mut Self::Conn) {
        let (service, mut frames) = self.parts(stream);
        service.on_eof(&mut frames, &mut conn.conn);
    }

    fn on_timer(&mut self, stream: &mut Stream<'_>, conn: &mut Self::Conn, key: u64) {
        let (service, mut frames) = self.parts(stream);
        service.on_timer(&mut frames, &mut conn.conn, key);
    }

    fn on_message(&mut self, stream: &mut Stream<'_>, conn: &mut Self::Conn, message: Message) {
        let (service, mut frames) = self.parts(stream);
        service.on_message(&mut frames, &mut conn.conn, message);
    }

    fn on_drain(&mut self, stream: &mut Stream<'_>, conn: &mut Self::Conn) {
        let (service, mut frames) = self.parts(stream);
        service.on_drain(&mut frames, &mut conn.conn);
    }

    fn on_connect_error(&mut self, context: &mut Context<'_>, failure: ConnectFailure) {
        self.service.on_connect_error(context, failure);
    }

    fn on_listener_lost(&mut self, context: &mut Context<'_>, listener: ListenerId, error: std::io::Error) {
        self.service.on_listener_lost(context, listener, error);
    }

    fn on_service_timer(&mut self, context: &mut Context<'_>, key: u64) {
        self.service.on_service_timer(context, key);
    }

    fn on_relayed(&mut self, conn: &mut Self::Conn, relayed: Relayed) {
        self.service.on_relayed(&mut conn.conn, relayed);
    }

    fn on_close(&mut self, context: &mut Context<'_>, id: StreamId, conn: Self::Conn, reason: CloseReason) {
        self.service.on_close(context, id, conn.conn, reason);
    }
}
