//! `cipher LISTEN [KEY]`: an echo behind a cipher (XOR with one byte, for show). The echo knows nothing of it: the cipher
//! owns the connection and the first end of a pair, the echo has the second.

use std::collections::HashMap;
use std::error::Error;
use std::io::Write as _;

use sockeye_event_loop::{
    CloseReason, Context, EventLoop, ListenOptions, PairOptions, ServiceHandle, Stream, StreamId,
    StreamOptions, StreamService,
};

struct Echo;

impl StreamService for Echo {
    type Conn = ();

    fn on_open(&mut self, _: &mut Stream<'_>) {}

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        if stream.write(data).is_taken() {
            data.len()
        } else {
            0
        }
    }
}

struct Cipher {
    key: u8,
    carried: ServiceHandle<Echo>,
    /// Ends that were made and not opened yet, and the connection of each.
    made: HashMap<StreamId, StreamId>,
}

impl StreamService for Cipher {
    /// The other side: the end of a connection, the connection of an end.
    type Conn = StreamId;

    fn on_open(&mut self, stream: &mut Stream<'_>) -> StreamId {
        let id = stream.id();
        if let Some(connection) = self.made.remove(&id) {
            return connection;
        }
        // The echo's end answers `peer_addr` as this connection does.
        let like = PairOptions {
            second_like: Some(id),
            ..PairOptions::default()
        };
        let mut context = stream.context();
        let pair = context
            .handle::<Self>()
            .map(|own| context.pair(own, self.carried, &like));
        let Some(Ok((end, _))) = pair else {
            stream.abort();
            return id;
        };
        self.made.insert(end, id);
        end
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, other: &mut StreamId, data: &mut [u8]) -> usize {
        let Some(mut other) = stream.other(*other) else {
            return data.len();
        };
        // Room first: what was enciphered has to be taken.
        if other.queued() > 0 {
            other.notify_writable();
            stream.pause();
            return 0;
        }
        data.iter_mut().for_each(|byte| *byte ^= self.key);
        if other.write(data).is_taken() {
            data.len()
        } else {
            0
        }
    }

    fn on_writable(&mut self, stream: &mut Stream<'_>, other: &mut StreamId) {
        if let Some(mut other) = stream.other(*other) {
            other.resume();
        }
    }

    fn on_eof(&mut self, stream: &mut Stream<'_>, other: &mut StreamId) {
        if let Some(mut other) = stream.other(*other) {
            other.shutdown_write();
        }
    }

    fn on_close(&mut self, context: &mut Context<'_>, _: StreamId, other: StreamId, reason: CloseReason) {
        match (context.stream(other), reason) {
            (Some(mut other), CloseReason::Closed) => other.close(),
            // Half of something must not look like the whole.
            (Some(mut other), _) => other.abort(),
            (None, _) => {}
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let at = arguments
        .next()
        .ok_or("usage: cipher LISTEN [KEY], as in cipher [::1]:7000 90")?;
    let key = arguments.next().map_or(Ok(0x5a), |key| key.parse())?;
    let mut events = EventLoop::new()?;
    let carried = events.add_stream_service(Echo, StreamOptions::default());
    let cipher = Cipher {
        key,
        carried,
        made: HashMap::new(),
    };
    let service = events.add_stream_service(cipher, StreamOptions::default());
    let listener = events.listen(service, at.parse()?, &ListenOptions::default())?;
    writeln!(
        std::io::stdout(),
        "listening on tcp://{}",
        events.local_addr(listener)?
    )?;
    events.run()?;
    Ok(())
}
