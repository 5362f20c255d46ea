//! Sets of numbers as sorted inclusive ranges: what [`PortSet`](crate::PortSet) and [`NetSet`](crate::NetSet) are made of.

use alloc::vec::Vec;

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

/// Disjoint inclusive ranges in ascending order; between two of them at least one number is missing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RangeSet<T> {
    ranges: Vec<(T, T)>,
}

impl<T> Default for RangeSet<T> {
    fn default() -> Self {
        Self { ranges: Vec::new() }
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
                // Adjacent or overlapping; behind the greatest number nothing can follow.
                Some((_, end)) if end.next().is_none_or(|next| first <= next) => *end = last.max(*end),
                _ => merged.push((first, last)),
            }
        }
        Self { ranges: merged }
    }

    pub(crate) fn ranges(&self) -> &[(T, T)] {
        &self.ranges
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    pub(crate) fn contains(&self, point: T) -> bool {
        let after = self.ranges.partition_point(|(first, _)| *first <= point);
        after
            .checked_sub(1)
            .and_then(|index| self.ranges.get(index))
            .is_some_and(|(_, last)| point <= *last)
    }

    /// Whether the whole range is in the set.
    pub(crate) fn contains_range(&self, first: T, last: T) -> bool {
        let after = self.ranges.partition_point(|(start, _)| *start <= first);
        after
            .checked_sub(1)
            .and_then(|index| self.ranges.get(index))
            .is_some_and(|(_, end)| last <= *end)
    }

    pub(crate) fn insert(&mut self, first: T, last: T) {
        let mut ranges = core::mem::take(&mut self.ranges);
        ranges.push((first, last));
        *self = Self::from_ranges(ranges);
    }

    pub(crate) fn union(&self, other: &Self) -> Self {
        Self::from_ranges(self.ranges.iter().chain(&other.ranges).copied().collect())
    }

    pub(crate) fn intersection(&self, other: &Self) -> Self {
        let mut common = Vec::new();
        let (mut left, mut right) = (self.ranges.iter().peekable(), other.ranges.iter().peekable());
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
        Self { ranges: common }
    }

    pub(crate) fn complement(&self) -> Self {
        let mut gaps = Vec::with_capacity(self.ranges.len() + 1);
        let mut next = Some(T::MIN);
        for (first, last) in &self.ranges {
            if let (Some(start), Some(end)) = (next, first.previous())
                && start <= end
            {
                gaps.push((start, end));
            }
            next = last.next();
        }
        if let Some(start) = next {
            gaps.push((start, T::MAX));
        }
        Self { ranges: gaps }
    }

    pub(crate) fn difference(&self, other: &Self) -> Self {
        self.intersection(&other.complement())
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_ends_of_the_numbers_are_numbers() {
        let all = RangeSet::<u16>::default().complement();
        assert_eq!(all.ranges(), [(0, u16::MAX)]);
        assert!(all.complement().is_empty());
        let edges = RangeSet::from_ranges(vec![(0u16, 0), (u16::MAX, u16::MAX)]);
        assert_eq!(edges.complement().ranges(), [(1, u16::MAX - 1)]);
        assert_eq!(
            RangeSet::from_ranges(vec![(3u16, 5), (6, 9), (1, 2)]).ranges(),
            [(1, 9)]
        );
    }

    fn sets() -> impl Strategy<Value = RangeSet<u16>> {
        let range = (0u16..100, 0u16..20).prop_map(|(first, len)| (first, first + len));
        proptest::collection::vec(range, 0..8).prop_map(RangeSet::from_ranges)
    }

    proptest! {
        #[test]
        fn prop_operations_are_those_of_the_members(a in sets(), b in sets(), point in 0u16..130) {
            let (in_a, in_b) = (a.contains(point), b.contains(point));
            prop_assert_eq!(a.union(&b).contains(point), in_a || in_b);
            prop_assert_eq!(a.intersection(&b).contains(point), in_a && in_b);
            prop_assert_eq!(a.difference(&b).contains(point), in_a && !in_b);
            prop_assert_eq!(a.complement().contains(point), !in_a);
                        prop_assert_eq!(RangeSet::from_ranges(a.union(&b).ranges().to_vec()), a.union(&b));
            prop_assert_eq!(a.complement().complement(), a);
        }
    }
}
