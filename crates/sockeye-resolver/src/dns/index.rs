//! Where entries are found by the hash of their question: open addressing with linear probing.
//!
//! A table of the standard library holds its keys, and makes room for tags and groups; here a place is one word, a hit mostly
//! the first word that is read, and nothing is ever marked as deleted.

/// The place of no entry.
pub(crate) const NONE: u32 = u32::MAX;

/// Numbers of entries by their hashes.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// A power of two of slots: the upper half of the hash and the entry's number. At most 3/4 of them are taken.
    slots: Vec<(u32, u32)>,
    len: usize,
}

/// The part of a hash that is kept in a slot.
#[inline]
fn tag(hash: u64) -> u32 {
    u32::try_from(hash >> 32).unwrap_or_default()
}

impl Index {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Where a hash belongs first. The upper half decides, so that the lower one need not be kept.
    #[inline]
    fn home(&self, tag: u32) -> usize {
        tag as usize & self.slots.len().wrapping_sub(1)
    }

    /// The entry with that hash that `is_wanted`.
    #[inline]
    pub(crate) fn find(&self, hash: u64, mut is_wanted: impl FnMut(u32) -> bool) -> Option<u32> {
        let tag = tag(hash);
        let mut at = self.home(tag);
        loop {
            let &(other, place) = self.slots.get(at)?;
            if place == NONE {
                return None;
            }
            if other == tag && is_wanted(place) {
                return Some(place);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    /// Adds an entry that is not there.
    pub(crate) fn insert(&mut self, hash: u64, place: u32) {
        if (self.len + 1) * 4 > self.slots.len() * 3 {
            let capacity = (self.slots.len() * 2).max(16);
            let old = std::mem::replace(&mut self.slots, vec![(0, NONE); capacity]);
            for (tag, place) in old {
                if place != NONE {
                    self.put(tag, place);
                }
            }
        }
        self.put(tag(hash), place);
        self.len += 1;
    }

    fn put(&mut self, tag: u32, place: u32) {
        let mask = self.slots.len().wrapping_sub(1);
        let mut at = self.home(tag);
        while let Some(slot) = self.slots.get_mut(at) {
            if slot.1 == NONE {
                *slot = (tag, place);
                return;
            }
            at = (at + 1) & mask;
        }
    }

    /// Takes an entry out; those behind it that would not be found any more move up.
    pub(crate) fn remove(&mut self, hash: u64, place: u32) {
        let mask = self.slots.len().wrapping_sub(1);
        let mut hole = self.home(tag(hash));
        loop {
            match self.slots.get(hole) {
                Some((_, other)) if *other == place => break,
                Some((_, other)) if *other != NONE => hole = (hole + 1) & mask,
                _ => return,
            }
        }
        self.len -= 1;
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let Some(&(tag, place)) = self.slots.get(at).filter(|(_, place)| *place != NONE) else {
                break;
            };
            // It may move if its home is not behind the hole.
            let (from_home, from_hole) = (
                at.wrapping_sub(self.home(tag)) & mask,
                at.wrapping_sub(hole) & mask,
            );
            if from_home >= from_hole {
                if let Some(slot) = self.slots.get_mut(hole) {
                    *slot = (tag, place);
                }
                hole = at;
            }
        }
        if let Some(slot) = self.slots.get_mut(hole) {
            slot.1 = NONE;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn it_finds_what_a_table_of_the_standard_library_finds() {
        let mut random = crate::dns::os_random();
        let mut index = Index::default();
        let mut entries: HashMap<u32, u64> = HashMap::new();
        for step in 0..200_000_u32 {
            let place = u32::try_from(random() % 300).unwrap();
            match entries.remove(&place) {
                Some(hash) => index.remove(hash, place),
                None => {
                    // Few hashes, of which many share their home.
                    let hash = (random() % 40) << 32 | u64::from(step);
                    entries.insert(place, hash);
                    index.insert(hash, place);
                }
            }
            assert_eq!(index.len(), entries.len());
            let asked = u32::try_from(random() % 300).unwrap();
            let hash = entries.get(&asked).copied().unwrap_or(random());
            let found = index.find(hash, |place| place == asked);
            assert_eq!(found, entries.contains_key(&asked).then_some(asked));
        }
    }

    #[test]
    fn an_empty_one_finds_nothing() {
        let mut index = Index::default();
        assert_eq!(index.find(7, |_| true), None);
        index.remove(7, 0);
        assert_eq!(index.len(), 0);
    }
}
