//! The table of a consistent source hash, by the method of Maglev (Eisenbud and others, NSDI 2016, section 3.4).

/// Primes; a table has at least a hundred places for each backend, as far as they reach.
const SIZES: [u32; 3] = [16_381, 131_071, 1_048_573];
/// Places that are asked one after another before the rest is looked through.
const TRIES: u64 = 32;
/// No backend.
const NOBODY: u32 = u32::MAX;

/// Which backend each of many places belongs to. A source always has the same place.
#[derive(Debug, Default)]
pub(crate) struct Maglev {
    places: Vec<u32>,
}

/// One backend while places are handed out.
struct Claimant {
    key: u32,
    /// Its own order of the places: from `next` on in steps of `skip`.
    next: u32,
    skip: u32,
    weight: u32,
    /// What it may claim yet, in parts of the greatest weight.
    credit: u32,
}

impl Maglev {
    /// The table for backends: key, name and weight of each. The name alone decides over its places.
    pub(crate) fn new<'a>(backends: impl IntoIterator<Item = (usize, &'a str, u32)>) -> Self {
        let backends: Vec<_> = backends
            .into_iter()
            .filter(|(_, _, weight)| *weight > 0)
            .collect();
        if backends.is_empty() {
            return Self::default();
        }
        let wanted = backends.len().saturating_mul(100);
        let size = SIZES
            .into_iter()
            .find(|size| *size as usize >= wanted)
            .unwrap_or(SIZES[SIZES.len() - 1]);
        let most = backends.iter().map(|(_, _, weight)| *weight).max().unwrap_or(1);
        let mut claimants: Vec<Claimant> = backends
            .iter()
            .map(|&(key, name, weight)| {
                let hash = hash_bytes(name.as_bytes());
                Claimant {
                    key: u32::try_from(key).unwrap_or(NOBODY),
                    next: below(hash, size),
                    skip: below(mix(hash), size - 1) + 1,
                    weight,
                    credit: 0,
                }
            })
            .collect();
        let mut places = vec![NOBODY; size as usize];
        let mut left = size;
        while left > 0 {
            for claimant in &mut claimants {
                claimant.credit += claimant.weight;
                if claimant.credit < most {
                    continue;
                }
                claimant.credit -= most;
                claimant.claim(&mut places, size);
                left -= 1;
                if left == 0 {
                    break;
                }
            }
        }
        Self { places }
    }

    /// The backend of a source. While `may` refuses it, one of the others, by a further hash, so that they share its
    /// sources and keep their own.
    pub(crate) fn find(&self, source: u64, may: impl Fn(usize) -> bool) -> Option<usize> {
        let size = u32::try_from(self.places.len()).ok().filter(|size| *size > 0)?;
        let mut hash = mix(source);
        for _ in 0..TRIES {
            let key = *self.places.get(below(hash, size) as usize)? as usize;
            if may(key) {
                return Some(key);
            }
            hash = mix(hash);
        }
        // Nearly all of them are refused: whoever is not, from the last place on.
        let start = below(hash, size) as usize;
        let (before, from) = self.places.split_at(start);
        let found = from.iter().chain(before).find(|key| may(**key as usize));
        found.map(|key| *key as usize)
    }
}

impl Claimant {
    /// Takes the first place in its order that nobody has.
    fn claim(&mut self, places: &mut [u32], size: u32) {
        // The size is prime: its order comes by every place.
        for _ in 0..size {
            let at = self.next as usize;
            self.next = (self.next + self.skip) % size;
            if let Some(place) = places.get_mut(at)
                && *place == NOBODY
            {
                *place = self.key;
                return;
            }
        }
    }
}

/// A number below `size` by the upper half of the hash (Lemire's reduction).
const fn below(hash: u64, size: u32) -> u32 {
    (((hash >> 32) * size as u64) >> 32) as u32
}

