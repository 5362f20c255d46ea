//! Time and randomness for quinn-proto: the loop's clock as `Instant`s, and in a simulation everything from its seed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use quinn_proto::{
    ClientConfig, ConnectionId, ConnectionIdGenerator, EndpointConfig, ServerConfig, TimeSource,
};
use ring::rand::{SecureRandom as _, SystemRandom};
use sockeye_event_loop::Time;

/// Bytes of a connection id that this side chooses.
pub(crate) const ID_LEN: usize = 8;

/// The loop's clock as quinn-proto wants it.
///
/// An `Instant` cannot be made of a number, so that one is taken from the system once; every other is that one and a
/// distance on the loop's clock. quinn-proto only ever compares and subtracts them: which one it is changes nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    base: Instant,
    origin: Time,
}

impl Clock {
    pub(crate) fn new(origin: Time) -> Self {
        Self {
            base: Instant::now(),
            origin,
        }
    }

    pub(crate) fn instant(&self, at: Time) -> Instant {
        self.base + at.since(self.origin)
    }
}

/// SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
#[derive(Debug)]
struct Numbers(AtomicU64);

impl Numbers {
    fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Which of several servers on one port this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    pub(crate) index: u8,
    pub(crate) count: u8,
}

impl Shard {
    /// The only one.
    pub(crate) const ALONE: Self = Self { index: 0, count: 1 };

    /// An id by which packets find this server: its first byte, modulo the count, is the index.
    fn mark(self, mut id: [u8; ID_LEN]) -> [u8; ID_LEN] {
        let count = self.count.max(1);
        let base = id[0] - id[0] % count;
        // Beyond 255 there is a count less, as the base is at least one then.
        let marked = base.checked_add(self.index);
        id[0] = marked.unwrap_or_else(|| base - count + self.index);
        id
    }
}

/// Connection ids that follow from the seed of a simulation.
struct SeededIds(Arc<Numbers>, Shard);

/// Connection ids that nobody can guess, but for what part of them says where they belong.
struct MarkedIds(SystemRandom, Shard);

impl ConnectionIdGenerator for MarkedIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; ID_LEN];
        // Where the system has no randomness TLS has failed before.
        let _ = self.0.fill(&mut id);
        ConnectionId::new(&self.1.mark(id))
    }

    fn cid_len(&self) -> usize {
        ID_LEN
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// The configuration of one of several servers on one port.
pub(crate) fn marked(shard: Shard) -> EndpointConfig {
    let mut config = EndpointConfig::default();
    config.cid_generator(move || Box::new(MarkedIds(SystemRandom::new(), shard)));
    config
}

impl ConnectionIdGenerator for SeededIds {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&self.1.mark(self.0.next().to_le_bytes()))
    }

    fn cid_len(&self) -> usize {
        ID_LEN
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// The loop's clock as the time of day, for the age of tokens. Without it they would be dated by the system's clock, which in
/// a simulation stands still.
#[derive(Debug, Default)]
pub(crate) struct TimeOfDay(AtomicU64);

impl TimeOfDay {
    pub(crate) fn set(&self, now: Time) {
        self.0.store(now.as_nanos(), Ordering::Relaxed);
    }
}

impl TimeSource for TimeOfDay {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

/// Everything that a simulated endpoint draws, from the seed of the simulation.
pub(crate) struct Seeded {
    seed: [u8; 32],
    numbers: Arc<Numbers>,
    pub(crate) time: Arc<TimeOfDay>,
}

impl Seeded {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        let mut first = [0; 8];
        first.copy_from_slice(&seed[..8]);
        Self {
            seed,
            numbers: Arc::new(Numbers(AtomicU64::new(u64::from_le_bytes(first)))),
            time: Arc::default(),
        }
    }

    pub(crate) fn endpoint(&self, shard: Shard) -> EndpointConfig {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &self.seed);
        let mut config = EndpointConfig::new(Arc::new(key));
        let numbers = Arc::clone(&self.numbers);
        config
            .cid_generator(move || Box::new(SeededIds(Arc::clone(&numbers), shard)))
            .rng_seed(Some(self.seed));
        config
    }

    pub(crate) fn server(&self, config: &mut ServerConfig) {
        let key = ring::hkdf::Salt::new(ring::hkdf::HKDF_SHA256, &[]).extract(&self.seed);
        config
            .token_key(Arc::new(key))
            .time_source(Arc::clone(&self.time) as Arc<dyn TimeSource>);
    }

    pub(crate) fn client(&self, config: &mut ClientConfig) {
        let numbers = Arc::clone(&self.numbers);
        config.initial_dst_cid_provider(Arc::new(move || {
            let words = [numbers.next(), numbers.next()];
            ConnectionId::new(&words.map(u64::to_le_bytes).concat())
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_of_a_shard_leads_to_it() {
        for count in [1, 2, 3, 7, 200, 255] {
            for index in [0, count / 2, count - 1] {
                let shard = Shard { index, count };
                for first in 0..=255 {
                    let id = shard.mark([first, 1, 2, 3, 4, 5, 6, 7]);
                    assert_eq!(id[0] % count, index, "{first} of {count}");
                    assert_eq!(id[1..], [1, 2, 3, 4, 5, 6, 7]);
                }
            }
        }
    }
}
