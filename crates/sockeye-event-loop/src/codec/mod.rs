//! Services around services: frames, and what seals or ciphers a stream.
//!
//! A wrapper is a [`StreamService`](crate::StreamService) that has another one inside. It gives its inner
//! service [`Stream::captured`](crate::Stream::captured): what that writes lands in a [`Capture`], bounded by
//! the connection's high watermark, and the wrapper seals it and writes it on with
//! [`Stream::write_sealed`](crate::Stream::write_sealed). Timers that the inner one sets
//! are told apart by [`Timer::is_of`](crate::Timer::is_of), its close by [`Capture::finish`]. With
//! [`WRAPS`](crate::StreamService::WRAPS) set, what others write to the connection comes through the wrapper's
//! `on_outgoing` too. TLS has this shape.
//!
//! What the inner service did not consume the wrapper keeps, and offers it again in `on_writable` and with what comes
//! next; while there is some and [`Stream::is_reading`](crate::Stream::is_reading) says no, it consumes nothing itself.
//!
//! [`Framed`] is not that: its frames are cut out of what arrives, and it writes through the stream it has.

mod capture;
mod fixed;
mod framed;
mod length_prefixed;
mod lines;

pub use capture::Capture;
pub(crate) use capture::End;
pub use fixed::Fixed;
pub use framed::{Codec, Found, FrameError, FrameService, FrameStream, Framed};
pub use length_prefixed::{LengthPrefixed, Width};
pub use lines::Lines;