/// Steele and others' finaliser of 64 bits (splitmix64).
pub(crate) const fn mix(hash: u64) -> u64 {
    let hash = hash.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// A hash of bytes that is the same in every process: FNV-1a, mixed.
pub(crate) fn hash_bytes(bytes: &[u8]) -> u64 {
    let fnv = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    mix(fnv)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(names: &[String], weights: &[u32]) -> Maglev {
        let all = names.iter().zip(weights).enumerate();
        Maglev::new(all.map(|(key, (name, weight))| (key, name.as_str(), *weight)))
    }

    #[test]
    fn ten_thousand_backends_have_a_place_each() {
        let names: Vec<String> = (0..10_000)
            .map(|n| format!("tcp://10.0.{}.{}:80", n / 256, n % 256))
            .collect();
        let table = table(&names, &vec![1; 10_000]);
        let mut counts = vec![0_u32; 10_000];
        for place in &table.places {
            counts[*place as usize] += 1;
        }
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(*least >= 104 && *most <= 105, "{least} to {most} of 104.9");
    }

    #[test]
    fn an_empty_table_has_nobody() {
        assert_eq!(Maglev::default().find(1, |_| true), None);
        assert_eq!(Maglev::new([(0, "a", 0)]).find(1, |_| true), None);
    }

    #[test]
    fn the_only_one_that_may_is_found() {
        let names: Vec<String> = (0..500).map(|n| format!("backend-{n}")).collect();
        let table = table(&names, &[1; 500]);
        for source in 0..100 {
            assert_eq!(table.find(source, |key| key == 321), Some(321));
            assert_eq!(table.find(source, |_| false), None);
        }
    }

    mod properties {
        use proptest::prelude::*;

        use super::*;

        const SOURCES: usize = 4_000;

        fn owners(table: &Maglev, may: impl Fn(usize) -> bool) -> Vec<usize> {
            (0..SOURCES as u64)
                .map(|source| table.find(source, &may).unwrap())
                .collect()
        }

        proptest! {
            #![proptest_config(ProptestConfig::with_cases(32))]

            /// Removing one backend moves its own sources, and few of the others'.
            #[test]
            fn prop_few_sources_move(count in 2_usize..60, gone in any::<prop::sample::Index>(), salt in any::<u32>()) {
                let names: Vec<String> = (0..count).map(|n| format!("{salt}-{n}")).collect();
                let gone = gone.index(count);
                let before = owners(&table(&names, &vec![1; count]), |_| true);
                let mut weights = vec![1; count];
                weights[gone] = 0;
                let after = owners(&table(&names, &weights), |_| true);
                let lost = before.iter().filter(|owner| **owner == gone).count();
                let moved = before.iter().zip(&after).filter(|(a, b)| a != b && **a != gone).count();
                // The paper's figures for tables a hundred times the backends are below 2 %.
                prop_assert!(moved <= SOURCES / 25, "{moved} of {SOURCES} moved without need, {lost} had to");
                prop_assert!(after.iter().all(|owner| *owner != gone));
            }

            /// While one is down, only its own sources go elsewhere: none of the others' at all.
            #[test]
            fn prop_nobody_moves_who_need_not(count in 2_usize..60, down in any::<prop::sample::Index>()) {
                let names: Vec<String> = (0..count).map(|n| format!("backend {n}")).collect();
                let table = table(&names, &vec![1; count]);
                let down = down.index(count);
                let (before, during) = (owners(&table, |_| true), owners(&table, |key| key != down));
                for (before, during) in before.iter().zip(&during) {
                    prop_assert!(before == during || *before == down && *during != down);
                }
            }

            /// Each has its share of the places by weight, give or take the steps in which they are handed out.
            #[test]
            fn prop_shares_go_by_weight(weights in prop::collection::vec(1_u32..=10, 1..20)) {
                let names: Vec<String> = (0..weights.len()).map(|n| format!("weighted {n}")).collect();
                let table = table(&names, &weights);
                let all: u32 = weights.iter().sum();
                for (key, weight) in weights.iter().enumerate() {
                    let places = table.places.iter().filter(|place| **place as usize == key).count();
                    let share = table.places.len() as f64 * f64::from(*weight) / f64::from(all);
                    prop_assert!((places as f64 - share).abs() <= 2.0, "{places} of {share}");
                }
            }
        }
    }
}
