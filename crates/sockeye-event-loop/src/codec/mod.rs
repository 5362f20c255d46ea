//! Services that think in messages: lines, length-prefixed and fixed frames, and codecs of your own.
//!
//! [`Framed`] is a [`StreamService`](crate::StreamService) around a [`FrameService`]: it cuts frames out of what arrives,
//! and writes through the stream it has. What changes the bytes themselves (a cipher, TLS, a tunnel) is not a codec: it
//! carries a service on a [pair](crate::Context::pair).

mod fixed;
mod framed;
mod length_prefixed;
mod lines;

pub use fixed::Fixed;
pub use framed::{Codec, Found, FrameError, FrameService, FrameStream, Framed};
pub use length_prefixed::{LengthPrefixed, Width};
pub use lines::Lines;
