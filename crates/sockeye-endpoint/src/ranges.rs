//! Sets of numbers as sorted inclusive ranges: what [`PortSet`](crate::PortSet) and [`NetSet`](crate::NetSet) are made of.

use alloc::vec::Vec;
use core::fmt;
use core::hash::{Hash, Hasher};

/// A number that ranges are made of.
pub(crate) trait Point: Copy + Ord {
    const MIN: Self;
    const MAX: Self;

    fn next(self) -> Option<Self>;
    fn previous(self) -> Option<Self>;
}

macro_rules! point {
    ($($type:ty),+) => {$(
        impl Point for $type {
            const MIN: Self = <$type>::MIN;
            const MAX: Self = <$type>::MAX;

            fn next(self) -> Option<Self> {
                self.checked_add(1)
            }

            fn previous(self) -> Option<Self> {
                self.checked_sub(1)
            }
        }
    )+};
}

point!(u16, u32, u128);

/// Ranges in one chunk at most: what an insertion moves, however large the set is.
const CHUNK: usize = 512;

/// Disjoint inclusive ranges in ascending order; between two of them at least one number is missing.
///
/// They lie in chunks, none of them empty, so that an insertion into a large set moves one chunk and not the set.
#[derive(Clone)]
pub(crate) struct RangeSet<T> {
    chunks: Vec<Vec<(T, T)>>,
    /// Where each chunk begins: side by side, as looking into the chunks would miss the cache at each step.
    begins: Vec<T>,
}

impl<T> Default for RangeSet<T> {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            begins: Vec::new(),
        }
    }
}

// How a set lies in chunks is its own business.
impl<T: Point> PartialEq for RangeSet<T> {
    fn eq(&self, other: &Self) -> bool {
        self.ranges().eq(other.ranges())
    }
}

impl<T: Point> Eq for RangeSet<T> {}

impl<T: Point + Hash> Hash for RangeSet<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.ranges().for_each(|range| range.hash(state));
    }
}

impl<T: Point + fmt::Debug> fmt::Debug for RangeSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ranges()).finish()
    }
}

