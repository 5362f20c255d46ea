//! The service that has the first ends: what goes between streams of QUIC and the services inside.

use std::rc::Rc;

use sockeye_event_loop::{CloseReason, Context, Stream, StreamId, StreamOptions, StreamService, Watermarks};

use crate::core::lane::HIGH;
use crate::handle::Shared;

/// Has the first ends of all streams of an endpoint.
pub(crate) struct Ends(pub(crate) Rc<Shared>);

/// Of the ends: what waits in them before a stream is read no further.
pub(crate) fn stream_options() -> StreamOptions {
    StreamOptions {
        watermarks: Watermarks {
            high: HIGH,
            low: HIGH / 4,
            ..Watermarks::default()
        },
        ..StreamOptions::default()
    }
}

impl StreamService for Ends {
    /// The place of the lane.
    type Conn = usize;

    fn on_open(&mut self, stream: &mut Stream<'_>) -> usize {
        let key = usize::try_from(stream.tag()).unwrap_or(usize::MAX);
        self.0.core.borrow_mut().opened(stream, key);
        key
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, key: &mut usize, data: &mut [u8]) -> usize {
        self.0.core.borrow_mut().push(stream, *key, data)
    }

    fn on_writable(&mut self, stream: &mut Stream<'_>, key: &mut usize) {
        self.0.core.borrow_mut().pull(&mut stream.context(), *key);
    }

    fn on_eof(&mut self, stream: &mut Stream<'_>, key: &mut usize) {
        let mut core = self.0.core.borrow_mut();
        core.end_of_inner(&mut stream.context(), *key);
    }

    /// The service inside is asked to end, and this end ends with it, once everything is delivered.
    fn on_drain(&mut self, _: &mut Stream<'_>, _: &mut usize) {}

    fn on_close(&mut self, context: &mut Context<'_>, _: StreamId, key: usize, reason: CloseReason) {
        self.0.core.borrow_mut().end_closed(context, key, &reason);
    }
}
