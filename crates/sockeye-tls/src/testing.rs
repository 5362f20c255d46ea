//! For tests only: a provider whose random numbers follow from a seed, so that simulated runs repeat.

use std::sync::atomic::{AtomicU64, Ordering};

use rustls::crypto::{CryptoProvider, GetRandomFailed, SecureRandom, ring};

/// The provider `ring` with random numbers that follow from a seed. **Anybody can guess them: it is for tests.**
///
/// By them rustls makes the randoms of hellos, the order of extensions, session identifiers and tickets' numbers. What still
/// differs from run to run is what ring draws from the system itself: the keys of the key exchange, and with them every
/// byte that is encrypted; the nonces of ECDSA and RSA-PSS signatures; the keys of [`Ticketer`](rustls::crypto::ring::Ticketer).
/// Lengths repeat if the certificates' keys are Ed25519, whose signatures have one length: an ECDSA signature has a byte or
/// two more or less each time. So do times, which follow from lengths. Whether a certificate has expired, and how old a
/// ticket is, is asked of the system's clock, unless the configurations have a `time_provider`.
///
/// Server and client each want a provider of their own, as one of both would depend on who asks first. Each call takes a few
/// bytes that are never given back, since rustls wants a source that lives forever.
#[must_use]
pub fn seeded_provider(seed: u64) -> CryptoProvider {
    CryptoProvider {
        secure_random: Box::leak(Box::new(Seeded(AtomicU64::new(seed)))),
        ..ring::default_provider()
    }
}

/// SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
#[derive(Debug)]
struct Seeded(AtomicU64);

impl Seeded {
    fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl SecureRandom for Seeded {
    fn fill(&self, buf: &mut [u8]) -> Result<(), GetRandomFailed> {
        for chunk in buf.chunks_mut(8) {
            let bytes = self.next().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(seed: u64) -> [u8; 19] {
        let mut bytes = [0; 19];
        seeded_provider(seed).secure_random.fill(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn numbers_follow_from_the_seed() {
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7), drawn(8));
        // The first number of SplitMix64 with the seed 0, of its authors' reference.
        assert_eq!(drawn(0)[..8], 0xe220_a839_7b1d_cdaf_u64.to_le_bytes());
    }
}