impl<T: Point> RangeSet<T> {
    /// The ranges in any order, overlapping or not.
    pub(crate) fn from_ranges(mut ranges: Vec<(T, T)>) -> Self {
        ranges.retain(|(first, last)| first <= last);
        ranges.sort_unstable();
        let mut merged: Vec<(T, T)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some((_, end)) if reaches(*end, first) => *end = last.max(*end),
                _ => merged.push((first, last)),
            }
        }
        Self::from_merged(&merged)
    }

    /// Ranges that are as they should be already.
    fn from_merged(ranges: &[(T, T)]) -> Self {
        // Half full, so that insertions find room.
        let size = if ranges.len() <= CHUNK { CHUNK } else { CHUNK / 2 };
        Self {
            chunks: ranges.chunks(size).map(<[_]>::to_vec).collect(),
            begins: ranges.chunks(size).map(|chunk| chunk[0].0).collect(),
        }
    }

    pub(crate) fn ranges(&self) -> impl Iterator<Item = &(T, T)> {
        self.chunks.iter().flatten()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// The chunk in which a range that begins at or before `point` is, if there is one.
    fn chunk_of(&self, point: T) -> Option<usize> {
        match &self.begins[..] {
            // Most sets are small.
            [only] => (*only <= point).then_some(0),
            begins => begins.partition_point(|begin| *begin <= point).checked_sub(1),
        }
    }

    /// The last range that begins at or before `point`.
    fn before(&self, point: T) -> Option<(T, T)> {
        let chunk = self.chunks.get(self.chunk_of(point)?)?;
        let after = chunk.partition_point(|(first, _)| *first <= point);
        chunk.get(after.checked_sub(1)?).copied()
    }

    pub(crate) fn contains(&self, point: T) -> bool {
        self.before(point).is_some_and(|(_, last)| point <= last)
    }

    /// Whether the whole range is in the set.
    pub(crate) fn contains_range(&self, first: T, last: T) -> bool {
        self.before(first).is_some_and(|(_, end)| last <= end)
    }

    /// Adds a range: what it touches or overlaps becomes one with it.
    pub(crate) fn insert(&mut self, first: T, last: T) {
        if first > last {
            return;
        }
        let at = self.chunk_of(first).unwrap_or(0);
        let Some(chunk) = self.chunks.get_mut(at) else {
            self.chunks.push(alloc::vec![(first, last)]);
            self.begins.push(first);
            return;
        };
        let mut from = chunk.partition_point(|(start, _)| *start <= first);
        let mut range = (first, last);
        if let Some(index) = from.checked_sub(1)
            && reaches(chunk[index].1, first)
        {
            from = index;
            range = (chunk[index].0, last.max(chunk[index].1));
        }
        // What begins within it, or right behind it, in this chunk and in those that follow.
        let to = from + absorb(&chunk[from..], &mut range);
        let all = to == chunk.len();
        chunk.splice(from..to, [range]);
        self.begins[at] = chunk[0].0;
        if chunk.len() > CHUNK {
            let rest = chunk.split_off(CHUNK / 2);
            self.begins.insert(at + 1, rest[0].0);
            self.chunks.insert(at + 1, rest);
        }
        if all {
            self.absorb_behind(first);
        }
    }

    /// The range that begins at or before `first` was the last of its chunk, and may reach into those that follow.
    fn absorb_behind(&mut self, first: T) {
        let Some(at) = self.chunk_of(first) else { return };
        let Some(&(start, mut last)) = self.chunks[at].last() else {
            return;
        };
        let mut whole = at + 1;
        while let Some(chunk) = self.chunks.get_mut(whole) {
            let mut range = (start, last);
            let count = absorb(chunk, &mut range);
            last = range.1;
            if count < chunk.len() {
                chunk.drain(..count);
                self.begins[whole] = chunk[0].0;
                break;
            }
            whole += 1;
        }
        self.chunks.drain(at + 1..whole);
        self.begins.drain(at + 1..whole);
        if let Some(range) = self.chunks[at].last_mut() {
            range.1 = last;
        }
    }

    pub(crate) fn union(&self, other: &Self) -> Self {
        Self::from_ranges(self.ranges().chain(other.ranges()).copied().collect())
    }

    pub(crate) fn intersection(&self, other: &Self) -> Self {
        let mut common = Vec::new();
        let (mut left, mut right) = (self.ranges().peekable(), other.ranges().peekable());
        while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
            let (first, last) = (a.0.max(b.0), a.1.min(b.1));
            if first <= last {
                common.push((first, last));
            }
            if a.1 < b.1 {
                left.next()
            } else {
                right.next()
            };
        }
        Self::from_merged(&common)
    }

    pub(crate) fn complement(&self) -> Self {
        let gaps: Vec<(T, T)> = self.gaps(T::MIN, T::MAX).collect();
        Self::from_merged(&gaps)
    }

    /// What of a range is not in the set, ascending. It looks at the ranges within, not at the whole set.
    pub(crate) fn gaps(&self, first: T, last: T) -> impl Iterator<Item = (T, T)> {
        let at = self.chunk_of(first).unwrap_or(0);
        let mut ranges = self.chunks.iter().skip(at).flatten();
        let mut next = Some(first);
        core::iter::from_fn(move || {
            loop {
                let start = next.filter(|start| *start <= last)?;
                match ranges.next() {
                    Some((_, end)) if *end < start => {}
                    Some((begin, end)) if *begin <= last => {
                        next = end.next();
                        if start < *begin {
                            return Some((start, begin.previous()?));
                        }
                    }
                    _ => {
                        next = None;
                        return Some((start, last));
                    }
                }
            }
        })
    }

    pub(crate) fn difference(&self, other: &Self) -> Self {
        self.intersection(&other.complement())
    }

    /// Adds many ranges at once.
    pub(crate) fn extend(&mut self, ranges: Vec<(T, T)>) {
        // Few into many one by one; else all anew.
        if ranges.len() * 64 < self.chunks.len() * CHUNK {
            ranges
                .into_iter()
                .for_each(|(first, last)| self.insert(first, last));
        } else {
            *self = Self::from_ranges(self.ranges().copied().chain(ranges).collect());
        }
    }
}

/// Whether a range that ends at `end` touches or overlaps one that begins at `first`, no earlier than it does itself.
/// Behind the greatest number nothing can follow.
fn reaches<T: Point>(end: T, first: T) -> bool {
    end.next().is_none_or(|next| first <= next)
}

