//! The hash of the tables whose keys are questions, ids and numbers of sockets.
//!
//! Multiplications folded onto themselves under a key of the process: a third of what SipHash costs for names of usual length.
//! It is not for tables that grow with what strangers send: the cache and the questions under way are both bounded, and
//! without the key nobody can tell which names collide. Ids are this side's own.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Makes the hashers of one table.
#[derive(Clone, Debug)]
pub(crate) struct Keyed {
    start: u64,
    factor: u64,
}

impl Default for Keyed {
    /// A new key, from the system.
    fn default() -> Self {
        let random = RandomState::new();
        Self {
            start: random.hash_one(0_u8),
            // An odd factor loses nothing.
            factor: random.hash_one(1_u8) | 1,
        }
    }
}

impl BuildHasher for Keyed {
    type Hasher = KeyedHasher;

    #[inline]
    fn build_hasher(&self) -> KeyedHasher {
        KeyedHasher {
            state: self.start,
            factor: self.factor,
        }
    }
}

/// See the module's page.
#[derive(Debug)]
pub(crate) struct KeyedHasher {
    state: u64,
    factor: u64,
}

impl Hasher for KeyedHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.write_u64(u64::from_le_bytes(*word));
        }
        for byte in rest {
            self.write_u64(u64::from(*byte) | 0x100);
        }
    }

    #[inline]
    fn write_u16(&mut self, number: u16) {
        self.write_u64(number.into());
    }

    #[inline]
    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        self.state = folded(self.state ^ number, self.factor);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.state
    }
}

/// Both halves of a product in one: each bit of it hangs on all bits of both.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the halves are taken apart")]
fn folded(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::dns::{Name, Question, RecordType};

    fn question(text: &str) -> Question {
        Question::new(text.parse::<Name>().unwrap(), RecordType::A)
    }

    #[test]
    fn the_case_of_letters_makes_no_difference() {
        let keyed = Keyed::default();
        let [one, other] = ["www.Example.test", "WWW.example.TEST"].map(question);
        assert_eq!(keyed.hash_one(one), keyed.hash_one(other));
    }

    #[test]
    fn similar_names_go_to_all_places() {
        let keyed = Keyed::default();
        let hashes = (0..65_536).map(|n| keyed.hash_one(question(&format!("host-{n}.example.test"))));
        let hashes: Vec<u64> = hashes.collect();
        // Of 65,536 balls in as many boxes 1 - 1/e hit a new one; both ends of the hash are used by tables.
        for shift in [0, 48] {
            let places: HashSet<u64> = hashes.iter().map(|hash| hash >> shift & 0xffff).collect();
            assert!((40_000..43_000).contains(&places.len()), "{}", places.len());
        }
    }

    #[test]
    fn each_table_has_a_key_of_its_own() {
        let hashes: HashSet<u64> = (0..100)
            .map(|_| Keyed::default().hash_one(question("example.test")))
            .collect();
        assert_eq!(hashes.len(), 100);
    }
}
