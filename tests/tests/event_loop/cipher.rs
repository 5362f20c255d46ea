//! A service that carries another one: a cipher that everybody can read, for tests. It owns the connection and the first
//! end of a pair; whoever is carried has the second.

use std::collections::HashMap;

use sockeye_event_loop::{
    CloseReason, Context, PairOptions, ServiceHandle, Stream, StreamId, StreamOptions, StreamService,
};

use crate::world::World;

/// XOR with a key that moves on with every byte of a direction.
pub struct Cipher<S> {
    carried: ServiceHandle<S>,
    key: u8,
    ends: HashMap<StreamId, StreamId>,
}

/// Which of its two connections it is, and how far the key has gone.
pub struct Side {
    other: StreamId,
    key: u8,
}

impl<S: StreamService> Cipher<S> {
    pub fn new(carried: ServiceHandle<S>, key: u8) -> Self {
        Self {
            carried,
            key,
            ends: HashMap::new(),
        }
    }
}

fn apply(key: &mut u8, data: &mut [u8]) {
    for byte in data {
        *key = key.wrapping_mul(5).wrapping_add(1);
        *byte ^= *key;
    }
}

/// The whole of one direction, sealed or opened.
pub fn seal(mut key: u8, data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    apply(&mut key, &mut data);
    data
}

/// Where connections to `carried` are served through a cipher.
pub fn behind_cipher<W: World, S: StreamService>(
    world: &mut W,
    carried: ServiceHandle<S>,
    key: u8,
) -> ServiceHandle<Cipher<S>> {
    world
        .server()
        .add_stream_service(Cipher::new(carried, key), StreamOptions::default())
}

impl<S: StreamService> StreamService for Cipher<S> {
    type Conn = Side;

    fn on_open(&mut self, stream: &mut Stream<'_>) -> Side {
        let id = stream.id();
        if let Some(other) = self.ends.remove(&id) {
            return Side { other, key: self.key };
        }
        let options = PairOptions {
            second_like: Some(id),
            ..PairOptions::default()
        };
        let mut context = stream.context();
        let own = context.handle::<Self>().unwrap();
        let (end, _) = context.pair(own, self.carried, &options).unwrap();
        self.ends.insert(end, id);
        Side {
            other: end,
            key: self.key,
        }
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, side: &mut Side, data: &mut [u8]) -> usize {
        let Some(mut other) = stream.other(side.other) else {
            return data.len();
        };
        // Room first: what was sealed has to be taken.
        let room = other.queued() < 128 * 1024;
        if room {
            apply(&mut side.key, data);
            assert!(other.write(data).is_taken());
            return data.len();
        }
        other.notify_writable();
        stream.pause();
        0
    }

    fn on_writable(&mut self, stream: &mut Stream<'_>, side: &mut Side) {
        if let Some(mut other) = stream.other(side.other) {
            other.resume();
        }
    }

    fn on_eof(&mut self, stream: &mut Stream<'_>, side: &mut Side) {
        if let Some(mut other) = stream.other(side.other) {
            other.shutdown_write();
        }
    }

    fn on_close(&mut self, context: &mut Context<'_>, _: StreamId, side: Side, reason: CloseReason) {
        if let Some(mut other) = context.stream(side.other) {
            match reason {
                CloseReason::Closed => other.close(),
                _ => other.abort(),
            }
        }
    }
}