/// How many of the ranges, from the first on, become one with `range`; it grows by them.
fn absorb<T: Point>(ranges: &[(T, T)], range: &mut (T, T)) -> usize {
    let count = ranges.partition_point(|(first, _)| reaches(range.1, *first));
    if let Some((_, last)) = count.checked_sub(1).and_then(|index| ranges.get(index)) {
        range.1 = range.1.max(*last);
    }
    count
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_ends_of_the_numbers_are_numbers() {
        let all = RangeSet::<u16>::default().complement();
        assert_eq!(listed(&all), [(0, u16::MAX)]);
        assert!(all.complement().is_empty());
        let edges = RangeSet::from_ranges(vec![(0u16, 0), (u16::MAX, u16::MAX)]);
        assert_eq!(listed(&edges.complement()), [(1, u16::MAX - 1)]);
        assert_eq!(
            listed(&RangeSet::from_ranges(vec![(3u16, 5), (6, 9), (1, 2)])),
            [(1, 9)]
        );
    }

    fn listed<T: Point>(set: &RangeSet<T>) -> Vec<(T, T)> {
        set.ranges().copied().collect()
    }

    /// Many insertions in an order without one: the set is what all of them at once would have made it, and no chunk is
    /// empty or too long.
    #[test]
    fn one_by_one_is_as_all_at_once() {
        let mut state = 7_u32;
        let mut random = move |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) % below
        };
        for (count, span, longest) in [
            (20_000, 1 << 24, 8),
            (20_000, 100_000, 3),
            (3_000, 1 << 24, 1 << 20),
            (50, 60, 9),
        ] {
            let mut set = RangeSet::<u32>::default();
            let mut all = Vec::new();
            for number in 0..count {
                let first = random(span);
                let range = (first, first + random(longest));
                set.insert(range.0, range.1);
                all.push(range);
                if number % 997 == 0 || number + 1 == count {
                    assert!(
                        set == RangeSet::from_ranges(all.clone()),
                        "after {number} of {span}"
                    );
                    assert!(
                        set.chunks
                            .iter()
                            .all(|chunk| !chunk.is_empty() && chunk.len() <= CHUNK)
                    );
                    assert!(set.begins.iter().eq(set.chunks.iter().map(|chunk| &chunk[0].0)));
                    assert!(all.iter().all(|range| set.contains_range(range.0, range.1)));
                }
            }
        }
    }

    #[test]
    fn the_greatest_number_ends_a_range() {
        let mut set = RangeSet::<u16>::default();
        set.insert(u16::MAX, u16::MAX);
        set.insert(5, 4);
        set.insert(u16::MAX - 1, u16::MAX - 1);
        assert_eq!(listed(&set), [(u16::MAX - 1, u16::MAX)]);
        set.insert(0, u16::MAX);
        assert_eq!(listed(&set), [(0, u16::MAX)]);
    }

    /// A hundred thousand insertions move no more than a chunk each: with the whole set it would be minutes.
    #[test]
    fn an_insertion_costs_no_more_in_a_large_set() {
        let mut set = RangeSet::<u128>::default();
        let mut at = 1_u128;
        for _ in 0..100_000 {
            at = at.wrapping_mul(0xda94_2042_e4dd_58b5).wrapping_add(1);
            set.insert(at, at);
        }
        assert_eq!(set.ranges().count(), 100_000);
        assert!(set.chunks.len() <= 2 * 100_000 / (CHUNK / 2));
    }

    #[test]
    fn gaps_are_looked_for_across_chunks() {
        let set = RangeSet::from_ranges(
            (0..100_000u32)
                .map(|number| (4 * number, 4 * number + 1))
                .collect(),
        );
        for (first, last) in [(4_001, 4_010), (4_002, 4_002), (399_990, 500_000), (0, 400_000)] {
            let within = RangeSet::from_ranges(vec![(first, last)]);
            let gaps: Vec<_> = set.gaps(first, last).collect();
            assert_eq!(gaps, listed(&within.intersection(&set.complement())));
        }
        assert_eq!(set.gaps(4_000, 4_001).count(), 0);
        assert_eq!(set.gaps(9, 8).count(), 0);
    }

    fn sets() -> impl Strategy<Value = RangeSet<u16>> {
        let range = (0u16..100, 0u16..20).prop_map(|(first, len)| (first, first + len));
        proptest::collection::vec(range, 0..8).prop_map(RangeSet::from_ranges)
    }

    proptest! {
        #[test]
        fn prop_operations_are_those_of_the_members(a in sets(), b in sets(), point in 0u16..130, last in 0u16..130) {
            let (in_a, in_b) = (a.contains(point), b.contains(point));
            prop_assert_eq!(a.union(&b).contains(point), in_a || in_b);
            prop_assert_eq!(a.intersection(&b).contains(point), in_a && in_b);
            prop_assert_eq!(a.difference(&b).contains(point), in_a && !in_b);
            prop_assert_eq!(a.complement().contains(point), !in_a);
            prop_assert_eq!(RangeSet::from_ranges(listed(&a.union(&b))), a.union(&b));
            let gaps: Vec<_> = a.gaps(point, last).collect();
            let within = RangeSet::from_ranges(vec![(point, last)]);
            prop_assert_eq!(gaps, listed(&within.difference(&a)));
            prop_assert_eq!(a.complement().complement(), a);
        }
    }
}
